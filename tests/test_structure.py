"""The suite's rooms and the one direction in which they know each other."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.facts.metrics import METRICS, WORDS
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.task import load_data
from benchmarks.training.train import train
from mixers import create_mixer

ROOT = Path(__file__).resolve().parent.parent
# The rooms, bottom to top: a module imports from its own room and from those on lines before; rooms of one line do not
# know each other. What is in no room of its own belongs to the nearest that holds it.
LAYERS: Sequence[Sequence[str]] = (
    ["mixers"], ["mixers.transforms"], ["mixers.families"], ["mixers.nets"], ["mixers.timm"], ["mixers.__init__"],
    ["benchmarks"], ["benchmarks.machine"], ["benchmarks.tasks"], ["benchmarks.sources"],
    ["benchmarks.training"], ["benchmarks.timing"], ["benchmarks.sweep", "benchmarks.plan"],
    ["benchmarks.report"], ["benchmarks.report.stats"], ["benchmarks.report.tables"], ["benchmarks.report.claims"],
    ["benchmarks.report.plots"], ["benchmarks.report.text"], ["benchmarks.report.compare"], ["benchmarks.report.page"],
    ["benchmarks.report.load", "benchmarks.report.build", "benchmarks.report.ranking"],
    ["benchmarks.finished"], ["benchmarks.studies"], ["benchmarks.finished.validate"], ["benchmarks.cli"],
    ["benchmarks.__main__"],
)  # fmt: skip


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, inside functions too."""
    names: set[str] = set()
    package = [*path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert len(found) > 3
    return found


def modules() -> dict[str, set[str]]:
    """Every module of the library and the suite, and those of them that it imports; `mixers.__init__` is the door."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files("mixers") + files("benchmarks")
    }
    doors = {name.removesuffix(".__init__"): name for name in paths if name.endswith(".__init__")}
    known = {name: name for name in paths} | doors
    found = {}
    for name, path in paths.items():
        names = imported(path)
        # `from package import module` needs the module alone
        names -= {name.rpartition(".")[0] for name in names if name in known}
        found[name] = {known[other] for other in names if other in known} - {name}
    return found


def height(module: str) -> int:
    """The line of LAYERS that a module's room is on."""
    rooms = {room: place for place, several in enumerate(LAYERS) for room in several}
    while module not in rooms:
        module = module.rpartition(".")[0]
    return rooms[module]


def room(module: str) -> str:
    return max((r for several in LAYERS for r in several if f"{module}.".startswith(f"{r}.")), key=len)


def test_imports_run_one_way():
    wrong = {
        (name, other)
        for name, others in modules().items()
        for other in others
        if height(other) > height(name) or (height(other) == height(name) and room(other) != room(name))
    }
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    circle: list[str] = []
    try:
        graphlib.TopologicalSorter(modules()).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]
    assert not circle


def test_the_contract_knows_no_torch():
    code = "import sys, pkgutil, importlib, benchmarks.contract as c\n"
    code += "names = [m.name for m in pkgutil.walk_packages(c.__path__, 'benchmarks.contract.')]\n"
    code += "for name in names: importlib.import_module(name)\n"
    code += "print('benchmarks.contract.facts.datasets' in names, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.stdout == "True False\n", done.stderr


def test_every_metric_stands_in_the_results_readme_as_it_is_described():
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for name, words in WORDS.items():
        assert f"| `{name}` |  |  | {words} |" in text
    for name, metric in METRICS.items():
        assert f"| `{name}` | {metric.label} | {metric.better or ''} | {metric.text} |\n" in text


def test_every_field_of_a_trial_stands_in_the_results_readme():
    import dataclasses

    from benchmarks.contract.trial import Trial

    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", text[text.index("## Trial") : text.index("## Metrics")]))
    assert {field.name for field in dataclasses.fields(Trial)} - named <= {"kind"}


@pytest.fixture
def readme_mixer(tmp_path) -> Path:
    """The README's own mixer, in a file."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "(Mixer)" in block]
    path = tmp_path / "readme_mixer.py"
    path.write_text(block)
    return path


def test_the_mixer_of_the_readme_works_as_it_stands_there(readme_mixer):
    import torch

    name = re.search(r"class (\w+)\(Mixer\)", readme_mixer.read_text())[1]  # type: ignore[index]
    code = [line for line in readme_mixer.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 10
    mixer = create_mixer(f"{readme_mixer}:{name}", 8, (4, 6))
    x = torch.randn(2, 8, 4, 6)
    assert mixer(x).shape == (2, mixer.out_channels, 4, 6)
    assert isinstance(mixer.flops(), int)
    small = dict(dim=8, depth=1, epochs=1, train_images=200, image_size=(16,), seed=(0,), threads=1, device="cpu")
    (trial,) = Plan(Request(mixer=f"{readme_mixer}:{name}", profile="quick", **small)).accuracy()  # type: ignore[arg-type]
    outcome = train(trial, load_data(trial, readme_mixer.parent, "cpu"), readme_mixer.parent / "c.pt")
    assert 0 <= outcome.metrics["test_top1_percent"] <= 100
    assert len(outcome.predictions) == DATASETS[trial.dataset].test_images


def test_devices_are_named_in_their_table_and_asked_in_one_place():
    named = {path for path in files("benchmarks") if "cuda" in path.read_text(encoding="utf-8")}
    places = {"contract/facts/devices.py", "machine/device.py"}
    words = {"machine/environment.py", "contract/make_schema.py"}  # of records alone
    assert named == {ROOT / "benchmarks" / name for name in places | words}
