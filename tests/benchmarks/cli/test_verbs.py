"""Which options a verb takes: by its row, in its help, in what it refuses, and in every command that is published."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.cli import flags
from benchmarks.cli import main as cli
from benchmarks.cli.verbs import VERBS
from benchmarks.contract.trial import FACTS, FLAGGED

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = [ROOT / "README.md", ROOT / "Makefile", *ROOT.glob("docs/*.md"), *ROOT.glob("results/**/claims.md")]
COMMAND = re.compile(rf"make ({'|'.join(VERBS)})((?: [A-Z_]+=(?:'[^']*'|\"[^\"]*\"|[^ `|)]*))+)")


@pytest.mark.parametrize("verb", VERBS)
def test_a_row_names_a_function_and_options_each_once(verb):
    row = VERBS[verb]
    assert callable(row.function())
    assert len(row.takes) == len(set(row.takes)) and {*row.takes, *row.leaves} <= {*flags.OPTIONS}


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_what_a_verb_takes_and_nothing_else_is_read(capsys, verb):
    named = {"config", *VERBS[verb].takes} - {"folder"}
    for words in (["help", verb], [verb, "--help"], [verb, "--dim", "8", "-h"]):
        assert cli.main(words) == 0
        said = capsys.readouterr().out
        shown = re.findall(r"^  (--[a-z0-9-]+)", said, re.MULTILINE)
        assert sorted(shown) == sorted(flags.spelled(name)[0] for name in named)
        assert all(f"\n{flags.OPTIONS[name].title}:\n" in said for name in named)
    others = [name for name in flags.OPTIONS if name not in named and name != "folder"]
    words = [flags.spelled(name)[0] + ("" if flags.OPTIONS[name].is_switch else "=1") for name in others]
    assert flags.parser_of(verb).parse_known_args(words)[1] == words


def test_help_names_every_verb_in_a_line_and_no_option(capsys):
    assert cli.main(["help"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {verb:11} {row.text}\n" in said for verb, row in VERBS.items())
    assert "help VERB" in said and "--rounds" not in said


def test_the_fields_of_a_verb_are_those_that_bear_on_what_it_measures():
    takes = {verb: {name for name in FLAGGED if name in row.takes} for verb, row in VERBS.items()}
    tuned = {name for name, facts in FACTS.items() if facts.tuned}
    assert takes["bench-all"] == {*FLAGGED}
    assert takes["train"] == takes["tune"] == takes["atlas"] == {*FLAGGED} - {"rounds"}
    assert takes["latency"] == {*FLAGGED} - {"seed", *tuned}
    assert takes["cost"] == takes["latency"] - {"rounds"}
    assert takes["text"] == takes["train"] - {"image_size", "patch_size", "padded_length", "pretrained"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["train", "--mixer", "dct", "--rounds", "4"],
            "train has no use for --rounds, which is for bench-all, latency, crossovers, profile, bench-peers; "
            "what train takes: python -m benchmarks train --help",
        ),
        (["cost", "--workers=2"], "cost has no use for --workers, which is for bench-all, train, tune, text, "),
        (["train", "--round", "4"], "unknown option '--round'. Did you mean '--rounds'?"),
        (["validate", "there", "--dim", "8"], "validate has no use for --dim"),
        (["help", "trian"], "there is no verb 'trian'. Did you mean 'train'?"),
        (["trian", "--help"], "there is no verb 'trian'. Did you mean 'train'?"),
        (["speed", "--threads", "0"], "--threads is 0; allowed: 1 to 1024"),
        (["crossovers", "--precision", "float64"], "--precision is 'float64'; allowed: float32, bfloat16"),
    ],
)
def test_a_word_of_another_verb_is_refused_with_the_verbs_that_take_it(capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line and not list(tmp_path.iterdir())


def test_every_command_that_is_published_is_taken():
    found = 0
    for path in PUBLISHED:
        for verb, words in COMMAND.findall(path.read_text(encoding="utf-8")):
            names = {name.lower() for name in re.findall(r" ([A-Z_]+)=", words)}
            assert names <= {*VERBS[verb].takes, "config", "args", "python"}, (path.name, verb, words)
            found += 1
    assert found > 40
