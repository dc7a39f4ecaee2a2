"""The allocator keeps what it is told to keep: fewer page faults for the same work, in a process of its own."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, resource, sys
import torch
from benchmarks.measure.allocator import keep_memory
told = keep_memory() if sys.argv[1] == "keep" else None
for _ in range(3):
    torch.empty(2**24).fill_(1.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.empty(2**24).fill_(1.0)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps([told, faults, sorted(k for k in os.environ if k.startswith("MALLOC_"))]))
"""


def _run(how: str, **environment: str) -> list:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_is_kept_and_the_environment_says_so() -> None:
    import benchmarks

    path = {"PYTHONPATH": str(benchmarks.__path__[0]).rsplit("/", 1)[0], "PATH": "/usr/bin:/bin"}
    told, faults, variables = _run("keep", **path)
    assert told is True
    assert variables == ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"]
    _, faults_without, _ = _run("leave", **path)
    assert faults * 2 < faults_without
    # what the user set, stays
    assert _run("keep", **path, MALLOC_TOP_PAD_="4096")[0] is False
