"""Curves of training runs for those who watch: `--log tensorboard` and `--log wandb`, both optional.

A logbook gets what the record gets, an epoch at a time; nothing is measured for it, and no result is read from it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.contract.errors import UserError, nearest, printable
from benchmarks.contract.trial import Trial

KINDS = ("tensorboard", "wandb")
PROJECT = "token-mixers"

log = logging.getLogger(__name__)


class Book(Protocol):
    """Where one trial's numbers go."""

    def write(self, numbers: dict[str, float], epoch: int | None) -> None:
        """Numbers of an epoch, or, without one, of the whole trial."""

    def close(self) -> None: ...


class Logbook:
    """Epochs and final metrics of training runs, in all the books that were asked for.

    Args:
        kinds: some of KINDS.
        results: the results folder; its `logs/` is made.

    Raises:
        UserError: there is no such kind, or its package is not installed.
    """

    def __init__(self, kinds: Sequence[str], results: Path) -> None:
        for kind in kinds:
            if kind not in KINDS:
                raise UserError(f"--log is {kind!r}; allowed: {', '.join(KINDS)}.{nearest(kind, KINDS)}")
            if importlib.util.find_spec(kind) is None:
                raise UserError(f"--log {kind} needs the package {kind}; type pip install 'token-mixers[log]'")
        self.kinds = tuple(kinds)
        self.folder = Path(results) / "logs"
        self._open: dict[Trial, dict[str, Book]] = {}

    def epoch(self, trial: Trial, row: dict[str, Any]) -> None:
        """A row of the history; a resumed trial goes on in the same book."""
        numbers = {name: value for name, value in _numbers(row).items() if name != "epoch"}
        self._each(trial, lambda book: book.write(numbers, row["epoch"]))

    def finish(self, trial: Trial, metrics: dict[str, Any]) -> None:
        """The final metrics; the trial's books are closed."""
        self._each(trial, lambda book: book.write(_numbers(metrics), None))
        self.close(trial)

    def close(self, trial: Trial) -> None:
        """Closes the books of a trial, one that failed too."""
        if trial in self._open:
            self._each(trial, lambda book: book.close())
            del self._open[trial]

    def _each(self, trial: Trial, act: Callable[[Book], None]) -> None:
        """Acts on every book of a trial. One that fails is given up with a warning: watching breaks no measurement."""
        books = self._open.setdefault(trial, {})
        for kind in self.kinds:
            try:
                if kind not in books:
                    books[kind] = OPENERS[kind](self.folder, trial)
                act(books[kind])
            except Exception as error:
                self.kinds = tuple(other for other in self.kinds if other != kind)
                log.warning("--log %s stops here: %s", kind, printable(f"{type(error).__name__}: {error}"))


class TensorBoard:
    """Event files in `logs/tensorboard/<kind>-<id>/`: `tensorboard --logdir results/logs/tensorboard`."""

    def __init__(self, folder: Path, trial: Trial) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard" / f"{trial.kind}-{trial.id()}"))
        self.writer.add_text("trial", trial.describe())

    def write(self, numbers: dict[str, float], epoch: int | None) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name if epoch is not None else f"final/{name}", value, epoch)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of the project `token-mixers`, on disk in `logs/wandb/`.

    WANDB_MODE decides where else it goes. Without it, and without a key in WANDB_API_KEY, nothing leaves the machine
    and nobody is asked to log in; `wandb sync` sends such runs later.
    """

    def __init__(self, folder: Path, trial: Trial) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        name = f"{trial.kind}-{trial.id()}"
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
        # one id a trial, so that a resumed one goes on in its run
        self.run = wandb.init(
            project=PROJECT, dir=str(folder), id=name, name=trial.describe(), config=trial.to_dict(), mode=mode,
            resume="allow" if mode == "online" else None, settings=settings,
        )  # fmt: skip

    def write(self, numbers: dict[str, float], epoch: int | None) -> None:
        if epoch is None:
            self.run.summary.update(numbers)
        else:
            self.run.log(numbers, step=epoch)

    def close(self) -> None:
        self.run.finish()


OPENERS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
