"""Numbers, names and captions as people and programs read them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from synthetic import save_accuracy

from benchmarks.report.frame import results_frame, slug
from benchmarks.report.notes import caption
from benchmarks.report.wording import count, csv_text, markdown, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,230"),
        (0.012345, "0.0123"),
        (12.345, "12.3"),
        (9.999, "10.0"),
        (0, "0"),
        (None, "–"),
        (math.nan, "–"),
        (0.00001234, "1.23e-05"),
    ],
)
def test_significant(value, text):
    assert significant(value) == text


def test_text():
    assert (count(999), count(999_999), count(1_234_567)) == ("999", "1.00 M", "1.23 M")
    assert markdown("fft_complex") == "fft_complex"
    assert markdown("p < 0.1, <b>") == "p < 0.1, &lt;b&gt;"
    assert slug("AMD EPYC, 2 cores") == "amd-epyc-2-cores" and slug("../..") not in ("", ".", "..")


def test_the_last_bits_of_a_number_are_no_part_of_a_table_for_programs():
    def text(share: float) -> str:
        mixed = pd.Series([93_000, None], dtype=object)
        return csv_text(pd.DataFrame({"label": ["a", None], "params": mixed, "mean": [share, np.nan]}))

    share = 1 / 3
    assert text(share) == text(np.nextafter(share, 1)) == "label,params,mean\na,93000,0.333333333333\n,,\n"
    assert text(share) != text(share + 1e-11)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "equal width."),
        ({"norm": "token"}, "equal width, norm per token."),
        ({"coordinates": False}, "equal width, no coordinate channels."),
    ],
)
def test_a_caption_says_what_an_ablation_took_away(tmp_path, fields, words):
    save_accuracy(tmp_path, "dct", 40.0, 0, **fields)
    frame = results_frame(tmp_path)
    assert caption(frame, frame).endswith(words)
