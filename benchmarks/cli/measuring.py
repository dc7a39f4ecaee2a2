"""What verbs that measure have in common: the plan, the run, and the file that it leaves."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.cli.config import write_config
from benchmarks.cli.ending import say_outcome, say_ranking
from benchmarks.cli.flags import DEFAULTS
from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.record import make_results_folder
from benchmarks.contract.trial import FACTS, FLAGGED, flag

if TYPE_CHECKING:
    from benchmarks.contract.trial import Trial
    from benchmarks.plan.grid import Grid
    from benchmarks.plan.request import Request
    from benchmarks.sweep.run import Result

log = logging.getLogger("benchmarks")

RETRIED: dict[str | None, tuple[str, ...]] = {
    None: (),
    "failed": ("oom", "diverged", "timeout", "error"),
    "changed": ("changed",),
}


def plan(options: argparse.Namespace) -> Grid:
    from benchmarks.plan.grid import Grid

    if kind := KINDS.get(options.verb):  # of a verb that measures one kind alone
        take_lists_of(options, [name for name in FLAGGED if FACTS[name].role in kind.roles or name == "batch_size"])
    if options.dataset is not None and options.verb in ("bench-all", "train", "tune"):
        from benchmarks.tasks.sequences.parts.fingerprints import fetch

        fetch(options.dataset, options.data_dir)
    tried = ("lr", "weight_decay") if options.verb == "tune" else ()
    grid = Grid(request_of(options), tried)
    options.resolved, options.notes = grid.resolved(), grid.notes()
    if str(grid):
        print(grid)
    return grid


def leave_config(options: argparse.Namespace) -> None:
    """Writes what was asked for beside the results, with what a plan made of it where the verb has one."""
    words = ["mixer", *FLAGGED, "data_dir", "search", "complex", "matrix", "design", "log"]
    asked = {name: value for name in words if (value := getattr(options, name)) != DEFAULTS[name]}
    asked |= getattr(options, "resolved", {})
    asked = {name: asked[name] for name in words if name in asked}
    write_config(options.results, options.verb, asked, getattr(options, "notes", ()))


def take_lists_of(options: argparse.Namespace, names: Sequence[str]) -> None:
    """For a verb that has no use for some lists, or for any.

    Raises:
        UserError: an option that is not among `names` is a list.
    """
    for name in FLAGGED:
        value = getattr(options, name)
        if name not in names and isinstance(value, tuple) and len(value) > 1:
            listed = ",".join(map(str, value))
            raise UserError(
                f"{flag(name)} is {listed}; {options.verb} takes no list of it, only one, such as {value[0]}"
            )


def request_of(options: argparse.Namespace) -> Request:
    from benchmarks.plan.request import Request

    return Request(**{name: getattr(options, name) for name in Request.__dataclass_fields__})


def run(options: argparse.Namespace, trials: list[Trial], report: bool = True) -> int:
    """Measures the trials, says what failed (the exit code too), writes the report, and says how the mixers did."""
    results, left = measure(options, trials, report)
    code = say_outcome(results, left, len(trials) == 1, options.results)
    if report and (results or not left):
        say_ranking(results, options.results)
    elif len(trials) > 1:
        print(f"records are in {options.results / 'records'}, weights in {options.results / 'checkpoints'}")
    return code


def measure(options: argparse.Namespace, trials: list[Trial], report: bool) -> tuple[list[Result], list[Trial]]:
    """Measures the trials; returns what came of them, and those that the budget did not suffice for."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks.sweep.budget import Budget
    from benchmarks.sweep.run import Runner
    from benchmarks.sweep.status import write_plan

    if options.ray is not None:
        for name in ("budget", "workers", "sittings"):
            if getattr(options, name) is not None:
                raise UserError(f"{flag(name)} is for this machine; with --ray, leave it out")
    make_results_folder(options.results)
    leave_config(options)
    workers = options.workers or 1
    _say_threads(workers, trials)
    log_to_stdout()
    retry = RETRIED[options.retry]
    with logging_redirect_tqdm([log]):
        budget = Budget(options.budget, len(trials) if report else 0)
        runner = Runner(
            options.results,
            options.data_dir,
            retry,
            options.timeout,
            log_kinds=options.log or (),
            workers=workers,
            budget=budget,
            sittings=options.sittings,
        )
        if len(trials) > 1:
            write_plan(options.results, trials)
        if options.ray is None:
            return runner.run(trials), runner.left
        from benchmarks.sweep.cluster import run_on_cluster

        return run_on_cluster(
            options.ray, trials, options.results, options.data_dir, retry, options.timeout, options.log or ()
        ), []


def until(options: argparse.Namespace) -> float | None:
    """When a verb that measures row by row has to begin nothing more, on time.monotonic()'s clock."""
    from benchmarks.sweep.budget import Budget

    return None if options.budget is None else Budget(options.budget).until


def _say_threads(workers: int, trials: list[Trial]) -> None:
    from benchmarks.contract.record import cores

    most = max((t.threads for t in trials if t.device == "cpu" and KINDS[t.kind].trains), default=0)
    if workers > 1 and workers * most > cores():
        fitting = called.option("threads", max(1, cores() // workers))
        print(f"{workers} runs of {most} threads each share {cores()} cores; {fitting} fits")


def log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
