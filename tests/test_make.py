"""The Makefile as a user meets it: what is mistyped, what the environment holds, and the set-up step by step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

ROOT = Path(__file__).resolve().parents[1]
VERBS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
VARIABLES = ("EPOCHS", "MIXER", "IMAGE_SIZE", "DATA_DIR", "WORKERS", "ARGS", "PYTHON")


def make(*words: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for name in VARIABLES:
        outer.pop(name, None)
    return subprocess.run(
        ["make", *words], cwd=folder, capture_output=True, text=True, check=False, env=outer | environment
    )


@pytest.mark.parametrize(
    "verb", [*VERBS[:3], *(pytest.param(verb, marks=pytest.mark.slow) for verb in VERBS[3:-4]), *VERBS[-4:]]
)
def test_a_mistyped_variable_ends_every_verb_before_it_begins(verb):
    done = make("-n", verb, "EPOCH=3")
    assert done.returncode == 2 and "EPOCHS" in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("epochs=3", "EPOCHS"),
        ("Mixer=dct", "MIXER"),
        ("image-size=16", "IMAGE_SIZE"),
        ("EPOCH+=3", "EPOCHS"),
        ("EPOCH:=3", "EPOCHS"),
        ("EPOCH ::= a b 'c' \"d\"", "EPOCHS"),
        ("EPOCH=", "EPOCHS"),
        ("FLAGS=--epochs 3", "ARGS"),
        ("PY=python3", "PYTHON"),
        ("_=3", "EPOCHS"),  # nothing is near: all are named
        ("x\"y`'=3", "EPOCHS"),
        ("given=3 EPOCH=3", "EPOCHS"),
    ],
)
def test_the_nearest_variable_is_named(typed, near):
    done = make("-n", "train", *([typed] if "given" not in typed else typed.split()))
    assert done.returncode == 2 and near in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_no_python_is_needed_to_refuse_a_word(tmp_path):
    for name in ("bash", "tr", "printf"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    program = shutil.which("make") or ""
    done = subprocess.run(
        [program, "train", "EPOCH=3"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Known: " in done.stderr and " EPOCHS " in done.stderr


@pytest.mark.parametrize("words", ["tarin", "bench-all EPOCHS 3", "Test", "train MIXER"])
def test_a_word_that_is_no_verb_ends_all_before_the_first_begins(words):
    done = make("-n", *words.split())
    assert done.returncode == 2 and "there is no verb" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("typed", ["EPOCHS=7", "EPOCHS:=7", "EPOCHS+=7", "EPOCHS ::= 7"])
def test_a_known_variable_becomes_a_flag_however_it_is_assigned(typed):
    done = make("-n", "train", typed, "PYTHON=python3", "V=1", "SHELL=/bin/bash")
    assert done.stdout.split() == ["python3", "-m", "benchmarks", "train", "--epochs='7'"] and done.stderr == ""


@pytest.mark.parametrize("how", [[], ["-e"]])
def test_what_the_environment_holds_is_not_read_and_said_in_a_line_that_can_be_typed(how):
    done = make(*how, "-n", "train", "PYTHON=python3", "MIXER=dct", EPOCHS="it's 7", ARGS="--depth=2")
    assert done.stdout.split() == ["python3", "-m", "benchmarks", "train", "--mixer='dct'"]
    (line,) = done.stderr.splitlines()
    typed = line.partition("type: make ")[2]
    shown = subprocess.run(["bash", "-c", f"printf '%s\\n' {typed}"], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["train", "EPOCHS=it's 7", "ARGS=--depth=2"]
    assert make("-n", "help", EPOCHS="7").stderr == ""


@pytest.fixture
def clone(tmp_path):
    """A fresh checkout as far as make sees it, and a uv that notes what it is asked for: (folder, environment)."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    uv = """#!/bin/bash
echo "$@" >> calls
[ "$1" = pip ] && [ -e no-network ] && { echo 'no network' >&2; exit 1; }
if [ "$1" = venv ]; then mkdir -p .venv/bin; printf '#!/bin/bash\\n' > .venv/bin/python; chmod +x .venv/bin/python; fi
echo "uv says how far it is"
"""
    (tools / "uv").write_text(uv)
    (tools / "uv").chmod(0o755)
    return tmp_path, {"PATH": f"{tools}:{os.environ['PATH']}"}


def test_a_verb_installs_what_it_needs_and_no_more(clone):
    folder, path = clone

    def installed(*words: str) -> list[str]:
        (folder / "calls").unlink(missing_ok=True)
        done = make(*words, folder=folder, **path)
        assert done.returncode == 0, done.stderr
        calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
        if calls:
            assert "uv says how far it is" in done.stdout
        assert not any("--quiet" in call for call in calls if call.startswith("pip"))
        return [call.split()[-1] for call in calls if call.startswith("pip")]

    assert installed("list") == ["."]
    assert installed("bench-all", "train", "MIXER=dct") == []
    assert installed("lint") == [".[dev]"]
    assert installed("test", "lint", "format") == []
    assert installed("bench-peers") == [".[peers]"]
    later = (folder / "pyproject.toml").stat().st_mtime + 100
    os.utime(folder / "pyproject.toml", (later, later))
    for stamp in (folder / ".venv").glob(".installed*"):
        os.utime(stamp, (later - 50, later - 50))
    (folder / "Makefile").touch()
    assert installed("list")[:1] == ["."]
    assert installed("test", "PYTHON=true") == []


def test_a_set_up_that_was_cut_off_goes_on(clone):
    folder, path = clone
    (folder / "no-network").touch()
    assert make("list", folder=folder, **path).returncode == 2
    (folder / "no-network").unlink()
    assert make("list", folder=folder, **path).returncode == 0
    assert (folder / "calls").read_text().count("pip install") == 2
    (folder / "no-network").touch()
    assert make("lint", folder=folder, **path).returncode == 2
    assert make("list", folder=folder, **path).returncode == 0  # needs nothing new
