"""A mixer as asked for, parsed once: everything behind the door takes a `MixerSpec` and reads no text.

A mixer is written as

    dct                               a registered name
    attention(heads=4,backend=plain)  with options
    pkg.module:MyMixer                a class in an importable module
    path/to/file.py:MyMixer           a class in a file
    path/to/file.npy                  a fixed matrix over the tokens, as NumPy saved it

and the mixers of a net's blocks as one of these for all, as "6xfft_real+2xattention", or as one of FNet's hybrids.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

from mixers.errors import MixerError

# FNet (Lee-Thorp et al., 2021) keeps attention in two of its layers and calls the four places so.
HYBRID_NAMES = ("hybrid_bottom", "hybrid_middle", "hybrid_mixed", "hybrid_top")
HYBRID_ATTENTION_LAYERS = 2
ALIASES = {"ff_only": "conv1x1"}  # what FNet calls the net without a mixing layer
MATRIX_ENDING = ".npy"


@dataclasses.dataclass(frozen=True)
class MixerSpec:
    """One mixer, or those of a net's blocks; two that are written alike are equal.

    Args:
        text: as written, without space around it.
        name: under which the registry finds it, "dct" or "path/to/file.py:MyMixer"; of several mixers, the text.
        options: names and values, which are Python literals or plain words.
        parts: of several mixers, how many blocks have which, None where no count is written. A hybrid's counts follow
            from the depth.
    """

    text: str
    name: str = dataclasses.field(compare=False)
    options: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), compare=False)
    parts: tuple[tuple[int | None, MixerSpec], ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def mixers(self) -> tuple[MixerSpec, ...]:
        """Itself, or the mixers of the blocks, each once."""
        return tuple(dict.fromkeys(mixer for _, mixer in self.parts)) or (self,)

    @property
    def is_outside(self) -> bool:
        """Whether the name of this one mixer says where it is, and not which of the registered ones."""
        return ":" in self.name or self.name.endswith(MATRIX_ENDING)

    @property
    def recorded(self) -> str:
        """As trials and records keep it: of a file, its name without its folder."""
        text = self.text
        for mixer in self.mixers:
            text = text.replace(mixer.name, without_folder(mixer.name)) if mixer.is_outside else text
        return text

    def of_blocks(self, depth: int) -> list[MixerSpec]:
        """The mixers of a net of `depth` blocks, from the first block on.

        Raises:
            MixerError: the counts do not add up to the depth, or the depth is too small for a hybrid.
        """
        if not self.parts:
            return [self] * depth
        if self.name in HYBRID_NAMES:
            return _hybrid(self, depth)
        blocks = sum(count or 1 for count, _ in self.parts)
        if blocks != depth:
            named = f"{self.text!r} names the mixers of {blocks} blocks"
            raise MixerError(f"{named}, the depth is {depth}; they must be equal")
        return [mixer for count, mixer in self.parts for _ in range(count or 1)]


def parse(mixer: str | MixerSpec) -> MixerSpec:
    """The mixer of a net, or the mixers of its blocks.

    >>> [str(mixer) for mixer in parse("hybrid_top").of_blocks(4)]
    ['fft_real', 'fft_real', 'attention', 'attention']

    Raises:
        MixerError: it does not parse.
    """
    return mixer if isinstance(mixer, MixerSpec) else _parsed(_checked(mixer).strip())


def parse_one(mixer: str | MixerSpec) -> MixerSpec:
    """One mixer; a path may then have a + in it.

    >>> parse_one("attention(heads=4)").options
    (('heads', 4),)

    Raises:
        MixerError: it does not parse.
    """
    return mixer if isinstance(mixer, MixerSpec) else _parsed_one(_checked(mixer).strip())


def without_folder(name: str) -> str:
    """The name of a plug-in as records keep it."""
    if name.endswith(MATRIX_ENDING):
        return Path(name).name
    place, _, attribute = name.rpartition(":")
    return f"{Path(place).stem}:{attribute}" if place.endswith(".py") else name


def _checked(mixer: Any) -> str:
    if not isinstance(mixer, str):
        raise MixerError(f"the mixer is {mixer!r}; write its name, such as 'dct', or where it is, 'file.py:MyMixer'")
    return mixer


@functools.cache
def _parsed(text: str) -> MixerSpec:
    if text in HYBRID_NAMES:
        return MixerSpec(text, text, (), ((None, _parsed_one("fft_real")), (None, _parsed_one("attention"))))
    parts: list[tuple[int | None, str]] = []
    for part in re.split(r"\+(?![^(]*\))", text):
        match = re.fullmatch(r"\s*(?:(\d{1,18})x(?=\S))?(.*?)\s*", part, re.DOTALL)
        assert match is not None
        count = None if match[1] is None else int(match[1])
        if not match[2] or count == 0:
            raise MixerError(f"{text!r} is not a mixer for each block; write counts and names, 6xfft_real+2xattention")
        parts.append((count, match[2]))
    if len(parts) == 1 and parts[0][0] is None:
        return _parsed_one(text)
    return MixerSpec(text, text, (), tuple((count, _parsed_one(mixer)) for count, mixer in parts))


@functools.cache
def _parsed_one(text: str) -> MixerSpec:
    match = re.fullmatch(r"\s*(.+\.py:\w+|.+\.npy|[^()\s]+)\s*(?:\((.*)\))?\s*", text)
    if not match:
        raise MixerError(f"{text!r} is not a mixer; write a name, or a name with options such as attention(heads=4)")
    options: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in (match[2] or "").split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or not value:
            raise MixerError(f"{part!r} in {text!r} is not an option; write name=value, such as attention(heads=4)")
        if key in options:
            raise MixerError(f"option {key!r} stands twice in {text!r}")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return MixerSpec(ALIASES.get(text, text), ALIASES.get(match[1], match[1]), tuple(options.items()))


def _hybrid(spec: MixerSpec, depth: int) -> list[MixerSpec]:
    if depth < 2:
        raise MixerError(f"{spec.name!r} needs blocks of both kinds; the depth is {depth}, allowed: from 2")
    attention = min(HYBRID_ATTENTION_LAYERS, depth // 2)
    layers = range(depth)
    places = {
        "hybrid_bottom": [layer for layer in layers if layer < attention],
        "hybrid_middle": [layer for layer in layers if depth - attention <= 2 * layer < depth + attention],
        "hybrid_mixed": [layer for layer in layers if layer % (depth // attention) == 0][:attention],
        "hybrid_top": [layer for layer in layers if layer >= depth - attention],
    }[spec.name]
    (_, other), (_, own) = spec.parts
    return [own if layer in places else other for layer in layers]
