"""Figures of the published records by name: `figure("top1 dct")` is the text that README and docs have for it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "results" / "published"
CIFAR = PUBLISHED / "cifar100-cpu"
# the main setting of the comparison, each mixer in the net of its choice, and what others change of it
MAIN = {
    "image_size_px": "32", "patch_size_px": 4, "dim": 64, "depth": 4, "epochs": 5, "match": "width",
    "coordinates": True,
}  # fmt: skip
USUAL = {"norm": "image", "positions": "none"}
SETTINGS: dict[str, dict[str, Any]] = {
    "main": {},
    "usual": USUAL,
    "params": {"match": "params", "dim": None, **USUAL},
    "six": {"epochs": 6, **USUAL},
    **{f"px{size}": {"image_size_px": str(size), **USUAL} for size in (16, 32, 48)},
    **{f"patch{size}": {"image_size_px": "16", "patch_size_px": size, "dim": 32, **USUAL} for size in (1, 2, 4, 8)},
}
LEARNED = (
    "mlp_mixer", "linear", "conv_mixer", "linear_separable", "global_filter", "gmlp", "attention", "linear_attention",
    "performer", "afno",
)  # fmt: skip
FIXED = (
    "dct", "hartley", "fft_pairs", "fft_complex", "fft_real", "hadamard", "fft_imag", "random_orthogonal", "random",
    "fft_real_2d", "random_separable", "fft_scrambled",
)  # fmt: skip
KINDS = {"learned": LEARNED, "fixed": FIXED, "local": ("shift", "pool")}
README = {  # the rows of its table
    "mlp_mixer": "two learned layers over the tokens",
    "linear": "one learned matrix over the tokens",
    "conv_mixer": "a depthwise convolution, GELU, batch norm",
    "gmlp": "a learned gate over the tokens",
    "attention": "multi-head self-attention",
    "dct": "a cosine transform",
    "fft_complex": "a Fourier transform, both parts",
    "fft_real": "FNet: its real part",
    "random": "a fixed random matrix",
    "conv1x1": "no mixing",
}
FIGURES: dict[str, Callable[..., str]] = {}


def figure(asked: str) -> str:
    """The text of a figure; the first word is its name, the others its arguments."""
    name, *words = asked.split()
    return FIGURES[name](*words)


def named(function: Callable[..., str]) -> Callable[..., str]:
    FIGURES[function.__name__.removesuffix("_")] = function
    return function


@functools.cache
def table(path: str) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / path, dtype={"image_size_px": str, "length": str})


@functools.cache
def read(path: str) -> Any:
    return json.loads((PUBLISHED / path).read_text(encoding="utf-8"))


def cifar(name: str, setting: str = "main") -> pd.DataFrame:
    """Rows of one setting; where a mixer has several learning rates, those of the choice, which come first."""
    found = table(f"cifar100-cpu/tables/cifar100-quick/{name}.csv")
    for column, value in {**MAIN, **SETTINGS[setting]}.items():
        if value is not None:
            found = found[found[column] == value]
    return found[found["net"] != "unchosen"] if setting == "main" else found


def labelled(mixer: str, labels: Iterable[str]) -> str:
    """The newest version of a mixer among labels: a repaired mixer may not be measured anew in every setting."""
    found = sorted(label for label in labels if re.fullmatch(rf"{re.escape(mixer)}( v\d+)?", label))
    return found[0 if mixer in found else -1]


def row(mixer: str, setting: str = "main") -> pd.Series:
    rows = cifar("summary", setting).drop_duplicates("label").set_index("label")
    name = labelled(mixer, rows.index)
    return pd.concat([rows.loc[name], pd.Series({"label": name})])


def difference(mixer: str, reference: str, setting: str = "main") -> pd.Series:
    rows = cifar("differences", setting)
    rows = rows[rows["reference"] == labelled(reference, rows["reference"].unique())].drop_duplicates("label")
    return rows.set_index("label").loc[labelled(mixer, rows["label"])]


def signed(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}"


def spread(values: Iterable[float], digits: int) -> str:
    """ "0.75 to 0.87", or one number where both are the same."""
    low, high = (f"{end(values):.{digits}f}" for values in [list(values)] for end in (min, max))
    return low if low == high else f"{low} to {high}"


def code(names: Iterable[str], last: str = "and") -> str:
    words = [f"`{name}`" for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def best() -> list[str]:
    """The two most accurate of the mixers with eight seeds."""
    rows = cifar("summary")
    return list(rows[rows["n"] >= 8].nlargest(2, "test_top1_percent_mean")["label"])


@named
def registered() -> str:
    from mixers import list_mixers

    return str(len(list_mixers()))


@named
def leaders(what: str = "") -> str:
    if not what:
        return code(best())
    if what == "top1":
        return " and ".join(top1(mixer) for mixer in best())
    return spread([row(mixer)["net_forward_over_attention"] for mixer in best()], 2)


@named
def top1(mixer: str, setting: str = "main") -> str:
    return f"{row(mixer, setting)['test_top1_percent_mean']:.1f}"


@named
def first_version(mixer: str) -> str:
    return top1(f"{mixer} v1")


def _seed_0(label: str) -> float:
    """Of the main setting, in the usual net, by the chosen rate."""
    mixer, _, version = label.partition(" v")
    found = row(mixer, "usual")
    fields = [name for name in (*MAIN, *USUAL, "lr") if name != "image_size_px"]
    for path in (CIFAR / "records").glob("accuracy-*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        trial = {**USUAL, "coordinates": True, "match": "width", "mixer_version": 1, **record["trial"]}
        same = all(trial[name.removesuffix("_px")] == found[name] for name in fields)
        newest = trial["mixer_version"] == int(version or published_versions()[mixer])
        if same and newest and (trial["mixer"], trial["image_size"], trial["seed"]) == (mixer, 32, 0):
            return record["metrics"]["test_top1_percent"]
    raise KeyError(label)


def _with_six(mixer: str) -> pd.Series:
    rows = cifar("summary", "six")
    rows = rows[rows["lr"] == row(mixer, "usual")["lr"]].set_index("label", drop=False)
    return rows.loc[labelled(mixer, rows.index)]


@named
def five(mixer: str) -> str:
    """Seed 0 alone, to stand beside six epochs of it."""
    return f"{_seed_0(_with_six(mixer)['label']):.1f}"


@named
def six(mixer: str) -> str:
    return f"{_with_six(mixer)['test_top1_percent_mean']:.1f}"


@named
def time(mixer: str, setting: str = "main") -> str:
    return "1" if mixer == "attention" else f"{row(mixer, setting)['net_forward_over_attention']:.2f}"


@named
def steptime(mixer: str) -> str:
    return f"{row(mixer, 'main')['net_forward_backward_over_attention']:.2f}"


@named
def label(mixer: str, setting: str) -> str:
    return row(mixer, setting)["label"]


@named
def diff(mixer: str, reference: str = "attention", setting: str = "main") -> str:
    names = ("difference_points", "difference_points_low", "difference_points_high")
    middle, low, high = (signed(difference(mixer, reference, setting)[name]) for name in names)
    return f"{middle} ({low} to {high})"


@named
def adds(mixer: str, patch: str) -> str:
    return signed(difference(mixer, "conv1x1", f"patch{patch}")["difference_points"])


@named
def gap(mixer: str, setting: str) -> str:
    """Of attention over a mixer, both in the usual net."""
    above, below = (row(name, setting)["test_top1_percent_mean"] for name in ("attention", mixer))
    return f"{above - below:.1f}"


@named
def lead(setting: str) -> str:
    """Of attention over fft_real, seed 0."""
    labels = [row(mixer, "px16")["label"] for mixer in ("attention", "fft_real")]
    if setting == "px32":
        both = [_seed_0(label) for label in labels]
    else:
        both = [row(label.partition(" v")[0], setting)["test_top1_percent_mean"] for label in labels]
    return f"{both[0] - both[1]:.1f}"


@named
def range_(kind: str) -> str:
    means = cifar("summary").set_index("label")["test_top1_percent_mean"]
    return spread(means[list(KINDS[kind])], 1)


@named
def rates(rate: str) -> str:
    rows = cifar("summary")
    return code(rows[(rows["lr"] == float(rate)) & (rows["n"] >= 3)].sort_values("label")["label"])


@named
def clear(reference: str) -> str:
    """The mixers that are shown to be above it, corrected."""
    rows = cifar("differences")
    return code(rows[(rows["reference"] == reference) & (rows["verdict"] == "higher")]["label"])


@named
def below(reference: str, setting: str) -> str:
    rows = cifar("differences", setting)
    rows = rows[rows["reference"] == labelled(reference, rows["reference"].unique())]
    return code(rows[rows["verdict"] == "lower"]["label"])


@functools.cache
def published_versions() -> dict[str, int]:
    found: dict[str, int] = {}
    for path in (CIFAR / "records").glob("accuracy-*.json"):
        trial = json.loads(path.read_text(encoding="utf-8"))["trial"]
        found[trial["mixer"]] = max(trial.get("mixer_version", 1), found.get(trial["mixer"], 1))
    return found


# -- tables


TABLES: dict[str, Callable[[], list[list[str]]]] = {}


@named
def table_(name: str) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in TABLES[name]())


def _accuracy(mixer: str, setting: str = "main") -> str:
    mean, high = (row(mixer, setting)[f"test_top1_percent_{what}"] for what in ("mean", "high"))
    return f"{mean:.1f} ± {high - mean:.1f}"


def _mark(mixer: str) -> str:
    n = row(mixer)["n"]
    return f"`{mixer}`" + {8: "", 3: " *"}.get(n, f" ({n:.0f} seeds)")


def _thousand(mixer: str) -> str:
    return f"{row(mixer)['params'] / 1000:.0f}"


def _readme() -> list[list[str]]:
    names = sorted(README, key=lambda mixer: -row(mixer)["test_top1_percent_mean"])
    return [[_mark(m), README[m], _accuracy(m), time(m), _thousand(m)] for m in names]


def _all() -> list[list[str]]:
    rows = cifar("summary").sort_values("test_top1_percent_mean", ascending=False, kind="stable")
    names = [name for name in rows[rows["n"] >= 3]["label"] if not re.search(r" v\d+$", name)]
    return [[_mark(m), _accuracy(m), "" if m == "attention" else diff(m), time(m), _thousand(m)] for m in names]


def _params() -> list[list[str]]:
    rows = cifar("summary", "params").sort_values("test_top1_percent_mean", ascending=False)
    names = dict.fromkeys(label.partition(" v")[0] for label in rows["label"])
    return [
        [
            f"`{row(m, 'params')['label']}`",
            _accuracy(m, "params"),
            "" if m == "attention" else diff(m, "attention", "params"),
            time(m, "params"),
        ]
        for m in names
    ]


TABLES |= {"readme": _readme, "results": _all, "params": _params}


# -- claims, effects, shares


def claims_table() -> pd.DataFrame:
    return table("cifar100-cpu/claims.csv")


@named
def claims(outcome: str) -> str:
    found = claims_table()["outcome"]
    return str(len(found) if outcome == "all" else (found == outcome).sum())


@named
def list_(outcome: str) -> str:
    rows = claims_table()
    return "\n".join(f"- {text}" for text in rows[rows["outcome"] == outcome]["text"])


@named
def verdict(claim: str) -> str:
    (found,) = claims_table().query("claim == @claim")["outcome"]
    return found


@functools.cache
def _comparisons() -> dict[str, str]:
    text = (CIFAR / "claims.md").read_text(encoding="utf-8").replace("−", "-")
    rows = re.findall(r"^\| (.+?) +\| +(\S+) points \((\S+ to \S+)\) \|", text, re.MULTILINE)
    return {what: f"{middle} ({ends})" for what, middle, ends in rows}


@named
def claimed(one: str, other: str) -> str:
    return _comparisons()[f"{one} - {other}"]


@named
def many(claim: str, number: str, interval: str = "") -> str:
    """How many times as fast or as large, of the numbered comparison of a claim."""
    (title,) = claims_table().query("claim == @claim")["text"]
    text = (CIFAR / "claims.md").read_text(encoding="utf-8").partition(f"## {title}")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .+? \| +(\S+) times(?: \((\S+ to \S+)\))? \|", text, re.MULTILINE)
    middle, ends = rows[int(number)]
    return f"{middle} ({ends})" if interval else middle


@named
def pooled(patch: str) -> str:
    words = re.compile(rf"mean over \d mixers patch {patch} px")
    (found,) = [value for name, value in _comparisons().items() if words.fullmatch(name)]
    return found


@named
def effect(name: str) -> str:
    (found,) = [r for _, r in table("cifar100-cpu/tables/cifar100-quick/effects.csv").iterrows() if r["field"] == name]
    ends = (signed(found[f"effect_points{end}"]) for end in ("", "_low", "_high"))
    return "{} ({} to {})".format(*ends)


@named
def share(what: str, without: str = "") -> str:
    rows = table("cifar100-cpu/tables/cifar100-quick/decomposition.csv").fillna({"without": ""})
    (found,) = rows[rows["without"] == without][f"{what}_percent"]
    return f"{found:.0f}"


@named
def spectracles(norm: str) -> str:
    rows = table("cifar100-cpu/spectracles.csv")
    kept = rows[(rows["standardize"] == "none") == (norm == "none")]
    return spread(kept.groupby("layout")["test_top1_percent"].mean(), 1)
