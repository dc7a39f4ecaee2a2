"""A hash of the code behind a record: of its mixer, of the net around it, and of what measured it.

A record keeps the three, so that the suite can say which results are of other code. They only warn: whether two records
may meet is decided by the versions in their trials, which whoever changes a result raises. Comments, docstrings and
blank lines are no part of a hash, nor is any definition that the measurement does not reach by name.

A change that was proven to leave every bit as it was is entered in equal_sources.json as [old hash, new hash].
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import io
import json
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.contract import called
from benchmarks.contract.facts.datasets import info_of, task_name
from benchmarks.contract.record import code_version
from benchmarks.contract.trial import Trial

ROOT = Path(__file__).resolve().parent.parent
EQUAL_FILE = Path(__file__).with_name("equal_sources.json")
NETS = {"text": ("mixers.nets.encoder", "TextEncoder")}  # by task; others have a MixerNet
MIXER_NET = ("mixers.nets.backbone", "MixerNet")
MEASURES = {  # by kind of trial: where measuring begins
    "accuracy": ("benchmarks.training.train", "train"),
    "tuning": ("benchmarks.training.train", "train"),
    "cost": ("benchmarks.timing.cost", "measure_cost"),
    "latency": ("benchmarks.timing.latency", "measure_latency"),
}
TIMED = ("benchmarks.timing.latency_items", "*")  # which a latency trial's process loads as a script
OF_TASK = {"cost": ("net", "example", "loss"), "latency": ("net", "example")}  # of others all of it; by kind
# what carries names, files and errors, and computes no result
LEFT_OUT = {"mixers.registry", "mixers.spec", "mixers.timm.models", "mixers.timm.register"}
LEFT_OUT |= {
    f"benchmarks.contract.{name}" for name in ("called", "facts.devices", "errors", "record", "schema", "trial")
}
LEFT_OUT |= {"benchmarks.sources", "benchmarks.contract.processor", "benchmarks.training.weights"}

MOST_NAMED = 5  # mixers, in one line
Place = tuple[str, str]  # a module and a name in it; "*": all of it


def code_of(trial: Trial) -> dict[str, Any]:
    """The commit, and hashes of the code that this trial rests on."""
    return code_version() | {"sources": sources_of(trial)}


def sources_of(trial: Trial) -> dict[str, str]:
    """Hashes of 16 hexadecimal digits of the code as it is now: `mixer`, `net` and `task`.

    A plug-in's mixer is the hash of its file, which its trial has too.
    """
    from mixers.registry import mixer_entry
    from mixers.spec import parse

    classes = [mixer_entry(mixer).cls for mixer in parse(trial.mixer).mixers]
    places = tuple((cls.__module__, cls.__qualname__) for cls in classes if cls.__module__.startswith("mixers."))
    return {
        "mixer": _hash_of(places, "mixers", trial.mixer_source or ""),
        "net": _hash_of((NETS.get(task_name(trial.dataset), MIXER_NET),), "mixers"),
        "task": _hash_of(_task_places(trial), "benchmarks"),
    }


def _task_places(trial: Trial) -> tuple[Place, ...]:
    """Where the code begins that measures a trial, and where that of its task does."""
    from benchmarks.tasks.task import registered

    task: Any = registered(task_name(trial.dataset))
    if not isinstance(task, type):  # one that chooses among several
        task = type(task(info_of(trial.dataset)))
    names = [f"{task.__qualname__}.{name}" for name in OF_TASK.get(trial.kind, ())] or [task.__qualname__]
    timed = [TIMED] if trial.kind == "latency" else []
    return MEASURES[trial.kind], *timed, *((task.__module__, name) for name in names)


def changed_parts(then: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """The parts whose code is another now; a record that does not know its sources has none."""
    return [part for part in now if then.get(part) and _same_as(then[part]) != _same_as(now[part])]


def parts_of_other_code(record: Any) -> list[str]:
    """The parts of a record's code that are other today; none where it does not say, or its mixer is not here."""
    then = record.code.get("sources") or {}
    try:
        return changed_parts(then, sources_of(record.trial)) if then else []
    except Exception:  # whatever a plug-in that has moved or broken raises; running it says what is wrong
        return []


def other_code_line(records: Iterable[Any]) -> str | None:
    """How many of these records are of other code than today's, of which mixers, and what measures them again."""
    records = list(records)
    changed = {i: parts for i, record in enumerate(records) if (parts := parts_of_other_code(record))}
    if not changed:
        return None
    words = []
    for part in ("mixer", "net", "task"):
        counts = Counter(records[i].trial.mixer for i, parts in changed.items() if part in parts)
        names = [f"{mixer} ({count})" if count > 1 else mixer for mixer, count in counts.most_common(MOST_NAMED)]
        more = f" and {len(counts) - MOST_NAMED} more mixers" if len(counts) > MOST_NAMED else ""
        if counts:
            words.append(f"{part} of {', '.join(names)}{more}")
    return (
        f"{len(changed)} of the {len(records)} records found are of other code than today's ({'; '.join(words)}); they "
        f"count, since versions decide; {called.option('retry', 'changed')} measures them again"
    )


@functools.cache
def _equal() -> dict[str, str]:
    """One hash for all that are entered as equal, by each of them."""
    after: dict[str, str] = {}

    def last(digest: str) -> str:
        while digest in after:
            digest = after[digest]
        return digest

    for pair in json.loads(EQUAL_FILE.read_text(encoding="utf-8")):
        one, other = map(last, pair)
        if one != other:
            after[one] = other
    return {digest: last(digest) for digest in after}


def _same_as(digest: str) -> str:
    return _equal().get(digest, digest)


@functools.cache
def _hash_of(places: tuple[Place, ...], package: str, more: str = "") -> str:
    """The hash of all definitions in one package that `places` reach."""
    seen: set[Place] = set()
    texts: set[str] = set()
    todo = list(places)
    while todo:
        module, name = todo.pop()
        if (module, name) in seen or module in LEFT_OUT or module.partition(".")[0] != package:
            continue
        seen.add((module, name))
        code = _code(module)
        if code is None:
            continue
        whole = name == "*" or code.registers
        for own in [every for every in code.definitions if "." not in every] if whole else [name]:
            if own in code.definitions:
                text, names = code.definitions[own]
                texts.add(text)
                todo += [code.imports.get(other, (module, other)) for other in names]
        if whole:
            texts.add(code.rest)
        elif name in code.imports:
            todo.append(code.imports[name])
    return hashlib.sha256("\n".join([*sorted(texts), more]).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class _Code:
    """One module."""

    definitions: dict[str, tuple[str, frozenset[str]]]  # name, or Class.method -> its text, and the names in it
    imports: dict[str, Place]
    rest: str  # what runs when it is imported, imports aside
    registers: bool  # it does something then, so that its parts may be reached in ways that no name shows


@functools.cache
def _code(module: str) -> _Code | None:
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.is_file():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = _without_comments(text, tree)
    definitions: dict[str, tuple[str, frozenset[str]]] = {}
    imports: dict[str, Place] = {}
    rest, registers = [], False
    for node in ast.walk(tree):
        imports |= dict(_imported(node))
    for node in tree.body:
        own, names = _text_and_names(node, lines)
        defined = _defined(node)
        for name in defined:
            before = definitions.get(name, ("", frozenset()))
            definitions[name] = before[0] + own, before[1] | names
        if isinstance(node, ast.ClassDef):
            definitions |= {f"{node.name}.{m.name}": _text_and_names(m, lines) for m in _methods(node)}
        if not defined and not isinstance(node, ast.Import | ast.ImportFrom) and own:
            rest.append(own)
            registers = True
    return _Code(definitions, imports, "\n".join(rest), registers)


def _text_and_names(node: ast.stmt, lines: list[str]) -> tuple[str, frozenset[str]]:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    own = "\n".join(line for line in lines[first - 1 : node.end_lineno] if line)
    return own, frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef)]


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [n.id for target in targets if target is not None for n in ast.walk(target) if isinstance(n, ast.Name)]


def _imported(node: ast.AST) -> Iterator[tuple[str, Place]]:
    """The names that an import statement brings, and where they are from."""
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            is_module = (ROOT / (inner.replace(".", "/") + ".py")).is_file()
            yield alias.asname or alias.name, (inner, "*") if is_module else (node.module, alias.name)


def _without_comments(text: str, tree: ast.Module) -> list[str]:
    """The lines without comments, docstrings and white space at their ends."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines[first.lineno - 1 : first.end_lineno] = [""] * ((first.end_lineno or 0) - first.lineno + 1)
    return [line.rstrip() for line in lines]
