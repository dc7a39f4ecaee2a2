"""Holds what is written and read to the committed JSON Schema of a record, record.schema.json."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from benchmarks.contract.errors import UserError

SCHEMA_FILE = Path(__file__).with_name("record.schema.json")


@functools.cache
def validator() -> Any:
    import jsonschema_rs  # the whole of draft 2020-12, some hundred times as fast as the one in Python

    return jsonschema_rs.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def check_can_write() -> None:
    """Tells before hours of work that their records could not be checked.

    Raises:
        UserError: the package for it is missing.
    """
    try:
        validator()
    except ImportError as error:
        raise UserError("records are held to their schema by jsonschema-rs; type pip install jsonschema-rs") from error


def check_record(content: dict[str, Any]) -> None:
    """Compares the content of a record's file with the schema.

    Raises:
        UserError: it is not what the schema allows; the message says where, what stands there and what may.
    """
    if validator().is_valid(content):
        return
    error = min(validator().iter_errors(content), key=lambda e: (-len(e.instance_path), str(e.instance_path)))
    place = ".".join(str(part) for part in error.instance_path) or "the record"
    message = " ".join(error.message.split())
    raise UserError(f"{place}: {message if len(message) <= 300 else message[:299] + '…'}")
