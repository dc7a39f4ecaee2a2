"""Claims judged from records whose truth is known."""

from __future__ import annotations

import csv
import json
import math

import pytest
from synthetic import MACHINE, OTHER, ROUNDS, fill, make_trial, save, save_accuracy

from benchmarks.cli import main
from benchmarks.report.claim_rules import CONTRADICTED, SUPPORTED, UNDECIDED, Finding, Part, interpolate
from benchmarks.report.claims import CLAIMS
from benchmarks.report.frame import results_frame
from benchmarks.report.verdicts import Verdict, _verdict, judge, people, programs, write_claims

SEEDS = 4


def verdict_on(name: str, folder) -> Verdict:
    (verdict,) = [v for v in judge(results_frame(folder), folder) if v.claim.id == name]
    return verdict


def save_seeds(folder, mixer: str, top1: float, **changes) -> None:
    for seed in range(SEEDS):
        save_accuracy(folder, mixer, top1 + 0.1 * seed + 0.05 * math.sin(len(mixer) + seed), seed, **changes)


def save_times(folder, mixer: str, size, ms: float, peak: int = 1000, status: str = "ok", **changes) -> None:
    trial = make_trial("latency", mixer, image_size=size, patch_size=1, **changes)
    times = [ms * (1 + 0.01 * math.sin(r + len(mixer))) for r in range(ROUNDS)]
    keys = ("forward_ms", "forward_backward_ms", "mixer_forward_ms", "mixer_forward_backward_ms", "copy_ms")
    history = [{"round": r, **dict.fromkeys(keys, t)} for r, t in enumerate(times)]
    metrics = {"forward_backward_ms": ms, "peak_memory_bytes": peak}
    if status != "ok":
        save(folder, trial, status=status, reason="too much")
    else:
        save(folder, trial, metrics, history)


def test_every_claim_says_where_it_is_from_and_what_decides_it():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 17
    for claim in CLAIMS:
        texts = (claim.text, claim.source, claim.made_on, claim.measurement, claim.threshold, claim.command)
        assert all(texts) and claim.trials
        assert "20" in claim.source, "a source has a year"


@pytest.mark.parametrize(
    ("low", "high", "claimed", "outcome"),
    [
        (0.1, 2.0, (0, math.inf), SUPPORTED),
        (-0.1, 2.0, (0, math.inf), UNDECIDED),
        (0.0, 2.0, (0, math.inf), UNDECIDED),  # on the threshold is not beyond it
        (-2.0, -0.1, (0, math.inf), CONTRADICTED),
        (-0.9, 0.9, (-1, 1), SUPPORTED),
        (-1.1, 0.9, (-1, 1), UNDECIDED),
        (-2.0, 2.0, (-1, 1), UNDECIDED),
        (1.1, 2.0, (-1, 1), CONTRADICTED),
        (None, None, (0, math.inf), UNDECIDED),
    ],
)
def test_only_an_interval_on_one_side_decides(low, high, claimed, outcome):
    assert Part("x", 0.5, low, high, 3, claimed).outcome == outcome


def test_one_of_many_contradicts_by_its_widened_interval_alone():
    part = Part("x", -1, -2, -0.1, 3, (0, math.inf), wide=(-3, 0.5))
    assert part.outcome == UNDECIDED
    assert Part("x", -1, -2, -0.1, 3, (0, math.inf), wide=(-3, -0.05)).outcome == CONTRADICTED
    claim = next(claim for claim in CLAIMS if claim.id == "any-mixing-beats-none")
    told = _verdict(claim, Finding((part, Part("y", 2, 1, 3, 3, (0, math.inf))), (), "here", "points", "seeds"))
    assert told.outcome == UNDECIDED
    assert "on the other side, but widened for 2 comparisons it includes the threshold" in told.reason


def test_a_claim_of_several_comparisons_needs_all_and_falls_by_one(tmp_path):
    for mixer, top1 in [("fft_complex", 50), ("fft_pairs", 49), ("fft_real_2d", 44), ("fft_real", 45)]:
        save_seeds(tmp_path, mixer, top1)
    partly = verdict_on("imaginary-part-helps", tmp_path)
    assert partly.outcome == UNDECIDED and "not measured: fft_imag" in partly.reason
    assert [part.outcome for part in partly.parts] == [SUPPORTED] * 4
    save_seeds(tmp_path, "fft_imag", 40)
    whole = verdict_on("imaginary-part-helps", tmp_path)
    assert (whole.outcome, whole.n, whole.unit, len(whole.parts)) == (SUPPORTED, SEEDS, "points", 6)
    assert whole.compared == "fft_pairs − fft_real" and whole.effect == pytest.approx(4, abs=0.2)  # the weakest
    assert whole.low is not None and whole.high is not None and whole.low < whole.effect < whole.high
    assert "constellations, quick profile, AMD EPYC 9B14" in whole.setting and "4 epochs" in whole.setting
    for seed in range(SEEDS):
        save_accuracy(tmp_path, "fft_real", 55 + 0.1 * seed, seed)  # in place of the earlier ones
    assert verdict_on("imaginary-part-helps", tmp_path).outcome == CONTRADICTED


def test_one_seed_decides_nothing(tmp_path):
    for mixer, top1 in [("linear", 60.0), ("fft_real", 30.0)]:
        save_accuracy(tmp_path, mixer, top1, 0)
    verdict = verdict_on("linear-equals-fft", tmp_path)
    assert (verdict.outcome, verdict.effect, verdict.low, verdict.n) == (UNDECIDED, 30.0, None, 1)
    assert "1 seed: too few to decide" in verdict.reason


def test_shares_equality_and_slightly_have_two_sides(tmp_path):
    for mixer, top1 in [("attention", 50), ("fft_real", 47), ("linear", 47.2), ("dct", 46), ("hadamard", 41)]:
        save_seeds(tmp_path, mixer, top1)
    share = verdict_on("fft-reaches-attention", tmp_path)
    assert (share.outcome, share.unit) == (SUPPORTED, "%") and share.effect == pytest.approx(94, abs=0.3)
    assert verdict_on("linear-equals-fft", tmp_path).outcome == SUPPORTED
    slightly = verdict_on("dct-hadamard-slightly-worse", tmp_path)
    assert slightly.outcome == CONTRADICTED and slightly.compared == "hadamard − fft_real"  # by far more


def test_a_hybrid_closes_a_gap_only_where_there_is_one(tmp_path):
    save_seeds(tmp_path, "fft_real", 40)
    save_seeds(tmp_path, "hybrid_top", 48)
    save_seeds(tmp_path, "attention", 50)
    verdict = verdict_on("hybrid-closes-the-gap", tmp_path)
    assert verdict.outcome == SUPPORTED and verdict.effect == pytest.approx(3, abs=0.2)
    for seed in range(SEEDS):
        save_accuracy(tmp_path, "attention", 38 + seed, seed)
    verdict = verdict_on("hybrid-closes-the-gap", tmp_path)
    assert verdict.outcome == UNDECIDED and "no gap beyond doubt" in verdict.reason


def test_patches_and_mixing_are_held_against_each_other_across_patch_sizes(tmp_path):
    for patch, none, linear in [(1, 20, 60), (2, 30, 55), (4, 35, 50), (8, 33, 40)]:
        save_seeds(tmp_path, "conv1x1", none, patch_size=patch)
        save_seeds(tmp_path, "linear", linear, patch_size=patch)
    verdict = verdict_on("mixing-not-patches", tmp_path)
    assert verdict.outcome == SUPPORTED and len(verdict.parts) == 3
    assert verdict.compared == "linear patch 1 px − conv1x1 patch 4 px" and "patch" not in verdict.setting
    every = verdict_on("mixing-at-every-patch-size", tmp_path)
    assert every.outcome == UNDECIDED and len(every.parts) == 4 and "attention patch 1 px" in every.reason


MANY = ("dct", "attention", "hadamard", "fft_real", "fft_complex")


def test_an_ablation_is_of_every_mixer_measured_both_ways(tmp_path):
    for mixer in MANY:
        save_seeds(tmp_path, mixer, 50)
        save_seeds(tmp_path, mixer, 45, coordinates=False)
    save_seeds(tmp_path, "random", 50)
    verdict = verdict_on("coordinates-matter", tmp_path)
    assert verdict.outcome == SUPPORTED and len(verdict.parts) == len(MANY)
    assert verdict_on("norm-over-the-image", tmp_path).n == 0


def test_any_mixing_falls_by_one_mixer_that_is_worse_than_none(tmp_path):
    for mixer, top1 in [("conv1x1", 30), *((mixer, 40) for mixer in MANY[:4])]:
        save_seeds(tmp_path, mixer, top1)
    four = verdict_on("any-mixing-beats-none", tmp_path)
    assert four.outcome == UNDECIDED and "not measured: more than 4 mixers" in four.reason
    save_seeds(tmp_path, MANY[4], 40)
    assert verdict_on("any-mixing-beats-none", tmp_path).outcome == SUPPORTED
    save(tmp_path, make_trial("accuracy", "afno"), status="diverged", reason="the loss is not finite")
    failed = verdict_on("any-mixing-beats-none", tmp_path)
    assert failed.outcome == UNDECIDED and "afno, which failed" in failed.reason
    save_seeds(tmp_path, "pool", 25)
    verdict = verdict_on("any-mixing-beats-none", tmp_path)
    assert (verdict.outcome, verdict.compared) == (CONTRADICTED, "pool − conv1x1")


def test_what_is_said_of_every_mixer_is_said_where_most_were_measured(tmp_path):
    for mixer, top1 in [("conv1x1", 30), *((mixer, 40) for mixer in MANY), ("pool", 25)]:
        for seed in range(3):
            save_accuracy(tmp_path, mixer, top1 + 0.1 * seed, seed)
    for mixer, top1 in [("conv1x1", 20), ("linear", 40)]:  # more seeds of fewer mixers
        save_seeds(tmp_path, mixer, top1, patch_size=1)
    verdict = verdict_on("any-mixing-beats-none", tmp_path)
    assert (verdict.outcome, len(verdict.parts)) == (CONTRADICTED, 6)


def test_two_seeds_decide_nothing(tmp_path):
    for mixer, top1 in [("linear", 60.0), ("fft_real", 30.0)]:
        for seed in range(2):
            save_accuracy(tmp_path, mixer, top1 + 0.1 * seed, seed)
    verdict = verdict_on("linear-equals-fft", tmp_path)
    assert verdict.outcome == UNDECIDED and "2 seeds: too few to decide" in verdict.reason


def test_records_of_two_machines_make_two_verdicts(tmp_path):
    for environment, better in ((MACHINE, 50.0), (OTHER, 30.0)):
        profile = "quick" if environment is MACHINE else "full"
        for seed in range(SEEDS):
            save_accuracy(tmp_path, "random", better + seed / 9, seed, environment=environment, profile=profile)
            save_accuracy(tmp_path, "fft_real", 40 + seed / 9, seed, environment=environment, profile=profile)
    found = [v for v in judge(results_frame(tmp_path), tmp_path) if v.claim.id == "random-worse-than-fft"]
    assert {(v.setting.split(", ")[2], v.outcome) for v in found} == {
        ("AMD EPYC 9B14", CONTRADICTED),
        ("Apple M3", SUPPORTED),
    }


def test_speed_at_512_tokens_is_interpolated_and_measured_where_it_can_be(tmp_path):
    for size, attention in ((16, 20.0), (32, 80.0), (64, 640.0)):
        save_times(tmp_path, "fft_real", size, 10.0)
        save_times(tmp_path, "attention", size, attention)
    verdict = verdict_on("fft-trains-faster", tmp_path)
    at_512, growth = verdict.parts
    assert at_512.effect == pytest.approx(4, rel=0.02)  # the geometric middle of 2 and 8
    assert growth.effect == pytest.approx(16, rel=0.03)
    assert verdict.outcome == SUPPORTED and "interpolated" in verdict.reason and verdict.n == ROUNDS
    for mixer, ms in (("fft_real", 10.0), ("attention", 15.0)):
        save_times(tmp_path, mixer, "16x32", ms)
    verdict = verdict_on("fft-trains-faster", tmp_path)
    assert verdict.outcome == CONTRADICTED and verdict.effect == pytest.approx(1.5, rel=0.02)
    assert "interpolated" not in verdict.reason


def test_interpolation_is_in_the_logarithm_and_never_beyond_what_was_measured():
    assert interpolate({256: {0: 1.0, 1: 5.0}, 1024: {0: 3.0}}, 512) == {0: 2.0}
    assert interpolate({256: {0: 1.0}}, 512) is None
    assert interpolate({512: {0: 7.0}}, 512) == {0: 7.0}


@pytest.mark.parametrize(
    ("attention", "mixer", "outcome"),
    [
        (("oom", 0), ("ok", 1000), SUPPORTED),
        (("ok", 1000), ("oom", 0), CONTRADICTED),
        (("ok", 2500), ("ok", 1000), SUPPORTED),
        (("ok", 1400), ("ok", 1000), UNDECIDED),
        (("ok", 900), ("ok", 1000), CONTRADICTED),
    ],
)
def test_who_runs_out_of_memory_first(tmp_path, attention, mixer, outcome):
    save_times(tmp_path, "attention", 16, 1.0, 1500)
    save_times(tmp_path, "fft_real", 16, 1.0, 1000)
    for name, (status, peak) in (("attention", attention), ("fft_real", mixer)):
        save_times(tmp_path, name, 64, 1.0, peak, status)
    verdict = verdict_on("fused-attention-out-of-memory-first", tmp_path)
    assert verdict.outcome == outcome
    if "oom" in (attention[0], mixer[0]):
        assert "alone did not fit into memory at 4,096 tokens" in verdict.reason and verdict.effect is None


def test_exponents_are_held_against_that_of_n_log_n(tmp_path):
    for size in (16, 32, 64):
        tokens = size**2
        save_times(tmp_path, "fft_real", size, 1e-3 * tokens * math.log(tokens))
        save_times(tmp_path, "dct", size, 1e-6 * tokens**2)  # no spectral mixer
    verdict = verdict_on("spectral-mixers-grow-as-n-log-n", tmp_path)
    assert verdict.outcome == SUPPORTED and verdict.effect == pytest.approx(1.147, abs=0.01)
    assert "N log N: 1.15" in verdict.compared
    for size in (16, 32, 64):
        save_times(tmp_path, "fft_complex", size, 1e-6 * size**4)
    assert verdict_on("spectral-mixers-grow-as-n-log-n", tmp_path).outcome == CONTRADICTED


def test_depth_without_norm_is_read_from_the_first_sources_net(tmp_path):
    save_accuracy(tmp_path, "dct", 40.0, 0)
    settings = {"width": 32, "depth": 8, "layout": "scrambled", "epochs": 3}
    runs = [
        {"settings": settings | {"standardize": over, "seed": seed}, "status": "ok",
         "metrics": {"test_top1_percent": top1 + seed / 10}}
        for over, top1 in (("none", 2.0), ("chw", 29.0))
        for seed in range(3)
    ]  # fmt: skip
    (tmp_path / "spectracles.json").write_text(json.dumps({"schema_version": 1, "runs": runs}))
    verdict = verdict_on("depth-fails-without-norm", tmp_path)
    assert verdict.outcome == SUPPORTED and verdict.effect == pytest.approx(7.2, abs=0.3) and verdict.n == 3


def test_tuning_records_decide_nothing(tmp_path):
    save_accuracy(tmp_path, "conv1x1", 30.0, 0)
    for seed in range(3):
        trial = make_trial("tuning", "dct", seed=seed, epochs=4, lr=0.001, weight_decay=0.05, batch_size=128)
        save(tmp_path, trial, {"val_top1_percent": 99.0})
    assert verdict_on("any-mixing-beats-none", tmp_path).n == 0


def test_the_verb_reads_several_folders_and_writes_the_same_bytes(tmp_path, capsys):
    one, other = tmp_path / "one", tmp_path / "other"
    fill(one)
    save_seeds(other, "fft_pairs", 50)
    assert main(["claims", "--results", f"{one},{other}"]) == 0
    out = capsys.readouterr().out
    assert "claims.csv" in out and out.count("\n") > len(CLAIMS)
    texts = [(one / name).read_bytes() for name in ("claims.csv", "claims.md")]
    verdicts, paths = write_claims([one, other])
    assert [path.read_bytes() for path in paths] == texts == [f(verdicts).encode() for f in (programs, people)]
    with (one / "claims.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["claim"] for row in rows} == {claim.id for claim in CLAIMS}
    for row in rows:
        assert row["outcome"] in (SUPPORTED, UNDECIDED, CONTRADICTED) and row["reason"] and row["source"]
    for table in texts[1].decode().split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path, capsys):
    assert main(["claims", "--results", str(tmp_path / "nowhere")]) == 2
    assert main(["claims", "--mixer", "dct"]) == 2
    assert "claims has no use for --mixer" in capsys.readouterr().err
