"""Compiles the fused kernel for an H100 that is not here, as its launcher would, in every shape that our mixers use.

A program of its own, since Triton compiles nothing in a process with its interpreter. Its arguments are dtypes; it
prints a line of JSON for each kernel: what it is for, its shared memory and the stack of a thread, where registers that
do not suffice are spilled to.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from mixers import create_mixer, list_mixers
from mixers.transforms import fused, fused_kernel
from mixers.transforms.planes import PlaneTransform

GRIDS = [(4, 4), (8, 8), (16, 16), (16, 32), (32, 32), (48, 48), (64, 64), (96, 96), (128, 128)]
BATCHES = [1, 256]  # few planes and many


class _H100:
    """As much of Triton's driver as compiling asks for."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class _CompiledOnly:
    """In the place of the kernel: a launch compiles it and leaves it there."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.compiled: dict[int, Any] = {}  # by identity: Triton gives the same for the same signature

    def __getitem__(self, grid: tuple[int, ...]):
        def launch(*args: Any, **options: Any) -> None:
            compiled = self.kernel.warmup(*args, grid=grid, **options)
            self.compiled.setdefault(id(compiled), compiled)

        return launch


def _launch(x: Tensor, left: Tensor, right: Tensor, parts_first: bool = False) -> Tensor:
    out = fused._empty_result(x, left, right, parts_first)
    fused._launch(x, left, right, out)
    return out


def _transforms() -> dict[Any, tuple[Tensor, Tensor, bool]]:
    """The matrices of every mixer on every grid, by shape."""
    found = {}
    for name in list_mixers():
        for size in GRIDS:
            if isinstance(create_mixer(name, 8, (4, 4)), PlaneTransform):
                mixer = create_mixer(f"{name}(method=fused)", 8, size)
                left, right = mixer.plane_matrices()
                found[left.shape, right.shape, mixer.parts_first] = left.detach(), right.detach(), mixer.parts_first
    return found


def _stack_bytes(compiled: Any) -> int:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (stack,) = re.findall(r"\bSTACK:(\d+)", text)
    return int(stack)


def main(dtypes: list[str]) -> None:
    driver.set_active(_H100())
    kernel = fused_kernel.kernel = _CompiledOnly(fused_kernel.kernel)
    fused.plane_transform = _launch  # which the backward pass calls
    for dtype in dtypes:
        for matrices in _transforms().values():
            left, right = (matrix.to("meta", getattr(torch, dtype)) for matrix in matrices[:2])
            for batch in BATCHES:
                x = left.new_empty(batch, 64, left.shape[1], left.shape[-1], right.shape[-1])
                before = set(kernel.compiled)
                y = _launch(x, left, right, matrices[2])
                if max(y.shape[-2:]) <= fused.MAX_SIDE:
                    forward = SimpleNamespace(
                        saved_tensors=(left, right, None), needs_input_grad=(True, False, False), parts_first=False
                    )
                    fused._backward(forward, y)
                for key in set(kernel.compiled) - before:
                    compiled = kernel.compiled[key]
                    facts = {
                        "dtype": dtype,
                        "left": list(left.shape),
                        "right": list(right.shape),
                        "batch": batch,
                        "warps": compiled.metadata.num_warps,
                        "shared_bytes": compiled.metadata.shared,
                        "spilled_bytes": _stack_bytes(compiled),
                    }
                    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
