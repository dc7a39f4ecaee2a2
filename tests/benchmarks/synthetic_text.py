"""A plausible results folder of text: encoders pre-trained, fine-tuned on four tasks, some from scratch, two timed."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import numpy as np
import scipy.stats
from synthetic import ROUNDS, save

from benchmarks.contract.facts.datasets import PRETRAIN, labels_file
from benchmarks.contract.trial import Trial

SOURCE = "ab" * 32
# masked accuracy at the end, milliseconds a batch of training, accuracy on SST-2, Spearman on STS-B
ENCODERS = {
    "attention": (57.5, 120.0, 78.0, 55.0),
    "fft_real": (53.6, 64.0, 76.5, 50.0),
    "linear_fnet": (54.0, 70.0, 77.0, 45.0),
    "hybrid_top": (56.4, 80.0, 77.5, 52.0),
    "random_fnet": (24.0, 66.0, 62.0, 10.0),
    "ff_only": (23.6, 55.0, 60.0, 4.0),
}
SHORTER = {"dct": 40.5, "hadamard": 34.1}  # pre-trained for a third, with one seed
SCRATCH = ("attention", "fft_real")
EPOCHS, EXAMPLES, LENGTH = 9, 512, 64
ROWS = {"glue:sst2": 600, "glue:cola": 300, "glue:mrpc": 300, "glue:stsb": 200, PRETRAIN: 400}


def make_trial(kind: str, mixer: str, dataset: str = PRETRAIN, **changes) -> Trial:
    values = {"kind": kind, "mixer": mixer, "dataset": dataset, "length": LENGTH, "dim": 128, "depth": 2}
    values |= {"norm": "token", "coordinates": False, "positions": "learned", "tokenizer": "bytes"}
    if dataset == PRETRAIN:
        values |= {"corpus": "wikipedia", "dataset_source": SOURCE}
    if kind == "accuracy":
        values |= {"lr": 0.002, "weight_decay": 0.01, "batch_size": 32, "augment": "none", "schedule": "linear"}
        values |= {"epochs": EPOCHS, "train_images": EXAMPLES} if dataset == PRETRAIN else {"epochs": 3}
    else:
        values |= {"rounds": ROUNDS, "batch_size": 32, "compiled": False}
    return Trial(**(values | changes))


def answers_of(folder: Path, trial: Trial, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels with that share of right ones, or that correlation; the labels are kept in the folder."""
    rows, labels_draw = ROWS[trial.dataset], np.random.default_rng(len(trial.dataset))
    draw = np.random.default_rng([trial.seed, *trial.mixer.encode(), int(1000 * abs(right))])
    if trial.dataset == "glue:stsb":
        labels = labels_draw.integers(0, 26, rows).astype(np.float32) / 5
        noise = draw.normal(size=rows) * labels.std()
        predicted = (right * (labels - labels.mean()) + np.sqrt(1 - right**2) * noise).astype(np.float32)
    elif trial.dataset == PRETRAIN:
        labels = labels_draw.integers(5, 261, (rows, 9)).astype(np.uint16)
        predicted = np.where(draw.random(labels.shape) < right, labels, 5 + (labels - 4) % 256).astype(np.uint16)
    else:
        labels = (labels_draw.random(rows) < 0.68).astype(np.uint8)
        predicted = np.where(draw.random(rows) < right, labels, 1 - labels).astype(np.uint8)
    path = labels_file(folder, trial.to_dict())
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, labels)
    return predicted, labels


def scores_of(trial: Trial, predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    if trial.dataset == "glue:stsb":
        found = {"test_spearman": scipy.stats.spearmanr(predicted, labels).statistic}
        found["test_pearson"] = scipy.stats.pearsonr(predicted, labels).statistic
        return {name: 100 * float(value) for name, value in found.items()}
    found = {"test_top1_percent": 100 * float((predicted == labels).mean())}
    if trial.dataset == PRETRAIN:
        return found | {"baseline_frequencies_percent": 17.0, "baseline_frequencies_loss": 3.0,
                        "baseline_own_place_percent": 23.6, "baseline_own_place_loss": 2.9}  # fmt: skip
    found["baseline_majority_percent"] = 100 * float(labels.mean())
    if trial.dataset == "glue:cola":
        found["test_matthews"] = 100 * float(np.corrcoef(predicted, labels)[0, 1]) if np.ptp(predicted) else 0.0
    if trial.dataset == "glue:mrpc":
        found["baseline_bag_of_words_f1"] = 81.5
        hits = int(((predicted == 1) & (labels == 1)).sum())
        found["test_f1"] = 100 * 2 * hits / int((predicted == 1).sum() + (labels == 1).sum())
    return found


def save_run(folder: Path, trial: Trial, right: float, seconds: float, **more: float):
    """A trained net; `seconds` of an epoch."""
    predicted, labels = answers_of(folder, trial, right)
    if trial.dataset in ("glue:cola", "glue:mrpc"):
        predicted[:] = 1
        predicted[np.random.default_rng(trial.seed).permutation(len(predicted))[:6]] = 0
    metrics = scores_of(trial, predicted, labels) | more | {"params": 340_000, "train_s": seconds * trial.epochs}
    metrics["train_images_per_s"] = EXAMPLES / seconds
    late = 3 if trial.mixer == "attention" else 0  # a plateau
    history = [
        {"epoch": e + 1, "seconds": seconds, "train_loss": 3 / (e + 1), "val_loss": 2.5, "val_order_percent": 50.0 + e,
         "val_top1_percent": 18 + (100 * right - 18) * (1 - 0.6 ** max(0, e + 1 - late)) / (1 - 0.6 ** (EPOCHS - late))}
        for e in range(trial.epochs)
    ]  # fmt: skip
    if trial.dataset == "glue:stsb":
        history = [{name: value for name, value in row.items() if "val_" not in name} for row in history]
    else:
        metrics["val_top1_percent"] = history[-1]["val_top1_percent"]
    record = save(folder, trial, metrics, history)
    np.save(folder / "records" / f"accuracy-{record.id}.npy", predicted)
    return record


def save_latency(folder: Path, mixer: str, milliseconds: float, length: int) -> None:
    trial = make_trial("latency", mixer, length=length)
    draw = random.Random(f"{mixer}{length}")
    history = []
    for r in range(ROUNDS):
        both = milliseconds * length / LENGTH * draw.uniform(0.97, 1.03)
        history.append({"round": r, "forward_ms": both / 3, "forward_backward_ms": both, "mixer_forward_ms": both / 9,
                        "mixer_forward_backward_ms": both / 4, "copy_ms": 0.1})  # fmt: skip
    metrics = {name: statistics.median(row[name] for row in history) for name in history[0] if name != "round"}
    metrics |= {"copy_ratio": 30.0, "drift_ratio": 1.0, "images_per_s": 32_000 / metrics["forward_ms"]}
    metrics |= {"train_step_images_per_s": 32_000 / metrics["forward_backward_ms"], "peak_memory_bytes": 30_000_000}
    save(folder, trial, metrics, history)


def fill_text(folder: Path, tasks: bool = True) -> Path:
    for mixer, (masked, milliseconds, sst2, stsb) in ENCODERS.items():
        for length in (LENGTH, 512, 1024):
            save_latency(folder, mixer, milliseconds, length)
        for seed in range(3):
            shift = (seed - 1) * 0.2
            order = {"test_loss": 4.2 - masked / 20, "test_order_percent": 50 + masked / 4 + shift}
            start = save_run(folder, make_trial("accuracy", mixer, seed=seed), (masked + shift) / 100,
                             milliseconds / 62.5, **order)  # fmt: skip
            values = {"glue:sst2": sst2, "glue:cola": 68.0, "glue:mrpc": 68.0, "glue:stsb": stsb} if tasks else {}
            for dataset, value in values.items():
                trial = make_trial("accuracy", mixer, dataset, seed=seed, pretrained=start.id)
                save_run(folder, trial, (value + shift) / 100, 3.0)
                if mixer in SCRATCH:
                    trial = make_trial("accuracy", mixer, dataset, seed=seed)
                    save_run(folder, trial, (0.8 * value + 8) / 100, 3.0)
    for mixer, masked in SHORTER.items():
        save_run(folder, make_trial("accuracy", mixer, epochs=3), masked / 100, 1.0, test_loss=2.5,
                 test_order_percent=55.0)  # fmt: skip
    return folder
