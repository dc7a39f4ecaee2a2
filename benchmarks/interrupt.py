"""Ctrl-C: one line and exit code 130, whenever it comes.

While a verb is at work the first one raises KeyboardInterrupt, so that what has begun is put away. Where that would end
in a traceback, or nowhere, the process ends at once: before the verb, while modules are imported (extension modules
make errors of their own of it), within PyTorch (whose C++ aborts at one in some callbacks), in a finalizer, and at a
second one. After the verb there is nothing left to end, and it is ignored. Whoever waits for another process is told in
the orderly way; what computes has nothing to put away.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

EXIT_CODE = 130
RESUMING = ("bench-all", "train", "tune", "latency", "cost", "atlas", "spectracles", "text", "blimp", "transforms")
SECOND_S = 0.5  # one key press may reach a process twice: of the terminal, and of a program around it


class _State:
    orderly = False  # whether somebody waits for a KeyboardInterrupt
    asked_at: float | None = None
    said = False
    so_far = ""


def watch() -> None:
    """Takes Ctrl-C over, and one that was held back; not in a background job, where the shell has it ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _on_interrupt)
        sys.unraisablehook = _on_unraisable
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def hold() -> None:
    """Holds Ctrl-C back until `watch`, also across an exec."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Holds Ctrl-C back in this thread; processes that are started in it never get one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore() -> None:
    """Ignores Ctrl-C: all is written, and Python, which takes its handlers away as it ends, would be killed by one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def set_orderly(orderly: bool) -> None:
    """Whether the caller will see to a KeyboardInterrupt from here on."""
    _State.orderly = orderly


def asked() -> bool:
    """Whether Ctrl-C was pressed; an error that comes after it is of its making."""
    return _State.asked_at is not None


def note(so_far: str) -> None:
    """What the one line will say that is done, such as "3 of 12 measured"."""
    _State.so_far = so_far


def say(verb: str) -> int:
    """Prints the one line, once; returns the exit code."""
    if not _State.said:
        _State.said = True
        then = "goes on from here" if verb in RESUMING else "begins anew"
        start = "\n" if sys.stderr.isatty() else ""  # the terminal shows ^C
        so_far = f", {_State.so_far}" if _State.so_far else ""
        text = f"{start}token-mixers: interrupted{so_far}; the same command {then}\n"
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.write(2, text.encode())
    return EXIT_CODE


def _leave() -> None:
    os._exit(say(sys.argv[1] if len(sys.argv) > 1 else "help"))


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    at = time.monotonic()
    if not _State.orderly or _where_it_would_be_lost(frame):
        _leave()
    if _State.asked_at is not None:
        if at - _State.asked_at < SECOND_S:
            return
        _leave()
    _State.asked_at = at
    raise KeyboardInterrupt


def _where_it_would_be_lost(frame: FrameType | None) -> bool:
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") or f"{os.sep}torch{os.sep}" in name:
            return True
        frame = frame.f_back
    return False


def _on_unraisable(unraisable: Any) -> None:
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _leave()
    sys.__unraisablehook__(unraisable)
