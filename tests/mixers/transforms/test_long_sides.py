"""Transforms of long sides: they keep no matrix as large as the square of a side, and keep to their definition."""

from __future__ import annotations

import pytest
import torch

from mixers import create_mixer
from mixers.transforms.definitions import dct, dct_matrix
from mixers.transforms.planes import LONG_SIDE

FAST = ("dct", "fft_complex", "fft_imag", "fft_pairs", "fft_real", "fft_real_2d", "fft_scrambled", "hartley")


@pytest.mark.parametrize("size", [(1, 300), (1, 512), (257, 3)])
@pytest.mark.parametrize("name", FAST)
def test_a_long_side_has_the_transform_and_no_matrix(name, size):
    mixer = create_mixer(name, 8, size).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    y = mixer(x)
    torch.testing.assert_close(y, mixer.reference(x.detach()), rtol=0, atol=1e-10)
    assert mixer.method_on("cpu") == mixer.method_on("cuda") == "fft" and not list(mixer.buffers())
    g = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, g)
    # of a linear map: <y, g> = <x, gradient>
    torch.testing.assert_close((y * g).sum(), (x * gradient).sum())


@pytest.mark.parametrize("size", [(1, 512), (1, 384)])
def test_hadamard_folds_a_long_sequence(size):
    mixer = create_mixer("hadamard", 8, size).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), mixer.reference(x), rtol=0, atol=1e-10)
    assert sum(matrix.numel() for matrix in mixer.buffers()) < size[1] ** 2 / 10


def test_a_method_that_was_asked_for_and_usual_images_keep_their_matrices():
    assert create_mixer("dct(method=gemm)", 8, (1, 512)).method_on("cpu") == "gemm"
    assert create_mixer("dct", 8, (1, LONG_SIDE)).method_on("cpu") == "gemm"
    assert create_mixer("hadamard", 8, (1, LONG_SIDE)).plane == (1, LONG_SIDE)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_the_fast_dct_is_that_of_its_matrix_along_either_axis(n):
    x = torch.randn(2, n, n + 1, dtype=torch.float64)
    torch.testing.assert_close(dct(x, -2), dct_matrix(n) @ x)
    torch.testing.assert_close(dct(x, -1), x @ dct_matrix(n + 1).mT)


def test_a_long_transform_moves_between_dtypes_and_devices():
    mixer = create_mixer("dct", 8, (1, 512))
    x = torch.randn(1, 8, 1, 512)
    near = mixer.bfloat16()(x.bfloat16()).float()
    assert near.sub(mixer.reference(x)).abs().max() < 0.1
    moved = mixer.to("meta").to_empty(device="cpu").float()
    torch.testing.assert_close(moved(x).double(), mixer.reference(x), rtol=0, atol=1e-4)
