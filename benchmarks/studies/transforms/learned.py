"""One orthogonal matrix over the tokens a layer, learned with the net; its end is frozen and compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mixers.families.dense import Dense
from mixers.transforms.definitions import dct_matrix


class LearnedOrthogonal(Dense):
    """y = A x with A = (I + S)^-1 (I - S) D, S learned and skew-symmetric, D the 2-D DCT.

    Cayley, 1846: orthogonal whatever S is, and any rotation of D without an eigenvalue -1. S starts at zero, A at the
    DCT; weight decay draws it back there. Complexity 2 C N^2 beside a solution of N^3; N^2 parameters.
    """

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        self.skew = nn.Parameter(torch.zeros(self.tokens, self.tokens))
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return {"start": torch.kron(dct_matrix(self.size[0]), dct_matrix(self.size[1])).to(dtype)}

    @property
    def matrix(self) -> Tensor:  # type: ignore[override]
        """A (N, N)."""
        with torch.autocast(self.skew.device.type, enabled=False):
            skew = self.skew - self.skew.mT
            eye = torch.eye(self.tokens, dtype=skew.dtype, device=skew.device)
            return torch.linalg.solve(eye + skew, eye - skew) @ self.start
