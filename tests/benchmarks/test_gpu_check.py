"""The check of a GPU, walked through on a CPU: every step has its file, a failed one is a line, and time is bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cli
from benchmarks.measure import gpu_check as check
from benchmarks.measure.gpu_check import DEVICE_VARIABLE, FOLDER, PAGE, STEPS, Report, gpu_check, step_file

ROOT = Path(__file__).resolve().parents[2]


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

    run = subprocess.run

    def take(command, **how):
        if command[0] == "git":
            return run(command, **how)
        name, limit = command[3], how["timeout"]
        report = Report(step_file(folder, name))
        if name == "ceilings":
            report.add(what="copy", value=1.5, unit="GB/s", status="ok")
            raise subprocess.TimeoutExpired(command, limit)
        if name == "training":
            report.add(mixer="dct", status="ok", step_ms=1.0, step="graph")
            report.add(mixer="random", status="error", reason="CUDA error")
        if name == "device":
            report.add(what="card", value="a card")
        code = 1 if name == "kernels" else 0
        return subprocess.CompletedProcess(command, code, "", "Traceback\nRuntimeError: in /home/x/y.py it broke")

    monkeypatch.setattr(check.subprocess, "run", take)
    lines = dict(zip(STEPS, gpu_check(tmp_path, 1e6), strict=True))
    assert [status for status, _ in lines.values()] == ["ok", "timeout", "failed", "error", "failed", "failed"]
    assert "a card" in lines["device"][1] and "copy 1.5 GB/s" in lines["ceilings"][1]
    assert "1 of 2" in lines["training"][1] and "dct 1.00 ms (graph)" in lines["training"][1]
    assert "it broke" in lines["kernels"][1] and "/home" not in lines["kernels"][1]
    assert "nothing was measured" in lines["tests"][1]
    content = json.loads((folder / "gpu-check.json").read_text())
    assert list(content["steps"]) == list(STEPS) and content["code"]
    page = (folder / PAGE).read_text()
    assert all(step.title in page for step in STEPS.values()) and "/home" not in page


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
        return {"status": "ok", "reason": None, "seconds": 1.0, "rows": []}

    monkeypatch.setattr(check, "Budget", Left)
    monkeypatch.setattr(check, "_take", take)
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
