"""The suite: trials are measured into records, and records are made into tables, plots and a report.

>>> from benchmarks import compare, load_net, load_results
>>> frame = load_results("results")  # one row a record of the main setting
>>> table = compare("results-before", "results-after")  # one row a quantity of a setting
>>> net = load_net("results", "dct")  # trained, with its classes and normalisation
"""

import importlib
from typing import Any

__all__ = ["compare", "load_net", "load_results"]

PLACES = {
    "compare": "benchmarks.report.compare",
    "load_net": "benchmarks.finished.nets",
    "load_results": "benchmarks.report.load",
}


def __getattr__(name: str) -> Any:
    # pandas takes most of a second to import, torch several, and the command line should not wait for them
    if name in PLACES:
        return getattr(importlib.import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
