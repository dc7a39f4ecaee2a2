"""The embedded image set: ten arrangements of five identical dots, each shown at a random place.

What tells the classes apart is where the dots stand relative to each other, and nothing else:

- A class is a permutation pi of five: dot i stands at row 2 i and column 2 pi(i) of a 9 x 9 box. So every row and every
  column that has a dot has one, in every class: row sums and column sums are the same for all.
- Any two dots are two or more rows and two or more columns apart: no 2 x 2 patch holds two.
- Only permutations with |sum (i - 2) (pi(i) - 2)| <= 1 are used: rows and columns are uncorrelated in every class, so
  sums of products of the two coordinates do not tell either.
- The box stands anywhere it fits, so absolute places say nothing.

A net that cannot mix tokens sees five dots whatever the class. Lengths are in units of a world 16 units wide, which is
scaled to the image: at 16 px a dot is one pixel, at 48 px it is 3 x 3. A patch wider than two units can hold two dots,
and then the patches themselves mix.
"""

from __future__ import annotations

import functools
import hashlib
import itertools

import torch
from torch import Tensor

from benchmarks.errors import UserError

NUM_CLASSES = 10
DOTS = 5
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
def classes() -> tuple[tuple[int, ...], ...]:
    """The ten permutations pi: in class k, the dot of row 2 i stands in column 2 pi(i).

    Of the uncorrelated permutations, the first in lexicographic order, then always the one that differs from those
    already chosen in the most places, the nearest of them counted first and the first in order where several tie.
    """
    centre = DOTS // 2
    left = [
        pi
        for pi in itertools.permutations(range(DOTS))
        if abs(sum((i - centre) * (p - centre) for i, p in enumerate(pi))) <= 1
    ]
    chosen = [left.pop(0)]
    while len(chosen) < NUM_CLASSES:
        best = max(left, key=lambda pi: sorted(_differences(pi, other) for other in chosen))
        left.remove(best)
        chosen.append(best)
    return tuple(chosen)


def dot_side_px(height: int, width: int) -> int:
    """Side of a dot in pixels."""
    return max(1, _pixels(1, height, width))


def box_side_px(height: int, width: int) -> int:
    """Side in pixels of the square that holds the five dots."""
    return _pixels(2 * (DOTS - 1), height, width) + dot_side_px(height, width)


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
    units = torch.tensor([_pixels(2 * unit, height, width) for unit in range(DOTS)])
    columns = units[torch.tensor(classes())[labels]]  # (n, dots)
    arrangement = torch.stack([units.expand_as(columns), columns], dim=2)  # (n, dots, 2)
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


def _differences(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return sum(x != y for x, y in zip(a, b, strict=True))


def _generator(split: str, seed: int) -> torch.Generator:
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed: {', '.join(SPLITS)}")
    digest = hashlib.sha256(f"constellations/{split}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
