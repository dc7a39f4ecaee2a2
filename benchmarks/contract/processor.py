"""Which processor a measurement ran on: its name alone does not tell two generations apart."""

from __future__ import annotations

import contextlib
import functools
import platform
from pathlib import Path
from typing import Any

# those that change the speed or the rounding of float arithmetic, from the narrowest on
INSTRUCTION_SETS = (
    *("sse4_1", "avx", "fma", "avx2", "avx512f", "avx512bw", "avx512vl", "avx_vnni", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_bf16", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme"),
)
WIDEST = {  # as people call them
    "avx": "AVX", "avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX",
    "asimd": "NEON", "sve": "SVE", "sve2": "SVE2",
}  # fmt: skip
# as /proc/cpuinfo calls them on x86 and on ARM
NUMBERS = {
    "family": ("cpu family", "CPU implementer"),
    "model": ("model", "CPU part"),
    "stepping": ("stepping", "CPU revision"),
}
FLAGS = ("flags", "Features")


@functools.cache
def cpu_name() -> str:
    """The processor's name, as the system calls it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


@functools.cache
def processor() -> dict[str, Any] | None:
    """Family, model, stepping, and the instruction sets out of INSTRUCTION_SETS; None where the system tells none."""
    return read_processor(_cpuinfo())


def read_processor(cpuinfo: dict[str, str]) -> dict[str, Any] | None:
    """The same from the first block of /proc/cpuinfo."""
    found: dict[str, Any] = {}
    for name, keys in NUMBERS.items():
        texts = [cpuinfo[key] for key in keys if key in cpuinfo]
        found[name] = None
        with contextlib.suppress(ValueError, IndexError):
            found[name] = int(texts[0], 0)
    flags = {flag for key in FLAGS for flag in cpuinfo.get(key, "").split()}
    found["instruction_sets"] = [name for name in INSTRUCTION_SETS if name in flags]
    return found if found["instruction_sets"] or found["model"] is not None else None


def kind_of(found: dict[str, Any] | None) -> str | None:
    """A processor's kind in words, such as "family 25 model 17 stepping 1, AVX-512"; None where it was not recorded.

    Times of two kinds have no ratio.
    """
    if not found:
        return None
    numbers = [f"{name} {found[name]}" for name in NUMBERS if found.get(name) is not None]
    widest = [WIDEST[name] for name in found["instruction_sets"] if name in WIDEST]
    return ", ".join(filter(None, (" ".join(numbers), widest[-1] if widest else "")))


def _cpuinfo() -> dict[str, str]:
    """The first processor in /proc/cpuinfo; empty where there is no such file."""
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").strip().split("\n\n")[0]
        pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
        return {key.strip(): value.strip() for key, value in pairs}
    return {}
