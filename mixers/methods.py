"""Which implementation of a mixer runs: a table of measured crossovers, kept as data in crossovers.json.

For each type of device and each kind of computation the table lists (tokens, method): the method up to so many tokens,
the last for all beyond. `python -m benchmarks crossovers` measures it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mixers.base import MixerError

TABLE = Path(__file__).with_name("crossovers.json")


CROSSOVERS: dict[str, dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))


def crossovers() -> dict[str, dict[str, Any]]:
    """By type of device: what it was measured on, and the rows of each kind of computation."""
    return CROSSOVERS


def fastest(kind: str, device: str, tokens: int) -> str:
    """The method that the table names; a device that it does not know counts as a GPU."""
    tables = crossovers()
    rows = tables[device if device in tables else "cuda"]["methods"][kind]
    return next(method for most, method in rows if most is None or tokens <= most)


def check_method(mixer: str, method: str, allowed: tuple[str, ...]) -> str:
    """Returns the method.

    Raises:
        MixerError: it is none of those allowed.
    """
    if method not in ("auto", *allowed):
        raise MixerError(f"{mixer} has no method {method!r}; allowed: auto, {', '.join(allowed)}")
    return method
