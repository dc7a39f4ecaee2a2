"""The command that makes a number again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contract.facts.datasets import is_procedural
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.trial import FACTS, FIELDS, FLAGGED, base_name
from benchmarks.report.frame import plain
from benchmarks.report.sizes import row_extent

# fields that a command always names, in the order of reading; any other only where it is not the usual one
NAMED = (
    *("dataset", "profile", "image_size", "patch_size", "length", "dim", "depth"),
    *("epochs", "lr", "weight_decay", "batch_size", "augment", "train_images"),
    *("norm", "match", "device", "precision", "threads", "rounds"),
)


def train_command(row: Mapping[Any, Any], seeds: Sequence[int]) -> str:
    """`make train MIXER=dct ...` with every choice of a trained setting written out."""
    given = {} if is_procedural(row["dataset"]) else {"train_images": None}
    return command("train", dict(row) | given, "accuracy", seed=",".join(map(str, seeds)))


def latency_command(row: Mapping[Any, Any], sizes: Sequence[int | str]) -> str:
    """`make latency MIXER=dct ...` over some sizes; attention comes along, for the ratios to it."""
    given = {row_extent(row).field: ",".join(map(str, sizes)), "batch_size": None}
    mixer = str(row["mixer"])
    both = mixer if base_name(mixer) == "attention" else f"attention,{mixer}"
    return command("latency", dict(row) | given | {"mixer": both}, "latency")


def command(verb: str, row: Mapping[Any, Any], kind: str, **more: str) -> str:
    """One line for a shell. A width that was solved for is asked for by the budget it was solved from."""
    bear = [name for name in FLAGGED if FACTS[name].role in KINDS[kind].roles or name == "batch_size"]
    values = {"mixer": row["mixer"], **{name: plain(row.get(name)) for name in NAMED if name in bear}, **more}
    if row.get("match") != "width" and plain(row.get("match_dim")) is not None:
        values["dim"] = row["match_dim"]
    if row.get("precision") == "bfloat16" and row.get("residual") == "float32":  # not what it is by default
        values["residual"] = "float32"
    others = [name for name in bear if name not in (*NAMED, *values, "residual", "seed", "coordinates")]
    values |= {name: row[name] for name in others if plain(row.get(name)) not in (None, FIELDS[name])}
    # make, too, reads a dollar sign as its own
    words = [f"{name.upper()}={shlex.quote(word(v))}" for name, v in values.items() if v not in (None, "")]
    words = [text.replace("$", "$$") for text in words]
    return " ".join(["make", verb, *words, *([] if row["coordinates"] else ["ARGS=--no-coordinates"])])


def word(value: Any) -> str:
    """A value as it is typed, short where that loses nothing."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(float(value))
