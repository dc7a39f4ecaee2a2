"""What is known of a mixer without loading one: a report runs nobody's code, and does without torch."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from pathlib import Path

from benchmarks.contract.trial import base_name

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "mixers" / "families"
DECORATOR = "register_mixer"
ALIASES = {"ff_only": "conv1x1"}  # what FNet calls the net without mixing
HYBRID = "hybrid"
PLUGIN = "plug-in"


@dataclasses.dataclass(frozen=True)
class Registered:
    """A mixer of this library, as its class is registered.

    Attributes:
        paper: its title.
        url: the paper's address; empty where there is none.
        file: from the root of the repository.
        line: of its class.
        family_in_a_row: of sequences, where it is another.
    """

    family: str
    paper: str
    url: str
    year: int | None
    file: str
    line: int
    family_in_a_row: str | None = None


@functools.cache
def registered_mixers() -> dict[str, Registered]:
    """Every mixer of this library by name; read, not imported."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == DECORATOR:
                    name = ast.literal_eval(call.args[0])
                    facts = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
                    address = re.search(r" \((https?://[^)]+)\)", facts["paper"])
                    url = address[1] if address else ""
                    title = facts["paper"].replace(f" ({url})", "")
                    place = path.relative_to(ROOT).as_posix()
                    found[name] = Registered(
                        facts["family"], title, url, facts["year"], place, node.lineno, facts.get("family_in_a_row")
                    )
    return found


def registered(mixer: str) -> Registered | None:
    """What is known of a mixer as written in a trial; None of a hybrid, and of what is not of this library."""
    name = base_name(mixer)
    return registered_mixers().get(ALIASES.get(name, name))


def encoder_name(label: str) -> str:
    """What a mixer is called where encoders of text are shown."""
    return next((alias for alias, name in ALIASES.items() if name == label), label)


@functools.cache
def mixer_family(mixer: str, in_a_row: bool = False) -> str:
    """The family of a mixer as written in a trial; what is not of this library is a plug-in.

    Args:
        mixer: as written.
        in_a_row: whether the grid has one row, on which some are of another family.
    """
    name = base_name(mixer)
    if ":" not in name and ("+" in name or re.match(r"\d+x|hybrid_", name)):
        return HYBRID
    known = registered(mixer)
    if known is None:
        return PLUGIN
    return known.family_in_a_row or known.family if in_a_row else known.family
