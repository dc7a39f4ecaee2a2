"""The first minutes on a GPU: does everything work here, and how fast is the card?

Steps, each in a process of its own with a time limit of its own, each writing its file as it goes: what card and which
versions; the ceilings that everything is read beside, a copy and a matrix product; the tests that need a GPU; a
captured training run of each core mixer on constellations; fused kernels over a copy; a short table of crossovers. A
step that fails is a line of the summary, and the next begins. `gpu-check.md` sums up what there is after every step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import logging
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.facts.devices import DEVICES, by_device
from benchmarks.contract.processor import cpu_name, kind_of, processor
from benchmarks.contract.record import code_version, write_json
from benchmarks.machine.device import card_facts, clock, free_memory, resolve_device, set_math_mode, tf32_allowed
from benchmarks.machine.environment import PACKAGES
from benchmarks.studies.gpu_check.record import FOLDER, GpuCheckRecord, Outcome
from benchmarks.studies.gpu_check.report import write_pages
from benchmarks.sweep.budget import Budget
from benchmarks.sweep.status import duration

DEVICE_VARIABLE = "TOKEN_MIXERS_GPU_CHECK_DEVICE"  # for the tests alone: cpu walks through all steps without a GPU
BUDGET_S = 300.0
ENDING_S = 3.0  # before its limit a step stops to begin anything
TURN_MS = 20.0
SIDES = by_device(cpu=(4, 8), gpu=(4, 8, 16, 32, 64))  # of the short table of crossovers, in tokens
KERNEL_SIZES = by_device(cpu=(16,), gpu=(16, 32, 64, 128))  # pixels a side, every pixel a token
KERNELS = (
    "dct",
    "hadamard",
    "random_separable",
    "fft_real_2d",
    "hartley",
    "fft_complex",
    "fft_pairs",
    "1x1 convolution",
)
MATMUL_SIDE = by_device(cpu=512, gpu=8192)
COPY_BYTES = by_device(cpu=2**24, gpu=2**30)
TRAIN_BATCHES = by_device(cpu=4, gpu=40)  # of one epoch
NO_TESTS = 5  # pytest's exit code
WRONG = ("FAILED", "ERROR")
OUTCOMES = ("PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "XPASS")
TEST_LINE = re.compile(rf"(tests/.+?) ({'|'.join(OUTCOMES)})(?: |$)")  # an id may hold blanks

Rows = list[dict[str, Any]]


@dataclasses.dataclass
class Step:
    """What a step of the check does, and its share of the time that is left when it begins."""

    measure: Callable[..., None]  # of a report, the type of device, and when to begin nothing more
    share: float


class Report:
    """The file of one step, whole after every row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: Rows = []

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        write_json(self.path, {"rows": self.rows}, indent=1)


def check_device(report: Report, device: str, until: float) -> None:
    """Card, driver and versions; no serial number and no host."""
    if facts := card_facts(device):
        facts |= _nvidia_smi(("driver_version", "clocks.max.sm", "clocks.max.memory", "power.limit"))
    for name, value in facts.items():
        report.add(what=name, value=value)
    report.add(what="processor", value=f"{cpu_name()}, {kind_of(processor())}, {os.cpu_count()} cores")
    for package in (*PACKAGES, "triton", "jsonschema-rs", "hypothesis"):
        try:
            report.add(what=package, value=importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            report.add(what=package, value="missing")
    report.add(what="Python", value=platform.python_version())
    report.add(what="bfloat16 FFT", value=_works(lambda: torch.fft.rfft2(_half(device))))


def _half(device: str) -> torch.Tensor:
    return torch.randn(1, 1, 16, 16, device=device, dtype=torch.bfloat16)


def _works(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return f"no: {printable(error)[:100]}"
    return "yes"


def _nvidia_smi(names: tuple[str, ...]) -> dict[str, str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(names, (text.strip() for text in done.stdout.split(",")), strict=False))


def check_ceilings(report: Report, device: str, until: float) -> None:
    """What memory and multipliers of this machine can do at most."""
    own = clock(device)
    source = torch.randn(COPY_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    copy = own.timer(lambda: target.copy_(source), TURN_MS)
    rate = 2 * COPY_BYTES[device] / 1e9
    report.add(what="copy, read and write", unit="GB/s", **_rates(copy, rate, until))
    side = MATMUL_SIDE[device]
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32), ("TF32", torch.float32)):
        if name == "TF32" and device == "cpu":
            continue
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(a)
        with tf32_allowed() if name == "TF32" else contextlib.nullcontext():
            product = own.timer(functools.partial(torch.mm, a, b, out=out), TURN_MS)
            rates = _rates(product, 2 * side**3 / 1e12, until)
        report.add(what=f"matrix product, {name}, side {side}", unit="TFLOP/s", **rates)


def _rates(timer: Any, work: float, until: float) -> dict[str, Any]:
    """Median and range of seven turns; fewer where time runs out."""
    values: list[float] = []
    while len(values) < 7 and (not values or time.monotonic() < until):
        values.append(1000 * work / timer.ms())
    return {
        "value": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
        "by": timer.how,
    }


def check_tests(report: Report, device: str, until: float) -> None:
    """The tests marked gpu, each a row as it ends."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "tests").is_dir():
        report.add(test="all", outcome="SKIPPED", detail="no folder tests here: an installed copy")
        return
    command = [sys.executable, "-u", "-m", "pytest", "-v", "--no-header", "-rN", "--tb=line", "-p", "no:xdist"]
    command += ["--continue-on-collection-errors", "-m", "gpu and not slow", *_files_of_gpu_tests(root / "tests")]
    if device == "cpu":  # those that need a GPU would be skipped, and the others are in `make test`
        command += ["--collect-only", "-q"]
    running = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert running.stdout is not None
    # a test may be silent for long; interrupted, pytest still says why others failed
    alarm = threading.Timer(max(0.0, until - time.monotonic()), running.send_signal, (signal.SIGINT,))
    alarm.start()
    details = []
    for line in running.stdout:
        sys.stdout.write(line)
        if found := TEST_LINE.match(line):
            report.add(test=found[1], outcome=found[2])
        elif re.match(r"(E  |/|\w*Error)", line):
            details.append(_short(line))
    code = running.wait()
    alarm.cancel()
    if time.monotonic() >= until:
        report.add(test="the rest", outcome="LEFT", detail="out of time")
    elif code not in (0, NO_TESTS) and not any(row["outcome"] in WRONG for row in report.rows):
        report.add(test="all", outcome="ERROR", detail=f"exit code {code}")
    if details:
        report.add(test="what failed", outcome="DETAIL", detail=details[:20])
    if not report.rows:
        report.add(test="all", outcome="COLLECTED" if code == 0 else "ERROR", detail=f"exit code {code}")


def _files_of_gpu_tests(folder: Path) -> list[str]:
    """Those in which a test is marked so; of all others nothing is collected. Numbers of mixers come first."""
    files = [path for path in folder.rglob("test_*.py") if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]
    return [str(path) for path in sorted(files, key=lambda path: (path.parent.name != "mixers", path))]


def check_training(report: Report, device: str, until: float) -> None:
    """A short training run of each core mixer by the full profile's recipe, its step captured; the test split stays."""
    from benchmarks.plan.trials import Plan, Request
    from benchmarks.tasks.task import load_data
    from benchmarks.training.train import train

    folder = report.path.parent / "checkpoints"
    request = Request(dataset="constellations", profile="full", device=device)
    for trial in Plan(request).accuracy(all_seeds=False):
        if time.monotonic() > until:
            report.add(mixer=trial.mixer, status="left", reason="out of time")
            continue
        images = (trial.batch_size or 1) * TRAIN_BATCHES[device]
        small: dict[str, Any] = {"dim": 16, "depth": 1, "batch_size": 16} if device == "cpu" else {}
        own = dataclasses.replace(trial, kind="tuning", epochs=2, train_images=max(300, images), **small)
        try:
            set_math_mode(own.threads)
            data = load_data(own, folder, device)
            outcome = train(own, data, folder / f"{own.kind}-{own.id()}.pt")
        except Exception as error:
            report.add(mixer=trial.mixer, status="error", reason=_short(f"{type(error).__name__}: {error}"))
            continue
        finally:
            free_memory()
            for path in folder.glob("*.pt"):
                path.unlink()
        metrics = outcome.metrics
        seconds = outcome.history[-1]["seconds"]
        steps = -(-len(data.train.targets) // (own.batch_size or 1))
        names = ("step", "method", "compile_s", "train_loss", "val_top1_percent")
        row = {name: metrics.get(name) for name in names}
        status, reason = "ok", None
        if DEVICES[device].captures and metrics["step"] == "eager":
            status, reason = "error", "the step was not captured; step-training.log says why"
        report.add(mixer=trial.mixer, status=status, step_ms=1000 * seconds / steps, **row, reason=reason)


def check_kernels(report: Report, device: str, until: float) -> None:
    """The fused kernels, and others, over a copy of their input; checked against their definitions first."""
    from benchmarks.studies.speed.measure import compare_forms

    def keep(row: Any) -> None:
        names = ("mixer", "image_size", "method", "ours_ms", "copy_ratio", "best", "ratio", "status", "reason")
        report.add(**{name: getattr(row, name) for name in names})

    compare_forms(device, KERNEL_SIZES[device], 7, KERNELS, on_row=keep, until=until)


def check_crossovers(report: Report, device: str, until: float) -> None:
    """Which method is fastest, at a few grids, written as `crossovers` writes it."""
    from benchmarks.studies.crossovers.measure import crossovers_record, measure_crossovers
    from benchmarks.studies.crossovers.report import write_pages

    times = []

    def keep(timed: Any) -> None:
        times.append(timed)
        report.add(**dataclasses.asdict(timed))
        crossovers_record(times, device, 1, 3).save(report.path.parent)
        write_pages(report.path.parent)

    measure_crossovers(device, 1, DEVICES[device].precision, 3, SIDES[device], on_time=keep, until=until)


STEPS: dict[str, Step] = {
    "device": Step(check_device, 0.5),
    "ceilings": Step(check_ceilings, 0.5),
    "training": Step(check_training, 1.5),
    "kernels": Step(check_kernels, 1.2),
    "tests": Step(check_tests, 2.0),
    "crossovers": Step(check_crossovers, 1.0),
}


def gpu_check(results: Path, seconds: float | None = None) -> Iterator[tuple[str, str]]:
    """Takes all steps.

    Args:
        results: the results folder; `gpu-check/` is made in it.
        seconds: for everything; by default BUDGET_S.

    Yields:
        After each step its status and a line on it.

    Raises:
        UserError: there is no GPU here.
    """
    device = os.environ.get(DEVICE_VARIABLE) or resolve_device(None)
    if device == "cpu" and DEVICE_VARIABLE not in os.environ:
        raise UserError("gpu-check is for a GPU, and PyTorch sees none here; the tests check what a CPU can show")
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    budget = Budget(BUDGET_S if seconds is None else seconds)
    steps: dict[str, Outcome] = {}
    for name, step in STEPS.items():
        step_file(folder, name).unlink(missing_ok=True)
        later = list(STEPS.values())[len(steps) :]
        limit_s = (budget.left_s or 0.0) * step.share / sum(other.share for other in later)
        steps[name] = outcome = take_step(name, folder, device, limit_s)
        GpuCheckRecord(code_version(), steps).save(results)
        write_pages(results)
        yield outcome.status, f"{name}: {outcome.status}, {outcome.seconds:.0f} s{_in_short(name, outcome)}"


def step_file(folder: Path, name: str) -> Path:
    """Where a step writes its rows."""
    return folder / f"step-{name}.json"


def take_step(name: str, folder: Path, device: str, limit_s: float) -> Outcome:
    """One step in a process of its own; what it wrote before its time was up counts."""
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "benchmarks.studies.gpu_check.measure",
        name,
        str(folder),
        device,
        str(began + limit_s),
    ]
    status, reason = "ok", None
    root = str(Path(__file__).resolve().parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    log_path = folder / f"step-{name}.log"
    with log_path.open("w", encoding="utf-8") as file:  # a session of its own: what it has started ends with it
        running = subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = running.wait(max(1.0, limit_s))
        except subprocess.TimeoutExpired:
            code, status, reason = 0, "timeout", f"not done after {duration(limit_s)}"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    if code:
        text = log_path.read_text(encoding="utf-8", errors="replace")
        status, reason = "error", _short(" | ".join(text.strip().splitlines()[-4:]))
    path = step_file(folder, name)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    wrong = [row for row in rows if row.get("status") == "error" or row.get("outcome") in WRONG]
    if status == "ok" and (wrong or not rows):
        status, reason = "failed", f"{len(wrong)} of {len(rows)}" if rows else "nothing was measured"
    return Outcome(status, reason, time.monotonic() - began, rows)


def _in_short(name: str, outcome: Outcome) -> str:
    rows = outcome.rows
    words = [outcome.reason] if outcome.reason else []
    if name == "device" and rows:
        words.append(str(rows[0]["value"]))
    elif name == "ceilings":
        words += [f"{row['what']} {row['value']:,.4g} {row['unit']}" for row in rows]
    elif name == "tests":
        counts = {word: sum(row["outcome"] == word for row in rows) for word in (*OUTCOMES, "LEFT")}
        words += [f"{count} {word.lower()}" for word, count in counts.items() if count]
    elif name == "training":
        words += [f"{row['mixer']} {row['step_ms']:.2f} ms ({row['step']})" for row in rows if row["status"] == "ok"]
    elif name == "kernels":
        ratios = [row["copy_ratio"] for row in rows if row["copy_ratio"] and row["method"] == "fused"]
        words += [f"fused over copy {min(ratios):.2f} to {max(ratios):.2f}"] if ratios else []
    elif rows:
        words.append(f"{sum(row['status'] == 'ok' for row in rows)} of {len(rows)} cells")
    return f": {', '.join(words)}" if words else ""


def _short(text: str) -> str:
    """A line without anything that looks like a path."""
    return re.sub(r"(/[^\s:'\"]+)+/", "", printable(text))[:400]


def main(name: str, folder: str, device: str, limit: str) -> None:
    """Takes one step in this process."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    set_math_mode(1 if device == "cpu" else torch.get_num_threads())
    STEPS[name].measure(Report(step_file(Path(folder), name)), device, float(limit) - ENDING_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
