"""The transforms against scipy, numpy and their defining properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.stats
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mixer_checks import assert_near, build, default_dtype, few_examples, seeds, sizes, some_examples
from torch import Tensor

from mixers import MixerError, UnsupportedSize, create_mixer
from mixers.transforms.definitions import (
    dct_matrix,
    dft_complex,
    dft_matrices,
    dft_real,
    hadamard_matrix,
    hadamard_order,
    separable,
)

HADAMARD_ORDERS = [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128]
orders = st.integers(1, 70)


def _allclose(actual: Tensor, expected: np.ndarray | Tensor, atol: float = 1e-12) -> None:
    assert actual.dtype == torch.float64
    torch.testing.assert_close(actual, torch.as_tensor(np.ascontiguousarray(expected)), rtol=0, atol=atol)


def _matrix_of(mixer: torch.nn.Module, dim: int, size: tuple[int, int]) -> Tensor:
    """The matrix of a linear mixer on flattened (C, H, W), one column per entry of the input."""
    n = dim * size[0] * size[1]
    return mixer(torch.eye(n).reshape(n, dim, *size)).flatten(1).mT


# matrices


@some_examples
@given(n=orders)
@example(n=1)
@example(n=97)
def test_dct_matrix_is_scipys(n: int) -> None:
    _allclose(dct_matrix(n), scipy.fft.dct(np.eye(n), axis=0, norm="ortho"))
    _allclose(dct_matrix(n) @ dct_matrix(n).mT, torch.eye(n, dtype=torch.float64))


@some_examples
@given(n=orders)
@example(n=1)
@example(n=257)
def test_dft_matrices_are_numpys(n: int) -> None:
    real, imaginary = dft_matrices(n)
    expected = np.fft.fft(np.eye(n), axis=0, norm="ortho")
    _allclose(real, expected.real)
    _allclose(imaginary, expected.imag)


@pytest.mark.parametrize("n", HADAMARD_ORDERS)
def test_hadamard_matrix_is_orthogonal_with_equal_entries(n: int) -> None:
    matrix = hadamard_matrix(n)
    assert matrix.shape == (n, n)
    _allclose(matrix.abs(), torch.full((n, n), n**-0.5, dtype=torch.float64))
    _allclose(matrix @ matrix.mT, torch.eye(n, dtype=torch.float64))


@pytest.mark.parametrize("k", range(8))
def test_hadamard_matrix_is_scipys_for_powers_of_two(k: int) -> None:
    _allclose(hadamard_matrix(2**k), scipy.linalg.hadamard(2**k) / 2 ** (k / 2))


@pytest.mark.parametrize("n", range(1, 130))
def test_hadamard_order_factorises_or_refuses(n: int) -> None:
    assert (hadamard_order(n) is not None) == (n in HADAMARD_ORDERS)
    order = hadamard_order(n)
    if order is not None:
        k, m = order
        assert n == 2**k * m
        assert m in (1, 12, 20, 28)
    else:
        with pytest.raises(ValueError, match=f"order {n}$"):
            hadamard_matrix(n)


@pytest.mark.parametrize("n", HADAMARD_ORDERS)
def test_hadamard_is_an_involution_where_its_matrix_is_symmetric(n: int) -> None:
    # Sylvester's matrix and Paley's second (28) are symmetric, Paley's first (12, 20) is not
    matrix = hadamard_matrix(n)
    eye = torch.eye(n, dtype=torch.float64)
    assert torch.allclose(matrix @ matrix, eye) == (n % 12 != 0 and n % 20 != 0)
    assert torch.equal(matrix, matrix.mT) == (n % 12 != 0 and n % 20 != 0)


@pytest.mark.parametrize(
    ("n", "below", "above"), [(3, 2, 4), (7, 4, 8), (36, 32, 40), (11, 8, 12), (60, 56, 64), (97, 96, 112)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_hadamard_refuses_with_the_nearest_sizes(n: int, below: int, above: int, turned: bool) -> None:
    with pytest.raises(UnsupportedSize, match=rf"side of {n} tokens.*nearest that work are {below} and {above}$"):
        create_mixer("hadamard", 8, (n, 4) if turned else (4, n))


@few_examples
@given(size=sizes, outer=st.tuples(st.integers(1, 5), st.integers(1, 5)), seed=seeds)
def test_separable_is_one_product_with_the_kronecker_matrix(
    size: tuple[int, int], outer: tuple[int, int], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((2, 3, *size))
    rows, columns = (generator.standard_normal((m, n)) for m, n in zip(outer, size, strict=True))
    expected = (x.reshape(2, 3, -1) @ np.kron(rows, columns).T).reshape(2, 3, *outer)
    _allclose(separable(*map(torch.as_tensor, (x, rows, columns))), expected)


# fast ways


@st.composite
def _shape_and_axes(draw: st.DrawFn) -> tuple[list[int], tuple[int, ...]]:
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    order = draw(st.permutations(range(len(shape))))
    axes = order[: draw(st.integers(1, len(shape)))]
    return shape, tuple(axis - len(shape) if draw(st.booleans()) else axis for axis in axes)


@some_examples
@given(case=_shape_and_axes(), seed=seeds)
@example(case=([1, 1, 1, 1], (1, 2, 3)), seed=0)
@example(case=([2, 8, 1, 2], (1, 2, 3)), seed=0)
@example(case=([2, 7, 5, 3], (1, 2, 3)), seed=0)
@example(case=([2, 4, 6, 8], (-2, -1)), seed=0)
def test_dft_real_is_numpys(case: tuple[list[int], tuple[int, ...]], seed: int) -> None:
    shape, axes = case
    x = np.random.default_rng(seed).standard_normal(shape)
    expected = np.fft.fftn(x, axes=axes, norm="ortho").real
    _allclose(dft_real(torch.as_tensor(x), axes), expected)
    # the map is symmetric: the gradient of <y, g> by x is the same map of g
    g = np.random.default_rng(seed + 1).standard_normal(shape)
    leaf = torch.as_tensor(x).requires_grad_()
    (gradient,) = torch.autograd.grad(dft_real(leaf, axes), leaf, torch.as_tensor(g))
    _allclose(gradient, np.fft.fftn(g, axes=axes, norm="ortho").real)


@some_examples
@given(size=sizes, channels=st.integers(1, 4), seed=seeds)
@example(size=(1, 1), channels=1, seed=0)
@example(size=(2, 2), channels=1, seed=0)
@example(size=(32, 31), channels=2, seed=0)
def test_dft_complex_is_numpys_and_its_gradient_the_transpose(size: tuple[int, int], channels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((2, channels, *size))
    spectrum = np.fft.fft2(x, norm="ortho")
    leaf = torch.as_tensor(x).requires_grad_()
    y = dft_complex(leaf)
    _allclose(y.detach(), np.concatenate([spectrum.real, spectrum.imag], 1))
    # the transpose of x -> [Re F x, Im F x] is (g_re, g_im) -> Re F* (g_re + i g_im)
    g = generator.standard_normal((2, 2 * channels, *size))
    (gradient,) = torch.autograd.grad(y, leaf, torch.as_tensor(g))
    _allclose(gradient, np.fft.ifft2(g[:, :channels] + 1j * g[:, channels:], norm="ortho").real)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2), (4, 4)])
def test_dfts_can_be_differentiated_twice(size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(dft_real, x)
    assert torch.autograd.gradgradcheck(dft_complex, x)


# mixers


@few_examples
@given(size=sizes, seed=seeds)
@example(size=(16, 12), seed=0)
def test_spectral_mixers_are_numpys(size: tuple[int, int], seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 8, *size))
    spectrum = np.fft.fft2(x, norm="ortho")
    with default_dtype(torch.float64):
        _allclose(
            create_mixer("fft_complex", 8, size)(torch.as_tensor(x)),
            np.concatenate([spectrum.real, spectrum.imag], 1),
        )
        _allclose(
            create_mixer("fft_real", 8, size)(torch.as_tensor(x)),
            np.fft.fftn(x, axes=(1, 2, 3), norm="ortho").real,
        )


@few_examples
@given(size=sizes, seed=seeds)
@example(size=(16, 12), seed=0)
def test_dct_is_scipys(size: tuple[int, int], seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 8, *size))
    with default_dtype(torch.float64):
        y = create_mixer("dct", 8, size)(torch.as_tensor(x))
    _allclose(y, scipy.fft.dctn(x, axes=(2, 3), norm="ortho"))


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (4, 8), (16, 32)])
def test_hadamard_is_scipys_for_powers_of_two(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 8, *size))
    rows, columns = (scipy.linalg.hadamard(n) / n**0.5 for n in size)
    with default_dtype(torch.float64):
        mixer = create_mixer("hadamard", 8, size)
        y = mixer(torch.as_tensor(x))
        _allclose(y, rows @ x @ columns.T)
        _allclose(mixer(y), x)  # an involution


@pytest.mark.parametrize("size", [(12, 4), (4, 20), (24, 12)])
def test_hadamard_is_no_involution_for_other_sizes(size: tuple[int, int]) -> None:
    mixer = create_mixer("hadamard", 8, size)
    x = torch.randn(2, 8, *size)
    assert (mixer(mixer(x)) - x).norm() > 0.1 * x.norm()


@few_examples
@given(size=sizes, seed=seeds)
@example(size=(16, 12), seed=0)
def test_fft_complex_is_an_isometry(size: tuple[int, int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    with default_dtype(torch.float64):
        mixer = create_mixer("fft_complex", 8, size)
        x, z = (torch.as_tensor(generator.standard_normal((1, 8, *size))) for _ in range(2))
        for left, right in ((x, x), (x, z)):
            torch.testing.assert_close((mixer(left) * mixer(right)).sum(), (left * right).sum())


@pytest.mark.parametrize("name", ["dct", "hadamard"])
@pytest.mark.parametrize("size", [(1, 1), (1, 12), (4, 2), (8, 12)])
def test_separable_transforms_are_orthogonal(name: str, size: tuple[int, int]) -> None:
    with default_dtype(torch.float64):
        matrix = _matrix_of(create_mixer(name, 2, size), 2, size)
    _allclose(matrix @ matrix.mT, torch.eye(len(matrix), dtype=torch.float64))


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (4, 4), (3, 5)])
def test_fft_real_is_a_symmetric_map_of_about_half_rank(size: tuple[int, int]) -> None:
    with default_dtype(torch.float64):
        matrix = _matrix_of(create_mixer("fft_real", 8, size), 8, size)
    _allclose(matrix, matrix.mT)
    # what is left is the even half: one of each pair of opposite places, and those that are their own opposite
    own_opposite = math.prod(2 if n % 2 == 0 else 1 for n in (8, *size))
    assert torch.linalg.matrix_rank(matrix) == (len(matrix) + own_opposite) // 2


@pytest.mark.parametrize("size", [(4, 4), (3, 7)])
@pytest.mark.parametrize(
    "options", [{}, {"heads": 1}, {"heads": 8}, {"backend": "plain"}, {"positions": "none"}], ids=str
)
def test_attention_is_the_plain_formula_in_float64(size: tuple[int, int], options: dict) -> None:
    dim = 24
    with default_dtype(torch.float64):
        torch.manual_seed(0)
        mixer = create_mixer("attention", dim, size, **options)
        x = torch.randn(2, dim, *size)
    width = dim // mixer.heads
    weight, bias = mixer.qkv.weight.detach().numpy(), mixer.qkv.bias.detach().numpy()
    expected = np.empty((2, dim, math.prod(size)))
    for image in range(2):
        tokens = x[image].flatten(1).T.numpy()
        if options.get("positions") != "none":
            tokens = tokens + waves_by_hand(dim, size)
        for head in range(mixer.heads):
            q, k, v = (
                tokens @ weight[rows].T + bias[rows]
                for rows in (slice(start + head * width, start + (head + 1) * width) for start in (0, dim, 2 * dim))
            )
            scores = np.exp(q @ k.T / width**0.5)
            expected[image, head * width : (head + 1) * width] = (scores / scores.sum(1, keepdims=True) @ v).T
    _allclose(mixer(x).detach(), expected.reshape(2, dim, *size))


def waves_by_hand(dim: int, size: tuple[int, int]) -> np.ndarray:
    """(N, dim): Vaswani et al.'s sines and cosines, of the row and of the column in turn."""
    waves = np.empty((math.prod(size), dim))
    groups = math.ceil(dim / 4)
    for token, channel in np.ndindex(waves.shape):
        place = divmod(token, size[1])[channel % 4 // 2]
        angle = place / 10_000 ** (channel // 4 / groups)
        waves[token, channel] = math.cos(angle) if channel % 2 else math.sin(angle)
    return waves


@pytest.mark.parametrize("name", ["attention", "linear_attention", "performer"])
@pytest.mark.parametrize(("dim", "size"), [(24, (3, 7)), (7, (4, 4)), (8, (1, 5)), (2, (2, 2))], ids=str)
def test_attention_adds_the_places_of_its_tokens(name: str, dim: int, size: tuple[int, int]) -> None:
    with default_dtype(torch.float64):
        torch.manual_seed(0)
        told, untold = create_mixer(name, dim, size), create_mixer(name, dim, size, positions="none")
        x = torch.randn(2, dim, *size)
    untold.qkv.load_state_dict(told.qkv.state_dict())
    waves = torch.from_numpy(waves_by_hand(dim, size)).T.unflatten(1, size)
    _allclose(told(x).detach(), untold(x + waves).detach())


@pytest.mark.parametrize("name", ["attention", "linear_attention", "performer"])
def test_attention_refuses_unknown_positions_and_a_grid_that_it_was_not_built_for(name: str) -> None:
    with pytest.raises(MixerError, match=f"^{name} has no positions 'learned'; allowed: sincos, none$"):
        create_mixer(name, 16, (4, 4), positions="learned")
    with pytest.raises(MixerError, match="was built for inputs of 16 x 4 x 4"):
        create_mixer(name, 16, (4, 4))(torch.randn(1, 16, 8, 4))


@pytest.mark.parametrize("backend", ["auto", "plain"])
def test_attention_is_permutation_equivariant_without_positions(backend: str) -> None:
    with default_dtype(torch.float64):
        mixer = create_mixer("attention", 16, (5, 4), backend=backend, positions="none")
        x = torch.randn(2, 16, 20)
    order = torch.randperm(20)
    turned = mixer(x[:, :, order].unflatten(2, (5, 4))).flatten(2)
    _allclose(turned.detach(), mixer(x.unflatten(2, (5, 4))).flatten(2)[:, :, order].detach())


@few_examples
@given(size=sizes, seed=seeds)
def test_attention_backends_agree(size: tuple[int, int], seed: int) -> None:
    auto = build("attention", 32, size, seed)
    plain = build("attention(backend=plain)", 32, size, seed)
    x = torch.randn(2, 32, *size)
    assert_near(auto(x), plain(x).detach())


@pytest.mark.parametrize(
    ("name", "dim", "heads", "width"),
    [
        *[("attention", *of) for of in [(64, 4, 16), (48, 3, 16), (72, 3, 24), (40, 5, 8), (192, 12, 16), (7, 1, 7)]],
        *[("performer", *of) for of in [(64, 2, 32), (48, 2, 24), (16, 1, 16), (40, 5, 8), (192, 6, 32), (7, 1, 7)]],
    ],
)
def test_attention_chooses_heads_that_divide(name: str, dim: int, heads: int, width: int) -> None:
    mixer = create_mixer(name, dim, (2, 2))
    assert mixer.heads == heads == dim // width


@pytest.mark.parametrize("options", [{"heads": 3}, {"heads": 0}, {"heads": -1}, {"heads": 2.0}, {"heads": "two"}])
def test_attention_refuses_heads_that_do_not_divide(options: dict) -> None:
    with pytest.raises(MixerError, match=r"allowed: 1, 2, 4, 8, 16$"):
        create_mixer("attention", 16, (2, 2), **options)


def test_attention_refuses_an_unknown_backend() -> None:
    with pytest.raises(MixerError, match=r"no backend 'quick'; allowed: auto, torch, flash"):
        create_mixer("attention", 16, (2, 2), backend="quick")


@pytest.mark.parametrize("size", [(32, 32), (16, 32)])
def test_random_matrix_is_normal_with_variance_one_over_n(size: tuple[int, int]) -> None:
    n = math.prod(size)
    matrix = create_mixer("random", 8, size).matrix.double()
    assert matrix.shape == (n, n)
    # the standard error of the variance of n^2 normal numbers is sqrt(2) / n of it, that of their mean n^-1.5
    assert abs(matrix.var() * n - 1) < 5 * 2**0.5 / n
    assert abs(matrix.mean()) < 5 * n**-1.5
    assert scipy.stats.kstest(matrix.flatten()[:20000].numpy() * n**0.5, "norm").pvalue > 1e-4


def test_random_matrix_is_another_for_another_seed_and_untouched_by_the_global_one() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, same, other = (create_mixer("random", 8, (8, 8), seed=seed).matrix for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, same)
    correlation = torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1]
    assert abs(correlation) < 5 / 64
    with default_dtype(torch.float64):  # the numbers do not depend on the precision
        assert torch.equal(create_mixer("random", 8, (8, 8), seed=0).matrix, first.double())


def test_conv1x1_is_the_identity() -> None:
    x = torch.randn(2, 8, 3, 5)
    assert torch.equal(create_mixer("conv1x1", 8, (3, 5))(x), x)
