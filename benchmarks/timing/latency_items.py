"""The items that pytest-benchmark times in one latency process; `latency.py` starts it and reads its results.

This is no test: it is a pytest module so that pytest-benchmark does the timing. A JSON plan, named by the environment
variable TOKEN_MIXERS_LATENCY_PLAN, lists the nets of one image size or length. Every item is one (round, net, target,
mode); the order is shuffled within each round, so that a drift of the machine meets all mixers alike. The first item is
repeated at the end to show that drift. Each time is written down at once, as a line of JSON, and so is what an item
failed of; that item is not tried again.

Memory on a GPU: nets are kept, inputs are shared by all nets, and an item's graph is dropped before the next is made.
Where an item finds too little, nets move to the computer's memory, all else is dropped, and it gets a second try. On a
CPU, where nobody says that it is too little before it is too late, all is dropped, nets too, before an item whose
predicted memory is not free.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.contract.facts.datasets import take_over
from benchmarks.contract.trial import Trial
from benchmarks.machine import device
from benchmarks.machine.memory import FREE_SHARE, free_bytes, peak_bytes
from benchmarks.tasks.task import build_net, task_of
from benchmarks.timing.compiled import Compiled
from benchmarks.timing.latency import DRIFT_ROUND, PLAN_VARIABLE, Item, is_out_of_memory
from benchmarks.timing.latency_metrics import MATMUL_SIDE
from benchmarks.training.train import autocast, method_of
from mixers import Mixer, MixerNet, create_mixer
from mixers.registry import mixer_entry
from mixers.spec import MixerSpec, parse

POOL_BYTES = 2**26  # inputs rotate through this much memory, so that none is found in a cache
MAX_POOL = 64
ITEM_SECONDS = 0.03  # one item repeats its call for about this long
TURN_MS = 5.0  # of it on a GPU, in one graph
MAX_REPEATS = 50

PLAN: dict[str, Any] = json.loads(Path(os.environ[PLAN_VARIABLE]).read_text(encoding="utf-8"))
for plugin in PLAN["plugins"]:
    mixer_entry(plugin)  # makes the name under which the trials know it
for own in PLAN["own_data"]:
    take_over(own)
TRIALS = [Trial.from_dict(values) for values in PLAN["trials"]]
DEVICE = TRIALS[0].device  # of all of them, as are threads and rounds
NEEDS = {Item(**item): needed for item, needed in zip(PLAN["items"], PLAN["needs"], strict=True)}  # bytes, on a CPU
FAILED: set[Item] = set()  # in round 0, whenever it was
MODULES: dict[tuple[Trial, str], Mixer | MixerNet] = {}  # by trial, and "mixer" or "net"
GRADIENTS: dict[tuple[Any, ...], Tensor] = {}
SECONDS = device.DeviceSeconds()
device.set_math_mode(TRIALS[0].threads)
if DEVICE != "cpu":
    pytestmark = pytest.mark.benchmark(timer=SECONDS)


def ordered_items() -> list[Item]:
    """All items of the plan in the order in which they run."""
    items = [Item(**values) for values in PLAN["items"]]
    ordered: list[Item] = []
    for number in range(TRIALS[0].rounds or 1):
        this_round = [item.in_round(number) for item in items]
        random.Random(number).shuffle(this_round)
        ordered += this_round
    return [*ordered, ordered[0].in_round(DRIFT_ROUND)]


@dataclasses.dataclass
class Ready:
    """A warm call, how often to repeat it, and what stands beside its time in the record."""

    call: Callable[[], Any]
    repeats: int
    noted: dict[str, Any]


def prepared(item: Item) -> Ready:
    """The item's call, warm; on a GPU it moves SECONDS on instead of taking time."""
    if DEVICE == "cpu":
        _find_room(item)
        return _on_cpu(item.trial, item.target, item.mode)
    try:
        return _on_gpu(item)
    except Exception as error:
        if not is_out_of_memory(type(error).__name__, str(error)):
            raise
    make_room()
    return _on_gpu(item)


def _find_room(item: Item) -> None:
    """Drops what is kept for later where an item would not find its memory beside it.

    Raises:
        MemoryError: even then it would not.
    """
    needed = NEEDS.get(item.in_round(0), 0)
    if needed > FREE_SHARE * free_bytes("cpu"):
        make_room()
        free = FREE_SHARE * free_bytes("cpu")
        if needed > free:
            raise MemoryError(f"the {item.target} asks for {needed:,} bytes, {free:,.0f} may be taken of what is free")


@functools.cache
def _on_cpu(index: int, target: str, mode: str) -> Ready:
    call = _call(index, target, mode)
    seconds = _seconds(call)
    if seconds < ITEM_SECONDS:
        seconds = _seconds(call)
    return Ready(call, _repeats(seconds), _facts(index, target, mode))


def _on_gpu(item: Item) -> Ready:
    trial, call = TRIALS[item.trial], _call(item.trial, item.target, item.mode)
    noted: dict[str, Any] = {}
    if item.target == "net" and item.mode == "forward_backward" and item.round == 0:
        net = _module(trial, "net")
        alive = [*net.parameters(), *net.buffers()]
        noted["peak_memory_bytes"] = peak_bytes(call, alive, DEVICE)
    timer = device.clock(DEVICE).timer(call, TURN_MS)
    noted |= {"clock": timer.how, **_facts(item.trial, item.target, item.mode)}
    return Ready(lambda: SECONDS.add_call(timer), _repeats(timer.calls * timer.warm_ms / 1000), noted)


def make_room() -> None:
    """Leaves nothing on the GPU: nets are moved back, and inputs and programs made again, when they are needed.

    On a CPU nets are made again too.
    """
    for cached in (_on_cpu, _call, _program, _pool, _token_pool):
        cached.cache_clear()
    GRADIENTS.clear()
    if DEVICE == "cpu":
        MODULES.clear()
    for module in MODULES.values():
        module.cpu()
    device.free_memory()


def _repeats(seconds: float) -> int:
    return max(1, min(MAX_REPEATS, int(ITEM_SECONDS / max(seconds, 1e-6))))


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _facts(index: int, target: str, mode: str) -> dict[str, Any]:
    """Of a net that has run: its method, and the number of its graphs where it is compiled."""
    trial = TRIALS[index]
    facts: dict[str, Any] = {}
    if target == "net":  # asked here, where it runs: PyTorch's choice for a fake tensor is another
        net = _module(trial, target)
        facts["method"] = method_of(net, trial)
        if trial.compiled:
            facts["graphs"] = _program(index, target, mode).graphs
    return facts


@functools.cache
def _call(index: int, target: str, mode: str) -> Callable[[], Any]:
    """One forward, or forward and backward, or what stands beside it."""
    trial = TRIALS[index]
    if target == "copy":
        return _copy(trial)
    if target == "matmul":
        return _matmul(trial)
    module = _module(trial, target)
    shape: tuple[int, ...] = (trial.dim, *trial.grid)
    tokens = None
    if target == "net":
        example = task_of(trial).example(trial, 1, "cpu").inputs
        shape = tuple(example.shape[1:])
        if not example.is_floating_point():
            tokens = _token_pool(trial.dataset, trial.batch_size, trial.tokens)
    program = _program(index, target, mode) if trial.compiled else module
    return _run(trial, module, program, shape, mode, input_gradient=target == "mixer", tokens=tokens)


@functools.cache
def _program(index: int, target: str, mode: str) -> Compiled:
    return Compiled(_module(TRIALS[index], target))


def _module(trial: Trial, target: str) -> Mixer | MixerNet:
    """The trial's net or one mixer, on the device."""
    if (trial, target) not in MODULES:
        _refuse_weights(trial, parse(trial.mixer).of_blocks(1 if target == "mixer" else trial.depth))
        if target == "mixer":
            torch.manual_seed(trial.seed)
            MODULES[trial, target] = create_mixer(trial.mixer, trial.dim, trial.grid)
        else:
            MODULES[trial, target] = build_net(trial)
    return MODULES[trial, target].to(trial.device)


def _refuse_weights(trial: Trial, mixers: list[MixerSpec]) -> None:
    """What is meant for a GPU is built in the computer's memory, where weights that no GPU takes would have us killed.

    Raises:
        torch.OutOfMemoryError: the weights of these mixers are more than is free on the GPU.
    """
    if trial.device == "cpu":  # there the whole net has been predicted to fit
        return
    needed = 0
    with FakeTensorMode(allow_non_fake_inputs=True):
        for spec, blocks in collections.Counter(mixers).items():
            mixer = create_mixer(spec, trial.dim, trial.grid)
            needed += blocks * sum(t.numel() * t.element_size() for t in [*mixer.parameters(), *mixer.buffers()])
    free = free_bytes(trial.device)
    if needed > free:
        raise torch.OutOfMemoryError(f"the mixers' weights ask for {needed:,} bytes, {free:,} are free")


@functools.cache
def _pool(shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format) -> list[Tensor]:
    """Random inputs of a shape, enough of them to be larger than the caches."""
    first = torch.randn(shape, device=DEVICE, dtype=dtype)
    count = min(MAX_POOL, POOL_BYTES // (first.numel() * first.element_size()) + 1)
    pool = [first, *(torch.randn_like(first) for _ in range(count - 1))]
    return [x.contiguous(memory_format=memory_format) for x in pool]


@functools.cache
def _token_pool(*alike: Any) -> list[Tensor]:
    """Batches of random ids as the task has them, of the trials with this data set, batch size and length.

    As many as are larger than the caches, in one tensor.
    """
    trial = next(t for t in TRIALS if (t.dataset, t.batch_size, t.tokens) == alike)
    batch = trial.batch_size or 1
    one = task_of(trial).example(trial, 1, "cpu").inputs
    count = POOL_BYTES // (batch * one.numel() * one.element_size()) + 1
    return list(task_of(trial).example(trial, count * batch, DEVICE).inputs.split(batch))


def _gradient(y: Tensor) -> Tensor:
    """A random one, shared by all outputs of one form."""
    return GRADIENTS.setdefault((y.shape, y.stride(), y.dtype), torch.randn_like(y))


def _dtype(trial: Trial) -> torch.dtype:
    return torch.bfloat16 if trial.precision == "bfloat16" else torch.float32


def _matmul(trial: Trial) -> Callable[[], Any]:
    side = MATMUL_SIDE[trial.device]
    a, b = (torch.randn(side, side, device=trial.device, dtype=_dtype(trial)) for _ in range(2))
    product = torch.empty_like(a)

    def run() -> None:
        with contextlib.nullcontext() if DEVICE == "cpu" else device.tf32_allowed():
            torch.mm(a, b, out=product)

    return run


def _copy(trial: Trial) -> Callable[[], Any]:
    assert trial.batch_size is not None
    pool = _pool((trial.batch_size, trial.dim, *trial.grid), _dtype(trial), torch.contiguous_format)
    targets = [x.clone() for x in pool]  # pages touched before the clock runs
    pairs = itertools.cycle(zip(targets, pool, strict=True))

    def run() -> None:
        target, source = next(pairs)
        target.copy_(source)

    return run


def _run(
    trial: Trial,
    module: Mixer | MixerNet,
    program: Callable[[Tensor], Tensor],
    shape: tuple[int, ...],
    mode: str,
    input_gradient: bool,
    tokens: list[Tensor] | None = None,
) -> Callable[[], Any]:
    assert trial.batch_size is not None
    dtype = _dtype(trial) if input_gradient else torch.float32
    inputs = tokens or _pool((trial.batch_size, *shape), dtype, module.memory_format)
    if mode == "forward":
        pool = itertools.cycle(inputs)
    else:
        pool = itertools.cycle([x.detach().requires_grad_(input_gradient) for x in inputs])
    parameters = list(module.parameters())
    gradient: list[Tensor] = []

    def forward() -> None:
        with torch.no_grad(), autocast(trial):
            program(next(pool))

    def forward_backward() -> None:
        x = next(pool)
        with autocast(trial):
            y = program(x)
        if not gradient:
            gradient.append(_gradient(y))
        wanted = [x, *parameters] if input_gradient else parameters
        torch.autograd.grad(y, wanted, gradient[0], allow_unused=True)  # some weights serve another head alone

    return forward if mode == "forward" else forward_backward


@pytest.mark.parametrize("item", ordered_items(), ids=str)
def test_item(item: Item, benchmark) -> None:
    """Times one item; what it cannot do is written down for the record instead of failing the process."""
    if item.in_round(0) in FAILED:
        pytest.skip("it failed before")
    failure = None
    try:
        ready = prepared(item)
        benchmark.pedantic(ready.call, rounds=ready.repeats, iterations=1)
        _write("results", item, {"ms": 1000 * statistics.median(benchmark.stats.stats.data), **ready.noted})
    except Exception as error:
        failure = type(error).__name__, str(error)
    if failure is not None:  # and nothing holds the frames of the error any more, nor their tensors
        FAILED.add(item.in_round(0))
        _write("failures", item, {"error": failure[0], "message": failure[1]})
        device.free_memory()
        pytest.skip(f"{failure[0]}: {failure[1]}")


def _write(what: str, item: Item, values: dict[str, Any]) -> None:
    with Path(PLAN[what]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"item": item.to_dict(), **values}) + "\n")
