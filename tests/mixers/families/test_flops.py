"""FLOPs against closed forms written down here, and against what PyTorch's own counter sees."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mixers import create_mixer, list_mixers
from mixers.registry import mixer_entry

HEAD = {8: 8, 16: 16, 24: 24, 64: 32, 128: 32}  # width of a head by dim
# of C channels and N tokens; 2 per multiply-add
CLOSED_FORMS: dict[str, Callable[[int, int], float]] = {
    "fft_complex": lambda c, n: 2.5 * c * n * math.log2(n),
    "fft_real": lambda c, n: 2.5 * c * n * math.log2(c * n),
    "dct": lambda c, n: 2.5 * c * n * math.log2(n),
    "hadamard": lambda c, n: c * n * math.log2(n),
    "random": lambda c, n: 2 * c * n * n,
    "attention": lambda c, n: 6 * n * c * c + 4 * n * n * c,
    "conv1x1": lambda c, n: 0,
    "shift": lambda c, n: 0,
    "conv_mixer": lambda c, n: 2 * 25 * c * n,
    "pool": lambda c, n: 9 * c * n,
    "linear": lambda c, n: 2 * c * n * n,
    "random_orthogonal": lambda c, n: 2 * c * n * n,
    **dict.fromkeys(("random_fnet", "linear_fnet"), lambda c, n: 2 * c * n * n + 2 * c * c * n),
    "mlp_mixer": lambda c, n: 2 * c * c * n,
    "gmlp": lambda c, n: 4 * c * c * n + 2 * c * n * n,
    "global_filter": lambda c, n: 5 * c * n * math.log2(n) + 3 * c * n,
    "afno": lambda c, n: 5 * c * n * math.log2(n) + n * c * c,
    "linear_attention": lambda c, n: 6 * n * c * c + 4 * n * c * HEAD[c] + 2 * n * c,
    "performer": lambda c, n: (
        6 * n * c * c + (8 * n * c + 2 * n * c // HEAD[c]) * max(1, int(HEAD[c] * math.log(HEAD[c])))
    ),
    **dict.fromkeys(
        ("fft_real_2d", "fft_imag", "hartley", "fft_pairs", "fft_magphase", "fft_scrambled"),
        lambda c, n: 2.5 * c * n * math.log2(n),
    ),
}
IN_ONE_ROW: dict[str, Callable[[int, int], float]] = {  # where a kernel is 1 x k
    "conv_mixer": lambda c, n: 2 * 5 * c * n,
    "pool": lambda c, n: 3 * c * n,
}
closed_forms = pytest.mark.parametrize("name", CLOSED_FORMS)
every_mixer = pytest.mark.parametrize("name", list_mixers())

# where they are not 0: growth by fourfold N, from 32 x 32 tokens at 64 channels, and by twofold C
GROWTH_WITH_TOKENS = {
    "fft_complex": 4 * 12 / 10,
    "fft_real": 4 * 18 / 16,
    "dct": 4 * 12 / 10,
    "hadamard": 4 * 12 / 10,
    "random": 16,
    "attention": (4 * 6 * 64 + 16 * 4 * 1024) / (6 * 64 + 4 * 1024),
    "linear": 16,
    "linear_fnet": (16 * 1024 + 4 * 64) / (1024 + 64),
    "gmlp": (4 * 4 * 64 + 16 * 2 * 1024) / (4 * 64 + 2 * 1024),
    "random_separable": 8,
    "linear_separable": 8,
    "fft_pairs": 4 * 12 / 10,
    "linear_attention": 4,
    "performer": 4,
    "conv_mixer": 4,
}
GROWTH_WITH_CHANNELS = {
    "fft_complex": 2,
    "fft_real": 2 * 17 / 16,
    "dct": 2,
    "hadamard": 2,
    "random": 2,
    "attention": (4 * 6 * 64 + 2 * 4 * 1024) / (6 * 64 + 4 * 1024),
    "linear": 2,
    "linear_fnet": (2 * 1024 + 4 * 64) / (1024 + 64),
    "gmlp": (4 * 4 * 64 + 2 * 2 * 1024) / (4 * 64 + 2 * 1024),
    "random_separable": 2,
    "linear_separable": 2,
    "fft_pairs": 2,
    "linear_attention": (4 * 6 * 64 + 2 * (4 * 32 + 2)) / (6 * 64 + 4 * 32 + 2),
    "performer": (4 * 6 * 64 + 2 * (8 + 2 / 32) * 110) / (6 * 64 + (8 + 2 / 32) * 110),
    "conv_mixer": 2,
}


def _closed_form(name: str, size: tuple[int, int]) -> Callable[[int, int], float]:
    return IN_ONE_ROW.get(name, CLOSED_FORMS[name]) if size[0] == 1 else CLOSED_FORMS[name]


@closed_forms
@pytest.mark.parametrize("dim", [8, 16, 64])
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (4, 2), (8, 8), (16, 32)])
def test_flops_are_the_closed_form_exactly(name: str, dim: int, size: tuple[int, int]) -> None:
    assert create_mixer(name, dim, size).flops() == _closed_form(name, size)(dim, math.prod(size))


@pytest.mark.parametrize("name", [name for name in CLOSED_FORMS if name != "hadamard"])
@pytest.mark.parametrize("size", [(7, 11), (1, 13), (12, 5)])
def test_flops_are_the_closed_form_at_sizes_that_are_no_powers_of_two(name: str, size: tuple[int, int]) -> None:
    expected = _closed_form(name, size)(24, math.prod(size))
    assert abs(create_mixer(name, 24, size).flops() - expected) <= 0.5


@pytest.mark.parametrize(
    ("size", "steps"),
    [((12, 1), 11), ((20, 4), 19 + 2), ((24, 12), 1 + 11 + 11), ((56, 2), 1 + 27 + 1), ((48, 40), 2 + 11 + 1 + 19)],
)
def test_hadamard_flops_are_butterflies_and_a_product_with_paleys_matrix(size: tuple[int, int], steps: int) -> None:
    # m - 1 additions per entry for a matrix of signs of order m, one per entry for each doubling
    assert create_mixer("hadamard", 8, size).flops() == 8 * math.prod(size) * steps


@pytest.mark.parametrize("name", GROWTH_WITH_TOKENS)
def test_flops_grow_as_they_should(name: str) -> None:
    small = create_mixer(name, 64, (32, 32)).flops()
    assert create_mixer(name, 128, (32, 32)).flops() / small == pytest.approx(GROWTH_WITH_CHANNELS[name], rel=1e-9)
    assert create_mixer(name, 64, (64, 64)).flops() / small == pytest.approx(GROWTH_WITH_TOKENS[name], rel=1e-9)


@every_mixer
@pytest.mark.parametrize("size", [(1, 1), (1, 12), (4, 8), (12, 20)])
def test_flops_are_whole_and_not_negative(name: str, size: tuple[int, int]) -> None:
    mixer = create_mixer(name, 16, size)
    for count in (mixer.flops(), mixer.flops_executed()):
        assert type(count) is int
        assert count >= 0


BY_PRODUCTS = ["dct", "fft_real_2d", "fft_imag", "hartley", "fft_complex", "fft_pairs", "fft_scrambled", "fft_real"]


@every_mixer
def test_flops_do_not_depend_on_which_side_is_longer(name: str) -> None:
    assert create_mixer(name, 16, (12, 20)).flops() == create_mixer(name, 16, (20, 12)).flops()


EXECUTED = {  # operations of each method for one image with C channels on a grid of H x W
    ("dct", "dense"): lambda c, h, w: 2 * c * (h * w) ** 2,
    ("dct", "gemm"): lambda c, h, w: 2 * c * h * w * (h + w),
    ("dct", "fused"): lambda c, h, w: 2 * c * h * w * (h + w),
    ("fft_real_2d", "dense"): lambda c, h, w: 2 * c * (h * w) ** 2,
    ("fft_real_2d", "gemm"): lambda c, h, w: 4 * c * h * w * (h + w),
    ("fft_complex", "dense"): lambda c, h, w: 4 * c * (h * w) ** 2,
    ("fft_complex", "gemm"): lambda c, h, w: 8 * c * h * w * (h + w),
    ("fft_complex", "fused"): lambda c, h, w: 4 * c * h * w * (w + 2 * h),  # the products along the rows serve both
    ("fft_pairs", "gemm"): lambda c, h, w: 4 * c * h * w * (2 * h + w),
    ("fft_scrambled", "gemm"): lambda c, h, w: 4 * c * h * w * (h + 2 * w),
    ("fft_real", "gemm"): lambda c, h, w: 8 * c * h * w * (h + w) + 4 * c**2 * h * w,
}


@pytest.mark.parametrize(("name", "method"), EXECUTED, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (4, 8), (8, 8)])
def test_flops_executed_follow_the_method(name: str, method: str, size: tuple[int, int]) -> None:
    mixer = create_mixer(f"{name}(method={method})", 16, size)
    if mixer.method_on("cpu") != method:
        pytest.skip(f"{method} does not run here")
    assert mixer.flops_executed() == EXECUTED[name, method](16, *size)
    if mixer.has_fft:
        assert create_mixer(f"{name}(method=fft)", 16, size).flops_executed() == mixer.flops()


@pytest.mark.parametrize("name", ["random_separable", "linear_separable"])
@pytest.mark.parametrize("size", [(1, 1), (1, 12), (16, 40)])
def test_flops_of_two_matrices(name: str, size: tuple[int, int]) -> None:
    assert create_mixer(name, 16, size).flops() == 2 * 16 * math.prod(size) * sum(size)


# its counter sees no FFT and no operator of ours: transforms by their products
@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (spec, size)
        for spec in (
            *("dct(method=gemm)", "hadamard(method=gemm)", "random", "attention(backend=plain)", "conv1x1"),
            *(f"{name}(method={method})" for name in BY_PRODUCTS for method in ("dense", "gemm")),
            *("random_separable", "linear_separable", "random_orthogonal", "linear", "mlp_mixer", "gmlp"),
            *("linear_attention", "performer", "conv_mixer", "shift", "linear_fnet", "random_fnet"),
        )
        for size in ((1, 4), (4, 8), (8, 8), (12, 16))
        if "dense" not in spec or math.prod(size) <= 64
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_flops_executed_are_what_pytorch_counts(spec: str, size: tuple[int, int], batch: int) -> None:
    mixer = create_mixer(spec, 16, size)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        mixer(torch.randn(batch, 16, *size))
    assert counter.get_total_flops() == batch * mixer.flops_executed()


@pytest.mark.parametrize(("heads", "tokens"), [(4, 90), (2, 222), (1, 535)])
def test_performer_is_cheaper_than_attention_from_the_tokens_that_its_docstring_names(heads: int, tokens: int) -> None:
    def dearer(n: int) -> bool:
        performer, attention = (create_mixer(name, 64, (1, n), heads=heads) for name in ("performer", "attention"))
        return performer.flops() >= attention.flops()

    assert dearer(64) and dearer(tokens - 1) and not dearer(tokens)
    assert f"{tokens}" in (mixer_entry("performer").cls.__doc__ or "")
