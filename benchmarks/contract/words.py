"""Plain English for numbers of things."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """ "1 mixer", "2 mixers", "20,000 records"; the noun takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
