"""Equal budgets: the width at which a mixer's net has the parameters or FLOPs of attention's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.contract.trial import Trial
from benchmarks.tasks.task import build_net
from mixers import UnsupportedSize

MATCHED_TO = "attention"  # whose budget the others are widened to, at the width that was asked for


def matched(trial: Trial) -> Trial:
    """The trial at the width whose net comes nearest to the budget of attention's net at the trial's own width."""
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
        candidates = [dims[max(low - 1, 0)], dims[low]]
        best = min(candidates, key=lambda dim: abs(measure(trial, trial.mixer, dim) - target))
    except UnsupportedSize:
        best = trial.dim  # the measurement itself will say that the size is not supported
    return dataclasses.replace(trial, dim=best, match_dim=trial.dim)


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
