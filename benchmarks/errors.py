"""The error that means: the user can mend this. The command line prints it as one line and exits with 2."""

import re


class UserError(ValueError):
    """Bad input. The message is one line: what was given, what is allowed, what to type."""


class Diverged(RuntimeError):
    """Training reached a loss that is not finite; the message says at which step and what the last finite loss was."""


def printable(text: object) -> str:
    """One line of printable characters: no line break, and no code that moves a terminal's cursor or colours it."""
    line = str(text)
    if not line.isprintable():
        line = "".join(c for c in re.sub(r"\s+", " ", line) if c.isprintable())
    return " ".join(line.split())
