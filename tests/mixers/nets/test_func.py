"""`torch.func`, forward mode, traces and exports go through every mixer, by each of its methods, and through nets."""

from __future__ import annotations

import copy
import io
import os
import warnings
from collections.abc import Iterator

import pytest
import torch
from mixer_checks import build, default_dtype
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, stack_module_state, vmap

from mixers import Mixer, MixerNet, Spectracles, create_mixer, list_mixers
from mixers.transforms.planes import PlaneTransform

pytestmark = pytest.mark.filterwarnings("ignore:.*(vmap|torch.jit|_jit_internal|trace).*")
SMALL, LARGE = (4, 2), (12, 8)  # the second beyond the dense transforms


def _cases() -> Iterator[tuple[str, tuple[int, int]]]:
    for name in list_mixers():
        mixer = create_mixer(name, 8, SMALL)
        specs = ["attention(backend=plain)"] if name == "attention" else [name]
        if isinstance(mixer, PlaneTransform):
            specs += [f"{name}(method=gemm)"] + [f"{name}(method=fft)"] * mixer.has_fft
            specs += [f"{name}(method=fused)"] * (os.environ.get("TRITON_INTERPRET") == "1" and name == "fft_complex")
        yield from ((spec, size) for spec in specs for size in (SMALL, LARGE))


every_mixer = pytest.mark.parametrize(("spec", "size"), list(_cases()), ids=str)


def _mixer(spec: str, size: tuple[int, int]) -> tuple[Mixer, Tensor, Tensor]:
    """A mixer in float64, two images, and a direction to move them in."""
    with default_dtype(torch.float64):
        mixer = build(spec, 8, size)
        return mixer, torch.randn(2, 8, *size), torch.randn(2, 8, *size)


def _close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@every_mixer
def test_vmap_is_a_loop(spec: str, size: tuple[int, int]) -> None:
    mixer, x, other = _mixer(spec, size)
    expected = torch.stack([mixer(x), mixer(other)])
    _close(vmap(mixer)(torch.stack([x, other])), expected)
    _close(vmap(mixer, in_dims=2)(torch.stack([x, other], 2)), expected)
    _close(vmap(vmap(mixer))(torch.stack([x, other])[None]), expected[None])
    with torch.no_grad():
        _close(vmap(mixer)(torch.stack([x, other])), expected)


@every_mixer
def test_forward_mode_is_the_derivative(spec: str, size: tuple[int, int]) -> None:
    mixer, x, direction = _mixer(spec, size)
    step = 1e-6
    expected = (mixer(x + step * direction) - mixer(x - step * direction)) / (2 * step)
    _close(jvp(mixer, (x,), (direction,))[1], expected, 1e-4)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(mixer(forward_ad.make_dual(x, direction))).tangent
    assert tangent is not None
    _close(tangent, expected, 1e-4)
    if size == SMALL:
        _close(jacfwd(mixer)(x[:1]), jacrev(mixer)(x[:1]))


@every_mixer
def test_gradients_by_sample_are_those_of_each_sample(spec: str, size: tuple[int, int]) -> None:
    mixer, x, _ = _mixer(spec, size)
    weights = {"input": x, **dict(mixer.named_parameters())}

    def loss(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        own = {name: weight for name, weight in weights.items() if name != "input"}
        return functional_call(mixer, own, (image[None],)).square().sum()

    by_weight = dict.fromkeys(weights)
    both = vmap(grad(loss, (0, 1)), (by_weight, 0))(weights, x)
    for i, image in enumerate(x):
        one = image.clone().requires_grad_()
        parameters = list(mixer.parameters())
        expected = torch.autograd.grad(mixer(one[None]).square().sum(), [one, *parameters])
        got = [both[1][i], *(both[0][name][i] for name in weights if name != "input")]
        for actual, wanted in zip(got, expected, strict=True):
            _close(actual, wanted)


@every_mixer
def test_second_derivatives_agree_both_ways(spec: str, size: tuple[int, int]) -> None:
    mixer, x, direction = _mixer(spec, size)

    def cubes(x: Tensor) -> Tensor:
        return mixer(x).pow(3).sum()

    forward = jvp(grad(cubes), (x,), (direction,))[1]
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(cubes(x), x, create_graph=True)
    (backward,) = torch.autograd.grad((first * direction).sum(), x)
    scale = backward.abs().max().clamp(min=1)
    _close(forward / scale, backward / scale, 1e-7)


def test_the_fused_attention_of_pytorch_has_no_forward_mode_and_no_second_derivative() -> None:
    mixer, x, direction = _mixer("attention", SMALL)
    with pytest.raises(NotImplementedError, match="forward AD"):
        jvp(mixer, (x,), (direction,))
    x = x.requires_grad_()
    (first,) = torch.autograd.grad(mixer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        torch.autograd.grad(first.sum(), x)


def _through_a_trace(module: nn.Module, x: Tensor) -> nn.Module:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, x), buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


@every_mixer
@pytest.mark.parametrize("training", [False, True])
def test_a_trace_is_saved_and_is_the_mixer(spec: str, size: tuple[int, int], training: bool) -> None:
    mixer, x, other = _mixer(spec, size)
    traced = _through_a_trace(mixer, x.clone().requires_grad_(training))
    other.requires_grad_(training)
    _close(traced(other), mixer(other))
    if training:
        (expected,) = torch.autograd.grad(mixer(other).square().sum(), other)
        (gradient,) = torch.autograd.grad(traced(other).square().sum(), other)
        _close(gradient, expected)


@pytest.mark.slow
@every_mixer
def test_an_export_is_saved_and_is_the_mixer(spec: str, size: tuple[int, int]) -> None:
    mixer, x, other = _mixer(spec, size)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(mixer, (x,)), buffer)
    buffer.seek(0)
    _close(torch.export.load(buffer).module()(other), mixer(other))


NETS = {
    **{name: lambda name=name: MixerNet(name, 5, 16, 2, 8, 1) for name in list_mixers() if name != "attention"},
    "token norm": lambda: MixerNet("hartley", 5, 32, 2, 8, 2, norm="token"),
    "attention": lambda: MixerNet("attention(backend=plain)", 5, 16, 4, 8, 1, norm="token"),
    "Spectracles": lambda: Spectracles(8, 1, 1, num_classes=5),
}


@pytest.mark.parametrize("name", NETS)
def test_nets_go_through_transforms_and_traces(name: str) -> None:
    torch.manual_seed(0)
    with default_dtype(torch.float64):
        net = NETS[name]().eval()
        side = getattr(net, "img_size", (8, 8))
        x, other = torch.randn(2, 3, *side), torch.randn(2, 3, *side)
    expected = torch.stack([net(x), net(other)])
    _close(vmap(net)(torch.stack([x, other])), expected)
    jvp(net, (x,), (other,))
    weights = {key: torch.stack([p, 2 * p]) for key, p in net.named_parameters()}
    both = vmap(lambda own: functional_call(net, own, (x,)))(weights)
    _close(both[0], expected[0])
    by_sample = vmap(grad(lambda own, image: functional_call(net, own, (image[None],)).sum()), (None, 0))
    gradients = by_sample(dict(net.named_parameters()), x)
    total = torch.autograd.grad(net(x).sum(), list(net.parameters()))
    for actual, wanted in zip(gradients.values(), total, strict=True):
        _close(actual.sum(0), wanted)
    _close(_through_a_trace(net, x)(other), expected[1])


@pytest.mark.parametrize("autocast", [False, True])
@every_mixer
def test_an_ensemble_over_a_net_without_numbers_is_its_members(
    spec: str, size: tuple[int, int], autocast: bool
) -> None:
    torch.manual_seed(0)
    members = [create_mixer(spec, 8, size) for _ in range(2)]
    if not [*members[0].parameters(), *members[0].buffers()]:
        pytest.skip("nothing to stack")
    weights, fixed = stack_module_state(members)  # type: ignore[arg-type]
    empty, x = copy.deepcopy(members[0]).to("meta"), torch.randn(2, 8, *size)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        together = vmap(lambda *own: functional_call(empty, own, (x,)))(weights, fixed)
        for actual, member in zip(together, members, strict=True):
            expected = member(x).float()
            _close(actual.float() / expected.abs().max(), expected / expected.abs().max(), 0.03 if autocast else 1e-5)
