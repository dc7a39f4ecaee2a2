"""A sweep as it is seen: one bar in a terminal of 80 columns that leaves nothing behind, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = 80
TRAIN = [sys.executable, "-m", "benchmarks", "train", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1"]
TRAIN += ["--image-size", "16", "--train-images", "1000", "--seed", "0,1"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")]


def in_a_terminal(command: list[str], interrupt_when: str | None = None) -> tuple[int, str]:
    """Exit code and output; Ctrl-C is pressed where the output first holds some words."""
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    names = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "TQDM_DISABLE")}
    process = subprocess.Popen(
        command, cwd=ROOT, env=names, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # as a terminal ends
        while read := os.read(ours, 65536):
            said += read
            if interrupt_when is not None and interrupt_when.encode() in said:
                interrupt_when = None
                os.killpg(process.pid, signal.SIGINT)
    os.close(ours)
    return process.wait(timeout=60), said.decode()


def screen(said: str) -> list[str]:
    """The lines that stand there at the end; what a carriage return writes over is gone."""
    lines = []
    for line in said.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_one_bar_says_what_runs_and_leaves_nothing_behind(tmp_path):
    code, said = in_a_terminal([*TRAIN, "--mixer", "dct,conv1x1", "--epochs", "4", "--results", str(tmp_path)])
    assert code == 0
    bars = [part for part in re.split(r"[\r\n]", said) if "%|" in part]
    assert any(re.search(r"[0-3] of 4, about \d+ s left: (dct|conv1x1), seed [01]", bar) for bar in bars)
    assert max(map(len, bars)) <= COLUMNS and "epoch 1 of 4" not in said and "[1/4]" not in said
    lines = screen(said)
    assert not any("%|" in line for line in lines)
    assert sum("test top-1" in line for line in lines) == 4 and "4 trials: 4 ok; 0 measured earlier" in lines


def test_ctrl_c_says_what_is_done_and_how_to_go_on(tmp_path):
    command = [*TRAIN, "--mixer", "dct,conv1x1", "--epochs", "15", "--results", str(tmp_path)]
    code, said = in_a_terminal(command, interrupt_when="1 of 4, about")
    assert code == 130
    lines = [line for line in screen(said) if line]
    assert lines[-1] == "token-mixers: interrupted, 1 of 4 measured; the same command goes on from here"
    assert not any("%|" in line for line in lines)


def test_in_a_pipe_there_are_plain_lines(tmp_path):
    command = [*TRAIN, "--mixer", "dct", "--epochs", "1", "--workers", "2", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr)
    # either begins first
    assert done.stderr == "" and re.search(r"\[2/2\] accuracy dct 16 px patch 4 seed [01]", done.stdout)
