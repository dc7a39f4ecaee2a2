"""From segments to what a net is pre-trained on: masked tokens (BERT) and the order of two parts (FNet).

Masked language model of Devlin et al., "BERT" (2019): 15 % of the tokens of text are asked for, of which 80 % become
MASK, 10 % any token of text, and 10 % stay. The second question is that of the code of Lee-Thorp et al., "FNet" (2022),
which the paper calls next sentence prediction: a segment is cut at a random place, there between two lines and here
anywhere, and its parts are exchanged in half of the examples ("swap"; the sentence order of ALBERT, Lan et al., 2020).
BERT's own asks whether the second part follows the first or is from another segment ("random"); "none" asks nothing.

All shapes depend on those of the segments alone, nothing is read back from the device, and every random number comes
from the generator: a step of it can be captured in a CUDA graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.tasks.text.corpus.packing import BESIDE
from benchmarks.tasks.text.corpus.tokens import CLS, MASK, PAD, SEP, SPECIAL

ORDERS = ("swap", "random", "none")
SHARE = 0.15  # of the tokens of text that are asked for
MASKED, REPLACED = 0.8, 0.1  # of those; the rest stays
IGNORED = -100  # by cross_entropy: a place that is not asked for, or an example without a second question


class Pretraining(NamedTuple):
    """A batch of B examples of N tokens, K of which at most are asked for.

    Attributes:
        tokens: int64 (B, N), as the net reads them.
        places: int64 (B, K), which of them are asked for; 0 where fewer are.
        masked: int64 (B, K), what stood there; -100 where fewer are.
        order: int64 (B,), 1 where the parts are exchanged ("swap") or of two segments ("random"), else 0; -100 if
            nothing is asked ("none").
    """

    tokens: Tensor
    places: Tensor
    masked: Tensor
    order: Tensor


def most_masked(length: int, share: float = SHARE) -> int:
    """K: how many tokens are asked for of an example of N tokens whose segment is full; 76 of 512."""
    return max(1, round(share * (length - BESIDE)))


def pretraining_batch(
    segments: Tensor, vocabulary: int, generator: torch.Generator, order: str = "swap", share: float = SHARE
) -> Pretraining:
    """Examples to pre-train on, of N = L + 3 tokens, one of each segment.

    Args:
        segments: integers (B, L) on the generator's device, text and behind it PAD; of each at least two tokens. Order
            "random" takes second parts from half a batch away: take segments in a random order, so that these are of
            other documents.
        vocabulary: number of tokens.
        generator: of all random numbers.
        order: "swap", "random" or "none".
        share: of the tokens of text, those that are asked for; at least one is.
    """
    segments = segments.to(torch.int64)
    if order == "none":
        tokens, label = _alone(segments), segments.new_full((len(segments),), IGNORED)
    elif order == "swap":
        tokens, label = _swapped(segments, generator)
    elif order == "random":
        tokens, label = _of_two(segments, generator)
    else:
        raise ValueError(f"order {order!r}; allowed: {', '.join(ORDERS)}")
    return Pretraining(*_masked(tokens, vocabulary, generator, share), label)


def _alone(segments: Tensor) -> Tensor:
    """[CLS] segment [SEP]."""
    real = _lengths(segments)
    return _pair(segments, segments, real, real, real)


def _swapped(segments: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Segments cut in two, the parts exchanged in half of them."""
    real = _lengths(segments)
    cut, label = _cuts(real, generator), _coins(segments, generator)
    first = torch.where(label == 1, real - cut, cut)
    start = torch.where(label == 1, cut, 0)  # in the segment, of what comes first
    width = segments.shape[1]
    place = torch.arange(width, device=segments.device)
    turned = segments.gather(1, (place + start[:, None]) % real[:, None].clamp(min=1))
    turned = torch.where(place < real[:, None], turned, PAD)
    return _pair(turned, turned, first, first, real), label


def _of_two(segments: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Segments cut in two; in half of them the second part is that of the segment half a batch away.

    Both are cut at one place that is inside both, so that an example's length says nothing of its label.
    """
    if len(segments) < 2:
        raise ValueError("order 'random' takes a second part from another segment: a batch has at least two")
    other = segments.roll(len(segments) // 2, 0)
    real, others = _lengths(segments), _lengths(other)
    cut, label = _cuts(torch.minimum(real, others), generator), _coins(segments, generator)
    alien = label == 1
    second = torch.where(alien[:, None], other, segments)
    return _pair(segments, second, cut, cut, torch.where(alien, others, real)), label


def _lengths(segments: Tensor) -> Tensor:
    return (segments != PAD).sum(1)


def _cuts(real: Tensor, generator: torch.Generator) -> Tensor:
    """A place inside each segment, uniform on 1 .. real - 1."""
    draw = torch.rand(real.shape, generator=generator, device=real.device)
    return 1 + torch.minimum((draw * (real - 1)).to(torch.int64), real - 2)


def _coins(segments: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (len(segments),), generator=generator, device=segments.device)


def _pair(first: Tensor, second: Tensor, ends: Tensor, starts: Tensor, stops: Tensor) -> Tensor:
    """[CLS] first[:ends] [SEP] second[starts:stops] [SEP] and PAD, (B, L + 3); without the second part if it is empty.

    Args:
        first: (B, L).
        second: (B, L).
        ends: (B,), as `starts` and `stops`.
    """
    width = first.shape[1]
    place = torch.arange(width + BESIDE, device=first.device)[None]
    ends, starts, stops = ends[:, None], starts[:, None], stops[:, None]
    from_first = first.gather(1, (place - 1).clamp(0, width - 1).expand(len(first), -1))
    from_second = second.gather(1, (place - 2 - ends + starts).clamp(0, width - 1))
    last = ends + 1 + torch.where(stops > starts, stops - starts + 1, 0)
    tokens = torch.where(place <= ends, from_first, from_second)
    tokens = torch.where((place == ends + 1) | (place == last), SEP, tokens)
    return torch.where(place == 0, CLS, torch.where(place > last, PAD, tokens))


def _masked(tokens: Tensor, vocabulary: int, generator: torch.Generator, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens with some of them masked, where these are, and what they were."""
    text = tokens >= SPECIAL
    count = (share * text.sum(1)).round().clamp(min=1)
    scores = torch.rand(tokens.shape, generator=generator, device=tokens.device).masked_fill(~text, -1)
    scores, places = scores.topk(most_masked(tokens.shape[1], share), 1)
    asked = (torch.arange(places.shape[1], device=tokens.device) < count[:, None]) & (scores >= 0)
    places = torch.where(asked, places, 0)
    there = tokens.gather(1, places)
    draw = torch.rand(places.shape, generator=generator, device=tokens.device)
    anything = torch.randint(SPECIAL, vocabulary, places.shape, generator=generator, device=tokens.device)
    instead = torch.where(draw < MASKED, MASK, torch.where(draw < MASKED + REPLACED, anything, there))
    instead = torch.where(asked, instead, there)  # place 0, which is CLS and stays
    return tokens.scatter(1, places, instead), places, torch.where(asked, there, IGNORED)
