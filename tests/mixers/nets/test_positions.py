"""Positions behind the stem, and the norm over channels that copies nothing."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
import torch.fx
import torch.nn.functional as F
from mixer_checks import default_dtype
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mixers import MixerError, MixerNet
from mixers.nets.norms import _NormOverChannels, make_norm, norm_over_channels

every_kind = pytest.mark.parametrize("positions", ["learned", "sine"])
SHAPES = [(2, 6, 3, 5), (1, 8, 1, 7), (3, 5, 1, 1), (2, 64, 8, 8)]


def _net(positions: str = "none", mixer: str = "dct", **options: Any) -> MixerNet:
    torch.manual_seed(0)
    shape = {"num_classes": 5, "img_size": (16, 32), "dim": 16, "depth": 2}
    return MixerNet(mixer, positions=positions, **{**shape, **options})


def _sines(dim: int, rows: int, columns: int) -> Tensor:
    """(dim, rows, columns) by the formula, one number at a time."""
    groups = math.ceil(dim / 4)
    table = torch.empty(dim, rows, columns, dtype=torch.float64)
    for c in range(dim):
        speed = 10_000 ** (-(c // 4) / groups)
        for i in range(rows):
            for j in range(columns):
                angle = (i if c % 4 < 2 else j) * speed
                table[c, i, j] = math.cos(angle) if c % 2 else math.sin(angle)
    return table


@every_kind
@pytest.mark.parametrize("mixer", ["dct", "attention"])  # one a memory format
@pytest.mark.parametrize("shape", [{}, {"img_size": (4, 48)}, {"patch_size": 1, "img_size": (3, 5)}], ids=str)
def test_positions_are_added_right_behind_the_stem(positions: str, mixer: str, shape: dict) -> None:
    with default_dtype(torch.float64):
        net, plain = _net(positions, mixer, **shape), _net("none", mixer, **shape)
        x = torch.randn(2, 3, *net.img_size)
        added = net.positions.weight if positions == "learned" else _sines(16, *net.grid)
        tokens = plain.stem(x) + added
        torch.testing.assert_close(net.forward_features(x), plain.norm(plain.blocks(tokens)))


@every_kind
def test_a_net_with_positions_is_made_of_fake_tensors_as_plans_and_memory_estimates_make_it(positions: str) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert _net(positions)(torch.randn(2, 3, 16, 32)).shape == (2, 5)


def test_learned_positions_start_small_are_counted_and_leave_the_other_weights_as_they_are() -> None:
    net, plain = _net("learned", dim=64), _net("none", dim=64)
    weights, others = dict(net.named_parameters()), dict(plain.named_parameters())
    assert set(weights) - set(others) == {"positions.weight"}
    assert all(torch.equal(weights[name], value) for name, value in others.items())
    assert weights["positions.weight"].shape == (64, 4, 8)
    assert weights["positions.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    assert net.flops() == plain.flops()
    assert net.no_weight_decay() == {"positions.weight"} and plain.no_weight_decay() == set()
    net(torch.randn(2, 3, 16, 32)).sum().backward()
    assert weights["positions.weight"].grad.abs().max() > 0


def test_timm_gives_learned_positions_the_rate_of_the_stem_and_no_weight_decay() -> None:
    timm = pytest.importorskip("timm")
    optim = pytest.importorskip("timm.optim")
    net = timm.create_model("mixernet_nano", mixer="dct", positions="learned", pretrained=False)
    groups = optim.param_groups_layer_decay(net, 0.1, no_weight_decay_list=net.no_weight_decay(), layer_decay=0.5)
    (mine,) = [g for g in groups if any(p is net.positions.weight for p in g["params"])]
    (stem,) = [g for g in groups if any(p is net.stem.bias for p in g["params"])]
    assert mine["weight_decay"] == 0 and mine["lr_scale"] == stem["lr_scale"]


def test_sine_positions_have_no_weights_and_are_exact_in_the_dtype_of_the_net() -> None:
    net = _net("sine")
    assert dict(net.named_parameters()).keys() == dict(_net().named_parameters()).keys()
    assert "positions.sines" not in net.state_dict()
    torch.testing.assert_close(net.positions(), _sines(16, 4, 8).float(), rtol=0, atol=1e-7)
    torch.testing.assert_close(net.double().positions(), _sines(16, 4, 8), rtol=0, atol=1e-14)
    with torch.device("meta"):
        empty = _net("sine")
    assert empty.positions().is_meta
    torch.testing.assert_close(empty.to_empty(device="cpu").positions(), _sines(16, 4, 8).float(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("kinds", [("none", "sine"), ("sine", "none"), ("learned", "sine")], ids=str)
def test_a_checkpoint_of_other_positions_is_refused(kinds: tuple[str, str]) -> None:
    saved, net = (_net(kind) for kind in kinds)
    with pytest.raises(MixerError, match=f"of MixerNet with positions={kinds[0]}, this is .* positions={kinds[1]}"):
        net.load_state_dict(saved.state_dict(), strict=False)


@pytest.mark.parametrize("positions", ["none", "learned", "sine"])
def test_a_checkpoint_goes_round_and_one_from_before_positions_is_of_a_net_without(positions: str) -> None:
    class Before(MixerNet):
        def definition(self) -> dict[str, Any]:
            return {"class": "MixerNet", "norm": "image"}

    saved = _net(positions)
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    loaded, x = _net(positions, seed=1), torch.randn(2, 3, 16, 32)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(loaded(x), saved(x))
    before = Before("dct", num_classes=5, img_size=(16, 32), dim=16, depth=2).state_dict()
    if positions == "none":
        loaded.load_state_dict(before)
    else:
        with pytest.raises(MixerError, match="positions=none"):
            loaded.load_state_dict(before, strict=False)


@every_kind
@pytest.mark.parametrize("mixer", ["dct", "attention"])
@pytest.mark.parametrize("norm", ["image", "token"])
def test_positions_under_autocast_with_either_residual(positions: str, mixer: str, norm: str) -> None:
    nets = [_net(positions, mixer, norm=norm, residual=kind) for kind in ("float32", "bfloat16")]
    x = torch.randn(2, 3, 16, 32)
    expected = nets[0].forward_features(x)
    for net, dtype in zip(nets, (torch.float32, torch.bfloat16), strict=True):
        seen = []
        net.blocks[0].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].dtype))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = net.forward_features(x)
        assert seen == [dtype]
        assert (features - expected).norm() < 0.05 * expected.norm()


@every_kind
@pytest.mark.parametrize("norm", ["image", "token"])
def test_a_net_with_positions_is_exported_traced_and_transformed(positions: str, norm: str) -> None:
    net = _net(positions, norm=norm).eval()
    x = torch.randn(2, 3, 16, 32)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x), rtol=1e-4, atol=1e-5)
    each = torch.func.vmap(lambda one: net(one[None])[0])(x)
    torch.testing.assert_close(each, net(x), rtol=1e-4, atol=1e-5)
    along, moved = torch.func.jvp(net, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(along, net(x), rtol=1e-4, atol=1e-5)
    assert moved.isfinite().all()
    compiled = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)


def test_positions_are_for_one_size_and_of_three_kinds() -> None:
    with pytest.raises(MixerError, match="the net was built for images of"):
        _net("learned")(torch.randn(1, 3, 32, 32))
    with pytest.raises(MixerError, match="positions is 'sin'; allowed: none, learned, sine"):
        _net("sin")


# the norm


def _exact(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    x = x.double()
    variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * weight.double()[:, None, None] + bias.double()[:, None, None]


def _inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x = (3 + 2 * torch.randn(shape, dtype=dtype)).requires_grad_()
    return x, *(torch.randn(shape[1], dtype=dtype).requires_grad_() for _ in range(2))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_norm_over_channels_is_as_near_to_float64_as_pytorchs(shape: tuple[int, ...]) -> None:
    inputs = _inputs(shape)
    assert "_NormOverChannels" in type(norm_over_channels(*inputs, 1e-5).grad_fn).__name__ or 1 in shape[2:]
    cotangent = torch.randn(shape)

    def results(function: Any) -> list[Tensor]:
        y = function(*inputs)
        return [y, *torch.autograd.grad(y, inputs, cotangent.to(y.dtype))]

    exact = results(_exact)
    theirs = results(lambda x, w, b: F.layer_norm(x.permute(0, 2, 3, 1), w.shape, w, b).permute(0, 3, 1, 2))
    for name, mine, other, wanted in zip(
        ("y", "x", "w", "b"), results(lambda *i: _NormOverChannels.apply(*i, 1e-5)), theirs, exact, strict=True
    ):
        allowed = 4 * (other - wanted).norm() + 4 * torch.finfo(torch.float32).eps * (wanted.norm() + 1)
        assert (mine - wanted).norm() <= allowed, name


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_first_and_second_derivatives_of_the_norm_over_channels(shape: tuple[int, ...]) -> None:
    inputs = _inputs(shape, torch.float64)
    function = lambda x, w, b: _NormOverChannels.apply(x, w, b, 1e-5)  # noqa: E731
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_the_norm_takes_tokens_as_they_lie_and_pytorchs_operator_where_that_knows_more(monkeypatch) -> None:
    calls = []
    apply = _NormOverChannels.apply
    monkeypatch.setattr(_NormOverChannels, "apply", lambda *inputs: calls.append(1) or apply(*inputs))
    norm, x = make_norm("token", 8, torch.contiguous_format), torch.randn(2, 8, 3, 5)
    y = norm(x)
    assert len(calls) == 1 and y.is_contiguous()
    last = make_norm("token", 8, torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = F.layer_norm(x.bfloat16().permute(0, 2, 3, 1), (8,), norm.weight, norm.bias).permute(0, 3, 1, 2)
        torch.testing.assert_close(norm(x.bfloat16()), half.contiguous())
        norm(x)
    assert len(calls) == 1
    torch.testing.assert_close(torch.func.vmap(lambda one: norm(one[None])[0])(x), y)
    torch.testing.assert_close(torch.export.export(norm, (x,)).module()(x), y)
    torch.testing.assert_close(torch.jit.trace(norm, x)(x), y)
    with torch.autograd.forward_ad.dual_level():
        dual = norm(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
        assert torch.autograd.forward_ad.unpack_dual(dual).tangent is not None
    torch.testing.assert_close(torch.fx.symbolic_trace(norm)(x), y)
    assert len(calls) <= 3  # the traced modules, in eager mode


@pytest.mark.parametrize("learned", [(True, False, False), (False, True, True), (True, True, False)], ids=str)
def test_second_derivatives_where_some_of_input_gain_and_bias_are_frozen(learned: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in ((2, 5, 3, 4), (5,), (5,))]
    free = [tensor.requires_grad_() for tensor, needs in zip(tensors, learned, strict=True) if needs]

    def seconds(y: Tensor) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(y.pow(3).sum(), free, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), free)

    plain = F.layer_norm(tensors[0].movedim(1, -1), (5,), tensors[1], tensors[2], 1e-5).movedim(-1, 1)
    torch.testing.assert_close(seconds(norm_over_channels(*tensors, 1e-5)), seconds(plain))
