"""Batches to pre-train on, held to what plain Python makes of their tokens; shares by counting a great many."""

from __future__ import annotations

import collections

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.tasks.text import masking
from benchmarks.tasks.text.corpus.tokens import CLS, MASK, PAD, SEP, SPECIAL
from benchmarks.tasks.text.masking import IGNORED, ORDERS, Pretraining, most_masked, pretraining_batch

VOCABULARY = 261


def rows(lengths: list[int], width: int, seed: int = 0) -> torch.Tensor:
    """Segments of these lengths whose tokens are all different, row by row and among rows as far as there are any."""
    segments = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in enumerate(lengths):
        order = torch.randperm(VOCABULARY - SPECIAL, generator=torch.Generator().manual_seed(seed * 1000 + row))
        segments[row, :length] = SPECIAL + order[:length]
    return segments


def batch_of(segments: torch.Tensor, seed: int = 0, order: str = "swap", **options: float) -> Pretraining:
    return pretraining_batch(segments, VOCABULARY, torch.Generator().manual_seed(seed), order, **options)


def restored(batch: Pretraining) -> list[list[int]]:
    """The examples as they were before anything was masked, without PAD."""
    found = []
    for tokens, places, masked in zip(batch.tokens.tolist(), batch.places.tolist(), batch.masked.tolist(), strict=True):
        for place, token in zip(places, masked, strict=True):
            if token != IGNORED:
                tokens[place] = token
        real = tokens[: len(tokens) - next((i for i, token in enumerate(reversed(tokens)) if token != PAD), 0)]
        assert PAD not in real
        found.append(real)
    return found


def parts(example: list[int]) -> list[list[int]]:
    """The parts between CLS and each SEP."""
    assert example[0] == CLS and example[-1] == SEP
    found: list[list[int]] = [[]]
    for token in example[1:]:
        if token == SEP:
            found.append([])
        else:
            assert token >= SPECIAL
            found[-1].append(token)
    return found[:-1]


LENGTHS = st.integers(4, 40).flatmap(
    lambda width: st.tuples(st.lists(st.integers(2, width), min_size=2, max_size=9), st.just(width))
)


@given(LENGTHS, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_swapped_parts_are_the_whole_segment_and_the_label_says_in_which_order(shape, seed):
    lengths, width = shape
    segments = rows(lengths, width)
    batch = batch_of(segments, seed)
    assert batch.tokens.shape == (len(lengths), width + 3)
    for example, label, segment, real in zip(restored(batch), batch.order, segments.tolist(), lengths, strict=True):
        first, second = parts(example)
        assert first and second
        assert (second + first if label else first + second) == segment[:real]


@given(LENGTHS, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_random_second_part_is_that_of_another_segment_from_the_same_place_on(shape, seed):
    lengths, width = shape
    segments = rows(lengths, width).tolist()
    batch = batch_of(torch.tensor(segments), seed, "random")
    for row, (example, label) in enumerate(zip(restored(batch), batch.order, strict=True)):
        first, second = parts(example)
        other = (row - len(lengths) // 2) % len(lengths) if label else row
        assert other != row or not label
        assert first and second
        assert first == segments[row][: len(first)]
        assert second == segments[other][len(first) : lengths[other]]


@given(LENGTHS, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_without_an_order_the_segment_stands_alone(shape, seed):
    lengths, width = shape
    segments = rows(lengths, width)
    batch = batch_of(segments, seed, "none")
    for example, segment, real in zip(restored(batch), segments.tolist(), lengths, strict=True):
        assert parts(example) == [segment[:real]]
    assert batch.order.tolist() == [IGNORED] * len(lengths)


@given(LENGTHS, st.integers(0, 99), st.sampled_from(ORDERS))
@settings(max_examples=60, deadline=None)
def test_fifteen_in_a_hundred_tokens_of_text_are_asked_for_and_none_twice(shape, seed, order):
    lengths, width = shape
    batch = batch_of(rows(lengths, width), seed, order)
    assert batch.places.shape == batch.masked.shape == (len(lengths), most_masked(width + 3))
    for example, places, masked in zip(restored(batch), batch.places.tolist(), batch.masked.tolist(), strict=True):
        asked = [place for place, token in zip(places, masked, strict=True) if token != IGNORED]
        text = sum(token >= SPECIAL for token in example)
        assert abs(len(asked) - 0.15 * text) <= 0.5001 or len(asked) == 1
        assert len(set(asked)) == len(asked) >= 1
        assert all(example[place] >= SPECIAL for place in asked)
        assert all(place == 0 for place, token in zip(places, masked, strict=True) if token == IGNORED)


def test_at_most_a_fifth_is_asked_for_and_of_512_tokens_as_many_as_fnet_may():
    assert most_masked(512) == 76  # of 80
    assert all(most_masked(length) <= 0.2 * length for length in range(16, 600))


def test_eight_in_ten_become_mask_one_any_token_and_one_stays():
    segments = rows([125] * 400, 125)
    batch = batch_of(segments)
    asked = batch.masked != IGNORED
    seen, truth = batch.tokens.gather(1, batch.places)[asked], batch.masked[asked]
    count = len(truth)
    assert count == 400 * 19
    chance = 0.1 / (VOCABULARY - SPECIAL)
    for share, expected in [((seen == MASK), 0.8), ((seen == truth), 0.1 + chance)]:
        assert share.double().mean().item() == pytest.approx(
            expected, abs=4 * (expected * (1 - expected) / count) ** 0.5
        )
    others = seen[(seen != MASK) & (seen != truth)]
    assert others.min() >= SPECIAL and others.max() < VOCABULARY
    assert len(others.unique()) > 200
    assert not torch.isin(others, torch.tensor([PAD, CLS, SEP, MASK, 4])).any()


def test_nothing_else_is_touched():
    segments = rows([125, 60, 125, 33], 125)
    batch = batch_of(segments, order="none")
    plain = torch.zeros(4, 128, dtype=torch.int64)
    for row, real in enumerate([125, 60, 125, 33]):
        plain[row, : real + 2] = torch.cat([torch.tensor([CLS]), segments[row, :real], torch.tensor([SEP])])
    changed = (batch.tokens != plain).nonzero().tolist()
    asked = {(row, place) for row, places in enumerate(batch.places.tolist()) for place in places if place}
    assert {tuple(pair) for pair in changed} <= asked
    assert len(changed) > 30


def test_every_token_of_text_is_asked_for_equally_often():
    segments = rows([20], 40).repeat(4000, 1)
    batch = batch_of(segments, order="none")
    counts = collections.Counter(batch.places[batch.masked != IGNORED].tolist())
    assert set(counts) == set(range(1, 21))
    assert all(count == pytest.approx(600, abs=4 * 600**0.5) for count in counts.values())


def test_cuts_are_uniform_and_labels_fair():
    segments = rows([11], 20).repeat(8000, 1)
    batch = batch_of(segments)
    assert batch.order.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 8000**0.5)
    separators = (batch.tokens == SEP).to(torch.int64).argmax(1) - 1  # tokens of the first part
    for label in (0, 1):
        counts = collections.Counter(separators[batch.order == label].tolist())
        assert set(counts) == set(range(1, 11))
        assert all(count == pytest.approx(400, abs=4 * 20 + 20) for count in counts.values())


@pytest.mark.parametrize("order", ["swap", "random"])
def test_lengths_do_not_tell_the_label(order):
    """Neither the whole nor the first part is longer with one label than with the other."""
    lengths = torch.randint(4, 41, (20_000,), generator=torch.Generator().manual_seed(3))
    segments = torch.where(torch.arange(40) < lengths[:, None], 7, PAD)
    batch = batch_of(segments, order=order)
    whole = (batch.tokens != PAD).sum(1).double()
    first = (batch.tokens == SEP).to(torch.int64).argmax(1).double()
    for number in (whole, first, whole - first):
        apart = number[batch.order == 1].mean() - number[batch.order == 0].mean()
        assert abs(apart.item()) < 4 * number.std().item() * 2 / 20_000**0.5


@pytest.mark.parametrize("order", ORDERS)
def test_a_generator_makes_the_same_batch_and_another_a_different_one(order):
    segments = rows([30] * 8, 30)
    torch.manual_seed(1)
    one = batch_of(segments, 5, order)
    torch.manual_seed(2)  # of no account
    same, other = batch_of(segments, 5, order), batch_of(segments, 6, order)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.tokens, other.tokens)


@pytest.mark.parametrize("order", ORDERS)
def test_a_generator_that_is_put_back_goes_on_with_the_same_batches(order):
    segments, generator = rows([30] * 8, 30), torch.Generator().manual_seed(0)
    pretraining_batch(segments, VOCABULARY, generator, order)
    state = generator.get_state()
    one = pretraining_batch(segments, VOCABULARY, generator, order)
    again = torch.Generator()
    again.set_state(state)
    same = pretraining_batch(segments, VOCABULARY, again, order)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8])
def test_segments_may_be_of_any_integers(dtype):
    segments = rows([30, 12], 30) % 200
    assert all(torch.equal(a, b) for a, b in zip(batch_of(segments), batch_of(segments.to(dtype)), strict=True))


class Unread(TorchDispatchMode):
    """Refuses what reads a number back, or has a shape that depends on one: a graph cannot hold it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "masked_select", "unique"), func
        assert func.overloadpacket.__name__ != "index" or all(
            index is None or index.dtype != torch.bool for index in args[1]
        )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_is_read_back(order):
    segments, generator = rows([30, 8, 30], 30), torch.Generator().manual_seed(0)
    with Unread():
        pretraining_batch(segments, VOCABULARY, generator, order)
    with pytest.raises(AssertionError), Unread():
        segments[0, 0].item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("order", ORDERS)
def test_a_graph_makes_the_same_batches(order):
    segments, generator = rows([30, 8, 30, 12], 30).cuda(), torch.Generator("cuda").manual_seed(0)
    expected = [pretraining_batch(segments, VOCABULARY, generator, order) for _ in range(3)]
    generator.manual_seed(0)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        batch = pretraining_batch(segments, VOCABULARY, generator, order)
    generator.manual_seed(0)
    for one in expected:
        graph.replay()
        assert all(torch.equal(a, b) for a, b in zip(one, batch, strict=True))


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="allowed: swap, random, none"):
        batch_of(rows([8, 8], 8), order="next")
    with pytest.raises(ValueError, match="a batch has at least two"):
        batch_of(rows([8], 8), order="random")


def test_another_share_asks_for_more():
    batch = batch_of(rows([100, 40], 100), share=0.3)
    assert (batch.masked != IGNORED).sum(1).tolist() == [30, 12]
    assert masking.SHARE == 0.15
