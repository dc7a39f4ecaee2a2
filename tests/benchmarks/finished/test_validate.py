"""`python -m benchmarks validate DIR`: a folder that somebody sends."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli import main as cli
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.record import Record, content_of, machine_key
from benchmarks.contract.trial import Trial
from benchmarks.contract.words import counted
from benchmarks.finished.validate import validate
from benchmarks.machine.environment import environment
from benchmarks.report.load import load_results
from benchmarks.report.stats.predictions import correct_answers
from benchmarks.tasks.images.common import labels_of_test as labels_of

ROOT = Path(__file__).resolve().parents[3]
TRIAL = Trial(
    kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1, epochs=1
)  # fmt: skip


def save(results: Path, trial: Trial = TRIAL, **changes) -> Path:
    where = environment(trial.device, trial.threads)
    values = {
        "id": trial.id(machine_key(where)), "kind": trial.kind, "status": "ok", "reason": None, "trial": trial,
        "metrics": {}, "history": [], "environment": where, "code": {"commit": None, "dirty": None},
        "started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:01:00+00:00",
    }  # fmt: skip
    return Record(**values | changes).save(results / "records")


@pytest.fixture
def results(tmp_path) -> Path:
    """One sound accuracy record with predictions of which 40 % are right, and one latency record."""
    truth = labels_of(tmp_path, "constellations", (16, 16))
    assert truth is not None and truth.shape == (2000,)
    predictions = np.where(np.arange(2000) % 10 < 4, truth, (truth + 1) % 10).astype(np.uint8)
    path = save(tmp_path / "r", metrics={"test_top1_percent": 40.0}, history=[{"epoch": 1}])
    np.save(path.with_suffix(".npy"), predictions)
    timed = dataclasses.replace(TRIAL, kind="latency", epochs=None, rounds=1, compiled=False, batch_size=2)
    save(tmp_path / "r", timed, metrics={"forward_ms": 2.0}, history=[{"round": 0, "forward_ms": 2.0}])
    return tmp_path / "r"


def accuracy(results: Path) -> Path:
    (path,) = (results / "records").glob("accuracy-*.json")
    return path


def change(path: Path, **values) -> None:
    content = json.loads(path.read_text())
    content.pop("checksum")
    path.write_text(json.dumps(content | values))


def test_a_sound_folder_has_no_problems(results, capsys):
    assert cli.main(["validate", str(results)]) == 0
    assert capsys.readouterr().out == "2 records, 0 problems\n"
    assert cli.main(["validate", str(results / "records")]) == 0


def foreign(r: Path) -> None:
    (r / "records" / "notes.txt").write_text("x")


def pickled(r: Path) -> None:
    np.save(accuracy(r).with_suffix(".npy"), np.array([{}], object), allow_pickle=True)


def linked(r: Path) -> None:
    shutil.move(accuracy(r), r / "elsewhere.json")
    (r / "records" / f"accuracy-{TRIAL.id()}.json").symlink_to(r / "elsewhere.json")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda r: change(accuracy(r), trial=TRIAL.to_dict() | {"seed": 1}), "its id is not that of its trial"),
        (lambda r: change(next((r / "records").glob("lat*")), environment={"torch": "0", "cpu": "x", "device": "cpu"}),
         "its id is not that of its trial and machine"),
        (lambda r: change(accuracy(r), metrics={"test_top1_percent": 41.0}), "its predictions come to 40.0000"),
        (lambda r: change(accuracy(r), metrics={}), "yet it has no test_top1_percent"),
        (lambda r: change(accuracy(r), history=[]), "0 epochs, its trial 1"),
        (lambda r: change(accuracy(r), ended="2025-01-01T00:00:00+00:00"), "before it started"),
        (lambda r: change(accuracy(r), schema_version=9), "schema version 9, this code reads 1"),
        (lambda r: accuracy(r).write_text("<html>"), "not a readable record"),
        (lambda r: accuracy(r).rename(accuracy(r).with_name("accuracy-0123456789abcdef.json")), "not what it says"),
        (lambda r: accuracy(r).with_suffix(".npy").unlink(), "predictions, is missing"),
        (lambda r: accuracy(r).with_suffix(".npy").write_bytes(b"<html>"), "no array that NumPy can read"),
        (lambda r: np.save(accuracy(r).with_suffix(".npy"), np.zeros(2000)), "float64 of shape (2000,)"),
        (lambda r: np.save(accuracy(r).with_suffix(".npy"), np.zeros(9, np.uint8)), "uint8 of shape (9,)"),
        (pickled, "allow_pickle=False"),
        (lambda r: accuracy(r).unlink(), "predictions without a record"),
        (foreign, "notes.txt: not a record"),
        (linked, "a link"),
    ],
)  # fmt: skip
def test_every_problem_is_a_line(results, capsys, damage, says):
    damage(results)
    assert cli.main(["validate", str(results)]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert any(says in line for line in lines), lines
    assert last.endswith(f" {counted(len(lines), 'problem')}") and all(line.startswith("records/") for line in lines)


def test_predictions_among_more_than_256_classes_are_wider(results, monkeypatch):
    info = dataclasses.replace(DATASETS["constellations"], num_classes=300)
    monkeypatch.setitem(DATASETS, "constellations", info)
    path = accuracy(results).with_suffix(".npy")
    (problem,) = validate(results, results)[1]
    assert "has uint8 of shape (2000,); expected uint16 of shape (2000,)" in problem
    truth = labels_of(results, "constellations", (16, 16))
    np.save(
        path, np.where(np.arange(2000) % 10 < 4, truth, truth + 256).astype(np.uint16)
    )  # the same in their low byte
    assert validate(results, results)[1] == []
    assert correct_answers(load_results(results), results)[TRIAL.id()].mean() == pytest.approx(0.4)


def test_a_folder_that_is_none_or_empty_is_a_mistake(tmp_path, capsys):
    for folder in (tmp_path / "nowhere", tmp_path):
        assert cli.main(["validate", str(folder)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_whatever_is_published_is_valid(tmp_path):
    for name in ("cifar100-cpu", "cifar100-cpu-lr-sweep", "atlas"):
        records, problems = validate(ROOT / "results" / "published" / name, tmp_path)
        assert records > 10 and problems == []


def test_published_predictions_come_to_the_published_accuracy(cifar100_dir, tmp_path):
    folder = ROOT / "results" / "published" / "cifar100-cpu"
    assert validate(folder, cifar100_dir)[1] == []
    shutil.copytree(folder / "records", tmp_path / "records")
    path = min((tmp_path / "records").glob("accuracy-*.npy"))
    predictions = np.load(path)
    predictions[predictions == labels_of(cifar100_dir, "cifar100", (32, 32))] += 1
    np.save(path, predictions % 100)
    assert ["come to" in line for line in validate(tmp_path, cifar100_dir)[1]] == [True]


def test_an_older_record_without_a_checksum_is_valid(results):
    path = accuracy(results)
    path.write_text(json.dumps(content_of(Record.load(path))))
    assert validate(results, results) == (2, [])
