"""What the command line says when a verb is done: results, what is left, and where to look."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.trial import varied
from benchmarks.contract.words import counted

if TYPE_CHECKING:
    from benchmarks.contract.record import Record
    from benchmarks.contract.trial import Trial
    from benchmarks.sweep.run import Result


def say_outcome(results: Sequence[Result], left: Sequence[Trial], single: bool, folder: Path) -> int:
    """Prints the failures, what is left and where records are; 1 if a trial failed.

    Args:
        results: of the trials.
        left: those that the budget did not suffice for.
        single: whether one trial was asked for; its result is said here, and nowhere else.
        folder: of the results.

    Raises:
        UserError: the only trial asked for cannot exist.
    """
    failed = [r for r in results if r.record.failed]
    answers = [r for r in results if r.record.status != "ok" and not r.record.failed]
    if single and results and results[0].record.status == "unsupported":
        raise UserError(results[0].record.reason or "unsupported")
    more = varied(result.record.trial for result in results)
    for result in [*answers, *failed]:
        print(f"{result.record.status}: {result.record.trial.describe(more)}: {printable(result.record.reason)}")
    if single and results:
        _say_single(results[0], folder)
    else:
        counts = Counter(result.record.status for result in results)
        earlier = sum(not result.measured_now for result in results)
        outcome = ", ".join(f"{n} {s}" for s, n in sorted(counts.items())) or "none measured"
        print(f"{counted(len(results), 'trial')}: {outcome}; {earlier} measured earlier")
    if left:
        from benchmarks.sweep.budget import left_lines

        print("\n".join(left_lines(left)))
    if failed:
        print(f"to try the failed ones again, add {called.option('retry', 'failed')}")
    return 1 if failed else 0


def _say_single(result: Result, folder: Path) -> None:
    from benchmarks.sweep.progress import outcome_line

    record = result.record
    if record.status == "ok":
        note = "" if result.measured_now else " (measured earlier)"
        print(f"{record.trial.describe()}: {outcome_line(record)}{note}")
    for what, path in files_of(record, folder).items():
        print(f"{what + ':':8} {path}")


def files_of(record: Record, folder: Path) -> dict[str, Path]:
    """Where the record lies and, of a training run, its weights, as far as they are there."""
    name = f"{record.kind}-{record.id}"
    files = {
        "record": folder / "records" / f"{name}.json",
        "weights": folder / "checkpoints" / f"{name}.safetensors",
    }
    return {what: path for what, path in files.items() if path.exists()}


def say_rows(statuses: Sequence[str], left: Sequence[str], written: Sequence[Path]) -> int:
    """Prints what the files hold; 1 if a row is an error. What is not there, or does not fit, is an answer."""
    counts = Counter(status for status in statuses if status != "ok")
    if counts:
        print(f"rows without a time: {', '.join(f'{n} {status}' for status, n in sorted(counts.items()))}")
    if left:
        print(f"left for want of time: {'; '.join(left)}")
    print(f"written to {', '.join(map(str, written))}" if written else "nothing is written")
    return 1 if counts["error"] else 0


def say_where(written: Sequence[Path]) -> None:
    """Prints where files went and, last, the page among them."""
    pages = [path for path in written if path.name == "index.html"]
    others = [path for path in written if path not in pages]
    if others:
        root = Path(os.path.commonpath([path.parent for path in written]))
        rooms = dict.fromkeys(root.joinpath(*path.parent.relative_to(root).parts[:1]) for path in sorted(others))
        print(f"{counted(len(others), 'file')} in {', '.join(map(str, rooms))}")
    for page in pages:
        print(f"the page: {page}")


def say_ranking(results: Sequence[Result], folder: Path) -> None:
    """Writes the report and prints how the mixers of this run did, by the report's own numbers, and its page."""
    from benchmarks.report.build import make_report
    from benchmarks.report.ranking import groups_of, ranking
    from benchmarks.studies.pages import sections

    made = make_report(folder, sections(folder))
    for group in groups_of(made.groups, {result.record.id for result in results}):
        print("\n".join(["", *ranking(group)]))
    print()
    say_where(made.paths)
