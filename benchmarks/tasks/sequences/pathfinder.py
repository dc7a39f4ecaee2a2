"""Pathfinder: are the two discs at the ends of one long dashed curve? One token a pixel, read row by row.

Linsley et al., "Learning long-range spatial dependencies with horizontal gated recurrent units" (2018); as sequences:
Tay et al., "Long Range Arena" (2021), whose Pathfinder is the one of 1,024 tokens here and whose Path-X that of 16,384.
Both curves are in every image, so how much or how bright the ink is says nothing (`pathfinder_images` draws them).

A token is a grey value of 0 to 255, plus one. The curves have 14 paddles each, the hardest that the arena has;
`pathfinder_middle` has 9 and `pathfinder_easy` 6. Images are drawn once and kept.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.tasks.sequences.parts.bags import predictors
from benchmarks.tasks.sequences.parts.kept import Arrays, keep
from benchmarks.tasks.sequences.parts.pathfinder_images import CHUNK, LOOKS, Look, brightest, disc, pictures, render

VOCABULARY = 257
NUM_CLASSES = 2
LENGTHS = tuple(size * size for size in LOOKS)  # no others
LEAST_LENGTH, LONGEST = LENGTHS[0], LENGTHS[-1]
PADDLES = 14  # of each of the two curves
COUNTS = {"train": 20_000, "test": 2_000}
VERSION = 1  # raised by whoever changes what is drawn
JUDGED = 2**22  # tokens that a baseline is fitted on, at most


def read(split: str, count: int | None, length: int, data_dir: Path, paddles: int = PADDLES) -> tuple[Tensor, Tensor]:
    """Tokens int16 (n, N), all above 0, and labels int64 (n,): 1 where both discs are on one curve.

    Args:
        split: train or test, which share no image.
        count: images; 20,000 and 2,000 where none is given. A larger count begins with the same images.
        length: tokens an image, its pixels: 1,024, 4,096 or 16,384.
        data_dir: its folder "cache" keeps the images.
        paddles: of each of the two curves.

    Raises:
        UserError: the length is another, or the images cannot be kept.
    """
    look = _look_of(length)
    name = f"pathfinder-{paddles}-{look.size}px-{split}-{VERSION}"
    count = COUNTS[split] if count is None else count
    kept = keep(data_dir, name, count, lambda numbers: draw(name, look, paddles, numbers))
    tokens = kept["images"].reshape(count, length).astype(np.int16) + 1
    return torch.from_numpy(tokens), torch.from_numpy(kept["labels"].astype(np.int64))


def draw(name: str, look: Look, paddles: int, numbers: range) -> Arrays:
    """Images of these numbers, uint8 (n, size, size), and labels, uint8 (n,)."""
    images = np.empty((len(numbers), look.size, look.size), dtype=np.uint8)
    labels = np.empty(len(numbers), dtype=np.uint8)
    for start in range(0, len(numbers), CHUNK):
        chunk = list(pictures(name, look, paddles, numbers[start : start + CHUNK]))
        images[start : start + CHUNK] = np.rint(render(look, chunk) * (255 / brightest(look)))
        labels[start : start + CHUNK] = [picture.label for picture in chunk]
    return {"images": images, "labels": labels}


def baselines(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Percent right on test, fitted on train.

    Chance, the majority and a bag of tokens, here of grey values; marker_distance is the best threshold on how far the
    two discs are from each other.
    """
    count = max(1, JUDGED // train[0].shape[1])
    known, asked = ((tokens[:count], labels[:count]) for tokens, labels in (train, test))
    distances = (marker_distance(tokens.numpy()) for tokens, _ in (known, asked))
    said = _by_threshold(next(distances), known[1].numpy(), next(distances))
    by_distance = 100 * float((said == asked[1].numpy()).mean())
    return predictors(known, asked, VOCABULARY, NUM_CLASSES) | {"marker_distance": by_distance}


def marker_distance(tokens: NDArray[np.int16]) -> NDArray[np.float64]:
    """Pixels between the two discs of each image (n, N), as far as they can be told from paddles; (n,)."""
    look = _look_of(tokens.shape[1])
    core = disc(look.marker_radius) > 0.9
    bright = tokens.reshape(-1, look.size, look.size) > 0.85 * 255 / brightest(look)
    inside = ndimage.binary_erosion(bright, core[None])
    image, row, column = np.nonzero(inside)
    count = np.maximum(1, np.bincount(image, minlength=len(tokens)))
    spread = np.zeros(len(tokens))
    for place in (row, column):  # of two equal groups the deviation is half of their distance
        mean, square = (np.bincount(image, place**power, len(tokens)) / count for power in (1, 2))
        spread += square - mean**2
    return 2 * np.sqrt(np.maximum(0, spread))


def _by_threshold(
    values: NDArray[np.float64], labels: NDArray[np.int64], others: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Labels (n,) of other examples, by the threshold, and the side of it, that is right most often."""
    cuts = np.unique(np.rint(values))
    right = np.array([((values > cut) == labels).mean() for cut in cuts])
    best = np.maximum(right, 1 - right).argmax()
    return (others > cuts[best]) == (right[best] >= 0.5)


def _look_of(length: int) -> Look:
    if length not in LENGTHS:
        allowed = ", ".join(f"{size * size} ({size} x {size} px)" for size in LOOKS)
        raise UserError(
            f"{called.option('length', length)}: pathfinder has one token a pixel; allowed: {allowed}; "
            f"type {called.option('length', LEAST_LENGTH)}"
        )
    return LOOKS[math.isqrt(length)]
