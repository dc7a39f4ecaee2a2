"""Rules about the first source's own net, read from `spectracles.json`, which is no record of the suite's own net."""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contract.errors import UserError
from benchmarks.report.choose import FAILED, too_many_failed
from benchmarks.report.claims.parts import INFINITE, Finding, Part, Range, make_part
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.intervals import mean_interval
from benchmarks.report.stats.predictions import Folders, folders
from benchmarks.report.wording import failed_words, span_of

LAYOUTS = ("right", "scrambled")
Entry = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Side:
    """Runs of one net of the source's: test top-1 in percent by seed, and how many failed."""

    top1: dict[int, float]
    failed: int

    @property
    def words(self) -> str:
        return failed_words(len(self.top1), self.failed)

    @property
    def withheld(self) -> bool:
        return too_many_failed(len(self.top1), self.failed)


@dataclasses.dataclass(frozen=True)
class DepthWithoutNorm:
    """The source's net, deep, without normalisation: its accuracy as a share of that with it, in both layouts.

    Attributes:
        epochs: so many at least decide.
    """

    depth: int
    below_percent: float
    epochs: int

    def find(self, evidence: Evidence) -> Finding | None:
        real = [e for e in _entries(evidence.results) if e["settings"]["layout"] in LAYOUTS]
        groups = _grouped([e for e in real if e["settings"]["depth"] >= self.depth], "layout", "standardize", "seed")
        found = [self._of_setting(json.loads(key), entries) for key, entries in groups.items()]
        ready = [finding for finding in found if finding is not None]
        return min(ready, key=lambda f: (len(f.needed + f.missing), -min(p.n for p in f.parts))) if ready else None

    def _of_setting(self, settings: Entry, entries: list[Entry]) -> Finding | None:
        parts = {layout: self._of_layout(entries, layout) for layout in LAYOUTS}
        known = {layout: part for layout, part in parts.items() if part is not None}
        if not known:
            return None
        missing = tuple(f"the {layout} layout" for layout in LAYOUTS if layout not in known)
        needed = (span_of([self.epochs], "epoch"),) if settings["epochs"] < self.epochs else ()
        return Finding(tuple(known.values()), missing, _words(settings), "%", "seeds", needed=needed)

    def _of_layout(self, entries: list[Entry], layout: str) -> Part | None:
        without, normed = (_side(entries, layout=layout, standardize=over) for over in ("none", "chw"))
        shares = [100 * without.top1[s] / normed.top1[s] for s in sorted(without.top1) if normed.top1.get(s)]
        what = f"accuracy without normalisation over that with it, {layout} layout"
        claimed = (-INFINITE, self.below_percent)
        sides = {"without": without, "with": normed}
        if not shares and normed.top1 and without.failed:
            return _lost(what, claimed, sides)
        return _part(what, shares, claimed, sides, len(LAYOUTS))


@dataclasses.dataclass(frozen=True)
class ComplexWeights:
    """The source's net with complex weights, less the real net of equal parameters, layout and recipe.

    Attributes:
        depth: of both.
        within: the share by which the parameters of the two may differ.
    """

    depth: int
    within: float

    def find(self, evidence: Evidence) -> Finding | None:
        line = {"depth": self.depth, "standardize": "chw", "n_linear": 0, "residual": True}
        entries: list[Entry] = [e for e in _entries(evidence.results) if line.items() <= e["settings"].items()]
        found = [self._beside(json.loads(key), nets) for key, nets in _grouped(entries, "layout", "seed").items()]
        ready = [finding for finding in found if finding is not None]
        return min(ready, key=lambda f: -f.parts[0].n) if ready else None

    def _beside(self, settings: Entry, entries: list[Entry]) -> Finding | None:
        nets = {"complex": "complex", "real": "right"}
        sides = {name: _side(entries, layout=layout) for name, layout in nets.items()}
        params = {name: _params([e for e in entries if e["settings"]["layout"] == nets[name]]) for name in nets}
        words = " − ".join(f"{name} weights ({params[name]:,.0f} parameters)" for name in nets)
        part: Part | None
        if lost := [name for name, side in sides.items() if side.failed and not side.top1]:
            part = _lost(f"{' and '.join(lost)} weights", (0, INFINITE), sides)
        elif not all(params.values()) or abs(params["real"] / params["complex"] - 1) > self.within:
            return None
        else:
            mine, other = sides["complex"].top1, sides["real"].top1
            part = _part(words, [top1 - other[s] for s, top1 in mine.items() if s in other], (0, INFINITE), sides)
        return None if part is None else Finding((part,), (), _words(settings), "points", "seeds")


def _part(
    what: str, values: list[float], claimed: Range, sides: Mapping[str, Side], comparisons: int = 1
) -> Part | None:
    part = make_part(what, functools.partial(mean_interval, values), claimed, comparisons)
    if part is None:
        return None
    return dataclasses.replace(part, failed=_failed(sides), withheld=any(side.withheld for side in sides.values()))


def _lost(what: str, claimed: Range, sides: Mapping[str, Side]) -> Part:
    """Of a net all of whose runs failed: it says so, and decides nothing."""
    return Part(what, None, None, None, 0, claimed, failed=_failed(sides), withheld=True)


def _failed(sides: Mapping[str, Side]) -> str:
    return "; ".join(f"{name}: {side.words}" for name, side in sides.items() if side.failed)


def _side(entries: list[Entry], **settings: Any) -> Side:
    mine = [e for e in entries if all(e["settings"][name] == value for name, value in settings.items())]
    ended = [e for e in mine if e["status"] == "ok" and e["metrics"].get("test_top1_percent") is not None]
    top1 = {int(e["settings"]["seed"]): float(e["metrics"]["test_top1_percent"]) for e in ended}
    return Side(top1, sum(e["status"] in FAILED for e in mine))


def _params(entries: list[Entry]) -> float:
    """Trainable numbers of a net, 0 where no run says."""
    known = [e["metrics"]["params"] for e in entries if e["metrics"].get("params")]
    return statistics.median(known) if known else 0.0


def _grouped(entries: list[Entry], *free: str) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_key(entry["settings"], *free), []).append(entry)
    return dict(sorted(groups.items()))


def _key(settings: Entry, *free: str) -> str:
    return json.dumps({name: value for name, value in settings.items() if name not in free}, sort_keys=True)


def _words(settings: Entry) -> str:
    net = f"cifar100, Spectracles width {settings['width']}, depth {settings['depth']}"
    images = settings.get("train_images")
    some = "" if images is None else f" of {images:,} images"
    return f"{net}, {span_of([settings['epochs']], 'epoch')}{some}"


def _entries(results: Folders) -> list[dict[str, Any]]:
    runs = []
    for path in (Path(folder) / "spectracles.json" for folder in folders(results)):
        if path.is_file():
            try:
                runs += list(json.loads(path.read_text(encoding="utf-8"))["runs"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path.name} cannot be read ({error!r}); move it out of {path.parent}") from error
    return runs
