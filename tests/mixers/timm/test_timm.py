"""Both ways into timm: the backbone as one of its models, and our mixers in its MetaFormer."""

from __future__ import annotations

import copy
import importlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import timm
import timm.data
import timm.utils
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mixer_checks import default_dtype
from PIL import Image
from timm.loss import SoftTargetCrossEntropy
from timm.models import group_parameters
from timm.models.metaformer import GroupNorm1NoBias, MetaFormer
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn

from mixers import Mixer, MixerError, MixerNet, UnsupportedSize, create_mixer, list_mixers
from mixers.timm.models import MixerMetaFormer, metaformer_token_mixers

every_mixer = pytest.mark.parametrize("mixer", list_mixers())
# no parameters, fixed matrices, learned matrices, another memory format, another number of channels
some_mixers = pytest.mark.parametrize("mixer", ["dct", "random", "linear", "attention", "fft_complex"])


def _create(mixer: str = "dct", **options) -> nn.Module:
    """mixernet_nano, small: 16 channels, 3 blocks, 4 x 8 tokens, 5 classes."""
    torch.manual_seed(0)
    small = {"img_size": (16, 32), "dim": 16, "depth": 3, "num_classes": 5}
    return timm.create_model("mixernet_nano", mixer=mixer, **{**small, **options})


def _net(mixer: str = "dct", **options) -> MixerNet:
    net = _create(mixer, **options)
    assert type(net) is MixerNet
    return net


def _images(net: MixerNet | MixerMetaFormer, batch: int = 2) -> Tensor:
    return torch.randn(batch, net.in_chans, *net.img_size, generator=torch.Generator().manual_seed(1))


def _random_parameters(net: nn.Module) -> None:
    """So that gains of one and biases of zero hide nothing."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)


def _outputs_of_blocks(net: MixerNet, x: Tensor) -> list[Tensor]:
    outputs = []
    x = net.stem(x)
    for block in net.blocks:
        x = block(x)
        outputs.append(x)
    return outputs


def _close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# the backbone: creating it


@pytest.mark.parametrize(
    ("name", "dim", "depth"), [("mixernet_nano", 64, 4), ("mixernet_tiny", 192, 8), ("mixernet_small", 384, 12)]
)
def test_timm_knows_the_variants(name: str, dim: int, depth: int) -> None:
    assert name in timm.list_models("mixernet*", module="models")
    with torch.device("meta"):
        model = timm.create_model(name, mixer="conv1x1")
    assert type(model) is MixerNet
    assert (model.num_features, len(model.blocks), model.num_classes, model.img_size) == (dim, depth, 100, (32, 32))
    assert model.head_hidden_size == dim
    for cfg in (model.default_cfg, model.pretrained_cfg):
        assert cfg["input_size"] == (3, 32, 32)
        assert cfg["num_classes"] == 100
        assert cfg["first_conv"] == "stem"
        assert cfg["classifier"] == "head"
    data = timm.data.resolve_model_data_config(model)
    assert data["input_size"] == (3, 32, 32)
    assert data["mean"] == pytest.approx((0.5071, 0.4865, 0.4409))


def test_timm_passes_every_option_on() -> None:
    model = _net("random", img_size=(8, 16), patch_size=2, in_chans=1, depth=1, norm="token", seed=3, num_classes=100)
    assert model(torch.randn(2, 1, 8, 16)).shape == (2, 100)
    assert torch.equal(model.mixers[0].matrix, create_mixer("random", 16, (4, 8), seed=3000).matrix)


def test_what_the_scripts_of_timm_leave_unset_changes_nothing() -> None:
    """train.py, validate.py and benchmark.py pass these, most of them as None."""
    unset = ("drop_path_rate", "drop_block_rate", "global_pool", "bn_momentum", "bn_eps", "cache_dir")
    given = {"pretrained": False, "drop_rate": 0.0, "scriptable": False, "checkpoint_path": ""}
    model = _net(**{**dict.fromkeys(unset), **given})
    assert torch.equal(model(_images(model)), _net()(_images(model)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"no_such_option": 1}, MixerError, "no_such_option"),
        ({"drop_block_rate": 0.1}, MixerError, "drop_block_rate"),
        ({"mixer": "dctt"}, MixerError, "Did you mean 'dct'"),
        ({"drop_rate": 1.0}, MixerError, "drop_rate is 1.0; allowed: from 0 to below 1"),
        ({"drop_path_rate": -0.1}, MixerError, "drop_path_rate is -0.1; allowed: from 0 to below 1"),
        ({"global_pool": "max"}, MixerError, "global_pool is 'max'; allowed: 'avg', or '' with num_classes=0"),
        ({"global_pool": ""}, MixerError, "global_pool is ''; allowed: 'avg', or '' with num_classes=0"),
        ({"pretrained": True}, RuntimeError, "[Nn]o pretrained weights"),
    ],
    ids=str,
)
def test_what_does_not_exist_is_refused(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        _net(**options)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
def test_torchscript_is_refused_in_one_line() -> None:
    with pytest.raises(MixerError, match=r"cannot be scripted by torch\.jit\.script; use torch\.compile"):
        torch.jit.script(_net())


@some_mixers
def test_a_checkpoint_comes_back(mixer: str, tmp_path: Path) -> None:
    saved = _net(mixer)
    _random_parameters(saved)
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": saved.state_dict()}, path)
    loaded = _net(mixer, checkpoint_path=str(path))
    assert torch.equal(loaded(_images(saved)), saved(_images(saved)))


def test_weights_fit_another_head_and_another_number_of_image_channels(tmp_path: Path) -> None:
    saved = _net(num_classes=100)
    path = tmp_path / "weights.pth"
    torch.save(saved.state_dict(), path)
    overlay = {"file": str(path)}
    loaded = _net(num_classes=7, in_chans=1, pretrained=True, pretrained_cfg_overlay=overlay)
    gray = _images(loaded)
    _close(loaded.forward_features(gray), saved.forward_features(gray.expand(-1, 3, -1, -1)))
    assert loaded(gray).shape == (2, 7)


# the backbone: features and head


@some_mixers
def test_features_and_head_make_the_output(mixer: str) -> None:
    net = _net(mixer)
    x = _images(net)
    features = net.forward_features(x)
    assert features.shape == (2, 16, 4, 8)
    pooled = net.forward_head(features, pre_logits=True)
    _close(pooled, features.mean((2, 3)))
    assert pooled.shape == (2, net.head_hidden_size)
    assert torch.equal(net.forward_head(features), net(x))
    _close(net(x), F.linear(pooled, net.head.weight, net.head.bias))


def test_the_head_is_given_and_replaced() -> None:
    net = _net(num_classes=10).double().eval()
    x = _images(net).double()
    assert net.get_classifier() is net.head
    flops = net.flops()
    net.reset_classifier(7)
    assert net(x).shape == (2, 7)
    assert net.num_classes == 7
    assert net.flops() == flops - 2 * 16 * 3
    assert net.head.weight.dtype == torch.float64
    assert not net.head.training
    net.reset_classifier(0)
    assert isinstance(net.head, nn.Identity)
    _close(net(x), net.forward_features(x).mean((2, 3)))
    net.reset_classifier(0, "")
    assert torch.equal(net(x), net.forward_features(x))
    with pytest.raises(MixerError, match="global_pool is ''"):
        net.reset_classifier(3)
    net.reset_classifier(3, "avg")
    assert net(x).shape == (2, 3)
    with pytest.raises(MixerError, match="global_pool is 'max'; allowed: 'avg'"):
        net.reset_classifier(3, "max")
    assert (net.num_classes, net.global_pool) == (3, "avg")


def test_without_a_head_and_without_pooling_features_come_out() -> None:
    net = _net(num_classes=0, global_pool="")
    x = _images(net)
    assert torch.equal(net(x), net.forward_features(x))


@some_mixers
@pytest.mark.parametrize(
    ("indices", "places"), [(None, [0, 1, 2]), (2, [1, 2]), ([0, -1], [0, 2]), ((1,), [1]), ([], None), ([3], None)]
)
def test_intermediates_are_outputs_of_blocks(mixer: str, indices: object, places: list[int] | None) -> None:
    net = _net(mixer)
    x = _images(net)
    if places is None:
        with pytest.raises((AssertionError, ValueError)):
            net.forward_intermediates(x, indices)
        return
    blocks = _outputs_of_blocks(net, x)
    features, taken = net.forward_intermediates(x, indices)
    _close(features, net.forward_features(x))
    for one, place in zip(taken, places, strict=True):
        _close(one, blocks[place])
    alone = net.forward_intermediates(x, indices, norm=True, output_fmt="NLC", stop_early=True, intermediates_only=True)
    for one, place in zip(alone, places, strict=True):
        _close(one, net.norm(blocks[place]).reshape(2, 16, 32).mT)


def test_intermediates_know_two_layouts_and_may_stop_early() -> None:
    net = _net()
    ran = []
    for block in net.blocks:
        block.register_forward_hook(lambda *_: ran.append(1))
    net.forward_intermediates(_images(net), [0], stop_early=True)
    assert len(ran) == 1
    net.forward_intermediates(_images(net), [0])
    assert len(ran) == 1 + 3
    with pytest.raises(MixerError, match="output_fmt is 'NHWC'; allowed: NCHW, NLC"):
        net.forward_intermediates(_images(net), output_fmt="NHWC")


def test_layers_after_the_last_wanted_one_are_pruned() -> None:
    net = _net()
    x = _images(net)
    blocks = _outputs_of_blocks(net, x)
    assert net.prune_intermediate_layers([-2], prune_head=False) == [1]
    assert (len(net.blocks), net.num_classes, len(net.mixers)) == (2, 5, 2)
    _close(net.forward_features(x), net.norm(blocks[1]))
    assert net(x).shape == (2, 5)
    assert net.prune_intermediate_layers(1, prune_norm=True) == [1]
    _close(net(x), blocks[1])


@some_mixers
@pytest.mark.parametrize("extractor", [None, "getter", "list", "dict", "hook", "fx"])
def test_features_only_gives_the_outputs_of_blocks(mixer: str, extractor: str | None) -> None:
    options = {"feature_cls": extractor} if extractor else {}
    net = _net(mixer).eval()
    features = _create(mixer, features_only=True, out_indices=(0, 2), **options).eval()
    assert features.feature_info.channels() == [16, 16]
    assert features.feature_info.reduction() == [4, 4]
    assert features.feature_info.module_name() == ["blocks.0", "blocks.2"]
    x = _images(net)
    taken = features(x)
    taken = list(taken.values()) if isinstance(taken, dict) else taken
    blocks = _outputs_of_blocks(net, x)
    for one, place in zip(taken, (0, 2), strict=True):
        _close(one, blocks[place])


# the backbone: training


@some_mixers
@pytest.mark.parametrize("drop_path_rate", [0.0, 0.5])
def test_gradient_checkpointing_changes_neither_outputs_nor_gradients(mixer: str, drop_path_rate: float) -> None:
    net = _net(mixer, drop_path_rate=drop_path_rate)
    ran = []
    net.blocks[1].register_forward_pre_hook(lambda *_: ran.append(1))  # a recomputation stops before the end

    def run(forward: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[Tensor], int]:
        ran.clear()
        net.zero_grad()
        torch.manual_seed(3)
        y = forward(_images(net, 6))
        y.square().sum().backward()
        return y.detach(), [p.grad.clone() for p in net.parameters() if p.grad is not None], len(ran)

    for forward in (net, lambda x: net.forward_intermediates(x)[0]):
        net.set_grad_checkpointing(False)
        y, gradients, times = run(forward)
        net.set_grad_checkpointing()
        y2, gradients2, times2 = run(forward)
        assert (times, times2) == (1, 2)
        assert torch.equal(y, y2)
        assert len(gradients) >= len(list(net.parameters())) - 2
        torch.testing.assert_close(gradients2, gradients)


def test_dropout_stands_in_front_of_the_head() -> None:
    net = _net(drop_rate=0.25, dim=64, depth=1)
    features = net.forward_features(_images(net, 64))
    pooled, dropped = features.mean((2, 3)), net.forward_head(features, pre_logits=True)
    kept = dropped != 0
    _close(dropped[kept], pooled[kept] / 0.75)
    assert kept.float().mean().item() == pytest.approx(0.75, abs=5 * (0.25 * 0.75 / 64**2) ** 0.5)
    assert torch.equal(net.eval().forward_head(features, pre_logits=True), pooled)


def test_stochastic_depth_rises_linearly_from_the_first_block() -> None:
    rates = [block.drop_path for block in _net(depth=5, drop_path_rate=0.3).blocks]
    assert rates == pytest.approx(torch.linspace(0, 0.3, 5).tolist())
    assert [block.drop_path for block in _net(depth=1, drop_path_rate=0.3).blocks] == [0.0]


@some_mixers
def test_stochastic_depth_leaves_branches_out_by_image(mixer: str) -> None:
    with default_dtype(torch.float64):
        net = _net(mixer, drop_path_rate=0.4)
        _random_parameters(net)
        block = net.blocks[-1]
        x = torch.randn(400, 16, 4, 8)
        with torch.no_grad():
            y = block(x)
            whole = block.eval()(x)
            # the first branch alone: without the second, whose scale is its factor
            scale, block.scale2.data = block.scale2.data, torch.zeros(16)
            branch = block(x) - x
            block.scale2.data = scale
            left_out = torch.zeros(16)
            found = torch.zeros(2, 2)
            for i, first in enumerate((0, 1 / 0.6)):
                middle = x + first * branch
                scale1, block.scale1.data = block.scale1.data, left_out
                second = block(middle) - middle
                block.scale1.data = scale1
                for j, factor in enumerate((0, 1 / 0.6)):
                    candidate = middle + factor * second
                    found[i, j] = ((y - candidate).abs().amax((1, 2, 3)) < 1e-9).sum()
    assert found.sum() == 400
    expected = 400 * torch.tensor([[0.16, 0.24], [0.24, 0.36]])
    assert ((found - expected).abs() < 5 * expected.sqrt()).all()
    assert not torch.equal(y, whole)


@some_mixers
def test_without_dropping_training_is_evaluation_and_draws_nothing(mixer: str) -> None:
    net = _net(mixer)
    state = torch.get_rng_state()
    y = net.train()(_images(net))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(net.eval()(_images(net)), y)


def test_layer_decay_goes_by_block() -> None:
    net = _net()
    layer_of = group_parameters(net, net.group_matcher(), reverse=True)
    assert set(layer_of) == {name for name, _ in net.named_parameters()}
    for name, layer in layer_of.items():
        first, *rest = name.split(".")
        assert layer == {"stem": 0, "blocks": 1 + int(rest[0]) if first == "blocks" else 0, "norm": 3, "head": 4}[first]
    optimizer = create_optimizer_v2(net, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.5)
    scales = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in net.named_parameters():
        assert scales[id(parameter)] == pytest.approx(0.5 ** (4 - layer_of[name]))


@every_mixer
def test_weight_decay_is_on_matrices_and_kernels_alone(mixer: str) -> None:
    net = _net(mixer)
    optimizer = create_optimizer_v2(net, "adamw", lr=1e-3, weight_decay=0.05)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in net.named_parameters():
        named = name in net.no_weight_decay()
        decays = parameter.ndim > 1 and not name.endswith(".bias") and not named
        assert decay[id(parameter)] == (0.05 if decays else 0), name


FILTERS = {"global_filter": {"filter"}, "afno": {"weight1", "bias1", "weight2", "bias2"}}


@every_mixer
def test_what_a_mixer_names_does_not_decay_in_either_net(mixer: str) -> None:
    nets = _net(mixer), timm.create_model("metaformer_mixer_s12", mixer=mixer, img_size=32, dims=(8, 16, 24, 32))
    for net in nets:
        places = [name for name, module in net.named_modules() if isinstance(module, Mixer)]
        expected = {f"{place}.{name}" for place in places for name in FILTERS.get(mixer, ())}
        assert net.no_weight_decay() == expected
        optimizer = create_optimizer_v2(net, "adamw", lr=1e-3, weight_decay=0.05)
        still = {id(p) for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
        parameters = dict(net.named_parameters())
        assert all(id(parameters[name]) in still for name in expected)


def test_a_mixer_that_names_a_parameter_it_does_not_have_is_told() -> None:
    net = _net("global_filter")
    net.mixers[0].no_weight_decay = lambda: {"filters"}
    with pytest.raises(MixerError, match=r"GlobalFilter.no_weight_decay\(\) names 'filters'; its parameters: filter"):
        net.no_weight_decay()


@some_mixers
def test_a_moving_average_of_the_net_is_a_net(mixer: str) -> None:
    net = _net(mixer)
    before = copy.deepcopy(net.state_dict())
    ema = timm.utils.ModelEmaV3(net, decay=0.75)
    _random_parameters(net)
    ema.update(net)
    for name, value in ema.module.state_dict().items():
        _close(value.float(), 0.75 * before[name] + 0.25 * net.state_dict()[name])
    plain = _net(mixer).eval()
    plain.load_state_dict(ema.module.state_dict())
    assert torch.equal(ema.module.eval()(_images(net)), plain(_images(net)))


@every_mixer
def test_a_net_moved_to_channels_last_is_the_same(mixer: str) -> None:
    net = _net(mixer, depth=2)
    x, target = _images(net), torch.tensor([0, 1])
    expected = net(x)
    net.to(memory_format=torch.channels_last)
    y = net(x.contiguous(memory_format=torch.channels_last))
    _close(y, expected)
    F.cross_entropy(y, target).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("mixer", ["dct", "attention", "fft_complex", "afno", "global_filter"])
def test_a_net_moved_to_half_precision_is_near(mixer: str) -> None:
    net = _net(mixer)
    expected = net(_images(net))
    y = net.to(torch.bfloat16)(_images(net).bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).norm() < 0.05 * expected.norm()


# the loop of timm's train.py: folder, transforms, Mixup, optimizer, schedule, moving average


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy stripes, told apart by their direction and their colour, as PNG files."""
    root = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for colour, (name, phase) in enumerate({"down": rows, "across": columns, "diagonal": rows + columns}.items()):
        (root / name).mkdir()
        tint = 60 * np.eye(3)[colour]
        for i in range(16):
            wave = np.sin(2 * np.pi * (phase / 8 + rng.random()))[..., None] * 40 + 100 + tint
            pixels = np.clip(wave + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def _loader(root: Path, net: nn.Module, training: bool):
    dataset = timm.data.create_dataset("", root=str(root), split="train")
    assert len(dataset) == 48
    config = timm.data.resolve_data_config({"img_size": 32}, model=net)
    options = {name: config[name] for name in ("input_size", "mean", "std", "interpolation")}
    augment = {"is_training": True, "scale": (0.8, 1.0), "hflip": 0.5} if training else {"crop_pct": config["crop_pct"]}
    return timm.data.create_loader(
        dataset,
        batch_size=16,
        num_workers=0,
        persistent_workers=False,
        use_prefetcher=False,
        device=torch.device("cpu"),
        **options,
        **augment,
    )


def _mean_loss(net: nn.Module, loader) -> float:
    net.eval()
    with torch.no_grad():
        losses = [F.cross_entropy(net(x), target) for x, target in loader]
    net.train()
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize("mixer", ["dct", "attention"])
def test_the_training_loop_of_timm_trains_the_net(mixer: str, image_folder: Path) -> None:
    timm.utils.random_seed(0)
    net = timm.create_model("mixernet_nano", mixer=mixer, num_classes=3, drop_rate=0.1, drop_path_rate=0.1)
    net.set_grad_checkpointing(enable=True)
    train, test = (_loader(image_folder, net, training) for training in (True, False))
    mixup = timm.data.Mixup(mixup_alpha=0.1, cutmix_alpha=0.1, prob=0.5, label_smoothing=0.1, num_classes=3)
    optimizer = create_optimizer_v2(net, opt="adamw", lr=3e-3, weight_decay=0.05, layer_decay=0.9)
    epochs, updates = 6, 0
    scheduler, epochs = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=epochs,
        warmup_epochs=1,
        step_on_epochs=False,
        updates_per_epoch=len(train),
    )
    ema = timm.utils.ModelEmaV3(net, decay=0.7)
    loss_of = SoftTargetCrossEntropy()
    before = _mean_loss(net, test)
    rates = []
    for _ in range(epochs):
        for x, target in train:
            optimizer.zero_grad()
            x_mixed, target_mixed = mixup(x, target)
            loss_of(net(x_mixed), target_mixed).backward()
            timm.utils.dispatch_clip_grad(net.parameters(), 1.0)
            optimizer.step()
            updates += 1
            ema.update(net, step=updates)
            scheduler.step_update(updates)
            rates.append(optimizer.param_groups[-1]["lr"])
    assert before == pytest.approx(np.log(3), abs=0.4)
    assert _mean_loss(net, test) < 0.6 * before
    assert _mean_loss(ema.module, test) < 0.7 * before
    assert rates[0] < max(rates) > rates[-1]


# our mixers in timm's MetaFormer

SMALL = {"depths": (1, 2, 2, 1), "dims": (8, 16, 24, 32), "num_classes": 5}


def _metaformer(mixer: str = "dct", img_size: int | tuple[int, int] = 64, **options) -> MixerMetaFormer:
    torch.manual_seed(0)
    model = timm.create_model("metaformer_mixer_s12", mixer=mixer, img_size=img_size, **{**SMALL, **options})
    assert isinstance(model, MixerMetaFormer) and isinstance(model, MetaFormer)
    return model.eval()


class PlainDCT(nn.Module):
    """scipy's."""

    def __init__(self, dim: int, proj_drop: float = 0.0, device: object = None, dtype: object = None) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(scipy.fft.dctn(x.detach().numpy(), axes=(2, 3), norm="ortho"))


class PlainFFT(nn.Module):
    """Real and imaginary part of numpy's, and a matrix over the channels."""

    def __init__(self, dim: int, proj_drop: float = 0.0, device: object = None, dtype: object = None) -> None:
        super().__init__()
        self.proj = nn.Conv2d(2 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = np.fft.fft2(x.detach().numpy(), norm="ortho")
        parts = torch.from_numpy(np.concatenate([spectrum.real, spectrum.imag], 1)).to(x.dtype)
        return torch.einsum("oc,bchw->bohw", self.proj.weight[:, :, 0, 0], parts) + self.proj.bias[:, None, None]


@pytest.mark.parametrize(("mixer", "plain"), [("dct", PlainDCT), ("conv1x1", nn.Identity), ("fft_complex", PlainFFT)])
@pytest.mark.parametrize("img_size", [64, (50, 71)])
def test_metaformer_with_our_mixer_is_metaformer_with_a_plain_one(
    mixer: str, plain: type[nn.Module], img_size: int | tuple[int, int]
) -> None:
    ours = _metaformer(mixer, img_size)
    _random_parameters(ours)
    theirs = MetaFormer(token_mixers=plain, norm_layers=GroupNorm1NoBias, use_mlp_head=False, **SMALL).eval()
    theirs.load_state_dict({k: v for k, v in ours.state_dict().items() if not k.endswith("_extra_state")})
    x = _images(ours)
    with torch.no_grad():
        _close(ours(x), theirs(x))


def test_the_shape_is_that_of_poolformer_v2_and_pool_is_its_mixer() -> None:
    theirs = timm.create_model("poolformerv2_s12").eval()
    ours = timm.create_model("metaformer_mixer_s12", mixer="pool").eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        _close(ours(x), theirs(x))
    assert ours.default_cfg["input_size"] == (3, 224, 224)
    assert {k: ours.default_cfg[k] for k in ("mean", "std", "classifier", "first_conv")} == {
        k: theirs.default_cfg[k] for k in ("mean", "std", "classifier", "first_conv")
    }


@pytest.mark.parametrize("img_size", [224, 192, 33, 3, (97, 250), (4, 64)])
@pytest.mark.parametrize("mixer", ["dct", "linear_separable"])
def test_mixers_are_built_for_the_grids_of_the_stages(mixer: str, img_size: int | tuple[int, int]) -> None:
    net = _metaformer(mixer, img_size)
    grids = []
    for stage in net.stages:
        for block in stage.blocks:
            block.token_mixer.register_forward_pre_hook(
                lambda module, inputs: grids.append((module.mixer.size, tuple(inputs[0].shape[2:])))
            )
    with torch.no_grad():
        assert net(_images(net)).shape == (2, 5)
    assert len(grids) == 6
    assert all(built == given for built, given in grids)


@every_mixer
def test_every_mixer_trains_in_metaformer(mixer: str) -> None:
    net = _metaformer(mixer, 256 if mixer == "hadamard" else (48, 64), depths=(1, 1), dims=(8, 16)).train()
    F.cross_entropy(net(_images(net)), torch.tensor([0, 1])).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    token_mixers = [stage.blocks[0].token_mixer for stage in net.stages]
    assert [isinstance(t.proj, nn.Conv2d) for t in token_mixers] == [
        t.mixer.out_channels != t.mixer.dim for t in token_mixers
    ]


def test_a_projection_and_a_mixer_for_each_stage_can_be_asked_for() -> None:
    net = _metaformer("2xconv_mixer+1xdct+1xattention(heads=2)", project=True, proj_drop_rate=0.2)
    kinds = [[type(block.token_mixer.mixer).__name__ for block in stage.blocks] for stage in net.stages]
    assert kinds == [["ConvMixer"], ["ConvMixer"] * 2, ["DCT"] * 2, ["Attention"]]
    for stage in net.stages:
        for block in stage.blocks:
            assert isinstance(block.token_mixer.proj, nn.Conv2d)
            assert block.token_mixer.proj_drop.p == 0.2
    with pytest.raises(MixerError, match="names the mixers of 3 blocks"):
        _metaformer("3xdct")


def test_fixed_matrices_differ_by_layer_and_come_back_from_the_seed() -> None:
    def matrices(seed: int) -> list[Tensor]:
        net = _metaformer("random", seed=seed)
        return [block.token_mixer.mixer.matrix for stage in net.stages for block in stage.blocks]

    one, again, other = matrices(1), matrices(1), matrices(2)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[1], one[2])


def test_token_mixers_fit_a_metaformer_of_ones_own() -> None:
    token_mixers = metaformer_token_mixers("linear", (32, 64), stages=2)
    net = MetaFormer(token_mixers=token_mixers, depths=(1, 1), dims=(8, 16), num_classes=3).double()
    assert net.stages[1].blocks[0].token_mixer.mixer.matrix.shape == (4 * 8, 4 * 8)
    y = net(torch.randn(2, 3, 32, 64, dtype=torch.float64))
    assert y.shape == (2, 3) and y.dtype == torch.float64
    one = token_mixers[0](dim=8, proj_drop=0.1, device=torch.device("meta"), dtype=torch.float64)
    assert (one.mixer.matrix.device.type, one.mixer.matrix.dtype) == ("meta", torch.float64)
    with pytest.raises(MixerError, match=r"was built for 8 x 16 tokens, the stage has 16 x 16:"):
        net(torch.randn(2, 3, 64, 64, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mixer": "hadamard", "img_size": 224}, UnsupportedSize, "hadamard has no matrix for a side of 14 tokens"),
        ({"mixer": "dctt"}, MixerError, "Did you mean 'dct'"),
        ({"img_size": 2}, MixerError, "img_size is 2; allowed: a side of at least 3 pixels"),
        ({"img_size": (8, 8, 8)}, MixerError, "img_size is"),
        ({"no_such_option": 1}, MixerError, "no_such_option"),
        ({"pretrained": True}, RuntimeError, "[Nn]o pretrained weights"),
    ],
    ids=str,
)
def test_what_metaformer_cannot_be_is_refused(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        _metaformer(**options)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
def test_metaformer_refuses_other_images_and_scripting() -> None:
    net = _metaformer("pool")
    with pytest.raises(MixerError, match=r"built for images of \(3, 64, 64\), the input has \(3, 32, 64\)"):
        net(torch.randn(1, 3, 32, 64))
    with pytest.raises(MixerError, match="cannot be scripted"):
        torch.jit.script(net)


def test_metaformer_has_what_timm_gives_its_nets() -> None:
    net = _metaformer("fft_complex", drop_path_rate=0.1)
    x = _images(net)
    torch.manual_seed(0)
    options = {"mixer": "fft_complex", "img_size": 64, "features_only": True, "out_indices": (1, 3), **SMALL}
    features = timm.create_model("metaformer_mixer_s12", **options).eval()
    assert features.feature_info.channels() == [16, 32]
    for one, expected in zip(features(x), net.forward_intermediates(x, [1, 3])[1], strict=True):
        _close(one, expected)
    y = net(x)
    net.set_grad_checkpointing()
    _close(net(x), y)
    _close(copy.deepcopy(net)(x), y)
    net.reset_classifier(2)
    assert net(x).shape == (2, 2)


# two stages of the same width side by side


@settings(max_examples=25, deadline=None, database=None)
@given(
    dims=st.lists(st.sampled_from([8, 16, 24]), min_size=1, max_size=5),
    depths=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    img_size=st.integers(3, 70) | st.tuples(st.integers(3, 70), st.integers(3, 70)),
)
def test_grids_are_those_that_arise_whatever_the_dims(
    dims: list[int], depths: list[int], img_size: int | tuple[int, int]
) -> None:
    options = {
        "dims": dims,
        "depths": depths[: len(dims)],
        "num_classes": 5,
        "res_scale_init_values": (None,) * len(dims),
    }
    net = timm.create_model("metaformer_mixer_s12", mixer="random", img_size=img_size, **options).eval()
    with torch.no_grad():
        assert net(_images(net)).shape == (2, 5)
    own = MetaFormer(token_mixers=metaformer_token_mixers("linear", img_size, dims=dims), **options).eval()
    with torch.no_grad():
        assert own(_images(net)).shape == (2, 5)


def test_token_mixers_without_the_dims_say_what_is_missing() -> None:
    net = MetaFormer(token_mixers=metaformer_token_mixers("dct", 64, 3), dims=(8, 16, 16), depths=(1, 1, 1))
    with pytest.raises(MixerError, match=r"was built for 4 x 4 tokens, the stage has 8 x 8: .* the dims of the net"):
        net(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize(
    "options",
    [{"dims": (8, 16)}, {"dims": 8}, {"dims": "8"}, {"dims": (8, 16, 24, 0)}, {"depths": (1, 1, 1, -1)}, {"depths": 4}],
    ids=str,
)
def test_stages_that_do_not_fit_are_refused(options: dict) -> None:
    with pytest.raises(MixerError):
        timm.create_model("metaformer_mixer_s12", img_size=64, **options)


# what timm's scripts do


@pytest.mark.parametrize("name", ["mixernet_nano", "metaformer_mixer_s12"])
@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.float64), ("meta", None), ("cpu", torch.bfloat16)])
def test_device_and_dtype_are_those_asked_for(name: str, device: str, dtype: torch.dtype | None) -> None:
    net = timm.create_model(name, mixer="fft_complex", img_size=32, device=device, dtype=dtype)
    # without the copies that autocast finds off the CPU
    buffers = {name: buffer for name, buffer in net.named_buffers() if not name.endswith("_bfloat16")}
    tensors = [*net.parameters(), *(buffer for buffer in buffers.values() if buffer.is_floating_point())]
    assert {(t.device.type, t.dtype) for t in tensors} == {(device, dtype or torch.float32)}
    for wrong in ({"device": "gpu"}, {"dtype": "float32"}, {"dtype": torch.int64}):
        with pytest.raises(MixerError, match=next(iter(wrong))):
            timm.create_model(name, img_size=32, **wrong)


def test_the_training_script_of_timm_makes_the_net_by_the_command_of_the_docs(tmp_path: Path) -> None:
    # the lines of timm's train.py that read these flags and make the net; the script is in no package
    (tmp_path / "train.py").write_text(
        """
import argparse
from timm import create_model, utils
parser = argparse.ArgumentParser()
parser.add_argument("data_dir")
parser.add_argument("--model")
parser.add_argument("--input-size", nargs=3, type=int)
parser.add_argument("--num-classes", type=int)
parser.add_argument("--model-kwargs", nargs="*", default={}, action=utils.ParseKwargs)
args = parser.parse_args()
model = create_model(args.model, pretrained=False, in_chans=3, num_classes=args.num_classes, drop_rate=0.0,
                     drop_path_rate=None, drop_block_rate=None, global_pool=None, bn_momentum=None, bn_eps=None,
                     scriptable=False, checkpoint_path="", **args.model_kwargs)
print(type(model).__name__, model.mixer, model.img_size, model.num_classes)
"""
    )
    text = importlib.import_module("mixers.timm.models").__doc__ or ""
    command = text[text.index("python -c") : text.index("\n\nImporting")]
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "MixerNet dct (64, 64) 100\n", done.stderr
