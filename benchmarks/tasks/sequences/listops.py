"""`listops`: the last digit left of nested operators on lists, such as [MAX 4 [MIN 2 3 ] 7 ].

Nangia and Bowman, "ListOps", 2018, in the form of Tay et al., "Long Range Arena", 2020, as their code draws it: an
argument is an operator with probability 1/4, else a digit; operators are MIN, MAX, MED (of an even number of arguments
the mean of the middle two, rounded down) and SM (the sum modulo 10), of 2 to 10 arguments; at the tenth level all are
digits. Trees of unfit length are drawn again, none comes twice, and training and test trees differ. Parentheses are
stripped. A tree's length counts operators, brackets and digits.

The length N of a trial decides the limits: from N = 2,000 on trees are the published ones, of more than 500 and less
than 2,000 tokens; below they have N / 2 to N tokens, and up to 256 operators have at most 5 arguments.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.tasks.sequences.parts import drawn
from benchmarks.tasks.sequences.parts.bags import predictors
from benchmarks.tasks.sequences.parts.kept import Arrays, keep

DIGITS = 10
MIN, MAX, MED, SM = OPERATORS = (11, 12, 13, 14)  # tokens; those of the digits are 1 to 10
CLOSE = 15
VOCABULARY = CLOSE + 1
NUM_CLASSES = DIGITS
LEAST_LENGTH = 16
DEPTH = 10
OPERATOR_CHANCE = 0.25

COUNTS = {"train": 96_000, "test": 2_000}  # the published ones
TEST_SHARE = 4  # a tree is for testing if its checksum is divisible by this
BATCH = 8192  # trees that are drawn side by side
CACHED_TOKENS = 2**24  # more are kept on disk
VERSION = 1  # raised by whoever changes what is drawn

Array = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of a tree: its least and greatest length in tokens, and the most arguments of an operator."""

    shortest: int
    longest: int
    arguments: int


def limits(length: int) -> Limits:
    """What trees have for sequences of N tokens."""
    if length >= 2000:
        return Limits(501, 1999, 10)
    return Limits(length // 2, length, 5 if length <= 256 else 10)


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Trees and their values.

    Args:
        split: "train" or "test".
        count: of trees; a larger one begins with the same. None: 96,000 or 2,000.
        length: N; shorter trees are padded with 0 at their end.
        data_dir: that keeps sets which take longer than some seconds to draw, in its folder `cache`.

    Returns:
        Tokens uint8 (count, N): digits 1 to 10, MIN 11, MAX 12, MED 13, SM 14, the closing bracket 15; values int64.

    Raises:
        ValueError: there is no such split.
        UserError: a large set cannot be kept there.
    """
    if split not in COUNTS:
        raise ValueError(f"split is {split!r}; allowed: {', '.join(COUNTS)}")
    wanted = COUNTS[split] if count is None else count
    if wanted * length <= CACHED_TOKENS:
        return _draw(split, wanted, length)
    name = f"listops-{length}-{split}-{VERSION}"
    kept = keep(data_dir, name, wanted, lambda numbers: _numbered(split, numbers, length))
    return torch.from_numpy(kept["tokens"]), torch.from_numpy(kept["values"])


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors.

    "bag_of_tokens" knows the shares of the symbols; "root_operator" the first token alone;
    "depth_1" to "depth_3" compute what stands at most that deep and leave out deeper operators, and where nothing is
    left of a tree, they say what "root_operator" says.
    """
    root = _root_guesses(train, test)
    found = predictors(train, test, VOCABULARY, NUM_CLASSES) | {"root_operator": drawn.percent_right(root, test[1])}
    for depth in (1, 2, 3):
        value = evaluated(test[0], depth)
        found[f"depth_{depth}"] = drawn.percent_right(torch.where(value < 0, root, value), test[1])
    return found


def evaluated(tokens: Tensor, depth: int = DEPTH) -> Tensor:
    """Values of trees (n, N), int64 (n,), with operators deeper than `depth` left out; -1 where nothing is left."""
    symbols = tokens.numpy().astype(np.int64)
    opens = (symbols >= MIN) & (symbols <= SM)
    inside = np.cumsum(opens, 1) - np.cumsum(symbols == CLOSE, 1)  # how many operators are open after a token
    values = np.where((symbols > 0) & (symbols <= DIGITS), symbols - 1, -1)
    for level in range(min(depth, DEPTH), 0, -1):
        heads = opens & (inside == level)
        members = (values >= 0) & (inside - opens == level)
        groups = np.cumsum(heads.reshape(-1)).reshape(heads.shape)[members] - 1
        values[heads] = _applied(symbols[heads], groups, values[members])
    return torch.from_numpy(values[:, 0].copy())


def _applied(operators: Array, groups: Array, values: Array) -> Array:
    """Each operator's value of those of its group, -1 of an empty one."""
    ordered = np.append(np.sort(groups * DIGITS + values) % DIGITS, 0)
    sizes = np.bincount(groups, minlength=len(operators))
    starts = np.cumsum(sizes) - sizes
    middle = (ordered[starts + (sizes - 1) // 2] + ordered[starts + sizes // 2]) // 2
    total = np.bincount(groups, values, len(operators)).astype(np.int64) % 10
    chosen = np.select(
        [operators == MIN, operators == MAX, operators == MED],
        [ordered[starts], ordered[starts + sizes - 1], middle],
        total,
    )
    return np.where(sizes > 0, chosen, -1)


def _root_guesses(train: drawn.Examples, test: drawn.Examples) -> Tensor:
    """What is commonest in training of the first token, for each test tree."""
    table = drawn.counts((train[0][:, :1].long() * NUM_CLASSES + train[1][:, None]).T, VOCABULARY * NUM_CLASSES)
    return table.view(VOCABULARY, NUM_CLASSES).argmax(1)[test[0][:, 0].long()]


def _numbered(split: str, numbers: range, length: int) -> Arrays:
    """Trees of these numbers: those before them are drawn too, since none comes twice."""
    tokens, values = _draw(split, numbers.stop, length)
    return {"tokens": tokens[numbers.start :].numpy(), "values": values[numbers.start :].numpy()}


def _draw(split: str, count: int, length: int) -> drawn.Examples:
    within, tokens = limits(length), np.zeros((count, length), dtype=np.uint8)
    generator, seen, filled = drawn.seeded(f"listops/{split}"), set[bytes](), 0
    while filled < count:
        for tree in _batch(generator, within):
            sum_of_it = hashlib.blake2b(tree.tobytes(), digest_size=16).digest()
            if filled < count and sum_of_it not in seen and (sum_of_it[0] % TEST_SHARE == 0) == (split == "test"):
                seen.add(sum_of_it)
                tokens[filled, : len(tree)] = tree
                filled += 1
    trees = torch.from_numpy(tokens)
    return trees, torch.cat([evaluated(some) for some in trees.split(2000)])


def _batch(generator: torch.Generator, within: Limits) -> Iterator[NDArray[np.uint8]]:
    """The trees of fit length among some thousand that are written side by side, token by token."""
    tokens = np.zeros((BATCH, within.longest), dtype=np.uint8)
    lengths = np.zeros(BATCH, dtype=np.int64)  # of finished trees
    wanted = np.zeros((BATCH, DEPTH), dtype=np.int64)  # arguments, by the number of operators around them
    wanted[:, 0] = 1
    rows, depth = np.arange(BATCH), np.zeros(BATCH, dtype=np.int64)  # unfinished trees, their open operators
    for place in range(within.longest):
        draws = torch.rand(3, len(rows), generator=generator, dtype=torch.float64).numpy()
        closes = wanted[rows, depth] == 0
        # a lone digit would be of no fit length
        opens = ~closes & (((draws[0] < OPERATOR_CHANCE) & (depth < DEPTH - 1)) | (place == 0))
        first, kinds = np.where(opens, [[MIN], [len(OPERATORS)]], [[1], [DIGITS]])
        tokens[rows, place] = np.where(closes, CLOSE, first + (draws[1] * kinds).astype(np.int64))
        wanted[rows, depth] -= ~closes
        depth = depth + opens - closes
        wanted[rows[opens], depth[opens]] = 2 + (draws[2, opens] * (within.arguments - 1)).astype(np.int64)
        lengths[rows[depth == 0]] = place + 1
        rows, depth = rows[depth > 0], depth[depth > 0]
    for row in np.flatnonzero(lengths >= within.shortest):
        yield tokens[row, : lengths[row]]
