"""Masked modelling of a task's own training sequences, before the task: PRETRAIN=own.

Amos, Berant and Gupta, "Never Train from Scratch" (2024, https://arxiv.org/abs/2310.02980): nets learn long sequences
far better where they first learn to fill in masked tokens of the same training set. Here the first third of the epochs
goes to that, rounded, and the rest to the task, so that the steps are as many as without. Each part has the whole
schedule of rates, warm-up too, and an optimizer of its own. The net is the task's but for its head, which gives one of
the vocabulary for every token, and for one more token in its vocabulary, which stands where one is masked; both are
dropped. What is masked is drawn anew in each step, the data set's share of the real tokens and at least one a sequence;
two documents are two sequences. Amos et al. take as long for each part as they need.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from benchmarks.contract.facts.datasets import DatasetInfo
from benchmarks.contract.trial import Trial
from benchmarks.tasks.sequences import IGNORED, PADDING, SequenceClassification, filled_up
from benchmarks.tasks.task import Data, Task
from mixers import MixerNet

JUDGED = 512  # held-out sequences whose masked tokens are looked at after each epoch
TOKENS_AT_ONCE = 2**15


def pretraining_epochs(trial: Trial) -> int:
    """The epochs of a trial that go to masked modelling."""
    return max(1, round((trial.epochs or 0) / 3)) if trial.pretrain == "own" else 0


class MaskedTokens:
    """Masks tokens: (B, N) or (B, 2, N) -> (B', length), and the tokens that were there, IGNORED elsewhere."""

    def __init__(self, info: DatasetInfo, length: int) -> None:
        self.share, self.mask, self.length = info.masked_share, info.vocabulary or 0, length

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        tokens = self.prepare(inputs)
        draw = torch.rand(tokens.shape, generator=generator, device=tokens.device)
        draw = draw.masked_fill(tokens == PADDING, 2.0)  # never the lowest
        chosen = (draw < self.share) | (draw == draw.amin(-1, keepdim=True))
        return tokens.masked_fill(chosen, self.mask), tokens.masked_fill(~chosen, IGNORED)

    def prepare(self, inputs: Tensor) -> Tensor:
        return filled_up(inputs.long().flatten(0, -2), self.length)


class MaskedModelling:
    """What stands for the task while a net fills in masked tokens."""

    def __init__(self, task: Task) -> None:
        info = task.info
        self.info, vocabulary = info, info.vocabulary or 0
        as_task = dataclasses.replace(info, num_classes=vocabulary, vocabulary=vocabulary + 1, per_token=True, towers=1)
        self.as_task = SequenceClassification(as_task)

    def net(self, trial: Trial) -> MixerNet:
        net = self.as_task.net(trial)
        assert isinstance(net, MixerNet)
        return net

    def augment(self, trial: Trial, memory_format: torch.memory_format = torch.contiguous_format) -> MaskedTokens:
        return MaskedTokens(self.info, trial.size[1])

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return self.as_task.loss(output, targets)

    @torch.no_grad()
    def judge(
        self, net: nn.Module, trial: Trial, data: Data, autocast: Callable[[], AbstractContextManager[object]]
    ) -> dict[str, float | None]:
        """Mean cross-entropy of masked held-out tokens, the same ones in every epoch."""
        net.eval()
        masker, generator = MaskedTokens(self.info, trial.size[1]), torch.Generator(trial.device).manual_seed(0)
        inputs = data.val.inputs[:JUDGED]
        total, count = 0.0, 0
        for chunk in inputs.split(max(1, TOKENS_AT_ONCE // inputs[0].numel())):
            masked, targets = masker(chunk, chunk, generator)
            with autocast():
                output = net(masked).float()
            asked = int((targets != IGNORED).sum())
            total, count = total + self.loss(output, targets).item() * asked, count + asked
        return {"val_top1_percent": None, "val_loss": total / count}


def hand_over(pretrained: MixerNet, net: nn.Module) -> None:
    """Copies all weights but the head's into the net of the task; of the embedding all but the mask's."""
    target = net if isinstance(net, MixerNet) else net.get_submodule("tower")
    learned = dict(pretrained.named_parameters()) | dict(pretrained.named_buffers())
    with torch.no_grad():
        for name, own in [*target.named_parameters(), *target.named_buffers()]:
            if not name.startswith("head."):
                own.copy_(learned[name][: len(own)] if name == "stem.weight" else learned[name])
