"""pixels: CIFAR-10 as a sequence of grey pixels, row by row: Long Range Arena's task Image.

Tay et al., "Long Range Arena" (2020); the images by Krizhevsky, "Learning Multiple Layers of Features from Tiny Images"
(2009). A token is the brightness, 0 to 255, plus 1: none is padding. 1,024 tokens are the images as they are, which is
what LRA has; 256 are 16 x 16 pixels, resized in colour as for the image tasks, which LRA has not.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.contract.errors import UserError
from benchmarks.tasks.images.cifar import find_cifar
from benchmarks.tasks.images.common import resize
from benchmarks.tasks.sequences.parts.bags import Split, predictors

VOCABULARY = 257
NUM_CLASSES = 10
LENGTHS = (256, 1024)
LEAST_LENGTH, LONGEST = LENGTHS
CHUNK = 1024  # images that are made grey at a time
LUMA = (0.2989, 0.5870, 0.1140)  # of red, green, blue, as ITU-R BT.601 and TensorFlow's rgb_to_grayscale


def read(split: str, count: int | None, length: int, data_dir: Path) -> Split:
    """Images of the split "train" or "test" of CIFAR-10, downloaded where they are missing.

    Args:
        split: which.
        count: how many, from the first on; None: all.
        length: pixels, 256 or 1,024.
        data_dir: as for the image task.

    Returns:
        Tokens int16 (n, length), and classes int64 (n,).

    Raises:
        UserError: another length; or they are missing and cannot be downloaded, or a file is damaged.
    """
    return read_grey("cifar10", split, count, length, data_dir)


def baselines(train: Split, test: Split) -> dict[str, float]:
    """Percent right on test of chance, the majority, and how often each brightness stands in an image."""
    return predictors(train, test, VOCABULARY, NUM_CLASSES)


def read_grey(dataset: str, split: str, count: int | None, length: int, data_dir: Path) -> Split:
    """As `read`, of cifar10 or cifar100, with the labels that the data set has."""
    if length not in LENGTHS:
        raise UserError(f"--length is {length}; grey pixels allow 256 (16 x 16) and 1024 (32 x 32)")
    folder, layout = find_cifar(dataset, Path(data_dir))
    images, labels = layout.read(folder, split)
    side = math.isqrt(length)
    return grey(resize(images[:count], (side, side))).flatten(1).to(torch.int16) + 1, labels[:count]


def grey(images: Tensor) -> Tensor:
    """uint8 (n, 3, H, W) -> uint8 (n, H, W), cut to whole levels as TensorFlow does: 255.5 times a share of 1."""
    weights = torch.tensor(LUMA).view(3, 1, 1) / 255
    chunks = [((chunk * weights).sum(1) * 255.5).to(torch.uint8) for chunk in images.split(CHUNK)]
    return torch.cat(chunks)
