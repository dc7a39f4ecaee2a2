"""Tables as files: CSV in full precision for programs, Markdown for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.choices.tuning import CLEARLY_BETTER
from benchmarks.contract.metrics import METRICS
from benchmarks.contract.trial import FACTS
from benchmarks.report import baselines
from benchmarks.report.alike import ACCURACY_SETTING, COMPARED, TRAINED_ALIKE
from benchmarks.report.baselines import with_standing
from benchmarks.report.frame import CSV_NAMES, plain, without_usual
from benchmarks.report.output import csv_text, write_texts
from benchmarks.report.sizes import extent_of, worded
from benchmarks.report.stats import processors
from benchmarks.report.stats.decomposition import decomposition_table
from benchmarks.report.stats.paired import OVER_BOTH, SIGNIFICANT, Sample, accuracy_intervals, paired_table
from benchmarks.report.stats.pooled import EFFECTS, effects_table
from benchmarks.report.tables.cost import cost_table, failures_table
from benchmarks.report.tables.latency import latency_table, scaling_table
from benchmarks.report.tables.summary import SCORES, summary_table, with_intervals
from benchmarks.report.tables.tuning import tuning_table
from benchmarks.report.wording import (
    NOTHING,
    accuracy_text,
    clean,
    count,
    listing,
    markdown,
    markdown_table,
    mean_text,
    metric,
    p_text,
    percent,
    percent_within,
    ranged,
    short,
    signed,
    significant,
    span_of,
)

Row = dict[str, Any]
Cell = Callable[[Row], str]
ViewFacts = tuple[str, Sequence[str], dict[str, Cell], dict[str, Cell], str]
WORDS = {name: facts.heading for name, facts in FACTS.items() if facts.heading}
WORDS |= {"image_sizes_px": "sizes (px)", "patch_sizes_px": "patches (px)", "lengths": "lengths (tokens)"}
SAME_TIMED = [
    "mixer",
    "label",
    "family",
    "tokens",
    "batch_size",
    "mixer_source",
    *COMPARED,
    "processor",
]  # eager beside compiled
OF_TOP1 = (
    "test top-1 (%)",
    "95 % over seeds and images",
    "seed noise (sd)",
    "test-set noise (sd)",
    "test top-5 (%)",
)  # columns of a summary
SAME_COMPILED = ("tokens", "batch", "moves (MB)", "FLOPs", "drift")  # columns that compiling does not change
OVER_SITTINGS = (
    "95 % interval over sittings; of fewer than three sittings over their rounds, which says nothing of another hour"
)
WRONG = {"oom": "out of memory"}  # statuses that a reader may not know


def table_files(frame: pd.DataFrame, folder: Path, sample: Sample) -> tuple[dict[str, pd.DataFrame], list[Path]]:
    """Writes all tables of one group into `folder`.

    Args:
        frame: the group's records.
        folder: where the files go.
        sample: of these records.

    Returns:
        The tables by name, those without rows included, and the paths written.
    """
    latency = latency_table(frame)
    tables = {
        "summary": with_standing(with_intervals(summary_table(frame), accuracy_intervals(sample))),
        "differences": paired_table(sample),
        "effects": effects_table(sample),
        "decomposition": decomposition_table(sample),
        "tuning": tuning_table(frame),
        "latency": latency,
        "scaling": scaling_table(latency, frame),
        "cost": cost_table(frame),
        "failures": failures_table(frame),
    }
    paths = []
    for name, table in tables.items():
        if table.empty:
            continue
        numbers = csv_text(without_usual(table).rename(columns=CSV_NAMES))
        paths += write_texts(folder, {f"{name}.csv": numbers, f"{name}.md": people(name, table, frame)})
    return tables, paths


@dataclasses.dataclass(frozen=True)
class View:
    """One table as people read it: texts as they are, cells in Markdown, the first `left` columns text."""

    title: str
    source: str  # data set, machine, counts
    shared: str  # what all rows have in common
    note: str
    header: list[str]
    body: list[list[str]]
    left: int


def people(name: str, table: pd.DataFrame, frame: pd.DataFrame) -> str:
    """One table in Markdown: a title, a caption with what all rows share, the rows."""
    view = view_of(name, table, caption(name, frame))
    lines = "\n".join(markdown(line) for line in (view.source, view.shared, view.note) if line)
    return f"# {view.title}\n\n{lines}\n\n{markdown_table(view.header, view.body, view.left)}"


def view_in_words(name: str, table: pd.DataFrame) -> ViewFacts:
    """What VIEWS says of a table, in the words for its examples, and with the fields alone that it has."""
    extent, known = extent_of(table), without_usual(table)
    title, fields, texts, numbers, note = VIEWS[name]
    numbers = {worded(header, extent): cell for header, cell in numbers.items()}
    if "standing" in table:
        texts = texts | {"against its baselines": lambda row: row["standing"] or ""}
        numbers |= {f"{baselines.COLUMNS[c]} (%)": shown(c, percent) for c in baselines.known_columns(table)}
        note = f"{note} {baselines.NOTE}"
    if name == "summary":
        numbers, note = with_scores(numbers, note, table)
    return worded(title, extent), [f for f in fields if f in known], texts, numbers, worded(note, extent)


def with_scores(numbers: dict[str, Cell], note: str, table: pd.DataFrame) -> tuple[dict[str, Cell], str]:
    """Columns and note of a summary with the scores that text alone has; of a task without top-1 in its place."""
    scores = {METRICS[name].label: score_cell(name) for name in SCORES if f"{name}_mean" in table}
    if not scores:
        return numbers, note
    told = "Scores in points of 100 are means over seeds ± half of their 95 % Student-t interval."
    if table["test_top1_percent_mean"].map(plain).notna().any():
        return numbers | scores, f"{note} {told}"
    dropped = [worded(header, extent_of(table)) for header in OF_TOP1]
    return scores | {header: cell for header, cell in numbers.items() if header not in dropped}, told


def score_cell(name: str) -> Cell:
    """A mean of points of 100 over seeds."""

    def cell(row: Row) -> str:
        mean, high = row[f"{name}_mean"], row[f"{name}_high"]
        return mean_text(mean, None if high is None else high - mean, row["n"])

    return cell


def worded_all(headers: Sequence[str], table: pd.DataFrame) -> list[str]:
    return [worded(header, extent_of(table)) for header in headers]


def heading(field: str, table: pd.DataFrame, other: str | None = None) -> str:
    """Over a column of a field; `other` where it has no words of its own."""
    return worded(WORDS.get(field, field if other is None else other), extent_of(table))


def view_of(name: str, table: pd.DataFrame, source: str) -> View:
    """What VIEWS says of some rows of the table with this name; `source` as `caption` says it."""
    title, fields, text_cells, number_cells, note = view_in_words(name, table)
    rows: list[Row] = [{str(k): plain(v) for k, v in row.items()} for row in table.to_dict("records")]
    if name == "latency" and table["compiled"].nunique() > 1:
        rows = beside_compiled(rows)
        fields = [f for f in fields if f != "compiled"]
        number_cells = with_compiled_columns(number_cells)
    varying = [f for f in fields if table[f].map(str).nunique() > 1]
    header = [*text_cells, *(heading(f, table) for f in varying), *number_cells]
    cells: list[Cell] = [*text_cells.values(), *(setting_cell(f) for f in varying), *number_cells.values()]
    body = [[cell(row) for cell in cells] for row in rows]
    shared = [f"{heading(f, table, f.replace('_', ' '))} {short(table[f].iloc[0])}" for f in fields if f not in varying]
    shared = [
        text
        for f, text in zip([f for f in fields if f not in varying], shared, strict=True)
        if plain(table[f].iloc[0]) is not None
    ]
    return View(
        title,
        source,
        f"All rows: {'; '.join(shared)}." if shared else "",
        note,
        header,
        body,
        len(text_cells),
    )


def beside_compiled(rows: list[Row]) -> list[Row]:
    """Latency rows with eager and compiled times of one setting in one: an eager row holds the other as `beside`.

    What was only measured compiled is a row whose eager cells are empty.
    """
    joined: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: bool(row["compiled"])):
        key = tuple(row[name] for name in SAME_TIMED)
        if not row["compiled"]:
            joined[key] = row | {"beside": None}
        else:
            empty = {name: value if name in SAME_TIMED else None for name, value in row.items()}
            joined.setdefault(key, empty)["beside"] = row
    places = {tuple(row[name] for name in SAME_TIMED): place for place, row in reversed(list(enumerate(rows)))}
    return [joined[key] for key in sorted(joined, key=places.__getitem__)]


def with_compiled_columns(number_cells: dict[str, Cell]) -> dict[str, Cell]:
    """Every column that compiling may change, followed by the same of the compiled trial."""
    columns = {}
    for header, cell in number_cells.items():
        columns[header] = cell
        if header not in SAME_COMPILED:
            columns[f"compiled: {header}"] = partial(compiled_cell, cell)
    return columns


def compiled_cell(cell: Cell, row: Row) -> str:
    return NOTHING if row["beside"] is None else cell(row["beside"])


def caption(name: str, frame: pd.DataFrame) -> str:
    """Data set, profile, machine, versions and counts behind one table, in one line."""
    first = frame.iloc[0]
    words = [
        first["dataset"],
        f"{first['profile']} profile",
        clean(first["machine"]),
        f"torch {listing(sorted(set(frame['torch'].map(str))))}",
    ]
    kinds = processors.sentences(frame) if name in ("summary", "differences", "effects", "decomposition") else []
    kinds += processors.times_sentence(frame) if name == "summary" else []
    return "; ".join([", ".join(words), *runs(name, frame), *kinds]) + "."


def runs(name: str, frame: pd.DataFrame) -> list[str]:
    """How often what was measured, as far as a table shows it: "n = 3 seeds, 4 epochs"."""
    trained = frame[(frame["kind"] == "accuracy") & (frame["status"] == "ok")]
    timed = frame[(frame["kind"] == "latency") & (frame["status"] == "ok")]
    words = []
    if name == "summary" and len(trained):
        seeds = trained.groupby(["label", *ACCURACY_SETTING], dropna=False).size()
        words.append(f"n = {span_of(seeds, 'seed')}, {span_of(trained['epochs'], 'epoch')}")
    if name in ("summary", "latency", "scaling") and len(timed):
        words.append(f"times: n = {span_of([len(history) for history in timed['history']], 'round')}")
    return words


def setting_cell(field: str) -> Cell:
    return lambda row: NOTHING if row[field] is None else markdown(short(row[field]))


def status_cell(row: Row) -> str:
    if row["status"] == "ok":
        return "ok"
    return markdown(f"{WRONG.get(row['status'], row['status'])}: {row['reason'] or 'no reason given'}")


def latency_status_cell(row: Row) -> str:
    """The status; where eager and compiled share a row and one failed, which."""
    both = {"eager": row, "compiled": row.get("beside")}
    texts = {how: status_cell(one) for how, one in both.items() if one is not None and one["status"] is not None}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{how} {text}" for how, text in texts.items())


def resampled_cell(row: Row) -> str:
    low, high = row["test_top1_percent_resampled_low"], row["test_top1_percent_resampled_high"]
    return (
        NOTHING
        if low is None or row["interval_over"] != OVER_BOTH
        else f"{percent_within(low):.1f} to {percent_within(high):.1f}"
    )


def difference_cell(row: Row) -> str:
    low, high = row["difference_points_low"], row["difference_points_high"]
    star = "" if row["interval_over"] == OVER_BOTH else " \\*"
    return NOTHING if low is None else f"{signed(low)} to {signed(high)}{star}"


def verdict_text(row: Row) -> str:
    """The verdict, and the failed runs that stand beside it."""
    return "; ".join(filter(None, (row["verdict"], row["failed_runs"])))


def seeds_cell(row: Row) -> str:
    """ "8", or "3 and 8" where the mixer has three and the one that it is held against eight."""
    n, other = row["n"], row["reference_n"]
    return str(n) if n == other else f"{n} and {other}"


def points_cell(column: str) -> Cell:
    return lambda row: signed(row[column])


def between_cell(column: str) -> Cell:
    return lambda row: f"{signed(row[f'{column}_low'])} to {signed(row[f'{column}_high'])}"


def share_cell(column: str) -> Cell:
    return lambda row: f"{row[column]:.0f} %"


def signed_share_cell(column: str) -> Cell:
    return lambda row: f"{signed(row[column], 0)} %"


def share_between_cell(column: str) -> Cell:
    return lambda row: f"{signed(row[f'{column}_low'], 0)} to {signed(row[f'{column}_high'], 0)} %"


def chance_cell(row: Row) -> str:
    chance = row["probability_of_improvement"]
    return NOTHING if chance is None else f"{100 * chance:.0f} %"


def sd(column: str) -> Cell:
    return lambda row: NOTHING if row[column] is None else f"{row[column]:.2f}"


def joined(column: str, status: str, show: Callable[[Any], str] | None = None) -> Cell:
    """A number from a joined record, or what went wrong with that record."""

    def cell(row: Row) -> str:
        if row[status] not in (None, "ok"):
            return str(WRONG.get(row[status], row[status]))
        return show(row[column]) if show else metric(column, row[column])

    return cell


def accuracy(name: str) -> Cell:
    def cell(row: Row) -> str:
        mean, high = row[f"{name}_mean"], row[f"{name}_high"]
        return accuracy_text(mean, None if high is None else high - mean, row["n"])

    return cell


def shown(column: str, show: Callable[[Any], str] | None = None) -> Cell:
    return lambda row: show(row[column]) if show else metric(column, row[column])


def counted_cell(row: Row) -> str:
    """The count; a lower bound where there are operators that do work and have no count."""
    text = count(row["flops_counted"])
    return text if row["flops_unknown"] is None else markdown(f"≥ {text} (without {row['flops_unknown']})")


def with_range(column: str, digits: int = 3) -> Cell:
    return lambda row: ranged(row[column], row[f"{column}_low"], row[f"{column}_high"], digits)


def against_attention(column: str) -> Cell:
    def cell(row: Row) -> str:
        return with_range(column)(row) + (" †" if row[column] is not None and not row["timed_with_attention"] else "")

    return cell


def mixer_cell(row: Row) -> str:
    return markdown(row["label"])


def trouble_cell(row: Row) -> str:
    return status_cell(row) if row["status"] != "ok" else markdown(row["failed"]) if row["failed"] else ""


MIXER: dict[str, Cell] = {"mixer": mixer_cell, "family": lambda row: markdown(row["family"])}
# title, setting fields, text columns, number columns, note
VIEWS: dict[str, ViewFacts] = {
    "summary": (
        "Accuracy and cost",
        [*TRAINED_ALIKE, "lr", "weight_decay"],
        MIXER | {"failed": trouble_cell},
        {
            "test top-1 (%)": accuracy("test_top1_percent"),
            "95 % over seeds and images": resampled_cell,
            "seed noise (sd)": sd("seed_sd_points"),
            "test-set noise (sd)": sd("test_sd_points"),
            "test top-5 (%)": lambda row: percent(row["test_top5_percent_mean"]),
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
    "differences": (
        "Mixers compared, image by image",
        TRAINED_ALIKE,
        {
            "mixer": mixer_cell,
            "against": lambda row: markdown(row["reference"]),
            "verdict": lambda row: markdown(verdict_text(row)),
        },
        {
            "difference (points)": shown(
                "difference_points", lambda value: NOTHING if value is None else signed(value)
            ),
            "95 % interval": difference_cell,
            "seeds": seeds_cell,
            "chance to be better": chance_cell,
            "p": lambda row: p_text(row["p_value"]),
            "p, Holm": lambda row: p_text(row["holm_p"]),
            "seed noise (sd)": sd("seed_sd_points"),
            "test-set noise (sd)": sd("test_sd_points"),
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
    "effects": (
        "Effects over all mixers",
        [name for name in TRAINED_ALIKE if name not in EFFECTS],
        {"what": lambda row: markdown(row["field"].replace("_", " ")), "effect": lambda row: markdown(row["effect"])},
        {
            "mixers": lambda row: str(row["mixers"]),
            "seeds": lambda row: row["seeds"],
            "effect (points)": points_cell("effect_points"),
            "95 % interval": between_cell("effect_points"),
            "p": lambda row: p_text(row["p_value"]),
            "between mixers (sd)": sd("tau_points"),
            "I2": share_cell("i2_percent"),
            "a further mixer": between_cell("predicted_points"),
        },
        "One ablation, pooled over the mixers that have three seeds or more on both sides: a random-effects mean of "
        "test top-1 in points (Paule and Mandel), its interval by Hartung and Knapp, the test images that all mixers "
        "share counted once. Between mixers: the standard deviation of the true effects; I2: the share of the spread "
        "that the mixers' own errors do not explain; a further mixer: where its effect is expected, at 95 %. The p "
        "values are not corrected for their number.",
    ),
    "decomposition": (
        "What accuracy varies by: patch size or mixer",
        [name for name in TRAINED_ALIKE if name != "patch_size"] + ["patch_sizes_px"],
        {"mixers": lambda row: "all" if row["without"] is None else markdown(f"without {row['without']}")},
        {
            "number": lambda row: str(row["mixers"]),
            "seeds": lambda row: row["seeds"],
            "patch size": share_cell("patch_percent"),
            "mixer": share_cell("mixer_percent"),
            "which mixer at which patch": share_cell("both_percent"),
            "mixer less patch": signed_share_cell("mixer_less_patch_percent"),
            "95 % interval": share_between_cell("mixer_less_patch_percent"),
            "between cells (sd)": sd("cells_sd_points"),
            "noise of a cell (sd)": sd("noise_sd_points"),
        },
        "Shares of the variance of test top-1 between the cells mixer x patch size, by a two-way analysis of variance "
        "with what the seeds add to each part taken out, once for all mixers and once without each of them: a share "
        "that moves with one mixer rests on it. Mixer less patch: one share less the other, its interval over seeds "
        "and test images. Standard deviations in points.",
    ),
    "tuning": (
        "Tuning",
        [name for name in TRAINED_ALIKE if name != "weight_decay"],
        MIXER | {"status": status_cell, "choice": lambda row: row["choice"] or ""},
        {
            "learning rate": lambda row: f"{row['lr']:g}",
            "weight decay": lambda row: f"{row['weight_decay']:g}",
            "held-out top-1 (%)": lambda row: percent(row["val_top1_percent"]),
            "seeds": lambda row: str(row["n"]),
            "training time (s)": shown("train_s", significant),
        },
        "The same sweep for every mixer: the two middle learning rates at the first weight decay, on past the better "
        "one until it stands between two that are worse, then the other weight decays at the best rate. Chosen is the "
        "best rate by top-1 on images held out from the training split; another weight decay only where it is better "
        f"by {CLEARLY_BETTER:g} point, since one seed cannot tell less. No tuning run reads the test split. Where the "
        "choice is the lowest or highest rate tried, a wider sweep might choose otherwise.",
    ),
    "latency": (
        "Latency",
        [*COMPARED, "compiled", "processor"],
        MIXER | {"status": latency_status_cell},
        {
            "tokens": shown("tokens", lambda value: f"{value:,}"),
            "batch": shown("batch_size", lambda value: f"{value:,}"),
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
            "sittings": lambda row: NOTHING if row["sittings"] is None else str(row["sittings"]),
        },
        "Times are medians over rounds, per batch unless it says per image. Ratios are taken within each round, per "
        f"image; shown is their geometric mean, over the rounds of a sitting and then over sittings ({OVER_SITTINGS}). "
        "A mixer moves its input, output and parameters once each; its "
        "FLOPs are the algorithm's, per batch. Its floor is the longer of the time for these bytes at the bandwidth of "
        "the copy of its input and the time for these FLOPs at the rate of one large matrix product, both of the same "
        "round; a mixer that returns its input has none. † attention was timed at another time, so machine drift is "
        "part of this ratio.",
    ),
    "scaling": (
        "Scaling with image size",
        [name for name in COMPARED if name not in ("image_size", "length")]
        + ["compiled", "processor", "image_sizes_px", "lengths"],
        MIXER,
        {
            "exponent, mixer fwd": with_range("mixer_forward_exponent"),
            "exponent, mixer fwd + bwd": with_range("mixer_forward_backward_exponent"),
            "exponent, net fwd": with_range("net_forward_exponent"),
            "exponent, net fwd + bwd": with_range("net_forward_backward_exponent"),
            "mixer fwd overtakes attention": lambda row: row["mixer_forward_overtakes_attention"] or NOTHING,
            "net fwd overtakes attention": lambda row: row["net_forward_overtakes_attention"] or NOTHING,
            "net fwd + bwd overtakes attention": lambda row: row["net_forward_backward_overtakes_attention"] or NOTHING,
        },
        "The exponent is the slope of log latency per image over log tokens, by least squares in each round, without "
        "sizes of fewer than three rounds; shown is its mean, over the rounds of a sitting and then over sittings "
        f"({OVER_SITTINGS}). Overtaking is judged by the within-round ratio that latency.md shows, interpolated "
        "between measured token counts; it is settled from three sittings on.",
    ),
    "cost": (
        "Parameters, FLOPs and memory",
        COMPARED,
        MIXER | {"status": status_cell},
        {
            "tokens": shown("tokens", lambda value: f"{value:,}"),
            "parameters": shown("params", count),
            "of the mixers": shown("mixer_params", count),
            "FLOPs": shown("flops", count),
            "FLOPs of the mixers": shown("mixer_flops", count),
            "FLOPs executed": shown("flops_executed", count),
            "FLOPs counted": counted_cell,
            "batch": lambda row: NOTHING if row["batch_size"] is None else f"{row['batch_size']:,}",
            "peak, forward (MB)": shown("forward_peak_bytes"),
            "peak, training step (MB)": shown("train_peak_bytes"),
        },
        "FLOPs are of one forward pass of one image; peaks are of one batch.",
    ),
    "failures": (
        "What failed",
        [*COMPARED, "seed", "compiled", "epochs"],
        {"kind": lambda row: row["kind"]} | MIXER | {"status": status_cell},
        {"record": lambda row: f"{row['kind']}-{row['id']}"},
        "",
    ),
}
