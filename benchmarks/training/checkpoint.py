"""Checkpoints of training: written whole, and read only where they are whole and of the same trial."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.contract.errors import UserError
from benchmarks.contract.record import atomic_write
from benchmarks.contract.trial import ADDED, RESULTS_VERSION, Trial

log = logging.getLogger(__name__)


def save(trial: Trial, checkpoint: Path, net, optimizer, history, train_s: float, overhead_s: float, kind: str) -> None:
    """Writes everything that a run needs to go on."""
    state = {
        "trial": trial.to_dict(),
        "results_version": RESULTS_VERSION,
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "train_s": train_s,
        "overhead_s": overhead_s,
        "step": kind,
    }
    buffer = io.BytesIO()  # torch.save tells of a full disk as of an internal error
    torch.save(state, buffer)
    with atomic_write(checkpoint) as file:
        file.write(buffer.getbuffer())


class UnreadableCheckpoint(RuntimeError):
    """The file is torn or no checkpoint; the message is of few words."""


def resume(
    trial: Trial, checkpoint: Path, net: nn.Module, optimizer
) -> tuple[list[dict[str, Any]], float, float, str | None]:
    """Loads the checkpoint if there is one; returns the history, the seconds so far and how steps ran.

    Raises:
        UnreadableCheckpoint: net and optimizer are then of no use any more.
        UserError: it is of another configuration.
    """
    if not checkpoint.exists():
        return [], 0.0, 0.0, None
    try:
        with zipfile.ZipFile(checkpoint) as archive:  # PyTorch itself does not look at the checksums
            damaged = archive.testzip()
        if damaged:
            raise UnreadableCheckpoint(f"wrong checksum of {damaged}")
        state = torch.load(checkpoint, map_location=trial.device, weights_only=True)
        other, version = ADDED | dict(state["trial"]), state["results_version"]
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a broken file makes the unpickler raise
        what = str(error) if isinstance(error, UnreadableCheckpoint) else type(error).__name__
        raise UnreadableCheckpoint(what) from error
    mine = trial.to_dict()
    differing = [f"{key} {other.get(key)!r} for {value!r}" for key, value in mine.items() if other.get(key) != value]
    if differing or version != RESULTS_VERSION:
        what = ", ".join(differing) or f"results version {version} for {RESULTS_VERSION}"
        raise UserError(
            f"the checkpoint is of another configuration ({what}); move {checkpoint} away to start this trial anew"
        )
    try:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        history, train_s, overhead_s = state["history"], float(state["train_s"]), float(state["overhead_s"])
        epochs = [row["epoch"] for row in history]
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableCheckpoint(f"{type(error).__name__}: it does not fit the net") from error
    if epochs != list(range(1, len(epochs) + 1)) or not 0 < len(epochs) <= (trial.epochs or 0):
        raise UnreadableCheckpoint(f"its epochs are {epochs}")
    log.info("  going on after epoch %d of %s", len(history), trial.epochs)
    return history, train_s, overhead_s, state.get("step")
