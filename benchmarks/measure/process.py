"""A process of its own for each training run, and the heartbeat that tells others how far it is.

A crash, a leak or a hang then ends one trial and not the sweep. The process is forked from a server that has PyTorch
loaded and nothing computed (`multiprocessing`'s forkserver), so it starts in a fraction of a second, with no threads
and no CUDA context of somebody else's. It ends when its parent ends, however that ends.

A heartbeat is `checkpoints/<kind>-<id>.heartbeat.json`, there while a trial is being measured and replaced as a whole:

    trial         the trial, as in its record
    started       time in UTC, as in a record
    updated       the same, when this was written: every `interval_s` seconds and after each epoch
    interval_s    an `updated` of more than three times this ago means that the process died or hangs
    epoch         epochs that are done; null where the trial has none
    epochs        of the trial, or null
    images_per_s  of the last epoch, or null
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import logging
import logging.handlers
import multiprocessing
import multiprocessing.forkserver
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from benchmarks.errors import UserError
from benchmarks.record import atomic_write, now, without_nan
from benchmarks.trial import Trial

HEARTBEAT_S = 5.0
PRELOADED = "benchmarks.measure.run"  # what the server that processes are forked from has imported


class Crashed(RuntimeError):
    """The process ended without an answer; the message says by which signal or code, and where it was."""


class TimedOut(RuntimeError):
    """The process was still at it when its time was up, and was ended."""


def in_own_process(function: Callable[..., Any], *arguments: Any, timeout_s: float | None = None) -> Any:
    """What `function(*arguments)` returns, called in a process of its own; its log lines reach this one's handlers.

    Args:
        function: importable by name, and its arguments and result can be pickled.
        timeout_s: after this long the process is killed.

    Raises:
        UserError: as the function raised it.
        Crashed: the process ended by a signal, an exit, or an exception that the function let pass.
        TimedOut: it took longer than `timeout_s`.
    """
    context = _context()
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        crash_log = Path(folder) / "crash.txt"
        call = functools.partial(function, *arguments)
        process = context.Process(
            target=_answer, args=(theirs, call, dict(os.environ), log_level(), str(crash_log)), daemon=True
        )
        process.start()
        theirs.close()
        try:
            kind, content = _listen(ours, timeout_s)
        finally:  # an interrupt too ends the process
            if sys.exc_info()[0] is not None:
                process.kill()
            process.join()
            ours.close()
        if kind == "nothing":
            raise Crashed(_how_it_ended(process.exitcode, crash_log))
    if kind == "refused":
        raise UserError(content)
    if kind == "raised":
        raise Crashed(content)
    return content


def start_server() -> None:
    """Lets the server load PyTorch while the caller does something else; the first process starts it otherwise."""
    if _context().get_start_method() == "forkserver":
        multiprocessing.forkserver.ensure_running()


def log_level() -> int:
    """The level of the suite's log, which the process takes over."""
    return logging.getLogger("benchmarks").getEffectiveLevel()


@functools.cache
def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    return context


def _listen(connection: Any, timeout_s: float | None) -> tuple[str, Any]:
    """Hands log records on until the answer is there; ("nothing", None) where the other end closed without one."""
    alarm = threading.Event()
    timer = threading.Timer(timeout_s, alarm.set) if timeout_s is not None else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        while not alarm.is_set():
            if not connection.poll(0.2 if timer else None):
                continue
            kind, content = connection.recv()
            if kind != "log":
                return kind, content
            logging.getLogger(content.name).handle(content)
            connection.send(None)  # the process goes on when its line is out, so that its progress bar stays below
    except (EOFError, ConnectionError):
        return "nothing", None
    finally:
        if timer:
            timer.cancel()
    raise TimedOut(f"not done after {timeout_s:g} s")


def _answer(connection: Any, call: Callable[[], Any], environment: dict[str, str], level: int, crash_log: str) -> None:
    """What the process does: calls, and sends what comes of it."""
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)  # of the parent as it is now; that of the server is older
    log = logging.getLogger("benchmarks")
    log.handlers[:] = [_LogToParent(connection)]
    log.setLevel(level)
    log.propagate = False
    with Path(crash_log).open("w", encoding="utf-8") as file:
        faulthandler.enable(file, all_threads=False)
        try:
            answer = ("value", call())
        except UserError as error:
            answer = ("refused", str(error))
        except BaseException as error:
            answer = ("raised", f"{type(error).__name__}: {error}")
        faulthandler.disable()
    connection.send(answer)
    connection.close()
    sys.stderr.flush()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _LogToParent(logging.handlers.QueueHandler):
    """Sends log records to the parent and waits until they are out."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.connection = connection

    def enqueue(self, record: logging.LogRecord) -> None:
        self.connection.send(("log", record))
        self.connection.recv()


def _how_it_ended(code: int | None, crash_log: Path) -> str:
    """A line such as "the process was ended by SIGSEGV in forward (mixer.py:12)"."""
    how = f"the process ended with exit code {code}"
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            how = f"the process was ended by {signal.Signals(-code).name}"
    text = crash_log.read_text(encoding="utf-8", errors="replace") if crash_log.exists() else ""
    place = re.search(r'File "([^"]+)", line (\d+) in (\S+)', text)
    return f"{how} in {place[3]} ({Path(place[1]).name}:{place[2]})" if place else how


def kernel_oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="utf-8").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def heartbeat_path(checkpoints: Path, name: str) -> Path:
    """Where the heartbeat of the trial lies whose record is called `name`.json."""
    return checkpoints / f"{name}.heartbeat.json"


class Heartbeat:
    """Keeps one trial's heartbeat fresh from a thread, and removes it at the end.

    Args:
        checkpoints: the folder that it lies in.
        name: `<kind>-<id>`.
        trial: what is being measured.
        interval_s: seconds between two writes; long where writing could disturb a clock.
    """

    def __init__(self, checkpoints: Path, name: str, trial: Trial, interval_s: float = HEARTBEAT_S) -> None:
        self.path = heartbeat_path(checkpoints, name)
        self.content: dict[str, Any] = {
            "trial": trial.to_dict(),
            "started": now(),
            "updated": None,
            "interval_s": interval_s,
            "epoch": None if trial.epochs is None else 0,
            "epochs": trial.epochs,
            "images_per_s": None,
        }
        self.interval_s = interval_s
        self._end = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def epoch_done(self, epoch: int, images_per_s: float | None) -> None:
        """Says that `epoch` epochs are done."""
        self.content |= {"epoch": epoch, "images_per_s": images_per_s}
        self._write()

    def _beat(self) -> None:
        while not self._end.wait(self.interval_s):
            self._write()

    def _write(self) -> None:
        # a full disk ends the trial when it writes something that matters
        with self._writing, contextlib.suppress(OSError, UserError):
            self.content["updated"] = now()
            with atomic_write(self.path, durable=False) as file:
                file.write(json.dumps(without_nan(self.content), indent=1, allow_nan=False).encode() + b"\n")
