"""What the study's records say, as a table, a picture and a few sentences; from files alone, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contract.record import machine_name, write_texts
from benchmarks.report.stats.intervals import mean_interval
from benchmarks.report.wording import (
    NOTHING,
    clean,
    csv_text,
    listing,
    markdown,
    markdown_table,
    mean_text,
    p_text,
    percent,
    signed,
    significant,
    span_of,
)
from benchmarks.studies.transforms.analysis import Choice, verdict, welch_interval
from benchmarks.studies.transforms.plot import draw
from benchmarks.studies.transforms.predictors import PREDICTORS
from benchmarks.studies.transforms.record import FOLDER, Member, Study, Trained, find_study, trained_of

NAME = "transforms"
TITLE = "What makes a transform mix well?"
BESIDE = "dct"  # what a designed transform is held against


def write_pages(results: Path) -> list[Path]:
    """Writes transforms.csv, transforms.md and, once a choice is made, the picture, into `results`/transforms.

    Returns:
        The paths written; none where there is no study.

    Raises:
        UserError: the study's file cannot be read.
    """
    study = find_study(Path(results))
    if study is None:
        return []
    folder, trained = Path(results) / FOLDER, trained_of(study, Path(results))
    for ending in ("csv", "md", "png", "svg"):
        (folder / f"{NAME}.{ending}").unlink(missing_ok=True)
    texts = {f"{NAME}.csv": csv_text(table(study, trained)), f"{NAME}.md": people(study, trained)}
    paths = write_texts(folder, texts)
    if not any(one.counts for one in trained.values()):
        return paths
    return paths + draw(study, trained, heading(study), caption(study, trained), folder, NAME)


def table(study: Study, trained: Mapping[str, Trained]) -> pd.DataFrame:
    """One row a transform, best first, those without a result last."""
    hits = judged(study, trained)["hits"]
    rows = []
    for member in study.members:
        one = trained[member.name]
        mean = mean_interval(one.accuracies)
        predicted: list[Any] = list(member.predicted) if member.predicted else [None] * 3
        rows.append(
            {"transform": member.name, "family": member.family, "role": member.role, "what": member.text}
            | {"test_top1_percent_mean": mean and mean.value, "test_top1_percent_half": mean and mean.half}
            | {"seeds": len(one.by_seed), "failed": len(one.failed)}
            | {"predicted_percent": predicted[0], "predicted_low": predicted[1], "predicted_high": predicted[2]}
            | {"hit": hits.get(member.name)}
            | {name: (member.predictors or {}).get(name) for name in PREDICTORS}
            | {"sha256": member.source}
        )
    frame = pd.DataFrame(rows, dtype=object)
    order = sorted(range(len(rows)), key=lambda i: (-(rows[i]["test_top1_percent_mean"] or -1), rows[i]["transform"]))
    return frame.iloc[order].reset_index(drop=True)


def judged(study: Study, trained: Mapping[str, Trained]) -> dict[str, Any]:
    """`analysis.verdict` of the held-back transforms; "open" before the choice."""
    if study.choice is None:
        return {"hits": {}, "error_points": None, "error_of_mean_points": None, "outcome": "open"}
    held = study.role("held back")
    predicted = {member.name: member.predicted for member in held if member.predicted}
    measured = {m.name: float(np.mean(trained[m.name].accuracies)) for m in held if trained[m.name].counts}
    lost = [m.name for m in held if not trained[m.name].counts and trained[m.name].seeds_done >= set(study.seeds)]
    return verdict(study.choice, predicted, measured, lost)


def heading(study: Study) -> str:
    """The message, as a title."""
    choice = study.choice
    if choice is None:
        return "Transforms by accuracy; the predictor is not chosen yet"
    row = _row_of(choice)
    label = PREDICTORS[choice.predictor].label
    if choice.wins:
        return f"Accuracy goes with {label}: rank correlation {row.rho:.2f}"
    return f"Nothing predicts accuracy; the nearest is {label}: rank correlation {row.rho:.2f}"


def sentences(study: Study, trained: Mapping[str, Trained]) -> list[str]:
    """What the study says, in full sentences."""
    if study.choice is None:
        development = study.role("development")
        done, wanted = sum(len(trained[m.name].records) for m in development), len(development) * len(study.seeds)
        return [f"Not decided yet: {done} of the {wanted} runs that decide it are there."]
    lines = [_of_choice(study.choice), _of_held_back(study, trained)]
    return lines + [line for member in study.role("designed", "own") if (line := beside_dct(member, trained))]


def _of_choice(choice: Choice) -> str:
    row, label = _row_of(choice), PREDICTORS[choice.predictor].label
    numbers = (
        f"Spearman's {row.rho:.2f} (95 % interval {row.low:.2f} to {row.high:.2f}, Holm's p {p_text(row.holm_p)}) over "
        f"{len(choice.transforms)} transforms"
    )
    if choice.wins:
        return f"Of {len(choice.correlations)} predictors, {label} goes most with accuracy: {numbers}."
    return f"None of {len(choice.correlations)} predictors goes with accuracy; the nearest is {label}: {numbers}."


def _of_held_back(study: Study, trained: Mapping[str, Trained]) -> str:
    found, held = judged(study, trained), study.role("held back")
    if found["error_points"] is None:
        return f"{len(held)} transforms are held back, and not trained yet."
    lost = [m.name for m in held if m.name in found["hits"] and not trained[m.name].counts]
    failed = f" ({listing(lost)} failed, which counts as a miss)" if lost else ""
    return (
        f"Of the {len(found['hits'])} held-back transforms trained so far, {sum(found['hits'].values())} lie in their "
        f"95 % prediction interval{failed}; mean absolute error {found['error_points']:.1f} points, "
        f"{found['error_of_mean_points']:.1f} for the development mean told of each: {found['outcome']}."
    )


def beside_dct(member: Member, trained: Mapping[str, Trained]) -> str | None:
    """A designed or a user's transform against the DCT, unpaired, Welch's interval."""
    mine, other = trained[member.name].accuracies, trained[BESIDE].accuracies if BESIDE in trained else []
    if not mine:
        return None
    said = ", predicted {:.1f} ({:.1f} to {:.1f})".format(*member.predicted) if member.predicted else ""
    text = f"{member.name}: {np.mean(mine):.1f} % over {len(mine)} seeds{said}"
    if not other:
        return text + "."
    gain = float(np.mean(mine) - np.mean(other))
    if min(len(mine), len(other)) < 2:
        return f"{text}; {signed(gain)} points against the DCT."
    low, high = welch_interval(mine, other)
    return f"{text}; {signed(gain)} points against the DCT (95 % interval {signed(low)} to {signed(high)})."


def caption(study: Study, trained: Mapping[str, Trained]) -> str:
    """Data, net, training, machine and n."""
    s = study.setting
    records = [record for one in trained.values() for record in one.records]
    counts = sorted({len(one.by_seed) for one in trained.values() if one.by_seed}) or [len(study.seeds)]
    where = f" {listing([machine_name(r.environment) for r in records])}, torch " if records else ""
    where += f"{listing([r.environment['torch'] for r in records])}." if records else ""
    return clean(
        f"{s['dataset']}, {s['image_size']} px, patch {s['patch_size']} px ({study.grid[0]} x {study.grid[1]} tokens), "
        f"dim {s['dim']}, depth {s['depth']}, {span_of([s['epochs']], 'epoch')}, "
        f"learning rate {s['lr']:g} for all; one fixed matrix over the tokens, the same in every layer. "
        f"Test top-1: mean over n = {span_of(counts, 'seed')}"
        f"{' with its 95 % t-interval' if counts[-1] > 1 else ''}.{where}"
    )


def people(study: Study, trained: Mapping[str, Trained]) -> str:
    """The page in Markdown."""
    parts = [f"# {TITLE}", *map(markdown, sentences(study, trained))]
    parts += [markdown(caption(study, trained))]
    if study.choice is not None:
        parts += [_predictor_table(study.choice)]
    parts += [_transform_table(study, trained)]
    parts.append(
        "Chosen: over the development transforms alone, before the others were trained. Rules and definitions stand in "
        "benchmarks/studies/transforms/analysis.py, predictors.py and matrices.py."
    )
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _predictor_table(choice: Choice) -> str:
    rows = [
        [
            markdown(PREDICTORS[row.predictor].label),
            markdown(PREDICTORS[row.predictor].text),
            f"{row.rho:.2f} ({row.low:.2f} to {row.high:.2f})",
            p_text(row.p),
            p_text(row.holm_p),
        ]
        for row in sorted(choice.correlations, key=lambda row: (-abs(row.rho), row.predictor))
    ]
    return markdown_table(["predictor", "what", "rank correlation (95 %)", "p", "p, Holm"], rows, 2)


def _transform_table(study: Study, trained: Mapping[str, Trained]) -> str:
    header = ["transform", "what", "family", "role", "test top-1 (%)", "predicted (%)", "hit"]
    rows = []
    for row in table(study, trained).to_dict("records"):
        failed = f"; {row['failed']} failed" if row["failed"] else ""
        top1 = mean_text(row["test_top1_percent_mean"], row["test_top1_percent_half"], row["seeds"]) + failed
        hit = NOTHING if row["hit"] is None else "yes" if row["hit"] else "no"
        rows.append(
            [markdown(row[name]) for name in ("transform", "what", "family", "role")]
            + [top1, _span(row), hit]
            + [significant(row[name]) for name in PREDICTORS]
        )
    return markdown_table([*header, *(p.label for p in PREDICTORS.values())], rows, 4)


def _span(row: Mapping[Any, Any]) -> str:
    if row["predicted_percent"] is None:
        return NOTHING
    return f"{percent(row['predicted_percent'])} ({percent(row['predicted_low'])} to {percent(row['predicted_high'])})"


def _row_of(choice: Choice) -> Any:
    return next(row for row in choice.correlations if row.predictor == choice.predictor)
