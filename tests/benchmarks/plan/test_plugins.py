"""Mixers from elsewhere: the README's ten lines, a package with an entry point, and what breaks in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli import main as cli
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.frame import results_frame
from mixers import registry

ROOT = Path(__file__).resolve().parents[3]
TINY = [
    *("--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1"),
    *("--epochs", "1", "--train-images", "300", "--seed", "0"),
    *("--dataset", "constellations"),
]

HEAD = "import torch\nfrom mixers import Mixer, register_mixer\n\n\n"
BODY = """class Mine(Mixer):
    def forward(self, x):
        return {forward}

    def flops(self):
        return {flops}
"""


pytestmark = pytest.mark.usefixtures("forget_plugins")


def write(folder: Path, forward: str = "x.flip(2, 3)", flops: str = "0", name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(HEAD + BODY.format(forward=forward, flops=flops), encoding="utf-8")
    return f"{path}:Mine"


def readme_plugin() -> str:
    """The first Python block of the README's section on one's own mixer."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own mixer")[2]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("forward", "flops", "says"),
    [
        ("x[:, :3]", "0", r"mixer 'mine:Mine' returns shape \(2, 3, 8, 8\) .*; allowed: \(2, 8, 8, 8\)"),
        ("x.flatten(2)", "0", r"returns shape \(2, 8, 64\)"),
        ("x / 0", "0", "not finite for random input"),
        ("torch.where(x > 0, x, 0 * x.abs().sqrt() / x)[...].sqrt()", "0", "not finite"),
        ("torch.fft.fft2(x)", "0", "returns complex64; allowed: real"),
        ("None", "0", "returns NoneType; allowed: a tensor"),
        ("x @ x.flatten(1)", "0", "fails at dim 8 on 8 x 8 tokens: RuntimeError"),
        ("x", "-1", r"flops\(\) is -1; allowed"),
        ("x", "0.5", r"flops\(\) is 0.5; allowed"),
    ],
)
def test_a_plug_in_that_breaks_the_contract_is_told_by_name_before_anything_runs(
    forward: str, flops: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixer = write(tmp_path, forward, flops)
    line = refused(
        capsys, "bench-all", "--rounds", "1", "--mixer", f"conv1x1,{mixer}", "--results", str(tmp_path / "r"), *TINY
    )
    assert "'mine:Mine'" in line and re.search(says, line)
    assert str(tmp_path) not in line
    assert not list((tmp_path / "r").glob("records/*"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise ValueError('no such\\nthing')", "ValueError: no such thing"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        (HEAD + '@register_mixer("dct", family="x", paper="", year=2026)\n' + BODY.format(forward="x", flops=0), "dct"),
        ("class Mine:\n    pass", "no Mixer 'Mine'"),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_is_told_by_name(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    line = refused(capsys, "train", "--mixer", f"{tmp_path}/mine.py:Mine", "--results", str(tmp_path / "r"), *TINY)
    assert "mine.py:Mine" in line and says in line
    assert registry.mixer_entry("dct").cls.__module__ == "mixers.families.separable"


PADDED = """class Mine(Mixer):
    takes_padding = True

    def forward(self, x{real}):
        return {forward}

    def flops(self):
        return 0
"""
LISTOPS = ["--dataset", "listops", "--length", "32", *TINY[:-2]]


@pytest.mark.parametrize(
    ("real", "forward", "says"),
    [
        ("", "x.flip(3)", r"fails at dim 8 on 1 x 32 tokens: TypeError"),
        (", real", "x.flip(3)", r"fails at dim 8 on 1 x 32 tokens: TypeError.* missing 1 required positional"),
        (", real=None", "x.flip(3)", "takes_padding = True, but what stands in the padding changes"),
        (", real=None", "x if real is None else x[:, :1]", r"returns shape \(2, 1, 1, 32\) .*, with padding"),
        (", real=None", "x if real is None else 7", "returns int; allowed: a tensor of .*, with padding"),
    ],
)
def test_a_plug_in_that_says_it_keeps_padding_out_is_held_to_it(
    real: str, forward: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(HEAD + PADDED.format(real=real, forward=forward), encoding="utf-8")
    line = refused(capsys, "train", "--mixer", f"{tmp_path}/mine.py:Mine", "--results", str(tmp_path / "r"), *LISTOPS)
    assert "'mine:Mine'" in line and re.search(says, line)


@pytest.mark.parametrize(
    "forward",
    [
        "x if real is None else x * real.unsqueeze(1)",
        "torch.dropout(x if real is None else x * real[:, None], 0.5, True)",
    ],
)
def test_a_plug_in_that_keeps_padding_out_is_sound(forward: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + PADDED.format(real=", real=None", forward=forward), encoding="utf-8")
    request = Request(mixer=f"{tmp_path}/mine.py:Mine", dataset="listops", length=(32,), profile="quick", device="cpu")
    assert [trial.mixer for trial in Plan(request).cost()] == ["mine:Mine"]


def test_a_sound_plug_in_changes_nothing_for_the_seed(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(3)
    expected = torch.randn(3)
    torch.manual_seed(3)
    plan = Plan(Request(mixer=write(tmp_path), profile="quick", device="cpu"))
    assert torch.equal(torch.randn(3), expected)
    assert [trial.mixer for trial in plan.cost()] == ["mine:Mine"]


def test_a_broken_plug_in_that_a_wildcard_brings_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    (tmp_path / "broken_mixer_module.py").write_text(
        HEAD
        + '@register_mixer("conv_broken", family="x", paper="", year=2026)\n'
        + BODY.format(forward="x[:1]", flops=0)
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__("broken_mixer_module")
    plan = Plan(Request(mixer="conv*", profile="quick", device="cpu"))
    assert [str(mixer) for mixer in plan.mixers] == ["conv1x1", "conv_mixer"]
    assert "'conv_broken' returns shape" in caplog.text


def test_a_plug_in_can_stand_in_some_of_the_blocks(tmp_path: Path) -> None:
    mixer = write(tmp_path)
    plan = Plan(Request(mixer=f"{mixer}+dct", profile="quick", device="cpu"))
    assert {trial.mixer for trial in plan.cost()} == {"mine:Mine+dct"}
    assert all(len(trial.mixer_source or "") == 64 for trial in plan.cost())


def test_the_readmes_mixer_is_sound_and_its_flops_are_what_it_says(tmp_path: Path) -> None:
    code = readme_plugin()
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 10
    (tmp_path / "my_mixer.py").write_text(code, encoding="utf-8")
    plan = Plan(Request(mixer=f"{tmp_path}/my_mixer.py:Reverse", profile="quick", device="cpu"))
    assert plan.cost()[0].mixer == "my_mixer:Reverse"


PACKAGE = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "far-away-mixers"
version = "1.0"

[project.entry-points.token_mixers]
far_away = "far_away_mixers"
broken = "far_away_broken"

[tool.setuptools]
py-modules = ["far_away_mixers", "far_away_broken"]
"""


@pytest.mark.slow
def test_a_package_of_somebody_elses_goes_all_the_way(tmp_path: Path) -> None:
    source, site, results = tmp_path / "source", tmp_path / "site", tmp_path / "results"
    source.mkdir()
    (source / "pyproject.toml").write_text(PACKAGE, encoding="utf-8")
    decorator = '@register_mixer("far_away", family="elsewhere", paper="a <b>paper</b>", year=2026, complexity="C N")\n'
    (source / "far_away_mixers.py").write_text(HEAD + decorator + BODY.format(forward="x.flip(2, 3)", flops=0))
    (source / "far_away_broken.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "my_mixer.py").write_text(readme_plugin(), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    if subprocess.run([*pip[:3], "--version"], capture_output=True, check=False).returncode:
        pytest.skip("no pip in this environment")
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, capture_output=True, text=True)

    def benchmarks(*arguments: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
        command = [sys.executable, "-m", "benchmarks", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    listed = benchmarks("list")
    assert listed.returncode == 0 and re.search(r"^elsewhere\n  far_away +C N +2026", listed.stdout, re.MULTILINE)
    assert "'broken'" in listed.stderr and "not today" in listed.stderr and "Traceback" not in listed.stderr
    mixers = "far_away,my_mixer.py:Reverse,far_away_mixers:Mine,conv1x1"
    done = benchmarks(
        "bench-all", "--rounds", "1", "--mixer", mixers, "--image-size", "16", "--results", str(results), *TINY
    )
    assert done.returncode == 0, done.stderr
    frame = results_frame(results)
    assert set(frame["status"]) == {"ok"}
    for kind in ("accuracy", "cost", "latency"):
        assert set(frame.loc[frame["kind"] == kind, "mixer"]) == {
            "far_away", "my_mixer:Reverse", "far_away_mixers:Mine", "conv1x1"
        }  # fmt: skip
    summary = (results / "tables" / "constellations-quick" / "summary.md").read_text(encoding="utf-8")
    assert "far_away" in summary and "my_mixer:Reverse" in summary
    plot = (results / "plots" / "constellations-quick" / "accuracy-vs-latency.png").read_bytes()
    assert plot.startswith(b"\x89PNG")
    assert str(tmp_path) not in "".join(path.read_text() for path in results.glob("records/*.json"))
