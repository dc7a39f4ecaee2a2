"""Which implementation of a mixer runs: a table of measured crossovers, kept as data in crossovers.json.

For each type of device, each dtype and each kind of computation the table lists (tokens, method): the method up to so
many tokens, the last for all beyond. `python -m benchmarks crossovers` measures it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TABLE = Path(__file__).with_name("crossovers.json")

# by type of device, then by dtype: what it was measured on, and the rows of each kind of computation
CROSSOVERS: dict[str, dict[str, dict[str, Any]]] = json.loads(TABLE.read_text(encoding="utf-8"))


def fastest(kind: str, device: str, tokens: int, dtype: torch.dtype = torch.float32) -> str:
    """The method that the table names.

    A device that it does not know counts as a GPU. Half precision has the table of bfloat16, where the device has one;
    all else has that of float32.
    """
    tables = CROSSOVERS[device if device in CROSSOVERS else "cuda"]
    half = dtype in (torch.bfloat16, torch.float16) and "bfloat16" in tables
    rows = tables["bfloat16" if half else "float32"]["methods"][kind]
    return next(method for most, method in rows if most is None or tokens <= most)


def transformed() -> bool:
    """Whether something of `torch.func` is at work, such as vmap, through which not every operator goes."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def laid_out(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    """x in this memory format, which matters to speed alone; vmap knows none but the usual."""
    return x.contiguous() if transformed() else x.contiguous(memory_format=memory_format)


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype of autocast on this type of device; None outside autocast."""
    # meta tensors have no autocast to ask about
    if device == "meta" or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def computed_in(x: Tensor) -> torch.dtype:
    """The dtype of products with `x`: that of autocast, which leaves float64 alone, else its own."""
    return x.dtype if x.dtype == torch.float64 else autocast_dtype(x.device.type) or x.dtype
