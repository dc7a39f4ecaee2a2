"""A plausible results folder of synthetic records whose numbers are known."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

from benchmarks.contract.record import Record
from benchmarks.contract.trial import Trial

MACHINE = {"torch": "2.11.0", "device": "cpu", "cpu": "AMD EPYC 9B14", "cores": 2, "threads": 1}
OTHER = MACHINE | {"cpu": "Apple M3"}
HOSTILE = "file:A$B_{|`<b>*"
# accuracy in %, exponent of the mixer's time in tokens, its time at 256 tokens in ms
MIXERS = {
    "fft_complex": (46.0, 1.12, 2.1),
    "fft_real": (44.0, 1.15, 1.6),
    "dct": (43.2, 1.25, 1.1),
    "hadamard": (41.0, 1.25, 1.05),
    "random": (37.0, 1.95, 1.4),
    "attention": (88.0, 1.9, 2.0),
    "conv1x1": (17.5, 1.0, 0.4),
}
ROUNDS = 5
PLOTTERS = [  # modules that save figures
    f"benchmarks.report.plots.{name}" for name in ("accuracy", "params", "curves", "variants", "latency", "ratio")
]


def save(
    folder: Path, trial: Trial, metrics=None, history=(), *, status="ok", reason=None, environment=MACHINE, hour=1
) -> Record:
    record = Record(
        id=trial.id(str(environment)), kind=trial.kind, status=status, reason=reason, trial=trial,
        metrics=dict(metrics or {}), history=list(history), environment=environment,
        code={"commit": "c0ffee", "dirty": False},
        started=f"2026-01-01T0{hour}:00:00+00:00", ended=f"2026-01-01T0{hour}:30:00+00:00",
    )  # fmt: skip
    record.save(folder / "records")
    return record


def make_trial(kind: str, mixer: str, **changes) -> Trial:
    values = {
        "dataset": "constellations",
        "image_size": 16,
        "patch_size": 2,
        "dim": 48,
        "depth": 4,
        "kind": kind,
        "mixer": mixer,
    }
    if kind == "accuracy":
        values |= {"epochs": 4, "lr": 0.002, "batch_size": 128, "train_images": 20_000, "augment": "none"}
    elif kind == "latency":
        values |= {"rounds": ROUNDS, "batch_size": 32, "compiled": False}
    return Trial(**(values | changes))


def save_accuracy(folder: Path, mixer: str, top1: float, seed: int, **changes) -> None:
    environment = changes.pop("environment", MACHINE)
    trial = make_trial("accuracy", mixer, seed=seed, **changes)
    epochs = trial.epochs or 1
    curve = [top1 * (1 - 0.6 ** (e + 1)) for e in range(epochs)]
    history = [
        {"epoch": e + 1, "train_loss": 2.0 / (e + 1), "val_top1_percent": v, "val_loss": 1.0}
        for e, v in enumerate(curve)
    ]
    metrics = {
        "test_top1_percent": top1,
        "test_top5_percent": min(99.0, top1 * 1.6),
        "val_top1_percent": curve[-1],
        "params": 90_000,
    }
    save(folder, trial, metrics, history, environment=environment)


def save_latency(folder: Path, mixer: str, size: int | str, batch: int = 32, hour: int = 1, **changes) -> None:
    environment = changes.pop("environment", MACHINE)
    trial = make_trial(
        "latency", mixer, image_size=size, patch_size=changes.pop("patch_size", 1), batch_size=batch, **changes
    )
    _, exponent, start = MIXERS.get(mixer, (0, 1.3, 1.3))
    draw = random.Random(f"{mixer}{size}")
    history = []
    for r in range(ROUNDS):
        alone = batch * start / 32 * (trial.tokens / 256) ** exponent * draw.uniform(0.96, 1.04)
        net = 4 * alone + batch * 0.3 * (trial.tokens / 256) * draw.uniform(0.98, 1.02)
        copy = batch * 0.01 * (trial.tokens / 256) ** 1.05 * draw.uniform(0.95, 1.05)
        history.append(
            {"round": r, "forward_ms": net, "forward_backward_ms": 3 * net, "mixer_forward_ms": alone,
             "mixer_forward_backward_ms": 2.6 * alone, "copy_ms": copy}
        )  # fmt: skip
    metrics = {k: statistics.median(row[k] for row in history) for k in history[0] if k != "round"}
    metrics |= {"copy_ratio": 30.0, "images_per_s": 1000 * batch / metrics["forward_ms"], "drift_ratio": 1.01}
    metrics |= {"train_step_images_per_s": 1000 * batch / metrics["forward_backward_ms"]}
    metrics |= {
        "peak_memory_bytes": int(
            3e6 * (trial.tokens / 256) ** (2 if mixer.startswith("attention") else 1) * (1 + len(mixer) / 20)
        )
    }
    save(folder, trial, metrics, history, environment=environment, hour=hour)


def fill(folder: Path) -> Path:
    """A plausible results folder: two data sets, a failed seed, an unsupported mixer, one out of memory."""
    draw = random.Random(0)
    for mixer, (top1, _, _) in MIXERS.items():
        for seed in range(3):
            if (mixer, seed) == ("hadamard", 2):
                trial = make_trial("accuracy", mixer, seed=seed)
                save(folder, trial, status="diverged", reason="the loss is not a number in epoch 2")
                continue
            save_accuracy(folder, mixer, top1 + draw.uniform(-1.5, 1.5), seed)
        save_accuracy(folder, mixer, top1 * 0.8, 0, image_size=32, patch_size=2)
        cost = {
            "params": 90_000 + 1000 * len(mixer),
            "mixer_params": 0,
            "flops": int(9e6 + 1e6 * len(mixer)),
            "mixer_flops": 10_000,
        }
        cost |= {"flops_executed": int(9.5e6 + 1e6 * len(mixer)), "flops_counted": int(9.5e6 + 1e6 * len(mixer))}
        cost |= {"forward_peak_bytes": 3_000_000, "train_peak_bytes": 50_000_000}
        for size in (16, 32):
            factor = (size / 16) ** 2
            save(
                folder,
                make_trial("cost", mixer, image_size=size, batch_size=64),
                {k: int(v * factor) for k, v in cost.items()},
            )
            save_latency(folder, mixer, size, patch_size=2)
        for size in (16, 32, 48, 64):
            if (mixer, size) != ("random", 64):
                save_latency(folder, mixer, size)
    failed = make_trial("latency", "random", image_size=64, patch_size=1)
    save(folder, failed, status="oom", reason="1.2 GiB asked for, 0.9 GiB free")
    save_latency(folder, "fft_real", "16x32")
    for size in (16, 32, 48):
        save_latency(folder, "attention(backend=plain)", size)
    failed = make_trial("latency", "attention(backend=plain)", image_size=64, patch_size=1)
    save(folder, failed, status="oom", reason="5 GiB asked for")
    save(folder, make_trial("accuracy", "gmlp"), status="unsupported", reason="a | pipe\nand a line")
    for seed in range(3):
        save_accuracy(
            folder, "dct", 70.0 + seed, seed, dataset="cifar100", train_images=None, image_size=32, patch_size=4
        )
    return folder
