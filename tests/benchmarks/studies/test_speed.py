"""The comparisons of `make speed`: the naive forms compute what the mixers do, and both loops train."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.studies import attempt
from benchmarks.studies.attempt import hold_to
from benchmarks.studies.speed import measure as speed
from benchmarks.studies.speed import timm_loop
from benchmarks.studies.speed.naive_forms import NAIVE_FORMS, YARDSTICK, naive_forms
from benchmarks.studies.speed.report import form_lines
from benchmarks.studies.speed.timm_loop import compare_loops
from mixers import create_mixer


@pytest.fixture
def small(monkeypatch):
    """The verb on little, so that it takes a moment."""
    monkeypatch.setattr(speed, "CPU_SHAPES", [(1, 8, 8, 8), (1, 8, 16, 16)])
    monkeypatch.setattr(speed, "TURN_MS", 0.1)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAIVE_FORMS)
def test_a_naive_form_takes_and_gives_every_precision(name, dtype):
    mixer = create_mixer(name, 16, (16, 16)).to(dtype)
    x = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    comparable = speed.COMPARABLE.get(name, lambda y: y)
    wanted = comparable(mixer.reference(x).double())
    for what, form in {"ours": mixer, **naive_forms(name, 16, 16, "cpu", dtype)}.items():
        got = form(x)
        if what != YARDSTICK:
            assert got.dtype == dtype, what
            hold_to(what, got, wanted, comparable)


def test_ratios_are_to_the_fastest_form_and_the_table_names_it(small):
    forms, left = speed.compare_forms("cpu", (8,), rounds=2, names=("dct", "fft_pairs"))
    assert [form.mixer for form in forms] == ["dct", "fft_pairs"] and left == []
    for form in forms:
        same = [ms for what, ms in form.form_ms.items() if what != YARDSTICK]
        assert form.best_ms == min(same) == form.form_ms[form.best] > 0
        assert form.ratio_low < form.ratio < form.ratio_high and form.rounds == 2
    assert _cells(form_lines(forms))[-1][6] == forms[1].best


def _cells(lines):
    """Of the tables in a page; all rows of one table have as many."""
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    return [[cell.strip() for cell in row] for row in rows]


def test_a_form_that_computes_something_else_is_not_timed(small, monkeypatch):
    monkeypatch.setattr(speed, "naive_forms", lambda *_, **__: {"wrong": lambda x: 2 * x})
    (dct, conv), _ = speed.compare_forms("cpu", (8,), rounds=1, names=("dct", speed.CONV))
    assert dct.status == "error" and "dct, wrong, differs from its definition" in dct.reason
    assert dct.ours_ms is None and dct.form_ms == {} and conv.status == "ok" and conv.ours_ms > 0
    assert "error: dct, wrong, differs" in _cells(form_lines([dct, conv]))[2][4]


def test_a_form_without_memory_leaves_the_others_their_times(small, monkeypatch):
    forms = speed.naive_forms

    def greedy(x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 75 GiB")

    monkeypatch.setattr(speed, "naive_forms", lambda *a, **k: forms(*a, **k) | {"greedy": greedy})
    (dct,), _ = speed.compare_forms("cpu", (8,), rounds=1, names=("dct",))
    assert dct.status == "ok" and dct.best == "matrix products"
    assert dct.form_failures == {"greedy": "oom: CUDA out of memory. Tried to allocate 75 GiB"}
    assert _cells(form_lines([dct]))[-1][-1].startswith("oom: CUDA out of memory")


def test_memory_may_end_between_the_check_and_the_clock(small, monkeypatch):
    forms = speed.naive_forms

    def greedy(x):
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return create_mixer("dct", 8, (8, 8))(x)

    monkeypatch.setattr(speed, "CPU_SHAPES", [(2, 8, 8, 8)])
    monkeypatch.setattr(speed, "naive_forms", lambda *a, **k: forms(*a, **k) | {"greedy": greedy})
    (dct,), _ = speed.compare_forms("cpu", (8,), rounds=3, names=("dct",))
    assert dct.status == "ok" and set(dct.form_failures) == {"greedy"} and set(dct.form_ms) >= {"matrix products"}


def test_what_a_cpu_has_no_memory_for_is_not_begun(small, monkeypatch):
    monkeypatch.setattr(attempt, "free_bytes", lambda device: 20_000)
    names = (speed.CONV, "attention(backend=plain)")
    rows, _ = speed.compare_forms("cpu", (16,), rounds=1, names=names)
    assert [row.status for row in rows] == ["ok", "oom"] and "it asks for" in rows[1].reason


def _loops_and_rates(monkeypatch, oom=None):
    """Stand-ins for training, which takes minutes."""

    def train(trial, data):
        if trial.mixer == oom:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"train_s": 0.5, "overhead_percent": 10.0}

    monkeypatch.setattr(timm_loop, "train_here", train)
    monkeypatch.setattr(timm_loop.TimmLoop, "epoch", lambda self, number: 1.0)
    monkeypatch.setattr(timm_loop, "RATE_NETS", (("dct", 16), ("attention", 16)))
    monkeypatch.setattr(timm_loop, "MATMUL_SIDE", {"cpu": 16})


def test_the_verb_goes_on_past_what_fails_and_says_so(small, monkeypatch, tmp_path, capsys):
    _loops_and_rates(monkeypatch, oom="attention")
    monkeypatch.setattr("benchmarks.contract.choices.profiles.CORE_MIXERS", ("dct", "attention"))
    original = speed.create_mixer

    def create(name, *arguments):
        if name == "hadamard":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(name, *arguments)

    monkeypatch.setattr(speed, "create_mixer", create)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "MORE_ROUNDS", 1)
    monkeypatch.setattr(speed, "SMALL_PLANE", 0)
    monkeypatch.setattr(speed.compare_forms, "__defaults__", ("cpu", (8, 16), *speed.compare_forms.__defaults__[2:]))
    arguments = ["speed", "--threads", "1", "--results", str(tmp_path), "--data-dir", str(tmp_path)]
    assert cli.main(arguments) == 0
    content = json.loads((tmp_path / "speed.json").read_text())
    rows = content["naive_forms"]
    names = [*NAIVE_FORMS, *speed.WITHOUT_FORMS]
    assert [(row["mixer"], row["image_size"]) for row in rows] == [(name, px) for px in (8, 16) for name in names]
    by_status = {
        status: {row["mixer"] for row in rows if row["status"] == status} for status in ("ok", "oom", "unsupported")
    }
    assert by_status["oom"] == {"hadamard"}
    assert by_status["unsupported"] == {"attention(backend=cudnn)", "attention(backend=efficient)"}
    assert by_status["ok"] == set(names) - by_status["oom"] - by_status["unsupported"]
    loops = [(row["what"], row["setting"].partition(",")[0], row["status"]) for row in content["comparisons"]]
    assert ("training loop", "dct", "ok") in loops and ("training loop", "attention", "oom") in loops
    assert ("model FLOPs of training", "attention", "oom") in loops and content["left"] == []
    page = (tmp_path / "speed.md").read_text()
    assert page.count("oom: CUDA out of memory") == 2 + 2 and "oom: training loop" in capsys.readouterr().out

    monkeypatch.setattr(speed, "naive_forms", lambda *_, **__: {"wrong": lambda x: 2 * x})
    assert cli.main(arguments) == 1
    assert json.loads((tmp_path / "speed.json").read_text())["naive_forms"][0]["status"] == "error"


def test_an_interrupted_run_leaves_the_rows_so_far(small, monkeypatch, tmp_path):
    _loops_and_rates(monkeypatch)
    forms = speed.compare_forms

    def interrupted(device, on_row, until):
        def on_third(row):
            on_row(row)
            if row.mixer == "fft_pairs":
                raise KeyboardInterrupt

        return forms(device, (8,), 1, ("dct", "fft_pairs", "hadamard"), on_third, until)

    monkeypatch.setattr(speed, "compare_forms", interrupted)
    with pytest.raises(KeyboardInterrupt):
        speed.measure_speed(tmp_path, ["dct"], 1, tmp_path)
    rows = json.loads((tmp_path / "speed.json").read_text())["naive_forms"]
    assert [row["mixer"] for row in rows] == ["dct", "fft_pairs"] and all(row["ours_ms"] > 0 for row in rows)
    assert (tmp_path / "speed.md").read_text().count("| dct |") == 1


def test_a_deadline_lists_what_it_left(small, monkeypatch, tmp_path):
    _loops_and_rates(monkeypatch)
    record = speed.measure_speed(tmp_path, ["dct"], 1, tmp_path, until=time.monotonic())
    left = record.left
    assert (record.comparisons, record.forms) == ([], [])
    assert "dct beside a copy and naive forms, 16 px" in left
    assert "training loop, dct: 5 of 5 rounds" in left and "model FLOPs of training, attention" in left
    assert json.loads((tmp_path / "speed.json").read_text())["left"] == left


def test_loops_of_the_rounds_before_a_deadline_count(monkeypatch, tmp_path):
    _loops_and_rates(monkeypatch)
    told = []
    monkeypatch.setattr(timm_loop.Deadline, "passed", lambda self: len(told) >= 2)
    rows, left = compare_loops(["dct"], 1, tmp_path, rounds=4, steps=1, batch_size=8, on_rows=told.append)
    assert [row.rounds for row in rows] == [1, 1] and left == ["training loop, dct: 3 of 4 rounds"]


def test_the_procedural_set_has_images_for_all_steps(tmp_path):
    for images in (512, 1900, 8192, 20480):
        trial = timm_loop.loop_trial("dct", 1, 128, "constellations", "cpu", images)
        assert trial.train_images - max(500, trial.train_images // 10) >= images


def test_our_loop_stands_beside_timms(tmp_path):
    (loop, share), left = compare_loops(["dct"], 1, Path(tmp_path), rounds=2, steps=2, batch_size=8)
    assert (loop.what, share.what) == ("training loop", "step outside model and optimizer") and left == []
    assert "constellations" in loop.setting and loop.rounds == share.rounds == 2
    assert loop.ours == share.theirs > share.ours > 0 and math.isfinite(loop.ratio)
    assert 0 < share.ratio_low <= share.ratio <= share.ratio_high and share.ratio < 1
