"""FNet's tables of text in our form: pre-training (its Table 5), the same at equal minutes, and tasks (its Table 1)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.facts.metrics import BASELINES, METRICS
from benchmarks.contract.facts.text_tasks import TEXT_TASKS
from benchmarks.report.alike import ATTENTION
from benchmarks.report.families import encoder_name
from benchmarks.report.frame import plain
from benchmarks.report.notes import setting_words
from benchmarks.report.stats.intervals import mean_interval, middle
from benchmarks.report.stats.paired import Runs
from benchmarks.report.stats.scores import SHORT, TITLES, TOP1
from benchmarks.report.stats.text_lines import Encoders, Line, Span, Task, span_of_task
from benchmarks.report.text.published import Beside, of_pretraining, of_tasks, sources
from benchmarks.report.text.rows import Row, levels_of, minutes_rows, pretraining_rows, task_rows, tokens_seen
from benchmarks.report.wording import NOTHING, clean, count, listing, mean_text, percent, signed, significant

OURS = "these records"
INTERVAL = (
    "In brackets 95 % over the encoder's own seeds and the test rows (one seed: the test rows alone), in parentheses "
    "the number of seeds."
)
SHARE = "Share of attention's: of the means; its interval is over seeds and test rows, and needs two seeds of both."
PRETRAINING_NOTE = (
    f"Masked tokens of the test passages, by the last weights: all encoders after the same steps. {INTERVAL} {SHARE} "
    "Tokens per second are those of training, whatever else the machine did, and left out where other runs of the "
    "suite went on beside it; timed: forward and backward in the latency sweep, which is the fair comparison."
)
MINUTES_NOTE = (
    "Masked accuracy on held-out passages after the longest time of training that all of these have reached, by "
    "straight lines between their epochs, ± half of the 95 % t-interval over seeds, their number in parentheses. The "
    "seconds are of runs on a machine that may have had other work. An encoder that is cut off before its end has not "
    "had its rate of learning fall to zero, which costs it accuracy. A dash: not through its first epoch by then."
)
TASKS_NOTE = (
    f"Scores of the test rows in points of 100. {INTERVAL} The mean is over the tasks on which any encoder lies above "
    "a constant answer, by an interval widened for their number; it is of the encoders that have all of them, a seed "
    f"being one line from pre-training to the last task. {SHARE}"
)


@dataclasses.dataclass(frozen=True)
class Section:
    """One comparison of a table: texts as they are, the cells too.

    Attributes:
        words: what all rows share.
        header: the first two columns are text.
        body: one row an encoder, predictors and published figures below.
        after: sentences below the table.
    """

    words: str
    header: list[str]
    body: list[list[str]]
    after: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table of a line of text: for programs, and for people, with what stands above and below it."""

    name: str
    title: str
    note: str
    sections: Sequence[Section]
    rows: pd.DataFrame
    published: Sequence[str] = ()


def text_tables(line: Line) -> list[TextTable]:
    """All tables of a line for which there are records."""
    found = [pretraining_table(line), minutes_table(line), tasks_table(line)]
    return [table for table in found if table.sections]


def pretraining_table(line: Line) -> TextTable:
    """Masked accuracy, loss, order and speed of every encoder, one section for those pre-trained alike."""
    sections, rows = [], []
    for place, several in enumerate(line.settings, 1):
        found = pretraining_rows(line, several)
        rows += [{"part": place, "source": OURS, **row} for row in found]
        body = [_pretraining_cells(row) for row in found]
        published = [[*row.cells[:-1], NOTHING, row.cells[-1]] for row in of_pretraining()]
        body += _levels(found) + (published if place == 1 else [])
        header = ["encoder", "family", "masked accuracy (%)", "loss (nats)", "order (%)", "tokens seen"]
        header += ["tokens/s, training", "tokens/s, timed", "peak memory of a step (MB)", "share of attention's (%)"]
        sections.append(Section(pretraining_words(several[0]), header, body))
    rows += _published_rows(of_pretraining()) if sections else []
    note = PRETRAINING_NOTE
    return TextTable(
        "pretraining", "Pre-training at equal steps", note, sections, pd.DataFrame(rows, dtype=object),
        sources(of_pretraining()),
    )  # fmt: skip


def minutes_table(line: Line) -> TextTable:
    """Encoders after the same seconds of training, one section for those pre-trained alike."""
    sections, rows = [], []
    for place, several in enumerate(line.settings, 1):
        found = minutes_rows(line, several)
        rows += [{"part": place, **row} for row in found]
        if len(found) > 1:
            told = f"after {significant(found[0]['seconds'])} s of training"
            header = ["encoder", "family", "held-out masked accuracy (%)", "tokens seen", "share of attention's (%)"]
            sections.append(
                Section(f"{pretraining_words(several[0])}, {told}", header, [_minutes(row) for row in found])
            )
    title = "Pre-training at equal minutes"
    return TextTable("equal-minutes", title, MINUTES_NOTE, sections, pd.DataFrame(rows, dtype=object))


def tasks_table(line: Line) -> TextTable:
    """Encoders by tasks, one section for those pre-trained alike, and one for those from scratch."""
    sections, rows = [], []
    published = of_tasks([task.name for task in line.parts[0].tasks]) if line.parts else []
    for place, part in enumerate(line.parts, 1):
        found = task_rows(part)
        rows += [{"part": place, "source": OURS, **row} for row in found]
        body = _task_body(part, found) + _floors(part)
        body += [[*row.cells[:2], *(row.of.get(t.name, NOTHING) for t in part.tasks), *row.cells[2:]]
                 for row in (published if place == 1 and not part.scratch else [])]  # fmt: skip
        mean = f"mean of {len(part.counted)}" if part.mean else "mean"
        header = ["encoder", "family", *(f"{title_of(t.name)}, {TITLES[t.metric]}" for t in part.tasks)]
        header += [f"{mean} (points)", "share of attention's (%)"]
        sections += [Section(part_words(part), header, body, sentences(part)), *_other_metrics(part)]
    first = bool(line.parts) and not line.parts[0].scratch
    rows += _published_rows(published) if first else []
    table = pd.DataFrame(rows, dtype=object)
    return TextTable("tasks", "Tasks", TASKS_NOTE, sections, table, sources(published) if first else ())


def sentences(part: Encoders) -> list[str]:
    """Which tasks tell encoders apart, and which cannot, from the numbers."""
    ranked, cannot, unjudged = [], [], []
    for task in part.tasks:
        found = span_of_task(task)
        if found is None:
            continue
        if found.half is None:
            unjudged.append(f"{title_of(task.name)}, where highest and lowest differ by {found.points:.1f} points")
        elif found.ranks:
            ranked.append(title_of(task.name))
        else:
            cannot.append(_cannot(task, found))
    lines = [f"Tells encoders apart: {listing(ranked)}."] if ranked else []
    lines += [f"Cannot rank anything here: {line}." for line in cannot]
    lines += [f"Not judged, of one seed whose predictions are not here: {line}." for line in unjudged]
    floored = [title_of(task.name) for task in part.tasks if not task.left and task.rows is not None]
    lines += [f"No encoder lies above a constant answer on {listing(floored)}."] if floored else []
    if part.mean:
        lines.append(f"The mean is over {listing([title_of(task.name) for task in part.counted])}.")
    return lines


def _cannot(task: Task, found: Span) -> str:
    rows = "" if task.rows is None else f"{task.rows:,} test rows and "
    half = f"(± {found.half:.1f} points, for the pair chosen from {len(task.runs)} encoders)"
    apart = f"where highest and lowest differ by {found.points:.1f} points"
    return f"{title_of(task.name)}, {apart}, within what {rows}n = {found.n} leave {half}"


def title_of(dataset: str) -> str:
    facts = TEXT_TASKS.get(dataset.removeprefix("glue:"))
    return dataset if facts is None else facts.title


def pretraining_words(runs: Runs) -> str:
    """ "length 64 tokens, dim 128, depth 2, bytes, 2.36 M tokens of wikipedia"."""
    s = runs.setting
    return clean(", ".join([*net_words(s), f"{count(tokens_seen(runs))} tokens of {s['corpus']}"]))


def part_words(part: Encoders) -> str:
    s = part.setting
    before = "from scratch, not pre-trained" if part.scratch else f"pre-trained on {s['pretrained']}"
    return clean(", ".join([before, *net_words(s)]))


def net_words(setting: Mapping[str, Any]) -> list[str]:
    return [*setting_words(setting), *([str(setting["tokenizer"])] if setting["tokenizer"] else [])]


def score_text(mean: Any, low: Any, high: Any, n: Any) -> str:
    """ "57.5 [56.8, 58.2] (3)"."""
    if plain(mean) is None:
        return NOTHING
    between = "" if plain(low) is None else f" [{_minus(low)}, {_minus(high)}]"
    return f"{_minus(mean)}{between} ({int(n)})"


def _minus(value: float) -> str:
    return signed(value).lstrip("+")


def _share(row: Mapping[str, Any]) -> str:
    value, low, high = (row.get(f"share_of_attention_percent{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "100" if row["label"] == ATTENTION else NOTHING
    return f"{value:.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def _score_cell(row: Mapping[str, Any]) -> str:
    return score_text(row["score_mean"], row["score_low"], row["score_high"], row["n"])


def _pretraining_cells(row: Row) -> list[str]:
    return [
        clean(encoder_name(row["label"])), row["family"], _score_cell(row), _digits(row["test_loss_mean"]),
        percent(row["test_order_percent_mean"]), count(row["tokens_seen"]), count(row["train_tokens_per_s"]),
        count(row["timed_tokens_per_s"]), _megabytes(row["train_peak_bytes"]), _share(row),
    ]  # fmt: skip


def _megabytes(value: Any) -> str:
    return NOTHING if plain(value) is None else significant(value * METRICS["train_peak_bytes"].scale)


def _digits(value: Any) -> str:
    return NOTHING if plain(value) is None else f"{value:.2f}"


def _levels(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [label, "no net", percent(at), _digits(loss), "50.0", *[NOTHING] * 5] for label, at, loss in levels_of(rows)
    ]


def _minutes(row: Row) -> list[str]:
    mean, high = row["val_top1_percent_mean"], row["val_top1_percent_high"]
    cell = mean_text(mean, None if high is None else high - mean, row["n"])
    return [clean(encoder_name(row["label"])), row["family"], cell, count(row["tokens_seen"]), _share(row)]


def _task_body(part: Encoders, rows: Sequence[Row]) -> list[list[str]]:
    cells = {(row["label"], row["dataset"]): row for row in rows}
    family = {row["label"]: row["family"] for row in cells.values()}
    body = []
    for label in part.labels:
        scores = [cells.get((label, task.name)) for task in part.tasks]
        mean = cells.get((label, part.mean.name)) if part.mean else None
        texts = [NOTHING if row is None else _score_cell(row) for row in (*scores, mean)]
        body.append([clean(encoder_name(label)), family[label], *texts, NOTHING if mean is None else _share(mean)])
    return body


def _other_metrics(part: Encoders) -> list[Section]:
    """What the tasks are scored by beside their headlines, ± half of the 95 % t-interval over seeds."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    families = {}
    for task, metric in itertools.product(part.tasks, TITLES):
        for label in task.runs if metric != task.metric else ():
            records = task.records(label)
            found = mean_interval(records[metric].dropna()) if metric in records else None
            families[label] = str(records["family"].iloc[0])
            if found is not None:
                text = mean_text(found.value, found.half, found.n)
                cells.setdefault((task.name, metric), {})[label] = text
    if not cells:
        return []
    header = ["encoder", "family", *(f"{_set_of(name, metric)}, {TITLES[metric]}" for name, metric in cells)]
    body = [[clean(encoder_name(label)), families[label], *(column.get(label, NOTHING) for column in cells.values())]
            for label in part.labels if label in families]  # fmt: skip
    return [Section(f"{part_words(part)}, the other metrics", header, body)]


def _set_of(dataset: str, metric: str) -> str:
    """A task, and which of its test sets, where a metric is of the second."""
    facts = TEXT_TASKS.get(dataset.removeprefix("glue:"))
    second = f", {facts.test2}" if facts is not None and metric.startswith("test2_") else ""
    return f"{title_of(dataset)}{second}"


def _floors(part: Encoders) -> list[list[str]]:
    """What predictors reach that are no net, in the headline where records have that, else in accuracy."""
    body = [["constant answer", "no net", *(percent(task.floor) for task in part.tasks), NOTHING, NOTHING]]
    for who, label, _ in BASELINES:
        cells = [_floor(task, who) for task in part.tasks]
        body += [[label, "no net", *cells, NOTHING, NOTHING]] if set(cells) != {NOTHING} else []
    return body


def _floor(task: Task, who: str) -> str:
    records = pd.concat([task.records(label) for label in task.runs])
    headline = f"baseline_{who}_{'percent' if task.metric == TOP1 else task.metric.removeprefix('test_')}"
    for name, word in ((headline, ""), (f"baseline_{who}_percent", f" ({SHORT[TOP1]})")):
        value = middle(records[name]) if name in records else None
        if value is not None:
            return f"{_minus(value)}{word}"
    return NOTHING


def _published_rows(found: Sequence[Beside]) -> list[Row]:
    return [dict(row) for one in found for row in one.rows]
