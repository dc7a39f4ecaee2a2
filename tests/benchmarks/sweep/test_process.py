"""A process for each training run: what a crash, a hang, an interrupt and a kill of it leave behind."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.contract.errors import UserError
from benchmarks.contract.record import load_records
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Plan, Request
from benchmarks.sweep.process import Crashed, Heartbeat, OwnProcess, TimedOut, heartbeat_path
from benchmarks.sweep.run import Runner

ROOT = Path(__file__).resolve().parents[3]
SMALL = dict(
    profile="quick",
    dataset="constellations",
    device="cpu",
    threads=1,
    dim=8,
    depth=1,
    epochs=2,
    train_images=300,
    seed=(0,),
)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def read_address_0() -> None:
    ctypes.string_at(0)


def refuse() -> None:
    raise UserError("a line for the user")


def fail() -> None:
    raise ZeroDivisionError("by nothing")


def talk(times: int) -> str:
    for number in range(times):
        logging.getLogger("benchmarks.training.train").warning("line %d", number)
    return os.environ["TOLD"]


def in_own_process(function: Callable[..., Any], *arguments: Any, timeout_s: float | None = None) -> Any:
    with OwnProcess() as process:
        return process.call(function, *arguments, timeout_s=timeout_s)


def write_pid_and_wait(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


def test_the_answer_and_the_log_come_back_in_order(caplog, monkeypatch):
    monkeypatch.setenv("TOLD", "as it is now")
    assert in_own_process(talk, 3) == "as it is now"
    assert [record.getMessage() for record in caplog.records] == ["line 0", "line 1", "line 2"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc tells what a process has loaded")
def test_a_process_is_forked_from_a_server_that_has_pytorch_loaded():
    servers = {in_own_process(os.getppid) for _ in range(3)}
    assert len(servers) == 1 and os.getpid() not in servers
    assert "libtorch" in Path(f"/proc/{servers.pop()}/maps").read_text()


@pytest.mark.parametrize(
    ("function", "arguments", "error", "says"),
    [
        (die, (signal.SIGKILL,), Crashed, r"ended by SIGKILL$"),
        (read_address_0, (), Crashed, r"ended by SIGSEGV in string_at \(__init__\.py:\d+\)"),
        (os._exit, (3,), Crashed, "exit code 3"),
        (sys.exit, (0,), Crashed, "SystemExit: 0"),
        (fail, (), Crashed, "ZeroDivisionError: by nothing"),
        (refuse, (), UserError, "^a line for the user$"),
    ],
)
def test_however_it_ends_is_told(function, arguments, error, says):
    with pytest.raises(error, match=says):
        in_own_process(function, *arguments)


def test_a_hang_ends_with_its_time(tmp_path):
    started = time.perf_counter()
    with pytest.raises(TimedOut, match=r"not done after 2 s"):
        in_own_process(write_pid_and_wait, tmp_path / "pid", timeout_s=2)
    assert time.perf_counter() - started < 30
    if (tmp_path / "pid").exists():  # it may not have come so far
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_ends_with_its_parent(tmp_path, number):
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job has it ignored
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; import test_process as t\n"
        f"t.in_own_process(t.write_pid_and_wait, Path({str(tmp_path / 'pid')!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    child = psutil.Process(int(wait_for(tmp_path / "pid")))
    parent.send_signal(number)
    assert parent.wait(30) != 0
    child.wait(30)


def wait_for(path: Path) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.05)
    pytest.fail(f"no {path.name}")


FAILING = """
import ctypes, os, signal, time
from mixers import Mixer

class {name}(Mixer):
    def forward(self, x):
        if self.training and len(x) == 32 and not os.path.exists({mended!r}):
            {act}
        return x * 1

    def flops(self):
        return 0
"""


def failing_mixer(folder: Path, name: str, act: str) -> str:
    path = folder / f"{name.lower()}.py"
    path.write_text(FAILING.format(name=name, act=act, mended=str(folder / "mended")))
    return f"{path}:{name}"


def test_a_crash_and_a_hang_are_records_and_the_sweep_goes_on(tmp_path):
    mixers = [
        failing_mixer(tmp_path, "Segfault", "ctypes.string_at(0)"),
        failing_mixer(tmp_path, "Killed", "os.kill(os.getpid(), signal.SIGKILL)"),
        failing_mixer(tmp_path, "Hang", "time.sleep(600)"),
        "conv1x1",
    ]
    trials = Plan(Request(mixer=",".join(mixers), **SMALL)).accuracy()  # type: ignore[arg-type]
    results = tmp_path / "results"
    got = [r.record for r in Runner(results, tmp_path, timeout_s=12).run(trials)]
    assert [r.status for r in got] == ["error", "error", "timeout", "ok"], [r.reason for r in got]
    assert "SIGSEGV in string_at" in got[0].reason and "SIGKILL" in got[1].reason and "12 s" in got[2].reason
    assert not list(results.rglob("*.heartbeat.json"))
    assert all("/" not in (r.reason or "") for r in got)
    (tmp_path / "mended").touch()
    again = Runner(results, tmp_path, retry=["error", "timeout"]).run(trials)
    assert [r.record.status for r in again] == ["ok"] * 4
    assert sum(r.measured_now for r in again) == 3


def test_a_process_of_its_own_changes_no_number(tmp_path):
    trials = Plan(Request(mixer="attention,random", **SMALL)).accuracy()  # type: ignore[arg-type]
    here = Runner(tmp_path / "here", tmp_path, own_process=False).run(trials)
    apart = Runner(tmp_path / "apart", tmp_path).run(trials)
    for one, other in zip(here, apart, strict=True):
        assert without_times(one.record.metrics) == without_times(other.record.metrics)
        assert one.record.environment == other.record.environment
        assert [row["train_loss"] for row in one.record.history] == [row["train_loss"] for row in other.record.history]
    for path in (tmp_path / "here").rglob("*.npy"):
        assert path.read_bytes() == (tmp_path / "apart" / "records" / path.name).read_bytes()
    for path in (tmp_path / "here").rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "apart" / "checkpoints" / path.name).read_bytes()


def without_times(metrics: dict) -> dict:
    return {name: value for name, value in metrics.items() if not name.endswith("_s") and name != "overhead_percent"}


def test_a_heartbeat_is_there_while_a_trial_runs(tmp_path):
    trial = Trial(kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1)
    path = heartbeat_path(tmp_path, "accuracy-0")
    with Heartbeat(tmp_path, "accuracy-0", trial, interval_s=0.02) as beat:
        first = path.stat().st_mtime_ns
        wait_until(lambda: path.stat().st_mtime_ns > first)
        beat.epoch_done(3, 120.5)
        content = json.loads(path.read_text())
        assert Trial.from_dict(content["trial"]) == trial
        assert (content["epoch"], content["images_per_s"], content["interval_s"]) == (3, 120.5, 0.02)
        assert content["started"] <= content["updated"]
    assert not list(tmp_path.iterdir())
    assert threading.active_count() < 20


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_file_that_is_no_record_is_set_aside_by_a_run_and_skipped_by_a_report(tmp_path, caplog):
    (trial,) = Plan(Request(mixer="conv1x1", **SMALL)).accuracy()  # type: ignore[arg-type]
    records = tmp_path / "records"
    whole = Runner(tmp_path, tmp_path, own_process=False).run([trial])[0].record
    path = records / whole.file_name
    torn = path.read_bytes()[:300]
    path.write_bytes(torn)
    (records / "notes.json").write_text("[]")
    caplog.clear()
    assert load_records(tmp_path) == [] and path.exists()
    assert [message.split()[2] for message in caplog.messages] == [path.name, "notes.json"]
    caplog.clear()
    (result,) = Runner(tmp_path, tmp_path, own_process=False).run([trial])
    assert result.measured_now and without_times(result.record.metrics) == without_times(whole.metrics)
    assert (records / "set-aside" / path.name).read_bytes() == torn
    assert (records / "set-aside" / "notes.json").read_text() == "[]"
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warned) == 2 and all("set-aside" in line and "\n" not in line for line in warned)
    assert load_records(tmp_path) == [result.record]
    path.write_bytes(torn)  # a second one of that name keeps the first
    Runner(tmp_path, tmp_path, own_process=False).load(trial)
    assert len(list((records / "set-aside").iterdir())) == 3


def run_here(trials: list[Trial], results: Path) -> int:
    """How many of the trials were measured by this run."""
    done = Runner(results, results, own_process=False).run(trials)
    assert [r.record.status for r in done] == ["ok"] * len(trials)
    return sum(r.measured_now for r in done)


@pytest.mark.parametrize("runs", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_runs_in_one_folder_measure_every_trial_once(tmp_path, runs):
    trials = Plan(Request(mixer="dct,conv1x1,random", **(SMALL | dict(epochs=1, seed=(0, 1))))).accuracy()  # type: ignore[arg-type]
    with ThreadPoolExecutor(runs) as pool:
        measured = list(pool.map(lambda _: in_own_process(run_here, trials, tmp_path), range(runs)))
    assert sum(measured) == len(trials) == 6, measured  # none twice
    assert len(load_records(tmp_path)) == 6
    assert not list(tmp_path.rglob(".*")) and not list(tmp_path.rglob("*.heartbeat.json"))


def test_a_trial_that_another_run_holds_is_looked_at_again_and_measured_where_that_run_died(tmp_path):
    trials = Plan(Request(mixer="dct,conv1x1", **SMALL)).accuracy()  # type: ignore[arg-type]
    other = Runner(tmp_path, tmp_path).lock(trials[0])
    other.acquire()
    runner = Runner(tmp_path, tmp_path, own_process=False)
    done: list = []
    thread = threading.Thread(target=lambda: done.extend(runner.run(trials)))
    thread.start()
    wait_until(lambda: len(load_records(tmp_path)) == 1)
    time.sleep(1)
    assert thread.is_alive() and [r.trial.mixer for r in load_records(tmp_path)] == ["conv1x1"]
    other.release()
    thread.join(60)
    assert [r.record.trial.mixer for r in done] == ["conv1x1", "dct"] and all(r.measured_now for r in done)
