"""What a net is pre-trained on: documents, one after the other, from whatever text there is.

What a document is: in a file of text, lines up to a blank one, as in the files that BERT was made of; in a folder, each
file whose name ends in .txt, in the order of their names; of a data set of the Hugging Face hub, each row. One that is
longer than 2^20 letters is read as several. Of every twenty documents in a row the last is held out for choices and the
one before it for the test, so that parts are the same for everybody and one reading is enough.
"""

from __future__ import annotations

import codecs
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.tasks.text.corpus import shakespeare

SHAKESPEARE, WIKIPEDIA, HUB = "shakespeare", "wikipedia", "hfds:"
TASKED = ("lear", "othello")  # the plays that `plays` asks about; no net is pre-trained on them
PARTS = ("train", "val", "test")
EVERY = 20  # documents, of which one is for choices and one for the test
LONGEST = 2**20  # letters of a document
LONGEST_SLUG = 100  # bytes of a name in that of a file, which has 255
HOW = f"{SHAKESPEARE}, {WIKIPEDIA}, a file or folder of text, {HUB}NAME"


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents that are read anew whenever they are asked for, so that memory holds one at a time.

    Attributes:
        name: as records keep it.
        source: as it would be typed on this machine.
        hash: SHA-256 of all that the documents depend on.
        read: begins to read them.
    """

    name: str
    source: str
    hash: str
    read: Callable[[], Iterable[str]] = dataclasses.field(repr=False)

    @property
    def slug(self) -> str:
        """The name, or its beginning, as a part of a file's."""
        return re.sub(r"[^\w.-]+", "_", self.name).encode()[:LONGEST_SLUG].decode(errors="ignore")

    def documents(self) -> Iterator[str]:
        """All documents, none blank.

        Raises:
            UserError: the text turns out to be damaged.
        """
        return (document for document in self.read() if not document.isspace() and document)

    def documents_by_part(self) -> Iterator[tuple[str, str]]:
        """Each document with its part, "train", "val" (for choices) or "test"."""
        return ((part_of(number), document) for number, document in enumerate(self.documents()))


def part_of(number: int) -> str:
    """The part of the document of this number, from 0."""
    return {EVERY - 1: "val", EVERY - 2: "test"}.get(number % EVERY, "train")


def open_corpus(source: str | None, data_dir: Path) -> Corpus:
    """The corpus that was typed.

    Args:
        source: None or "shakespeare": the default prose; "wikipedia": wikipedia/wikipedia.txt of the folder of data;
            a file of text or a folder of .txt files; "hfds:NAME" or "hfds:NAME:CONFIGURATION", the training split of a
            data set of the Hugging Face hub.
        data_dir: folder of data.

    Raises:
        UserError: there is none, it is empty, binary, not UTF-8, or has fewer than 20 documents.
    """
    corpus = _opened(source or SHAKESPEARE, Path(data_dir).expanduser())
    found = sum(1 for _ in itertools.islice(corpus.documents(), EVERY))
    if found < EVERY:
        documents = "no document" if not found else "1 document" if found == 1 else f"{found} documents"
        raise UserError(
            f"the text {corpus.source} has {documents}, at least {EVERY} are needed, of which one is held out and one "
            "tested on; between two documents of a file stands a blank line, in a folder each .txt file is one"
        )
    return corpus


def _opened(source: str, data_dir: Path) -> Corpus:
    if source == SHAKESPEARE:
        return _plays(data_dir)
    if source.startswith(HUB):
        return _hub(source)
    place = data_dir / WIKIPEDIA / f"{WIKIPEDIA}.txt" if source == WIKIPEDIA else Path(source).expanduser()
    if place.is_file():
        return _file(place, source)
    if place.is_dir():
        return _folder(place, source)
    raise UserError(f"there is no text {place}; allowed: {HOW}; type {called.option('text', '...')} with one of these")


def _plays(data_dir: Path) -> Corpus:
    texts = {name: text for name, text in shakespeare.texts(data_dir).items() if name not in TASKED}
    digest = hashlib.sha256(repr(texts).encode()).hexdigest()
    return Corpus(SHAKESPEARE, SHAKESPEARE, digest, lambda: iter(texts.values()))


def _file(path: Path, source: str) -> Corpus:
    return Corpus(path.stem, source, _digest_of([path]), lambda: _documents_of(path, True))


def _folder(folder: Path, source: str) -> Corpus:
    paths = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    return Corpus(folder.resolve().name, source, _digest_of(paths), lambda: _whole(paths))


def _whole(paths: list[Path]) -> Iterator[str]:
    return itertools.chain.from_iterable(_documents_of(path, False) for path in paths)


def _digest_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _documents_of(path: Path, divided: bool) -> Iterator[str]:
    """The documents of a file, between blank lines if it is `divided`; else the whole of it."""
    lines: list[str] = []
    letters = 0
    for line in _lines(path):
        ended = divided and line.isspace()
        if ended or letters + len(line) > LONGEST:
            yield "".join(lines)
            lines, letters = [], 0
        if not ended:
            lines.append(line)
            letters += len(line)
    yield "".join(lines)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file of text; of one without an end, pieces."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _checked(file, path)
    except UnicodeDecodeError as error:
        how = "convert it with iconv -t utf-8 -f and the encoding that it has, such as latin1"
        raise UserError(f"{path} is not text in UTF-8{_where_not_utf8(path)} ({error.reason}); {how}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _where_not_utf8(path: Path) -> str:
    """Line and byte, for an error: one of a file that is read in pieces knows its place in a piece alone."""
    decoder, read, lines = codecs.getincrementaldecoder("utf-8")(), 0, 1
    with path.open("rb") as file:
        while block := file.read(LONGEST):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                place = read + error.start - (len(error.object) - len(block))
                line = lines + error.object[: error.start].count(b"\n")
                return f": in line {line:,} byte {place:,} is {error.object[error.start]:#04x}"
            read, lines = read + len(block), lines + block.count(b"\n")
    return f": it ends within a letter, at byte {read:,}"


def _checked(file: IO[str], path: Path) -> Iterator[str]:
    while line := file.readline(LONGEST):
        if "\0" in line:
            raise UserError(f"{path} is binary, it has a byte 0; allowed: text in UTF-8")
        yield line


def _hub(source: str) -> Corpus:
    """A data set of the hub, streamed, at the commit at which it is opened."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{source} needs the package datasets; type pip install datasets") from error
    name, _, configuration = source.removeprefix(HUB).partition(":")
    try:
        builder = datasets.load_dataset_builder(name, configuration or None)
        rows = builder.as_streaming_dataset(split="train")
        first: dict[str, Any] = next(iter(rows), {})
    except Exception as error:  # it raises whatever its parts do
        raise _unreachable(source, error) from error
    column = _column(source, first)
    digest = hashlib.sha256(f"{source} {builder.hash} {column}".encode()).hexdigest()
    return Corpus(source, source, digest, lambda: _rows(source, rows, column))


def _column(source: str, row: dict[str, Any]) -> str:
    """The column with the text: "text", or the only one of strings."""
    strings = [name for name, value in row.items() if isinstance(value, str)]
    if "text" not in strings and len(strings) != 1:
        raise UserError(
            f"{source} has no column text, nor just one column of strings, but {', '.join(strings) or 'none'}; "
            f"allowed: {HOW}"
        )
    return "text" if "text" in strings else strings[0]


def _rows(source: str, rows: Iterable[dict[str, Any]], column: str) -> Iterator[str]:
    try:
        for row in rows:
            text = row[column] or ""
            yield from (text[start : start + LONGEST] for start in range(0, len(text), LONGEST))
    except Exception as error:  # the network ends in many ways
        raise _unreachable(source, error) from error


def _unreachable(source: str, error: Exception) -> UserError:
    return UserError(
        f"{source} cannot be read ({type(error).__name__}: {printable(error)[:200]}); allowed: {HUB}NAME or "
        f"{HUB}NAME:CONFIGURATION of a data set of the Hugging Face hub, where there is a network"
    )
