"""What is done, running, stopped and failed in a results folder, told from its files alone.

Records say what is done, `checkpoints/<kind>-<id>.heartbeat.json` what runs, and `checkpoints/plan.json`, where a sweep
left one, what is still to come.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.facts.datasets import training_images
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.record import Record, machine_key, now, write_json
from benchmarks.contract.trial import Trial, varied
from benchmarks.sources import other_code_line

PLAN_FILE = "plan.json"
STALE_S = 60  # a running trial touches its heartbeat more often than that, or says how seldom it does
STATES = ("done", "failed", "running", "stopped", "to do")

Data = tuple[str, str]  # a data set and, of a user's own, its fingerprint; two may share a name
UNTOLD: Data = ("", "")  # of a plan that version 0.1 left


@dataclasses.dataclass(frozen=True)
class Begun:
    """A trial with a heartbeat and no record."""

    trial: Trial
    epoch: int | None  # finished; None of what has no epochs, such as a latency
    epochs: int | None
    images_per_s: float | None
    silent_s: float  # since the heartbeat was touched
    interval_s: float  # between two touches
    started: str
    running_s: float  # from its start to the latest touch

    @property
    def stopped(self) -> bool:
        return self.silent_s > max(STALE_S, 3 * self.interval_s)

    @property
    def left_s(self) -> float | None:
        """About how long it still takes at its latest speed; None where nothing tells."""
        if self.epoch is None or self.epochs is None or not self.images_per_s:
            return None
        trial = self.trial
        images = training_images(trial.dataset, trial.train_images, trial.length, trial.tokenizer)
        if not images:
            return None
        return (self.epochs - self.epoch) * images / self.images_per_s

    @property
    def progress(self) -> str:
        """ "epoch 4 of 10", or since when it runs."""
        if self.epoch is None:
            return f"for {duration(self.running_s + (0 if self.stopped else self.silent_s))}"
        return f"epoch {self.epoch} of {self.epochs}"


@dataclasses.dataclass(frozen=True)
class Status:
    """All that the files of a results folder tell."""

    counts: dict[tuple[Data, str, str], collections.Counter[str]]  # (data set, kind, mixer) -> state -> trials
    running: list[Begun]  # the stopped ones too
    failed: list[Record]
    broken: list[str]  # one line a file that cannot be read
    left_s: float | None  # of the whole sweep; None where nothing tells
    more: list[str] = dataclasses.field(default_factory=list)  # fields that tell trials of a grid apart
    other_code: str | None = None  # a line on the records that are of other code than today's

    @property
    def totals(self) -> collections.Counter[str]:
        return sum(self.counts.values(), collections.Counter())

    @property
    def datasets(self) -> dict[Data, str]:
        """The data sets in words; none of a folder with one, which need not be named."""
        found = sorted({data for data, _, _ in self.counts})
        names = collections.Counter(name for name, source in found if source)
        words = {
            (name, source): f"{name} ({source[:12] or 'not said'})" if names[name] > 1 else name or "not said"
            for name, source in found
        }
        return words if len(set(words.values())) > 1 else {}

    def describe(self, trial: Trial) -> str:
        """One line, with the data set where there are several."""
        data = self.datasets.get(data_of(trial))
        return trial.describe(self.more) + (f", {printable(data)}" if data else "")


def write_plan(results: Path, trials: Iterable[Trial]) -> Path:
    """Leaves word of what a sweep is going to measure, for `read_status`; measured ones may be among the trials."""
    from benchmarks.machine.environment import environment  # with torch, which reading a status goes without

    machines: dict[str, str] = {}
    entries = []
    for trial in trials:
        if KINDS[trial.kind].timed and trial.device not in machines:
            machines[trial.device] = machine_key(environment(trial.device, trial.threads))
        record = f"{trial.kind}-{trial.id(machines.get(trial.device))}"
        about = {name: getattr(trial, name) for name in ("kind", "mixer", "dataset", "dataset_source")}
        entries.append({"record": record} | about)
    return write_json(results / "checkpoints" / PLAN_FILE, {"written": now(), "trials": entries})


def read_status(results: Path, at: datetime.datetime | None = None) -> Status:
    """Reads records, heartbeats and the plan of a results folder.

    Args:
        results: the folder.
        at: the time that counts as now, in UTC.

    Raises:
        UserError: there is no such folder.
    """
    at = at or datetime.datetime.now(datetime.UTC)
    if not results.is_dir():
        raise UserError(f"{results} is not a folder; --results names the folder that holds records/")
    records, running, broken = [], [], []
    for path in sorted((results / "records").glob("[!.]*.json")):
        try:
            records.append(Record.load(path))
        except UserError as error:
            broken.append(printable(error))
    measured = {f"{record.kind}-{record.id}" for record in records}
    beating: set[str] = set()
    for path in sorted((results / "checkpoints").glob("[!.]*.heartbeat.json")):
        name = path.name.removesuffix(".heartbeat.json")
        if name in measured:
            continue
        try:
            running.append(read_heartbeat(path, at))
            beating.add(name)
        except FileNotFoundError:
            continue  # its trial has just ended
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            broken.append(printable(f"{path.name} is not a readable heartbeat ({type(error).__name__}: {error})"))
    known = {data_of(trial) for trial in (*(r.trial for r in records), *(r.trial for r in running))}
    usual = next(iter(known)) if len(known) == 1 else UNTOLD
    to_do = [row for name, row in _read_plan(results, usual) if name not in measured | beating]

    counts: dict[tuple[Data, str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for record in records:
        state = "failed" if record.failed else "done"
        counts[data_of(record.trial), record.kind, record.trial.mixer][state] += 1
    for trial in running:
        counts[data_of(trial.trial), trial.trial.kind, trial.trial.mixer][
            "stopped" if trial.stopped else "running"
        ] += 1
    for row in to_do:
        counts[row]["to do"] += 1
    failed = [record for record in records if record.failed]
    left_s = _seconds_left(records, running, [kind for _, kind, _ in to_do])
    more = varied([*(record.trial for record in records), *(one.trial for one in running)])
    return Status(dict(sorted(counts.items())), running, failed, broken, left_s, more, other_code_line(records))


def data_of(trial: Trial) -> Data:
    """The data set of a trial."""
    return trial.dataset, trial.dataset_source or ""


def read_heartbeat(path: Path, at: datetime.datetime | None = None) -> Begun:
    """What a heartbeat says at a time, by default now; a broken one raises what reading JSON and facts of it raises."""
    at = at or datetime.datetime.now(datetime.UTC)
    content = json.loads(path.read_text(encoding="utf-8"))
    trial = Trial.from_dict(content["trial"])
    epoch, epochs, speed = content["epoch"], content["epochs"], content["images_per_s"]
    if (epoch, epochs) != (None, None) or trial.epochs is not None:
        for count in (epoch, epochs):
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= epoch <= epochs:
                raise ValueError(f"epoch {epoch} of {epochs}")
    if speed is not None and not 0 < float(speed) < float("inf"):
        raise ValueError(f"{speed} images/s")
    interval_s = float(content.get("interval_s", 0))
    if not 0 <= interval_s < float("inf"):
        raise ValueError(f"touched every {interval_s} s")
    updated = datetime.datetime.fromisoformat(content["updated"])
    silent_s = max(0.0, (at - updated).total_seconds())
    running_s = _seconds_between(content["started"], content["updated"])
    return Begun(trial, epoch, epochs, speed, silent_s, interval_s, content["started"], running_s)


def _read_plan(results: Path, usual: Data) -> list[tuple[str, tuple[Data, str, str]]]:
    """Record name and data set, kind and mixer of every planned trial; nothing where there is no plan, or a broken one.

    Plans of version 0.1 name no data set; theirs is the usual one.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        entries = json.loads((results / "checkpoints" / PLAN_FILE).read_text(encoding="utf-8"))["trials"]
        return [(str(entry["record"]), _row_of(entry, usual)) for entry in entries]
    return []


def _row_of(entry: dict[str, Any], usual: Data) -> tuple[Data, str, str]:
    data = (str(entry["dataset"]), str(entry["dataset_source"] or "")) if "dataset" in entry else usual
    return data, str(entry["kind"]), str(entry["mixer"])


def _seconds_left(records: list[Record], running: list[Begun], to_do: list[str]) -> float | None:
    """What runs now, and what is to come at the mean time of its kind, over as many workers as there are now.

    What has no epochs is to come whole, less the time for which its process runs.
    """
    trained = [trial for trial in running if trial.epochs is not None]
    others = [trial for trial in running if trial.epochs is None]
    lefts = [trial.left_s for trial in trained]
    begun = {(trial.trial.kind, trial.started): trial.running_s for trial in others if not trial.stopped}
    to_do = [*to_do, *(trial.trial.kind for trial in others)]
    if not lefts and not to_do:
        return 0.0
    spans: dict[str, dict[str, str]] = collections.defaultdict(dict)  # kind -> start -> last end
    for record in records:
        ends = spans[record.kind]
        ends[record.started] = max(ends.get(record.started, ""), record.ended)
    counts = collections.Counter(record.kind for record in records)
    total = 0.0
    for kind, number in collections.Counter(to_do).items():
        if not counts[kind]:
            return None
        spent = sum(_seconds_between(start, end) for start, end in spans[kind].items())  # shared by a latency process
        since = sum(seconds for (other, _), seconds in begun.items() if other == kind)
        total += max(0.0, number * spent / counts[kind] - since)
    known = [left for left in lefts if left is not None]
    if len(known) < len(lefts):
        return None
    workers = max(1, sum(not trial.stopped for trial in trained))
    return max([*known, (sum(known) + total) / workers], default=0.0)


def _seconds_between(start: str, end: str) -> float:
    first, last = map(datetime.datetime.fromisoformat, (start, end))
    return max(0.0, (last - first).total_seconds())


def lines_of(status: Status) -> list[str]:
    """The status as people read it."""
    totals = status.totals
    words = [f"{totals[state]} {state}" for state in STATES if totals[state]] or ["nothing measured yet"]
    if totals["running"] + totals["stopped"] + totals["to do"]:
        words.append("time left unknown" if status.left_s is None else f"about {duration(status.left_s)} left")
    named, texts = status.datasets, 3 if status.datasets else 2
    rows: list[tuple[str, ...]] = [(*(["data set"] if named else []), "kind", "mixer", *STATES)]
    for (data, kind, mixer), counts in status.counts.items():
        names = [named[data], kind, mixer] if named else [kind, mixer]
        rows.append((*map(printable, names), *(str(counts[state] or "-") for state in STATES)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [", ".join(words)]
    if status.counts:
        lines += [
            "  ".join(row[i].ljust(widths[i]) if i < texts else row[i].rjust(widths[i]) for i in range(len(row)))
            for row in rows
        ]
    if status.other_code:
        lines.append(printable(status.other_code))
    for trial in status.running:
        what = f"{status.describe(trial.trial)}: {trial.progress}"
        if trial.stopped:
            lines.append(f"stopped: {what}, silent for {duration(trial.silent_s)}; the same command goes on")
        else:
            speed = "" if trial.images_per_s is None else f", {trial.images_per_s:.0f} images/s"
            left = "" if trial.left_s is None else f", about {duration(trial.left_s)} left"
            lines.append(f"running: {what}{speed}{left}")
    lines += [f"{r.status}: {status.describe(r.trial)}: {printable(r.reason or '')}" for r in status.failed]
    return lines + [f"broken: {line}" for line in status.broken]


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
