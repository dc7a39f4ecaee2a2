"""The sweep that chooses each mixer's learning rate and weight decay, the same for all, on held-out training images.

First the two middle learning rates of the profile's grid at its first weight decay, and on past the better one until it
stands between two that are worse or at the grid's end; of rates that a user listed, all. Then the other weight decays
at the best rate; one of them is chosen only where it is better by `CLEARLY_BETTER`, since one seed cannot tell less. A
tuning trial trains as long as an accuracy trial does, since a short one misleads, and never reads the test split. The
records are the choice: `bench-all` takes it from those in its results folder, those of rates and decays that a user
listed too. As records do not say what was listed, rates and decays that are all of the profile's own count once its
sweep, or that over the rates tried with all its decays, or that over its rates with the decays tried, is complete.

With --search nets norm and positions follow, at the chosen rate and weight decay: one run each of the three nets of
OTHER_NETS, each of which differs from the usual net in one of the two. Each is judged against the usual net, and taken
only where it is better by `CLEARLY_BETTER`; where several are, the one that is better most, alone: no run combines two.
A mixer of NET_CHOSEN_BY takes the choice of one of its family. Until its three runs are there, a mixer has the usual
net.

On text what mixers give back has a gain, chosen before the rate: runs that differ in it alone are compared at the
points that most gains were tried at; the usual gain is left only for one that is better by more than `GAIN_TIE`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.contract.choices.profiles import NET_CHOSEN_BY, USUAL_NET, Net, Profile
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import Record, load_records
from benchmarks.contract.trial import Trial, base_name

SweepPoint = tuple[float, float]  # learning rate and weight decay
SweepPoints = Mapping[SweepPoint, Sequence[float | None]]  # held-out top-1 in percent, a seed each; None: it failed
Nets = Mapping[Net, Sequence[float | None]]  # the same by norm and positions, at one point

OTHER_NETS: tuple[Net, ...] = (("token", "none"), ("image", "learned"), ("image", "sine"))
USUAL_GAIN = 1.0
GAIN_TIE = 0.3  # points of held-out accuracy of masked tokens: results/experiments.md
DECIMALS = 6  # of a gain: a difference of two floats may lie a hair under what it is
CLEARLY_BETTER = 1.0  # points of held-out top-1, about twice the standard deviation over seeds in the published runs


@dataclasses.dataclass(frozen=True)
class Choice:
    """The best point of one mixer's sweep, and of its search of nets where that is complete."""

    lr: float
    weight_decay: float
    val_top1_percent: float
    tried: int  # points, those that failed included
    net: Net | None = None  # None: not searched, or not to the end

    @property
    def norm(self) -> str:
        return (self.net or USUAL_NET)[0]

    @property
    def positions(self) -> str:
        return (self.net or USUAL_NET)[1]


def tuning_records(results: Path, dataset: str, profile: str) -> list[Record]:
    """The sweep's records in a results folder; none where there is no such folder yet."""
    if not (results / "records").is_dir():
        return []
    records = load_records(results, "tuning-*.json")
    return [r for r in records if (r.trial.dataset, r.trial.profile) == (dataset, profile)]


def choices(records: Sequence[Record], profile: Profile, usual: Net = USUAL_NET) -> dict[str, Choice]:
    """What the sweep chose for each mixer that it is complete for, by the mixer as written.

    Args:
        records: of one setting.
        profile: whose sweep it is.
        usual: norm and positions of the nets whose rates were searched; nets are chosen beside the usual one alone.
    """
    result = {}
    for mixer, points in points_by_mixer(records, usual).items():
        best = chosen_point(points, profile)
        if best is not None:
            nets = nets_at(records, mixer, best) if usual == USUAL_NET else {}
            net = best_net(nets)
            values = points[best] if net is None else nets[net]
            tried = len(points) + len([other for other in OTHER_NETS if other in nets])
            result[mixer] = Choice(*best, mean_of(values) or 0.0, tried, net)
    return result


def points_by_mixer(records: Iterable[Record], net: Net = USUAL_NET) -> dict[str, dict[SweepPoint, list[float | None]]]:
    """What was tried for each mixer, by the mixer as written, with one norm and positions."""
    by_mixer: dict[str, dict[SweepPoint, list[float | None]]] = {}
    for r in records:
        if _net_of(r) == net:
            by_mixer.setdefault(r.trial.mixer, {}).setdefault(_point_of(r), []).append(_held_out(r))
    return by_mixer


def chosen_gain(records: Iterable[Record], mixer: str) -> float | None:
    """The gain that did best for a mixer; None where no two were tried at one point, or nothing could be trained.

    Args:
        records: of one setting, of whatever gains.
        mixer: as written.
    """
    tried: dict[SweepPoint, dict[float, list[float | None]]] = {}
    for r in records:
        if r.trial.mixer == mixer:
            tried.setdefault(_point_of(r), {}).setdefault(r.trial.gain, []).append(_held_out(r))
    most = max(map(len, tried.values()), default=0)
    scores: dict[float, float] = {}
    for gains in tried.values():
        for gain, values in gains.items() if len(gains) == most else ():
            scores[gain] = max(scores.get(gain, _or_worst(None)), _or_worst(mean_of(values)))
    best = max(scores, key=lambda gain: (scores[gain], -gain), default=USUAL_GAIN)
    if most < 2 or scores[best] == _or_worst(None):
        return None
    return best if scores[best] - scores.get(USUAL_GAIN, _or_worst(None)) > GAIN_TIE else USUAL_GAIN


def pretrained_alike(results: Path, pretrained: str | None, others: Iterable[str | None]) -> set[str | None]:
    """A pre-training record, and those of `others` that differ from it in the seed alone, by their ids."""
    mine = _pretraining(results, pretrained)
    found = {pretrained}
    for other in set(others) - found:
        trial = _pretraining(results, other)
        if mine is not None and trial is not None and dataclasses.replace(trial, seed=mine.seed) == mine:
            found.add(other)
    return found


def _pretraining(results: Path, name: str | None) -> Trial | None:
    path = results / "records" / f"accuracy-{name}.json"
    try:
        return Record.load(path).trial if name is not None and path.is_file() else None
    except UserError:
        return None


def nets_at(records: Iterable[Record], mixer: str, point: SweepPoint) -> dict[Net, list[float | None]]:
    """What was tried of norms and positions for one mixer at one point."""
    nets: dict[Net, list[float | None]] = {}
    for r in records:
        if r.trial.mixer == mixer and _point_of(r) == point:
            nets.setdefault(_net_of(r), []).append(_held_out(r))
    return nets


def best_net(nets: Nets) -> Net | None:
    """The norm and positions that one mixer's search chose; None while it is incomplete."""
    if not all(net in nets for net in (USUAL_NET, *OTHER_NETS)):
        return None
    best = max(OTHER_NETS, key=lambda net: _or_worst(mean_of(nets[net])))
    gain = _or_worst(mean_of(nets[best])) - _or_worst(mean_of(nets[USUAL_NET]))
    return best if round(gain, DECIMALS) >= CLEARLY_BETTER else USUAL_NET


def nets_to_try(points: SweepPoints, profile: Profile) -> list[tuple[SweepPoint, Net]]:
    """The other nets that a search asks for once the rate of one mixer is chosen."""
    best = best_point(points, profile)
    return [] if best is None else [(best, net) for net in OTHER_NETS]


def net_chooser(mixer: str) -> str:
    """Whose choice of norm and positions a mixer takes, by its name: its own, or that of one of its family."""
    name = base_name(mixer)
    return NET_CHOSEN_BY.get(name, name)


def _point_of(record: Record) -> SweepPoint:
    return record.trial.lr or 0.0, record.trial.weight_decay or 0.0


def _net_of(record: Record) -> Net:
    return record.trial.norm, record.trial.positions


def _held_out(record: Record) -> float | None:
    value = record.metrics.get("val_top1_percent") if record.status == "ok" else None
    return None if value is None else float(value)


def points_to_try(points: SweepPoints, profile: Profile) -> list[SweepPoint]:
    """The points that the sweep asks for, those tried already included; more of them once all of these are tried."""
    first, *others = profile.tuned_weight_decays
    rates = _rates_to_try({lr: mean_of(values) for (lr, decay), values in points.items() if decay == first}, profile)
    wanted = [(lr, first) for lr in rates]
    if all(point in points for point in wanted):
        best = _best(points, wanted)
        wanted += [(best[0], decay) for decay in others if best is not None]
    return wanted


def best_point(points: SweepPoints, profile: Profile) -> SweepPoint | None:
    """The point that one mixer's sweep chose; None while it is incomplete, or where nothing could be trained."""
    wanted = points_to_try(points, profile)
    if not all(point in points for point in wanted):
        return None
    return _clearly_best(points, wanted, profile.tuned_weight_decays[0])


def chosen_point(points: SweepPoints, profile: Profile) -> SweepPoint | None:
    """The best of all points tried, once one of the sweeps that they can be of is complete; else None."""
    if not points:
        return None
    complete = (sweep for sweep in _sweeps_of(points, profile) if best_point(points, sweep) is not None)
    sweep = next(complete, None)
    return None if sweep is None else _clearly_best(points, list(points), sweep.tuned_weight_decays[0])


def _sweeps_of(points: SweepPoints, profile: Profile) -> list[Profile]:
    """The profile's sweep, and those over a user's rates or decays that would have tried such points."""
    rates = tuple(sorted({lr for lr, _ in points}))
    tried = [decay for _, decay in points]  # the first decay of a sweep is tried with most rates
    decays = tuple(sorted(set(tried), key=lambda decay: (-tried.count(decay), decay)))
    listed = not (set(rates) <= set(profile.tuned_lrs) and set(decays) <= set(profile.tuned_weight_decays))
    own_rates = dataclasses.replace(profile, tuned_lrs=rates)
    both = [dataclasses.replace(own_rates, tuned_weight_decays=decays)] if listed else []
    return [profile, own_rates, dataclasses.replace(profile, tuned_weight_decays=decays), *both]


def _clearly_best(points: SweepPoints, among: Sequence[SweepPoint], first: float) -> SweepPoint | None:
    """The best point with the first weight decay, or one with another that is better by CLEARLY_BETTER."""
    usual = _best(points, [point for point in among if point[1] == first])
    best = _best(points, among)
    if usual is None or best is None:
        return usual
    gain = (mean_of(points[best]) or 0.0) - (mean_of(points[usual]) or 0.0)
    return best if round(gain, DECIMALS) >= CLEARLY_BETTER else usual


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean over seeds of a point's held-out top-1; a trial that failed takes its point out of the choice."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _rates_to_try(tried: Mapping[float, float | None], profile: Profile) -> list[float]:
    """The middle two of the grid, and the neighbours of the best, as far as what was tried tells; or all."""
    grid = profile.tuned_lrs
    if profile.tuned_all:
        return sorted(grid)
    middle = len(grid) // 2
    wanted = list(grid[max(0, middle - 1) : middle + 1])
    while all(lr in tried for lr in wanted):
        best = grid.index(max(wanted, key=lambda lr: (_or_worst(tried[lr]), -lr)))
        beside = [lr for lr in grid[max(0, best - 1) : best + 2] if lr not in wanted]
        if not beside:
            break
        wanted += beside
    return sorted(wanted)


def _best(points: SweepPoints, among: Sequence[SweepPoint]) -> SweepPoint | None:
    """The best of some points, of equals the one with the smaller rate; None where all failed."""
    best = max(among, key=lambda point: (_or_worst(mean_of(points[point])), -point[0], -point[1]))
    return None if mean_of(points[best]) is None else best


def _or_worst(value: float | None) -> float:
    return float("-inf") if value is None else value
