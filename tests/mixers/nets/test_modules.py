"""Modules of a net are called, so that hooks, pruning, parametrizations and wrappers work as on any module."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from mixers import MixerNet, Spectracles, list_mixers
from mixers.nets.block import ScaledConv1x1
from mixers.nets.spectracles import PlacedConv1x1

NETS = {
    **{
        f"{name}, {norm}": lambda name=name, norm=norm: MixerNet(name, 5, 16, 4, 8, 2, norm=norm)
        for name in list_mixers()
        for norm in ("image", "token")
    },
    "bfloat16": lambda: MixerNet("dct", 5, 16, 4, 8, 2, residual="bfloat16"),
    "Spectracles": lambda: Spectracles(8, 1, 2, num_classes=5),
    "MetaFormer": lambda: timm.create_model(
        "metaformer_mixer_s12", img_size=16, mixer="fft_complex", depths=(1, 1), dims=(8, 16), num_classes=5
    ),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
def test_every_module_with_weights_is_called_forward_and_backward(name: str, autocast: bool) -> None:
    if autocast and name == "Spectracles":
        pytest.skip("FFTs of Spectracles are in float32")
    net = NETS[name]()
    forward, backward = set(), set()
    owners = {path for path, module in net.named_modules() if module._parameters}
    for path, module in net.named_modules():
        module.register_forward_hook(lambda *_, path=path: forward.add(path))
        module.register_full_backward_hook(lambda *_, path=path: backward.add(path))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = net(torch.randn(2, 3, 16, 16, requires_grad=True))
    y.float().sum().backward()
    assert owners - forward == set()
    assert {path for path in owners if next(net.get_submodule(path).parameters()).requires_grad} - backward == set()


def _train(net: nn.Module, steps: int = 4) -> list[Tensor]:
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(2, 3, 16, 16)).square().sum().backward()
        optimizer.step()
    return [p.detach() for p in net.parameters()]


NET_KINDS = {
    "MixerNet": lambda: MixerNet("dct", 5, 16, 4, 8, 2),
    "Spectracles": lambda: Spectracles(8, 1, 1, num_classes=5),
}
every_kind = pytest.mark.parametrize("kind", NET_KINDS)


def _convolutions(net: nn.Module) -> list[tuple[nn.Module, str, nn.Conv2d]]:
    """Every 1x1 convolution with the module that it stands in and its name there."""
    return [
        (parent, name, child)
        for parent in net.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Conv2d) and child.kernel_size == (1, 1)
    ]


@every_kind
def test_pruned_weights_stay_zero_and_training_goes_on(kind: str) -> None:
    net = NET_KINDS[kind]()
    for _, _, conv in _convolutions(net):
        prune.l1_unstructured(conv, "weight", 0.5)
    x = torch.randn(2, 3, 16, 16)
    before = net(x)
    _train(net)
    assert not torch.equal(net(x), before)
    for _, _, conv in _convolutions(net):
        assert (conv.weight == 0).float().mean() == pytest.approx(0.5, abs=0.1)


@every_kind
@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "doubled"])
def test_parametrized_weights_are_the_ones_used(kind: str, how: str) -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    net, x = NET_KINDS[kind](), torch.randn(2, 3, 16, 16)
    before = net(x)
    for _, _, conv in _convolutions(net):
        if how == "doubled":
            parametrize.register_parametrization(conv, "weight", Doubled())
        else:
            getattr(parametrizations, how)(conv)
    assert torch.allclose(net(x), before, rtol=1e-4, atol=1e-5) == (how == "weight_norm")
    _train(net)
    assert net(x).isfinite().all()


class _Wrapper(nn.Module):
    """As adapters of low rank are: the layer plus something small; it knows nothing of a second argument."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer, self.more = layer, nn.Conv2d(layer.in_channels, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.more.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.more(x)


def _plain(layer: nn.Conv2d) -> nn.Conv2d:
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, 1)
    plain.load_state_dict(layer.state_dict())
    return plain


@every_kind
@pytest.mark.parametrize("other", [_Wrapper, _plain, nn.Sequential])
def test_what_stands_in_the_place_of_a_convolution_computes_the_same(kind: str, other) -> None:
    net, x = NET_KINDS[kind](), torch.randn(2, 3, 16, 16)
    before = net(x)
    for parent, name, conv in _convolutions(net):
        setattr(parent, name, other(conv))
    torch.testing.assert_close(net(x), before, rtol=1e-5, atol=1e-5)
    _train(net)


def test_a_mixer_can_be_wrapped() -> None:
    net, x = MixerNet("attention", 5, 16, 4, 8, 1), torch.randn(2, 3, 16, 16)
    before = net(x)
    net.blocks[0].mixer = nn.Sequential(net.blocks[0].mixer)
    torch.testing.assert_close(net(x), before)


def test_the_convolutions_alone_are_ordinary_ones() -> None:
    for cls in (ScaledConv1x1, PlacedConv1x1):
        conv, x = cls(6, 4, 1), torch.randn(2, 6, 3, 5)
        torch.testing.assert_close(conv(x), _plain(conv)(x), rtol=0, atol=0)
    scale = torch.randn(4)
    conv = ScaledConv1x1(6, 4, 1, bias=False)
    torch.testing.assert_close(conv(x, scale), scale[:, None, None] * conv(x))
