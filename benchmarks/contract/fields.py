"""What is known of a field of a trial, said once beside it: flags, help, Make variables, checks, the JSON Schema,
captions and "trained alike" all derive from here.
"""

from __future__ import annotations

import dataclasses
from typing import Any

KIND = "kind"  # which measurement
MIXER = "mixer"  # what is compared
DATA = "data"  # on what
NET = "net"  # the net around the mixer
MATCH = "match"  # what is held equal across mixers
SEED = "seed"
RECIPE = "recipe"  # how nets are trained
MACHINE = "machine"  # where and in which precision
TIMING = "timing"  # how is timed
ROLES = (KIND, MIXER, DATA, NET, MATCH, SEED, RECIPE, MACHINE, TIMING)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of one field.

    Attributes:
        role: of ROLES.
        choices: all that is allowed, of a word.
        low: the lowest value that makes sense, of a number.
        high: the highest.
        unit: behind a value in a caption, with its space.
        noun: before it; None: the name of the field.
        heading: over a column of a table; None: the noun.
        help: what its flag says; None: it has no flag.
        listed: whether the flag takes a list, which makes a grid.
        tuned: whether it is chosen for each mixer by the same search, so that nets alike may differ in it.
        common: words of a caption for a value that all rows share, where that is not the usual one.
    """

    role: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    unit: str = ""
    noun: str | None = None
    heading: str | None = None
    help: str | None = None
    listed: bool = False
    tuned: bool = False
    common: tuple[tuple[Any, str], ...] = ()

    @property
    def flagged(self) -> bool:
        return self.help is not None


def known(role: str, default: Any = dataclasses.MISSING, **facts: Any) -> Any:
    """A field of a trial that results version 0.1 had.

    Args:
        role: of ROLES.
        default: of new trials; where it is left out, the field is required.
        facts: the other attributes of Facts.
    """
    return dataclasses.field(default=default, metadata={"facts": Facts(role=role, **facts)})


def later(before: Any, role: str, default: Any = dataclasses.MISSING, **facts: Any) -> Any:
    """A field that results version 0.1 did not have.

    Args:
        before: the value that trials without the field had; it never changes again.
        role: of ROLES.
        default: of new trials; where it is left out, `before`.
        facts: the other attributes of Facts.
    """
    return dataclasses.field(
        default=before if default is dataclasses.MISSING else default,
        metadata={"facts": Facts(role=role, **facts), "before": before},
    )
