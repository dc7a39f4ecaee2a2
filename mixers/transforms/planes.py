"""What all transforms of image planes have in common: their matrices, and the ways to apply them."""

from __future__ import annotations

import torch
from torch import Tensor

from mixers.base import Mixer, MixerError
from mixers.transforms.fused import by_products, can_fuse, plane_transform
from mixers.transforms.methods import computed_in, fastest

DENSE_TOKENS = 64  # with more, the matrix over all tokens is never the fastest
LONG_SIDE = 256  # tokens; a matrix of a longer side costs more memory than the input of any transform that has an FFT


class PlaneTransform(Mixer):
    """Y_j = sum over i and t of A[j, i, t] X_i B[t]^T, on each group of I planes (channels) of the input.

    One term and one plane are a separable transform such as the DCT; two terms the real or the imaginary part of a DFT;
    two results its both parts. A subclass gives the matrices, and `by_fft` where there is such a way.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        method: "dense", one product with the matrix over all tokens, up to 64 tokens; "gemm", one product along the
            rows and one along the columns; "fft" where there is one; "fused", both products in one kernel on a GPU, up
            to 128 tokens a side, and "gemm" elsewhere; "auto", the fastest of these by crossovers.json, and where a
            side has more than 256 tokens always "fft" where there is one, which then keeps no matrix.

    Raises:
        MixerError: there is no such method.
    """

    kind = "separable"  # of the computation, as crossovers.json calls it
    copied_off_cpu = True
    has_dense = True
    has_fft = False
    has_long_fft = False  # whether `by_fft` is there for long sides alone
    parts_first = False  # results in channel blocks [all of j = 0, all of j = 1] instead of group by group
    left: Tensor
    right: Tensor
    tokens_matrix: Tensor

    def __init__(self, dim: int, size: tuple[int, int], method: str = "auto") -> None:
        super().__init__(dim, size)
        methods = ("auto",) + ("dense",) * self.has_dense + ("gemm",) + ("fft",) * self.has_fft + ("fused",)
        if method not in methods:
            raise MixerError(f"{type(self).__name__} has no method {method!r}; allowed: {', '.join(methods)}")
        self.method = method
        self.plane = self.folded()
        if method == "dense" and self.tokens > DENSE_TOKENS:
            raise MixerError(f"method dense is for grids of up to {DENSE_TOKENS} tokens; this one has {self.tokens}")
        left, right = self.small_matrices() if self.is_long else self.keep_matrices()
        self.outputs, self.inputs = left.shape[:2]
        if dim % self.inputs == 0:
            self.out_channels = dim // self.inputs * self.outputs
        self.channels_each = self.outputs * right.shape[1] // right.shape[2]  # of the result, for a group of planes

    @property
    def is_long(self) -> bool:
        """Whether it goes by the FFT alone and keeps no matrix, which grows as the square of a side."""
        fast = (self.has_fft and self.method in ("auto", "fft")) or (self.has_long_fft and self.method == "auto")
        return fast and max(self.size) > LONG_SIDE

    def folded(self) -> tuple[int, int]:
        """(H, W) of the plane that the matrices are of: the grid, or one with as many tokens that has smaller ones."""
        return self.size

    def small_matrices(self) -> tuple[Tensor, Tensor]:
        """A and B of a single token, which have the first axes of any other's; nothing is kept."""
        size, self.size = self.size, (1, 1)
        try:
            return self.matrices()
        finally:
            self.size = size
            self.keep_fixed({})

    def matrices(self) -> tuple[Tensor, Tensor]:
        """A (J, I, T, H, H) and B (T, W', W) in float64."""
        raise NotImplementedError

    def keep_matrices(self) -> tuple[Tensor, Tensor]:
        """A and B, once they are kept."""
        with torch.device("cpu"):
            left, right = self.matrices()
            tensors = self.tensors_of(left, right)
        self.keep_fixed(tensors)
        return left, right

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return self.tensors_of(*self.matrices())

    def tensors_of(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        """What is kept of A and B."""
        # three axes: a module that moves to channels_last takes tensors of four or five for images
        tensors = {"left": left.flatten(0, 2), "right": right}
        if self.tokens <= DENSE_TOKENS:
            dense = torch.einsum("jitvh,tuw->ihwjvu", left, right)
            tensors["tokens_matrix"] = dense.flatten(3).flatten(0, 2)
        return tensors

    def plane_matrices(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """A and B as `matrices` gave them, on the device of the module, to multiply by in this dtype."""
        left = self.kept_matrix("left", dtype)
        return left.unflatten(0, (self.outputs, self.inputs, -1)), self.kept_matrix("right", dtype)

    def by_fft(self, x: Tensor) -> Tensor:
        """The same through `torch.fft`: (B, C, H, W) -> (B, out_channels, H, W)."""
        raise NotImplementedError

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        if self.is_long:
            return "fft"
        method = fastest(self.kind, device, self.tokens, dtype) if self.method == "auto" else self.method
        if method == "fused" and not can_fuse(device, self.plane, dtype):
            return "gemm"
        return method

    def forward(self, x: Tensor) -> Tensor:
        return self.planes(x)

    def planes(self, x: Tensor) -> Tensor:
        """The transform by the method chosen: (B, C, H, W) -> (B, C / I * J, H, W')."""
        dtype = computed_in(x)
        method = self.method_on(x.device.type, dtype)
        if method == "fft":
            return self.by_fft(x)
        batch, groups, (height, width) = x.shape[0], self.dim // self.inputs, self.plane
        if method == "dense":
            matrix = self.kept_matrix("tokens_matrix", dtype)
            y = torch.matmul(x.reshape(batch, groups, self.inputs * self.tokens), matrix)
        else:
            left, right = self.plane_matrices(dtype)
            grouped = x.reshape(batch, groups, self.inputs, height, width)
            if method == "fused":
                y = plane_transform(grouped.to(dtype), left.to(dtype), right.to(dtype), self.parts_first)
            else:
                y = by_products(grouped, left, right)
        if self.parts_first:
            y = y.reshape(batch, groups, self.outputs, self.tokens).transpose(1, 2)
        return y.reshape(batch, groups * self.channels_each, *self.size)

    def flops_executed(self) -> int:
        if self.is_long:
            return self.flops()
        (height, width), tokens, groups = self.plane, self.tokens, self.dim // self.inputs
        right = self.plane_matrices()[1]
        terms, new_width = right.shape[:2]
        inputs, outputs = self.inputs, self.outputs
        method = self.method_on(right.device.type)
        if method == "dense":
            return 2 * groups * inputs * tokens * outputs * height * new_width
        if method == "gemm":
            return 2 * groups * outputs * terms * height * (inputs * height * width + width * new_width)
        if method == "fused":
            return 2 * groups * inputs * terms * height * new_width * (width + outputs * height)
        return self.flops()
