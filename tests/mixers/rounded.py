"""The plain definition computed in a narrow dtype: every result of an operator rounded to it, sums in float32."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten


class RoundedTo(TorchDispatchMode):
    """While active, what an operator gives in float64 is computed in float32 and rounded to `dtype`.

    Fourier transforms are what they are by definition: products with a matrix, whose entries are rounded too.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (aten._fft_c2c.default, aten._fft_r2c.default):
            return self._transformed(*args)
        if any(result.alias_info is not None for result in func._schema.returns):  # a view, or in place
            return func(*args, **kwargs)
        if func == aten._to_copy.default and kwargs.get("dtype") != torch.float64:
            return func(*args, **kwargs)
        narrow = tree_map_only(Tensor, _narrow, args), tree_map_only(Tensor, _narrow, kwargs)
        return tree_map_only(Tensor, self._rounded, func(*narrow[0], **narrow[1]))

    def _rounded(self, tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return torch.complex(self._rounded(tensor.real), self._rounded(tensor.imag))
        return tensor.to(torch.float32).to(self.dtype).to(torch.float64) if tensor.is_floating_point() else tensor

    def _transformed(self, x: Tensor, dims: list[int], normalization: int, forward: bool) -> Tensor:
        assert normalization == 1  # all transforms here are orthonormal, and none leaves half of the spectrum out
        for dim in dims:
            n = x.shape[dim]
            j = torch.arange(n)
            angle = (torch.outer(j, j) % n).to(torch.float64) * (2 * math.pi / n)
            sine = -angle.sin() if forward else angle.sin()
            matrix = self._rounded(torch.complex(angle.cos(), sine) / math.sqrt(n)).to(torch.complex64)
            x = self._rounded(torch.tensordot(x.to(torch.complex64), matrix, ([dim], [0])).movedim(-1, dim))
        return x.to(torch.complex128)


def _narrow(tensor: Tensor) -> Tensor:
    return tensor.to({torch.float64: torch.float32, torch.complex128: torch.complex64}.get(tensor.dtype, tensor.dtype))
