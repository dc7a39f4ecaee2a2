"""ListOps: the published grammar and its values, in plain recursion; limits, splits, cache; baselines by force."""

from __future__ import annotations

import collections
import hashlib
import statistics
import zipfile

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.contract.errors import UserError
from benchmarks.tasks.sequences import listops

NAMES = {11: min, 12: max, 13: lambda values: int(statistics.median(values)), 14: lambda values: sum(values) % 10}


def parsed(tokens: list[int]):
    """A digit, or (operator, arguments), of a tree that ends where its tokens end."""
    rest = iter(tokens)

    def node(token: int):
        if token <= 10:
            return token - 1
        arguments = []
        while (following := next(rest)) != 15:
            arguments.append(node(following))
        return token, arguments

    tree = node(next(rest))
    assert next(rest, None) is None
    return tree


def value(tree, depth: int) -> int | None:
    """Of what stands at most that deep; None where that is nothing."""
    if isinstance(tree, int):
        return tree
    kept = [found for part in tree[1] if depth > 0 and (found := value(part, depth - 1)) is not None]
    return NAMES[tree[0]](kept) if kept and depth > 0 else None


def depth_of(tree) -> int:
    return 1 if isinstance(tree, int) else 1 + max(map(depth_of, tree[1]))


def nodes(tree):
    yield tree
    if not isinstance(tree, int):
        for part in tree[1]:
            yield from nodes(part)


def trees(split: str, count: int, length: int, tmp_path) -> list:
    tokens, _ = listops.read(split, count, length, tmp_path)
    return [parsed([token for token in row if token]) for row in tokens.tolist()]


@pytest.mark.parametrize("length", [16, 33, 128, 600, 2000])
def test_values_are_those_of_plain_recursion(length, tmp_path):
    tokens, values = listops.read("test", 60, length, tmp_path)
    assert tokens.shape == (60, length) and tokens.dtype == torch.uint8 and values.dtype == torch.int64
    for row, found, tree in zip(tokens.tolist(), values.tolist(), trees("test", 60, length, tmp_path), strict=True):
        assert found == value(tree, 10)
        assert 0 not in row[: sum(token > 0 for token in row)]  # padding is at the end


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_values_to_a_depth_leave_deeper_operators_out(depth, tmp_path):
    tokens, _ = listops.read("test", 500, 64, tmp_path)
    plain = [value(tree, depth) for tree in trees("test", 500, 64, tmp_path)]
    assert listops.evaluated(tokens, depth).tolist() == [-1 if found is None else found for found in plain]
    if depth == 1:
        assert None in plain  # so that trees of which nothing is left are tried


@pytest.mark.parametrize(
    ("length", "shortest", "longest", "arguments"),
    [(16, 8, 16, 5), (33, 16, 33, 5), (128, 64, 128, 5), (512, 256, 512, 10), (2000, 501, 1999, 10)],
)
def test_limits_are_kept_and_reached(length, shortest, longest, arguments, tmp_path):
    tokens, _ = listops.read("train", 1500 if length < 2000 else 300, length, tmp_path)
    lengths = (tokens > 0).sum(1)
    assert shortest <= lengths.min() <= shortest + length // 60 and longest - length // 60 <= lengths.max() <= longest
    most = 0
    for row in tokens[:300].tolist():
        tree = parsed([token for token in row if token])
        assert depth_of(tree) <= 10
        sizes = [len(part[1]) for part in nodes(tree) if not isinstance(part, int)]
        assert min(sizes) >= 2
        most = max(most, *sizes)
    assert most == arguments


def test_longer_sequences_hold_the_published_trees(tmp_path):
    short, long = (listops.read("test", 40, length, tmp_path) for length in (2000, 2048))
    assert torch.equal(short[0], long[0][:, :2000]) and not long[0][:, 2000:].any()


def test_what_is_drawn_follows_the_grammar(tmp_path):
    found = collections.defaultdict(collections.Counter)
    for tree in trees("train", 2500, 128, tmp_path):
        for part in nodes(tree):
            found["digits" if isinstance(part, int) else "operators"][part if isinstance(part, int) else part[0]] += 1
    for kind in found.values():
        assert stats.chisquare(list(kind.values())).pvalue > 1e-4
    assert [len(found["digits"]), len(found["operators"])] == [10, 4]


def plain_tree(random: np.random.Generator, depth: int, most: int):
    """The published generator's recursion."""
    if depth == 10 or random.random() > 0.25:
        return int(random.integers(10)), 1
    parts = [plain_tree(random, depth + 1, most) for _ in range(random.integers(2, most + 1))]
    return (int(random.integers(11, 15)), [part for part, _ in parts]), 2 + sum(length for _, length in parts)


def test_lengths_and_depths_are_spread_as_those_of_the_published_recursion(tmp_path):
    random, plain = np.random.default_rng(0), []
    while len(plain) < 700:
        tree, length = plain_tree(random, 1, 5)
        if 32 <= length <= 64:
            plain.append((length, depth_of(tree), len(tree[1])))
    ours = []
    for tree in trees("train", 2000, 64, tmp_path):
        length = sum(1 if isinstance(part, int) else 2 for part in nodes(tree))
        ours.append((length, depth_of(tree), len(tree[1])))
    for one, other in zip(zip(*plain, strict=True), zip(*ours, strict=True), strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-3


def test_no_tree_comes_twice_and_the_splits_share_none(tmp_path):
    seen = [
        {row.tobytes() for row in listops.read(split, 6000, 16, tmp_path)[0].numpy()} for split in ("train", "test")
    ]
    assert [len(rows) for rows in seen] == [6000, 6000] and not seen[0] & seen[1]


def test_more_trees_begin_with_the_same(tmp_path):
    few, many = (listops.read("train", count, 64, tmp_path) for count in (150, 4000))
    assert torch.equal(few[0], many[0][:150]) and torch.equal(few[1], many[1][:150])


def test_trees_are_those_of_the_first_release(tmp_path):
    # in any process: records made with others would not be comparable
    tokens, values = listops.read("train", 1000, 128, tmp_path)
    assert hashlib.sha256(tokens.numpy().tobytes() + values.numpy().tobytes()).hexdigest()[:16] == "d16d5c22ac482507"


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'validation'"):
        listops.read("validation", 10, 64, tmp_path)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The file of a set that is kept, and what is in it."""
    monkeypatch.setattr(listops, "CACHED_TOKENS", 100)
    drawn = listops.read("test", 50, 32, tmp_path)
    (path,) = (tmp_path / "cache").glob("*.npz")
    return path, drawn


def must_not_draw(*_):
    raise AssertionError("drawn again")


def test_what_is_kept_is_read_and_not_drawn_again(cached, tmp_path, monkeypatch):
    monkeypatch.setattr(listops, "_draw", must_not_draw)
    again = listops.read("test", 50, 32, tmp_path)
    assert torch.equal(again[0], cached[1][0]) and torch.equal(again[1], cached[1][1])
    with pytest.raises(AssertionError, match="drawn again"):
        listops.read("test", 51, 32, tmp_path)  # has one more


@pytest.mark.parametrize("damage", ["a flipped bit", "cut off", "empty"])
def test_what_is_damaged_is_drawn_again(cached, tmp_path, damage):
    path, drawn = cached
    content = bytearray(path.read_bytes())
    content[600] ^= 1  # amid the tokens
    path.write_bytes({"a flipped bit": content, "cut off": content[:1000], "empty": b""}[damage])
    again = listops.read("test", 50, 32, tmp_path)
    assert torch.equal(again[0], drawn[0])
    assert zipfile.ZipFile(path).testzip() is None
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(listops, "CACHED_TOKENS", 100)
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(UserError, match="cannot be kept"):
        listops.read("test", 50, 32, tmp_path)


def test_more_of_what_is_kept_begins_with_the_same(cached, tmp_path):
    more, values = listops.read("test", 60, 32, tmp_path)
    assert torch.equal(more[:50], cached[1][0]) and torch.equal(values[:50], cached[1][1])
    assert len(set(map(bytes, more.numpy()))) == 60


def test_small_sets_leave_nothing_behind(tmp_path):
    listops.read("test", 50, 32, tmp_path)
    assert not list(tmp_path.iterdir())


def test_baselines_are_what_plain_guesses_get(tmp_path):
    train, test = (listops.read(split, 1000, 64, tmp_path) for split in ("train", "test"))
    found = listops.baselines(train, test)
    commonest = collections.defaultdict(collections.Counter)
    for row, target in zip(train[0].tolist(), train[1].tolist(), strict=True):
        commonest[row[0]][target] += 1
        commonest["any"][target] += 1

    def said(key) -> int:
        return min(commonest[key], key=lambda digit: (-commonest[key][digit], digit))

    def percent(guesses: list[int]) -> float:
        return 100 * sum(map(int.__eq__, guesses, test[1].tolist())) / len(guesses)

    roots = [said(row[0]) for row in test[0].tolist()]
    assert found["chance"] == 10
    assert found["majority"] == pytest.approx(percent([said("any")] * 1000))
    assert found["root_operator"] == pytest.approx(percent(roots))
    for depth in (1, 2, 3):
        plain = [value(tree, depth) for tree in trees("test", 1000, 64, tmp_path)]
        guesses = [root if guess is None else guess for root, guess in zip(roots, plain, strict=True)]
        assert found[f"depth_{depth}"] == pytest.approx(percent(guesses))


def test_the_bag_of_tokens_learns_from_counts(tmp_path):
    tokens, _ = listops.read("train", 2000, 64, tmp_path)
    share = (tokens == 5).sum(1) / (tokens > 0).sum(1)
    more = (share > share.median()).long()  # a class that counts alone tell
    found = listops.baselines((tokens[:1000], more[:1000]), (tokens[1000:], more[1000:]))
    assert found["majority"] < 60 and found["bag_of_tokens"] > 90


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        (128, 20_000, {"root_operator": 23.7, "depth_1": 40.3, "depth_2": 59.3, "depth_3": 74.9}),
        (2000, 4000, {"root_operator": 35.0, "depth_1": 47.9, "depth_2": 68.0, "depth_3": 78.8}),
    ],
)
def test_baselines_of_the_published_generator(length, count, expected, tmp_path):
    """Which were computed once, on 2,000 of its trees, with "SM" guessed at random and no fallback."""
    train, test = (listops.read(split, count, length, tmp_path) for split in ("train", "test"))
    found = listops.baselines(train, test)
    for name, percent in expected.items():
        noise = (percent * (100 - percent) * (1 / 2000 + 1 / count)) ** 0.5
        assert abs(found[name] - percent) < 3 * noise, name
