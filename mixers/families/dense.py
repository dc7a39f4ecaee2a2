"""Dense mixers: one N x N matrix over the tokens, the same for every channel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mixers.arguments import one_of, whole_seed
from mixers.base import Mixer
from mixers.registry import register_mixer
from mixers.transforms.definitions import orthogonal_factor
from mixers.transforms.methods import computed_in


class Dense(Mixer):
    """y_i = sum_j A[i, j] x_j over all tokens, shared by the channels; a subclass makes `matrix`, A (N, N)."""

    matrix: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x.flatten(2), self.multiplied(x).mT).unflatten(2, self.size)

    def multiplied(self, x: Tensor) -> Tensor:
        """A, to multiply x by."""
        return self.matrix

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

    y_i = sum_j A[i, j] x_j with A[i, j] drawn from N(0, 1/N), shared by the channels. Complexity 2 C N^2. A
    checkpoint holds the `seed` alone; the backbone gives each layer another seed.

    Differs from FNet's, `random_fnet`, which also multiplies the channels by a random matrix.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        seed: of the generator that draws the matrix.
    """

    copied_off_cpu = True

    def __init__(self, dim: int, size: tuple[int, int], seed: int = 0) -> None:
        super().__init__(dim, size)
        self.seed = whole_seed(seed)
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        n = self.tokens
        drawn = torch.randn(n, n, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float32)
        return {"matrix": self.made_of(drawn.to(dtype))}

    @staticmethod
    def made_of(drawn: Tensor) -> Tensor:
        """The matrix from (N, N) numbers drawn from N(0, 1)."""
        return drawn / math.sqrt(len(drawn))

    def multiplied(self, x: Tensor) -> Tensor:
        return self.kept_matrix("matrix", computed_in(x))


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
    def made_of(drawn: Tensor) -> Tensor:
        return orthogonal_factor(drawn)


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

    Differs from FNet's, `linear_fnet`, which also multiplies the channels by a learned matrix; here the block's 1x1
    convolution does.
    """

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        self.matrix = nn.Parameter(torch.randn(self.tokens, self.tokens) / math.sqrt(self.tokens))


class TokensAndChannels(Dense):
    """Y = W X A^T on X (C, N): a `matrix` A (N, N) over the tokens, and W (C, C) over the channels, `channels`."""

    channels: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(self.multiplied_channels(x), super().forward(x).flatten(2)).unflatten(2, self.size)

    def multiplied_channels(self, x: Tensor) -> Tensor:
        """W, to multiply x by."""
        return self.channels

    def flops(self) -> int:
        return super().flops() + 2 * self.tokens * self.dim**2

    def reference(self, x: Tensor) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", self.channels.to(torch.float64), super().reference(x))


@register_mixer(
    "random_fnet",
    family="dense",
    complexity="C N^2 + C^2 N",
    paper="FNet's Random (https://arxiv.org/abs/2105.03824)",
    year=2021,
)
class RandomFNet(TokensAndChannels):
    """FNet's Random encoder: one fixed Gaussian matrix over all tokens, and one over the channels.

    Y = W X A^T on X (C, N), A (N, N) drawn from N(0, 1/N) and W (C, C) from N(0, 1/C), which is the paper's scale; its
    code cuts the tails of the Gaussian off. Complexity 2 C N^2 + 2 C^2 N. A checkpoint holds the `seed` alone; the
    backbone gives each layer another seed.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        seed: of the generator that draws the matrices.
    """

    copied_off_cpu = True

    def __init__(self, dim: int, size: tuple[int, int], seed: int = 0) -> None:
        super().__init__(dim, size)
        self.seed = whole_seed(seed)
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        sides = {"matrix": self.tokens, "channels": self.dim}
        drawn = {name: torch.randn(n, n, generator=generator, dtype=torch.float32) for name, n in sides.items()}
        return {name: matrix.to(dtype) / math.sqrt(len(matrix)) for name, matrix in drawn.items()}

    def multiplied(self, x: Tensor) -> Tensor:
        return self.kept_matrix("matrix", computed_in(x))

    def multiplied_channels(self, x: Tensor) -> Tensor:
        return self.kept_matrix("channels", computed_in(x))


@register_mixer(
    "linear_fnet",
    family="dense",
    complexity="C N^2 + C^2 N",
    paper="FNet's Linear (https://arxiv.org/abs/2105.03824)",
    year=2021,
)
class LinearFNet(TokensAndChannels):
    """FNet's Linear encoder: one learned matrix over all tokens, and one over the channels, without biases.

    Y = W X A^T on X (C, N), A (N, N) and W (C, C). Complexity 2 C N^2 + 2 C^2 N; N^2 + C^2 parameters.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        init: where the matrices start: "unit" from N(0, 1/N) and N(0, 1/C), as `random_fnet` stays, which keeps the
            variance; "fnet" from N(0, 0.02^2), as in the paper's code.

    Raises:
        MixerError: init is unknown.
    """

    ways = (*Dense.ways, "init")

    def __init__(self, dim: int, size: tuple[int, int], init: str = "unit") -> None:
        super().__init__(dim, size)
        paper = one_of("linear_fnet: init", init, ("unit", "fnet")) == "fnet"
        self.matrix, self.channels = (
            nn.Parameter(torch.randn(n, n) * (0.02 if paper else n**-0.5)) for n in (self.tokens, self.dim)
        )
