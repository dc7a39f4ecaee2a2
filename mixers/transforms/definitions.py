"""Orthonormal transforms of image planes: their matrices, and fast ways to apply them to real input.

Everything works on the last two axes of (..., H, W), any size, unless it says otherwise. Matrices are built in float64
and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

PALEY_ORDERS = (12, 20, 28)


def dct_matrix(n: int) -> Tensor:
    """Orthonormal DCT-II matrix (n, n), float64: D[k, j] = c_k sqrt(2/n) cos(pi (j + 1/2) k / n), c_0 = sqrt(1/2).

    Ahmed, Natarajan and Rao, "Discrete Cosine Transform", 1974.
    """
    j = torch.arange(n, dtype=torch.float64)
    matrix = math.sqrt(2 / n) * torch.cos(math.pi / n * torch.outer(j, j + 0.5))
    matrix[0] *= math.sqrt(0.5)
    return matrix


def dft_matrices(n: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, each (n, n) in float64, of the orthonormal DFT matrix exp(-2 pi i j k / n) / sqrt(n)."""
    j = torch.arange(n, dtype=torch.int64)
    angle = (torch.outer(j, j) % n).to(torch.float64) * (2 * math.pi / n)
    return torch.cos(angle) / math.sqrt(n), -torch.sin(angle) / math.sqrt(n)


def hadamard_order(n: int) -> tuple[int, int] | None:
    """(k, m) with n = 2**k * m and m in (1, 12, 20, 28), or None where this suite has no Hadamard matrix."""
    for m in (1, *PALEY_ORDERS):
        if n % m == 0 and (n // m).bit_count() == 1:
            return (n // m).bit_length() - 1, m
    return None


def hadamard_matrix(n: int) -> Tensor:
    """Orthonormal Hadamard matrix (n, n), float64: Sylvester's of order 2**k, times Paley's of order 12, 20 or 28.

    Sylvester 1867; Paley, "On orthogonal matrices", 1933.

    Raises:
        ValueError: `hadamard_order(n)` is None.
    """
    order = hadamard_order(n)
    if order is None:
        raise ValueError(f"no Hadamard matrix of order {n}")
    k, m = order
    matrix = _paley(m)
    for _ in range(k):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / math.sqrt(n)


def _paley(m: int) -> Tensor:
    """Hadamard matrix of order m in (1, 12, 20, 28) with entries -1 and 1, from the quadratic residues of a prime."""
    if m == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    q, first_kind = {12: (11, True), 20: (19, True), 28: (13, False)}[m]  # first kind: m = q + 1, q = 3 modulo 4
    residues = {i * i % q for i in range(1, q)}
    character = torch.tensor([0.0] + [1.0 if i in residues else -1.0 for i in range(1, q)], dtype=torch.float64)
    i = torch.arange(q)
    border = torch.zeros(q + 1, q + 1, dtype=torch.float64)
    border[1:, 1:] = character[(i[:, None] - i[None, :]) % q]
    border[0, 1:] = 1
    border[1:, 0] = -1 if first_kind else 1
    eye = torch.eye(q + 1, dtype=torch.float64)
    if first_kind:
        return border + eye
    plus = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    zero = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    return torch.kron(border, plus) + torch.kron(eye, zero)


def random_orthogonal_matrix(n: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Orthogonal matrix (n, n), uniform by Haar's measure.

    Mezzadri, "How to generate random matrices from the classical compact groups", 2007: the factor Q of a Gaussian
    matrix is uniform only after its columns get the signs of the diagonal of R.
    """
    return orthogonal_factor(torch.randn(n, n, generator=generator, dtype=dtype))


def orthogonal_factor(gaussian: Tensor) -> Tensor:
    """`random_orthogonal_matrix` from the Gaussian matrix (n, n)."""
    matrix, triangle = torch.linalg.qr(gaussian)
    return matrix * triangle.diagonal().sgn()


def separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows X columns^T for every plane X of `x`: (..., H, W) -> (..., H', W')."""
    return torch.matmul(rows, torch.matmul(x, columns.mT))


def dft_real(x: Tensor, axes: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Real part of the orthonormal DFT of real `x` over `axes`, the last of which is the fastest; differentiable.

    About half the work of a complex FFT: only the half spectrum is computed, and the rest filled in by symmetry.
    """
    return _part(x, axes, "real")


def dft_imaginary(x: Tensor, axes: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Imaginary part, as `dft_real`."""
    return _part(x, axes, "imaginary")


def hartley(x: Tensor, axes: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Real part minus imaginary part, as `dft_real`: the orthonormal Hartley transform, its own inverse."""
    return _part(x, axes, "hartley")


def dct(x: Tensor, axis: int) -> Tensor:
    """Orthonormal DCT-II of real `x` along one axis, as `dct_matrix` has it, by a real FFT; differentiable.

    Makhoul, "A fast cosine transform in one and two dimensions", 1980: even places in order, then odd ones backwards.
    """
    x = x.movedim(axis, -1)
    n = x.shape[-1]
    if n == 1:
        return x.movedim(-1, axis)
    half = torch.fft.rfft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1))
    angle = torch.arange(half.shape[-1], dtype=x.dtype, device=x.device) * (math.pi / 2 / n)
    half = half * torch.polar(torch.full_like(angle, math.sqrt(2 / n)), -angle)
    first = half[..., :1].real * math.sqrt(0.5)
    # of the place n - k the half spectrum holds the negative imaginary part at k
    y = torch.cat([first, half[..., 1:].real, -half[..., 1 : (n + 1) // 2].imag.flip(-1)], -1)
    return y.movedim(-1, axis)


def in_float(transform: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Applies an FFT in float32 where the input is in half precision, which FFT libraries lack or restrict."""
    if x.dtype in (torch.bfloat16, torch.float16):
        return transform(x.float()).to(x.dtype)
    return transform(x)


def dft_complex(x: Tensor) -> Tensor:
    """Real and imaginary part of the orthonormal 2-D DFT of real `x` as channels: (B, C, H, W) -> (B, 2C, H, W)."""
    if torch.jit.is_tracing():
        return _both_parts(x)
    return (_BothParts if torch.compiler.is_compiling() else _BothPartsWithTangent).apply(x)


def dft_interleaved(x: Tensor) -> Tensor:
    """The same numbers as `dft_complex`, real and imaginary part side by side: (B, C, H, W) -> (B, C, H, W, 2)."""
    return torch.view_as_real(torch.fft.fft2(x, norm="ortho"))


# A gradient of their own halves the work of the backward pass. A traced graph, which cannot be saved with a Python
# function in it, has PyTorch's; a compiler refuses a function that also has a jvp.


def _part(x: Tensor, axes: tuple[int, ...], part: str) -> Tensor:
    axes = tuple(axis % x.ndim for axis in axes)
    if torch.jit.is_tracing():
        return _symmetric_part(x, axes, part)
    return (_SymmetricPart if torch.compiler.is_compiling() else _SymmetricPartWithTangent).apply(x, axes, part)


def _symmetric_part(x: Tensor, axes: tuple[int, ...], part: str) -> Tensor:
    half = torch.fft.rfftn(x, dim=axes, norm="ortho")
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if part == "real":
        _fill(out, half.real, half.real, axes)
    elif part == "imaginary":
        _fill(out, half.imag, half.imag, axes, odd=True)
    else:
        _write(out.narrow(axes[-1], 0, half.shape[axes[-1]]), torch.sub, half.real, half.imag)
        _mirror(out, half.real + half.imag, axes)
    return out


class _SymmetricPart(torch.autograd.Function):
    """A part of the DFT of real input. Cosine and sine of j k are symmetric in j and k, so each is its own backward."""

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...], part: str) -> Tensor:
        return _symmetric_part(x, axes, part)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.axes, ctx.part = inputs

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _part(gradient, ctx.axes, ctx.part), None, None


class _SymmetricPartWithTangent(_SymmetricPart):
    @staticmethod
    def jvp(ctx, tangent: Tensor, *_) -> Tensor:
        return _part(tangent, ctx.axes, ctx.part)

    @staticmethod
    def vmap(info, in_dims, x: Tensor, axes: tuple[int, ...], part: str) -> tuple[Tensor, int]:
        return _part(x.movedim(in_dims[0], 0), tuple(axis + 1 for axis in axes), part), 0


def _both_parts(x: Tensor) -> Tensor:
    half = torch.fft.rfft2(x, norm="ortho")
    out = torch.empty(x.shape[0], 2, *x.shape[1:], dtype=x.dtype, device=x.device)
    _fill(out[:, 0], half.real, half.real, (2, 3))
    _fill(out[:, 1], half.imag, half.imag, (2, 3), odd=True)
    return out.flatten(1, 2)


class _BothParts(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _both_parts(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        """A linear map keeps nothing for its backward."""

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        real, imaginary = gradient.unflatten(1, (2, -1)).unbind(1)
        # the transposed map is Re F g_re + Im F g_im, which is the real part of F (g_re - i g_im)
        return torch.fft.fft2(torch.complex(real, -imaginary), norm="ortho").real


class _BothPartsWithTangent(_BothParts):
    @staticmethod
    def jvp(ctx, tangent: Tensor) -> Tensor:
        return dft_complex(tangent)

    @staticmethod
    def vmap(info, in_dims, x: Tensor) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], 0)
        return dft_complex(x.flatten(0, 1)).unflatten(0, x.shape[:2]), 0


def _fill(out: Tensor, half: Tensor, conjugate: Tensor, axes: tuple[int, ...], odd: bool = False) -> None:
    """Writes a function of the frequency into `out` from half of the last axis: at k `half`, at -k `conjugate`.

    With `odd`, at -k its negative. Frequencies that have their mirror image inside the half are taken from `half`.
    """
    out.narrow(axes[-1], 0, half.shape[axes[-1]]).copy_(half)
    _mirror(out, conjugate, axes, odd)


def _mirror(out: Tensor, conjugate: Tensor, axes: tuple[int, ...], odd: bool = False) -> None:
    """The part of `_fill` beyond the half that is there."""
    last, others = axes[-1], axes[:-1]
    kept, width = conjugate.shape[last], out.shape[last]
    if kept == width:
        return
    # frequencies that are 0 on an axis stay where they are; the others are mirrored, axis by axis
    regions = [(out.narrow(last, kept, width - kept), conjugate.narrow(last, 1, width - kept), [last])]
    for axis in others:
        n = out.shape[axis]
        split = []
        for target, source, flips in regions:
            split.append((target.narrow(axis, 0, 1), source.narrow(axis, 0, 1), flips))
            if n > 1:
                split.append((target.narrow(axis, 1, n - 1), source.narrow(axis, 1, n - 1), [*flips, axis]))
        regions = split
    for target, source, flips in regions:
        if odd:
            _write(target, torch.neg, source.flip(flips))
        else:
            target.copy_(source.flip(flips))


def _write(target: Tensor, function: Callable[..., Tensor], *arguments: Tensor) -> None:
    """The function's result straight into a view, which no compiler and no gradient follows."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        target.copy_(function(*arguments))
    else:
        function(*arguments, out=target)
