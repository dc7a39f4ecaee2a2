"""The command that makes a number again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contract.datasets import is_procedural
from benchmarks.report.frame import plain

NET = ("dataset", "profile", "image_size", "patch_size", "dim", "depth")
TRAINING = ("epochs", "lr", "weight_decay", "batch_size", "augment", "train_images")
HOW = ("norm", "match", "device", "precision", "threads")


def train_command(row: Mapping[Any, Any], seeds: Sequence[int]) -> str:
    """`make train MIXER=dct ...` with every choice of a trained setting written out."""
    given = {} if is_procedural(row["dataset"]) else {"train_images": None}
    return command("train", dict(row) | given, (*NET, *TRAINING, *HOW), seed=",".join(map(str, seeds)))


def latency_command(row: Mapping[Any, Any], sizes: Sequence[int | str]) -> str:
    """`make latency MIXER=dct ...` over some image sizes; attention comes along, for the ratios to it."""
    given = {"image_size": ",".join(map(str, sizes)), "batch_size": None, "augment": None}
    mixer = str(row["mixer"])
    both = mixer if mixer.partition("(")[0] == "attention" else f"attention,{mixer}"
    return command("latency", dict(row) | given | {"mixer": both}, (*NET, *HOW, "rounds"))


def command(verb: str, row: Mapping[Any, Any], fields: Sequence[str], **more: str) -> str:
    """One line for a shell. A width that was solved for is asked for by the budget it was solved from."""
    values = {"mixer": row["mixer"], **{name: plain(row.get(name)) for name in fields}, **more}
    if row.get("match") != "width" and plain(row.get("match_dim")) is not None:
        values["dim"] = row["match_dim"]
    if row.get("precision") == "bfloat16" and row.get("residual") == "float32":  # not what it is by default
        values["residual"] = "float32"
    if row.get("positions") not in (None, "none"):
        values["positions"] = row["positions"]
    # make, too, reads a dollar sign as its own
    words = [f"{name.upper()}={shlex.quote(word(v))}" for name, v in values.items() if v not in (None, "")]
    words = [text.replace("$", "$$") for text in words]
    return " ".join(["make", verb, *words, *([] if row["coordinates"] else ["ARGS=--no-coordinates"])])


def word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
