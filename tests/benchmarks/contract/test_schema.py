"""The committed JSON Schema: it is what the code says, and nothing else gets through it, in or out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.contract import make_schema
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.metrics import METRICS, WORDS
from benchmarks.contract.record import SCHEMA_VERSION, STATUSES, Record, content_of
from benchmarks.contract.schema import SCHEMA_FILE, check_record
from benchmarks.contract.trial import FACTS, Trial
from benchmarks.machine.environment import environment
from benchmarks.timing.cost import measure_cost

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = sorted((ROOT / "results" / "published").rglob("records/*.json"))
TRIAL = Trial(
    kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1, epochs=1
)  # fmt: skip


def make(**changes) -> Record:
    values = {
        "id": TRIAL.id(), "kind": "accuracy", "status": "ok", "reason": None, "trial": TRIAL,
        "metrics": {"test_top1_percent": 12.5}, "history": [{"epoch": 1, "train_loss": 2.5}],
        "environment": environment(TRIAL.device, TRIAL.threads), "code": {"commit": None, "dirty": None},
        "started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:01:00+00:00",
    }  # fmt: skip
    return Record(**(values | changes))


def test_the_committed_file_is_made_of_trial_and_metrics():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == make_schema.text(), (
        "type python -m benchmarks.contract.make_schema"
    )


def test_the_schema_is_one_by_its_own_meta_schema():
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(schema)
    assert schema["properties"]["schema_version"] == {"const": SCHEMA_VERSION}
    assert set(schema["properties"]["metrics"]["properties"]) == {*METRICS, *WORDS}
    assert set(schema["properties"]["status"]["enum"]) == set(STATUSES)


def test_every_published_record_is_what_the_schema_says():
    assert len(PUBLISHED) > 100
    for path in PUBLISHED:
        check_record(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Trial)])
def test_no_field_of_a_trial_takes_what_a_trial_refuses(name):
    content = content_of(make())
    check_record(content)
    low, high = FACTS[name].low, FACTS[name].high
    odd = [[], {}] if low is None else [low - 1, high * 2 + 1, "1", True]
    odd = ["no such choice", ""] if FACTS[name].choices else odd
    for value in odd:
        with pytest.raises(UserError, match=name):
            check_record(content | {"trial": content["trial"] | {name: value}})
    for value in [*FACTS[name].choices, *(() if low is None else (low, high))]:
        check_record(content | {"trial": content["trial"] | {name: value}})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "../../../etc/passwd"}, "id"),
        ({"id": TRIAL.id().upper() + "G"}, "id"),
        ({"metrics": {"test_top1": 1.0}}, "test_top1"),
        ({"metrics": {"test_top1_percent": 100.1}}, "test_top1_percent"),
        ({"metrics": {"test_loss": -1}}, "test_loss"),
        ({"metrics": {"test_loss": "low"}}, "test_loss"),
        ({"metrics": {"method": 3}}, "method"),
        ({"history": [{"epoch": 1, "loss": 1.0}]}, "history"),
        ({"history": [{"train_loss": 1.0}]}, "history"),
        ({"environment": {"torch": "2", "device": "cpu", "cpu": "x", "hostname": "here"}}, "hostname"),
        ({"environment": {"torch": "2", "device": "cpu"}}, "cpu"),
        ({"code": {"commit": "c", "dirty": False, "author": "me"}}, "author"),
        ({"started": "yesterday"}, "started"),
        ({"status": "fine", "reason": "because"}, "status"),
        ({"status": "oom", "reason": None}, "reason"),
        ({"status": "ok", "reason": "but"}, "reason"),
    ],
)
def test_what_is_not_in_the_schema_is_neither_written_nor_read(tmp_path, change, says):
    with pytest.raises(UserError, match=says):
        make(**change).save(tmp_path)
    assert list(tmp_path.rglob("*")) == []
    content = content_of(make()) | change
    path = tmp_path / make().file_name
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=says) as caught:
        Record.load(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_metric_in_words_is_allowed_by_name():
    check_record(content_of(make(metrics={"method": "allocator", "test_top1_percent": None, "params": 3})))


def test_whatever_a_cost_trial_measures_may_be_written(tmp_path):
    trial = dataclasses.replace(TRIAL, kind="cost", epochs=None, batch_size=2)
    make(id=trial.id(), kind="cost", trial=trial, metrics=measure_cost(trial), history=[]).save(tmp_path)


def test_a_record_changed_after_it_was_written_is_told_by_its_checksum(tmp_path):
    path = make().save(tmp_path)
    Record.load(path)
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text)))  # other white space
    assert Record.load(path) == make()
    path.write_text(text.replace("12.5", "92.5"))
    with pytest.raises(UserError, match="changed after it was written"):
        Record.load(path)


def test_a_record_of_before_there_were_checksums_is_read(tmp_path):
    path = tmp_path / make().file_name
    path.write_text(json.dumps(content_of(make())))
    assert Record.load(path) == make()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema_version": NaN}', "1" * 5000, '{"schema_version": 1e999}', '"x"']
)
def test_odd_json_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / make().file_name
    path.write_text(text)
    with pytest.raises(UserError, match="not a readable record") as caught:
        Record.load(path)
    assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()
