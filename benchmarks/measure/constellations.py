"""The embedded image set: ten arrangements of five identical dots, each shown at a random place.

What tells the classes apart is where the dots stand relative to each other, and next to nothing else:

- Each arrangement spans the same box of 8 x 8 units, and any two of its dots are two or more units apart in a row or a
  column, so that no 2 x 2 patch holds two.
- The ten are chosen alike in the sum of their rows and of their columns, of the squares of both and of the products: a
  net that cannot mix tokens, coordinates or not, sees five dots whatever the class.
- The box stands at a random place on a grid of two units, so absolute places say nothing. (At places in between, small
  nets need several times the images before they learn anything; arrangements that are permutations, with no difference
  at all in any row or column sum, no net of the quick profile learned.)

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

from benchmarks.errors import UserError

NUM_CLASSES = 10
DOTS = 5
BOX = 8  # units a side of the square that holds an arrangement
MIN_GAP = 2  # units between two dots, in a row or a column
PLACE_STEP = 2  # units between two places of the box
SPREAD = 32.0  # units^2: what the squared distances from the middle row, and column, sum to, within 8
WORLD = 16  # units along the shorter side of the image
MIN_SIZE = 16  # pixels; below, dots would touch
CLUTTER = 0  # further dots at random places, the same in every class
BACKGROUND = 0.5  # of the range of a pixel; dots are at 1
NOISE = 0.1  # standard deviation, of the range
SPLITS = ("train", "test")

# images rendered at a time: enough to keep the cores busy, few enough to stay in the cache; part of what an image looks
# like, since it orders the random numbers
_CHUNK = 1024


@functools.cache
def classes() -> tuple[tuple[tuple[int, int], ...], ...]:
    """The ten arrangements: (row, column) of each dot in the box, in units.

    The first ten of a fixed random sequence that span the box, keep the dots apart, and lie within the tolerances on
    the sums of rows, columns, squares and products.
    """
    middle = (BOX - 1) / 2
    random = np.random.RandomState(0)  # its stream is frozen, by NumPy's promise
    chosen: list[tuple[tuple[int, int], ...]] = []
    while len(chosen) < NUM_CLASSES:
        cells = random.permutation(BOX * BOX)[:DOTS]
        dots = np.stack([cells // BOX, cells % BOX], axis=1)
        gaps = [np.abs(a - b).max() for a, b in itertools.combinations(dots, 2)]
        centred = dots - middle
        alike = (
            (np.abs(centred.sum(0)) <= 1).all()
            and (np.abs((centred**2).sum(0) - SPREAD) <= 8).all()
            and abs(centred.prod(1).sum()) <= 4
        )
        spans = (dots.min(0) == 0).all() and (dots.max(0) == BOX - 1).all()
        if min(gaps) >= MIN_GAP and spans and alike:
            chosen.append(tuple(sorted((int(row), int(column)) for row, column in dots)))
    return tuple(chosen)


def dot_side_px(height: int, width: int) -> int:
    """Side of a dot in pixels."""
    return max(1, _pixels(1, height, width))


def box_side_px(height: int, width: int) -> int:
    """Side in pixels of the square that holds the five dots."""
    return _pixels(BOX - 1, height, width) + dot_side_px(height, width)


def places(height: int, width: int) -> tuple[int, int]:
    """How many places the box can have: (down, across), each `PLACE_STEP` units from the next."""
    box, step = box_side_px(height, width), _pixels(PLACE_STEP, height, width)
    return (height - box) // step + 1, (width - box) // step + 1


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
    height, width = size
    if min(height, width) < MIN_SIZE:
        raise UserError(
            f"--image-size is {height}x{width}; constellations allows {MIN_SIZE} px and more a side, such as {MIN_SIZE}"
        )
    generator = _generator(split, seed)
    labels = (torch.arange(count) % NUM_CLASSES)[torch.randperm(count, generator=generator)]
    dots = _dot_places(labels, size, clutter, generator)
    images = torch.empty(count, 1, height, width, dtype=torch.uint8)
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
    step = _pixels(PLACE_STEP, height, width)
    offsets = [torch.randint(0, places_, (count, 1), generator=generator) * step for places_ in places(height, width)]
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
