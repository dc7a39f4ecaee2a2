"""What needs no encoder: the majority, and a linear model on which words there are.

An encoder has learned something of a task where it is above the first, and something that words alone do not tell where
it is above the second. Words are runs of letters and digits, and single other signs, in lower case.

For a pair, a word that only the first has, only the second, or both, are three features, beside how much the two have
in common. For STS-B, what they have in common is all there is, in a dozen numbers, which is strong: likeness was asked.
On WNLI words are worse than a guess: the training row that is most like one of the 71 has the other answer 68 times.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

from benchmarks.contract.facts.text_tasks import TEXT_TASKS, TextTask
from benchmarks.tasks.text.tasks.rows import Rows
from benchmarks.tasks.text.tasks.scores import scores

Array = NDArray[Any]
Scores = dict[str, float | None]

FEWEST = 2  # training rows that a word must stand in
PENALTY = 1.0  # on the squares of the weights, as libraries have it by default; not chosen for any task
RIDGE = 1.0  # on standardised features
STEPS = 100  # of L-BFGS, at the most
WORD = re.compile(r"\w+|[^\w\s]")


def baselines(task: str, train: Rows, test: Rows) -> dict[str, Scores]:
    """The task's metrics on test of "majority" and "bag_of_words", fitted on train.

    The majority of a regression is the mean, whose correlations are not defined.

    Args:
        task: a name of TEXT_TASKS.
        train: all training rows; nothing is chosen, so none are held out.
        test: the rows that are scored.
    """
    facts = TEXT_TASKS[task]
    guesses = {"majority": majority(facts, train.targets, len(test)), "bag_of_words": bag_of_words(facts, train, test)}
    return {name: scores(task, test.targets, guess) for name, guess in guesses.items()}


def majority(facts: TextTask, targets: Array, count: int) -> Array:
    """The most frequent class, or the mean, for each of `count` rows."""
    return np.full(count, targets.mean() if facts.regression else np.bincount(targets).argmax())


def bag_of_words(facts: TextTask, train: Rows, test: Rows) -> Array:
    """Predictions of test, (n,)."""
    bags = Bags(train)
    if facts.regression:
        return _ridge(bags.overlap(train), train.targets, bags.overlap(test))
    return _logistic(bags.features(train), train.targets, bags.features(test), len(facts.labels))


class Bags:
    """Turns rows into features, by the words of training rows and how rare they are there."""

    def __init__(self, train: Rows) -> None:
        sets = [set(words(text)) for text in (*train.first, *(train.second or []))]
        found = Counter(word for words_of_row in sets for word in words_of_row)
        kept = sorted(word for word, count in found.items() if count >= FEWEST)
        self.places = {word: place for place, word in enumerate(kept)}
        rows_with = np.array([found[word] for word in kept], float)
        self.rarity = np.log((1 + len(sets)) / (1 + rows_with)) + 1
        self.unknown = float(np.log(1 + len(sets)) + 1)

    def features(self, rows: Rows) -> scipy.sparse.csr_array:
        """Rarities of the words that are there, of length 1, (n, words), or of a pair (n, 3 words + overlaps)."""
        if rows.second is None:
            return self._matrix([set(words(text)) for text in rows.first])
        pairs = [(set(words(one)), set(words(two))) for one, two in zip(rows.first, rows.second, strict=True)]
        parts = [
            [one - two for one, two in pairs],
            [two - one for one, two in pairs],
            [one & two for one, two in pairs],
        ]
        blocks = [self._matrix(part) for part in parts]
        return scipy.sparse.hstack([*blocks, scipy.sparse.csr_array(self.overlap(rows))], format="csr")

    def overlap(self, rows: Rows) -> Array:
        """How much two sentences have in common, numbers of 0 to 1 (n, 12)."""
        assert rows.second is not None
        return np.array([self._shares(*pair) for pair in zip(rows.first, rows.second, strict=True)])

    def _matrix(self, bags: list[set[str]]) -> scipy.sparse.csr_array:
        places = [[self.places[word] for word in sorted(bag) if word in self.places] for bag in bags]
        ends = np.cumsum([0, *map(len, places)])
        columns = np.array([place for row in places for place in row], np.int64)
        matrix = scipy.sparse.csr_array((self.rarity[columns], columns, ends), shape=(len(bags), len(self.places)))
        lengths = np.sqrt(matrix.multiply(matrix).sum(1))
        return scipy.sparse.csr_array(scipy.sparse.diags_array(1 / np.maximum(lengths, 1e-12)) @ matrix)

    def _shares(self, first: str, second: str) -> list[float]:
        one, two = words(first), words(second)
        found = _common_sets(set(one), set(two)) + _common_sets(_parts(first, 3), _parts(second, 3))
        found += _common_sets(_neighbours(one), _neighbours(two))
        weights = [sum(map(self._rarity_of, bag)) for bag in (set(one) & set(two), set(one), set(two))]
        shorter, longer = sorted((len(one), len(two)))
        return [*found, *_common(*weights)[:2], shorter / max(longer, 1)]

    def _rarity_of(self, word: str) -> float:
        place = self.places.get(word)
        return self.unknown if place is None else float(self.rarity[place])


def words(text: str) -> list[str]:
    """Its words and single other signs, in lower case."""
    return WORD.findall(text.lower())


def _parts(text: str, size: int) -> set[str]:
    plain = f" {' '.join(words(text))} "
    return {plain[start : start + size] for start in range(len(plain) - size + 1)}


def _neighbours(row: list[str]) -> set[tuple[str, str]]:
    return set(itertools.pairwise(row))


def _common_sets(one: set[Any], two: set[Any]) -> list[float]:
    return _common(len(one & two), len(one), len(two))


def _common(both: float, one: float, two: float) -> list[float]:
    """The share of what is common in all of both, in the smaller and in the larger."""
    return [both / max(below, 1e-12) for below in (one + two - both, min(one, two), max(one, two))]


def _ridge(train: Array, targets: Array, test: Array) -> Array:
    mean, spread = train.mean(0), train.std(0)
    spread[spread == 0] = 1
    train, test = (train - mean) / spread, (test - mean) / spread
    centre = targets.mean()
    weights = np.linalg.solve(train.T @ train + RIDGE * np.eye(train.shape[1]), train.T @ (targets - centre))
    return test @ weights + centre


def _logistic(train: scipy.sparse.csr_array, labels: Array, test: scipy.sparse.csr_array, classes: int) -> Array:
    """Classes by multinomial logistic regression, by L-BFGS from zero."""
    wanted = np.eye(classes)[labels]
    shape = (train.shape[1] + 1, classes)
    turned = scipy.sparse.csr_array(train.T)

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(shape)
        logits = train @ weights[:-1] + weights[-1]
        logits -= logits.max(1, keepdims=True)
        shares = np.exp(logits)
        total = shares.sum(1, keepdims=True)
        value = np.log(total).sum() - (logits * wanted).sum() + PENALTY / 2 * (weights[:-1] ** 2).sum()
        rest = shares / total - wanted
        return value, np.vstack([turned @ rest + PENALTY * weights[:-1], rest.sum(0)]).ravel()

    flat = scipy.optimize.minimize(
        loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}
    ).x
    weights = flat.reshape(shape)
    return (test @ weights[:-1] + weights[-1]).argmax(1)
