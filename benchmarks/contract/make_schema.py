"""Writes record.schema.json from the fields of a trial, their ranges and the list of metrics.

Type `python -m benchmarks.contract.make_schema` after changing one of these; a test holds the committed file to this,
so that neither can change without the other.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any

from benchmarks.contract.facts.datasets import DATASETS, OWN
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.facts.metrics import METRICS, WORDS
from benchmarks.contract.processor import INSTRUCTION_SETS, NUMBERS
from benchmarks.contract.record import SCHEMA_VERSION, STATUSES
from benchmarks.contract.schema import SCHEMA_FILE
from benchmarks.contract.trial import FACTS, Trial

LARGEST = 1e300  # what is larger is infinite, or soon will be
CORRELATIONS = ("_matthews", "_spearman", "_pearson")
HISTORY = {  # a row an epoch of training; a row a round of the latency sweep
    "epoch": ("train_loss", "lr", "images_per_s", "seconds", "val_top1_percent", "val_loss", "val_order_percent"),
    "round": (
        "copy_ms",
        "forward_ms",
        "forward_backward_ms",
        "mixer_forward_ms",
        "mixer_forward_backward_ms",
        "matmul_ms",
        "floor_ms",
    ),
}
JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)$"}
WORD = {"type": "string", "maxLength": 1000}


def record_schema() -> dict[str, Any]:
    """The JSON Schema of one record."""
    properties = {
        "schema_version": {"const": SCHEMA_VERSION},
        "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "kind": {"enum": list(KINDS)},
        "status": {"enum": list(STATUSES)},
        "reason": {"type": ["string", "null"], "maxLength": 10_000},
        "trial": trial_schema(),
        "metrics": closed({name: number(name) for name in METRICS} | {name: nullable(WORD) for name in WORDS}),
        "history": {"type": "array", "items": {"anyOf": [row_schema(key) for key in HISTORY]}},
        "environment": environment_schema(),
        "code": code_schema(),
        "started": TIME,
        "ended": TIME,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"token-mixers record, version {SCHEMA_VERSION}",
        "description": "Made by `python -m benchmarks.contract.make_schema`; see results/README.md for the fields.",
        **closed(properties, every=True),
        # of everything else, as benchmarks/contract/record.py computes it; the first records went without
        "properties": properties | {"checksum": {"type": "string", "pattern": "^[0-9a-f]{16}$"}},
        "if": {"properties": {"status": {"const": "ok"}}},
        "then": {"properties": {"reason": {"const": None}}},
        "else": {"properties": {"reason": {"type": "string"}}},
    }


def trial_schema() -> dict[str, Any]:
    """Fields by their types, choices and ranges; what the fields must be to each other, a Trial itself checks."""
    hints = typing.get_type_hints(Trial)
    properties = {}
    for field in dataclasses.fields(Trial):
        hint = hints[field.name]
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        facts = FACTS[field.name]
        if facts.choices:
            own: dict[str, Any] = {"enum": [*facts.choices, *([None] if types.NoneType in kinds else [])]}
        elif field.name == "dataset":
            own = {"anyOf": [{"enum": list(DATASETS)}, {"type": "string", "pattern": f"^(?:{OWN.pattern})$"}]}
        else:
            own = {"type": [JSON_TYPES[kind] for kind in kinds]}
            if str in kinds:
                own |= {"minLength": 1, "maxLength": 1000}
            if int in kinds or float in kinds:
                own |= {"minimum": facts.low or 0, "maximum": LARGEST if facts.high is None else facts.high}
        properties[field.name] = own
    required = [field.name for field in dataclasses.fields(Trial) if field.default is dataclasses.MISSING]
    return closed(properties) | {"required": required}


def environment_schema() -> dict[str, Any]:
    """The machine without a host name, a user or a path: what is not listed is refused."""
    texts = {"type": "object", "additionalProperties": WORD}
    properties: dict[str, Any] = dict.fromkeys(("torch", "device", "cpu", "os", "python"), WORD)
    properties |= {"cuda": nullable(WORD), "cores": {"type": "integer", "minimum": 1}}
    properties |= {"threads": {"type": "integer", "minimum": 1}, "settings": texts, "packages": texts}
    numbers = {name: {"type": ["integer", "null"], "minimum": 0} for name in NUMBERS}
    sets = {"instruction_sets": {"type": "array", "items": {"enum": list(INSTRUCTION_SETS)}}}
    properties["processor"] = nullable(closed(numbers | sets, every=True))
    properties |= {"neighbours": {"type": "integer", "minimum": 0}, "tf32": {"type": ["boolean", "null"]}}
    return closed(properties) | {"required": ["torch", "device", "cpu"]}


def code_schema() -> dict[str, Any]:
    """The commit, whether it was changed, and, in records that know them, hashes of the code that was run."""
    digest = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
    properties = {"commit": nullable(WORD), "dirty": {"type": ["boolean", "null"]}}
    more = {"reason": WORD, "sources": closed(dict.fromkeys(("mixer", "net", "task"), digest))}
    return closed(properties | more) | {"required": list(properties)}


def row_schema(key: str) -> dict[str, Any]:
    columns = {name: number(name) for name in HISTORY[key]}
    own: dict[str, Any] = {key: {"type": "integer", "minimum": 0}}
    own |= {"sitting": TIME} if key == "round" else {"phase": {"enum": ["pretrain", "train"]}}
    return closed(own | columns) | {"required": [key]}


def number(name: str) -> dict[str, Any]:
    """Numbers are counts, times, losses and shares, none of them negative; and correlations in points of 100."""
    if name.endswith(CORRELATIONS):
        return {"type": ["number", "null"], "minimum": -100, "maximum": 100}
    return {"type": ["number", "null"], "minimum": 0, "maximum": 100 if name.endswith("_percent") else LARGEST}


def closed(properties: dict[str, Any], every: bool = False) -> dict[str, Any]:
    """An object with these properties and no others."""
    needed = {"required": list(properties)} if every else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **needed}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"type": [schema["type"], "null"]}


def text() -> str:
    """The content of the file."""
    return json.dumps(record_schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(text(), encoding="utf-8")
