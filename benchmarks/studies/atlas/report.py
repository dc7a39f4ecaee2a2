"""The atlas from its records alone: a page of influence maps and a table of what they come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.record import machine_name, write_texts
from benchmarks.report.alike import comparisons
from benchmarks.report.families import mixer_family
from benchmarks.report.frame import CSV_NAMES, TRIAL_FIELDS, slug
from benchmarks.report.plots.style import FAMILY_COLOURS
from benchmarks.report.wording import NOTHING, clean, csv_text, markdown, markdown_table, percent
from benchmarks.studies.atlas.plot import draw_atlas
from benchmarks.studies.atlas.record import FOLDER, NUMBERS, STATES, AtlasRecord, load_atlas

# what a page's mixers have in common; the data set is in the page's name
ALIKE = [f for f in TRIAL_FIELDS if f not in ("kind", "mixer", "mixer_source", "dataset", "match_dim")] + ["machine"]
SETTING = ("dataset", "image_size", "patch_size", "dim", "depth", "norm", "epochs", "train_images", "lr", "seed")
SCOPES = {"layer": "one layer", "net": "whole net"}


def write_pages(results: Path) -> list[Path]:
    """Makes the pages and tables of `results`/atlas from its records, in place of earlier ones.

    Mixers whose trials differ in anything else, or that were trained on different machines, have pages of their own.

    Returns:
        The paths written; none where there is no atlas.

    Raises:
        UserError: a file among the records is no atlas record.
    """
    folder = Path(results) / FOLDER
    records = load_atlas(Path(results))
    for path in folder.glob("atlas-*"):
        if path.suffix in (".png", ".svg", ".csv", ".md") and path.is_file():
            path.unlink()
    paths = []
    for name, page in pages(records).items():
        programs = csv_text(atlas_table(page).rename(columns=CSV_NAMES))
        paths += write_texts(folder, {f"{name}.csv": programs, f"{name}.md": people(page)})
        paths += draw_atlas(page, caption(page), folder, name)
    return paths


def pages(records: Sequence[AtlasRecord]) -> dict[str, list[AtlasRecord]]:
    """The records of each page by the name of its files, in the order of families and names."""
    result = {}
    for dataset in sorted({record.trial.dataset for record in records}):
        mine = [record for record in records if record.trial.dataset == dataset]
        table = pd.DataFrame([record.trial.to_dict() for record in mine], dtype=object)
        table["machine"] = [machine_name(record.environment) for record in mine]
        table["label"] = table["mixer"]
        table["status"] = [record.status for record in mine]
        table["position"] = range(len(mine))
        for suffix, rows in comparisons(table, ALIKE).items():
            page = [mine[position] for position in rows["position"]]
            name = f"atlas-{slug(dataset)}" + (f"-{suffix}" if suffix else "")
            result[name] = sorted(page, key=_order)
    return result


def atlas_table(page: Sequence[AtlasRecord]) -> pd.DataFrame:
    """One row a mixer and map, also of maps that could not be made."""
    rows = []
    for record in page:
        trial = record.trial.to_dict()
        for state in STATES:
            scope, weights = state.split("_")
            numbers = record.numbers.get(state, {})
            rows.append(
                {"mixer": record.trial.mixer, "family": mixer_family(record.trial.mixer)}
                | {"scope": scope, "weights": weights}
                | {name: numbers.get(name) for name in NUMBERS}
                | {"val_top1_percent": record.val_top1_percent if weights == "trained" else None}
                | {field: trial[field] for field in SETTING}
                | {"images": record.images, "sources": len(record.sources), "tokens": record.trial.tokens}
                | {"status": record.status, "reason": record.reason}
            )
    # object columns, so that None stays None and a count stays an integer
    return pd.DataFrame(rows, dtype=object)


def people(page: Sequence[AtlasRecord]) -> str:
    """The table in Markdown: one row a mixer, untrained and trained in one cell."""
    columns = [(number, scope) for number in ("reach", "evenness") for scope in SCOPES]
    columns += [("rank", "layer"), ("orthogonality", "layer")]
    header = ["mixer", "family", "status", "held-out top-1 (%)", *(f"{n}, {SCOPES[s]}" for n, s in columns)]
    body = []
    for record in page:
        status = "ok" if record.status == "ok" else f"{record.status}: {record.reason or 'no reason given'}"
        body.append(
            [markdown(record.trial.mixer), markdown(mixer_family(record.trial.mixer)), markdown(status)]
            + [percent(record.val_top1_percent)]
            + [_before_and_after(record, scope, number) for number, scope in columns]
        )
    note = (
        "Untrained → trained, or one number where both agree. Reach: mean distance of the squared influence, over that "
        "of a perfectly even map. Evenness: participation ratio over tokens, from 1/N to 1. Rank: share of the layer's "
        "singular values above 1e-5 of the largest. Orthogonality: 1 if the layer is orthogonal up to a factor. The "
        "formulas stand in benchmarks/studies/atlas/measure.py."
    )
    lines = "\n\n".join(markdown(line) for line in (caption(page), note))
    return f"# Atlas of mixers\n\n{lines}\n\n" + markdown_table(header, body, 3)


def caption(page: Sequence[AtlasRecord]) -> str:
    """What was trained, what was averaged and where, in a few sentences."""
    first = page[0]
    trial, (rows, columns) = first.trial, first.trial.grid
    row, column = divmod(first.sources[0], columns)
    dims = {record.trial.dim for record in page}
    tangents = f"all {dims.pop()} unit tangents" if len(dims) == 1 else "all unit tangents"
    patch = f", patch {trial.patch_size} px" if trial.patch_size else ""
    counted = f"{trial.train_images:,} images drawn, " if trial.train_images is not None else ""
    norm = {"token": "norm per token", "image": "norm per image, its statistics held fixed in the maps"}[trial.norm]
    return clean(
        f"{trial.dataset}, {trial.extent_in_words()}{patch}, dim {trial.dim}, depth {trial.depth}, "
        f"{norm}. Influence of the token in row {row + 1}, column {column + 1} of {rows} x {columns} on every token: "
        f"Frobenius norm of the Jacobian's block, {tangents} of the token, root mean square over "
        f"n = {first.images} held-out images. One layer: the first block's mixer alone. Whole net: from the stem's "
        f"output to the last feature map. Below each map its reach | evenness, means over {len(first.sources)} source "
        f"tokens. Trained: {trial.epochs} epochs, {counted}learning rate {trial.lr:g}, seed {trial.seed}; "
        f"the percentage is held-out top-1. {machine_name(first.environment)}, torch {first.environment['torch']}."
    )


def _before_and_after(record: AtlasRecord, scope: str, number: str) -> str:
    texts = []
    for weights in ("untrained", "trained"):
        value: Any = record.numbers.get(f"{scope}_{weights}", {}).get(number)
        texts.append(NOTHING if value is None else f"{value:.3f}")
    return texts[0] if texts[0] == texts[1] else " → ".join(texts)


def _order(record: AtlasRecord) -> tuple[Any, ...]:
    """Families as in every legend, names in natural order."""
    family = mixer_family(record.trial.mixer)
    known = list(FAMILY_COLOURS)
    natural = [
        (not part.isdigit(), part.zfill(9) if part.isdigit() else part)
        for part in re.split(r"(\d+)", record.trial.mixer)
    ]
    return known.index(family) if family in known else len(known), family, natural, record.id
