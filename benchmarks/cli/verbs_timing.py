"""The verbs that time something beside something else; `benchmarks.cli.verbs` says what each does."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.cli import measuring
from benchmarks.cli.ending import say_rows
from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.record import make_results_folder
from benchmarks.contract.trial import parse_size


def speed(options: argparse.Namespace) -> int:
    from benchmarks.contract.choices.profiles import CORE_MIXERS
    from benchmarks.contract.record import cores
    from benchmarks.machine.device import resolve_device
    from benchmarks.studies.comparison import Failed
    from benchmarks.studies.speed.measure import measure_speed

    device = resolve_device(options.device or "cpu")
    make_results_folder(options.results)
    measuring.leave_config(options)
    measuring.log_to_stdout()
    threads = options.threads or cores()
    record = measure_speed(
        options.results, list(CORE_MIXERS), threads, options.data_dir, device, measuring.until(options)
    )
    for c in record.comparisons:
        if isinstance(c, Failed):
            print(f"{c.status}: {c.what} / {c.beside}, {c.setting}: {printable(c.reason)}")
            continue
        print(f"{c.what} / {c.beside}: {c.ratio_words}, n = {c.rounds}, {c.setting}")
    statuses = [form.status for form in record.forms]
    statuses += [row.status for row in record.comparisons if isinstance(row, Failed)]
    return say_rows(statuses, record.left, [options.results / f"{record.name}.md"])


def crossovers(options: argparse.Namespace) -> int:
    from benchmarks.machine.device import resolve_device
    from benchmarks.studies.crossovers.measure import ROUNDS, crossovers_record, measure_crossovers
    from benchmarks.studies.crossovers.record import MethodTime
    from benchmarks.studies.crossovers.report import write_pages

    device = resolve_device(options.device)
    make_results_folder(options.results)
    measuring.leave_config(options)
    precisions = DEVICES[device].precisions if options.precision is None else (options.precision,)
    threads = 1 if options.threads is None else options.threads
    rounds = ROUNDS if options.rounds is None else options.rounds
    measuring.log_to_stdout()
    times: list[MethodTime] = []
    left: list[str] = []
    written: list[Path] = []

    def write() -> None:
        path = crossovers_record(times, device, threads, rounds, left).save(options.results)
        written[:] = [path, *write_pages(options.results)]

    def keep(timed: MethodTime) -> None:
        times.append(timed)
        write()

    for precision in precisions:
        left += measure_crossovers(device, threads, precision, rounds, on_time=keep, until=measuring.until(options))[1]
    if left:
        write()
    return say_rows([timed.status for timed in times], left, written)


def profile(options: argparse.Namespace) -> int:
    from benchmarks.studies.profile.measure import STEPS, profile_trials, trace_name
    from benchmarks.studies.profile.record import StepProfile

    if options.seed is not None and len(options.seed) > 1:
        raise UserError(f"--seed lists {len(options.seed)} seeds; a profile takes one")
    measuring.take_lists_of(options, ("seed", "image_size", "length"))
    trials = measuring.plan(options).accuracy(all_seeds=False)
    make_results_folder(options.results)
    measuring.leave_config(options)
    several_sizes = len({trial.extent for trial in trials}) > 1

    def say(result: StepProfile) -> None:
        if result.status == "unsupported" and len(trials) == 1:
            raise UserError(result.reason or "unsupported")
        where = ", ".join(f"{part} {shares[0]:.1f} %" for part, shares in result.part_percent.items())
        step = f"{result.step_ms or 0:.1f} ms a step: {where}"
        reason = f"{result.status}: {printable(result.reason)}"
        print(f"{result.trial.describe()}: {step if result.status == 'ok' else reason}")

    results, left = profile_trials(
        trials, options.data_dir, options.results, options.rounds or STEPS, say, measuring.until(options)
    )
    traces = [options.results / trace_name(r.trial, several_sizes) for r in results if r.status == "ok"]
    print(f"to look into a step, open in ui.perfetto.dev: {', '.join(map(str, traces)) or 'no trace was made'}")
    code = say_rows([r.status for r in results], left, sorted(options.results.glob("profile.*")) if results else [])
    return 1 if any(r.status == "oom" for r in results) else code  # of a step that was asked for


def bench_peers(options: argparse.Namespace) -> int:
    from benchmarks.studies.peers.measure import IMAGE_SIZES, ROUNDS, compare_with_peers
    from benchmarks.studies.peers.record import PeersRecord
    from benchmarks.studies.peers.report import write_pages

    make_results_folder(options.results)
    measuring.leave_config(options)
    measuring.log_to_stdout()
    sizes = [parse_size(size) for size in options.image_size] if options.image_size else IMAGE_SIZES
    rounds, threads = (ROUNDS if options.rounds is None else options.rounds), options.threads

    def keep(record: PeersRecord) -> list[Path]:
        return [record.save(options.results), *write_pages(options.results)]

    outcome = compare_with_peers(
        options.mixer,
        sizes,
        rounds,
        1 if threads is None else threads,
        on_rows=keep,
        until=measuring.until(options),
    )
    written = keep(outcome)
    for c in outcome.comparisons:
        mode, other = c.mode.replace("_", " + "), "" if c.same_function else "; not the same function"
        ratio = f"{c.ratio_words}, n = {c.rounds}"
        print(f"{c.what} / {c.package} {c.beside}: {ratio}, {c.image_size} px, {mode}{other}")
    for f in outcome.failures:
        print(f"{f.status}: {f.what} / {f.package} {f.beside}, {f.image_size} px: {printable(f.reason)}")
    for line in outcome.left_out:
        print(line)
    return say_rows([f.status for f in outcome.failures], [], written)
