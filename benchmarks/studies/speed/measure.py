"""Speed that this suite answers for itself, as ratios within one run.

Transforms: every mixer that is a fixed transform, the 1x1 convolution and attention by each backend, beside a copy of
the input and, where there are some, beside the naive forms of `naive_forms`; rounds interleaved, outputs checked
against the plain definition first. What cannot be measured is a row with its reason, and the files are written after
every row. Training: our loop beside timm's, see `timm_loop`, and the rate of a training step beside that of a large
matrix product.
"""

from __future__ import annotations

import functools
import itertools
import logging
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contract.facts.devices import DEVICES, by_device
from benchmarks.contract.record import code_version
from benchmarks.machine.device import set_math_mode
from benchmarks.machine.environment import environment
from benchmarks.ratios import ratio_of_lists
from benchmarks.studies.attempt import Deadline, hold_to, interleaved_or_why, let_go, why
from benchmarks.studies.comparison import Comparison, Failed
from benchmarks.studies.peers.modules import unwound
from benchmarks.studies.speed.naive_forms import NAIVE_FORMS, YARDSTICK, naive_forms
from benchmarks.studies.speed.record import FormComparison, SpeedRecord
from benchmarks.studies.speed.report import write_pages
from benchmarks.studies.speed.timm_loop import compare_loops, compare_with_matrix_rate
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
ATTENTION_TOKENS = by_device(cpu=1024, gpu=16384)  # more takes a CPU minutes
WITHOUT_FORMS = (CONV, "random_separable", "linear_separable", *(f"attention(backend={name})" for name in BACKENDS))
COMPARABLE: dict[str, Function] = {"fft_magphase": unwound}  # of outputs, where they are the same in two ways


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
        device: of DEVICES.
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
    dtype = getattr(torch, DEVICES[device].precision)
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


def measure_speed(
    folder: Path,
    mixers: list[str],
    threads: int,
    data_dir: Path,
    device: str = "cpu",
    until: float | None = None,
) -> SpeedRecord:
    """Makes all comparisons; writes the record and its page into `folder` row by row.

    Args:
        until: of `time.monotonic`, after which nothing is begun.
    """
    where = environment(device, threads)
    forms: list[FormComparison] = []
    loops: list[Comparison | Failed] = []
    rates: list[Comparison | Failed] = []
    left: list[str] = []

    def write() -> SpeedRecord:
        record = SpeedRecord(
            device=device,
            environment=where,
            code=code_version(),
            comparisons=[*loops, *rates],
            forms=[*forms],
            left=left,
        )
        record.save(folder)
        write_pages(folder)
        return record

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
    return write()
