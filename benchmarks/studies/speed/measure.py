"""Speed that this suite answers for itself, as ratios within one run.

Transforms: every mixer that is a fixed transform, the 1x1 convolution and attention by each backend, beside a copy of
the input and, where there are some, beside the naive forms of `naive_forms`; rounds interleaved, outputs checked
against the plain definition first. What cannot be measured is a row with its reason, and the files are written after
every row. Training: our loop beside timm's, see `timm_loop`, and the rate of a training step beside that of a large
matrix product.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import logging
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contract.record import atomic_write, code_version, environment, machine_name
from benchmarks.machine.device import set_math_mode
from benchmarks.ratios import ratio_of_lists
from benchmarks.studies.attempt import Deadline, Failed, hold_to, interleaved_or_why, let_go, why
from benchmarks.studies.peers.modules import unwound
from benchmarks.studies.speed.naive_forms import NAIVE_FORMS, YARDSTICK, naive_forms
from benchmarks.studies.speed.timm_loop import compare_loops, compare_with_matrix_rate
from benchmarks.timing.turns import Comparison, ratio_words
from mixers import Mixer, create_mixer
from mixers.families.attention import BACKENDS

log = logging.getLogger("benchmarks")

Function = Callable[[Tensor], Tensor]
SIZES = (16, 32, 64, 128)
# on a CPU (images, channels, rows, columns), fewer images where planes are large, all of them larger than the caches
CPU_SHAPES = [(32, 192, 16, 16), (16, 192, 32, 32), (8, 192, 64, 64), (4, 192, 128, 128)]
GPU_ELEMENTS, GPU_CHANNELS = 2**26, 256
ROUNDS, MORE_ROUNDS = 21, 101  # the more for small planes beside naive forms, where a few microseconds decide
SMALL_PLANE = 32 * 32
TURN_MS = 15.0  # of one form in one round
CONV = "1x1 convolution"
ATTENTION_TOKENS = {"cpu": 1024, "cuda": 16384}  # more takes a CPU minutes
WITHOUT_FORMS = (CONV, "random_separable", "linear_separable", *(f"attention(backend={name})" for name in BACKENDS))
COMPARABLE: dict[str, Function] = {"fft_magphase": unwound}  # of outputs, where they are the same in two ways


@dataclasses.dataclass(frozen=True)
class FormComparison:
    """One mixer at one size: beside a copy of its input, and beside the naive forms of the same function."""

    mixer: str
    image_size: int
    shape: tuple[int, ...]
    method: str | None
    ours_ms: float | None
    copy_ms: float | None
    copy_ratio: float | None  # ours over the copy, geometric mean over rounds
    best: str | None  # the naive form with the smallest median, if there are any
    best_ms: float | None
    ratio: float | None  # ours over the best, geometric mean over rounds
    ratio_low: float | None  # its 95 % interval in this sitting, none for a single round
    ratio_high: float | None
    rounds: int
    form_ms: dict[str, float]  # of every form that ran, the yardstick included
    status: str = "ok"  # or oom, unsupported, error: then nothing of this row was timed
    reason: str | None = None
    form_failures: dict[str, str] = dataclasses.field(default_factory=dict)  # forms that did not run, and why


def shapes_of(device: str, sizes: Sequence[int] = SIZES) -> list[tuple[int, ...]]:
    """(images, channels, rows, columns) of what is timed: 67 M numbers on a GPU, 1.6 to 12.6 M on a CPU."""
    if device == "cpu":
        return [shape for shape in CPU_SHAPES if shape[3] in sizes]
    return [(GPU_ELEMENTS // (GPU_CHANNELS * side * side), GPU_CHANNELS, side, side) for side in sizes]


def compare_forms(
    device: str = "cpu",
    sizes: Sequence[int] = SIZES,
    rounds: int | None = None,
    names: tuple[str, ...] = (*NAIVE_FORMS, *WITHOUT_FORMS),
    on_row: Callable[[FormComparison], Any] = lambda row: None,
    until: float | None = None,
) -> tuple[list[FormComparison], list[str]]:
    """Each mixer beside a copy and beside the naive ways to compute the same function, forward.

    In float32 on one thread of a CPU; on a GPU in bfloat16, where an FFT works in float32 within. What runs out of
    memory, does not exist here or computes something else is a row with its reason.

    Args:
        device: "cpu" or "cuda".
        sizes: of the images, in pixels a side.
        rounds: of every row; by default ROUNDS, and MORE_ROUNDS for small planes beside naive forms.
        names: of mixers.
        on_row: told each row once it is there.
        until: of `time.monotonic`, after which no row is begun.

    Returns:
        The rows, and in words what the deadline left.
    """
    set_math_mode(1)
    torch.manual_seed(0)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    found: list[FormComparison] = []
    left = []
    deadline = Deadline(until)
    for shape, name in itertools.product(shapes_of(device, sizes), names):
        if name.startswith("attention") and shape[2] * shape[3] > ATTENTION_TOKENS[device]:
            continue
        if deadline.passed():
            left.append(f"{name} beside a copy and naive forms, {shape[3]} px")
            continue
        small = name in NAIVE_FORMS and shape[2] * shape[3] <= SMALL_PLANE
        row = _compare_forms(name, shape, device, dtype, rounds or (MORE_ROUNDS if small else ROUNDS))
        found.append(row)
        on_row(row)
        log.info("%s, %d px: %s", name, shape[3], f"{row.ours_ms:.3g} ms" if row.ours_ms else row.reason)
    return found, left


@torch.no_grad()
def _compare_forms(name: str, shape: tuple[int, ...], device: str, dtype: torch.dtype, rounds: int) -> FormComparison:
    form_failures: dict[str, str] = {}
    method = None
    try:
        let_go(device)
        x = torch.randn(shape, device=device, dtype=dtype)
        module, functions = _functions(name, x)
        method = "conv2d" if module is None else module.method_on(device, dtype)
        _check(name, x, module, functions, form_failures)
        x = x if module is None else x.contiguous(memory_format=module.memory_format)
        let_go(device)
        calls: dict[str, Callable[[], Any]] = {"copy": functools.partial(torch.empty_like(x).copy_, x)}
        calls |= {what: functools.partial(call, x) for what, call in functions.items()}
        shuffled = random.Random(0)  # no form always finds what the same other one has left in the caches
        times, failures = interleaved_or_why(
            calls,
            rounds,
            device=device,
            order=lambda names, _: shuffled.sample(names, len(names)),
            turn_ms=TURN_MS,
        )
    except Exception as error:
        times, failures = {}, {"ours": why(error)}
    status, reason = next((failures[what] for what in ("ours", "copy") if what in failures), ("ok", None))
    form_failures |= {what: ": ".join(failures[what]) for what in failures if what not in ("ours", "copy")}
    if status != "ok":
        times = {}
    medians = {what: statistics.median(values) for what, values in times.items()}
    best = min(
        (what for what in medians if what not in ("ours", "copy", YARDSTICK)), key=medians.__getitem__, default=None
    )
    over_best = None if best is None else ratio_of_lists(times["ours"], times[best])
    over_copy = ratio_of_lists(times.get("ours", ()), times.get("copy", ()))
    return FormComparison(
        mixer=name, image_size=shape[3], shape=tuple(shape), method=method,
        ours_ms=medians.pop("ours", None),
        copy_ms=medians.pop("copy", None),
        copy_ratio=over_copy.value if over_copy else None,
        best=best,
        best_ms=None if best is None else medians[best],
        ratio=over_best.value if over_best else None,
        ratio_low=over_best.low if over_best else None,
        ratio_high=over_best.high if over_best else None,
        rounds=rounds, form_ms=medians, status=status, reason=reason, form_failures=form_failures,
    )  # fmt: skip


def _functions(name: str, x: Tensor) -> tuple[Mixer | None, dict[str, Function]]:
    """The mixer, None for the convolution, and all that is timed: ours and the naive forms."""
    dim, (height, width), device = x.shape[1], x.shape[2:], x.device.type
    if name == CONV:
        return None, {"ours": nn.Conv2d(dim, dim, 1, bias=False).to(device, x.dtype)}
    mixer = create_mixer(name, dim, (height, width)).to(device, x.dtype)
    forms = naive_forms(name, height, width, device, x.dtype) if name in NAIVE_FORMS else {}
    return mixer, {"ours": mixer, **forms}


def _check(name: str, x: Tensor, mixer: Mixer | None, functions: dict[str, Function], failures: dict[str, str]) -> None:
    """Holds all to the definition on one image; a naive form that does not run here goes over to `failures`.

    Raises:
        WrongOutput: one of them computes something else.
    """
    one = x[:1]
    if mixer is None:
        conv: Any = functions["ours"]
        wanted = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0].double(), one.double())
    else:
        wanted = mixer.reference(one)
    comparable = COMPARABLE.get(name, lambda y: y)
    wanted = comparable(wanted.double())
    for what, call in list(functions.items()):
        try:
            got = call(one)
        except Exception as error:
            status, reason = why(error)
            if what == "ours" or status == "error":
                raise
            failures[what] = f"{status}: {reason}"
            del functions[what]
            continue
        if what != YARDSTICK:
            hold_to(f"{name}, {what},", got, wanted, comparable)


def write_speed(
    folder: Path,
    mixers: list[str],
    threads: int,
    data_dir: Path,
    device: str = "cpu",
    until: float | None = None,
) -> tuple[list[Comparison | Failed], list[FormComparison], list[str]]:
    """Makes all comparisons and writes them to `speed.json` in `folder`, and as tables to `speed.md`, row by row.

    On a GPU the files are `speed-cuda.json` and `speed-cuda.md`.

    Args:
        until: of `time.monotonic`, after which nothing is begun.

    Returns:
        What was compared, and in words what the deadline left.
    """
    forms: list[FormComparison] = []
    loops: list[Comparison | Failed] = []
    rates: list[Comparison | Failed] = []
    where = environment(device, threads)
    left: list[str] = []

    def write() -> None:
        _write(folder / file_name(device), where, [*loops, *rates], forms, left, device)

    def keep(into: list[Any], rows: list[Any]) -> None:
        into[:] = rows
        write()

    _, left_forms = compare_forms(device, on_row=lambda row: keep(forms, [*forms, row]), until=until)
    _, left_loops = compare_loops(
        mixers, threads, data_dir, device, on_rows=functools.partial(keep, loops), until=until
    )
    _, left_rates = compare_with_matrix_rate(
        threads, data_dir, device, on_rows=functools.partial(keep, rates), until=until
    )
    left += [*left_forms, *left_loops, *left_rates]
    write()
    return [*loops, *rates], forms, left


def _write(
    path: Path,
    where: dict[str, Any],
    comparisons: list[Comparison | Failed],
    forms: list[FormComparison],
    left: list[str],
    device: str,
) -> None:
    content = {
        "environment": where,
        "code": code_version(),
        "comparisons": [{"status": "ok", "reason": None} | dataclasses.asdict(c) for c in comparisons],
        "naive_forms": [dataclasses.asdict(form) for form in forms],
        "left": left,
    }
    lines = [f"# Speed, as ratios within one run\n\n{machine_name(where)}, torch {where['torch']}\n"]
    lines += ["| ours | beside | setting | ours | theirs | ratio (95 %) | rounds |", "|---|---|---|---|---|---|---|"]
    for c in comparisons:
        if isinstance(c, Failed):
            lines.append(f"| {c.what} | {c.beside} | {c.setting} | {c.status}: {_cell(c.reason)} | | | |")
            continue
        lines.append(
            f"| {c.what} | {c.beside} | {c.setting} | {c.ours:.3g} {c.unit} | {c.theirs:.3g} {c.unit} "
            f"| {c.ratio_words} | {c.rounds} |"
        )
    lines += ["", *form_lines(forms, device)]
    lines += ["", f"Not measured: {'; '.join(left)}."] if left else []
    texts = {".json": json.dumps(content, indent=1), ".md": "\n".join(lines)}
    for ending, text in texts.items():
        with atomic_write(path.with_suffix(ending)) as file:
            file.write(text.encode() + b"\n")


def _cell(text: str | None) -> str:
    """Words that do not end a cell of a table."""
    return (text or "").replace("|", "\\|")


def file_name(device: str) -> str:
    """Of the files of one device, without an ending."""
    return "speed" if device == "cpu" else f"speed-{device}"


def form_lines(forms: list[FormComparison], device: str = "cpu") -> list[str]:
    """The comparison with a copy and with naive forms as a Markdown table."""
    every = list(dict.fromkeys(what for form in forms for what in (*form.form_ms, *form.form_failures)))
    how = "float32, forward, 1 thread" if device == "cpu" else "bfloat16 in and out, forward"
    lines = [
        "## Beside a copy, and beside the best naive form of the same function",
        "",
        f"{how}; milliseconds are medians over rounds, ratios are ours over a copy of the input and over the best "
        "naive form, the geometric mean over rounds and its 95 % interval in this one sitting. Beside dct and hadamard "
        "stands the time of rfft2 "
        "alone, which computes something else and only says what an FFT costs; it is never the best form. "
        "fft_pairs does by its method fft what its naive form fft2 does: how far its ratios lie from 1 is the noise of "
        "this page.",
        "",
        f"| mixer | px | tensor | method | ours (ms) | ours / copy | best naive form | ours / best (95 %) "
        f"| rounds |{''.join(f' {what} |' for what in every)}",
        "|---|---:|---|---|---:|---:|---|---:|---:|" + "---:|" * len(every),
    ]
    for f in forms:
        own = [f.mixer, str(f.image_size), str(list(f.shape)), f.method or "–"]
        if f.ours_ms is None or f.copy_ratio is None:
            empty = ["–"] * (4 + len(every))
            lines.append(f"| {' | '.join([*own, f'{f.status}: {_cell(f.reason)}', *empty])} |")
            continue
        cells = [
            f"{f.form_ms[what]:.3g}" if what in f.form_ms else _cell(f.form_failures.get(what, "–")) for what in every
        ]
        ratio = "–" if f.ratio is None else ratio_words(f.ratio, f.ratio_low, f.ratio_high)
        times = [f"{f.ours_ms:.3g}", f"{f.copy_ratio:.2f}", f.best or "–", ratio, str(f.rounds)]
        lines.append(f"| {' | '.join([*own, *times, *cells])} |")
    return lines
