"""From a folder of one's own images to results, and what the results say where the images are not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from own_images import make_folder

from benchmarks.cli import main as cli
from benchmarks.contract.record import Record, load_records
from benchmarks.finished.validate import validate
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.frame import results_frame
from benchmarks.report.stats.predictions import correct_answers
from benchmarks.sweep.run import Runner
from benchmarks.sweep.status import read_status

SMALL = dict(mixer="conv1x1,dct", profile="quick", device="cpu", dim=8, depth=1, epochs=1, threads=1, seed=(0, 1))


pytestmark = pytest.mark.usefixtures("forget_datasets")


@pytest.fixture
def measured(tmp_path, forget_datasets) -> Path:
    """A results folder of two mixers on images that are not there any more."""
    photos, results = make_folder(tmp_path / "photos"), tmp_path / "results"
    plan = Plan(Request(dataset=f"folder:{photos}", data_dir=tmp_path / "data", **SMALL))
    runner = Runner(results, tmp_path / "data", own_process=False)
    runner.run(plan.accuracy() + plan.cost())
    shutil.rmtree(photos)
    shutil.rmtree(tmp_path / "data")
    forget_datasets()
    return results


def test_results_are_read_where_the_images_are_not(measured, tmp_path, capsys):
    records = load_records(measured)
    assert {r.status for r in records} == {"ok"} and {r.trial.dataset for r in records} == {"folder:photos"}
    assert len({r.trial.dataset_source for r in records}) == 1
    assert validate(measured, tmp_path / "data") == (6, [])
    assert cli.main(["status", "--results", str(measured)]) == 0
    assert cli.main(["report", "--results", str(measured)]) == 0
    page = (measured / "index.html").read_text(encoding="utf-8")
    assert "folder:photos" in page and str(tmp_path) not in page
    assert (measured / "tables" / "folder-photos-quick").is_dir()
    assert "Traceback" not in capsys.readouterr().err
    before = {path: path.read_bytes() for path in measured.rglob("*.md")}
    assert cli.main(["report", "--results", str(measured)]) == 0
    assert {path: path.read_bytes() for path in measured.rglob("*.md")} == before


def test_predictions_of_another_form_are_told_where_the_images_are_not(measured, tmp_path):
    path = next((measured / "records").glob("accuracy-*.npy"))
    np.save(path, np.zeros((2, 2), np.float32))
    _, problems = validate(measured, tmp_path / "data")
    assert problems == [f"records/{path.name.replace('npy', 'json')}: {path.name} has float32 of shape (2, 2); "
                        "expected whole numbers, one an image"]  # fmt: skip


def test_the_time_left_of_images_that_are_not_here_is_unknown_not_none(measured):
    record = next(r for r in load_records(measured) if r.kind == "accuracy")
    trial = dataclasses.replace(record.trial, seed=7, epochs=4)
    beat = dict(trial=trial.to_dict(), started=record.started, updated=record.ended, interval_s=5, epoch=1, epochs=4)
    path = measured / "checkpoints" / f"accuracy-{trial.id()}.heartbeat.json"
    path.write_text(json.dumps(beat | {"images_per_s": 100.0}))
    status = read_status(measured)
    assert status.left_s is None and [running.left_s for running in status.running] == [None]


def test_two_data_sets_of_one_written_name_have_tables_of_their_own(measured, tmp_path):
    for path in (measured / "records").glob("*.json"):
        record = Record.load(path)
        trial = dataclasses.replace(record.trial, dataset="folder:Photos!", dataset_source="0" * 64)
        dataclasses.replace(record, trial=trial, id=trial.id()).save(measured / "records")
        if path.with_suffix(".npy").exists():
            shutil.copy(path.with_suffix(".npy"), measured / "records" / f"accuracy-{trial.id()}.npy")
    assert cli.main(["report", "--results", str(measured)]) == 0
    names = [path.name for path in (measured / "tables").iterdir()]
    assert len(names) == 2 and all(name.startswith("folder-photos-") and name.endswith("-quick") for name in names)


def test_people_read_the_beginning_of_a_fingerprint_and_programs_all_of_it(measured):
    source = load_records(measured)[0].trial.dataset_source
    assert source is not None and len(source) == 64
    assert cli.main(["report", "--results", str(measured)]) == 0
    written = [path for path in measured.rglob("*") if path.suffix in (".md", ".tex", ".html", ".svg", ".csv")]
    holding = {path.suffix for path in written if source in path.read_text(encoding="utf-8")}
    assert holding == {".csv"}
    shared = (next((measured / "tables").iterdir()) / "summary.md").read_text(encoding="utf-8")
    assert f"; dataset source {source[:12]};" in shared


def test_the_classes_of_the_test_images_stay_with_the_results(measured, tmp_path):
    frame = results_frame(measured)
    answers = correct_answers(frame, measured)
    trained = frame[frame["kind"] == "accuracy"]
    assert set(answers) == set(trained["id"]) and len(answers) == 4
    for row in trained.to_dict("records"):
        assert 100 * answers[row["id"]].mean() == pytest.approx(row["test_top1_percent"])
    path = next((measured / "records").glob("accuracy-*.npy"))
    np.save(path, 1 - np.load(path))
    _, problems = validate(measured, tmp_path / "data")
    assert len(problems) == 1 and "its predictions come to" in problems[0]
    np.save(path, np.load(path)[1:])
    assert "predictions of shape (3,) for a test split of (4,)" in validate(measured, tmp_path / "data")[1][0]


@pytest.mark.parametrize("dataset", ["", "folder:{}/nowhere", "folder:{}/photos/cat", "{}/x.py:Nothing", "folderr:{}"])
def test_bad_data_are_one_line_and_exit_code_2(tmp_path, capsys, dataset):
    make_folder(tmp_path / "photos")
    words = ["train", "--mixer", "dct", "--dataset", dataset.format(tmp_path), "--data-dir", str(tmp_path / "data")]
    assert cli.main([*words, "--results", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("token-mixers: ") and "\n" not in error
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_two_commands_from_photographs_to_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "photos", {"cat": 12, "dog": 12, "owl": 12})
    small = [
        "--dim",
        "8",
        "--depth",
        "1",
        "--epochs",
        "2",
        "--threads",
        "1",
        "--rounds",
        "1",
        "--mixer",
        "conv1x1,attention",
    ]
    assert cli.main(["bench-all", "--dataset", "folder:photos", *small]) == 0
    said = capsys.readouterr().out
    assert "folder:photos: 36 images decoded to 32 x 32 px, kept in data/cache/folder_photos-" in said
    assert cli.main(["status"]) == 0
    assert "to do" in capsys.readouterr().out
    kinds = {r.kind for r in load_records(tmp_path / "results") if r.status == "ok"}
    assert kinds == {"accuracy", "cost", "latency"}
    assert (tmp_path / "results" / "index.html").is_file()
    assert list((tmp_path / "results" / "plots" / "folder-photos-quick").glob("*.png"))
