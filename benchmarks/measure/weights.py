"""The file of a trained net's weights: safetensors whose metadata hold all that is needed to build the net.

One entry, `token_mixers`, is a JSON object with the trial and the facts of its data set; of several entries safetensors
writes the order as it comes, and one run would leave other bytes each time.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from benchmarks.contract.datasets import DatasetInfo
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import atomic_write
from benchmarks.contract.trial import RESULTS_VERSION, Trial

KEY = "token_mixers"
# of a data set: what is needed without its examples
FACTS = ("name", "num_classes", "classes", "mean", "std", "task", "vocabulary", "per_token", "padded", "towers")


def save_weights(path: Path, net: nn.Module, trial: Trial, info: DatasetInfo) -> None:
    """Writes a net's weights with the trial and the facts of its data set; the same net leaves the same bytes."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in net.state_dict().items()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(weights, metadata_of(trial, info)))


def metadata_of(trial: Trial, info: DatasetInfo) -> dict[str, str]:
    """What goes into the file beside the weights: no date, no path."""
    version = None
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("token-mixers")
    content = {
        "trial": trial.to_dict(),
        "dataset": {name: getattr(info, name) for name in FACTS},
        "results_version": RESULTS_VERSION,
        "version": version,
    }
    return {KEY: json.dumps(content, sort_keys=True, allow_nan=False)}


def read_metadata(path: Path) -> dict[str, Any] | None:
    """The same as a mapping; None in a file of before there were any.

    Raises:
        UserError: it is no file of weights.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
        return None if text is None else dict(json.loads(text))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is no file of weights ({why}); move it away and train that net again") from error
