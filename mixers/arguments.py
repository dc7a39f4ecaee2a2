"""What constructors ask of their arguments, each told by name where it is wrong."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import torch

from mixers.errors import MixerError


def whole_number(name: str, value: Any, lowest: int | None = None, allowed: str | None = None) -> int:
    """The value as an int of 64 bits: any that Python takes for an index, NumPy's too, but neither text nor True.

    Args:
        name: of the argument.
        value: as given.
        lowest: of the numbers allowed.
        allowed: in words, for the message, where there is more to say than the lowest.

    Raises:
        MixerError: it is anything else.
    """
    try:
        is_flag = isinstance(value, bool) or (isinstance(value, torch.Tensor) and value.dtype == torch.bool)
        number = None if is_flag else operator.index(value)
    except (TypeError, RuntimeError, ValueError):  # of a tensor: it holds several numbers, or no whole one
        number = None
    if number is None or abs(number) >= 2**63 or (lowest is not None and number < lowest):
        words = "whole numbers" if lowest is None else f"whole numbers from {lowest}"
        words += " of 64 bits" if number is not None and abs(number) >= 2**63 else ""
        raise MixerError(f"{name} is {value!r}; allowed: {allowed or words}")
    return number


def bounded(name: str, value: Any, highest: int) -> int:
    """A whole number that says how large a mixer is: far above any use, and far below what never comes to an end.

    Args:
        name: of the argument.
        value: as given.
        highest: of the numbers allowed, which begin with 1.

    Raises:
        MixerError: it is anything else.
    """
    allowed = f"whole numbers from 1 to {highest}"
    if (number := whole_number(name, value, 1, allowed)) > highest:
        raise MixerError(f"{name} is {value!r}; allowed: {allowed}")
    return number


def whole_seed(value: Any) -> int:
    """What a generator of PyTorch takes for a seed, as an int.

    Raises:
        MixerError: it is no whole number, below 0, or takes more than 63 bits.
    """
    return whole_number("seed", value, 0, f"whole numbers from 0 to {2**63 - 1}")


def divisor(mixer: str, dim: int, value: Any, parts: str) -> int:
    """The number of heads or blocks that a mixer splits its channels into.

    Raises:
        MixerError: it is none, or does not divide dim.
    """
    fits = [n for n in range(1, dim + 1) if dim % n == 0]
    try:
        number = whole_number(parts, value, 1)
    except MixerError:
        number = 0
    if number not in fits:
        raise MixerError(f"{mixer} cannot split dim {dim} into {value!r} {parts}; allowed: {', '.join(map(str, fits))}")
    return number


def two_sides(name: str, value: Any) -> tuple[int, int]:
    """(H, W) of a pair of whole numbers, or of one for a square.

    Raises:
        MixerError: it is anything else.
    """
    allowed = "a whole number for a square, or (H, W)"
    no_pair = isinstance(value, (str, bytes, torch.Tensor, Mapping, Set)) or not isinstance(value, Iterable)
    sides = (value,) * 2 if no_pair or getattr(value, "ndim", 1) == 0 else value
    try:
        height, width = (whole_number(name, side) for side in sides)
    except ValueError as error:
        raise MixerError(f"{name} is {value!r}; allowed: {allowed}") from error
    return height, width


def finite_number(name: str, value: Any, allowed: str = "finite numbers") -> float:
    """The value as a float.

    Raises:
        MixerError: it is no finite real number; text and True are none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise MixerError(f"{name} is {value!r}; allowed: {allowed}")
    return float(value)


def check_rate(name: str, value: Any) -> None:
    """Holds a rate of dropout to what leaves something.

    Raises:
        MixerError: it is no number from 0 to below 1.
    """
    allowed = "from 0 to below 1"
    if not 0 <= finite_number(name, value, allowed) < 1:
        raise MixerError(f"{name} is {value}; allowed: {allowed}")


def flag(name: str, value: Any) -> bool:
    """The value, which has to be True or False.

    Raises:
        MixerError: it is anything else.
    """
    if not isinstance(value, bool):
        raise MixerError(f"{name} is {value!r}; allowed: True, False")
    return value


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """The value, which has to be one of these words.

    Raises:
        MixerError: it is anything else.
    """
    if not isinstance(value, str) or value not in choices:
        raise MixerError(f"{name} is {value!r}; allowed: {', '.join(choices)}")
    return value


def factory_options(device: Any, dtype: Any) -> dict[str, Any]:
    """What `Module.to` takes, of a constructor's `device` and `dtype` those that are not None.

    Raises:
        MixerError: there is no such device, or the dtype is no real floating-point one.
    """
    try:
        device = None if device is None else torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise MixerError(f"device is {device!r}; allowed: names such as 'cpu', 'cuda', 'cuda:1' and 'meta'") from error
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise MixerError(f"dtype is {dtype!r}; allowed: floating-point dtypes such as torch.float32 and torch.bfloat16")
    return {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}


def no_others(what: str, options: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuses options that do not exist, with the name of the nearest; `**others` is what collects them.

    Raises:
        MixerError: there is one.
    """
    allowed = [name for name in allowed if name != "others"]
    for option in options:
        if option not in allowed:
            have = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise MixerError(f"{what} has no option {option!r}: {have}.{nearest(option, allowed)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """A question after the known word nearest to `word`, to end an error with; empty if none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
