"""The items that pytest-benchmark times in one latency process; `latency.py` starts it and reads its results.

This is no test: it is a pytest module so that pytest-benchmark does the timing. A JSON plan, named by the environment
variable TOKEN_MIXERS_LATENCY_PLAN, lists the nets of one image size. Every item is one (round, net, target, mode); the
order is shuffled within each round, so that a drift of the machine meets all mixers alike. The first item is repeated
at the end to show that drift.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.measure.latency import DRIFT_ROUND, MATMUL_SIDE, PLAN_VARIABLE, Item
from benchmarks.measure.memory import peak_bytes
from benchmarks.measure.train import autocast, build_net, method_of
from benchmarks.trial import Trial
from mixers import Mixer, MixerNet, create_mixer
from mixers.registry import mixer_entry

POOL_BYTES = 2**26  # inputs rotate through this much memory, so that none is found in a cache
MAX_POOL = 64
ITEM_SECONDS = 0.03  # one item repeats its call for about this long
MAX_REPEATS = 50

PLAN: dict[str, Any] = json.loads(Path(os.environ[PLAN_VARIABLE]).read_text(encoding="utf-8"))
for plugin in PLAN["plugins"]:
    mixer_entry(plugin)  # makes the name under which the trials know it
TRIALS = [Trial.from_dict(values) for values in PLAN["trials"]]
torch.set_num_threads(TRIALS[0].threads)


def ordered_items() -> list[Item]:
    """All items of the plan in the order in which they run."""
    items = [Item(**values) for values in PLAN["items"]]
    ordered: list[Item] = []
    for number in range(TRIALS[0].rounds or 1):
        this_round = [item.in_round(number) for item in items]
        random.Random(number).shuffle(this_round)
        ordered += this_round
    return [*ordered, ordered[0].in_round(DRIFT_ROUND)]


@functools.cache
def prepared(trial_index: int, target: str, mode: str) -> tuple[Callable[[], Any], int]:
    """A warm call of one forward, or forward and backward, that waits for the device; and how often to repeat it."""
    trial = TRIALS[trial_index]
    if target == "copy":
        run = _copy(trial)
    elif target == "matmul":
        run = _matmul(trial)
    elif target == "mixer":
        run = _run(trial, _mixer(trial), (trial.dim, *trial.grid), mode, input_gradient=True)
    else:
        run = _run(trial, _net(trial), (3, *trial.size), mode, input_gradient=False)

    def call() -> None:
        run()
        if trial.device == "cuda":
            torch.cuda.synchronize()

    seconds = _seconds(call)
    if seconds < ITEM_SECONDS:
        seconds = _seconds(call)
    return call, max(1, min(MAX_REPEATS, int(ITEM_SECONDS / max(seconds, 1e-6))))


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@functools.cache
def _mixer(trial: Trial) -> Mixer:
    torch.manual_seed(trial.seed)
    return create_mixer(trial.mixer, trial.dim, trial.grid).to(trial.device)


@functools.cache
def _net(trial: Trial) -> MixerNet:
    return build_net(trial, PLAN["num_classes"]).to(trial.device)


def _pool(trial: Trial, shape: tuple[int, ...], memory_format: torch.memory_format) -> list[Tensor]:
    """Random inputs (batch, *shape), enough of them to be larger than the caches."""
    assert trial.batch_size is not None
    dtype = _dtype(trial) if shape[0] != 3 else torch.float32
    first = torch.randn(trial.batch_size, *shape, device=trial.device, dtype=dtype)
    count = min(MAX_POOL, POOL_BYTES // (first.numel() * first.element_size()) + 1)
    pool = [first, *(torch.randn_like(first) for _ in range(count - 1))]
    return [x.contiguous(memory_format=memory_format) for x in pool]


def _dtype(trial: Trial) -> torch.dtype:
    return torch.bfloat16 if trial.precision == "bfloat16" else torch.float32


def _matmul(trial: Trial) -> Callable[[], Any]:
    side = MATMUL_SIDE[trial.device]
    a, b = (torch.randn(side, side, device=trial.device, dtype=_dtype(trial)) for _ in range(2))
    product = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=product)


def _copy(trial: Trial) -> Callable[[], Any]:
    pool = _pool(trial, (trial.dim, *trial.grid), torch.contiguous_format)
    targets = [x.clone() for x in pool]  # pages touched before the clock runs
    pairs = itertools.cycle(zip(targets, pool, strict=True))

    def run() -> None:
        target, source = next(pairs)
        target.copy_(source)

    return run


def _run(
    trial: Trial, module: Mixer | MixerNet, shape: tuple[int, ...], mode: str, input_gradient: bool
) -> Callable[[], Any]:
    pool = itertools.cycle(_pool(trial, shape, module.memory_format))
    call = torch.compile(module, dynamic=False) if trial.compiled else module
    parameters = list(module.parameters())
    gradient: list[Tensor] = []

    def forward() -> None:
        with torch.no_grad(), autocast(trial):
            call(next(pool))

    def forward_backward() -> None:
        x = next(pool).requires_grad_(input_gradient)
        with autocast(trial):
            y = call(x)
        if not gradient:
            gradient.append(torch.randn_like(y))
        torch.autograd.grad(y, [x, *parameters] if input_gradient else parameters, gradient[0])

    return forward if mode == "forward" else forward_backward


@pytest.mark.parametrize("item", ordered_items(), ids=str)
def test_item(item: Item, benchmark) -> None:
    """Times one item; what it cannot do is written down for the record instead of failing the process."""
    try:
        call, repeats = prepared(item.trial, item.target, item.mode)
        benchmark.extra_info.update(item.to_dict())
        trial = TRIALS[item.trial]
        if item.target == "net":  # asked here, where it runs: PyTorch's choice for a fake tensor is another
            benchmark.extra_info["method"] = method_of(_net(trial), trial)
        if trial.device == "cuda" and item.target == "net" and item.mode == "forward_backward" and item.round == 0:
            alive = [*_net(trial).parameters(), *_net(trial).buffers()]
            benchmark.extra_info["peak_memory_bytes"] = peak_bytes(call, alive, trial.device)
        benchmark.pedantic(call, rounds=repeats, iterations=1)
    except Exception as error:
        with Path(PLAN["failures"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**item.to_dict(), "error": type(error).__name__, "message": str(error)}) + "\n")
        pytest.skip(f"{type(error).__name__}: {error}")
