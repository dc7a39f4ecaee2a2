"""Whole numbers of any kind are taken, and everything else is refused in one line that names it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixers import Mixer, MixerError, MixerNet, Spectracles, create_mixer, list_mixers
from mixers.registry import mixer_entry

NOT_WHOLE = ["64", 64.0, True, None, [64], np.float64(64), torch.tensor([1, 2]), float("nan")]
KINDS = [np.int64, np.int32, np.uint8, torch.tensor]


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
    for size in ("64", 4.0, (4.0, 4), (4,), (4, 4, 4), ("4", "4"), None, True, {}):
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


@pytest.mark.parametrize("name", ["num_classes", "img_size", "patch_size", "dim", "depth", "in_chans", "seed"])
def test_the_net_takes_whole_numbers_of_any_kind_and_nothing_else(name: str) -> None:
    small = {"num_classes": 5, "img_size": 16, "patch_size": 4, "dim": 16, "depth": 2, "in_chans": 3, "seed": 1}
    for kind in KINDS:
        net = MixerNet("random", **{**small, name: kind(small[name])})
        assert net(torch.randn(1, 3, 16, 16)).shape == (1, 5)
    for wrong in NOT_WHOLE:
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
        *({"mlp_ratio": wrong} for wrong in (float("nan"), float("inf"), True, -1)),
        *({"coordinates": wrong} for wrong in (1, "yes", None)),
        *({"norm": wrong} for wrong in (None, 1, ["image"])),
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


def test_an_option_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(MixerError, match=r"no option 'dpeth'.*Did you mean 'depth'"):
        MixerNet("dct", dpeth=3)


@pytest.mark.parametrize("name", ["width", "depth", "n_linear", "num_classes", "in_chans"])
def test_spectracles_too(name: str) -> None:
    Spectracles(**{name: np.int64(3)})
    for wrong in NOT_WHOLE:
        with pytest.raises(MixerError, match=name):
            Spectracles(**{name: wrong})
