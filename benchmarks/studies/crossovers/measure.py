"""Which method of a mixer is the fastest from how many tokens on: the table behind `method="auto"`, measured.

For each kind of computation one mixer that stands for it, each of its methods at growing grids, forward and forward +
backward, rounds interleaved. A method that runs out of memory, or that does not exist for the dtype, is a row with its
reason; so is one whose output differs from the definition, which is not timed. The method with the smallest sum of the
two medians counts.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.contract.facts.devices import by_device
from benchmarks.contract.record import code_version, machine_name
from benchmarks.contract.trial import Trial
from benchmarks.machine.device import set_math_mode
from benchmarks.machine.environment import environment
from benchmarks.studies.attempt import Deadline, hold_to, interleaved_or_why, let_go, timed_call, why
from benchmarks.studies.crossovers.record import DIM, CrossoversRecord, MethodTime
from mixers import Mixer, MixerError, create_mixer
from mixers.families.attention import BACKENDS, ON_REQUEST

log = logging.getLogger("benchmarks")

STANDS_FOR = {
    "separable": "dct",
    "learned_separable": "linear_separable",
    "one_part": "fft_real_2d",
    "both_parts": "fft_complex",
    "pairs": "fft_pairs",
    "interleaved": "fft_scrambled",
    "channels_too": "fft_real",
    "attention": "attention",
}
METHODS = ("dense", "gemm", "fft", "fused")
MODES = ("forward", "forward_backward")
SIDES = by_device(cpu=(4, 8, 12, 16, 24, 32, 48, 64, 96, 128), gpu=(4, 8, 16, 32, 48, 64, 96, 128, 192, 256))
ELEMENTS = by_device(cpu=2**20, gpu=2**26)
ROUNDS = 7
TURN_MS = 10.0
WORTH_A_CHANGE = 1.15
MOST_TOKENS_OF_ATTENTION = 64 * 64  # beyond, no choice is left that fits


def measure_crossovers(
    device: str,
    threads: int,
    precision: str,
    rounds: int = ROUNDS,
    sides: Sequence[int] | None = None,
    kinds: Sequence[str] | None = None,
    on_time: Callable[[MethodTime], Any] = lambda timed: None,
    until: float | None = None,
) -> tuple[list[MethodTime], list[str]]:
    """Times every kind at every grid.

    Args:
        device: of DEVICES.
        threads: on the CPU.
        precision: of input and weights, "float32" or "bfloat16".
        rounds: that are counted.
        sides: of the grids, in tokens; by default SIDES.
        kinds: of STANDS_FOR; by default all.
        on_time: told each time once it is there.
        until: of `time.monotonic`, after which no grid is begun.

    Returns:
        The times, and in words what the deadline left.

    Raises:
        UserError: precision, rounds or threads are none that there are.
    """
    _trial(device, threads, rounds, precision)
    set_math_mode(threads)
    times: list[MethodTime] = []
    left = []
    deadline = Deadline(until)
    for kind, side in itertools.product(kinds or STANDS_FOR, sides or SIDES[device]):
        if kind == "attention" and side * side > MOST_TOKENS_OF_ATTENTION:
            continue
        if deadline.passed():
            left.append(f"{kind}, {side} x {side}, {precision}")
            continue
        found = _measure(kind, side, device, precision, rounds)
        for timed in found:
            times.append(timed)
            on_time(timed)
        if found:
            texts = [f"{c.method} {c.cost_ms:.2f} ms" if c.status == "ok" else f"{c.method} {c.status}" for c in found]
            log.info("%s, %d x %d, %s: %s", kind, side, side, precision, ", ".join(texts))
    return times, left


def _measure(kind: str, side: int, device: str, precision: str, rounds: int) -> list[MethodTime]:
    dtype = getattr(torch, precision)
    batch = max(1, min(64 if device == "cpu" else 2048, ELEMENTS[device] // (DIM * side * side)))
    let_go(device)
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    failures: dict[str, tuple[str, str]] = {}
    mixers = _variants(kind, side, device, dtype)
    for name, mixer in mixers.items():
        try:
            mixer.to(device, dtype)
            x = torch.randn(batch, DIM, side, side, device=device, dtype=dtype)
            x = x.contiguous(memory_format=mixer.memory_format)
            with torch.no_grad():
                hold_to(f"{STANDS_FOR[kind]}, {name},", mixer(x[:1]), mixer.reference(x[:1]))
            calls |= {(name, mode): timed_call(mixer, [x], mode) for mode in MODES}
        except Exception as error:
            failures[name] = why(error)
    let_go(device)
    found, late = interleaved_or_why(
        calls,
        rounds,
        device=device,
        order=lambda names, number: random.Random(number).sample(names, len(names)),
        turn_ms=TURN_MS,
    )
    middle = {key: statistics.median(values) for key, values in found.items()}
    failures |= {name: what for (name, _), what in late.items()}
    times = []
    for name in mixers:
        status, reason = failures.get(name, ("ok", None))
        forward_ms, both_ms = (middle.get((name, mode)) for mode in MODES)
        times.append(
            MethodTime(kind, STANDS_FOR[kind], side * side, name, forward_ms, both_ms, precision, status, reason)
        )
    return times


def _variants(kind: str, side: int, device: str, dtype: torch.dtype) -> dict[str, Mixer]:
    """The methods that exist at this grid on this device, by name."""
    option, names = ("backend", ("torch", *BACKENDS)) if kind == "attention" else ("method", METHODS)
    found = {}
    for name in names:
        try:
            mixer = create_mixer(f"{STANDS_FOR[kind]}({option}={name})", DIM, (side, side))
        except MixerError:  # it has no such method, or not at this size
            continue
        if kind == "attention":
            # of a CPU PyTorch's own choice is the only other one; of a GPU it is one of these, under another name
            if (name not in ("torch", "plain")) if device == "cpu" else name == "torch":
                continue
        elif mixer.method_on(device, dtype) != name or (device == "cpu" and name == "fused"):  # by the interpreter
            continue
        found[name] = mixer
    return found


def table_of(times: list[MethodTime]) -> dict[str, list[list[Any]]]:
    """For each kind the rows (most tokens, method) of crossovers.json; methods without a time do not count.

    A change lies half-way, on a log scale, between the last grid at which one method won and the next. A method is left
    only for one that is faster by WORTH_A_CHANGE, so that noise makes no rows. What runs on request alone is in no row.
    """
    table: dict[str, list[list[Any]]] = {}
    times = [timed for timed in times if timed.cost_ms < math.inf and timed.method not in ON_REQUEST]
    for kind in dict.fromkeys(timed.kind for timed in times):
        mine = [timed for timed in times if timed.kind == kind]
        tokens = sorted({timed.tokens for timed in mine})
        best: list[str] = []
        for n in tokens:
            costs = {c.method: c.cost_ms for c in mine if c.tokens == n}
            fastest = min(costs, key=lambda method: costs[method])
            # of near equals the one that was taken before; where it is not there any more, the one that wins next
            preferred = (
                best[-1] if best and best[-1] in costs else _fastest(mine, next((m for m in tokens if m > n), n))
            )
            near = costs.get(preferred, math.inf) <= WORTH_A_CHANGE * costs[fastest]
            best.append(preferred if near else fastest)
        rows: list[list[Any]] = []
        for i, method in enumerate(best):
            last = i == len(best) - 1
            # "dense" has an end of its own, so the change lies there
            most = None if last else tokens[i] if method == "dense" else round(math.sqrt(tokens[i] * tokens[i + 1]))
            if rows and rows[-1][1] == method:
                rows[-1][0] = most
            else:
                rows.append([most, method])
        table[kind] = rows
    return table


def _fastest(times: list[MethodTime], tokens: int) -> str:
    return min((timed for timed in times if timed.tokens == tokens), key=lambda timed: timed.cost_ms).method


def crossovers_record(
    times: list[MethodTime], device: str, threads: int, rounds: int = ROUNDS, left: Sequence[str] = ()
) -> CrossoversRecord:
    """The times with the tables that follow from them.

    Args:
        left: what is not measured yet, in words.
    """
    where = environment(device, threads)
    tables = {}
    for precision in dict.fromkeys(timed.precision for timed in times):
        measured_on = {
            "machine": machine_name(where),
            "torch": where["torch"],
            "threads": threads,
            "precision": precision,
            "rounds": rounds,
            "code": code_version(),
        }
        methods = table_of([timed for timed in times if timed.precision == precision])
        tables[precision] = {"measured_on": measured_on, "methods": methods}
    return CrossoversRecord(device=device, tables=tables, times=[*times], left=[*left])


def _trial(device: str, threads: int, rounds: int, precision: str = "float32") -> Trial:
    """What all that is timed has in common; raises UserError for what is out of range."""
    return Trial(
        kind="latency",
        mixer="dct",
        dataset="cifar100",
        image_size=32,
        patch_size=4,
        dim=DIM,
        depth=1,
        device=device,
        threads=threads,
        rounds=rounds,
        precision=precision,
    )
