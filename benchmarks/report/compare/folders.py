"""Reads two results folders and compares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import Record, load_records
from benchmarks.contract.words import counted
from benchmarks.report.compare.matches import Match, entries_of, matches
from benchmarks.report.compare.rows import (
    IDENTICAL,
    OF_BOTH,
    SAME,
    WITHIN,
    Side,
    accuracy_rows,
    cost_rows,
    latency_rows,
    words_of,
)
from benchmarks.report.frame import plain, records_frame
from benchmarks.report.wording import listing
from benchmarks.sources import changed_parts

PARTS = {"net": "the net's code", "task": "the measuring code of {kind}", "mixer": "the code of {mixer}"}
NOTHING_DIFFERS = "nothing differs"
SAME_IN_BOTH = (IDENTICAL, SAME, "unsupported in both", "failed in both")
UNTOLD = {  # beginnings of verdicts, in words
    "likely": "likely",
    "too few": "too few runs to tell",
    "withheld": "withheld, too many runs failed",
    "not comparable": "not comparable",
    "ambiguous": "several settings fit, not compared",
    "only in A": "only in A",
    "only in B": "only in B",
}
MOST_NAMED, MOST_VALUES = 6, 3


def compare(a: Path | str, b: Path | str) -> pd.DataFrame:
    """Compares two results folders, such as before and after a change: one row a quantity of a setting.

    A setting of one folder is compared with the one of the other that agrees in everything but what was changed on
    purpose; what they differ in stands in `differs`. Accuracies are compared as mixers are: B less A in points with the
    95 % interval over seeds and test images, p corrected for the number of settings (Holm, 1979). Seeds that give the
    same predictions in both are told as identical: they are one run, and no evidence. Counts and times are ratios, B
    over A; times of two kinds of processor have none, and a verdict on times takes three sittings in both folders.
    Tuning runs are no part of it.

    >>> from benchmarks import compare
    >>> table = compare("results/published/residual-cpu", "results/published/residual-cpu")
    >>> table.attrs["summary"]
    'nothing differs: 2 mixers, the same in both'

    Args:
        a: the folder before.
        b: the folder after.

    Returns:
        Columns `kind`, `quantity` (a metric), `mixer`, the fields of B's trial, `differs`, `a`, `b` (the values),
        `n_a`, `n_b` (seeds or sittings), `change` with `change_low` and `change_high` in `unit` (points or ratio),
        `p_value`, `holm_p`, `interval_over`, `verdict`, `changed` (beyond noise) and `note`. `attrs` has `heading`,
        what differs between the folders in lines, and `summary`, one sentence.

    Raises:
        UserError: one of them is no folder, or holds no records.
    """
    sides, records = [], []
    for letter, folder in (("A", a), ("B", b)):
        records.append(_records(letter, Path(folder)))
        sides.append(Side(Path(folder), records_frame(records[-1])))
    found = matches(*(entries_of(side.frame) for side in sides))
    of_kind = {kind: [match for match in found if match.kind == kind] for kind in ("accuracy", "cost", "latency")}
    rows = accuracy_rows(of_kind["accuracy"], *sides) + cost_rows(of_kind["cost"]) + latency_rows(of_kind["latency"])
    names = list(dict.fromkeys(name for row in rows for name in row))
    last = list(rows[0])[list(rows[0]).index("differs") :] if rows else []
    names = [name for name in names if name not in last] + last
    table = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})
    table.attrs["heading"] = [*_folders(sides, records), *_differences(sides, records, found)]
    table.attrs["summary"] = summary(table)
    return table


def _two_folders() -> str:
    return f"name two results folders: {called.command('compare', a='before', b='after')}"


def _records(letter: str, folder: Path) -> list[Record]:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{letter}={folder} {what}; {_two_folders()}")
    records = load_records(folder)
    if not records:
        raise UserError(f"{letter}={folder} holds no records; {_two_folders()}")
    return records


def _folders(sides: Sequence[Side], records: Sequence[Sequence[Record]]) -> list[str]:
    pairs = zip("AB", sides, records, strict=True)
    return [f"{letter}: {side.folder}, {counted(len(own), 'record')}" for letter, side, own in pairs]


def _differences(sides: Sequence[Side], records: Sequence[Sequence[Record]], found: Sequence[Match]) -> list[str]:
    """What the folders differ in, a line each: commit, code, packages, machine, and the fields of the trials."""
    a, b = (side.frame for side in sides)
    lines = []
    for name, word in (("commit", _commit), ("torch", str), ("machine", str), ("processor", str)):
        one, other = (_of_column(frame, name, word) for frame in (a, b))
        if one != other:
            lines.append(f"{name}: {_set(one, name)} -> {_set(other, name)}")
    if parts := sorted(set(_changed_code(*records))):
        lines.append(f"code: {_first(parts)}")
    by_field: dict[str, list[str]] = {}
    for match in found:
        for name, values in match.differs.items():
            if name not in ("machine", "processor", "torch"):
                by_field.setdefault(words_of({name: values}), []).append(str(match.setting["mixer"]))
    lines += [f"{words}: {_first(sorted(set(mixers)))}" for words, mixers in by_field.items()]
    return [f"differs in {line}" for line in lines] or ["they differ in no commit, code, package, machine or recipe"]


def _of_column(frame: pd.DataFrame, name: str, word: Callable[[Any], str]) -> list[str]:
    columns = [name, "dirty"] if name == "commit" else [name]
    values = frame[columns].drop_duplicates().itertuples(index=False, name=None)
    return sorted(word(value if name == "commit" else value[0]) for value in values if plain(value[0]) is not None)


def _set(values: Sequence[str], noun: str) -> str:
    if len(values) > MOST_VALUES:
        return f"{len(values)} {noun}s"
    return listing(values) or "not said"


def _commit(value: tuple[str, Any]) -> str:
    return value[0][:7] + (" with changes" if value[1] else "")


def _changed_code(a: Sequence[Record], b: Sequence[Record]) -> Iterator[str]:
    """The parts of the code whose hashes in one folder are all others than in the other."""
    one, other = _hashes(a), _hashes(b)
    for words in one.keys() & other.keys():
        if all(changed_parts({"code": x}, {"code": y}) for x in one[words] for y in other[words]):
            yield words


def _hashes(records: Sequence[Record]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        for part, digest in (record.code.get("sources") or {}).items():
            words = PARTS.get(part, part).format(kind=record.kind, mixer=record.trial.mixer)
            found.setdefault(words, set()).add(digest)
    return found


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def summary(table: pd.DataFrame) -> str:
    """One sentence: how many mixers changed beyond noise, and of how many that cannot be told."""
    verdicts = table["verdict"].map(str)
    one_sided = verdicts.str.startswith("only in")
    mixers = sorted(set(table["mixer"][~one_sided]))
    if not mixers:
        return "the folders have no mixer in common in any setting"
    changed = table[table["changed"].astype(bool)]
    names = sorted(set(changed["mixer"]))
    if names:
        words = [f"{name} ({_changes(changed[changed['mixer'] == name])})" for name in names]
        of = f"{len(names)} of {_mixers(mixers)} " if len(mixers) > 1 else ""
        text = f"{of}changed beyond noise: {_first(words)}"
    elif verdicts.isin(SAME_IN_BOTH).all() and not table["note"].str.endswith(OF_BOTH).any():
        return f"{NOTHING_DIFFERS}: {_mixers(mixers)}, the same in both"
    elif verdicts.isin((*SAME_IN_BOTH, WITHIN)).any() or verdicts.str.startswith("likely").any():
        none = f"{mixers[0]} did not change" if len(mixers) == 1 else f"none of {_mixers(mixers)} changed"
        text = f"{none} beyond noise"
    else:
        text = f"nothing can be told of {mixers[0] if len(mixers) == 1 else _mixers(mixers)}"
    return "; ".join([text, *_untold(table, verdicts)])


def _untold(table: pd.DataFrame, verdicts: pd.Series) -> list[str]:
    identical = sorted(set(table["mixer"][verdicts == IDENTICAL]))
    lines = [f"identical runs: {_first(identical)}"] if identical else []
    for start, words in UNTOLD.items():
        rows = table[verdicts.str.startswith(start)]
        if start.startswith("only"):  # settings of a mixer that both have are in the table alone
            rows = rows[~rows["mixer"].isin(table["mixer"][~verdicts.str.startswith(start)])]
        if len(rows):
            what = sorted(set(rows["kind"].map({"accuracy": "accuracy", "cost": "cost", "latency": "times"})))
            lines.append(f"{words}: {', '.join(what)} of {_first(sorted(set(rows['mixer'])))}")
    return lines


def _changes(rows: pd.DataFrame) -> str:
    pairs = zip(rows["kind"], rows["quantity"], rows["verdict"], strict=True)
    return _first(list(dict.fromkeys(f"{kind if kind == 'accuracy' else name} {word}" for kind, name, word in pairs)))


def _mixers(names: Sequence[str]) -> str:
    return counted(len(names), "mixer")
