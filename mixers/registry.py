"""Names of token mixers: register, list by wildcard, create; and the door for mixers that live elsewhere.

A mixer is written as

    dct                               a registered name
    attention(heads=4,backend=plain)  with options
    pkg.module:MyMixer                a class in an importable module
    path/to/file.py:MyMixer           a class in a file
    path/to/file.npy                  a fixed matrix over the tokens, as NumPy saved it

and a net can take one for each block, see `mixers.blocks`.

Packages can also register theirs by an entry point in the group `token_mixers`, whose value is a module that calls
`register_mixer` or a Mixer class.
"""

from __future__ import annotations

import ast
import copyreg
import dataclasses
import fnmatch
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from mixers.arguments import nearest, no_others, two_sides, whole_number
from mixers.base import Mixer, MixerError
from mixers.blocks import HYBRID_NAMES, check_text, is_per_block, mixers_in

ENTRY_POINT_GROUP = "token_mixers"
ALIASES = {"ff_only": "conv1x1"}  # what FNet calls the net without a mixing layer
MATRIX_ENDING = ".npy"
MixerClass = TypeVar("MixerClass", bound=type[Mixer])


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the registry knows of one mixer."""

    name: str
    cls: type[Mixer]
    family: str
    complexity: str  # of the algorithm in N = H W tokens and C = dim channels, as text
    paper: str
    year: int | None
    source: str | None = None  # SHA-256 of the source file, for mixers from outside the registry
    origin: str | None = None  # as it was written, path and all, for mixers from outside the registry


_REGISTRY: dict[str, Entry] = {}
_PLUGINS: dict[str, Entry] = {}  # by their name without a path, under which records keep them


def register_mixer(
    name: str, *, family: str, paper: str, year: int | None, complexity: str = ""
) -> Callable[[MixerClass], MixerClass]:
    """Class decorator that gives a Mixer a public name.

    Raises:
        MixerError: the name is taken or malformed, or the class is no Mixer.
    """

    def decorate(cls: MixerClass) -> MixerClass:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise MixerError(f"{name!r} is not a mixer name; allowed: lower-case letters, digits and underscores")
        if not (isinstance(cls, type) and issubclass(cls, Mixer)):
            raise MixerError(f"mixer {name!r}: {cls!r} is not a subclass of mixers.Mixer")
        taken = _REGISTRY.get(name)
        if taken is not None and _place(taken.cls) != _place(cls):
            raise MixerError(f"mixer name {name!r} is taken by {_place(taken.cls)}; {_place(cls)} needs another")
        _REGISTRY[name] = Entry(name, cls, family, complexity, paper, year)
        return cls

    return decorate


def list_mixers(pattern: str | Iterable[str] = "*") -> list[str]:
    """Registered names that match one or several wildcards, in natural order.

    >>> list_mixers("fft_c*")
    ['fft_complex']
    """
    _load_entry_points()
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    names = {name for name in _REGISTRY for wanted in patterns if fnmatch.fnmatchcase(name, wanted)}
    return sorted(names, key=lambda name: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", name)])


def mixer_entry(spec: str) -> Entry:
    """The entry behind a mixer as written, its options left aside.

    Raises:
        MixerError: no such mixer, or its module cannot be loaded.
    """
    name, _ = parse_mixer(spec)
    if name in _PLUGINS:
        return _PLUGINS[name]
    if is_outside(name):
        return _load_plugin(name)
    _load_entry_points()
    if name not in _REGISTRY:
        if name.endswith(".py"):
            raise MixerError(f"{spec!r} names a file; write {name}:MyMixer for the class MyMixer in it")
        if is_per_block(spec):
            raise MixerError(f"{spec!r} names mixers for the blocks of a net; it is not one mixer")
        known = [*list_mixers(), *HYBRID_NAMES]
        raise MixerError(f"unknown mixer {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    return _REGISTRY[name]


def is_outside(name: str) -> bool:
    """Whether a name, without options, says where a mixer is and not which of the registered ones."""
    return ":" in name or name.endswith(MATRIX_ENDING)


def create_mixer(spec: str, dim: int, size: int | tuple[int, int], **options: Any) -> Mixer:
    """Builds a mixer for `dim` channels on a grid of `size` = (H, W) tokens, or of as many rows as columns.

    >>> create_mixer("fft_complex", dim=64, size=(32, 32)).out_channels
    128

    Raises:
        MixerError: unknown mixer or option; the message names the nearest. Or dim or size are no whole numbers.
        UnsupportedSize: the mixer does not exist at this size.
    """
    entry = mixer_entry(spec)
    options = parse_mixer(spec)[1] | options
    no_others(f"mixer {entry.name!r}", options, mixer_options(entry.cls))
    dim, size = whole_number("dim", dim), two_sides("size", size)
    constructor = inspect.signature(entry.cls)
    try:
        constructor.bind(dim, size, **options)
    except TypeError as error:
        written = f"{entry.cls.__name__}{constructor}"
        raise MixerError(
            f"mixer {entry.name!r}: {error}; it is called as {entry.cls.__name__}(dim, size, OPTIONS), its constructor "
            f"is {written}, and options are written in parentheses, such as attention(heads=4)"
        ) from error
    return entry.cls(dim, size, **options)


def mixer_options(cls: type[Mixer]) -> list[str]:
    """Names of the options that a mixer's constructor takes besides dim and size."""
    parameters = list(inspect.signature(cls).parameters.values())
    return [p.name for p in parameters if p.name not in ("dim", "size") and p.kind is not p.VAR_KEYWORD]


def parse_mixer(spec: str) -> tuple[str, dict[str, Any]]:
    """Splits "attention(heads=4)" into the name and its options; values are Python literals or plain words.

    Raises:
        MixerError: it does not parse.
    """
    check_text(spec)
    match = re.fullmatch(r"\s*(.+\.py:\w+|.+\.npy|[^()\s]+)\s*(?:\((.*)\))?\s*", spec)
    if not match:
        raise MixerError(f"{spec!r} is not a mixer; write a name, or a name with options such as attention(heads=4)")
    options: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in (match[2] or "").split(","))):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or not text:
            raise MixerError(f"{part!r} in {spec!r} is not an option; write name=value, such as attention(heads=4)")
        if key in options:
            raise MixerError(f"option {key!r} stands twice in {spec!r}")
        try:
            options[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[key] = text
    return ALIASES.get(match[1], match[1]), options


def split_mixers(text: str) -> list[str]:
    """Splits a list of mixers, or of mixers per block, at the commas outside parentheses and expands wildcards.

    >>> split_mixers("dct,attention(heads=4,backend=plain)")
    ['dct', 'attention(heads=4,backend=plain)']

    Raises:
        MixerError: an unknown mixer, or a wildcard that matches none.
    """
    names: list[str] = []
    for part in filter(None, (p.strip() for p in re.split(r",(?![^(]*\))", text))):
        if any(c in part for c in "*?[") and ":" not in part:
            found = list_mixers(part) or [name for name in HYBRID_NAMES if fnmatch.fnmatchcase(name, part)]
            if not found:
                raise MixerError(f"no mixer matches {part!r}; known: {', '.join(list_mixers())}")
            names.extend(found)
        else:
            for mixer in mixers_in(part):
                mixer_entry(mixer)
            names.append(ALIASES.get(part, part))  # records know one name of each
    if not names:
        raise MixerError(f"no mixer given; known: {', '.join(list_mixers())}")
    return list(dict.fromkeys(names))


def _place(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


@functools.cache
def _load_entry_points() -> None:
    """Loads what other packages registered; a broken one is reported by name and breaks nothing else."""
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            loaded = point.load()
            if isinstance(loaded, type):
                if not any(entry.cls is loaded for entry in _REGISTRY.values()):
                    register_mixer(point.name, family="plug-in", paper="", year=None)(loaded)
            elif not inspect.ismodule(loaded):
                raise MixerError(f"{point.value} is neither a module nor a Mixer class")
        except (Exception, SystemExit) as error:
            warnings.warn(f"token mixer plug-in {point.name!r} ({point.value}) is left out: {error!r}", stacklevel=2)


@functools.cache
def _load_plugin(name: str) -> Entry:
    """The entry of `pkg.module:MyMixer`, `path/to/file.py:MyMixer` or `file.npy`; the path itself is not kept."""
    if name.endswith(MATRIX_ENDING):
        return _kept(_matrix_entry(name))
    place, _, attribute = name.rpartition(":")
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise MixerError(f"there is no file {place!r}")
            module_name = path.stem
            module = module_of_file(path)
        else:
            module_name = place
            module = importlib.import_module(place)
            path = Path(inspect.getfile(module))
        cls = getattr(module, attribute, None)
        if not (isinstance(cls, type) and issubclass(cls, Mixer) and cls is not Mixer):
            classes = [
                k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Mixer) and v is not Mixer
            ]
            wrong_kind = "" if cls is None else ", what it has of that name is no subclass of mixers.Mixer"
            have = f"{', '.join(classes) or 'none'}.{nearest(attribute, classes)}"
            raise MixerError(f"it has no Mixer {attribute!r}{wrong_kind}; it has: {have}")
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())  # an error is one line
        if not isinstance(error, MixerError):
            reason = f"{type(error).__name__}: {reason}{line_in(place, error)}"
        raise MixerError(f"mixer {name!r} cannot be loaded: {reason}") from error
    if place.endswith(".py"):
        where = f"{path.resolve()}:{attribute}"
        copyreg.pickle(cls, lambda mixer: (_blank, (where,), mixer.__reduce_ex__(2)[2]))
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = Entry(
        f"{module_name}:{attribute}", cls, "plug-in", "", (inspect.getdoc(cls) or "").split("\n")[0], None, source, name
    )
    return _kept(entry)


def _matrix_entry(name: str) -> Entry:
    from mixers.families.matrix import file_mixer  # which stands on this module

    path = Path(name)
    cls = file_mixer(path, _blank)
    return Entry(path.name, cls, "plug-in", "C N^2", f"the matrix in {path.name}", None, cls.digest, name)


def _kept(entry: Entry) -> Entry:
    """The entry under the name that records know.

    Raises:
        MixerError: another file has that name.
    """
    other = _PLUGINS.setdefault(entry.name, entry)
    if other.source != entry.source:
        both = f"{other.origin!r} and {entry.origin!r}"
        raise MixerError(f"{both} would both be recorded as {entry.name!r}; rename one file")
    return entry


def line_in(place: str, error: BaseException) -> str:
    """The last line of a plug-in's file that an error came through, in parentheses; empty if it never ran."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _is_file(place, frame.filename)]
    return f" ({Path(place).name}:{lines[-1]})" if lines else ""


def _is_file(place: str, filename: str) -> bool:
    return place.endswith(".py") and Path(filename) == Path(place).resolve()


def module_of_file(path: Path) -> ModuleType:
    """The module of a file, the same one for every mixer in it, and another once the file has changed."""
    path = path.resolve()
    name = f"token_mixers_plugin_{path.stem}_{hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _blank(place: str) -> Mixer:
    """What a saved mixer of a file is filled into, in a process too that has not loaded the file yet."""
    cls = _load_plugin(place).cls
    return cls.__new__(cls)
