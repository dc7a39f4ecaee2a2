"""A hundred malformed inputs; `python tests/reliability/fuzz.py OUT` runs two thousand."""

from __future__ import annotations

import random

import fuzz
import pytest


@pytest.mark.parametrize("part", range(4))
def test_malformed_inputs_are_answered_in_one_line(part):
    counts, findings = fuzz.fuzz(25, seed=1000 + part)
    assert sum(counts.values()) == 25 and len(counts) == 6
    assert findings == []


def test_the_fuzzer_sees_what_is_wrong(tmp_path, monkeypatch):
    fuzzer = fuzz.Fuzzer(tmp_path, 0)
    monkeypatch.setattr("benchmarks.contract.record.check_record", lambda content: None)
    monkeypatch.setattr("benchmarks.contract.record.checksum", lambda content: content.get("checksum"))
    kinds = list(fuzzer.kinds)
    found = [fuzzer.case(index) for index in range(kinds.index("record"), 60, len(kinds))]
    assert any(finding and finding.kind == "record" for finding in found)
    monkeypatch.setattr(fuzzer, "kinds", {"x": lambda draw, room: 1 / 0})
    assert fuzzer.case(0).what == "traceback"


def test_damage_is_damage():
    draw = random.Random(0)
    for _ in range(300):
        assert fuzz.broken_bytes(b"0123456789", draw)[1] != b"0123456789"
