"""A mixer takes inputs of its own shape and of floating point, and an empty batch; a net takes images likewise."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixer_checks import build, build_if_defined, few_examples, sizes
from torch import Tensor

from mixers import Mixer, MixerError, MixerNet, Spectracles, create_mixer, list_mixers
from mixers.timm.models import MixerMetaFormer

every_mixer = pytest.mark.parametrize("name", list_mixers())
METHODS = [f"{name}(method={m})" for name in ("dct", "fft_complex", "fft_scrambled") for m in ("gemm", "fft", "fused")]
SPECS = [*list_mixers(), *METHODS[:1], *METHODS[2:], "attention(positions=none)", "attention(backend=plain)"]

DIM, SIZE = 8, (4, 6)
WRONG = {
    "as many tokens on another grid": (2, DIM, 2, 12),
    "turned": (2, DIM, 6, 4),
    "channels last": (2, 4, 6, DIM),
    "no batch": (DIM, 4, 6),
    "tokens": (2, DIM, 24),
    "tokens first": (2, 24, DIM),
    "five axes": (1, 2, DIM, 4, 6),
    "more channels": (2, 2 * DIM, 4, 6),
    "fewer channels": (4, DIM // 2, 4, 6),
    "a smaller grid": (2, DIM, 2, 3),
    "one number": (),
}


def _build(spec: str) -> Mixer:
    return build(spec, DIM, (4, 8) if spec == "hadamard" else SIZE)


@pytest.mark.parametrize("spec", SPECS)
def test_another_shape_is_refused_with_both_shapes(spec: str) -> None:
    mixer = _build(spec)
    for what, shape in WRONG.items():
        for function in (mixer, mixer.reference):
            with pytest.raises(MixerError) as caught:
                function(torch.randn(shape))
            message = str(caught.value)
            height, width = mixer.size
            given = " x ".join(map(str, shape[1:] if len(shape) == 4 else shape))
            assert f"was built for inputs of {DIM} x {height} x {width} (C x H x W)" in message, what
            assert given in message and "\n" not in message, what


@every_mixer
@few_examples
@given(size=sizes, shape=st.lists(st.integers(1, 16), min_size=0, max_size=5))
def test_no_other_shape_gets_through(name: str, size: tuple[int, int], shape: list[int]) -> None:
    mixer = build_if_defined(name, DIM, size)
    if mixer is None or shape[1:] == [DIM, *size]:
        return
    with pytest.raises(MixerError, match="was built for inputs of"):
        mixer(torch.randn(shape))


@every_mixer
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64], ids=str)
def test_whole_and_complex_numbers_are_refused(name: str, dtype: torch.dtype) -> None:
    mixer = _build(name)
    with pytest.raises(MixerError, match=rf"in floating point, this one is of {dtype}"):
        mixer(torch.zeros(2, DIM, *mixer.size, dtype=dtype))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [(4, 4), (16, 16), (1, 1)], ids=str)
def test_an_empty_batch_gives_an_empty_result(spec: str, size: tuple[int, int]) -> None:
    mixer = build(spec, DIM, size)
    x = torch.randn(0, DIM, *size, requires_grad=True)
    y = mixer(x)
    assert (y.shape, y.dtype) == ((0, mixer.out_channels, *size), torch.float32)
    assert mixer.reference(x).shape == y.shape
    gradients = torch.autograd.grad(y.sum(), [x, *mixer.parameters()])
    assert gradients[0].shape == x.shape
    assert not any(gradient.any() for gradient in gradients[1:])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert mixer(x).shape == y.shape


@every_mixer
@pytest.mark.parametrize("norm", ["image", "token"])
def test_an_empty_batch_goes_through_a_net(name: str, norm: str) -> None:
    net = MixerNet(name, 10, img_size=16, dim=8, depth=1, norm=norm)
    x = torch.rand(0, 3, 16, 16, requires_grad=True)
    net(x).sum().backward()
    assert net(x).shape == (0, 10)


@pytest.mark.parametrize("net", ["net", "metaformer", "spectracles", "scrambled"])
def test_nets_refuse_what_is_no_batch_of_their_images(net: str) -> None:
    built = {
        "net": lambda: MixerNet("dct", 10, img_size=(16, 32), dim=8, depth=1),
        "metaformer": lambda: MixerMetaFormer("dct", (32, 64), (1, 1), dims=(8, 16), num_classes=10),
        "spectracles": lambda: Spectracles(8, 1, num_classes=10),
        "scrambled": lambda: Spectracles(8, 1, num_classes=10, layout="scrambled"),
    }[net]()
    image = (3, *getattr(built, "img_size", (16, 32)))
    shapes = [image, (2, *image[::-1]), (2, 1, *image), (2, 4, *image[1:])]
    for shape in shapes if "s" in net else [*shapes, (2, 3, image[2], image[1])]:
        with pytest.raises(MixerError) as caught:
            built(torch.rand(shape))
        assert "\n" not in str(caught.value)
    for dtype in (torch.uint8, torch.int64, torch.complex64):
        with pytest.raises(MixerError, match=f"the input is of {dtype}; allowed: floating point"):
            built(torch.zeros(2, *image, dtype=dtype))
    assert built(torch.rand(0, *image)).shape == (0, 10)


class _Elsewhere(Mixer):
    """A mixer of a few lines, which checks nothing itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.dim, *self.size).flip(2)


class _ButLonger(_Elsewhere):
    def forward(self, x: Tensor, twice: bool = False) -> Tensor:
        return super().forward(x) * (2 if twice else 1)


@pytest.mark.parametrize("cls", [_Elsewhere, _ButLonger])
def test_a_mixer_from_elsewhere_is_held_to_its_shape_too(cls: type[Mixer]) -> None:
    mixer = cls(DIM, SIZE)
    assert mixer(torch.randn(0, DIM, *SIZE)).shape == (0, DIM, *SIZE)
    assert mixer(x=torch.randn(2, DIM, *SIZE)).shape == (2, DIM, *SIZE)
    for shape in WRONG.values():
        with pytest.raises(MixerError, match=rf"^{cls.__name__} was built for inputs of 8 x 4 x 6 \(C x H x W\)"):
            mixer(torch.randn(shape))
    assert cls.forward.__doc__ is None and cls.forward.__name__ == "forward"


@every_mixer
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace. is deprecated")
def test_a_trace_warns_of_no_shape_that_is_compared(name: str) -> None:
    mixer, x = _build(name), torch.randn(2, DIM, 4, 8 if name == "hadamard" else 6)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", torch.jit.TracerWarning)
        traced = torch.jit.trace(mixer, x, check_trace=False)
    assert not [warning for warning in told if warning.filename.endswith("base.py")]
    torch.testing.assert_close(traced(x), mixer(x))
    with pytest.raises(MixerError, match="was built for inputs of"):
        torch.jit.trace(mixer, x.mT)


def test_a_batch_of_any_size_is_one_program() -> None:
    mixer = create_mixer("dct", DIM, SIZE)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(mixer, (torch.randn(4, DIM, *SIZE),), dynamic_shapes=({0: batch},)).module()
    x = torch.randn(7, DIM, *SIZE)
    torch.testing.assert_close(program(x), mixer(x))


class _Static(Mixer):
    @staticmethod
    def forward(x: Tensor) -> Tensor:  # type: ignore[override]
        return x.flip(2)


class _OfClass(Mixer):
    @classmethod
    def forward(cls, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.flip(2)


class _OtherName(Mixer):
    def forward(self, tokens: Tensor, twice: bool = False) -> Tensor:  # type: ignore[override]
        return tokens * (2 if twice else 1)


class _Beside:
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(2)


class _FromBeside(_Beside, Mixer):
    pass


@pytest.mark.parametrize("cls", [_Static, _OfClass, _OtherName, _FromBeside])
def test_a_forward_of_any_form_runs_and_is_held_to_its_shape(cls: type[Mixer]) -> None:
    mixer, x = cls(DIM, SIZE), torch.randn(2, DIM, *SIZE)
    name = "tokens" if cls is _OtherName else "x"
    assert mixer(x).shape == mixer(**{name: x}).shape == x.shape
    assert mixer(x[:0]).shape == x[:0].shape
    for wrong in (lambda: mixer(x.mT), lambda: mixer(**{name: x.mT})):
        with pytest.raises(MixerError, match=rf"^{cls.__name__} was built for inputs of 8 x 4 x 6"):
            wrong()
    if cls is _OtherName:
        assert torch.equal(mixer(twice=True, tokens=x), 2 * x)


@pytest.mark.parametrize("given", [None, "dct", 3, [1.0], np.zeros((2, DIM, *SIZE), np.float32)], ids=type)
def test_what_is_no_tensor_is_refused(given: Any) -> None:
    mixer = create_mixer("dct", DIM, SIZE)
    metaformer = MixerMetaFormer("dct", (32, 64), (1, 1), dims=(8, 16), num_classes=10)
    nets = [MixerNet("dct", 10, img_size=16, dim=8, depth=1), Spectracles(8, 1, num_classes=10), metaformer]
    for function in (mixer, mixer.reference, *nets):
        with pytest.raises(MixerError, match=f"^the input is of {type(given).__name__}; allowed: a tensor"):
            function(given)


def test_a_constructor_that_forgets_the_one_above_is_told() -> None:
    class Forgets(Mixer):
        def __init__(self, dim: int, size: tuple[int, int]) -> None:
            torch.nn.Module.__init__(self)

    with pytest.raises(
        MixerError, match=r"^class Forgets in test_inputs\.py does not call super\(\).__init__\(dim, size\)"
    ):
        Forgets(DIM, SIZE)
