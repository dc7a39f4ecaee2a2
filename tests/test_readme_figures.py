"""The README's table of accuracies, and what docs/data.md says of speed, are those of the published records."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "results" / "published" / "cifar100-cpu" / "tables" / "cifar100-quick"
HEADER = "| mixer | test top-1 (%) | difference from attention (points) |"
SETTING = {
    "image_size_px": "32",
    "patch_size_px": 4,
    "epochs": 5,
    "match": "width",
    "norm": "image",
    "coordinates": True,
}


def published(name: str) -> pd.DataFrame:
    table = pd.read_csv(TABLES / f"{name}.csv", dtype={"image_size_px": str})
    for column, value in SETTING.items():
        table = table[table[column] == value]
    return table


def readme_rows() -> list[list[str]]:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").partition(HEADER)[2].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_table_of_accuracies_is_that_of_the_records():
    summary = published("summary").set_index("label")
    differences = published("differences").query("reference == 'attention'").set_index("label")
    rows = readme_rows()
    labels = [mixer.split("`")[1] for mixer, _, _ in rows]
    means = summary["test_top1_percent_mean"]
    assert labels == list(means[summary["n"] >= 3].sort_values(ascending=False).index)
    for label, (mixer, top1, difference) in zip(labels, rows, strict=True):
        found = summary.loc[label]
        assert ("*" in mixer) == (found["n"] == 3) and found["n"] in (3, 8)
        half = found["test_top1_percent_high"] - found["test_top1_percent_mean"]
        assert top1 == f"{found['test_top1_percent_mean']:.1f} ± {half:.1f}"
        if label != "attention":
            numbers = [float(word.strip("()")) for word in difference.split() if word != "to"]
            names = ("difference_points", "difference_points_low", "difference_points_high")
            assert numbers == pytest.approx([differences.loc[label, name] for name in names], abs=0.051)


@pytest.mark.parametrize(("jpegs", "name"), [("20,000", "own-data-speed"), ("1,500", "own-data-speed-1500")])
def test_what_reading_images_costs_is_what_was_measured(jpegs, name):
    folder = ROOT / "results" / "published" / "reliability"
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    lines = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").splitlines()
    (row,) = (line.strip("| ").split(" | ") for line in lines if line.startswith(f"| {jpegs} |"))
    assert row == [
        f"{found['jpegs']:,}",
        f"{found['own_ratio']:.0f} times, {found['streamed_ratio']:.0f} times as long",
        f"{found['own_data_percent']:.1f} %, {found['streamed_data_percent']:.1f} %",
        f"{found['decode_s']:.2g} s",
        f"{found['peak_bytes'] / 1e9:.1f} GB",
    ]
    assert (found["side"], found["cpu"]) == (256, "AMD EPYC")
    assert f"reliability/{name}.md" in (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_line_of_the_readme_on_reading_images_is_what_was_measured():
    path = ROOT / "results" / "published" / "reliability" / "own-data-speed.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("- Your own images: "))
    assert line == (
        f"- Your own images: {found['jpegs']:,} JPEGs of {found['side']} px are decoded once in "
        f"{found['decode_s']:.2g} s on two cores; then data take {found['own_data_percent']:.1f} % of a training step"
    )


def test_the_table_of_encoders_on_a_gpu_is_that_of_the_records():
    text = (ROOT / "docs" / "text.md").read_text(encoding="utf-8")
    lines = text.partition("| million tokens/s in training |")[2].splitlines()
    rows = {row[0].strip("`"): row[1:] for row in (line.strip("| ").split(" | ") for line in lines[2:12])}
    found = {}
    for path in (ROOT / "results" / "published" / "text-h200" / "records").glob("accuracy-*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["trial"]["dataset"] == "pretrain":
            name = {"conv1x1": "ff_only"}.get(record["trial"]["mixer"], record["trial"]["mixer"])
            seen, metrics = record["trial"]["length"], record["metrics"]
            speed = metrics["train_images_per_s"] * seen / 1e6
            found[name] = [f"{metrics['test_top1_percent']:.1f}", f"{speed:.2f}"]
    assert rows == found
