"""How a mixer's memory grows with the length of a sequence: `python tests/reliability/sequence_memory.py`.

For each mixer and length it prints the peak of the tensors that are alive at once, over the bytes of the input, N x dim
x 4: of the mixer alone, forward, and of a whole net, forward and backward. A peak that grows as N keeps its number. The
peaks are predicted, on tensors without numbers; `--measure` runs the nets instead, which takes the memory.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine.memory import peak_bytes, predict_peak_bytes
from mixers import MixerNet, create_mixer

LENGTHS = (4096, 8192, 16384)
MIXERS = "fft_real,dct"
Made = tuple[Callable[[], Any], Iterable[Tensor]]


def mixer_alone(name: str, length: int, dim: int) -> Made:
    """One forward pass of the mixer, and what is alive before it."""
    mixer, x = create_mixer(name, dim, (1, length)), torch.randn(1, dim, 1, length)
    return torch.no_grad()(lambda: mixer(x)), [x, *mixer.parameters(), *mixer.buffers()]


def net_trained(name: str, length: int, dim: int) -> Made:
    """Forward and backward of a net of two blocks over bytes, and what is alive before them."""
    net = MixerNet(name, num_classes=2, vocabulary=257, length=length, dim=dim, depth=2)
    tokens = torch.randint(1, 257, (1, length))
    return lambda: net(tokens).sum().backward(), [tokens, *net.parameters(), *net.buffers()]


def peaks(name: str, length: int, dim: int, measure: bool = False) -> tuple[float, float]:
    """Both peaks over the bytes of the input."""
    found = []
    for make in (mixer_alone, net_trained):
        made = functools.partial(make, name, length, dim)
        found.append((peak_bytes(*made(), "cpu") if measure else predict_peak_bytes(made)) or 0)
    alone, trained = (peak / (length * dim * 4) for peak in found)
    return alone, trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mixer", default=MIXERS)
    parser.add_argument("--length", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--measure", action="store_true", help="run the nets, which takes the memory")
    options = parser.parse_args()
    print(f"peak tensor bytes over those of the input, N x {options.dim} x 4, batch 1")
    print(f"{'mixer':24} {'tokens':>8} {'mixer, forward':>16} {'net, forward + backward':>24}")
    for name in options.mixer.split(","):
        for length in map(int, options.length.split(",")):
            alone, trained = peaks(name, length, options.dim, options.measure)
            print(f"{name:24} {length:8,} {alone:16.2f} {trained:24.2f}", flush=True)


if __name__ == "__main__":
    main()
