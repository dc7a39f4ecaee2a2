"""The sweep over learning rate and weight decay as a table: every point, what it cost, and what was chosen."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.contract.choices.profiles import USUAL_NET, Net, Profile, profile_of
from benchmarks.contract.choices.tuning import SweepPoint, SweepPoints, best_net, best_point, chosen_point, mean_of
from benchmarks.contract.facts.datasets import fixed_of
from benchmarks.report.alike import ACCURACY_SETTING
from benchmarks.report.frame import plain, setting_order, table

ENDS = {0: "lowest", -1: "highest"}


def tuning_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per mixer and point of the sweep, of one group of records.

    `choice` says of a mixer's best point "chosen", and whether its learning rate is at an end of those tried; it is
    empty for the other points and while the sweep is incomplete.
    """
    tuned = frame[frame["kind"] == "tuning"]
    rows: list[dict[str, Any]] = []
    setting = [name for name in ACCURACY_SETTING if name not in ("lr", "weight_decay")]
    nets = _NetsOfSearch(tuned)
    for _, mine in tuned.groupby(["label", *setting], dropna=False, sort=False):
        first = mine.iloc[0]
        profile = profile_of(first["profile"], first["dataset"])
        points: dict[SweepPoint, list[Any]] = {}
        for record in mine.sort_values(["seed", "id"], kind="stable").to_dict("records"):
            points.setdefault((record["lr"], record["weight_decay"]), []).append(record)
        accuracy = {
            point: [plain(r["val_top1_percent"]) if r["status"] == "ok" else None for r in records]
            for point, records in points.items()
        }
        chosen = nets.chosen(first, accuracy, profile)
        rates = sorted({lr for lr, _ in points})
        for (lr, decay), records in sorted(points.items()):
            failed = [r for r in records if r["status"] != "ok"]
            seconds = [r["train_s"] for r in records if plain(r["train_s"]) is not None]
            row = {name: plain(first[name]) for name in ("mixer", "label", "family", "tokens")}
            row |= {name: plain(first[name]) for name in setting if name != "mixer"}
            row |= {
                "lr": lr,
                "weight_decay": decay,
                "status": failed[0]["status"] if failed else "ok",
                "reason": plain(failed[0]["reason"]) if failed else None,
                "n": len(records),
                "val_top1_percent": mean_of(accuracy[lr, decay]),
                "train_s": sum(seconds) if seconds else None,
                "choice": _choice(lr, rates) if (lr, decay) == chosen else None,
            }
            rows.append(row)
    return table(rows, lambda row: (*setting_order(row), row["label"], row["weight_decay"], row["lr"]))


def usual_net(dataset: str) -> Net:
    """Norm and positions of a net that no search chose: of sequences they are fixed."""
    fixed = fixed_of(dataset)
    return fixed.get("norm", USUAL_NET[0]), fixed.get("positions", USUAL_NET[1])


class _NetsOfSearch:
    """The searches of norm and positions in a frame of tuning records."""

    def __init__(self, tuned: pd.DataFrame) -> None:
        self.found: dict[str, dict[SweepPoint, dict[Net, list[float | None]]]] = {}
        for record in tuned.to_dict("records"):
            value = plain(record["val_top1_percent"]) if record["status"] == "ok" else None
            points = self.found.setdefault(_apart_from_net(record), {})
            nets = points.setdefault((record["lr"], record["weight_decay"]), {})
            nets.setdefault((record["norm"], record["positions"]), []).append(value)

    def chosen(self, first: pd.Series, accuracy: SweepPoints, profile: Profile) -> SweepPoint | None:
        """The point to mark in the rows of one net, given what was tried with it: that of the net that was chosen."""
        net, points = (first["norm"], first["positions"]), self.found[_apart_from_net(first)]
        base = usual_net(first["dataset"])
        usual = {point: nets[base] for point, nets in points.items() if base in nets}
        rate = chosen_point(usual, profile)
        if net == base:
            return rate if rate is None or best_net(points[rate]) in (None, base) else None
        if rate is not None and best_net(points[rate]) == net:
            return rate
        # beside the usual net a few points of another are no sweep of it
        return best_point(accuracy, profile) if usual else chosen_point(accuracy, profile)


def _apart_from_net(row: Any) -> str:
    names = [n for n in ACCURACY_SETTING if n not in ("lr", "weight_decay", "norm", "positions")]
    return repr([plain(row[name]) for name in ("label", *names)])


def _choice(lr: float, rates: list[float]) -> str:
    for place, word in ENDS.items():
        if len(rates) > 1 and lr == rates[place]:
            return f"chosen; {word} rate tried"
    return "chosen"
