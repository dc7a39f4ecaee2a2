"""The memory of the transforms grows as the length, that of what has a matrix over the tokens as its square."""

from __future__ import annotations

import pytest
from sequence_memory import LENGTHS, peaks

DIM = 8


@pytest.mark.parametrize("mixer", ["fft_real", "dct", "hadamard"])
def test_transforms_keep_to_the_length(mixer):
    found = [peaks(mixer, length, DIM) for length in LENGTHS]
    for numbers in zip(*found, strict=True):
        assert max(numbers) < 1.1 * min(numbers), (mixer, numbers)


def test_a_matrix_over_the_tokens_is_seen():
    short, long = (peaks("linear", length, DIM)[0] for length in (4096, 8192))
    assert long > 1.8 * short


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["fft_real", "dct"])
def test_what_is_predicted_is_what_a_run_takes(mixer):
    for length in LENGTHS:
        predicted, measured = (peaks(mixer, length, DIM, measure) for measure in (False, True))
        assert measured == pytest.approx(predicted, rel=0.02)
