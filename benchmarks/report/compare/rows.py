"""One row a quantity of every setting that two results folders share, and one for what only one of them has."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.contract.facts.datasets import main_metric
from benchmarks.ratios import FEWEST_SITTINGS, ratio_of
from benchmarks.report.alike import ACCURACY_SETTING
from benchmarks.report.compare.matches import Entry, Match
from benchmarks.report.frame import plain, sittings
from benchmarks.report.stats.compared import holm
from benchmarks.report.stats.paired import FEWEST_SEEDS, SIGNIFICANT, TOO_FEW, WITHHELD, Runs, Sample
from benchmarks.report.stats.predictions import correct_answers
from benchmarks.report.stats.scores import score_answers
from benchmarks.report.tables.latency import TIMES, ratios
from benchmarks.report.wording import short, span_of

Row = dict[Any, Any]
IDENTICAL, SAME, WITHIN = "identical", "the same", "within noise"
OF_BOTH = "which both have"  # ends the note where only some of the seeds are in both folders
AMBIGUOUS, NOT_COMPARABLE = "ambiguous", "not comparable"
ACCURACY = "test_top1_percent"
NUMBERS = (ACCURACY, "test_top5_percent", "test_loss", "val_top1_percent", "train_loss")
COUNTS = ("params", "flops", "forward_peak_bytes", "train_peak_bytes")
RESULT = {
    **dict.fromkeys(("a", "b", "n_a", "n_b", "change", "change_low", "change_high", "unit", "p_value", "holm_p")),
    **dict.fromkeys(("interval_over", "verdict")),
    "changed": False,  # beyond noise
    "note": "",
}


@dataclasses.dataclass(frozen=True)
class Side:
    """One results folder."""

    folder: Path
    frame: pd.DataFrame

    def predictions(self, record: str) -> NDArray[Any] | None:
        """Of a training run, by the id of its record; None where they are not there or cannot be read."""
        for place in (self.folder / "records", self.folder):
            try:
                return np.load(place / f"accuracy-{record}.npy", allow_pickle=False)
            except (OSError, ValueError):
                continue
        return None


def accuracy_rows(found: Sequence[Match], a: Side, b: Side) -> list[Row]:
    """B less A in points of test top-1, or of the task's correlation, corrected for their number; every net with all of
    its seeds.
    """
    rows = [(match, _without_numbers(match) or _identical(match, a, b)) for match in found]
    sample = _sample([match for match, row in rows if row is None], a, b)
    done = [
        row if row is not None else _difference(match, sample, len(_seeds_alike(match, a, b))) for match, row in rows
    ]
    told = [row for row in done if row["p_value"] is not None]
    for row, p in zip(told, holm([row["p_value"] for row in told]), strict=True):
        row["holm_p"] = p
    for row in done:
        row["verdict"] = row["verdict"] or _verdict(row)
        row["changed"] = row["changed"] or row["verdict"] in ("higher", "lower")
    return done


def _difference(match: Match, sample: Sample, alike: int) -> Row:
    assert match.a is not None and match.b is not None
    mine, theirs = _runs(sample, match.b, "B"), _runs(sample, match.a, "A")
    estimate, compared = sample.interval(operator.sub, mine, theirs), sample.comparison(operator.sub, mine, theirs)
    notes = [_failed(theirs, "A"), _failed(mine, "B"), f"{span_of([alike], 'seed')} identical" if alike else ""]
    return _row(match, _metric(match)) | {
        "a": float(np.mean(list(theirs.top1.values()))),
        "b": float(np.mean(list(mine.top1.values()))),
        "n_a": len(theirs.top1),
        "n_b": len(mine.top1),
        "change": estimate.value,
        "change_low": estimate.low,
        "change_high": estimate.high,
        "unit": "points",
        "p_value": compared.p_value() if compared else None,
        "interval_over": sample.over(mine, theirs) if compared else None,
        "verdict": WITHHELD if estimate.withheld else None,
        "note": "; ".join(filter(None, notes)),
    }


def _verdict(row: Row) -> str:
    low, high = row["change_low"], row["change_high"]
    if min(row["n_a"], row["n_b"]) < FEWEST_SEEDS or low is None:
        return TOO_FEW
    if low <= 0 <= high:
        return WITHIN
    word = "higher" if low > 0 else "lower"
    return word if row["holm_p"] < SIGNIFICANT else f"likely {word}"


def _failed(runs: Runs, side: str) -> str:
    return f"{side}: {runs.failed_words.partition(': ')[2]}" if runs.failed else ""


def _sample(found: Sequence[Match], a: Side, b: Side) -> Sample:
    """The runs of both folders, told apart by a letter before their labels and ids.

    What is identical in both is no part of it: it would count twice in what seeds vary by.
    """
    frames: list[pd.DataFrame] = []
    answers: dict[str, NDArray[Any]] = {}
    for letter, side, entries in (("A", a, [m.a for m in found]), ("B", b, [m.b for m in found])):
        rows = pd.concat([side.frame.iloc[:0], *(entry.rows for entry in entries if entry is not None)])
        for dataset, of_task in rows.groupby("dataset"):
            metric = main_metric(str(dataset))
            if metric == ACCURACY:
                found_here: Mapping[str, NDArray[Any]] = correct_answers(of_task, side.folder)
            else:
                found_here = score_answers(of_task, side.folder, metric)
                rows.loc[of_task.index, ACCURACY] = of_task[metric]
            answers |= {letter + key: value for key, value in found_here.items()}
        frames.append(rows.assign(id=letter + rows["id"], label=[f"{letter} {label}" for label in rows["label"]]))
    return Sample(pd.concat(frames, ignore_index=True), answers)


def _runs(sample: Sample, entry: Entry, letter: str) -> Runs:
    label = f"{letter} {entry.rows.iloc[0]['label']}"
    found = sample.of({"label": label, **{name: entry.setting[name] for name in ACCURACY_SETTING}})
    assert found is not None
    return found


def _identical(match: Match, a: Side, b: Side) -> Row | None:
    """The row of a net whose runs give the same predictions in both folders, in every seed that both have.

    A seed that failed in one folder and not in the other is a difference, and then there is no such row.
    """
    assert match.a is not None and match.b is not None
    mine, theirs = _by_seed(match.b), _by_seed(match.a)
    common = mine.keys() & theirs.keys()
    alike = _seeds_alike(match, a, b)
    failed = [set(entry.rows["seed"][entry.rows["status"] != "ok"]) for entry in (match.a, match.b)]
    if not common or len(alike) < len(common) or failed[0] & mine.keys() or failed[1] & theirs.keys():
        return None
    more = len(common) < max(len(mine), len(theirs))
    notes = [
        ", ".join(sorted(set(alike.values()))),
        f"in {span_of([len(common)], 'seed')}, which both have" if more else "",
    ]
    score = float(np.mean([mine[seed][_metric(match)] for seed in sorted(common)]))
    return _row(match, _metric(match)) | {
        "a": score, "b": score, "n_a": len(common), "n_b": len(common), "change": 0.0,
        "unit": "points", "verdict": IDENTICAL, "note": " ".join(filter(None, notes)),
    }  # fmt: skip


def _metric(match: Match) -> str:
    """What the runs of a setting are compared by."""
    entry = match.a or match.b
    assert entry is not None
    return main_metric(str(entry.rows.iloc[0]["dataset"]))


def _seeds_alike(match: Match, a: Side, b: Side) -> dict[int, str]:
    """What is the same in the runs of a seed, by those seeds in which something is."""
    assert match.a is not None and match.b is not None
    mine, theirs = _by_seed(match.b), _by_seed(match.a)
    words = {seed: _alike(theirs[seed], mine[seed], a, b) for seed in sorted(mine.keys() & theirs.keys())}
    return {seed: word for seed, word in words.items() if word}


def _by_seed(entry: Entry) -> dict[int, Row]:
    rows = entry.rows[entry.rows["status"] == "ok"]
    return {int(row["seed"]): row for row in rows.to_dict("records")}


def _alike(first: Row, second: Row, a: Side, b: Side) -> str:
    """What is the same in two runs of one seed; nothing where they differ."""
    if any(plain(first[name]) != plain(second[name]) for name in NUMBERS):
        return ""
    one, other = a.predictions(first["id"]), b.predictions(second["id"])
    if one is None or other is None:
        return "the same numbers"
    return "the same predictions" if np.array_equal(one, other) else ""


def cost_rows(found: Sequence[Match]) -> list[Row]:
    """Counts of B over those of A: they have no noise."""
    return [row for match in found for row in _each(match, COUNTS, _count)]


def _count(match: Match, name: str, a: Row, b: Row) -> Row:
    before, after = plain(a[name]), plain(b[name])
    row = _row(match, name) | {"a": before, "b": after, "n_a": 1, "n_b": 1, "unit": "ratio"}
    if before is None and after is None:
        return {}
    if before is None or after is None:
        return row | {"verdict": f"not measured in {'A' if before is None else 'B'}"}
    word = SAME if before == after else "more" if after > before else "less"
    return row | {"change": after / before if before else None, "verdict": word, "changed": word != SAME}


def latency_rows(found: Sequence[Match]) -> list[Row]:
    """Times of B over those of A, sitting by sitting; two kinds of processor have no ratio."""
    rows = [row for match in found for row in _each(match, list(TIMES), _time)]
    several = [row for row in rows if "wide" in row]
    for row in several:  # as the claims do it: a verdict is for an interval widened for their number
        wide = row.pop("wide")(1 - SIGNIFICANT / len(several))
        row["verdict"] = _word_of_times(row, wide.low, wide.high)
        row["changed"] = row["verdict"] in ("slower", "faster")
    return rows


def _word_of_times(row: Row, low: float, high: float) -> str:
    if row["change_low"] <= 1 <= row["change_high"]:
        return WITHIN
    word = "slower" if row["change_low"] > 1 else "faster"
    return word if not low <= 1 <= high else f"likely {word}"


def _time(match: Match, name: str, a: Row, b: Row) -> Row:
    before, after = plain(a[name]), plain(b[name])
    if before is None and after is None:
        return {}
    row = _row(match, name) | {
        **{"a": before / a["batch_size"] if before else None, "b": after / b["batch_size"] if after else None},
        **{"n_a": len(sittings(a)), "n_b": len(sittings(b)), "unit": "ratio", "interval_over": "rounds"},
    }
    if why := _other_machine(a, b):
        return row | {"verdict": NOT_COMPARABLE, "note": why, "interval_over": None}
    if a["id"] == b["id"] and a["history"] == b["history"]:
        return row | {"change": 1.0, "verdict": IDENTICAL, "note": "the same measurement", "interval_over": None}
    by_round = ratios(b, a, name, name)
    estimate = ratio_of(by_round)
    if estimate is None:
        return row | {"verdict": TOO_FEW, "note": "no round that both have"}
    row |= {"change": estimate.value, "change_low": estimate.low, "change_high": estimate.high}
    if not estimate.settled:
        note = f"a verdict on times takes {FEWEST_SITTINGS} sittings in each folder"
        return row | {"verdict": TOO_FEW, "note": note}
    wide: Callable[[float], Any] = lambda confidence: ratio_of(by_round, confidence)  # noqa: E731
    return row | {"interval_over": "sittings", "wide": wide}


def _other_machine(a: Row, b: Row) -> str:
    kinds = [(row["device"], row["machine"], plain(row["processor"])) for row in (a, b)]
    if kinds[0] == kinds[1]:
        return ""
    silent = [side for side, kind in zip("AB", kinds, strict=True) if kind[0] == "cpu" and kind[2] is None]
    same_name = kinds[0][:2] == kinds[1][:2]
    return f"{silent[0]} does not say its kind of processor" if same_name and silent else "other processor"


def _each(match: Match, names: Sequence[str], make: Callable[[Match, str, Row, Row], Row]) -> Iterator[Row]:
    """The rows of an entry's quantities, or the one row that says why there are none."""
    if (alone := _without_numbers(match)) is not None:
        yield alone
        return
    assert match.a is not None and match.b is not None
    a, b = match.a.rows.iloc[0].to_dict(), match.b.rows.iloc[0].to_dict()
    yield from filter(None, (make(match, name, a, b) for name in names))


def _without_numbers(match: Match) -> Row | None:
    """The row of what only one folder has, or failed in one, or has several rivals; None where there are numbers."""
    row = _row(match, ACCURACY if match.kind == "accuracy" else match.kind)
    if match.rivals:
        return row | {"verdict": AMBIGUOUS, "note": match.rivals}
    for side, other in (("A", match.b), ("B", match.a)):
        if other is None:
            return row | {"verdict": f"only in {side}"}
    assert match.a is not None and match.b is not None
    ended = [(entry.rows["status"] == "ok").any() for entry in (match.a, match.b)]
    if all(ended):
        return None
    words = {s: _why(entry) for s, entry, ok in zip("AB", (match.a, match.b), ended, strict=True) if not ok}
    where = "both" if len(words) > 1 else next(iter(words))
    kinds = {word.partition(":")[0] for word in words.values()}
    note = "; ".join(f"{side} {word}" for side, word in words.items())
    word = "unsupported" if kinds == {"unsupported"} else "failed"
    return row | {"verdict": f"{word} in {where}", "changed": where != "both", "note": note}


def _why(entry: Entry) -> str:
    first = entry.rows.iloc[0]
    return f"{first['status']}: {plain(first['reason']) or 'no reason given'}"


def _row(match: Match, quantity: str) -> Row:
    return {
        "kind": match.kind,
        "quantity": quantity,
        "mixer": match.setting["mixer"],
        **{name: value for name, value in match.setting.items() if name != "mixer"},
        "differs": words_of(match.differs),
    } | RESULT


def words_of(differs: Mapping[str, tuple[Any, Any]]) -> str:
    """ "epochs 10 -> 20, lr 0.001 -> 0.002"."""
    return ", ".join(f"{name} {_short(before)} -> {_short(after)}" for name, (before, after) in differs.items())


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else short(value)
