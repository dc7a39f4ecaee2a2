"""The devices that a trial can run on, one row each: all that the suite must know of one before it is asked.

Names are PyTorch's. Whoever adds a row says so in the schema too: `python -m benchmarks.contract.make_schema`.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """The facts of one device; what is left out is what any GPU can do.

    Attributes:
        words: what it is called.
        is_gpu: whether it is an accelerator, which works while the processor goes on.
        tested: whether the suite has been run on it; one that has not is only taken when it is asked for.
        captures: whether what runs on it can be captured in CUDA graphs: training steps, which are compiled too where
            that pays, evaluations, and the calls of its clock. Elsewhere a step is eager, and the clock is the wall's.
        own_memory: whether its memory is not the computer's: its allocator tells of peaks and of what is free.
        precisions: that are measured; nets are trained in the first.
        profile: the default.
    """

    words: str
    is_gpu: bool = True
    tested: bool = False
    captures: bool = False
    own_memory: bool = False
    precisions: tuple[str, ...] = ("float32",)
    profile: str = "quick"

    @property
    def precision(self) -> str:
        """In which nets are trained where nobody says."""
        return self.precisions[0]


DEVICES = {
    "cpu": Device(words="CPU", is_gpu=False, tested=True),
    "cuda": Device(
        words="GPU with CUDA",
        tested=True,
        captures=True,
        own_memory=True,
        precisions=("bfloat16", "float32"),
        profile="full",
    ),
    "mps": Device(words="GPU with Metal"),
    "xpu": Device(words="GPU with SYCL", own_memory=True),
}
HELP = " | ".join(name if row.tested else f"{name} (untested)" for name, row in DEVICES.items())


def by_device(*, cpu: Value, gpu: Value) -> dict[str, Value]:
    """For every device what holds on a CPU, or on any GPU."""
    return {name: gpu if row.is_gpu else cpu for name, row in DEVICES.items()}
