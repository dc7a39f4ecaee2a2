"""How long the report takes from 10,000 records, and how much memory: `python tests/reliability/growing_folder.py OUT`.

Makes a results folder of synthetic, valid records (several mixers, image sizes, seeds and batch sizes; some failed),
runs `python -m benchmarks report` on it three times, each in a process of its own on one core, and writes
growing-folder.json and .md into OUT.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from benchmarks.contract import record as record_module
from benchmarks.contract.processor import cpu_name
from benchmarks.contract.record import Record, machine_key, write_json
from benchmarks.contract.trial import Trial
from benchmarks.machine.environment import environment

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 10_000
RUNS = 3
LIMIT_S, LIMIT_BYTES = 20.0, 2**30
EXPONENTS = {  # mixer -> of its time in tokens
    "fft_complex": 1.12, "fft_real": 1.15, "dct": 1.25, "hadamard": 1.25, "random": 1.95, "attention": 1.9,
    "conv1x1": 1.0, "linear": 1.95, "conv_mixer": 1.05, "pool": 1.02, "shift": 1.0, "global_filter": 1.2,
}  # fmt: skip
LATENCY_SIZES, LATENCY_BATCHES = (16, 24, 32, 48, 64, 96, 128, 192), 24
TRAINED_SIZES = (32, 64)
COMMON = {"dataset": "cifar100", "dim": 64, "depth": 4, "profile": "quick"}
TRAINED = {
    "epochs": 5, "batch_size": 64, "lr": 0.008, "weight_decay": 0.05, "warmup_epochs": 0.5, "label_smoothing": 0.1,
    "augment": "light",
}  # fmt: skip


def trials(count: int) -> list[Trial]:
    """Latency and cost of every mixer, then as many seeds of the trained nets as it takes."""
    made = [
        Trial(kind="latency", mixer=m, image_size=s, patch_size=1, batch_size=b + 1, rounds=5, compiled=False, **COMMON)
        for b in range(LATENCY_BATCHES)
        for s in LATENCY_SIZES
        for m in EXPONENTS
    ][: count // 4]
    made += [
        Trial(kind="cost", mixer=m, image_size=s, patch_size=4, batch_size=64, **COMMON)
        for s in TRAINED_SIZES
        for m in EXPONENTS
    ]
    seed = 0
    while len(made) < count:
        made += [
            Trial(kind="accuracy", mixer=m, image_size=s, patch_size=4, seed=seed, **COMMON, **TRAINED)
            for s in TRAINED_SIZES
            for m in EXPONENTS
        ]
        seed += 1
    return made[:count]


def measured(trial: Trial, draw: random.Random) -> tuple[dict, list]:
    """Plausible metrics and history."""
    if trial.kind == "cost":
        names = ("params", "mixer_params", "flops", "mixer_flops", "flops_executed", "flops_counted")
        counts = {name: round(1e5 * draw.uniform(1, 5) * trial.tokens) for name in names}
        return counts | {"forward_peak_bytes": 10**7, "train_peak_bytes": 5 * 10**7}, []
    if trial.kind == "accuracy":
        top1 = draw.gauss(30 + 4 * EXPONENTS[trial.mixer], 0.6)
        rows = [
            {
                "epoch": e + 1, "train_loss": 4 / (e + 1), "lr": 0.008 * (1 - e / 5), "images_per_s": 900.0,
                "seconds": 50.0, "val_top1_percent": top1 * (1 - 0.6 ** (e + 1)), "val_loss": 4 / (e + 1.2),
            }
            for e in range(trial.epochs or 0)
        ]  # fmt: skip
        own = {"test_top1_percent": top1, "test_top5_percent": top1 * 1.8, "test_loss": 2.7, "train_s": 250.0}
        own |= {"val_top1_percent": rows[-1]["val_top1_percent"], "train_loss": 0.8, "params": 112164}
        return own | {"train_images_per_s": 900.0, "overhead_percent": 0.5}, rows
    rows = []
    for r in range(trial.rounds or 0):
        mixer_ms = (trial.batch_size or 1) * 0.01 * (trial.tokens / 256) ** EXPONENTS[trial.mixer] * draw.gauss(1, 0.03)
        rows.append({
            "round": r, "copy_ms": mixer_ms / 5, "forward_ms": mixer_ms * 6, "forward_backward_ms": mixer_ms * 18,
            "mixer_forward_ms": mixer_ms, "mixer_forward_backward_ms": mixer_ms * 3,
        })  # fmt: skip
    own = {name: rows[0][name] for name in rows[0] if name != "round"}
    own |= {"latency_batch_size": trial.batch_size, "peak_memory_bytes": 10**6 * trial.tokens, "copy_ratio": 5.0}
    own |= {"images_per_s": 1000.0 * (trial.batch_size or 1) / own["forward_ms"], "drift_ratio": 1.01}
    return own, rows


def make_folder(results: Path, count: int) -> None:
    """Writes `count` records; not one by one onto the disk, since nothing here has to survive a crash."""
    draw = random.Random(0)
    where = environment("cpu", 1)
    with mock.patch.object(record_module.os, "fsync", lambda handle: None):
        for number, trial in enumerate(trials(count)):
            metrics, history = measured(trial, draw)
            failed = number % 97 == 0
            Record(
                id=trial.id(machine_key(where)), kind=trial.kind, status="oom" if failed else "ok",
                reason="a training step asks for 9,000,000,000 bytes" if failed else None, trial=trial,
                metrics={} if failed else metrics, history=[] if failed else history, environment=where,
                code={"commit": "0" * 40, "dirty": False},
                started=f"2026-01-01T00:{number % 60:02}:00+00:00", ended="2026-01-01T01:00:00+00:00",
            ).save(results / "records")  # fmt: skip


def time_report(results: Path) -> tuple[float, float, int, str]:
    """Seconds, those of the processor alone, and peak bytes of one `report` on one core, and what it said."""
    command = [sys.executable, "-m", "benchmarks", "report", "--results", str(results)]
    if hasattr(os, "sched_setaffinity"):
        core = min(os.sched_getaffinity(0))
        pin = f"import os; os.sched_setaffinity(0, {{{core}}}); os.execv({command[0]!r}, {command!r})"
        command = [sys.executable, "-c", pin]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        said.seek(0)
        text = said.read()
    if status != 0:
        raise SystemExit(f"report ended with {os.waitstatus_to_exitcode(status)}: {text[-500:]}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return seconds, used.ru_utime + used.ru_stime, peak, text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the figures")
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--keep", type=Path, help="make the records here and leave them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = options.keep or Path(name)
        make_folder(results, options.records)
        runs = [time_report(results) for _ in range(RUNS)]
    every_s = [run[0] for run in runs]
    seconds, cpu_s, peak = (statistics.median(run[i] for run in runs) for i in range(3))
    said = runs[0][3]
    figures = {
        "command": "python tests/reliability/growing_folder.py OUT",
        "records": options.records,
        "runs": RUNS,
        "report_s": [round(one, 2) for one in every_s],
        "report_cpu_s": [round(run[1], 2) for run in runs],  # less than the above where something else ran on the core
        "peak_bytes": [run[2] for run in runs],
        "limit_s": LIMIT_S,
        "limit_bytes": LIMIT_BYTES,
        "said": said.replace(str(results), "RESULTS").splitlines(),
        "cpu": cpu_name(),
        "python": platform.python_version(),
    }
    write_json(options.out / "growing-folder.json", figures, indent=1)
    good = seconds < LIMIT_S and peak < LIMIT_BYTES
    cells = {
        "records": f"{options.records:,}",
        "tables, plots, page (s)": f"{seconds:.1f} ({min(every_s):.1f} to {max(every_s):.1f})",
        "of the processor (s)": f"{cpu_s:.1f}",
        "allowed (s)": f"{LIMIT_S:g}",
        "peak memory (MB)": f"{peak / 1e6:.0f}",
        "allowed (MB)": f"{LIMIT_BYTES // 10**6}",
    }
    rows = ["| " + " | ".join(row) + " |" for row in (cells, ["---"] * len(cells), cells.values())]
    what = f"`{figures['command']}` on one core of {figures['cpu']}, n = {RUNS} runs, medians (lowest to highest):"
    page = "\n".join(["# A growing folder of records", "", what, "", *rows]) + "\n"
    (options.out / "growing-folder.md").write_text(page, encoding="utf-8")
    print("; ".join(f"{name}: {cell}" for name, cell in cells.items()))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
