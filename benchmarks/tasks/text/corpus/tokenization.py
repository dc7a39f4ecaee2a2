"""From text to tokens: bytes, which need no package and let a CPU learn, or byte-pairs trained on the corpus.

Both put the five tokens of `tokens` first, and read text as FNet and BERT's uncased nets do: in lower case, any white
space as one blank. Bytes keep the letters as they are, in UTF-8. Byte-pairs (Sennrich et al., "Neural machine
translation of rare words with subword units", 2016) are those of the package `tokenizers`: letters decomposed (NFKD),
words and signs apart as BERT, a mark before each word as SentencePiece, which FNet took; a letter that is none of the
commonest is UNK.
"""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import filelock
import numpy as np
from numpy.typing import NDArray

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import BYTES, vocabulary_of
from benchmarks.contract.record import atomic_write
from benchmarks.tasks.cache import mark_cache_folder
from benchmarks.tasks.text.corpus.corpora import Corpus
from benchmarks.tasks.text.corpus.tokens import NAMES, SPECIAL, UNK

MOST_LETTERS = 1_000  # of the alphabet, and no more than a quarter of the vocabulary
TRAINED_ON = 2**27  # letters
START = "▁"  # of a word; a letter like others, since suffixes get other numbers each time they are trained
VERSION = 1  # raised by whoever changes what a text becomes

Tokens = NDArray[np.uint16]
log = logging.getLogger(__name__)


class Tokenizer(Protocol):
    """What is asked of a way from text to tokens.

    Attributes:
        name: as it is typed.
        hash: of all that a text's tokens depend on.
        vocabulary: number of tokens, special ones among them.
    """

    name: str
    hash: str
    vocabulary: int

    def encode(self, text: str) -> Tokens:
        """The tokens of a text, uint16 (n,), without CLS and SEP."""

    def encode_many(self, texts: Sequence[str]) -> list[Tokens]:
        """The same of each text."""

    def decode(self, tokens: Sequence[int] | NDArray[Any]) -> str:
        """The text that tokens are of, special ones left out."""


def tokenizer_for(name: str, corpus: Corpus | None, cache: Path, lower: bool = True) -> Tokenizer:
    """The tokenizer of a name; byte-pairs are trained on the corpus once, and kept.

    Args:
        name: "bytes", or "bpe-" and the size of the vocabulary, 300 to 64,000.
        corpus: whose training documents byte-pairs are found in; bytes ask for none.
        cache: folder of all caches.
        lower: whether capital letters become small ones.

    Raises:
        UserError: there is none of this name, `tokenizers` is not installed, or the cache cannot be written.
    """
    vocabulary_of(name)  # says what is allowed
    if name == BYTES:
        return Bytes(lower)
    if corpus is None:
        raise ValueError(f"{name} is trained on a corpus")
    return BytePairs(name, _trained(name, corpus, Path(cache), lower), lower)


class Bytes:
    """The bytes of a text in UTF-8, each behind the special tokens."""

    name = BYTES
    vocabulary = SPECIAL + 256

    def __init__(self, lower: bool = True) -> None:
        self.lower = lower
        self.hash = _digest(f"{VERSION} {BYTES} {lower}".encode())

    def encode(self, text: str) -> Tokens:
        text = " ".join((text.lower() if self.lower else text).split())
        return np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.uint16) + np.uint16(SPECIAL)

    def encode_many(self, texts: Sequence[str]) -> list[Tokens]:
        return [self.encode(text) for text in texts]

    def decode(self, tokens: Sequence[int] | NDArray[Any]) -> str:
        found = np.asarray(tokens, dtype=np.int64)
        return bytes((found[found >= SPECIAL] - SPECIAL).astype(np.uint8)).decode("utf-8", "replace")


class BytePairs:
    """Byte-pairs of the package `tokenizers`, from its own JSON."""

    def __init__(self, name: str, content: str, lower: bool = True) -> None:
        self.name, self.lower = name, lower
        self.hash = _digest(f"{VERSION} {lower} {content}".encode())
        self._pairs = _package().Tokenizer.from_str(content)
        self._pairs.encode_special_tokens = True  # "[MASK]" in a text is six signs of it
        self.vocabulary: int = self._pairs.get_vocab_size()

    def encode(self, text: str) -> Tokens:
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[Tokens]:
        marked = [_marked(text, self.lower) for text in texts]
        found = self._pairs.encode_batch_fast(marked, add_special_tokens=False)
        return [np.array(one.ids, dtype=np.uint16) for one in found]

    def decode(self, tokens: Sequence[int] | NDArray[Any]) -> str:
        pieces = (self._pairs.id_to_token(int(token)) for token in tokens if token >= SPECIAL)
        return "".join(pieces).replace(START, " ").strip()


def _marked(text: str, lower: bool) -> str:
    """Decomposed letters, START before each word."""
    text = unicodedata.normalize("NFKD", text.replace(START, " "))
    words = (text.lower() if lower else text).split()
    return START + f" {START}".join(words) if words else ""


def _trained(name: str, corpus: Corpus, cache: Path, lower: bool) -> str:
    """The JSON of trained byte-pairs, from the cache where it is there."""
    key = _digest(f"{VERSION} {name} {lower} {corpus.hash}".encode())[:16]
    return kept_text(cache / f"{name}-{corpus.slug}-{key}.json", lambda: _train(name, corpus, lower))


def kept_text(path: Path, make: Callable[[], str]) -> str:
    """The byte-pairs of a file, which is made where it is missing or damaged; of several processes, one makes it.

    Raises:
        UserError: it cannot be written.
    """
    try:
        mark_cache_folder(path.parent)
        with filelock.FileLock(path.parent / f".{path.name}.lock"):
            content = _whole(path.read_bytes()) if path.is_file() else None
            if content is None:
                content = make()
                with atomic_write(path) as file:
                    file.write(content.encode())
            return content
    except OSError as error:
        raise UserError(
            f"byte-pairs cannot be kept in {path.parent} ({error.strerror or error}); type "
            f"{called.option('data_dir')} with a folder that can be written"
        ) from error


def _whole(content: bytes) -> str | None:
    """None where it is damaged."""
    package = _package()
    try:
        text = content.decode()
        package.Tokenizer.from_str(text)
    except Exception:  # the package raises no narrower one
        return None
    return text


def _train(name: str, corpus: Corpus, lower: bool) -> str:
    package = _package()
    size = int(name.removeprefix("bpe-"))
    log.info("%s is trained on %s, once", name, corpus.name)
    pairs = package.Tokenizer(package.models.BPE(unk_token=NAMES[UNK]))
    pairs.pre_tokenizer = package.pre_tokenizers.BertPreTokenizer()
    letters = _letters(_training(corpus, lower), min(MOST_LETTERS, size // 4))
    trainer = package.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(NAMES),
        initial_alphabet=letters,  # the trainer's own choice among letters of one count is another every time
        limit_alphabet=len(letters),
        show_progress=False,
    )
    pairs.train_from_iterator(_training(corpus, lower), trainer)
    if pairs.get_vocab_size() < size:
        log.warning("%s has text for %d byte-pairs, not for %d", corpus.name, pairs.get_vocab_size(), size)
    return pairs.to_str()


def _training(corpus: Corpus, lower: bool) -> Iterator[str]:
    """Training documents, as many as make the byte-pairs: memory and time do not grow with the corpus beyond them."""
    letters = 0
    for part, document in corpus.documents_by_part():
        if part == "train":
            yield _marked(document, lower)
            letters += len(document)
        if letters >= TRAINED_ON:
            return


def _letters(texts: Iterable[str], most: int) -> list[str]:
    """The commonest letters and signs, START among them, those of one count in the order of their codes."""
    counts = np.zeros(0x110000, np.int64)
    for text in texts:
        codes, found = np.unique(np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32), return_counts=True)
        counts[codes] += found
    counts[ord(" ")] = 0
    commonest = np.argsort(-counts, kind="stable")[:most]
    return [chr(code) for code in commonest if counts[code]]


def _package() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            f"byte-pairs need the package tokenizers, which is not installed; type pip install tokenizers, or "
            f"{called.option('tokenizer', BYTES)}"
        ) from error
    return tokenizers


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
