"""Segments of one length, cut from a corpus once and mapped into memory by whoever is trained on them.

    DATA_DIR/cache/text-<corpus>-<tokenizer>-<N>-<hash>/
        train.bin  val.bin  test.bin    segments, uint16 (n, N - 3), one after the other
        meta.json                       how many there are, of what, and their checksums

An example of N tokens has room for N - 3 of text beside CLS and two SEP. No segment crosses from one document to the
next: the end of a document that fills less than a quarter of a segment is left out, a longer one is filled up with PAD.
The folder appears whole or not at all, and is made anew where it is damaged. It can be deleted at any time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import filelock
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.tasks.cache import BLOCK_BYTES, META, mark_cache_folder
from benchmarks.tasks.text.corpus.corpora import PARTS, Corpus
from benchmarks.tasks.text.corpus.tokenization import Tokenizer
from benchmarks.tasks.text.corpus.tokens import PAD

VERSION = 1  # raised by whoever changes what becomes of a document
BESIDE = 3  # tokens of an example that are not of a segment
LEAST_LENGTH = 16
LEAST_SHARE = 4  # a segment that is filled to less than one in so many is left out
TOGETHER = 2**20  # letters that are made into tokens at a time

Segments = NDArray[np.uint16]
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Meta:
    """What is known of the segments; what is counted, is counted by part."""

    version: int
    key: str
    length: int  # N
    corpus: str
    tokenizer: str
    vocabulary: int
    documents: dict[str, int]
    segments: dict[str, int]
    tokens: dict[str, int]  # of text, in the segments
    left_out: dict[str, int]  # tokens at ends of documents
    sums: dict[str, int]  # CRC-32 of the files


class Packed:
    """Segments that are there and whole.

    Attributes:
        folder: that holds them.
        meta: what is known of them.
    """

    def __init__(self, folder: Path, meta: Meta) -> None:
        self.folder, self.meta = folder, meta

    def segments(self, part: str) -> Segments:
        """uint16 (n, N - 3) of "train", "val" (for choices) or "test", mapped into memory."""
        shape = (self.meta.segments[part], self.meta.length - BESIDE)
        # written to by nobody: "c" only spares PyTorch its warning of what cannot be written
        return np.memmap(self.folder / f"{part}.bin", "<u2", "c", shape=shape)

    def batch(self, part: str, index: Tensor) -> Tensor:
        """The segments of these numbers, int64 (B, N - 3)."""
        return torch.from_numpy(self.segments(part)[index.cpu().numpy()].astype(np.int64))


def packed(corpus: Corpus, tokenizer: Tokenizer, length: int, cache: Path) -> Packed:
    """The segments of a corpus, from the cache where they are there.

    Args:
        corpus: what is cut.
        tokenizer: what makes tokens of it.
        length: N, of the examples that the segments are for.
        cache: folder of all caches.

    Raises:
        UserError: N is too small, a part of the corpus has no segment, or the cache cannot be written.
    """
    if length < LEAST_LENGTH:
        raise UserError(f"text has at least {LEAST_LENGTH} tokens, not {length}; type {called.option('length', 64)}")
    key = hashlib.sha256(f"{VERSION} {corpus.hash} {tokenizer.hash} {length}".encode()).hexdigest()[:16]
    folder = Path(cache) / f"text-{corpus.slug}-{tokenizer.name}-{length}-{key}"
    try:
        mark_cache_folder(folder.parent)
        with filelock.FileLock(folder.parent / f".{folder.name}.lock"):
            found = find_packed(folder, key)
            return found or Packed(folder, _make(folder, key, corpus, tokenizer, length))
    except OSError as error:
        raise UserError(
            f"segments of text cannot be kept in {folder.parent} ({error.strerror or error}); type "
            f"{called.option('data_dir')} with a folder that can be written"
        ) from error


def find_packed(folder: Path, key: str) -> Packed | None:
    """The segments in a folder; None where there are none, others, or damaged ones."""
    try:
        meta = Meta(**json.loads((folder / META).read_text(encoding="utf-8")))
        if (meta.version, meta.key) != (VERSION, key):
            return None
        return Packed(folder, meta) if all(_is_whole(folder, meta, part) for part in PARTS) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_whole(folder: Path, meta: Meta, part: str) -> bool:
    path = folder / f"{part}.bin"
    if path.stat().st_size != meta.segments[part] * (meta.length - BESIDE) * 2:
        return False
    total = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            total = zlib.crc32(block, total)
    return total == meta.sums[part]


def _make(folder: Path, key: str, corpus: Corpus, tokenizer: Tokenizer, length: int) -> Meta:
    for left in folder.parent.glob(f".{folder.name}.*.part"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    place = folder.parent / f".{folder.name}.{os.getpid()}.part"
    place.mkdir()
    try:
        log.info("%s is cut into segments of %d, once", corpus.name, length)
        meta = _write(place, key, corpus, tokenizer, length)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return meta


def _write(place: Path, key: str, corpus: Corpus, tokenizer: Tokenizer, length: int) -> Meta:
    with ExitStack() as stack:
        writers = {
            part: _Writer(stack.enter_context((place / f"{part}.bin").open("wb")), length - BESIDE) for part in PARTS
        }
        for batch in _batches(corpus):
            encoded = tokenizer.encode_many([document for _, document in batch])
            for (part, _), tokens in zip(batch, encoded, strict=True):
                writers[part].write(tokens)
        for writer in writers.values():
            writer.file.flush()
            os.fsync(writer.file.fileno())
    _refuse_without_segments(corpus, length, writers)
    meta = Meta(
        version=VERSION,
        key=key,
        length=length,
        corpus=corpus.name,
        tokenizer=tokenizer.name,
        vocabulary=tokenizer.vocabulary,
        documents={part: writer.documents for part, writer in writers.items()},
        segments={part: writer.segments for part, writer in writers.items()},
        tokens={part: writer.tokens for part, writer in writers.items()},
        left_out={part: writer.left_out for part, writer in writers.items()},
        sums={part: writer.sum for part, writer in writers.items()},
    )
    (place / META).write_text(json.dumps(dataclasses.asdict(meta)), encoding="utf-8")
    return meta


def _batches(corpus: Corpus) -> Iterator[list[tuple[str, str]]]:
    """Documents with their parts, about TOGETHER letters at a time."""
    batch, letters = [], 0
    for part, document in corpus.documents_by_part():
        batch.append((part, document))
        letters += len(document)
        if letters >= TOGETHER:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch


def _refuse_without_segments(corpus: Corpus, length: int, writers: dict[str, _Writer]) -> None:
    empty = [part for part, writer in writers.items() if not writer.segments]
    if empty:
        raise UserError(
            f"the documents of {corpus.source} are too short for {length} tokens: none of its part {empty[0]} fills a "
            f"quarter of them; type a smaller {called.option('length')}, or a longer {called.option('text')}"
        )


class _Writer:
    """A file of segments of one part that counts what goes into it."""

    def __init__(self, file: IO[bytes], width: int) -> None:
        self.file, self.width = file, width
        self.documents = self.segments = self.tokens = self.left_out = self.sum = 0

    def write(self, tokens: Segments) -> None:
        """Cuts the tokens of one document."""
        rest = len(tokens) % self.width
        kept = rest * LEAST_SHARE >= self.width
        used = len(tokens) - (0 if kept else rest)
        content = np.pad(tokens[:used], (0, -used % self.width), constant_values=PAD).astype("<u2").tobytes()
        self.file.write(content)
        self.sum = zlib.crc32(content, self.sum)
        self.documents += 1
        self.segments += -(-used // self.width)
        self.tokens += used
        self.left_out += len(tokens) - used
