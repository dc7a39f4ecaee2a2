"""Where the time of a step goes: the parts add up, each operator is in the right one, and the trace can be opened."""

from __future__ import annotations

import csv
import gzip
import json
import time
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from benchmarks.cli import main as cli
from benchmarks.contract.trial import Trial
from benchmarks.studies.profile import measure as step_profile
from benchmarks.studies.profile.measure import PREFIX
from benchmarks.studies.profile.record import PARTS

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


def operators_in_the_mixer(path):
    """Names of the operators that a trace has inside the forward calls of the mixing layers."""
    trace = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    spans = [(e["ts"], e["ts"] + e["dur"]) for e in trace if e.get("name") == PREFIX + "mixer" and e.get("ph") == "X"]
    assert len(spans) == 3 * 2
    operators = [e for e in trace if e.get("ph") == "X" and e["name"].startswith("aten::")]
    return {e["name"] for e in operators if any(start <= e["ts"] <= end - e["dur"] for start, end in spans)}


def test_only_a_mixer_that_computes_takes_time_and_its_backward_is_its_own(folder):
    attention, conv1x1 = csv.DictReader((folder / "profile.csv").open())
    assert operators_in_the_mixer(folder / "trace-attention.json.gz") >= {"aten::linear", "aten::add"}
    assert operators_in_the_mixer(folder / "trace-conv1x1.json.gz") == set()
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

    from benchmarks.studies.profile.measure import attribute

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
    assert parts["mixer"][0] == max(values[0] for values in parts.values()) > 0
    assert sum(values[0] for values in parts.values()) == pytest.approx(whole)


def test_on_a_gpu_a_part_is_its_kernels_and_the_wait_is_the_rest():
    """Events as CUPTI gives them: ranges carry a span of their own, and the backward runs on a thread of its own."""
    from benchmarks.studies.profile.measure import attribute

    def event(name, start_us, end_us, parent=None, kernels_us=0.0, sequence=-1, device=DeviceType.CPU):
        return SimpleNamespace(
            name=name,
            time_range=SimpleNamespace(start=start_us),
            cpu_parent=parent,
            self_device_time_total=kernels_us,
            self_cpu_time_total=1e9,
            cpu_time_total=end_us - start_us,
            sequence_nr=sequence,
            device_type=device,
        )

    step = event(PREFIX + "step", 100, 1100, kernels_us=900)
    net = event(PREFIX + "net", 110, 400, step, kernels_us=500)
    mixer = event(PREFIX + "mixer", 120, 200, net, kernels_us=300)
    matmul = event("aten::matmul", 130, 190, mixer, sequence=7)
    mm = event("aten::mm", 140, 180, matmul, kernels_us=40)
    conv = event("aten::conv2d", 210, 260, net, sequence=8)
    cudnn = event("aten::cudnn_convolution", 220, 250, conv, kernels_us=30)
    gelu = event("aten::gelu", 270, 290, net, kernels_us=20)
    backward = event(PREFIX + "backward", 410, 800, step, kernels_us=400)
    node = event("autograd::engine::evaluate_function: MmBackward0", 420, 500, sequence=7)
    back = event("aten::mm", 430, 490, node, kernels_us=80)
    optimizer = event(PREFIX + "optimizer", 810, 900, step, kernels_us=60)
    adam = event("aten::_fused_adamw_", 820, 890, optimizer, kernels_us=50)
    before = event("aten::mm", 50, 60, kernels_us=1000)  # of a step that does not count
    kernel = event("void gemm()", 600, 900, kernels_us=300, device=DeviceType.CUDA)
    events = [before, step, net, mixer, matmul, mm, conv, cudnn, gelu, backward, node, back, optimizer, adam, kernel]
    (whole,), parts = attribute(events, on_gpu=True)
    found = {name: round(1000 * values[0]) for name, values in parts.items()}
    assert whole == 1.0
    assert found == {
        **{"mixer": 120, "norm": 0, "conv1x1": 30, "other": 20, "loss": 0, "optimizer": 50, "data": 0},
        "rest": 1000 - 120 - 30 - 20 - 50,
    }


def test_a_profile_that_fails_is_a_row_and_the_others_are_in_the_files(tmp_path, monkeypatch, capsys):
    original = step_profile.profile_step

    def profile_step(trial, *arguments):
        if trial.mixer == "dct":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 75 GiB")
        if trial.mixer == "fft_pairs":
            raise KeyboardInterrupt
        return original(trial, *arguments)

    monkeypatch.setattr(step_profile, "profile_step", profile_step)
    arguments = ["profile", "--results", str(tmp_path), *TINY[:-1], "1", "--mixer"]
    assert cli.main([*arguments, "conv1x1,dct,hadamard"]) == 1
    profiles = json.loads((tmp_path / "profile.json").read_text())["profiles"]
    wanted = [("conv1x1", "ok"), ("dct", "oom"), ("hadamard", "ok")]
    assert [(entry["trial"]["mixer"], entry["status"]) for entry in profiles] == wanted
    assert "oom: CUDA out of memory" in (tmp_path / "profile.md").read_text()
    assert "rows without a time: 1 oom" in capsys.readouterr().out
    assert cli.main([*arguments, "hadamard,fft_pairs,dct"]) == 130
    assert [row["mixer"] for row in csv.DictReader((tmp_path / "profile.csv").open())] == ["hadamard"]


def test_a_deadline_lists_what_it_left(tmp_path):
    trial = Trial(kind="cost", mixer="dct", dataset="constellations", image_size=16, patch_size=4, dim=16, depth=1)
    assert step_profile.profile_trials([trial], tmp_path, tmp_path, until=time.monotonic()) == ([], [trial.describe()])
    assert not list(tmp_path.iterdir())


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
