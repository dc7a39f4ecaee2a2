"""Classification of sequences, or of each of their tokens: one file a data set in this folder.

Such a file has `read(split, count, length, data_dir)`, tokens (n, N) and what is to be said of them, and
`baselines(train, test)`, the percent that trivial predictors get right. Asked for more than there are, `read` raises.
Token 0 is padding everywhere. What is to be said is a class an example, (n,), or one a token, (n, N), with IGNORED
where nothing is asked. Where a net is longer than the sequences, they are kept as they are and filled up on their way
into it; nothing is asked of what was added.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DatasetInfo
from benchmarks.contract.trial import Trial
from benchmarks.tasks.sequences.parts.drawn import IGNORED
from benchmarks.tasks.sequences.parts.drawn import Examples as Split
from benchmarks.tasks.task import Batch, Data, register_task
from mixers import MixerError, MixerNet
from mixers.nets.stems import PADDING, check_tokens

HOLD_OUT_SHARE = 0.1  # of the training examples; one held-out part for all trials and seeds


@register_task("sequences")
class SequenceClassification:
    """One of the sets of sequences, by the facts of it."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    def grid(self, trial: Trial) -> tuple[int, int]:
        return trial.grid

    def net(self, trial: Trial) -> nn.Module:
        towers = self.info.towers > 1
        torch.manual_seed(trial.seed)
        net = MixerNet(
            trial.mixer,
            num_classes=0 if towers else self.info.num_classes,
            vocabulary=self.info.vocabulary,
            length=trial.size[1],
            dim=trial.dim,
            depth=trial.depth,
            norm=trial.norm,
            coordinates=trial.coordinates,
            positions=trial.positions,
            seed=trial.seed,
            residual=trial.residual,
            global_pool="tokens" if self.info.per_token else "avg",
            padding=self.info.padded or trial.size[1] != trial.length,
        )
        if not towers:
            return net
        from benchmarks.tasks.sequences.parts.towers import TwoTowers

        return TwoTowers(net, self.info.num_classes)

    def example(self, trial: Trial, n: int, device: str) -> Batch:
        """Random tokens int64 (n, N), none of them padding, and the first class for each of what is asked."""
        length = trial.size[1]
        shape = (n, length) if self.info.towers == 1 else (n, self.info.towers, length)
        tokens = torch.randint(1, self.info.vocabulary or 2, shape, device=device)
        asked = (n, length) if self.info.per_token else (n,)
        return Batch(tokens, torch.zeros(asked, dtype=torch.int64, device=device))

    def check_files(self, trial: Trial, data_dir: Path) -> None:
        if not self.info.procedural:
            self._test(trial, data_dir)

    def load(self, trial: Trial, data_dir: Path, device: torch.device) -> Data:
        """Tokens, uint8 or int16 (n, N), and int64 (n,) or (n, N)."""
        info = self.info
        tokens, targets = _training(info.name, trial.train_images, trial.length or 1, data_dir, info.procedural)
        self._check(tokens)
        stay, held = hold_out(len(tokens))

        def on_device(split: Split) -> Split:
            return split[0].to(device), split[1].to(device)

        return Data(
            on_device((tokens[stay], targets[stay])),
            on_device((tokens[held], targets[held])),
            lambda: on_device(self._test(trial, data_dir)),
        )

    def _test(self, trial: Trial, data_dir: Path) -> Split:
        name, count = self.info.name, self.info.test_images
        tokens, targets = source_of(name).read("test", count, trial.length or 1, data_dir)
        self._check(tokens)
        return tokens, targets

    def _check(self, tokens: Tensor) -> None:
        """Looks at all tokens once, which nets on a GPU cannot.

        Raises:
            UserError: one is outside the vocabulary, or a sequence has none.
        """
        try:
            check_tokens(tokens.flatten(0, -2), tokens.shape[-1], self.info.vocabulary)
        except MixerError as error:
            raise UserError(f"{self.info.name}: {error}") from error

    def augment(self, trial: Trial, memory_format: torch.memory_format = torch.contiguous_format) -> AsTokens:
        return AsTokens(trial.size[1])

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits (n, classes) with classes (n,), or of (n, N and more, classes) with (n, N)."""
        return F.cross_entropy(_given(output, targets).flatten(0, -2), targets.flatten(), ignore_index=IGNORED)

    @torch.no_grad()
    def scores(self, output: Tensor, targets: Tensor) -> tuple[dict[str, float], np.ndarray]:
        """Top-1 and mean cross-entropy over what is asked, and the most probable class of each."""
        best = _asked(_given(output, targets).argmax(-1), targets)
        hits = (best == _asked(targets, targets)).double().mean()
        top1, loss = torch.stack([hits, self.loss(output, targets).double()]).tolist()
        return {"top1_percent": 100 * top1, "loss": loss}, best.cpu().numpy().astype(self.info.prediction_dtype)

    def test_targets(self, trial: Trial, data_dir: Path) -> np.ndarray | None:
        try:
            targets = self._test(trial, data_dir)[1]
        except UserError:
            if self.info.procedural:
                raise
            return None
        return _asked(targets, targets).numpy()

    def trivial(self, data: Data, test: Batch) -> dict[str, float]:
        """Percent of the test split that predictors get right which are no net, by name."""
        made = source_of(self.info.name).baselines(_on_cpu(data.train), _on_cpu(test))
        return dict(made)


class AsTokens:
    """What a net takes: the tokens as int64, filled up with padding to its length; nothing is random."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.prepare(inputs), targets

    def prepare(self, inputs: Tensor) -> Tensor:
        return filled_up(inputs.long(), self.length)


def filled_up(tokens: Tensor, length: int) -> Tensor:
    """(..., N) -> (..., length), padding behind the others."""
    return F.pad(tokens, (0, length - tokens.shape[-1]), value=PADDING)


def source_of(name: str) -> Any:
    """The module of a data set."""
    return importlib.import_module(f"{__package__}.{name}")


def hold_out(count: int) -> tuple[Tensor, Tensor]:
    """Indices of the training examples that stay and of those held out, int64, each in ascending order."""
    order = torch.from_numpy(np.random.RandomState(0).permutation(count))  # a stream that never changes
    held = max(1, round(HOLD_OUT_SHARE * count))
    return order[held:].sort().values, order[:held].sort().values


@functools.lru_cache(maxsize=1)
def _training(name: str, count: int | None, length: int, data_dir: Path, procedural: bool) -> Split:
    if procedural and count is None:
        raise UserError(f"--train-images is not given; {name} needs a number of sequences, such as 20000")
    return source_of(name).read("train", count if procedural else None, length, data_dir)


def _given(output: Tensor, targets: Tensor) -> Tensor:
    """Of logits (n, N and more, classes) those of the N tokens that have targets; (n, classes) as they are."""
    return output if targets.ndim == 1 else output[:, : targets.shape[1]]


def _asked(values: Tensor, targets: Tensor) -> Tensor:
    """Of (n,) or (n, N) those of which something is asked: (n,), or (n, J), as many in each sequence."""
    if targets.ndim == 1:
        return values
    asked = targets != IGNORED
    return values[asked].view(len(values), -1)


def _on_cpu(batch: Batch) -> Split:
    return batch.inputs.cpu(), batch.targets.cpu()
