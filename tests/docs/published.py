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
# the main setting of the comparison, and what others change of it
MAIN = {
    "image_size_px": "32", "patch_size_px": 4, "dim": 64, "epochs": 5, "match": "width", "norm": "image",
    "coordinates": True,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "main": {},
    "params": {"match": "params", "dim": None},
    "six": {"epochs": 6},
    **{f"px{size}": {"image_size_px": str(size)} for size in (16, 32, 48)},
    **{f"patch{size}": {"image_size_px": "16", "patch_size_px": size, "dim": 32} for size in (1, 2, 4, 8)},
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
    "conv_mixer": "a depthwise convolution",
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
    return found


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
        return code(best(), "or")
    if what == "top1":
        return " and ".join(top1(mixer) for mixer in best())
    return spread([row(mixer)["net_forward_over_attention"] for mixer in best()], 2)


@named
def top1(mixer: str, setting: str = "main") -> str:
    return f"{row(mixer, setting)['test_top1_percent_mean']:.1f}"


def _seed_0(label: str) -> float:
    """Of the main setting, by the chosen rate."""
    mixer, _, version = label.partition(" v")
    found = row(mixer)
    for path in (CIFAR / "records").glob("accuracy-*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        trial = {"norm": "image", "coordinates": True, "match": "width", "mixer_version": 1, **record["trial"]}
        same = all(trial[name.removesuffix("_px")] == found[name] for name in (*MAIN, "lr") if name != "image_size_px")
        newest = trial["mixer_version"] == int(version or published_versions()[mixer])
        if same and newest and (trial["mixer"], trial["image_size"], trial["seed"]) == (mixer, 32, 0):
            return record["metrics"]["test_top1_percent"]
    raise KeyError(label)


def _with_six(mixer: str) -> pd.Series:
    rows = cifar("summary", "six")
    rows = rows[rows["lr"] == row(mixer)["lr"]].set_index("label", drop=False)
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


@named
def outdated() -> str:
    from mixers.registry import list_mixers, mixer_entry

    old = [name for name in list_mixers() if mixer_entry(name).cls.version > published_versions().get(name, 1)]
    return code(old) if old else "none"


@functools.cache
def published_versions() -> dict[str, int]:
    found: dict[str, int] = {}
    for path in (CIFAR / "records").glob("accuracy-*.json"):
        trial = json.loads(path.read_text(encoding="utf-8"))["trial"]
        found[trial["mixer"]] = max(trial.get("mixer_version", 1), found.get(trial["mixer"], 1))
    return found


# -- tables


@named
def table_(name: str) -> str:
    makers = {"readme": _readme, "results": _all, "params": _params, "encoders": _encoders, "own": _own}
    return "\n".join(f"| {' | '.join(cells)} |" for cells in makers[name]())


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


def _encoders() -> list[list[str]]:
    """Of the encoders that were pre-trained on a GPU: masked accuracy, and speed in training."""
    found = []
    for path in (PUBLISHED / "text-h200" / "records").glob("accuracy-*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["trial"]["dataset"] == "pretrain":
            name = {"conv1x1": "ff_only"}.get(record["trial"]["mixer"], record["trial"]["mixer"])
            speed = record["metrics"]["train_images_per_s"] * record["trial"]["length"] / 1e6
            found.append((record["metrics"]["test_top1_percent"], f"`{name}`", f"{speed:.2f}"))
    return [[name, f"{masked:.1f}", speed] for masked, name, speed in sorted(found, reverse=True)]


def _own() -> list[list[str]]:
    """Reading one's own images, as JPEGs."""
    both = [_reliability("own-data-speed"), _reliability("own-data-speed-1500")]
    assert {(found["side"], found["cpu"]) for found in both} == {(256, "AMD EPYC")}
    return [
        [
            f"{found['jpegs']:,}",
            f"{found['own_ratio']:.0f} times, {found['streamed_ratio']:.0f} times as long",
            f"{found['own_data_percent']:.1f} %, {found['streamed_data_percent']:.1f} %",
            f"{found['decode_s']:.2g} s",
            f"{found['peak_bytes'] / 1e9:.1f} GB",
        ]
        for found in both
    ]


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
def pooled(patch: str) -> str:
    return _comparisons()[f"mean over 7 mixers patch {patch} px"]


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


@named
def transforms(what: str) -> str:
    return str(len(list((PUBLISHED / "transforms" / "transforms" / "records").glob("*.json"))))


# -- sequences, text, GPU


@named
def solve(dataset: str) -> str:
    rows = table("sequences-cpu/tables/sequences-quick/abilities.csv")
    return code(rows[(rows["dataset"] == dataset) & (rows["standing"] == "solved")]["label"], "or")


@named
def seqtime(mixer: str, length: str) -> str:
    rows = table("sequences-cpu/tables/recall-quick/latency.csv")
    (found,) = rows[(rows["label"] == mixer) & (rows["length"] == length)]["net_forward_backward_over_attention"]
    return f"{found:.2f}"


@named
def small(encoder: str) -> str:
    rows = table("text-small/tables/text-quick/pretraining.csv").drop_duplicates("label").set_index("label")
    return f"{rows.loc[encoder, 'score_mean']:.1f}"


@named
def h100(what: str) -> str:
    rows = table("h100/tables/cifar100-full/summary.csv").dropna(subset="test_top1_percent_mean").set_index("label")
    means = rows["test_top1_percent_mean"]
    return f"{means['conv1x1']:.1f}" if what == "conv1x1" else spread(means.drop("conv1x1"), 1)


def _copies() -> list[dict[str, Any]]:
    return [
        r for step in read("h100/gpu-check/gpu-check.json")["steps"].values() for r in step["rows"] if "copy_ratio" in r
    ]


@named
def copy(mixers: str) -> str:
    return spread([r["copy_ratio"] for r in _copies() if r["mixer"] in mixers.split(",")], 2)


@named
def over(_: str) -> str:
    return spread([r["ratio"] for r in _copies() if r.get("ratio")], 2)


# -- speed


def _naive() -> list[dict[str, Any]]:
    return [r for r in read("cifar100-cpu/speed.json")["naive_forms"] if r.get("ratio")]


@named
def naive(mixer: str = "", size: str = "") -> str:
    if not mixer:
        return spread([r["ratio"] for r in _naive()], 2)
    (found,) = [r for r in _naive() if (r["mixer"], str(r["image_size"])) == (mixer, size)]
    return f"{found['ratio']:.2f} ({found['ratio_low']:.2f} to {found['ratio_high']:.2f})"


@named
def rfft2(size: str) -> str:
    (found,) = [r["form_ms"] for r in _naive() if (r["mixer"], str(r["image_size"])) == ("dct", size)]
    return f"{found['rfft2 alone'] / found['matrix products']:.2f}"


@named
def loop() -> str:
    return spread(
        [r["ratio"] for r in read("cifar100-cpu/speed.json")["comparisons"] if r["what"] == "training loop"], 2
    )


@named
def overhead() -> str:
    rows = read("cifar100-cpu/speed.json")["comparisons"]
    return f"{100 * max(r['ratio'] for r in rows if r['what'].startswith('step outside')):.1f}"


@named
def peer(mixer: str, beside: str) -> str:
    rows = read("peers-cpu/peers.json")["comparisons"]
    return spread(
        [r["ratio"] for r in rows if r["what"] == mixer and beside in r["beside"] and r["mode"] == "forward"], 2
    )


@named
def unsaid() -> str:
    """Records that do not say which method ran."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (CIFAR / "records").glob("*.json")]
    return str(sum(record["status"] == "ok" and "method" not in record["metrics"] for record in records))


# -- reliability


def _reliability(name: str) -> Any:
    return read(f"reliability/{name}.json")


@named
def kills() -> str:
    return str(sum(_reliability("kills")["kills"]["kills"].values()))


@named
def sweeps() -> str:
    return str(_reliability("kills")["kills"]["sweeps"])


@named
def together() -> str:
    return str(_reliability("kills")["together"]["runs"])


@named
def disk() -> str:
    return str(sum(case["exit_code"] != 0 for case in _reliability("kills")["full_disk"]["cases"]))


@named
def fuzz() -> str:
    return f"{sum(_reliability('fuzz')['cases'].values()):,}"


@named
def ray(what: str) -> str:
    return str(_reliability("ray")[what])


@named
def growing(what: str) -> str:
    found = _reliability("growing-folder")
    values = {"records": f"{found['records']:,}", "s": f"{sorted(found['report_s'])[1]:.1f}"}
    return values.get(what) or f"{max(found['peak_bytes']) / 1e9:.2f}"


@named
def own(what: str) -> str:
    """Reading one's own images."""
    found = _reliability("own-data-speed")
    texts = {
        "jpegs": f"{found['jpegs']:,}",
        "side": str(found["side"]),
        "decode": f"{found['decode_s']:.2g}",
        "share": f"{found['own_data_percent']:.1f}",
    }
    return texts[what]


@named
def baseline(name: str) -> str:
    """Of masked bytes in the small form of text."""
    for path in (PUBLISHED / "text-small" / "records").glob("accuracy-*.json"):
        metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        if f"baseline_{name}_percent" in metrics:
            return f"{metrics[f'baseline_{name}_percent']:.0f}"
    raise KeyError(name)
