"""What mixers state of themselves: isometries, ranks, symmetries; and equality with scipy and numpy."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.special
import torch
import torch.nn.functional as F
from hypothesis import example, given
from mixer_checks import (
    assert_matches_reference,
    assert_near,
    build,
    build_if_defined,
    default_dtype,
    few_examples,
    seeds,
    sizes,
)
from torch import Tensor

from mixers import Mixer, MixerNet, create_mixer, list_mixers
from mixers.families.attention import LinearAttention, Performer
from mixers.families.dense import Linear, RandomOrthogonal
from mixers.families.filters import AFNO, GlobalFilter
from mixers.families.local import ConvMixer, Pool, Shift
from mixers.families.mlp import GMLP, MLPMixer
from mixers.families.separable import LinearSeparable, RandomSeparable
from mixers.families.spectral import FFTImag, FFTMagPhase, FFTPairs, FFTScrambled, Hartley
from mixers.registry import mixer_entry

ISOMETRIES = [
    *("fft_complex", "fft_scrambled", "fft_pairs", "hartley"),
    *("dct", "hadamard", "random_orthogonal", "conv1x1"),
]
NOT_LINEAR = ["fft_magphase", "attention", "linear_attention", "performer", "mlp_mixer", "gmlp", "afno", "conv_mixer"]
AFFINE = ["conv_mixer(activation=none)"]  # linear but for its bias
SAME_FOR_ALL_CHANNELS = [
    *("fft_real_2d", "fft_imag", "hartley", "dct", "hadamard", "random_separable", "linear_separable"),
    *("random", "random_orthogonal", "linear", "mlp_mixer", "conv1x1", "pool"),
]
WITHOUT_POSITIONS = [f"{name}(positions=none)" for name in ("attention", "linear_attention", "performer")]
PERMUTATION = [*WITHOUT_POSITIONS, "conv1x1"]  # the tokens' places do not matter
CYCLIC_SHIFT = [*PERMUTATION, "global_filter"]
REFLECTION = [*PERMUTATION, "pool"]
INNER_SHIFT = [*PERMUTATION, "pool", "shift", "conv_mixer"]  # as long as nothing comes near the border

every_size = pytest.mark.parametrize("size", [(4, 8), (16, 12), (1, 12), (5, 7)], ids=str)
even_size = pytest.mark.parametrize("size", [(4, 8), (16, 12)], ids=str)


def _exact(name: str, dim: int, size: tuple[int, int], seed: int = 0) -> Mixer:
    with default_dtype(torch.float64):
        mixer = build_if_defined(name, dim, size, seed)
        if mixer is None:
            pytest.skip(f"{name} does not exist at {size}")
        for parameter in mixer.parameters():  # far from where they start, so that none hides behind a zero
            torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def _images(dim: int, size: tuple[int, int], batch: int = 2) -> Tensor:
    return torch.randn(batch, dim, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def _matrix_of(mixer: Mixer) -> Tensor:
    """Of a linear mixer, on flattened (C, H, W), one column per entry of the input."""
    n = mixer.dim * mixer.tokens
    with torch.no_grad():
        return mixer(torch.eye(n, dtype=torch.float64).reshape(n, mixer.dim, *mixer.size)).flatten(1).mT


def _frequencies_up_to_sign(size: tuple[int, int]) -> int:
    own_mirror = math.prod(2 if n % 2 == 0 else 1 for n in size)
    return (math.prod(size) + own_mirror) // 2


# what is kept and what is lost


@pytest.mark.parametrize("name", ISOMETRIES)
@every_size
def test_isometries(name: str, size: tuple[int, int]) -> None:
    mixer = _exact(name, 8, size)
    if name == "random_orthogonal":  # drawn in float32
        mixer.matrix = mixer.matrix.double()
    matrix = _matrix_of(mixer)
    tolerance = 1e-5 if name == "random_orthogonal" else 1e-11
    torch.testing.assert_close(
        matrix.mT @ matrix, torch.eye(matrix.shape[1], dtype=torch.float64), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("name", sorted(set(list_mixers()) - set(ISOMETRIES) - set(NOT_LINEAR) - set(AFFINE)))
def test_the_others_are_no_isometries(name: str) -> None:
    matrix = _matrix_of(_exact(name, 8, (4, 4)))
    difference = (matrix.mT @ matrix - torch.eye(matrix.shape[1], dtype=torch.float64)).abs().max()
    assert difference > 1e-2, f"{name} is one: ISOMETRIES should say so"


@pytest.mark.parametrize("name", ["hartley", "conv1x1", "hadamard", "fft_real"])
@pytest.mark.parametrize("size", [(4, 8), (16, 8), (1, 4)], ids=str)
def test_involutions(name: str, size: tuple[int, int]) -> None:
    mixer, x = _exact(name, 8, size), _images(8, size)
    again = mixer(mixer(x))
    expected = x if name != "fft_real" else (x + _mirrored(x)) / 2  # it keeps the even half
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-12)


def _mirrored(x: Tensor) -> Tensor:
    return x.flip(1, 2, 3).roll((1, 1, 1), (1, 2, 3))


@every_size
def test_hartley_is_its_own_inverse_at_any_size(size: tuple[int, int]) -> None:
    mixer, x = _exact("hartley", 8, size), _images(8, size)
    torch.testing.assert_close(mixer(mixer(x)), x, rtol=0, atol=1e-12)


@every_size
def test_the_real_and_the_imaginary_part_split_the_rank_between_them(size: tuple[int, int]) -> None:
    kept = _frequencies_up_to_sign(size)
    for name, rank in (("fft_real_2d", kept), ("fft_imag", math.prod(size) - kept)):
        matrix = _matrix_of(_exact(name, 1, size))
        assert torch.linalg.matrix_rank(matrix, atol=1e-9) == rank, name
        torch.testing.assert_close(matrix, matrix.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(list_mixers()) - set(NOT_LINEAR)))
def test_linear_maps_are_linear(name: str) -> None:
    mixer, x = _exact(name, 8, (4, 8)), _images(8, (4, 8), 3)
    offset = mixer(torch.zeros_like(x[:1]))
    assert (offset == 0).all() or name in AFFINE
    combined = mixer(2 * x[:1] - 3 * x[1:2] + 0.5 * x[2:])
    parts = mixer(x) - offset
    torch.testing.assert_close(combined - offset, 2 * parts[:1] - 3 * parts[1:2] + 0.5 * parts[2:], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_the_others_are_not(name: str) -> None:
    mixer, x = _exact(name, 8, (4, 8)), _images(8, (4, 8))
    parts = mixer(x)
    assert (mixer(x[:1] + x[1:]) - parts[:1] - parts[1:]).abs().max() > 1e-3


# symmetries


@pytest.mark.parametrize("name", SAME_FOR_ALL_CHANNELS)
@even_size
def test_channels_share_the_map(name: str, size: tuple[int, int]) -> None:
    mixer, x = _exact(name, 8, size), _images(8, size)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(mixer(x[:, order]), mixer(x)[:, order], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", PERMUTATION)
@every_size
def test_permutations_of_the_tokens_go_through(name: str, size: tuple[int, int]) -> None:
    mixer, x = _exact(name, 8, size), _images(8, size)
    order = torch.randperm(math.prod(size), generator=torch.Generator().manual_seed(1))
    moved = mixer(x.flatten(2)[:, :, order].unflatten(2, size))
    torch.testing.assert_close(moved, mixer(x).flatten(2)[:, :, order].unflatten(2, size), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CYCLIC_SHIFT)
@every_size
def test_cyclic_shifts_go_through(name: str, size: tuple[int, int]) -> None:
    mixer, x = _exact(name, 8, size), _images(8, size)
    torch.testing.assert_close(mixer(x.roll((1, 3), (2, 3))), mixer(x).roll((1, 3), (2, 3)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", sorted(set(list_mixers()) - set(CYCLIC_SHIFT)))
def test_the_others_see_a_cyclic_shift(name: str) -> None:
    mixer, x = _exact(name, 8, (4, 8)), _images(8, (4, 8))
    difference = (mixer(x.roll((1, 3), (2, 3))) - mixer(x).roll((1, 3), (2, 3))).abs().max()
    assert difference > 1e-3, f"{name} sees none: CYCLIC_SHIFT should say so"


@pytest.mark.parametrize("name", REFLECTION)
@every_size
def test_reflections_go_through(name: str, size: tuple[int, int]) -> None:
    mixer, x = _exact(name, 8, size), _images(8, size)
    for axes in ((2,), (3,), (2, 3)):
        torch.testing.assert_close(mixer(x.flip(axes)), mixer(x).flip(axes), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", INNER_SHIFT)
def test_shifts_go_through_away_from_the_border(name: str) -> None:
    mixer = _exact(name, 8, (16, 16))
    x = torch.zeros(1, 8, 16, 16, dtype=torch.float64)
    x[:, :, 5:9, 4:8] = _images(8, (4, 4), 1)
    offset = mixer(torch.zeros_like(x))
    here, moved = (mixer(x) - offset)[:, :, 2:12, 1:11], (mixer(x.roll((2, 3), (2, 3))) - offset)[:, :, 4:14, 4:14]
    torch.testing.assert_close(moved, here, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["fft_magphase", "fft_complex"])
@every_size
def test_magnitudes_do_not_move_with_a_cyclic_shift(name: str, size: tuple[int, int]) -> None:
    mixer, x = _exact(name, 8, size), _images(8, size)
    outputs = [mixer(x), mixer(x.roll((1, 3), (2, 3)))]
    sizes_of = [
        y[:, :8] if name == "fft_magphase" else torch.hypot(*y.chunk(2, 1))  # [abs, angle] or [real, imaginary]
        for y in outputs
    ]
    torch.testing.assert_close(*sizes_of, rtol=0, atol=1e-11)


# other people's code


@few_examples
@given(size=sizes, seed=seeds)
@example(size=(1, 1), seed=0)
@example(size=(8, 8), seed=0)
@example(size=(12, 20), seed=0)
def test_the_spectral_family_is_numpys(size: tuple[int, int], seed: int) -> None:
    x = torch.randn(2, 4, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    spectrum = np.fft.fft2(x.numpy(), norm="ortho")
    pairs = np.fft.fft2(x[:, 0::2].numpy() + 1j * x[:, 1::2].numpy(), norm="ortho")
    expected = {
        "fft_real_2d": spectrum.real,
        "fft_imag": spectrum.imag,
        "hartley": spectrum.real - spectrum.imag,
        "fft_pairs": np.stack([pairs.real, pairs.imag], 2).reshape(x.shape),
        "fft_scrambled": np.stack([spectrum.real, spectrum.imag], -1).reshape(2, 8, *size),
    }
    for name, value in expected.items():
        torch.testing.assert_close(_exact(name, 4, size)(x), torch.from_numpy(value.copy()), rtol=0, atol=1e-11)
    magnitude, phase = _exact("fft_magphase", 4, size)(x).chunk(2, 1)
    torch.testing.assert_close(magnitude, torch.from_numpy(np.abs(spectrum)), rtol=0, atol=1e-11)
    # where the magnitude is not next to nothing, the phase is numpy's up to a turn
    turns = (phase.numpy() - np.angle(spectrum)) / (2 * np.pi)
    assert np.abs((turns - turns.round())[np.abs(spectrum) > 1e-6]).max(initial=0) < 1e-8
    assert phase.abs().max() <= math.pi


@pytest.mark.parametrize("size", [(4, 8), (7, 5), (1, 4)], ids=str)
def test_the_phase_of_a_frequency_that_is_its_own_mirror_is_zero_or_pi(size: tuple[int, int]) -> None:
    phase = _exact("fft_magphase", 4, size)(_images(4, size))[:, 4:]
    rows, columns = ([0, n // 2] if n % 2 == 0 else [0] for n in size)
    own = phase[:, :, rows][..., columns]
    assert ((own == 0) | (own == math.pi)).all()
    assert not torch.signbit(own).any()


def test_the_gradient_of_magnitude_and_phase_is_finite_for_a_blank_image() -> None:
    x = torch.zeros(1, 4, 4, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(build("fft_magphase", 4, (4, 6))(x).sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [(6, 9), (1, 5), (3, 3)], ids=str)
def test_local_mixers_are_scipys(size: tuple[int, int]) -> None:
    x = _images(4, size, 1)
    conv = _exact("conv_mixer(activation=none)", 4, size)
    for channel in range(4):
        kernel = conv.conv.weight[channel, 0].detach().numpy()
        expected = scipy.signal.correlate2d(x[0, channel].numpy(), kernel, mode="same")
        torch.testing.assert_close(
            conv(x)[0, channel], torch.from_numpy(expected) + conv.conv.bias[channel], rtol=0, atol=1e-12
        )
    box = [1, 1, 3, 3]
    total = scipy.ndimage.uniform_filter(x.numpy(), box, mode="constant")
    share = scipy.ndimage.uniform_filter(np.ones_like(x.numpy()), box, mode="constant")
    torch.testing.assert_close(
        _exact("pool", 4, size)(x), torch.from_numpy(total / share - x.numpy()), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dim", [8, 64])
def test_shift_is_scipys(dim: int) -> None:
    x = _images(dim, (5, 7), 1)
    y = _exact("shift", dim, (5, 7))(x)
    group = max(1, dim // 12)
    steps = [(0, -1), (0, 1), (-1, 0), (1, 0)]
    for channel in range(dim):
        step = steps[channel // group] if channel < 4 * group else (0, 0)
        expected = scipy.ndimage.shift(x[0, channel].numpy(), step, order=0, mode="constant")
        torch.testing.assert_close(y[0, channel], torch.from_numpy(expected), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(6, 9), (1, 5), (8, 8)], ids=str)
def test_filters_are_numpys(size: tuple[int, int]) -> None:
    x = _images(8, size)
    half = np.fft.rfft2(x.numpy(), norm="ortho")
    mixer = _exact("global_filter", 8, size)
    kernel = mixer.filter.detach().numpy()
    expected = np.fft.irfft2(half * (kernel[..., 0] + 1j * kernel[..., 1]), s=size, norm="ortho")
    torch.testing.assert_close(mixer(x), torch.from_numpy(expected), rtol=0, atol=1e-11)

    mixer = _exact("afno", 8, size)
    w1, b1, w2, b2 = (p.detach().numpy() @ np.array([1, 1j]) for p in mixer.parameters())
    blocks = half.reshape(2, 8, 1, *half.shape[2:])  # eight blocks of one channel

    def both(function, values: np.ndarray) -> np.ndarray:
        return function(values.real) + 1j * function(values.imag)

    hidden = both(lambda v: np.maximum(v, 0), np.einsum("kio,bkixy->bkoxy", w1, blocks) + b1.reshape(1, 8, 1, 1, 1))
    out = np.einsum("kio,bkixy->bkoxy", w2, hidden) + b2.reshape(1, 8, 1, 1, 1)
    out = both(lambda v: np.sign(v) * np.maximum(np.abs(v) - 0.01, 0), out).reshape(half.shape)
    expected = x.numpy() + np.fft.irfft2(out, s=size, norm="ortho")
    torch.testing.assert_close(mixer(x), torch.from_numpy(expected), rtol=0, atol=1e-11)


def test_afno_blocks_are_the_diagonal_of_one_matrix() -> None:
    with default_dtype(torch.float64):
        torch.manual_seed(0)
        mixer = create_mixer("afno(blocks=2)", 8, (3, 4))
        assert_matches_reference(mixer, torch.randn(2, 8, 3, 4))


def test_perceptrons_are_numpys() -> None:
    x = _images(8, (3, 5))
    tokens = x.flatten(2).numpy()
    mixer = _exact("mlp_mixer", 8, (3, 5))
    w1, b1, w2, b2 = (p.detach().numpy() for p in mixer.parameters())
    hidden = tokens @ w1.T + b1
    expected = (hidden * scipy.special.ndtr(hidden)) @ w2.T + b2
    torch.testing.assert_close(mixer(x), torch.from_numpy(expected).reshape(x.shape), rtol=0, atol=1e-11)

    mixer = _exact("gmlp", 8, (3, 5))
    expand, shift, gain, bias, weight, offset = (p.detach().numpy() for p in mixer.parameters())
    wide = expand @ tokens + shift[:, None]
    kept, gate = np.split(wide * scipy.special.ndtr(wide), 2, 1)
    gate = (gate - gate.mean(1, keepdims=True)) / np.sqrt(gate.var(1, keepdims=True) + 1e-5)
    expected = kept * ((gate * gain[:, None] + bias[:, None]) @ weight.T + offset)
    torch.testing.assert_close(mixer(x), torch.from_numpy(expected).reshape(2, 8, 3, 5), rtol=0, atol=1e-11)


def test_gmlp_without_a_split_gates_all_channels() -> None:
    with default_dtype(torch.float64):
        mixer = create_mixer("gmlp(split=False)", 8, (3, 5))
        assert mixer.out_channels == 16 and mixer.flops() == 2 * 8 * 16 * 15 + 2 * 16 * 15**2
        assert_matches_reference(mixer, torch.randn(2, 8, 3, 5))


def test_gmlp_starts_as_what_its_expansion_keeps() -> None:
    """As the paper starts it: the gate is 1 but for little, and what it multiplies is not."""
    mixer, x = build("gmlp", 64, (8, 8)), torch.randn(2, 64, 8, 8)
    gate = mixer.gate(torch.randn(64, 64))
    kept = F.gelu(torch.einsum("ec,bchw->behw", mixer.expand.weight[:64], x) + mixer.expand.bias[:64, None, None])
    assert (gate - 1).abs().max() < 0.1
    torch.testing.assert_close(mixer(x), kept, rtol=0.1, atol=1e-6)


def test_a_net_of_gmlp_has_about_attentions_parameters() -> None:
    counts = {m: sum(p.numel() for p in MixerNet(m).parameters()) for m in ("gmlp", "attention")}
    assert abs(counts["gmlp"] / counts["attention"] - 1) < 0.1
    doc = mixer_entry("gmlp").cls.__doc__ or ""
    assert all(f"{count:,}" in doc for count in counts.values())


@pytest.mark.parametrize("training", [False, True])
def test_conv_mixer_has_its_papers_gelu_and_batch_norm(training: bool) -> None:
    mixer, x = _exact("conv_mixer", 8, (4, 5)).train(training), _images(8, (4, 5))
    mixer.norm.running_mean.uniform_(-1, 1)
    mixer.norm.running_var.uniform_(0.5, 2)
    mean, var = mixer.norm.running_mean.numpy().copy(), mixer.norm.running_var.numpy().copy()
    y = mixer.conv(x).detach().numpy()
    y = y * scipy.special.ndtr(y)
    if training:
        mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3))
    expected = (y - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5)
    gain, bias = (p.detach().numpy()[:, None, None] for p in (mixer.norm.weight, mixer.norm.bias))
    torch.testing.assert_close(mixer(x), torch.from_numpy(expected * gain + bias), rtol=0, atol=1e-11)
    torch.testing.assert_close(mixer.reference(x), mixer(x), rtol=0, atol=1e-11)


def test_conv_mixer_has_no_norm_where_it_is_left_out() -> None:
    assert {name for name, _ in create_mixer("conv_mixer(activation=none)", 8, (4, 4)).named_parameters()} == {
        "conv.weight",
        "conv.bias",
    }


def test_pool_hands_on_the_mean_where_the_token_is_not_taken_off() -> None:
    x = _images(8, (3, 5))
    mean, difference = (create_mixer(f"pool(subtract={subtract})", 8, (3, 5)) for subtract in (False, True))
    torch.testing.assert_close(mean(x), difference(x) + x)
    torch.testing.assert_close(mean(torch.ones_like(x)), torch.ones_like(x))
    assert_matches_reference(mean, x)


def test_performer_comes_near_attention_with_many_features() -> None:
    x = _images(8, (4, 4))
    errors = []
    with default_dtype(torch.float64), torch.no_grad():
        exact = build("attention(positions=none)", 8, (4, 4))
        for features in (64, 4096):
            squares = []
            for seed in range(8):
                mixer = create_mixer("performer(positions=none)", 8, (4, 4), features=features, seed=seed)
                mixer.qkv.load_state_dict(exact.qkv.state_dict())
                squares.append(float((mixer(x) - exact(x)).square().mean() / exact(x).square().mean()))
            errors.append(math.sqrt(sum(squares) / len(squares)))
    assert errors[1] < errors[0] / 3  # the error of a mean of 64 times as many falls by about 8
    assert errors[1] < 0.05


def test_performer_does_not_overflow() -> None:
    x = 100 * torch.randn(1, 16, 4, 4)
    mixer = build("performer", 16, (4, 4))
    torch.nn.init.normal_(mixer.qkv.weight)
    y = mixer(x)
    (gradient,) = torch.autograd.grad(y.sum(), mixer.qkv.weight)
    assert y.isfinite().all() and gradient.isfinite().all()


def test_random_directions_are_orthogonal_in_blocks_and_as_long_as_gaussian_vectors() -> None:
    directions = create_mixer("performer", 64, (2, 2), heads=1, features=4096).directions.double()
    for block in directions.split(64):
        gram = block @ block.mT
        assert (gram - gram.diagonal().diag()).abs().max() < 1e-3
    squared = directions.square().sum(1)  # chi-squared with 64 degrees: mean 64, variance 128
    assert abs(squared.mean() - 64) < 4 * math.sqrt(128 / 4096)
    assert squared.var() == pytest.approx(128, rel=0.15)


def test_random_orthogonal_matrices_have_no_preferred_sign() -> None:
    traces = [create_mixer("random_orthogonal", 8, (4, 4), seed=seed).matrix.trace() for seed in range(400)]
    values = torch.stack(traces)  # Haar's measure: mean 0, variance 1
    assert abs(values.mean()) < 4 / math.sqrt(400)
    assert values.var() == pytest.approx(1, rel=0.35)


# bad input


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("conv_mixer(kernel=4)", "kernel is 4; allowed: odd"),
        ("conv_mixer(kernel=0)", "kernel is 0; allowed: odd"),
        ("pool(kernel=1)", "zero everywhere; allowed: odd numbers from 3"),
        ("pool(kernel=1,subtract=False)", "no mixing; allowed: odd numbers from 3"),
        ("pool(subtract=1)", "subtract is 1; allowed: True, False"),
        ("conv_mixer(activation=relu)", "activation is 'relu'; allowed: gelu, none"),
        ("gmlp(expansion=0)", "expansion is 0; allowed"),
        ("mlp_mixer(hidden=0)", "hidden is 0; allowed"),
        ("gmlp(split=2)", "split is 2; allowed: True, False"),
        ("afno(blocks=3)", "3 blocks; allowed: 1, 2, 4, 8"),
        ("afno(shrink=-1)", "shrink is -1; allowed"),
        ("performer(features=0)", "features is 0; allowed"),
        ("performer(heads=3)", "performer cannot split dim 8 into 3 heads; allowed: 1, 2, 4, 8"),
        ("linear_attention(heads=3)", "into 3 heads; allowed: 1, 2, 4, 8"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        create_mixer(spec, 8, (4, 4))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("spec", "dim"), [("fft_pairs", 7), ("gmlp(expansion=1)", 7), ("shift", 3)])
def test_widths_that_a_mixer_cannot_have_are_unsupported(spec: str, dim: int) -> None:
    with pytest.raises(ValueError, match=f"{dim}"):
        create_mixer(spec, dim, (4, 4))


# compilers


@pytest.mark.parametrize("name", list_mixers())
@pytest.mark.parametrize("size", [(4, 8), (16, 12)], ids=str)
def test_export_gives_the_same_program(name: str, size: tuple[int, int]) -> None:
    mixer, x = build(name, 8, size), torch.randn(2, 8, *size)
    exported = torch.export.export(mixer, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)).module()
    for inputs in (x, torch.randn(5, 8, *size)):
        assert_near(exported(inputs), mixer(inputs).double())


@pytest.mark.parametrize("name", list_mixers())
def test_a_compiler_takes_a_mixer_as_a_whole(name: str) -> None:
    mixer, x = build(name, 8, (16, 12)), torch.randn(2, 8, 16, 12)
    torch._dynamo.reset()
    assert_near(torch.compile(mixer, fullgraph=True, backend="eager")(x), mixer(x).double())


def _value_and_gradient(function, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = function(x)
    return y.detach(), torch.autograd.grad(y.square().sum(), x)[0]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler for torch.compile")
@pytest.mark.parametrize("name", list_mixers())
def test_a_compiled_mixer_is_the_same(name: str) -> None:
    mixer, x = build(name, 8, (16, 12)), torch.randn(2, 8, 16, 12)
    torch._dynamo.reset()
    expected, expected_gradient = _value_and_gradient(mixer, x)
    value, gradient = _value_and_gradient(torch.compile(mixer), x)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-3)


# a test of the tests: one broken twin for each family's new members


class _Unsigned(FFTImag):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class _Plus(Hartley):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-1).roll(1, -1))


class _Alone(FFTPairs):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.roll(1, 1)).roll(-1, 1)


class _WholeTurn(FFTMagPhase):
    def forward(self, x: Tensor) -> Tensor:
        magnitude, phase = super().forward(x).chunk(2, 1)
        return torch.cat([magnitude, phase % (2 * math.pi)], 1)


class _Unscrambled(FFTScrambled):
    def forward(self, x: Tensor) -> Tensor:
        return (
            super().forward(x).reshape(len(x), self.dim, *self.size, 2).movedim(-1, 1).reshape(len(x), -1, *self.size)
        )


class _Turned(RandomSeparable):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-1))


class _RowsAlone(LinearSeparable):
    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(self.rows, x) + 0 * self.columns.sum()


class _Transposed(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x.flatten(2), self.matrix).unflatten(2, self.size)


class _TransposedToo(RandomOrthogonal):
    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x.flatten(2), self.matrix).unflatten(2, self.size)


class _Shifted(ConvMixer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.roll(1, 3))


class _PaddingCounts(Pool):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x, self.kernel, 1, self.kernel // 2) - x


class _Cyclic(Shift):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        y[:, : self.group] = x[:, : self.group].roll(-1, 3)
        return y


class _Relu(MLPMixer):
    def forward(self, x: Tensor) -> Tensor:
        return self.contract(self.expand(x.flatten(2)).relu()).unflatten(2, self.size)


class _HalvesExchanged(GMLP):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.roll(self.dim // 2, 1))


class _Conjugate(GlobalFilter):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-2, -1).roll((1, 1), (-2, -1))).flip(-2, -1).roll((1, 1), (-2, -1))


class _NoResidual(AFNO):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - x


class _NotNormalised(LinearAttention):
    def forward(self, x: Tensor) -> Tensor:
        return 1.01 * super().forward(x)


class _OneShift(Performer):
    def forward(self, x: Tensor) -> Tensor:
        self.directions = self.directions.roll(1, 1)
        y = super().forward(x)
        self.directions = self.directions.roll(-1, 1)
        return y


@pytest.mark.parametrize(
    "twin",
    [
        *(_Unsigned, _Plus, _Alone, _WholeTurn, _Unscrambled, _Turned, _RowsAlone, _Transposed, _TransposedToo),
        *(_Shifted, _PaddingCounts, _Cyclic, _Relu, _HalvesExchanged, _Conjugate, _NoResidual, _NotNormalised),
        _OneShift,
    ],
)
def test_the_comparison_with_the_reference_sees_a_broken_twin(twin: type[Mixer]) -> None:
    with default_dtype(torch.float64):
        x = torch.randn(2, 16, 5, 3, generator=torch.Generator().manual_seed(0))
        torch.manual_seed(0)
        assert_matches_reference(twin.__mro__[1](16, (5, 3)), x)
        torch.manual_seed(0)
        with pytest.raises(AssertionError, match="output"):
            assert_matches_reference(twin(16, (5, 3)), x)
