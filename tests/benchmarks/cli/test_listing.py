"""`list` shows what can be named, mixers and data sets; `--version` says in one line what is installed."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli import listing
from benchmarks.cli import main as cli
from benchmarks.contract.facts.datasets import DATASETS
from mixers.registry import list_mixers, mixer_entry

ROOT = Path(__file__).resolve().parents[3]


def printed(capsys, *arguments: str) -> list[str]:
    assert cli.main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_mixers_stand_first_and_every_data_set_with_its_facts_after_them(capsys):
    lines = printed(capsys, "list")
    start = next(place for place, line in enumerate(lines) if line.startswith("data set"))
    mixers, datasets = lines[: start - 1], lines[start:]
    assert sorted(line.split()[0] for line in mixers if re.match("  [a-z]", line)) == sorted(list_mixers())
    assert mixers[-1].startswith("one for each block: ")
    named = [line.split()[0] for line in datasets if line and not line.startswith(("data set", "your own", " "))]
    assert sorted(named) == sorted(DATASETS)
    assert "folder:PATH" in lines[-1] and "file.py:MyData" in lines[-1]
    (line,) = [line for line in datasets if line.startswith("cifar100 ")]
    assert line.split()[1:6] == ["100", "32", "45,000", "5,000", "10,000"] and "none, light, strong" in line
    (line,) = [line for line in datasets if line.startswith("mosaics ")]
    assert line.split()[1:3] == ["10", "any"] and line.endswith("drawn by a program")


def test_mixers_stand_under_their_family_and_every_line_fits(capsys):
    lines = printed(capsys, "list")
    assert max(map(len, lines)) <= 100
    found: dict[str, str] = {}
    family = ""
    for line in lines[1 : lines.index("")]:
        if re.fullmatch("[a-z-]+", line):
            family = line
        elif re.match("  [a-z]", line):
            found[line.split()[0]] = family
    assert found == {name: mixer_entry(name).family for name in list_mixers()}
    assert len(set(found.values())) == len([line for line in lines if line in found.values()])
    place = next(place for place, line in enumerate(lines) if line.startswith("  dct "))
    column = lines[0].index("paper")
    words = " ".join(line[column:] for line in lines[place : place + 2])
    assert words == "DCT (Ahmed, Natarajan and Rao); tried as a token mixer in FNet (arXiv:2105.03824)"
    assert lines[place + 1][:column].strip() == ""


def test_what_is_named_is_shown_alone(capsys):
    lines = printed(capsys, "list", "--mixer", "fft*")
    assert (
        lines[1] == "spectral"
        and lines[2].startswith("  fft_")
        and not any(line.startswith("data set") for line in lines)
    )
    names = [line.split()[0] for line in printed(capsys, "list", "--dataset", "ma*,mo*,constellations") if line]
    assert names == ["data", "constellations", "mosaics", "data", "match", "your"]
    assert cli.main(["list", "--dataset", "cifar"]) == 2
    assert "Did you mean 'cifar1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--version"], ["version"], ["-V"], ["list", "--dataset", "*"], ["help"], ["help", "train"]]
)
def test_what_needs_no_torch_imports_none(arguments):
    code = f"import sys; from benchmarks.cli.main import main as cli; assert cli({arguments}) == 0\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_versions_are_in_one_line(capsys, monkeypatch, tmp_path):
    import torch

    (line,) = printed(capsys, "--version")
    assert line.startswith("token-mixers 0.") and line.endswith(f", Python {platform.python_version()}")
    assert f", torch {torch.__version__.partition('+')[0]}" in line
    monkeypatch.setattr(listing, "PROJECT", tmp_path / "pyproject.toml")  # as where it is installed
    monkeypatch.setattr(listing, "installed", lambda package: {"token-mixers": "7.8.9"}.get(package, "not installed"))
    assert printed(capsys, "--version")[0].startswith("token-mixers 7.8.9, torch not installed, ")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "1"\n')
    assert listing.own_version() == "7.8.9"


def test_data_of_ones_own_are_not_looked_at_and_it_is_said_what_looks_at_them(capsys):
    assert cli.main(["list", "--dataset", "folder:/my photos"]) == 2
    said = capsys.readouterr().err
    assert (
        "folder:/my photos are your own; try them: " in said and "'folder:/my photos'" in said and said.count("\n") == 1
    )
