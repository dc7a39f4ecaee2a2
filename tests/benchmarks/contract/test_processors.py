"""Kinds of processor: told apart, never in one ratio of times, a level of the accuracies."""

from __future__ import annotations

import pytest

from benchmarks.contract.processor import kind_of, processor, read_processor
from benchmarks.contract.record import load_records, machine_key, processor_kind
from benchmarks.machine.environment import environment
from benchmarks.report.frame import records_frame
from benchmarks.report.stats.processors import sentences, shifts
from benchmarks.report.tables.latency import latency_table
from benchmarks.report.tables.summary import summary_table
from benchmarks.report.tables.write import caption
from tests.benchmarks.synthetic import MACHINE, save_accuracy, save_latency

OLDER = {"family": 23, "model": 49, "stepping": 0, "instruction_sets": ["avx", "fma", "avx2"]}
NEWER = {"family": 25, "model": 17, "stepping": 1, "instruction_sets": ["avx", "fma", "avx2", "avx512f", "avx512_bf16"]}
ON_OLDER, ON_NEWER = (MACHINE | {"processor": one} for one in (OLDER, NEWER))

X86 = {
    "cpu family": "25",
    "model": "17",
    "stepping": "1",
    "model name": "AMD EPYC",
    "flags": "fpu avx avx2 fma avx512f",
}
ARM = {"CPU implementer": "0x41", "CPU part": "0xd40", "CPU revision": "1", "Features": "fp asimd sve"}


@pytest.mark.parametrize(
    ("cpuinfo", "kind"),
    [
        (X86, "family 25 model 17 stepping 1, AVX-512"),
        (X86 | {"flags": "fpu avx avx2"}, "family 25 model 17 stepping 1, AVX2"),
        (ARM, "family 65 model 3392 stepping 1, SVE"),
        ({}, None),
        ({"flags": "vmx", "model": "?"}, None),
    ],
)
def test_a_processor_is_told_by_its_numbers_and_its_widest_instructions(cpuinfo, kind) -> None:
    assert kind_of(read_processor(cpuinfo)) == kind


def test_a_record_says_which_processor_it_is_of() -> None:
    assert environment("cpu", 1)["processor"] == processor()


def test_only_what_is_known_is_part_of_the_machine_of_a_latency() -> None:
    keys = {machine_key(where) for where in (MACHINE, ON_OLDER, ON_NEWER)}
    assert len(keys) == 3
    on_gpu = MACHINE | {"device": "NVIDIA H100"}
    assert machine_key(on_gpu) == machine_key(on_gpu | {"processor": NEWER})
    assert processor_kind(on_gpu | {"processor": NEWER}) is None


def test_times_of_two_kinds_never_have_a_ratio_and_never_share_a_column(tmp_path) -> None:
    for mixer, where in (("attention", ON_OLDER), ("dct", ON_NEWER), ("random", ON_OLDER)):
        save_accuracy(tmp_path, mixer, 40.0, 0)
        save_latency(tmp_path, mixer, 16, patch_size=2, environment=where)
    frame = records_frame(load_records(tmp_path))
    rows = {row["label"]: row for row in latency_table(frame).to_dict("records")}
    assert rows["random"]["net_forward_over_attention"] is not None
    assert rows["dct"]["net_forward_over_attention"] is None
    summary = {row["label"]: row for row in summary_table(frame).to_dict("records")}
    assert summary["random"]["net_forward_ms_per_image"] is not None
    assert summary["dct"]["net_forward_ms_per_image"] is None  # most times are of the other kind


def test_accuracies_of_two_kinds_share_a_mean_and_their_shift_is_said(tmp_path) -> None:
    for mixer, base in (("dct", 40.0), ("attention", 50.0), ("random", 30.0)):
        for seed, where in enumerate((ON_OLDER, ON_OLDER, ON_NEWER, ON_NEWER)):
            save_accuracy(
                tmp_path, mixer, base + (where is ON_NEWER) * 2 + 0.1 * (mixer == "dct"), seed, environment=where
            )
    frame = records_frame(load_records(tmp_path))
    (row,) = summary_table(frame[frame["label"] == "random"]).to_dict("records")
    assert row["n"] == 4 and row["test_top1_percent_mean"] == pytest.approx(31.0)
    assert row["processors"] == f"{kind_of(OLDER)}; {kind_of(NEWER)}"
    (shift,) = shifts(frame).values()
    assert shift.value == pytest.approx(2.0) and shift.n == 3
    assert "+2.0 points" in caption("summary", frame) and "apart" in caption("summary", frame)


def test_nothing_is_said_of_one_kind_or_of_kinds_unknown(tmp_path) -> None:
    for seed, where in enumerate((MACHINE, ON_NEWER, ON_NEWER)):
        save_accuracy(tmp_path, "dct", 40.0 + seed, seed, environment=where)
    assert sentences(records_frame(load_records(tmp_path))) == []
