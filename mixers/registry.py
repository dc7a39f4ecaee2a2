"""Names of token mixers: register, list by wildcard, create; and the door for mixers that live elsewhere.

How a mixer is written, `mixers.spec` says. Packages can also register theirs by an entry point in the group
`token_mixers`, whose value is a module that calls `register_mixer` or a Mixer class.
"""

from __future__ import annotations

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
from mixers.spec import HYBRID_NAMES, MixerSpec, parse, parse_one, without_folder

ENTRY_POINT_GROUP = "token_mixers"
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
    family_in_a_row: str | None = None  # on a grid of one row, where it is another


_REGISTRY: dict[str, Entry] = {}
_PLUGINS: dict[str, Entry] = {}  # by their name without a path, under which records keep them
_OPENERS: dict[str, Callable[[str], Entry]] = {}  # by the ending of the files that they make a mixer of


def register_mixer(
    name: str, *, family: str, paper: str, year: int | None, complexity: str = "", family_in_a_row: str | None = None
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
        _REGISTRY[name] = Entry(name, cls, family, complexity, paper, year, family_in_a_row=family_in_a_row)
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


def mixer_entry(spec: str | MixerSpec) -> Entry:
    """The entry behind a mixer as asked for, its options left aside.

    Raises:
        MixerError: no such mixer, or its module cannot be loaded.
    """
    spec = parse_one(spec)
    name = spec.name
    if name in _PLUGINS:
        return _PLUGINS[name]
    if spec.is_outside and not spec.parts:
        return _load_plugin(name)
    _load_entry_points()
    if name not in _REGISTRY:
        if name.endswith(".py"):
            raise MixerError(f"{spec.text!r} names a file; write {name}:MyMixer for the class MyMixer in it")
        if parse(spec.text).parts:
            raise MixerError(f"{spec.text!r} names mixers for the blocks of a net; it is not one mixer")
        known = [*list_mixers(), *HYBRID_NAMES]
        raise MixerError(f"unknown mixer {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    return _REGISTRY[name]


def opens(ending: str) -> Callable[[Callable[[str], Entry]], Callable[[str], Entry]]:
    """Decorates what makes the entry of a mixer of a file, whose name ends so."""

    def decorate(opener: Callable[[str], Entry]) -> Callable[[str], Entry]:
        _OPENERS[ending] = opener
        return opener

    return decorate


def places_of(mixer: str | MixerSpec) -> list[str]:
    """Where the plug-ins of a net are, as they were written; who calls `mixer_entry` on them knows their names."""
    return [entry.origin for entry in map(mixer_entry, parse(mixer).mixers) if entry.origin]


def create_mixer(spec: str | MixerSpec, dim: int, size: int | tuple[int, int], **options: Any) -> Mixer:
    """Builds a mixer for `dim` channels on a grid of `size` = (H, W) tokens, or of as many rows as columns.

    >>> create_mixer("fft_complex", dim=64, size=(32, 32)).out_channels
    128

    Raises:
        MixerError: unknown mixer or option; the message names the nearest. Or dim or size are no whole numbers.
        UnsupportedSize: the mixer does not exist at this size.
    """
    spec = parse_one(spec)
    entry = mixer_entry(spec)
    options = dict(spec.options) | options
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


def split_mixers(text: str) -> list[MixerSpec]:
    """Splits a list of mixers, or of mixers per block, at the commas outside parentheses and expands wildcards.

    >>> [str(mixer) for mixer in split_mixers("hadam*,attention(heads=4,backend=plain)")]
    ['hadamard', 'attention(heads=4,backend=plain)']

    Raises:
        MixerError: an unknown mixer, or a wildcard that matches none.
    """
    found: list[MixerSpec] = []
    for part in filter(None, (p.strip() for p in re.split(r",(?![^(]*\))", text))):
        if any(c in part for c in "*?[") and ":" not in part:
            names = list_mixers(part) or [name for name in HYBRID_NAMES if fnmatch.fnmatchcase(name, part)]
            if not names:
                raise MixerError(f"no mixer matches {part!r}; known: {', '.join(list_mixers())}")
            found.extend(map(parse, names))
        else:
            found.append(parse(part))
            for mixer in found[-1].mixers:
                mixer_entry(mixer)
    if not found:
        raise MixerError(f"no mixer given; known: {', '.join(list_mixers())}")
    return list(dict.fromkeys(found))


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
    """The entry of what is outside the registry, `file.py:MyMixer` or a file that a family opens."""
    for ending, opener in _OPENERS.items():
        if name.endswith(ending):
            entry = opener(name)
            _pickled_by_place(entry.cls, str(Path(name).resolve()))
            return _kept(entry)
    place, _, attribute = name.rpartition(":")
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise MixerError(f"there is no file {place!r}")
            module = module_of_file(path)
        else:
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
        _pickled_by_place(cls, f"{path.resolve()}:{attribute}")
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    paper = (inspect.getdoc(cls) or "").split("\n")[0]
    return _kept(Entry(without_folder(name), cls, "plug-in", "", paper, None, source=source, origin=name))


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


def _pickled_by_place(cls: type[Mixer], place: str) -> None:
    copyreg.pickle(cls, lambda mixer: (_blank, (place,), mixer.__reduce_ex__(2)[2]))


def _blank(place: str) -> Mixer:
    """What a saved mixer of a file is filled into, in a process too that has not loaded the file yet."""
    cls = _load_plugin(place).cls
    return cls.__new__(cls)
