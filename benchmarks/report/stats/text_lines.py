"""The text records of a folder, put together: what an encoder learned in pre-training, and what it is worth on tasks.

One profile and machine is one line of text. Encoders are compared where they were pre-trained alike; what starts from
its first weights stands apart. The mean over tasks takes a seed as a whole line, from pre-training to the last task.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.special

from benchmarks.contract.facts.datasets import PRETRAIN, labels_file, task_name
from benchmarks.contract.fields import NET
from benchmarks.contract.trial import names_of
from benchmarks.report.alike import row_as_compared
from benchmarks.report.baselines import Z
from benchmarks.report.frame import objects, plain, slug
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.intervals import mean_interval
from benchmarks.report.stats.noise import noise
from benchmarks.report.stats.paired import OVER_BOTH, SETTING_COLUMNS, Runs, Sample, mean_top1
from benchmarks.report.stats.predictions import folders
from benchmarks.report.stats.scores import TOP1, f1_of_ones, headline_of, score_sample
from benchmarks.report.wording import clean

FOLDER = "text"  # no data set of the suite is called so
MEAN = "mean of"  # begins the name of a mean over tasks
FEWEST_TASKS = 2  # that it is over
ALIKE = [*(name for name in names_of(NET) if name != "padded_length"), "match", "precision", "residual", "pretrained"]


@dataclasses.dataclass(frozen=True)
class Task:
    """One task within a line: its records, and encoders pre-trained alike and fine-tuned alike.

    Attributes:
        name: of the data set.
        metric: its headline, of a record.
        evidence: its records.
        sample: of them, with that metric for their top-1.
        runs: by label.
    """

    name: str
    metric: str
    evidence: Evidence
    sample: Sample
    runs: Mapping[str, Runs]

    def records(self, label: str) -> pd.DataFrame:
        return records_of(self.evidence, self.runs[label])

    @functools.cached_property
    def rows(self) -> int | None:
        """How many test rows there are; None where no predictions are."""
        return next((len(answers) for answers in self.sample.correct.values()), None)

    @functools.cached_property
    def floor(self) -> float:
        """What a constant answer reaches in the headline, in points of 100."""
        first = self.records(next(iter(self.runs)))
        majority = first.get("baseline_majority_percent", pd.Series(dtype=float)).dropna()
        share = float(majority.iloc[0]) if len(majority) else 0.0
        if self.metric == TOP1:
            return share
        if self.metric != "test_f1":
            return 0.0
        for folder in folders(self.evidence.results):
            path = labels_file(folder, {str(k): v for k, v in first.iloc[0].items()})
            if path is not None and path.is_file():
                return f1_of_ones(np.load(path, allow_pickle=False))
        return 200 * share / (100 + share)

    @functools.cached_property
    def left(self) -> bool:
        """Whether any encoder lies above the floor, by an interval widened for their number."""
        ends = [whole_interval(self.sample, runs, 1 - 0.05 / len(self.runs)) for runs in self.runs.values()]
        return any(end is not None and end[0] > self.floor for end in ends)


@dataclasses.dataclass(frozen=True)
class Encoders:
    """Encoders that were pre-trained alike, or not at all, and what they reach on tasks.

    Attributes:
        setting: the fields that all share.
        tasks: those that any of them was fine-tuned on, first those that say something.
    """

    setting: Mapping[str, Any]
    tasks: Sequence[Task]

    @property
    def scratch(self) -> bool:
        return self.setting["pretrained"] is None

    @property
    def labels(self) -> list[str]:
        """By how they stand on the first tasks that they have."""
        mean, known = self.mean, sorted({label for task in self.tasks for label in task.runs})
        scores = {label: mean_top1(runs) for label, runs in (mean.runs if mean else {}).items()}
        firsts = {label: [-mean_top1(t.runs[label]) if label in t.runs else math.inf for t in self.tasks]
                  for label in known}  # fmt: skip
        return sorted(known, key=lambda label: (-scores.get(label, -math.inf), firsts[label], label))

    @functools.cached_property
    def counted(self) -> list[Task]:
        """The tasks that the mean is over: those on which any encoder leaves what a constant answer reaches."""
        return [task for task in self.tasks if task.left]

    @functools.cached_property
    def mean(self) -> Task | None:
        """The mean over the tasks that count, as if it were a task, of the encoders that have all of them."""
        return mean_task(self.counted) if len(self.counted) >= FEWEST_TASKS else None


@dataclasses.dataclass(frozen=True)
class Line:
    """All text records of one profile and machine.

    Attributes:
        folder: the name of its own, in tables/ and plots/.
        title: profile and machine.
        pretraining: its group; None where nothing was pre-trained here.
        tasks: the groups of the tasks.
    """

    folder: str
    title: str
    pretraining: Evidence | None
    tasks: Sequence[Evidence]

    @functools.cached_property
    def settings(self) -> list[list[Runs]]:
        """Encoders that were pre-trained alike, most of them first."""
        return [] if self.pretraining is None else self.pretraining.sample.settings()

    @functools.cached_property
    def parts(self) -> list[Encoders]:
        """The tasks by what nets saw before, most encoders and tasks first, those from scratch last."""
        found: dict[tuple[Any, ...], list[Task]] = {}
        settings: dict[tuple[Any, ...], dict[str, Any]] = {}
        for evidence in sorted(self.tasks, key=lambda e: str(e.frame.iloc[0]["dataset"])):
            name = str(evidence.frame.iloc[0]["dataset"])
            metric = headline_of(name)
            sample = score_sample(evidence, metric)
            taken = set()
            for several in sample.settings():
                setting = {field: row_as_compared(several[0].setting).get(field) for field in ALIKE}
                setting["dim"] = setting["dim"] if setting["match"] == "width" else None
                key = tuple(setting.values())
                if several[0].setting["padded_length"] is None and key not in taken:
                    taken.add(key)
                    runs = {str(one.setting["label"]): one for one in several}
                    found.setdefault(key, []).append(Task(name, metric, evidence, sample, runs))
                    settings[key] = setting
        parts = [Encoders(settings[key], sorted(tasks, key=lambda task: not task.left)) for key, tasks in found.items()]
        return sorted(parts, key=lambda part: (part.scratch, -sum(len(task.runs) for task in part.tasks)))


def find_lines(evidence: Sequence[Evidence]) -> list[Line]:
    """Of all groups of a folder the text, one line a profile and machine."""
    found: dict[tuple[str, str], list[Evidence]] = {}
    for group in evidence:
        first = group.frame.iloc[0]
        if task_name(str(first["dataset"])) == "text" and (group.frame["kind"] == "accuracy").any():
            found.setdefault((str(first["profile"]), str(first["machine"])), []).append(group)
    lines = []
    for (profile, machine), groups in sorted(found.items()):
        alone = sum(other == profile for other, _ in found) == 1
        folder = f"{FOLDER}-{profile}" + ("" if alone else f"-{slug(machine)}")
        before = [group for group in groups if group.frame.iloc[0]["dataset"] == PRETRAIN]
        tasks = [group for group in groups if group.frame.iloc[0]["dataset"] != PRETRAIN]
        lines.append(Line(folder, f"{profile} profile, {clean(machine)}", before[0] if before else None, tasks))
    return lines


def records_of(evidence: Evidence, runs: Runs) -> pd.DataFrame:
    """The records behind some runs, by seed."""
    mine = evidence.frame[evidence.frame["id"].isin(list(runs.ids.values())) & (evidence.frame["kind"] == "accuracy")]
    return mine.sort_values("seed", kind="stable")


def own_interval(sample: Sample, runs: Runs, signed: bool = False) -> tuple[float, float] | None:
    """95 % over a net's own seeds (Student's t) and the test rows (normal), squared and added, in points of 100.

    Args:
        sample: of these runs.
        runs: of one net.
        signed: whether the score goes down to -100.

    Returns:
        None with one seed and no predictions.
    """
    over_seeds = mean_interval(runs.top1.values())
    assert over_seeds is not None
    there = sample.over(runs) == OVER_BOTH
    over_rows = Z * noise(sample.correct_of(runs)).test if there else None
    if over_seeds.half is None and over_rows is None:
        return None
    half = math.hypot(over_seeds.half or 0.0, over_rows or 0.0)
    return max(-100.0 if signed else 0.0, over_seeds.value - half), min(100.0, over_seeds.value + half)


def whole_interval(sample: Sample, runs: Runs, confidence: float) -> tuple[float, float] | None:
    """A mean score's interval as comparisons have it; of one seed over the test rows alone."""
    found = sample.interval(lambda mean: mean, runs, confidence=confidence)
    if found.low is not None and found.high is not None:
        return found.low, found.high
    if sample.over(runs) != OVER_BOTH:
        return None
    (answers,) = (sample.correct[name] for name in list(runs.ids.values())[:1])
    half = float(scipy.special.ndtri((1 + confidence) / 2)) * noise(answers[None, :]).test
    return found.value - half, found.value + half


def mean_task(tasks: Sequence[Task]) -> Task | None:
    """The mean over tasks as a task of its own, a seed one line through all of them; None where no encoder has all."""
    rows, answers = [], {}
    labels = set.intersection(*(set(task.runs) for task in tasks))
    for label in sorted(labels):
        mine = [(task, task.runs[label]) for task in tasks]
        for seed in sorted(set.intersection(*(set(runs.top1) for _, runs in mine))):
            name = " ".join(runs.ids[seed] for _, runs in mine)
            setting = mine[0][1].setting
            top1 = math.fsum(runs.top1[seed] for _, runs in mine) / len(mine)
            known = [task.sample.correct.get(runs.ids[seed]) for task, runs in mine]
            if all(answer is not None for answer in known):
                answers[name] = joined([np.asarray(answer, float) for answer in known])
            rows.append({**setting, "dataset": mean_words(tasks), "seed": seed, "id": name, "kind": "accuracy",
                         "status": "ok", TOP1: top1, "val_top1_percent": math.nan})  # fmt: skip
    if not rows:
        return None
    frame = objects(rows).astype({TOP1: float, "val_top1_percent": float})
    first = tasks[0].evidence.frame.iloc[0]
    frame = frame.assign(profile=first["profile"], machine=first["machine"])
    evidence = Evidence(frame, tasks[0].evidence.results)
    evidence.sample = Sample(frame, answers)
    runs = {str(one.setting["label"]): one for one in evidence.sample.settings()[0]}
    return Task(mean_words(tasks), TOP1, evidence, evidence.sample, runs)


def mean_words(tasks: Sequence[Task]) -> str:
    return f"{MEAN} {len(tasks)} tasks"


def joined(answers: Sequence[np.ndarray[Any, np.dtype[np.float64]]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Answers to the rows of several tasks as those to one: their mean is the tasks' mean, and so is its error.

    Every row counts for what it is of its task's part in the mean; tasks that are easier than others add no spread.
    """
    total, middle = sum(map(len, answers)), float(np.mean([a.mean() for a in answers]))
    return np.concatenate([middle + (a - a.mean()) * total / (len(answers) * len(a)) for a in answers])


@dataclasses.dataclass(frozen=True)
class Span:
    """How far the highest and the lowest of some encoders on a task lie apart.

    Attributes:
        highest: its label.
        lowest: the other's.
        points: between them.
        half: half the interval of that, widened for all pairs that they were chosen from; None: not known.
        n: the fewest seeds of the two.
    """

    highest: str
    lowest: str
    points: float
    half: float | None
    n: int

    @property
    def ranks(self) -> bool:
        """Whether anything is told apart."""
        return self.half is not None and self.points > self.half


def span_of_task(task: Task) -> Span | None:
    """Of a task's encoders; None of fewer than two. One seed leaves the test rows alone for an interval."""
    ordered = sorted(task.runs.values(), key=lambda runs: (mean_top1(runs), str(runs.setting["label"])))
    if len(ordered) < 2:
        return None
    low, high = ordered[0], ordered[-1]
    confidence = 1 - 0.05 / math.comb(len(ordered), 2)
    found = task.sample.interval(lambda a, b: a - b, high, low, confidence=confidence)
    half = found.half
    if half is None and task.sample.over(high, low) == OVER_BOTH:
        means = [np.mean([task.sample.correct[name] for name in runs.ids.values()], axis=0) for runs in (high, low)]
        spread = 100 * float(np.std(means[0] - means[1], ddof=1)) / math.sqrt(len(means[0]))
        half = float(scipy.special.ndtri((1 + confidence) / 2)) * spread
    return Span(str(high.setting["label"]), str(low.setting["label"]), found.value, half, found.n)


def setting_of(runs: Runs) -> dict[str, Any]:
    """The fields of a setting as CSV has them."""
    return {name: plain(runs.setting[name]) for name in SETTING_COLUMNS}
