"""Makes the backbone known to timm without importing timm, which takes seconds that most callers do not need."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys


def register_with_timm() -> None:
    """Registers now if timm is loaded, else as soon as it is."""
    if "timm.models" in sys.modules:
        importlib.import_module("mixers.timm.models")
    elif not any(isinstance(finder, _WaitForTimm) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WaitForTimm())


class _WaitForTimm(importlib.abc.MetaPathFinder):
    """Sees the import of `timm.models` once, lets it happen, and registers after it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "timm.models":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module) -> None:
            load(module)
            importlib.import_module("mixers.timm.models")

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
