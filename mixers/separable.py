"""Separable mixers: one fixed matrix along the rows, one along the columns, A X B^T on every image plane."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixers.base import Mixer, UnsupportedSize
from mixers.registry import register_mixer
from mixers.transforms import DENSE_TOKENS, dct_matrix, hadamard_matrix, hadamard_order, separable


class Separable(Mixer):
    """A X B^T with fixed A (H, H) and B (W, W); a subclass says which.

    Two matrix products, 2 C N (H + W) operations executed; up to 64 tokens one product with the Kronecker product of
    the two, which is faster there though it is more arithmetic.
    """

    rows: Tensor
    columns: Tensor
    tokens_matrix: Tensor

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        rows, columns = (self.matrix(n) for n in self.size)
        self.dense = self.tokens <= DENSE_TOKENS
        dtype = torch.get_default_dtype()
        if self.dense:
            self.register_buffer("tokens_matrix", torch.kron(rows, columns).mT.contiguous().to(dtype), persistent=False)
        else:
            self.register_buffer("rows", rows.to(dtype), persistent=False)
            self.register_buffer("columns", columns.to(dtype), persistent=False)

    @staticmethod
    def matrix(n: int) -> Tensor:
        """The orthonormal (n, n) matrix along an axis of n tokens, float64."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.dense:
            return torch.matmul(x.flatten(2), self.tokens_matrix).unflatten(2, self.size)
        return separable(x, self.rows, self.columns)

    def flops_executed(self) -> int:
        height, width = self.size
        return 2 * self.dim * self.tokens * (self.tokens if self.dense else height + width)

    def reference(self, x: Tensor) -> Tensor:
        rows, columns = (self.matrix(n).to(x.device) for n in self.size)
        return torch.einsum("ih,bchw,jw->bcij", rows, x.to(torch.float64), columns)


@register_mixer(
    "dct",
    family="separable",
    complexity="C N log N",
    paper="DCT (Ahmed, Natarajan and Rao); tried as a token mixer in FNet (https://arxiv.org/abs/2105.03824)",
    year=1974,
)
class DCT(Separable):
    """Orthonormal 2-D DCT-II of each channel.

    Y = D_H X D_W^T, D[k, j] = c_k sqrt(2/n) cos(pi (j + 1/2) k / n). Orthogonal, real, no parameters. Complexity
    2.5 C N log2 N through a real FFT; done here as matrix products, which are faster at image sizes.
    """

    @staticmethod
    def matrix(n: int) -> Tensor:
        return dct_matrix(n)

    def flops(self) -> int:
        return round(2.5 * self.dim * self.tokens * math.log2(self.tokens))


@register_mixer(
    "hadamard",
    family="separable",
    complexity="C N log N",
    paper="Walsh-Hadamard (Sylvester 1867; Paley 1933); tried in FNet (https://arxiv.org/abs/2105.03824)",
    year=1867,
)
class Hadamard(Separable):
    """Orthonormal 2-D Walsh-Hadamard transform of each channel.

    Y = A_H X A_W^T with entries +-1/sqrt(n): Sylvester's matrix for n = 2^k, times Paley's of order 12, 20 or 28 for
    n = 2^k m. Orthogonal; its own inverse for 2^k and 28 2^k only. Complexity C N log2 N additions for powers of two by
    butterflies, and C N (k + m - 1) per axis otherwise.

    Raises:
        UnsupportedSize: there is no such matrix for a side of the grid.
    """

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        for n in size:
            if n >= 1 and hadamard_order(n) is None:
                below = next(k for k in range(n - 1, 0, -1) if hadamard_order(k))
                above = next(k for k in range(n + 1, 2 * n) if hadamard_order(k))
                raise UnsupportedSize(
                    f"hadamard has no matrix for a side of {n} tokens, only for 2^k, 12 2^k, 20 2^k and 28 2^k; "
                    f"the nearest that work are {below} and {above}"
                )
        super().__init__(dim, size)

    @staticmethod
    def matrix(n: int) -> Tensor:
        return hadamard_matrix(n)

    def flops(self) -> int:
        steps = 0
        for n in self.size:
            k, m = hadamard_order(n) or (0, n)
            steps += k + m - 1
        return self.dim * self.tokens * steps
