"""What a verb says when it is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import make_trial, save

from benchmarks.cli.ending import say_outcome
from benchmarks.contract.record import load_records
from benchmarks.sweep.run import Result


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("latency", "oom", 0), ("latency", "error", 1), ("accuracy", "oom", 1)]
)
@pytest.mark.parametrize("single", [True, False])
def test_too_little_memory_is_an_answer_where_times_were_asked_for(
    kind: str, status: str, code: int, single: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, make_trial(kind, "linear"), status=status, reason="the net asks for 800 bytes, 799 may be taken")
    results = [Result(record, True) for record in load_records(tmp_path, f"{kind}-*.json")]
    assert say_outcome(results, [], single, tmp_path) == code
    said = capsys.readouterr().out
    assert said.startswith(f"{status}: {kind} linear") and "asks for 800 bytes" in said
    assert ("to try the failed ones again" in said) == (code == 1)
