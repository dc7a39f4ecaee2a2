"""The verbs of studies with trials of their own; `benchmarks.cli.verbs` says what each does."""

from __future__ import annotations

import argparse

from benchmarks.cli import measuring
from benchmarks.cli.ending import say_where
from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.record import make_results_folder
from benchmarks.contract.words import counted


def atlas(options: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks.studies.atlas.measure import measure_atlas
    from benchmarks.studies.atlas.report import write_pages

    measuring.take_lists_of(options, ("seed", "image_size", "length"))
    if options.retry == "changed":
        raise UserError("atlas has no use for --retry changed; --retry failed measures failed maps again")
    measuring.log_to_stdout()
    with logging_redirect_tqdm([measuring.log]):
        records = measure_atlas(measuring.request_of(options), measuring.RETRIED[options.retry])
    measuring.leave_config(options)
    wrong = [record for record in records if record.status != "ok"]
    if len(records) == 1 and wrong and wrong[0].status == "unsupported":
        raise UserError(wrong[0].reason or "unsupported")
    say_where(write_pages(options.results))
    for record in wrong:
        print(printable(f"{record.status}: {record.trial.mixer}: {record.reason}"))
    return 1 if any(record.status != "unsupported" for record in wrong) else 0


def spectracles(options: argparse.Namespace) -> int:
    from benchmarks.studies.spectracles.measure import measure, plan_replications
    from benchmarks.studies.spectracles.record import FILES, load
    from benchmarks.studies.spectracles.report import write_pages

    measuring.take_lists_of(options, ("seed",))
    if options.retry == "changed":
        raise UserError("spectracles has no use for --retry changed; --retry failed tries failed runs again")
    runs = plan_replications(measuring.request_of(options))
    make_results_folder(options.results)
    measuring.log_to_stdout()
    for _ in measure(runs, options.results, options.data_dir, retry=options.retry == "failed"):
        written = write_pages(options.results)
        measuring.leave_config(options)
    print(f"written to {' and '.join(map(str, written))}")
    wanted = [run.settings() for run in runs]
    entries = load(options.results / FILES[0])
    failed = [entry for entry in entries if entry["settings"] in wanted and entry["status"] != "ok"]
    if failed:
        again = f"to try them again, add {called.option('retry', 'failed')}"
        print(f"{len(failed)} of {counted(len(runs), 'run')} failed; {again}")
    return 1 if failed else 0


def blimp(options: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks.contract.record import cores
    from benchmarks.machine.device import resolve_device
    from benchmarks.studies.blimp.measure import measure_blimp
    from benchmarks.studies.blimp.report import write_pages

    measuring.log_to_stdout()
    device = resolve_device(options.device)
    with logging_redirect_tqdm([measuring.log]):
        outcome = measure_blimp(
            options.results,
            options.data_dir,
            device,
            options.threads or cores(),
            options.text,
            options.mixer,
            measuring.until(options),
            on_record=lambda record: write_pages(options.results),
        )
    measuring.leave_config(options)
    for line in outcome.failed:
        print(printable(f"not asked: {line}"))
    if outcome.left:
        print(f"left for want of time: {'; '.join(outcome.left)}; the same command goes on from here")
    say_where(write_pages(options.results))
    return 1 if outcome.failed else 0


def transforms(options: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks.cli.transforms import How, run

    measuring.take_lists_of(options, ("seed",))
    make_results_folder(options.results)
    measuring.leave_config(options)
    measuring.log_to_stdout()
    retry = measuring.RETRIED[options.retry]
    workers = options.workers or 1
    how = How(options.matrix, options.design, retry, options.timeout, workers, options.budget)
    with logging_redirect_tqdm([measuring.log]):
        return run(measuring.request_of(options), how)


def gpu_check(options: argparse.Namespace) -> int:
    from benchmarks.studies.gpu_check.measure import gpu_check as check
    from benchmarks.studies.gpu_check.record import FOLDER
    from benchmarks.studies.gpu_check.report import PAGE

    statuses = []
    for status, line in check(options.results, options.budget):
        print(line, flush=True)
        statuses.append(status)
    print(f"written to {options.results / FOLDER / PAGE}")
    return 0 if set(statuses) == {"ok"} else 1
