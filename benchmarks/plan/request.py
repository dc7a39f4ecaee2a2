"""What was asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.contract.trial import FLAGGED, check_value

# the fields of a trial that can be asked for; None: what the profile says
_Asked: Any = dataclasses.make_dataclass("_Asked", [(name, Any, None) for name in FLAGGED], frozen=True, kw_only=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request(_Asked):
    """What was asked for: every field of a trial that has a flag, and these."""

    mixer: str | None = None
    text: str | None = None
    data_dir: Path = Path("data")
    results: Path = Path("results")
    search: str | None = None
    retry: str | None = None
    complex: bool = False

    def but(self, **changes: Any) -> Request:
        """The same request but for some fields."""
        return dataclasses.replace(self, **changes)


def check_values(request: Request) -> None:
    """Holds every field to its range or choices, those too that bear on no trial of this request.

    Raises:
        UserError: a value is not allowed.
    """
    for name, given in vars(request).items():
        if name == "dataset":
            continue  # which may be a place, and is looked at by itself
        for value in given if isinstance(given, tuple) else (given,):
            check_value(name, value)


def first(*values: Any) -> Any:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)
