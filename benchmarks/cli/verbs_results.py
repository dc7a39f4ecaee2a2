"""The verbs that read what there is and train nothing; `benchmarks.cli.verbs` says what each does."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmarks.cli.ending import say_where
from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.record import make_results_folder
from benchmarks.contract.words import counted


def report(options: argparse.Namespace) -> int:
    from benchmarks.contract.record import load_records
    from benchmarks.report.build import write_report
    from benchmarks.sources import other_code_line
    from benchmarks.studies.pages import sections, write_pages

    written, wrong = write_pages(options.results)
    if (options.results / "records").is_dir() or not (written or wrong):  # a folder may hold studies alone
        if line := other_code_line(load_records(options.results)):
            print(printable(line))
        written += write_report(options.results, sections(options.results, without=wrong))
    if written:
        say_where(written)
    if wrong:
        raise UserError("; ".join(map(str, wrong.values())))
    return 0


def site(options: argparse.Namespace) -> int:
    from benchmarks.report.build import write_site
    from benchmarks.studies.pages import sections

    if options.repository and not re.match(r"https?://[^\s\"'<>]+$", options.repository):
        wanted = called.option("repository", "https://github.com/me/token-mixers")
        raise UserError(f"{options.repository!r} is no address; allowed: one that begins with https://: {wanted}")
    say_where([write_site(options.results, sections(options.results), options.repository or "")])
    return 0


def claims(options: argparse.Namespace) -> int:
    from benchmarks.report.claims.verdicts import effect_text, write_claims

    verdicts, written = write_claims([Path(part.strip()) for part in str(options.results).split(",") if part.strip()])
    for v in verdicts:
        effect = f" {v.compared}: {effect_text(v, v.unit)}, n = {v.n_text}; {v.setting};" if v.n else ""
        print(f"{v.outcome}: {v.claim.text}{effect} {v.reason}")
    print(f"written to {' and '.join(map(str, written))}")
    return 0


def compare(options: argparse.Namespace) -> int:
    from benchmarks.report.compare import compare as compared
    from benchmarks.report.compare import lines_of, write_comparison

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
    from benchmarks.cli.measuring import take_lists_of
    from benchmarks.finished.evaluate import evaluate_on, lines_of, write_evaluation
    from benchmarks.finished.nets import load_net
    from benchmarks.machine.device import resolve_device

    take_lists_of(options, ("seed",))
    if options.net is None:
        wanted = called.command("evaluate", net="dct", dataset="folder:PATH")
        raise UserError(f"evaluate needs a trained net, by mixer or id: {wanted}")
    if options.seed is not None and len(options.seed) > 1:
        raise UserError(f"--seed lists {len(options.seed)} seeds; evaluate takes one")
    choose = {"seed": options.seed and options.seed[0], "epochs": options.epochs}
    choose = {name: value for name, value in choose.items() if value is not None}
    net = load_net(options.results, options.net, device=resolve_device(options.device), mixer=options.mixer, **choose)
    found = evaluate_on(net, options.dataset, options.data_dir)
    print("\n".join(map(printable, lines_of(net, found))))
    if options.out is not None:
        make_results_folder(options.out)
        print(f"written to {' and '.join(map(str, write_evaluation(found, options.out)))}")
    return 0


def status(options: argparse.Namespace) -> int:
    from benchmarks.sweep.status import lines_of, read_status

    print("\n".join(lines_of(read_status(options.results))))
    return 0


def validate(options: argparse.Namespace) -> int:
    from benchmarks.finished.validate import validate as problems_of

    records, problems = problems_of(options.folder or options.results, options.data_dir)
    for line in problems:
        print(printable(line))
    print(f"{counted(records, 'record')}, {counted(len(problems), 'problem')}")
    return 1 if problems else 0


def list_verb(options: argparse.Namespace) -> int:
    from benchmarks.cli.listing import listing

    print("\n".join(listing(options.mixer, options.dataset)))
    return 0
