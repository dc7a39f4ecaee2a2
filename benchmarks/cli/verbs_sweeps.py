"""The verbs that measure a list of trials and report on it; `benchmarks.cli.verbs` says what each does."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from benchmarks.cli import measuring
from benchmarks.cli.ending import say_outcome, say_ranking, say_where
from benchmarks.contract import called
from benchmarks.contract.errors import UserError

if TYPE_CHECKING:
    from benchmarks.contract.trial import Trial
    from benchmarks.plan.trials import Plan
    from benchmarks.sweep.run import Result


def bench_all(options: argparse.Namespace) -> int:
    return measuring.run(options, measuring.plan(options).by_worth())


def train(options: argparse.Namespace) -> int:
    if options.mixer is None:
        wanted = called.command("train", mixer="fft_complex")
        raise UserError(f"train needs a mixer: {wanted} ({called.command('list')} shows all)")
    return measuring.run(options, measuring.plan(options).accuracy(all_seeds=False), report=False)


def cost(options: argparse.Namespace) -> int:
    return measuring.run(options, measuring.plan(options).cost())


def latency(options: argparse.Namespace) -> int:
    return measuring.run(
        options, measuring.plan(options).latency(trained=options.image_size is None and options.length is None)
    )


def tune(options: argparse.Namespace) -> int:
    for name in ("lr", "weight_decay"):  # one value is a list of one
        value = getattr(options, name)
        setattr(options, name, value if value is None or isinstance(value, tuple) else (value,))
    plan = measuring.plan(options)
    if options.search == "nets":
        _say_net_choosers(plan.first)
    code = 0
    done: list[Trial] = []
    while new := [trial for trial in plan.tuning() if trial not in done]:  # what did best tells what to try next
        results, left = measuring.measure(options, new, report=True)
        code = max(code, say_outcome(results, left, False, options.results))
        if left:
            break
        done += new
    from benchmarks.report.build import write_report
    from benchmarks.studies.pages import sections

    say_where(write_report(options.results, sections(options.results)))
    return code


def text(options: argparse.Namespace) -> int:
    from benchmarks.contract.record import cores
    from benchmarks.plan import text_line
    from benchmarks.tasks.text.passages import check_rows

    asked, options.dataset = options.dataset, None
    measuring.take_lists_of(options, ("seed",))
    request = measuring.request_of(options)
    tasks = text_line.tasks_of(asked, options.text, options.data_dir)
    for task in tasks:  # before hours of pre-training
        check_rows(task, options.data_dir)
    first = text_line.pretraining(request)
    if options.ray is None:
        options.workers = options.workers or max(1, cores() // first[0].threads)
    started, whole = time.monotonic(), options.budget

    def measured(trials: list[Trial]) -> int:
        """Within what is left of the budget of the whole line."""
        if whole is not None:
            options.budget = max(0.0, whole - (time.monotonic() - started))
        found, left = measuring.measure(options, trials, report=True)
        results.extend(found)
        return say_outcome(found, left, False, options.results)

    results: list[Result] = []
    code = measured(first)
    trained = [result.record for result in results if result.record.kind == "accuracy"]
    ready = [record.trial for record in trained if record.status == "ok"]
    later = text_line.fine_tuning(request, tasks, ready, options.scratch)
    if later:
        code = max(code, measured(later))
    if ready:
        code = max(code, measured(text_line.times(request)))
    if results:  # a budget may leave everything
        say_ranking(results, options.results)
    return code


def _say_net_choosers(plan: Plan) -> None:
    """Which mixers are not searched.

    Raises:
        UserError: norm or positions is given, so that there is nothing to search.
    """
    if plan.net_is_given:
        raise UserError("--search is nets, which tries norms and positions itself; leave --norm and --positions out")
    for mixer, chooser in plan.net_choosers().items():
        print(f"{mixer}: norm and positions are those of {chooser}, one of its family")
