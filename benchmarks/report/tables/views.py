"""What the tables of a group look like to people: title, columns, formats and note of each, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import pandas as pd

from benchmarks.contract.choices.tuning import CLEARLY_BETTER
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.contract.trial import FACTS
from benchmarks.report import baselines
from benchmarks.report.alike import COMPARED, TRAINED_ALIKE
from benchmarks.report.frame import plain, without_usual
from benchmarks.report.sizes import extent_of, worded
from benchmarks.report.stats.paired import SIGNIFICANT
from benchmarks.report.stats.pooled import EFFECTS
from benchmarks.report.tables.summary import SCORES
from benchmarks.report.tables.view import (
    NUMBER,
    SETTING,
    TEXT,
    Column,
    Row,
    Show,
    View,
    accuracy,
    against_attention,
    between,
    both_seeds,
    chance,
    counted_flops,
    difference_ends,
    joined,
    known,
    latency_status,
    resampled,
    score,
    shown,
    status_text,
    trouble,
    verdict_text,
    with_range,
)
from benchmarks.report.wording import NOTHING, count, p_text, percent, short, signed, significant

Columns = dict[str, Show]  # by header
HEADINGS = {name: facts.heading for name, facts in FACTS.items() if facts.heading}
HEADINGS |= {"image_sizes_px": "sizes (px)", "patch_sizes_px": "patches (px)", "lengths": "lengths (tokens)"}
SAME_TIMED = ["mixer", "label", "family", "tokens", "batch_size", "mixer_source", *COMPARED, "processor"]
OF_TOP1 = (  # columns of a summary
    *("test top-1 (%)", "95 % over seeds and images", "seed noise (sd)", "test-set noise (sd)", "test top-5 (%)"),
)
SAME_COMPILED = ("tokens", "batch", "moves (MB)", "FLOPs", "drift")  # columns that compiling does not change
FILES_ALONE = ("choice",)  # columns that the page leaves out
OVER_SITTINGS = (
    "95 % interval over sittings; of fewer than three sittings over their rounds, which says nothing of another hour"
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Of one table: its title, the setting fields that may be columns, columns of text and of numbers, and a note."""

    title: str
    fields: Sequence[str]
    texts: Columns
    numbers: Columns
    note: str


def view_of(name: str, table: pd.DataFrame, source: str = "") -> View:
    """What LAYOUTS says of the table with this name, in the words for its examples and with the fields that it has.

    A field that is the same in all rows is no column: `shared` says it.
    """
    extent, known_fields, layout = extent_of(table), without_usual(table), LAYOUTS[name]
    texts, numbers, note = layout.texts, dict(layout.numbers), worded(layout.note, extent)
    if "standing" in table:
        texts = texts | {"against its baselines": lambda row: row["standing"] or ""}
        numbers |= {f"{baselines.COLUMNS[c]} (%)": shown(c, percent) for c in baselines.known_columns(table)}
        note = f"{note} {worded(baselines.NOTE, extent)}"
    if name == "summary":
        numbers, note = with_scores(numbers, note, table)
    fields = [field for field in layout.fields if field in known_fields]
    varying = [field for field in fields if table[field].map(str).nunique() > 1]
    shared = [
        f"{worded(HEADINGS.get(f, f.replace('_', ' ')), extent)} {short(table[f].iloc[0])}"
        for f in fields
        if f not in varying and plain(table[f].iloc[0]) is not None
    ]
    columns = [
        *(Column(header, show, TEXT, header not in FILES_ALONE) for header, show in texts.items()),
        *(Column(worded(HEADINGS.get(f, f), extent), known(f, "{}", short), SETTING) for f in varying),
        *(Column(worded(header, extent), show) for header, show in numbers.items()),
    ]
    rows = [{str(k): plain(v) for k, v in row.items()} for row in table.to_dict("records")]
    said = f"All rows: {'; '.join(shared)}." if shared else ""
    return View(worded(layout.title, extent), source, said, note, columns, rows)


def with_scores(numbers: Columns, note: str, table: pd.DataFrame) -> tuple[Columns, str]:
    """Columns and note of a summary with the scores that only some tasks have; of a task without top-1 in its place."""
    scores = {METRICS[name].label: score(name) for name in SCORES if f"{name}_mean" in table}
    if not scores:
        return numbers, note
    told = "Scores in points of 100 are means over seeds ± half of their 95 % Student-t interval."
    if table["test_top1_percent_mean"].map(plain).notna().any():
        return numbers | scores, f"{note} {told}"
    return scores | {header: show for header, show in numbers.items() if header not in OF_TOP1}, told


def beside_compiled(view: View) -> View:
    """A view of latencies with eager and compiled times of one setting in one row; as it is where all are alike.

    What was only measured compiled is a row whose eager cells are empty.
    """
    if len({row["compiled"] for row in view.rows} - {None}) < 2:
        return view
    columns = []
    for column in view.columns:
        if column.kind == SETTING and column.header == HEADINGS.get("compiled", "compiled"):
            continue
        columns.append(column)
        if column.kind == NUMBER and column.header not in SAME_COMPILED:
            columns.append(Column(f"compiled: {column.header}", partial(_compiled, column.show)))
    return dataclasses.replace(view, columns=columns, rows=_joined_rows(view.rows))


def _joined_rows(rows: Sequence[Row]) -> list[Row]:
    """An eager row holds the compiled one of its setting as `beside`."""
    joined: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: bool(row["compiled"])):
        key = tuple(row[name] for name in SAME_TIMED)
        if not row["compiled"]:
            joined[key] = {**row, "beside": None}
        else:
            empty = {name: value if name in SAME_TIMED else None for name, value in row.items()}
            joined.setdefault(key, empty)["beside"] = row
    places = {tuple(row[name] for name in SAME_TIMED): place for place, row in reversed(list(enumerate(rows)))}
    return [joined[key] for key in sorted(joined, key=places.__getitem__)]


def _compiled(show: Show, row: Row) -> str:
    return NOTHING if row["beside"] is None else show(row["beside"])


MIXER: Columns = {"mixer": itemgetter("label"), "family": itemgetter("family")}
LAYOUTS = {
    "summary": Layout(
        "Accuracy and cost",
        [*TRAINED_ALIKE, "lr", "weight_decay"],
        MIXER | {"failed": trouble},
        {
            "test top-1 (%)": accuracy("test_top1_percent"),
            "95 % over seeds and images": resampled,
            "seed noise (sd)": known("seed_sd_points", "{:.2f}"),
            "test-set noise (sd)": known("test_sd_points", "{:.2f}"),
            "test top-5 (%)": shown("test_top5_percent_mean", percent),
            "parameters": shown("params", count),
            "FLOPs": joined("flops", "cost_status", count),
            "FLOPs executed": joined("flops_executed", "cost_status", count),
            "forward (ms/image)": joined("net_forward_ms_per_image", "latency_status", significant),
            "forward + backward (ms/image)": joined("net_forward_backward_ms_per_image", "latency_status", significant),
            "images/s": joined("images_per_s", "latency_status"),
            "peak memory (MB)": joined("peak_memory_bytes", "latency_status"),
            "mixer over copy": joined("copy_ratio", "latency_status"),
        },
        "Top-1 is the mean over seeds ± half of its 95 % Student-t interval, the number of seeds in parentheses; "
        "one seed has no interval. The interval over seeds and images counts other test images as well, and a spread "
        "over seeds of at least the one pooled over all mixers trained alike. Noise: how much one run's top-1 varies, "
        "in points, by its seed (0 where chance "
        "over the images explains all of it) and by the choice of test images. Times, throughput and memory are of the "
        "whole net, from the latency sweep; images/s is forward only.",
    ),
    "differences": Layout(
        "Mixers compared, image by image",
        TRAINED_ALIKE,
        {
            "mixer": itemgetter("label"),
            "against": itemgetter("reference"),
            "verdict": verdict_text,
        },
        {
            "difference (points)": shown("difference_points", signed),
            "95 % interval": difference_ends,
            "seeds": both_seeds,
            "chance to be better": chance,
            "p": shown("p_value", p_text),
            "p, Holm": shown("holm_p", p_text),
            "seed noise (sd)": known("seed_sd_points", "{:.2f}"),
            "test-set noise (sd)": known("test_sd_points", "{:.2f}"),
        },
        "Difference: test top-1 of the mixer less that of the one it is held against, each with all of its seeds (two "
        "numbers where they differ), on the same test images. Its interval has the spread over seeds, of each mixer "
        "its own or that pooled over all mixers trained alike, whichever is larger, by Student's t (Welch), and what "
        "other test images would change; with a star, seeds alone, since predictions are missing. Chance to be better: "
        "share of pairs of one run of each that the mixer wins. p: one less the confidence at which the interval just "
        "reaches 0, and the same with Holm's correction for the number of mixers held against the same one. Verdict: "
        f"higher or lower where the interval leaves out 0 and the corrected p is under {SIGNIFICANT}; likely where "
        "only the interval says so; else too few to tell. Noise: how much the difference of two single runs varies, in "
        "points, by the seeds and by the choice of test images.",
    ),
    "effects": Layout(
        "Effects over all mixers",
        [name for name in TRAINED_ALIKE if name not in EFFECTS],
        {"what": lambda row: row["field"].replace("_", " "), "effect": itemgetter("effect")},
        {
            "mixers": shown("mixers", str),
            "seeds": itemgetter("seeds"),
            "effect (points)": shown("effect_points", signed),
            "95 % interval": between("effect_points", 1),
            "p": shown("p_value", p_text),
            "between mixers (sd)": known("tau_points", "{:.2f}"),
            "I2": known("i2_percent", "{:.0f} %"),
            "a further mixer": between("predicted_points", 1),
        },
        "One ablation, pooled over the mixers that have three seeds or more on both sides: a random-effects mean of "
        "test top-1 in points (Paule and Mandel), its interval by Hartung and Knapp, the test images that all mixers "
        "share counted once. Between mixers: the standard deviation of the true effects; I2: the share of the spread "
        "that the mixers' own errors do not explain; a further mixer: where its effect is expected, at 95 %. The p "
        "values are not corrected for their number.",
    ),
    "decomposition": Layout(
        "What accuracy varies by: patch size or mixer",
        [name for name in TRAINED_ALIKE if name != "patch_size"] + ["patch_sizes_px"],
        {"mixers": lambda row: "all" if row["without"] is None else f"without {row['without']}"},
        {
            "number": shown("mixers", str),
            "seeds": itemgetter("seeds"),
            "patch size": known("patch_percent", "{:.0f} %"),
            "mixer": known("mixer_percent", "{:.0f} %"),
            "which mixer at which patch": known("both_percent", "{:.0f} %"),
            "mixer less patch": lambda row: f"{signed(row['mixer_less_patch_percent'], 0)} %",
            "95 % interval": between("mixer_less_patch_percent", 0, " %"),
            "between cells (sd)": known("cells_sd_points", "{:.2f}"),
            "noise of a cell (sd)": known("noise_sd_points", "{:.2f}"),
        },
        "Shares of the variance of test top-1 between the cells mixer x patch size, by a two-way analysis of variance "
        "with what the seeds add to each part taken out, once for all mixers and once without each of them: a share "
        "that moves with one mixer rests on it. Mixer less patch: one share less the other, its interval over seeds "
        "and test images. Standard deviations in points.",
    ),
    "tuning": Layout(
        "Tuning",
        [name for name in TRAINED_ALIKE if name != "weight_decay"],
        MIXER | {"status": status_text, "choice": lambda row: row["choice"] or ""},
        {
            "learning rate": shown("lr", "{:g}".format),
            "weight decay": shown("weight_decay", "{:g}".format),
            "held-out top-1 (%)": shown("val_top1_percent", percent),
            "seeds": shown("n", str),
            "training time (s)": shown("train_s", significant),
        },
        "The same sweep for every mixer: the two middle learning rates at the first weight decay, on past the better "
        "one until it stands between two that are worse, then the other weight decays at the best rate. Chosen is the "
        "best rate by top-1 on images held out from the training split; another weight decay only where it is better "
        f"by {CLEARLY_BETTER:g} point, since one seed cannot tell less. No tuning run reads the test split. Where the "
        "choice is the lowest or highest rate tried, a wider sweep might choose otherwise.",
    ),
    "latency": Layout(
        "Latency",
        [*COMPARED, "compiled", "processor"],
        MIXER | {"status": latency_status},
        {
            "tokens": shown("tokens", "{:,}".format),
            "batch": known("batch_size", "{:,}"),
            "moves (MB)": shown("mixer_bytes"),
            "FLOPs": shown("mixer_batch_flops", count),
            "copy (ms)": shown("copy_ms", significant),
            "floor (ms)": shown("floor_ms", significant),
            "mixer fwd (ms)": shown("mixer_forward_ms", significant),
            "mixer fwd + bwd (ms)": shown("mixer_forward_backward_ms", significant),
            "net fwd (ms)": shown("net_forward_ms", significant),
            "net fwd (ms/image)": shown("net_forward_ms_per_image", significant),
            "net fwd + bwd (ms)": shown("net_forward_backward_ms", significant),
            "mixer fwd over copy": with_range("mixer_forward_over_copy"),
            "mixer fwd over floor": with_range("mixer_forward_over_floor"),
            "mixer fwd over attention": against_attention("mixer_forward_over_attention"),
            "net fwd over attention": against_attention("net_forward_over_attention"),
            "net fwd + bwd over attention": against_attention("net_forward_backward_over_attention"),
            "peak memory (MB)": shown("peak_memory_bytes"),
            "drift": shown("drift_ratio"),
            "sittings": known("sittings", "{}"),
        },
        "Times are medians over rounds, per batch unless it says per image. Ratios are taken within each round, per "
        f"image; shown is their geometric mean, over the rounds of a sitting and then over sittings ({OVER_SITTINGS}). "
        "A mixer moves its input, output and parameters once each; its "
        "FLOPs are the algorithm's, per batch. Its floor is the longer of the time for these bytes at the bandwidth of "
        "the copy of its input and the time for these FLOPs at the rate of one large matrix product, both of the same "
        "round; a mixer that returns its input has none. † attention was timed at another time, so machine drift is "
        "part of this ratio.",
    ),
    "scaling": Layout(
        "Scaling with image size",
        [name for name in COMPARED if name not in ("image_size", "length")]
        + ["compiled", "processor", "image_sizes_px", "lengths"],
        MIXER,
        {
            "exponent, mixer fwd": with_range("mixer_forward_exponent"),
            "exponent, mixer fwd + bwd": with_range("mixer_forward_backward_exponent"),
            "exponent, net fwd": with_range("net_forward_exponent"),
            "exponent, net fwd + bwd": with_range("net_forward_backward_exponent"),
            "mixer fwd overtakes attention": known("mixer_forward_overtakes_attention", "{}"),
            "net fwd overtakes attention": known("net_forward_overtakes_attention", "{}"),
            "net fwd + bwd overtakes attention": known("net_forward_backward_overtakes_attention", "{}"),
        },
        "The exponent is the slope of log latency per image over log tokens, by least squares in each round, without "
        "sizes of fewer than three rounds; shown is its mean, over the rounds of a sitting and then over sittings "
        f"({OVER_SITTINGS}). Overtaking is judged by the within-round ratio that latency.md shows, interpolated "
        "between measured token counts; it is settled from three sittings on.",
    ),
    "cost": Layout(
        "Parameters, FLOPs and memory",
        COMPARED,
        MIXER | {"status": status_text},
        {
            "tokens": shown("tokens", "{:,}".format),
            "parameters": shown("params", count),
            "of the mixers": shown("mixer_params", count),
            "FLOPs": shown("flops", count),
            "FLOPs of the mixers": shown("mixer_flops", count),
            "FLOPs executed": shown("flops_executed", count),
            "FLOPs counted": counted_flops,
            "batch": known("batch_size", "{:,}"),
            "peak, forward (MB)": shown("forward_peak_bytes"),
            "peak, training step (MB)": shown("train_peak_bytes"),
        },
        "FLOPs are of one forward pass of one image; peaks are of one batch.",
    ),
    "failures": Layout(
        "What failed",
        [*COMPARED, "seed", "compiled", "epochs"],
        {"kind": itemgetter("kind")} | MIXER | {"status": status_text},
        {"record": lambda row: f"{row['kind']}-{row['id']}"},
        "",
    ),
}
