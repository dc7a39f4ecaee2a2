from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
import torch

from benchmarks.__main__ import SETTINGS
from benchmarks.contract.choices.profiles import CORE_MIXERS
from benchmarks.machine import device
from benchmarks.machine.device import GpuClock, WallClock, clock, set_math_mode, tf32, tf32_allowed
from benchmarks.machine.memory import free_bytes, peak_bytes
from benchmarks.plan.trials import Plan, Request
from benchmarks.timing.turns import interleaved
from mixers import create_mixer

LAUNCH_MS = 0.03
pytestmark = pytest.mark.gpu
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class FakeCuda:
    """A GPU that only keeps time: launching takes the host LAUNCH_MS, and what is launched runs in its order."""

    def __init__(self) -> None:
        self.host_ms = self.device_ms = 0.0
        self.stream_now = self.default = self.Stream(self)
        self.capturing: list[float] | None = None
        self.broken = False
        self.generator_waits = False
        self.ended: list[object] = []

    def run(self, ms: float) -> None:
        """What a kernel does."""
        if self.capturing is not None:
            self.capturing.append(ms)
            return
        self.host_ms += LAUNCH_MS
        self.device_ms = max(self.device_ms, self.host_ms) + ms

    def synchronize(self) -> None:
        if self.capturing is not None:
            self.broken = True
            raise RuntimeError("operation not permitted when stream is capturing")
        self.host_ms = max(self.host_ms, self.device_ms)

    def current_stream(self) -> object:
        return self.stream_now

    def current_device(self) -> int:
        return 0

    def is_available(self) -> bool:
        return True

    def empty_cache(self) -> None: ...

    def graph_pool_handle(self) -> object:
        return object()

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.stream_now = self.stream_now, stream
        try:
            yield
        finally:
            self.stream_now = before

    @contextlib.contextmanager
    def graph(self, graph, pool=None, stream=None):
        """As PyTorch's: where the capture broke, its end raises, and the stream and the generator stay as they were."""
        assert stream is not None and self.capturing is None
        self.generator_waits = True
        before, self.stream_now, self.capturing = self.stream_now, stream, []
        try:
            yield
        finally:
            graph.ms, self.capturing = sum(self.capturing), None
            if self.broken:
                self.broken = False
                raise RuntimeError("capture was broken off")
            self.stream_now, self.generator_waits = before, False

    def Stream(self, *_):
        class Stream:
            def wait_stream(self, other) -> None: ...

        return Stream()

    def Event(self, enable_timing):
        fake = self

        class Event:
            def record(self) -> None:
                self.at = max(fake.host_ms, fake.device_ms)

            def synchronize(self) -> None:
                fake.synchronize()

            def elapsed_time(self, other) -> float:
                return other.at - self.at

        assert enable_timing
        return Event()

    def CUDAGraph(self):
        fake = self

        class Graph:
            ms = 0.0

            def replay(self) -> None:
                assert not fake.generator_waits
                fake.run(self.ms)

        return Graph()

    def _sleep(self, cycles) -> None:
        self.run(1e-6)


@pytest.fixture
def fake(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(device, "cuda", fake)
    stream = fake.Stream()
    monkeypatch.setattr(device, "_side_stream", lambda: stream)
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda index, pool: fake.ended.append(pool), raising=False)
    return fake


def test_a_graph_leaves_out_what_launching_takes(fake):
    timer = GpuClock().timer(lambda: fake.run(0.004), turn_ms=5.0)
    assert timer.how == "graph" and timer.calls > 50
    assert timer.ms() == pytest.approx(0.004)

    started = fake.host_ms
    fake.run(0.004)
    fake.synchronize()
    assert fake.host_ms - started == pytest.approx(0.004 + LAUNCH_MS)  # what a clock on the host shows
    assert fake.stream_now is fake.default and not fake.ended


def test_a_call_as_long_as_its_turn_is_captured_once(fake):
    timer = GpuClock().timer(lambda: [fake.run(2.0) for _ in range(4)], turn_ms=5.0)
    assert (timer.how, timer.calls) == ("graph", 1)
    assert timer.ms() == pytest.approx(8.0)


def test_what_cannot_be_captured_stands_back_to_back_on_the_stream_and_the_next_is_captured_again(fake):
    def waits() -> None:
        fake.run(2.0)
        fake.synchronize()

    own = GpuClock()
    pool = own.pool
    before = own.timer(lambda: fake.run(2.0))
    timer = own.timer(waits, turn_ms=5.0)
    assert (timer.how, timer.calls) == ("stream", 2)
    assert timer.ms() == pytest.approx(2.0 + LAUNCH_MS)
    assert fake.stream_now is fake.default
    assert fake.ended == [pool, pool]  # the allocator does not wait for the end of the capture
    assert before.ms() == pytest.approx(2.0)  # nor does the generator
    assert own.timer(lambda: fake.run(2.0), turn_ms=5.0).how == "graph"


def test_a_capture_without_memory_falls_back_and_a_call_that_fails_says_so(fake):
    def captured_out_of_memory() -> None:
        if fake.capturing is not None:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")
        fake.run(1.0)

    def broken() -> None:
        raise ValueError("no such mixer")

    timer = GpuClock().timer(captured_out_of_memory, turn_ms=2.0)
    assert timer.how == "stream" and timer.ms() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no such mixer"):
        GpuClock().timer(broken)
    assert fake.stream_now is fake.default


def test_calls_take_turns_on_the_clock_of_the_device(fake):
    log = []

    def call(name: str, ms: float):
        def run() -> None:
            log.append(name)
            fake.run(ms)

        return run

    calls = {"a": call("a", 0.5), "b": call("b", 0.002)}
    times = interleaved(calls, 3, turn_ms=2.0, device="cuda")
    assert times == {"a": [pytest.approx(0.5)] * 3, "b": [pytest.approx(0.002)] * 3}
    assert log.index("b") == log.count("a")  # a was warm and captured before b began, and replays call nothing


def test_on_a_cpu_the_wall_counts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def call(seconds: float):
        def run() -> None:
            now[0] += seconds

        return run

    timer = clock("cpu").timer(call(0.002), turn_ms=10.0)
    assert (timer.how, timer.calls) == ("wall", 5) and timer.ms() == pytest.approx(2.0)
    assert WallClock().timer(call(0.002)).calls == 1
    assert clock("cpu").timer(call(1e-5), turn_ms=10.0).calls == device.MAX_REPEATS
    assert interleaved({"a": call(0.25), "b": call(0.5)}, 2) == {
        "a": [pytest.approx(250)] * 2,
        "b": [pytest.approx(500)] * 2,
    }


def test_on_a_gpu_without_capture_a_turn_of_the_wall_begins_and_ends_with_an_idle_device(monkeypatch):
    now, left = [0.0], [0.0]

    def wait(name: str) -> None:
        assert name == "mps"
        now[0] += left[0]
        left[0] = 0.0

    def call() -> None:  # which the host only launches
        left[0] += 0.002

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(device, "synchronize", wait)
    timer = clock("mps").timer(call, turn_ms=10.0)
    assert (timer.how, timer.calls) == ("wall", 5) and timer.warm_ms == pytest.approx(2.0)
    call()  # of something else, before the turn
    assert timer.ms() == pytest.approx(2.0)
    assert device.capture_of("mps") is None and device.capture_of("cuda") is device.cuda_graph


def test_a_gpu_that_nobody_has_tested_is_taken_when_it_is_asked_for_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.mps, "is_available", lambda: True)
    assert (device.resolve_device(None), device.resolve_device("mps")) == ("cpu", "mps")
    plan = Plan(Request(device="mps"))
    assert (plan.device, plan.profile_name, plan.precision) == ("mps", "quick", "float32")
    assert {trial.precision for trial in Plan(Request(device="mps", profile="full")).latency()} == {"float32"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert {trial.precision for trial in Plan(Request(profile="full")).latency()} == {"float32", "bfloat16"}


def test_a_gpu_with_the_computers_memory_has_what_is_free_there_and_its_tensors_are_counted():
    assert free_bytes("mps") > 0  # where PyTorch has nothing to ask
    assert peak_bytes(lambda: torch.zeros(1000), [torch.zeros(10)], "mps") == 4040
    assert device.device_name("mps").endswith(", GPU with Metal") and device.device_name("cpu") == "cpu"


ITEMS = """
import itertools
import pytest
from benchmarks.machine.device import DeviceSeconds

SECONDS = DeviceSeconds()
pytestmark = pytest.mark.benchmark(timer=SECONDS)


class Timer:
    how, calls = "graph", 1
    times = itertools.cycle([0.25, 0.5, 4.0])

    def ms(self):
        return next(self.times)


def test_item(benchmark):
    benchmark.pedantic(lambda: SECONDS.add_call(Timer), rounds=3, iterations=1)


Timer = Timer()
"""


def test_the_numbers_of_pytest_benchmark_are_the_times_of_the_device(tmp_path):
    (tmp_path / "test_items.py").write_text(ITEMS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    output = tmp_path / "benchmark.json"
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(tmp_path / "pytest.ini"), f"--benchmark-json={output}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, str(tmp_path / "test_items.py")], env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    (entry,) = json.loads(output.read_text())["benchmarks"]
    assert entry["stats"]["data"] == pytest.approx([0.00025, 0.0005, 0.004])


@pytest.fixture
def math_mode():
    before, threads = device._allowed_tf32(), torch.get_num_threads()
    yield
    device._allow_tf32(*before)
    torch.set_num_threads(threads)


def test_float32_means_float32_everywhere_and_the_report_is_what_is_in_force(math_mode, monkeypatch):
    device._allow_tf32(True, True)
    assert tf32() is torch.cuda.is_available()
    monkeypatch.setattr(device.cuda, "is_available", lambda: True)
    assert tf32() is True
    set_math_mode(1)
    assert torch.get_num_threads() == 1 and tf32() is False
    # both interfaces of PyTorch can be asked, and agree
    assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is False
    assert torch.get_float32_matmul_precision() == "highest"
    torch.backends.cudnn.allow_tf32 = True  # convolutions alone: not float32 either
    assert tf32() is True


def test_tf32_is_allowed_for_a_while(math_mode):
    set_math_mode(1)
    with pytest.raises(ValueError, match="out"), tf32_allowed():
        assert torch.backends.cuda.matmul.allow_tf32 is True
        assert torch.backends.cudnn.allow_tf32 is False
        raise ValueError("out")
    assert torch.backends.cuda.matmul.allow_tf32 is False


def _mixer_call(name: str, mode: str):
    torch.manual_seed(0)
    mixer = create_mixer(name, 64, (16, 16)).cuda()
    x = torch.randn(8, 64, 16, 16, device="cuda").contiguous(memory_format=mixer.memory_format)
    x.requires_grad_(mode == "forward_backward")
    gradient = torch.randn_like(mixer(x))

    def call() -> None:
        with torch.set_grad_enabled(mode == "forward_backward"):
            y = mixer(x)
        if mode == "forward_backward":
            torch.autograd.grad(y, [x, *mixer.parameters()], gradient)

    return call


@on_gpu
@pytest.mark.parametrize("mode", ["forward", "forward_backward"])
@pytest.mark.parametrize("name", [name for name in CORE_MIXERS if name != "conv1x1"])  # conv1x1 launches nothing
def test_every_core_mixer_is_captured_and_takes_no_longer_than_by_the_wall(name, mode):
    call = _mixer_call(name, mode)
    timer = GpuClock().timer(call, turn_ms=5.0)
    assert timer.how == "graph"
    by_graph = min(timer.ms() for _ in range(5))
    walls = []
    for _ in range(20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        walls.append(1000 * (time.perf_counter() - started))
    assert 0 < by_graph <= min(walls)


@on_gpu
def test_a_call_that_waits_for_a_real_gpu_falls_back_and_leaves_the_process_usable():
    x = torch.randn(64, 64, device="cuda")
    before = GpuClock().timer(lambda: x @ x)
    timer = GpuClock().timer(lambda: x.sum().item(), turn_ms=1.0)
    assert timer.how == "stream" and timer.ms() > 0
    assert before.ms() > 0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert torch.randn(8, device="cuda").isfinite().all()
    assert GpuClock().timer(lambda: x @ x, turn_ms=1.0).how == "graph"


@on_gpu
def test_the_pool_of_a_dropped_graph_is_free_again():
    x = torch.randn(2**26, device="cuda")
    timer = GpuClock().timer(lambda: x * 2, turn_ms=1.0)
    assert timer.how == "graph"
    device.free_memory()
    held, allocated = torch.cuda.memory_reserved(), torch.cuda.memory_allocated()
    del timer
    device.free_memory()
    assert torch.cuda.memory_reserved() <= held - 4 * 2**26
    # what a pool holds was never a tensor's; the timer itself holds a kilobyte on some cards
    assert 0 <= allocated - torch.cuda.memory_allocated() <= 2**12


KEEPS = """
import psutil, torch
from benchmarks.machine import device
here = psutil.Process()
x = [torch.ones(2**20) for _ in range(256)]  # a gigabyte
last = torch.ones(2**10)  # behind them: what is freed is not the heap's end
del x
kept = here.memory_info().rss
device.free_memory()
print(kept - here.memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told to keep memory")
def test_what_a_process_has_freed_is_free_for_others():
    done = subprocess.run(
        [sys.executable, "-c", KEEPS], env=os.environ | SETTINGS, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 2**29
