"""The flags of the command line: those of a trial's fields from their facts, others by hand; and what reads them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.trial import FACTS, FLAGGED, flag, type_of

MOST_WORKERS = 256
MOST_VALUES = 10_000  # of a list


def nearest_flag(given: str, flags: Sequence[str]) -> str:
    """The flag nearest to what was typed; the dashes that all have in common bring nothing near."""
    if not given.startswith("-"):
        return ""
    word = given.split("=", maxsplit=1)[0].strip("-").lower().replace("_", "-")
    found = nearest(word, [name.strip("-") for name in flags])
    return found.replace("'", "'--", 1)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message.replace("argument ", ""))


def parser(texts: Mapping[str, str]) -> argparse.ArgumentParser:
    """What reads the words after a verb.

    Args:
        texts: of every verb the line that help shows.
    """
    verbs = "\n".join(f"  {name:11} {text}" for name, text in texts.items())
    verbs += "\n  --version   Of the package, of torch and of Python, in one line."
    made = _Parser(
        prog=called.program(),
        usage=f"{called.program()} VERB [options]",
        description=f"verbs:\n{verbs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("verb", help=argparse.SUPPRESS)
    add("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    add("--mixer", help="names, wildcards, options or plug-ins: dct | 'fft*,attention(heads=4)' | file.py:MyMixer")
    add("--data-dir", type=_path, default=Path("data"), help="where CIFAR-100 is, or is downloaded to (data)")
    for name in FLAGGED:
        _add_field(made, name)
    add(
        "--text",
        help="nets are pre-trained on: shakespeare | wikipedia | a file or folder of text | hfds:NAME (shakespeare)",
    )
    add(
        "--search",
        choices=["rates", "nets"],
        help="tune: learning rate and weight decay | norm and positions too (rates)",
    )
    add("--scratch", action="store_true", help="text: every encoder on the tasks without pre-training too")
    add("--complex", action="store_true", help="spectracles: the net of complex layers beside the others")
    add("--sittings", type=_sittings, help="of latency: each run adds one, an hour or more after the last (1)")
    add("--config", type=_path, help="a TOML file of these words, such as dim = [64, 128]; what is typed wins")
    add("--results", type=_path, default=Path("results"), help="folder of records, tables and plots (results)")
    add("--a", type=_path, help="compare: the results folder before")
    add("--b", type=_path, help="compare: the results folder after")
    add("--net", help="evaluate: a mixer, or the id of a record or its beginning")
    add("--out", type=_path, help="compare, evaluate: the folder for their tables (none: they are only said)")
    add("--log", type=_list(str), help="curves of training runs: tensorboard | wandb, or both")
    add(
        "--retry", choices=["failed", "changed"], help="measure again: failed trials | those of other code than today's"
    )
    add("--timeout", type=_seconds, help="seconds after which a training run is ended (none)")
    add("--budget", type=duration, help="time that the whole command may take: 540 | 9m | 1h30m; what is left is said")
    add("--workers", type=_workers, help="training runs side by side on this machine (1)")
    add("--matrix", type=_path, help="transforms: your own matrix over 256 tokens, a .npy file")
    add("--design", action="store_true", help="transforms: design one by the winner, learn another, train both")
    add("--ray", help="training runs on a Ray cluster: auto, or its address")
    return made


def _add_field(parser: argparse.ArgumentParser, name: str) -> None:
    """The flag of a trial's field, from what is known of the field."""
    facts, kind = FACTS[name], type_of(name)
    if kind is bool:
        parser.add_argument(flag(name), action=argparse.BooleanOptionalAction, help=facts.help)
        return
    convert = str if kind is str else _number(kind)
    if facts.listed:
        listed = _list(convert, ranges=kind is int)
        convert = listed if name in ("image_size", "length", "seed") else lambda text: _one_or_all(listed(text))
    parser.add_argument(flag(name), type=convert, help=facts.help)


def _one_or_all(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else values


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; allowed: the name of a folder, . for this one")
    return Path(text)


def _number(kind: type) -> Callable[[str], Any]:
    """A converter with an error that says what is allowed."""

    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return convert


def _seconds(text: str) -> float:
    seconds = _number(float)(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a number of seconds above 0, such as 3600")
    return seconds


def duration(text: str) -> float:
    """Seconds from 540, "540s", "9m", "1h30m" or "1.5h"."""
    units = r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
    plain = text.strip().lower()
    found = re.fullmatch(units, plain + "s" if re.fullmatch(r"\d+(\.\d+)?", plain) else plain)
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total < 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a time above 0, such as 540, 9m or 1h30m")
    return total


def _workers(text: str) -> int:
    workers = _number(int)(text)
    if not 1 <= workers <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: 1 to {MOST_WORKERS}")
    return workers


def _sittings(text: str) -> int:
    from benchmarks.timing.latency_metrics import MOST_SITTINGS

    sittings = _number(int)(text)
    if not 1 <= sittings <= MOST_SITTINGS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: 1 to {MOST_SITTINGS}")
    return sittings


def _list(convert: Callable[[str], Any], ranges: bool = False) -> Callable[[str], tuple[Any, ...]]:
    """A converter of comma-separated values, each once; of whole numbers 0-7 stands for all from 0 to 7."""

    def convert_part(part: str) -> Iterable[Any]:
        ends = re.fullmatch(r"(\d+)-(\d+)", part) if ranges else None
        return [convert(part)] if ends is None else _range(*ends.groups())

    def convert_all(text: str) -> tuple[Any, ...]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        values = tuple(dict.fromkeys(value for part in parts for value in convert_part(part)))
        if not values:
            raise argparse.ArgumentTypeError("the list is empty")
        return values

    return convert_all


def _range(low: str, high: str) -> Iterable[int]:
    values = range(int(low), int(high) + 1)
    if not values:
        raise argparse.ArgumentTypeError(f"{low}-{high} runs backwards; allowed: {high}-{low}")
    if int(high) - int(low) >= MOST_VALUES:
        raise argparse.ArgumentTypeError(
            f"{low}-{high} is {int(high) - int(low) + 1:,} values; allowed: at most {MOST_VALUES:,}"
        )
    return values
