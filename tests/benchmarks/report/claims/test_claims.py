"""Claims judged from records whose truth is known."""

from __future__ import annotations

import csv
import json
import math

import pytest
from synthetic import MACHINE, OTHER, ROUNDS, fill, make_trial, save, save_accuracy

from benchmarks.cli.main import main
from benchmarks.plan.trials import Request
from benchmarks.report.claims.catalogue import CLAIMS
from benchmarks.report.claims.parts import CONTRADICTED, SUPPORTED, UNDECIDED, Finding, Part
from benchmarks.report.claims.times import interpolate
from benchmarks.report.claims.verdicts import Verdict, judge, people, programs, verdict_of, write_claims
from benchmarks.report.frame import results_frame
from benchmarks.report.stats.decomposition import decomposition_table
from benchmarks.report.stats.evidence import SEQUENCES_ALONE
from benchmarks.report.stats.paired import Sample
from benchmarks.report.stats.pooled import effects_table
from benchmarks.studies.spectracles.measure import plan_replications

SEEDS = 4


def verdict_on(name: str, folder) -> Verdict:
    (verdict,) = [v for v in judge(results_frame(folder), folder) if v.claim.id == name]
    return verdict


def save_seeds(folder, mixer: str, top1: float, **changes) -> None:
    for seed in range(SEEDS):
        save_accuracy(folder, mixer, top1 + 0.1 * seed + 0.05 * math.sin(len(mixer) + seed), seed, **changes)


def save_times(folder, mixer: str, size, ms: float, peak: int = 1000, status: str = "ok", **changes) -> None:
    sittings = changes.pop("sittings", 3)
    trial = make_trial("latency", mixer, image_size=size, patch_size=1, **changes)
    times = [ms * (1 + 0.01 * math.sin(r + len(mixer))) for r in range(ROUNDS)]
    keys = ("forward_ms", "forward_backward_ms", "mixer_forward_ms", "mixer_forward_backward_ms", "copy_ms")
    starts = [f"2026-01-01T0{hour}:00:00+00:00" for hour in (1, 3, 5)[:sittings]]
    history = [
        {"round": r, "sitting": start, **dict.fromkeys(keys, t)} for start in starts for r, t in enumerate(times)
    ]
    metrics = {"forward_backward_ms": ms, "peak_memory_bytes": peak}
    if status != "ok":
        save(folder, trial, status=status, reason="too much")
    else:
        save(folder, trial, metrics, history)


def test_every_claim_says_where_it_is_from_and_what_decides_it():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 19
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
    told = verdict_of(claim, Finding((part, Part("y", 2, 1, 3, 3, (0, math.inf))), (), "here", "points", "seeds"))
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


def save_hybrids(folder, attention, fft, two, one, seeds=5, **changes) -> None:
    mixers = {"attention": attention, "fft_real": fft, "hybrid_top": two, "7xfft_real+1xattention": one}
    for mixer, top1 in mixers.items():
        for seed in range(seeds):
            save_accuracy(folder, mixer, top1 + 0.1 * math.sin(len(mixer) + seed), seed, depth=8, **changes)


def test_a_hybrid_closes_a_gap_only_where_there_is_one(tmp_path):
    save_hybrids(tmp_path, attention=50, fft=40, two=48, one=46)
    verdict = verdict_on("hybrid-closes-the-gap", tmp_path)
    assert verdict.outcome == SUPPORTED and verdict.effect == pytest.approx(1, abs=0.2) and verdict.n == 5
    for seed in range(5):
        save_accuracy(tmp_path, "attention", 36 + 2 * seed, seed, depth=8)
    verdict = verdict_on("hybrid-closes-the-gap", tmp_path)
    assert verdict.outcome == UNDECIDED and "no gap beyond doubt" in verdict.reason


def test_a_hybrid_is_judged_at_the_share_of_the_source_between_one_layer_and_two(tmp_path):
    save_hybrids(tmp_path, attention=50, fft=40, two=48, one=43)
    assert verdict_on("hybrid-closes-the-gap", tmp_path).outcome == UNDECIDED  # less attention than the source gave
    save_hybrids(tmp_path, attention=50, fft=40, two=44, one=43)
    verdict = verdict_on("hybrid-closes-the-gap", tmp_path)
    assert verdict.outcome == CONTRADICTED and verdict.compared.startswith("hybrid_top")


def test_the_hybrids_seeds_are_the_five_that_were_named(tmp_path):
    save_hybrids(tmp_path, attention=50, fft=40, two=48, one=46, seeds=4)
    assert "4 seeds: too few to decide" in verdict_on("hybrid-closes-the-gap", tmp_path).reason
    save_hybrids(tmp_path, attention=50, fft=40, two=48, one=46, seeds=8)
    assert verdict_on("hybrid-closes-the-gap", tmp_path).n == 5
    shallow = tmp_path / "shallow"
    for mixer, top1 in (("attention", 50), ("fft_real", 40), ("hybrid_top", 48), ("7xfft_real+1xattention", 46)):
        save_seeds(shallow, mixer, top1)  # four deep
    assert verdict_on("hybrid-closes-the-gap", shallow).n == 0


MANY = ("dct", "attention", "hadamard", "fft_real", "fft_complex")


def save_patches(folder, cells: dict[str, tuple[float, ...]]) -> None:
    for mixer, values in cells.items():
        for patch, top1 in zip((1, 2, 4, 8), values, strict=True):
            save_seeds(folder, mixer, top1, patch_size=patch)


def test_patches_and_mixing_are_held_against_each_other_by_their_shares_of_the_variance(tmp_path):
    by_patch = {mixer: (20 + i, 30 + i, 30 + i, 25 + i) for i, mixer in enumerate(("conv1x1", *MANY))}
    save_patches(tmp_path, by_patch | {"linear": (60, 70, 70, 65)})
    verdict = verdict_on("mixing-not-patches", tmp_path)
    assert (verdict.outcome, verdict.unit) == (CONTRADICTED, "% of variance")
    assert verdict.compared.endswith("without linear") and "patch" not in verdict.setting
    by_name = {part.what: part for part in verdict.parts + verdict.behind}
    assert by_name["share of the mixer − share of the patch, all mixers"].outcome == SUPPORTED
    shares = [part.effect for name, part in by_name.items() if name.endswith("without linear") and "−" not in name]
    assert sum(shares) == pytest.approx(100) and shares[1] == pytest.approx(100 * 17.1875 / (17.1875 + 35 / 12), abs=1)
    assert "behind it" in people([verdict])


def test_two_patch_sizes_of_four_mixers_contradict_nothing(tmp_path):
    cells = {mixer: (20 + i, 60 + i) for i, mixer in enumerate(("conv1x1", "dct", "fft_real", "linear"))}
    for mixer, values in cells.items():
        for patch, top1 in zip((2, 4), values, strict=True):
            save_seeds(tmp_path, mixer, top1, patch_size=patch)
    verdict = verdict_on("mixing-not-patches", tmp_path)
    assert any(part.outcome == CONTRADICTED for part in verdict.parts) and verdict.outcome == UNDECIDED
    assert verdict.reason.startswith("not measured: patch 1 px, patch 8 px, more than 4 mixers")


def test_without_linear_or_with_few_mixers_the_variance_decides_nothing(tmp_path):
    save_patches(tmp_path, {"conv1x1": (20, 30, 30, 25), "dct": (40, 50, 50, 45), "fft_real": (50, 60, 60, 55)})
    verdict = verdict_on("mixing-not-patches", tmp_path)
    assert verdict.outcome == UNDECIDED
    assert "linear at every patch size" in verdict.reason and "more than 3 mixers" in verdict.reason


def test_the_claims_numbers_are_those_of_the_tables(tmp_path):
    for i, mixer in enumerate((*MANY, "linear")):
        save_seeds(tmp_path, mixer, 44 + i, norm="token", patch_size=4)
        save_patches(tmp_path, {mixer: (50 + i, 53 + i + i % 2, 47 + 2 * i, 45)})
    sample = Sample(results_frame(tmp_path), tmp_path)
    norm, row = verdict_on("norm-over-the-image", tmp_path), effects_table(sample).iloc[0]
    assert (norm.n, norm.effect, norm.low, norm.high) == (
        row["mixers"], row["effect_points"], row["effect_points_low"], row["effect_points_high"]
    )  # fmt: skip
    found = verdict_on("mixing-not-patches", tmp_path)
    by_name = {part.what: part for part in found.parts + found.behind}
    for _, row in decomposition_table(sample).iterrows():
        if row["without"] in (None, "linear"):
            words = "all mixers" if row["without"] is None else "without linear"
            ahead = by_name[f"share of the mixer − share of the patch, {words}"]
            assert (ahead.effect, ahead.low) == (row["mixer_less_patch_percent"], row["mixer_less_patch_percent_low"])
            assert by_name[f"share of the mixer, {words}"].effect == pytest.approx(row["mixer_percent"])
            assert by_name[f"share of which mixer at which patch, {words}"].effect == pytest.approx(row["both_percent"])


def test_mixing_is_pooled_at_every_patch_size(tmp_path):
    save_patches(
        tmp_path, {"conv1x1": (20, 30, 35, 33)} | {m: (30 + i, 33 + i, 39 + i / 50, 34 + i) for i, m in enumerate(MANY)}
    )
    verdict = verdict_on("mixing-at-every-patch-size", tmp_path)
    assert (verdict.outcome, len(verdict.parts), verdict.n, verdict.counted) == (SUPPORTED, 4, 5, "mixers")
    assert [part.effect for part in verdict.parts] == pytest.approx([12, 5, 4, 3], abs=0.2)
    assert len(verdict.behind) == 4 * len(MANY)


def test_an_effect_is_pooled_over_the_mixers_measured_both_ways(tmp_path):
    for i, mixer in enumerate(MANY):
        save_seeds(tmp_path, mixer, 50)
        save_seeds(tmp_path, mixer, 44 + 2 * (i % 2) + (7 if mixer == "dct" else 0), coordinates=False)
    save_seeds(tmp_path, "random", 50)
    verdict = verdict_on("coordinates-matter", tmp_path)
    assert len(verdict.behind) == verdict.n == len(MANY)  # dct alone is worse with them, and decides nothing
    assert min(part.effect for part in verdict.behind) < 0 < verdict.effect
    assert "standard deviation" in verdict.reason
    assert verdict_on("norm-over-the-image", tmp_path).n == 0


def test_a_pooled_effect_needs_five_mixers(tmp_path):
    for i, mixer in enumerate(MANY[:4]):
        save_seeds(tmp_path, mixer, 50 + i / 20)
        save_seeds(tmp_path, mixer, 40, norm="token")
    verdict = verdict_on("norm-over-the-image", tmp_path)
    assert verdict.outcome == UNDECIDED and "more than 4 mixers" in verdict.reason
    save_seeds(tmp_path, MANY[4], 50)
    save_seeds(tmp_path, MANY[4], 40, norm="token")
    verdict = verdict_on("norm-over-the-image", tmp_path)
    assert verdict.outcome == SUPPORTED and verdict.effect == pytest.approx(10, abs=0.1)


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
    assert verdict.outcome == SUPPORTED and "interpolated" in verdict.reason and verdict.n == 3
    for mixer, ms in (("fft_real", 10.0), ("attention", 15.0)):
        save_times(tmp_path, mixer, "16x32", ms)
    verdict = verdict_on("fft-trains-faster", tmp_path)
    assert verdict.outcome == CONTRADICTED and verdict.effect == pytest.approx(1.5, rel=0.02)
    assert "interpolated" not in verdict.reason


@pytest.mark.parametrize("sittings", [1, 2])
def test_no_verdict_rests_on_fewer_than_three_sittings(tmp_path, sittings):
    for size, attention in ((16, 20.0), (32, 80.0), (64, 640.0)):
        save_times(tmp_path, "fft_real", size, 10.0, sittings=sittings)
        save_times(tmp_path, "attention", size, attention, sittings=sittings)
    for claim in ("fft-trains-faster", "spectral-mixers-grow-as-n-log-n"):
        verdict = verdict_on(claim, tmp_path)
        assert verdict.outcome == UNDECIDED and verdict.n == sittings and "sitting" in verdict.n_text
        assert "too few to decide" in verdict.reason and "0 of" not in verdict.reason  # none is off the claimed side
        assert "SITTINGS=3" in verdict.claim.command and "three times" in verdict.claim.measurement


def test_a_share_of_an_accuracy_of_nothing_is_not_measured(tmp_path):
    for seed in range(SEEDS):
        save_accuracy(tmp_path, "fft_real", 20.0 + seed, seed)
        save_accuracy(tmp_path, "attention", 0.0, seed)
    verdict = verdict_on("fft-reaches-attention", tmp_path)
    assert verdict.outcome == UNDECIDED and verdict.n == 0


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


def spectracles(top1: float, seed: int, params: int = 1000, **settings) -> dict:
    usual = {"width": 32, "depth": 8, "n_linear": 0, "residual": True, "layout": "right", "standardize": "chw"}
    usual |= {"epochs": 10, "seed": seed}
    metrics = {"test_top1_percent": top1, "params": params}
    return {"settings": usual | settings, "status": "ok", "metrics": metrics}


def save_spectracles(folder, runs: list[dict]) -> None:
    save_accuracy(folder, "dct", 40.0, 0)
    (folder / "spectracles.json").write_text(json.dumps({"schema_version": 1, "runs": runs}))


def of_depth(layout: str, epochs: int) -> list[dict]:
    return [
        spectracles(top1 + seed / 10, seed, standardize=over, layout=layout, epochs=epochs)
        for over, top1 in (("none", 2.0), ("chw", 29.0))
        for seed in range(3)
    ]


def test_depth_without_norm_takes_ten_epochs_in_both_layouts(tmp_path):
    save_spectracles(tmp_path, of_depth("right", 10) + of_depth("scrambled", 1))
    verdict = verdict_on("depth-fails-without-norm", tmp_path)
    assert verdict.outcome == UNDECIDED and "not measured: the scrambled layout" in verdict.reason
    save_spectracles(tmp_path, of_depth("right", 1) + of_depth("scrambled", 1))
    assert "not measured: 10 epochs" in verdict_on("depth-fails-without-norm", tmp_path).reason
    save_spectracles(tmp_path, of_depth("right", 10) + of_depth("scrambled", 10))
    verdict = verdict_on("depth-fails-without-norm", tmp_path)
    assert verdict.outcome == SUPPORTED and verdict.effect == pytest.approx(7.2, abs=0.3) and verdict.n == 3
    assert len(verdict.parts) == 2


def test_one_epoch_does_not_decide_against_depth_either(tmp_path):
    near = [
        spectracles(top1 + seed / 10, seed, standardize=over, layout=layout, epochs=1)
        for layout in ("right", "scrambled")
        for over, top1 in (("none", 23.0), ("chw", 29.0))
        for seed in range(3)
    ]
    save_spectracles(tmp_path, near)
    verdict = verdict_on("depth-fails-without-norm", tmp_path)
    assert verdict.outcome == UNDECIDED and verdict.reason == "not measured: 10 epochs"
    for run in near:
        run["settings"]["epochs"] = 10
    save_spectracles(tmp_path, near)
    assert verdict_on("depth-fails-without-norm", tmp_path).outcome == CONTRADICTED


def test_nets_without_a_norm_that_all_fail_are_named(tmp_path):
    runs = of_depth("right", 10) + of_depth("scrambled", 10)
    for run in runs:
        if run["settings"]["standardize"] == "none":
            run["status"] = "diverged"
    save_spectracles(tmp_path, runs)
    verdict = verdict_on("depth-fails-without-norm", tmp_path)
    assert verdict.outcome == UNDECIDED and "withheld, since too many runs failed: without: 3 of 3" in verdict.reason


def complex_pair(top1: float, **settings) -> list[dict]:
    """The net of complex layers and its real one, as the study writes them: told apart by the layout."""
    usual = {"depth": 4, "epochs": 5} | settings
    beside = [spectracles(20.0 + s / 10, s, params=1990, **usual) for s in range(3)]
    return beside + [spectracles(top1 + s / 9, s, params=2000, layout="complex", **usual) for s in range(3)]


def test_complex_weights_are_held_against_the_real_net_of_equal_parameters(tmp_path):
    pair = complex_pair(25.0)
    save_spectracles(tmp_path, pair[:3])
    assert verdict_on("complex-weights-help", tmp_path).n == 0
    save_spectracles(tmp_path, pair)
    verdict = verdict_on("complex-weights-help", tmp_path)
    assert (verdict.outcome, verdict.n) == (SUPPORTED, 3) and verdict.effect == pytest.approx(5, abs=0.1)
    assert verdict.compared == "complex weights (2,000 parameters) − real weights (1,990 parameters)"
    other_line = complex_pair(5.0, standardize="none", n_linear=1)  # beside it, whatever its order
    save_spectracles(tmp_path, other_line + pair)
    assert verdict_on("complex-weights-help", tmp_path).outcome == SUPPORTED
    for run in pair[:3]:
        run["metrics"]["params"] = 1800
    save_spectracles(tmp_path, pair)
    assert verdict_on("complex-weights-help", tmp_path).n == 0  # no real net of as many parameters
    for run in pair[3:]:
        run |= {"status": "diverged", "metrics": {}}
    save_spectracles(tmp_path, pair)
    assert "complex: 3 of 3" in verdict_on("complex-weights-help", tmp_path).reason
    save_spectracles(tmp_path, of_depth("right", 10) + of_depth("scrambled", 10) + complex_pair(1.0, depth=8))
    assert verdict_on("depth-fails-without-norm", tmp_path).outcome == SUPPORTED  # real nets alone


def test_what_the_study_plans_is_what_the_claim_of_complex_weights_reads(tmp_path):
    request = Request(depth=4, seed=(0, 1, 2), epochs=5, complex=True, device="cpu", threads=1)
    planned = plan_replications(request)
    assert len(planned) == 6
    runs = []
    for run in planned:
        net = run.configuration.build(run.layout, 0)
        metrics = {"test_top1_percent": 30.0 if run.layout == "complex" else 20.0}
        metrics["test_top1_percent"] += run.trial.seed / 10 + (run.layout == "complex") * run.trial.seed / 50
        metrics["params"] = sum(p.numel() for p in net.parameters())
        runs.append({"settings": run.settings(), "status": "ok", "metrics": metrics})
    save_spectracles(tmp_path, runs)
    assert verdict_on("complex-weights-help", tmp_path).outcome == SUPPORTED


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
    of_images = {claim.id for claim in CLAIMS if claim.task != SEQUENCES_ALONE}
    assert "claims.csv" in out and out.count("\n") > len(of_images)
    texts = [(one / name).read_bytes() for name in ("claims.csv", "claims.md")]
    verdicts, paths = write_claims([one, other])
    assert [path.read_bytes() for path in paths] == texts == [f(verdicts).encode() for f in (programs, people)]
    with (one / "claims.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["claim"] for row in rows} == of_images
    for row in rows:
        assert row["outcome"] in (SUPPORTED, UNDECIDED, CONTRADICTED) and row["reason"] and row["source"]
    for table in texts[1].decode().split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path, capsys):
    assert main(["claims", "--results", str(tmp_path / "nowhere")]) == 2
    assert main(["claims", "--mixer", "dct"]) == 2
    assert "claims has no use for --mixer" in capsys.readouterr().err
