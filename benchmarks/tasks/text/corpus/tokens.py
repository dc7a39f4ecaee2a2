"""The tokens that stand before all others in every vocabulary, and what follows from where they stand."""

from __future__ import annotations

import torch
from torch import Tensor

PAD, CLS, SEP, MASK, UNK = range(5)
SPECIAL = 5  # tokens that no text is made of; a byte b is token SPECIAL + b
NAMES = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")


def types_of(tokens: Tensor) -> Tensor:
    """BERT's token types, int64 as `tokens` (B, N): 0 up to the first SEP and with it, 1 behind it."""
    separators = (tokens == SEP).to(torch.int64)
    return (separators.cumsum(-1) - separators).clamp(max=1)
