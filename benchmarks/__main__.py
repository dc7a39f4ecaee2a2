"""`python -m benchmarks VERB`."""

import os
import sys
import warnings

from benchmarks import interrupt
from benchmarks.contract import called

# glibc gives large blocks back to the system at once and takes new ones, whose pages must then be touched again: from
# 64 px on this doubles the time of memory-bound work on a CPU. It reads these settings when a process starts.
# An OpenMP thread that waits by spinning stalls its team where other work runs on the machine, by a factor of eight
# when seen; one that sleeps does not.
SETTINGS = {
    "OMP_WAIT_POLICY": "passive",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
}


def run() -> int:
    """One command line in a process of its own, under SETTINGS; returns the exit code."""
    interrupt.watch()
    called.remember(sys.argv[0])
    if sys.platform == "linux" and not any(name in os.environ for name in SETTINGS):
        os.environ.update(SETTINGS)
        interrupt.hold()
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])

    from benchmarks.cli.main import main

    # a warning, such as of a plug-in that does not load, is one line too
    warnings.formatwarning = lambda message, *_, **__: f"token-mixers: {' '.join(str(message).split())}\n"
    code = main()
    interrupt.ignore()
    return code


if __name__ == "__main__":
    sys.exit(run())
