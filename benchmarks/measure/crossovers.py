"""Which method of a mixer is the fastest from how many tokens on: the table behind `method="auto"`, measured.

For each kind of computation one mixer that stands for it, each of its methods at growing grids, forward and forward +
backward, rounds interleaved. The method with the smallest sum of the two medians counts.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import logging
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure.compare import interleaved
from benchmarks.record import atomic_write, code_version, environment, machine_name
from benchmarks.trial import Trial
from mixers import Mixer, MixerError, create_mixer
from mixers.attention import BACKENDS

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
DIM = 64
SIDES = {"cpu": (4, 8, 12, 16, 24, 32, 48, 64, 96, 128), "cuda": (4, 8, 16, 32, 48, 64, 96, 128, 192, 256)}
ELEMENTS = {"cpu": 2**20, "cuda": 2**26}
ROUNDS = 7
TURN_MS = 10.0
WORTH_A_CHANGE = 1.15
MOST_TOKENS_OF_ATTENTION = 64 * 64  # beyond, no choice is left that fits


@dataclasses.dataclass(frozen=True)
class Cell:
    """One method of one kind of computation at one grid: medians in ms, and what ran."""

    kind: str
    mixer: str
    tokens: int
    method: str
    forward_ms: float
    forward_backward_ms: float


def measure_crossovers(device: str, threads: int, precision: str, rounds: int = ROUNDS) -> list[Cell]:
    """Times every kind at every grid.

    Args:
        device: "cpu" or "cuda".
        threads: on the CPU.
        precision: of the input, "float32" or "bfloat16".
        rounds: that are counted.
    """
    torch.set_num_threads(threads)
    cells = []
    for kind, side in itertools.product(STANDS_FOR, SIDES[device]):
        if kind == "attention" and side * side > MOST_TOKENS_OF_ATTENTION:
            continue
        found = _measure(kind, side, device, precision, rounds)
        cells += found
        if found:
            log.info("%s, %d x %d: %s", kind, side, side, ", ".join(f"{c.method} {_cost(c):.2f} ms" for c in found))
    return cells


def _measure(kind: str, side: int, device: str, precision: str, rounds: int) -> list[Cell]:
    mixers = _variants(kind, side, device)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    batch = max(1, min(64 if device == "cpu" else 2048, ELEMENTS[device] // (DIM * side * side)))
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, mixer in mixers.items():
        x = torch.randn(batch, DIM, side, side, device=device, dtype=dtype).contiguous(
            memory_format=mixer.memory_format
        )
        mixer.to(device, dtype)
        calls[name, "forward"] = functools.partial(_forward, mixer, x)
        calls[name, "forward_backward"] = functools.partial(_forward_backward, mixer, x.requires_grad_())
    times = interleaved(
        calls, rounds, order=lambda names, number: random.Random(number).sample(names, len(names)), turn_ms=TURN_MS
    )
    middle = {key: statistics.median(values) for key, values in times.items()}
    return [
        Cell(kind, STANDS_FOR[kind], side * side, name, middle[name, "forward"], middle[name, "forward_backward"])
        for name in mixers
    ]


def _variants(kind: str, side: int, device: str) -> dict[str, Mixer]:
    """The methods that exist at this grid on this device, by name."""
    option, names = ("backend", ("torch", *BACKENDS)) if kind == "attention" else ("method", METHODS)
    found = {}
    for name in names:
        try:
            mixer = create_mixer(f"{STANDS_FOR[kind]}({option}={name})", DIM, (side, side))
        except MixerError:  # it has no such method, or not at this size
            continue
        if kind == "attention":
            if device == "cpu" and name not in ("torch", "plain"):  # PyTorch's own choice is the only other one
                continue
        elif mixer.method_on(device) != name or (device == "cpu" and name == "fused"):  # there by the interpreter
            continue
        found[name] = mixer
    return found


def _forward(mixer: Mixer, x: torch.Tensor) -> None:
    with torch.no_grad():
        mixer(x)
    _wait(x)


def _forward_backward(mixer: Mixer, x: torch.Tensor) -> None:
    y = mixer(x)
    torch.autograd.grad(y, [x, *mixer.parameters()], torch.ones_like(y))
    _wait(x)


def _wait(x: torch.Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def _cost(cell: Cell) -> float:
    return cell.forward_ms + cell.forward_backward_ms


def table_of(cells: list[Cell]) -> dict[str, list[list[Any]]]:
    """For each kind the rows (most tokens, method) of crossovers.json.

    A change lies half-way, on a log scale, between the last grid at which one method won and the next. A method is left
    only for one that is faster by WORTH_A_CHANGE, so that noise makes no rows.
    """
    table: dict[str, list[list[Any]]] = {}
    for kind in dict.fromkeys(cell.kind for cell in cells):
        mine = [cell for cell in cells if cell.kind == kind]
        tokens = sorted({cell.tokens for cell in mine})
        best: list[str] = []
        for n in tokens:
            costs = {c.method: _cost(c) for c in mine if c.tokens == n}
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


def _fastest(cells: list[Cell], tokens: int) -> str:
    return min((cell for cell in cells if cell.tokens == tokens), key=_cost).method


def write_crossovers(
    folder: Path, cells: list[Cell], device: str, threads: int, precision: str, rounds: int = ROUNDS
) -> list[Path]:
    """Writes `crossovers.json`, one device's entry of the table that mixers read, and the times as `crossovers.md`."""
    trial = Trial(
        kind="cost",
        mixer="dct",
        dataset="cifar100",
        image_size=32,
        patch_size=4,
        dim=DIM,
        depth=1,
        device=device,
        threads=threads,
    )
    where = environment(trial)
    measured_on = {
        "machine": machine_name(where),
        "torch": where["torch"],
        "threads": threads,
        "precision": precision,
        "rounds": rounds,
        "code": code_version(),
    }
    content = {
        device: {"measured_on": measured_on, "methods": table_of(cells)},
        "times": [dataclasses.asdict(cell) for cell in cells],
    }
    json_path, markdown_path = folder / "crossovers.json", folder / "crossovers.md"
    with atomic_write(json_path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
    with atomic_write(markdown_path) as file:
        file.write(_markdown(cells, measured_on).encode())
    return [json_path, markdown_path]


def _markdown(cells: list[Cell], measured_on: dict[str, Any]) -> str:
    lines = [
        "# Crossovers of methods",
        "",
        f"{measured_on['machine']}, torch {measured_on['torch']}, threads: {measured_on['threads']}, "
        f"{measured_on['precision']}, dim {DIM}. Milliseconds, forward / forward + backward, median of "
        f"{measured_on['rounds']} rounds; the smallest sum is bold. `python -m benchmarks crossovers` makes this page.",
    ]
    for kind in dict.fromkeys(cell.kind for cell in cells):
        mine = [cell for cell in cells if cell.kind == kind]
        methods = list(dict.fromkeys(cell.method for cell in mine))
        lines += ["", f"## {kind}: {mine[0].mixer}", "", f"| tokens | {' | '.join(methods)} |"]
        lines.append("| ---: |" + " ---: |" * len(methods))
        for tokens in dict.fromkeys(cell.tokens for cell in mine):
            row = {cell.method: cell for cell in mine if cell.tokens == tokens}
            best = min(row.values(), key=_cost).method
            texts = []
            for method in methods:
                cell = row.get(method)
                text = "" if cell is None else f"{cell.forward_ms:.2f} / {cell.forward_backward_ms:.2f}"
                texts.append(f"**{text}**" if method == best else text)
            lines.append(f"| {tokens:,} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"
