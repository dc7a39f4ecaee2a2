"""The embedded image set of the quick profile: mosaics of 4 x 4 cells that ask two kinds of question.

Three of the ten classes are weaves: light and dark cells, eight of each, in rows or squares one cell wide or in columns
of two, shifted at random round the edges. What tells them apart is how the whole image hangs together.

The others are looked up. Three dominoes, their upper halves of three colours and their lower halves of three out of
seven, lie at random places, and two more with the upper half of one of them and a black lower half. The class is the
colour of the lower half that goes with the upper half of those two. What tells it is a match between two cells,
wherever they are.

In the weaves every cell is as often light as dark in every class, and every image has as many of both. So the contents
of single cells tell which kind of question an image asks, and for the second which of the three lower halves in view it
may be: 33 % in all. A weight for every place, content and class, the most that a sum over cells could use, gives 35 %.
Knowing the weaves and guessing one of the lower halves in view makes 53 %, knowing the match and guessing the weaves
80 %. At 16 px and patch 4 a token is a cell (results/experiments.md has what mixers reach, and what was tried).
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from benchmarks.contract.facts.datasets import info_of

CELLS = 4  # a side
WEAVES, COLOURS = 3, 7
NUM_CLASSES = WEAVES + COLOURS  # each as frequent as any other
KEYS = 3  # pairs of an upper and a lower colour in an image
COPIES = 1  # dominoes of each pair
ASKED = 2  # dominoes with a black lower half, all with the same upper half
BACKGROUND = 0.5  # of the range of a pixel
CONTRAST = 0.3  # of light and dark cells
SATURATION = 0.45  # of a domino's colours
NOISE = 0.02  # standard deviation, of the range
SPLITS = ("train", "test")

# images drawn at a time; part of what an image looks like, since it orders the random numbers
_CHUNK = 1024


def weaves() -> Tensor:
    """The weaves, light 1 and dark -1, (WEAVES, CELLS, CELLS), before they are shifted."""
    one, two = torch.tensor([-1.0, 1.0, -1.0, 1.0]), torch.tensor([-1.0, -1.0, 1.0, 1.0])
    flat = torch.ones(CELLS)
    pairs = [(one, flat), (one, one), (flat, two)]
    return torch.stack([torch.outer(rows, columns) for rows, columns in pairs])


def colours(count: int) -> Tensor:
    """Colours as far apart as can be, (count, 3), each less the background."""
    turns = [[index / count - channel / 3 for channel in range(3)] for index in range(count)]
    return torch.tensor([[SATURATION * math.cos(2 * math.pi * turn) for turn in colour] for colour in turns])


def render(
    count: int, size: tuple[int, int], *, split: str, seed: int = 0, noise: float = NOISE
) -> tuple[Tensor, Tensor]:
    """Draws images; the same arguments make the same images, always on the CPU.

    Args:
        count: images; class sizes differ by one at most.
        size: (height, width) in pixels; sides that are no multiple of CELLS have cells that differ by a pixel.
        split: train or test, two disjoint streams of random numbers.
        seed: picks another set of the same kind.
        noise: standard deviation, of the range of a pixel.

    Returns:
        Images, uint8 (count, 3, height, width), and labels, int64 (count,), in random order.

    Raises:
        UserError: the image is too small.
    """
    info_of("mosaics").check_size(size)
    height, width = size
    generator = _generator(split, seed)
    labels = (torch.arange(count) % NUM_CLASSES)[torch.randperm(count, generator=generator)]
    rows = torch.arange(height) * 2 * CELLS // height  # which half of which cell a pixel is in
    columns = torch.arange(width) * CELLS // width
    images = torch.empty(count, 3, height, width, dtype=torch.uint8)
    for start in range(0, count, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        woven = _woven(labels[chunk], generator)
        dominoes = _dominoes(labels[chunk], generator)
        halves = torch.where((labels[chunk] < WEAVES)[:, None, None, None], woven, dominoes)
        canvas = halves[:, :, rows][..., columns].add_(BACKGROUND).mul_(255)
        canvas.add_(torch.randn(canvas.shape, generator=generator), alpha=noise * 255)
        images[chunk] = canvas.round_().clamp_(0, 255).to(torch.uint8)
    return images, labels


def _woven(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Labels (n,) -> what weaves add to the background, (n, 3, half cells down, cells across); others are of no use."""
    count = len(labels)
    shifts = torch.randint(0, CELLS, (count, 2, 1), generator=generator)
    rows, columns = ((torch.arange(CELLS) + shifts) % CELLS).unbind(1)
    cells = weaves()[(labels % WEAVES)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return CONTRAST * cells.repeat_interleave(2, dim=1)[:, None].expand(-1, 3, -1, -1)


def _dominoes(labels: Tensor, generator: torch.Generator) -> Tensor:
    """The same of the other kind."""
    count, each = len(labels), torch.arange(len(labels))[:, None]
    wanted = ((labels - WEAVES) % COLOURS)[:, None]
    # the lower halves of the pairs: the wanted colour is that of a random one, the others differ from it
    others = (wanted + 1 + _orders(count, COLOURS - 1, generator)) % COLOURS
    lower = others[:, :KEYS].clone()
    asked = torch.randint(0, KEYS, (count, 1), generator=generator)
    lower[each, asked] = wanted
    upper = torch.cat([torch.arange(KEYS).repeat(count, COPIES), asked.repeat(1, ASKED)], dim=1)
    black = torch.full((count, ASKED, 3), -BACKGROUND)
    halves = torch.stack(
        [colours(KEYS)[upper], torch.cat([colours(COLOURS)[lower.repeat(1, COPIES)], black], dim=1)], dim=2
    )  # (n, dominoes, half, 3)
    places = _orders(count, CELLS * CELLS, generator)[:, : upper.shape[1]]
    cells = torch.zeros(count, CELLS * CELLS, 2, 3)
    cells[each, places] = halves
    return cells.view(count, CELLS, CELLS, 2, 3).permute(0, 4, 1, 3, 2).reshape(count, 3, 2 * CELLS, CELLS)


def _orders(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Random orders of 0 to length - 1, int64 (count, length)."""
    return torch.rand(count, length, generator=generator, dtype=torch.float64).argsort(dim=1)


def _generator(split: str, seed: int) -> torch.Generator:
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed: {', '.join(SPLITS)}")
    digest = hashlib.sha256(f"mosaics/{split}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
