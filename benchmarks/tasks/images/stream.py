"""Images that do not fit on the device: read from disk batch by batch, a few batches ahead of the step that needs them.

The same images in the same order as those that are kept on the device, so that a run comes to the same numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.contract.facts.devices import DEVICES
from benchmarks.machine.memory import free_bytes
from benchmarks.tasks.task import Data

RESIDENT_SHARE = 0.5  # of the device's free memory that a part of a data set may take
READERS = 2  # threads that wait for the disk
AHEAD = 4  # batches that are read before they are needed


def on_device(images: NDArray[np.uint8], device: torch.device) -> Any:
    """A tensor, or StreamedImages where they do not fit.

    Images mapped into memory, on their device where they fit; on a CPU they stay mapped, and are not copied.
    """
    if images.nbytes > RESIDENT_SHARE * free_bytes(device.type):
        return StreamedImages(images, device)
    return torch.from_numpy(images).to(device)


class StreamedData(Data):
    """Data of which a part may be streamed."""

    def ahead(self, schedule: Sequence[Tensor]) -> None:
        images: Tensor | StreamedImages = self.train.inputs
        if isinstance(images, StreamedImages):
            images.ahead(schedule)

    def stage(self, index: Tensor) -> None:
        images: Tensor | StreamedImages = self.train.inputs
        if isinstance(images, StreamedImages):
            images.stage(index)


class StreamedImages:
    """What a step and an evaluation ask of a tensor of images, uint8 (n, 3, height, width), off the device.

    `ahead` names the batches to come, `stage` brings one of them to the device, and `index_select` gives what was
    staged, on a GPU always in the same place for a batch of the same length, so that a captured step can read it there.
    """

    def __init__(self, images: NDArray[np.uint8], device: torch.device) -> None:
        self.images, self.device = images, device
        self.shape = torch.Size(images.shape)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="images")
        self._to_come: Iterator[Tensor] = iter(())
        self._waiting: deque[tuple[Tensor, Future[Tensor]]] = deque()
        self.captured = device.type != "cpu"  # by steps that read every batch of a size in one place
        self._places: dict[int, Tensor] = {}  # by batch size
        self._staged: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def ahead(self, schedule: Sequence[Tensor]) -> None:
        """Begins to read the batches of these indices, in this order."""
        for _, batch in self._waiting:
            batch.cancel()
        self._waiting.clear()
        self._to_come = iter(schedule)
        for _ in range(AHEAD):
            self._submit()

    def _submit(self) -> None:
        index = next(self._to_come, None)
        if index is not None:
            self._waiting.append((index, self._pool.submit(self._read, index.cpu().numpy())))

    def stage(self, index: Tensor) -> None:
        """Brings the batch of an index of the schedule, or of any other, to the device."""
        if self._waiting and self._waiting[0][0] is index:
            batch = self._waiting.popleft()[1].result()
            self._submit()
        else:
            batch = self._read(index.cpu().numpy())
        if self.captured:
            if len(index) not in self._places:
                self._places[len(index)] = torch.empty_like(batch, device=self.device)
            batch = self._places[len(index)].copy_(batch, non_blocking=True)
        self._staged = batch

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The staged batch; where none of this length is, it is read now."""
        assert dim == 0
        if self._staged is None or len(self._staged) != len(index):
            return self._read(index.cpu().numpy()).to(self.device)
        return self._staged

    def __getitem__(self, where: slice) -> Tensor:
        return self._read(np.arange(len(self))[where]).to(self.device)

    def split(self, batch: int) -> Iterator[Tensor]:
        """All images in order, `batch` at a time, on the device."""
        indices = [np.arange(start, min(start + batch, len(self))) for start in range(0, len(self), batch)]
        waiting = deque(self._pool.submit(self._read, index) for index in indices[:READERS])
        for index in [*indices[READERS:], None, None][: len(indices)]:
            chunk = waiting.popleft().result()
            if index is not None:
                waiting.append(self._pool.submit(self._read, index))
            yield chunk.to(self.device, non_blocking=True)

    def new_zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.uint8, device=self.device)

    def _read(self, index: NDArray[np.int64]) -> Tensor:
        # pinned memory is not given to another batch before its copy is done
        pinned = DEVICES[self.device.type].own_memory
        batch = torch.empty((len(index), *self.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        np.take(self.images, index, axis=0, out=batch.numpy(), mode="clip")
        return batch
