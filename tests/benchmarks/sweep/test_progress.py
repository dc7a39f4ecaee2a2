"""What a sweep says while it runs: one bar for the whole, whose end comes nearer steadily, and what runs now."""

from __future__ import annotations

import io
import itertools
import logging
import random
import re
import statistics
from types import SimpleNamespace

import pytest
from tqdm import tqdm

from benchmarks.contract.record import Record
from benchmarks.contract.trial import Trial
from benchmarks.sweep import bar, progress
from benchmarks.sweep.process import Heartbeat
from benchmarks.sweep.progress import LatencyProgress, Progress, item_seconds, told_apart
from benchmarks.timing.latency import Item

SIZES = (8, 16, 32, 64)
MIXERS = ("dct", "attention", "conv1x1")


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("glue:cola", "Matthews correlation (x 100) 12.30, test top-1 70.00 %"),
        ("glue:mrpc", "F1 of class 1 (x 100) 81.00, test top-1 70.00 %"),
        ("glue:stsb", "Spearman correlation (x 100) 5.00"),
        ("glue:rte", "test top-1 70.00 %"),
        ("cifar100", "test top-1 70.00 %, top-5 90.00 %"),
    ],
)
def test_the_headline_of_a_task_is_said_first(dataset, said):
    metrics = {"test_matthews": 12.3, "test_f1": 81.0, "test_spearman": 5.0, "test_top1_percent": 70.0}
    metrics["test_top5_percent"] = 90.0 if dataset == "cifar100" else None
    record = SimpleNamespace(status="ok", kind="accuracy", trial=SimpleNamespace(dataset=dataset), metrics=metrics)
    assert progress.outcome_line(record) == said


def trials() -> list[Trial]:
    return [
        Trial(
            kind="latency", mixer=mixer, dataset="constellations", image_size=size, patch_size=1, dim=64, depth=4,
            batch_size=16, rounds=5, device="cpu", threads=1,
        )
        for size in SIZES
        for mixer in MIXERS
    ]  # fmt: skip


def per_image(trial: Trial, probe: bool = True) -> float:
    return 1e-6 * trial.tokens * (trial.tokens / 100 if trial.mixer == "attention" else 1)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "per_image_s", per_image)
    return now


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_time_left_comes_down_without_jumps(clock, caplog, monkeypatch, factor):
    """The machine is `factor` times as slow as expected, some items take three times as long, starts take 8 s."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)
    everything = trials()
    timed = LatencyProgress(everything)
    noise = random.Random(0)
    left: list[tuple[float, float]] = []
    shares: list[float] = []
    for size in SIZES:
        group = [trial for trial in everything if trial.image_size == size]
        with timed.process(group) as on_item:
            clock[0] += 8.0
            for number in range(5):
                turn = [(i, item) for i, t in enumerate(group) for item in item_seconds(t, per_image(t))]
                noise.shuffle(turn)
                for i, item in turn:
                    took = item_seconds(group[i], per_image(group[i]))[item] * (2 if number == 0 else 1)
                    clock[0] += factor * took * noise.choice([0.7, 1.0, 1.3])
                    on_item(Item(i, *item, number))
                    left.append((clock[0], timed.left_s()))
            on_item(Item(0, "net", "forward", -1))
        shares.append(statistics.mean(timed.share(trial) for trial in everything))
    whole = clock[0] - 1000.0
    for (before, first), (after, second) in itertools.pairwise(left):
        if after - before < 5:  # no new process between the two
            assert abs(second - (first - (after - before))) < 0.06 * whole
    for at, seconds in left:  # and it is about right, sooner the more is done
        done = (at - 1000.0) / whole
        if done > 0.3:
            assert abs(at + seconds - clock[0]) < 0.35 * whole
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert timed.left_s() == pytest.approx(0.0, abs=1e-6)
    assert "of all, about" in caplog.text


def test_without_a_terminal_there_is_a_line_now_and_then(clock, caplog):
    caplog.set_level(logging.INFO)
    everything = trials()
    timed = LatencyProgress(everything)
    with timed.process(everything[:3]) as on_item:
        for number in range(300):
            clock[0] += 1.0
            on_item(Item(number % 3, "copy", "forward", 0))
    assert 3 <= len(caplog.records) <= 6


def test_what_another_bar_never_heard_of_does_no_harm(clock):
    timed = LatencyProgress(trials(), probe=False)
    with timed.process(trials()[3:6]) as on_item:
        before = timed.left_s()
        on_item(Item(0, "matmul", "forward", 0))
        on_item(Item(2, "net", "forward", 7))
        assert timed.left_s() <= before


class Terminal(io.StringIO):
    """Standard error as a terminal of 80 columns."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """What the line at the foot said, one after the other."""
        return [text.strip() for text in re.split(r"[\r\n]", self.getvalue()) if text.strip()]


def training(mixer: str, seed: int) -> Trial:
    return Trial(
        kind="accuracy", mixer=mixer, dataset="mosaics", image_size=16, patch_size=4, dim=32, depth=2, seed=seed,
        epochs=10, lr={"dct": 0.004, "attention": 0.002}[mixer], batch_size=64, train_images=2000, device="cpu",
        threads=1,
    )  # fmt: skip


def record_of(trial: Trial, **metrics: float) -> Record:
    return Record(
        id=trial.id(), kind=trial.kind, trial=trial, status="ok", reason=None, environment={}, code={},
        metrics=metrics, history=[], started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:01:00+00:00",
    )  # fmt: skip


TRAINED = [training(mixer, seed) for mixer in ("dct", "attention") for seed in (0, 1)]


@pytest.fixture
def terminal(monkeypatch):
    found = Terminal()
    monkeypatch.setattr(bar, "tqdm", lambda **how: tqdm(**how | {"file": found, "dynamic_ncols": False, "ncols": 79}))
    monkeypatch.setattr(progress, "estimate_seconds", lambda trial: 60.0)
    monkeypatch.setattr(progress, "LOOK_S", 3600.0)
    monkeypatch.setattr(progress, "SHOW_EVERY_S", 0.0)
    return found


def test_one_bar_says_how_much_of_the_whole_is_done_and_what_runs_now(terminal, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    timed = trials()[:2]
    with Progress([*TRAINED, *timed], [*TRAINED[1:], *timed], 2, True, tmp_path) as sweep:
        first, second, third = TRAINED[1:]
        sweep.start(first)
        with Heartbeat(tmp_path, f"accuracy-{second.id()}", second) as heartbeat:
            heartbeat.epoch_done(4, 100.0)
            sweep.start(second)
            assert sweep.share == pytest.approx(0.4 / 5, abs=0.01)
            sweep.finish(first, record_of(first, test_top1_percent=50.0), 30.0)
            assert sweep.share == pytest.approx(1.4 / 5, abs=0.01)
            line = terminal.shown()[-1]
            # half of what was expected for those that are left: (0.6 + 1) / 2 workers and two that have the machine
            assert "2 of 6, about 2 min left: attention, seed 0, epoch 4/10" in line and line.startswith("28%|")
        sweep.finish(second, record_of(second, test_top1_percent=50.0), 30.0)
        sweep.finish(third, None)
        sweep.start_together(timed)
        with sweep.timed.process(timed) as on_item:
            on_item(Item(0, "net", "forward", 0))
            on_item(Item(1, "net", "forward", 0))
    assert "latency, 8 px" in terminal.shown()[-1]
    assert all(len(line) < 80 for line in terminal.shown()) and "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")  # and nothing is left of it
    said = [record.getMessage() for record in caplog.records]
    assert not any(line.startswith("[") for line in said)  # what begins is in the bar
    assert "  accuracy dct 16 px patch 4 seed 1: test top-1 50.00 %" in said


def test_epochs_are_in_the_bar_where_there_are_several_trials_and_lines_of_one(terminal, caplog):
    caplog.set_level(logging.INFO)
    epochs = logging.getLogger("benchmarks.training.train")
    for some in (TRAINED, TRAINED[:1]):
        with Progress(some, some):
            epochs.info("  epoch of %d", len(some))
            epochs.warning("a checkpoint of %d", len(some))
    epochs.info("  epoch afterwards")
    said = [record.getMessage() for record in caplog.records if record.name == epochs.name]
    assert said == ["a checkpoint of 4", "  epoch of 1", "a checkpoint of 1", "  epoch afterwards"]


def test_without_a_terminal_there_is_no_bar_and_a_line_when_a_trial_begins(caplog, monkeypatch, capsys):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "estimate_seconds", lambda trial: 60.0)
    with Progress(TRAINED, TRAINED) as sweep:
        sweep.start(TRAINED[0])
        sweep.finish(TRAINED[0], record_of(TRAINED[0], test_top1_percent=50.0), 60.0)
    assert capsys.readouterr().err == ""
    assert [record.getMessage() for record in caplog.records] == [
        "plan: 4 accuracy",
        "to measure: 4, about 4 min",
        "[1/4] accuracy dct 16 px patch 4 seed 0",
        "  accuracy dct 16 px patch 4 seed 0: test top-1 50.00 %; about 3 min left",
    ]


def test_only_what_tells_trials_of_a_mixer_apart_is_named():
    assert told_apart(TRAINED) == ["seed"]
    assert told_apart(TRAINED[::2]) == []  # each mixer has its own rate, and is named itself
