"""CONFIG=my.toml: the words of the command line in a file; and the file that a run leaves beside its results."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.cli.flags import OPTIONS, spelled
from benchmarks.cli.verbs import VERBS
from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest, printable
from benchmarks.contract.record import atomic_write

FILE = "config.toml"
ALLOWED = "a number, a word, or a list of numbers or words"


def arguments_of(path: Path, verb: str) -> list[str]:
    """What stands in a file as it would be typed: ["--dim=64,128", ...].

    Args:
        path: a TOML file; its keys are options, such as `patch_size = 4` or `mixer = ["dct", "fft*"]`.
        verb: that reads it; what the file names for other verbs is left out, as far as this one allows that.

    Raises:
        UserError: the file is no TOML, or a key or a kind of value is not allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML: {error}; allowed are lines such as dim = 64") from None
    row, options = VERBS[verb], [name for name in OPTIONS if name not in ("config", "folder")]
    arguments = []
    spelled_as: dict[str, str] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if (other := spelled_as.setdefault(name, key)) != key:
            raise UserError(f"{path} has both {other!r} and {key!r}, which are one option; leave one of them out")
        if name not in options:
            raise UserError(f"{path} has {key!r}, which is no option.{nearest(key, options)}")
        words = _typed(f"{path}: {key}", name, value)
        arguments += words if name in row.takes or name not in row.leaves else []
    return arguments


def _typed(what: str, name: str, value: Any) -> list[str]:
    """One option as it would be typed; [] for a switch that stays as it is."""
    first, *negative = spelled(name)
    if OPTIONS[name].is_switch:
        if not isinstance(value, bool):
            raise UserError(f"{what} is {value!r}; allowed: true, false")
        return [first] if value else negative
    values = value if isinstance(value, list) else [value]
    for one in values:
        if isinstance(one, bool) or not isinstance(one, str | int | float):
            raise UserError(f"{what} is {value!r}; allowed: {ALLOWED}")
    return [f"{first}={','.join(map(str, values))}"]


def write_config(results: Path, verb: str, values: Mapping[str, Any], notes: Iterable[str] = ()) -> Path:
    """Writes `results`/config.toml, from which the same command plans the same trials.

    Args:
        results: the folder.
        verb: that runs.
        values: option -> value; those that are None are left out.
        notes: comments at the end.
    """
    folder = _from_here(results)
    again = [called.option("config", folder / FILE, called.MAKE), called.option("results", folder, called.MAKE)]
    lines = [
        f"# what {verb} was asked for, and what it took for the rest; again: make {verb} {printable(' '.join(again))}"
    ]
    lines += [f"{name} = {toml_value(value)}" for name, value in values.items() if value is not None]
    lines += [f"# {' '.join(note.split())}" for note in notes]
    path = results / FILE
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path


def _from_here(folder: Path) -> Path:
    """From the working folder; of one elsewhere the name alone, since what is above it is nobody's business."""
    folder = folder.resolve()
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else Path(folder.name)


def toml_value(value: Any) -> str:
    """A word, number, truth value or tuple of them in TOML."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # a string of JSON is one of TOML but for a character that TOML wants escaped
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
