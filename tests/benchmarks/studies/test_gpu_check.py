"""The check of a GPU, walked through on a CPU: every step has its file, a failed one is a line, and time is bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.studies.gpu_check import measure as check
from benchmarks.studies.gpu_check.measure import DEVICE_VARIABLE, STEPS, Report, gpu_check, step_file
from benchmarks.studies.gpu_check.record import FOLDER, Outcome
from benchmarks.studies.gpu_check.report import PAGE, TITLES

ROOT = Path(__file__).resolve().parents[3]


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["gpu-check", "--results", str(tmp_path)]) == 2
    assert "gpu-check is for a GPU, and PyTorch sees none here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_is_whole_after_every_row(tmp_path) -> None:
    report = Report(tmp_path / "step-a.json")
    for number in range(3):
        report.add(number=number, rest=None)
        assert len(json.loads(report.path.read_text())["rows"]) == number + 1


def test_a_step_that_fails_hangs_or_measures_nothing_is_a_line_and_the_next_begins(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    folder = tmp_path / FOLDER

    killed: list[int] = []

    class Step:
        """Stands for the process of one step."""

        pid = 12345

        def __init__(self, command, stdout, start_new_session, **how) -> None:
            assert start_new_session  # so that what it has started can be ended with it
            self.name = command[3]
            report = Report(step_file(folder, self.name))
            if self.name == "device":
                report.add(what="card", value="a card")
            if self.name == "ceilings":
                report.add(what="copy", value=1.5, unit="GB/s", status="ok")
            if self.name == "training":
                report.add(mixer="dct", status="ok", step_ms=1.0, step="graph")
                report.add(mixer="random", status="error", reason="CUDA error", step_ms=2.0, step="eager")
            stdout.write("Traceback\nRuntimeError: in /home/x/y.py it broke\n")
            stdout.flush()

        def wait(self, timeout=None) -> int:
            if self.name == "ceilings" and timeout is not None:
                raise subprocess.TimeoutExpired(self.name, timeout)
            return 1 if self.name == "kernels" else 0

    code = {"commit": "abc", "dirty": False}
    monkeypatch.setattr(check, "code_version", lambda: code)
    monkeypatch.setattr(check.subprocess, "Popen", Step)
    monkeypatch.setattr(check.os, "killpg", lambda pid, number: killed.append(pid))
    lines = dict(zip(STEPS, gpu_check(tmp_path, 1e6), strict=True))
    assert [status for status, _ in lines.values()] == ["ok", "timeout", "failed", "error", "failed", "failed"]
    assert "a card" in lines["device"][1] and "copy 1.5 GB/s" in lines["ceilings"][1]
    assert "1 of 2" in lines["training"][1] and "dct 1.00 ms (graph)" in lines["training"][1]
    assert "it broke" in lines["kernels"][1] and "/home" not in lines["kernels"][1]
    assert "nothing was measured" in lines["tests"][1] and len(killed) == len(STEPS)
    content = json.loads((folder / "gpu-check.json").read_text())
    assert list(content["steps"]) == list(STEPS) and content["code"] == code
    page = (folder / PAGE).read_text()
    assert list(TITLES) == list(STEPS) and all(title in page for title in TITLES.values()) and "/home" not in page


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tests/mixers/test_fused.py::test_sum[(1, 2, (72, 40))-torch.float16-False] FAILED [ 4%]", "FAILED"),
        ("tests/benchmarks/training/test_step.py::test_a PASSED                            [ 50%]", "PASSED"),
        ("tests/a.py::b SKIPPED (no GPU)", "SKIPPED"),
        ("tests/a.py ERROR", "ERROR"),
        ("E   AssertionError: tests/x PASSED_", None),
    ],
)
def test_an_outcome_is_read_whatever_the_test_is_called(line, found) -> None:
    match = check.TEST_LINE.match(line)
    assert (match and match[2]) == found


def test_shares_of_the_time_end_with_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    limits: list[float] = []
    clock = [0.0]

    class Left:
        def __init__(self, seconds):
            self.seconds = seconds

        @property
        def left_s(self):
            return self.seconds - clock[0]

    def take(name, folder, device, limit_s):
        limits.append(limit_s)
        clock[0] += limit_s if name == "training" else limit_s / 2
        return Outcome("ok", None, 1.0, [])

    monkeypatch.setattr(check, "Budget", Left)
    monkeypatch.setattr(check, "take_step", take)
    list(gpu_check(tmp_path, 300.0))
    assert clock[0] <= 300 and min(limits) > 15
    assert limits[-1] == pytest.approx(300 - clock[0] + limits[-1] / 2)  # the last one has all that is left


@pytest.mark.slow
def test_all_steps_walk_through_on_a_cpu(tmp_path) -> None:
    environment = os.environ | {DEVICE_VARIABLE: "cpu"}
    command = [sys.executable, "-m", "benchmarks", "gpu-check", "--budget=10m", f"--results={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / FOLDER / "gpu-check.json").read_text())["steps"]
    assert list(content) == list(STEPS) and all(step["rows"] for step in content.values())
    assert {row["mixer"] for row in content["training"]["rows"] if row["status"] == "ok"} >= {"dct", "attention"}
    assert (tmp_path / FOLDER / "crossovers.json").exists()
    assert not list((tmp_path / FOLDER / "checkpoints").glob("*.pt"))
