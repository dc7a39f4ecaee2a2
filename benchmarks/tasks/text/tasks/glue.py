"""Readers of the tasks that an encoder is fine-tuned on: GLUE's nine (Wang et al., 2018), TREC and MR.

What is tested on is GLUE's development set, whose labels are public, and MRPC's labelled test set; nothing is chosen
on it. For choices, `hold_out` keeps a part of the training rows. GLUE cuts MRPC's 4,076 training rows into 3,668 and
408 by a list of ids; here all are training rows.

SST-2 is made of the sentences of MR: of its 1,821 test sentences, 815 stand in MR letter for letter, 1,431 but for
spaces and punctuation; of its development set 385 and 691. Never train on one and test on the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest, printable
from benchmarks.contract.facts.text_tasks import TEST, TEST2, TEXT_TASKS, TRAIN, TextTask
from benchmarks.contract.words import counted
from benchmarks.tasks.sequences.parts.text import file_bytes, file_text
from benchmarks.tasks.text.tasks.rows import Rows

HUB = "nyu-mll/glue"
GLUE_PAGE = "https://gluebenchmark.com/tasks"
MR_TEST_SHARE = 0.1
HIGHEST_SCORE = 5.0  # of STS-B

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How GLUE's files of a task look; a column may have one of several names."""

    folder: str
    files: dict[str, str] = dataclasses.field(default_factory=lambda: {TRAIN: "train.tsv", TEST: "dev.tsv"})
    first: tuple[str, ...] = ("sentence1",)
    second: tuple[str, ...] = ("sentence2",)
    target: str = "label"
    columns: tuple[str, ...] = ()  # of a file without a line of names
    broken: bool = False  # whether texts are broken over two lines
    hub: dict[str, tuple[str, ...]] = dataclasses.field(
        default_factory=lambda: {TRAIN: ("train",), TEST: ("validation",)}
    )
    hub_columns: tuple[str, ...] = ("sentence1", "sentence2")


SENTENCE = ("sentence",)
LAYOUTS: dict[str, Layout] = {
    "sst2": Layout(  # other copies call the column content
        folder="SST-2",
        files={TRAIN: "train.tsv", TEST: "dev.tsv", TEST2: "test.tsv"},
        first=("sentence", "content"),
        second=(),
        hub_columns=SENTENCE,
    ),
    "cola": Layout(
        folder="CoLA", first=SENTENCE, second=(), columns=("source", "label", "star", "sentence"), hub_columns=SENTENCE
    ),
    "mrpc": Layout(
        folder="MRPC",
        files={TRAIN: "msr_paraphrase_train.txt", TEST: "msr_paraphrase_test.txt"},
        first=("#1 String",),
        second=("#2 String",),
        target="Quality",
        hub={TRAIN: ("train", "validation"), TEST: ("test",)},
    ),
    "rte": Layout(folder="RTE"),
    "stsb": Layout(folder="STS-B", target="score"),
    "wnli": Layout(folder="WNLI"),
    "qnli": Layout(folder="QNLI", first=("question",), second=SENTENCE, hub_columns=("question", "sentence")),
    "qqp": Layout(
        folder="QQP",
        first=("question1",),
        second=("question2",),
        target="is_duplicate",
        broken=True,
        hub_columns=("question1", "question2"),
    ),
    "mnli": Layout(
        folder="MNLI",
        files={TRAIN: "train.tsv", TEST: "dev_matched.tsv", TEST2: "dev_mismatched.tsv"},
        target="gold_label",
        hub={TRAIN: ("train",), TEST: ("validation_matched",), TEST2: ("validation_mismatched",)},
        hub_columns=("premise", "hypothesis"),
    ),
}
# the two outside GLUE: the names of their files here and as they are published
SMALL_FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "trec": {TRAIN: ("trec-train.txt", "train_5500.label"), TEST: ("trec-test.txt", "TREC_10.label")},
    "mr": {"0": ("rt-polarity.neg",), "1": ("rt-polarity.pos",)},
}
SMALL_PAGES = {
    "trec": "https://cogcomp.seas.upenn.edu/Data/QA/QC/",
    "mr": "https://www.cs.cornell.edu/people/pabo/movie-review-data/",
}


def read(task: str, split: str, data_dir: Path) -> Rows:
    """The rows of a split, in their official order, none of them left out.

    GLUE is read from data_dir/glue/, in the folders, files and columns of its archives; a quotation mark is a
    character. Where a task's folder is missing and `datasets` is installed, that loads it. TREC and MR are read from
    data_dir/small/. MR has no split of its own: a tenth, by a hash of the sentence, is its test.

    Args:
        task: a name of TEXT_TASKS.
        split: "train", "test", or "test2" where there is one.
        data_dir: holds glue/ and small/.

    Raises:
        UserError: no such task or split; a file is missing, or has other columns, labels or numbers of rows.
    """
    facts = _facts(task, split)
    place: object
    if task == "mr":
        place, rows = _read_mr(Path(data_dir), split)
    elif task == "trec":
        place, rows = _read_trec(Path(data_dir), split)
    else:
        place, rows = _read_glue(task, split, Path(data_dir))
    _check_number(place, facts, split, len(rows))
    return rows


def look_for_files(dataset: str, data_dir: Path) -> None:
    """Whether the files are there that a task is trained and tested on; they are not read, nor is the hub asked.

    Args:
        dataset: as in a trial; what is none of TEXT_TASKS has nothing to look for.
        data_dir: holds glue/ and small/.

    Raises:
        UserError: one is missing.
    """
    task, data_dir = dataset.removeprefix("glue:"), Path(data_dir).expanduser()
    if task in LAYOUTS:
        for split in (TRAIN, TEST):
            if _glue_file(task, split, data_dir) is None:
                _check_hub(task, data_dir / "glue" / LAYOUTS[task].folder)
    for part in SMALL_FILES.get(task, ()):
        _small_file(task, part, data_dir)


def has_second_test(task: str, data_dir: Path) -> bool:
    """Whether a task has a second labelled set to test on, and it is at hand; GLUE's own test.tsv has no labels."""
    if task not in LAYOUTS or TEST2 not in TEXT_TASKS[task].sizes:
        return False
    layout, folder = LAYOUTS[task], Path(data_dir).expanduser() / "glue" / LAYOUTS[task].folder
    if not folder.is_dir():
        return TEST2 in layout.hub
    path = folder / layout.files[TEST2]
    return path.is_file() and layout.target in _lines(file_text(path))[0].split("\t")


def _facts(task: str, split: str) -> TextTask:
    if task not in TEXT_TASKS:
        raise UserError(
            f"no text task {printable(task)!r}; there are {', '.join(TEXT_TASKS)}.{nearest(task, TEXT_TASKS)}"
        )
    facts = TEXT_TASKS[task]
    if split not in facts.sizes:
        raise UserError(f"{facts.title} has no split {printable(split)!r}; it has {', '.join(facts.sizes)}")
    return facts


def _check_number(place: object, facts: TextTask, split: str, found: int) -> None:
    official = facts.sizes[split]
    if found not in official:
        raise UserError(
            f"{place} has {counted(found, 'row')} of {facts.title}'s {split} split, the official copy has "
            f"{official[0]:,}; replace it by the original"
        )


def _read_glue(task: str, split: str, data_dir: Path) -> tuple[object, Rows]:
    layout, facts = LAYOUTS[task], TEXT_TASKS[task]
    path = _glue_file(task, split, data_dir)
    if path is None:
        return f"{HUB} on the hub", _read_hub(task, split, data_dir / "glue" / layout.folder)
    return path, _of_table(path, layout, facts)


def _glue_file(task: str, split: str, data_dir: Path) -> Path | None:
    """None where the whole folder is missing."""
    path = data_dir / "glue" / LAYOUTS[task].folder / LAYOUTS[task].files[split]
    if not path.parent.is_dir():
        return None
    if not path.is_file():
        raise UserError(f"{TEXT_TASKS[task].title} lacks {path}; get it from {GLUE_PAGE}")
    return path


def _of_table(path: Path, layout: Layout, facts: TextTask) -> Rows:
    lines = _lines(file_text(path))
    names = list(layout.columns) or lines.pop(0).split("\t")
    columns = [layout.first, *([layout.second] if layout.second else [])]
    places = [_place(path, names, column) for column in columns]
    target = _place(path, names, (layout.target,))
    texts: list[list[str]] = [[] for _ in places]
    targets = []
    for number, fields in _rows(path, lines, names, layout):
        for column, place in zip(texts, places, strict=True):
            column.append(fields[place].strip())
        if not any(column[-1] for column in texts):
            raise UserError(f"{path} has no text in line {number:,}; replace it by the original")
        targets.append(_target(f"{path}, line {number:,}", fields[target], facts))
    return Rows(texts[0], texts[1] if layout.second else None, _array(targets, facts))


def _lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _place(path: Path, names: list[str], wanted: tuple[str, ...]) -> int:
    for name in wanted:
        if name in names:
            return names.index(name)
    found = printable(", ".join(names))[:200]
    raise UserError(f"{path} has no column {' or '.join(wanted)} but {found}; replace it by the original")


def _rows(path: Path, lines: list[str], names: list[str], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Number of the line and its fields. Where texts are broken over two lines, those are put together."""
    before = 1 if layout.columns else 2
    place = 0
    while place < len(lines):
        number, line = place + before, lines[place]
        while layout.broken and line.count("\t") + 1 < len(names) and place + 1 < len(lines):
            place += 1
            line += f" {lines[place]}"
        fields = line.split("\t")
        if len(fields) != len(names):
            raise UserError(
                f"{path} is damaged: line {number:,} has {counted(len(fields), 'field')}, expected {len(names)} "
                f"({printable(', '.join(names))}); replace it by the original"
            )
        yield number, fields
        place += 1


def _target(where: str, label: str, facts: TextTask) -> float:
    """The class of a label, or the number that it is."""
    if label in facts.labels:
        return facts.labels.index(label)
    if facts.regression:
        with contextlib.suppress(ValueError):
            if 0 <= float(label) <= HIGHEST_SCORE:
                return float(label)
    allowed = f"a number from 0 to {HIGHEST_SCORE:g}" if facts.regression else f"one of {', '.join(facts.labels)}"
    raise UserError(f"{where} has the label {printable(label)!r}, expected {allowed}; replace the file by the original")


def _array(targets: Sequence[float], facts: TextTask) -> Array:
    return np.array(targets, np.float64 if facts.regression else np.int64)


def _read_hub(task: str, split: str, folder: Path) -> Rows:
    """The rows as `datasets` has them, whose classes are numbered as ours."""
    layout, facts = LAYOUTS[task], TEXT_TASKS[task]
    advice = _check_hub(task, folder)
    if split not in layout.hub:
        raise UserError(f"{facts.title} is not in {folder}, and {HUB} has no labels of {facts.test2}; {advice}")
    import datasets

    try:
        parts = [datasets.load_dataset(HUB, task, split=part) for part in layout.hub[split]]
    except Exception as error:  # it raises of many kinds, its own and those of four libraries below it
        why = printable(error)[:200]
        raise UserError(f"{facts.title} is not in {folder}, and loading {HUB} failed ({why}); {advice}") from error
    columns = [[str(text).strip() for part in parts for text in part[name]] for name in layout.hub_columns]
    labels = [label for part in parts for label in part["label"]]
    if not facts.regression and not set(labels) <= set(range(len(facts.labels))):
        raise UserError(f"{HUB} has labels of {facts.title} that are none of its classes; {advice}")
    return Rows(columns[0], columns[1] if facts.pair else None, _array(labels, facts))


def _check_hub(task: str, folder: Path) -> str:
    """What to do where the hub does not have a task either, of which there is no folder."""
    advice = f"get it from {GLUE_PAGE} and type {called.option('data_dir', '...')} for the folder that holds glue/"
    if importlib.util.find_spec("datasets") is None:
        title = TEXT_TASKS[task].title
        raise UserError(f"{title} is not in {folder}; {advice}, or pip install datasets, which downloads it")
    return advice


def _small_file(task: str, part: str, data_dir: Path) -> Path:
    places = [data_dir / "small" / name for name in SMALL_FILES[task][part]]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        advice = f"get it from {SMALL_PAGES[task]} and type {called.option('data_dir', '...')}"
        wanted = " or ".join(map(str, places))
        raise UserError(
            f"{TEXT_TASKS[task].title} is not there: no {wanted}; {advice} for the folder that holds small/"
        )
    return path


def _small_lines(task: str, part: str, data_dir: Path) -> tuple[Path, list[str]]:
    """The lines of a file, which as published is Latin-1, and in many copies UTF-8."""
    path = _small_file(task, part, data_dir)
    content = file_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in _lines(text)]
    if "" in lines:
        raise UserError(f"{path} has no text in line {lines.index('') + 1:,}; replace it by the original")
    return path, lines


def _read_trec(data_dir: Path, split: str) -> tuple[Path, Rows]:
    """Lines such as `NUM:dist How far is it?`, of which the coarse class is asked."""
    path, lines = _small_lines("trec", split, data_dir)
    questions, targets = [], []
    for number, line in enumerate(lines, start=1):
        label, _, question = line.partition(" ")
        if ":" not in label or not question.strip():
            raise UserError(f"{path} is damaged: line {number:,} is not like 'NUM:dist How far is it?'")
        targets.append(_target(f"{path}, line {number:,}", label.partition(":")[0], TEXT_TASKS["trec"]))
        questions.append(question.strip())
    return path, Rows(questions, None, _array(targets, TEXT_TASKS["trec"]))


def _read_mr(data_dir: Path, split: str) -> tuple[Path, Rows]:
    sentences: list[str] = []
    targets: list[int] = []
    for label in SMALL_FILES["mr"]:
        path, lines = _small_lines("mr", label, data_dir)
        sentences += lines
        targets += [int(label)] * len(lines)
    rows = Rows(sentences, None, _array(targets, TEXT_TASKS["mr"]))
    chosen = rows.least(int(MR_TEST_SHARE * len(rows)))
    return path.parent, rows.take(np.flatnonzero(chosen if split == TEST else ~chosen))
