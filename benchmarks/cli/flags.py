"""The options of the command line: those of a trial's fields from their facts, others by hand; and what reads them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from benchmarks.cli.verbs import VERBS
from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.fields import DATA, MACHINE, MATCH, MIXER, NET, RECIPE, SEED, TIMING
from benchmarks.contract.trial import FACTS, FLAGGED, check_value, flag, type_of

MOST_WORKERS = 256
MOST_VALUES = 10_000  # of a list
WHAT, RUN = "what is measured", "the run"
TITLES = {  # over the options of a role
    MIXER: WHAT, DATA: WHAT, NET: "the net", MATCH: "the net", SEED: "training", RECIPE: "training", TIMING: "timing",
    MACHINE: "the machine",
}  # fmt: skip


class Option(NamedTuple):
    """One option: what it stands under in help, and how argparse reads it."""

    title: str
    how: dict[str, Any]

    @property
    def is_switch(self) -> bool:
        return "action" in self.how


def overview() -> str:
    """What help says: every verb in a line."""
    rows = {name: verb.text for name, verb in VERBS.items()}
    rows |= {
        "help VERB": "What a verb takes, every option with its help.",
        "--version": "Of the package, of torch and of Python, in one line.",
    }
    lines = [f"  {name:11} {text}" for name, text in rows.items()]
    return "\n".join([f"usage: {called.program()} VERB [options]", "", "verbs:", *lines])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message.replace("argument ", ""))


def parser_of(verb: str) -> argparse.ArgumentParser:
    """What reads the words after a verb, and says in help what it takes.

    Raises:
        UserError: there is no such verb.
    """
    if verb not in VERBS:
        raise UserError(f"there is no verb {verb!r}.{nearest(verb, VERBS)} Verbs: {', '.join(VERBS)}.")
    row, program = VERBS[verb], f"{called.program()} {verb}"
    names = [name for name in OPTIONS if name in (*row.takes, "config")]
    place = " [DIR]" if "folder" in names else ""
    usage = f"{program}{place} [options]"
    made = _Parser(prog=program, usage=usage, description=row.text, allow_abbrev=False, add_help=False)
    for title in dict.fromkeys([*TITLES.values(), RUN]):
        group = made.add_argument_group(title)
        for name in names:
            if OPTIONS[name].title == title:
                group.add_argument("folder" if name == "folder" else flag(name), **OPTIONS[name].how)
    return made


def read(verb: str, words: Sequence[str]) -> argparse.Namespace:
    """The options that were typed; those that the verb does not take have their defaults too.

    Raises:
        UserError: something of it is not allowed.
    """
    usual = argparse.Namespace(verb=verb, **DEFAULTS)
    options, unknown = parser_of(verb).parse_known_intermixed_args(words, usual)
    if unknown:
        raise UserError(_why_not(verb, unknown[0]))
    for name in FLAGGED:
        value = getattr(options, name)
        for one in value if isinstance(value, tuple) else (value,):
            if name != "dataset":  # which may be a place, and is looked at by those who read it
                check_value(name, one)
    return options


def _why_not(verb: str, given: str) -> str:
    """Why a verb does not take a word."""
    typed = given.partition("=")[0]
    known = {text: name for name in OPTIONS if name != "folder" for text in spelled(name)}
    if typed in known:
        name = known[typed]
        what = called.switch(typed) if OPTIONS[name].is_switch else called.option(name)
        others = ", ".join(other for other, row in VERBS.items() if name in row.takes)
        more = f"{called.command(verb)} {called.switch('--help')}"
        return f"{verb} has no use for {what}, which is for {others}; what {verb} takes: {more}"
    if not given.startswith("-"):
        return f"{verb} has no use for {given!r}; options begin with --, see help"
    own = [text for text in known if known[text] in VERBS[verb].takes]
    return f"unknown option {given!r}.{nearest_flag(given, own) or nearest_flag(given, list(known))}"


def nearest_flag(given: str, flags: Sequence[str]) -> str:
    """A question after the flag nearest to what was typed; the dashes that all have in common bring nothing near."""
    word = given.split("=", maxsplit=1)[0].strip("-").lower().replace("_", "-")
    found = nearest(word, [name.strip("-") for name in flags])
    return found.replace("'", "'--", 1)


def spelled(name: str) -> list[str]:
    """How an option can be typed, ["--coordinates", "--no-coordinates"]."""
    both = OPTIONS[name].how.get("action") is argparse.BooleanOptionalAction
    return [flag(name), *([flag(f"no_{name}")] if both else [])]


def _option(title: str, help: str, **how: Any) -> Option:
    return Option(title, {"help": help, **how})


def _field(name: str) -> Option:
    """The option of a trial's field, from what is known of the field."""
    facts, kind = FACTS[name], type_of(name)
    title = TITLES[facts.role]
    if kind is bool:
        return Option(title, {"action": argparse.BooleanOptionalAction, "help": facts.help})
    convert = _size if name == "image_size" else str if kind is str else _number(kind)
    if facts.listed:
        listed = _list(convert, ranges=kind is int)
        convert = listed if name in ("image_size", "length", "seed") else lambda text: _one_or_all(listed(text))
    return Option(title, {"type": convert, "help": facts.help})


def _size(text: str) -> int | str:
    """As a trial has it: 32, or "16x32"."""
    return int(text) if text.isdecimal() else text


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


def seconds_of(text: str) -> float:
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


OPTIONS: dict[str, Option] = {
    "folder": _option(WHAT, "the folder of records (that of --results)", nargs="?", type=Path, metavar="DIR"),
    "mixer": _option(WHAT, "names, wildcards, options or plug-ins: dct | 'fft*,attention(heads=4)' | file.py:MyMixer"),
    "net": _option(WHAT, "a mixer, or the id of a record or its beginning"),
    "data_dir": _option(WHAT, "where CIFAR-100 is, or is downloaded to (data)", type=_path, default=Path("data")),
    **{name: _field(name) for name in FLAGGED},
    "text": _option(
        WHAT, "nets are pre-trained on: shakespeare | wikipedia | a file or folder of text | hfds:NAME (shakespeare)"
    ),
    "search": _option(
        TITLES[RECIPE], "learning rate and weight decay | norm and positions too (rates)", choices=["rates", "nets"]
    ),
    "scratch": _option(WHAT, "every encoder on the tasks without pre-training too", action="store_true", default=False),
    "complex": _option(WHAT, "the net of complex layers and the real one alone", action="store_true", default=False),
    "matrix": _option(WHAT, "your own matrix over 256 tokens, a .npy file", type=_path),
    "design": _option(WHAT, "design one by the winner, learn another, train both", action="store_true", default=False),
    "sittings": _option(
        TITLES[TIMING], "of latency: each run adds one, an hour or more after the last (1)", type=_sittings
    ),
    "a": _option(WHAT, "the results folder before", type=_path),
    "b": _option(WHAT, "the results folder after", type=_path),
    "config": _option(RUN, "a TOML file of these words, such as dim = [64, 128]; what is typed wins", type=_path),
    "results": _option(RUN, "folder of records, tables and plots (results)", type=_path, default=Path("results")),
    "repository": _option(RUN, "its address, for the page's links to code (the files beside the page)"),
    "out": _option(RUN, "the folder for their tables (none: they are only said)", type=_path),
    "log": _option(RUN, "curves of training runs: tensorboard | wandb, or both", type=_list(str)),
    "retry": _option(
        RUN, "measure again: failed trials | those of other code than today's", choices=["failed", "changed"]
    ),
    "timeout": _option(RUN, "seconds after which a training run is ended (none)", type=_seconds),
    "budget": _option(
        RUN, "time that the whole command may take: 540 | 9m | 1h30m; what is left is said", type=seconds_of
    ),
    "workers": _option(RUN, "training runs side by side on this machine (1)", type=_workers),
    "ray": _option(RUN, "training runs on a Ray cluster: auto, or its address"),
}
DEFAULTS = {name: option.how.get("default") for name, option in OPTIONS.items()}
