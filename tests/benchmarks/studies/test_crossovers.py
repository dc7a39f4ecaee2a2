"""The table of crossovers: what noise makes of it, and that the committed one is what the published times say."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.studies import attempt
from benchmarks.studies.crossovers import measure as crossovers
from benchmarks.studies.crossovers.measure import table_of
from benchmarks.studies.crossovers.record import MethodTime
from mixers import create_mixer
from mixers.transforms import methods
from mixers.transforms.methods import TABLE

ROOT = Path(__file__).resolve().parents[3]


def _method_times(costs: dict[int, dict[str, float]]) -> list[MethodTime]:
    return [
        MethodTime("one_part", "fft_real_2d", tokens, method, ms / 3, 2 * ms / 3)
        for tokens, row in costs.items()
        for method, ms in row.items()
    ]


def test_a_change_lies_between_the_grids_and_noise_makes_none() -> None:
    costs = {
        16: {"dense": 1.0, "gemm": 3.0, "fft": 4.0},
        64: {"dense": 2.0, "gemm": 3.0, "fft": 4.0},
        256: {"gemm": 3.0, "fft": 4.0},
        576: {"gemm": 4.2, "fft": 4.0},  # no reason to change yet
        1024: {"gemm": 6.0, "fft": 4.0},
    }
    assert table_of(_method_times(costs)) == {"one_part": [[64, "dense"], [768, "gemm"], [None, "fft"]]}


def test_a_near_tie_where_a_method_ends_goes_to_what_wins_next() -> None:
    costs = {
        64: {"dense": 2.0, "gemm": 3.0, "fft": 4.0},
        144: {"gemm": 4.1, "fft": 4.0},
        256: {"gemm": 3.0, "fft": 4.0},
        1024: {"gemm": 6.0, "fft": 4.0},
    }
    assert table_of(_method_times(costs)) == {"one_part": [[64, "dense"], [512, "gemm"], [None, "fft"]]}


def test_the_committed_table_is_what_the_published_times_say() -> None:
    published = json.loads((ROOT / "results/published/crossovers-cpu/crossovers.json").read_text(encoding="utf-8"))
    times = [MethodTime(**values) for values in published["times"]]
    committed = json.loads(TABLE.read_text(encoding="utf-8"))
    assert table_of(times) == published["cpu"]["methods"] == committed["cpu"]["float32"]["methods"]
    assert published["cpu"]["measured_on"] == committed["cpu"]["float32"]["measured_on"]
    assert set(committed["cuda"]) == {"float32", "bfloat16"}
    assert committed["cuda"]["float32"]["measured_on"] is None  # and docs/gpu.md says so


def test_what_a_gpu_was_measured_with_is_in_the_committed_table() -> None:
    """Up to 4,096 tokens; beyond, and for the kinds that were not measured, it says what was there before."""
    path = ROOT / "results/published/h100/gpu-check/crossovers.json"
    published = json.loads(path.read_text(encoding="utf-8"))
    committed = json.loads(TABLE.read_text(encoding="utf-8"))["cuda"]["bfloat16"]
    assert table_of([MethodTime(**values) for values in published["times"]]) == published["cuda"]["bfloat16"]["methods"]
    assert published["cuda"]["bfloat16"]["measured_on"] == committed["measured_on"]
    for kind, rows in published["cuda"]["bfloat16"]["methods"].items():
        assert rows[:-1] == committed["methods"][kind][: len(rows) - 1], kind
        assert committed["methods"][kind][len(rows) - 1] == [16384, rows[-1][1]], kind


def test_what_runs_on_request_alone_is_in_no_row() -> None:
    times = [MethodTime("attention", "attention", 64, name, ms, ms) for name, ms in (("cudnn", 1.0), ("flash", 2.0))]
    assert table_of(times) == {"attention": [[None, "flash"]]}


def test_a_method_without_a_time_does_not_count() -> None:
    costs = {16: {"gemm": 3.0, "fft": 4.0}, 64: {"gemm": 9.0, "fft": 4.0}}
    failed = [MethodTime("one_part", "fft_real_2d", 64, "fused", 0.1, None, status="oom", reason="out of memory")]
    failed += [MethodTime("pairs", "fft_pairs", 64, "gemm", None, None, status="error", reason="wrong")]
    assert table_of([*_method_times(costs), *failed]) == {"one_part": [[32, "gemm"], [None, "fft"]]}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The verb on two small grids."""
    monkeypatch.setattr(crossovers, "SIDES", {"cpu": (4, 12)})
    monkeypatch.setattr(crossovers, "TURN_MS", 0.1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _verb(folder: Path, *arguments: str) -> int:
    return cli.main(["crossovers", "--device", "cpu", "--rounds", "1", "--results", str(folder), *arguments])


def _times(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "crossovers.json").read_text(encoding="utf-8"))["times"]


def test_the_verb_times_and_writes(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    both = dataclasses.replace(DEVICES["cpu"], precisions=("float32", "bfloat16"))
    monkeypatch.setitem(DEVICES, "cpu", both)
    assert _verb(tmp_path) == 0
    written = json.loads((tmp_path / "crossovers.json").read_text(encoding="utf-8"))
    for precision in ("float32", "bfloat16"):
        table = written["cpu"][precision]
        assert table["measured_on"]["precision"] == precision
        assert set(table["methods"]) == set(crossovers.STANDS_FOR)
    assert {timed["method"] for timed in written["times"] if timed["kind"] == "both_parts"} >= {"dense", "gemm", "fft"}
    assert all(timed["forward_ms"] > 0 and timed["status"] == "ok" for timed in written["times"])
    text = (tmp_path / "crossovers.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == 2 * len(crossovers.STANDS_FOR) and "**" in text
    # what is written takes the place of the table as it is
    monkeypatch.setitem(methods.CROSSOVERS, "cpu", written["cpu"])
    (last,) = written["cpu"]["bfloat16"]["methods"]["separable"][-1:]
    assert create_mixer("dct", 8, (64, 64)).method_on("cpu", torch.bfloat16) == last[1]


def test_an_option_that_it_cannot_use_is_answered_in_one_line(quick: None, tmp_path: Path, capsys) -> None:
    for arguments, says in {
        ("--mixer", "dct"): "no use for --mixer",
        ("--precision", "float8"): "float8",
        ("--threads", "0"): "allowed: 1 to",
        ("--rounds", "0"): "allowed: 1 to",
    }.items():
        assert _verb(tmp_path, *arguments) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert says in line


def _raising(monkeypatch: pytest.MonkeyPatch, method: str, error: BaseException, side: int, mode: str = "") -> None:
    """One method raises at one grid, in one mode or in both."""
    original = crossovers.timed_call

    def timed_call(mixer, inputs, name):
        call = original(mixer, inputs, name)

        def raising():
            if getattr(mixer, "method", "") == method and mixer.size == (side, side) and mode in ("", name):
                raise error
            return call()

        return raising

    monkeypatch.setattr(crossovers, "timed_call", timed_call)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 300 GiB"), "oom", 0),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom", 0),
        (RuntimeError("No available kernel. Aborting execution."), "unsupported", 0),
        (RuntimeError("CUDA error: an illegal memory access"), "error", 1),
    ],
    ids=str,
)
def test_what_fails_is_a_row_and_all_others_are_there(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error, status: str, code: int
) -> None:
    _raising(monkeypatch, "fft", error, 4, "forward_backward")
    monkeypatch.setattr(
        crossovers, "STANDS_FOR", {name: crossovers.STANDS_FOR[name] for name in ("pairs", "separable")}
    )
    assert _verb(tmp_path) == code
    rows = _times(tmp_path)
    (failed,) = [row for row in rows if row["status"] != "ok"]
    assert (failed["method"], failed["tokens"], failed["status"]) == ("fft", 16, status)
    assert str(error) in failed["reason"] and failed["forward_ms"] > 0 and failed["forward_backward_ms"] is None
    assert {(row["kind"], row["tokens"], row["method"]) for row in rows if row["status"] == "ok"} == {
        *(("pairs", 16, method) for method in ("dense", "gemm")),
        *(("pairs", 144, method) for method in ("gemm", "fft")),
        *(("separable", 16, method) for method in ("dense", "gemm")),
        ("separable", 144, "gemm"),
    }
    assert f"{status}: " in (tmp_path / "crossovers.md").read_text(encoding="utf-8")


def test_a_wrong_output_is_not_timed(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossovers, "STANDS_FOR", {"separable": "dct"})
    monkeypatch.setattr("mixers.transforms.planes.by_products", lambda x, left, right: 2 * x)
    assert _verb(tmp_path) == 1
    rows = {(row["tokens"], row["method"]): row for row in _times(tmp_path)}
    assert rows[16, "dense"]["status"] == "ok"
    for tokens in (16, 144):
        assert (
            rows[tokens, "gemm"]["status"] == "error"
            and "differs from its definition" in rows[tokens, "gemm"]["reason"]
        )
        assert rows[tokens, "gemm"]["forward_ms"] is None


def test_what_a_cpu_has_no_memory_for_is_not_begun(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "free_bytes", lambda device: 96 * 2**20)
    times, _ = crossovers.measure_crossovers("cpu", 1, "float32", 1, sides=(16,), kinds=("attention",))
    assert {timed.method: timed.status for timed in times} == {"torch": "ok", "plain": "oom"}
    assert "may be taken" in next(timed.reason for timed in times if timed.method == "plain")


def test_an_interrupted_run_leaves_the_rows_so_far(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raising(monkeypatch, "fft", KeyboardInterrupt(), 12)
    assert _verb(tmp_path) == 130
    rows = _times(tmp_path)
    assert {row["kind"] for row in rows} == {"separable", "learned_separable", "one_part"}
    assert {row["tokens"] for row in rows if row["kind"] == "one_part"} == {16}


def test_a_deadline_lists_what_it_left(quick: None) -> None:
    told: list[MethodTime] = []
    times, left = crossovers.measure_crossovers(
        "cpu", 1, "float32", 1, sides=(4,), kinds=("separable", "pairs"), on_time=told.append
    )
    assert times == told and {timed.kind for timed in times} == {"separable", "pairs"} and left == []
    times, left = crossovers.measure_crossovers(
        "cpu", 1, "bfloat16", 1, sides=(4,), kinds=("separable", "pairs"), until=time.monotonic()
    )
    assert times == [] and left == ["separable, 4 x 4, bfloat16", "pairs, 4 x 4, bfloat16"]
