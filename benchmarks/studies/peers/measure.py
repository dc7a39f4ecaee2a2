"""Our mixers beside public implementations: times in one run, as ratios.

Methodology. Pixels are tokens; the batch is as large as 2^20 numbers allow. Weights are moved away from where they
start and copied to the peer, each side gets its input in its own natural layout, and the gradient arrives in the layout
of the output. Image size by image size and pair by pair, outputs and input gradients are compared first where both
compute one function, at the size and in the precision that are timed; a pair that differs is not timed. Then the two
take turns, forward and forward + backward, in an order that is shuffled in each round, either first; a short call is
repeated in its turn. Inputs are random and rotate through more memory than the caches hold. First calls do not count.
What cannot be measured is a row with its reason.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contract.errors import UserError
from benchmarks.contract.record import code_version, now
from benchmarks.contract.trial import Trial
from benchmarks.machine.collector import without_collector
from benchmarks.machine.environment import environment
from benchmarks.machine.memory import FREE_SHARE, free_bytes, predict_peak_bytes
from benchmarks.studies.attempt import Deadline, WrongOutput, interleaved_or_why, is_the_users, timed_call, why
from benchmarks.studies.comparison import compare
from benchmarks.studies.peers.pairs import PAIRS, Pair
from benchmarks.studies.peers.record import PeerComparison, PeerFailure, PeersRecord
from mixers import Mixer, create_mixer, list_mixers
from mixers.registry import mixer_entry, split_mixers

log = logging.getLogger("benchmarks")

DIM = 64
IMAGE_SIZES = ((16, 16), (32, 32), (64, 64))
ROUNDS = 11
ELEMENTS = 2**20  # of the input, at most
MAX_BATCH = 64
MODES = ("forward", "forward_backward")
POOL_BYTES = 2**26  # inputs rotate through this much memory
TURN_MS = 20.0
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3  # relative, in float32
ASSUMED_FLOPS_PER_S = 2e10  # of one slow core, to tell in advance what would take too long
MOST_SECONDS = 300  # for one pair at one size
MEMORY_FACTOR = 4  # both sides and their inputs, over what our forward + backward takes


class CheckFailed(WrongOutput):
    """A peer that should compute the same function does not, or cannot be run; the pair is not timed then."""


@dataclasses.dataclass(frozen=True)
class _Rivals:
    """A pair, built for one image size."""

    pair: Pair
    spec: str
    ours: Mixer
    theirs: nn.Module
    errors: tuple[float, float] | None


def compare_with_peers(
    mixers: str | None = None,
    sizes: Sequence[tuple[int, int]] = IMAGE_SIZES,
    rounds: int = ROUNDS,
    threads: int = 1,
    pairs: Sequence[Pair] = PAIRS,
    on_rows: Callable[[PeersRecord], Any] = lambda record: None,
    until: float | None = None,
) -> PeersRecord:
    """Times the mixers, as `split_mixers` takes them, beside their peers; all that have one by default.

    Args:
        on_rows: told what there is after every pair.
        until: of `time.monotonic`, after which no pair is begun; `left_out` says which ones are left.

    Raises:
        UserError: a number is out of range, or none of the mixers has a peer that is installed.
        MixerError: no such mixer, or option.
    """
    common = {"dataset": "cifar100", "image_size": 32, "patch_size": 1, "dim": DIM, "depth": 1}
    trial = Trial(kind="latency", mixer="dct", rounds=rounds, threads=threads, **common)  # type: ignore[arg-type]
    asked, left_out = _asked(mixers, pairs)
    present = [(spec, pair) for spec, pair in asked if not pair.missing()]
    left_out += _without_package([pair for _, pair in asked])
    if not present:
        raise UserError(f"there is nothing to compare: {'; '.join(left_out)}")
    rows: list[PeerComparison | PeerFailure] = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        deadline = Deadline(until)
        for size, (spec, pair) in itertools.product(sizes, present):
            at = f"{spec} beside {pair.package} {pair.peer} at {_words(size)} px"
            if deadline.passed():
                left_out.append(f"{at} left for want of time")
                continue
            try:
                too_long = too_much(spec, size, batch_size(size), rounds)
                if too_long:
                    left_out.append(f"{at} left out: {too_long}")
                    continue
                rows.extend(_timed(_rivals(spec, pair, size), size, rounds, threads))
            except Exception as error:
                if is_the_users(error):
                    raise
                rows.append(_failure(spec, pair, size, None, *why(error)))
            log.info("%s: %s", at, _short(rows[-1]))
            on_rows(_record(trial, rows, left_out))
    finally:
        torch.set_num_threads(before)
    return _record(trial, rows, left_out)


def _record(trial: Trial, rows: list[PeerComparison | PeerFailure], left_out: list[str]) -> PeersRecord:
    where = environment(trial.device, trial.threads)
    where["packages"] |= {row.package: row.version for row in rows}
    return PeersRecord(environment=where, code=code_version(), ended=now(), rows=[*rows], left_out=[*left_out])


def _short(row: PeerComparison | PeerFailure) -> str:
    return f"{row.status}: {row.reason}" if isinstance(row, PeerFailure) else "timed"


def _failure(spec: str, pair: Pair, size: tuple[int, int], mode: str | None, status: str, reason: str) -> PeerFailure:
    own = spec, pair.peer, pair.package, pair.version, _words(size), DIM, batch_size(size)
    return PeerFailure(*own, mode, status, reason)


def _asked(mixers: str | None, pairs: Sequence[Pair]) -> tuple[list[tuple[str, Pair]], list[str]]:
    """Mixers as written with their pairs, and a line about those that have none."""
    if mixers is None:
        specs = list(dict.fromkeys(pair.mixer for pair in pairs))
        without = [name for name in list_mixers() if name not in specs]
    else:
        specs = list(map(str, split_mixers(mixers)))
        known = {pair.mixer for pair in pairs}
        without = [spec for spec in specs if mixer_entry(spec).name not in known]
    asked = [(spec, pair) for spec in specs for pair in pairs if pair.mixer == mixer_entry(spec).name]
    return asked, [f"no public peer: {', '.join(without)}"] if without else []


def _without_package(pairs: list[Pair]) -> list[str]:
    """A line for every package that cannot be used."""
    lines = []
    for package in dict.fromkeys(pair.package for pair in pairs if pair.missing()):
        own = [pair for pair in pairs if pair.package == package]
        peers = ", ".join(dict.fromkeys(f"{pair.mixer} beside {pair.peer}" for pair in own))
        lines.append(f"{package} {own[0].missing()}: {peers} left out; pip install 'token-mixers[peers]'")
    return lines


def _rivals(spec: str, pair: Pair, size: tuple[int, int]) -> _Rivals:
    """The pair, built and checked.

    Raises:
        Unfit: it does not exist at this size.
        CheckFailed: it gives two results.
    """
    ours = stirred(create_mixer(spec, DIM, size))
    theirs = built(pair, ours)
    return _Rivals(pair, spec, ours, theirs, checked(pair, ours, theirs, min(batch_size(size), 2)))


def batch_size(size: tuple[int, int]) -> int:
    """Images at once: at most 2^20 numbers."""
    return max(1, min(MAX_BATCH, ELEMENTS // (DIM * math.prod(size))))


def stirred(ours: Mixer) -> Mixer:
    """The mixer with its weights away from where they start, so that every part of the function shows."""
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return ours


def built(pair: Pair, ours: Mixer) -> nn.Module:
    """The peer with the weights of ours.

    Raises:
        Unfit: it cannot stand beside this mixer.
        CheckFailed: it cannot be built at all.
    """
    try:
        return pair.build(ours)
    except Exception as error:  # whatever a package of another time raises
        if why(error)[0] != "error":
            raise
        raise _broken(pair, error) from error


def checked(
    pair: Pair,
    ours: Mixer,
    theirs: nn.Module,
    batch: int,
    tolerances: tuple[float, float] = (OUTPUT_TOLERANCE, GRADIENT_TOLERANCE),
) -> tuple[float, float] | None:
    """Relative differences of outputs and of input gradients; None where the two are different functions.

    Raises:
        CheckFailed: a difference is above its tolerance, or the peer raises.
    """
    x = torch.randn(batch, ours.dim, *ours.size)
    a, b = (x.clone().requires_grad_() for _ in range(2))
    y = ours(a.contiguous(memory_format=ours.memory_format))
    try:
        z = pair.to_image(theirs(pair.from_image(b)), ours.size)
        if z.shape != y.shape:
            raise CheckFailed(f"{_name(pair)}: outputs of {list(y.shape)} and {list(z.shape)}; not timed")
        gradient = torch.randn(y.shape)
        (a_gradient,) = torch.autograd.grad(y, a, gradient)
        (b_gradient,) = torch.autograd.grad(z, b, gradient)
    except Exception as error:
        if isinstance(error, CheckFailed) or why(error)[0] != "error":
            raise
        raise _broken(pair, error) from error
    if not pair.same_function:
        return None
    errors = _difference(pair.comparable(z), pair.comparable(y)), _difference(b_gradient, a_gradient)
    for what, found, allowed in zip(("outputs", "input gradients"), errors, tolerances, strict=True):
        if not found <= allowed:  # nor is NaN
            raise CheckFailed(f"{_name(pair)}: {what} differ by {found:.1e}, {allowed:.0e} allowed; not timed")
    return errors


def _difference(theirs: Tensor, ours: Tensor) -> float:
    difference, scale = (float(torch.linalg.vector_norm(x.detach())) for x in (theirs - ours, ours))
    return difference / scale if scale > 0 else difference


def _broken(pair: Pair, error: Exception) -> CheckFailed:
    reason = " ".join(str(error).split())[:200]
    return CheckFailed(f"{_name(pair)}: {type(error).__name__}: {reason}; not timed")


def _name(pair: Pair) -> str:
    return f"{pair.mixer} beside {pair.package} {pair.peer}"


def too_much(spec: str, size: tuple[int, int], batch: int, rounds: int) -> str:
    """Why this size would take too long, predicted without computing anything; empty where it would not.

    Raises:
        MemoryError: it would take more memory than is free.
    """

    def make() -> tuple[Callable[[], Any], list[Tensor]]:
        mixer = create_mixer(spec, DIM, size)
        flops.append(mixer.flops_executed())
        x = torch.randn(batch, DIM, *size, requires_grad=True)

        def run() -> None:
            torch.autograd.grad(mixer(x).sum(), [x, *mixer.parameters()])

        return run, [x, *mixer.parameters(), *mixer.buffers()]

    flops: list[int] = []
    needed = MEMORY_FACTOR * (predict_peak_bytes(make) or 0) + 3 * POOL_BYTES
    free = FREE_SHARE * free_bytes("cpu")
    if needed > free:
        raise MemoryError(
            f"it would take about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB may be taken of what is free"
        )
    # a step is about three forwards, and both modes of both sides are run
    seconds = flops[0] * batch * (1 + 3) * 2 * (rounds + 1) / ASSUMED_FLOPS_PER_S
    return f"it would take about {seconds:.0f} s" if seconds > MOST_SECONDS else ""


def _timed(rivals: _Rivals, size: tuple[int, int], rounds: int, threads: int) -> Iterator[PeerComparison | PeerFailure]:
    """Both modes of one pair."""
    batch, pair, (ours, theirs) = batch_size(size), rivals.pair, (rivals.ours, rivals.theirs)
    mine, others = _pools(rivals, (batch, DIM, *size))
    calls: dict[tuple[str, bool], Callable[[], Any]] = {}
    for mode in MODES:
        calls[mode, True] = timed_call(ours, mine, mode)
        calls[mode, False] = timed_call(theirs, others, mode)
    with without_collector():
        times, failures = interleaved_or_why(
            calls, rounds, device="cpu", order=shuffled, turn_ms=TURN_MS, predict=False
        )
    setting = f"[{batch}, {DIM}, {size[0]}, {size[1]}] float32, {threads} thread{'s' * (threads > 1)}"
    for mode in MODES:
        failed = [(side, failures[mode, side]) for side in (True, False) if (mode, side) in failures]
        if failed:
            side, (status, reason) = failed[0]
            yield _failure(rivals.spec, pair, size, mode, status, f"{'ours' if side else 'theirs'}: {reason}")
            continue
        base = compare(rivals.spec, pair.peer, setting, times[mode, True], times[mode, False], "ms")
        yield PeerComparison(
            **dataclasses.asdict(base),
            package=pair.package,
            version=pair.version,
            image_size=_words(size),
            dim=DIM,
            batch_size=batch,
            mode=mode,
            same_function=pair.same_function,
            note=f"not the same function: {pair.differs}" if pair.differs else pair.note,
            output_error=rivals.errors[0] if rivals.errors else None,
            gradient_error=rivals.errors[1] if rivals.errors else None,
        )


def _pools(rivals: _Rivals, shape: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """Random inputs in the layouts of ours and theirs, each more than the caches hold; shared where they are one."""
    count = POOL_BYTES // (4 * math.prod(shape)) + 1
    images = [torch.randn(shape) for _ in range(count)]
    mine = [x.contiguous(memory_format=rivals.ours.memory_format) for x in images]
    return mine, [rivals.pair.from_image(x) for x in images]


def shuffled(keys: list[tuple[str, bool]], number: int) -> list[tuple[str, bool]]:
    """Modes in a new order, the two sides of one next to each other, either first."""
    generator = random.Random(number)
    modes = list(dict.fromkeys(mode for mode, _ in keys))
    generator.shuffle(modes)
    turns = [(mode, side) for mode in modes for side in generator.sample((True, False), 2)]
    return [turn for turn in turns if turn in keys]


def _words(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
