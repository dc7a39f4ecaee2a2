"""Peak memory: the allocator's on a GPU that has its own; else the bytes of all tensors alive at once.

The count, storage by storage, sees every tensor that PyTorch's dispatcher makes, also those kept for the backward
pass. It does not see scratch space inside a library's kernel. Run on fake tensors, it predicts a peak without computing
anything.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import psutil
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.contract.facts.devices import DEVICES

# of the free memory that tensors may ask for on a CPU: glibc, told to keep what is freed (`benchmarks.__main__`), takes
# up to 1.5 times their bytes where single ones are large, as N x N weights are
FREE_SHARE = 0.5
NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # of PyTorch on a CPU, CUDA, and its libraries

NEEDS_NUMBERS = (
    *(DataDependentOutputException, DynamicOutputShapeException),
    *(UnsupportedFakeTensorException, UnsupportedOperatorException),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, by whatever error the allocator or a library says so."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)


class TensorBytes(TorchDispatchMode):
    """While active, counts the bytes of the tensors that come to life and die; `peak` is the most at once."""

    def __init__(self, alive: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.current = 0
        self.peak = 0
        self._known: set[int] = set()
        for tensor in alive:
            self._add(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.current -= size


def peak_bytes(run: Callable[[], Any], alive: Iterable[Tensor], device: str) -> int:
    """Most bytes alive at once while `run` runs, the tensors `alive` before it (weights, input) included."""
    alive = list(alive)
    if DEVICES[device].own_memory:
        gpu = torch.get_device_module(device)
        run()  # handles and workspaces of the libraries are made on the first call
        gpu.synchronize()
        before = gpu.memory_allocated()
        gpu.reset_peak_memory_stats()
        run()
        gpu.synchronize()
        own = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}.values())
        return gpu.max_memory_allocated() - before + own
    counter = TensorBytes(alive)
    with counter:
        run()
    return counter.peak


def needs_numbers(error: BaseException) -> bool:
    """Whether a run on fake tensors ended since they hold no numbers."""
    return isinstance(error, NEEDS_NUMBERS) or any(words in str(error) for words in ("tensor subclass", "fake impl"))


def predict_bytes(make: Callable[[], tuple[Callable[[], Any], Iterable[Tensor]]]) -> tuple[int | None, int]:
    """The peaks that `make() -> (run, alive)` would have on a CPU, found without allocating or computing.

    That of `run`, or None where it does not go without numbers: it looks at them, or hands them to NumPy. And that of
    `make` itself, which is more where what a net draws stands beside what it keeps.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        with TensorBytes() as making:
            run, alive = make()
        try:
            return peak_bytes(run, alive, "cpu"), making.peak
        except Exception as error:
            if needs_numbers(error):
                return None, making.peak
            raise


def predict_peak_bytes(make: Callable[[], tuple[Callable[[], Any], Iterable[Tensor]]]) -> int | None:
    """The first of `predict_bytes`."""
    return predict_bytes(make)[0]


def free_bytes(device: str) -> int:
    """Bytes that can still be taken on the device."""
    if DEVICES[device].own_memory:
        return int(torch.get_device_module(device).mem_get_info()[0])
    return psutil.virtual_memory().available
