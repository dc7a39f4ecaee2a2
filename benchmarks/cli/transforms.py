"""`make transforms`: trains what is missing, writes the table and the picture, and says what came out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cli.ending import say_where
from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.plan.trials import Request
from benchmarks.studies.transforms.design import add_designed
from benchmarks.studies.transforms.matrices import TRANSFORMS
from benchmarks.studies.transforms.measure import SEEDS, Trainer, check_file, open_study, own_member, trials_of
from benchmarks.studies.transforms.predictors import PREDICTORS
from benchmarks.studies.transforms.record import Member, Study, find_study, prediction, trained_of
from benchmarks.studies.transforms.report import beside_dct, sentences, write_pages
from benchmarks.sweep.budget import Budget, left_lines

USUAL_NORM = (0.1, 10.0)  # root mean square, of rows whose scale the net hardly sees
PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "transforms"


@dataclasses.dataclass(frozen=True)
class How:
    """What the command line says beside the request."""

    matrix: Path | None = None
    design: bool = False
    retry: Sequence[str] = ()
    timeout_s: float | None = None
    workers: int = 1
    budget_s: float | None = None


def run(request: Request, how: How) -> int:
    """Returns the exit code: 1 if a run failed.

    Raises:
        UserError: a matrix is none, the study in the folder is another one, or a design comes before its winner.
    """
    if how.matrix is not None and how.design:
        raise UserError("--matrix and --design are two questions; ask one at a time")
    if how.matrix is not None:
        _say_scale(check_file(how.matrix))
    study = open_study(request)
    own = None if how.matrix is None else _own(how.matrix, study, request.results)
    budget = Budget(how.budget_s, len(TRANSFORMS) * len(SEEDS))
    trainer = Trainer(request, how.retry, how.timeout_s, how.workers, budget)
    if own is not None:
        study = study.with_member(own)
        study.save(request.results)
        _say_before(own)
        trainer.train(trials_of([own], study, request))
    elif how.design:
        study = add_designed(study, trainer)
        trainer.train(trials_of(study.role("designed"), study, request))
    else:
        study = trainer.whole_study(study)
    return _say(study, trainer, request.results, own)


def _own(path: Path, study: Study, results: Path) -> Member:
    """A user's matrix; where this folder has made no choice, the published study's predicts."""
    member = own_member(path, study, results)
    there = find_study(PUBLISHED) if member.predicted is None else None
    if there is None or there.choice is None or there.setting != study.setting:
        return member
    return dataclasses.replace(member, predicted=prediction(there.choice, member))


def _say_scale(norm: float) -> None:
    low, high = USUAL_NORM
    if not low <= norm <= high:
        print(
            f"its rows have a norm of {norm:.3g}: predictors leave the scale out, the net does not; scaled to rows of "
            "norm 1 it compares with the transforms of the study"
        )


def _say_before(own: Member) -> None:
    assert own.predictors is not None
    for name, value in own.predictors.items():
        print(f"{PREDICTORS[name].label}: {value:.4g}")
    if own.predicted is None:
        study = called.command("transforms")
        print(f"no prediction: {study} has not come to its choice here, and no such study is published")
    else:
        value, low, high = own.predicted
        print(f"predicted: {value:.1f} % test top-1, 95 % interval {low:.1f} to {high:.1f}", flush=True)


def _say(study: Study, trainer: Trainer, results: Path, own: Member | None) -> int:
    written = write_pages(results)
    failed = [r.record for r in trainer.results if r.record.status != "ok"]
    for record in failed:
        print(printable(f"{record.status}: {record.trial.describe()}: {record.reason}"))
    trained = trained_of(study, results)
    lines = sentences(study, trained)
    if own is not None:
        lines = [beside_dct(own, trained) or f"{own.name}: not trained yet"]
    print("\n".join([*lines, *left_lines(trainer.left)]))
    say_where(written)
    if failed:
        print(f"to try the failed ones again, add {called.option('retry', 'failed')}")
    return 1 if failed else 0
