"""What every net does with its mixers: one is built for each layer, and some of their parameters must not decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from mixers.arguments import whole_number
from mixers.base import Mixer, MixerError
from mixers.registry import create_mixer, mixer_entry, mixer_options
from mixers.spec import MixerSpec


def create_mixer_of_layer(
    spec: MixerSpec, dim: int, size: tuple[int, int], layer: int, seed: int, **options: Any
) -> Mixer:
    """The mixer of one block; one that draws something fixed gets a seed per layer, from its option or the net's."""
    if "seed" in mixer_options(mixer_entry(spec).cls):
        name, allowed = f"mixer {spec.text!r}: seed", f"whole numbers from 0 to {2**31 - 1}"
        base = whole_number(name, dict(spec.options).get("seed", seed), 0, allowed)
        if base >= 2**31:
            raise MixerError(f"{name} is {base}; allowed: {allowed}")
        options["seed"] = base * 1000 + layer
    return create_mixer(spec, dim, size, **options)


def not_decayed_by_mixers(net: nn.Module) -> set[str]:
    """The parameters of a net that its mixers' `no_weight_decay` names, as the net names them.

    Raises:
        MixerError: a mixer names a parameter that it does not have.
    """
    names = set()
    for place, mixer in net.named_modules():
        own = {name for name, _ in mixer.named_parameters()} if isinstance(mixer, Mixer) else set()
        for name in mixer.no_weight_decay() if isinstance(mixer, Mixer) else ():
            if name not in own:
                have = ", ".join(sorted(own)) or "none"
                raise MixerError(f"{type(mixer).__name__}.no_weight_decay() names {name!r}; its parameters: {have}")
            names.add(f"{place}.{name}")
    return names
