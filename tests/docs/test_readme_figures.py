"""Every number in README and docs is that of a published record, or is named here as no measurement."""

from __future__ import annotations

import re

import pytest
from figures import fields, pattern, places, plain
from published import FIXED, PUBLISHED, ROOT, cifar, difference, figure, read, row, table, verdict

from benchmarks.contract.record import load_records

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
# files without a measurement: what they name are settings, of the suite or of others, formulas and examples
NO_MEASUREMENT = {
    "docs/after.md", "docs/commands.md", "docs/long-range-arena.md", "docs/mixers.md", "docs/python.md",
    "docs/sequences.md", "docs/tasks.md", "docs/upgrading.md",
}  # fmt: skip
NUMBER = re.compile(r"(?<![\w.+-])[-+±]?\d+(?:[.,]\d+)*(?:e-?\d+)?(?![\w-]*[a-zA-Z])")
COUNTED = "px|tokens?|epochs?|images"
SETTINGS = [
    rf"\d[\d,]*(?:(?:,| to| and| or) \d[\d,]*)* (?:{COUNTED})\b",
    r"patch(?:es)?(?: of)? \d+(?:(?:,| x| and) \d+)*",
    r"(?:dim|depth|batch|seed) \d+",
    r"CIFAR-\d+|Python 3\.\d+|torch >= [\d.]+|\b\d-D\b",
    r"95 %|attention = 1",  # of every interval, of every ratio to it
    r"\((?:[A-Z][\w. ]+, )?(?:19|20)\d\d\)",
]
# numbers of one page that are no measurements
NAMED: dict[str, tuple[str, ...]] = {
    "README.md": (r"in 64 patches", r"upgrading from 0\.1"),
    "docs/data.md": (
        r"rounded to 8", r"\(3 bytes a pixel", r"take 246 MB",
        r"64 or 256\)", r"within 5 to 50", r"full: 20 to 300", r"\(n, [13], H, W\)",
        r"whole numbers from 0",
    ),
    "docs/methods.md": (r"it chose 3e-3 for", r"2e-2 for", r"8e-3 for all", r"weight decay of 0\.2 in place of 0\.05"),
    "docs/performance.md": (r"other ratios above 1\.05", r"medians of 7 turns"),
    "docs/results.md": (
        r"patches of 4 x 4", r"\(16 x 32 px\)", r"computed in 2021",
        r"where chance is 1 %", r"of 112 runs", r"with 140 to 145 thousand",
        r"72, 64; three seeds", r"reviews of 512 bytes",
        r"for 200 epochs", r"gets 81 %", r"of one rate, 3e-3", r"and 8e-3 for", r"8e-3 changes",
    ),
    "docs/text.md": (
        r"84 M tokens", r"15 % of a passage: 80 % of these become a mask, 10 % any token, 10 % stay",
        r"tried were 1, 8 and 90", r"and 1 for all others", r"within 0\.3 points of it 1 is",
        r"profile has 90 for `?[^,]*, 8 for", r"50 pairs of each of its 67", r"right in 50 %",
        r"40 plays and poems, 4\.8 million letters",
        r"815 test sentences",
    ),
}  # fmt: skip


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without(text: str, *expressions: str) -> str:
    """The text with blanks in place of what the expressions find."""
    for expression in expressions:
        text = re.sub(expression, lambda found: blank(found[0]), text, flags=re.MULTILINE | re.DOTALL)
    return text


def blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


@pytest.mark.parametrize(("name", "template"), places())
def test_a_figure_is_that_of_its_record(name, template):
    found = list(pattern(template).finditer(text_of(name)))
    assert len(found) == 1, f"{name} has not once: {template}"
    expected = [plain(figure(asked)) for asked in fields(template)]
    assert [plain(group) for group in found[0].groups()] == expected, "python tests/docs/figures.py writes them"


@pytest.mark.parametrize("name", [name for name in PAGES if name not in NO_MEASUREMENT])
def test_no_number_is_without_a_record(name):
    text = text_of(name)
    for template in [words for place, words in places() if place == name]:
        for found in pattern(template).finditer(text):
            for start, end in map(found.span, range(1, found.re.groups + 1)):
                text = text[:start] + blank(text[start:end]) + text[end:]
    text = without(text, r"^```.*?^```", r"^    [^ ].*?$", r"`[^`\n]*`", r"\]\([^)]*\)")
    own = [words.replace(" ", r"\s+") for words in NAMED.get(name, ())]
    assert all(re.search(words, text) for words in own), "it names words that are gone"
    text = without(text, *own, *(words.replace(" ", r"\s+") for words in SETTINGS))
    left = [f"{line}: {found}" for line, words in enumerate(text.splitlines(), 1) for found in NUMBER.findall(words)]
    assert not left, "numbers that tests/docs/figures.txt does not have, and that are not named as no measurement"


def says(name: str, words: str) -> bool:
    return words in plain(text_of(name))


def test_words_that_carry_a_finding_are_so():
    means = "test_top1_percent_mean"
    assert says("docs/results.md", "Attention is above every fixed linear transform.")
    assert all(difference(mixer, "attention")["verdict"] == "lower" for mixer in FIXED)
    assert says("docs/methods.md", "attention is above every fixed linear transform, and `linear` above `fft_real`.")
    assert difference("linear", "fft_real")["verdict"] == "higher"
    assert says("docs/methods.md", "No fixed linear transform is shown to be above no mixing with sines.")
    assert row("conv1x1")["positions"] == "sine"
    assert all(difference(mixer, "conv1x1")["verdict"] != "higher" for mixer in FIXED)
    assert says("docs/methods.md", "The FFT trains faster than attention from 512 tokens on")
    assert {verdict("fft-trains-faster"), verdict("spectral-mixers-grow-as-n-log-n")} == {"supported"}
    assert says("docs/results.md", "`conv_mixer` had three of its own, so its ratios are not taken within a round.")
    timed = table("cifar100-cpu/tables/cifar100-quick/latency.csv")
    ranked = timed[(timed["patch_size_px"] == 4) & (timed["image_size_px"] == "32") & (timed["match"] == "width")]
    assert {*ranked[ranked["timed_with_attention"].eq(False)]["label"]} == {"conv_mixer"}
    assert says("docs/results.md", "Every net is best at patch 2.")
    by_patch = {size: cifar("summary", f"patch{size}").set_index("label")[means] for size in (1, 2, 4, 8)}
    assert all((by_patch[2] >= by_patch[size][by_patch[2].index]).all() for size in (1, 4, 8))


def test_words_on_sequences_are_so():
    means = "test_top1_percent_mean"
    can = table("sequences-cpu/tables/sequences-quick/abilities.csv").set_index(["dataset", "label"])["standing"]
    unsolved = ("at its baseline", "open")
    assert says("docs/results.md", "no fixed transform clearly gets past what a bag of tokens gets right")
    assert all(can["recall", mixer] in unsolved for mixer in (*FIXED, "1xfft_real+1xattention"))
    assert says("docs/results.md", "the mean of every fixed one is at it")
    assert all(can["match", mixer] == "at its baseline" for mixer in FIXED)
    assert says("docs/results.md", "`linear` and `random` do not reach their baseline")
    assert says("docs/results.md", "no transform is above what the place alone tells")
    assert all(can["copy", mixer] in unsolved for mixer in FIXED) and "solved" not in set(can["copy"])
    assert {can["first", mixer] for mixer in ("linear", "random")} == {"at its baseline"}
    assert says("docs/results.md", "Those that reach their neighbours alone cannot, and `random` hardly.")
    assert all(can["reverse", mixer] != "solved" for mixer in ("conv_mixer", "pool", "shift", "conv1x1", "random"))
    ops = table("sequences-cpu/tables/listops-quick/summary.csv").query("n == 3").set_index("label")
    assert says("docs/results.md", "the highest means are those of `linear_attention`")
    assert set(ops[means].nlargest(3).index) == {"attention", "linear_attention", "performer"}
    assert says("docs/results.md", "`random` (24.6) is not told from the first token alone")
    assert ops.loc["random", "standing"] in unsolved
    assert says("docs/results.md", "No mean reaches")
    assert ops[means].max() < ops["baseline_depth_1_percent"].max()
    assert says("docs/results.md", "No padded net is below the worst of its mixer's three seeds without padding.")
    runs = load_records(PUBLISHED / "sequences-cpu", "accuracy-*.json")
    padded, usual = [], {}
    for run in (run for run in runs if run.trial.dataset == "listops"):
        top1 = run.metrics["test_top1_percent"]
        if run.trial.padded_length is None:
            usual.setdefault(run.trial.mixer, []).append(top1)
        else:
            padded.append((run.trial.mixer, top1))
    assert len(padded) == 2 * len(usual) and all(len(seeds) == 3 for seeds in usual.values())
    assert all(top1 >= min(usual[mixer]) for mixer, top1 in padded)
    assert says("docs/results.md", "no net gets past a count of bytes")
    assert set(table("sequences-cpu/tables/imdb-quick/summary.csv")["standing"]) == {"at its baseline"}


def test_words_of_the_readme_and_on_speed_are_so():
    means = "test_top1_percent_mean"
    assert says("docs/results.md", "Attention leads here too.")
    assert cifar("summary", "params").set_index("label")[means].idxmax() == "attention"
    assert says("docs/performance.md", "The only other ratios above 1.05 are those of `fft_real` at 16 px")
    peers = [one for one in read("peers-cpu/peers.json")["comparisons"] if one["ratio"] >= 1.055]
    assert {(one["what"], one["image_size"]) for one in peers if one["what"] != "shift"} == {("fft_real", "16")}
    assert says("README.md", "**The imaginary part brings FNet no clear gain.**")
    assert difference("fft_complex", "fft_real")["verdict"] == "too few to tell"
    assert says("README.md", "`conv_mixer` and `mlp_mixer` get")
    assert {*cifar("summary").set_index("label")[means].nlargest(2).index} == {"conv_mixer", "mlp_mixer"}
