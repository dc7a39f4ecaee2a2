"""The backbone under timm's names: `timm.create_model("mixernet_tiny", mixer="dct")`.

Importing this module imports timm. `import mixers` alone does not: it waits until timm is imported, see
`register_with_timm`.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from mixers.backbone import MixerNet

CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)

_CFG = {
    "url": "",
    "num_classes": 100,
    "input_size": (3, 32, 32),
    "pool_size": None,
    "crop_pct": 1.0,
    "interpolation": "bicubic",
    "mean": CIFAR100_MEAN,
    "std": CIFAR100_STD,
    "first_conv": "stem",
    "classifier": "head",
    "fixed_input_size": True,
}
default_cfgs = generate_default_cfgs(
    {name: dict(_CFG) for name in ("mixernet_nano", "mixernet_tiny", "mixernet_small")}
)


def _build(variant: str, pretrained: bool, shape: dict[str, Any], options: dict[str, Any]) -> MixerNet:
    options.pop("pretrained_cfg_overlay", None)
    return build_model_with_cfg(MixerNet, variant, pretrained, **{"mixer": "fft_complex", **shape, **options})


@register_model
def mixernet_nano(pretrained: bool = False, **options: Any) -> MixerNet:
    """64 channels, 4 blocks, 4 x 4 patches; the mixer is `mixer=`, by default fft_complex."""
    return _build("mixernet_nano", pretrained, {"patch_size": 4, "dim": 64, "depth": 4}, options)


@register_model
def mixernet_tiny(pretrained: bool = False, **options: Any) -> MixerNet:
    """192 channels, 8 blocks, 4 x 4 patches."""
    return _build("mixernet_tiny", pretrained, {"patch_size": 4, "dim": 192, "depth": 8}, options)


@register_model
def mixernet_small(pretrained: bool = False, **options: Any) -> MixerNet:
    """384 channels, 12 blocks, 4 x 4 patches."""
    return _build("mixernet_small", pretrained, {"patch_size": 4, "dim": 384, "depth": 12}, options)
