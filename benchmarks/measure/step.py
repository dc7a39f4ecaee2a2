"""One training step, from the indices of a batch to the updated weights; on a GPU one CUDA graph.

A small net's step is hundreds of kernels of microseconds each, and launching them one by one takes longer than they do.
Captured once, they are launched together. In a run long enough to pay for it, the net is compiled too, and the faster
of the two graphs stays. What cannot be compiled or captured falls back to the step before it, and the record says which
one ran.
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
TIMED_STEPS = 20  # of a graph, for the choice between two
COMPILE_FROM_S = 120.0  # of training to come: compiling takes up to a minute and saves a fraction of what follows
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
        compiler: makes a faster form of the net, with the same parameters; None: it is never compiled.
        steps: to come, which says whether compiling pays.
        kind: of an earlier sitting of the same run, which this one keeps to where it can.
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
        compiler: Callable[[nn.Module], Callable[[Tensor], Tensor]] | None = None,
        steps: int = 0,
        kind: str | None = None,
    ) -> None:
        self.net, self.optimizer, self.data, self.augment = net, optimizer, data, augment
        self.autocast, self.generator, self.capture = autocast, generator, capture
        self.compiler, self.steps, self.earlier_kind = compiler, steps, kind
        if kind == "eager":
            self.capture = None
        self.forward: Callable[[Tensor], Tensor] = net  # the net, or its compiled form
        self.graph: Graph | None = None
        self.index = torch.zeros(0, dtype=torch.int64)
        self.loss = torch.zeros(())
        self.compile_s = 0.0  # warm-up, capture and compilation
        self.model_s = 0.0  # spent in model and optimizer; on a CPU, where nothing runs ahead

    @property
    def kind(self) -> str:
        """ "graph", "compiled" or "eager", as records name it."""
        if self.graph is None:
            return "eager"
        return "graph" if self.forward is self.net else "compiled"

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
        return self._step(index, self.net)

    def _step(self, index: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        images, targets = self.augment(
            self.data.train_images.index_select(0, index), self.data.train_labels[index], self.generator
        )
        started = time.perf_counter()
        with self.autocast():
            loss = F.cross_entropy(forward(images), targets)
        self.optimizer.zero_grad(set_to_none=self.capture is None)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.model_s += time.perf_counter() - started
        return loss.detach()

    def _prepare(self, index: Tensor) -> None:
        """Warms up and captures; weights, optimizer and generator are afterwards as they were."""
        assert self.capture is not None
        started = time.perf_counter()
        weights = copy.deepcopy(self.net.state_dict())
        optimizer = _tensors_of(self.optimizer)
        noise = self.generator.get_state()
        self.index, self.loss = index.clone(), torch.zeros((), device=index.device)

        try:
            self.graph = self._captured(self.net)
        except RuntimeError as error:
            log.warning("  no CUDA graph, the plain step runs: %s", first_line(error))
            self.capture = None
            self._renew_generator()
        if self.graph is not None and self.compiler is not None and self.earlier_kind != "graph":
            self._compile_where_it_pays(self.compiler, self.graph)
        self.net.load_state_dict(weights)
        for tensor, value in _tensors_of(self.optimizer, optimizer):
            tensor.copy_(value)
        self.generator.set_state(noise)
        self.compile_s = time.perf_counter() - started

    def _captured(self, forward: Callable[[Tensor], Tensor]) -> Graph:
        assert self.capture is not None

        def step() -> None:
            self.loss.copy_(self._step(self.index, forward))

        return self.capture(step, self.generator)

    def _compile_where_it_pays(self, compiler: Callable[[nn.Module], Callable[[Tensor], Tensor]], plain: Graph) -> None:
        """Compiles the net if the training to come is long, and keeps the faster of the two graphs."""
        before = self.seconds_each(plain)
        resumed = self.earlier_kind == "compiled"
        if before * self.steps < COMPILE_FROM_S and not resumed:
            return
        try:
            compiled = compiler(self.net)
            graph = self._captured(compiled)
            after = self.seconds_each(graph)
        except Exception as error:  # a compiler fails in any way; the graph that is there is as right
            log.warning("  not compiled: %s", first_line(error))
            self._renew_generator()
            self.graph = self._captured(self.net)  # the first one is bound to the generator that was replaced
            return
        log.info("  a step takes %.2f ms, %.2f ms compiled", 1e3 * before, 1e3 * after)
        if after < before or resumed:
            self.graph, self.forward = graph, compiled

    def _renew_generator(self) -> None:
        """After a capture that failed the generator still waits for its end; a new one draws the same numbers."""
        self.generator = torch.Generator(self.generator.device)

    def seconds_each(self, graph: Graph) -> float:
        """Of a replay; the weights do not matter, since `_prepare` puts them back."""
        self.loss.item()  # waits for the device
        started = time.perf_counter()
        for _ in range(TIMED_STEPS):
            graph.replay()
        self.loss.item()
        return (time.perf_counter() - started) / TIMED_STEPS


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
    side = torch.cuda.Stream()  # where nothing is captured that the default stream has begun
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        step()
    return graph
