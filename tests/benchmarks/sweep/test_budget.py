"""BUDGET and WORKERS: what is measured in which order, what is left, and accuracy that depends on no neighbour."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from benchmarks import sources
from benchmarks.cli.flags import seconds_of
from benchmarks.contract import schema
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import load_records
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.frame import SPEEDS, results_frame
from benchmarks.studies import attempt
from benchmarks.studies.attempt import Deadline
from benchmarks.sweep import progress, run
from benchmarks.sweep.budget import Budget, left_lines
from benchmarks.sweep.one_trial import LEFT, Measured, name_of, share_left, steps_to_come
from benchmarks.sweep.process import Cancelled, OwnProcess, TimedOut
from benchmarks.sweep.run import Runner
from benchmarks.sweep.status import read_status

ROOT = Path(__file__).resolve().parents[3]
REQUEST = Request(
    mixer="dct,conv1x1,attention", profile="quick", device="cpu", threads=1, dim=8, depth=1, epochs=2, train_images=300,
    seed=(0, 1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("540", 540),
        ("540s", 540),
        ("9m", 540),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1h0m5s", 3605),
        ("90S", 90),
        ("0.5", 0.5),
    ],
)
def test_a_time_is_written_as_people_write_it(text, seconds) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["1h30", "1m30", "", "0", "-3", "9 minutes", "m", "1e3", "nan", "5m1h", "99999999"])
def test_what_is_no_time_is_refused_with_an_example(text) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 540, 9m or 1h30m"):
        seconds_of(text)


def test_a_budget_counts_from_the_start_of_the_process_and_keeps_time_for_the_report() -> None:
    age = time.time() - psutil.Process().create_time()
    assert Budget().until == math.inf and Budget().left_s is None and Budget().fits(1e9)
    whole, reporting = Budget(age + 100), Budget(age + 100, report_records=100)
    assert 90 < whole.left_s <= 100
    assert reporting.left_s < whole.left_s - 8
    assert whole.fits(50) and not whole.fits(101)
    assert Budget(age / 2).left_s == 0


def test_what_comes_first_is_a_fair_set_with_its_costs_and_times() -> None:
    trials = Plan(dataclasses.replace(REQUEST, seed=None)).by_worth()
    plan = Plan(dataclasses.replace(REQUEST, seed=None))
    assert sorted(map(repr, trials)) == sorted(map(repr, [*plan.accuracy(), *plan.cost(), *plan.latency()]))
    assert [(t.kind, t.mixer) for t in trials[:6]] == [
        *(("accuracy", mixer) for mixer in ("attention", "conv1x1", "dct")),
        *(("cost", mixer) for mixer in ("dct", "conv1x1", "attention")),
    ]
    kinds = [(t.kind, t.seed if t.kind == "accuracy" else 0) for t in trials]
    assert list(dict.fromkeys(kinds)) == [
        ("accuracy", 0), ("cost", 0), ("latency", 0), ("accuracy", 1), ("accuracy", 2),
    ]  # fmt: skip
    timed = [t.patch_size for t in trials if t.kind == "latency"]
    assert timed == sorted(timed, reverse=True)  # the trained nets before the sweep over sizes


def stub(monkeypatch, expected: dict[str, float], real: dict[str, float]) -> tuple[list[str], list[float]]:
    """Trials that are expected to take, and take, as long as it says, on a clock of their own."""
    took: list[str] = []
    clock = [0.0]
    monkeypatch.setattr(progress, "estimate_seconds", lambda trial: expected[trial.mixer])
    monkeypatch.setattr(run, "load_data", lambda *a: None)
    monkeypatch.setattr(run, "time", types.SimpleNamespace(perf_counter=lambda: clock[0], sleep=time.sleep))

    def measure(call):
        took.append(f"{call.trial.mixer} {call.trial.seed}")
        clock[0] += real[call.trial.mixer]
        return Measured(metrics=dict.fromkeys(("test_top1_percent", "test_top5_percent", "val_top1_percent"), 1.0))

    monkeypatch.setattr(run, "measure", measure)
    return took, clock


class OfClock(Budget):
    def __init__(self, seconds: float, clock: list[float]) -> None:
        super().__init__(seconds)
        self.clock = clock

    def fits(self, expected_s: float) -> bool:
        return self.clock[0] + expected_s <= (self.seconds or 0)


def test_nothing_is_begun_that_would_not_end_in_time(tmp_path, monkeypatch) -> None:
    seconds = {"attention": 30.0, "conv1x1": 5.0, "dct": 12.0}
    took, clock = stub(monkeypatch, seconds, seconds)
    trials = sorted(Plan(REQUEST).accuracy(), key=lambda t: (t.seed, t.mixer))
    runner = Runner(tmp_path, tmp_path, own_process=False, budget=OfClock(55.0, clock))
    results = runner.run(trials)
    assert took == ["attention 0", "conv1x1 0", "dct 0", "conv1x1 1"]  # not attention or dct again, but what fits
    assert len(results) == 4 and [(t.mixer, t.seed) for t in runner.left] == [("attention", 1), ("dct", 1)]
    assert re.search("2 left.*the same command goes on", "\n".join(left_lines(runner.left)))
    again = Runner(tmp_path, tmp_path, own_process=False)
    assert len(again.run(trials)) == 6 and again.left == []
    assert took[4:] == ["attention 1", "dct 1"]


def test_later_trials_are_judged_by_what_the_first_ones_took(tmp_path, monkeypatch) -> None:
    names = ("attention", "conv1x1", "dct")
    took, clock = stub(monkeypatch, dict.fromkeys(names, 1.0), dict.fromkeys(names, 20.0))
    runner = Runner(tmp_path, tmp_path, own_process=False, budget=OfClock(50.0, clock))
    runner.run(Plan(REQUEST).accuracy())
    assert len(took) == 2 and len(runner.left) == 4


def test_what_a_budget_cuts_has_no_record_and_is_left(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run, "measure", lambda call: Measured(LEFT, "after 1 of 2 epochs"))
    runner = Runner(tmp_path, tmp_path, own_process=False, budget=Budget(1e6))
    assert runner.run(Plan(REQUEST).accuracy()[:2]) == [] and len(runner.left) == 2
    assert not list(runner.records.glob("*.json"))


@pytest.mark.slow
def test_what_no_budget_suffices_for_goes_on_from_one_to_the_next(tmp_path) -> None:
    (trial,) = Plan(dataclasses.replace(REQUEST, mixer="dct", seed=(0,), epochs=3000)).accuracy()
    epochs = []
    for _ in range(2):
        age = time.time() - psutil.Process().create_time()
        runner = Runner(tmp_path, tmp_path, budget=Budget(age + 20))
        assert runner.run([trial]) == [] and runner.left == [trial]
        (checkpoint,) = runner.checkpoints.glob("*.pt")
        epochs.append(round(3000 * (1 - share_left(checkpoint, trial))))
        assert not list(runner.records.glob("*.json"))
    assert 0 < epochs[0] < epochs[1] < 3000
    assert share_left(tmp_path / "none.pt", trial) == 1.0


def test_a_row_that_would_take_as_long_as_the_longest_is_not_begun(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(attempt, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    deadline, asked = Deadline(130.0), []
    for seconds in (2.0, 12.0, 1.0, 3.0, 1.0):
        asked.append(deadline.passed())
        clock[0] += seconds
    assert asked == [False, False, False, False, True]  # at 118 another 12 would end at 130
    assert not Deadline(None).passed()


def content(results: Path) -> dict[str, tuple]:
    found = {}
    for record in load_records(results):
        predictions = np.load(results / "records" / f"accuracy-{record.id}.npy")
        curve = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in record.history]
        scores = {k: v for k, v in record.metrics.items() if k not in SPEEDS}
        found[record.id] = curve, scores, predictions.tobytes()
    return found


def test_accuracy_is_bit_for_bit_the_same_with_neighbours_and_speeds_are_marked(tmp_path) -> None:
    trials = Plan(REQUEST).accuracy()[:4]
    Runner(tmp_path / "one", tmp_path).run(trials)
    runner = Runner(tmp_path / "two", tmp_path, workers=2)
    results = runner.run(trials)
    assert len(results) == 4 and all(r.measured_now for r in results)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    alone, beside = (results_frame(tmp_path / name) for name in ("one", "two"))
    assert {r.record.environment["neighbours"] for r in results} == {1}
    assert alone["train_images_per_s"].notna().all() and beside["train_images_per_s"].isna().all()
    assert read_status(tmp_path / "two").totals["done"] == 4


def test_nothing_is_timed_while_others_train(tmp_path, monkeypatch) -> None:
    going: set[str] = set()
    seen: list[tuple[str, int]] = []
    lock = threading.Lock()

    def slow(call):
        with lock:
            going.add(call.trial.mixer)
            seen.append(("train", len(going)))
        time.sleep(0.3)
        with lock:
            going.discard(call.trial.mixer)
        return Measured("error", "none")

    def timed(self, trials, on_item):
        seen.append(("latency", len(going)))
        return [self.write(trial, Measured("error", "none")) for trial in trials]

    monkeypatch.setattr(run, "measure", slow)
    monkeypatch.setattr(Runner, "measure_timed", timed)
    plan = Plan(dataclasses.replace(REQUEST, seed=(0,), image_size=(16,)))
    runner = Runner(tmp_path, tmp_path, own_process=False, workers=3)
    runner.run([*plan.accuracy()[:2], *plan.latency(), *plan.accuracy()[2:]])
    assert ("train", 2) in seen and ("latency", 0) in seen
    assert all(others == 0 for kind, others in seen if kind == "latency")


def test_what_is_wrong_with_the_input_ends_all_workers(tmp_path, monkeypatch) -> None:
    def refuse(call):
        if call.trial.mixer == "dct":
            raise UserError("no room")
        time.sleep(0.5)
        return Measured("error", "none")

    monkeypatch.setattr(run, "measure", refuse)
    with pytest.raises(UserError, match="no room"):
        Runner(tmp_path, tmp_path, own_process=False, workers=3).run(Plan(REQUEST).accuracy())


def test_a_call_that_is_not_wanted_any_more_is_killed() -> None:
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    with OwnProcess() as process, pytest.raises(Cancelled):
        process.call(time.sleep, 600, cancel=cancel)


def test_a_process_is_called_again_as_long_as_nothing_goes_wrong() -> None:
    with OwnProcess() as process:
        first = process.call(os.getpid)
        assert process.call(os.getpid) == first
        with pytest.raises(RuntimeError):
            process.call(os._exit, 3)
        assert process.call(os.getpid) != first


def test_an_interrupt_ends_all_workers_and_loses_nothing(tmp_path) -> None:
    command = [
        sys.executable, "-m", "benchmarks", "train", "--mixer=dct,conv1x1,hadamard", "--epochs=500", "--dim=8",
        "--depth=1", "--train-images=2000", "--threads=1", "--workers=2", f"--results={tmp_path}",
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    running = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    end = time.monotonic() + 120
    while len(list((tmp_path / "checkpoints").glob("*.pt"))) < 2:
        assert time.monotonic() < end and running.poll() is None
        time.sleep(0.1)
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130 and "interrupted" in output and "Traceback" not in output
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 2


def test_steps_to_come_are_those_of_nets_of_one_shape() -> None:
    trials = Plan(REQUEST).accuracy()
    to_come = steps_to_come(trials)
    own = 2 * -(-300 // (trials[0].batch_size or 1))
    assert [to_come[t] for t in trials] == [2 * own] * 6


def test_records_of_other_code_are_named_and_measured_again_where_that_is_asked_for(
    tmp_path, monkeypatch, caplog
) -> None:
    trials = [trial for trial in Plan(REQUEST).accuracy() if trial.seed == 0]
    measured: list[str] = []

    def measure(call):
        measured.append(call.trial.mixer)
        return Measured("error", "none")

    monkeypatch.setattr(run, "measure", measure)

    def runner(*retry: str) -> Runner:
        return Runner(tmp_path, tmp_path, retry, own_process=False)

    runner().run(trials)
    assert len(measured) == 3
    real = sources.sources_of
    monkeypatch.setattr(sources, "sources_of", lambda t: real(t) | ({"mixer": "0" * 16} if t.mixer == "dct" else {}))
    with caplog.at_level(logging.WARNING):
        runner().run(trials)
    assert (
        len(measured) == 3 and "1 of the 3 records found are of other code than today's (mixer of dct)" in caplog.text
    )
    assert "--retry changed" in caplog.text
    (checkpoint,) = (runner().checkpoints / f"{name_of(t)}.pt" for t in trials if t.mixer == "dct")
    checkpoint.touch()
    runner("changed").run(trials)
    assert measured[3:] == ["dct"] and not checkpoint.exists()  # no epoch of the other code is gone on from


class Remembered:
    """Stands for a process of its own, and remembers how often one was begun and ended."""

    events: list[str] = []

    def __init__(self) -> None:
        self.events.append("begun")

    def call(self, function, plugins, call, **how):
        self.events.append(call.trial.mixer)
        return Measured("error", "none") if call.trial.mixer == "dct" else Measured(metrics={"test_top1_percent": 1.0})

    def end(self) -> None:
        self.events.append("ended")


def test_on_a_gpu_one_process_trains_one_after_the_other_until_something_goes_wrong(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Remembered, "events", [])
    monkeypatch.setattr(run, "OwnProcess", Remembered)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(run, "load_data", lambda *a: None)
    monkeypatch.setattr(progress, "outcome_line", lambda record: record.status)
    first = Plan(dataclasses.replace(REQUEST, seed=(0,))).accuracy()[0]
    names = ("attention", "conv1x1", "dct", "hadamard", "random")
    trials = [dataclasses.replace(first, mixer=name, device="cuda") for name in names]
    Runner(tmp_path, tmp_path).run(trials)
    events = Remembered.events
    assert events[:5] == ["begun", "attention", "conv1x1", "dct", "ended"]
    assert [e for e in events[5:] if e not in ("begun", "ended")] == ["hadamard", "random"]
    assert "ended" not in events[events.index("hadamard") : events.index("random")] and events[-1] == "ended"


@pytest.mark.slow
def test_a_bounded_sweep_ends_in_time_with_a_fair_set_and_says_what_is_left(tmp_path) -> None:
    budget_s, slack_s = 90, 30  # other tests run beside this one
    command = [sys.executable, "-m", "benchmarks", "bench-all", f"--budget={budget_s}s", f"--results={tmp_path}"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < budget_s + slack_s
    frame = results_frame(tmp_path)
    assert set(frame["status"]) == {"ok"}
    trained = list(frame.sort_values("started")["mixer"][frame["kind"] == "accuracy"])
    # a busy machine may have time for one alone, and then takes one that fits
    assert trained and (len(trained) == 1 or trained[:2] == ["attention", "conv1x1"])
    assert re.search(r"\d+ left, the budget does not reach for them; the same command goes on", done.stdout)
    assert re.search(r"  left: (accuracy|cost|latency) \S+ 16 px patch 4", done.stdout)
    (summary,) = tmp_path.glob("tables/*/summary.csv")
    ranked = {line.split(",")[0] for line in summary.read_text().splitlines()[1:]}
    assert ranked == set(trained)  # nothing unfinished is ranked
    assert (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("timeout_s", "budget_s", "status"),
    [(None, 1e6, LEFT), (5.0, 1e6, "timeout"), (1e9, 1e6, LEFT), (5.0, None, "timeout")],
)
def test_what_ends_a_run_is_told_by_the_bound_that_was_reached(
    tmp_path, monkeypatch, timeout_s, budget_s, status
) -> None:
    class Slow(Remembered):
        def call(self, function, plugins, call, **how):
            raise TimedOut("not done after it")

    monkeypatch.setattr(run, "OwnProcess", Slow)
    runner = Runner(tmp_path, tmp_path, timeout_s=timeout_s, budget=Budget(budget_s))
    assert runner._measure(Plan(REQUEST).accuracy()[0]).status == status


def test_a_missing_package_is_told_before_anything_runs(tmp_path, monkeypatch) -> None:
    schema.validator.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(UserError, match="pip install jsonschema-rs"):
        Runner(tmp_path / "new", tmp_path)
    assert not (tmp_path / "new").exists()
