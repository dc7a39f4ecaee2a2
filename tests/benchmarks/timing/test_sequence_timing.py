"""Sequences are timed on token ids, at any length; what does not fit into memory is a row and is never started."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import load_records
from benchmarks.contract.trial import Trial
from benchmarks.machine import device, memory
from benchmarks.plan.trials import Plan, Request
from benchmarks.studies.atlas.measure import atlas_trials, measure_atlas
from benchmarks.sweep.progress import outcome_line
from benchmarks.timing import latency
from benchmarks.timing.cost import measure_cost
from benchmarks.timing.latency import Item, measure_latency
from benchmarks.training.train import training_step_bytes

GB = 2**30
NET = {"norm": "token", "positions": "learned", "coordinates": False}


def trial(mixer: str, length: int = 16, **changes) -> Trial:
    fields = {"kind": "latency", "dataset": "recall", "dim": 8, "depth": 2, "batch_size": 2, **NET}
    return Trial(mixer=mixer, length=length, **(fields | {"rounds": 2, "compiled": False, "threads": 1} | changes))


def test_a_length_is_timed_without_a_data_set_to_the_last_token(tmp_path):
    command = ["latency", "--length", "8,8192", "--mixer", "fft_real", "--dim", "8", "--depth", "1", "--rounds", "1"]
    options = ["--device", "cpu", "--threads", "1", "--batch-size", "1", "--profile", "quick"]
    assert cli.main([*command, *options, "--results", str(tmp_path)]) == 0
    records = load_records(tmp_path)
    assert [(r.trial.length, r.trial.image_size, r.status) for r in records] in (
        [(8, None, "ok"), (8192, None, "ok")],
        [(8192, None, "ok"), (8, None, "ok")],
    )
    for record in records:
        assert record.metrics["forward_backward_ms"] > 0 and record.metrics["peak_memory_bytes"] > 0


def test_passages_are_timed_though_their_nets_leave_some_weights_of_the_encoder_unused():
    trials = [trial("fft_real", dataset=name, depth=1, rounds=1, tokenizer="bytes") for name in ("glue:wnli", "mr")]
    for timing in measure_latency(trials):
        assert (timing.status, timing.reason) == ("ok", None) and timing.metrics["forward_backward_ms"] > 0


def test_lengths_of_the_published_tables_are_planned():
    lengths = (512, 1024, 2048, 4096, 8192, 16384)
    trials = Plan(Request(length=lengths, mixer="fft_real", device="cpu")).latency(trained=False)
    assert [t.length for t in trials] == list(lengths) and {t.dataset for t in trials} == {"recall"}


@pytest.fixture
def load_items(monkeypatch, tmp_path):
    """Loads the module that times, for one trial and what its net is said to need."""

    def load(one: Trial, needed: int = 0):
        item = Item(0, "net", "forward")
        plan = {"trials": [one.to_dict()], "items": [item.to_dict()], "needs": [needed], "plugins": [], "own_data": []}
        plan |= {name: str(tmp_path / f"{name}.jsonl") for name in ("results", "failures")}
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        monkeypatch.setenv(latency.PLAN_VARIABLE, str(tmp_path / "plan.json"))
        path = Path(latency.__file__).with_name("latency_items.py")
        spec = importlib.util.spec_from_file_location("loaded_items", path)
        monkeypatch.setattr(device, "set_math_mode", lambda threads: None)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "loaded_items", module)
        spec.loader.exec_module(module)
        return module, item

    return load


def test_tokens_of_the_vocabulary_are_timed_and_they_are_larger_than_the_caches(load_items):
    module, item = load_items(trial("fft_real", 512))
    net, seen = module._module(module.TRIALS[0], "net"), []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    call = module.prepared(item).call
    for _ in range(3):
        call()
    pool = module._token_pool("recall", 2, 512)
    assert sum(tokens.nbytes for tokens in pool) > module.POOL_BYTES and pool[0].shape == (2, 512)
    assert pool[0].dtype == torch.int64 and min(t.min() for t in pool) >= 1 and max(t.max() for t in pool) < 273
    assert len({tokens.data_ptr() for tokens in seen}) >= 4  # another batch each time


def test_what_is_kept_makes_room_for_an_item_and_what_has_no_room_fails(load_items, monkeypatch):
    module, item = load_items(trial("fft_real"), needed=800)
    free = [2000]
    monkeypatch.setattr(module, "free_bytes", lambda device: free[-1])
    module.prepared(item)
    kept = module.MODULES[module.TRIALS[0], "net"]
    module.prepared(item)
    assert module.MODULES[module.TRIALS[0], "net"] is kept

    def make_room():
        free.append(1600)  # half of it may be asked for
        before()

    before = module.make_room
    free.append(1598)
    monkeypatch.setattr(module, "make_room", make_room)
    module.prepared(item)
    assert module.MODULES[module.TRIALS[0], "net"] is not kept
    monkeypatch.setattr(module, "make_room", before)
    free.append(1598)
    with pytest.raises(MemoryError, match="the net asks for 800 bytes, 799 may be taken of what is free"):
        module.prepared(item)
    assert latency._what_failed("MemoryError", "the net asks for 800 bytes")[0] == "oom"


@pytest.mark.parametrize(("mixer", "least"), [("linear", 4), ("attention(backend=plain)", 8)])
def test_what_a_gigabyte_a_layer_asks_for_is_told_and_nothing_is_made(mixer, least, monkeypatch):
    monkeypatch.setattr(latency, "free_bytes", lambda device: 4 * GB)
    monkeypatch.setattr(latency, "_run_process", lambda trials, items, *_: ({}, {}, None))
    (timing,) = measure_latency([trial(mixer, 16384, dim=64, batch_size=1)])
    assert timing.status == "oom" and timing.metrics["peak_memory_bytes"] > least * GB
    assert f"{timing.metrics['peak_memory_bytes']:,} bytes" in timing.reason


def test_the_optimizer_and_the_making_of_a_net_count_in_what_a_step_needs():
    cost = trial("linear", 1024, kind="cost", rounds=None, compiled=None)
    weights = 2 * 4 * 1024**2
    assert training_step_bytes(cost) > 4 * weights  # weights, gradients and both moments
    assert training_step_bytes(cost) == pytest.approx(measure_cost(cost)["train_peak_bytes"], rel=0.25)
    drawn = dataclasses.replace(cost, mixer="random", depth=1)
    assert training_step_bytes(drawn) >= 2 * 4 * 1024**2  # what is drawn stands beside what is kept


def test_both_peaks_are_predicted():
    def make():
        torch.zeros(1000)
        x = torch.zeros(10)
        return lambda: x + 1, [x]

    assert memory.predict_bytes(make) == (80, 4000)


def test_a_budget_that_no_width_reaches_is_told_once_and_in_the_line_of_its_record(caplog):
    trials = Plan(Request(dataset="recall", length=(256,), match="params", mixer="linear,dct", device="cpu")).accuracy()
    assert {t.mixer: t.dim > 64 for t in trials} == {"linear": False, "dct": True}
    lines = [line for line in caplog.messages if "outside 0.9 to 1.1" in line]
    assert len(lines) == 1 and lines[0].startswith("linear, 256 tokens, dim 8: 1.")
    assert "times the parameters of attention's net" in lines[0]
    metrics = {"params": 1000, "flops": 1e6, "match_ratio": 1.3}
    one = dataclasses.replace(trials[0], kind="cost")
    assert outcome_line(SimpleNamespace(status="ok", kind="cost", trial=one, metrics=metrics)) == (
        "1,000 parameters, 1.00 MFLOPs; 1.3 times the parameters of attention's net, outside 0.9 to 1.1"
    )
    metrics["match_ratio"] = 1.1
    assert outcome_line(SimpleNamespace(status="ok", kind="cost", trial=one, metrics=metrics)).endswith(" MFLOPs")


SMALL = ["--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1", "--profile", "quick"]
SMALL += ["--train-images", "200"]


def test_the_parts_of_a_step_of_sequences_are_told_by_length(tmp_path):
    command = ["profile", "--dataset", "recall", "--length", "8,16", "--mixer", "fft_real", "--rounds", "1"]
    assert cli.main([*command, "--results", str(tmp_path), *SMALL]) == 0
    page = (tmp_path / "profile.md").read_text()
    assert "| length (tokens) |" in page and "\n| fft_real | 16 | " in page and "patch" not in page
    assert (tmp_path / "trace-fft_real-8tokens.json.gz").exists()


def test_the_atlas_takes_a_sequence_as_one_row(tmp_path):
    request = Request(mixer="attention,conv1x1", length=(8,), dim=8, depth=1, train_images=200, device="cpu")
    attention, conv1x1 = measure_atlas(request.but(results=tmp_path, threads=1, epochs=1))
    for record in (attention, conv1x1):
        assert record.status == "ok" and record.trial.dataset == "recall"
        assert all(len(influence) == 1 and len(influence[0]) == 8 for influence in record.maps.values())
    assert conv1x1.numbers["layer_trained"]["reach"] == 0 < attention.numbers["layer_trained"]["reach"]
    with pytest.raises(UserError, match="--length is 8,16; an atlas takes one, such as 8"):
        atlas_trials(request.but(length=(8, 16)))
