"""Settings of Long Range Arena (Tay et al., 2021, https://arxiv.org/abs/2011.04006), as data.

`lra` has the numbers of its repository, google-research/long-range-arena at cd31e5c6: those of the Transformer, a task.
`lra-small` has those of mlpen/Nystromformer at 2bcc280c (LRA/code/lra_config.py), which most later papers take: dim 64,
two layers, the same for all tasks.

What stays different, since one backbone and one recipe serve all mixers:

- pooling is the mean over real tokens; the repository reads a first token, CLS, but for Pathfinder;
- there is no dropout, which is .1 there, and .3 and .2 for pixels;
- the hidden layer is twice as wide as the net, as on ListOps and in `lra-small`; in `lra` it is 4 times on bytes, and 1
  time on pixels and Pathfinder;
- attention has the heads that are its default here, or those of MIXER="attention(heads=8)"; queries, keys and values
  are as wide as the net, which on pixels and Pathfinder is half of it there;
- positions are learned, which on Pathfinder are sines there; residuals are scaled and norms stand first;
- AdamW decays weights apart from the gradient and has eps 1e-8, where Adam there has 1e-9; gradients are clipped;
- training goes in whole epochs of what is not held out, so that the steps are the nearest that these make: 5,000 on
  ListOps of 80,000 trees (96,000 there), 19,712 of 20,000 on bytes, 4,137 of 5,000 and 28,959 of 30,000 on retrieval.
"""

from __future__ import annotations

import dataclasses
import math

NAMES = ("lra", "lra-small")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """Numbers of one task; `steps` of `batch_size` sequences, the first `warmup` of them with a growing rate."""

    length: int
    dim: int
    depth: int
    batch_size: int
    steps: int
    lr: float  # at the end of the warm-up
    warmup: int
    weight_decay: float
    schedule: str
    beta2: float


def _inverse_root(steps: int, warmup: int, **numbers: int) -> Setting:
    """The repository's rate, .05 x min(1, s / warm-up) / sqrt(max(s, warm-up)) in step s."""
    lr = 0.05 / math.sqrt(warmup)
    return Setting(
        depth=4,
        batch_size=32,
        steps=steps,
        lr=lr,
        warmup=warmup,
        weight_decay=0.1,
        schedule="rsqrt",
        beta2=0.98,
        **numbers,
    )


def _cosine(lr: float, **numbers: int) -> Setting:
    return Setting(length=1024, lr=lr, weight_decay=0.0, schedule="cosine", beta2=0.98, **numbers)


def _small(length: int, batch_size: int, steps: int, warmup: int) -> Setting:
    return Setting(
        length=length, dim=64, depth=2, batch_size=batch_size, steps=steps, lr=1e-4, warmup=warmup, weight_decay=0.0,
        schedule="linear", beta2=0.999,
    )  # fmt: skip


SETTINGS: dict[tuple[str, str], Setting] = {
    ("lra", "listops"): _inverse_root(5_000, 1_000, length=2000, dim=512),
    ("lra", "imdb"): _inverse_root(20_000, 8_000, length=1000, dim=256),
    ("lra", "retrieval"): _inverse_root(5_000, 8_000, length=4000, dim=128),
    ("lra", "pixels"): _cosine(5e-4, dim=128, depth=1, batch_size=256, steps=35_000, warmup=175),
    ("lra", "pathfinder"): _cosine(1e-3, dim=32, depth=4, batch_size=512, steps=62_400, warmup=312),
    ("lra-small", "listops"): _small(2000, 32, 5_000, 1_000),
    ("lra-small", "imdb"): _small(4000, 32, 20_000, 8_000),
    ("lra-small", "retrieval"): _small(4000, 32, 30_000, 800),
    ("lra-small", "pixels"): _small(1024, 256, 35_000, 175),
    ("lra-small", "pathfinder"): _small(1024, 256, 62_400, 312),
}
# sequences to draw, of which nine in ten are trained on
DRAWN = {"listops": 88_889, "pathfinder": 177_778}
