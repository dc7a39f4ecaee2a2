"""One training step, from the indices of a batch to the updated weights; on a GPU one CUDA graph.

A small net's step is hundreds of kernels of microseconds each, and launching them one by one takes longer than they do.
Captured once, they are launched together. What a capture cannot do falls back to the plain step, and the record says
which of the two ran.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure.augment import Augment
from benchmarks.measure.data import ImageData

log = logging.getLogger(__name__)

WARM_UP_STEPS = 3  # before a capture: libraries choose their algorithms and the allocator its blocks
CLIP_NORM = 1.0


class Graph(Protocol):
    """What is captured once and replayed for every batch."""

    def replay(self) -> None: ...


class TrainingStep:
    """Augmentation, forward, backward, clipping and the optimizer for one batch.

    Args:
        net: on its device, in training mode when called.
        optimizer: of the net; its learning rates are tensors where the step is captured.
        data: images and labels on the same device.
        augment: of whole batches.
        autocast: makes the context of the forward pass.
        generator: of the augmentation; seeded by the caller.
        capture: makes a graph of a function that takes nothing, or None for the plain step.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: ImageData,
        augment: Augment,
        autocast: Callable[[], Any],
        generator: torch.Generator,
        capture: Callable[[Callable[[], None], torch.Generator], Graph] | None = None,
    ) -> None:
        self.net, self.optimizer, self.data, self.augment = net, optimizer, data, augment
        self.autocast, self.generator, self.capture = autocast, generator, capture
        self.graph: Graph | None = None
        self.index = torch.zeros(0, dtype=torch.int64)
        self.loss = torch.zeros(())
        self.compile_s = 0.0  # warm-up and capture
        self.overhead_s = 0.0  # spent outside model and optimizer; on a CPU, where nothing runs ahead

    @property
    def kind(self) -> str:
        """ "graph" or "eager", as records name it."""
        return "graph" if self.graph is not None else "eager"

    def __call__(self, index: Tensor, lr: float) -> Tensor:
        """Takes one step on the images `index` (B,); returns the loss, a tensor that the next call overwrites."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        if self.capture is not None and self.graph is None:
            self._prepare(index)
        if self.graph is not None and len(index) == len(self.index):
            self.index.copy_(index)
            self.graph.replay()
            return self.loss
        return self._step(index)

    def _step(self, index: Tensor) -> Tensor:
        mark = time.perf_counter()
        images, targets = self.augment(
            self.data.train_images.index_select(0, index), self.data.train_labels[index], self.generator
        )
        self.overhead_s += time.perf_counter() - mark
        with self.autocast():
            loss = F.cross_entropy(self.net(images), targets)
        self.optimizer.zero_grad(set_to_none=self.capture is None)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        self.optimizer.step()
        return loss.detach()

    def _prepare(self, index: Tensor) -> None:
        """Warms up and captures; weights, optimizer and generator are afterwards as they were."""
        assert self.capture is not None
        started = time.perf_counter()
        weights = copy.deepcopy(self.net.state_dict())
        optimizer = _tensors_of(self.optimizer)
        noise = self.generator.get_state()
        self.index, self.loss = index.clone(), torch.zeros((), device=index.device)

        def step() -> None:
            self.loss.copy_(self._step(self.index))

        try:
            for _ in range(WARM_UP_STEPS):
                step()
            self.graph = self.capture(step, self.generator)
        except RuntimeError as error:
            log.warning("  no CUDA graph, the plain step runs: %s", str(error).strip().splitlines()[0])
            self.capture = None
        self.net.load_state_dict(weights)
        for tensor, value in _tensors_of(self.optimizer, optimizer):
            tensor.copy_(value)
        self.generator.set_state(noise)
        self.compile_s = time.perf_counter() - started


def _tensors_of(
    optimizer: torch.optim.Optimizer, before: list[tuple[Tensor, Tensor]] | None = None
) -> list[tuple[Tensor, Tensor]]:
    """The optimizer's tensors, each with a copy of it, or with its value in `before`, zero where it was not there."""
    known = {id(tensor): value for tensor, value in before or []}
    found = []
    for state in optimizer.state.values():
        for tensor in state.values():
            if isinstance(tensor, Tensor):
                value = tensor.clone() if before is None else known.get(id(tensor), torch.zeros_like(tensor))
                found.append((tensor, value))
    return found


def cuda_graph(step: Callable[[], None], generator: torch.Generator) -> Graph:
    """Captures `step` on the current CUDA device; `generator` goes on as it would without the graph."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        step()
    return graph
