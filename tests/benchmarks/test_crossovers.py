"""The table of crossovers: what noise makes of it, and that the committed one is what the published times say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import cli
from benchmarks.measure import crossovers
from benchmarks.measure.crossovers import Cell, table_of
from mixers.methods import TABLE

ROOT = Path(__file__).resolve().parents[2]


def _cells(costs: dict[int, dict[str, float]]) -> list[Cell]:
    return [
        Cell("one_part", "fft_real_2d", tokens, method, ms / 3, 2 * ms / 3)
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
    assert table_of(_cells(costs)) == {"one_part": [[64, "dense"], [768, "gemm"], [None, "fft"]]}


def test_a_near_tie_where_a_method_ends_goes_to_what_wins_next() -> None:
    costs = {
        64: {"dense": 2.0, "gemm": 3.0, "fft": 4.0},
        144: {"gemm": 4.1, "fft": 4.0},
        256: {"gemm": 3.0, "fft": 4.0},
        1024: {"gemm": 6.0, "fft": 4.0},
    }
    assert table_of(_cells(costs)) == {"one_part": [[64, "dense"], [512, "gemm"], [None, "fft"]]}


def test_the_committed_table_is_what_the_published_times_say() -> None:
    published = json.loads((ROOT / "results/published/crossovers-cpu/crossovers.json").read_text(encoding="utf-8"))
    cells = [Cell(**values) for values in published["times"]]
    committed = json.loads(TABLE.read_text(encoding="utf-8"))
    assert table_of(cells) == published["cpu"]["methods"] == committed["cpu"]["methods"]
    assert published["cpu"]["measured_on"] == committed["cpu"]["measured_on"]
    assert committed["cuda"]["measured_on"] is None  # and the README says so


def test_the_verb_times_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(crossovers, "SIDES", {"cpu": (4, 12)})
    monkeypatch.setattr(crossovers, "TURN_MS", 0.1)
    assert cli.main(["crossovers", "--device", "cpu", "--rounds", "1", "--results", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "crossovers.json").read_text(encoding="utf-8"))
    assert set(written["cpu"]["methods"]) == set(crossovers.STANDS_FOR)
    assert {cell["method"] for cell in written["times"] if cell["kind"] == "both_parts"} >= {"dense", "gemm", "fft"}
    assert all(cell["forward_ms"] > 0 for cell in written["times"])
    text = (tmp_path / "crossovers.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == len(crossovers.STANDS_FOR) and "**" in text
    torch.set_num_threads(1)
    assert cli.main(["crossovers", "--mixer", "dct"]) == 2
    assert "no use for --mixer" in capsys.readouterr().err
