"""The backbone against a plain one written down here, and what it promises of every mixer in it."""

from __future__ import annotations

import copy
import io
import math
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from mixer_checks import default_dtype
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mixers import MixerError, MixerNet, UnsupportedSize, create_mixer, list_mixers
from mixers.nets.block import Block, Coordinates, ScaledConv1x1
from mixers.nets.norms import make_norm

every_mixer = pytest.mark.parametrize("name", list_mixers())
every_norm = pytest.mark.parametrize("norm", ["image", "token"])


def _net(mixer: str, seed: int = 0, **options) -> MixerNet:
    torch.manual_seed(seed)
    return MixerNet(
        mixer, **{"num_classes": 5, "img_size": (16, 32), "patch_size": 4, "dim": 16, "depth": 2, **options}
    )


def _image(net: MixerNet, batch: int = 2) -> Tensor:
    return torch.randn(batch, net.in_chans, *net.img_size)


def _random_parameters(net: MixerNet) -> MixerNet:
    """So that gains of one and biases of zero hide nothing."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return net


# the definition


def _plain_norm(x: Tensor, norm: str, gain: Tensor, bias: Tensor) -> Tensor:
    axes = {"image": (1, 2, 3), "token": (1,)}[norm]
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * gain[:, None, None] + bias[:, None, None]


def _plain_net(net: MixerNet, x: Tensor, norm: str, coordinates: bool) -> Tensor:
    """The net as its docstring has it, with the coordinates as two channels more."""
    p = dict(net.named_parameters())
    (height, width), batch = net.grid, len(x)
    places = [torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in (height, width)]
    row, column = (plane.expand(batch, 1, height, width) for plane in torch.meshgrid(*places, indexing="ij"))
    x = F.conv2d(x, p["stem.weight"], p["stem.bias"], stride=net.patch_size)
    for i, mixer in enumerate(net.mixers):

        def normed(y: Tensor, k: int, i: int = i) -> Tensor:
            return _plain_norm(y, norm, p[f"blocks.{i}.norm{k}.weight"], p[f"blocks.{i}.norm{k}.bias"])

        def conv(y: Tensor, name: str, i: int = i) -> Tensor:
            weight = p[f"blocks.{i}.{name}.weight"]
            if name == "proj" and coordinates:
                weight = torch.cat([weight, p[f"blocks.{i}.coordinates.weight"][:, :, None, None]], 1)
            return F.conv2d(y, weight, p[f"blocks.{i}.{name}.bias"])

        mixed = normed(mixer.reference(normed(x, 1)), 2)
        if coordinates:
            mixed = torch.cat([mixed, row, column], 1)
        x = x + p[f"blocks.{i}.scale1"][:, None, None] * conv(mixed, "proj")
        hidden = conv(normed(x, 3), "expand")
        hidden = hidden / 2 * (1 + torch.erf(hidden / 2**0.5))
        x = x + p[f"blocks.{i}.scale2"][:, None, None] * conv(hidden, "contract")
    return F.linear(
        _plain_norm(x, norm, p["norm.weight"], p["norm.bias"]).mean((2, 3)), p["head.weight"], p["head.bias"]
    )


@every_mixer
@every_norm
@pytest.mark.parametrize("coordinates", [True, False], ids=["coordinates", "without"])
@pytest.mark.parametrize(
    "shape",
    [
        {"img_size": (16, 32)},
        {"img_size": (4, 3 * 16), "depth": 1, "in_chans": 1},  # one row of tokens
        {"img_size": (8, 12), "patch_size": 1, "dim": 8, "mlp_ratio": 1.5},  # pixels, beyond the dense transforms
    ],
    ids=["grid", "row", "pixels"],
)
def test_the_net_is_its_plain_definition(name: str, norm: str, coordinates: bool, shape: dict) -> None:
    with default_dtype(torch.float64):
        net = _random_parameters(_net(name, norm=norm, coordinates=coordinates, **shape))
        x = _image(net)
        y, expected = net(x), _plain_net(net, x, norm, coordinates)
        assert y.shape == (2, 5)
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
        parameters = list(net.parameters())
        cotangent = torch.randn(2, 5)
        gradients, expected_gradients = (torch.autograd.grad(out, parameters, cotangent) for out in (y, expected))
        torch.testing.assert_close(gradients, expected_gradients, rtol=1e-8, atol=1e-9)


def test_the_scale_folded_into_a_convolution_is_the_scaled_convolution() -> None:
    conv = ScaledConv1x1(12, 8, 1, dtype=torch.float64)
    scale = torch.randn(8, dtype=torch.float64)
    x = torch.randn(2, 12, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(conv(x, scale), scale[:, None, None] * conv(x))


@pytest.mark.parametrize("size", [(4, 6), (1, 5), (5, 1), (1, 1)])
def test_coordinates_run_from_minus_one_to_one(size: tuple[int, int]) -> None:
    coordinates = Coordinates(size, 2, 16)
    with torch.no_grad():
        coordinates.weight.copy_(torch.eye(2))
    row, column = coordinates(torch.ones(2)).detach().expand(2, *size)
    for i in range(size[0]):
        for j in range(size[1]):
            assert row[i, j] == pytest.approx(2 * i / (size[0] - 1) - 1 if size[0] > 1 else 0, abs=1e-6)
            assert column[i, j] == pytest.approx(2 * j / (size[1] - 1) - 1 if size[1] > 1 else 0, abs=1e-6)


def test_coordinate_weights_start_as_those_of_a_convolution_with_two_channels_more() -> None:
    torch.manual_seed(0)
    weight = Coordinates((4, 4), 4096, 62).weight.detach()
    expected = torch.nn.Conv2d(64, 4096, 1).weight.detach()
    assert weight.abs().max() <= 1 / 8
    assert weight.std().item() == pytest.approx(expected.std().item(), rel=0.05)


def test_without_coordinates_there_are_no_parameters_for_them() -> None:
    with_them, without = (dict(_net("dct", coordinates=c).named_parameters()) for c in (True, False))
    assert set(with_them) - set(without) == {f"blocks.{i}.coordinates.weight" for i in range(2)}
    assert not set(without) - set(with_them)
    assert with_them["blocks.0.coordinates.weight"].shape == (16, 2)


@every_norm
def test_norms_are_what_they_say(norm: str) -> None:
    axes = {"image": (1, 2, 3), "token": (1,)}[norm]
    y = make_norm(norm, 24, torch.contiguous_format)(3 + 5 * torch.randn(2, 24, 6, 5))
    torch.testing.assert_close(y.mean(axes), torch.zeros_like(y.mean(axes)), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(axes, correction=0), torch.ones_like(y.mean(axes)), rtol=0, atol=1e-3)


def test_layer_scale_starts_where_it_is_told() -> None:
    for block in _net("dct").blocks:
        assert (block.scale1 == 0.1).all()
        assert (block.scale2 == 0.1).all()
    assert (_net("dct", layer_scale=0.5).blocks[1].scale2 == 0.5).all()


# who reaches whom


def _change_in_tokens(net: MixerNet, place: tuple[int, int]) -> Tensor:
    """Which tokens (rows, columns) of the features change when the patch of one is changed."""
    x = _image(net, batch=1)
    (row, column), patch = place, net.patch_size
    other = x.clone()
    other[..., row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] += 1
    with torch.no_grad():
        return (net.forward_features(x) != net.forward_features(other)).any(1)[0]


@pytest.mark.parametrize("coordinates", [True, False], ids=["coordinates", "without"])
@pytest.mark.parametrize("place", [(0, 0), (3, 7), (2, 3)])
def test_with_a_norm_per_token_and_no_mixer_no_token_reaches_another(place: tuple[int, int], coordinates: bool) -> None:
    net = _random_parameters(_net("conv1x1", norm="token", coordinates=coordinates, depth=4))
    changed = _change_in_tokens(net, place)
    assert changed[place]
    changed[place] = False
    assert not changed.any()  # bit for bit


def test_with_a_norm_per_image_tokens_reach_each_other_through_its_statistics() -> None:
    assert _change_in_tokens(_net("conv1x1", norm="image"), (2, 3)).all()


@pytest.mark.parametrize("name", [name for name in list_mixers() if name != "conv1x1"])
def test_with_a_norm_per_token_every_other_mixer_reaches_other_tokens(name: str) -> None:
    changed = _change_in_tokens(_net(name, norm="token"), (2, 3))
    changed[2, 3] = False
    assert changed.any()


def test_images_of_a_batch_do_not_meet() -> None:
    net = _net("fft_complex")
    x = _image(net, 3)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-5, atol=1e-5)


# seeds


def test_random_matrices_differ_by_layer_and_come_from_the_seed() -> None:
    def matrices(seed: int) -> list[Tensor]:
        return [mixer.matrix for mixer in MixerNet("random", img_size=16, dim=8, depth=3, seed=seed).mixers]

    first, again, other_seed = matrices(0), matrices(0), matrices(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for a, b in combinations([*first, *other_seed], 2):
        assert not torch.allclose(a, b)


def test_random_matrices_do_not_follow_the_seed_of_the_weights() -> None:
    torch.manual_seed(1)
    one = MixerNet("random", img_size=16, dim=8, depth=1)
    torch.manual_seed(2)
    two = MixerNet("random", img_size=16, dim=8, depth=1)
    assert torch.equal(one.mixers[0].matrix, two.mixers[0].matrix)
    assert not torch.equal(one.stem.weight, two.stem.weight)


def test_a_seed_in_the_mixer_goes_before_that_of_the_net_and_differs_by_layer() -> None:
    one, two = _net("random(seed=7)", depth=2, seed=1), _net("random(seed=7)", depth=2, seed=2)
    assert torch.equal(one.mixers[0].matrix, create_mixer("random", 16, (4, 8), seed=7000).matrix)
    assert torch.equal(one.mixers[1].matrix, two.mixers[1].matrix)
    assert not torch.equal(one.mixers[0].matrix, one.mixers[1].matrix)


@every_mixer
def test_same_seeds_same_net(name: str) -> None:
    one, two, other = _net(name, seed=1), _net(name, seed=1), _net(name, seed=2)
    x = _image(one)
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))


@every_mixer
def test_state_dict_round_trip(name: str) -> None:
    one, two = _random_parameters(_net(name, seed=1)), _net(name, seed=2)
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    two.load_state_dict(torch.load(file, weights_only=True), strict=True)
    x = _image(one)
    assert torch.equal(one(x), two(x))
    assert torch.equal(copy.deepcopy(one)(x), one(x))


# FLOPs


@pytest.mark.parametrize(
    ("mixer", "of_mixer", "out_channels", "executed"),
    [
        ("conv1x1", 0, 8, 0),
        ("dct", 2.5 * 8 * 4 * 2, 8, 2 * 8 * 4 * 4),
        ("hadamard", 8 * 4 * 2, 8, 2 * 8 * 4 * 4),
        ("fft_complex", 2.5 * 8 * 4 * 2, 16, 4 * 8 * 4 * 4),
        ("fft_real", 2.5 * 8 * 4 * 5, 8, 4 * 8 * 4 * 4 + 4 * 8 * 8 * 4),
        ("random", 2 * 8 * 4 * 4, 8, 2 * 8 * 4 * 4),
        ("attention", 6 * 4 * 64 + 4 * 16 * 8, 8, 6 * 4 * 64 + 4 * 16 * 8),
    ],
)
def test_flops_by_hand(mixer: str, of_mixer: float, out_channels: int, executed: float) -> None:
    # 8 x 8 pixels in patches of 4: 4 tokens of 8 channels, 3 blocks with a hidden width of 16
    net = MixerNet(mixer, num_classes=10, img_size=8, patch_size=4, dim=8, depth=3)
    stem, head = 2 * (3 * 4 * 4) * 8 * 4, 2 * 8 * 10
    convolutions = 2 * out_channels * 8 * 4 + 2 * 8 * 16 * 4 + 2 * 16 * 8 * 4
    assert net.flops() == stem + 3 * (of_mixer + convolutions) + head
    assert net.flops_executed() == stem + 3 * (executed + convolutions) + head


@pytest.mark.parametrize("mixer", ["conv1x1", "dct", "hadamard", "random", "attention(backend=plain)"])
@pytest.mark.parametrize("options", [{}, {"patch_size": 2, "mlp_ratio": 3, "num_classes": 0}], ids=["usual", "no head"])
def test_flops_executed_are_what_pytorch_counts(mixer: str, options: dict) -> None:
    net = _net(mixer, img_size=(16, 24) if mixer != "hadamard" else 16, **options)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(_image(net, 3))
    assert counter.get_total_flops() == 3 * net.flops_executed()


# shapes


@every_mixer
@pytest.mark.parametrize(
    ("options", "grid"),
    [
        ({"img_size": 8, "patch_size": 1, "dim": 8}, (8, 8)),
        ({"img_size": (8, 24), "patch_size": 2}, (4, 12)),
        ({"img_size": 16, "patch_size": 16}, (1, 1)),
        ({"img_size": (16, 8), "patch_size": 8, "in_chans": 1, "depth": 1}, (2, 1)),
    ],
)
def test_shapes(name: str, options: dict, grid: tuple[int, int]) -> None:
    net = _net(name, **options)
    x = _image(net, 3)
    features = net.forward_features(x)
    assert net.grid == grid
    assert features.shape == (3, net.num_features, *grid)
    assert [mixer.size for mixer in net.mixers] == [grid] * len(net.blocks)
    pooled = net.forward_head(features, pre_logits=True)
    torch.testing.assert_close(pooled, features.mean((2, 3)))
    torch.testing.assert_close(net.forward_head(features), net.head(pooled))
    assert net(x).shape == (3, 5)


def test_a_net_without_blocks_or_head() -> None:
    net = _net("dct", depth=0, num_classes=0)
    assert net(_image(net)).shape == (2, 16)
    assert net.flops() == 2 * 3 * 16 * 16 * 32


# a layer norm over the last axis of a permuted tensor leaves channels_last behind, whatever the mixer declares
@pytest.mark.parametrize(
    ("name", "norm"),
    [
        pytest.param(name, norm)
        for name in list_mixers()
        for norm in ("image", "token")
        for contiguous in [create_mixer(name, 8, (4, 4)).memory_format == torch.contiguous_format]
    ],
)
def test_activations_keep_the_memory_format_of_the_mixer(name: str, norm: str) -> None:
    net = _net(name, norm=norm)
    expected = create_mixer(name, 16, (4, 8)).memory_format
    assert net.memory_format == expected
    other = torch.channels_last if expected == torch.contiguous_format else torch.contiguous_format
    seen: dict[str, bool] = {}

    def look(place: str, x: Tensor) -> None:
        seen[place] = x.is_contiguous(memory_format=expected) and not x.is_contiguous(memory_format=other)

    for i, block in enumerate(net.blocks):
        for part in ("", "mixer", "proj", "expand", "contract"):
            module = block.get_submodule(part)
            module.register_forward_pre_hook(lambda _, inputs, where=f"into {i} {part}": look(where, inputs[0]))
        block.register_forward_hook(lambda _, inputs, output, where=f"out of {i}": look(where, output))
    x = _image(net)
    for image in (x, x.contiguous(memory_format=torch.channels_last)):
        seen.clear()
        net(image)
        assert len(seen) >= 2 * 4
        assert [place for place, right in seen.items() if not right] == []


# arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"img_size": 30}, "image size 30 x 30 is not a multiple of patch size 4"),
        ({"img_size": (32, 18)}, "image size 32 x 18 is not a multiple of patch size 4"),
        ({"img_size": 0}, "image size 0 x 0 is not a multiple of patch size 4"),
        ({"patch_size": 0}, "not a multiple of patch size 0"),
        ({"patch_size": -4}, "not a multiple of patch size -4"),
        ({"patch_size": 64}, "not a multiple of patch size 64"),
        ({"norm": "batch"}, "norm is 'batch'; allowed: image, token"),
        ({"dim": 0}, "dim is 0; allowed: multiples of 8"),
        ({"dim": 12}, "dim is 12; allowed: multiples of 8"),
        ({"dim": -8}, "dim is -8; allowed: multiples of 8"),
        ({"mixer": "dctt"}, "unknown mixer 'dctt'. Did you mean 'dct'?"),
        ({"mixer": "attention(head=2)"}, "Did you mean 'heads'?"),
        ({"mixer": "attention(heads=3)"}, "attention cannot split dim 16 into 3 heads"),
        ({"mixer": "random(sed=1)"}, "Did you mean 'seed'?"),
        ({"mixer": "(dct)"}, "is not a mixer"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(MixerError) as caught:
        _net(**{"mixer": "dct", **options})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_size_that_a_mixer_lacks_is_unsupported_and_not_merely_wrong() -> None:
    with pytest.raises(UnsupportedSize, match="hadamard has no matrix for a side of 7 tokens"):
        _net("hadamard", img_size=28)


@pytest.mark.parametrize(
    "options",
    [
        {"depth": -1},
        {"num_classes": -1},
        {"in_chans": 0},
        {"mlp_ratio": 0},
        {"img_size": (16, 16, 16)},
        {"mixer": "random(seed=x)"},
    ],
    ids=str,
)
def test_other_bad_arguments_are_refused_too(options: dict) -> None:
    with pytest.raises(MixerError):
        _net(**{"mixer": "dct", **options})


@pytest.mark.parametrize("coordinates", [True, False], ids=["coordinates", "without"])
def test_an_image_of_another_size_is_refused(coordinates: bool) -> None:
    net = _net("fft_real", img_size=32, coordinates=coordinates)
    with pytest.raises((MixerError, RuntimeError)):
        net(torch.randn(1, 3, 4, 4))


# training


@every_mixer
@every_norm
def test_every_parameter_gets_a_gradient(name: str, norm: str) -> None:
    net = _net(name, norm=norm)
    F.cross_entropy(net(_image(net, 4)), torch.tensor([0, 1, 2, 3])).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@every_mixer
def test_a_few_steps_lower_the_loss_on_one_batch(name: str) -> None:
    net = _net(name, img_size=16)
    x, target = _image(net, 8), torch.arange(8) % 5
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(5), abs=0.7)
    assert losses[-1] < 0.5 * losses[0]


@every_mixer
def test_bfloat16_autocast_is_near_float32(name: str) -> None:
    net = _net(name, depth=4)
    x = _image(net)
    expected = net.forward_features(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = net.forward_features(x)
    assert (features - expected).norm() < 0.03 * expected.norm()
    net(x).sum().backward()


@every_mixer
@every_norm
def test_a_bfloat16_residual_is_near_float32_and_changes_nothing_without_autocast(name: str, norm: str) -> None:
    net, plain = (_net(name, depth=4, norm=norm, residual=kind) for kind in ("bfloat16", "float32"))
    x = _image(net)
    expected = plain.forward_features(x)
    assert torch.equal(net.forward_features(x), expected)
    assert net.state_dict().keys() == plain.state_dict().keys()
    seen = []
    for module in net.modules():
        if isinstance(module, Block):
            module.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0].dtype, output.dtype]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = net.forward_features(x)
        loss = net.forward_head(features).square().mean()
    assert set(seen) == {torch.bfloat16} and features.dtype == torch.float32
    tolerance = 0.1 if name == "fft_magphase" else 0.01  # a phase near its cut may turn over
    assert (features - expected).norm() < tolerance * expected.norm()
    loss.backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters()
    )


@pytest.mark.parametrize("coordinates", [True, False], ids=["coordinates", "without"])
def test_a_float32_residual_stays_so_under_autocast(coordinates: bool) -> None:
    net, seen = _net("dct", coordinates=coordinates), []
    for block in net.blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0].dtype, output.dtype]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(_image(net))
    assert set(seen) == {torch.float32}


@every_norm
def test_norms_of_bfloat16_take_their_statistics_in_float32(norm: str) -> None:
    """A sum of so many numbers in bfloat16 would stop where the next one is less than half of its last digit."""
    torch.manual_seed(0)
    x = (1 + 0.1 * torch.randn(2, 512, 16, 16)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = make_norm(norm, 512, torch.contiguous_format, keep_half=True)(x)
    assert y.dtype == torch.bfloat16
    expected = _plain_norm(x.double(), norm, torch.ones(512), torch.zeros(512))
    torch.testing.assert_close(y.double(), expected, rtol=2**-7, atol=2**-7)


@every_norm
@pytest.mark.parametrize(("keep_half", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_norms_keep_bfloat16_where_autocast_on_a_gpu_lifts_it(norm: str, keep_half: bool, dtype, monkeypatch) -> None:
    """On tensors that only say that they are on one."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **options: True)
    with FakeTensorMode(), torch.device("cuda"), torch.autocast("cuda", torch.bfloat16):
        x = torch.zeros(2, 16, 4, 4, dtype=torch.bfloat16)
        assert make_norm(norm, 16, torch.contiguous_format, keep_half)(x).dtype == dtype


def test_another_residual_is_refused() -> None:
    with pytest.raises(MixerError, match="residual is 'float16'; allowed: float32, bfloat16"):
        _net("dct", residual="float16")
