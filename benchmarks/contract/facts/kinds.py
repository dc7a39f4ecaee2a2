"""The kinds of a trial, and what is true of each."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contract.fields import DATA, KIND, MACHINE, MATCH, MIXER, NET, RECIPE, SEED, TIMING

_NET = (KIND, MIXER, DATA, NET, MATCH, SEED, MACHINE)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The facts of one kind.

    Attributes:
        roles: of the fields that bear on it; the others keep their defaults.
        main_metric: without which a record of it says nothing.
        trains: whether a net is trained, epoch by epoch.
        reads_test: whether the test split is read, once, at the end.
        timed: whether a time is what it measures: nothing else may run meanwhile, and the machine counts for the id.
    """

    roles: tuple[str, ...]
    main_metric: str
    trains: bool = False
    reads_test: bool = False
    timed: bool = False


KINDS = {
    "accuracy": Kind(roles=(*_NET, RECIPE), main_metric="test_top1_percent", trains=True, reads_test=True),
    "cost": Kind(roles=_NET, main_metric="params"),
    "latency": Kind(roles=(*_NET, TIMING), main_metric="forward_ms", timed=True),
    # an accuracy trial that never reads the test split: what is chosen by it is chosen on held-out images
    "tuning": Kind(roles=(*_NET, RECIPE), main_metric="val_top1_percent", trains=True),
}
