"""What text_speed.py compares is the same model on both sides, and it writes what it found."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")

import text_speed

SIZES = {
    "vocabulary": 40,
    "length": 8,
    "dim": 32,
    "depth": 1,
    "batch": 2,
    "device": "cpu",
    "bf16": False,
    "whole": False,
}


@pytest.mark.parametrize("kind", text_speed.KINDS)
def test_both_sides_have_the_same_weights_and_losses_alike(kind: str) -> None:
    asked = argparse.Namespace(**SIZES)
    torch.manual_seed(0)
    ours, theirs = text_speed.Ours(kind, asked), text_speed.Theirs(kind, asked)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    one, other = (text_speed.stepper(net, asked)().item() for net in (ours, theirs))
    assert one == pytest.approx(other, rel=0.1)
    tokens, types, at, *_ = text_speed.batch(asked)
    found = ours.eval()(tokens, types, at)
    ours.whole = True
    for one, other in zip(found, ours(tokens, types, at), strict=True):
        torch.testing.assert_close(one, other)


def test_it_writes_a_row_of_each_and_fails_where_it_is_slower(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sizes = [f"--{name}={SIZES[name]}" for name in ("vocabulary", "length", "dim", "depth", "batch")]
    common = [str(tmp_path), *sizes, "--rounds=2", "--steps=1"]
    assert text_speed.main([*common, "--least=0"]) == 0
    found = json.loads((tmp_path / "text-speed.json").read_text())
    for kind in text_speed.KINDS:
        ratio = found[f"{kind}_ratio"]
        pairs = zip(*(found["tokens_per_s"][f"{kind}, {whose}"] for whose in ("ours", "theirs")), strict=True)
        assert sorted(own / other for own, other in pairs) == [ratio["least"], ratio["most"]]
    assert (tmp_path / "text-speed.md").read_text() in capsys.readouterr().out
    assert text_speed.main([*common, "--bf16", "--least=1e9"]) == 1
