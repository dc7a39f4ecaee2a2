"""Where the time of a step goes: the parts add up, each operator is in the right one, and the trace can be opened."""

from __future__ import annotations

import csv
import gzip
import json

import pytest
import torch

from benchmarks import cli
from benchmarks.measure.step_profile import PARTS, PREFIX

TINY = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "16", "--depth", "2"]
TINY += ["--train-images", "300", "--rounds", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    results = tmp_path_factory.mktemp("profile")
    assert cli.main(["profile", "--mixer", "attention,conv1x1", "--results", str(results), *TINY]) == 0
    return results


def test_the_parts_add_up_to_the_step(folder):
    profiles = json.loads((folder / "profile.json").read_text())["profiles"]
    assert [entry["trial"]["mixer"] for entry in profiles] == ["attention", "conv1x1"]
    for entry in profiles:
        assert list(entry["part_ms"]) == list(PARTS) and entry["steps"] == 3
        assert sum(entry["part_ms"].values()) == pytest.approx(entry["profiled_step_ms"], rel=1e-6)
        assert sum(mean for mean, _, _ in entry["part_percent"].values()) == pytest.approx(100, rel=1e-6)
        assert all(low <= mean <= high for mean, low, high in entry["part_percent"].values())
        assert min(entry["part_ms"].values()) > 0 and entry["step_ms"] > 0
        # what has no name of its own is the smaller part even of a tiny step, all Python
        assert entry["part_percent"]["rest"][0] < 50


def test_only_a_mixer_that_computes_takes_time_and_its_backward_is_its_own(folder):
    attention, conv1x1 = csv.DictReader((folder / "profile.csv").open())
    assert float(attention["mixer_percent"]) > 3 * float(conv1x1["mixer_percent"])
    for row in (attention, conv1x1):
        assert float(row["conv1x1_ms"]) > 0 and float(row["norm_ms"]) > 0 and row["status"] == "ok"
    text = (folder / "profile.md").read_text()
    assert text.count("\n| attention |") == text.count("\n| conv1x1 |") == 1


def test_the_trace_opens_and_says_nothing_of_the_machine(folder):
    for mixer in ("attention", "conv1x1"):
        trace = json.loads(gzip.decompress((folder / f"trace-{mixer}.json.gz").read_bytes()))
        names = [event.get("name") for event in trace["traceEvents"]]
        assert names.count(PREFIX + "mixer") == 3 * 2  # steps, blocks
        assert names.count(PREFIX + "norm") == 3 * (2 * 3 + 1)
        assert {PREFIX + name for name in ("step", "net", "loss", "optimizer", "backward", "data")} <= set(names)
        complete = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
        assert complete and all(event["dur"] >= 0 and "ts" in event for event in complete)
        assert not {"host_name", "traceName"} & set(trace)


def test_the_backward_of_an_operator_belongs_to_the_part_that_asked_for_it():
    from torch.profiler import ProfilerActivity, profile, record_function

    from benchmarks.measure.step_profile import attribute

    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            for _ in range(30):
                torch.linalg.svd(torch.eye(60))
            return gradient

    x = torch.ones(4, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(PREFIX + "step"):
        with record_function(PREFIX + "net"):
            y = x * 2
            with record_function(PREFIX + "norm"):
                y = y + 1
            with record_function(PREFIX + "mixer"):
                y = Slow.apply(y)
            y = y * 3
        with record_function(PREFIX + "backward"):
            y.sum().backward()
    (whole,), parts = attribute(profiler.events(), on_gpu=False)
    assert parts["mixer"][0] > 0.8 * whole > 0
    assert sum(values[0] for values in parts.values()) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--mixer dtc", "Did you mean 'dct'?"),
        ("--mixer dct --seed 0,1", "a profile takes one"),
        ("--mixer dct --rounds 0", "1 to 1000"),
        ("--mixer hadamard --image-size 18 --patch-size 1", "16 and 20"),
    ],
)
def test_a_mistake_is_answered_in_one_line(capsys, tmp_path, arguments, says):
    assert cli.main(["profile", *TINY[:-2], "--results", str(tmp_path), *arguments.split()]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
