"""The tables of `table_files` for a paper: LaTeX with booktabs, one table for each setting that shares a ranking.

A file is read by \\input; it needs booktabs and graphicx. In a paper of two columns, table becomes table*.
"""

from __future__ import annotations

import dataclasses
import re
import string
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.contract.record import write_text
from benchmarks.report.alike import COMPARED, TIMED_ALIKE, TRAINED_ALIKE, comparisons
from benchmarks.report.baselines import at_baseline
from benchmarks.report.choose import best_learning_rates
from benchmarks.report.frame import slug
from benchmarks.report.stats.leader import CLEAR, leader
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.view import View
from benchmarks.report.tables.write import caption, view_for_files
from benchmarks.report.wording import NOTHING

SPLIT: Mapping[str, Sequence[str]] = {  # what the rows of one table have in common; other tables stay whole
    "summary": TRAINED_ALIKE,
    "differences": TRAINED_ALIKE,
    "tuning": [name for name in TRAINED_ALIKE if name != "weight_decay"],
    "latency": [name for name in TIMED_ALIKE if name != "compiled"],
    "cost": COMPARED,
}
MOST_ROWS = 45  # of a float; a longer table goes on in the next
NARROW = 11  # characters of a line of a header
WIDE = 40  # characters from which on a column's text is set in lines
TOP1 = "test top-1 (%)"
BOLD = "Bold: every other mixer that has an accuracy here is lower, after Holm's correction for their number."
HEAD = """\
% \\usepackage{booktabs,graphicx}
% Made of the records again by every report; read it by \\input, or copy the tables that you need.
"""
FLOAT = string.Template(r"""
\begin{table}
\centering
\caption[$title]{$caption}
\label{$label}
\smallskip
\scriptsize
\setlength{\tabcolsep}{4pt}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
$tabular}
\end{table}
""")
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": r"\`{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$",
    "–": "--", "—": "---", "…": r"\dots{}", "†": r"$\dagger$", "✓": "+",
}  # fmt: skip
NUMBER = r"\d[\d,]*(?:\.\d+)?"
SIGNED = re.compile(rf"(?<![\w.,])((?:[+−]{NUMBER}|{NUMBER}(?= ±))(?: ± {NUMBER})?)")


def latex_files(tables: Mapping[str, pd.DataFrame], frame: pd.DataFrame, folder: Path, sample: Sample) -> list[Path]:
    """Writes a .tex file beside every table of one group.

    Args:
        tables: by name, as `table_files` returns them.
        frame: the group's records.
        folder: where the files go; its name begins every label.
        sample: of these records.

    Returns:
        The paths written.
    """
    return [
        write_text(folder / f"{name}.tex", latex(name, table, frame, sample, folder.name))
        for name, table in tables.items()
        if not table.empty
    ]


def latex(name: str, table: pd.DataFrame, frame: pd.DataFrame, sample: Sample, group: str) -> str:
    """All tables of one name. The first says how to read them, the others refer to it."""
    texts = [HEAD]
    source = caption(name, frame)
    first = f"tab:{slug(group)}-{name}"
    for suffix, part in parts_of(name, table).items():
        view = without_empty(view_for_files(name, part, source))
        label = f"{first}-{suffix}" if suffix else first
        best = clear_winner(part, sample) if name == "summary" else None
        body = cells_of(view)
        if best is not None:
            column = view.header.index(TOP1)
            body[best][column] = bold(body[best][column])
        words = [f"{view.title}.", view.shared, BOLD if best is not None else ""]
        words += [] if suffix else [source, view.note]
        text = escaped(" ".join(filter(None, words))) + (rf" Read as Table~\ref{{{first}}}." if suffix else "")
        texts += floats(view, body, text, label)
    return "".join(texts)


def parts_of(name: str, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows by setting, as the page ranks them; the first has no suffix."""
    if name not in SPLIT:
        return {"": table}
    fields = [field for field in SPLIT[name] if field in table]
    return comparisons(table if "status" in table else table.assign(status="ok"), fields)


def clear_winner(part: pd.DataFrame, sample: Sample) -> int | None:
    """The row of the mixer that every other one of its setting is significantly below; None where there is none."""
    rows = [row for _, row in best_learning_rates(part).iterrows()]
    found = leader(sample, rows)
    if found is None or found.outcome != CLEAR:
        return None
    (best,) = [row for row in rows if row["label"] == found.label]
    if at_baseline(best):
        return None
    same = (
        (part["label"] == best["label"]) & (part["lr"] == best["lr"]) & (part["weight_decay"] == best["weight_decay"])
    )
    return int(same.to_numpy().argmax())


def without_empty(view: View) -> View:
    """Without the columns that say nothing in any row."""
    silent = ({""}, {NOTHING}, {"", NOTHING}, {"ok"})
    cells = zip(view.columns, zip(*view.body, strict=True), strict=True)
    return dataclasses.replace(view, columns=[column for column, texts in cells if set(texts) not in silent])


def floats(view: View, body: Sequence[Sequence[str]], words: str, label: str) -> list[str]:
    """One float, or several where one page does not hold all rows."""
    starts = range(0, len(body), MOST_ROWS)
    texts = [one_float(view, body[start : start + MOST_ROWS], words, label) for start in starts[:1]]
    for place, start in enumerate(starts[1:], 2):
        more = rf"{escaped(view.title)}: Table~\ref{{{label}}} continued, {place} of {len(starts)}."
        texts.append(one_float(view, body[start : start + MOST_ROWS], more, f"{label}-{place}"))
    return texts


def one_float(view: View, body: Sequence[Sequence[str]], words: str, label: str) -> str:
    """A float that is as wide as the text at most."""
    longest = [max(map(len, texts)) for texts in zip(*view.body, strict=True)]
    columns = "".join(
        (r"p{0.3\linewidth}" if most > WIDE else "l") if i < view.left else "r" for i, most in enumerate(longest)
    )
    header = [stacked(text, "l" if i < view.left else "r") for i, text in enumerate(view.header)]
    style = pd.DataFrame(body).style.hide(axis="index").format_index(lambda i: header[int(str(i))], axis="columns")
    return FLOAT.substitute(
        title=escaped(view.title),
        caption=words,
        label=label,
        tabular=style.to_latex(hrules=True, column_format=columns),
    )


def stacked(text: str, side: str) -> str:
    """A header in short lines, so that the numbers below decide how wide the column is."""
    lines = [escaped(line) for line in textwrap.wrap(text, NARROW, break_long_words=False, break_on_hyphens=False)]
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"


def cells_of(view: View) -> list[list[str]]:
    """All cells in LaTeX."""
    return [[cell_of(text, i >= view.left) for i, text in enumerate(row)] for row in view.body]


def cell_of(text: str, is_number: bool) -> str:
    """One cell in LaTeX; numbers with a sign or an interval in mathematics."""
    if not is_number:
        return escaped(text)
    pieces = SIGNED.split(re.sub(r"(?<=\d)-(?=\d)", "–", text))
    return "".join(in_mathematics(piece) if i % 2 else escaped(piece) for i, piece in enumerate(pieces))


def bold(cell: str) -> str:
    return "\\textbf{" + re.sub(r"[$](.*?)[$]", r"$\\mathbf{\1}$", cell) + "}"


def in_mathematics(number: str) -> str:
    """ "−1,234.5 ± 0.4" as "$-1{,}234.5 \\pm 0.4$"."""
    return "$" + number.replace("−", "-").replace("±", r"\pm").replace(",", "{,}") + "$"


def escaped(text: str) -> str:
    """Text as it stands, whatever LaTeX would make of it; a letter that its fonts lack is named by its number."""
    text = unicodedata.normalize("NFC", text)
    return "".join(_character(c, text[i + 1 : i + 2]) for i, c in enumerate(text))


def _character(c: str, following: str) -> str:
    if c in SPECIAL:
        return SPECIAL[c]
    if c == "-" == following:  # two in a row would be one dash
        return "-{}"
    latin = c <= "ÿ" and unicodedata.normalize("NFD", c)[0].isascii()
    return c if latin and c != "\xa0" else " " if c.isspace() else f"U+{ord(c):04X}"
