"""`speed.md`, of a GPU `speed-DEVICE.md`, from the record beside it alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.contract.record import write_texts
from benchmarks.studies.comparison import Comparison, Failed, ratio_words
from benchmarks.studies.files import cell, left_words, machine_words, paths_of, row
from benchmarks.studies.speed.record import FILES, FormComparison, SpeedRecord, load


def write_pages(results: Path) -> list[Path]:
    """Writes the page beside each record; returns their paths.

    Raises:
        UserError: a record cannot be read.
    """
    written = []
    for path in paths_of(results, FILES):
        written += write_texts(results, {f"{path.stem}.md": people(load(path))})
    return written


def people(record: SpeedRecord) -> str:
    """Both tables in Markdown."""
    ratio = "ratio (range)" if record.medians else "ratio (95 %)"
    lines = ["# Speed, as ratios within one run", "", machine_words(record.environment), ""]
    lines += [f"| ours | beside | setting | ours | theirs | {ratio} | rounds |", "|---|---|---|---|---|---|---|"]
    lines += [_comparison(one) for one in record.comparisons]
    lines += ["", *form_lines(record.forms, record.device, record.medians)]
    lines += ["", left_words(record.left)] if record.left else []
    return "\n".join(lines) + "\n"


def _comparison(one: Comparison | Failed) -> str:
    if isinstance(one, Failed):
        return row(one.what, one.beside, one.setting, f"{one.status}: {cell(one.reason)}") + " | | |"
    times = f"{one.ours:.3g} {one.unit}", f"{one.theirs:.3g} {one.unit}"
    return row(one.what, one.beside, one.setting, *times, one.ratio_words, one.rounds)


def form_lines(forms: Sequence[FormComparison], device: str = "cpu", medians: bool = False) -> list[str]:
    """The comparison with a copy and with naive forms as a Markdown table."""
    every = list(dict.fromkeys(what for form in forms for what in (*form.form_ms, *form.form_failures)))
    how = "float32, forward, 1 thread" if device == "cpu" else "bfloat16 in and out, forward"
    mean = (
        "the median over rounds and its 95 % interval"
        if medians
        else "the geometric mean over rounds and its 95 % interval in this one sitting"
    )
    return [
        "## Beside a copy, and beside the best naive form of the same function",
        "",
        f"{how}; milliseconds are medians over rounds, ratios are ours over a copy of the input and over the best "
        f"naive form, {mean}. Beside dct and hadamard stands the time of rfft2 "
        "alone, which computes something else and only says what an FFT costs; it is never the best form. "
        "fft_pairs does by its method fft what its naive form fft2 does: how far its ratios lie from 1 is the noise of "
        "this page.",
        "",
        f"| mixer | px | tensor | method | ours (ms) | ours / copy | best naive form | ours / best (95 %) "
        f"| rounds |{''.join(f' {what} |' for what in every)}",
        "|---|---:|---|---|---:|---:|---|---:|---:|" + "---:|" * len(every),
        *(_form(form, every) for form in forms),
    ]


def _form(f: FormComparison, every: Sequence[str]) -> str:
    own = f.mixer, f.image_size, list(f.shape), f.method or "–"
    if f.ours_ms is None or f.copy_ratio is None:
        return row(*own, f"{f.status}: {cell(f.reason)}", *["–"] * (4 + len(every)))
    ratio = "–" if f.ratio is None else ratio_words(f.ratio, f.ratio_low, f.ratio_high)
    times = [f"{f.form_ms[what]:.3g}" if what in f.form_ms else cell(f.form_failures.get(what, "–")) for what in every]
    return row(*own, f"{f.ours_ms:.3g}", f"{f.copy_ratio:.2f}", f.best or "–", ratio, f.rounds, *times)
