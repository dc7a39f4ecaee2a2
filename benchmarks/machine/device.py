"""The device: whether it is there, the mode its arithmetic runs in, its clock, and what is captured on it.

What a device can do is its row in `benchmarks.contract.facts.devices`; what PyTorch has for it, its module there.
Nothing else calls CUDA by name.

On a CPU the clock is the wall's. On a GPU launching a kernel takes microseconds, as long as a small one runs, and
waiting for the device after every call would count that. So calls stand back to back, and the device's own events time
them: `graph`, captured in one CUDA graph, which launches nothing in between, or, where something in the call cannot be
captured, `stream`, launched one by one, in which case a call that is shorter than its launching still shows that. On a
GPU where nothing can be captured it is the wall's around calls that stand back to back, and waits for the device.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import cuda

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.processor import cpu_name
from benchmarks.contract.trial import check_value

MAX_REPEATS = 50  # of a call in one turn by the wall
MAX_CAPTURED = 512  # calls in one graph
WARM_UP_STEPS = 3  # before a capture: libraries choose their algorithms and the allocator its blocks

log = logging.getLogger(__name__)


def resolve_device(asked: str | None) -> str:
    """The device that was asked for, else a GPU where there is one that the suite has been tested on.

    Raises:
        UserError: there is no such device, or not here.
    """
    check_value("device", asked)
    if asked is None:
        return next((name for name, row in DEVICES.items() if row.is_gpu and row.tested and is_here(name)), "cpu")
    if not is_here(asked):
        other = called.option("device", "cpu")
        raise UserError(
            f"--device is {asked}, but PyTorch sees no {DEVICES[asked].words} here; use {other}, or leave it out"
        )
    return asked


def is_here(device: str) -> bool:
    """Whether PyTorch can use the device."""
    return bool(torch.get_device_module(device).is_available())


def device_name(device: str) -> str:
    """As records name the device: "cpu", or what the GPU says it is."""
    if not DEVICES[device].is_gpu:
        return device
    own_name = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(own_name()) if own_name else f"{cpu_name()}, {DEVICES[device].words}"


def card_facts(device: str) -> dict[str, Any]:
    """Of a card that CUDA runs on, what PyTorch tells of it, in words; of others nothing."""
    if device != "cuda":
        return {}
    card = cuda.get_device_properties(0)
    return {
        "card": card.name,
        "memory (GiB)": round(card.total_memory / 2**30, 1),
        "compute capability": f"{card.major}.{card.minor}",
        "multiprocessors": card.multi_processor_count,
        "CUDA of PyTorch, cuDNN": f"{torch.version.cuda}, {torch.backends.cudnn.version()}",
    }


def synchronize(device: str) -> None:
    """Waits until the device has done all that it was given."""
    torch.get_device_module(device).synchronize()


def set_math_mode(threads: int) -> None:
    """What every measurement runs in: so many threads, and float32 that means float32, on a GPU too.

    Without this, cuDNN's convolutions take TF32 and cuBLAS's products do not, and mixers would differ in precision.
    """
    torch.set_num_threads(threads)
    _allow_tf32(False, False)


@contextlib.contextmanager
def tf32_allowed() -> Iterator[None]:
    """Lets matrix products take TF32 meanwhile; a graph captured in here keeps it."""
    products, convolutions = _allowed_tf32()
    _allow_tf32(True, convolutions)
    try:
        yield
    finally:
        _allow_tf32(products, convolutions)


def _allowed_tf32() -> tuple[bool, bool]:
    """Of products and convolutions."""
    cudnn: Any = torch.backends.cudnn
    return torch.backends.cuda.matmul.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32"


def tf32() -> bool:
    """Whether matrix products or convolutions of float32 run in TF32 in this process; False without CUDA."""
    return cuda.is_available() and any(_allowed_tf32())


def _allow_tf32(products: bool, convolutions: bool) -> None:
    # these setters keep PyTorch's two interfaces to the mode in step; after those of `fp32_precision`, which is safe to
    # read, whoever asks for `allow_tf32`, as TorchInductor does, gets an error
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions


def free_memory() -> None:
    """Gives what nothing holds any more back: to the GPUs, the pools of dropped graphs included, and to the system.

    A process keeps what it has freed of the computer's memory (`benchmarks.__main__` sets glibc so), and nobody else
    finds it free.
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
    for device, row in DEVICES.items():
        if row.is_gpu and is_here(device):
            torch.get_device_module(device).empty_cache()


class Timer(Protocol):
    """Times one call that is warm."""

    how: str  # "wall", "graph" or "stream"
    calls: int  # in one turn
    warm_ms: float  # of one call before the turns, with its launching; NaN where the turn has no length

    def ms(self) -> float:
        """Milliseconds of one call: the mean of one turn."""
        ...


class Clock(Protocol):
    """Makes timers; those of one clock may live side by side and take turns."""

    def timer(self, call: Callable[[], Any], turn_ms: float = 0.0) -> Timer:
        """Warms the call up; a call that is shorter than `turn_ms` is repeated in its turn for about so long.

        On a GPU the call must not wait for the device.
        """
        ...


def clock(device: str) -> Clock:
    """The clock of a type of device."""
    if DEVICES[device].captures:
        return GpuClock()
    return WaitingClock(device) if DEVICES[device].is_gpu else WallClock()


class WallClock:
    """The wall's."""

    def timer(self, call: Callable[[], Any], turn_ms: float = 0.0) -> WallTimer:
        return WallTimer(call, turn_ms)


class WallTimer:
    """Times one call on the CPU."""

    how = "wall"

    def __init__(self, call: Callable[[], Any], turn_ms: float) -> None:
        self._call = call
        self.calls = 1
        self.warm_ms = math.nan
        call()
        if turn_ms:
            self.warm_ms = self.ms()
            self.calls = max(1, min(MAX_REPEATS, round(turn_ms / max(self.warm_ms, 1e-3))))

    def ms(self) -> float:
        started = time.perf_counter()
        for _ in range(self.calls):
            self._call()
        return 1000 * (time.perf_counter() - started) / self.calls


class WaitingClock:
    """The wall's, of a GPU on which nothing can be captured."""

    def __init__(self, device: str) -> None:
        self.device = device

    def timer(self, call: Callable[[], Any], turn_ms: float = 0.0) -> WaitingTimer:
        return WaitingTimer(call, turn_ms, self.device)


class WaitingTimer(WallTimer):
    """Times one call on a GPU, its launching included: a turn begins and ends with an idle device."""

    def __init__(self, call: Callable[[], Any], turn_ms: float, device: str) -> None:
        self._device = device
        super().__init__(call, turn_ms)

    def ms(self) -> float:
        synchronize(self._device)
        started = time.perf_counter()
        for _ in range(self.calls):
            self._call()
        synchronize(self._device)
        return 1000 * (time.perf_counter() - started) / self.calls


class GpuClock:
    """The current CUDA device's.

    Its graphs share one pool of memory: each leaves nothing in there that is read after it, so that all together take
    what the largest does. The pool is free again when the clock and its timers are dropped, see `free_memory`.
    """

    def __init__(self) -> None:
        self.pool = cuda.graph_pool_handle()

    def timer(self, call: Callable[[], Any], turn_ms: float = 0.0) -> GpuTimer:
        timer = GpuTimer(call, turn_ms, self.pool)
        if timer.how == "stream":
            self.pool = cuda.graph_pool_handle()  # in the other a capture has failed, and may have left something
        return timer


class GpuTimer:
    """Times one call on the current CUDA device.

    Libraries make their handles, workspaces, plans and kernels on the first call, on a stream or for it; so the calls
    that warm up run on the stream of the capture.
    """

    def __init__(self, call: Callable[[], Any], turn_ms: float, pool: Any) -> None:
        self._call = call
        self._stream = _side_stream()
        self.calls = 1
        self._stream.wait_stream(cuda.current_stream())
        with cuda.stream(self._stream):
            call()
            self.warm_ms = self._timed(call)  # with its launching
            self.calls = max(1, min(MAX_CAPTURED, round(turn_ms / max(self.warm_ms, 1e-3))))
            self._graph = self._captured(pool)
        self.how = "stream" if self._graph is None else "graph"

    def ms(self) -> float:
        with cuda.stream(self._stream):
            self._turn()  # keeps the device busy while what is timed is launched
            return self._timed(self._turn) / self.calls

    def _turn(self) -> None:
        if self._graph is None:
            self._run_calls()
        else:
            self._graph.replay()

    def _run_calls(self) -> None:
        for _ in range(self.calls):
            self._call()

    def _timed(self, run: Callable[[], Any]) -> float:
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))

    def _captured(self, pool: Any) -> Any:
        """The graph of one turn; None where that fails, for whatever reason: the call itself has just run twice."""
        graph = cuda.CUDAGraph()
        try:
            with cuda.graph(graph, pool=pool, stream=self._stream):
                self._run_calls()
        except Exception as error:
            log.debug("not captured: %s", error)
            _mend(pool, self._stream)
            return None
        return graph


@functools.cache
def _side_stream() -> Any:
    """One for all captures, since cuBLAS keeps a workspace for every stream."""
    return cuda.Stream()


def _mend(pool: Any, stream: Any) -> None:
    """A capture that CUDA broke off leaves the allocator and the random generator waiting for its end."""
    with contextlib.suppress(RuntimeError):  # one that ended in an error of another kind did end
        torch._C._cuda_endAllocateToPool(cuda.current_device(), pool)
        torch._C._cuda_releasePool(cuda.current_device(), pool)
    with cuda.graph(cuda.CUDAGraph(), stream=stream):  # the generator, by which older graphs go on, sees an end
        cuda._sleep(1)


class DeviceSeconds:
    """A clock for pytest-benchmark that stands still but for the time that the device takes, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def add_call(self, timer: Timer) -> None:
        """Goes on by what one call takes."""
        self.seconds += timer.ms() / 1000


class Graph(Protocol):
    """What is captured once and replayed for every batch."""

    def replay(self) -> None: ...


class Capture(Protocol):
    """Makes a graph of a function; its random numbers come from `generator`, its memory from that of `beside`."""

    def __call__(
        self, function: Callable[[], object], generator: torch.Generator | None, beside: Graph | None
    ) -> Graph: ...


def capture_of(device: str) -> Capture | None:
    """What captures a training step on the device; None where it runs as it stands."""
    return cuda_graph if DEVICES[device].captures else None


def cuda_graph(
    function: Callable[[], object], generator: torch.Generator | None = None, beside: Graph | None = None
) -> Graph:
    """Captures `function` on the current CUDA device.

    Args:
        function: launches the same work at every call and never waits for the device.
        generator: of its random numbers; goes on as it would without the graph.
        beside: a graph with which the new one shares its memory: neither may need what it left there before a replay of
            the other.
    """
    side = cuda.Stream()  # where nothing is captured that the default stream has begun
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        for _ in range(WARM_UP_STEPS):
            function()
    cuda.current_stream().wait_stream(side)
    graph = cuda.CUDAGraph()
    if generator is not None:
        graph.register_generator_state(generator)
    cuda.synchronize()
    with cuda.graph(graph, pool=beside.pool() if isinstance(beside, cuda.CUDAGraph) else None):
        function()
    return graph
