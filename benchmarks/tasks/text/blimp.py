"""BLiMP: of two sentences that differ in one point of grammar, does the net find the right one more likely?

By Warstadt et al. (2020, https://arxiv.org/abs/1912.00582): 67 paradigms of 1,000 pairs, in twelve phenomena; chance is
50 %. How likely a sentence is to a net that fills gaps: the sum over its tokens of the log-probability of each where it
alone is masked (Salazar et al., 2020, https://arxiv.org/abs/1910.14659).
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.words import counted
from benchmarks.tasks.text.corpus.tokens import CLS, MASK, PAD, SEP
from benchmarks.tasks.text.tasks.rows import Rows, Tokenizer, encode

PARADIGMS = 67
PAGE = "https://github.com/alexwarstadt/blimp"
FILE = "BLiMP.zip"
FIELDS = ("sentence_good", "sentence_bad", "UID", "linguistics_term")
# the paper counts these two paradigms to argument structure
SAME_PHENOMENON = {"s-selection": "argument_structure"}

Predict = Callable[[Tensor, Tensor], Tensor]
Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two sentences, of which the first is right, and what tells them apart."""

    good: str
    bad: str
    paradigm: str
    phenomenon: str


def read(data_dir: Path, count: int | None = 50) -> list[Pair]:
    """The first `count` pairs of each paradigm, paradigms in the order of their names; None: all 1,000.

    Args:
        data_dir: holds blimp/BLiMP.zip, as it is published.
        count: of pairs.

    Raises:
        UserError: the file is missing or damaged, or has other paradigms.
    """
    path = Path(data_dir) / "blimp" / FILE
    if not path.is_file():
        advice = f"get it from {PAGE} and type {called.option('data_dir', '...')} for the folder that holds blimp/"
        raise UserError(f"BLiMP is not there: no {path}; {advice}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if _is_paradigm(name))
            contents = [archive.read(name).decode() for name in names]
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({printable(error)}); replace it by the original") from error
    if len(names) != PARADIGMS:
        raise UserError(
            f"{path} has {counted(len(names), 'paradigm')}, expected {PARADIGMS}; replace it by the original"
        )
    pairs: list[Pair] = []
    files: dict[str, str] = {}  # by the paradigm that they are of
    for name, content in zip(names, contents, strict=True):
        found = _pairs(f"{path}, {name}", content.splitlines()[:count])
        pairs += found
        paradigms = sorted({pair.paradigm for pair in found})
        if len(paradigms) != 1:
            there = f"pairs of {counted(len(paradigms), 'paradigm')}, expected 1"
            raise UserError(f"{path}, {name} has {there}; replace it by the original")
        if (other := files.setdefault(paradigms[0], name)) != name:
            there = f"{printable(paradigms[0])} in {other} and in {name}"
            raise UserError(f"{path} has {there}; replace it by the original")
    return pairs


def sentences(pairs: Sequence[Pair]) -> list[str]:
    """The right sentence of each pair, then the wrong one of each, (2 pairs,)."""
    return [pair.good for pair in pairs] + [pair.bad for pair in pairs]


def fitting(pairs: Sequence[Pair], tokenizer: Tokenizer, length: int) -> list[Pair]:
    """The pairs of which both sentences are at most `length` tokens with CLS and SEP: a cut one may lack the point."""
    room = length - 2
    return [pair for pair in pairs if max(len(tokenizer.encode(text)) for text in (pair.good, pair.bad)) <= room]


@torch.inference_mode()
def pseudo_log_likelihood(
    predict: Predict, texts: Sequence[str], tokenizer: Tokenizer, length: int, batch: int
) -> Array:
    """Sum over a sentence's tokens of the log-probability of each where it alone is masked, in nats, (n,).

    Each sentence is CLS s SEP, filled up with PAD, whose log-probabilities are not counted. A token costs a sequence.

    Args:
        predict: from tokens int64 (B, N) and places int64 (B, K) to logits (B, K, V), as `TextEncoder` has.
        texts: the sentences.
        tokenizer: of the net.
        length: N.
        batch: of sequences, of whatever sentences.

    Raises:
        UserError: a sentence is too long.
    """
    for text in texts:
        if len(tokenizer.encode(text)) > length - 2:
            raise UserError(
                f"a sentence has more than {length - 2} tokens ({printable(text)[:60]}...); take another length"
            )
    tokens = torch.from_numpy(encode(Rows(list(texts), None, np.zeros(len(texts))), tokenizer, length)).long()
    rows, places = torch.nonzero((tokens != PAD) & (tokens != CLS) & (tokens != SEP), as_tuple=True)
    total = np.zeros(len(texts))
    for row, place in zip(rows.split(batch), places.split(batch), strict=True):
        masked = tokens[row]
        wanted = masked.gather(1, place[:, None])
        masked.scatter_(1, place[:, None], MASK)
        logits = predict(masked, place[:, None])[:, 0]
        found = logits.float().log_softmax(-1).gather(1, wanted.to(logits.device))
        np.add.at(total, row.numpy(), found[:, 0].cpu().numpy())
    return total


def accuracies(pairs: Sequence[Pair], likelihoods: Array) -> dict[str, Any]:
    """Percent of pairs whose right sentence is the likelier; equal ones count half.

    Args:
        pairs: those that were asked.
        likelihoods: of `sentences(pairs)`, (2 pairs,).

    Returns:
        "overall", the mean over paradigms, with "low" and "high", a 95 % Student-t interval over paradigms (None of
        one); "pairs", their number; "phenomena", the mean of each over its paradigms; and "paradigms".

    Raises:
        ValueError: no pairs, or as many likelihoods as there are not sentences.
    """
    if not pairs or len(likelihoods) != 2 * len(pairs):
        raise ValueError(f"{len(likelihoods)} likelihoods of {counted(len(pairs), 'pair')}")
    good, bad = np.asarray(likelihoods, np.float64).reshape(2, -1)
    right = 50 * (1 + np.sign(good - bad))
    paradigms = _means([pair.paradigm for pair in pairs], right)
    phenomenon = {pair.paradigm: pair.phenomenon for pair in pairs}
    values = np.array(list(paradigms.values()))
    low, high = _student(values)
    return {
        "overall": float(values.mean()),
        "low": low,
        "high": high,
        "pairs": len(pairs),
        "phenomena": _means([phenomenon[name] for name in paradigms], values),
        "paradigms": paradigms,
    }


def _is_paradigm(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".jsonl" and path.parts[0] == "data" and not path.name.startswith(".")


def _pairs(where: str, lines: list[str]) -> list[Pair]:
    pairs = []
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            good, bad, paradigm, term = (_text(fields[name]) for name in FIELDS)
        except (ValueError, KeyError, TypeError) as error:
            names = ", ".join(FIELDS)
            raise UserError(f"{where} is damaged: line {number:,} is no JSON object with text as {names}") from error
        pairs.append(Pair(good, bad, paradigm, SAME_PHENOMENON.get(term, term)))
    return pairs


def _text(value: Any) -> str:
    """Raises:
    ValueError: it is no text, or blank.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(value)
    return value


def _means(names: Sequence[str], values: Array) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for name, value in zip(names, values, strict=True):
        found.setdefault(name, []).append(float(value))
    return {name: float(np.mean(part)) for name, part in found.items()}


def _student(values: Array) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return None, None
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return max(0.0, mean - half), min(100.0, mean + half)
