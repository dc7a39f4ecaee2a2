"""Separable mixers: one matrix along the rows, one along the columns, A X B^T on every image plane."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mixers.arguments import whole_seed
from mixers.base import UnsupportedSize
from mixers.registry import register_mixer
from mixers.transforms.definitions import dct, dct_matrix, hadamard_matrix, hadamard_order, in_float
from mixers.transforms.planes import LONG_SIDE, PlaneTransform


class Separable(PlaneTransform):
    """A X B^T with fixed A (H, H) and B (W, W); a subclass says which. Options as those of `PlaneTransform`."""

    def matrices(self) -> tuple[Tensor, Tensor]:
        rows, columns = self.two_matrices()
        return rows[None, None, None], columns[None]

    def two_matrices(self) -> tuple[Tensor, Tensor]:
        """A and B in float64."""
        raise NotImplementedError

    def reference(self, x: Tensor) -> Tensor:
        rows, columns = (matrix.to(x.device) for matrix in self.two_matrices())
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
    2.5 C N log2 N through a real FFT; done here as matrix products, and where a side has more than 256 tokens by the
    FFT (Makhoul, "A fast cosine transform in one and two dimensions", 1980).
    """

    has_long_fft = True

    def two_matrices(self) -> tuple[Tensor, Tensor]:
        return dct_matrix(self.size[0]), dct_matrix(self.size[1])

    def by_fft(self, x: Tensor) -> Tensor:
        return in_float(lambda real: dct(dct(real, -1), -2), x)

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
    butterflies, and C N (k + m - 1) per axis otherwise. A sequence of more than 256 tokens is folded into a plane: its
    matrix is the Kronecker product of two small ones.

    Raises:
        UnsupportedSize: there is no such matrix for a side of the grid.
    """

    def __init__(self, dim: int, size: tuple[int, int], method: str = "auto") -> None:
        for n in size:
            if n >= 1 and hadamard_order(n) is None:
                below = next(k for k in range(n - 1, 0, -1) if hadamard_order(k))
                above = next(k for k in range(n + 1, 2 * n) if hadamard_order(k))
                raise UnsupportedSize(
                    f"hadamard has no matrix for a side of {n} tokens, only for 2^k, 12 2^k, 20 2^k and 28 2^k; "
                    f"the nearest that work are {below} and {above}"
                )
        super().__init__(dim, size, method)

    def folded(self) -> tuple[int, int]:
        height, width = self.size
        if height > 1 or width <= LONG_SIDE:
            return self.size
        powers, _ = hadamard_order(width) or (0, width)
        rows = 2 ** (powers // 2)
        return rows, width // rows

    def two_matrices(self) -> tuple[Tensor, Tensor]:
        return hadamard_matrix(self.plane[0]), hadamard_matrix(self.plane[1])

    def reference(self, x: Tensor) -> Tensor:
        rows, columns = (hadamard_matrix(side).to(x.device) for side in self.size)
        return torch.einsum("ih,bchw,jw->bcij", rows, x.to(torch.float64), columns)

    def flops(self) -> int:
        steps = 0
        for n in self.size:
            k, m = hadamard_order(n) or (0, n)
            steps += k + m - 1
        return self.dim * self.tokens * steps


@register_mixer(
    "random_separable",
    family="separable",
    family_in_a_row="dense",
    complexity="C N (H + W)",
    paper="FNet's Random (https://arxiv.org/abs/2105.03824), along each axis of the image",
    year=2021,
)
class RandomSeparable(Separable):
    """A X B^T with two fixed Gaussian matrices, A (H, H) from N(0, 1/H) and B (W, W) from N(0, 1/W).

    Complexity 2 C N (H + W). A checkpoint holds their `seed` alone; the backbone gives each layer another. On a grid of
    one row, a sequence, it is the dense mixer `random`, times one number, which a norm behind it takes off.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        seed: of the generator that draws the matrices.
        method: as for `PlaneTransform`.
    """

    def __init__(self, dim: int, size: tuple[int, int], seed: int = 0, method: str = "auto") -> None:
        self.seed = whole_seed(seed)
        super().__init__(dim, size, method)

    def two_matrices(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        return _gaussian(self.size[0], generator), _gaussian(self.size[1], generator)

    def flops(self) -> int:
        return 2 * self.dim * self.tokens * sum(self.size)


@register_mixer(
    "linear_separable",
    family="separable",
    family_in_a_row="dense",
    complexity="C N (H + W)",
    paper="FNet's Linear (https://arxiv.org/abs/2105.03824), along each axis of the image",
    year=2021,
)
class LinearSeparable(PlaneTransform):
    """A X B^T with two learned matrices, A (H, H) and B (W, W), shared by the channels.

    They start as those of `random_separable` do. Complexity 2 C N (H + W); H^2 + W^2 parameters. Options as those of
    `PlaneTransform`, but for "dense", which there is not. On a grid of one row, a sequence, it is the dense mixer
    `linear`, times one learned number.
    """

    kind = "learned_separable"
    has_dense = False

    def matrices(self) -> tuple[Tensor, Tensor]:
        return _gaussian(self.size[0])[None, None, None], _gaussian(self.size[1])[None]

    def keep_matrices(self) -> tuple[Tensor, Tensor]:
        left, right = self.matrices()
        dtype = torch.get_default_dtype()
        self.rows = nn.Parameter(left[0, 0, 0].to(dtype))
        self.columns = nn.Parameter(right[0].to(dtype))
        return left, right

    def plane_matrices(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        return self.rows[None, None, None], self.columns[None]

    def flops(self) -> int:
        return 2 * self.dim * self.tokens * sum(self.size)

    def reference(self, x: Tensor) -> Tensor:
        rows, columns = self.rows.to(torch.float64), self.columns.to(torch.float64)
        return torch.einsum("ih,bchw,jw->bcij", rows, x.to(torch.float64), columns)


def _gaussian(n: int, generator: torch.Generator | None = None) -> Tensor:
    """(n, n) in float64 from N(0, 1/n)."""
    return torch.randn(n, n, generator=generator, dtype=torch.float64) / math.sqrt(n)
