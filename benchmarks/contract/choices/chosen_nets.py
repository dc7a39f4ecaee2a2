"""Which norm and positions are a mixer's own in a setting: what its search chose there, or the published one.

A ranking compares each mixer at its own net as it compares each at its own learning rate; other nets are ablations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.contract import fields
from benchmarks.contract.choices import tuning
from benchmarks.contract.choices.profiles import PROFILES, USUAL_NET, Net, Profile, profile_of
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.record import Record
from benchmarks.contract.trial import FACTS, FIELDS, RECIPE_VERSION, base_name, names_of

# what is chosen, and what a search is about in a way of its own
_APART = ("norm", "positions", "image_size", "dim", "match_dim")
RECIPE = tuple(name for name in names_of(fields.RECIPE) if not FACTS[name].tuned)
SETTING = (*(name for name in names_of(fields.DATA, fields.NET, fields.MATCH) if name not in _APART), "width")
CHOSEN, UNCHOSEN = "chosen", "unchosen"


@dataclasses.dataclass(frozen=True)
class _Search:
    """The nets chosen in one setting, by mixer and version; version None: of any."""

    setting: dict[str, Any]
    sizes: tuple[int | str | None, ...]
    nets: dict[tuple[str, int | None], Net]

    def covers(self, trial: Mapping[str, Any]) -> bool:
        """Whether it is about the nets of a trial: times and costs know no recipe."""
        names = SETTING + (RECIPE if KINDS[trial["kind"]].trains else ())
        mine = _with_width(trial)
        return trial["image_size"] in self.sizes and all(mine[name] == self.setting[name] for name in names)

    def of(self, name: str, version: int | None) -> Net | None:
        """The net of a mixer in this version; of the latest one where that is None."""
        known = [v for mixer, v in self.nets if mixer == name and (version is None or v in (None, version))]
        return self.nets[name, max(known, key=lambda v: v or 0)] if known else None


class ChosenNets:
    """The choices of a results folder, and of the profiles where it has none.

    Args:
        records: of a folder; its tuning records are what counts.
        profiles: by name and data set, for their `net_of`.
    """

    def __init__(self, records: Iterable[Record], profiles: Mapping[tuple[str, str], Profile] = PROFILES) -> None:
        groups: dict[str, list[Record]] = {}
        for r in records:
            if r.kind == "tuning":
                mine = _with_width(r.trial.to_dict())
                key = repr([mine[name] for name in (*SETTING, *RECIPE, "image_size")])
                groups.setdefault(key, []).append(r)
        found = [_searched(group, profiles) for group in groups.values()]
        self._searches = [search for search in found if search.nets]
        self._published = [_published(name, dataset, p) for (name, dataset), p in profiles.items() if p.net_of]

    def of(self, trial: Mapping[str, Any]) -> list[Net]:
        """The nets that are the own of a trial's mixer; of a time or cost several, where several recipes chose.

        Args:
            trial: its fields.
        """
        mixer, version = str(trial["mixer"]), trial["mixer_version"]
        plain, chooser = base_name(mixer), tuning.net_chooser(mixer)
        names = [(mixer, version), (plain, version), *([(chooser, None)] if chooser != plain else [])]
        here = [search for search in self._searches if search.covers(trial)]
        at_this_size = [search for search in here if search.setting["image_size"] == trial["image_size"]]
        # what was published was searched in one precision
        published = self._published if trial["precision"] == FIELDS["precision"] else []
        for covering in (at_this_size, here, [search for search in published if search.covers(trial)]):
            for name, of_version in names:
                nets = {search.of(name, of_version) for search in covering} - {None}
                if nets:
                    return sorted(net for net in nets if net is not None)
        return []

    def mark(self, trial: Mapping[str, Any]) -> str | None:
        """Where the own net is not the usual one: CHOSEN for a trial of it, UNCHOSEN for one of the usual net."""
        if trial["kind"] == "tuning":
            return None
        net, own = (trial["norm"], trial["positions"]), self.of(trial)
        if not own or (net in own) == (net == USUAL_NET):
            return None
        return CHOSEN if net in own else UNCHOSEN if net == USUAL_NET else None


def _searched(records: list[Record], profiles: Mapping[tuple[str, str], Profile]) -> _Search:
    trial = records[0].trial
    profile = profiles.get((trial.profile, trial.dataset)) or profile_of(trial.profile, trial.dataset)
    nets: dict[tuple[str, int | None], Net] = {}
    for version in sorted({r.trial.mixer_version for r in records}):
        found = tuning.choices([r for r in records if r.trial.mixer_version == version], profile)
        nets |= {(mixer, version): choice.net for mixer, choice in found.items() if choice.net is not None}
    setting = _with_width(trial.to_dict())
    extra = profile.extra_sizes if trial.image_size == profile.image_size else ()
    return _Search(setting, (trial.image_size, *extra), nets)


def _published(name: str, dataset: str, profile: Profile) -> _Search:
    said = {field: value for field, value in dataclasses.asdict(profile).items() if value is not None}
    setting = FIELDS | said | {"dataset": dataset, "profile": name, "match": "width"}
    setting |= {"coordinates": True, "recipe_version": RECIPE_VERSION, "width": profile.dim}
    nets: dict[tuple[str, int | None], Net] = {(mixer, None): net for mixer, net in profile.net_of.items()}
    return _Search(setting, (profile.image_size, *profile.extra_sizes), nets)


def _with_width(trial: Mapping[str, Any]) -> dict[str, Any]:
    """With the width that trials hold equal: where that is a budget, the one it was solved for."""
    return dict(trial) | {"width": trial["dim" if trial["match"] == "width" else "match_dim"]}
