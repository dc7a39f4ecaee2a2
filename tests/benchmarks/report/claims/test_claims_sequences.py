"""Claims on sequences, judged from records whose truth is known."""

from __future__ import annotations

import dataclasses
import math

import pytest
from synthetic import fill, save
from synthetic_sequences import make_trial

from benchmarks.report.build import make_report
from benchmarks.report.claims.catalogue import CLAIMS
from benchmarks.report.claims.catalogue_sequences import HYBRID, NEEDED, PLAIN
from benchmarks.report.claims.parts import CONTRADICTED, SUPPORTED, UNDECIDED
from benchmarks.report.claims.verdicts import Verdict, judge
from benchmarks.report.frame import results_frame
from benchmarks.report.stats.evidence import IMAGES_ALONE, SEQUENCES_ALONE

SEEDS = (0, 1, 2, 3)
LENGTHS = (512, 1024, 2048, 4096, 8192)
BASELINES = {"recall": 19.2, "match": 61.7, "imdb": 61.8, "listops": 23.7, "pairs": 50.0, "pixels100": 10.0}
LENGTH = {"recall": 32, "match": 32, "imdb": 512, "listops": 128, "pairs": 512, "pixels100": 256, "pathfinder": 1024}


def verdicts_on(name: str, folder) -> list[Verdict]:
    return [v for v in judge(results_frame(folder), folder) if v.claim.id == name]


def verdict_on(name: str, folder) -> Verdict:
    (verdict,) = verdicts_on(name, folder)
    return verdict


def train(folder, dataset: str, seeds=SEEDS, **mixers: float) -> None:
    """Records of nets that reach about so many percent; `HYBRID` is no word and comes as `hybrid`."""
    for mixer, top1 in mixers.items():
        for seed in seeds:
            name = HYBRID if mixer == "hybrid" else mixer
            trial = dataclasses.replace(
                make_trial("accuracy", name, seed=seed), dataset=dataset, length=LENGTH[dataset]
            )
            top = min(100.0, top1 + 0.1 * math.sin(len(name) + 2 * seed))
            metrics = {"test_top1_percent": top, "val_top1_percent": top}
            metrics |= {"baseline_bag_of_tokens_percent": BASELINES.get(dataset, 50.0)}
            save(folder, trial, metrics)


def timed(folder, mixer: str, length: int, ms: float, peak: int = 1000, status: str = "ok") -> None:
    trial = make_trial("latency", mixer, "recall", length=length, batch_size=1)
    if status != "ok":
        save(folder, trial, status=status, reason="predicted: too much")
        return
    starts = [f"2026-01-01T0{hour}:00:00+00:00" for hour in (1, 3, 5)]
    history = [
        {"round": r, "sitting": start, "forward_ms": ms, "forward_backward_ms": ms * (1 + 0.01 * math.sin(r + ms))}
        for start in starts
        for r in range(3)
    ]
    save(folder, trial, {"forward_ms": ms, "forward_backward_ms": ms, "peak_memory_bytes": peak}, history)


def test_a_folder_of_images_shows_no_claim_on_sequences_and_the_other_way_round(tmp_path):
    fill(tmp_path / "images")
    train(tmp_path / "sequences", "recall", attention=100.0)
    of = {name: {v.claim.id for v in judge(results_frame(tmp_path / name), tmp_path / name)}
          for name in ("images", "sequences")}  # fmt: skip
    alone = {task: {claim.id for claim in CLAIMS if claim.task == task} for task in (IMAGES_ALONE, SEQUENCES_ALONE)}
    assert len(alone[SEQUENCES_ALONE]) == 10 and alone[IMAGES_ALONE]
    assert of["images"] == {claim.id for claim in CLAIMS} - alone[SEQUENCES_ALONE]
    assert of["sequences"] == {claim.id for claim in CLAIMS} - alone[IMAGES_ALONE]
    both = judge(results_frame(tmp_path / "sequences"), tmp_path / "sequences")
    unmeasured = {v.claim.id: v for v in both}["fft-reaches-attention-on-lra"]
    assert unmeasured.outcome == UNDECIDED and unmeasured.reason.startswith("not measured: needs for d in listops")


def test_fixed_transforms_that_stay_at_the_bag_of_tokens_cannot_recall(tmp_path):
    train(tmp_path, "recall", attention=99.9, **dict.fromkeys(NEEDED[:3], 19.0))
    partly = verdict_on("fixed-transforms-cannot-recall", tmp_path)
    assert partly.outcome == UNDECIDED and "not measured: random" in partly.reason
    train(tmp_path, "recall", random=6.3, hartley=20.6)
    assert verdict_on("fixed-transforms-cannot-recall", tmp_path).outcome == SUPPORTED
    train(tmp_path, "match", attention=100.0, **dict.fromkeys(NEEDED, 61.7))
    train(tmp_path, "match", dct=80.0)
    of_match, of_recall = verdicts_on("fixed-transforms-cannot-recall", tmp_path)
    assert (of_match.outcome, of_recall.outcome) == (CONTRADICTED, SUPPORTED)
    assert of_match.compared == "dct − bag of tokens" and of_match.effect == pytest.approx(18.3, abs=0.2)


def test_attention_has_to_solve_what_transforms_cannot(tmp_path):
    train(tmp_path, "recall", attention=70.0, **dict.fromkeys(NEEDED, 19.0))
    verdict = verdict_on("fixed-transforms-cannot-recall", tmp_path)
    assert (verdict.outcome, verdict.compared) == (CONTRADICTED, "attention − solved, 95 %")


def test_one_seed_of_recall_decides_nothing(tmp_path):
    train(tmp_path, "recall", seeds=(0,), attention=100.0, hybrid=19.2, **dict.fromkeys(NEEDED, 19.0))
    for name in ("fixed-transforms-cannot-recall", "one-attention-layer-restores-recall"):
        verdict = verdict_on(name, tmp_path)
        assert verdict.outcome == UNDECIDED and verdict.reason.startswith("1 seed: ")


@pytest.mark.parametrize(("hybrid", "outcome"), [(97.0, SUPPORTED), (60.0, CONTRADICTED)])
def test_a_hybrid_restores_recall_where_there_is_something_to_restore(tmp_path, hybrid, outcome):
    train(tmp_path, "recall", attention=99.9, fft_real=19.0, hybrid=hybrid)
    assert verdict_on("one-attention-layer-restores-recall", tmp_path).outcome == outcome
    train(tmp_path, "recall", fft_real=99.9)
    assert verdict_on("one-attention-layer-restores-recall", tmp_path).outcome == UNDECIDED


def test_nets_at_their_baseline_say_nothing_of_reviews(tmp_path):
    train(tmp_path, "imdb", attention=61.0, fft_real=61.7)
    stuck = verdict_on("fft-reaches-attention-on-text", tmp_path)
    assert stuck.outcome == UNDECIDED and "no net of it is above its baseline" in stuck.reason
    train(tmp_path, "imdb", fft_real=66.0, attention=64.0)
    told = verdict_on("fft-reaches-attention-on-text", tmp_path)
    assert told.outcome == SUPPORTED and told.effect == pytest.approx(2, abs=0.2)
    train(tmp_path, "imdb", attention=69.0)
    assert verdict_on("fft-reaches-attention-on-text", tmp_path).outcome == CONTRADICTED


def test_a_difference_of_nets_that_both_are_at_their_baseline_decides_nothing(tmp_path):
    train(tmp_path, "match", random=38.0, fft_real=56.0)
    stuck = verdict_on("random-worse-than-fft", tmp_path)
    assert stuck.outcome == UNDECIDED and "no net of it is above its baseline" in stuck.reason
    assert stuck.effect == pytest.approx(-18, abs=0.3)
    train(tmp_path, "match", fft_real=80.0)
    assert verdict_on("random-worse-than-fft", tmp_path).outcome == SUPPORTED


def test_the_mean_over_tasks_takes_stand_ins_and_leaves_out_what_nobody_learned(tmp_path):
    for dataset in ("listops", "imdb", "pairs", "pixels100"):
        train(tmp_path, dataset, attention=80.0, fft_real=76.0)
    partly = verdict_on("fft-reaches-attention-on-lra", tmp_path)
    assert partly.outcome == UNDECIDED and "not measured: attention and fft_real on pathfinder" in partly.reason
    train(tmp_path, "pathfinder", attention=50.0, fft_real=49.9)
    whole = verdict_on("fft-reaches-attention-on-lra", tmp_path)
    assert whole.outcome == SUPPORTED and whole.effect == pytest.approx(95, abs=0.2) and whole.n == len(SEEDS)
    assert whole.compared == "fft_real / attention, mean of listops, imdb, pairs, pixels100"
    assert "without pathfinder, where neither is above its baseline" in whole.reason
    train(tmp_path, "listops", fft_real=30.0)
    assert verdict_on("fft-reaches-attention-on-lra", tmp_path).outcome == CONTRADICTED


def test_a_mean_over_tasks_has_the_interval_of_all_of_them(tmp_path):
    spread = (-3.0, -1.0, 1.0, 3.0)
    for dataset in ("listops", "imdb", "pairs", "pixels100", "pathfinder"):
        for seed, by in zip(SEEDS, spread, strict=True):
            train(tmp_path, dataset, seeds=(seed,), fft_real=76.0 + by, attention=80.0)
    verdict = verdict_on("fft-reaches-attention-on-lra", tmp_path)
    assert verdict.low is not None and verdict.high is not None
    # points squared of a seed: 20 / 3 of the FFT; of attention, hardly any of its own, half of that, pooled
    both = 20 / 3 * (1 + 0.5 * (76 / 80) ** 2) / (4 * 5)  # of the mean of five tasks of four seeds, over attention's 80
    student_t = 2.05  # of 29 degrees of freedom: five of 3 and five of 6, by Welch and Satterthwaite
    assert verdict.high - verdict.low == pytest.approx(2 * student_t * 100 / 80 * math.sqrt(both), rel=0.02)


def test_a_page_of_one_task_tells_the_mean_over_all(tmp_path):
    for dataset in ("listops", "imdb", "pairs", "pixels100", "pathfinder"):
        train(tmp_path, dataset, attention=80.0, fft_real=76.0)
    for group in make_report(tmp_path).groups:
        (told,) = [v for v in group.verdicts or () if v.claim.id == "fft-reaches-attention-on-lra"]
        assert told.outcome == SUPPORTED
    assert '"sequences"' in (tmp_path / "index.html").read_text()


def test_memory_is_held_against_every_rival_at_every_length(tmp_path):
    for length in LENGTHS:
        timed(tmp_path, "fft_real", length, 2.0, peak=1000)
        timed(tmp_path, "performer", length, 3.0, peak=1400)
        timed(tmp_path, PLAIN, length, 9.0, peak=3000, status="oom" if length > 4096 else "ok")
    verdict = verdict_on("fft-needs-least-memory", tmp_path)
    assert (verdict.outcome, verdict.effect, len(verdict.parts)) == (SUPPORTED, 1.4, 10)
    timed(tmp_path, "performer", 2048, 3.0, peak=900)
    verdict = verdict_on("fft-needs-least-memory", tmp_path)
    assert (verdict.outcome, verdict.effect) == (CONTRADICTED, 0.9) and "2,048 tokens" in verdict.compared
    assert verdict_on("fft-needs-less-memory-than-fused-attention", tmp_path).n == 0


def test_a_length_that_was_not_measured_leaves_memory_open(tmp_path):
    for length in LENGTHS[:-1]:
        timed(tmp_path, "fft_real", length, 2.0, peak=1000)
        timed(tmp_path, "attention", length, 2.0, peak=1500)
    verdict = verdict_on("fft-needs-less-memory-than-fused-attention", tmp_path)
    assert verdict.outcome == UNDECIDED and "not measured: attention at 8,192 tokens" in verdict.reason


def test_the_fused_kernel_fits_where_the_plain_one_does_not(tmp_path):
    for length in LENGTHS:
        timed(tmp_path, "attention", length, 2.0)
        timed(tmp_path, PLAIN, length, 9.0, status="oom" if length > 4096 else "ok")
    verdict = verdict_on("fused-attention-fits-where-plain-does-not", tmp_path)
    assert verdict.outcome == SUPPORTED and "8,192 tokens" in verdict.reason


@pytest.mark.parametrize(("later", "outcome"), [(40.0, SUPPORTED), (8.0, CONTRADICTED)])
def test_the_lead_has_to_grow_with_every_length(tmp_path, later, outcome):
    for length, rival in zip(LENGTHS, (4.0, 9.0, later, 90.0, 200.0), strict=True):
        timed(tmp_path, "fft_real", length, 2.0)
        timed(tmp_path, PLAIN, length, rival)
    assert verdict_on("fft-is-faster-the-longer", tmp_path).outcome == outcome
    # the older claim on training speed takes sequences too
    assert verdict_on("fft-trains-faster-than-plain-attention", tmp_path).outcome == SUPPORTED


@pytest.mark.parametrize(("at_2048", "outcome"), [(5.0, SUPPORTED), (20.0, CONTRADICTED)])
def test_attention_in_linear_time_has_to_be_ahead_at_2048_tokens(tmp_path, at_2048, outcome):
    for length, rival in zip(LENGTHS[:3], (3.0, 6.0, 12.0), strict=True):
        timed(tmp_path, PLAIN, length, rival)
        timed(tmp_path, "performer", length, at_2048)
    partly = verdict_on("linear-time-attention-overtakes", tmp_path)
    assert outcome == CONTRADICTED or (partly.outcome == UNDECIDED and "linear_attention" in partly.reason)
    for length in LENGTHS[:3]:
        timed(tmp_path, "linear_attention", length, 5.0)
    verdict = verdict_on("linear-time-attention-overtakes", tmp_path)
    assert verdict.outcome == outcome and len(verdict.parts) == 2 and len(verdict.behind) == 4
