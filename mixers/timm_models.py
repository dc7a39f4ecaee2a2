"""Both ways into timm: our backbone under its names, and our mixers in its MetaFormer.

    timm.create_model("mixernet_tiny", mixer="dct")
    timm.create_model("metaformer_mixer_s12", mixer="dct", img_size=192)
    MetaFormer(token_mixers=metaformer_token_mixers("dct", img_size=224), depths=(2, 2, 6, 2), ...)

Importing this module imports timm. `import mixers` alone does not: it waits until timm is imported, see
`register_with_timm`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import register_notrace_function, register_notrace_module
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.metaformer import GroupNorm1NoBias, MetaFormer
from torch import Tensor, nn

from mixers.backbone import MixerNet, check_image, create_mixer_of_layer
from mixers.base import Mixer, MixerError
from mixers.blocks import mixer_of_each_block

CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
MIXERNETS = {
    "mixernet_nano": {"patch_size": 4, "dim": 64, "depth": 4},
    "mixernet_tiny": {"patch_size": 4, "dim": 192, "depth": 8},
    "mixernet_small": {"patch_size": 4, "dim": 384, "depth": 12},
}

# timm's feature extraction by torch.fx goes through the blocks, not into the mixers
register_notrace_module(Mixer)
register_notrace_function(check_image)

_CFG = {"url": "", "crop_pct": 1.0, "interpolation": "bicubic", "fixed_input_size": True}
_MIXERNET_CFG = {
    **_CFG,
    "num_classes": 100,
    "input_size": (3, 32, 32),
    "pool_size": None,
    "mean": CIFAR100_MEAN,
    "std": CIFAR100_STD,
    "first_conv": "stem",
    "classifier": "head",
}
_METAFORMER_CFG = {
    **_CFG,
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": (7, 7),
    "mean": IMAGENET_DEFAULT_MEAN,
    "std": IMAGENET_DEFAULT_STD,
    "first_conv": "stem.conv",
    "classifier": "head.fc",
}
default_cfgs = generate_default_cfgs(
    {**{name: dict(_MIXERNET_CFG) for name in MIXERNETS}, "metaformer_mixer_s12": _METAFORMER_CFG}
)


class MetaFormerTokenMixer(nn.Module):
    """One of our mixers where timm's MetaFormer has its own: (B, dim, H, W) -> (B, dim, H, W).

    MetaFormer has no convolution after the token mixer. Where the mixer's output has another number of channels a 1x1
    convolution takes it back to dim; `project` puts one behind the others too, as the paper of attention has it.
    """

    def __init__(self, mixer: Mixer, project: bool = False, proj_drop: float = 0.0) -> None:
        super().__init__()
        self.mixer = mixer
        needed = project or mixer.out_channels != mixer.dim
        self.proj = nn.Conv2d(mixer.out_channels, mixer.dim, 1) if needed else nn.Identity()
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj_drop(self.proj(self.mixer(x)))


class MixerMetaFormer(MetaFormer):
    """timm's MetaFormer with our token mixers: (B, in_chans, H, W) -> (B, num_classes).

    Args:
        mixer: see `metaformer_token_mixers`, as `project` and `seed` are.
        img_size: side of the image in pixels, or (H, W); the mixers are built for its grids.
        depths: blocks of each stage.
        options: of `timm.models.metaformer.MetaFormer`.

    Raises:
        MixerError: the mixer is unknown, or does not exist at the size of a stage.
    """

    def __init__(
        self,
        mixer: str = "dct",
        img_size: int | tuple[int, int] = 224,
        depths: Sequence[int] = (2, 2, 6, 2),
        project: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        token_mixers = metaformer_token_mixers(mixer, img_size, len(depths), project=project, seed=seed)
        super().__init__(token_mixers=token_mixers, depths=tuple(depths), **options)
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.in_chans = self.stem.conv.in_channels

    def forward_features(self, x: Tensor) -> Tensor:
        check_image(x, (self.in_chans, *self.img_size))
        return super().forward_features(x)

    def __prepare_scriptable__(self) -> nn.Module:
        raise MixerError("MixerMetaFormer cannot be scripted by torch.jit.script; use torch.compile or torch.export")


def metaformer_token_mixers(
    mixer: str, img_size: int | tuple[int, int] = 224, stages: int = 4, *, project: bool = False, seed: int = 0
) -> list[type[nn.Module]]:
    """Classes for `token_mixers=` of timm's MetaFormer, one for each stage, built for the grid of that stage.

    MetaFormer tells a token mixer its channels alone, and the grid follows from the image; so the classes bring it.
    Make a new list for each net: fixed random matrices get their seeds in the order in which layers are built.

    Args:
        mixer: as `create_mixer` takes it, or one for each stage, such as "2xconv_mixer+2xattention".
        img_size: side of the image in pixels, or (H, W).
        stages: of the net; the first has a quarter of the image's side, each other half of the one before.
        project: whether a 1x1 convolution follows every mixer, and not only one that changes the channels.
        seed: of fixed random mixers.

    Raises:
        MixerError: the mixer is malformed; one that does not exist at a grid says so when the net is built.
    """
    sides = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(sides) != 2 or min(sides) < 3:
        raise MixerError(f"img_size is {img_size!r}; allowed: a side of at least 3 pixels, or (H, W)")
    layers = itertools.count()

    def built_for(spec: str, grid: tuple[int, int]) -> type[nn.Module]:
        class StageTokenMixer(MetaFormerTokenMixer):
            def __init__(
                self,
                dim: int,
                proj_drop: float = 0.0,
                device: torch.device | str | None = None,
                dtype: torch.dtype | None = None,
            ) -> None:
                super().__init__(create_mixer_of_layer(spec, dim, grid, next(layers), seed), project, proj_drop)
                self.to(device=device, dtype=dtype)

        return StageTokenMixer

    specs = mixer_of_each_block(mixer, stages)
    return [built_for(spec, grid) for spec, grid in zip(specs, _metaformer_grids(*sides, stages), strict=True)]


def _metaformer_grids(height: int, width: int, stages: int) -> list[tuple[int, int]]:
    """What MetaFormer's convolutions leave: kernel 7, stride 4, padding 2; then kernel 3, stride 2, padding 1."""
    grids = [((height - 3) // 4 + 1, (width - 3) // 4 + 1)]
    for _ in range(stages - 1):
        grids.append(((grids[-1][0] - 1) // 2 + 1, (grids[-1][1] - 1) // 2 + 1))
    return grids


def _mixernet(variant: str, pretrained: bool, options: dict[str, Any]) -> MixerNet:
    feature_cfg = {"out_indices": options.pop("out_indices", 3), "feature_cls": "getter", "flatten_sequential": True}
    options = {"mixer": "fft_complex", **MIXERNETS[variant], **options}
    return build_model_with_cfg(MixerNet, variant, pretrained, feature_cfg=feature_cfg, **options)


@register_model
def mixernet_nano(pretrained: bool = False, **options: Any) -> MixerNet:
    """64 channels, 4 blocks, 4 x 4 patches; the mixer is `mixer=`, by default fft_complex."""
    return _mixernet("mixernet_nano", pretrained, options)


@register_model
def mixernet_tiny(pretrained: bool = False, **options: Any) -> MixerNet:
    """192 channels, 8 blocks, 4 x 4 patches."""
    return _mixernet("mixernet_tiny", pretrained, options)


@register_model
def mixernet_small(pretrained: bool = False, **options: Any) -> MixerNet:
    """384 channels, 12 blocks, 4 x 4 patches."""
    return _mixernet("mixernet_small", pretrained, options)


@register_model
def metaformer_mixer_s12(pretrained: bool = False, **options: Any) -> MixerMetaFormer:
    """The shape of PoolFormerV2-S12 with one of our mixers, `mixer=`, by default dct, for `img_size=` 224."""
    feature_cfg = {"out_indices": options.pop("out_indices", (0, 1, 2, 3)), "flatten_sequential": True}
    shape = {
        "depths": (2, 2, 6, 2),
        "dims": (64, 128, 320, 512),
        "norm_layers": GroupNorm1NoBias,
        "use_mlp_head": False,
    }
    return build_model_with_cfg(
        MixerMetaFormer, "metaformer_mixer_s12", pretrained, feature_cfg=feature_cfg, **{**shape, **options}
    )
