"""Public implementations beside ours: the same function where a pair says so, and no ratio where one is not."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import time

import pytest
import torch
from torch import nn

from benchmarks.cli import main as cli
from benchmarks.machine.environment import PACKAGES
from benchmarks.studies.comparison import compare
from benchmarks.studies.peers import measure as peers_run
from benchmarks.studies.peers.measure import compare_with_peers
from benchmarks.studies.peers.modules import Plain
from benchmarks.studies.peers.pairs import LAYOUTS, PAIRS, Pair, Unfit
from benchmarks.studies.peers.report import people
from benchmarks.timing.turns import interleaved
from mixers import UnsupportedSize, create_mixer, list_mixers

SETTINGS = [(40, (5, 7)), (16, (9, 9)), (8, (1, 3)), (16, (8, 4)), (24, (1, 1)), (8, (16, 16))]
BROKEN = Pair("pool", "a broken pool", "torch", lambda ours: Plain(lambda x: 2 * ours(x)))
HONEST = Pair("pool", "the same pool", "torch", lambda ours: Plain(ours.forward))
RAISING = Pair("pool", "a raising pool", "torch", lambda ours: Plain(lambda x: x.no_such_method()))
ABSENT = Pair("pool", "a pool elsewhere", "no-such-package-of-pools", lambda ours: nn.Identity())


def label(pair: Pair) -> str:
    return f"{pair.mixer}-{pair.package}-{pair.peer}".replace(" ", "_")


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def small(monkeypatch):
    """The run on little, so that it takes a moment."""
    for name, value in {"ELEMENTS": 2**14, "POOL_BYTES": 2**18, "TURN_MS": 0.0, "DIM": 16}.items():
        monkeypatch.setattr(peers_run, name, value)


@pytest.mark.parametrize("pair", PAIRS, ids=label)
def test_a_peer_computes_what_its_pair_says(pair, float64):
    if pair.missing():
        pytest.skip(f"{pair.package} {pair.missing()}; pip install 'token-mixers[peers]'")
    held = 0
    for dim, size in SETTINGS:
        torch.manual_seed(dim)
        try:
            ours = peers_run.stirred(create_mixer(pair.mixer, dim, size))
            theirs = peers_run.built(pair, ours)
        except (Unfit, UnsupportedSize):
            continue
        errors = peers_run.checked(pair, ours, theirs, 3, tolerances=(1e-10, 1e-8))
        assert (errors is not None) == pair.same_function
        held += 1
    assert held >= 2


def test_the_stirred_weights_show_in_every_mixer_that_has_some():
    x = torch.randn(2, 16, 4, 4)
    for name in sorted({pair.mixer for pair in PAIRS}):
        ours = create_mixer(name, 16, (4, 4))
        before = ours(x)
        if list(ours.parameters()):
            change = torch.linalg.vector_norm(peers_run.stirred(ours)(x) - before) / torch.linalg.vector_norm(before)
            assert change > 0.01, name


def test_fnets_layer_is_ours_on_one_row_but_for_the_scale(float64):
    (pair,) = [pair for pair in PAIRS if pair.package == "transformers"]
    if pair.missing():
        pytest.skip(f"transformers {pair.missing()}")
    ours = create_mixer("fft_real", 24, (1, 7))
    x = torch.randn(2, 24, 1, 7)
    theirs = pair.to_image(pair.build(ours)(pair.from_image(x)), (1, 7))
    torch.testing.assert_close(theirs, ours(x) * math.sqrt(24 * 7))
    assert pair.differs


def test_pairs_are_data_that_hold_together():
    assert len({label(pair) for pair in PAIRS}) == len(PAIRS)
    for pair in PAIRS:
        assert pair.mixer in list_mixers() and pair.layout in LAYOUTS
        x = torch.randn(2, 8, 3, 5)
        torch.testing.assert_close(pair.to_image(pair.from_image(x), (3, 5)), x)


@pytest.mark.parametrize(("pair", "says"), [(BROKEN, "outputs differ by 1"), (RAISING, "AttributeError")])
def test_a_pair_whose_check_is_red_is_not_timed_and_the_others_are(pair, says, small, monkeypatch):
    timed = []
    original = peers_run.timed_call
    monkeypatch.setattr(peers_run, "timed_call", lambda m, *a: timed.append(m) or original(m, *a))
    outcome = compare_with_peers("pool", [(4, 4)], 1, 1, pairs=[pair, HONEST])
    failed, *rows = outcome.rows
    assert (failed.status, failed.mode) == ("error", None) and says in failed.reason
    assert [row.beside for row in rows] == [HONEST.peer] * 2 and len(timed) == 4


def test_a_gradient_of_its_own_turns_the_check_red(small):
    class Detached(nn.Module):
        def forward(self, x):
            mean = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            return mean - x.detach() + 0 * x

    pair = Pair("pool", "a pool without half its gradient", "torch", lambda ours: Detached())
    (failed,) = compare_with_peers("pool", [(4, 4)], 1, 1, pairs=[pair]).rows
    assert failed.status == "error" and "input gradients differ" in failed.reason


class Greedy(nn.Module):
    """A pool that runs out of memory in its backward, on more than the two images of the check."""

    def __init__(self, ours):
        super().__init__()
        self.ours = ours

    def forward(self, x):
        if len(x) > 2 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 75 GiB")
        return self.ours(x)


GREEDY = Pair("pool", "a greedy pool", "torch", Greedy)


def test_memory_that_ends_is_a_row_and_all_others_are_in_the_files(small, tmp_path, monkeypatch, capsys):
    defaults = list(compare_with_peers.__defaults__)
    defaults[4] = (HONEST, GREEDY, dataclasses.replace(HONEST, peer="another pool"))
    monkeypatch.setattr(compare_with_peers, "__defaults__", tuple(defaults))
    arguments = ["bench-peers", "--image-size", "4", "--rounds", "1", "--results", str(tmp_path)]
    assert cli.main(arguments) == 0
    rows = json.loads((tmp_path / "peers.json").read_text())["comparisons"]
    failed = {("a greedy pool", "forward_backward"): "oom"}
    assert {(row["beside"], row["mode"]): row["status"] for row in rows} == {
        (peer, mode): failed.get((peer, mode), "ok")
        for peer in (HONEST.peer, "a greedy pool", "another pool")
        for mode in peers_run.MODES
    }
    with (tmp_path / "peers.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == [row["status"] for row in rows]
    assert "oom: theirs: CUDA out of memory" in (tmp_path / "peers.md").read_text()
    assert "rows without a time: 1 oom" in capsys.readouterr().out


def test_a_pair_without_a_like_at_this_size_or_without_memory_is_a_row(small, monkeypatch):
    def unfit(ours):
        raise Unfit("square grids only")

    outcome = compare_with_peers("pool", [(4, 6)], 1, 1, pairs=[dataclasses.replace(HONEST, build=unfit)])
    assert [(row.status, row.reason) for row in outcome.rows] == [("unsupported", "square grids only")]
    monkeypatch.setattr(peers_run, "free_bytes", lambda device: 1000)
    outcome = compare_with_peers("pool", [(4, 6)], 1, 1, pairs=[HONEST])
    assert [row.status for row in outcome.rows] == ["oom"] and "may be taken" in outcome.rows[0].reason


def test_an_interrupted_run_leaves_the_rows_so_far(small, tmp_path):
    def interrupted(ours):
        raise KeyboardInterrupt

    pairs = [HONEST, dataclasses.replace(HONEST, peer="an interrupted pool", build=interrupted)]
    with pytest.raises(KeyboardInterrupt):
        compare_with_peers("pool", [(4, 4)], 1, 1, pairs, lambda record: record.save(tmp_path))
    rows = json.loads((tmp_path / "peers.json").read_text())["comparisons"]
    assert [(row["beside"], row["mode"]) for row in rows] == [(HONEST.peer, mode) for mode in peers_run.MODES]
    assert all(row["ratio"] > 0 for row in rows)


def test_a_deadline_lists_what_it_left(small):
    outcome = compare_with_peers("pool", [(4, 4)], 1, 1, pairs=[HONEST], until=time.monotonic())
    assert outcome.rows == []
    assert outcome.left_out == ["pool beside torch the same pool at 4 px left for want of time"]


def test_a_different_function_is_timed_and_named_so(small, tmp_path):
    pair = dataclasses.replace(BROKEN, differs="twice ours")
    outcome = compare_with_peers("pool", [(4, 6)], 2, 1, pairs=[pair, ABSENT])
    assert [row.mode for row in outcome.comparisons] == ["forward", "forward_backward"]
    for row in outcome.comparisons:
        assert not row.same_function and row.output_error is None and row.note == "not the same function: twice ours"
        assert 0 < row.ratio_low <= row.ratio <= row.ratio_high and row.rounds == 2 and row.image_size == "4x6"
    (line,) = outcome.left_out
    assert "no-such-package-of-pools is not installed" in line and "token-mixers[peers]" in line
    assert "| no: twice ours |" in people(outcome)


def test_threads_are_put_back(small):
    before = torch.get_num_threads()
    compare_with_peers("pool", [(4, 4)], 1, before + 1, pairs=[HONEST])
    assert torch.get_num_threads() == before


def test_what_would_not_fit_or_end_is_left_out_with_a_prediction(small):
    outcome = compare_with_peers("pool,gmlp", [(4, 4)], 1, 1, pairs=[HONEST])
    assert outcome.left_out == ["no public peer: gmlp"]
    with pytest.raises(MemoryError, match="GiB"):
        peers_run.too_much("gmlp", (1024, 1024), 1, 11)
    assert "about" in peers_run.too_much("attention", (512, 512), 1, 11)
    assert peers_run.too_much("attention", (64, 64), 4, peers_run.ROUNDS) == ""


def test_files_hold_what_was_compared(small, tmp_path, capsys):
    arguments = ["bench-peers", "--mixer", "dct,pool,fft_magphase,linear", "--image-size", "8", "--rounds", "1"]
    assert cli.main([*arguments, "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "pool / timm Pooling" in said and "no public peer: linear" in said
    content = json.loads((tmp_path / "peers.json").read_text())
    assert set(content) == {"environment", "code", "ended", "comparisons", "left_out"}
    environment = content["environment"]
    assert environment["threads"] == 1 and set(PACKAGES) - {"scipy"} <= set(environment["packages"])
    rows = content["comparisons"]
    assert {"pool", "fft_magphase"} <= {row["what"] for row in rows} <= {"dct", "pool", "fft_magphase"}
    assert all(row["output_error"] < 1e-5 and row["gradient_error"] < 1e-3 for row in rows if row["same_function"])
    with (tmp_path / "peers.csv").open() as file:
        assert [row["ratio"] for row in csv.DictReader(file)] == [str(row["ratio"]) for row in rows]
    page = (tmp_path / "peers.md").read_text()
    assert page.count("| forward |") == page.count("| forward + backward |") == len(rows) / 2


def test_a_red_check_is_a_row_and_the_verb_says_so(small, tmp_path, capsys, monkeypatch):
    defaults = list(compare_with_peers.__defaults__)
    defaults[4] = (BROKEN,)
    monkeypatch.setattr(compare_with_peers, "__defaults__", tuple(defaults))
    arguments = ["bench-peers", "--image-size", "4", "--rounds", "1", "--results", str(tmp_path)]
    assert cli.main(arguments) == 1
    said = capsys.readouterr()
    assert "not timed" in said.out and "Traceback" not in said.out + said.err
    (row,) = json.loads((tmp_path / "peers.json").read_text())["comparisons"]
    assert row["status"] == "error" and "outputs differ" in row["reason"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--mixer dctt", "Did you mean 'dct'?"),
        ("--mixer attention(head=2)", "Did you mean 'heads'?"),
        ("--mixer 6xfft_real+2xattention", "not one mixer"),
        ("--mixer conv1x1", "no public peer: conv1x1"),
        ("--image-size 0", "allowed: 1 to"),
        ("--rounds 0", "allowed: 1 to"),
        ("--threads 0", "allowed: 1 to"),
        ("--dim 32", "bench-peers has no use for --dim"),
        ("--no-coordinates", "no use for --no-coordinates"),
        ("--results file/x", "file"),
    ],
)
def test_bench_peers_answers_a_mistake_in_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    assert cli.main(["bench-peers", *arguments.split()]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line and "Traceback" not in line


def test_calls_take_turns_in_the_order_asked_for():
    turns: list[str] = []
    calls = {name: lambda name=name: turns.append(name) for name in "abc"}
    times = interleaved(calls, 2, order=lambda names, number: names[::-1] if number == 2 else names)
    assert "".join(turns) == "abc" + "abc" + "cba"  # first calls, then the rounds
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2, "c": 2}


def test_shuffled_rounds_keep_the_two_sides_together():
    keys = [(mode, side) for mode in peers_run.MODES for side in (True, False)]
    rounds = [peers_run.shuffled(keys, number) for number in range(1, 65)]
    assert len({tuple(order) for order in rounds}) == 2 * 2 * 2  # modes, and the sides of each
    for order in rounds:
        assert sorted(order) == sorted(keys)
        assert all(a[0] == b[0] and a[1] != b[1] for a, b in zip(order[::2], order[1::2], strict=True))
    assert sorted(peers_run.shuffled(keys[1:], 1)) == sorted(keys[1:])  # where one has failed


def test_a_ratio_is_taken_round_by_round():
    comparison = compare("ours", "theirs", "", [1.0, 4.0, 12.0], [1.0, 2.0, 3.0], "ms")
    assert (comparison.ours, comparison.theirs, comparison.rounds) == (4.0, 2.0, 3)
    # logarithms 0, 1 and 2 of 2: standard error 1 / sqrt 3, t(0.975, 2) = 4.3027
    ends = [2 ** (1 + sign * 4.302653 / math.sqrt(3)) for sign in (0, -1, 1)]
    assert [comparison.ratio, comparison.ratio_low, comparison.ratio_high] == pytest.approx(ends, rel=1e-6)
    assert comparison.ratio_words == "2.000 (0.357 to 11.190)"
    once = compare("ours", "theirs", "", [1.0], [2.0], "ms")
    assert (once.ratio_words, once.ratio_low) == ("0.500", None)
    with pytest.raises(ValueError, match="no round"):
        compare("ours", "theirs", "", [], [], "ms")
