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
import torch
from torch import nn

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import BYTES, PRETRAIN, DatasetInfo
from benchmarks.contract.record import atomic_write
from benchmarks.contract.trial import RESULTS_VERSION, Trial
from mixers import UnsupportedSize

KEY = "token_mixers"
SAME = ("mixer", "mixer_source", "dim", "depth", "length", "tokenizer", "corpus", "gain")  # of both nets
LONGER = "encoder.positions.weight"  # one place after the other
# of a data set: what is needed without its examples
FACTS = ("name", "num_classes", "classes", "mean", "std", "task", "vocabulary", "per_token", "padded", "towers")


def save_weights(path: Path, net: nn.Module, trial: Trial, info: DatasetInfo) -> None:
    """Writes a net's weights with the trial and the facts of its data set; the same net leaves the same bytes."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in net.state_dict().items()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(weights, metadata_of(trial, info)))


def take_weights(net: nn.Module, folder: Path, trial: Trial) -> None:
    """Gives the encoder of a net the weights of the pre-training record that the trial names.

    Of a longer net the places beyond those of the pre-trained one stay as they were drawn.

    Raises:
        UserError: the weights are not there, or belong to another net.
    """
    path = folder / f"accuracy-{trial.pretrained}.safetensors"
    if not path.is_file():
        raise UserError(
            f"--pretrained is {trial.pretrained}, and {folder} has no weights of it; pre-train on this machine"
        )
    told = (read_metadata(path) or {}).get("trial", {})
    wanted = {name: getattr(trial, name) for name in SAME} | {"dataset": PRETRAIN}
    if trial.tokenizer != BYTES and trial.dataset_source is not None:
        wanted["dataset_source"] = trial.dataset_source  # byte-pairs of another text are others, whatever its name
    for name, value in wanted.items():
        if name == "corpus" and trial.tokenizer == BYTES:
            continue  # bytes are the same of any text
        if told.get(name) != value:
            raise UserError(
                f"--pretrained is {trial.pretrained}, whose {name} is {told.get(name)!r}; here it is {value!r}; "
                "take the record of a net like this one"
            )
    learned = safetensors.torch.load_file(path)
    with torch.no_grad():
        for name, own in net.state_dict().items():
            if not name.startswith("encoder."):
                continue
            given = learned.get(name)
            if (
                given is not None
                and name == LONGER
                and given.shape[0] == own.shape[0]
                and given.shape[-1] < own.shape[-1]
            ):
                own[..., : given.shape[-1]] = given
            elif given is None or given.shape != own.shape:
                shape = None if given is None else tuple(given.shape)
                raise UnsupportedSize(
                    f"{name} is {shape} in the pre-trained net {trial.pretrained} and {tuple(own.shape)} here: "
                    f"{trial.mixer} has no form for another length"
                )
            else:
                own.copy_(given)


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
