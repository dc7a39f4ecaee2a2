"""The error that means: the user can mend this. The command line prints it as one line and exits with 2."""

import difflib
import importlib.util
import re
import traceback
from collections.abc import Iterable
from pathlib import Path


class UserError(ValueError):
    """Bad input. The message is one line: what was given, what is allowed, what to type."""


class Diverged(RuntimeError):
    """Training reached a loss that is not finite; the message says at which step and what the last finite loss was."""


class OutOfTime(RuntimeError):
    """Training stopped at an epoch's end to go on another time; the message says after how many epochs of how many."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A question after the known word nearest to `word`, to end an error with; empty if none is near.

    As that of `mixers.registry`, which comes with torch: a mistyped word need not wait for it.
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def printable(text: object) -> str:
    """One line of printable characters: no line break, and no code that moves a terminal's cursor or colours it."""
    line = str(text)
    if not line.isprintable():
        line = "".join(c for c in re.sub(r"\s+", " ", line) if c.isprintable())
    return " ".join(line.split())


def one_line(error: BaseException) -> str:
    """The first line of an error, without paths."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"(/[^\s:'\"]+)+/", "", lines[0])[:400]


def place_of(error: BaseException) -> str:
    """File and line where an error came from: the innermost that is not PyTorch's own."""
    every = list(traceback.extract_tb(error.__traceback__))
    torch = importlib.util.find_spec("torch")
    library = Path(torch.origin).parent if torch is not None and torch.origin else None
    frames = [frame for frame in every if library not in Path(frame.filename).parents] or every
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
