"""What a net is trained on and judged by: the protocol of a task, its data, and where a trial's task is found.

A task is a file of this folder with a class under `register_task`, and a row of facts in contract/datasets.py for each
of its data sets, whose `task` is the name of that file. Training, cost, latency, memory and the sweep's probe ask the
task for net, inputs and loss, and know nothing else of what the inputs are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.contract.facts.datasets import DatasetInfo, info_of
from benchmarks.contract.trial import Trial

HOLD_OUT_SEED = 0  # one held-out part for all trials and seeds


class Batch(NamedTuple):
    """Examples and what is to be said of them; both are indexed along their first axis.

    Attributes:
        inputs: one tensor (n, ...), whatever a net needs of an example in it: pixels, or token ids of which one stands
            for padding.
        targets: (n, ...).
    """

    inputs: Tensor
    targets: Tensor


class Data:
    """The examples of a task on their device.

    Attributes:
        train: what is trained on, as it is kept; an `Augmenter` makes the net's inputs of it.
        val: the part of the training split that is held out, to choose with.
        test_reads: how often the test split was read.
    """

    def __init__(
        self, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], test: Callable[[], tuple[Tensor, Tensor]]
    ) -> None:
        self.train, self.val = Batch(*train), Batch(*val)
        self.test_reads = 0
        self._test = test

    @property
    def epoch_examples(self) -> int:
        """How many training examples an epoch has."""
        return len(self.train.targets)

    def examples_of(self, epoch: int, seed: int) -> Tensor | None:
        """The numbers of an epoch's training examples, epochs counted from 0; None: all."""
        return None

    def ahead(self, schedule: Sequence[Tensor]) -> None:
        """Names the batches of training examples to come, by their indices; data that are streamed are read ahead."""

    def stage(self, index: Tensor) -> None:
        """Brings a batch of training examples to the device, where it is not there yet; a captured step cannot."""

    def read_second_test(self) -> Batch | None:
        """A second test set, of tasks that have one; None of all others."""
        return None

    def read_test(self) -> Batch:
        """The test split, read from its source now.

        Raises:
            RuntimeError: it was read before.
            UserError: its file is damaged.
        """
        self.test_reads += 1
        if self.test_reads > 1:
            raise RuntimeError("the test split is read once, when all choices are made; this is a second reading")
        return Batch(*self._test())


def batches(
    count: int, batch_size: int, generator: torch.Generator, device: str | torch.device | None = None
) -> Iterator[Tensor]:
    """Indices of one epoch's batches in random order.

    The last batch may be smaller; where it would hold a single example it is left out, since normalising over one
    is unlike all others.

    Args:
        count: examples.
        batch_size: examples a batch.
        generator: of the order.
        device: where the indices are needed; the generator's, if not given.

    Yields:
        int64 (batch,).
    """
    order = torch.randperm(count, generator=generator, device=generator.device).to(device or generator.device)
    for start in range(0, count, batch_size):
        batch = order[start : start + batch_size]
        if len(batch) > 1 or batch_size == 1:
            yield batch


class Augmenter(Protocol):
    """Makes of a batch, as it is kept, what the net takes; on its device, and never waiting for it."""

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator, /) -> tuple[Tensor, Tensor]:
        """Inputs for the net and targets for the loss, random by the generator alone."""
        ...

    def prepare(self, inputs: Tensor, /) -> Tensor:
        """Inputs for the net with nothing random: what held-out and test examples get."""
        ...


class Task(Protocol):
    """One kind of problem, on one data set."""

    @property
    def info(self) -> DatasetInfo: ...

    def grid(self, trial: Trial) -> tuple[int, int]:
        """Rows and columns of tokens; (1, N) for a sequence."""
        ...

    def net(self, trial: Trial) -> nn.Module:
        """The trial's net, on the CPU, its weights drawn from the trial's seed."""
        ...

    def example(self, trial: Trial, n: int, device: str) -> Batch:
        """`n` examples without content: inputs as the net takes them, targets as the loss takes them."""
        ...

    def check_files(self, trial: Trial, data_dir: Path) -> None:
        """Whether files are there and whole, those of the test split too; asked once, before anything is trained.

        Raises:
            UserError: one is missing and cannot be had, is damaged, or is not the published one.
        """
        ...

    def load(self, trial: Trial, data_dir: Path, device: torch.device) -> Data:
        """Reads, or draws, the data; the test split not before it is asked for.

        Raises:
            UserError: they are missing and cannot be had, or are damaged.
        """
        ...

    def augment(self, trial: Trial, memory_format: torch.memory_format = torch.contiguous_format) -> Augmenter:
        """The trial's augmentation; images come out in the layout that is given."""
        ...

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Of the net's output, the mean over the batch, 0-dim."""
        ...

    def scores(self, output: Tensor, targets: Tensor) -> tuple[dict[str, float], np.ndarray]:
        """Of a whole split: what a record keeps, names with units, and one prediction an example."""
        ...

    def trivial(self, data: Data, test: Batch) -> dict[str, float]:
        """Percent of the test split that predictors get right which are no net, by name; {} where there are none."""
        ...

    def test_targets(self, trial: Trial, data_dir: Path) -> np.ndarray | None:
        """What `scores` holds predictions of the test split against; None where the data are not here."""
        ...


T = TypeVar("T", bound=Callable[[DatasetInfo], Task])
_TASKS: dict[str, Callable[[DatasetInfo], Task]] = {}


def register_task(name: str) -> Callable[[T], T]:
    """Registers a task, a class made with the facts of a data set, for all data sets whose `task` is `name`."""

    def register(task: T) -> T:
        _TASKS[name] = task
        return task

    return register


def task_of(trial: Trial) -> Task:
    """The task of the trial's data set.

    Raises:
        UserError: nothing is known of the data set.
    """
    return task_for(info_of(trial.dataset))


def task_for(info: DatasetInfo) -> Task:
    """The task of a data set of which these are the facts."""
    return registered(info.task)(info)


def registered(name: str) -> Callable[[DatasetInfo], Task]:
    """The class of a task; its file in this room is imported on first use."""
    if name not in _TASKS:
        importlib.import_module(f"{__package__}.{name}")
    return _TASKS[name]


def build_net(trial: Trial) -> Any:
    """The trial's net: a MixerNet, or a module with those parts of one that the measurement asks for."""
    return task_of(trial).net(trial)


def check_files(trials: Iterable[Trial], data_dir: Path) -> None:
    """Looks at the files of all data sets of some trials, before the first of them begins.

    Raises:
        UserError: a file is missing or damaged.
    """
    one_of = {(trial.dataset, trial.extent, trial.tokenizer): trial for trial in trials}
    for trial in one_of.values():
        task_of(trial).check_files(trial, Path(data_dir).expanduser())


def load_data(trial: Trial, data_dir: Path, device: str) -> Data:
    """The data of the trial's task.

    Args:
        trial: its seed does not count, so that seeds differ in initialisation and order alone.
        data_dir: where data sets lie; a missing one is downloaded there.
        device: as for torch.

    Raises:
        UserError: they are missing and cannot be downloaded, or a file of them is damaged.
    """
    return task_of(trial).load(trial, Path(data_dir).expanduser(), torch.device(device))
