"""The majority and the bag of words: what they find, what they cannot, and what they are worth on the real tasks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import scipy.special

from benchmarks.contract.facts.text_tasks import TEXT_TASKS
from benchmarks.tasks.text.tasks import baselines as module
from benchmarks.tasks.text.tasks.baselines import Bags, baselines, words
from benchmarks.tasks.text.tasks.glue import read
from benchmarks.tasks.text.tasks.rows import Rows

FILLERS = ("red", "green", "blue", "grey", "pink")


def drawn(n: int, seed: int) -> tuple[np.random.Generator, np.ndarray, list[list[str]]]:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return random, labels, [list(random.choice(FILLERS, 4)) for _ in range(n)]


def one_sentence(n: int, seed: int, told: bool) -> Rows:
    """Where it is told, a word says the class; else the order of two words does."""
    random, labels, texts = drawn(n, seed)
    for text, label in zip(texts, labels, strict=True):
        if told:
            text.insert(random.integers(5), ("bad", "good")[label])
        else:
            text.extend(["up", "down"] if label else ["down", "up"])
    return Rows([" ".join(text) for text in texts], None, labels)


def test_a_word_that_tells_the_class_is_found_and_an_order_is_not():
    told = baselines("sst2", one_sentence(200, 0, True), one_sentence(100, 1, True))
    assert told == {"majority": {"accuracy": 50}, "bag_of_words": {"accuracy": 100}}
    ordered = baselines("sst2", one_sentence(400, 0, False), one_sentence(400, 1, False))
    assert ordered["bag_of_words"]["accuracy"] == pytest.approx(50, abs=8)


def test_pairs_are_told_by_what_they_have_in_common_in_words_never_seen():
    def pairs(n: int, seed: int) -> Rows:
        random, labels, _ = drawn(n, seed)
        names = [[f"w{random.integers(10**9)}" for _ in range(8)] for _ in range(n)]
        second = [row[:4][::-1] if label else row[4:] for row, label in zip(names, labels, strict=True)]
        return Rows([" ".join(row[:4]) for row in names], [" ".join(row) for row in second], labels)

    found = baselines("rte", pairs(200, 0), pairs(100, 1))
    assert found["bag_of_words"]["accuracy"] == 100


def test_a_word_of_the_second_alone_is_told_from_one_of_the_first():
    def pairs(n: int, seed: int) -> Rows:
        _, labels, texts = drawn(n, seed)
        add = [(" not", "") if label else ("", " not") for label in labels]
        plain = [" ".join(text) for text in texts]
        first, second = ([text + part[place] for text, part in zip(plain, add, strict=True)] for place in (0, 1))
        return Rows(first, second, labels)

    assert baselines("rte", pairs(200, 0), pairs(100, 1))["bag_of_words"]["accuracy"] == 100


def test_a_regression_has_the_mean_and_is_read_off_what_is_in_common():
    def pairs(n: int, seed: int) -> Rows:
        random = np.random.default_rng(seed)
        common = random.integers(7, size=n)
        first = [" ".join(f"a{k}" for k in range(6))] * n
        second = [" ".join(f"a{k}" if k < c else f"b{random.integers(9**9)}" for k in range(6)) for c in common]
        return Rows(first, second, common * 5 / 6)

    found = baselines("stsb", pairs(200, 0), pairs(100, 1))
    assert found["majority"] == {"spearman": None, "pearson": None}
    assert found["bag_of_words"]["spearman"] > 97
    assert module.majority(TEXT_TASKS["stsb"], np.array([1.0, 4.0]), 2).tolist() == [2.5, 2.5]


def test_the_majority_is_that_of_the_training_rows():
    train = Rows(["a"] * 5, None, np.array([2, 2, 2, 0, 0]))
    test = Rows(["a"] * 4, None, np.array([0, 0, 0, 2]))
    assert baselines("trec", train, test)["majority"] == {"accuracy": 25}


def test_logistic_regression_has_the_least_loss_as_another_method_finds_it():
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(9, 3)), np.arange(9) % 3  # so few that the penalty decides

    def loss(flat: np.ndarray) -> float:
        weights = flat.reshape(4, 3)
        shares = scipy.special.log_softmax(x @ weights[:3] + weights[3], axis=1)
        return -shares[np.arange(9), labels].sum() + 0.5 * (weights[:3] ** 2).sum()

    weights = scipy.optimize.minimize(loss, np.zeros(12), method="BFGS", options={"gtol": 1e-3}).x.reshape(4, 3)
    new = random.normal(size=(2000, 3)) * 2
    found = module._logistic(scipy.sparse.csr_array(x), labels, scipy.sparse.csr_array(new), 3)
    assert (found == (new @ weights[:3] + weights[3]).argmax(1)).mean() > 0.995


def test_words_are_runs_of_letters_and_single_signs_in_lower_case():
    assert words("It's 3.5, Ok?") == ["it", "'", "s", "3", ".", "5", ",", "ok", "?"]


def test_features_of_a_row_have_length_one_and_words_of_one_row_are_left_out():
    bags = Bags(Rows(["a b", "a b c", "a"], None, np.zeros(3)))
    assert list(bags.places) == ["a", "b"]
    found = bags.features(Rows(["a b", "c z", "b b"], None, np.zeros(3))).toarray()
    rarity = np.log(4 / np.array([4, 3])) + 1
    assert found == pytest.approx(np.array([rarity / np.linalg.norm(rarity), [0, 0], [0, 1]]))


def test_a_pair_has_the_words_of_the_first_alone_then_of_the_second_alone_then_of_both():
    bags = Bags(Rows(["a b c"], ["a b c"], np.zeros(1)))
    pair = Rows(["a b"], ["b c"], np.zeros(1))
    (found,) = bags.features(pair).toarray()
    assert found[:9].tolist() == [1, 0, 0, 0, 0, 1, 0, 1, 0]
    assert found[9:].tolist() == bags.overlap(pair)[0].tolist()


def test_what_two_sentences_share_is_between_nothing_and_all():
    bags = Bags(Rows(["the cat sat"], ["on a mat"], np.zeros(1)))
    same, other, half, empty = bags.overlap(
        Rows(["the cat sat"] * 3 + [""], ["The cat sat", "dog", "the cat sat on a mat", ""], np.zeros(4))
    )
    assert same == pytest.approx(np.ones(12)) and other[:11] == pytest.approx(np.zeros(11), abs=1e-9)
    assert half[:3] == pytest.approx([3 / 6, 1, 3 / 6]) and half[11] == pytest.approx(3 / 6)
    assert not empty.any()


def test_it_is_the_same_again_and_stands_rows_without_a_known_word():
    train = one_sentence(40, 0, True)
    assert baselines("sst2", train, train) == baselines("sst2", train, train)
    alone = Rows([f"w{row}" for row in range(4)], None, np.array([0, 1, 1, 1]))
    assert baselines("sst2", alone, alone)["bag_of_words"] == {"accuracy": 75}


@pytest.mark.parametrize(
    ("task", "metric", "floor", "bag"),
    [
        ("cola", "accuracy", 69.1, 68.7),
        ("stsb", "spearman", None, 75.2),
        ("trec", "accuracy", 18.8, 86.6),
        ("wnli", "accuracy", 56.3, 9.9),
    ],
)
def test_the_real_tasks_have_these_floors(text_dir, task, metric, floor, bag):
    if not (text_dir / "glue").is_dir() or not (text_dir / "small").is_dir():
        pytest.skip(f"no glue/ and small/ in {text_dir}")
    found = baselines(task, read(task, "train", text_dir), read(task, "test", text_dir))
    assert found["majority"][metric] == (None if floor is None else pytest.approx(floor, abs=0.05))
    assert found["bag_of_words"][metric] == pytest.approx(bag, abs=0.5 if task != "wnli" else 3)
