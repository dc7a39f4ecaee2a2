"""Records as a DataFrame, and what tables and plots ask of it."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contract import called
from benchmarks.contract.choices.chosen_nets import ChosenNets
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import PRETRAIN, SIZES, is_own
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.contract.record import Record, load_records, machine_name, processor_kind
from benchmarks.contract.trial import ADDED, FACTS, FIELDS, Trial
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
Rate = tuple[float, float]  # learning rate and weight decay


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
    """What nets saw before, in words and not by the record of it, so that those of different mixers are alike.

    Rates are chosen for each mixer, so they are said only where one mixer has several: of all but its best.
    """
    known = {record.id: record for record in records if record.trial.dataset == PRETRAIN}
    rates: dict[Trial, dict[Rate, list[float]]] = {}  # by all else but the seed; of each rate what is held out
    for record in known.values():
        found = rates.setdefault(_but_for_rate(record.trial), {}).setdefault(_rate_of(record.trial), [])
        found.append(number(record.metrics.get("val_top1_percent")))
    texts: dict[str | None, set[str | None]] = {}
    for record in known.values():
        texts.setdefault(record.trial.corpus, set()).add(record.trial.dataset_source)
    words = {}
    for name, record in known.items():
        trial, rate = record.trial, _rate_of(record.trial)
        several = rates[_but_for_rate(trial)]
        seen = (trial.epochs or 0) * (trial.train_images or 0) * (trial.length or 0)
        of_several = f" ({(trial.dataset_source or 'unknown')[:8]})" if len(texts[trial.corpus]) > 1 else ""
        words[name] = f"{seen / 1e6:.3g} M tokens of {trial.corpus}{of_several}" + (
            f", order {trial.order}" if trial.order != ADDED["order"] else ""
        )
        # the rate with most seeds, of those the best
        if rate != max(several, key=lambda r: (len(several[r]), np.nan_to_num(np.mean(several[r])), r)):
            words[name] += f", learning rate {rate[0]:g}, weight decay {rate[1]:g}"
    return [r.trial.pretrained and words.get(r.trial.pretrained, r.trial.pretrained) for r in records]


def _but_for_rate(trial: Trial) -> Trial:
    return dataclasses.replace(trial, seed=0, lr=None, weight_decay=None)


def _rate_of(trial: Trial) -> Rate:
    return trial.lr or 0.0, trial.weight_decay or 0.0


def records_frame(records: Sequence[Record]) -> pd.DataFrame:
    """The same from records in memory; metrics are floats, all else objects, None where there is nothing."""
    columns: dict[str, list[Any]] = {name: [getattr(record.trial, name) for record in records] for name in TRIAL_FIELDS}
    columns["pretrained"] = _pretrained_on(records)
    columns["id"] = [record.id for record in records]
    columns["status"], columns["reason"] = map(list, zip(*map(outcome, records), strict=True)) if records else ([], [])
    columns["label"] = mixer_labels(records)
    columns["family"] = [mixer_family(record.trial.mixer, record.trial.grid[0] == 1) for record in records]
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


def whole(value: Any) -> int | None:
    """A count as the integer it is, so that a CSV does not say 65536.0."""
    value = plain(value)
    return None if value is None else round(value)


def setting_order(row: dict[str, Any]) -> tuple[Any, ...]:
    size = size_order(row["image_size"]) if "image_size" in row else ()
    rest = [
        str(row[name])
        for name in ("match", "norm", "positions", "coordinates", "precision", "compiled", "device")
        if name in row
    ]
    size = (*size, row.get("length") or 0)
    return (row["patch_size"] or 0, size, row["depth"], *rest, row["dim"], row["threads"])


def table(rows: list[dict[str, Any]], order: Any) -> pd.DataFrame:
    rows = sorted(rows, key=lambda row: (order(row), repr(sorted(row.items(), key=lambda item: item[0]))))
    return objects(rows)


def objects(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with the same columns as they are: None stays None, and a count an integer."""
    names = list(rows[0]) if rows else []
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in names})
