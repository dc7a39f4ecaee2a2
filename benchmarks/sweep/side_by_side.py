"""Training runs side by side: threads, each of which waits for a process of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from benchmarks.sweep.process import Cancelled

LOOK_AGAIN_S = 0.5
ENDING_S = 5.0  # of the processes of an interrupted run
T = TypeVar("T")


def side_by_side(
    groups: Iterable[T], measure: Callable[[T], None], workers: int, cancel: threading.Event, at_end: Callable[[], None]
) -> None:
    """Measures every group, in order; with one worker in the caller's own thread.

    Args:
        groups: of trials that are measured together.
        measure: what is done with one.
        workers: threads.
        cancel: set where one of them fails or the caller is interrupted, after which nothing is begun.
        at_end: called in each thread when it ends.

    Raises:
        BaseException: the first that `measure` raised, those aside that `cancel` made others raise.
    """
    todo, errors = deque(groups), list[BaseException]()

    def work() -> None:
        while todo and not cancel.is_set():
            try:
                group = todo.popleft()
            except IndexError:
                return
            measure(group)

    def work_aside() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
            cancel.set()
        finally:
            at_end()

    if workers == 1:
        return work()
    threads = [threading.Thread(target=work_aside, daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(LOOK_AGAIN_S)  # not longer: an interrupt has to come through
    except BaseException:
        cancel.set()
        for thread in threads:
            thread.join(ENDING_S)
        raise
    if errors:
        raise next((error for error in errors if not isinstance(error, Cancelled)), errors[0])
