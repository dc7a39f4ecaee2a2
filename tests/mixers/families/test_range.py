"""Every mixer in every floating-point dtype, from small to large inputs: finite, and as near as its dtype allows."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from mixer_checks import build
from rounded import RoundedTo
from torch import Tensor

from mixers import Mixer, create_mixer, list_mixers

SIZES = [(1, 1), (4, 8), (16, 16), (1, 64), (32, 32)]
LARGE = [(64, 64), (1, 2048)]
INPUTS = [(1e-3, 0), (1, 0), (30, 0), (1e3, 0), (1, 100), (1, -1000), (1e-3, 1)]  # scale and offset
SPECS = [
    *list_mixers(),
    *(f"{name}(method={m})" for name in ("dct", "fft_complex", "fft_real") for m in ("gemm", "fft", "fused")),
    *(f"attention(backend={backend})" for backend in ("plain", "torch")),
    "gmlp(split=False)",
    "conv_mixer",
    "pool(subtract=False)",
    "afno(blocks=4,shrink=0)",
    "performer(features=5,positions=none)",
]
MODES = [
    (torch.float32, "module"),
    *((half, mode) for half in (torch.bfloat16, torch.float16) for mode in ("module", "autocast")),
]


def _output_and_gradients(
    function: Callable[[Tensor], Tensor], mixer: Mixer, x: Tensor, cotangent: Tensor, half: torch.dtype | None = None
) -> list[Tensor]:
    leaf = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
        y = function(leaf)
    gradients = torch.autograd.grad(y, [leaf, *mixer.parameters()], cotangent.to(y.dtype))
    return [tensor.detach().to(torch.float64) for tensor in (y, *gradients)]


def check_range(spec: str, size: tuple[int, int], dtype: torch.dtype, mode: str, scale: float, offset: float) -> None:
    """Finite where float64 fits, and at most four times as far from it as the plain definition in this dtype."""
    try:
        mixer = build(spec, 16, size)
    except ValueError:  # hadamard, or fft where there is no such method
        return
    mixer = mixer.to(dtype) if mode == "module" else mixer
    x = (torch.randn(2, 16, *size) * scale + offset).to(dtype)
    cotangent = torch.randn(2, mixer.out_channels, *size).to(dtype)
    found = _output_and_gradients(mixer, mixer, x, cotangent, dtype if mode == "autocast" else None)
    expected = _output_and_gradients(mixer.reference, mixer, x.double(), cotangent.double())
    with RoundedTo(dtype):
        plain = _output_and_gradients(mixer.reference, mixer, x.double(), cotangent.double())
    # one rounding of the result, and in float32, where all else is exact, the order of the sums
    rounding = torch.finfo(dtype).eps * (8 if dtype == torch.float32 else 0.5)
    # where a softmax is nearly one, PyTorch's fused operator and FAVOR+ take two nearly equal numbers from each other
    cancels = spec.startswith(("attention", "performer")) and spec != "attention(backend=plain)"
    for i, tensors in enumerate(zip(found, expected, plain, strict=True)):
        what = f"{spec} {size} {dtype} {mode} scale {scale} offset {offset}: {'output' if i == 0 else f'gradient {i}'}"
        if not tensors[1].abs().max() <= torch.finfo(dtype).max:
            continue
        assert tensors[0].isfinite().all(), what
        if i and (cancels or spec == "fft_magphase"):
            continue
        # of a phase, which jumps by 2 pi, and which has no digits where the number is small, nothing is held to it
        value, exact, narrow = (tensor[:, :16] for tensor in tensors) if spec == "fft_magphase" else tensors
        if narrow.isfinite().all():
            allowed = 4 * max((narrow - exact).norm().item(), rounding * exact.norm().item())
            assert (value - exact).norm() <= allowed, what


# the kernel runs in an interpreter here, and the definition of performer goes through its features one by one
LONG = [spec for spec in SPECS if "fused" in spec or spec == "performer"]


@pytest.mark.parametrize("spec", [pytest.param(s, marks=pytest.mark.slow) if s in LONG else s for s in SPECS])
@pytest.mark.parametrize(("dtype", "mode"), MODES, ids=str)
def test_inputs_of_every_scale(spec: str, dtype: torch.dtype, mode: str) -> None:
    if "fused" in spec and mode == "autocast":
        pytest.skip("its kernel runs in an interpreter here")
    some = [((4, 8), (1e3, 0)), ((1, 24), (1e-3, 1)), ((1, 1), (1, 0)), ((16, 16), (1, -1000))]
    for size, (scale, offset) in some[:1] if "fused" in spec else some:
        check_range(spec, size, dtype, mode, scale, offset)


# every seventh, so that each mixer and each size is there; TOKEN_MIXERS_TESTS=all for all of them
CASES = [(size, spec) for size in (*SIZES, *LARGE) for spec in SPECS]
CASES = CASES if os.environ.get("TOKEN_MIXERS_TESTS") == "all" else CASES[::7]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "spec"), CASES, ids=str)
def test_inputs_of_every_scale_at_every_size(spec: str, size: tuple[int, int]) -> None:
    for dtype, mode in MODES:
        for scale, offset in INPUTS if size in SIZES and "fused" not in spec else INPUTS[3:5]:
            check_range(spec, size, dtype, mode, scale, offset)


@pytest.mark.parametrize("spec", [*list_mixers("*attention"), "attention(backend=plain)"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_attention_over_many_tokens_in_half_precision(spec: str, dtype: torch.dtype) -> None:
    mixer = build(spec, 64, (40, 40))
    x = torch.randn(1, 64, 40, 40)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        y = mixer(x)
    expected = mixer.reference(x).detach()
    assert (y - expected).norm() < 4 * torch.finfo(dtype).eps * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shift", [-20.0, -200.0, -3000.0])
def test_very_negative_keys_and_queries_have_weights(dtype: torch.dtype, shift: float) -> None:
    """phi(x) = exp(x) there, which 1 + (exp(x) - 1) gives as 0."""
    mixer = create_mixer("linear_attention", 16, (4, 4), heads=2, positions="none").to(dtype)
    assert isinstance(mixer.qkv, torch.nn.Linear)
    with torch.no_grad():
        mixer.qkv.bias[:32] += shift
    x = torch.randn(2, 16, 4, 4, dtype=dtype, requires_grad=True)
    y = mixer(x)
    y.square().sum().backward()
    assert y.isfinite().all() and x.grad is not None and x.grad.isfinite().all()
    if shift > -300:  # float64 itself has no exp(-1500)
        expected = mixer.reference(x)
        assert (y - expected).norm() < 60 * torch.finfo(dtype).eps * expected.norm() * (8 if shift < -100 else 1)


def test_one_bright_channel_does_not_overflow_between_the_steps_of_fft_real() -> None:
    x = torch.randn(1, 64, 32, 32)
    x[:, 0] += 4000  # 128,000 after the transform of the planes, 16,000 after that of the channels
    for spec in ("fft_real", "fft_real(method=gemm)"):
        mixer = create_mixer(spec, 64, (32, 32)).half()
        y = mixer(x.half())
        expected = mixer.reference(x.half())
        assert (y - expected).norm() < 2e-3 * expected.norm()
