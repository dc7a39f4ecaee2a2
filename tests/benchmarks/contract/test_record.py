from __future__ import annotations

import getpass
import json
import math
import platform
from pathlib import Path

import pytest

from benchmarks.contract import record as record_module
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import (
    Record,
    atomic_write,
    code_version,
    load_records,
    machine_key,
    without_nan,
)
from benchmarks.contract.trial import Trial
from benchmarks.machine.environment import environment

TRIAL = Trial(
    kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1, lr=0.1
)  # fmt: skip


def make(**changes) -> Record:
    values = {
        "id": TRIAL.id(),
        "kind": "accuracy",
        "status": "ok",
        "reason": None,
        "trial": TRIAL,
        "metrics": {"test_top1_percent": 12.5, "test_loss": 2.0},
        "history": [{"epoch": 1, "train_loss": 2.5}],
        "environment": environment(TRIAL.device, TRIAL.threads),
        "code": code_version(),
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:01:00+00:00",
    }
    return Record(**(values | changes))


def refuse_constants(name: str) -> None:
    raise AssertionError(f"{name} is not strict JSON")


def test_a_record_survives_its_file(tmp_path):
    saved = make()
    path = saved.save(tmp_path)
    assert path.name == f"accuracy-{TRIAL.id()}.json"
    assert Record.load(path) == saved
    assert load_records(tmp_path) == [saved]


def test_the_file_has_every_field_of_the_contract(tmp_path):
    content = json.loads(make().save(tmp_path).read_text())
    fields = "schema_version id kind status reason trial metrics history environment code started ended checksum"
    assert list(content) == fields.split()
    assert content["trial"] == TRIAL.to_dict()
    assert {"torch", "cuda", "device", "cpu", "cores", "threads", "os", "packages"} <= set(content["environment"])
    assert set(content["code"]) == {"commit", "dirty"}


def test_what_is_not_a_number_is_null(tmp_path):
    bad = make(metrics={"test_loss": math.nan, "train_s": math.inf}, history=[{"epoch": 1, "lr": -math.inf}])
    path = bad.save(tmp_path)
    content = json.loads(path.read_text(), parse_constant=refuse_constants)
    assert content["metrics"] == {"test_loss": None, "train_s": None}
    assert content["history"] == [{"epoch": 1, "lr": None}]
    assert without_nan((math.nan, 1, "nan")) == [None, 1, "nan"]


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = make().save(tmp_path)
    before = path.read_bytes()

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    with pytest.raises(TypeError):
        make(metrics={"test_loss": object()}).save(tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new"
    with atomic_write(path) as file:
        file.write(b"whole")
        file.flush()
        assert not path.exists()
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.startswith(".") and temporary.suffix != ".json"
    assert path.read_bytes() == b"whole"


def test_a_record_tells_nothing_of_who_and_where(tmp_path):
    text = make().save(tmp_path).read_text()
    words = [
        platform.node(),
        str(Path.cwd()),
        str(Path.home()),
        str(tmp_path),
        str(Path(record_module.__file__).parent),
    ]
    for word in words:
        assert word in ("", "/") or word not in text, word
    user = getpass.getuser()
    assert f'"{user}"' not in text and f"/{user}/" not in text


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"dim"', '"width"'),
        lambda text: text.replace('"dim": 8', '"dim": null'),
        lambda text: text.replace('"dim": 8', '"dim": 9'),
        lambda text: text.replace('"history"', '"past"'),
        lambda text: text.replace('"schema_version": 1', '"schema_version": 2'),
        lambda text: text.replace('"schema_version": 1,', ""),
        lambda text: text.replace('"status": "ok"', '"status": "fine"'),
        lambda text: text.replace('"kind": "accuracy"', '"kind": "speed"'),
        lambda text: text.replace(f'"id": "{TRIAL.id()}"', '"id": "0123456789abcdef"'),
    ],
)
def test_a_file_that_is_no_record_is_refused_in_one_line(tmp_path, change):
    path = make().save(tmp_path)
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(UserError) as caught:
        Record.load(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = make().save(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a readable record"):
        Record.load(path)


def test_another_schema_version_says_which(tmp_path):
    path = make().save(tmp_path)
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 7'))
    with pytest.raises(UserError, match="schema version 7, this code reads 1"):
        Record.load(path)


def test_a_renamed_file_is_refused(tmp_path):
    path = make().save(tmp_path)
    renamed = path.rename(tmp_path / "accuracy-0123456789abcdef.json")
    with pytest.raises(UserError, match="not what it says it is"):
        Record.load(renamed)


def test_records_are_found_in_the_folder_or_its_records_in_the_order_of_their_names(tmp_path):
    trials = [Trial(**(TRIAL.to_dict() | {"seed": seed})) for seed in range(5)]
    for trial in trials:
        make(trial=trial, id=trial.id()).save(tmp_path / "records")
    (tmp_path / "records" / f"accuracy-{TRIAL.id()}.npy").write_bytes(b"")
    found = [record.id for record in load_records(tmp_path)]
    assert found == sorted(trial.id() for trial in trials)
    assert [record.id for record in load_records(tmp_path / "records")] == found
    with pytest.raises(UserError, match="is not a folder; --results"):
        load_records(tmp_path / "nowhere")


def test_the_key_of_a_machine_tells_processors_and_torch_versions_apart():
    here = environment(TRIAL.device, TRIAL.threads)
    assert machine_key(here) == machine_key(dict(here, threads=7, cores=99, packages={}))
    keys = {machine_key(here | change) for change in ({}, {"cpu": "other"}, {"torch": "0"}, {"device": "GPU"})}
    assert len(keys) == 4


def test_the_code_version_is_a_commit_or_a_release():
    version = code_version()
    assert version["dirty"] in (True, False, None)
    assert version["commit"] is None or version["commit"].startswith("v") or len(version["commit"]) == 40
