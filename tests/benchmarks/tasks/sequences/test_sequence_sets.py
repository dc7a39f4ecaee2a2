"""The procedural sets of sequences: what they ask, in plain Python; that they come again; what trivial guesses get."""

from __future__ import annotations

import collections
import hashlib
import importlib
import itertools
import statistics
from pathlib import Path

import pytest
import torch

from benchmarks.tasks.sequences.parts import drawn

NAMES = ["copy", "first", "match", "recall", "reverse", "sort", "two_hop"]
NO_DATA = Path("nowhere")
SOME = 500


def data_set(name):
    return importlib.import_module(f"benchmarks.tasks.sequences.{name}")


def examples(name: str, count: int = 200, length: int = 32, split: str = "test") -> list[tuple[list[int], list[int]]]:
    tokens, targets = data_set(name).read(split, count, length, NO_DATA)
    return list(zip(tokens.tolist(), targets.tolist(), strict=True))


def lengths(name: str) -> list[int]:
    sets = data_set(name)
    return [sets.LEAST_LENGTH, sets.LEAST_LENGTH + 1, 32, 33, 100]


def answered_recall(tokens: list[int]) -> list[int]:
    pairs = dict(divmod(token - 1, 16) for token in tokens if token <= 256)
    return [-100 if token <= 256 else pairs[token - 257] for token in tokens]


def answered_two_hop(tokens: list[int]) -> list[int]:
    following = dict(divmod(token - 1, 16) for token in tokens if token <= 256)

    def answered(token: int) -> int:
        return following[token - 257] if token < 273 else following[following[token - 273]]

    return [-100 if token <= 256 else answered(token) for token in tokens]


def answered_copy(tokens: list[int]) -> list[int]:
    return [-100] * (len(tokens) - 6) + [token - 1 for token in tokens if token <= 16]


ANSWERS = {
    "match": lambda tokens: [int(tokens.count(token) > 1) for token in tokens],
    "recall": answered_recall,
    "copy": answered_copy,
    "two_hop": answered_two_hop,
    "reverse": lambda tokens: [tokens[len(tokens) - 1 - i] - 1 for i in range(len(tokens))],
    "first": lambda tokens: [(token - 1 + tokens[0] - 1) % 8 for token in tokens],
    "sort": lambda tokens: sorted(token - 1 for token in tokens),
}


@pytest.mark.parametrize("name", NAMES)
def test_targets_are_what_the_set_asks(name):
    for length in lengths(name):
        for tokens, targets in examples(name, 60, length):
            assert len(tokens) == length and targets == ANSWERS[name](tokens)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_and_classes_stay_within_what_the_set_says(name):
    sets = data_set(name)
    tokens, targets = sets.read("train", 3000, 32, NO_DATA)
    asked = targets[targets != -100]
    never = {1 + 17 * key for key in range(16)} if name == "two_hop" else set()  # a key is not its own value
    assert set(tokens.unique().tolist()) == set(range(1, sets.VOCABULARY)) - never  # and 0, padding, is none
    assert set(asked.unique().tolist()) == set(range(sets.NUM_CLASSES))
    assert targets.dtype == torch.int64
    assert tokens.dtype == (torch.uint8 if sets.VOCABULARY <= 256 else torch.int16)


def test_a_sequence_of_recall_shows_every_key_once_and_asks_for_each():
    for tokens, _ in examples("recall"):
        assert sorted((token - 1) // 16 for token in tokens[:16]) == list(range(16))
        assert sorted(token - 257 for token in tokens[16:]) == list(range(16))
    for tokens, _ in examples("recall", length=80):
        shown = collections.Counter(token - 1 for token in tokens[:40])
        assert len(shown) == 16 and set(shown.values()) <= {2, 3}
        assert {token - 257 for token in tokens[40:]} == set(range(16))


@pytest.mark.parametrize("length", [8, 17, 32, 70])
def test_the_pairs_of_two_hop_lead_through_all_keys_shown_and_half_the_questions_ask_two_steps(length):
    shown, far = min(16, length // 2), 0
    for tokens, _ in examples("two_hop", length=length):
        following = dict(divmod(token - 1, 16) for token in tokens[: length // 2])
        key, passed = next(iter(following)), []
        while key not in passed:
            passed.append(key)
            key = following[key]
        assert len(passed) == len(following) == shown and key == passed[0]
        assert {(token - 257) % 16 for token in tokens[length // 2 :]} == set(passed)
        far += sum(token >= 273 for token in tokens)
    questions = 200 * (length - length // 2)
    assert abs(far - questions / 2) < 2 * questions**0.5


def test_a_sequence_of_copy_holds_six_symbols_and_asks_at_its_end():
    places = collections.Counter()
    for tokens, _ in examples("copy", 2600):
        kept = [place for place, token in enumerate(tokens) if token <= 16]
        assert len(kept) == 6 and tokens[-6:] == [18] * 6
        places.update(kept)
    assert set(places) == set(range(26))
    assert all(abs(times - 600) < 5 * 600**0.5 for times in places.values())


@pytest.mark.parametrize("length", [8, 16, 32])
def test_of_match_three_in_five_occur_once(length):
    _, targets = data_set("match").read("test", 10_000, length, NO_DATA)
    expected = (1 - 1 / (2 * length)) ** (length - 1)
    assert abs(1 - targets.double().mean() - expected) < 0.005 and 0.60 < expected < 0.64


@pytest.mark.parametrize("name", NAMES)
def test_more_examples_begin_with_the_same(name):
    few, many = (data_set(name).read("train", count, 20, NO_DATA) for count in (700, 2300))
    assert torch.equal(few[0], many[0][:700]) and torch.equal(few[1], many[1][:700])
    assert len(many[0]) == 2300


def test_without_a_count_there_is_a_whole_set():
    assert [len(data_set("first").read(split, None, 4, NO_DATA)[0]) for split in ("train", "test")] == [60_000, 10_000]
    with pytest.raises(ValueError, match="'validation'"):
        data_set("first").read("validation", 10, 4, NO_DATA)


def fingerprint(name: str) -> str:
    tokens, targets = data_set(name).read("train", 1500, 32, NO_DATA)
    return hashlib.sha256(tokens.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()[:16]


FIRST_RELEASE = {
    "copy": "45959e891694bc01",
    "first": "58364acd33620815",
    "match": "d1a951855fe11b9e",
    "recall": "18d089729c87cfda",
    "reverse": "5f01ae4dd468263b",
    "sort": "9aa9dee1e60bb414",
    "two_hop": "c1ac812d64a72a37",
}


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_those_of_the_first_release(name):
    # in any process: records made with others would not be comparable
    assert fingerprint(name) == FIRST_RELEASE[name]


@pytest.mark.parametrize("name", NAMES)
def test_train_and_test_share_no_sequence(name):
    seen = [
        {row.tobytes() for row in data_set(name).read(split, 20_000, 32, NO_DATA)[0].numpy()}
        for split in ("train", "test")
    ]
    assert [len(rows) for rows in seen] == [20_000, 20_000] and not seen[0] & seen[1]


def right(guess, name: str, length: int = 32) -> float:
    """Percent right of guess(tokens) -> one guess a place, over the places that are asked."""
    pairs = [
        (said, target)
        for tokens, targets in examples(name, SOME, length)
        for said, target in zip(guess(tokens), targets, strict=True)
        if target != -100
    ]
    return 100 * sum(said == target for said, target in pairs) / len(pairs)


def commonest(symbols: list[int]) -> int:
    """The smallest of the most frequent."""
    return min(set(symbols), key=lambda symbol: (-symbols.count(symbol), symbol))


def heaviest_by_place(tokens: list[int]) -> list[int]:
    """Of copy: the ranks of a symbol's place, counted over all choices of five other places; of 13 source places."""
    sources = tokens[:-6]
    weights = collections.defaultdict(float)
    for chosen in itertools.combinations(range(len(sources)), 6):
        for rank, place in enumerate(chosen):
            if sources[place] <= 16:
                weights[rank, sources[place] - 1] += 1
    return [-1] * len(sources) + [max(range(16), key=lambda symbol: weights[rank, symbol]) for rank in range(6)]


GUESSES = {
    "match": lambda tokens: [int(sum(tokens.count(token) > 1 for token in tokens) > len(tokens) / 2)] * len(tokens),
    "recall": lambda tokens: [commonest([(token - 1) % 16 for token in tokens[: len(tokens) // 2]])] * len(tokens),
    "copy": lambda tokens: [commonest([token - 1 for token in tokens if token <= 16])] * len(tokens),
    "reverse": lambda tokens: [commonest(tokens) - 1] * len(tokens),
    "first": lambda tokens: [(token - 1 + commonest(tokens) - 1) % 8 for token in tokens],
    "sort": lambda tokens: [commonest(tokens) - 1] * len(tokens),
}


def baselines(name: str, count: int, length: int) -> dict[str, float]:
    return data_set(name).baselines(
        *(data_set(name).read(split, count, length, NO_DATA) for split in ("train", "test"))
    )


@pytest.mark.parametrize("name", GUESSES)
@pytest.mark.parametrize("length", [16, 33])
def test_baselines_are_what_plain_guesses_get(name, length):
    found = baselines(name, SOME, length)
    assert found["bag_of_tokens"] == pytest.approx(right(GUESSES[name], name, length))
    assert found["chance"] == 100 / data_set(name).NUM_CLASSES
    train = [target for _, targets in examples(name, SOME, length, "train") for target in targets if target != -100]
    most = commonest(train)
    assert found["majority"] == pytest.approx(right(lambda tokens: [most] * len(tokens), name, length))
    assert found["majority"] <= found["bag_of_tokens"] + 1


def test_the_place_alone_in_copy_against_all_choices_of_places():
    found = baselines("copy", SOME, 16)["position"]
    plain = right(heaviest_by_place, "copy", 16)
    assert abs(found - plain) < 0.5  # ties are broken otherwise
    assert found > baselines("copy", SOME, 16)["bag_of_tokens"] + 20


def likely(candidates: set[int], target: int) -> float:
    """That a candidate drawn at random is right."""
    return (target in candidates) / len(candidates)


@pytest.mark.parametrize("length", [10, 32, 70])
def test_what_is_guessed_in_two_hop_against_all_keys_that_may_be_said(length):
    near, any_other = [], []
    for tokens, targets in examples("two_hop", SOME, length):
        following = dict(divmod(token - 1, 16) for token in tokens if token <= 256)
        for token, target in zip(tokens, targets, strict=True):
            if target != -100:
                key = (token - 257) % 16
                others = set(following) - {key}
                any_other.append(likely(others, target))
                near.append(likely({following[key]} if token < 273 else others - {following[key]}, target))
    found = baselines("two_hop", SOME, length)
    assert found["one_hop"] == pytest.approx(100 * statistics.mean(near))
    assert found["bag_of_tokens"] == pytest.approx(100 * statistics.mean(any_other))
    assert found["chance"] == 6.25 and found["majority"] < found["bag_of_tokens"] + 1


def test_the_place_alone_in_sort():
    places = zip(*(targets for _, targets in examples("sort", SOME, 20, "train")), strict=True)
    guess = [commonest(list(column)) for column in places]
    assert baselines("sort", SOME, 20)["position"] == pytest.approx(right(lambda _: guess, "sort", 20))


def test_the_place_alone_in_first():
    def guessed(tokens):
        return [(tokens[0] - 1) * 2 % 8] + [0] * (len(tokens) - 1)

    assert abs(baselines("first", SOME, 8)["position"] - right(guessed, "first", 8)) < 2
    assert baselines("first", SOME, 2)["position"] == pytest.approx(100 * (1 + 1 / 8) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_places_where_nothing_is_asked_count_for_nothing(name):
    _, targets = data_set(name).read("test", 500, 32, NO_DATA)
    assert drawn.percent_right(targets.clamp(min=0), targets) == 100
    assert drawn.percent_right(targets.clamp(min=0) + 1, targets) == 0
