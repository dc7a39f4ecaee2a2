"""Published figures of text as rows below ours, marked as what they are and of which size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contract.facts.text_tasks import TEXT_TASKS
from benchmarks.report.text.literature import GLUE, PRETRAINING, GlueRow, PretrainRow, Source
from benchmarks.report.wording import NOTHING, percent

PUBLISHED = "published"
SCORE_NAMES = {"f1": "F1", "matthews": "Matthews", "spearman": "Spearman", "pearson": "Pearson"}
SIZES = ("Base", "Large", "Tiny", "Mini", "Small")


@dataclasses.dataclass(frozen=True)
class Beside:
    """One published model.

    Attributes:
        source: of its figures.
        cells: as a row of the table has them; of tasks, what stands before them and behind.
        rows: for programs, one a figure of ours.
        of: of tasks, the text of each by our name.
    """

    source: Source
    cells: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    of: Mapping[str, str] = dataclasses.field(default_factory=dict)


def of_pretraining() -> list[Beside]:
    """FNet's Table 5."""
    return [_pretrained(row) for row in PRETRAINING]


def _pretrained(row: PretrainRow) -> Beside:
    bert = next((one for one in PRETRAINING if one.ours == "attention" and _size(one.model) == _size(row.model)), None)
    share = None if bert is None or bert is row else 100 * row.mlm_accuracy / bert.mlm_accuracy
    text = "100" if row is bert else NOTHING if share is None else f"{share:.0f}"
    cells = [
        row.model, PUBLISHED, percent(100 * row.mlm_accuracy), f"{row.mlm_loss:.2f}", percent(100 * row.order_accuracy),
        NOTHING, NOTHING, NOTHING, text,
    ]  # fmt: skip
    values = {
        "source": row.source.title, "mixer": row.ours, "label": row.model, "family": PUBLISHED,
        "score_mean": 100 * row.mlm_accuracy, "test_loss_mean": row.mlm_loss,
        "test_order_percent_mean": 100 * row.order_accuracy, "share_of_attention_percent": share,
    }  # fmt: skip
    return Beside(row.source, cells, [values])


def of_tasks(names: Sequence[str]) -> list[Beside]:
    """The rows that have figures of any of these tasks."""
    found = [_tasks(row, names) for row in GLUE]
    return [one for one in found if one.of]


def _tasks(row: GlueRow, names: Sequence[str]) -> Beside:
    texts, rows = {}, []
    for name in names:
        key = name.removeprefix("glue:")
        if key not in row.scores:
            continue
        values = row.scores[key]
        metrics = row.source.metrics.get(key, ("accuracy",))
        texts[name] = _text(key, values, metrics, row.separate)
        several = values if isinstance(values, tuple) else (values,)
        kinds = metrics if row.separate else (" and ".join(metrics),)
        rows += [
            {"source": row.source.title, "mixer": row.ours, "label": row.model, "family": PUBLISHED, "dataset": name,
             "metric": kind, "score_mean": value}
            for kind, value in zip(kinds, several, strict=True)
        ]  # fmt: skip
    bert = next((one for one in GLUE if one.ours == "attention" and one.source is row.source
                 and _size(one.model) == _size(row.model)), None)  # fmt: skip
    share = NOTHING if bert is None else "100" if bert is row else f"{100 * row.average / bert.average:.0f}"
    cells = [row.model, PUBLISHED, f"{row.average:.1f} (of its {len(row.scores)})", share]
    return Beside(row.source, cells, rows, texts)


def _text(key: str, values: float | tuple[float, ...] | None, metrics: Sequence[str], separate: bool) -> str:
    """ "69.0 (accuracy)": the metric where it is not the headline of ours."""
    said = [SCORE_NAMES.get(metric, metric) for metric in metrics]
    if values is None:
        return "failed"
    if isinstance(values, tuple):
        return ", ".join(f"{value:.1f} ({word})" for value, word in zip(values, said, strict=True))
    ours = TEXT_TASKS[key].metrics[:1]
    word = "" if tuple(metrics) == tuple(ours) else f" ({'mean of ' if len(said) > 1 else ''}{' and '.join(said)})"
    return f"{values:.1f}{word}"


def _size(model: str) -> str:
    """The size in a model's name; those of the PyTorch port are of one."""
    return next((size for size in SIZES if model.endswith(size)), "Base")


def sources(found: Sequence[Beside]) -> list[str]:
    """One sentence a source: what, how made, how sure, where."""
    told = dict.fromkeys(
        f"Published: {s.title}: {', '.join(filter(None, (s.made, s.tested_on)))}; {s.certainty}; {s.url}."
        for s in (one.source for one in found)
    )
    return list(told)
