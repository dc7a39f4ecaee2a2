"""What a mixer can and cannot do: the mixers by the sequence tasks of a folder, in a table and a heat map.

A set at another length is another task. Of every task it has the setting with most mixers, each mixer at its best
learning rate, as the ranking has them. Groups of one profile and machine stand together; a task alone makes no table.
Held-out runs of `tune` say of a net at its baseline whether another rate or more epochs would take it off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.facts.datasets import task_name
from benchmarks.contract.record import write_texts
from benchmarks.contract.words import counted
from benchmarks.report.alike import TRAINED_ALIKE, same_rows
from benchmarks.report.baselines import ABOVE, AT, NOTE, OPEN, SOLVED, Z, highest, highest_words, own_interval
from benchmarks.report.choose import rows_by_length
from benchmarks.report.frame import plain, slug
from benchmarks.report.tables.latex import HEAD, cells_of, escaped, floats
from benchmarks.report.tables.view import View
from benchmarks.report.wording import NOTHING, clean, csv_text, listing, markdown, span_of

FOLDER, NAME = "sequences", "abilities"  # no data set of the suite is called so
FEWEST_TASKS = 2
TITLE = "What a mixer can and cannot do"
MARKS = {SOLVED: "✓", ABOVE: "", OPEN: "?", AT: "×"}
COLUMNS = (
    *("dataset", "length", "mixer", "label", "family", "n", "n_failed"),
    *("test_top1_percent_mean", "test_top1_percent_own_low", "test_top1_percent_own_high"),
)
TOP1 = "test_top1_percent_mean"
Task = tuple[str, int]  # name of the data set, and length in tokens
# held equal between a net and its held-out runs
ALIKE = ["label", *(name for name in TRAINED_ALIKE if name not in ("net", "budget", "epochs", "warmup_epochs"))]


@dataclasses.dataclass(frozen=True)
class Retry:
    """The best held-out run of a net that is at its baseline, at another rate or of other length.

    Attributes:
        label: of the net.
        task: that it does not do.
        how: learning rate, and epochs where they differ.
        percent: of held-out sequences.
        leaves: whether that is above the baseline by more than the chance of the test sequences.
    """

    label: str
    task: Task
    how: str
    percent: float
    leaves: bool


@dataclasses.dataclass(frozen=True)
class Abilities:
    """The tasks of one profile and machine.

    Attributes:
        folder: the name of its own, in tables/ and plots/.
        title: profile and machine.
        rows: one a mixer and task, those of a mixer that solves most first.
        retries: of nets at their baseline.
    """

    folder: str
    title: str
    rows: pd.DataFrame
    retries: Sequence[Retry] = ()

    @property
    def tasks(self) -> list[Task]:
        return sorted(set(map(_task, self.rows.to_dict("records"))))

    @property
    def labels(self) -> list[str]:
        return list(dict.fromkeys(self.rows["label"]))

    def cells(self, label: str) -> list[Mapping[Any, Any] | None]:
        """Its row in each task; None where it was not trained."""
        mine = {_task(row): row for row in self.rows[self.rows["label"] == label].to_dict("records")}
        return [mine.get(task) for task in self.tasks]

    def of(self, task: Task) -> list[Mapping[Any, Any]]:
        """The rows of a task."""
        return [row for row in self.rows.to_dict("records") if _task(row) == task]

    def name(self, task: Task) -> str:
        """ "recall", or "recall at 64 tokens" where it has several lengths."""
        several = sum(other[0] == task[0] for other in self.tasks) > 1
        return f"{task[0]} at {task[1]:,} tokens" if several else task[0]

    def baseline(self, task: Task) -> Mapping[Any, Any]:
        """The row that has the highest baseline of a task."""
        return max(self.of(task), key=lambda row: (highest(row) or ("", -1.0))[1])


def _task(row: Mapping[Any, Any]) -> Task:
    return str(row["dataset"]), int(row["length"])


def task_words(task: Task) -> str:
    """ "recall, 32 tokens"."""
    return f"{task[0]}, {task[1]:,} tokens"


def find_abilities(groups: Sequence[tuple[pd.DataFrame, Mapping[str, pd.DataFrame]]]) -> list[Abilities]:
    """Of all groups of a folder, their records and tables: one a profile and machine with two tasks or more."""
    found: dict[tuple[str, str], list[pd.DataFrame]] = {}
    retries: dict[tuple[str, str], list[Retry]] = {}
    for frame, tables in groups:
        first, summary = frame.iloc[0], tables["summary"]
        if task_name(str(first["dataset"])) == "sequences" and "standing" in summary:
            key, parts = (first["profile"], first["machine"]), rows_by_length(summary)
            found.setdefault(key, []).extend(parts)
            retries.setdefault(key, []).extend(retry for rows in parts for retry in _retries(rows, tables["tuning"]))
    several = {key: rows for key, rows in found.items() if len(rows) >= FEWEST_TASKS}
    return [
        dataclasses.replace(_abilities(key, rows, list(several)), retries=retries[key])
        for key, rows in sorted(several.items())
    ]


def _retries(rows: pd.DataFrame, tuning: pd.DataFrame) -> list[Retry]:
    """Of the nets of a task that are at its baseline, those that `tune` trained otherwise too."""
    found = []
    for row in [row for row in rows.to_dict("records") if row["standing"] in (AT, OPEN) and len(tuning)]:
        others = tuning[same_rows(tuning, row, ALIKE) & (tuning["status"] == "ok")]
        others = others[(others["lr"] != row["lr"]) | (others["epochs"] != row["epochs"])]
        if others.empty:
            continue
        best = others.loc[others["val_top1_percent"].astype(float).idxmax()]
        how = f"{best['lr']:g}" + ("" if best["epochs"] == row["epochs"] else f", {best['epochs']} epochs")
        how += "" if best["n"] == 1 else f", {best['n']} seeds"
        percent, level = float(best["val_top1_percent"]), highest(row)
        bar = None if level is None else max(level[1], float(row[TOP1]))  # and better than it was
        leaves = bar is not None and percent - Z * (plain(row.get("test_sd_points")) or 0.0) > bar
        found.append(Retry(str(row["label"]), _task(row), how, percent, leaves))
    return found


def _abilities(key: tuple[str, str], parts: Sequence[pd.DataFrame], keys: Sequence[tuple[str, str]]) -> Abilities:
    profile, machine = key
    alone = sum(other == profile for other, _ in keys) == 1
    table = with_own_interval(pd.concat(parts, ignore_index=True))
    names = [*COLUMNS, *(name for name in table if str(name).startswith("baseline_")), "standing"]
    labels = sorted(set(table["label"]), key=lambda label: (_order(table, label), label))
    places = {label: place for place, label in enumerate(labels)}
    table = table[names].assign(_place=table["label"].map(places))
    table = table.sort_values(["_place", "dataset", "length"], kind="stable").drop(columns="_place")
    folder = f"{FOLDER}-{profile}" + ("" if alone else f"-{slug(machine)}")
    return Abilities(folder, f"{profile} profile, {clean(machine)}", table.reset_index(drop=True))


def with_own_interval(rows: pd.DataFrame) -> pd.DataFrame:
    """The interval that decides how a net stands, beside its accuracy."""
    ends = [own_interval(row) or (None, None) for row in rows.to_dict("records")]
    low, high = (pd.Series([pair[i] for pair in ends], dtype=object) for i in (0, 1))
    return rows.assign(test_top1_percent_own_low=low, test_top1_percent_own_high=high)


def _order(table: pd.DataFrame, label: str) -> tuple[float, ...]:
    """Most solved, then most left, then the mean."""
    mine = table[table["label"] == label]
    counts = [-int((mine["standing"] == SOLVED).sum()), int((mine["standing"] == AT).sum())]
    return (*counts, -float(mine[TOP1].mean()))


def write_abilities(found: Abilities, results: Path) -> list[Path]:
    """Writes the table as CSV, Markdown and LaTeX."""
    folder, view = results / "tables" / found.folder, view_of(found)
    lines = (view.source, " ".join(in_short(found)), view.note, retried(found))
    heading = "\n".join(markdown(line) for line in lines if line)
    words = escaped(f"{view.title}. {view.source} {view.note} {retried(found)}".strip())
    texts = {
        "csv": csv_text(found.rows.dropna(axis="columns", how="all")),
        "md": f"# {view.title}\n\n{heading}\n\n{view.markdown}",
        "tex": HEAD + "".join(floats(view, cells_of(view), words, f"tab:{slug(found.folder)}-{NAME}")),
    }
    return write_texts(folder, {f"{NAME}.{ending}": text for ending, text in texts.items()})


def view_of(found: Abilities) -> View:
    """The mixers by the tasks, as people read it, and a line with the baselines."""
    header = ["mixer", "family", *map(task_words, found.tasks)]
    family = dict(zip(found.rows["label"], found.rows["family"], strict=True))
    body = [[label, family[label], *map(cell_text, found.cells(label))] for label in found.labels]
    body.append(["highest baseline", "no net", *(highest_words(found.baseline(t)) or NOTHING for t in found.tasks)])
    return View.of_texts(TITLE, f"{found.title}.", note(), header, body, 2)


def note() -> str:
    """How to read the table."""
    return (
        "Test top-1 in percent with its 95 % interval and the number of seeds. "
        f"{MARKS[SOLVED]} solved, {MARKS[OPEN]} open, {MARKS[AT]} at its baseline. {NOTE}"
    )


def retried(found: Abilities) -> str:
    """Which nets at their baseline, or open, another rate or more epochs takes off it; nothing where none was tried."""
    if not found.retries:
        return ""
    told = (
        f"{counted(len(found.retries), 'net')} at the baseline or open had other rates or more epochs too, judged on "
        "held-out sequences, one seed where no number is said."
    )
    left = [f"{clean(r.label)} on {found.name(r.task)} ({r.how}: {r.percent:.1f} %)" for r in found.retries if r.leaves]
    return f"{told} {f'Above the baseline then: {listing(left)}.' if left else 'None left it.'}"


def cell_text(row: Mapping[Any, Any] | None) -> str:
    """ "✓ 99.8 [99.5, 100.0], 3"; a dash for what was not trained."""
    if row is None:
        return NOTHING
    low, high = (plain(row[f"test_top1_percent_own_{end}"]) for end in ("low", "high"))
    between = "" if low is None else f" [{low:.1f}, {high:.1f}]"
    return f"{MARKS.get(row['standing'], '')} {row[TOP1]:.1f}{between}, {row['n']}".strip()


def in_short(found: Abilities) -> list[str]:
    """What the table shows in two sentences: who solves most, and how many mixers stay at each task's baseline."""
    by_label = {label: [row for row in found.cells(label) if row is not None] for label in found.labels}
    solved = {label: sum(row["standing"] == SOLVED for row in rows) for label, rows in by_label.items()}
    most, tasks = max(solved.values()), len(found.tasks)
    best = listing([clean(label) for label in found.labels if solved[label] == most])
    lead = f"Most tasks are solved by {best}: {most} of {tasks}." if most else f"No mixer solves any of {tasks} tasks."
    stuck = []
    for task in found.tasks:
        rows = found.of(task)
        at = sum(row["standing"] == AT for row in rows)
        stuck.append(f"{at} of {span_of([len(rows)], 'mixer')} on {found.name(task)}")
    return [lead, f"No better than a predictor that looks at one thing alone: {listing(stuck)}."]


def by_task(found: Abilities) -> dict[str, list[str]]:
    """Of each task who solves it, who is above its baselines, and who is not: sentences, the first with numbers."""
    told = {}
    for task in found.tasks:
        rows = found.of(task)
        by = {word: [clean(row["label"]) for row in rows if row["standing"] == word] for word in MARKS}
        lines = [f"Solved by {listing(by[SOLVED]) or 'nobody'}."]
        lines += [f"Above its baselines, not solved: {listing(by[ABOVE])}."] if by[ABOVE] else []
        stuck = f"Cannot, no better than a predictor that looks at one thing alone: {listing(by[AT])}."
        undecided = f"Open, above on average and not by the interval over seeds: {listing(by[OPEN])}."
        lines += [undecided] if by[OPEN] else []
        lines += [stuck] if by[AT] else []
        told[task_words(task)] = lines
    return told
