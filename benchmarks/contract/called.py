"""How the reader called the suite, so that a message names what they can type: by make, as a module, or installed.

Files keep the words of `make`, whoever writes them: the same records make the same files.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

MAKE, MODULE, INSTALLED = "make", "python -m benchmarks", "token-mixers"
VARIABLE = "TOKEN_MIXERS_CALLED"  # set by the Makefile and by `remember`; processes that measure inherit it


def remember(program: str) -> None:
    """Notes the way for this process and for those that it starts, unless make or the process before this one has.

    Args:
        program: the first of the command line's words, `sys.argv[0]`.
    """
    if os.environ.get(VARIABLE) not in (MAKE, MODULE, INSTALLED):
        os.environ[VARIABLE] = INSTALLED if Path(program).name.startswith(INSTALLED) else MODULE


def way() -> str:
    """MAKE, MODULE or INSTALLED; MODULE, which works wherever the package is, where nobody has said."""
    found = os.environ.get(VARIABLE)
    return found if found in (MAKE, INSTALLED) else MODULE


def program() -> str:
    """What stands before a verb in usage lines, whose options are flags: make has a help of its own."""
    return INSTALLED if way() == INSTALLED else MODULE


def command(verb: str, **values: object) -> str:
    """ "make train MIXER=dct", "python -m benchmarks train --mixer dct" or "token-mixers train --mixer dct"."""
    return " ".join([way(), verb, *(option(name, value) for name, value in values.items())])


def option(name: str, value: object = "", how: str | None = None) -> str:
    """ "DATA_DIR=x" or "--data-dir x"; without a value "DATA_DIR=" or "--data-dir".

    Args:
        name: of the field of a trial or request, such as "data_dir".
        value: quoted for a shell where it needs that; "..." for one that the reader has to think of.
        how: one of the three ways; by default the reader's own.
    """
    text = shlex.quote(str(value)) if value != "" else ""
    if (how or way()) == MAKE:
        return f"{name.upper()}={text.replace('$', '$$')}"
    return f"--{name.replace('_', '-')} {text}".rstrip()


def switch(typed: str) -> str:
    """ "--help", or "ARGS=--help" for make, which has no variables for options without a value."""
    return f"ARGS={typed}" if way() == MAKE else typed
