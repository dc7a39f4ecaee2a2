"""Speed that this suite answers for itself, as ratios within one run.

Transforms: every mixer that is a fixed transform, the 1x1 convolution and attention by each backend, beside a copy of
the input and, where there are some, beside the naive forms of `naive_forms`; rounds interleaved, outputs checked
against the plain definition first. Training: our loop beside timm's, see `timm_loop`, and the rate of a training step
beside that of a large matrix product.
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

import scipy.stats
import torch
from torch import Tensor, nn

from benchmarks.measure.compare import Comparison, interleaved
from benchmarks.measure.naive_forms import NAIVE_FORMS, PRODUCTS, YARDSTICK, naive_forms
from benchmarks.measure.timm_loop import compare_loops, compare_with_matrix_rate
from benchmarks.record import atomic_write, code_version, environment, machine_name
from benchmarks.trial import Trial
from mixers import Mixer, create_mixer
from mixers.attention import BACKENDS

SIZES = (16, 32, 64, 128)
# on a CPU (images, channels, rows, columns), fewer images where planes are large, all of them larger than the caches
CPU_SHAPES = [(32, 192, 16, 16), (16, 192, 32, 32), (8, 192, 64, 64), (4, 192, 128, 128)]
GPU_ELEMENTS, GPU_CHANNELS = 2**26, 256
ROUNDS, MORE_ROUNDS = 21, 101  # the more for small planes beside naive forms, where a few microseconds decide
SMALL_PLANE = 32 * 32
LEAST_FOR_INTERVAL = 6  # rounds: 2 / 2^6 is under 5 %
TURN_MS = 15.0  # of one form in one round
LARGEST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # relative, of an output that is timed
CONV = "1x1 convolution"
ATTENTION_TOKENS = {"cpu": 1024, "cuda": 16384}  # more takes a CPU minutes
WITHOUT_FORMS = (CONV, "random_separable", "linear_separable", *(f"attention(backend={name})" for name in BACKENDS))


@dataclasses.dataclass(frozen=True)
class FormComparison:
    """One mixer at one size: beside a copy of its input, and beside the naive forms of the same function."""

    mixer: str
    image_size: int
    shape: tuple[int, ...]
    method: str
    ours_ms: float
    copy_ms: float
    copy_ratio: float  # ours over the copy, median over rounds
    best: str | None  # the naive form with the smallest median, if there are any
    best_ms: float | None
    ratio: float | None  # ours over the best, median over rounds
    ratio_low: float | None  # 95 % interval of that median, none for fewer than six rounds
    ratio_high: float | None
    rounds: int
    form_ms: dict[str, float]  # of every form, the yardstick included


def shapes_of(device: str) -> list[tuple[int, ...]]:
    """(images, channels, rows, columns) of what is timed: 67 M numbers on a GPU, 1.6 to 12.6 M on a CPU."""
    if device == "cpu":
        return list(CPU_SHAPES)
    return [(GPU_ELEMENTS // (GPU_CHANNELS * side * side), GPU_CHANNELS, side, side) for side in SIZES]


def compare_forms(
    device: str = "cpu",
    shapes: list[tuple[int, ...]] | None = None,
    rounds: int | None = None,
    names: tuple[str, ...] = (*NAIVE_FORMS, *WITHOUT_FORMS),
) -> list[FormComparison]:
    """Each mixer beside a copy and beside the naive ways to compute the same function, forward.

    In float32 on one thread of a CPU; on a GPU in bfloat16, where an FFT works in float32 within.

    Args:
        device: "cpu" or "cuda".
        shapes: of the inputs; by default those of `shapes_of`.
        rounds: of every row; by default ROUNDS, and MORE_ROUNDS for small planes beside naive forms.
        names: of mixers.

    Raises:
        RuntimeError: an output differs from the plain definition; nothing is timed then.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    found = []
    for shape in shapes or shapes_of(device):
        x = torch.randn(shape, device=device, dtype=dtype)
        for name in names:
            if name.startswith("attention") and shape[2] * shape[3] > ATTENTION_TOKENS[device]:
                continue
            with torch.no_grad():
                small = name in NAIVE_FORMS and shape[2] * shape[3] <= SMALL_PLANE
                one = _compare_forms(name, x, rounds or (MORE_ROUNDS if small else ROUNDS))
            found += [] if one is None else [one]
    return found


def _compare_forms(name: str, x: Tensor, rounds: int) -> FormComparison | None:
    """None for a backend of attention that does not run here."""
    device, dim, (height, width) = x.device.type, x.shape[1], x.shape[2:]
    functions: dict[str, Callable[[Tensor], Tensor]]
    if name == CONV:
        conv = nn.Conv2d(dim, dim, 1, bias=False).to(device, x.dtype)
        functions, method = {"ours": conv}, "conv2d"
        wanted = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0].double(), x[:1].double())
    else:
        mixer = create_mixer(name, dim, (height, width)).to(device, x.dtype)
        method = mixer.method_on(device, x.dtype)
        if name.startswith("attention") and not _runs(mixer, x, name):
            return None
        wanted = mixer.reference(x[:1])
        x = x.contiguous(memory_format=mixer.memory_format)
        forms = naive_forms(name, height, width, device, x.dtype) if name in NAIVE_FORMS else {}
        functions = {"ours": mixer, **{what: _in_dtype(form, what, x.dtype) for what, form in forms.items()}}
    for what, call in functions.items():
        got, right = call(x[:1]).double().cpu() if what != YARDSTICK else wanted.cpu(), wanted.double().cpu()
        difference = torch.linalg.norm(got - right) / torch.linalg.norm(right)
        if not difference < LARGEST_ERROR[x.dtype]:
            raise RuntimeError(f"{name}, {what}, differs from its definition by {difference:.1e}; not timed")
    target = torch.empty_like(x)
    calls: dict[str, Callable[[], Any]] = {"copy": lambda: _done(target.copy_(x))}
    calls |= {what: functools.partial(_call, call, x) for what, call in functions.items()}
    shuffled = random.Random(0)  # no form always finds what the same other one has left in the caches
    times = interleaved(calls, rounds, order=lambda names, _: shuffled.sample(names, len(names)), turn_ms=TURN_MS)
    medians = {what: statistics.median(times[what]) for what in functions if what != "ours"}
    best = min((what for what in medians if what != YARDSTICK), key=medians.__getitem__, default=None)
    ratios = [] if best is None else [a / b for a, b in zip(times["ours"], times[best], strict=True)]
    low, high = median_interval(ratios)
    return FormComparison(
        mixer=name, image_size=width, shape=tuple(x.shape), method=method, ours_ms=statistics.median(times["ours"]),
        copy_ms=statistics.median(times["copy"]),
        copy_ratio=statistics.median(a / b for a, b in zip(times["ours"], times["copy"], strict=True)),
        best=best,
        best_ms=None if best is None else medians[best],
        ratio=statistics.median(ratios) if ratios else None,
        ratio_low=low,
        ratio_high=high,
        rounds=rounds, form_ms=medians,
    )  # fmt: skip


def median_interval(values: list[float]) -> tuple[float | None, float | None]:
    """95 % interval of the median, whatever the distribution; (None, None) where there are too few values for one."""
    if len(values) < LEAST_FOR_INTERVAL:
        return None, None
    interval: Any = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def _runs(mixer: Mixer, x: Tensor, name: str) -> bool:
    """Whether this backend of attention takes such input here, and no other runs in its place."""
    try:
        mixer(x[:1])
    except RuntimeError:
        return False
    return f"backend={mixer.method_on(x.device.type, x.dtype).removeprefix('sdpa-')}" in name


def _in_dtype(form: Callable[[Tensor], Tensor], what: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The eager FFTs do not take bfloat16: they get, and give back, what a net in bfloat16 would."""
    if dtype != torch.bfloat16 or what == PRODUCTS:
        return form
    if what == YARDSTICK:
        return lambda x: form(x.float())
    return lambda x: form(x.float()).to(dtype)


def _call(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    _done(function(x))


def _done(result: Tensor) -> None:
    if result.is_cuda:
        torch.cuda.synchronize()


def write_speed(folder: Path, mixers: list[str], threads: int, data_dir: Path, device: str = "cpu") -> list[Comparison]:
    """Makes all comparisons and writes them to `speed.json` in `folder`, and as tables to `speed.md`.

    On a GPU the files are `speed-cuda.json` and `speed-cuda.md`.
    """
    forms = compare_forms(device)
    comparisons = compare_loops(mixers, threads, data_dir, device)
    comparisons += compare_with_matrix_rate(threads, data_dir, device)
    where = environment(
        Trial(kind="cost", mixer="dct", dataset="cifar100", image_size=32, patch_size=4, dim=64, depth=4, device=device)
    )
    content = {
        "environment": where | {"threads": threads},
        "code": code_version(),
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
        "naive_forms": [dataclasses.asdict(form) for form in forms],
    }
    name = file_name(device)
    with atomic_write(folder / f"{name}.json") as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
    lines = [f"# Speed, as ratios within one run\n\n{machine_name(where)}, torch {where['torch']}\n"]
    lines += ["| ours | beside | setting | ours | theirs | ratio (range) | rounds |", "|---|---|---|---|---|---|---|"]
    for c in comparisons:
        lines.append(
            f"| {c.what} | {c.beside} | {c.setting} | {c.ours:.3g} {c.unit} | {c.theirs:.3g} {c.unit} "
            f"| {c.ratio:.3f} ({c.ratio_low:.3f} to {c.ratio_high:.3f}) | {c.rounds} |"
        )
    with atomic_write(folder / f"{name}.md") as file:
        file.write(("\n".join([*lines, "", *form_lines(forms, device)]) + "\n").encode())
    return comparisons


def file_name(device: str) -> str:
    """Of the files of one device, without an ending."""
    return "speed" if device == "cpu" else f"speed-{device}"


def form_lines(forms: list[FormComparison], device: str = "cpu") -> list[str]:
    """The comparison with a copy and with naive forms as a Markdown table."""
    every = list(dict.fromkeys(what for form in forms for what in form.form_ms))
    how = "float32, forward, 1 thread" if device == "cpu" else "bfloat16 in and out, forward"
    lines = [
        "## Beside a copy, and beside the best naive form of the same function",
        "",
        f"{how}; milliseconds are medians over rounds, ratios are ours over a copy of the input and over the best "
        "naive form, the median over rounds and its 95 % interval. Beside dct and hadamard stands the time of rfft2 "
        "alone, which computes something else and only says what an FFT costs; it is never the best form. "
        "fft_pairs does by its method fft what its naive form fft2 does: how far its ratios lie from 1 is the noise of "
        "this page.",
        "",
        f"| mixer | px | tensor | method | ours (ms) | ours / copy | best naive form | ours / best (95 %) "
        f"| rounds | {' | '.join(every)} |",
        "|---|---:|---|---|---:|---:|---|---:|---:|" + "---:|" * len(every),
    ]
    for f in forms:
        cells = [f"{f.form_ms[what]:.3g}" if what in f.form_ms else "–" for what in every]
        between = "" if f.ratio_low is None else f" ({f.ratio_low:.3f} to {f.ratio_high:.3f})"
        ratio = "–" if f.ratio is None else f"{f.ratio:.3f}{between}"
        own = [f.mixer, str(f.image_size), str(list(f.shape)), f.method, f"{f.ours_ms:.3g}", f"{f.copy_ratio:.2f}"]
        lines.append(f"| {' | '.join([*own, f.best or '–', ratio, str(f.rounds), *cells])} |")
    return lines
