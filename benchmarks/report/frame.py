"""Records as a DataFrame, and what tables and plots ask of it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contract import called
from benchmarks.contract.choices.chosen_nets import CHOSEN, ChosenNets
from benchmarks.contract.choices.profiles import USUAL_NET
from benchmarks.contract.datasets import PRETRAIN, SIZES, is_own
from benchmarks.contract.errors import UserError
from benchmarks.contract.fields import RECIPE
from benchmarks.contract.metrics import METRICS
from benchmarks.contract.record import Record, load_records, machine_name, processor_kind
from benchmarks.contract.trial import ADDED, FACTS, FIELDS, Trial, names_of
from benchmarks.ratios import round_key, sittings_of
from benchmarks.report.families import mixer_family
from benchmarks.report.sizes import extent_of

TRIAL_FIELDS = list(FIELDS)
NET_TIMES = ("forward_ms", "forward_backward_ms")
MIXER_TIMES = ("mixer_forward_ms", "mixer_forward_backward_ms", "copy_ms")
SPEEDS = ("train_s", "train_images_per_s", "overhead_percent", "compile_s")  # of a training run, not its accuracy
# columns, and what records of version 0.1 have in them
LATER = ADDED | {"processor": None, "processors": None, "flops_unknown": None}
LATER |= {"net": None, "budget": None, "n_failed": 0, "failed_runs": None, "withheld": False}
LATER |= dict.fromkeys(SIZES)  # those of another task
CSV_NAMES = {name: f"{name}_px" for name, facts in FACTS.items() if facts.unit == " px"}
GROUP = ["dataset", "profile", "machine"]  # records that differ in one of these never meet
OWN_NAME_LENGTH = 40  # in the name of a folder
# the rest are ablations
USUAL = {name: FIELDS[name] for name in ("match", "norm", "positions", "coordinates", "padded_length")} | {
    "compiled": False
}
USUAL |= {name: ADDED[name] for name in names_of(RECIPE) if name in ADDED}


def results_frame(folder: Path | str) -> pd.DataFrame:
    """All records of a folder as a table for the report: see `load_results`, whose table is for people.

    Raises:
        UserError: the folder does not exist, holds no records, or holds something that is no record.
    """
    records = load_records(Path(folder))
    if not records:
        everything, one = called.command("bench-all"), called.command("train", mixer="dct")
        raise UserError(f"{folder} holds no records yet; type `{everything}`, or `{one}` for one run")
    return records_frame(records)


def _pretrained_on(records: Sequence[Record]) -> list[str | None]:
    """What nets saw before, in words and not by the record of it, so that those of different mixers are alike."""
    known = {record.id: record.trial for record in records if record.trial.dataset == PRETRAIN}
    words = {}
    for name, trial in known.items():
        seen = (trial.epochs or 0) * (trial.train_images or 0) * (trial.length or 0)
        words[name] = f"{seen / 1e6:.3g} M tokens of {trial.corpus}" + (
            f", order {trial.order}" if trial.order != ADDED["order"] else ""
        )
    return [r.trial.pretrained and words.get(r.trial.pretrained, r.trial.pretrained) for r in records]


def records_frame(records: Sequence[Record]) -> pd.DataFrame:
    """The same from records in memory; metrics are floats, all else objects, None where there is nothing."""
    columns: dict[str, list[Any]] = {name: [getattr(record.trial, name) for record in records] for name in TRIAL_FIELDS}
    columns["pretrained"] = _pretrained_on(records)
    columns["id"] = [record.id for record in records]
    columns["status"], columns["reason"] = map(list, zip(*map(outcome, records), strict=True)) if records else ([], [])
    columns["label"] = mixer_labels(records)
    columns["family"] = [mixer_family(record.trial.mixer) for record in records]
    nets = ChosenNets(records)
    columns["net"] = [nets.mark(record.trial.to_dict()) for record in records]
    columns["budget"] = budgets([record.trial for record in records])
    columns["tokens"] = [record.trial.tokens for record in records]
    columns["method"] = [record.metrics.get("method") for record in records]
    columns["flops_unknown"] = [record.metrics.get("flops_unknown") for record in records]
    columns["machine"] = [machine_name(record.environment) for record in records]
    columns["processor"] = [processor_kind(record.environment) for record in records]
    columns["torch"] = [record.environment.get("torch") for record in records]
    columns["commit"] = [record.code.get("commit") for record in records]
    columns["dirty"] = [record.code.get("dirty") for record in records]
    columns["started"] = [record.started for record in records]
    columns["ended"] = [record.ended for record in records]
    # object columns, so that None stays None and a count stays an integer
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    values = np.full((len(records), len(METRICS)), math.nan)
    places = {name: place for place, name in enumerate(METRICS)}
    for row, record in zip(values, records, strict=True):
        for name, value in record.metrics.items():
            if name in MIXER_TIMES and number(value) <= 0:
                continue  # too short for the clock
            if name in places and not (name in SPEEDS and record.environment.get("neighbours")):
                row[places[name]] = number(value)
    numbers = pd.DataFrame(values, columns=list(METRICS))
    frame = pd.concat([frame, numbers], axis=1)
    frame["history"] = pd.Series([record.history for record in records], dtype=object)
    return frame


def outcome(record: Record) -> tuple[str, str | None]:
    """Status and reason; a net that took no time is a clock that did not run, which withholds all that it timed."""
    nothing = [name for name in NET_TIMES if number(record.metrics.get(name)) <= 0]
    if record.status != "ok" or not nothing:
        return record.status, record.reason
    return "error", f"{nothing[0]} is {record.metrics[nothing[0]]}; allowed: times above 0"


def budgets(trials: Sequence[Trial]) -> list[int | None]:
    """The width whose budget a trial's own was solved for, where there are several; None where it is the width."""
    found = [None if trial.match == "width" else trial.match_dim for trial in trials]
    return found if len(set(found) - {None}) > 1 else [None] * len(found)


def mixer_labels(records: Sequence[Record]) -> list[str]:
    """The mixer as written; where a plug-in was edited between runs, with the beginning of its source's hash.

    Of a mixer's versions the latest has its plain name, the others have theirs beside it.
    """
    sources: dict[str, set[str | None]] = {}
    versions: dict[str, int] = {}
    for record in records:
        trial = record.trial
        sources.setdefault(trial.mixer, set()).add(trial.mixer_source)
        versions[trial.mixer] = max(trial.mixer_version, versions.get(trial.mixer, 1))
    labels = []
    for record in records:
        mixer, source, version = record.trial.mixer, record.trial.mixer_source, record.trial.mixer_version
        label = f"{mixer} #{(source or 'none')[:6]}" if len(sources[mixer]) > 1 else mixer
        labels.append(label if version == versions[mixer] else f"{label} v{version}")
    return labels


def without_usual(table: pd.DataFrame) -> pd.DataFrame:
    """A table without the columns of later fields in which all its rows are as records of version 0.1 were."""
    usual = {name: before for name, before in LATER.items() if name in table}
    return table.drop(columns=[n for n, before in usual.items() if all(plain(v) == before for v in table[n])])


def split_groups(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Splits a frame by data set, profile and machine.

    Returns:
        Frames by folder name: `<dataset>-<profile>`, with the machine added where several share both.
    """
    keys = sorted({tuple(key) for key in frame[GROUP].itertuples(index=False)})
    groups = {}
    for dataset, profile, machine in keys:
        name = slug(f"{dataset}-{profile}")
        if is_own(dataset):  # whose names can be any
            base = slug(dataset, OWN_NAME_LENGTH)
            alike = len({other[0] for other in keys if slug(other[0], OWN_NAME_LENGTH) == base}) > 1
            name = f"{base}-{short_hash(dataset)}-{profile}" if alike else f"{base}-{profile}"
        rivals = [other for other in keys if other[:2] == (dataset, profile)]
        if len(rivals) > 1:
            alike = sum(slug(other[2]) == slug(machine) for other in rivals) > 1
            name += "-" + slug(machine) + ("-" + short_hash(machine) if alike else "")
        same = (frame["dataset"] == dataset) & (frame["profile"] == profile) & (frame["machine"] == machine)
        groups[name] = frame[same].reset_index(drop=True)
    return groups


def comparisons(table: pd.DataFrame, fields: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Splits rows into those that may share a plot: all `fields` equal.

    The width counts only where it is what trials hold equal; at equal parameters or FLOPs each mixer has its own.

    Returns:
        Frames by suffix for a file name. The first, "", is the comparison with most mixers, then most runs, then the
        fewest departures from the usual; the suffix of the others says in what they differ from it, such as
        "32px-patch4".
    """
    parts: dict[tuple[Any, ...], list[int]] = {}
    seen = as_compared(table, fields)
    columns = {f: [plain(value) for value in seen[f]] for f in fields}
    if "dim" in columns:
        columns["dim"] = [d if m == "width" else None for d, m in zip(columns["dim"], table["match"], strict=True)]
    for position, key in enumerate(zip(*columns.values(), strict=True)):
        parts.setdefault(key, []).append(position)

    def rank(key: tuple[Any, ...]) -> tuple[Any, ...]:
        rows = table.iloc[parts[key]]
        ready = rows[rows["status"] == "ok"]
        runs = int(ready["n"].sum()) if "n" in ready else len(ready)
        unusual = sum(value != USUAL.get(name, value) for name, value in zip(fields, key, strict=True))
        return (-ready["label"].nunique(), -runs, unusual, [str(value) for value in key])

    ordered = sorted(parts, key=rank)
    result = {}
    for key in ordered:
        pairs = zip(fields, key, ordered[0], strict=True)
        differs = [suffix_word(f, v) for f, v, main in pairs if v != main and not (f == "dim" and v is None)]
        result[slug("-".join(differs), longest=150) if differs else ""] = table.iloc[parts[key]].reset_index(drop=True)
    return result


def as_compared(table: pd.DataFrame, fields: Sequence[str] = ("net",)) -> pd.DataFrame:
    """The table as comparisons see it: what has the norm and positions chosen for its mixer counts as usual.

    Where `fields` leave the net out, norm and positions count as they are.
    """
    if "net" not in fields or "net" not in table or not (table["net"] == CHOSEN).any():
        return table
    chosen = table["net"] == CHOSEN
    usual = {"norm": USUAL_NET[0], "positions": USUAL_NET[1], "net": None}
    return table.assign(**{name: table[name].mask(chosen, value) for name, value in usual.items()})


def row_as_compared(row: Any, fields: Sequence[str] = ("net",)) -> dict[str, Any]:
    """The same of one row."""
    if "net" not in fields or row["net"] != CHOSEN:
        return dict(row)
    return dict(row) | {"norm": USUAL_NET[0], "positions": USUAL_NET[1], "net": None}


def all_but(fields: Sequence[str], free: Sequence[str]) -> list[str]:
    """Fields without those left free; where norm or positions are free, what was chosen of them says nothing."""
    without = {*free, *(["net"] if {"norm", "positions"} & set(free) else [])}
    return [name for name in fields if name not in without]


def held_equal(fields: Sequence[str], row: Any) -> list[str]:
    """Those of the fields that must agree with a row's: all but the width where a budget is what trials hold equal."""
    return [name for name in fields if name != "dim" or row["match"] == "width"]


def suffix_word(field: str, value: Any) -> str:
    if field == "image_size":
        return f"{value}px"
    if field == "patch_size":
        return f"patch{value}"
    if field == "length":
        return f"{value}tokens"
    if field == "compiled":
        return "compiled" if value else "eager"
    return f"{field}-{value}"


def sittings(row: Any) -> list[str]:
    """When the sittings of a latency record began, in order."""
    return sittings_of(row["history"], row["started"])


def rounds(row: Any, column: str, of: Sequence[str] | None = None) -> dict[int, float]:
    """One column of a latency record's history by `round_key`, without the rounds in which it was not measured.

    Args:
        row: the record.
        column: of its history.
        of: the sittings that count; by default all.
    """
    places = {start: place for place, start in enumerate(sittings(row) if of is None else of)}
    values = {}
    for item in row["history"]:
        place = places.get(item.get("sitting") or row["started"])
        if place is not None:
            values[round_key(place, int(item["round"]))] = number(item.get(column))
    return {r: value for r, value in values.items() if value > 0}


def number(value: Any) -> float:
    """The value as a float, NaN for None and for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def plain(value: Any) -> Any:
    """None for NaN and None, the value itself otherwise."""
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value


def square_ones(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose size is one number: square images, or sequences."""
    return frame[frame[extent_of(frame).field].map(lambda size: isinstance(size, int)).astype(bool)]


def size_order(value: int | str | None) -> tuple[int, ...]:
    """Sorts image sizes by their pixels: 16, "16x32", 32; first what has none."""
    if value is None:
        return (0, 0, 0)
    sides = [int(side) for side in str(value).split("x")]
    return (sides[0] * sides[-1], *sides)


def slug(text: str, longest: int = 60) -> str:
    """The text with nothing in it but lower-case letters, digits and dashes, safe as a file name."""
    clean = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-")
    return clean or short_hash(text)


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
