"""The command line: verbs, and nothing but verbs.

Heavy imports, torch above all, happen inside the verbs, so that help, a mistyped word and a report need not wait for
them.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import interrupt
from benchmarks.cli import flags
from benchmarks.cli.config import arguments_of, write_config
from benchmarks.cli.ending import say_outcome, say_ranking, say_rows, say_where
from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest, printable
from benchmarks.contract.kinds import KINDS
from benchmarks.contract.record import make_results_folder
from benchmarks.contract.trial import FACTS, FLAGGED, flag, parse_size
from benchmarks.contract.words import counted

if TYPE_CHECKING:
    from benchmarks.contract.trial import Trial
    from benchmarks.plan.grid import Grid
    from benchmarks.plan.trials import Plan, Request
    from benchmarks.sweep.run import Result

log = logging.getLogger("benchmarks")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0 done, 1 something failed, 2 the input was wrong, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else "help"
    try:
        interrupt.set_orderly(True)
        return _main(verb, arguments)
    except KeyboardInterrupt:
        return interrupt.say(verb)
    except Exception:
        if interrupt.asked():  # of which somebody on the way has made another error
            return interrupt.say(verb)
        raise
    finally:
        interrupt.set_orderly(False)


def _main(verb: str, arguments: list[str]) -> int:
    try:
        if verb in ("help", "-h", "--help"):
            print(_parser().format_help())
            return 0
        if verb in ("version", "-V", "--version"):
            from benchmarks.cli.listing import version_line

            print(version_line())
            return 0
        if verb not in VERBS:
            raise UserError(f"there is no verb {verb!r}.{nearest(verb, VERBS)} Verbs: {', '.join(VERBS)}.")
        options = _options(arguments)
        if verb != "transforms" and (options.matrix is not None or options.design):
            name = "--design" if options.matrix is None else "--matrix"
            raise UserError(f"{verb} has no use for {name}; it is for transforms")
        if verb != "text" and options.scratch:
            raise UserError(f"{verb} has no use for --scratch; it is for text")
        if options.folder is not None and verb != "validate":
            raise UserError(f"{verb} has no use for {str(options.folder)!r}; options begin with --, see help")
        return VERBS[verb](options)
    except ValueError as error:
        if interrupt.asked():
            raise
        if not isinstance(error, UserError):
            from mixers import MixerError

            if not isinstance(error, MixerError):
                raise
        print(f"token-mixers: {printable(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(printable(f"token-mixers: {error.filename or 'a file'}: {error.strerror or error}"), file=sys.stderr)
        return 2


def _options(arguments: list[str]) -> argparse.Namespace:
    """What was typed, and what stands in the file of --config where nothing else was typed.

    Raises:
        UserError: something of it is not allowed.
    """
    options, unknown = _parser().parse_known_intermixed_args(arguments)
    if options.config is not None:  # what is typed comes later, and so wins
        given = [arguments[0], *arguments_of(options.config, _parser()), *arguments[1:]]
        options, unknown = _parser().parse_known_intermixed_args(given)
    del options.config
    if unknown:
        known = [name for action in _parser()._actions for name in action.option_strings]
        raise UserError(f"unknown option {unknown[0]!r}.{flags.nearest_flag(unknown[0], known)}")
    return options


def _parser() -> argparse.ArgumentParser:
    return flags.parser({name: (verb.__doc__ or "").splitlines()[0] for name, verb in VERBS.items()})


def bench_all(options: argparse.Namespace) -> int:
    """Trains, cost, latency, tables, plots; resumes."""
    return _run(options, _plan(options).by_worth())


def train(options: argparse.Namespace) -> int:
    """One training run, or several where MIXER, SEED or IMAGE_SIZE is a list."""
    if options.mixer is None:
        wanted = called.command("train", mixer="fft_complex")
        raise UserError(f"train needs a mixer: {wanted} ({called.command('list')} shows all)")
    return _run(options, _plan(options).accuracy(all_seeds=False), report=False)


def cost(options: argparse.Namespace) -> int:
    """Parameters, FLOPs and peak memory."""
    return _run(options, _plan(options).cost())


def latency(options: argparse.Namespace) -> int:
    """Time per image size, each mixer alone and in the backbone."""
    return _run(options, _plan(options).latency(trained=options.image_size is None and options.length is None))


def tune(options: argparse.Namespace) -> int:
    """The sweep of learning rate and weight decay, and of nets, on held-out training images; resumes."""
    for name in ("lr", "weight_decay"):  # one value is a list of one
        value = getattr(options, name)
        setattr(options, name, value if value is None or isinstance(value, tuple) else (value,))
    plan = _plan(options)
    if options.search == "nets":
        _say_net_choosers(plan.first)
    code = 0
    done: list[Trial] = []
    while new := [trial for trial in plan.tuning() if trial not in done]:  # what did best tells what to try next
        results, left = _measure(options, new, report=True)
        code = max(code, say_outcome(results, left, False, options.results))
        if left:
            break
        done += new
    from benchmarks.report.build import write_report
    from benchmarks.studies.pages import sections

    say_where(write_report(options.results, sections(options.results)))
    return code


def text(options: argparse.Namespace) -> int:
    """FNet's experiment: encoders pre-trained on text and fine-tuned on tasks; resumes."""
    from benchmarks.contract.record import cores
    from benchmarks.plan import text_line

    asked, options.dataset = options.dataset, None
    _refuse(options, "search", "sittings", "pretrained", "padded_length")
    _take_lists_of(options, ("seed",))
    request = _request(options)
    tasks = text_line.tasks_of(asked, options.text, options.data_dir)
    first = text_line.pretraining(request)
    if options.ray is None:
        options.workers = options.workers or max(1, cores() // first[0].threads)
    results, left = _measure(options, first, report=True)
    code = say_outcome(results, left, False, options.results)
    ready = [result.record.trial for result in results if result.record.status == "ok"]
    later = text_line.fine_tuning(request, tasks, ready, options.scratch)
    if later:
        tuned, more = _measure(options, later, report=True)
        code = max(code, say_outcome(tuned, more, False, options.results))
        results += tuned
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


def report(options: argparse.Namespace) -> int:
    """Tables, plots and the page again, and those of every study, from the records alone."""
    from benchmarks.contract.record import load_records
    from benchmarks.report.build import write_report
    from benchmarks.sources import other_code_line
    from benchmarks.studies.pages import sections, write_pages

    _only(options, ("results",))
    written = write_pages(options.results)
    if not written or (options.results / "records").is_dir():  # without trials a folder may hold studies alone
        if line := other_code_line(load_records(options.results)):
            print(printable(line))
        written += write_report(options.results, sections(options.results))
    say_where(written)
    return 0


def claims(options: argparse.Namespace) -> int:
    """The literature's claims, judged from records alone; --results A,B reads several folders."""
    from benchmarks.report.claims.verdicts import effect_text, write_claims

    _only(options, ("results",))
    verdicts, written = write_claims([Path(part.strip()) for part in str(options.results).split(",") if part.strip()])
    for v in verdicts:
        effect = f" {v.compared}: {effect_text(v, v.unit)}, n = {v.n_text}; {v.setting};" if v.n else ""
        print(f"{v.outcome}: {v.claim.text}{effect} {v.reason}")
    print(f"written to {' and '.join(map(str, written))}")
    return 0


def atlas(options: argparse.Namespace) -> int:
    """What each mixer does: maps of one token's influence, before and after training."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks.studies.atlas.measure import measure_atlas
    from benchmarks.studies.atlas.report import write_pages

    _refuse(options, "budget", "workers", "sittings")
    _take_lists_of(options, ("seed", "image_size", "length"))
    if options.retry == "changed":
        raise UserError("atlas has no use for --retry changed; --retry failed measures failed maps again")
    _log_to_stdout()
    with logging_redirect_tqdm([log]):
        records = measure_atlas(_request(options), CHOICES_OF_RETRY[options.retry])
    _leave_config(options)
    wrong = [record for record in records if record.status != "ok"]
    if len(records) == 1 and wrong and wrong[0].status == "unsupported":
        raise UserError(wrong[0].reason or "unsupported")
    say_where(write_pages(options.results))
    for record in wrong:
        print(printable(f"{record.status}: {record.trial.mixer}: {record.reason}"))
    return 1 if any(record.status != "unsupported" for record in wrong) else 0


def compare(options: argparse.Namespace) -> int:
    """What differs between two results folders, and how surely: compare --a BEFORE --b AFTER."""
    from benchmarks.report.compare import compare as compared
    from benchmarks.report.compare import lines_of, write_comparison

    _only(options, ("a", "b", "out"))
    if options.a is None or options.b is None:
        wanted = called.command("compare", a="results-before", b="results-after")
        raise UserError(f"compare needs two results folders: {wanted}")
    table = compared(options.a, options.b)
    print("\n".join(lines_of(table)))
    if options.out is not None:
        make_results_folder(options.out)
        print(f"written to {' and '.join(map(str, write_comparison(table, options.out)))}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """A trained net on images of your own: evaluate --net NAME_OR_ID --dataset folder:PATH."""
    from benchmarks.finished.evaluate import evaluate_on, lines_of, write_evaluation
    from benchmarks.finished.nets import load_net
    from benchmarks.plan.trials import Plan, Request

    _only(options, ("net", "mixer", "dataset", "data_dir", "results", "device", "seed", "epochs", "out"))
    _take_lists_of(options, ("seed",))
    if options.net is None:
        wanted = called.command("evaluate", net="dct", dataset="folder:PATH")
        raise UserError(f"evaluate needs a trained net, by mixer or id: {wanted}")
    if options.seed is not None and len(options.seed) > 1:
        raise UserError(f"--seed lists {len(options.seed)} seeds; evaluate takes one")
    choose = {"seed": options.seed and options.seed[0], "epochs": options.epochs}
    choose = {name: value for name, value in choose.items() if value is not None}
    device = Plan(Request(dataset="cifar100", device=options.device)).device
    net = load_net(options.results, options.net, device=device, mixer=options.mixer, **choose)
    found = evaluate_on(net, options.dataset, options.data_dir)
    print("\n".join(map(printable, lines_of(net, found))))
    if options.out is not None:
        make_results_folder(options.out)
        print(f"written to {' and '.join(map(str, write_evaluation(found, options.out)))}")
    return 0


def status(options: argparse.Namespace) -> int:
    """What is done, running, failed, and how long the rest takes, from the results folder alone."""
    from benchmarks.sweep.status import lines_of, read_status

    _only(options, ("results",))
    print("\n".join(lines_of(read_status(options.results))))
    return 0


def validate(options: argparse.Namespace) -> int:
    """Whether the records of a folder that somebody sends are what they say: validate DIR."""
    from benchmarks.finished.validate import validate as problems_of

    _only(options, ("folder", "results", "data_dir"))
    records, problems = problems_of(options.folder or options.results, options.data_dir)
    for line in problems:
        print(printable(line))
    print(f"{counted(records, 'record')}, {counted(len(problems), 'problem')}")
    return 1 if problems else 0


def speed(options: argparse.Namespace) -> int:
    """Ratios: our transforms beside torch.fft and naive forms, our training loop beside timm's."""
    from benchmarks.contract.choices.profiles import CORE_MIXERS
    from benchmarks.contract.record import cores
    from benchmarks.plan.trials import Plan, Request
    from benchmarks.studies.comparison import Failed
    from benchmarks.studies.speed.measure import measure_speed

    _only(options, ("threads", "data_dir", "results", "device", "budget"))
    device = Plan(Request(dataset="cifar100", device=options.device)).device if options.device else "cpu"
    make_results_folder(options.results)
    _leave_config(options)
    _log_to_stdout()
    threads = options.threads or cores()
    record = measure_speed(options.results, list(CORE_MIXERS), threads, options.data_dir, device, _until(options))
    for c in record.comparisons:
        if isinstance(c, Failed):
            print(f"{c.status}: {c.what} / {c.beside}, {c.setting}: {printable(c.reason)}")
            continue
        print(f"{c.what} / {c.beside}: {c.ratio_words}, n = {c.rounds}, {c.setting}")
    statuses = [form.status for form in record.forms]
    statuses += [row.status for row in record.comparisons if isinstance(row, Failed)]
    return say_rows(statuses, record.left, [options.results / f"{record.name}.md"])


def crossovers(options: argparse.Namespace) -> int:
    """Which method of a mixer is fastest from how many tokens on: the table behind method=auto."""
    from benchmarks.plan.trials import Plan, Request
    from benchmarks.studies.crossovers.measure import PRECISIONS, ROUNDS, crossovers_record, measure_crossovers
    from benchmarks.studies.crossovers.record import Cell
    from benchmarks.studies.crossovers.report import write_pages

    _only(options, ("device", "threads", "precision", "rounds", "results", "budget"))
    make_results_folder(options.results)
    _leave_config(options)
    device = Plan(Request(dataset="cifar100", device=options.device)).device
    precisions = PRECISIONS[device] if options.precision is None else (options.precision,)
    threads = 1 if options.threads is None else options.threads
    rounds = ROUNDS if options.rounds is None else options.rounds
    _log_to_stdout()
    cells: list[Cell] = []
    left: list[str] = []
    written: list[Path] = []

    def write() -> None:
        path = crossovers_record(cells, device, threads, rounds, left).save(options.results)
        written[:] = [path, *write_pages(options.results)]

    def keep(cell: Cell) -> None:
        cells.append(cell)
        write()

    for precision in precisions:
        left += measure_crossovers(device, threads, precision, rounds, on_cell=keep, until=_until(options))[1]
    if left:
        write()
    return say_rows([cell.status for cell in cells], left, written)


def profile(options: argparse.Namespace) -> int:
    """Where the time of a training step goes, by part of the net, and a trace of it."""
    from benchmarks.studies.profile.measure import STEPS, profile_trials, trace_name
    from benchmarks.studies.profile.record import StepProfile

    _refuse(options, "workers", "retry", "sittings")
    if options.seed is not None and len(options.seed) > 1:
        raise UserError(f"--seed lists {len(options.seed)} seeds; a profile takes one")
    if options.rounds is not None and not 1 <= options.rounds <= 1000:
        raise UserError(f"--rounds is {options.rounds}; allowed for the steps of a profile: 1 to 1000")
    _take_lists_of(options, ("seed", "image_size", "length"))
    trials = _plan(options).accuracy(all_seeds=False)
    make_results_folder(options.results)
    _leave_config(options)
    several_sizes = len({trial.extent for trial in trials}) > 1

    def say(result: StepProfile) -> None:
        if result.status == "unsupported" and len(trials) == 1:
            raise UserError(result.reason or "unsupported")
        where = ", ".join(f"{part} {shares[0]:.1f} %" for part, shares in result.part_percent.items())
        step = f"{result.step_ms or 0:.1f} ms a step: {where}"
        reason = f"{result.status}: {printable(result.reason)}"
        print(f"{result.trial.describe()}: {step if result.status == 'ok' else reason}")

    results, left = profile_trials(
        trials, options.data_dir, options.results, options.rounds or STEPS, say, _until(options)
    )
    traces = [options.results / trace_name(r.trial, several_sizes) for r in results if r.status == "ok"]
    print(f"to look into a step, open in ui.perfetto.dev: {', '.join(map(str, traces)) or 'no trace was made'}")
    code = say_rows([r.status for r in results], left, sorted(options.results.glob("profile.*")) if results else [])
    return 1 if any(r.status == "oom" for r in results) else code  # of a step that was asked for


def spectracles(options: argparse.Namespace) -> int:
    """The first source's own net, its published log run again in both layouts; resumes."""
    from benchmarks.studies.spectracles.measure import measure, plan_runs
    from benchmarks.studies.spectracles.record import FILES, load
    from benchmarks.studies.spectracles.report import write_pages

    _only(options, SPECTRACLES_OPTIONS)
    _take_lists_of(options, ("seed",))
    if options.retry == "changed":
        raise UserError("spectracles has no use for --retry changed; --retry failed tries failed runs again")
    runs = plan_runs(_request(options))
    make_results_folder(options.results)
    _log_to_stdout()
    for _ in measure(runs, options.results, options.data_dir, retry=options.retry == "failed"):
        written = write_pages(options.results)
        _leave_config(options)
    print(f"written to {' and '.join(map(str, written))}")
    wanted = [run.settings() for run in runs]
    entries = load(options.results / FILES[0])
    failed = [entry for entry in entries if entry["settings"] in wanted and entry["status"] != "ok"]
    if failed:
        again = f"to try them again, add {called.option('retry', 'failed')}"
        print(f"{len(failed)} of {counted(len(runs), 'run')} failed; {again}")
    return 1 if failed else 0


def transforms(options: argparse.Namespace) -> int:
    """What makes a transform mix well: fixed matrices trained alike, yours too (--matrix file.npy); resumes."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks.cli.transforms import How, run

    _only(options, TRANSFORMS_OPTIONS)
    _take_lists_of(options, ("seed",))
    make_results_folder(options.results)
    _leave_config(options)
    _log_to_stdout()
    retry = CHOICES_OF_RETRY[options.retry]
    workers = options.workers or 1
    how = How(options.matrix, options.design, retry, options.timeout, workers, options.budget)
    with logging_redirect_tqdm([log]):
        return run(_request(options), how)


def bench_peers(options: argparse.Namespace) -> int:
    """Ratios: each mixer beside the best public implementation that installs from PyPI."""
    from benchmarks.studies.peers.measure import IMAGE_SIZES, ROUNDS, compare_with_peers
    from benchmarks.studies.peers.record import PeersRecord
    from benchmarks.studies.peers.report import write_pages

    _only(options, ("mixer", "image_size", "threads", "rounds", "results", "budget"))
    make_results_folder(options.results)
    _leave_config(options)
    _log_to_stdout()
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
        until=_until(options),
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


def gpu_check_verb(options: argparse.Namespace) -> int:
    """The first minutes on a GPU: card, ceilings, tests, a captured step of each mixer, kernels, crossovers."""
    from benchmarks.studies.gpu_check.measure import gpu_check
    from benchmarks.studies.gpu_check.record import FOLDER
    from benchmarks.studies.gpu_check.report import PAGE

    _only(options, ("budget", "results"))
    statuses = []
    for status, line in gpu_check(options.results, options.budget):
        print(line, flush=True)
        statuses.append(status)
    print(f"written to {options.results / FOLDER / PAGE}")
    return 0 if set(statuses) == {"ok"} else 1


def list_verb(options: argparse.Namespace) -> int:
    """The mixers with family, complexity, paper and year; the data sets with classes, sizes and splits."""
    from benchmarks.cli.listing import listing

    _only(options, ("mixer", "dataset"))
    print("\n".join(listing(options.mixer, options.dataset)))
    return 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "bench-all": bench_all,
    "train": train,
    "latency": latency,
    "cost": cost,
    "tune": tune,
    "report": report,
    "claims": claims,
    "compare": compare,
    "evaluate": evaluate,
    "status": status,
    "validate": validate,
    "list": list_verb,
    "speed": speed,
    "crossovers": crossovers,
    "profile": profile,
    "spectracles": spectracles,
    "text": text,
    "transforms": transforms,
    "bench-peers": bench_peers,
    "atlas": atlas,
    "gpu-check": gpu_check_verb,
}


def _only(options: argparse.Namespace, allowed: Sequence[str]) -> None:
    """For a verb with a recipe of its own.

    Raises:
        UserError: an option is given that the verb has no use for.
    """
    usual = vars(_parser().parse_args([options.verb]))
    for name, value in vars(options).items():
        if name not in ("verb", *allowed) and value != usual[name]:
            taken = ", ".join(flag(other) for other in allowed)
            raise UserError(f"{options.verb} has no use for {flag(name)}; it takes {taken}")


def _refuse(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            raise UserError(f"{options.verb} has no use for {flag(name)}; leave it out")


def _plan(options: argparse.Namespace) -> Grid:
    from benchmarks.plan.grid import Grid

    if options.complex:
        raise UserError(f"{options.verb} has no use for --complex, which is for spectracles; leave it out")
    if kind := KINDS.get(options.verb):  # of a verb that measures one kind alone
        bear = [name for name in FLAGGED if FACTS[name].role in kind.roles or name == "batch_size"]
        _take_lists_of(options, [name for name in bear if name != "seed" or kind.trains])
    if options.dataset is not None and options.verb in ("bench-all", "train", "tune"):
        from benchmarks.tasks.sequences.fingerprints import fetch

        fetch(options.dataset, options.data_dir)
    tried = ("lr", "weight_decay") if options.verb == "tune" else ()
    grid = Grid(_request(options), tried)
    options.resolved, options.notes = grid.resolved(), grid.notes()
    if str(grid):
        print(grid)
    return grid


def _leave_config(options: argparse.Namespace) -> None:
    """Writes what was asked for beside the results, with what a plan made of it where the verb has one."""
    words = ["mixer", *FLAGGED, "data_dir", "search", "complex", "matrix", "design", "log"]
    usual = vars(_parser().parse_args([options.verb]))
    asked = {name: value for name in words if (value := getattr(options, name)) != usual[name]}
    asked |= getattr(options, "resolved", {})
    asked = {name: asked[name] for name in words if name in asked}
    write_config(options.results, options.verb, asked, getattr(options, "notes", ()))


def _take_lists_of(options: argparse.Namespace, names: Sequence[str]) -> None:
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


def _request(options: argparse.Namespace) -> Request:
    from benchmarks.plan.trials import Request

    if options.search is not None and options.verb != "tune":
        raise UserError(f"{options.verb} has no use for --search; it is for tune")
    return Request(**{name: getattr(options, name) for name in Request.__dataclass_fields__})


def _run(options: argparse.Namespace, trials: list[Trial], report: bool = True) -> int:
    """Measures the trials, says what failed (the exit code too), writes the report, and says how the mixers did."""
    results, left = _measure(options, trials, report)
    code = say_outcome(results, left, len(trials) == 1, options.results)
    if report and (results or not left):
        say_ranking(results, options.results)
    elif len(trials) > 1:
        print(f"records are in {options.results / 'records'}, weights in {options.results / 'checkpoints'}")
    return code


def _measure(options: argparse.Namespace, trials: list[Trial], report: bool) -> tuple[list[Result], list[Trial]]:
    """Measures the trials; returns what came of them, and those that the budget did not suffice for."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks.sweep.budget import Budget
    from benchmarks.sweep.run import Runner
    from benchmarks.sweep.status import write_plan

    if options.sittings is not None and all(not KINDS[trial.kind].timed for trial in trials):
        raise UserError(f"{options.verb} has no use for --sittings; type it with latency, or with bench-all")
    if options.ray is not None:
        for name in ("budget", "workers", "sittings"):
            if getattr(options, name) is not None:
                raise UserError(f"{flag(name)} is for this machine; with --ray, leave it out")
    make_results_folder(options.results)
    _leave_config(options)
    workers = options.workers or 1
    _say_threads(workers, trials)
    _log_to_stdout()
    retry = CHOICES_OF_RETRY[options.retry]
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


def _until(options: argparse.Namespace) -> float | None:
    """When a verb that measures row by row has to begin nothing more, on time.monotonic()'s clock."""
    from benchmarks.sweep.budget import Budget

    return None if options.budget is None else Budget(options.budget).until


def _say_threads(workers: int, trials: list[Trial]) -> None:
    from benchmarks.contract.record import cores

    most = max((t.threads for t in trials if t.device == "cpu" and KINDS[t.kind].trains), default=0)
    if workers > 1 and workers * most > cores():
        fitting = called.option("threads", max(1, cores() // workers))
        print(f"{workers} runs of {most} threads each share {cores()} cores; {fitting} fits")


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


SPECTRACLES_OPTIONS = [
    *("dim", "depth", "seed", "epochs", "train_images", "dataset", "data_dir"),
    *("results", "device", "threads", "retry", "complex"),
]
TRANSFORMS_OPTIONS = [
    *("matrix", "design", "dataset", "dim", "depth", "epochs", "train_images", "seed", "device", "threads"),
    *("data_dir", "results", "retry", "timeout", "budget", "workers"),
]
CHOICES_OF_RETRY: dict[str | None, tuple[str, ...]] = {
    None: (),
    "failed": ("oom", "diverged", "timeout", "error"),
    "changed": ("changed",),
}
