"""Processes of their own for training runs, and the heartbeat that tells others how far one is.

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
import math
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from benchmarks import interrupt
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import atomic_write, now, without_nan
from benchmarks.contract.trial import Trial

tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a process that is killed leaves behind
HEARTBEAT_S = 5.0
LOOK_S = 0.2  # how often a call with an end looks at the clock
_MULTIPROCESSING = threading.Lock()  # held while a process starts or is waited for: multiprocessing itself is not
PRELOADED = "benchmarks.sweep.run"  # what the server that processes are forked from has imported


class Crashed(RuntimeError):
    """The process ended without an answer; the message says by which signal or code, and where it was."""


class TimedOut(RuntimeError):
    """The process was still at it when its time was up, and was ended."""


class Cancelled(RuntimeError):
    """The caller did not want the answer any more; the process was ended."""


class OwnProcess:
    """A process that is called, as often as is wanted; it starts with the first call, and anew after one that failed.

    A thread may have its own; one process is not called by several threads.
    """

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None
        self._folder: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        timeout_s: float | None = None,
        cancel: threading.Event | None = None,
    ) -> Any:
        """What `function(*arguments)` returns, called in the process; its log lines reach this one's handlers.

        Args:
            function: importable by name, and its arguments and result can be pickled.
            timeout_s: after this long the process is killed.
            cancel: once it is set, the process is killed.

        Raises:
            UserError: as the function raised it.
            Crashed: the process ended by a signal, an exit, or an exception that the function let pass.
            TimedOut: it took longer than `timeout_s`.
            Cancelled: `cancel` was set before the answer came.
        """
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        try:
            if self._process is None:
                self._start()
            self._connection.send((functools.partial(function, *arguments), dict(os.environ), log_level()))
            kind, content = _listen(self._connection, end, timeout_s, cancel)
        except (BrokenPipeError, ConnectionResetError):
            kind, content = "nothing", None
        except BaseException:  # an interrupt too ends the process
            self.end(kill=True)
            raise
        if kind == "value":
            return content
        if kind == "nothing":
            with _MULTIPROCESSING:
                self._process.join()
            content = _how_it_ended(self._process.exitcode, self._crash_log)
        self.end()
        raise UserError(content) if kind == "refused" else Crashed(content)

    def end(self, kill: bool = False) -> None:
        """Ends the process, if there is one; it goes by itself once nobody can call it any more."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if kill:
            process.kill()
        self._connection.close()
        with _MULTIPROCESSING:
            process.join()
        self._folder.cleanup()

    @property
    def _crash_log(self) -> Path:
        return Path(self._folder.name) / "crash.txt"

    def _start(self) -> None:
        context = _context()
        self._folder = tempfile.TemporaryDirectory()
        self._connection, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, str(self._crash_log)), daemon=True)
        try:
            with _MULTIPROCESSING:
                if context.get_start_method() == "forkserver":
                    _ensure_server()
                process.start()
        except BaseException:
            self._folder.cleanup()
            raise
        finally:
            theirs.close()
        self._process = process


def start_server() -> None:
    """Lets the server load PyTorch while the caller does something else; the first process starts it otherwise."""
    if _context().get_start_method() == "forkserver":
        _ensure_server()


def _ensure_server() -> None:
    """Starts the server where it does not run; Ctrl-C never reaches it, nor what it forks: their parent ends them."""
    multiprocessing.resource_tracker.ensure_running()  # which lets Ctrl-C through again
    with interrupt.held_back():
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


def _listen(connection: Any, end: float, timeout_s: float | None, cancel: threading.Event | None) -> tuple[str, Any]:
    """Hands log records on until the answer is there; ("nothing", None) where the other end closed without one."""
    look_s = None if timeout_s is None and cancel is None else LOOK_S
    try:
        while time.monotonic() < end:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            if not connection.poll(look_s):
                continue
            kind, content = connection.recv()
            if kind != "log":
                return kind, content
            logging.getLogger(content.name).handle(content)
            connection.send(None)  # the process goes on when its line is out, so that its progress bar stays below
    except (EOFError, ConnectionError):
        return "nothing", None
    raise TimedOut(f"not done after {timeout_s:g} s")


def _serve(connection: Any, crash_log: str) -> None:
    """What the process does: calls, and sends what comes of it, until nobody calls any more."""
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log = logging.getLogger("benchmarks")
    log.handlers[:] = [_LogToParent(connection)]
    log.propagate = False
    if not Path(crash_log).parent.exists():
        return  # who wanted this process was interrupted while it began
    with Path(crash_log).open("w", encoding="utf-8") as file:
        faulthandler.enable(file, all_threads=False)
        while True:
            try:
                call, environment, level = connection.recv()
            except (EOFError, ConnectionError):
                break
            os.environ.clear()
            os.environ.update(environment)  # of the parent as it is now; that of the server is older
            log.setLevel(level)
            try:
                answer = ("value", call())
            except UserError as error:
                answer = ("refused", str(error))
            except BaseException as error:
                answer = ("raised", f"{type(error).__name__}: {error}")
            connection.send(answer)
            sys.stderr.flush()
        faulthandler.disable()


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
