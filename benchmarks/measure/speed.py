"""Speed that this suite answers for itself, as ratios within one run.

Transforms: every spectral mixer beside the forms of `naive_forms`, on one thread, rounds interleaved, outputs checked
against the plain definition first. Training: our loop beside timm's, see `timm_loop`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure.compare import Comparison, compare, interleaved
from benchmarks.measure.naive_forms import NAIVE_FORMS, YARDSTICK, naive_forms
from benchmarks.measure.timm_loop import compare_loops
from benchmarks.record import atomic_write, code_version, environment, machine_name
from benchmarks.trial import Trial
from mixers import create_mixer

# (images, channels, rows, columns); fewer images where planes are large, all of them larger than the caches
FORM_SHAPES: list[tuple[int, ...]] = [(32, 192, 16, 16), (16, 192, 32, 32), (8, 192, 64, 64), (4, 192, 128, 128)]
FORM_ROUNDS = 21
TURN_MS = 15.0  # of one form in one round
LARGEST_ERROR = 1e-5  # relative, of an output that is timed


@dataclasses.dataclass(frozen=True)
class FormComparison:
    """One mixer beside the naive forms of the same function at one size."""

    mixer: str
    image_size: int
    shape: tuple[int, ...]
    ours_ms: float
    best: str  # the naive form with the smallest median
    best_ms: float
    ratio: float  # ours over the best, median over rounds
    ratio_low: float
    ratio_high: float
    rounds: int
    form_ms: dict[str, float]  # of every form, the yardstick included


def compare_forms(
    shapes: list[tuple[int, ...]] = FORM_SHAPES, rounds: int = FORM_ROUNDS, names: tuple[str, ...] = NAIVE_FORMS
) -> list[FormComparison]:
    """Each mixer beside the naive ways to compute the same function, forward, on one thread.

    Raises:
        RuntimeError: an output differs from the plain definition; nothing is timed then.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = []
    for shape in shapes:
        x = torch.randn(shape)
        for name in names:
            with torch.no_grad():
                found.append(_compare_forms(name, x, rounds))
    return found


def _compare_forms(name: str, x: Tensor, rounds: int) -> FormComparison:
    height, width = x.shape[2:]
    mixer = create_mixer(name, x.shape[1], (height, width))
    forms = naive_forms(name, height, width)
    wanted = mixer.reference(x[:1])
    functions: dict[str, Callable[[Tensor], Tensor]] = {"ours": mixer, **forms}
    for what, call in functions.items():
        difference = torch.linalg.norm(call(x[:1]) - wanted) / torch.linalg.norm(wanted) if what != YARDSTICK else 0
        if not difference < LARGEST_ERROR:
            raise RuntimeError(f"{name}, {what}, differs from its definition by {difference:.1e}; not timed")
    calls: dict[str, Callable[[], Any]] = {what: functools.partial(call, x) for what, call in functions.items()}
    shuffled = random.Random(0)  # no form always finds what the same other one has left in the caches
    times = interleaved(calls, rounds, order=lambda names, _: shuffled.sample(names, len(names)), turn_ms=TURN_MS)
    medians = {what: statistics.median(times[what]) for what in forms}
    best = min((what for what in forms if what != YARDSTICK), key=medians.__getitem__)
    c = compare(name, best, "", times["ours"], times[best], "ms")
    return FormComparison(
        mixer=name, image_size=width, shape=tuple(x.shape), ours_ms=c.ours, best=best, best_ms=c.theirs,
        ratio=c.ratio, ratio_low=c.ratio_low, ratio_high=c.ratio_high, rounds=rounds, form_ms=medians,
    )  # fmt: skip


def write_speed(folder: Path, mixers: list[str], threads: int, data_dir: Path) -> list[Comparison]:
    """Makes all comparisons and writes them to `speed.json` in `folder`, and as tables to `speed.md`."""
    forms = compare_forms()
    comparisons = compare_loops(mixers, threads, data_dir)
    where = environment(
        Trial(kind="cost", mixer="dct", dataset="cifar100", image_size=32, patch_size=4, dim=64, depth=4)
    )
    content = {
        "environment": where | {"threads": threads},
        "code": code_version(),
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
        "naive_forms": [dataclasses.asdict(form) for form in forms],
    }
    with atomic_write(folder / "speed.json") as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
    lines = [f"# Speed, as ratios within one run\n\n{machine_name(where)}, torch {where['torch']}\n"]
    lines += ["| ours | beside | setting | ours | theirs | ratio (range) | rounds |", "|---|---|---|---|---|---|---|"]
    for c in comparisons:
        lines.append(
            f"| {c.what} | {c.beside} | {c.setting} | {c.ours:.3g} {c.unit} | {c.theirs:.3g} {c.unit} "
            f"| {c.ratio:.3f} ({c.ratio_low:.3f} to {c.ratio_high:.3f}) | {c.rounds} |"
        )
    with atomic_write(folder / "speed.md") as file:
        file.write(("\n".join([*lines, "", *form_lines(forms)]) + "\n").encode())
    return comparisons


def form_lines(forms: list[FormComparison]) -> list[str]:
    """The comparison with naive forms as a Markdown table."""
    every = list(dict.fromkeys(what for form in forms for what in form.form_ms))
    lines = [
        "## Beside the best naive form of the same function",
        "",
        f"float32, forward, 1 thread, {forms[0].rounds} rounds; milliseconds are medians, the ratio is ours over the "
        "best naive form, the median over rounds and their range. Beside dct and hadamard stands the time of rfft2 "
        "alone, which computes something else and only says what an FFT costs; it is never the best form.",
        "",
        f"| mixer | px | tensor | ours (ms) | best naive form | ours / best (range) | {' | '.join(every)} |",
        "|---|---:|---|---:|---|---:|" + "---:|" * len(every),
    ]
    for f in forms:
        cells = [f"{f.form_ms[what]:.3g}" if what in f.form_ms else "–" for what in every]
        ratio = f"{f.ratio:.3f} ({f.ratio_low:.3f} to {f.ratio_high:.3f})"
        cells = [f.mixer, str(f.image_size), str(list(f.shape)), f"{f.ours_ms:.3g}", f.best, ratio, *cells]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
