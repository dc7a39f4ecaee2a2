"""A mixer for each block of a net: one for all, "6xfft_real+2xattention", or one of FNet's hybrids by name."""

from __future__ import annotations

import re
from typing import Any

from mixers.base import MixerError

# FNet (Lee-Thorp et al., 2021) keeps attention in two of its layers and calls the four places so.
HYBRID_NAMES = ("hybrid_bottom", "hybrid_middle", "hybrid_mixed", "hybrid_top")
HYBRID_ATTENTION_LAYERS = 2


def is_per_block(spec: str) -> bool:
    """Whether `spec` names mixers block by block, and not one for all."""
    return spec.strip() in HYBRID_NAMES or len(parts := _parts(spec)) > 1 or parts[0][0] is not None


def mixers_in(spec: str) -> list[str]:
    """The mixers of a net as written, each once.

    >>> mixers_in("6xfft_real+2xattention(heads=4)")
    ['fft_real', 'attention(heads=4)']
    """
    if spec.strip() in HYBRID_NAMES:
        return ["fft_real", "attention"]
    return list(dict.fromkeys(mixer for _, mixer in _parts(spec)))


def mixer_of_each_block(spec: str, depth: int) -> list[str]:
    """The mixers of a net of `depth` blocks, from the first block on.

    >>> mixer_of_each_block("hybrid_top", 4)
    ['fft_real', 'fft_real', 'attention', 'attention']

    Raises:
        MixerError: the counts do not add up to the depth, or the depth is too small for a hybrid.
    """
    check_text(spec)
    if spec.strip() in HYBRID_NAMES:
        return _hybrid(spec.strip(), depth)
    parts = _parts(spec)
    if len(parts) == 1 and parts[0][0] is None:
        return [parts[0][1]] * depth
    counts = [1 if count is None else count for count, _ in parts]
    if sum(counts) != depth:
        raise MixerError(f"{spec!r} names the mixers of {sum(counts)} blocks, the depth is {depth}; they must be equal")
    return [mixer for count, (_, mixer) in zip(counts, parts, strict=True) for _ in range(count)]


def check_text(spec: Any) -> None:
    """Holds a mixer as written to be text.

    Raises:
        MixerError: it is something else, such as a class.
    """
    if not isinstance(spec, str):
        raise MixerError(f"the mixer is {spec!r}; write its name, such as 'dct', or where it is, 'file.py:MyMixer'")


def _hybrid(name: str, depth: int) -> list[str]:
    if depth < 2:
        raise MixerError(f"{name!r} needs blocks of both kinds; the depth is {depth}, allowed: from 2")
    attention = min(HYBRID_ATTENTION_LAYERS, depth // 2)
    layers = range(depth)
    places = {
        "hybrid_bottom": [layer for layer in layers if layer < attention],
        "hybrid_middle": [layer for layer in layers if depth - attention <= 2 * layer < depth + attention],
        "hybrid_mixed": [layer for layer in layers if layer % (depth // attention) == 0][:attention],
        "hybrid_top": [layer for layer in layers if layer >= depth - attention],
    }[name]
    return ["attention" if layer in places else "fft_real" for layer in layers]


def _parts(spec: str) -> list[tuple[int | None, str]]:
    """The count, None where none is written, and the mixer of each part of "6xfft_real+2xattention".

    Raises:
        MixerError: it does not parse.
    """
    parts: list[tuple[int | None, str]] = []
    for part in re.split(r"\+(?![^(]*\))", spec):
        match = re.fullmatch(r"\s*(?:(\d{1,18})x(?=\S))?(.*?)\s*", part, re.DOTALL)
        assert match is not None
        count = None if match[1] is None else int(match[1])
        if not match[2] or count == 0:
            raise MixerError(f"{spec!r} is not a mixer for each block; write counts and names, 6xfft_real+2xattention")
        parts.append((count, match[2]))
    return parts
