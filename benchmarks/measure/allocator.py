"""glibc's allocator, told to keep the memory that tensors were in.

It gives large blocks back to the system and gets them again page by page, each page cleared: that
doubles the time of a transform of a large image. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import os
import platform

LARGEST = 2**30  # bytes; blocks beyond go back to the system all the same
SETTINGS = {  # of mallopt: its number, the environment variable that says the same, the value
    "M_TRIM_THRESHOLD": (-1, "MALLOC_TRIM_THRESHOLD_", LARGEST),
    "M_TOP_PAD": (-2, "MALLOC_TOP_PAD_", 2**26),
    "M_MMAP_THRESHOLD": (-3, "MALLOC_MMAP_THRESHOLD_", LARGEST),
}


def keep_memory() -> bool:
    """Makes this process keep freed memory for its next tensors, unless its environment says otherwise.

    Says so in the environment, whose MALLOC_ variables are part of every record, and which child processes inherit.

    Returns:
        Whether the allocator was told.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    if any(variable in os.environ for _, variable, _ in SETTINGS.values()):
        return False  # the user's own settings hold
    library = ctypes.CDLL(None)
    done = [library.mallopt(number, value) == 1 for number, _, value in SETTINGS.values()]
    os.environ.update({variable: str(value) for _, variable, value in SETTINGS.values()})
    return all(done)
