"""CONFIG=my.toml: the same words as the flags, and the file that a run leaves, from which it can be run again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli import flags, measuring, verbs_sweeps
from benchmarks.cli import main as cli
from benchmarks.cli.config import FILE, arguments_of, toml_value, write_config
from benchmarks.contract.errors import UserError
from benchmarks.sweep.run import Runner

QUICK = ["--profile", "quick", "--device", "cpu"]


@pytest.fixture
def planned(monkeypatch):
    """The trials that each command would measure; nothing is measured."""
    found: list = []
    monkeypatch.setattr(Runner, "run", lambda self, trials: found.append(trials) or [])
    for place, name in ((measuring, "say_outcome"), (measuring, "say_ranking"), (verbs_sweeps, "say_outcome")):
        monkeypatch.setattr(place, name, lambda *arguments: 0)
    monkeypatch.setattr(verbs_sweeps, "say_where", lambda *arguments: 0)
    monkeypatch.setattr("benchmarks.report.build.write_report", lambda *_: [])
    return found


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def read(path: Path, verb: str = "train"):
    return flags.read(verb, arguments_of(path, verb))


def test_the_words_are_those_of_the_flags(tmp_path):
    text = """
        mixer = ["dct", "attention(heads=4,backend=plain)"]
        seed = "0-2,5"
        dim = [64, 128]
        lr = [1e-3, 3e-3]
        batch-size = 32
        image_size = ["16x32", 16]
        coordinates = false
        design = false
        rounds = 5
        budget = "9m"
    """
    found = read(Path(write(tmp_path / "my.toml", text)))
    assert found.mixer == "dct,attention(heads=4,backend=plain)" and found.seed == (0, 1, 2, 5)
    assert (found.dim, found.lr, found.batch_size) == ((64, 128), (1e-3, 3e-3), 32)
    assert found.image_size == ("16x32", 16) and found.budget == 540.0
    assert (found.coordinates, found.design, found.rounds) == (False, False, None)
    assert read(Path(write(tmp_path / "b.toml", 'mixer = "dct,attention"'))).mixer == "dct,attention"


@pytest.mark.parametrize(
    "twice", ["image-size = 16\nimage_size = 32", "weight_decay = 0.1\ndim = 8\nweight-decay = 0.1"]
)
def test_an_option_spelled_in_two_ways_is_refused_with_both(tmp_path, twice):
    first, *_, last = (line.partition(" ")[0] for line in twice.splitlines())
    with pytest.raises(UserError, match=f"has both '{first}' and '{last}', which are one option"):
        read(Path(write(tmp_path / "my.toml", twice)))


def test_the_file_of_a_run_says_how_to_run_it_again(tmp_path, monkeypatch):
    (tmp_path / "my results").mkdir()
    (tmp_path / "other").mkdir()
    for here, words in (
        (tmp_path, "CONFIG='my results/config.toml' RESULTS='my results'"),
        (tmp_path / "my results", "CONFIG=config.toml RESULTS=."),
        (tmp_path / "other", "CONFIG='my results/config.toml' RESULTS='my results'"),
    ):
        monkeypatch.chdir(here)
        first = write_config(tmp_path / "my results", "cost", {"dim": 8}).read_text(encoding="utf-8").splitlines()[0]
        assert first.endswith(f"again: make cost {words}")


def test_one_file_serves_the_verbs_that_plan_trials_and_no_other(tmp_path, capsys):
    path = Path(write(tmp_path / "my.toml", "dim = 8\nrounds = 5\nlr = 1e-3\nworkers = 2\nseed = 1"))
    assert [read(path, verb).rounds for verb in ("bench-all", "train", "latency", "cost")] == [5, None, 5, None]
    assert [read(path, verb).lr for verb in ("train", "latency")] == [1e-3, None]
    assert [read(path, verb).workers for verb in ("train", "cost")] == [2, None]
    for verb, says in (("report", "report has no use for --dim"), ("atlas", "atlas has no use for --workers")):
        with pytest.raises(UserError, match=says):
            read(path, verb)
    for word in ("padded_length = 64", 'pretrained = "0123456789abcdef"'):
        with pytest.raises(UserError, match=f"text has no use for --{word.partition(' ')[0].replace('_', '-')}"):
            read(Path(write(tmp_path / "text.toml", word)), "text")
    for word in ("complex = true", 'search = "nets"', "sittings = 3"):
        with pytest.raises(UserError, match=f"train has no use for --{word.partition(' ')[0]}"):
            read(Path(write(tmp_path / "other.toml", word)))


def test_a_size_is_written_as_the_number_that_it_is(tmp_path, planned):
    command = ["train", "--mixer", "dct", *QUICK, "--results", str(tmp_path)]
    assert cli.main([*command, "--image-size", "32,16x32"]) == 0
    first = (tmp_path / FILE).read_text(encoding="utf-8")
    assert tomllib.loads(first)["image_size"] == [32, "16x32"]
    assert cli.main(["train", "--config", str(tmp_path / FILE), "--results", str(tmp_path)]) == 0
    assert (tmp_path / FILE).read_text(encoding="utf-8") == first


def test_what_is_typed_wins(tmp_path, planned):
    path = write(tmp_path / "my.toml", 'mixer = "dct"\ndim = 8\ndepth = 1\ncoordinates = false')
    command = ["train", "--results", str(tmp_path), *QUICK, "--config", path]
    assert cli.main([*command, "--dim", "16"]) == cli.main([*command, "--coordinates"]) == 0
    assert [(t.dim, t.depth, t.coordinates) for trials in planned for t in trials] == [(16, 1, False), (8, 1, True)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dims = 64", "has 'dims', which is no option. Did you mean 'dim'?"),
        ("config = 'other.toml'", "has 'config', which is no option"),
        ("verb = 'train'", "has 'verb', which is no option"),
        ("dim = 64\ndepth = = 2", "is no TOML: Invalid value (at line 2, column 9)"),
        ("dim = 64\ndim = 32", "is no TOML: Cannot overwrite a value (at"),
        ("dim = {a = 1}", "my.toml: dim is {'a': 1}; allowed: a number, a word"),
        ("[dim]\na = 1", "my.toml: dim is {'a': 1}; allowed: a number, a word"),
        ("dim = [[1]]", "my.toml: dim is [[1]]; allowed: a number, a word"),
        ("dim = true", "my.toml: dim is True; allowed: a number, a word"),
        ("coordinates = 3", "my.toml: coordinates is 3; allowed: true, false"),
        ("dim = []", "the list is empty"),
        ("dim = 64.5", "'64.5' is not a whole number"),
        ("seed = '0-10000000'", "allowed: at most 10,000"),
        ("norm = 'tokn'", "Did you mean 'token'?"),
    ],
)
def test_a_mistake_in_the_file_is_told_in_one_line(capsys, tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--mixer", "dct", "--config", write(tmp_path / "my.toml", text)]) == 2
    told = capsys.readouterr().err.strip()
    assert says in told and "\n" not in told


def test_a_file_that_is_not_there_or_no_text_is_told(capsys, tmp_path):
    assert cli.main(["train", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: No such file" in capsys.readouterr().err
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    assert cli.main(["train", "--config", str(tmp_path / "bytes.toml")]) == 2
    assert "bytes.toml is no TOML" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "train --mixer dct,conv* --seed 0-1 --dim 8,16 --clip-norm 0.5",
        "train --mixer dct --image-size 16x32 --no-coordinates --lr 1e-6",
        "train --mixer dct --match params --norm token --schedule constant",
        "bench-all --rounds 1 --seed 3",
        "cost --patch-size 2,4 --dataset constellations",
        "latency --mixer attention(heads=4),dct --image-size 16,32",
        "tune --mixer dct --lr 1e-3,3e-3 --weight-decay 0.1",
    ],
)
def test_a_run_leaves_a_file_from_which_the_same_trials_are_planned(tmp_path, planned, command):
    verb, *words = command.split()
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli.main([verb, *words, *QUICK, "--results", str(first)]) == 0
    once = list(planned)
    planned.clear()
    assert cli.main([verb, "--config", str(first / FILE), "--results", str(second)]) == 0
    assert once and [[t.id("here") for t in trials] for trials in planned] == [
        [t.id("here") for t in trials] for trials in once
    ]
    text = (first / FILE).read_text(encoding="utf-8")
    assert str(tmp_path) not in text and "data_dir" not in text
    assert text.splitlines()[1:] == (second / FILE).read_text(encoding="utf-8").splitlines()[1:]


@given(st.text() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_every_value_is_read_as_it_was_written(value):
    try:
        str(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no file holds
        return
    assert tomllib.loads(f"x = {toml_value(value)}\ny = {toml_value([value, value])}") == {"x": value, "y": [value] * 2}
