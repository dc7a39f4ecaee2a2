"""What single runs of a net vary by: their seed, and the choice of test images."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Noise:
    """Standard deviations in points."""

    seed: float | None  # of one run, by its seed; None for a single one
    test: float  # of one run, by the choice of test images
    images: float  # of the mean over runs, by the images' own difficulty: what more seeds do not take away


def noise(answers: NDArray[Any]) -> Noise:
    """What a new seed and what new test images change in the mean of answers (seeds, images), each between -1 and 1.

    A two-way analysis of variance: the spread over seeds less what the images' own chance explains of it, and the
    sampling error of that many images.
    """
    seeds, images = answers.shape
    scores = 100 * answers.astype(np.float64)
    within = float(scores.var(axis=1, ddof=1).mean())
    if seeds < 2:
        return Noise(None, math.sqrt(within / images), math.sqrt(within / images))
    rest = residual(scores)
    return Noise(
        math.sqrt(max(0.0, float(scores.mean(axis=1).var(ddof=1)) - rest / images)),
        math.sqrt(within / images),
        math.sqrt(max(0.0, within - rest) / images),
    )


def residual(scores: Floats) -> float:
    """Mean square of scores (seeds, images) that neither their seed nor their image explains."""
    seeds, images = scores.shape
    of_seed, of_image = scores.mean(axis=1, keepdims=True), scores.mean(axis=0, keepdims=True)
    return float(((scores - of_seed - of_image + scores.mean()) ** 2).sum()) / ((seeds - 1) * (images - 1))


def noise_columns(spread: Noise | None) -> dict[str, float | None]:
    if spread is None:
        return {"seed_sd_points": None, "test_sd_points": None}
    return {"seed_sd_points": spread.seed, "test_sd_points": spread.test}
