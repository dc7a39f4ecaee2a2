"""Where modules of version 0.1 are now, so that nets that were pickled whole with it still load.

What was saved as weights alone names no module. New code imports from `mixers`, or from where
a module is now.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "mixers.attention": "mixers.families.attention",
    "mixers.backbone": "mixers.nets.backbone",
    "mixers.dense": "mixers.families.dense",
    "mixers.encoder": "mixers.nets.encoder",
    "mixers.filters": "mixers.families.filters",
    "mixers.fused": "mixers.transforms.fused",
    "mixers.local": "mixers.families.local",
    "mixers.methods": "mixers.transforms.methods",
    "mixers.mlp": "mixers.families.mlp",
    "mixers.planes": "mixers.transforms.planes",
    "mixers.positions": "mixers.nets.positions",
    "mixers.separable": "mixers.families.separable",
    "mixers.spectracles": "mixers.nets.spectracles",
    "mixers.spectral": "mixers.families.spectral",
    "mixers.stems": "mixers.nets.stems",
    "mixers.timm_models": "mixers.timm.models",
    "mixers.token_norm": "mixers.nets.norms",
}
APART = {  # by module of 0.1: classes that are in other modules now than the one above
    "mixers.backbone": {
        **dict.fromkeys(("Block", "Coordinates", "ScaledConv1x1"), "mixers.nets.block"),
        **dict.fromkeys(("ImageNorm", "TokenNorm"), "mixers.nets.norms"),
    },
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its old name: the very module that has the new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(MOVED[spec.name])
        for name, place in APART.get(spec.name, {}).items():
            setattr(module, name, getattr(importlib.import_module(place), name))
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own  # which the import under the old name has replaced


def find_moved() -> None:
    """Makes the old names importable."""
    sys.meta_path.insert(0, _Finder())
