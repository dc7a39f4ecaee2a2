"""`python -m benchmarks status`: what files alone tell of a sweep."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.cli import main as cli
from benchmarks.contract.errors import Diverged
from benchmarks.contract.record import Record, machine_key
from benchmarks.contract.trial import Trial
from benchmarks.machine.environment import environment
from benchmarks.sources import sources_of
from benchmarks.sweep import status
from benchmarks.sweep.run import Runner

TRIAL = Trial(
    kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1, epochs=10,
    train_images=1000,
)  # fmt: skip
NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)


def trial(seed: int, **changes) -> Trial:
    return dataclasses.replace(TRIAL, seed=seed, **changes)


def save(results: Path, what: Trial, state: str = "ok", minutes: int = 10) -> None:
    where, reason = environment(what.device, what.threads), None if state == "ok" else "too\x1b[31m large"
    Record(
        id=what.id(machine_key(where)), kind=what.kind, status=state, reason=reason,
        trial=what, metrics={}, history=[], environment=where, code={"commit": None, "dirty": None},
        started=f"2026-01-01T0{what.seed}:00:00+00:00", ended=f"2026-01-01T0{what.seed}:{minutes}:00+00:00",
    ).save(results / "records")  # fmt: skip


def beat(results: Path, what: Trial, done: int, silent_s: int = 5, **changes) -> Path:
    updated = (NOW - datetime.timedelta(seconds=silent_s)).isoformat()
    content = {"trial": what.to_dict(), "started": updated, "updated": updated, "epoch": done, "epochs": what.epochs}
    path = results / "checkpoints" / f"{what.kind}-{what.id()}.heartbeat.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | {"images_per_s": 50.0} | changes))
    return path


def read(results: Path) -> status.Status:
    return status.read_status(results, NOW)


def test_a_sweep_in_the_middle(tmp_path):
    save(tmp_path, trial(0))
    save(tmp_path, trial(1), "oom", minutes=20)
    beat(tmp_path, trial(2), done=4)
    beat(tmp_path, trial(3), done=7, silent_s=61)
    beat(tmp_path, trial(0), done=10)  # of a trial that has its record
    timed = dataclasses.replace(TRIAL, kind="latency", epochs=None, batch_size=2, rounds=1, compiled=False)
    status.write_plan(tmp_path, [trial(seed) for seed in range(6)])
    found = read(tmp_path)
    assert dict(found.totals) == {"done": 1, "failed": 1, "running": 1, "stopped": 1, "to do": 2}
    assert {r.trial.seed: r.stopped for r in found.running} == {2: False, 3: True}
    lefts = {r.trial.seed: r.left_s for r in found.running}
    assert lefts == {2: 6 * 1000 / 50, 3: 3 * 1000 / 50}
    # two to come at the mean of ten and twenty minutes, and what the two under way still need, one worker being alive
    assert found.left_s == pytest.approx(2 * 900 + 120 + 60)
    text = "\n".join(status.lines_of(found))
    assert "1 done, 1 failed, 1 running, 1 stopped, 2 to do, about 33 min left" in text
    assert "seed 2: epoch 4 of 10, 50 images/s, about 2 min left" in text
    assert "seed 3: epoch 7 of 10, silent for 61 s; the same command goes on" in text
    assert "oom: accuracy dct 16 px patch 2 seed 1: too[31m large" in text and "\x1b" not in text
    status.write_plan(tmp_path, [trial(0), timed])
    assert read(tmp_path).totals["to do"] == 1 and read(tmp_path).left_s is None  # no latency trial was measured yet
    save(tmp_path, timed)
    assert read(tmp_path).totals["to do"] == 0


KINDS = {
    "accuracy": {"batch_size": 64},
    "tuning": {"batch_size": 64, "lr": 1e-3, "weight_decay": 0.05},
    "cost": {"epochs": None, "train_images": None, "batch_size": 2},
    "latency": {"epochs": None, "train_images": None, "batch_size": 2, "rounds": 1, "compiled": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_heartbeats_that_a_run_leaves_are_read_as_running_and_later_as_stopped(tmp_path, monkeypatch, kind):
    trials = [trial(0, kind=kind, mixer=mixer, **KINDS[kind]) for mixer in ("dct", "attention")]
    seen = []

    def look(*_, **__):
        seen.append((status.read_status(tmp_path), status.read_status(tmp_path, in_seconds(3600))))
        raise Diverged("enough")

    monkeypatch.setattr("benchmarks.sweep.run.measure_latency", look)
    monkeypatch.setattr("benchmarks.sweep.one_trial.measure_cost", look)
    monkeypatch.setattr("benchmarks.sweep.one_trial.train", look)
    runner = Runner(tmp_path, tmp_path, own_process=False)
    status.write_plan(tmp_path, trials)
    with contextlib.suppress(Diverged):
        runner.run(trials)
    together = 2 if kind == "latency" else 1
    now, later = seen[0]
    assert not now.broken and not later.broken
    assert now.totals == +Counter({"running": together, "to do": 2 - together})
    assert later.totals == +Counter({"stopped": together, "to do": 2 - together})
    line = next(line for line in status.lines_of(now) if line.startswith(f"running: {kind} "))
    assert re.search("epoch 0 of 10$" if "epochs" not in KINDS[kind] else r"for \d s$", line)
    assert any("the same command goes on" in line for line in status.lines_of(later))


def test_a_latency_that_touches_its_heartbeat_once_a_minute_is_running_all_the_time(tmp_path, monkeypatch):
    timed = [trial(0, kind="latency", mixer=mixer, **KINDS["latency"]) for mixer in ("dct", "attention")]
    save(tmp_path, dataclasses.replace(timed[0], mixer="hadamard"))  # ten minutes
    seen = []

    def look(*_, **__):
        seen.extend(status.read_status(tmp_path, in_seconds(after)) for after in (0, 61, 119, 181))
        return []

    monkeypatch.setattr("benchmarks.sweep.run.measure_latency", look)
    Runner(tmp_path, tmp_path)._measure_latency(timed)
    assert [found.totals["running"] for found in seen] == [2, 2, 2, 0] and seen[3].totals["stopped"] == 2
    assert seen[0].left_s == pytest.approx(1200, abs=5)


def in_seconds(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


def test_a_latency_process_counts_once_for_all_its_trials(tmp_path):
    timed = [
        dataclasses.replace(TRIAL, kind="latency", mixer=m, epochs=None, batch_size=2, rounds=1, compiled=False)
        for m in ("dct", "attention", "random", "hadamard")
    ]
    for one in timed[:2]:
        save(tmp_path, one)  # ten minutes, together
    status.write_plan(tmp_path, timed)
    assert read(tmp_path).left_s == pytest.approx(600)


def test_two_data_sets_of_one_name_are_kept_apart(tmp_path, capsys):
    own = {"dataset": "folder:photos"}
    here, there = (trial(0, **own, dataset_source=digit * 64) for digit in "ab")
    save(tmp_path, here)
    save(tmp_path, there, "diverged")
    status.write_plan(tmp_path, [dataclasses.replace(there, seed=1), here])
    assert cli.main(["status", "--results", str(tmp_path)]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[1][:4] == ["data", "set", "kind", "mixer"]
    assert said[2] == ["folder:photos", f"({'a' * 12})", "accuracy", "dct", "1", "-", "-", "-", "-"]
    assert said[3] == ["folder:photos", f"({'b' * 12})", "accuracy", "dct", "-", "1", "-", "-", "1"]
    assert " ".join(said[4]).startswith(f"diverged: {there.describe()}, folder:photos ({'b' * 12}): ")


def test_what_reads_no_text_counts_with_the_one_text_that_there_is(tmp_path):
    nets = {"dataset": "pairs", "image_size": None, "patch_size": None, "length": 32, "train_images": None}
    one, other = (trial(0, **nets, dataset_source=digit * 64) for digit in "ab")
    cost = dataclasses.replace(one, kind="cost", dataset_source=None, epochs=None, batch_size=2)
    for each in (one, cost):
        save(tmp_path, each)
    assert read(tmp_path).datasets == {}  # one set, which need not be named
    save(tmp_path, trial(0))
    assert set(read(tmp_path).datasets.values()) == {"pairs", "constellations"}
    save(tmp_path, other)
    words = {"constellations", "pairs (not said)", f"pairs ({'a' * 12})", f"pairs ({'b' * 12})"}
    assert set(read(tmp_path).datasets.values()) == words


def test_a_plan_that_names_no_data_set_is_of_the_one_that_is_there(tmp_path):
    save(tmp_path, trial(0))
    path = status.write_plan(tmp_path, [trial(1)])
    content = json.loads(path.read_text())
    content["trials"] = [{name: entry[name] for name in ("record", "kind", "mixer")} for entry in content["trials"]]
    path.write_text(json.dumps(content))
    found = read(tmp_path)
    assert found.totals["to do"] == 1 and len(found.counts) == 1


def test_without_a_plan_or_anything_there_is_still_an_answer(tmp_path, capsys):
    assert cli.main(["status", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "nothing measured yet\n"
    save(tmp_path, trial(0))
    assert cli.main(["status", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("1 done\n")
    assert cli.main(["status", "--results", str(tmp_path / "nowhere")]) == 2
    assert cli.main(["status", "--mixer", "dct"]) == 2


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"trial": {}}', {"epoch": 11}, {"epoch": -1}, {"epoch": "1"}, {"images_per_s": "x"},
     {"images_per_s": -1}, {"updated": "now"}, {"updated": "2026-01-01T00:00:00"}, {"trial": {"kind": "accuracy"}}],
)  # fmt: skip
def test_a_broken_heartbeat_or_record_is_a_line_and_no_more(tmp_path, content):
    path = beat(tmp_path, trial(2), 4, **(content if isinstance(content, dict) else {}))
    if isinstance(content, str):
        path.write_text(content)
    save(tmp_path, trial(0))
    (tmp_path / "records" / "accuracy-0123456789abcdef.json").write_text("<html>")
    (tmp_path / "checkpoints" / "plan.json").write_text("<html>")
    found = read(tmp_path)
    assert len(found.broken) == 2 and all(line.isprintable() for line in found.broken)
    assert found.totals["done"] == 1 and found.running == []


def test_status_answers_without_the_heavy_packages(tmp_path):
    import subprocess
    import sys

    code = (
        f"import sys; from benchmarks.cli.main import main; main(['status', '--results', {str(tmp_path)!r}]);"
        "print([m for m in ('timm', 'torchvision', 'pandas', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_records_of_other_code_are_one_line_in_status_and_before_a_report(tmp_path, capsys, monkeypatch):
    for seed in range(3):
        save(tmp_path, trial(seed))
        path = next(
            path for path in (tmp_path / "records").iterdir() if json.loads(path.read_text())["trial"]["seed"] == seed
        )
        record = Record.load(path)
        sources = sources_of(record.trial) | ({"mixer": "0" * 16} if seed else {})
        dataclasses.replace(record, code=record.code | {"sources": sources}).save(tmp_path / "records")
    wanted = "2 of the 3 records found are of other code than today's (mixer of dct (2)); they count, since versions "
    (line,) = [line for line in status.lines_of(read(tmp_path)) if "other code" in line]
    assert line == wanted + "decide; --retry changed measures them again"
    monkeypatch.setattr("benchmarks.report.build.write_report", lambda *_: [])
    assert cli.main(["report", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == line
