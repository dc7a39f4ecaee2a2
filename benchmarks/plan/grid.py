"""A request with lists: one plan for every combination of their values.

Whatever has finished should be a fair set, so seeds are outermost, then sizes, then the combinations, then the
mixers. Combinations that come to the same trial, as of cost those that differ in the recipe alone, have it once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import task_name
from benchmarks.contract.trial import FACTS, FLAGGED, Trial, flag
from benchmarks.plan.checks import OF_TEXT
from benchmarks.plan.request import Request
from benchmarks.plan.trials import Plan
from mixers.spec import MixerSpec

OF_A_PLAN = ("seed", "image_size", "length")  # lists that a plan takes by itself
MOST_TRIALS = 20_000


class Grid:
    """The plans of a request.

    Args:
        request: any field of a trial with `listed` in its facts may be a tuple.
        tried: fields whose lists are what `tune` tries, and no grid.

    Raises:
        UserError: the lists make more than MOST_TRIALS, or a combination of them is not allowed.
    """

    def __init__(self, request: Request, tried: tuple[str, ...] = ()) -> None:
        names = [name for name in FLAGGED if FACTS[name].listed and name not in (*OF_A_PLAN, *tried)]
        self.lists: dict[str, tuple[Any, ...]] = {
            name: value for name in names if isinstance(value := getattr(request, name), tuple)
        }
        _check_number(request, self.lists)
        points = [dict(zip(self.lists, values, strict=True)) for values in itertools.product(*self.lists.values())]
        self.first = Plan(request.but(**points[0]))
        self.plans = [self.first, *(Plan(request.but(**point), self.first) for point in points[1:])]

    def __str__(self) -> str:
        """ "2 patch sizes x 3 dims = 6 settings"; empty where there is one."""
        if len(self.plans) == 1:
            return ""
        words = [f"{flag(name)} {','.join(map(str, values))}" for name, values in self.lists.items()]
        return f"a grid of {len(self.plans)} settings: {' x '.join(words)}"

    def resolved(self) -> dict[str, Any]:
        """What was left open and is the same for all trials; with it a request plans the same again."""
        plan = self.first
        dataset = plan.request.dataset or plan.dataset  # as typed: where the user's own data lie
        of_all = {
            "mixer": list(map(str, plan.mixers)),
            "dataset": dataset,
            "profile": plan.profile_name,
            "device": plan.device,
        }
        return of_all | {"threads": plan.threads}

    def notes(self) -> list[str]:
        """What the profile, or a sweep in the results folder, says of what was not asked for."""
        plan, asked = self.first, self.first.request
        left = [n for n in FACTS if n not in self.resolved() and getattr(asked, n, None) is None]
        own = [f"{n} = {getattr(plan.profile, n)}" for n in left if not FACTS[n].tuned and hasattr(plan.profile, n)]
        tuned = [n for n in left if FACTS[n].tuned and (n not in OF_TEXT or task_name(plan.dataset) == "text")]
        chosen = [f"{mixer}{line}" for mixer in plan.mixers for line in _chosen_lines(plan, mixer, tuned)]
        return [f"of the profile: {', '.join(own)}", *chosen]

    def accuracy(self, all_seeds: bool = True) -> list[Trial]:
        """As `Plan.accuracy`, every seed and size with all settings."""
        parts = []
        for plan in self.plans:
            found = itertools.groupby(plan.accuracy(all_seeds), key=lambda trial: (trial.seed, trial.extent))
            parts.append([list(trials) for _, trials in found])
        return _once(itertools.chain.from_iterable(zip(*parts, strict=True)))

    def cost(self) -> list[Trial]:
        """As `Plan.cost`."""
        return _once(plan.cost() for plan in self.plans)

    def latency(self, trained: bool = True) -> list[Trial]:
        """As `Plan.latency`."""
        return _once(plan.latency(trained) for plan in self.plans)

    def tuning(self) -> list[Trial]:
        """As `Plan.tuning`, a sweep for every size."""
        name = self.first.extent
        sizes = getattr(self.first.request, name) or (None,)
        at = [plan.request.but(**{name: size and (size,)}) for plan in self.plans for size in sizes]
        return _once(Plan(request, self.first).tuning() for request in at)

    def by_worth(self) -> list[Trial]:
        """As `Plan.by_worth`, over all settings."""
        pairs = [pair for plan in self.plans for pair in plan.worths()]
        return _once([[trial for _, trial in sorted(pairs, key=lambda pair: pair[0])]])


def _chosen_lines(plan: Plan, mixer: MixerSpec, names: list[str]) -> list[str]:
    """What a mixer trains with of what is tuned, once for all sizes where they have it in common."""
    if not names:
        return []
    lines = {}
    for size in plan.sizes:
        values = plan.tuned_of(mixer, size)
        lines[size] = ", ".join(f"{name} = {values[name]}" for name in names)
    if len(set(lines.values())) == 1:
        return [f": {lines[plan.sizes[0]]}"]
    unit = "px" if plan.extent == "image_size" else "tokens"
    return [f" at {size} {unit}: {line}" for size, line in lines.items()]


def _once(parts: Iterable[Iterable[Trial]]) -> list[Trial]:
    return list(dict.fromkeys(itertools.chain.from_iterable(parts)))


def _check_number(request: Request, lists: dict[str, tuple[Any, ...]]) -> None:
    own = {name: value for name in OF_A_PLAN if (value := getattr(request, name)) is not None}
    count = math.prod(len(values) for values in (lists | own).values())
    if count > MOST_TRIALS:
        words = " x ".join(f"{len(values)} of {flag(name)}" for name, values in (lists | own).items())
        raise UserError(f"the lists make {count:,} trials of every mixer ({words}); allowed: {MOST_TRIALS:,}")
