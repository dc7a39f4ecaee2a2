from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.contract.errors import Diverged, UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.record import load_records
from benchmarks.plan.trials import Plan, Request
from benchmarks.sweep import one_trial
from benchmarks.sweep.run import Runner

REQUEST = Request(
    mixer="dct,conv1x1", profile="quick", device="cpu", threads=1, dim=8, depth=1, epochs=1, train_images=300, seed=(0,)
)


@pytest.fixture
def runner(tmp_path) -> Runner:
    return Runner(tmp_path / "results", tmp_path / "data", own_process=False)


def accuracy_trials():
    return Plan(REQUEST).accuracy(all_seeds=False)


def test_a_measured_trial_is_not_measured_again(runner, monkeypatch):
    trials = accuracy_trials()
    first = runner.run(trials[:1])
    assert [r.measured_now for r in first] == [True]
    monkeypatch.setattr(one_trial, "train", lambda trial, *a, **k: pytest.fail(f"{trial.mixer} was trained again"))
    assert [r.measured_now for r in runner.run(trials[:1])] == [False]


def test_a_record_holds_the_trial_its_curve_and_its_predictions(runner):
    (result,) = runner.run(accuracy_trials()[:1])
    (record,) = load_records(runner.records)
    assert record == result.record and record.status == "ok" and len(record.history) == 1
    predictions = np.load(runner.records / f"accuracy-{record.id}.npy", allow_pickle=False)
    assert predictions.dtype == np.uint8 and predictions.shape == (DATASETS[record.trial.dataset].test_images,)
    assert not list(runner.checkpoints.glob("*.pt"))
    assert (runner.checkpoints / f"accuracy-{record.id}.safetensors").stat().st_size > 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Diverged("the loss is not finite"), "diverged"),
        (MemoryError("asks for 10 bytes"), "oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "oom"),
        (ZeroDivisionError("in /home/somebody/mixer.py"), "error"),
    ],
)
def test_a_failure_is_a_record_and_the_sweep_goes_on(runner, monkeypatch, error, status):
    real = one_trial.train

    def fail_on_dct(trial, *rest, **more):
        if trial.mixer == "dct":
            raise error
        return real(trial, *rest, **more)

    monkeypatch.setattr(one_trial, "train", fail_on_dct)
    failed, fine = runner.run(accuracy_trials())
    assert (failed.record.status, fine.record.status) == (status, "ok")
    assert failed.record.reason and "/home" not in failed.record.reason
    assert failed.record.metrics == {}
    json.loads((runner.records / failed.record.file_name).read_text(), parse_constant=pytest.fail)
    monkeypatch.undo()
    assert [r.measured_now for r in runner.run(accuracy_trials())] == [False, False]
    again = Runner(runner.records.parent, runner.data_dir, retry=["diverged", "oom", "error"], own_process=False)
    results = {r.record.trial.mixer: r for r in again.run(accuracy_trials())}
    assert results["dct"].measured_now and results["dct"].record.status == "ok"
    assert not results["conv1x1"].measured_now


def test_an_unsupported_size_is_a_record(runner):
    trials = Plan(dataclasses.replace(REQUEST, mixer="hadamard", image_size=(18,), patch_size=1)).cost()
    (result,) = runner.run(trials)
    assert result.record.status == "unsupported" and "16 and 20" in result.record.reason


def test_what_cannot_fit_is_refused_before_it_starts(runner, monkeypatch):
    monkeypatch.setattr(one_trial, "free_bytes", lambda device: 1000)
    (result,) = runner.run(accuracy_trials()[:1])
    assert result.record.status == "oom" and "500 may be taken" in result.record.reason


def test_a_results_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        Runner(tmp_path / "results", tmp_path)
