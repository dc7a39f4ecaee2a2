"""What a table's examples are, images or sequences, and so what says how large they are and in which words.

Everything is written of images once; `worded` says the same of sequences.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.contract.facts.datasets import TASKS


@dataclasses.dataclass(frozen=True)
class Extent:
    """The size of a task's examples: a column, and how it is spoken of.

    Attributes:
        noun: of one example.
        field: the column that a sweep over sizes varies.
        axis: the label of its axis.
        word: in the name of a plot.
        at: behind a mixer's name, with the size.
        column: of all sizes of a sweep, in a table.
        each_token: whether a tick says the tokens below the size; a length is that number itself.
    """

    noun: str
    field: str
    axis: str
    word: str
    at: str
    column: str
    each_token: bool = True


IMAGES = Extent(TASKS["images"].noun, "image_size", "image size (px)", "image-size", "at {} px", "image_sizes_px")
SEQUENCES = Extent(
    TASKS["sequences"].noun, "length", "sequence length (tokens)", "length", "at {:,} tokens", "lengths", False
)


def extent_of(table: pd.DataFrame) -> Extent:
    """Of records or of rows made of them, all of one task."""
    of_lengths = "length" in table and table["length"].notna().any()
    return SEQUENCES if of_lengths or SEQUENCES.column in table else IMAGES


def row_extent(row: Mapping[Any, Any] | pd.Series) -> Extent:
    """Of one record or row."""
    return IMAGES if pd.isna(row.get("length")) else SEQUENCES


def size_words(row: Mapping[Any, Any] | pd.Series, unit: str = "") -> str:
    """ "32 px, patch 4", or "512 tokens"; `unit` stands behind the patch."""
    if row_extent(row) is SEQUENCES:
        return f"{row['length']:,} tokens"
    return f"{row['image_size']} px, patch {row['patch_size']}{unit}"


def worded(text: str, extent: Extent) -> str:
    """A text of this suite's own with what it says of images said of the examples in question."""
    if extent.noun == IMAGES.noun:
        return text
    text = text.replace("with single pixels as tokens", "at every length that was timed")
    text = text.replace("image size", "sequence length").replace("Image size", "Sequence length")
    return re.sub(r"([Ii])mage(?=s?\b)", lambda found: _like(extent.noun, found[1]), text)


def _like(noun: str, first: str) -> str:
    return noun.capitalize() if first.isupper() else noun
