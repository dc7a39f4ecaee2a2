"""Equal budgets: the width at which a mixer's net has the parameters or FLOPs of attention's."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable

from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.contract.fields import DATA, MATCH, MIXER, NET
from benchmarks.contract.trial import Trial, names_of
from benchmarks.tasks.task import build_net
from mixers import UnsupportedSize

MATCHED_TO = "attention"  # whose budget the others are widened to, at the width that was asked for
NEAR = (0.9, 1.1)  # of that budget; Long Range Arena's rule for parameters (Tay et al., 2021)
COUNTED = {"params": "parameters", "flops": "FLOPs"}

log = logging.getLogger(__name__)


def matched(trial: Trial) -> Trial:
    """The trial at the width whose net comes nearest to the budget of attention's net at the trial's own width."""
    alike = {name: getattr(trial, name) for name in names_of(MIXER, DATA, NET, MATCH)}
    return dataclasses.replace(trial, dim=_width(Trial(kind="cost", **alike)), match_dim=trial.dim)


@functools.cache  # seeds and kinds share it
def _width(trial: Trial) -> int:
    """The width of `matched`; where its budget is not near, a line says so, once."""
    measure = budget(trial.match)
    target = measure(trial, MATCHED_TO, trial.dim)
    dims = range(8, 8 * trial.dim + 1, 8)
    low, high = 0, len(dims) - 1
    try:
        while low < high:  # the first width that reaches the budget: it grows with the width
            middle = (low + high) // 2
            if measure(trial, trial.mixer, dims[middle]) < target:
                low = middle + 1
            else:
                high = middle
        found = {dim: measure(trial, trial.mixer, dim) for dim in (dims[max(low - 1, 0)], dims[low])}
    except UnsupportedSize:
        return trial.dim  # the measurement itself will say that the size is not supported
    best = min(found, key=lambda dim: abs(found[dim] - target))
    if line := far_off(trial.match, found[best] / target):
        log.warning("%s, %s, dim %d: %s", trial.mixer, trial.extent_in_words(), best, line)
    return best


def far_off(match: str, ratio: float) -> str | None:
    """In words, that a budget is not near the one that it was to reach; None where it is."""
    if NEAR[0] <= ratio <= NEAR[1]:
        return None
    return f"{ratio:.3g} times the {COUNTED[match]} of {MATCHED_TO}'s net, outside {NEAR[0]} to {NEAR[1]}"


def budget(match: str) -> Callable[[Trial, str, int], int]:
    """A function (trial, mixer, dim) -> parameters or FLOPs of the net, which is built without memory."""

    def measure(trial: Trial, mixer: str, dim: int) -> int:
        with FakeTensorMode(allow_non_fake_inputs=True):
            net = build_net(dataclasses.replace(trial, mixer=mixer, dim=dim))
        return net.flops() if match == "flops" else sum(p.numel() for p in net.parameters())

    return measure


def match_ratio(trial: Trial) -> float:
    """The budget that a matched trial reached over the one it was to reach."""
    assert trial.match_dim is not None
    measure = budget(trial.match)
    return measure(trial, trial.mixer, trial.dim) / measure(trial, MATCHED_TO, trial.match_dim)
