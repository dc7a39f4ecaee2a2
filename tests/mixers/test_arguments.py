"""Whole numbers of any kind are taken, and everything else is refused in one line that names it."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from mixers import Mixer, MixerError, MixerNet, Spectracles, create_mixer, list_mixers
from mixers.registry import mixer_entry

NOT_WHOLE = ["64", 64.0, True, None, [64], np.float64(64), float("nan"), 10**30, *map(torch.tensor, ([1, 2], True))]
KINDS = [np.int64, np.int32, np.uint8, np.array, torch.tensor]


@pytest.mark.parametrize("name", list_mixers())
def test_every_mixer_takes_whole_numbers_of_any_kind_and_one_for_a_square(name: str) -> None:
    for kind in KINDS:
        for size in (kind(4), [4, 4], (kind(4), 4), np.array([4, 4])):
            for mixer in (create_mixer(name, kind(16), size), mixer_entry(name).cls(kind(16), size)):
                assert (mixer.dim, mixer.size) == (16, (4, 4))
                assert type(mixer.dim) is int and {type(n) for n in mixer.size} == {int}
                assert mixer(torch.randn(1, 16, 4, 4)).shape[2:] == (4, 4)
                assert type(mixer.flops()) is int


@pytest.mark.parametrize("name", list_mixers())
def test_every_mixer_refuses_what_is_no_size(name: str) -> None:
    for size in ("64", 4.0, (4.0, 4), (4,), (4, 4, 4), ("4", "4"), None, True, {}, {4, 5}, {4: 1, 5: 1}, 10**30):
        with pytest.raises(MixerError, match=r"^size is .* allowed: ") as caught:
            create_mixer(name, 16, size)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    for dim in NOT_WHOLE:
        with pytest.raises(MixerError, match=r"^dim is "):
            create_mixer(name, dim, (4, 4))  # type: ignore[arg-type]


OPTIONS = {
    "attention": ["heads"],
    "linear_attention": ["heads"],
    "performer": ["heads", "features", "seed"],
    "conv_mixer": ["kernel"],
    "pool": ["kernel"],
    "mlp_mixer": ["hidden"],
    "afno": ["blocks"],
    "random": ["seed"],
    "random_orthogonal": ["seed"],
    "random_fnet": ["seed"],
    "random_separable": ["seed"],
}


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, options in OPTIONS.items() for option in options]
)
def test_options_too(name: str, option: str) -> None:
    number = 3 if option == "kernel" else 2
    mixer = create_mixer(name, 16, (4, 4), **{option: np.int64(number)})
    assert type(getattr(mixer, option)) is int and getattr(mixer, option) == number
    for wrong in ("2", 2.0, True, [2]):
        with pytest.raises(MixerError):
            create_mixer(name, 16, (4, 4), **{option: wrong})


@pytest.mark.parametrize("name", ["random", "random_orthogonal", "random_fnet", "random_separable", "performer"])
def test_seeds_are_those_that_a_generator_takes(name: str) -> None:
    create_mixer(name, 16, (4, 4), seed=2**63 - 1)
    for wrong in (-1, 2**63, 10**30):
        with pytest.raises(MixerError, match=r"^seed is .* allowed: whole numbers from 0 to "):
            create_mixer(name, 16, (4, 4), seed=wrong)


@pytest.mark.parametrize("name", ["num_classes", "img_size", "patch_size", "dim", "depth", "in_chans", "seed"])
def test_the_net_takes_whole_numbers_of_any_kind_and_nothing_else(name: str) -> None:
    small = {"num_classes": 5, "img_size": 16, "patch_size": 4, "dim": 16, "depth": 2, "in_chans": 3, "seed": 1}
    for kind in KINDS:
        net = MixerNet("random", **{**small, name: kind(small[name])})
        assert net(torch.randn(1, 3, 16, 16)).shape == (1, 5)
    has_default = name in ("img_size", "patch_size", "in_chans")  # which None is, since a sequence has none of these
    for wrong in NOT_WHOLE:
        if wrong is None and has_default:
            continue
        with pytest.raises(MixerError, match=name):
            MixerNet("random", **{**small, name: wrong})


@pytest.mark.parametrize(
    "options",
    [
        *(
            {name: wrong}
            for name in ("mlp_ratio", "drop_rate", "drop_path_rate", "layer_scale")
            for wrong in ("1", None)
        ),
        *({"mlp_ratio": wrong} for wrong in (float("nan"), float("inf"), True, -1, 1e300, 10**30)),
        {"layer_scale": 1e300},
        {"device": 10**30},
        *({"coordinates": wrong} for wrong in (1, "yes")),
        *({"norm": wrong} for wrong in (1, ["image"])),
        *({"mixer": wrong} for wrong in (None, Mixer, 3, ["dct"])),
        {"img_size": (16, 16, 16)},
        {"img_size": ()},
        {"device": "gpu"},
        {"dtype": "float32"},
        {"dtype": torch.int32},
    ],
    ids=str,
)
def test_everything_else_is_told_by_name(options: dict) -> None:
    (name,) = options
    with pytest.raises(MixerError, match=name) as caught:
        MixerNet(**{"mixer": "dct", "img_size": 16, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1, np.int64(1), np.float32(1), -1])
def test_a_scale_may_be_a_whole_number(scale) -> None:
    net = MixerNet("dct", 5, 16, layer_scale=scale)
    assert net.blocks[0].scale1.dtype == torch.float32 and (net.blocks[0].scale2 == scale).all()


@pytest.mark.parametrize(
    "options",
    [
        {"in_chans": 0},
        {"in_chans": "3"},
        {"num_classes": -1},
        {"num_classes": "7"},
        {"drop_path_rate": 2},
        {"proj_drop_rate": 1.0},
        {"drop_rate": float("nan")},
        {"project": 3},
    ],
    ids=str,
)
def test_the_metaformer_too(options: dict) -> None:
    (name,) = options
    with pytest.raises(MixerError, match=f"^{name} is "):
        timm.create_model("metaformer_mixer_s12", dims=(8,), depths=(1,), img_size=16, **options)


@pytest.mark.parametrize("dims", [(8,), (8, 8, 16), (8, 16, 16, 24, 24)])
@pytest.mark.parametrize("features_only", [False, True])
def test_the_metaformer_may_have_any_number_of_stages(dims: tuple[int, ...], features_only: bool) -> None:
    depths = (1,) * len(dims)
    net = timm.create_model(
        "metaformer_mixer_s12", dims=dims, depths=depths, img_size=(64, 48), features_only=features_only
    )
    y = net(torch.randn(1, 3, 64, 48))
    assert [f.shape[1] for f in y] == list(dims) if features_only else y.shape == (1, 1000)


def test_an_option_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(MixerError, match=r"no option 'dpeth'.*Did you mean 'depth'"):
        MixerNet("dct", dpeth=3)


@pytest.mark.parametrize("name", ["width", "depth", "n_linear", "num_classes", "in_chans"])
def test_spectracles_too(name: str) -> None:
    Spectracles(**{name: np.int64(3)})
    for wrong in NOT_WHOLE:
        with pytest.raises(MixerError, match=name):
            Spectracles(**{name: wrong})
