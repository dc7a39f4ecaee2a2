"""What a sweep says of the time it takes: one bar over all latency processes, whose end comes nearer steadily."""

from __future__ import annotations

import itertools
import logging
import random

import pytest

from benchmarks.contract.trial import Trial
from benchmarks.sweep import progress
from benchmarks.sweep.progress import LatencyProgress, item_seconds
from benchmarks.timing.latency import Item

SIZES = (8, 16, 32, 64)
MIXERS = ("dct", "attention", "conv1x1")


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
    bar = LatencyProgress(everything)
    noise = random.Random(0)
    left: list[tuple[float, float]] = []
    shares: list[float] = []
    for size in SIZES:
        group = [trial for trial in everything if trial.image_size == size]
        with bar.process(group) as on_item:
            clock[0] += 8.0
            for number in range(5):
                turn = [(i, item) for i, t in enumerate(group) for item in item_seconds(t, per_image(t))]
                noise.shuffle(turn)
                for i, item in turn:
                    took = item_seconds(group[i], per_image(group[i]))[item] * (2 if number == 0 else 1)
                    clock[0] += factor * took * noise.choice([0.7, 1.0, 1.3])
                    on_item(Item(i, *item, number))
                    left.append((clock[0], bar._left_s))
            on_item(Item(0, "net", "forward", -1))
        shares.append(sum(bar._done.values()) / sum(bar._expected.values()))
    whole = clock[0] - 1000.0
    for (before, first), (after, second) in itertools.pairwise(left):
        if after - before < 5:  # no new process between the two
            assert abs(second - (first - (after - before))) < 0.06 * whole
    for at, seconds in left:  # and it is about right, sooner the more is done
        done = (at - 1000.0) / whole
        if done > 0.3:
            assert abs(at + seconds - clock[0]) < 0.35 * whole
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert bar._left_s == pytest.approx(0.0, abs=1e-6)
    assert "of all, about" in caplog.text


def test_without_a_terminal_there_is_a_line_now_and_then(clock, caplog):
    caplog.set_level(logging.INFO)
    everything = trials()
    bar = LatencyProgress(everything)
    with bar.process(everything[:3]) as on_item:
        for number in range(300):
            clock[0] += 1.0
            on_item(Item(number % 3, "copy", "forward", 0))
    assert 3 <= len(caplog.records) <= 6


def test_what_another_bar_never_heard_of_does_no_harm(clock):
    bar = LatencyProgress(trials(), probe=False)
    with bar.process(trials()[3:6]) as on_item:
        on_item(Item(0, "matmul", "forward", 0))
        on_item(Item(2, "net", "forward", 7))
