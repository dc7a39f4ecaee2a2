"""Which family a mixer belongs to, known without loading one: a report runs nobody's code, and does without torch."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from benchmarks.contract.trial import base_name

FOLDER = Path(__file__).parents[2] / "mixers" / "families"
REGISTERED = re.compile(r'@register_mixer\(\s*"(\w+)",\s*family="([\w-]+)"')
ALIASES = {"ff_only": "conv1x1"}
HYBRID = "hybrid"
PLUGIN = "plug-in"


@functools.cache
def registered_families() -> dict[str, str]:
    """The family of every mixer of this library, as its class is registered; read, not imported."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))]
    return {name: family for text in texts for name, family in REGISTERED.findall(text)}


@functools.cache
def mixer_family(mixer: str) -> str:
    """The family of a mixer as written in a trial; what is not of this library is a plug-in."""
    name = base_name(mixer)
    if ":" not in name and ("+" in name or re.match(r"\d+x|hybrid_", name)):
        return HYBRID
    return registered_families().get(ALIASES.get(name, name), PLUGIN)
