"""Two results folders, before and after a change of code, of recipe or of machine: what differs, and how surely."""

from benchmarks.report.compare.folders import compare
from benchmarks.report.compare.text import lines_of, write_comparison

__all__ = ["compare", "lines_of", "write_comparison"]
