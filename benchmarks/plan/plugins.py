"""Mixers from outside the library: what tells them apart in records, and a look at them before anything is measured."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from benchmarks.contract.errors import place_of
from mixers import Mixer, MixerError, UnsupportedSize, create_mixer
from mixers.registry import mixer_entry
from mixers.spec import MixerSpec


def is_plugin(mixer: MixerSpec) -> bool:
    """Whether the mixer is defined outside this library."""
    return mixer_entry(mixer).cls.__module__.partition(".")[0] != "mixers"


def check_plugin(mixer: MixerSpec, dim: int, grid: tuple[int, int]) -> None:
    """Runs a plug-in once, forward and backward, on two random images; with padding too, where it takes that.

    Raises:
        MixerError: it raises, or gives something else than finite real numbers of the shape that it declares; the
            message is one line that names it.
    """
    name = mixer_entry(mixer).name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            module = create_mixer(mixer, dim, grid)
            x = torch.randn(2, dim, *grid, requires_grad=True)
            y = module(x)
            wrong = _what_is_wrong(module, x, y) or _lets_padding_in(module, x.detach())
        except UnsupportedSize:
            return  # a result of the measurement
        except MixerError as error:
            raise error if name in str(error) else MixerError(f"mixer {name!r}: {error}") from error
        except (Exception, SystemExit) as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())} ({place_of(error)})"
            raise MixerError(f"mixer {name!r} fails at dim {dim} on {grid[0]} x {grid[1]} tokens: {text}") from error
    if wrong:
        raise MixerError(f"mixer {name!r} {wrong}")


def _what_is_wrong(module: Mixer, x: Tensor, y: Any) -> str | None:
    """The first rule of the contract that a mixer breaks."""
    if wrong := _unlike_declared(module, x, y):
        return wrong
    if y.requires_grad:
        (gradient,) = torch.autograd.grad(y.sum(), x, allow_unused=True)
        if gradient is not None and not gradient.isfinite().all():
            return "has a gradient that is not finite for random input"
    for count in ("flops", "flops_executed"):
        value = getattr(module, count)()
        if not isinstance(value, int) or value < 0:
            return f"says {count}() is {value!r}; allowed: whole numbers from 0"
    return None


def _unlike_declared(module: Mixer, x: Tensor, y: Any) -> str | None:
    """What an output is other than a tensor of finite real numbers of the shape that the mixer declares."""
    want = (len(x), module.out_channels, *module.size)
    if not isinstance(y, Tensor):
        return f"returns {type(y).__name__}; allowed: a tensor of shape {want}"
    if tuple(y.shape) != want:
        return f"returns shape {tuple(y.shape)} for input of {tuple(x.shape)}; allowed: {want} (B, out_channels, H, W)"
    if y.is_complex() or not y.is_floating_point():
        return f"returns {str(y.dtype).removeprefix('torch.')}; allowed: real floating-point numbers"
    if not y.isfinite().all():
        return "returns numbers that are not finite for random input"
    return None


@torch.no_grad()
def _lets_padding_in(module: Mixer, x: Tensor) -> str | None:
    """Whether what stands in the padding changes the other tokens of a mixer that says it does not."""
    if not module.takes_padding or module.size[0] > 1 or module.tokens == 1:  # images have none
        return None
    real = torch.ones(len(x), *module.size, dtype=torch.bool)
    real[0, -1, -1] = False
    shown = real.unsqueeze(1)
    outputs = []
    for given in (x, torch.where(shown, x, x + 30)):
        torch.manual_seed(0)  # what is random in it is the same
        outputs.append(module(given, real))
        if wrong := _unlike_declared(module, given, outputs[-1]):
            return f"{wrong}, with padding"
    one, other = (y.masked_select(shown) for y in outputs)
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-4):
        return "has takes_padding = True, but what stands in the padding changes what it gives for other tokens"
    return None


def source_of(mixer: MixerSpec) -> str | None:
    """The hash of a plug-in's source; of several plug-ins in one net, of their hashes."""
    sources = [entry.source for entry in map(mixer_entry, mixer.mixers) if entry.source]
    if len(sources) > 1:
        return hashlib.sha256("".join(sources).encode()).hexdigest()
    return sources[0] if sources else None


def version_of(mixer: MixerSpec) -> int:
    """That of the mixer; of a net with several it grows whenever one of theirs does."""
    return 1 + sum(mixer_entry(part).cls.version - 1 for part in mixer.mixers)
