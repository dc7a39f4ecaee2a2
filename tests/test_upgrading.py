"""docs/upgrading.md says what is so."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from benchmarks.cli import main as cli
from mixers.moved import MOVED as MODULES
from mixers.registry import list_mixers, mixer_entry

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
MODULE = r"(?:benchmarks|mixers)\.[\w.]+"
MOVED = re.findall(rf"^\| `({MODULE})` \| (.*) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("old", "now"), MOVED)
def test_what_has_moved_is_gone_from_there_and_is_here(old, now):
    assert not (ROOT / old.replace(".", "/")).with_suffix(".py").exists()  # a package may have its name
    places = re.findall(rf"`({MODULE})`(?:: ((?:`\w+`(?: \(was `\w+`\))?(?:, )?)+))?", now)
    assert places and MODULES.get(old, places[0][0]) == places[0][0]
    for place, names in places:
        assert importlib.util.find_spec(place)
        for name in re.findall(r"(?<!was )`(\w+)`", names):
            assert hasattr(importlib.import_module(place), name), f"{place} has no {name}"


def test_every_mixer_of_another_version_is_named():
    assert len(MOVED) > 10 and {*MODULES} <= {old for old, _ in MOVED}
    table = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", TEXT, re.MULTILINE))
    versions = {name: mixer_entry(name).cls.version for name in list_mixers()}
    assert table == {name: str(version) for name, version in versions.items() if version != 1}


def test_its_commands_are_commands():
    typed = re.findall(r"^    make ([\w-]+)(.*?)(?:  #|$)", TEXT, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.search(r"VARIABLES := ((?:.*\\\n)*.*)", makefile)[1].split())  # type: ignore[index]
    assert len(typed) > 4
    for verb, rest in typed:
        assert verb in cli.VERBS and set(re.findall(r"(\w+)=", rest)) <= known
