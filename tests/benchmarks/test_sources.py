"""The hashes of code in a record: what changes them, and what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import sources
from benchmarks.contract.record import Record
from benchmarks.contract.trial import Trial
from benchmarks.sources import changed_parts, code_of, sources_of
from mixers import list_mixers


def trial(mixer: str = "dct", kind: str = "accuracy", **more) -> Trial:
    values = {"dataset": "cifar100", "image_size": 32, "patch_size": 4, "dim": 64, "depth": 4}
    return Trial(kind=kind, mixer=mixer, **(values | more))


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A copy of the code that a test may edit, and whose hashes are computed anew."""
    for package in ("mixers", "benchmarks"):
        shutil.copytree(sources.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    forget()
    yield tmp_path
    monkeypatch.undo()
    forget()


def forget() -> None:
    for cached in (sources._code, sources._hash_of, sources._equal):
        cached.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    forget()


EDITS = {
    "a transform": ("mixers/transforms/definitions.py", "def dct_matrix(", "FACTOR = 2\n\n\ndef dct_matrix(", ()),
    "a matrix": ("mixers/transforms/definitions.py", "math.sqrt", "(math.sqrt)", ("mixer",)),
    "the class of another mixer": ("mixers/families/separable.py", "class Hadamard", "class  Hadamard", ()),
    "its own class": ("mixers/families/separable.py", "class DCT", "class  DCT", ("mixer",)),
    "its base": ("mixers/transforms/planes.py", "class PlaneTransform", "class  PlaneTransform", ("mixer",)),
    "the kernel": ("mixers/transforms/fused_kernel.py", "import triton\n", "import triton  # a comment\n", ()),
    "the block": ("mixers/nets/block.py", "class Block", "class  Block", ("net",)),
    "the loop": ("benchmarks/training/train.py", "def _train_epoch", "def  _train_epoch", ("task",)),
    "augmentation": ("benchmarks/tasks/images/augment.py", "def normalise(\n", "def  normalise(\n", ("task",)),
    "the page": ("benchmarks/report/page/write.py", "def write_page", "def  write_page", ()),
    "a docstring": ("mixers/families/separable.py", '"""', '"""Changed. ', ()),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_hash_changes_with_the_code_that_a_result_rests_on_and_with_no_other(checkout, name) -> None:
    file, old, new, wanted = EDITS[name]
    before = sources_of(trial())
    if name == "a docstring":
        text = (checkout / file).read_text(encoding="utf-8")
        first = text.index('"""', text.index("class DCT"))
        (checkout / file).write_text(text[: first + 3] + "Changed. " + text[first + 3 :], encoding="utf-8")
        forget()
    else:
        edit(checkout / file, old, new)
    assert tuple(changed_parts(before, sources_of(trial()))) == wanted


KINDS = ("accuracy", "tuning", "cost", "latency")
TASK_EDITS = (
    ("tasks/images/augment.py", "def normalise(", "def  normalise(", ("accuracy", "tuning")),
    ("tasks/images/common.py", "            depth=trial.depth,\n", "            depth=(trial.depth),\n", KINDS),
    ("training/training_step.py", "loss.backward()", "(loss).backward()", ("accuracy", "tuning", "cost")),
)


def test_a_kind_of_trial_rests_on_what_it_uses_of_its_task(checkout) -> None:
    for file, old, new, kinds in TASK_EDITS:
        before = {kind: sources_of(trial(kind=kind))["task"] for kind in KINDS}
        edit(checkout / "benchmarks" / file, old, new)
        assert tuple(kind for kind in KINDS if sources_of(trial(kind=kind))["task"] != before[kind]) == kinds


def test_mixers_of_different_code_have_different_hashes_and_kinds_different_tasks() -> None:
    hashes = {name: sources_of(trial(name))["mixer"] for name in list_mixers()}
    assert len(set(hashes.values())) == len(hashes)
    tasks = {kind: sources_of(trial(kind=kind))["task"] for kind in KINDS}
    assert tasks["accuracy"] == tasks["tuning"] and len(set(tasks.values())) == 3
    assert sources_of(trial("hybrid_top"))["mixer"] not in hashes.values()


def test_a_record_that_does_not_know_its_sources_is_not_changed() -> None:
    assert changed_parts({}, sources_of(trial())) == []


def test_a_change_that_was_proven_equal_is_none(checkout, monkeypatch) -> None:
    before = sources_of(trial())
    edit(checkout / "mixers/families/separable.py", "class DCT", "class  DCT")
    after = sources_of(trial())
    assert changed_parts(before, after) == ["mixer"]
    table = checkout / "equal.json"
    table.write_text(json.dumps([[before["mixer"], "0" * 16], ["0" * 16, after["mixer"]]]), encoding="utf-8")
    monkeypatch.setattr(sources, "EQUAL_FILE", table)
    forget()
    assert changed_parts(before, after) == []


def test_a_record_keeps_them(tmp_path) -> None:
    own = trial(epochs=1, lr=1e-3, batch_size=8)
    times = dict.fromkeys(("started", "ended"), "2026-01-01T00:00:00+00:00")
    where = {"torch": "2.11", "device": "cpu", "cpu": "a"}
    record = Record(
        id=own.id(), kind=own.kind, status="error", reason="none", trial=own, metrics={}, history=[],
        environment=where, code=code_of(own), **times,
    )  # fmt: skip
    assert Record.load(record.save(tmp_path)).code["sources"] == sources_of(own)
