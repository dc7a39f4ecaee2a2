from __future__ import annotations

import dataclasses
import datetime
import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from benchmarks.cli.main import main
from benchmarks.contract.choices.profiles import CORE_MIXERS
from benchmarks.contract.record import Record
from benchmarks.contract.trial import Trial
from benchmarks.finished.validate import validate
from benchmarks.machine import device
from benchmarks.sweep import run
from benchmarks.timing import latency, latency_metrics
from benchmarks.timing.latency import Item, measure_latency, mixer_work
from benchmarks.timing.latency_metrics import MATMUL_SIDE, METRIC_OF
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
        assert timing.metrics["copy_ratio"] == pytest.approx(statistics.geometric_mean(ratios))
        rate = 2 * MATMUL_SIDE["cpu"] ** 3 / statistics.median(row["matmul_ms"] for row in timing.history) * 1000
        assert timing.metrics["matmul_flops_per_s"] == pytest.approx(rate)
        for row in timing.history:
            by_bytes = row["copy_ms"] * timing.metrics["mixer_bytes"] / (2 * 4 * 2 * 8 * 64)
            by_flops = row["matmul_ms"] * timing.metrics["mixer_batch_flops"] / (2 * MATMUL_SIDE["cpu"] ** 3)
            assert row["floor_ms"] == pytest.approx(max(by_bytes, by_flops))
        floors = [row["mixer_forward_ms"] / row["floor_ms"] for row in timing.history]
        assert timing.metrics["floor_ratio"] == pytest.approx(statistics.geometric_mean(floors))
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
    assert f"{timing.metrics['peak_memory_bytes']:,} bytes" in timing.reason and "10,000 may be taken" in timing.reason
    assert timing.metrics["forward_backward_ms"] is None


def test_a_process_that_dies_leaves_a_reason(monkeypatch):
    monkeypatch.setattr(latency.sys, "executable", "/bin/false")
    (timing,) = measure_latency([trial("dct", rounds=1)])
    assert timing.status == "error" and "ended with 1" in timing.reason
    assert timing.metrics["forward_ms"] is None


BREAKS = """
import torch
from mixers import Mixer


class Alone(Mixer):
    @torch.compiler.disable
    def forward(self, x):
        return x.flip(-1)

    def flops(self):
        return 0

"""


@pytest.mark.slow
def test_a_compiled_row_ran_compiled_or_has_no_time(tmp_path):
    path = tmp_path / "breaks.py"
    path.write_text(BREAKS)
    mixer_entry(f"{path}:Alone")
    (timing,) = measure_latency([trial("breaks:Alone", rounds=1, compiled=True)])
    assert timing.status == "error" and "NotCompiled: nothing of it compiled" in timing.reason  # of the mixer alone
    assert timing.metrics["graphs"] > 1  # of the net, which does compile but for its mixer
    assert timing.metrics["mixer_forward_ms"] is None and timing.metrics["forward_ms"] > 0


def ended_early(rounds: int, beyond: int, output: str = ""):
    """A process that times all items of some rounds and a few of the next, and is then ended by its time."""

    def run(command, env, timeout, **_):
        plan = json.loads(Path(env[latency.PLAN_VARIABLE]).read_text())
        lines = [
            json.dumps({"item": item | {"round": number}, "ms": 1.0 + number + item["trial"]}) + "\n"
            for number in range(rounds + 1)
            for item in plan["items"][: beyond if number == rounds else None]
        ]
        Path(plan["results"]).write_text("".join(lines) + '{"item": {"tri')
        if output:
            return subprocess.CompletedProcess(command, 139, stdout="", stderr=output)
        raise subprocess.TimeoutExpired(command, timeout)

    return run


def test_a_process_that_its_time_ends_keeps_the_rounds_that_are_whole(monkeypatch):
    monkeypatch.setattr(latency.subprocess, "run", ended_early(3, beyond=4))
    timings = measure_latency([trial("dct", rounds=5), trial("attention", rounds=5)], timeout_s=90)
    for index, timing in enumerate(timings):
        assert (timing.status, timing.reason) == ("timeout", "3 of 5 rounds: ended after 90 s")
        assert timing.rounds == 3 and [row["round"] for row in timing.history] == [0, 1, 2]
        assert [row["forward_ms"] for row in timing.history] == [1.0 + index, 2.0 + index, 3.0 + index]
        assert timing.metrics["forward_ms"] == 2.0 + index
        assert timing.metrics["drift_ratio"] is None


def test_what_does_not_fit_is_told_whatever_becomes_of_the_process(monkeypatch):
    monkeypatch.setattr(latency, "free_bytes", lambda device: 20_000)
    monkeypatch.setattr(latency.subprocess, "run", ended_early(1, beyond=0))
    (timing,) = measure_latency([trial("random")])
    assert timing.status == "oom" and "10,000 may be taken" in timing.reason


def test_without_a_whole_round_there_is_no_time(monkeypatch):
    monkeypatch.setattr(latency.subprocess, "run", ended_early(0, beyond=7))
    for timing in measure_latency([trial("dct"), trial("attention")], timeout_s=90):
        assert (timing.status, timing.reason) == ("timeout", "0 of 2 rounds: ended after 90 s")
        assert timing.history == [] and timing.metrics["forward_ms"] is None


def test_a_process_that_dies_after_its_last_round_has_lost_nothing(monkeypatch):
    monkeypatch.setattr(latency.subprocess, "run", ended_early(2, beyond=0, output="Segmentation fault"))
    (timing,) = measure_latency([trial("dct")])
    assert (timing.status, timing.rounds) == ("ok", 2)
    monkeypatch.setattr(latency.subprocess, "run", ended_early(1, beyond=0, output="Segmentation fault"))
    (timing,) = measure_latency([trial("dct")])
    assert timing.status == "error" and timing.reason.startswith("1 of 2 rounds: the process ended with 139: Segm")


def failed(error: str, message: str):
    """A process in which the net of the first trial cannot be timed."""

    def run(command, env, **_):
        plan = json.loads(Path(env[latency.PLAN_VARIABLE]).read_text())
        with Path(plan["results"]).open("w") as results, Path(plan["failures"]).open("w") as failures:
            for item in plan["items"]:
                if (item["trial"], item["target"]) == (0, "net"):
                    failures.write(json.dumps({"item": item, "error": error, "message": message}) + "\n")
                else:
                    noted = {"clock": "stream" if item["target"] == "net" else "graph", "graphs": 1}
                    for number in range(2):
                        results.write(json.dumps({"item": item | {"round": number}, "ms": 1.0, **noted}) + "\n")
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    return run


@pytest.mark.parametrize(
    ("error", "message", "status", "reason"),
    [
        (
            "OutOfMemoryError",
            f"CUDA out of memory. Tried to allocate 20.00 GiB. {'x' * 900}",
            "oom",
            "allocate 20.00 GiB",
        ),
        ("AcceleratorError", "CUDA error: out of memory\nSearch for it", "oom", "out of memory"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling it", "oom", "ALLOC_FAILED"),
        ("UnsupportedSize", "hadamard needs powers of two", "unsupported", "powers of two"),
        ("ValueError", "no", "error", "ValueError: no"),
    ],
)
def test_what_a_gpu_has_no_room_for_is_a_row_of_its_own_and_costs_nothing_before(
    monkeypatch, error, message, status, reason
):
    monkeypatch.setattr(latency.subprocess, "run", failed(error, message))
    monkeypatch.setattr(latency_metrics, "MATMUL_SIDE", {"cuda": 64})
    for costly in ("predict_bytes", "build_net"):  # the allocator says what fits
        monkeypatch.setattr(latency, costly, lambda *_: pytest.fail("the net was built to see whether it fits"))
    large, small = measure_latency([trial("random", device="cuda"), trial("dct", device="cuda")])
    assert large.status == status and reason in large.reason and len(large.reason) < 400
    assert (small.status, small.rounds, small.metrics["forward_ms"]) == ("ok", 2, 1.0)
    assert (small.metrics["clock"], small.metrics["graphs"]) == ("graph+stream", 1)
    assert small.metrics["peak_memory_bytes"] is None


@pytest.fixture
def items(monkeypatch, tmp_path):
    """The module that times, loaded for one small trial."""
    plan = {"trials": [trial("dct").to_dict()], "items": [], "needs": [0], "plugins": [], "own_data": []}
    plan |= {"items": [Item(0, "net", "forward_backward").to_dict()]}
    plan |= {name: str(tmp_path / f"{name}.jsonl") for name in ("results", "failures")}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    monkeypatch.setenv(latency.PLAN_VARIABLE, str(tmp_path / "plan.json"))
    spec = importlib.util.spec_from_file_location("loaded_items", Path(latency.__file__).with_name("latency_items.py"))
    monkeypatch.setattr(device, "set_math_mode", lambda threads: None)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "loaded_items", module)
    spec.loader.exec_module(module)
    return module


def test_an_item_without_memory_gets_a_second_try_with_nothing_else_on_the_gpu(items, monkeypatch):
    item = Item(0, "net", "forward_backward")
    items.prepared(item)
    net = items.MODULES[items.TRIALS[0], "net"]
    moved = []
    monkeypatch.setattr(net, "cpu", lambda: moved.append(net))
    tries = []

    def on_gpu(item):
        tries.append(items._call.cache_info().currsize)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return "ready"

    monkeypatch.setattr(items, "DEVICE", "cuda")
    monkeypatch.setattr(items, "_on_gpu", on_gpu)
    assert items.prepared(item) == "ready"
    assert tries == [1, 0] and moved == [net] and not items.GRADIENTS and items._pool.cache_info().currsize == 0
    monkeypatch.setattr(items, "_on_gpu", lambda item: exec("raise ValueError('of another kind')"))
    with pytest.raises(ValueError, match="of another kind"):
        items.prepared(item)


def test_on_a_gpu_an_item_takes_the_time_of_the_device_and_notes_its_clock(items, monkeypatch):
    class Timer:
        how, calls, warm_ms = "graph", 100, 0.05

        def ms(self):
            return 0.02

    class Clock:
        def timer(self, call, turn_ms):
            call()
            return Timer()

    items._call(0, "net", "forward_backward")  # made on the CPU
    monkeypatch.setattr(items, "DEVICE", "cuda")
    monkeypatch.setattr(items.device, "GpuClock", Clock)
    monkeypatch.setattr(items, "peak_bytes", lambda call, alive, device: 1234)
    ready = items.prepared(Item(0, "net", "forward_backward"))
    assert ready.repeats == 6  # turns of 5 ms in 30 ms
    assert ready.noted == {
        "peak_memory_bytes": 1234,
        "clock": "graph",
        "method": items._module(items.TRIALS[0], "net").method_on("cpu"),
    }
    before = items.SECONDS()
    ready.call()
    assert items.SECONDS() - before == pytest.approx(2e-5)
    later = items.prepared(Item(0, "net", "forward_backward", round=1))
    assert "peak_memory_bytes" not in later.noted


@pytest.mark.gpu
def test_on_a_gpu_without_capture_or_memory_of_its_own_an_item_is_timed_by_the_wall_and_its_tensors_are_counted(
    items, monkeypatch
):
    item, waits = Item(0, "net", "forward_backward"), []
    items._call(0, "net", "forward_backward")  # made on the CPU
    monkeypatch.setattr(items, "DEVICE", "mps")
    monkeypatch.setattr(items.device, "synchronize", waits.append)
    ready = items.prepared(item)
    assert ready.noted["clock"] == "wall" and ready.noted["peak_memory_bytes"] > 1000
    waits.clear()
    ready.call()
    assert waits == ["mps", "mps"] and items.SECONDS() > 0


def test_nets_of_one_shape_share_their_inputs_and_gradients(items):
    one, two = (create_mixer(name, 8, (8, 8)) for name in ("dct", "hartley"))
    for module in (one, two):
        for mode in latency.MODES:
            items._run(items.TRIALS[0], module, module, (8, 8, 8), mode, input_gradient=True)()
    assert items._pool.cache_info().misses == len({one.memory_format, two.memory_format})
    assert len(items.GRADIENTS) == items._pool.cache_info().misses


def test_weights_that_no_gpu_holds_are_refused_before_they_are_made(items, monkeypatch):
    monkeypatch.setattr(items, "free_bytes", lambda device: 2 * 4 * 64**2)
    fits = trial("random", depth=1, device="cuda")
    items._refuse_weights(fits, ["random"])
    with pytest.raises(torch.OutOfMemoryError, match=r"ask for [\d,]+ bytes, 32,768 are free"):
        items._refuse_weights(fits, ["random"] * 3)
    monkeypatch.setattr(items, "create_mixer", refuse_real_tensors)
    monkeypatch.setattr(items, "build_net", refuse_real_tensors)
    monkeypatch.setattr(items, "free_bytes", lambda device: 1)
    for target in ("mixer", "net"):
        with pytest.raises(torch.OutOfMemoryError, match="1 are free"):
            items._module(dataclasses.replace(fits, depth=3), target)


def refuse_real_tensors(*arguments, **options):
    made = create_mixer(*arguments, **options)
    assert all(isinstance(tensor, FakeTensor) for tensor in [*made.parameters(), *made.buffers()])
    return made


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_core_mixer_is_timed_on_a_real_gpu(precision):
    changes = {"device": "cuda", "precision": precision, "dim": 64, "batch_size": 8}
    impossible = trial("random", 512, **changes)  # one matrix of 275 GB
    timings = measure_latency([trial(name, 16, **changes) for name in CORE_MIXERS])
    for timing in timings:
        assert (timing.status, timing.reason, timing.rounds) == ("ok", None, 2), timing.trial.mixer
        assert timing.metrics["clock"] == "graph", timing.trial.mixer
        assert timing.metrics["peak_memory_bytes"] > 0
        for name in METRIC_OF.values():
            nothing = timing.trial.mixer == "conv1x1" and name.startswith("mixer")  # it returns its input
            assert 0 <= timing.metrics[name] < 1000 and (nothing or timing.metrics[name]), (timing.trial.mixer, name)
    (timing,) = measure_latency([impossible])
    assert timing.status == "oom" and "may be taken" in timing.reason


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_compiled_net_is_timed_on_a_real_gpu():
    timings = measure_latency([trial(name, 16, device="cuda", compiled=True) for name in ("dct", "attention")])
    for timing in timings:
        assert (timing.status, timing.reason, timing.metrics["clock"], timing.metrics["graphs"]) == (
            "ok",
            None,
            "graph",
            1,
        )


HOUR = "2026-01-01T{:02}:00:00+00:00"


def fake_sitting(hour: int, ms: float, status: str = "ok"):
    """What `measure_latency` would hand back of a sitting that began at an hour."""

    def measured(trials, *_):
        reason = None if status == "ok" else "no"
        found = []
        for one in trials:
            history = [{"round": r, "sitting": HOUR.format(hour), "forward_ms": ms * (r + 1)} for r in range(2)]
            metrics = latency_metrics.metrics_of(one, history) | {"drift_ratio": 1 + hour / 100, "method": "dense"}
            found.append(latency.Timing(one, status, reason, metrics, history if status == "ok" else [], 2))
        return found

    return measured


def run_at(monkeypatch, folder: Path, hour: int, sitting, asked: int | None = 3):
    clock = type(
        "Clock", (datetime.datetime,), {"now": classmethod(lambda cls, tz: cls.fromisoformat(HOUR.format(hour)))}
    )
    monkeypatch.setattr(latency_metrics.datetime, "datetime", clock)
    monkeypatch.setattr(run, "measure_latency", sitting)
    monkeypatch.setattr(run, "now", lambda: HOUR.format(hour))
    (result,) = run.Runner(folder, folder, sittings=asked).run([trial("dct")])
    return result


def test_each_run_adds_a_sitting_an_hour_or_more_after_the_last(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    first = run_at(monkeypatch, tmp_path, 1, fake_sitting(1, 1.0))
    assert "have fewer than 3 sittings" in caplog.text and "from 2026-01-01 02:00 UTC on" in caplog.text
    assert not run_at(monkeypatch, tmp_path, 1, pytest.fail).measured_now  # not an hour later
    assert not run_at(monkeypatch, tmp_path, 5, pytest.fail, asked=1).measured_now  # it has what is asked for
    run_at(monkeypatch, tmp_path, 2, fake_sitting(2, 3.0))
    caplog.clear()
    last = run_at(monkeypatch, tmp_path, 4, fake_sitting(4, 2.0))
    assert last.measured_now and "fewer than 3 sittings" not in caplog.text
    assert not run_at(monkeypatch, tmp_path, 9, pytest.fail).measured_now
    record = Record.load(tmp_path / "records" / last.record.file_name)
    assert record.id == first.record.id and record.started == HOUR.format(1)
    assert [row["sitting"] for row in record.history] == [HOUR.format(hour) for hour in (1, 1, 2, 2, 4, 4)]
    assert [row["forward_ms"] for row in record.history] == [1, 2, 3, 6, 2, 4]
    assert record.metrics["forward_ms"] == 2.5 and record.metrics["drift_ratio"] == 1.04


def test_a_record_outlives_a_further_sitting_that_failed(tmp_path, monkeypatch, caplog):
    run_at(monkeypatch, tmp_path, 1, fake_sitting(1, 1.0))
    failed_sitting = run_at(monkeypatch, tmp_path, 3, fake_sitting(3, 1.0, "error"))
    assert failed_sitting.record.status == "error" and "keeps those that it has" in caplog.text
    kept = Record.load(tmp_path / "records" / failed_sitting.record.file_name)
    assert kept.status == "ok" and len(kept.history) == 2
    again = run_at(monkeypatch, tmp_path, 4, fake_sitting(4, 1.0))
    assert again.record.status == "ok" and len(again.record.history) == 4


def test_a_record_of_before_there_were_sittings_has_one_and_other_code_begins_anew(tmp_path, monkeypatch):
    first = run_at(monkeypatch, tmp_path, 1, fake_sitting(1, 1.0)).record
    old = [{name: value for name, value in row.items() if name != "sitting"} for row in first.history]
    dataclasses.replace(first, history=old).save(tmp_path / "records")
    assert not run_at(monkeypatch, tmp_path, 1, pytest.fail).measured_now
    grown = run_at(monkeypatch, tmp_path, 2, fake_sitting(2, 1.0)).record
    assert [row["sitting"] for row in grown.history] == [HOUR.format(hour) for hour in (1, 1, 2, 2)]
    dataclasses.replace(grown, code=grown.code | {"sources": {"task": "0" * 16}}).save(tmp_path / "records")
    anew = run_at(monkeypatch, tmp_path, 2, fake_sitting(2, 1.0)).record
    assert len(anew.history) == 2 and anew.started == HOUR.format(2)


def test_without_sittings_a_latency_record_is_measured_once(tmp_path, monkeypatch):
    run_at(monkeypatch, tmp_path, 1, fake_sitting(1, 1.0), asked=None)
    assert not run_at(monkeypatch, tmp_path, 9, pytest.fail, asked=None).measured_now


def test_the_ratio_of_a_record_is_over_sittings():
    rows = [{"round": 0, "sitting": "a", "mixer_forward_ms": 4.0, "copy_ms": 1.0}]
    rows += [{"round": r, "sitting": "b", "mixer_forward_ms": 1.0, "copy_ms": 1.0} for r in range(5)]
    assert latency_metrics.metrics_of(trial("dct"), rows)["copy_ratio"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["latency", "--sittings", "0"], "allowed: 1 to 100"),
        (["cost", "--mixer", "dct", "--sittings", "3"], "cost has no use for --sittings"),
        (["speed", "--sittings", "3"], "no use for --sittings"),
    ],
)
def test_sittings_are_of_latency(arguments, said, capsys, tmp_path):
    assert main([*arguments, "--results", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_validate_wants_every_round_once_and_sittings_within_the_record(tmp_path, monkeypatch):
    record = run_at(monkeypatch, tmp_path, 1, fake_sitting(1, 1.0)).record
    folder = tmp_path / "records"
    assert validate(folder, tmp_path) == (1, [])
    dataclasses.replace(record, history=record.history * 2).save(folder)
    (twice,) = validate(folder, tmp_path)[1]
    assert twice.endswith("a round of its history stands there twice")
    late = [row | {"sitting": HOUR.format(7)} for row in record.history]
    dataclasses.replace(record, history=late).save(folder)
    (outside,) = validate(folder, tmp_path)[1]
    assert f"a sitting began at {HOUR.format(7)}" in outside
