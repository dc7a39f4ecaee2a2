"""Numbers and names as people read them, and Markdown tables of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.errors import printable as clean
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.frame import plain

NOTHING = "–"
FINGERPRINT = re.compile("[0-9a-f]{64}")


def significant(value: Any, digits: int = 3) -> str:
    """1234.5 as "1,230", 0.01234 as "0.0123"; a dash for nothing."""
    value = plain(value)
    if value is None:
        return NOTHING
    rounded = round_significant(float(value), digits)
    if rounded == 0:
        return "0"
    whole = 1 + math.floor(math.log10(abs(rounded))) if abs(rounded) >= 1 else 0
    if whole:
        return f"{rounded:,.{max(0, digits - whole)}f}"
    return f"{rounded:.{digits}g}" if abs(rounded) < 1e-4 else f"{rounded:.{leading_zeros(rounded) + digits}f}"


def leading_zeros(value: float) -> int:
    """Zeros after the decimal point of a number under one: 2 for 0.0012."""
    mantissa = f"{abs(value):.12f}".split(".")[1]
    return len(mantissa) - len(mantissa.lstrip("0"))


def count(value: Any, digits: int = 3) -> str:
    """1234567 as "1.23 M"; a dash for nothing."""
    value = plain(value)
    if value is None:
        return NOTHING
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(round_significant(value, digits)) >= size:
            return significant(value / size, digits) + letter
    return significant(value, digits)


def metric(name: str, value: Any) -> str:
    """A value of one of METRICS in its own scale and digits."""
    value = plain(value)
    return significant(None if value is None else value * METRICS[name].scale, METRICS[name].digits)


def percent(value: Any) -> str:
    """One decimal: with 10,000 test images the sampling error alone is half a point."""
    value = plain(value)
    return NOTHING if value is None else f"{value:.1f}"


def signed(value: Any, digits: int = 1) -> str:
    """A difference with its sign: "+0.3", "−1.2"; zero has none."""
    value = plain(value)
    if value is None:
        return NOTHING
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def p_text(value: Any) -> str:
    """A p value to two significant digits; under 0.0001 only that."""
    value = plain(value)
    if value is None:
        return NOTHING
    return "< 0.0001" if value < 1e-4 else significant(value, 2)


def mean_text(mean: Any, half: Any, n: Any) -> str:
    """ "41.2 ± 1.3 (3)", or "41.2 (1)" without an interval."""
    if plain(mean) is None:
        return NOTHING
    interval = "" if plain(half) is None else f" ± {half:.1f}"
    return f"{mean:.1f}{interval} ({int(n)})"


def accuracy_text(mean: Any, half: Any, n: Any) -> str:
    """As `mean_text`, of a percentage: "91.2, 82.0 to 100.0 (3)" where the interval is cut at 0 or 100."""
    if plain(mean) is None or plain(half) is None or half <= mean <= 100 - half:
        return mean_text(mean, half, n)
    return f"{mean:.1f}, {percent_within(mean - half):.1f} to {percent_within(mean + half):.1f} ({int(n)})"


def ranged(value: Any, low: Any, high: Any, digits: int = 3) -> str:
    """ "1.23 (1.20-1.31)": a ratio with its interval."""
    if plain(value) is None:
        return NOTHING
    if plain(low) is None:
        return significant(value, digits)
    return f"{significant(value, digits)} ({significant(low, digits)}-{significant(high, digits)})"


def markdown(text: Any) -> str:
    """Text as it stands, whatever Markdown or HTML would make of it; intraword underscores mean nothing to Markdown."""
    escaped = re.sub(r"([\\`*|\[\]$~#])", r"\\\1", clean(text))
    escaped = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)
    escaped = escaped.replace("&", "&amp;").replace(">", "&gt;")
    return re.sub("<(?! )", "&lt;", escaped)  # before a space it begins no tag


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A table whose first `left` columns are text and the others numbers. Cells are Markdown already."""
    widths = [max(3, *(len(line[i]) for line in [header, *rows])) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(header), "| " + " | ".join(rule) + " |", *map(line, rows)]) + "\n"


def short(value: Any) -> str:
    """A value as people read it: of the fingerprint of data or of a plug-in the first 12 digits."""
    text = str(value)
    return text[:12] if FINGERPRINT.fullmatch(text) else text


def listing(values: Sequence[Any]) -> str:
    """Different values in words, in their order, each once."""
    return ", ".join(dict.fromkeys(clean(value) for value in dict.fromkeys(values) if plain(value) is not None))


def span_of(values: Any, noun: str) -> str:
    """ "1-3 seeds" from counts."""
    low, high = min(values), max(values)
    return f"{low} {noun}{'s' if high != 1 else ''}" if low == high else f"{low}-{high} {noun}s"


def percent_within(value: float) -> float:
    """The end of an interval of a percentage: no accuracy is below 0 or above 100."""
    return min(100.0, max(0.0, value))


def failed_words(finished: int, failed: int) -> str:
    """ "5 of 8 runs failed", or nothing."""
    return f"{failed} of {finished + failed} runs failed" if failed else ""


def round_significant(value: float, digits: int) -> float:
    """The value to so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def span(low: float, high: float) -> str:
    """ "256-4,096", or "256" where both ends are one."""
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


CSV_DIGITS = 12  # significant ones: a logarithm's last bits differ from one kind of processor to the next


def csv_text(table: pd.DataFrame) -> str:
    """A table for programs, the same on every machine."""

    def rounded(value: Any) -> Any:
        return float(f"{value:.{CSV_DIGITS}g}") if isinstance(value, float) else value

    columns = {name: pd.Series(list(map(rounded, column)), dtype=column.dtype) for name, column in table.items()}
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
