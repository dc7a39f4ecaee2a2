"""What every registered mixer keeps; a new one is tested by being registered."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from mixer_checks import (
    assert_matches_reference,
    assert_near,
    build,
    build_if_defined,
    default_dtype,
    dims,
    few_examples,
    output_and_gradients,
    seeds,
    sizes,
)
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixers import Mixer, create_mixer, list_mixers
from mixers.families.attention import Attention
from mixers.families.separable import DCT
from mixers.families.spectral import FFTComplex, FFTReal
from mixers.registry import mixer_entry
from mixers.transforms.definitions import dct_matrix

every_mixer = pytest.mark.parametrize("name", list_mixers())
# all mixers exist at these; the first runs the dense form of transforms that have one, the second the other form
every_size = pytest.mark.parametrize("size", [(4, 8), (16, 12)], ids=["4x8", "16x12"])


@every_mixer
@few_examples
@given(dim=dims, size=sizes, seed=seeds)
@example(dim=8, size=(1, 1), seed=0)
@example(dim=8, size=(1, 12), seed=0)
@example(dim=16, size=(8, 8), seed=0)
@example(dim=24, size=(16, 4), seed=0)
@example(dim=8, size=(12, 20), seed=0)
def test_forward_and_gradients_match_the_reference(name: str, dim: int, size: tuple[int, int], seed: int) -> None:
    # the phase of a small number has a gradient that float32 cannot give to many digits
    for dtype in (torch.float32, torch.float64) if name != "fft_magphase" else (torch.float64,):
        with default_dtype(dtype):
            mixer = build_if_defined(name, dim, size, seed)
            if mixer is not None:
                assert_matches_reference(mixer, torch.randn(2, dim, *size))


@every_mixer
@pytest.mark.parametrize("size", [(2, 4), (1, 12)], ids=["2x4", "1x12"])
def test_gradcheck(name: str, size: tuple[int, int]) -> None:
    with default_dtype(torch.float64):
        mixer = build(name, 8, size)
        x = torch.randn(1, 8, *size, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, *_: mixer(x), (x, *mixer.parameters()))


@every_mixer
@few_examples
@given(dim=dims, size=sizes)
def test_output_is_real_and_as_wide_as_declared(name: str, dim: int, size: tuple[int, int]) -> None:
    mixer = build_if_defined(name, dim, size)
    if mixer is None:
        return
    assert (mixer.dim, mixer.size, mixer.tokens) == (dim, size, size[0] * size[1])
    for batch in (1, 3):
        y = mixer(torch.randn(batch, dim, *size))
        assert y.shape == (batch, mixer.out_channels, *size)
        assert y.dtype == torch.float32
        assert y.isfinite().all()


@every_mixer
@every_size
def test_input_and_state_are_left_alone(name: str, size: tuple[int, int]) -> None:
    mixer = build(name, 8, size)
    state = {key: value.clone() for key, value in (*mixer.named_parameters(), *mixer.named_buffers())}
    x = torch.randn(2, 8, *size, requires_grad=True)
    before = x.detach().clone()
    mixer(x).square().sum().backward()
    assert torch.equal(x.detach(), before)
    for key, value in (*mixer.named_parameters(), *mixer.named_buffers()):
        assert torch.equal(value, state[key]), key


@every_mixer
@every_size
def test_images_of_a_batch_do_not_meet(name: str, size: tuple[int, int]) -> None:
    mixer = build(name, 16, size)
    x = torch.randn(3, 16, *size)
    together = mixer(x)
    for i in range(3):
        assert_near(together[i : i + 1], mixer(x[i : i + 1]), f"image {i}")
    other = x.clone()
    other[1] = torch.randn(16, *size)
    assert torch.equal(mixer(other)[[0, 2]], together[[0, 2]])


@every_mixer
@every_size
def test_same_seed_same_output_bit_for_bit(name: str, size: tuple[int, int]) -> None:
    x = torch.randn(2, 8, *size)
    mixer = build(name, 8, size, seed=3)
    first = mixer(x)
    assert torch.equal(mixer(x), first)
    assert torch.equal(build(name, 8, size, seed=3)(x), first)
    assert torch.equal(mixer.eval()(x), first)


def _layouts(x: Tensor) -> dict[str, Tensor]:
    """The values of `x` in other memory layouts."""
    batch, channels, height, width = x.shape
    wide = torch.full((2 * batch, channels + 3, 2 * height, width + 2), torch.nan)
    wide[::2, 1:-2, 1::2, 1:-1] = x
    return {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "columns first": x.mT.contiguous().mT,
        "sliced": wide[::2, 1:-2, 1::2, 1:-1],
        "channels outermost": x.transpose(0, 1).contiguous().transpose(0, 1),
    }


@every_mixer
@every_size
def test_memory_layout_does_not_matter(name: str, size: tuple[int, int]) -> None:
    mixer = build(name, 8, size)
    x = torch.randn(2, 8, *size)
    cotangent = torch.randn(2, mixer.out_channels, *size)
    expected, expected_gradients = output_and_gradients(mixer, mixer, x, cotangent)
    for layout, view in _layouts(x).items():
        assert torch.equal(view, x), layout
        for cotangent_layout, cotangent_view in {"contiguous": cotangent, **_layouts(cotangent)}.items():
            output, gradients = output_and_gradients(mixer, mixer, view, cotangent_view)
            assert_near(output, expected, layout)
            for key, gradient in gradients.items():
                size_of = expected_gradients[key].abs().max().clamp(min=1)
                what = f"gradient by {key}, input {layout}, gradient of output {cotangent_layout}"
                assert_near(gradient / size_of, expected_gradients[key] / size_of, what)


@every_mixer
@every_size
def test_every_parameter_and_input_gets_a_gradient(name: str, size: tuple[int, int]) -> None:
    mixer = build(name, 24, size)
    x = torch.randn(2, 24, *size)
    _, gradients = output_and_gradients(mixer, mixer, x, torch.randn(2, mixer.out_channels, *size))
    for key, gradient in gradients.items():
        assert gradient.isfinite().all(), key
        assert gradient.abs().max() > 0, key


@every_mixer
@every_size
def test_default_is_not_the_zero_map(name: str, size: tuple[int, int]) -> None:
    x = torch.randn(2, 8, *size)
    assert build(name, 8, size)(x).square().mean() > 1e-4 * x.square().mean()


@every_mixer
@every_size
@pytest.mark.parametrize(
    ("half", "input_dtype"),
    [(half, dtype) for half in (torch.bfloat16, torch.float16) for dtype in (torch.float32, half)],
    ids=lambda dtype: str(dtype).removeprefix("torch."),
)
def test_half_precision_autocast_is_near_float32(
    name: str, size: tuple[int, int], half: torch.dtype, input_dtype: torch.dtype
) -> None:
    mixer = build(name, 16, size)
    x = torch.randn(2, 16, *size).to(input_dtype)
    expected = mixer.reference(x.float())
    leaf = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype=half):
        y = mixer(leaf)
    assert y.shape == expected.shape
    assert (y.double() - expected).norm() < (0.02 if half == torch.bfloat16 else 0.003) * expected.norm()
    y.float().square().sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert leaf.grad.dtype == input_dtype


@every_mixer
@every_size
def test_deepcopy_is_the_same_and_apart(name: str, size: tuple[int, int]) -> None:
    mixer = build(name, 8, size)
    x = torch.randn(2, 8, *size)
    expected = mixer(x)
    twin = copy.deepcopy(mixer)
    assert torch.equal(twin(x), expected)
    with torch.no_grad():
        for tensor in (*twin.parameters(), *twin.buffers()):
            tensor.zero_()
    assert torch.equal(mixer(x), expected)


@every_mixer
@every_size
def test_state_dict_round_trip(name: str, size: tuple[int, int]) -> None:
    mixer = build(name, 8, size, seed=1)
    file = io.BytesIO()
    torch.save(mixer.state_dict(), file)
    file.seek(0)
    other = build(name, 8, size, seed=2)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    x = torch.randn(2, 8, *size)
    assert torch.equal(other(x), mixer(x))


@every_mixer
@every_size
def test_moves_to_float64_and_back(name: str, size: tuple[int, int]) -> None:
    mixer = build(name, 8, size)
    x = torch.randn(2, 8, *size)
    expected = mixer(x)
    wide = mixer.to(torch.float64)(x.to(torch.float64))
    assert wide.dtype == torch.float64
    assert_near(wide.float(), expected)
    assert torch.equal(mixer.to(torch.float32)(x), expected)


@every_mixer
def test_parameters_and_buffers_are_real(name: str) -> None:
    # .to(torch.float32) would drop the imaginary part of a complex one
    mixer = build(name, 8, (4, 8))
    assert not [key for key, value in (*mixer.named_parameters(), *mixer.named_buffers()) if value.is_complex()]


@pytest.fixture
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch.empty and its kin give NaN."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@every_mixer
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 8), (16, 12)], ids=str)
def test_no_uninitialised_memory_is_read(name: str, size: tuple[int, int], poisoned_memory: None) -> None:
    assert torch.empty(8).isnan().all()
    mixer = build(name, 8, size)
    x = torch.randn(2, 8, *size)
    output, gradients = output_and_gradients(mixer, mixer, x, torch.randn(2, mixer.out_channels, *size))
    assert not output.isnan().any()
    for key, gradient in gradients.items():
        assert not gradient.isnan().any(), key


@every_mixer
def test_the_declared_memory_format_is_the_one_that_needs_no_copies(name: str) -> None:
    channels_last = mixer_entry(name).family == "attention" or name in ("conv1x1", "conv_mixer", "gmlp")
    assert build(name, 8, (4, 8)).memory_format == (torch.channels_last if channels_last else torch.contiguous_format)


@every_mixer
def test_repr_says_dim_size_and_width(name: str) -> None:
    mixer = build(name, 8, (4, 8))
    assert f"dim=8, size=4x8, out_channels={mixer.out_channels}" in repr(mixer)


@every_mixer
@pytest.mark.parametrize(("dim", "size"), [(0, (4, 4)), (8, (0, 4)), (8, (4, 0)), (8, (-4, 4))])
def test_a_grid_without_tokens_is_refused_in_one_line(name: str, dim: int, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError) as caught:
        create_mixer(name, dim, size)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


class _NoHalf(DCT):
    """dct whose first row is not scaled by sqrt(1/2)."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (dct_matrix(n) for n in self.size)
        for matrix in (rows, columns):
            matrix[0] /= 0.5**0.5
        return rows.to(x) @ x @ columns.to(x).mT


class _Conjugated(FFTComplex):
    """fft_complex with exp(+2 pi i jk / n)."""

    def forward(self, x: Tensor) -> Tensor:
        real, imaginary = super().forward(x).chunk(2, 1)
        return torch.cat([real, -imaginary], 1)


class _Swapped(FFTComplex):
    """fft_complex with the two parts in the other order."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).roll(self.dim, 1)


class _Unscaled(Attention):
    """attention without 1 / sqrt(d)."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).mT).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2).mT.unflatten(2, self.size)


class _WrongGradient(FFTReal):
    """fft_real whose output is right and whose gradient is not."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return 2 * y - y.detach()


@pytest.mark.parametrize("twin", [_NoHalf, _Conjugated, _Swapped, _Unscaled, _WrongGradient])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_comparison_with_the_reference_sees_a_broken_twin(twin: type[Mixer], dtype: torch.dtype) -> None:
    with default_dtype(dtype), sdpa_kernel(SDPBackend.MATH):
        torch.manual_seed(0)
        x = torch.randn(2, 16, 5, 3)
        assert_matches_reference(twin.__mro__[1](16, (5, 3)), x)
        with pytest.raises(AssertionError, match="gradient by input" if twin is _WrongGradient else "output"):
            assert_matches_reference(twin(16, (5, 3)), x)
