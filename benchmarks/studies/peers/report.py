"""`peers.csv` and `peers.md` from `peers.json` alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.studies.comparison import OK
from benchmarks.studies.files import cell, csv_of, machine_words, row, write_beside
from benchmarks.studies.peers.record import FILES, PeerComparison, PeerFailure, PeersRecord, load


def write_pages(results: Path) -> list[Path]:
    """Writes table and page beside the record, if there is one; returns their paths.

    Raises:
        UserError: the record cannot be read.
    """

    def texts(path: Path) -> dict[str, str]:
        record = load(path)
        return {"peers.csv": programs(record), "peers.md": people(record)}

    return write_beside(results, FILES, texts)


def programs(record: PeersRecord) -> str:
    """The rows in CSV."""
    columns = [field.name for field in dataclasses.fields(PeerComparison)] + list({} if record.medians else OK)
    return csv_of(columns, record.rows_as_json())


def people(record: PeersRecord) -> str:
    """The rows in Markdown, with what must be known to read them."""
    environment, compared = record.environment, record.comparisons
    setting = [f"dim {one.dim}, pixels as tokens" for one in record.rows[:1]]
    setting += [f"{one.rounds} rounds" for one in compared[:1]]
    what = (
        "the median over rounds and their range; below 1 ours takes less time."
        if record.medians
        else "the geometric mean over rounds and its 95 % interval in this one sitting;\nbelow 1 ours takes less time."
    )
    ratio = "ratio (range)" if record.medians else "ratio (95 %)"
    lines = [
        "# Beside public implementations, as ratios within one run",
        "",
        f"{machine_words(environment)}, threads: {environment['threads']}, {', '.join(['float32', *setting])}.",
        f"Ratio: our time over theirs, {what}",
        "Where both compute one function, outputs and input gradients were compared first.",
        "",
        f"| mixer | beside | pixels | mode | ours | theirs | {ratio} | n | same function |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(one) for one in record.rows),
        "",
    ]
    notes = {f"{one.what} beside {one.package} {one.beside}: {one.note}." for one in compared if one.note}
    lines += [f"- {note}" for note in sorted(notes)]
    lines += [f"- {line}." for line in record.left_out]
    return "\n".join(lines) + "\n"


def _line(one: PeerComparison | PeerFailure) -> str:
    peer = f"{one.package} {one.version}: {one.beside}"
    own = one.what, peer, one.image_size, (one.mode or "both").replace("_", " + ")
    if isinstance(one, PeerFailure):
        return row(*own, f"{one.status}: {cell(one.reason)}") + " | | | |"
    same = f"yes, to {one.output_error:.0e}" if one.same_function else f"no: {one.note.partition(': ')[2]}"
    return row(*own, f"{one.ours:.3g} ms", f"{one.theirs:.3g} ms", one.ratio_words, one.rounds, same)
