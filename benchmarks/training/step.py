"""One training step, from the indices of a batch to the updated weights; on a GPU one CUDA graph.

A small net's step is hundreds of kernels of microseconds each, and launching them one by one takes longer than they do.
Captured once, they are launched together; so is the forward pass of an evaluation. Where the steps to come pay for it,
the blocks of the net are compiled too, and the faster of the two graphs stays. What cannot be compiled or captured
falls back to the step before it, and the record says which one ran.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine.device import Capture, Graph
from benchmarks.tasks.task import Augmenter, Data
from benchmarks.training.training_step import training_step

log = logging.getLogger(__name__)

TIMED_STEPS = 20  # of a graph, for the choice between two

# What compiling costs and saves, for the decision whether to try; the choice between the graphs is by measurement.
# Inductor keeps what it compiled in TORCHINDUCTOR_CACHE_DIR, by default a folder of the user's under the system's
# temporary one, and later processes find it there: a trial's seed is in no compiled code.
COMPILE_FIRST_S = 20.0
COMPILE_CACHED_S = 4.0  # of every later trial with the same shapes: tracing, and loading the kernels
COMPILE_SAVES = 0.3  # share of a step


Compiler = Callable[[nn.Module], Callable[[Tensor], Tensor]]


class TrainingStep:
    """Augmentation and the training step for one batch.

    Args:
        net: on its device, in training mode when called.
        optimizer: of the net; its learning rates are tensors where the step is captured.
        data: on the same device.
        augment: of whole batches.
        loss: output and targets -> the loss, 0-dim.
        autocast: makes the context of the forward pass.
        generator: of the augmentation; seeded by the caller.
        capture: makes a graph of a function, or None for the plain step.
        compiler: makes a faster form of the net, with the same parameters; None: it is never compiled.
        steps: that this run still has to take.
        steps_to_come: of all runs that share the compiled code, this one among them; None: of this one alone.
        kind: of an earlier sitting of the same run, which this one keeps to where it can.
        clip_norm: longest gradient.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: Data,
        augment: Augmenter,
        loss: Callable[[Tensor, Tensor], Tensor],
        autocast: Callable[[], Any],
        generator: torch.Generator,
        capture: Capture | None = None,
        compiler: Compiler | None = None,
        steps: int = 0,
        steps_to_come: int | None = None,
        kind: str | None = None,
        clip_norm: float = math.inf,
    ) -> None:
        self.net, self.optimizer, self.data, self.augment, self.loss_of = net, optimizer, data, augment, loss
        self.autocast, self.generator, self.capture = autocast, generator, capture
        self.compiler, self.earlier_kind, self.clip_norm = compiler, kind, clip_norm
        self.steps, self.steps_to_come = steps, max(steps, steps_to_come or 0)
        if kind == "eager":
            self.capture = None
        self.compiled = False
        self.graphs: dict[int, tuple[Graph, Tensor]] = {}  # by batch size, each with the indices that it reads
        self.loss = torch.zeros(())
        self.compile_s = 0.0  # warm-up, capture and compilation
        self.model_s = 0.0  # spent in model and optimizer; on a CPU, where nothing runs ahead

    @property
    def kind(self) -> str:
        """ "graph", "compiled" or "eager", as records name it."""
        if not self.graphs:
            return "eager"
        return "compiled" if self.compiled else "graph"

    @property
    def graph(self) -> Graph | None:
        """One of the graphs, beside which others can be captured."""
        return next((graph for graph, _ in self.graphs.values()), None)

    def __call__(self, index: Tensor, lr: float) -> Tensor:
        """Takes one step on the examples `index` (B,); returns the loss, a tensor that the next call overwrites."""
        set_rate(self.optimizer, lr)
        self.data.stage(index)
        if self.capture is not None and len(index) not in self.graphs:
            self._prepare(index, self.capture)
        if self.capture is None:
            return self._step(index, self.net)
        graph, place = self.graphs[len(index)]
        place.copy_(index)
        graph.replay()
        return self.loss

    def _step(self, index: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        examples, answers = self.data.train
        inputs, targets = self.augment(examples.index_select(0, index), answers[index], self.generator)
        started = time.perf_counter()
        loss = training_step(
            self.net,
            self.loss_of,
            inputs,
            targets,
            self.optimizer,
            self.autocast,
            forward=forward,
            clip_norm=self.clip_norm,
        )
        self.model_s += time.perf_counter() - started
        return loss

    def _prepare(self, index: Tensor, capture: Capture) -> None:
        """Warms up and captures for one batch size; weights, optimizer and generator are afterwards as they were."""
        started = time.perf_counter()
        weights = copy.deepcopy(self.net.state_dict())
        optimizer = _tensors_of(self.optimizer)
        noise = self.generator.get_state()
        if not self.graphs:
            self.loss = torch.zeros((), device=index.device)
        try:
            first = not self.graphs
            self._add_graph(index, capture, self.net)
            if first and self.compiler is not None and self.earlier_kind != "graph":
                self._compile_where_it_pays(index, capture, self.compiler)
        except RuntimeError as error:
            log.warning("  no CUDA graph, the plain step runs: %s", first_line(error))
            self.capture = None
        if self.capture is None:
            self._forget_graphs()
        self.net.load_state_dict(weights)
        for tensor, value in _tensors_of(self.optimizer, optimizer):
            tensor.copy_(value)
        self.generator.set_state(noise)
        self.compile_s += time.perf_counter() - started

    def _add_graph(self, index: Tensor, capture: Capture, forward: Callable[[Tensor], Tensor]) -> None:
        """Captures the step for batches as large as `index`, in place of the graph that there may be for them."""
        place = index.clone()

        def step() -> None:
            self.loss.copy_(self._step(place, forward))

        self.graphs[len(index)] = capture(step, self.generator, self.graph), place

    def _compile_where_it_pays(self, index: Tensor, capture: Capture, compiler: Compiler) -> None:
        """Compiles the net if the training to come is long, and keeps the faster of the two graphs.

        The last batch of an epoch, which is smaller, keeps the plain net: compiled code is for one shape.

        Raises:
            RuntimeError: after a compilation that failed, the plain step could not be captured again.
        """
        plain = self.graphs[len(index)]
        before = self.seconds_each(plain[0])
        resumed = self.earlier_kind == "compiled"
        if not resumed and not compiling_pays(before, self.steps, self.steps_to_come):
            return
        try:
            self._add_graph(index, capture, compiler(self.net))
            after = self.seconds_each(self.graphs[len(index)][0])
        except Exception as error:  # a compiler fails in any way; the plain graph is as right
            log.warning("  not compiled: %s", first_line(error))
            after = math.nan
        if math.isnan(after):  # the plain graph is bound to a generator that may be spoiled
            del plain  # the memory of both is free before the next capture
            self._forget_graphs()
            self._add_graph(index, capture, self.net)
            return
        log.info("  a step takes %.2f ms, %.2f ms compiled", 1e3 * before, 1e3 * after)
        self.compiled = resumed or after < before
        if not self.compiled:
            self.graphs[len(index)] = plain

    def _forget_graphs(self) -> None:
        """After a capture that failed the generator still waits for its end; a new one draws the same numbers."""
        self.graphs.clear()
        self.optimizer.zero_grad(set_to_none=True)
        self.generator = torch.Generator(self.generator.device)

    def seconds_each(self, graph: Graph) -> float:
        """Of a replay; the weights do not matter, since `_prepare` puts them back."""
        self.loss.item()  # waits for the device
        started = time.perf_counter()
        for _ in range(TIMED_STEPS):
            graph.replay()
        self.loss.item()
        return (time.perf_counter() - started) / TIMED_STEPS


class EvaluationPass:
    """The forward pass of an evaluation: examples (n, ...) as they are kept -> the net's output, float32 (n, ...).

    Where it is captured, all batches are of one size, so that one graph serves every evaluation of a trial: it reads
    the weights where the optimizer updates them.

    Args:
        net: on the examples' device.
        prepare: makes the net's inputs of examples.
        autocast: makes the context of the forward pass.
        batch: examples a batch.
        capture: makes a graph of a function, or None for the plain pass.
        beside: gives a graph whose memory may be shared.
    """

    def __init__(
        self,
        net: nn.Module,
        prepare: Callable[[Tensor], Tensor],
        autocast: Callable[[], Any],
        batch: int,
        capture: Capture | None = None,
        beside: Callable[[], Graph | None] = lambda: None,
    ) -> None:
        self.net, self.prepare, self.autocast = net, prepare, autocast
        self.batch, self.capture, self.beside = batch, capture, beside
        self.graph: Graph | None = None
        self.examples = self.output = torch.zeros(0)

    @torch.no_grad()
    def __call__(self, examples: Tensor) -> Tensor:
        self.net.eval()
        if self.capture is not None and self.graph is None:
            self._capture(examples, self.capture)
        if self.graph is None:
            return torch.cat([self._forward(chunk) for chunk in examples.split(self.batch)])
        outputs = []
        for chunk in examples.split(self.batch):
            self.examples[: len(chunk)].copy_(chunk)  # those of the batch before fill up the last one
            self.graph.replay()
            outputs.append(self.output[: len(chunk)].clone())
        return torch.cat(outputs)

    def _forward(self, examples: Tensor) -> Tensor:
        with self.autocast():
            return self.net(self.prepare(examples)).float()

    def _capture(self, examples: Tensor, capture: Capture) -> None:
        self.examples = examples.new_zeros(self.batch, *examples.shape[1:])
        self.output = torch.zeros_like(self._forward(self.examples))
        try:
            self.graph = capture(lambda: self.output.copy_(self._forward(self.examples)), None, self.beside())
        except RuntimeError as error:
            log.warning("  no CUDA graph of the evaluation, the plain pass runs: %s", first_line(error))
            self.capture = None


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of all parameters, in place where a graph reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def compiling_pays(step_s: float, steps: int, steps_to_come: int) -> bool:
    """Whether compiling is worth a try, from the seconds of a plain step and the steps of this run and of all alike."""
    runs = math.ceil(steps_to_come / max(steps, 1))
    cost_s = COMPILE_FIRST_S + max(0, runs - 1) * COMPILE_CACHED_S
    return COMPILE_SAVES * step_s * steps_to_come > cost_s


def compiled_blocks(net: nn.Module) -> nn.Module:
    """The net with compiled blocks, and the same parameters.

    Blocks alike share their code, so that a net of eight compiles in the time of one; compiled whole it takes a
    multiple of that and is hardly faster, since what lies between blocks is one addition.
    """
    torch.compiler.reset()  # what trials before compiled counts against a limit
    twin = copy.copy(net)
    twin._modules = dict(net._modules)
    for inner in ("tower", "encoder"):  # of two documents, and of text: its blocks are in there
        if isinstance(getattr(net, inner, None), nn.Module):
            setattr(twin, inner, compiled_blocks(getattr(net, inner)))
            return twin
    twin.blocks = nn.Sequential(*(torch.compile(block, dynamic=False) for block in net.blocks))  # type: ignore
    return twin


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
