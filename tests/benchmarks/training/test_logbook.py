"""`--log`: curves elsewhere, and no measurement that depends on them."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from pathlib import Path

import pytest

from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import load_records
from benchmarks.contract.trial import Trial
from benchmarks.sweep import run
from benchmarks.training import logbook
from benchmarks.training.logbook import Logbook

TRIAL = Trial(
    kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1, epochs=2
)  # fmt: skip
TRAIN = ["train", "--mixer", "dct", "--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8"]
TRAIN += ["--depth", "1", "--epochs", "2", "--train-images", "200", "--results"]
ROWS = [{"epoch": e, "train_loss": 3.0 / e, "val_top1_percent": 10.0 * e, "seconds": 1.0} for e in (1, 2)]


class Kept:
    """A book in memory."""

    books: list[Kept] = []

    def __init__(self, folder: Path, trial: Trial) -> None:
        self.trial, self.written, self.closed = trial, [], False
        self.books.append(self)

    def write(self, numbers, epoch):
        self.written.append((epoch, numbers))

    def close(self):
        self.closed = True


class Broken(Kept):
    def write(self, numbers, epoch):
        raise OSError("the server\nis gone")


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(Kept, "books", [])
    monkeypatch.setitem(logbook.OPENERS, "tensorboard", Kept)
    monkeypatch.setitem(logbook.OPENERS, "wandb", Broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return Kept.books


def test_every_trial_has_a_book_with_its_epochs_and_its_end(kept, tmp_path):
    book = Logbook(["tensorboard"], tmp_path)
    other = dataclasses.replace(TRIAL, seed=1)
    for trial in (TRIAL, other):
        for row in ROWS:
            book.epoch(trial, row)
    book.finish(TRIAL, {"test_top1_percent": 20.0, "overhead_percent": None, "method": "none"})
    assert [(b.trial, b.closed) for b in kept] == [(TRIAL, True), (other, False)]
    assert [epoch for epoch, _ in kept[0].written] == [1, 2, None]
    assert kept[0].written[0][1] == {"train_loss": 3.0, "val_top1_percent": 10.0, "seconds": 1.0}
    assert kept[0].written[-1][1] == {"test_top1_percent": 20.0}


def test_a_run_writes_what_its_record_has_and_a_broken_book_stops_alone(kept, tmp_path, capsys, monkeypatch):
    # the books are looked into, so the run stays in this process
    monkeypatch.setattr(run.OwnProcess, "call", lambda self, function, *arguments, **how: function(*arguments))
    assert cli.main([*TRAIN, str(tmp_path), "--log", "tensorboard,wandb"]) == 0
    assert capsys.readouterr().out.count("--log wandb stops here: OSError: the server is gone") == 1
    (record,) = load_records(tmp_path)
    (book,) = [b for b in kept if type(b) is Kept]
    assert record.status == "ok" and book.closed
    assert [numbers | {"epoch": epoch} for epoch, numbers in book.written[:-1]] == record.history
    assert book.written[-1][1] == {k: v for k, v in record.metrics.items() if isinstance(v, int | float)}


def test_an_unknown_book_or_a_missing_package_is_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=r"allowed: tensorboard, wandb\. Did you mean 'tensorboard'"):
        Logbook(["tensorbord"], tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for kind in logbook.KINDS:
        assert cli.main([*TRAIN, str(tmp_path / "r"), "--log", kind]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"--log {kind} needs" in said and "token-mixers[log]" in said
    assert not (tmp_path / "r" / "records").exists()


def test_tensorboard_reads_what_was_written(tmp_path, caplog):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    book = Logbook(["tensorboard"], tmp_path)
    with caplog.at_level(logging.WARNING):
        for row in ROWS:
            book.epoch(TRIAL, row)
        book.finish(TRIAL, {"test_top1_percent": 20.0})
    assert "stops here" not in caplog.text
    events = EventAccumulator(str(tmp_path / "logs" / "tensorboard" / f"accuracy-{TRIAL.id()}")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("val_top1_percent")] == [(1, 10.0), (2, 20.0)]
    assert [e.value for e in events.Scalars("final/test_top1_percent")] == [20.0]


@pytest.mark.slow
def test_wandb_works_offline_and_asks_nobody(tmp_path, monkeypatch, caplog):
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    book = Logbook(["wandb"], tmp_path)
    with caplog.at_level(logging.WARNING):
        for row in ROWS:
            book.epoch(TRIAL, row)
        book.finish(TRIAL, {"test_top1_percent": 20.0})
    assert "stops here" not in caplog.text
    (run,) = (tmp_path / "logs" / "wandb").glob("offline-run-*")
    (file,) = run.glob("*.wandb")
    assert b"val_top1_percent" in file.read_bytes() and b"test_top1_percent" in file.read_bytes()
