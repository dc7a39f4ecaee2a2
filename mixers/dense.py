"""Dense mixers: one N x N matrix over the tokens, the same for every channel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mixers.base import Mixer
from mixers.registry import register_mixer
from mixers.transforms import random_orthogonal_matrix


class Dense(Mixer):
    """y_i = sum_j A[i, j] x_j over all tokens, shared by the channels; a subclass makes `matrix`, A (N, N)."""

    matrix: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.check_size(x)
        return torch.matmul(x.flatten(2), self.matrix.mT).unflatten(2, self.size)

    def flops(self) -> int:
        return 2 * self.dim * self.tokens**2

    def reference(self, x: Tensor) -> Tensor:
        tokens = x.to(torch.float64).flatten(2)
        return torch.einsum("ij,bcj->bci", self.matrix.to(torch.float64), tokens).unflatten(2, self.size)


@register_mixer(
    "random",
    family="dense",
    complexity="C N^2",
    paper="FNet's Random (https://arxiv.org/abs/2105.03824)",
    year=2021,
)
class Random(Dense):
    """One fixed Gaussian matrix over all tokens.

    y_i = sum_j A[i, j] x_j with A[i, j] drawn from N(0, 1/N), shared by the channels. Complexity 2 C N^2. The matrix is
    made again from `seed` and is not part of a checkpoint; the backbone gives each layer another seed.

    Differs from FNet's, which also multiplies the channels by a random matrix.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        seed: of the generator that draws the matrix.
    """

    def __init__(self, dim: int, size: tuple[int, int], seed: int = 0) -> None:
        super().__init__(dim, size)
        matrix = self.draw(self.tokens, torch.Generator().manual_seed(seed))
        self.register_buffer("matrix", matrix.to(torch.get_default_dtype()), persistent=False)

    @staticmethod
    def draw(n: int, generator: torch.Generator) -> Tensor:
        """The (n, n) matrix."""
        return torch.randn(n, n, generator=generator, dtype=torch.float32).div_(math.sqrt(n))


@register_mixer(
    "random_orthogonal",
    family="dense",
    complexity="C N^2",
    paper="How to generate random matrices from the classical compact groups (https://arxiv.org/abs/math-ph/0609050)",
    year=2007,
)
class RandomOrthogonal(Random):
    """One fixed orthogonal matrix over all tokens, drawn uniformly (by Haar's measure); shared by the channels.

    What `random` is without its uneven singular values: nothing is lost. Complexity 2 C N^2.
    """

    @staticmethod
    def draw(n: int, generator: torch.Generator) -> Tensor:
        return random_orthogonal_matrix(n, generator, torch.float32)


@register_mixer(
    "linear",
    family="dense",
    complexity="C N^2",
    paper="FNet's Linear (https://arxiv.org/abs/2105.03824)",
    year=2021,
)
class Linear(Dense):
    """One learned matrix over all tokens, shared by the channels.

    y_i = sum_j A[i, j] x_j. A starts from N(0, 1/N), as `random` stays. Complexity 2 C N^2; N^2 parameters.

    Differs from FNet's, which also multiplies the channels by a learned matrix; here the block's 1x1 convolution does.
    """

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        self.matrix = nn.Parameter(torch.randn(self.tokens, self.tokens) / math.sqrt(self.tokens))
