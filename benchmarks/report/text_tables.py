"""FNet's tables of text in our form: pre-training (its Table 5), the same at equal minutes, and tasks (its Table 1)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contract.text_tasks import TEXT_TASKS
from benchmarks.report.baselines import COLUMNS, known_columns
from benchmarks.report.claim_rules import share_percent
from benchmarks.report.frame import plain
from benchmarks.report.notes import SETTING_WORDS
from benchmarks.report.paired import Runs, Sample, mean_top1
from benchmarks.report.statistics import mean_interval
from benchmarks.report.tables import ATTENTION, lookup, middle, of_one_processor, preferred
from benchmarks.report.text import NOTHING, clean, count, listing, mean_text, percent, signed, significant
from benchmarks.report.text_published import Beside, of_pretraining, of_tasks, sources
from benchmarks.report.text_runs import Line, Part, Span, Task, own_interval, records_of, setting_of, span_of_task
from benchmarks.report.text_scores import SHORT, TITLES, TOP1

Row = dict[str, Any]
OURS = "these records"
INTERVAL = (
    "In brackets 95 % over the encoder's own seeds and the test rows (one seed: the test rows alone), in parentheses "
    "the number of seeds."
)
SHARE = (
    "Share of attention's: of the means; its interval is over seeds and test rows, and needs two seeds of both."
)
PRETRAINING_NOTE = (
    f"Masked tokens of the test passages, by the last weights: all encoders after the same steps. {INTERVAL} {SHARE} "
    "Tokens per second are those of training, whatever else the machine did, and left out where other runs of the "
    "suite went on beside it; timed: forward and backward in the latency sweep, which is the fair comparison."
)
MINUTES_NOTE = (
    "Masked accuracy on held-out passages after the longest time of training that all of these have reached, by "
    "straight lines between their epochs, ± half of the 95 % t-interval over seeds, their number in parentheses. The "
    "seconds are of runs on a machine that may have had other work. An encoder that is cut off before its end has not "
    "had its rate of learning fall to zero, which costs it accuracy."
)
TASKS_NOTE = (
    f"Scores of the test rows in points of 100. {INTERVAL} The mean is over the tasks on which any encoder lies above "
    "a constant answer by its interval; it is of the encoders that have all of them, a seed being one line from "
    f"pre-training to the last task. {SHARE}"
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
        body += _frequencies(found) + ([list(row.cells) for row in of_pretraining()] if place == 1 else [])
        header = ["encoder", "family", "masked accuracy (%)", "loss (nats)", "order (%)", "tokens seen"]
        header += ["tokens/s, training", "tokens/s, timed", "share of attention's (%)"]
        sections.append(Section(setting_words(several[0]), header, body))
    rows += _published_rows(of_pretraining()) if sections else []
    note = PRETRAINING_NOTE
    return TextTable(
        "pretraining", "Pre-training at equal steps", note, sections, pd.DataFrame(rows, dtype=object),
        sources(of_pretraining()),
    )  # fmt: skip


def pretraining_rows(line: Line, several: Sequence[Runs]) -> list[Row]:
    """One row an encoder, the highest masked accuracy first."""
    assert line.pretraining is not None
    sample, frame = line.pretraining.sample, line.pretraining.frame
    timed = preferred(of_one_processor(frame[frame["kind"] == "latency"]))
    rows = []
    for runs in several:
        records, length = records_of(line.pretraining, runs), int(runs.setting["length"])
        found = lookup(timed, pd.Series(runs.setting))
        step = None if found is None else plain(found["train_step_images_per_s"])
        speed = middle(records["train_images_per_s"])
        first = records.iloc[0]
        row = setting_of(runs) | _score(sample, runs, several)
        for name in ("test_loss", "test_order_percent"):
            estimate = mean_interval(records[name].dropna())
            row[f"{name}_mean"] = None if estimate is None else estimate.value
            row |= {f"{name}_{end}": None if estimate is None else getattr(estimate, end) for end in ("low", "high")}
        row |= {name: plain(first[name]) for name in ("baseline_frequencies_percent", "baseline_frequencies_loss")}
        row["tokens_seen"] = tokens_seen(runs)
        row["train_tokens_per_s"] = None if speed is None else speed * length
        row["timed_tokens_per_s"] = None if step is None else step * length
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["score_mean"], row["label"]))


def _score(sample: Sample, runs: Runs, several: Sequence[Runs], signed: bool = False) -> Row:
    """The score of an encoder with its interval, and as a share of attention's among those trained alike."""
    own = own_interval(sample, runs, signed) or (None, None)
    row: Row = {"n": len(runs.top1), "seeds": " ".join(map(str, runs.seeds)), "failed": runs.failed_words or None}
    row |= {"score_mean": mean_top1(runs), "score_low": own[0], "score_high": own[1]}
    rival = next((one for one in several if one.setting["label"] == ATTENTION), None)
    share = None
    if rival is not None and rival is not runs and mean_top1(rival) > 0:
        share = sample.interval(share_percent, runs, rival)
    told = None if share is None or share.withheld else share
    row["share_of_attention_percent"] = None if told is None else told.value
    row |= {f"share_of_attention_percent_{end}": told and getattr(told, end) for end in ("low", "high")}
    return row


def tokens_seen(runs: Runs) -> int:
    """Tokens of the passages of all epochs, those of padding among them."""
    s = runs.setting
    return (s["epochs"] or 0) * (s["train_images"] or 0) * (s["length"] or 0)


def minutes_table(line: Line) -> TextTable:
    """Encoders after the same seconds of training, one section for those pre-trained alike."""
    sections, rows = [], []
    for place, several in enumerate(line.settings, 1):
        found = minutes_rows(line, several)
        rows += [{"part": place, **row} for row in found]
        if len(found) > 1:
            told = f"after {significant(found[0]['seconds'])} s of training"
            header = ["encoder", "family", "held-out masked accuracy (%)", "tokens seen", "share of attention's (%)"]
            sections.append(Section(f"{setting_words(several[0])}, {told}", header, [_minutes(row) for row in found]))
    title = "Pre-training at equal minutes"
    return TextTable("equal-minutes", title, MINUTES_NOTE, sections, pd.DataFrame(rows, dtype=object))


def minutes_rows(line: Line, several: Sequence[Runs]) -> list[Row]:
    """One row an encoder at the largest time that all have reached; [] of one encoder, or of runs without seconds."""
    assert line.pretraining is not None
    curves = {str(runs.setting["label"]): curves_of(records_of(line.pretraining, runs)) for runs in several}
    if len(curves) < 2 or not all(len(curve) for each in curves.values() for curve in each):
        return []
    until = min(curve["seconds"].iloc[-1] for each in curves.values() for curve in each)
    values, seen = {}, {}
    for runs in several:
        label = str(runs.setting["label"])
        here = [curve for curve in curves[label] if curve["seconds"].iloc[0] <= until]
        values[label] = mean_interval(np.interp(until, c["seconds"], c["val_top1_percent"]) for c in here)
        epochs = [float(np.interp(until, c["seconds"], c["epoch"])) for c in curves[label]]
        seen[label] = round(math.fsum(epochs) / len(epochs) * tokens_seen(runs) / runs.setting["epochs"])
    rival = values.get(ATTENTION)
    rows = []
    for runs in several:
        label = str(runs.setting["label"])
        found = values[label]
        share = 100 * found.value / rival.value if found and rival and rival.value and label != ATTENTION else None
        row = setting_of(runs) | {"seconds": until, "tokens_seen": seen[label], "n": found.n if found else 0}
        row |= {f"val_top1_percent_{end}": found and getattr(found, end) for end in ("low", "high")}
        rows.append(row | {"val_top1_percent_mean": found and found.value, "share_of_attention_percent": share})
    return sorted(rows, key=lambda row: (-(row["val_top1_percent_mean"] or -1.0), row["label"]))


def curves_of(records: pd.DataFrame) -> list[pd.DataFrame]:
    """Of each run: held-out masked accuracy by epoch, and the seconds of training until then."""
    found = []
    for history in records["history"]:
        known = [row for row in history if row.get("val_top1_percent") is not None and row.get("seconds") is not None]
        curve = pd.DataFrame(known, columns=["epoch", "seconds", "val_top1_percent"], dtype=float)
        found.append(curve.assign(seconds=curve["seconds"].cumsum()) if len(known) == len(history) else curve.head(0))
    return found


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
        sections.append(Section(part_words(part), header, body, sentences(part)))
    first = bool(line.parts) and not line.parts[0].scratch
    rows += _published_rows(published) if first else []
    table = pd.DataFrame(rows, dtype=object)
    return TextTable("tasks", "Tasks", TASKS_NOTE, sections, table, sources(published) if first else ())


def task_rows(part: Part) -> list[Row]:
    """One row an encoder and task, and one for its mean over tasks."""
    rows = []
    for task in [*part.tasks, *([part.mean] if part.mean else [])]:
        for label in part.labels:
            if label not in task.runs:
                continue
            runs, is_mean = task.runs[label], task is part.mean
            row = setting_of(runs) | {"dataset": task.name, "metric": "mean" if is_mean else task.metric}
            row |= _score(task.sample, runs, list(task.runs.values()), signed=task.metric != TOP1)
            records = task.records(label)
            for name in TITLES:
                known = records[name].dropna() if name in records and not is_mean else ()
                row[f"{name}_mean"] = math.fsum(known) / len(known) if len(known) else None
            row["constant_answer"] = None if is_mean else task.floor
            row |= {name: None if is_mean else middle(records[name]) for name in ("baseline_majority_percent",)}
            rows.append(row)
    return rows


def sentences(part: Part) -> list[str]:
    """Which tasks tell encoders apart, and which cannot, from the numbers."""
    ranked, cannot = [], []
    for task in part.tasks:
        found = span_of_task(task)
        if found is not None and found.ranks:
            ranked.append(title_of(task.name))
        elif found is not None:
            cannot.append(_cannot(task, found))
    lines = [f"Tells encoders apart: {listing(ranked)}."] if ranked else []
    lines += [f"Cannot rank anything here: {line}." for line in cannot]
    floored = [title_of(task.name) for task in part.tasks if not task.left]
    lines += [f"No encoder lies above a constant answer on {listing(floored)}."] if floored else []
    if part.mean:
        lines.append(f"The mean is over {listing([title_of(task.name) for task in part.counted])}.")
    return lines


def _cannot(task: Task, found: Span) -> str:
    rows = "" if task.rows is None else f"{task.rows:,} test rows and "
    within = "one seed and no predictions" if found.half is None else f"{rows}n = {found.n}"
    half = "" if found.half is None else f" (± {found.half:.1f} points, for the pair chosen from {len(task.runs)} encoders)"
    return f"{title_of(task.name)}, where highest and lowest differ by {found.points:.1f} points, within what {within} leave{half}"


def title_of(dataset: str) -> str:
    facts = TEXT_TASKS.get(dataset.removeprefix("glue:"))
    return dataset if facts is None else facts.title


def setting_words(runs: Runs) -> str:
    """ "length 64 tokens, dim 128, depth 2, bytes, 2.36 M tokens of wikipedia"."""
    s = runs.setting
    words = [f"{noun} {s[name]}{unit}" for name, noun, unit in SETTING_WORDS if s[name] is not None]
    words += [str(s["tokenizer"])] if s["tokenizer"] else []
    return clean(", ".join([*words, f"{count(tokens_seen(runs))} tokens of {s['corpus']}"]))


def part_words(part: Part) -> str:
    s = part.setting
    words = [f"{noun} {s[name]}{unit}" for name, noun, unit in SETTING_WORDS if s.get(name) is not None]
    before = "from scratch, not pre-trained" if part.scratch else f"pre-trained on {s['pretrained']}"
    return clean(", ".join([before, *words, *([str(s["tokenizer"])] if s["tokenizer"] else [])]))


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
        clean(row["label"]), row["family"], _score_cell(row), _digits(row["test_loss_mean"]),
        percent(row["test_order_percent_mean"]), count(row["tokens_seen"]), count(row["train_tokens_per_s"]),
        count(row["timed_tokens_per_s"]), _share(row),
    ]  # fmt: skip


def _digits(value: Any) -> str:
    return NOTHING if plain(value) is None else f"{value:.2f}"


def _frequencies(rows: Sequence[Row]) -> list[list[str]]:
    known = [row for row in rows if row["baseline_frequencies_percent"] is not None]
    if not known:
        return []
    at, loss = (known[0][f"baseline_frequencies_{name}"] for name in ("percent", "loss"))
    return [["token frequencies", "no net", percent(at), _digits(loss), "50.0", *[NOTHING] * 4]]


def _minutes(row: Row) -> list[str]:
    mean, high = row["val_top1_percent_mean"], row["val_top1_percent_high"]
    cell = mean_text(mean, None if high is None else high - mean, row["n"])
    return [clean(row["label"]), row["family"], cell, count(row["tokens_seen"]), _share(row)]


def _task_body(part: Part, rows: Sequence[Row]) -> list[list[str]]:
    cells = {(row["label"], row["dataset"]): row for row in rows}
    family = {row["label"]: row["family"] for row in cells.values()}
    body = []
    for label in part.labels:
        scores = [cells.get((label, task.name)) for task in part.tasks]
        mean = cells.get((label, part.mean.name)) if part.mean else None
        texts = [NOTHING if row is None else _score_cell(row) for row in (*scores, mean)]
        body.append([clean(label), family[label], *texts, NOTHING if mean is None else _share(mean)])
    return body


def _floors(part: Part) -> list[list[str]]:
    """What predictors reach that are no net: a constant answer in the headline, the others in accuracy."""
    body = [["constant answer", "no net", *(percent(task.floor) for task in part.tasks), NOTHING, NOTHING]]
    frames = {task.name: pd.concat([task.records(label) for label in task.runs]) for task in part.tasks}
    names = {name for frame in frames.values() for name in known_columns(frame)}
    for name in (name for name in COLUMNS if name in names):
        cells = []
        for task in part.tasks:
            known = frames[task.name][name].dropna() if name in frames[task.name] else ()
            word = "" if task.metric == TOP1 else f" ({SHORT[TOP1]})"
            cells.append(f"{known.iloc[0]:.1f}{word}" if len(known) else NOTHING)
        body.append([COLUMNS[name], "no net", *cells, NOTHING, NOTHING])
    return body


def _published_rows(found: Sequence[Beside]) -> list[Row]:
    return [row for one in found for row in one.rows]


