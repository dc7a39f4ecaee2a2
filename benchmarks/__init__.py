"""The suite: trials are measured into records, and records are made into tables, plots and a report.

>>> from benchmarks import load_results
>>> frame = load_results("results")  # one row a record of the main setting
"""

from typing import Any

__all__ = ["load_results"]


def __getattr__(name: str) -> Any:
    # pandas takes most of a second to import, and the command line should not wait for it
    if name == "load_results":
        from benchmarks.report.load import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
