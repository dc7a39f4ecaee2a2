"""Folders of small images for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

TWO = {"cat": 8, "dog": 8}


def make_folder(root: Path, classes: Mapping[str, int] = TWO, side: int = 20, seed: int = 0) -> Path:
    """`classes` images a class, of several sizes and kinds, each class brighter in a channel of its own."""
    rng = np.random.default_rng(seed)
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            height, width = side + rng.integers(0, 9, 2)
            pixels = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
            pixels[..., number % 3] += 100
            Image.fromarray(pixels).save(root / name / f"{i}.{('png', 'jpg', 'bmp')[i % 3]}")
    return root
