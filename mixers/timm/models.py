"""Both ways into timm: our backbone under its names, and our mixers in its MetaFormer.

    timm.create_model("mixernet_tiny", mixer="dct")
    timm.create_model("metaformer_mixer_s12", mixer="dct", img_size=192)
    MetaFormer(token_mixers=metaformer_token_mixers("dct", img_size=224), depths=(2, 2, 6, 2), ...)

timm's own train.py, which does not import this library, trains them once something does:

    python -c "import mixers, runpy; runpy.run_path('train.py', run_name='__main__')" DATA_DIR
        --model mixernet_tiny --model-kwargs mixer=dct img_size=64 --input-size 3 64 64 --num-classes 100

Importing this module imports timm. `import mixers` alone does not: it waits until timm is imported, see
`register_with_timm`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.fx
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import register_notrace_function, register_notrace_module
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.metaformer import GroupNorm1NoBias, MetaFormer
from torch import Tensor, nn

from mixers.arguments import check_rate, factory_options, flag, no_others, two_sides, whole_number
from mixers.base import Mixer, MixerError
from mixers.nets.backbone import MixerNet
from mixers.nets.mixing import create_mixer_of_layer, not_decayed_by_mixers
from mixers.nets.stems import check_image, check_tokens
from mixers.spec import MixerSpec, parse

CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
MIXERNETS = {
    "mixernet_nano": {"patch_size": 4, "dim": 64, "depth": 4},
    "mixernet_tiny": {"patch_size": 4, "dim": 192, "depth": 8},
    "mixernet_small": {"patch_size": 4, "dim": 384, "depth": 12},
}

# timm's feature extraction by torch.fx goes through the blocks, not into the mixers
register_notrace_module(Mixer)

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


@torch.fx.wrap
def check_grid(x: Tensor, grid: tuple[int, int]) -> None:
    """Holds the input of a token mixer in MetaFormer to the grid that the mixer was built for.

    Raises:
        MixerError: the grid is another.
    """
    if tuple(x.shape[2:]) != grid:
        built, given = (" x ".join(map(str, side)) for side in (grid, x.shape[2:]))
        raise MixerError(
            f"the mixer of this stage was built for {built} tokens, the stage has {given}: give "
            "metaformer_token_mixers the image size and the dims of the net"
        )


class MetaFormerTokenMixer(nn.Module):
    """One of our mixers where timm's MetaFormer has its own: (B, dim, H, W) -> (B, dim, H, W).

    MetaFormer has no convolution after the token mixer. Where the mixer's output has another number of channels a 1x1
    convolution takes it back to dim; `project` puts one behind the others too, as the paper of attention has it.
    """

    def __init__(self, mixer: Mixer, project: bool = False, proj_drop: float = 0.0) -> None:
        super().__init__()
        self.mixer = mixer
        self.grid = mixer.size
        needed = project or mixer.out_channels != mixer.dim
        self.proj = nn.Conv2d(mixer.out_channels, mixer.dim, 1) if needed else nn.Identity()
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        check_grid(x, self.grid)
        return self.proj_drop(self.proj(self.mixer(x)))


class MixerMetaFormer(MetaFormer):
    """timm's MetaFormer with our token mixers: (B, in_chans, H, W) -> (B, num_classes).

    Args:
        mixer: see `metaformer_token_mixers`, as `project` and `seed` are.
        img_size: side of the image in pixels, or (H, W); the mixers are built for its grids.
        depths: blocks of each stage.
        dims: channels of each stage; the grid stays as it is where a stage has those of the one before.
        others: options of `timm.models.metaformer.MetaFormer`.

    Raises:
        MixerError: the mixer is unknown, or does not exist at the size of a stage; or another argument is not allowed.
    """

    def __init__(
        self,
        mixer: str = "dct",
        img_size: int | tuple[int, int] = 224,
        depths: Sequence[int] = (2, 2, 6, 2),
        project: bool = False,
        seed: int = 0,
        *,
        dims: Sequence[int] = (64, 128, 320, 512),
        **others: Any,
    ) -> None:
        own = set(inspect.signature(MixerMetaFormer).parameters) | set(inspect.signature(MetaFormer).parameters)
        no_others("the MetaFormer", others, sorted(own - {"kwargs", "token_mixers"}))
        depths, dims = _stages("depths", depths, 0), _stages("dims", dims, 1)
        if len(depths) != len(dims):
            raise MixerError(f"depths has {len(depths)} stages and dims {len(dims)}; they must be equal")
        _check_others(others)
        if len(depths) > 4:  # timm's default is for four stages
            others.setdefault("res_scale_init_values", (None, None, *(1.0,) * (len(depths) - 2)))
        project = flag("project", project)
        token_mixers = metaformer_token_mixers(mixer, img_size, len(depths), project=project, seed=seed, dims=dims)
        others.update(factory_options(others.get("device"), others.get("dtype")))
        super().__init__(token_mixers=token_mixers, depths=depths, dims=dims, **others)
        self.img_size = two_sides("img_size", img_size)
        self.in_chans = self.stem.conv.in_channels

    def forward_features(self, x: Tensor) -> Tensor:
        check_image(x, (self.in_chans, *self.img_size))
        return super().forward_features(x)

    def no_weight_decay(self) -> set[str]:
        """What the mixers name, see `Mixer.no_weight_decay`."""
        return not_decayed_by_mixers(self)

    def __prepare_scriptable__(self) -> nn.Module:
        raise MixerError("MixerMetaFormer cannot be scripted by torch.jit.script; use torch.compile or torch.export")


register_notrace_function(check_image)
register_notrace_function(check_tokens)
register_notrace_function(check_grid)


def metaformer_token_mixers(
    mixer: str,
    img_size: int | Sequence[int] = 224,
    stages: int | None = None,
    *,
    project: bool = False,
    seed: int = 0,
    dims: Sequence[int] | None = None,
) -> list[type[nn.Module]]:
    """Classes for `token_mixers=` of timm's MetaFormer, one for each stage, built for the grid of that stage.

    MetaFormer tells a token mixer its channels alone, and the grid follows from the image; so the classes bring it.
    Make a new list for each net: fixed random matrices get their seeds in the order in which layers are built.

    Args:
        mixer: as `create_mixer` takes it, or one for each stage, such as "2xconv_mixer+2xattention".
        img_size: side of the image in pixels, or (H, W).
        stages: of the net, by default as many as dims, or 4; the first has a quarter of the image's side, each other
            half of the one before.
        project: whether a 1x1 convolution follows every mixer, and not only one that changes the channels.
        seed: of fixed random mixers.
        dims: of the net, needed where two stages side by side have the same: MetaFormer then leaves the grid as it is.

    Raises:
        MixerError: the mixer is malformed; one that does not exist at a grid says so when the net is built.
    """
    sides = two_sides("img_size", img_size)
    if min(sides) < 3:
        raise MixerError(f"img_size is {img_size!r}; allowed: a side of at least 3 pixels, or (H, W)")
    dims = None if dims is None else _stages("dims", dims, 1)
    if stages is None:
        stages = 4 if dims is None else len(dims)
    if whole_number("stages", stages, 1) != len(dims or range(stages)):
        raise MixerError(f"stages is {stages}, and dims {dims} has {len(dims or ())}; they must be equal")
    layers = itertools.count()

    def built_for(spec: MixerSpec, grid: tuple[int, int]) -> type[nn.Module]:
        class StageTokenMixer(nn.Module):  # MetaFormer wants a class; what it gets from it can be saved, as this cannot
            def __new__(  # type: ignore[misc]
                cls,
                dim: int,
                proj_drop: float = 0.0,
                device: torch.device | str | None = None,
                dtype: torch.dtype | None = None,
            ) -> MetaFormerTokenMixer:
                mixer = create_mixer_of_layer(spec, dim, grid, next(layers), seed)
                return MetaFormerTokenMixer(mixer, project, proj_drop).to(device=device, dtype=dtype)

        return StageTokenMixer

    specs = parse(mixer).of_blocks(stages)
    return [
        built_for(spec, grid) for spec, grid in zip(specs, _metaformer_grids(sides, dims or range(stages)), strict=True)
    ]


def _check_others(others: dict[str, Any]) -> None:
    """Those of timm's options that it takes as they are, or refuses without their name."""
    for name, lowest in (("in_chans", 1), ("num_classes", 0)):
        if name in others:
            others[name] = whole_number(name, others[name], lowest)
    for name in ("drop_rate", "proj_drop_rate", "drop_path_rate"):
        check_rate(name, others.get(name, 0.0))


def _stages(name: str, values: Any, lowest: int) -> tuple[int, ...]:
    """One whole number for each stage."""
    if not isinstance(values, Iterable) or isinstance(values, str) or not (values := tuple(values)):
        raise MixerError(f"{name} is {values!r}; allowed: a whole number for each stage, such as (64, 128, 320, 512)")
    return tuple(whole_number(f"{name}[{i}]", value, lowest) for i, value in enumerate(values))


def _metaformer_grids(sides: tuple[int, int], dims: Sequence[int]) -> list[tuple[int, int]]:
    """What MetaFormer's convolutions leave: kernel 7, stride 4, padding 2; then kernel 3, stride 2, padding 1.

    A stage that has as many channels as the one before has no such convolution.
    """
    height, width = ((side - 3) // 4 + 1 for side in sides)
    grids = [(height, width)]
    for before, dim in itertools.pairwise(dims):
        if dim != before:
            height, width = (height - 1) // 2 + 1, (width - 1) // 2 + 1
        grids.append((height, width))
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
    shape = {
        "depths": (2, 2, 6, 2),
        "dims": (64, 128, 320, 512),
        "norm_layers": GroupNorm1NoBias,
        "use_mlp_head": False,
    }
    stages = range(len(_stages("dims", options.get("dims", shape["dims"]), 1)))
    feature_cfg = {"out_indices": options.pop("out_indices", tuple(stages)), "flatten_sequential": True}
    return build_model_with_cfg(
        MixerMetaFormer, "metaformer_mixer_s12", pretrained, feature_cfg=feature_cfg, **{**shape, **options}
    )
