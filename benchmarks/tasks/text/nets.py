"""The two nets on a TextEncoder: one that is pre-trained, and one that says something of a passage."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contract.facts.datasets import vocabulary_of
from benchmarks.contract.trial import Trial
from benchmarks.tasks.text.corpus.tokens import types_of
from benchmarks.tasks.text.masking import IGNORED
from mixers import TextEncoder
from mixers.base import Mixer


def encoder_of(trial: Trial) -> TextEncoder:
    """The trial's encoder, its weights drawn from the generator as it stands; padding is mixed, as in FNet."""
    assert trial.tokenizer is not None
    return TextEncoder(
        trial.mixer,
        vocabulary=vocabulary_of(trial.tokenizer),
        length=trial.size[1],
        dim=trial.dim,
        depth=trial.depth,
        seed=trial.seed,
        gain=trial.gain,
    )


class OnEncoder(nn.Module):
    """What the measurement asks of a net, as far as it is the encoder's."""

    memory_format = TextEncoder.memory_format

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def mixers(self) -> list[Mixer]:
        return self.encoder.mixers

    @property
    def blocks(self) -> nn.ModuleList:
        return self.encoder.blocks

    def no_weight_decay(self) -> set[str]:
        return {f"encoder.{name}" for name in self.encoder.no_weight_decay()}

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        return self.encoder.method_on(device, dtype)


class PretrainingNet(OnEncoder):
    """What was masked, and whether the parts of a passage stand in their order: (B, N + 2 K) -> (B, 2 K + 2).

    In are N tokens, K places and the tokens that were there; IGNORED where fewer places are asked for. Out are the
    cross-entropies of the K tokens, 0 where none is asked for, the most probable tokens, and two logits of the order:
    logits of a vocabulary at every place would take hundreds of times the memory.
    """

    def __init__(self, encoder: TextEncoder, places: int) -> None:
        super().__init__(encoder)
        self.places = places
        self.order = nn.Linear(encoder.dim, 2)
        nn.init.normal_(self.order.weight, std=0.02)
        nn.init.zeros_(self.order.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens, at, masked = x.split([self.encoder.length, self.places, self.places], 1)
        hidden = self.encoder(tokens, types_of(tokens), F.pad(at, (1, 0)))  # CLS, and what is asked for
        logits = self.encoder.predict(hidden[:, 1:]).float()
        losses = F.cross_entropy(logits.flatten(0, 1), masked.flatten(), ignore_index=IGNORED, reduction="none")
        order = self.order(self.encoder.pool(hidden)).float()
        return torch.cat([losses.view_as(masked), logits.argmax(-1).float(), order], 1)

    def flops(self) -> int:
        return self.encoder.flops(self.places, pooled=True) + 4 * self.encoder.dim

    def flops_executed(self) -> int:
        return (
            self.encoder.flops_executed(self.places, pooled=True)
            + 4 * self.encoder.dim
            - _left_out(self.encoder, self.places + 1)
        )


class PassageNet(OnEncoder):
    """Something said of a passage, or of two: tokens (B, N) -> (B, outputs), by a dense on the pooled encoder."""

    def __init__(self, encoder: TextEncoder, outputs: int) -> None:
        super().__init__(encoder)
        self.outputs = outputs
        self.head = nn.Linear(encoder.dim, outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        first = tokens.new_zeros(len(tokens), 1, dtype=torch.int64)
        return self.head(self.encoder.pool(self.encoder(tokens, types_of(tokens), first)))

    def flops(self) -> int:
        return self.encoder.flops(pooled=True) + 2 * self.encoder.dim * self.outputs

    def flops_executed(self) -> int:
        head = 2 * self.encoder.dim * self.outputs
        return self.encoder.flops_executed(pooled=True) + head - _left_out(self.encoder, 1)


def _left_out(encoder: TextEncoder, places: int) -> int:
    """FLOPs of the last block's denses at the places that nothing is asked of."""
    if not encoder.depth:
        return 0
    last: Any = encoder.blocks[-1]
    denses = 2 * encoder.ff_dim + (0 if last.dense is None else last.mixer.out_channels)
    return 2 * encoder.dim * denses * (encoder.length - places)
