"""The embedded image set: ten arrangements of five identical dots, each shown at a random place.

What tells the classes apart is where the dots stand relative to each other. Every image has the same five dots; the
arrangement stands anywhere in the image, to the pixel, so neither a place nor a place within a patch says which class
it is; and any two dots are two or more units apart in a row or a column, so that no 2 x 2 patch holds two. A net that
cannot mix tokens, coordinates or not, stays at chance (results/experiments.md has the figures, and the arrangements
that were tried and let such a net through, or that nothing learned).

Lengths are in units of a world 16 units wide, which is scaled to the image: at 16 px a dot is one pixel, at 48 px it is
3 x 3. A patch wider than two units can hold two dots, and then the patches themselves mix.
"""

from __future__ import annotations

import functools
import hashlib
import itertools

import numpy as np
import torch
from torch import Tensor

from benchmarks.contract.facts.datasets import info_of

NUM_CLASSES = 10
DOTS = 5
BOX = 8  # units a side of the square that holds an arrangement
MIN_GAP = 2  # units between two dots, in a row or a column
WORLD = 16  # units along the shorter side of the image
CLUTTER = 0  # further dots at random places, the same in every class
BACKGROUND = 0.5  # of the range of a pixel; dots are at 1
NOISE = 0.02  # standard deviation, of the range; at 0.1 transforms drown the five dots in the noise of all pixels
SPLITS = ("train", "test")

# images rendered at a time: enough to keep the cores busy, few enough to stay in the cache; part of what an image looks
# like, since it orders the random numbers
_CHUNK = 1024


@functools.cache
def classes() -> tuple[tuple[tuple[int, int], ...], ...]:
    """The ten arrangements: (row, column) of each dot in the box, in units.

    The first ten of a fixed random sequence that span the box and keep the dots apart.
    """
    random = np.random.RandomState(0)  # its stream is frozen, by NumPy's promise
    chosen: list[tuple[tuple[int, int], ...]] = []
    while len(chosen) < NUM_CLASSES:
        cells = random.permutation(BOX * BOX)[:DOTS]
        dots = np.stack([cells // BOX, cells % BOX], axis=1)
        gaps = [np.abs(a - b).max() for a, b in itertools.combinations(dots, 2)]
        if min(gaps) >= MIN_GAP and (dots.min(0) == 0).all() and (dots.max(0) == BOX - 1).all():
            chosen.append(tuple(sorted((int(row), int(column)) for row, column in dots)))
    return tuple(chosen)


def dot_side_px(height: int, width: int) -> int:
    """Side of a dot in pixels."""
    return max(1, _pixels(1, height, width))


def box_side_px(height: int, width: int) -> int:
    """Side in pixels of the square that holds the five dots."""
    return _pixels(BOX - 1, height, width) + dot_side_px(height, width)


def places(height: int, width: int) -> tuple[int, int]:
    """How many offsets the box can have: (down, across)."""
    box = box_side_px(height, width)
    return height - box + 1, width - box + 1


def render(
    count: int, size: tuple[int, int], *, split: str, seed: int = 0, clutter: int = CLUTTER, noise: float = NOISE
) -> tuple[Tensor, Tensor]:
    """Draws images; the same arguments make the same images, always on the CPU.

    Args:
        count: images; class sizes differ by one at most.
        size: (height, width) in pixels.
        split: train or test, two disjoint streams of random numbers.
        seed: picks another set of the same kind.
        clutter: further dots an image.
        noise: standard deviation, of the range of a pixel.

    Returns:
        Images, uint8 (count, 3, height, width) with three equal channels, and labels, int64 (count,), in random order.

    Raises:
        UserError: the image is too small.
    """
    info_of("constellations").check_size(size)
    generator = _generator(split, seed)
    labels = (torch.arange(count) % NUM_CLASSES)[torch.randperm(count, generator=generator)]
    dots = _dot_places(labels, size, clutter, generator)
    images = torch.empty(count, 1, *size, dtype=torch.uint8)
    for start in range(0, count, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        images[chunk, 0] = _draw(dots[chunk], size, noise, generator)
    return images.repeat(1, 3, 1, 1), labels


def _dot_places(labels: Tensor, size: tuple[int, int], clutter: int, generator: torch.Generator) -> Tensor:
    """Upper left pixel of each dot: labels (n,) -> (row, column), int64 (n, dots, 2)."""
    height, width = size
    count = len(labels)
    units = torch.tensor([_pixels(unit, height, width) for unit in range(BOX)])
    arrangement = units[torch.tensor(classes())[labels]]  # (n, dots, 2)
    offsets = [torch.randint(0, places_, (count, 1), generator=generator) for places_ in places(height, width)]
    arrangement = arrangement + torch.stack(offsets, dim=2)
    side = dot_side_px(height, width)
    extra = [torch.randint(0, length - side + 1, (count, clutter), generator=generator) for length in size]
    return torch.cat([arrangement, torch.stack(extra, dim=2)], dim=1)


def _draw(dots: Tensor, size: tuple[int, int], noise: float, generator: torch.Generator) -> Tensor:
    """Dots (n, dots, 2) -> images, uint8 (n, height, width)."""
    height, width = size
    stamp = torch.arange(dot_side_px(height, width))
    rows = dots[..., 0, None, None] + stamp[:, None]  # (n, dots, side, 1)
    columns = dots[..., 1, None, None] + stamp  # (n, dots, 1, side)
    pixels = (rows * width + columns).flatten(1)
    canvas = torch.full((len(dots), height * width), BACKGROUND * 255).scatter_(1, pixels, 255.0)
    canvas.add_(torch.randn(canvas.shape, generator=generator), alpha=noise * 255)
    return canvas.round_().clamp_(0, 255).to(torch.uint8).view(-1, height, width)


def _pixels(units: int, height: int, width: int) -> int:
    """A length in units of the world as whole pixels, halves upwards."""
    return (2 * units * min(height, width) + WORLD) // (2 * WORLD)


def _generator(split: str, seed: int) -> torch.Generator:
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed: {', '.join(SPLITS)}")
    digest = hashlib.sha256(f"constellations/{split}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
