"""The first source's net against the same written down with NumPy, in float64 and as its code had it."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mixer_checks import default_dtype
from torch import nn

from mixers import MixerError, Spectracles
from mixers.nets.spectracles import ComplexConv1x1, equal_width, parameter_count, spectrum_statistics

SIZES = [(8, 8), (5, 7), (6, 3), (1, 9), (7, 1), (2, 1)]
LAYOUTS = ["right", "scrambled"]
STANDARDIZED = ["chw", "c", "none"]
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_standardize = pytest.mark.parametrize("standardize", STANDARDIZED)


def build(**options) -> Spectracles:
    """A small float64 net whose biases are not near zero, so that none of them is hidden."""
    torch.manual_seed(0)
    with default_dtype(torch.float64):
        net = Spectracles(**({"width": 6, "depth": 2, "num_classes": 5} | options))
        for parameter in net.parameters():
            nn.init.uniform_(parameter, -0.6, 0.6)
    return net


def images(size: tuple[int, int], batch: int = 3, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, channels, *size, dtype=torch.float64, generator=generator)


# the definition, by NumPy alone


def plain_standardize(x: np.ndarray, kind: str) -> np.ndarray:
    axes = {"chw": (1, 2, 3), "c": 1}[kind]
    return (x - x.mean(axes, keepdims=True)) / (x.std(axes, ddof=1, keepdims=True) + 1e-6)


def plain_conv(x: np.ndarray, conv: nn.Conv2d) -> np.ndarray:
    """A 1x1 convolution over [x, row, column]."""
    batch, _, height, width = x.shape
    rows, columns = np.zeros((batch, 1, height, width)), np.zeros((batch, 1, height, width))
    for h, w in product(range(height), range(width)):
        rows[:, 0, h, w] = h / (height - 1) if height > 1 else 0
        columns[:, 0, h, w] = w / (width - 1) if width > 1 else 0
    weight, bias = conv.weight.detach().numpy()[:, :, 0, 0], conv.bias.detach().numpy()
    return np.einsum("oc,bchw->bohw", weight, np.concatenate([x, rows, columns], 1)) + bias[:, None, None]


def plain_net(net: Spectracles, x, standardize="chw", layout="right", residual=True, standardize_at="after"):
    x = np.asarray(x, np.float64)
    for layer, block in enumerate(net.blocks):
        y = x
        if standardize_at == "before" and standardize != "none":
            y = plain_standardize(y, standardize)
        spectrum = np.fft.fft2(y)
        batch, channels, height, width = spectrum.shape
        if layout == "scrambled":  # view_as_real(X).reshape(b, 2c, h, w)
            y = np.stack([spectrum.real, spectrum.imag], -1).reshape(batch, 2 * channels, height, width)
        else:
            y = np.concatenate([spectrum.real, spectrum.imag], 1)
        if standardize_at == "after" and standardize != "none":
            y = plain_standardize(y, standardize)
        y = plain_conv(y, block.proj)
        for linear in block.linears:
            y = plain_conv(np.maximum(y, 0), linear)
        x = np.maximum(x + y if residual and layer > 0 else y, 0)
    weight, bias = net.head.weight.detach().numpy(), net.head.bias.detach().numpy()
    return x.mean((2, 3)) @ weight.T + bias


def agree(net: Spectracles, x: torch.Tensor, **choices) -> bool:
    expected = plain_net(net, x, **choices)
    return np.linalg.norm(net(x).detach().numpy() - expected) <= 1e-9 * np.linalg.norm(expected)


@every_layout
@every_standardize
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("n_linear", "residual"), [(0, True), (2, False)])
def test_it_is_the_net_of_the_log(layout, standardize, size, n_linear, residual):
    choices = {"layout": layout, "standardize": standardize, "residual": residual}
    assert agree(build(n_linear=n_linear, **choices), images(size), **choices)


@every_layout
@pytest.mark.parametrize("standardize", ["chw", "c"])
def test_standardisation_before_the_transform(layout, standardize):
    choices = {"layout": layout, "standardize": standardize, "standardize_at": "before"}
    assert agree(build(**choices), images((5, 4)), **choices)


def test_a_net_built_otherwise_is_told_apart():
    """Each choice, taken wrongly, moves the output: the comparison above has teeth."""
    defaults = {"layout": "right", "standardize": "chw", "residual": True, "standardize_at": "after"}
    others = [{"layout": "scrambled"}, {"standardize": "c"}, {"standardize": "none"}, {"residual": False}]
    for other in [*others, {"standardize_at": "before"}]:
        assert not agree(build(**(defaults | other)), images((5, 4)), **defaults)


BREAKS = {
    "another epsilon": lambda patch: patch.setattr("mixers.nets.spectracles.EPSILON", 1e-2),
    "an orthonormal transform": lambda patch: patch.setattr("mixers.nets.spectracles.math.sqrt", lambda x: 1.0),
    "coordinates from -1": lambda patch: patch.setattr(
        "mixers.nets.spectracles.unit_coordinates", lambda x: torch.ones(2, *x.shape[-2:], dtype=x.dtype) * -1
    ),
    "a biased std": lambda patch: patch.setattr(
        "mixers.nets.spectracles.spectrum_statistics",
        lambda x: (spectrum_statistics(x)[0], spectrum_statistics(x)[1] * (1 - 1 / (2 * x[0].numel())) ** 0.5),
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_twin_is_told_apart(monkeypatch, broken):
    # without standardisation where that would hide the scale of the transform
    choices = {"standardize": "none" if broken == "an orthonormal transform" else "chw"}
    net, x = build(**choices), images((5, 4))
    assert agree(net, x, **choices)
    BREAKS[broken](monkeypatch)
    assert not agree(net, x, **choices)


@pytest.mark.parametrize("size", [(1, 1), *SIZES])
def test_the_statistics_of_the_spectrum_are_those_of_the_transform(size):
    x = images(size)
    spectrum = torch.fft.fft2(x)
    std, mean = torch.std_mean(torch.cat([spectrum.real, spectrum.imag], 1), (1, 2, 3), keepdim=True)
    torch.testing.assert_close(spectrum_statistics(x), (mean, std))


@every_layout
@every_standardize
def test_gradients_are_those_of_finite_differences(layout, standardize):
    net = build(width=3, depth=1, n_linear=1, layout=layout, standardize=standardize, num_classes=2)
    x = images((3, 4), batch=2).requires_grad_()
    names, parameters = zip(*net.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(function, (x, *parameters), fast_mode=True)


@every_layout
@every_standardize
@pytest.mark.parametrize("standardize_at", ["after", "before"])
def test_a_gradient_reaches_every_parameter(layout, standardize, standardize_at):
    torch.manual_seed(0)
    net = Spectracles(8, 2, 1, standardize, layout, 5, standardize_at=standardize_at)
    net(torch.rand(4, 3, 9, 6)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@every_standardize
def test_an_image_of_zeros_has_a_finite_gradient(standardize):
    net = build(standardize=standardize)
    x = torch.zeros(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    net(x).sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (x, *net.parameters()))


@every_layout
@every_standardize
def test_float32_is_close_to_float64(layout, standardize):
    torch.manual_seed(0)
    net = Spectracles(32, 4, 1, standardize, layout)
    x = torch.rand(2, 3, 32, 32)
    expected = copy.deepcopy(net).double()(x.double())
    assert torch.linalg.norm(net(x) - expected) < 1e-4 * torch.linalg.norm(expected)


@pytest.mark.parametrize(("width", "depth", "n_linear", "count"), [(32, 4, 0, 12_164), (32, 4, 1, 17_764)])
def test_the_parameters_of_the_published_nets(width, depth, n_linear, count):
    assert sum(p.numel() for p in Spectracles(width, depth, n_linear).parameters()) == count


@pytest.mark.parametrize(("width", "depth", "n_linear", "classes", "channels"), [(5, 0, 0, 1, 1), (64, 8, 3, 100, 3)])
def test_parameters_in_closed_form(width, depth, n_linear, classes, channels):
    net = Spectracles(width, depth, n_linear, num_classes=classes, in_chans=channels)
    projections = width * (2 * channels + 3) + depth * width * (2 * width + 3)
    linears = (depth + 1) * n_linear * width * (width + 3)
    assert sum(p.numel() for p in net.parameters()) == projections + linears + classes * (width + 1)


@every_layout
@every_standardize
def test_permuting_the_colours_permutes_the_first_weights(layout, standardize):
    """In either layout a channel's two halves stay together, and no statistic knows the order of channels."""
    net = build(layout=layout, standardize=standardize)
    x, order = images((4, 6)), torch.tensor([2, 0, 1])
    permuted = copy.deepcopy(net)
    weight = net.blocks[0].proj.weight.detach()
    parts, places = weight[:, :6], weight[:, 6:]
    if layout == "right":  # [re 0, re 1, re 2, im 0, im 1, im 2]
        parts = parts.unflatten(1, (2, 3))[:, :, order].flatten(1, 2)
    else:  # [upper 0, lower 0, upper 1, ...]
        parts = parts.unflatten(1, (3, 2))[:, order].flatten(1, 2)
    permuted.blocks[0].proj.weight = nn.Parameter(torch.cat([parts, places], 1))
    torch.testing.assert_close(permuted(x[:, order]), net(x))
    assert not torch.allclose(net(x[:, order]), net(x))


def test_the_right_layout_alone_can_read_a_frequency():
    """A block with one channel and weights (a, b) is relu(a Re + b Im) at every frequency, and only in one layout."""
    net = build(width=1, depth=0, num_classes=1, in_chans=1, standardize="none")
    with torch.no_grad():
        net.blocks[0].proj.weight.copy_(torch.tensor([2.0, -1.0, 0.0, 0.0])[None, :, None, None])
        net.blocks[0].proj.bias.zero_()
    x = images((4, 6), channels=1)
    spectrum = torch.fft.fft2(x)
    coordinates = torch.zeros(2, 4, 6, dtype=torch.float64)
    expected = F.relu(2 * spectrum.real - spectrum.imag)
    torch.testing.assert_close(net.blocks[0](x, coordinates), expected)
    net.blocks[0].scrambled = True
    assert not torch.allclose(net.blocks[0](x, coordinates), expected)


def test_one_image_does_not_move_another():
    net, x = build(), images((5, 5))
    torch.testing.assert_close(net(x)[1:], net(x[1:]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 0}, "width is 0; allowed: whole numbers from 1"),
        ({"width": 1.5}, "width is 1.5"),
        ({"depth": -1}, "depth is -1; allowed: whole numbers from 0"),
        ({"n_linear": -1}, "n_linear is -1"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"in_chans": True}, "in_chans is True"),
        ({"standardize": "hw"}, "standardize is 'hw'; allowed: chw, c, none"),
        ({"standardize": None}, "standardize is None; allowed"),
        ({"layout": "left"}, "layout is 'left'; allowed: right, scrambled"),
        ({"standardize_at": "never"}, "standardize_at is 'never'; allowed: after, before"),
        ({"standardize": "c", "standardize_at": "before", "in_chans": 1}, "one channel alone"),
        ({"complex": 1}, "complex is 1; allowed: True, False"),
        ({"complex": True, "layout": "scrambled"}, "layout is 'scrambled'; allowed with complex=True: right"),
    ],
)
def test_a_bad_argument_is_told_in_one_line(options, says):
    with pytest.raises(MixerError) as caught:
        Spectracles(**options)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (3, 8, 8)])
def test_another_number_of_channels_is_told(shape):
    with pytest.raises(MixerError, match="allowed: B x 3 x H x W"):
        Spectracles()(torch.zeros(shape))


# complex layers


def plain_complex_conv(x: np.ndarray, conv: ComplexConv1x1) -> np.ndarray:
    """A complex 1x1 convolution over [x, row, column], number by number."""
    _, _, height, width = x.shape
    weight, bias = (p.detach().numpy()[..., 0] + 1j * p.detach().numpy()[..., 1] for p in (conv.weight, conv.bias))
    out = np.zeros((len(x), len(weight), height, width), complex)
    for h, w in product(range(height), range(width)):
        place = [h / (height - 1) if height > 1 else 0, w / (width - 1) if width > 1 else 0]
        inputs = np.concatenate([x[:, :, h, w], np.tile(place, (len(x), 1))], 1)
        for k, row in enumerate(weight):
            out[:, k, h, w] = [sum(a * b for a, b in zip(row, numbers, strict=True)) + bias[k] for numbers in inputs]
    return out


def parts_relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x.real, 0) + 1j * np.maximum(x.imag, 0)


def over_both_parts(x: np.ndarray, kind: str) -> np.ndarray:
    y = plain_standardize(np.concatenate([x.real, x.imag], 1), kind)
    return y[:, : x.shape[1]] + 1j * y[:, x.shape[1] :]


def plain_complex_net(net: Spectracles, x, standardize="chw", residual=True, standardize_at="after"):
    x = np.asarray(x, np.float64)
    for layer, block in enumerate(net.blocks):
        y = x
        if standardize_at == "before" and standardize != "none":
            y = over_both_parts(y, standardize) if layer else plain_standardize(y, standardize)
        y = np.fft.fft2(y)
        if standardize_at == "after" and standardize != "none":
            y = over_both_parts(y, standardize)
        y = plain_complex_conv(y, block.proj)
        for linear in block.linears:
            y = plain_complex_conv(parts_relu(y), linear)
        x = parts_relu(x + y if residual and layer else y)
    means = np.concatenate([x.real, x.imag], 1).mean((2, 3))
    return means @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy()


@every_standardize
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("n_linear", "residual", "standardize_at"), [(0, True, "after"), (2, False, "before")])
def test_complex_layers_are_those_of_complex_arithmetic(standardize, size, n_linear, residual, standardize_at):
    choices = {"standardize": standardize, "residual": residual, "standardize_at": standardize_at}
    net, x = build(n_linear=n_linear, complex=True, **choices), images(size)
    expected = plain_complex_net(net, x, **choices)
    assert np.linalg.norm(net(x).detach().numpy() - expected) <= 1e-9 * np.linalg.norm(expected)


def test_a_complex_layer_turns_a_number():
    """i (a + i b) = -b + i a, which no layer of separate parts gives by one weight."""
    conv = ComplexConv1x1(1, 1).double()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]))
        conv.bias.zero_()
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    places = torch.zeros(2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(conv(x, None, places), torch.cat([-x[:, 1:], x[:, :1]], 1))


@every_standardize
@pytest.mark.parametrize("standardize_at", ["after", "before"])
def test_a_gradient_reaches_every_complex_parameter_and_both_of_its_parts(standardize, standardize_at):
    torch.manual_seed(0)
    net = Spectracles(8, 2, 1, standardize, num_classes=5, standardize_at=standardize_at, complex=True)
    net(torch.rand(4, 3, 9, 6)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        last = parameter.grad.flatten(0, -2) if parameter.shape[-1] == 2 else parameter.grad.reshape(-1, 1)
        assert last.any(0).all(), name


def test_complex_gradients_are_those_of_finite_differences():
    net = build(width=3, depth=1, n_linear=1, num_classes=2, complex=True)
    x = images((3, 4), batch=2).requires_grad_()
    assert torch.autograd.gradcheck(net, x, fast_mode=True)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize(("width", "depth", "n_linear", "classes", "channels"), [(5, 0, 0, 1, 1), (27, 4, 2, 100, 3)])
def test_the_count_of_parameters_is_the_nets(complex, width, depth, n_linear, classes, channels):
    net = Spectracles(width, depth, n_linear, num_classes=classes, in_chans=channels, complex=complex)
    count = parameter_count(width, depth, n_linear, classes, channels, complex)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(("width", "depth", "n_linear"), [(32, 4, 0), (64, 4, 0), (32, 8, 0), (32, 4, 1)])
def test_a_net_of_the_other_kind_has_about_as_many_parameters(width, depth, n_linear):
    real = Spectracles(width, depth, n_linear)
    twin = Spectracles(equal_width(real), depth, n_linear, complex=True)
    counts = [sum(p.numel() for p in net.parameters()) for net in (real, twin)]
    assert abs(counts[1] / counts[0] - 1) < 0.03
    assert equal_width(twin) == width


def test_it_starts_as_loud_as_the_real_net():
    torch.manual_seed(0)
    x = torch.rand(8, 3, 16, 16)
    streams = []
    for complex in (False, True):
        net = Spectracles(32, 3, complex=complex)
        net.head = nn.Identity()
        streams.append(net(x).square().mean().sqrt())
    assert 0.7 < streams[1] / streams[0] < 1.4


def test_a_checkpoint_of_complex_layers_is_told_from_one_of_real_layers():
    real, twin = Spectracles(8, 1, num_classes=4), Spectracles(8, 1, num_classes=4, complex=True)
    fresh = Spectracles(8, 1, num_classes=4, complex=True)
    fresh.load_state_dict(twin.state_dict())
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(fresh(x), twin(x)) and fresh(x[:0]).shape == (0, 4)
    with pytest.raises(MixerError, match="complex=True"):
        real.load_state_dict({"_extra_state": twin.state_dict()["_extra_state"]}, strict=False)


def test_complex_layers_are_exported():
    net, x = Spectracles(8, 1, 1, num_classes=4, complex=True).eval(), torch.rand(2, 3, 6, 5)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
