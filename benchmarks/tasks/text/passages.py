"""Tasks on passages, or on two sentences: GLUE's, TREC, MR, and which of two plays a passage is from.

Padding is mixed like any token, and the net is as long as its passages, or longer (`padded_length`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import BYTES, DatasetInfo, typed_corpus
from benchmarks.contract.facts.text_tasks import TEXT_TASKS
from benchmarks.contract.trial import Trial
from benchmarks.tasks.own import cache_folder
from benchmarks.tasks.task import Batch, Data
from benchmarks.tasks.text.corpus import corpora
from benchmarks.tasks.text.corpus.tokenization import Tokenizer, tokenizer_for
from benchmarks.tasks.text.corpus.tokens import PAD, SPECIAL
from benchmarks.tasks.text.nets import PassageNet, encoder_of
from benchmarks.tasks.text.tasks import glue, plays
from benchmarks.tasks.text.tasks.baselines import baselines
from benchmarks.tasks.text.tasks.rows import Rows, encode, hold_out
from benchmarks.tasks.text.tasks.scores import scores

Split = tuple[Tensor, Tensor]
PLAYS = "plays"
TESTS = ("test", "test2")


class Passages:
    """A class of a passage, or a number."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info, self.name = info, info.name.removeprefix("glue:")

    def grid(self, trial: Trial) -> tuple[int, int]:
        return trial.grid

    def net(self, trial: Trial) -> nn.Module:
        torch.manual_seed(trial.seed)
        return PassageNet(encoder_of(trial), self.info.num_classes)

    def example(self, trial: Trial, n: int, device: str) -> Batch:
        """Tokens without content, int64 (n, N), and the first class, or 0.0, of each."""
        tokens = torch.full((n, trial.size[1]), SPECIAL, device=device)
        return Batch(
            tokens, torch.zeros(n, dtype=torch.float32 if self.info.regression else torch.int64, device=device)
        )

    def check_files(self, trial: Trial, data_dir: Path) -> None:
        check_rows(self.info.name, data_dir)

    def load(self, trial: Trial, data_dir: Path, device: torch.device) -> Data:
        """Tokens, int32 (n, N), and classes int64 or numbers float32 (n,)."""
        read = functools.partial(_read, self.name, trial.length or 0, data_dir, tokenizer_of(trial, data_dir))

        def on_device(split: str) -> Split:
            tokens, targets = read(split)
            return tokens.to(device), targets.to(device)

        made = PassageData(on_device("train"), on_device("val"), functools.partial(on_device, "test"))
        made.levels = functools.partial(_levels, self.name, data_dir)
        if glue.has_second_test(self.name, data_dir):
            made.second = functools.partial(on_device, "test2")
        return made

    def augment(self, trial: Trial, memory_format: torch.memory_format = torch.contiguous_format) -> AsPassages:
        return AsPassages(trial.size[1])

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy; of numbers, the mean squared error."""
        return F.mse_loss(output[:, 0], targets) if self.info.regression else F.cross_entropy(output, targets)

    @torch.no_grad()
    def scores(self, output: Tensor, targets: Tensor) -> tuple[dict[str, float], np.ndarray]:
        """The task's metrics and the mean loss; the most probable class of each, or the number."""
        guesses = output[:, 0] if self.info.regression else output.argmax(1)
        kept = guesses.float().cpu().numpy() if self.info.regression else guesses.cpu().numpy()
        found = _metrics(self.name, targets.cpu().numpy(), kept)
        return found | {"loss": self.loss(output, targets).item()}, kept.astype(self.info.prediction_dtype)

    def trivial(self, data: Data, test: Batch) -> dict[str, float]:
        """The majority class and a bag of words, by the metrics of the task that are defined for them."""
        if self.name == PLAYS:
            most = int(torch.bincount(data.train.targets).argmax())
            return {"majority": 100 * float((test.targets == most).double().mean())}
        assert isinstance(data, PassageData)
        return data.levels()

    def test_targets(self, trial: Trial, data_dir: Path) -> np.ndarray | None:
        try:
            return _read(self.name, trial.length or 0, data_dir, tokenizer_of(trial, data_dir), "test")[1].numpy()
        except UserError:
            return None


def check_rows(dataset: str, data_dir: Path) -> None:
    """Whether all files of a task are there and whole.

    Args:
        dataset: as in a trial.
        data_dir: holds glue/ and small/.

    Raises:
        UserError: one is missing, damaged or not the official one.
    """
    name, data_dir = dataset.removeprefix("glue:"), Path(data_dir).expanduser()
    if name == PLAYS:
        return
    glue.look_for_files(dataset, data_dir)  # before the long one of two is read
    _training(name, data_dir)
    for split in TESTS:
        if split == "test" or glue.has_second_test(name, data_dir):
            glue.read(name, split, data_dir)


class PassageData(Data):
    """Passages, and what is known of their task without a net."""

    levels: Callable[[], dict[str, float]]
    second: Callable[[], Split] | None = None

    def read_second_test(self) -> Batch | None:
        return None if self.second is None else Batch(*self.second())


class AsPassages:
    """What a net takes: tokens as int64, filled up with PAD to its length; nothing is random."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.prepare(inputs), targets

    def prepare(self, inputs: Tensor) -> Tensor:
        return F.pad(inputs.long(), (0, self.length - inputs.shape[1]), value=PAD)


def tokenizer_of(trial: Trial, data_dir: Path) -> Tokenizer:
    """Byte-pairs are those of the corpus that the net was pre-trained on."""
    assert trial.tokenizer is not None
    corpus = None if trial.tokenizer == BYTES else corpora.open_corpus(typed_corpus(trial.corpus), data_dir)
    if corpus is not None and trial.dataset_source not in (None, corpus.hash):
        raise UserError(f"the text {corpus.source} is another now than when this was planned; type the command again")
    return tokenizer_for(trial.tokenizer, corpus, cache_folder(data_dir))


def _read(name: str, length: int, data_dir: Path, tokenizer: Tokenizer, split: str) -> Split:
    """A split: "train" without what is held out, "val", "test" or "test2"."""
    if name == PLAYS:
        return plays.read(split, length, tokenizer, data_dir)
    rows = _rows(name, split, data_dir)
    targets = torch.from_numpy(rows.targets)
    kept = targets.float() if TEXT_TASKS[name].regression else targets.long()
    return torch.from_numpy(encode(rows, tokenizer, length)), kept


def _rows(name: str, split: str, data_dir: Path) -> Rows:
    return glue.read(name, split, data_dir) if split in TESTS else _training(name, data_dir)[split == "val"]


@functools.lru_cache(maxsize=2)
def _training(name: str, data_dir: Path) -> tuple[Rows, Rows]:
    return hold_out(glue.read(name, "train", data_dir))


@functools.lru_cache(maxsize=16)
def _levels(name: str, data_dir: Path) -> dict[str, float]:
    """What needs no encoder, fitted on all training rows, as a record has it."""
    found = baselines(name, glue.read(name, "train", data_dir), glue.read(name, "test", data_dir))
    return {
        who if metric == "accuracy" else f"{who}_{metric}": value
        for who, values in found.items()
        for metric, value in values.items()
        if value is not None
    }


IN_RECORDS = {"accuracy": "top1_percent"}


def _metrics(name: str, targets: np.ndarray, guesses: np.ndarray) -> dict[str, float]:
    """By their names in a record."""
    found: dict[str, Any] = (
        {"accuracy": 100 * float((targets == guesses).mean())} if name == PLAYS else scores(name, targets, guesses)
    )
    # what is the same for all rows correlates with nothing
    return {IN_RECORDS.get(metric, metric): 0.0 if value is None else value for metric, value in found.items()}
