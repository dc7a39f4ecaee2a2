"""What every plot looks like: one colour a family, one marker and line a mixer, fixed here and nowhere else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.contract.trial import base_name
from benchmarks.report.alike import ATTENTION
from benchmarks.report.families import PLUGIN, mixer_family
from benchmarks.report.stats.leader import NO_MIXING
from benchmarks.report.wording import clean

# Okabe and Ito's colours, told apart by the colour-blind; their yellow is left out, for it vanishes on white
FAMILY_COLOURS = {
    "spectral": "#0072B2",
    "separable": "#009E73",
    "dense": "#E69F00",
    "attention": "#D55E00",
    "mlp": "#CC79A7",
    "filters": "#56B4E9",
    "local": "#7A7A7A",
    "hybrid": "#8C6D31",
    "plug-in": "#000000",
}
FAMILY_WORDS = {  # behind a family's name in a legend
    "spectral": "Fourier",
    "separable": "rows, then columns",
    "dense": "one matrix",
    "mlp": "learned layers",
    "filters": "learned in frequency",
    "local": "neighbours or none",
    "hybrid": "several mixers",
    "plug-in": "your own",
}
FALLBACK_COLOURS = ("#000000", "#5B3A8E", "#7B3F00", "#3D5A5A")
# marker and line of every mixer of this library; within a family no two are alike, so the plots can be read in grey
MIXER_STYLES: dict[str, tuple[str, str]] = {
    "fft_complex": ("o", "-"),
    "fft_real": ("s", "--"),
    "fft_real_2d": ("D", "-."),
    "fft_imag": ("^", ":"),
    "fft_magphase": ("v", "-"),
    "fft_pairs": ("P", "--"),
    "hartley": ("X", "-."),
    "fft_scrambled": ("<", ":"),
    "dct": ("D", "-"),
    "hadamard": ("^", "--"),
    "random_separable": ("v", "-."),
    "linear_separable": ("s", ":"),
    "random": ("v", "-"),
    "random_orthogonal": ("<", "--"),
    "linear": ("h", "-."),
    "random_fnet": ("^", ":"),
    "linear_fnet": ("d", "-"),
    "mlp_mixer": ("s", "-"),
    "gmlp": ("d", "--"),
    "attention": ("X", "-"),
    "performer": ("P", "--"),
    "linear_attention": ("p", "-."),
    "conv1x1": ("P", "-"),
    "ff_only": ("o", ":"),
    "conv_mixer": ("s", "--"),
    "pool": ("D", "-."),
    "shift": (">", ":"),
    "global_filter": ("o", "-"),
    "afno": ("p", "--"),
}
FALLBACK_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "h", "d", "p", "8", "H")
FALLBACK_LINES = ("-", "--", "-.", ":")
VARIANT_LINE = (0, (4, 1, 1, 1, 1, 1))  # a mixer with options: its own colour and marker, hollow, and this line
TICK_SIZE, CAPTION_SIZE, TITLE_SIZE = 7, 6.5, 8.5
GREY: dict[str, Any] = {  # of a line that is there for the company
    "color": "#BBBBBB", "linewidth": 0.6, "linestyle": "-", "marker": "none", "zorder": 1,
}  # fmt: skip
FLOOR_COLOUR = "#444444"

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a plot looks the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": TICK_SIZE,
    "ytick.labelsize": TICK_SIZE,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2,
    "text.parse_math": False,  # a mixer may be called anything, "$" included
    "svg.hashsalt": "token-mixers",
    "svg.fonttype": "path",
    "figure.dpi": 200,
    "savefig.dpi": 200,
}
NARROW, WIDE = 3.3, 6.9  # inches: one and two columns of a paper
LONGEST_LABEL = 24
FNET = "fft_real"  # the mixer that the suite asks about
MOST_COLOURED, FRONT = 8, 3  # lines of one panel; of more the first few and the references alone have a colour


def mixer_style(label: str) -> dict[str, Any]:
    """Colour, marker and line of a mixer, by keywords of matplotlib's `plot`. The same label gets the same, always."""
    mixer = re.sub(r" v\d+$", "", label)  # of an earlier version
    name = base_name(mixer)
    variant = mixer != name or label != mixer
    digest = hashlib.sha256(label.encode()).digest()
    marker, line = MIXER_STYLES.get(
        name, (FALLBACK_MARKERS[digest[0] % len(FALLBACK_MARKERS)], FALLBACK_LINES[digest[1] % len(FALLBACK_LINES)])
    )
    colour = family_colour(mixer_family(mixer))
    return {
        "color": colour,
        "marker": marker,
        "linestyle": VARIANT_LINE if variant else line,
        "markerfacecolor": "white" if variant else colour,
        "markeredgecolor": colour if variant else "white",
        "markeredgewidth": 0.9 if variant else 0.4,
    }


def family_colour(family: str) -> str:
    """A family's colour; one that is not in the table gets one of a few others by its name."""
    fallback = FALLBACK_COLOURS[hashlib.sha256(family.encode()).digest()[0] % len(FALLBACK_COLOURS)]
    return FAMILY_COLOURS.get(family, fallback)


def in_order(families: Iterable[str]) -> list[str]:
    """Families as every legend has them, each once."""
    known = list(FAMILY_COLOURS)
    return sorted(set(families), key=lambda family: (known.index(family) if family in known else len(known), family))


def front_runners(scores: Mapping[str, float]) -> list[str]:
    """The lines that get a colour and a name, highest first; where they are many, the others are grey.

    Those are the highest, attention, FNet's transform, the net without mixing, and what is not of this library.
    """
    ordered = sorted(scores, key=lambda label: (-scores[label], label))
    if len(ordered) <= MOST_COLOURED:
        return ordered
    own = [label for label in ordered if mixer_family(label) == PLUGIN]
    shown = {*ordered[:FRONT], *own[:FRONT], ATTENTION, FNET, NO_MIXING}
    return [label for label in ordered if label in shown]


def short(label: str, after: str = "") -> str:
    """The label as it fits on a plot, a mixer's options on a second line; `after` follows the name."""
    name, _, options = clean(label).partition("(")
    lines = [cut(name) + after] + ([cut(options.rstrip(")"))] if options else [])
    return "\n".join(lines)


def cut(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
