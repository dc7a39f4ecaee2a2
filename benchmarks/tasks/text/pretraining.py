"""Pre-training: masked tokens (Devlin et al., "BERT", 2019) and the order of two parts (the code of FNet, 2022).

An epoch is as many passages as the trial says, one such part of the corpus after another in a random order, so that
curves have points however large the corpus is. Held out and tested are whole passages, masked once and for all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DatasetInfo, typed_corpus, vocabulary_of
from benchmarks.contract.trial import Trial
from benchmarks.contract.words import counted
from benchmarks.tasks.own import cache_folder
from benchmarks.tasks.task import Batch, Data
from benchmarks.tasks.text.corpus import corpora
from benchmarks.tasks.text.corpus.levels import frequencies
from benchmarks.tasks.text.corpus.packing import Packed, packed
from benchmarks.tasks.text.corpus.tokenization import tokenizer_for
from benchmarks.tasks.text.corpus.tokens import CLS, SPECIAL
from benchmarks.tasks.text.masking import IGNORED, most_masked, pretraining_batch
from benchmarks.tasks.text.nets import PretrainingNet, encoder_of

NAMES_OF_LEVELS = {
    "accuracy_percent": "frequencies",
    "loss_nats": "frequencies_loss",
    "own_place_accuracy_percent": "own_place",
    "own_place_loss_nats": "own_place_loss",
}
HELD_OUT = 1_000  # passages that choices are made on
EVALUATED_WITH = {"val": 1, "test": 2}  # seeds of what is masked in the two splits


class Pretraining:
    """Masked tokens and the order of two parts, on one corpus."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    def grid(self, trial: Trial) -> tuple[int, int]:
        return trial.grid

    def net(self, trial: Trial) -> nn.Module:
        torch.manual_seed(trial.seed)
        return PretrainingNet(encoder_of(trial), most_masked(trial.size[1]))

    def example(self, trial: Trial, n: int, device: str) -> Batch:
        """Tokens CLS, places 1 to K, and the first token of text at each."""
        length, places = trial.size[1], most_masked(trial.size[1])
        tokens = torch.full((n, length), SPECIAL, device=device)
        tokens[:, 0] = CLS
        at = torch.arange(1, places + 1, device=device).expand(n, -1)
        masked = torch.full((n, places), SPECIAL, device=device)
        return Batch(torch.cat([tokens, at, masked], 1), _targets(masked, masked.new_zeros(n)))

    def check_files(self, trial: Trial, data_dir: Path) -> None:
        """Nothing that `load` does not find out."""

    def load(self, trial: Trial, data_dir: Path, device: torch.device) -> Data:
        """Segments, uint16 (n, N - 3), mapped into memory; on a GPU, copied there."""
        if trial.padded_length is not None:
            raise UserError("--padded-length is for tasks on passages; pretrain fills its passages")
        found = packed_of(trial, data_dir)
        segments = torch.from_numpy(found.segments("train")).view(torch.int16)
        train = segments.to(device) if device.type != "cpu" else segments

        def evaluated(split: str) -> tuple[Tensor, Tensor]:
            inputs, targets = self._evaluated(trial, found, split)
            return inputs.to(device), targets.to(device)

        made = Chunks(
            (train, torch.zeros(len(train), dtype=torch.int8, device=device)),
            evaluated("val"),
            functools.partial(evaluated, "test"),
        )
        made.packed = found
        made.epoch_size = trial.train_images or len(train)
        return made

    def _evaluated(self, trial: Trial, found: Packed, split: str) -> tuple[Tensor, Tensor]:
        """Whole passages of a split, spread evenly over it, masked."""
        segments = found.segments(split)
        whole = np.flatnonzero((segments >= SPECIAL).all(1))  # so that as many tokens are asked for in each
        most = HELD_OUT if split == "val" else self.info.test_images
        if len(whole) < 2:
            there = f"{counted(len(whole), 'whole passage')} of {trial.length} tokens to test on, 2 are needed"
            smaller = f"type a smaller {called.option('length')}, or a longer {called.option('text')}"
            raise UserError(f"the text {trial.corpus} has {there}; {smaller}")
        chosen = whole[np.unique(np.linspace(0, len(whole) - 1, min(most, len(whole))).astype(int))]
        generator = torch.Generator().manual_seed(EVALUATED_WITH[split])
        chosen = chosen[torch.randperm(len(chosen), generator=generator).numpy()]  # neighbours are of other documents
        return self._asked(trial, torch.from_numpy(segments[chosen].astype(np.int64)), generator)

    def _asked(self, trial: Trial, segments: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        assert trial.tokenizer is not None
        batch = pretraining_batch(segments, vocabulary_of(trial.tokenizer), generator, trial.order)
        inputs = torch.cat([batch.tokens, batch.places, batch.masked], 1)
        return inputs, _targets(batch.masked, batch.order)

    def augment(self, trial: Trial, memory_format: torch.memory_format = torch.contiguous_format) -> Masker:
        return Masker(functools.partial(self._asked, trial))

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of masked tokens, and that of the order beside it."""
        losses, _, order = _parts(output)
        asked = (targets[:, 1:] != IGNORED).sum().clamp(min=1)
        return losses.sum() / asked + _of_order(order, targets[:, 0])

    @torch.no_grad()
    def scores(self, output: Tensor, targets: Tensor) -> tuple[dict[str, float], np.ndarray]:
        """Of masked tokens the share that is right and the mean cross-entropy; of the order the same."""
        losses, best, order = _parts(output)
        masked, label = targets[:, 1:], targets[:, 0]
        asked = _asked_of_all(masked)
        found = {
            "top1_percent": 100 * (best == masked)[asked].double().mean(),
            "loss": losses.double()[asked].mean(),
        }
        if bool((label != IGNORED).all()):
            right = (order.argmax(1) == label).double().mean()
            found |= {"order_percent": 100 * right, "order_loss": _of_order(order, label)}
        kept = best[:, asked[0]].cpu().numpy().astype(self.info.prediction_dtype)
        return {name: float(value) for name, value in found.items()}, kept

    def trivial(self, data: Data, test: Batch) -> dict[str, float]:
        """The levels of token frequencies, and of what a net without mixing can reach: see `levels`."""
        assert isinstance(data, Chunks)
        found = frequencies(data.packed)
        return {NAMES_OF_LEVELS[name]: value for name, value in found.items()}

    def test_targets(self, trial: Trial, data_dir: Path) -> np.ndarray | None:
        try:
            targets = self._evaluated(trial, packed_of(trial, data_dir), "test")[1]
        except UserError:
            return None
        masked = targets[:, 1:]
        return masked[:, _asked_of_all(masked)[0]].numpy()


class Chunks(Data):
    """Segments of which every epoch takes the next part, in an order that the seed decides."""

    epoch_size: int
    packed: Packed

    @property
    def epoch_examples(self) -> int:
        return self.epoch_size

    def examples_of(self, epoch: int, seed: int) -> Tensor:
        """The numbers of an epoch's examples, int64, all of one pass over the corpus before any of the next."""
        total, start = len(self.train.targets), epoch * self.epoch_size
        passes = range(start // total, (start + self.epoch_size - 1) // total + 1)
        orders = [torch.randperm(total, generator=torch.Generator().manual_seed(seed * 1_000_003 + n)) for n in passes]
        first = start - passes[0] * total
        return torch.cat(orders)[first : first + self.epoch_size].to(self.train.targets.device)


class Masker:
    """Masks segments anew in each step; what is evaluated was masked before."""

    def __init__(self, asked: Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]) -> None:
        self._asked = asked

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self._asked(from_16_bits(inputs), generator)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs


def from_16_bits(kept: Tensor) -> Tensor:
    """int64 of tokens that are kept as uint16 in tensors of int16, for which PyTorch has all operators."""
    return kept.long() & 0xFFFF


def packed_of(trial: Trial, data_dir: Path) -> Packed:
    """The segments of a trial's corpus."""
    corpus = corpora.open_corpus(typed_corpus(trial.corpus), data_dir)
    if trial.dataset_source not in (None, corpus.hash):
        raise UserError(f"the text {corpus.source} is another now than when this was planned; type the command again")
    cache = cache_folder(data_dir)
    assert trial.tokenizer is not None and trial.length is not None
    return packed(corpus, tokenizer_for(trial.tokenizer, corpus, cache), trial.length, cache)


def _targets(masked: Tensor, order: Tensor) -> Tensor:
    """(B, 1 + K): the order, then what was masked."""
    return torch.cat([order[:, None], masked], 1)


def _parts(output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropies (B, K), most probable tokens (B, K), logits of the order (B, 2)."""
    places = (output.shape[1] - 2) // 2
    losses, best, order = output.split([places, places, 2], 1)
    return losses, best.long(), order


def _asked_of_all(masked: Tensor) -> Tensor:
    """Which of (B, K) are judged: as many in each passage; whole ones are asked for as many tokens all."""
    return (masked != IGNORED).all(0).expand(masked.shape)


def _of_order(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy; 0 where the order is not asked for."""
    asked = (label != IGNORED).sum().clamp(min=1)
    return F.cross_entropy(logits, label, ignore_index=IGNORED, reduction="sum") / asked
