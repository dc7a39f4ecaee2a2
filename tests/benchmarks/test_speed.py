"""The comparisons of `make speed`: the naive forms compute what the mixers do, and both loops train."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks.measure import speed
from benchmarks.measure.naive_forms import NAIVE_FORMS, YARDSTICK, naive_forms
from benchmarks.measure.timm_loop import compare_loops
from mixers import create_mixer


@pytest.mark.parametrize("name", NAIVE_FORMS)
@pytest.mark.parametrize("size", [(8, 8), (4, 12), (12, 1)])
def test_a_naive_form_computes_the_mixer_of_its_name(name, size):
    mixer = create_mixer(name, 8, size)
    x = torch.randn(2, 8, *size, generator=torch.Generator().manual_seed(0))
    forms = naive_forms(name, *size)
    assert len(forms) == (2 if name in ("dct", "hadamard") else 3)
    for what, form in forms.items():
        if what != YARDSTICK:
            torch.testing.assert_close(form(x).double(), mixer.reference(x).double(), atol=1e-5, rtol=1e-5)


def test_ratios_are_to_the_fastest_form_and_the_table_names_it():
    forms = speed.compare_forms("cpu", [(1, 8, 8, 8)], rounds=2, names=("dct", "fft_pairs"))
    assert [form.mixer for form in forms] == ["dct", "fft_pairs"]
    for form in forms:
        same = [ms for what, ms in form.form_ms.items() if what != YARDSTICK]
        assert form.best_ms == min(same) == form.form_ms[form.best] > 0
        assert form.ratio_low is form.ratio_high is None and form.rounds == 2  # two rounds have no interval
    lines = [line for line in speed.form_lines(forms) if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and forms[1].best in lines[-1]


def test_the_interval_of_a_median_holds_it_and_too_few_values_have_none():
    values = [1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 5.0, 1.0]
    low, high = speed.median_interval(values)
    # of nine, the second and the eighth in order: 1 - 2 (1 + 9) / 2^9 is 96 %
    assert (low, high) == (0.9, 1.2)
    assert speed.median_interval(values[:5]) == (None, None)
    assert speed.median_interval(values[:6]) == (0.8, 1.2)


def test_a_form_that_computes_something_else_is_not_timed(monkeypatch):
    monkeypatch.setattr(speed, "naive_forms", lambda *_, **__: {"wrong": lambda x: 2 * x})
    with pytest.raises(RuntimeError, match="dct, wrong, differs from its definition"):
        speed.compare_forms("cpu", [(1, 8, 8, 8)], rounds=1, names=("dct",))


def test_our_loop_stands_beside_timms(tmp_path):
    loop, share = compare_loops(["dct"], 1, Path(tmp_path), rounds=2, steps=2, batch_size=8)
    assert (loop.what, share.what) == ("training loop", "step outside model and optimizer")
    assert "constellations" in loop.setting and loop.rounds == share.rounds == 2
    assert loop.ours == share.theirs > share.ours > 0 and math.isfinite(loop.ratio)
    assert 0 < share.ratio_low <= share.ratio <= share.ratio_high < 1
