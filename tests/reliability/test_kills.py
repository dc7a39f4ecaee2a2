"""Twenty random kills, three runs at once and a full disk; `kills.py` itself takes more of them."""

from __future__ import annotations

import errno
import json
import os
import tempfile

import kills
import pytest

from benchmarks.contract.errors import UserError
from benchmarks.contract.record import load_records
from benchmarks.plan.trials import Plan, Request
from benchmarks.sweep.run import Runner


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path):
    assert kills.main(["--kills", "20", "--runs", "3", "--no-disk", "--out", str(tmp_path)]) == 0
    seen = json.loads((tmp_path / "kills.json").read_text())
    assert sum(seen["kills"]["kills"].values()) == 20 and seen["together"]["measured"] == kills.TRIALS


@pytest.mark.slow
def test_a_full_disk_damages_nothing(tmp_path):
    seen = kills.run_full_disk(tmp_path)
    if "skipped" in seen:
        pytest.skip(seen["skipped"])
    assert seen["passed"], [case for case in seen["cases"] if not case["passed"]]
    verbs = {case["verb"] for case in seen["cases"] if case["exit_code"] == 2}
    assert verbs == {"train", "report"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npy", ".json"])
def test_each_file_of_a_trial_that_finds_no_room_is_told_and_made_later(tmp_path, monkeypatch, suffix):
    request = Request(mixer="dct,conv1x1", profile="quick", device="cpu", threads=1, dim=8, depth=1, epochs=1)
    request = kills.dataclasses.replace(request, train_images=300, seed=(0,))
    first, second = Plan(request).accuracy()
    wanted = Runner(tmp_path / "wanted", tmp_path, own_process=False).run([second])[0].record
    runner = Runner(tmp_path / "results", tmp_path, own_process=False)
    runner.run([first])
    before = {p: p.read_bytes() for p in runner.records.iterdir()}
    real = tempfile.mkstemp

    def full(dir, prefix):
        name = prefix.removesuffix(".")
        if name.endswith(suffix) and "heartbeat" not in name:
            return os.open("/dev/full", os.O_WRONLY), str(dir / "no-such-file")
        return real(dir=dir, prefix=prefix)

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.raises(UserError, match=rf"{suffix} cannot be written \({os.strerror(errno.ENOSPC)}\)"):
        runner.run([first, second])
    monkeypatch.undo()
    assert {p: p.read_bytes() for p in before} == before and len(load_records(runner.records)) == 1
    record = Runner(tmp_path / "results", tmp_path, own_process=False).run([first, second])[1].record
    assert {k: v for k, v in record.metrics.items() if not k.endswith(kills.TIMED)} == {
        k: v for k, v in wanted.metrics.items() if not k.endswith(kills.TIMED)
    }
