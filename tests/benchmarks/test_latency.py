from __future__ import annotations

import statistics

import pytest

from benchmarks.measure import latency
from benchmarks.measure.latency import MATMUL_SIDE, METRIC_OF, measure_latency, mixer_work
from benchmarks.trial import Trial
from mixers import create_mixer
from mixers.registry import mixer_entry

TIMES = ("copy_ms", *METRIC_OF.values())
BROKEN = """
from mixers import Mixer


class Broken(Mixer):
    def forward(self, x):
        if x.requires_grad:
            raise RuntimeError("no gradient today")
        return x

    def flops(self):
        return 0
"""


def trial(mixer: str, size: int = 8, **changes) -> Trial:
    fields = {"kind": "latency", "dataset": "constellations", "patch_size": 1, "dim": 8, "depth": 1, "batch_size": 2}
    return Trial(mixer=mixer, image_size=size, **(fields | {"rounds": 2, "compiled": False, "threads": 1} | changes))


def test_every_round_of_every_mixer_is_timed_and_a_mixer_that_raises_is_told(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    mixer_entry(f"{path}:Broken")
    dct, attention, broken = measure_latency([trial("dct"), trial("attention"), trial("broken:Broken")])
    for timing in (dct, attention):  # of real tensors: for fake ones PyTorch would choose another attention
        assert timing.metrics["method"] == create_mixer(timing.trial.mixer, 8, (8, 8)).method_on("cpu")
    assert broken.metrics["method"] is None
    for timing in (dct, attention):
        assert (timing.status, timing.reason) == ("ok", None)
        assert [row["round"] for row in timing.history] == [0, 1]
        for name in TIMES:
            assert timing.metrics[name] == statistics.median(row[name] for row in timing.history) > 0
        ratios = [row["mixer_forward_ms"] / row["copy_ms"] for row in timing.history]
        assert timing.metrics["copy_ratio"] == statistics.median(ratios)
        rate = 2 * MATMUL_SIDE["cpu"] ** 3 / statistics.median(row["matmul_ms"] for row in timing.history) * 1000
        assert timing.metrics["matmul_flops_per_s"] == pytest.approx(rate)
        for row in timing.history:
            by_bytes = row["copy_ms"] * timing.metrics["mixer_bytes"] / (2 * 4 * 2 * 8 * 64)
            by_flops = row["matmul_ms"] * timing.metrics["mixer_batch_flops"] / (2 * MATMUL_SIDE["cpu"] ** 3)
            assert row["floor_ms"] == pytest.approx(max(by_bytes, by_flops))
        floors = [row["mixer_forward_ms"] / row["floor_ms"] for row in timing.history]
        assert timing.metrics["floor_ratio"] == pytest.approx(statistics.median(floors))
        assert timing.metrics["images_per_s"] == pytest.approx(2000 / timing.metrics["forward_ms"])
        assert timing.metrics["peak_memory_bytes"] > 0 and timing.metrics["drift_ratio"] > 0
    assert [row["copy_ms"] for row in dct.history] == [row["copy_ms"] for row in attention.history]
    assert broken.status == "error" and "no gradient today" in broken.reason
    assert broken.history == [] and "forward_ms" not in broken.metrics


@pytest.mark.parametrize(
    ("mixer", "changes", "moved", "flops"),
    [
        ("dct", {}, 2 * 4 * 1024, 2.5 * 1024 * 6),  # 2 images of 8 channels and 64 tokens
        ("fft_complex", {"precision": "bfloat16"}, 3 * 2 * 1024, 2.5 * 1024 * 6),
        ("linear", {}, 2 * 4 * 1024 + 4 * 64**2, 2 * 1024 * 64),
        ("conv1x1", {}, 0, 0),
    ],
)
def test_the_work_of_a_mixer_is_what_its_definition_asks_for(mixer, changes, moved, flops):
    assert mixer_work(trial(mixer, **changes)) == {"mixer_bytes": moved, "mixer_batch_flops": flops}


def test_a_size_that_does_not_exist_is_told_and_the_others_are_timed():
    hadamard, conv = measure_latency([trial("hadamard", 6, rounds=1), trial("conv1x1", 6, rounds=1)])
    assert hadamard.status == "unsupported" and "the nearest that work are 4 and 8" in hadamard.reason
    assert conv.status == "ok" and conv.metrics["forward_ms"] > 0
    assert conv.metrics["floor_ms"] is None and conv.metrics["floor_ratio"] is None  # it has nothing to do


def test_what_does_not_fit_into_memory_is_not_started(monkeypatch):
    monkeypatch.setattr(latency, "free_bytes", lambda device: 20_000)
    (timing,) = measure_latency([trial("random", rounds=1)])
    assert timing.status == "oom"
    assert f"{timing.metrics['peak_memory_bytes']:,} bytes" in timing.reason and "16,000 are free" in timing.reason
    assert timing.metrics["forward_backward_ms"] is None


def test_a_process_that_dies_leaves_a_reason(monkeypatch):
    monkeypatch.setattr(latency.sys, "executable", "/bin/false")
    (timing,) = measure_latency([trial("dct", rounds=1)])
    assert timing.status == "error" and "ended with 1" in timing.reason
    assert timing.metrics["forward_ms"] is None
