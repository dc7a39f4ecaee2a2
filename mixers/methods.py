"""Which implementation of a mixer runs: a table of measured crossovers, kept as data in crossovers.json.

For each type of device and each kind of computation the table lists (tokens, method): the method up to so many tokens,
the last for all beyond. `python -m benchmarks crossovers` measures it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("crossovers.json")

# by type of device: what it was measured on, and the rows of each kind of computation
CROSSOVERS: dict[str, dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))


def fastest(kind: str, device: str, tokens: int) -> str:
    """The method that the table names; a device that it does not know counts as a GPU."""
    rows = CROSSOVERS[device if device in CROSSOVERS else "cuda"]["methods"][kind]
    return next(method for most, method in rows if most is None or tokens <= most)
