"""The transforms of the study: one (256, 256) matrix each, for a grid of 16 x 16 tokens, one property varied at a time.

y = A x, tokens counted along the rows of the grid; output i stands at place i. All are orthonormal but those that say
otherwise. Everything random is drawn by NumPy's PCG64 from the seed in the table. Entries are rounded to six decimals,
so that the last bits of a linear-algebra library do not make another file; that leaves A A^T within 2e-5 of the
identity.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

SIDE = 16
TOKENS = SIDE * SIDE
DECIMALS = 6
# of the transforms below but `dct` and `identity`, six drawn by random.Random(19).sample from their names in order
HELD_BACK_SEED = 19
ANCHORS = ("dct", "identity")


@dataclasses.dataclass(frozen=True)
class Transform:
    """One row of the study's table."""

    name: str
    family: str  # a colour of the plot
    text: str
    make: Callable[[Matrix], Matrix]  # from the covariance of the tokens (256, 256)
    orthonormal: bool = True


def dct(n: int) -> Matrix:
    """Orthonormal DCT-II (n, n); Ahmed, Natarajan and Rao, 1974."""
    k, j = np.arange(n)[:, None], np.arange(n)[None, :]
    matrix = math.sqrt(2 / n) * np.cos(math.pi / n * k * (j + 0.5))
    matrix[0] *= math.sqrt(0.5)
    return matrix


def haar(n: int) -> Matrix:
    """Orthonormal Haar wavelets on n = 2**k points, from coarse to fine; Haar, 1910."""
    return wavelet(n, [math.sqrt(0.5)] * 2, coarsest=1)


def daubechies_4(n: int) -> Matrix:
    """Daubechies' wavelets with four taps, periodic, down to four scaling coefficients; Daubechies, 1988."""
    root = math.sqrt(3)
    taps = [value / (4 * math.sqrt(2)) for value in (1 + root, 3 + root, 3 - root, 1 - root)]
    return wavelet(n, taps, coarsest=4)


def wavelet(n: int, taps: list[float], coarsest: int) -> Matrix:
    """A periodic orthonormal wavelet transform, scaling coefficients first, then details from coarse to fine."""
    matrix, length = np.eye(n), n
    while length > coarsest:
        step = np.eye(n)
        step[:length, :length] = _analysis(length, taps)
        matrix = step @ matrix
        length //= 2
    return matrix


def _analysis(length: int, taps: list[float]) -> Matrix:
    """Low-pass rows, then high-pass rows, of one level."""
    matrix = np.zeros((length, length))
    for row in range(length // 2):
        for k, tap in enumerate(taps):
            matrix[row, (2 * row + k) % length] += tap
            matrix[length // 2 + row, (2 * row + k) % length] += (-1) ** k * taps[len(taps) - 1 - k]
    return matrix


def hadamard(n: int) -> Matrix:
    """Sylvester's Hadamard matrix in natural order, n = 2**k; Sylvester, 1867."""
    return np.asarray(scipy.linalg.hadamard(n), dtype=np.float64) / math.sqrt(n)


def sequency(matrix: Matrix) -> Matrix:
    """The rows by growing number of changes of sign."""
    changes = (np.diff(np.sign(matrix), axis=1) != 0).sum(1)
    return matrix[np.argsort(changes, kind="stable")]


def slant(n: int) -> Matrix:
    """Slant transform, n = 2**k, rows by sequency; Pratt, Chen and Welch, "Slant transform image coding", 1974."""
    matrix = np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    while len(matrix) < n:
        matrix = _next_slant(matrix)
    return sequency(matrix)


def _next_slant(half: Matrix) -> Matrix:
    """Order 2m from order m: their recursion, whose second row falls in equal steps."""
    m = len(half)
    size = 2 * m
    a = math.sqrt(3 * m**2 / (size**2 - 1))
    b = math.sqrt((m**2 - 1) / (size**2 - 1))
    mix = np.zeros((size, size))
    mix[0, [0, m]] = 1, 1
    mix[1, [0, 1, m, m + 1]] = a, b, -a, b
    mix[m, [1, m + 1]] = 1, -1
    mix[m + 1, [0, 1, m, m + 1]] = -b, a, b, a
    for row in range(2, m):
        mix[row, [row, m + row]] = 1, 1
        mix[m + row, [row, m + row]] = 1, -1
    both = np.block([[half, np.zeros((m, m))], [np.zeros((m, m)), half]])
    return mix @ both / math.sqrt(2)


def on_grid(one: Matrix) -> Matrix:
    """The same transform along columns and rows."""
    return np.asarray(np.kron(one, one), dtype=np.float64)


def hartley() -> Matrix:
    """2-D Hartley transform: real minus imaginary part of the orthonormal DFT; Hartley, 1942."""
    dft = np.kron(*[np.fft.fft(np.eye(SIDE), norm="ortho")] * 2)
    return np.asarray(dft.real - dft.imag)


def dft_real() -> Matrix:
    """Real part of the orthonormal 2-D DFT: singular values 1 and 0, rank 130; not orthonormal."""
    return np.asarray(np.kron(*[np.fft.fft(np.eye(SIDE), norm="ortho")] * 2).real)


def in_blocks(side: int) -> Matrix:
    """A DCT of each block of side x side tokens, its coefficients within the block."""
    return on_grid(np.asarray(np.kron(np.eye(SIDE // side), dct(side)), dtype=np.float64))


def frequencies() -> NDArray[np.int64]:
    """u**2 + v**2 of each output of the 2-D DCT."""
    u, v = np.divmod(np.arange(TOKENS), SIDE)
    return u**2 + v**2


def truncated(rank: int) -> Matrix:
    """The 2-D DCT with all but the lowest `rank` frequencies zero, of equals the earlier rows; not orthonormal."""
    matrix = on_grid(dct(SIDE))
    matrix[np.argsort(frequencies(), kind="stable")[rank:]] = 0
    return matrix


def uneven(ratio: float) -> Matrix:
    """The 2-D DCT, its rows scaled from 1 for the lowest frequency to 1 / ratio for the highest, evenly in the log of
    the scale over their order, then all by one factor to the Frobenius norm of the DCT; not orthonormal."""
    order = np.argsort(np.argsort(frequencies(), kind="stable"), kind="stable")
    scale = ratio ** (-order / (TOKENS - 1))
    return on_grid(dct(SIDE)) * (scale * math.sqrt(TOKENS / (scale**2).sum()))[:, None]


def real_power(matrix: Matrix, power: float) -> Matrix:
    """A real power of an orthogonal matrix: every rotation of its real Schur form by `power` times its angle.

    Eigenvalues -1 pair up to rotations by pi. The pairs are of the Schur form's order, and so not unique where there
    are more than two; an odd one out has no real root and stays -1.
    """
    form, basis = scipy.linalg.schur(matrix, output="real")
    result, minus, i = np.zeros_like(form), [], 0
    while i < len(form):
        if i + 1 < len(form) and abs(form[i + 1, i]) > 1e-8:
            angle = math.atan2(form[i + 1, i], form[i, i])
            result[i : i + 2, i : i + 2] = _rotation(power * angle)
            i += 2
            continue
        result[i, i] = np.sign(form[i, i])
        minus += [i] if form[i, i] < 0 else []
        i += 1
    for first, second in zip(minus[::2], minus[1::2], strict=False):
        result[np.ix_([first, second], [first, second])] = _rotation(power * math.pi)
    return np.asarray(basis @ result @ basis.T)


def _rotation(angle: float) -> Matrix:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def klt(covariance: Matrix) -> Matrix:
    """Karhunen-Loeve: eigenvectors of the covariance as rows, largest variance first, the largest entry positive."""
    _, vectors = np.linalg.eigh(covariance)
    rows = vectors.T[::-1]
    largest = np.argmax(np.abs(rows).round(9), axis=1)
    return rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]


def permutation(seed: int) -> Matrix:
    """P with (P x)_i = x_p(i)."""
    return np.eye(TOKENS)[np.random.default_rng(seed).permutation(TOKENS)]


def random_orthogonal(n: int, generator: np.random.Generator) -> Matrix:
    """Uniform by Haar's measure; Mezzadri, 2007."""
    q, r = np.linalg.qr(generator.standard_normal((n, n)))
    return np.asarray(q * np.sign(np.diag(r)))


def random_local(seed: int) -> Matrix:
    """Random orthogonal 16 x 16 matrices on blocks of 4 x 4 tokens, and again on blocks shifted by (2, 2), cyclically.

    No row reaches beyond 8 x 8 tokens.
    """
    generator = np.random.default_rng(seed)
    place = np.arange(TOKENS).reshape(SIDE, SIDE)
    result = np.eye(TOKENS)
    for shift in (0, 2):
        shifted = np.roll(place, (-shift, -shift), (0, 1))
        layer = np.zeros((TOKENS, TOKENS))
        for row in range(0, SIDE, 4):
            for column in range(0, SIDE, 4):
                block = shifted[row : row + 4, column : column + 4].ravel()
                layer[np.ix_(block, block)] = random_orthogonal(16, generator)
        result = layer @ result
    return result


def random_banded(seed: int) -> Matrix:
    """Gaussian numbers within 2 tokens along either side, zero beyond, rows of norm 1; not orthonormal."""
    row, column = np.divmod(np.arange(TOKENS), SIDE)
    near = (np.abs(row[:, None] - row) <= 2) & (np.abs(column[:, None] - column) <= 2)
    matrix = np.random.default_rng(seed).standard_normal((TOKENS, TOKENS)) * near
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def random_circulant(seed: int) -> Matrix:
    """A cyclic 2-D convolution whose spectrum has modulus 1 and random phases: orthonormal, equivariant to shifts."""
    phase = np.fft.fft2(np.random.default_rng(seed).standard_normal((SIDE, SIDE)))
    kernel = np.fft.ifft2(phase / np.abs(phase)).real
    rows = [np.roll(kernel[::-1, ::-1], (i // SIDE + 1, i % SIDE + 1), (0, 1)).ravel() for i in range(TOKENS)]
    return np.array(rows)


def sparse_orthogonal(seed: int, layers: int = 2) -> Matrix:
    """Rotations by random angles of random pairs of tokens, `layers` times over: 2**layers numbers a row or fewer."""
    generator = np.random.default_rng(seed)
    result = np.eye(TOKENS)
    for _ in range(layers):
        pairs = generator.permutation(TOKENS).reshape(-1, 2)
        layer = np.zeros((TOKENS, TOKENS))
        for pair, angle in zip(pairs, generator.uniform(0, 2 * math.pi, len(pairs)), strict=True):
            layer[np.ix_(pair, pair)] = _rotation(angle)
        result = layer @ result
    return result


def _fixed(make: Callable[..., Matrix], *arguments: Any) -> Callable[[Matrix], Matrix]:
    """One that does not look at the covariance."""
    return lambda _: make(*arguments)


def _table() -> dict[str, Transform]:
    cosine, other, drawn, local = "DCT varied", "other image basis", "drawn at random", "local"
    dct_2d = on_grid(dct(SIDE))
    rows = [
        Transform("dct", cosine, "2-D DCT-II", lambda _: dct_2d),
        Transform(
            "dct_inputs_permuted", cosine, "DCT of permuted tokens, seed 1", lambda _: dct_2d @ permutation(1)
        ),
        Transform(
            "dct_outputs_permuted", cosine, "DCT, outputs permuted, seed 2", lambda _: permutation(2) @ dct_2d
        ),
        Transform("dct_transposed", cosine, "inverse 2-D DCT", lambda _: dct_2d.T),
        *(
            Transform(f"dct_rank_{k}", cosine, f"DCT, lowest {k} frequencies", _fixed(truncated, k), False)
            for k in (16, 64, 128)
        ),
        *(
            Transform(f"dct_power_{k}_4", cosine, f"DCT to the power {k}/4", _fixed(real_power, dct_2d, k / 4))
            for k in (1, 2, 3)
        ),
        *(
            Transform(f"dct_blocks_{k}", cosine, f"DCT of blocks of {k} x {k} tokens", _fixed(in_blocks, k))
            for k in (4, 8)
        ),
        Transform("dct_condition_32", cosine, "DCT, rows scaled from 1 to 1/32", lambda _: uneven(32), False),
        Transform("haar", other, "2-D Haar wavelets, separable", lambda _: on_grid(haar(SIDE))),
        Transform("daubechies_4", other, "Daubechies wavelets, 4 taps", lambda _: on_grid(daubechies_4(SIDE))),
        Transform("klt", other, "Karhunen-Loeve of the training images", klt),
        Transform("hartley", other, "2-D Hartley", lambda _: hartley()),
        Transform("dft_real", other, "real part of the 2-D DFT", lambda _: dft_real(), False),
        Transform("hadamard", other, "2-D Hadamard, natural order", lambda _: on_grid(hadamard(SIDE))),
        Transform(
            "hadamard_sequency", other, "2-D Hadamard, by sequency", lambda _: on_grid(sequency(hadamard(SIDE)))
        ),
        Transform("slant", other, "2-D slant", lambda _: on_grid(slant(SIDE))),
        Transform(
            "random_orthogonal", drawn, "orthogonal, uniform, seed 3",
            lambda _: random_orthogonal(TOKENS, np.random.default_rng(3)),
        ),
        Transform("random_circulant", drawn, "cyclic convolution, seed 4", lambda _: random_circulant(4)),
        Transform("sparse_orthogonal", drawn, "two layers of random rotations, seed 5", lambda _: sparse_orthogonal(5)),
        Transform("permutation", drawn, "tokens permuted, seed 6", lambda _: permutation(6)),
        Transform("random_local", local, "random orthogonal within 8 x 8 tokens, seed 7", lambda _: random_local(7)),
        Transform("random_banded", local, "Gaussian within 5 x 5 tokens, seed 8", lambda _: random_banded(8), False),
        Transform("identity", local, "nothing is mixed", lambda _: np.eye(TOKENS)),
    ]  # fmt: skip
    return {row.name: row for row in rows}


TRANSFORMS = _table()
# predicted before they are trained, never used to choose the predictor
HELD_BACK = (
    *("random_circulant", "dct_outputs_permuted", "dft_real"),
    *("dct_rank_16", "permutation", "dct_power_1_4"),
)


def matrix_of(name: str, covariance: Matrix) -> Matrix:
    """The matrix of a named transform, rounded as its file is.

    Args:
        name: of `TRANSFORMS`.
        covariance: of the tokens of the training images, (256, 256); the Karhunen-Loeve transform alone reads it.
    """
    return TRANSFORMS[name].make(covariance).round(DECIMALS) + 0.0  # no -0.0
