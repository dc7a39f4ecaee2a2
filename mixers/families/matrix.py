"""A mixer from a file: one fixed matrix over the tokens, as NumPy saved it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixers.errors import MixerError, UnsupportedSize
from mixers.families.dense import Dense
from mixers.registry import Entry, opens
from mixers.spec import MATRIX_ENDING
from mixers.transforms.methods import computed_in

LARGEST_BYTES = 2**31  # of a file
WHAT_TO_TYPE = 'allowed: (tokens, tokens) real floats, such as numpy.save("mine.npy", A.astype("float32"))'


class FileMatrix(Dense):
    """y_i = sum_j A[i, j] x_j with A from a file, the same for every channel and layer. Complexity 2 C N^2.

    Tokens are counted along the rows of the grid. A checkpoint holds the file's SHA-256 and not the matrix: it loads
    where the same file is named. The matrix is used as it is, orthogonal or not.

    Raises:
        UnsupportedSize: the grid has another number of tokens than the matrix.
    """

    copied_off_cpu = True
    values: ClassVar[NDArray[np.float64]]
    digest: ClassVar[str]
    file_name: ClassVar[str]

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__(dim, size)
        if self.tokens != len(self.values):
            raise UnsupportedSize(
                f"{self.file_name} is a matrix for {len(self.values)} tokens, {self.size[0]} x {self.size[1]} are "
                f"{self.tokens}"
            )
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return {"matrix": torch.from_numpy(self.values).to(dtype)}

    def multiplied(self, x: Tensor) -> Tensor:
        return self.kept_matrix("matrix", computed_in(x))

    def definition(self) -> dict[str, Any]:
        return {**super().definition(), "matrix": self.digest}


@opens(MATRIX_ENDING)
def file_mixer(name: str) -> Entry:
    """The mixer of one file.

    Raises:
        MixerError: it holds no matrix.
    """
    path = Path(name)
    data = read_bytes(path)
    values = matrix_in(path.name, data)
    digest = hashlib.sha256(data).hexdigest()
    own = {"values": values, "digest": digest, "file_name": path.name, "__module__": __name__}
    cls = type("FileMatrix", (FileMatrix,), own)
    return Entry(path.name, cls, "plug-in", "C N^2", f"the matrix in {path.name}", None, source=digest, origin=name)


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        MixerError: there is no such file, or it is too large.
    """
    if not path.is_file():
        raise MixerError(f"there is no file {str(path)!r}")
    if path.stat().st_size > LARGEST_BYTES:
        raise MixerError(f"{path.name} has {path.stat().st_size:,} bytes; allowed: up to {LARGEST_BYTES:,}")
    return path.read_bytes()


def matrix_in(name: str, data: bytes) -> NDArray[np.float64]:
    """The (N, N) matrix in the bytes of a .npy file, as float64. Nothing in the file is run.

    Raises:
        MixerError: it is none; the message is one line that names the file and what is allowed.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # whatever a broken header makes NumPy raise
        why = " ".join(str(error).split())[:160]
        raise MixerError(f"{name} is no array that NumPy can read ({why}); {WHAT_TO_TYPE}") from error
    if not isinstance(array, np.ndarray):
        raise MixerError(f"{name} holds several arrays; {WHAT_TO_TYPE}")
    shape = " x ".join(map(str, array.shape)) or "a single number"
    if array.dtype.kind != "f":
        raise MixerError(f"{name} is of {array.dtype}; {WHAT_TO_TYPE}")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise MixerError(f"{name} is {shape}; {WHAT_TO_TYPE}")
    with np.errstate(over="ignore"):
        infinite = int((~np.isfinite(array.astype(np.float32))).sum())
    if infinite:
        raise MixerError(f"{name} has {infinite:,} numbers that are not finite in float32; {WHAT_TO_TYPE}")
    if not array.astype(np.float32).any():
        raise MixerError(f"{name} is zero everywhere in float32; {WHAT_TO_TYPE}")
    return array.astype(np.float64)
