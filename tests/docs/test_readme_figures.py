"""Every number in README and docs is that of a published record, or is named here as no measurement."""

from __future__ import annotations

import re

import pytest
from figures import fields, pattern, places, plain
from published import FIXED, ROOT, cifar, difference, figure, row, table, top1

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
# files without a measurement: what they name are settings, of the suite or of others, formulas and examples
NO_MEASUREMENT = {
    "docs/after.md", "docs/commands.md", "docs/long-range-arena.md", "docs/mixers.md", "docs/python.md", "docs/tasks.md",
    "docs/upgrading.md",
}  # fmt: skip
NUMBER = re.compile(r"(?<![\w.])[-+±]?\d+(?:[.,]\d+)*(?:e-?\d+)?(?![\w-]*[a-zA-Z])")
COUNTED = "px|tokens?|bytes|epochs?|steps|passages|classes|classes|layers|blocks|images|channels|times the size|threads?|keys|lines"
SETTINGS = [
    rf"\d[\d,]*(?:(?:,| to| and| or) \d[\d,]*)* (?:{COUNTED})\b",
    r"patch(?:es)?(?: of)? \d+(?:(?:,| x| and) \d+)*",
    r"(?:dim|depth|batch|seed|fft_complex|attention|eight bits?) \d+",
    r"CIFAR-\d+|Python 3\.\d+|torch >= [\d.]+|\b\d-D\b",
    r"95 %",  # of every interval
    r"\((?:[A-Z][\w. ]+, )?(?:19|20)\d\d\)",
]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without(text: str, *expressions: str) -> str:
    """The text with blanks in place of what the expressions find."""
    for expression in expressions:
        text = re.sub(expression, lambda found: " " * len(found[0]), text, flags=re.MULTILINE | re.DOTALL)
    return text


@pytest.mark.parametrize(("name", "template"), places())
def test_a_figure_is_that_of_its_record(name, template):
    found = list(pattern(template).finditer(text_of(name)))
    assert len(found) == 1, f"{name} has not once: {template}"
    expected = [plain(figure(asked)) for asked in fields(template)]
    assert [plain(group) for group in found[0].groups()] == expected, "python tests/docs/figures.py writes them"


@pytest.mark.parametrize("name", [name for name in PAGES if name not in NO_MEASUREMENT])
def test_no_number_is_without_a_record(name):
    text = text_of(name)
    held = [found.span(n) for place, template in places() if place == name
            for found in pattern(template).finditer(text) for n in range(1, found.re.groups + 1)]  # fmt: skip
    for start, end in held:
        text = text[:start] + " " * (end - start) + text[end:]
    text = without(text, r"^```.*?^```", r"^    [^ ].*?$", r"`[^`\n]*`", r"\]\([^)]*\)", *SETTINGS, *NAMED.get(name, ()))
    left = [f"{line}: {found[0]}" for line, words in enumerate(text.splitlines(), 1) for found in NUMBER.finditer(words)]
    assert not left, f"{name}: numbers without a record (tests/docs/figures.txt), or name them as no measurement: {left}"


# numbers of one page that are no measurements
NAMED: dict[str, tuple[str, ...]] = {
    "docs/performance.md": (r"other ratio above 1\.05", r"medians of 7 turns"),
    "docs/methods.md": (r"weight decay of 0\.2 in place of 0\.05", r"On CIFAR-100 it chose 3e-3|, 2e-2 for|, and 8e-3 for"),
    "docs/results.md": (r"where chance is 1 %", r"of 112 runs", r"with 140 to 145 thousand"),
}
BEST = "test_top1_percent_mean"


def says(name: str, words: str) -> bool:
    return words in plain(text_of(name))


def test_words_that_carry_a_finding_are_so():
    means = cifar("summary").drop_duplicates("label").set_index("label")
    assert says("docs/results.md", "Attention is above every fixed transform.")
    assert all(difference(mixer, "attention")["verdict"] == "lower" for mixer in FIXED if means.loc[mixer, "n"] >= 3)
    assert says("docs/results.md", "Every net is best at patch 2.")
    by_patch = {size: cifar("summary", f"patch{size}").drop_duplicates("label").set_index("label")[BEST] for size in (1, 2, 4, 8)}
    assert all((by_patch[2] >= by_patch[size]).all() for size in (1, 4, 8))
    assert says("docs/results.md", "no fixed transform gets past what a bag of tokens gets right")
    recall = table("sequences-cpu/tables/sequences-quick/abilities.csv").query("dataset == 'recall'").set_index("label")
    assert all(recall.loc[mixer, "standing"] == "at its baseline" for mixer in FIXED)
    assert says("README.md", "which is no clear gain") and difference("fft_complex", "fft_real")["verdict"] == "too few to tell"
    assert says("README.md", "`conv_mixer` is the fast one")
    fast = [row(mixer) for mixer in means.index if means.loc[mixer, "net_forward_ms_per_image"] < row("conv_mixer")["net_forward_ms_per_image"]]
    assert all(found[BEST] < row("conv_mixer")[BEST] for found in fast)
    assert float(top1("conv1x1")) < float(top1("fft_real"))
