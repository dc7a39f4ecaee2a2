"""Nets that were pickled whole by version 0.1 still load."""

from __future__ import annotations

import importlib
import pickle

import pytest
import torch

from mixers import MixerNet
from mixers.moved import APART, MOVED


@pytest.mark.parametrize(("old", "now"), MOVED.items())
def test_a_module_has_both_names(old, now):
    module = importlib.import_module(now)
    assert importlib.import_module(old) is module
    assert module.__spec__.name == now


def test_a_net_that_names_old_modules_loads():
    net = MixerNet("dct", num_classes=3, img_size=8, patch_size=2, dim=8, depth=1)
    pickled = pickle.dumps(net, protocol=0)
    for old, names in APART.items():
        for name, now in names.items():
            pickled = pickled.replace(f"c{now}\n{name}\n".encode(), f"c{old}\n{name}\n".encode())
    for old, now in MOVED.items():
        pickled = pickled.replace(f"c{now}\n".encode(), f"c{old}\n".encode())
    assert b"cmixers.backbone\nImageNorm" in pickled and b"mixers.nets" not in pickled
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(pickle.loads(pickled)(x), net(x))
