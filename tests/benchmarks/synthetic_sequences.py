"""A plausible results folder of sequences: one task a token, two a sequence, lengths timed until memory is out."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import numpy as np
from synthetic import ROUNDS, save

from benchmarks.contract.facts.datasets import DATASETS, labels_file
from benchmarks.contract.facts.datasets import _sequences as sequences
from benchmarks.contract.trial import Trial

EXAMPLES, ASKED = 400, 16
# task: classes, length, whether tokens are judged, percent of the trivial predictors, percent of the mixers by seed
TASKS = {
    "recall": (
        16, 32, True, {"chance": 6.25, "majority": 6.5, "bag_of_tokens": 9.8, "position": 6.4},
        {"attention": (99.9, 99.7, 99.8), "hybrid_top": (94.5, 92.0, 96.1), "linear": (25.3, 24.1, 26.0),
         "dct": (6.4, 9.9, 6.1), "fft_real": (6.3, 6.2, 6.4), "conv1x1": (6.2, 6.5, 6.3)},
    ),
    "match": (
        2, 64, True, {"chance": 50.0, "majority": 61.7, "bag_of_tokens": 61.7},
        {"attention": (100.0, 100.0, 99.9), "hybrid_top": (100.0, 61.7, 61.9), "linear": (61.7, 61.6, 61.8),
         "dct": (61.7, 61.7, 61.6), "fft_real": (61.7, 61.8, 61.7), "conv1x1": (61.7, 61.7, 61.7)},
    ),
    "listops": (
        10, 128, False, {"chance": 10.0, "majority": 17.0, "bag_of_tokens": 30.5, "root_operator": 35.0,
                         "depth_1": 41.0, "depth_2": 63.0},
        {"attention": (41.0, 43.5, 42.2), "linear": (52.0, 50.5, 51.2), "dct": (35.2, 34.8, 36.0),
         "fft_real": (39.5, 41.2, 40.0), "conv1x1": (31.0, 30.2, 30.8)},
    ),
}  # fmt: skip
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
TIMED = {  # exponent of the mixer's time in tokens, its time at 512 tokens in ms, the longest that fits
    "attention": (1.9, 1.2, 16384),
    "attention(backend=plain)": (2.0, 3.0, 4096),
    "fft_real": (1.1, 1.5, 16384),
    "linear": (1.95, 0.9, 8192),
    "performer": (1.02, 2.4, 16384),
}


def know(monkeypatch) -> None:
    """Makes the tasks known that this version may not have."""
    for name, (classes, length, per_token, _, _) in TASKS.items():
        if name not in DATASETS:
            info = sequences(name, classes, 300, EXAMPLES, per_token=per_token, least_length=min(length, 4))
            monkeypatch.setitem(DATASETS, name, info)
            monkeypatch.setattr(
                "benchmarks.contract.record.check_record", lambda content: None
            )  # its schema has no such


def make_trial(kind: str, mixer: str, dataset: str = "recall", **changes) -> Trial:
    values = {"kind": kind, "mixer": mixer, "dataset": dataset, "length": TASKS[dataset][1], "dim": 64, "depth": 2}
    values |= {"norm": "token", "coordinates": False, "positions": "learned"}
    if kind in ("accuracy", "tuning"):
        values |= {"epochs": 3, "lr": 0.003, "weight_decay": 0.05, "batch_size": 64, "train_images": 20_000}
        values |= {"augment": "none"}
    elif kind == "latency":
        values |= {"rounds": ROUNDS, "batch_size": 8, "compiled": False}
    return Trial(**(values | changes))


def save_accuracy(
    folder: Path, mixer: str, top1: float, seed: int, dataset: str = "recall", predict: bool = True, **changes
):
    """A trained net that gives that many percent of the answers, as near as their number allows."""
    classes, _, per_token, trivial, _ = TASKS[dataset]
    trial = make_trial("accuracy", mixer, dataset, seed=seed, **changes)
    draw = np.random.RandomState(seed)
    labels = np.random.RandomState(len(dataset)).randint(classes, size=(EXAMPLES, ASKED) if per_token else EXAMPLES)
    wrong = draw.permutation(labels.size)[: round((1 - top1 / 100) * labels.size)]
    answers = labels.astype(np.uint8)
    answers.reshape(-1)[wrong] = (answers.reshape(-1)[wrong] + 1) % classes
    top1 = 100 * float((answers == labels).mean())
    history = [{"epoch": e + 1, "train_loss": 2 / (e + 1), "val_top1_percent": top1 * (1 - 0.5 ** (2 * e + 1))}
               for e in range(3)]  # fmt: skip
    metrics = {"test_top1_percent": top1, "val_top1_percent": top1, "params": 90_000, "train_images_per_s": 900.0}
    metrics |= {f"baseline_{name}_percent": value for name, value in trivial.items()}
    record = save(folder, trial, metrics, history)
    path = labels_file(folder, trial.to_dict())
    assert path is not None
    path.parent.mkdir(exist_ok=True)
    if predict:
        np.save(path, labels)
        np.save(folder / "records" / f"accuracy-{record.id}.npy", answers)


def save_latency(folder: Path, mixer: str, length: int, dataset: str = "recall", **changes) -> None:
    exponent, start, longest = TIMED.get(mixer, (1.3, 1.2, 10**6))
    trial = make_trial("latency", mixer, dataset, length=length, batch_size=max(1, 4096 // length), **changes)
    if length > longest:
        save(folder, trial, status="oom", reason="predicted: 40 GiB asked for, 12 GiB free")
        return
    draw, history, times = random.Random(f"{mixer}{length}"), [], trial.batch_size * length / 512
    for r in range(ROUNDS):
        alone = trial.batch_size * start * (length / 512) ** exponent * draw.uniform(0.96, 1.04)
        net = 2 * alone + times * 0.8 * draw.uniform(0.98, 1.02)
        history.append({"round": r, "forward_ms": net, "forward_backward_ms": 3 * net, "mixer_forward_ms": alone,
                        "mixer_forward_backward_ms": 2.6 * alone, "copy_ms": 0.02 * times})  # fmt: skip
    metrics = {k: statistics.median(row[k] for row in history) for k in history[0] if k != "round"}
    metrics |= {"copy_ratio": 30.0, "images_per_s": 1000 * trial.batch_size / metrics["forward_ms"], "drift_ratio": 1.0}
    metrics["peak_memory_bytes"] = int(2e6 * trial.batch_size * (length / 512) ** (2 if "plain" in mixer else 1))
    save(folder, trial, metrics, history)


def fill_sequences(folder: Path) -> Path:
    """Three tasks, recall at two lengths, one mixer that diverges, a sweep of lengths with two out of memory."""
    for dataset, (*_, mixers) in TASKS.items():
        for mixer, values in mixers.items():
            for seed, top1 in enumerate(values):
                save_accuracy(folder, mixer, top1, seed, dataset)
            save(folder, make_trial("cost", mixer, dataset, batch_size=64), {
                "params": 90_000 + 1000 * len(mixer), "mixer_params": 0, "flops": int(9e6 + 1e6 * len(mixer)),
                "mixer_flops": 10_000, "flops_executed": int(9e6 + 1e6 * len(mixer)),
                "forward_peak_bytes": 3_000_000, "train_peak_bytes": 50_000_000})  # fmt: skip
            save_latency(folder, mixer, TASKS[dataset][1], dataset)
    for mixer, values in TASKS["recall"][-1].items():
        for seed, top1 in enumerate(values):
            save_accuracy(folder, mixer, 0.8 * top1 + 1, seed, "recall", length=64)
    for mixer in TIMED:
        for length in LENGTHS:
            save_latency(folder, mixer, length)
    for seed in range(3):
        save(folder, make_trial("accuracy", "gmlp", seed=seed), status="diverged", reason="the loss is not a number")
    for lr in (0.001, 0.003, 0.008):
        trial = make_trial("tuning", "dct", lr=lr)
        save(folder, trial, {"val_top1_percent": 6.0 + 100 * lr, "train_s": 12.0})
    return folder
