"""Ctrl-C: one true line and exit code 130, whenever it comes, and nothing is left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks import interrupt
from benchmarks.cli.verbs import VERBS

ROOT = Path(__file__).resolve().parents[3]
TINY = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1"]
TINY += ["--epochs", "40", "--train-images", "1000", "--image-size", "16"]
PLUGIN = """
import os, signal
from mixers import Mixer

def press():
    os.kill(os.getpid(), signal.SIGINT)

class Finalizer:
    def __del__(self):
        press()

class Pressing(Mixer):
    def forward(self, x):
        {forward}
        return x

    def flops(self):
        return 0

{top}
"""
MOMENTS = {
    "while a module is imported": {"forward": "pass", "top": "press()"},
    "in an import that makes another error of it": {
        "forward": "pass",
        "top": "try:\n    press()\nexcept KeyboardInterrupt:\n    raise ImportError('numpy.core.multiarray')",
    },
    "in a net": {"forward": "press()", "top": ""},
    "in what C++ calls": {
        "forward": "with Pressed(): x = x + 1",
        "top": """
from torch.utils._python_dispatch import TorchDispatchMode

class Pressed(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        press()
        return function(*args, **(kwargs or {}))
""",
    },
    "in a finalizer": {"forward": "Finalizer()", "top": ""},
    "where somebody makes another error of it": {
        "forward": "try_and_lose()",
        "top": "def try_and_lose():\n    try: press()\n    except BaseException: raise ValueError('lost')",
    },
    "twice": {"forward": "press(); press()", "top": ""},
}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    names = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MAKE"))}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments, "--results", str(folder / "results")],
        cwd=ROOT, env=names, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def check_end(process: subprocess.Popen[str], says: str) -> None:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert re.fullmatch(rf"token-mixers: interrupted(, \d+ of \d+ measured)?; the same command {says}", line)
    assert "Traceback" not in out and "leaked" not in out


@pytest.mark.parametrize("moment", MOMENTS)
def test_wherever_it_comes_it_is_one_line(tmp_path, moment):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN.format(**MOMENTS[moment]))
    check_end(start(tmp_path, "cost", "--mixer", f"{plugin}:Pressing", *TINY[:10]), "goes on from here")


def is_done(folder: Path, verb: str) -> bool:
    """Whether the last that a verb writes is there: the records of two mixers and two seeds, or its pages."""
    if verb == "train":
        return len(list(folder.rglob("accuracy-*.json"))) == 4
    return any(path.suffix in (".md", ".html") for path in folder.rglob("*"))


def sweep(tmp_path: Path, arguments: list[str], moments: list[float], says: str) -> None:
    for number, seconds in enumerate(moments):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(folder, *arguments)
        time.sleep(seconds)
        if process.poll() is not None:  # done before this moment, on a fast machine
            assert number > 0 and process.returncode == 0, process.communicate()
            return
        running = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        if is_done(folder, arguments[0]) and process.wait(timeout=120) == 0:
            return
        check_end(process, says)
        _, alive = psutil.wait_procs(running, timeout=30)
        assert not alive


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "says"),
    [
        ("train --mixer dct,conv1x1", "goes on from here"),
        ("train --mixer dct,conv1x1 --workers 2", "goes on from here"),
        ("latency --rounds 20 --mixer dct,conv1x1", "goes on from here"),
        ("bench-all --rounds 20 --mixer dct,conv1x1", "goes on from here"),
    ],
)
def test_at_any_moment_of_a_sweep(tmp_path, verb, says):
    seeds = [] if verb.startswith("latency") else ["--seed=0,1"]
    sweep(tmp_path, [*verb.split(), *TINY, *seeds], [0.4, 1.5, 3, 5, 8, 12, 17], says)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["speed --threads 1", "crossovers --threads 1", "profile --mixer dct,attention"])
def test_at_any_moment_of_a_verb_that_begins_anew(tmp_path, verb):
    sweep(tmp_path, [*verb.split()], [0.5, 3, 8, 14], "begins anew")


def test_what_it_says_is_said_of_verbs_there_are():
    assert set(interrupt.RESUMING) < set(VERBS)
