"""Text as bytes: token = byte + 1, cut at the net's length, padded with 0; and the files that hold it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.contract.errors import UserError

VOCABULARY = 257  # padding and the 256 bytes


def tokens_of(documents: Sequence[bytes], length: int) -> Tensor:
    """The first `length` bytes of each document as tokens, int16 (n, length); shorter ones are padded."""
    tokens = np.zeros((len(documents), length), np.int16)
    for row, document in zip(tokens, documents, strict=True):
        part = np.frombuffer(document[:length], np.uint8)
        row[: len(part)] = part
        row[: len(part)] += 1
    return torch.from_numpy(tokens)


def file_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        UserError: it cannot be read, or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; replace it by the original") from error
    if not content:
        raise UserError(f"{path} is empty; replace it by the original, or remove it")
    return content


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 of some texts in their order, 64 hexadecimal digits; where one ends is part of it."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file, 32 bytes.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; replace it by the original") from error


def file_text(path: Path) -> str:
    """The content of a file of text.

    Raises:
        UserError: it cannot be read, is empty, or is not UTF-8.
    """
    try:
        return file_bytes(path).decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        how = "convert it with iconv -t utf-8 -f and the encoding that it has, such as latin1"
        where = f"byte {error.start:,} is {error.object[error.start]:#04x}"
        raise UserError(f"{path} is not UTF-8, {where}; {how}") from error


def rows_of(path: Path, columns: Sequence[str], header: bool) -> list[list[bytes]]:
    """The rows of a file of tab-separated values, of which the last ones are text; a quotation mark is a character.

    Args:
        path: the file.
        columns: what they are called.
        header: whether the first line has these names.

    Raises:
        UserError: it cannot be read, or a line has other columns, or text is empty.
    """
    lines = file_bytes(path).removesuffix(b"\n").split(b"\n")
    names = "\t".join(columns).encode()
    if header and lines.pop(0).removesuffix(b"\r") != names:
        raise UserError(f"{path} does not begin with the line {', '.join(columns)}; replace it by the original")
    rows = [line.removesuffix(b"\r").split(b"\t") for line in lines]
    texts = [place for place, name in enumerate(columns) if name.startswith("text")]
    for number, row in enumerate(rows, start=1 + header):
        if len(row) != len(columns):
            raise UserError(
                f"{path} is damaged: line {number:,} has {len(row)} columns, expected {len(columns)} "
                f"({', '.join(columns)}); replace it by the original"
            )
        if not all(row[place].strip() for place in texts):
            raise UserError(f"{path} has an empty document in line {number:,}; replace it, or remove the line")
    return rows
