"""Our mixers beside public implementations: times in one run, as ratios.

Methodology. Pixels are tokens; the batch is as large as 2^20 numbers allow. Weights are moved away from where they
start and copied to the peer, each side gets its input in its own natural layout, and the gradient arrives in the layout
of the output. First, outputs and input gradients of every pair that computes one function are compared, at the sizes
and in the precision that are timed; where one differs, nothing is reported. Then, image size by image size, pairs take
turns in an order that is shuffled in each round, the two of a pair next to each other, either first; a short call is
repeated in its turn. Inputs are random and rotate through more memory than the caches hold. First calls do not count.
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

from benchmarks.collector import without_collector
from benchmarks.errors import UserError
from benchmarks.measure.compare import Comparison, compare, interleaved
from benchmarks.measure.memory import free_bytes, predict_peak_bytes
from benchmarks.measure.peers import PAIRS, Pair, Unfit
from benchmarks.trial import Trial
from mixers import Mixer, UnsupportedSize, create_mixer, list_mixers
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
FREE_SHARE = 0.8


class CheckFailed(RuntimeError):
    """A peer that should compute the same function does not, or cannot be run; nothing is timed then."""


@dataclasses.dataclass(frozen=True)
class PeerComparison(Comparison):
    """One pair at one image size, forward or forward + backward."""

    package: str
    version: str | None
    image_size: str
    dim: int
    batch_size: int
    mode: str
    same_function: bool
    note: str  # why it is not the same function, or what was chosen so that it is
    output_error: float | None  # relative, of the check; None where it is not the same function
    gradient_error: float | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was compared, and what was not and why, a line each."""

    comparisons: list[PeerComparison]
    left_out: list[str]
    trial: Trial  # what all have in common


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
) -> Outcome:
    """Times the mixers, as `split_mixers` takes them, beside their peers; all that have one by default.

    Raises:
        UserError: a number is out of range, or none of the mixers has a peer that is installed and exists at these
            sizes.
        MixerError: no such mixer, or option.
        CheckFailed: a pair of one function gives two results.
    """
    common = {"dataset": "cifar100", "image_size": 32, "patch_size": 1, "dim": DIM, "depth": 1}
    trial = Trial(kind="latency", mixer="dct", rounds=rounds, threads=threads, **common)  # type: ignore[arg-type]
    asked, left_out = _asked(mixers, pairs)
    present = [(spec, pair) for spec, pair in asked if not pair.missing()]
    left_out += _without_package([pair for _, pair in asked])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        arena = {size: _rivals(present, size, rounds, left_out) for size in sizes}
        if not any(arena.values()):
            raise UserError(f"there is nothing to compare: {'; '.join(left_out)}")
        log.info("%d pairs checked", sum(map(len, arena.values())))
        comparisons = [row for size, rivals in arena.items() for row in _timed(rivals, size, rounds, threads)]
    finally:
        torch.set_num_threads(before)
    return Outcome(comparisons, left_out, trial)


def _asked(mixers: str | None, pairs: Sequence[Pair]) -> tuple[list[tuple[str, Pair]], list[str]]:
    """Mixers as written with their pairs, and a line about those that have none."""
    if mixers is None:
        specs = list(dict.fromkeys(pair.mixer for pair in pairs))
        without = [name for name in list_mixers() if name not in specs]
    else:
        specs = split_mixers(mixers)
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


def _rivals(present: list[tuple[str, Pair]], size: tuple[int, int], rounds: int, left_out: list[str]) -> list[_Rivals]:
    """The pairs that can be timed at this size, checked; a line in `left_out` for each of the others."""
    batch = batch_size(size)
    rivals = []
    for spec, pair in present:
        try:
            reason = _excess(spec, size, batch, rounds)
            if not reason:
                ours = stirred(create_mixer(spec, DIM, size))
                theirs = built(pair, ours)
        except (Unfit, UnsupportedSize) as error:
            reason = str(error)
        if reason:
            left_out.append(f"{spec} beside {pair.package} {pair.peer} at {_words(size)} px left out: {reason}")
        else:
            rivals.append(_Rivals(pair, spec, ours, theirs, checked(pair, ours, theirs, min(batch, 2))))
    return rivals


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
    except Unfit:
        raise
    except Exception as error:  # whatever a package of another time raises
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
            raise CheckFailed(f"{_name(pair)}: outputs of {list(y.shape)} and {list(z.shape)}; nothing is timed")
        gradient = torch.randn(y.shape)
        (a_gradient,) = torch.autograd.grad(y, a, gradient)
        (b_gradient,) = torch.autograd.grad(z, b, gradient)
    except CheckFailed:
        raise
    except Exception as error:
        raise _broken(pair, error) from error
    if not pair.same_function:
        return None
    errors = _difference(pair.comparable(z), pair.comparable(y)), _difference(b_gradient, a_gradient)
    for what, found, allowed in zip(("outputs", "input gradients"), errors, tolerances, strict=True):
        if not found <= allowed:  # nor is NaN
            raise CheckFailed(f"{_name(pair)}: {what} differ by {found:.1e}, {allowed:.0e} allowed; nothing is timed")
    return errors


def _difference(theirs: Tensor, ours: Tensor) -> float:
    difference, scale = (float(torch.linalg.vector_norm(x.detach())) for x in (theirs - ours, ours))
    return difference / scale if scale > 0 else difference


def _broken(pair: Pair, error: Exception) -> CheckFailed:
    reason = " ".join(str(error).split())[:200]
    return CheckFailed(f"{_name(pair)}: {type(error).__name__}: {reason}; nothing is timed")


def _name(pair: Pair) -> str:
    return f"{pair.mixer} beside {pair.package} {pair.peer}"


def _excess(spec: str, size: tuple[int, int], batch: int, rounds: int) -> str:
    """What of this size would be too much, predicted without computing anything; empty where nothing is."""

    def make() -> tuple[Callable[[], Any], list[Tensor]]:
        mixer = create_mixer(spec, DIM, size)
        flops.append(mixer.flops_executed())
        x = torch.randn(batch, DIM, *size, requires_grad=True)

        def run() -> None:
            torch.autograd.grad(mixer(x).sum(), [x, *mixer.parameters()])

        return run, [x, *mixer.parameters(), *mixer.buffers()]

    flops: list[int] = []
    needed = MEMORY_FACTOR * predict_peak_bytes(make) + 3 * POOL_BYTES
    free = FREE_SHARE * free_bytes("cpu")
    if needed > free:
        return f"it would take about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
    # a step is about three forwards, and both modes of both sides are run
    seconds = flops[0] * batch * (1 + 3) * 2 * (rounds + 1) / ASSUMED_FLOPS_PER_S
    return f"it would take about {seconds:.0f} s" if seconds > MOST_SECONDS else ""


def _timed(rivals: list[_Rivals], size: tuple[int, int], rounds: int, threads: int) -> Iterator[PeerComparison]:
    """All comparisons of one image size."""
    batch = batch_size(size)
    pools = _pools(rivals, (batch, DIM, *size))
    calls: dict[tuple[int, str, bool], Callable[[], Any]] = {}
    for index, rival in enumerate(rivals):
        for mode in MODES:
            calls[index, mode, True] = _call(rival.ours, pools[rival.ours.memory_format], mode)
            calls[index, mode, False] = _call(rival.theirs, pools[rival.pair.layout], mode)
    with without_collector():
        times = interleaved(calls, rounds, order=_shuffled, turn_ms=TURN_MS)
    setting = f"[{batch}, {DIM}, {size[0]}, {size[1]}] float32, {threads} thread{'s' * (threads > 1)}"
    for (index, rival), mode in itertools.product(enumerate(rivals), MODES):
        pair = rival.pair
        mine, others = times[index, mode, True], times[index, mode, False]
        base = compare(rival.spec, pair.peer, setting, mine, others, "ms")
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
            output_error=rival.errors[0] if rival.errors else None,
            gradient_error=rival.errors[1] if rival.errors else None,
        )
    log.info("%s px: %d comparisons timed", _words(size), len(calls) // 2)


def _pools(rivals: list[_Rivals], shape: tuple[int, ...]) -> dict[Any, list[Tensor]]:
    """Random inputs in every layout that is asked for, each more than the caches hold."""
    count = POOL_BYTES // (4 * math.prod(shape)) + 1
    images = [torch.randn(shape) for _ in range(count)]
    pools: dict[Any, list[Tensor]] = {"image": images, torch.contiguous_format: images}
    for rival in rivals:
        memory_format, layout = rival.ours.memory_format, rival.pair.layout
        if memory_format not in pools:
            pools[memory_format] = [x.contiguous(memory_format=memory_format) for x in images]
        if layout not in pools:
            pools[layout] = [rival.pair.from_image(x) for x in images]
    return pools


def _call(module: nn.Module, pool: list[Tensor], mode: str) -> Callable[[], Any]:
    inputs = itertools.cycle(pool)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gradient: list[Tensor] = []

    def forward() -> None:
        with torch.no_grad():
            module(next(inputs))

    def forward_backward() -> None:
        x = next(inputs).detach().requires_grad_()
        y = module(x)
        if not gradient:
            gradient.append(torch.randn_like(y))
        torch.autograd.grad(y, [x, *parameters], gradient[0])

    return forward if mode == "forward" else forward_backward


def _shuffled(keys: list[tuple[int, str, bool]], number: int) -> list[tuple[int, str, bool]]:
    """Pairs in a new order, the two of a pair next to each other."""
    generator = random.Random(number)
    pairs = list(dict.fromkeys(key[:2] for key in keys))
    generator.shuffle(pairs)
    return [(*pair, side) for pair in pairs for side in generator.sample((True, False), 2)]


def _words(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
