"""`peers.json`, `peers.csv` and `peers.md`: comparisons with public implementations, written down."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

from benchmarks.contract.record import atomic_write, code_version, environment, machine_name, now
from benchmarks.studies.peers.measure import Outcome, PeerComparison, PeerFailure

FILES = ("peers.json", "peers.csv", "peers.md")
OK = {"status": "ok", "reason": None}  # of a row that was measured


def write_peers(folder: Path, outcome: Outcome) -> list[Path]:
    """Writes the outcome into `folder`; returns the files."""
    where = environment(outcome.trial.device, outcome.trial.threads)
    peers = {row.package: row.version for row in outcome.rows}
    where["packages"] = where["packages"] | peers
    rows = [dataclasses.asdict(row) | ({} if hasattr(row, "status") else OK) for row in outcome.rows]
    content = {
        "environment": where,
        "code": code_version(),
        "ended": now(),
        "comparisons": rows,
        "left_out": outcome.left_out,
    }
    table = io.StringIO()
    columns = [field.name for field in dataclasses.fields(PeerComparison)] + list(OK)
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    machine = f"{machine_name(where)}, torch {where['torch']}, threads: {where['threads']}"
    texts = json.dumps(content, indent=1) + "\n", table.getvalue(), _page(outcome, machine)
    for name, text in zip(FILES, texts, strict=True):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return [folder / name for name in FILES]


def _page(outcome: Outcome, machine: str) -> str:
    lines = [
        "# Beside public implementations, as ratios within one run",
        "",
        f"{machine}, float32, dim {outcome.trial.dim}, pixels as tokens, {outcome.trial.rounds} rounds.",
        "Ratio: our time over theirs, the geometric mean over rounds and its 95 % interval in this one sitting;",
        "below 1 ours takes less time.",
        "Where both compute one function, outputs and input gradients were compared first.",
        "",
        "| mixer | beside | pixels | mode | ours | theirs | ratio (95 %) | n | same function |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(row) for row in outcome.rows),
        "",
    ]
    compared = outcome.comparisons
    notes = {f"{row.what} beside {row.package} {row.beside}: {row.note}." for row in compared if row.note}
    lines += [f"- {note}" for note in sorted(notes)]
    lines += [f"- {line}." for line in outcome.left_out]
    return "\n".join(lines) + "\n"


def _row(row: PeerComparison | PeerFailure) -> str:
    peer = f"{row.package} {row.version}: {row.beside}"
    mode = (row.mode or "both").replace("_", " + ")
    if isinstance(row, PeerFailure):
        reason = row.reason.replace("|", "\\|")
        return f"| {row.what} | {peer} | {row.image_size} | {mode} | {row.status}: {reason} | | | | |"
    same = f"yes, to {row.output_error:.0e}" if row.same_function else f"no: {row.note.partition(': ')[2]}"
    cells = (
        row.what,
        peer,
        row.image_size,
        mode,
        f"{row.ours:.3g} ms",
        f"{row.theirs:.3g} ms",
        row.ratio_words,
        row.rounds,
    )
    return f"| {' | '.join(map(str, cells))} | {same} |"
