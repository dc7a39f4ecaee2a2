"""Figures of all published records but the comparison on CIFAR-100: sequences, text, GPUs, speed, reliability."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from published import PUBLISHED, TABLES, code, named, read, spread, table


def _encoders() -> list[list[str]]:
    """Of the encoders that were pre-trained on a GPU: masked accuracy, and speed in training."""
    found = []
    for path in (PUBLISHED / "text-h200" / "records").glob("accuracy-*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["trial"]["dataset"] == "pretrain":
            name = {"conv1x1": "ff_only"}.get(record["trial"]["mixer"], record["trial"]["mixer"])
            speed = record["metrics"]["train_images_per_s"] * record["trial"]["length"] / 1e6
            found.append((record["metrics"]["test_top1_percent"], f"`{name}`", f"{speed:.2f}"))
    return [[name, f"{masked:.1f}", speed] for masked, name, speed in sorted(found, reverse=True)]


def _own() -> list[list[str]]:
    """Reading one's own images, as JPEGs."""
    both = [read(f"reliability/own-data-speed{which}.json") for which in ("", "-1500")]
    assert {(found["side"], found["cpu"]) for found in both} == {(256, "AMD EPYC")}
    return [
        [
            f"{found['jpegs']:,}",
            f"{found['own_ratio']:.0f} times, {found['streamed_ratio']:.0f} times as long",
            f"{found['own_data_percent']:.1f} %, {found['streamed_data_percent']:.1f} %",
            f"{found['decode_s']:.2g} s",
            f"{found['peak_bytes'] / 1e9:.1f} GB",
        ]
        for found in both
    ]


TABLES |= {"encoders": _encoders, "own": _own}


@named
def transforms(what: str) -> str:
    return str(len(list((PUBLISHED / "transforms" / "transforms" / "records").glob("*.json"))))


@named
def solve(dataset: str) -> str:
    rows = table("sequences-cpu/tables/sequences-quick/abilities.csv")
    return code(rows[(rows["dataset"] == dataset) & (rows["standing"] == "solved")]["label"], "and")


@named
def able(what: str, mixer: str = "") -> str:
    """Of a task on sequences the mean of a mixer, or how many solve it; of "mixers" their number."""
    rows = table("sequences-cpu/tables/sequences-quick/abilities.csv")
    if what == "mixers":
        return str(rows["label"].nunique())
    mine = rows[rows["dataset"] == what]
    if not mixer:
        return str(int((mine["standing"] == "solved").sum()))
    return f"{mine.set_index('label').loc[mixer, 'test_top1_percent_mean']:.1f}"


@named
def longer(dataset: str, mixer: str) -> str:
    """Held out, of the run with three times the usual epochs."""
    rows = table(f"sequences-cpu/tables/{dataset}-quick/tuning.csv")
    (found,) = rows[(rows["label"] == mixer) & (rows["epochs"] == 9)]["val_top1_percent"]
    return f"{float(found):.1f}"


@named
def rate(dataset: str, mixer: str, lr: str) -> str:
    """Held out, of every seed that was trained at a rate, the highest first: "100, 52 and 28"."""
    values = []
    for path in _sequences("tuning"):
        record = json.loads(path.read_text(encoding="utf-8"))
        trial = record["trial"]
        if (trial["dataset"], trial["mixer"], trial["lr"], trial["epochs"]) == (dataset, mixer, float(lr), 3):
            values.append(record["metrics"]["val_top1_percent"])
    *first, last = [f"{value:.0f}" for value in sorted(values, reverse=True)]
    return " and ".join([*([", ".join(first)] if first else []), last])


@named
def imdb(what: str) -> str:
    """The one run of a mixer, or what a predictor without a net reaches."""
    rows = table("sequences-cpu/tables/imdb-quick/summary.csv").set_index("label")
    return f"{float(rows[what].iloc[0] if what in rows else rows.loc[what, 'test_top1_percent_mean']):.1f}"


@named
def listops(what: str) -> str:
    """Mean of a mixer in the main setting, or of what a predictor without a net reaches."""
    rows = table("sequences-cpu/tables/listops-quick/summary.csv")
    rows = rows[rows["n"] >= 3].set_index("label")
    return f"{rows[what].iloc[0] if what in rows else rows.loc[what, 'test_top1_percent_mean']:.1f}"


@named
def padded(mixer: str, length: str) -> str:
    """On ListOps, of the one net that is longer than its sequences."""
    records = map(json.loads, (path.read_text(encoding="utf-8") for path in _sequences("accuracy")))
    same = {"dataset": "listops", "mixer": mixer, "padded_length": int(length)}
    (found,) = [r["metrics"]["test_top1_percent"] for r in records if same.items() <= r["trial"].items()]
    return f"{found:.1f}"


@named
def loss(mixer: str, length: str) -> str:
    """On ListOps, what a longer net loses against the same seed of the usual one, in points."""
    rows = table("sequences-cpu/tables/listops-quick/padding.csv")
    (found,) = rows[(rows["label"] == mixer) & (rows["padded_length"] == float(length))]["difference_points"]
    return f"{-found:.1f}"


def _sequences(kind: str) -> Iterable[Path]:
    return (PUBLISHED / "sequences-cpu" / "records").glob(f"{kind}-*.json")


@named
def seqtime(mixer: str, length: str) -> str:
    rows = table("sequences-cpu/tables/recall-quick/latency.csv")
    (found,) = rows[(rows["label"] == mixer) & (rows["length"] == length)]["net_forward_backward_over_attention"]
    return f"{found:.2f}"


@named
def small(encoder: str) -> str:
    rows = table("text-small/tables/text-quick/pretraining.csv").drop_duplicates("label").set_index("label")
    return f"{rows.loc[encoder, 'score_mean']:.1f}"


@named
def baseline(name: str) -> str:
    """Of masked bytes in the small form of text."""
    for path in (PUBLISHED / "text-small" / "records").glob("accuracy-*.json"):
        metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        if f"baseline_{name}_percent" in metrics:
            return f"{metrics[f'baseline_{name}_percent']:.0f}"
    raise KeyError(name)


@named
def h100(what: str) -> str:
    rows = table("h100/tables/cifar100-full/summary.csv").dropna(subset="test_top1_percent_mean").set_index("label")
    means = rows["test_top1_percent_mean"]
    return f"{means['conv1x1']:.1f}" if what == "conv1x1" else spread(means.drop("conv1x1"), 1)


@named
def h100time(mixer: str) -> str:
    rows = table("h100/tables/cifar100-full/latency.csv")
    (found,) = rows[(rows["label"] == mixer) & (rows["tokens"] == 64)]["net_forward_ms"]
    return f"{found:.2f}"


def _copies() -> list[dict[str, Any]]:
    return [
        r for step in read("h100/gpu-check/gpu-check.json")["steps"].values() for r in step["rows"] if "copy_ratio" in r
    ]


@named
def copy(mixers: str) -> str:
    return spread([r["copy_ratio"] for r in _copies() if r["mixer"] in mixers.split(",")], 2)


@named
def over(_: str) -> str:
    return spread([r["ratio"] for r in _copies() if r.get("ratio")], 2)


# -- speed


def _naive() -> list[dict[str, Any]]:
    return [r for r in read("cifar100-cpu/speed.json")["naive_forms"] if r.get("ratio")]


@named
def naive(mixer: str = "", size: str = "") -> str:
    if not mixer:
        return spread([r["ratio"] for r in _naive()], 2)
    (found,) = [r for r in _naive() if (r["mixer"], str(r["image_size"])) == (mixer, size)]
    return f"{found['ratio']:.2f} ({found['ratio_low']:.2f} to {found['ratio_high']:.2f})"


@named
def rfft2(size: str) -> str:
    (found,) = [r["form_ms"] for r in _naive() if (r["mixer"], str(r["image_size"])) == ("dct", size)]
    return f"{found['rfft2 alone'] / found['matrix products']:.2f}"


@named
def loop() -> str:
    return spread(
        [r["ratio"] for r in read("cifar100-cpu/speed.json")["comparisons"] if r["what"] == "training loop"], 2
    )


@named
def overhead() -> str:
    rows = read("cifar100-cpu/speed.json")["comparisons"]
    return f"{100 * max(r['ratio'] for r in rows if r['what'].startswith('step outside')):.1f}"


@named
def peer(mixer: str, beside: str) -> str:
    rows = read("peers-cpu/peers.json")["comparisons"]
    return spread(
        [r["ratio"] for r in rows if r["what"] == mixer and beside in r["beside"] and r["mode"] == "forward"], 2
    )


# -- reliability


@named
def value(path: str, keys: str, form: str = ",") -> str:
    """Of a JSON file under results/published: of parts by name their sum, of several runs their median."""
    found = read(f"{path}.json")
    for key in keys.split("."):
        found = found[key]
    if isinstance(found, dict | list):
        found = sum(found.values()) if isinstance(found, dict) else sorted(found)[len(found) // 2]
    return format(found, form)


@named
def gigabytes(path: str, key: str) -> str:
    return f"{max(read(f'{path}.json')[key]) / 1e9:.2f}"


@named
def disk() -> str:
    return str(sum(case["exit_code"] != 0 for case in read("reliability/kills.json")["full_disk"]["cases"]))
