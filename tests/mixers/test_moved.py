"""Nets that were pickled whole by version 0.1 still load."""

from __future__ import annotations

import importlib
import pickle

import pytest
import torch

from mixers import MixerNet, TextEncoder
from mixers.moved import APART, MOVED


@pytest.mark.parametrize(("old", "now"), MOVED.items())
def test_a_module_has_both_names(old, now):
    module = importlib.import_module(now)
    assert importlib.import_module(old) is module
    assert module.__spec__.name == now


def image_net(**options):
    return MixerNet("dct", num_classes=3, img_size=8, patch_size=2, dim=8, depth=1, **options), torch.randn(1, 3, 8, 8)


def sequence_net():
    net = MixerNet("dct", vocabulary=9, length=8, num_classes=3, dim=8, depth=1, norm="token", coordinates=False)
    return net, torch.randint(1, 9, (1, 8))


def encoder():
    return TextEncoder("dct", vocabulary=9, length=8, dim=8, depth=1), torch.randint(1, 9, (1, 8))


NETS = {
    "image": image_net,
    "learned": lambda: image_net(positions="learned"),
    "sine": lambda: image_net(positions="sine"),
    "sequence": sequence_net,
    "text": encoder,
}


@pytest.mark.parametrize("made", NETS.values(), ids=NETS)
def test_a_net_that_names_old_modules_loads(made):
    net, x = made()
    pickled = pickle.dumps(net, protocol=0)
    for old, names in APART.items():
        for name, now in names.items():
            pickled = pickled.replace(f"c{now}\n{name}\n".encode(), f"c{old}\n{name}\n".encode())
    for old, now in MOVED.items():
        pickled = pickled.replace(f"c{now}\n".encode(), f"c{old}\n".encode())
    assert b"cmixers." in pickled and not any(f"cmixers.{room}".encode() in pickled for room in ("nets", "families"))
    assert torch.equal(pickle.loads(pickled)(x), net(x))
