"""Latency: forward, and forward + backward, of each mixer alone and in the backbone, timed by pytest-benchmark.

Methodology. One process per image size, or length of sequences. In it, one item is one (round, net, target, mode), in
shuffled order within a round, so that rounds interleave the mixers; every ratio is taken within a round, and has its
interval over sittings, processes that begin an hour or more apart, see `latency_metrics`. On a CPU the clock is the
wall's; on a GPU the device's own, around calls that stand back to back, see `device`. Float32 means float32 there too,
without TF32. Inputs are random, token ids too, and rotate through more memory than the caches hold. First calls are not
counted. A compiled net is compiled for itself, or it has no time, see `compiled`. What an item failed of is not tried
in later rounds. The first item is repeated at the end: its ratio says how far the machine drifted.

Beside each mixer stands its floor in the same round: the bytes that it must move at the bandwidth of a copy of its
input, or its FLOPs at the rate of one large matrix product, whichever takes longer. On a GPU that product takes TF32
also where the trial is in float32: a kernel that reaches the precision of float32 by several products in TF32 is faster
than a plain product, and a floor must lie under it.

What is predicted not to fit into memory is not started on a CPU, where the kernel would kill the process; what fits,
but not beside the nets that are kept for later rounds, is timed without them. On a GPU the allocator says so. Each time
is on the disk before the next item begins: where its time limit ends the process, the rounds count that are whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.contract.facts.datasets import handed_on
from benchmarks.contract.record import now
from benchmarks.contract.trial import Trial
from benchmarks.machine.memory import FREE_SHARE, NO_MEMORY, free_bytes, needs_numbers, predict_bytes
from benchmarks.tasks.task import build_net, task_of
from benchmarks.timing.latency_metrics import METRIC_OF, matmul_flops, metrics_of
from mixers import UnsupportedSize, create_mixer
from mixers.registry import places_of
from mixers.spec import parse

PLAN_VARIABLE = "TOKEN_MIXERS_LATENCY_PLAN"
DRIFT_ROUND = -1
MODES = ("forward", "forward_backward")
TIMEOUT_S = 3600.0  # for one image size
LOOK_S = 2.0  # how often somebody who waits is told how far it is: seldom enough not to disturb what is timed
MATMUL = ("matmul", "forward")
LITTLE = 0.1  # of the free memory


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing timed in one round."""

    trial: int  # index into the plan's trials
    target: str  # copy, matmul, mixer or net
    mode: str
    round: int = 0

    def in_round(self, number: int) -> Item:
        return dataclasses.replace(self, round=number)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.round}-{self.trial}-{self.target}-{self.mode}"


@dataclasses.dataclass
class Timing:
    """What came of one latency trial."""

    trial: Trial
    status: str
    reason: str | None
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    rounds: int = 0  # that are in the history


def measure_latency(
    trials: list[Trial], timeout_s: float = TIMEOUT_S, on_item: Callable[[Item], None] | None = None
) -> list[Timing]:
    """Times the trials of one image size, in one process of their own.

    `on_item` is told, from a thread, of every item that was timed or failed, within seconds of it.

    A process that has not finished after `timeout_s` is ended. Its trials have the status `timeout` and the medians of
    the rounds that are whole: the same rounds for each, so that they compare with each other, but fewer than asked for.
    """
    sitting = now()
    timings: list[Timing] = []
    items: list[Item] = []
    needs: dict[Item, int] = {}
    for index, trial in enumerate(trials):
        timing = Timing(trial, "ok", None, {"latency_batch_size": trial.batch_size, "method": None}, [])
        timings.append(timing)
        try:
            own = _items_that_fit(index, timing)
        except UnsupportedSize as error:
            timing.status, timing.reason = "unsupported", str(error)
            continue
        except Exception as error:  # whatever a plug-in raises
            timing.status, timing.reason = "error", f"{type(error).__name__}: {_tail(str(error))}"
            continue
        items += own
        needs |= own
    copies = {_copied(trial): index for index, trial in reversed(list(enumerate(trials)))}
    items += [Item(index, "copy", "forward") for index in copies.values()]
    if items:
        items.append(Item(0, *MATMUL))  # trials of one process share device and precision
    results, failures, end = _run_process(trials, items, timeout_s, on_item, needs)
    asked = trials[0].rounds or 1
    rounds = _whole_rounds(asked, items, results, failures)
    if len(rounds) == asked:
        end = None  # nothing is missing
    elif end is None:
        end = "error", "some items have no time"
    if end is not None:
        end = end[0], f"{len(rounds)} of {asked} rounds: {end[1]}"
    for index, timing in enumerate(timings):
        if timing.status not in ("unsupported", "error"):
            _summarise(timing, index, copies[_copied(timing.trial)], results, failures, rounds, end, sitting)
    return timings


def _copied(trial: Trial) -> tuple[Any, ...]:
    """Trials that agree in this have mixer inputs of one shape and share the copy."""
    return trial.batch_size, trial.dim


def _items_that_fit(index: int, timing: Timing) -> dict[Item, int]:
    """The items of one trial whose predicted memory is there, with its bytes; without those that do not fit: `oom`.

    Where the whole net takes little of what is free, its peak stands for that of every item.
    """
    trial = timing.trial
    timing.metrics["peak_memory_bytes"] = None  # on a GPU measured with the net
    free, most, built = math.inf, 0, 0

    def needed(target: str, mode: str) -> tuple[int | None, int]:
        return predict_bytes(functools.partial(_dry_run, trial, target, mode))

    if trial.device == "cpu":
        free = free_bytes("cpu") * FREE_SHARE
        timing.metrics["peak_memory_bytes"], built = needed("net", "forward_backward")
        most = _most(timing.metrics["peak_memory_bytes"], built)
    one_mixer = not parse(trial.mixer).parts
    if one_mixer:
        timing.metrics |= mixer_work(trial)
    fit: dict[Item, int] = {}
    for target, mode in METRIC_OF:
        if target == "mixer" and not one_mixer:
            continue
        asked = most if most <= LITTLE * free else _most(*needed(target, mode))
        if asked <= free:
            fit[Item(index, target, mode)] = asked
    if most > free:
        timing.status = "oom"
        what = "forward + backward of the net" if most > built else "making the net"
        timing.reason = f"{what} asks for {most:,} bytes, {free:,.0f} may be taken of what is free"
    return fit


def _most(peak: int | None, built: int) -> int:
    return max(peak or 0, built)


def mixer_work(trial: Trial) -> dict[str, int]:
    """The bytes that one mixing layer must move for one batch, and the FLOPs of its algorithm; nothing is computed.

    Input, output and parameters count once each; none of them for a layer that returns its input. Fixed matrices do not
    count, since they could be made on the way.
    """
    assert trial.batch_size is not None
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        mixer = create_mixer(trial.mixer, trial.dim, trial.grid)
        x = torch.randn(trial.batch_size, trial.dim, *trial.grid)
        try:
            same = mixer(x) is x
        except Exception as error:
            if not needs_numbers(error):
                raise
            same = False
        moved = _input_bytes(trial) * (mixer.dim + mixer.out_channels) // mixer.dim
        moved += sum(p.numel() * p.element_size() for p in mixer.parameters())
        flops = trial.batch_size * mixer.flops()
    return {"mixer_bytes": 0 if same else moved, "mixer_batch_flops": flops}


def _input_bytes(trial: Trial) -> int:
    """Of the mixer's input for one batch."""
    assert trial.batch_size is not None
    return trial.batch_size * trial.dim * trial.tokens * (2 if trial.precision == "bfloat16" else 4)


def _dry_run(trial: Trial, target: str, mode: str):
    """The call of one item on whatever device tensors are made on now, and what is alive before it."""
    assert trial.batch_size is not None
    if target == "mixer":
        module: torch.nn.Module = create_mixer(trial.mixer, trial.dim, trial.grid)
        x = torch.randn(trial.batch_size, trial.dim, *trial.grid, requires_grad=True)
    else:
        module = build_net(trial)
        x = task_of(trial).example(trial, trial.batch_size, "cpu").inputs

    def run() -> None:
        with torch.set_grad_enabled(mode != "forward"):
            y = module(x)
        if mode != "forward":
            wanted = [*module.parameters(), *([x] if target == "mixer" else [])]
            torch.autograd.grad(y.sum(), wanted, allow_unused=True)

    return run, [x, *module.parameters(), *module.buffers()]


def _run_process(trials: list[Trial], items: list[Item], timeout_s: float, on_item=None, needs=None):
    """Runs the items under pytest-benchmark; returns results and failures by item, and how it ended where not well."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results, failures = folder / "results.jsonl", folder / "failures.jsonl"
        plan = {
            "trials": [trial.to_dict() for trial in trials],
            "items": [item.to_dict() for item in items],
            "needs": [(needs or {}).get(item, 0) for item in items],
            "own_data": [handed_on(*own) for own in dict.fromkeys((trial.dataset, trial.corpus) for trial in trials)],
            "plugins": list(dict.fromkeys(place for trial in trials for place in places_of(trial.mixer))),
            "results": str(results),
            "failures": str(failures),
        }
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        command = [
            *(sys.executable, "-m", "pytest", str(Path(__file__).with_name("latency_items.py")), "-q"),
            *("-c", str(folder / "pytest.ini"), "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider"),
            *("--benchmark-only", "--benchmark-disable-gc"),
        ]
        # settings of a pytest that runs around this one are not meant for it
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment |= {PLAN_VARIABLE: str(folder / "plan.json"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # plug-ins are found there too
        end = None
        try:
            with _followed([results, failures], on_item):
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
                )
            if done.returncode != 0:
                end = "error", f"the process ended with {done.returncode}: {_tail(done.stdout + done.stderr)}"
        except subprocess.TimeoutExpired:
            end = "timeout", f"ended after {timeout_s:g} s"
        return dict(_read_lines(results)), dict(_read_lines(failures)), end


@contextlib.contextmanager
def _followed(paths: list[Path], on_item: Callable[[Item], None] | None) -> Iterator[None]:
    """Tells of the items in files that grow meanwhile."""
    if on_item is None:
        yield
        return
    ended, read = threading.Event(), dict.fromkeys(paths, 0)

    def follow() -> None:
        while not ended.wait(LOOK_S):
            for path in paths:
                if not path.exists():
                    continue
                with path.open("rb") as file:
                    file.seek(read[path])
                    whole, newline, _ = file.read().rpartition(b"\n")
                read[path] += len(whole + newline)
                for line in whole.splitlines():
                    on_item(Item(**json.loads(line)["item"]))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _read_lines(path: Path) -> Iterator[tuple[Item, dict[str, Any]]]:
    """What `latency_items` has written of each item."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    for line in lines:
        if line.endswith("\n"):  # else the process was ended within it
            values = json.loads(line)
            yield Item(**values.pop("item")), values


def _whole_rounds(rounds: int, items: list[Item], results, failures) -> list[int]:
    """The rounds in which every item was timed that can be."""
    failed = {item.in_round(0) for item in failures}
    able = [item for item in items if item not in failed]
    return [number for number in range(rounds) if all(item.in_round(number) in results for item in able)]


def _tail(text: str, lines: int = 4) -> str:
    """The end of a process's output, without anything that looks like a path."""
    return _without_paths(" | ".join(text.strip().splitlines()[-lines:]))[-400:]


def _without_paths(text: str) -> str:
    return re.sub(r"(/[^\s:'\"]+)+/", "", text)


def _summarise(
    timing: Timing, index: int, copy_index: int, results, failures, rounds: list[int], end, sitting: str
) -> None:
    """Turns the items of one trial into its metrics and a row of the history per whole round."""
    trial, metrics = timing.trial, timing.metrics
    timing.rounds = len(rounds)
    assert trial.batch_size is not None

    def ms(item: Item) -> float | None:
        return results[item]["ms"] if item in results else None

    for number in rounds:
        row: dict[str, Any] = {"round": number, "sitting": sitting}
        row["copy_ms"] = ms(Item(copy_index, "copy", "forward", number))
        row["matmul_ms"] = ms(Item(0, *MATMUL, number))
        row["floor_ms"] = _floor_ms(trial, metrics, row)
        for (target, mode), name in METRIC_OF.items():
            item = Item(index, target, mode, number)
            row[name] = ms(item)
        timing.history.append(row)
    metrics |= metrics_of(trial, timing.history)
    metrics["drift_ratio"] = _drift(results)
    for item, result in results.items():
        if item.trial == index and item.target in ("mixer", "net"):
            _note(metrics, result)
    own_failures = [what for item, what in failures.items() if item.trial == index and item.target in ("mixer", "net")]
    if own_failures:
        timing.status, timing.reason = _what_failed(**own_failures[0])
    elif end is not None and timing.status == "ok":
        timing.status, timing.reason = end


def _note(metrics: dict[str, Any], result: dict[str, Any]) -> None:
    """Adds to the metrics what stands beside a time."""
    metrics |= {name: result[name] for name in ("method", "peak_memory_bytes") if name in result}
    if "graphs" in result:
        metrics["graphs"] = max(metrics.get("graphs", 0), result["graphs"])
    if "clock" in result:
        clocks = {result["clock"], *metrics.get("clock", result["clock"]).split("+")}
        metrics["clock"] = "+".join(sorted(clocks))


def _what_failed(error: str, message: str) -> tuple[str, str]:
    """Status and reason."""
    if error == UnsupportedSize.__name__:
        return "unsupported", message
    if is_out_of_memory(error, message):
        return "oom", f"{error}: {_without_paths(message.strip().splitlines()[0])[:300]}"  # it begins with the bytes
    return "error", f"{error}: {_tail(message)}"


def is_out_of_memory(error: str, message: str) -> bool:
    """Whether an error, by its type and its message, is an allocator's, a library's or the driver's lack of memory."""
    return "OutOfMemory" in error or error == "MemoryError" or any(word in message for word in NO_MEMORY)


def _floor_ms(trial: Trial, metrics: dict[str, Any], row: dict[str, Any]) -> float | None:
    """The least time of one forward of the mixer by what this round's copy and matrix product took."""
    if not metrics.get("mixer_bytes") or row["copy_ms"] is None or row["matmul_ms"] is None:
        return None
    by_bytes = row["copy_ms"] * metrics["mixer_bytes"] / (2 * _input_bytes(trial))  # a copy reads and writes
    return max(by_bytes, row["matmul_ms"] * metrics["mixer_batch_flops"] / matmul_flops(trial))


def _drift(results: dict[Item, dict[str, Any]]) -> float | None:
    """The repeated item over its first measurement."""
    for item, result in results.items():
        first = item.in_round(0)
        if item.round == DRIFT_ROUND and first in results and results[first]["ms"]:
            return result["ms"] / results[first]["ms"]
    return None
