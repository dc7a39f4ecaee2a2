"""Measurements that stand in one table: each may fail, and is then a row with its status and its reason.

The statuses are those of records. A CPU is not asked for memory that it has not got, where the kernel would kill the
process; on a GPU the allocator says so.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchmarks.contract.errors import UserError, one_line, place_of
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.machine.device import free_memory
from benchmarks.machine.memory import FREE_SHARE, free_bytes, is_out_of_memory, predict_peak_bytes
from benchmarks.timing.turns import interleaved
from mixers import MixerError, UnsupportedSize

Key = TypeVar("Key")
UNSUPPORTED = ("No available kernel", "No viable backend", "not implemented for", "nsupported dtype")
LARGEST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}  # relative, of an output that is timed
LARGEST_ERROR_ON_GPU = 1e-4  # of float32, whose products a fused kernel makes of three in TF32


class WrongOutput(RuntimeError):
    """An output that is not what its definition gives; it is not timed."""


def why(error: Exception) -> tuple[str, str]:
    """The status and the reason of a measurement that raised this."""
    text = str(error)
    if is_out_of_memory(error):
        return "oom", one_line(error)
    if isinstance(error, UnsupportedSize | NotImplementedError) or any(words in text for words in UNSUPPORTED):
        return "unsupported", one_line(error)
    if isinstance(error, WrongOutput):
        return "error", one_line(error)
    return "error", f"{type(error).__name__}: {one_line(error)} ({place_of(error)})"


def is_the_users(error: Exception) -> bool:
    """Whether it is a mistake in what was asked for, which ends the run, rather than what came of one row."""
    return isinstance(error, UserError) or (isinstance(error, MixerError) and not isinstance(error, UnsupportedSize))


def hold_to(
    what: str, got: Tensor, wanted: Tensor, comparable: Callable[[Tensor], Tensor] = lambda output: output
) -> None:
    """Compares an output with its definition.

    Args:
        what: the output, in words.
        got: the output.
        wanted: what is comparable of the definition's.
        comparable: takes from an output what is compared, in float64.

    Raises:
        WrongOutput: they differ by more than rounding explains.
    """
    allowed = LARGEST_ERROR[got.dtype]
    if got.device.type != "cpu" and got.dtype == torch.float32:
        allowed = LARGEST_ERROR_ON_GPU
    got, wanted = comparable(got.double()), wanted.double()
    if got.shape != wanted.shape:
        raise WrongOutput(f"{what} is {list(got.shape)}, its definition {list(wanted.shape)}; not timed")
    difference = float(torch.linalg.vector_norm(got - wanted) / torch.linalg.vector_norm(wanted))
    if not difference < allowed:  # nor is NaN
        raise WrongOutput(f"{what} differs from its definition by {difference:.1e}; not timed")


def refuse_what_does_not_fit(call: Callable[[], Any], device: str) -> None:
    """Stops before a call on a CPU for which the kernel would kill the process.

    Raises:
        MemoryError: what the call is predicted to make is more than is free.
    """
    if device != "cpu":
        return
    try:
        needed = predict_peak_bytes(lambda: (call, ())) or 0
    except Exception:  # what does not run on fake tensors may run on real ones, or says itself what is wrong
        return
    free = FREE_SHARE * free_bytes("cpu")
    if needed > free:
        raise MemoryError(f"it asks for {needed:,} bytes, {free:,.0f} may be taken of what is free")


def interleaved_or_why(
    calls: dict[Key, Callable[[], Any]],
    rounds: int,
    *,
    device: str,
    order: Callable[[list[Key], int], Sequence[Key]] | None = None,
    turn_ms: float = 0.0,
    predict: bool = True,
) -> tuple[dict[Key, list[float]], dict[Key, tuple[str, str]]]:
    """`interleaved` of the calls that run here, and status and reason of those that do not.

    Args:
        predict: whether calls go over fake tensors first, see `refuse_what_does_not_fit`; not for what keeps tensors
            of its own between calls.
    """
    begun: list[Key] = []

    def noting(name: Key, call: Callable[[], Any]) -> Callable[[], Any]:
        def noted() -> Any:
            begun[:] = (name,)
            return call()

        return noted

    left = {name: noting(name, call) for name, call in calls.items()}
    failures: dict[Key, tuple[str, str]] = {}
    for name, call in calls.items():
        try:
            if predict:
                refuse_what_does_not_fit(call, device)
        except MemoryError as error:
            del left[name]
            failures[name] = why(error)
    while left:
        begun.clear()
        try:
            return interleaved(left, rounds, order=order, turn_ms=turn_ms, device=device), failures
        except Exception as error:
            if not begun:
                raise
            del left[begun[0]]
            failures[begun[0]] = why(error)
        let_go(device)
    return {}, failures


def let_go(device: str) -> None:
    """Gives back a GPU's memory that is not used any more, so that what comes next finds it free."""
    if DEVICES[device].is_gpu:
        with contextlib.suppress(RuntimeError):  # of a device that has failed for good
            free_memory()


class Deadline:
    """Asked before every row, whether it had better not be begun.

    Args:
        until: of `time.monotonic`; None: never.
    """

    def __init__(self, until: float | None) -> None:
        self.until = math.inf if until is None else until
        self._asked_at: float | None = None
        self._longest_s = 0.0

    def passed(self) -> bool:
        """Whether a row that takes as long as the longest one since the first question would end too late."""
        now = time.monotonic()
        if self._asked_at is not None:
            self._longest_s = max(self._longest_s, now - self._asked_at)
        self._asked_at = now
        return now + self._longest_s >= self.until


def timed_call(module: nn.Module, inputs: Sequence[Tensor], mode: str) -> Callable[[], Any]:
    """One forward, or forward + backward with a random gradient, on the next of the inputs."""
    pool = itertools.cycle(inputs)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gradients: dict[type, Tensor] = {}  # one is kept; fake tensors, by which memory is predicted, have their own

    def forward() -> None:
        with torch.no_grad():
            module(next(pool))

    def forward_backward() -> None:
        x = next(pool).detach().requires_grad_()
        y = module(x)
        if type(y) not in gradients:
            gradients[type(y)] = torch.randn_like(y)
        torch.autograd.grad(y, [x, *parameters], gradients[type(y)])

    return forward if mode == "forward" else forward_backward
