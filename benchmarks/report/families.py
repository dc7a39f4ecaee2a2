"""Which family a mixer belongs to, known without loading one: a report runs nobody's code, and does without torch."""

from __future__ import annotations

import functools
import re

FAMILIES = {  # of the mixers of this library, as they are registered
    "spectral": (
        *("fft_complex", "fft_real", "fft_real_2d", "fft_imag", "hartley", "fft_pairs", "fft_magphase"),
        "fft_scrambled",
    ),
    "separable": ("dct", "hadamard", "random_separable", "linear_separable"),
    "dense": ("random", "random_orthogonal", "random_fnet", "linear", "linear_fnet"),
    "attention": ("attention", "linear_attention", "performer"),
    "mlp": ("mlp_mixer", "gmlp"),
    "filters": ("global_filter", "afno"),
    "local": ("conv1x1", "conv_mixer", "pool", "shift"),
}
ALIASES = {"ff_only": "conv1x1"}
HYBRID = "hybrid"
PLUGIN = "plug-in"


@functools.cache
def mixer_family(mixer: str) -> str:
    """The family of a mixer as written in a trial; what is not of this library is a plug-in."""
    name = mixer.partition("(")[0]
    if ":" not in name and ("+" in name or re.match(r"\d+x|hybrid_", name)):
        return HYBRID
    return next((family for family, names in FAMILIES.items() if ALIASES.get(name, name) in names), PLUGIN)
