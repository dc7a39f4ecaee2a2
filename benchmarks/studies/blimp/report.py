"""`blimp.md`, `.csv` and `.tex` from the records alone: encoders by grammar, overall and in twelve phenomena."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.record import Record, machine_name, write_texts
from benchmarks.report.alike import TRAINED_ALIKE, comparisons
from benchmarks.report.families import encoder_name
from benchmarks.report.frame import records_frame
from benchmarks.report.notes import setting_words
from benchmarks.report.stats.intervals import mean_interval
from benchmarks.report.tables.latex import HEAD, cells_of, escaped, floats
from benchmarks.report.tables.view import View
from benchmarks.report.wording import NOTHING, clean, count, csv_text, listing, markdown, percent
from benchmarks.studies.blimp.record import FOLDER, BlimpRecord, load_blimp

NAME = "blimp"
TITLE = "Grammar: BLiMP by pseudo-log-likelihood"
CHANCE = 50.0
NOTE = (
    "Share of pairs in percent of which the right sentence is the likelier to the net; 50 is chance. Overall is the "
    "mean over paradigms, in brackets its 95 % t-interval over paradigms, each a mean over the encoder's seeds; it "
    "does not cover other seeds. A phenomenon is the mean of its paradigms. The likelihood of a sentence is the sum "
    "over its tokens of the log-probability of each where it alone is masked (Salazar et al., 2020), which favours the "
    "shorter one: a net without grammar need not stand at 50. The pairs are of Warstadt et al. (2020). Masked: share "
    "of masked test tokens that are right."
)
# pre-trained alike, and asked the same pairs; of two mixers' versions each has its own label
ALIKE = [*TRAINED_ALIKE, "dataset", "profile", "source", "asked", "pairs"]
Row = dict[str, Any]


def write_pages(results: Path) -> list[Path]:
    """Writes the tables into `results`/blimp; returns their paths, none where there is no record.

    Raises:
        UserError: a record cannot be read.
    """
    records = load_blimp(Path(results))
    if not records:
        return []
    parts = parts_of(records)
    texts = {"csv": csv_text(table(parts)), "md": people(parts), "tex": latex(parts)}
    return write_texts(Path(results) / FOLDER, {f"{NAME}.{ending}": text for ending, text in texts.items()})


def parts_of(records: Sequence[BlimpRecord]) -> list[list[Row]]:
    """A row an encoder, the best first; a part for those that were pre-trained alike, the largest first."""
    frame = records_frame([_as_trained(record) for record in records])
    for name in ("source", "asked", "pairs"):
        frame[name] = [getattr(record, name) for record in records]
    frame["place"] = range(len(records))
    found = []
    for part in comparisons(frame, ALIKE).values():
        rows: list[Row] = []
        for label, group in part.groupby("label", sort=True):
            runs = [records[place] for place in group["place"]]
            rows.append({"label": str(label), "family": str(group["family"].iloc[0])} | _row(runs))
        found.append(sorted(rows, key=lambda row: (-float(row["overall"]), str(row["label"]))))
    return found


def _as_trained(record: BlimpRecord) -> Record:
    """The record of its pre-training, as far as a comparison asks for it."""
    return Record(
        id=record.id, kind=record.trial.kind, status="ok", reason=None, trial=record.trial, metrics={}, history=[],
        environment=record.environment, code=record.code, started=record.started, ended=record.ended,
    )  # fmt: skip


def _row(runs: Sequence[BlimpRecord]) -> Row:
    """One encoder over its seeds."""
    first = runs[0]
    paradigms = {name: _mean(run.paradigms[name] for run in runs) for name in first.paradigms}
    overall = mean_interval(paradigms.values())
    assert overall is not None
    known = [run.masked_percent for run in runs if run.masked_percent is not None]
    trial = first.trial
    return {
        "n": len(runs),
        "seeds": " ".join(str(seed) for seed in sorted(run.trial.seed for run in runs)),
        "tokens_seen": (trial.epochs or 0) * (trial.train_images or 0) * (trial.length or 0),
        "masked_percent": _mean(known) if known else None,
        "overall": overall.value,
        "low": None if overall.low is None else max(0.0, overall.low),
        "high": None if overall.high is None else min(100.0, overall.high),
        "phenomena": {name: _mean(paradigms[one] for one in of) for name, of in first.phenomena.items()},
        "paradigms": paradigms,
        "setting": trial.to_dict(),
        "asked": first.asked,
        "pairs": first.pairs,
        "machines": listing([machine_name(run.environment) for run in runs]),
    }


def _mean(values: Any) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)


def words_of(rows: Sequence[Row]) -> str:
    """ "quick profile, length 64 tokens, dim 128, depth 2, bytes of wikipedia; 3,350 pairs of 67 paradigms"."""
    row = rows[0]
    setting: Mapping[str, Any] = row["setting"]
    pairs = f"{row['pairs']:,} pairs of {len(row['paradigms'])} paradigms"
    if row["pairs"] < row["asked"]:
        pairs = f"{row['pairs']:,} of {row['asked']:,} pairs fit into the net, of {len(row['paradigms'])} paradigms"
    words = [f"{setting['profile']} profile", *setting_words(setting), f"{setting['tokenizer']} of {setting['corpus']}"]
    asked_on = listing([machine for one in rows for machine in one["machines"].split(", ")])
    return clean(f"{', '.join(words)}; {pairs}; asked on {asked_on}")


def table(parts: Sequence[Sequence[Row]]) -> pd.DataFrame:
    """For programs: a row an encoder."""
    names = sorted({name for part in parts for row in part for name in row["phenomena"]})
    rows: list[Row] = []
    for place, part in enumerate(parts, 1):
        for row in part:
            own = {name: row[name] for name in ("label", "family", "n", "seeds", "tokens_seen", "masked_percent")}
            own |= {"overall_percent": row["overall"], "overall_low": row["low"], "overall_high": row["high"]}
            own |= {f"{name}_percent": row["phenomena"].get(name) for name in names}
            own |= {name: row["setting"][name] for name in ("corpus", "tokenizer", "length", "dim", "depth", "epochs")}
            rows.append({"part": place} | own | {"asked": row["asked"], "pairs": row["pairs"]})
    return pd.DataFrame(rows, dtype=object)


def people(parts: Sequence[Sequence[Row]]) -> str:
    """The same in Markdown."""
    texts = [f"# {TITLE}", markdown(NOTE)]
    for part in parts:
        texts += [f"{markdown(words_of(part))}:", _view(part).markdown.rstrip("\n")]
    return "\n\n".join(texts) + "\n"


def latex(parts: Sequence[Sequence[Row]]) -> str:
    """The same for a paper, a float for each part."""
    texts = [HEAD]
    for place, part in enumerate(parts, 1):
        view = _view(part)
        words = f"{TITLE}: {words_of(part)}." + (f" {NOTE}" if place == 1 else "")
        texts += floats(view, cells_of(view), escaped(words), f"tab:{NAME}" + ("" if place == 1 else f"-part-{place}"))
    return "".join(texts)


def _view(rows: Sequence[Row]) -> View:
    names = list(rows[0]["phenomena"])
    header = ["encoder", "family", "seeds", "tokens seen", "masked (%)", "overall (%)"]
    header += [name.replace("_", " ") for name in names]
    body = [
        [clean(encoder_name(row["label"])), row["family"], str(row["n"]), count(row["tokens_seen"]),
         percent(row["masked_percent"]), overall_text(row), *(percent(row["phenomena"][name]) for name in names)]
        for row in rows
    ]  # fmt: skip
    body.append(["chance", "no net", *[NOTHING] * 3, *[percent(CHANCE)] * (1 + len(names))])
    return View.of_texts(TITLE, "", NOTE, header, body, 2)


def overall_text(row: Row) -> str:
    """ "57.5 [54.2, 60.8]"."""
    between = "" if row["low"] is None else f" [{percent(row['low'])}, {percent(row['high'])}]"
    return percent(row["overall"]) + between
