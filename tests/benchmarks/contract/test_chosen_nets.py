"""Norm and positions are chosen as the rate is: the search, what takes its choice, and the ranking of chosen nets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from synthetic import make_trial, save, save_accuracy

from benchmarks.cli.main import main
from benchmarks.contract.choices.chosen_nets import CHOSEN, UNCHOSEN, ChosenNets
from benchmarks.contract.choices.profiles import NET_CHOSEN_BY, PROFILES, USUAL_NET
from benchmarks.contract.choices.tuning import OTHER_NETS, best_net, choices
from benchmarks.contract.record import load_records
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.alike import TRAINED_ALIKE, comparisons
from benchmarks.report.build import write_report
from benchmarks.report.choose import main_rows
from benchmarks.report.claims.rules import Accuracies, Arm, Contrast, EachMixer, Evidence
from benchmarks.report.frame import results_frame
from benchmarks.report.plots import variants
from benchmarks.report.stats.leader import leader
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.differences import paired_table
from benchmarks.report.tables.summary import summary_table
from benchmarks.report.tables.tuning import tuning_table
from mixers import list_mixers
from mixers.spec import HYBRID_NAMES

PROFILE = PROFILES["quick", "constellations"]
TOKEN, LEARNED, SINE = OTHER_NETS
MIDDLE = len(PROFILE.tuned_lrs) // 2
SETTING = {
    "image_size": 16, "patch_size": 2, "dim": 32, "depth": 2, "epochs": 2, "batch_size": 32, "warmup_epochs": 0.2,
    "label_smoothing": 0.0, "train_images": 6_500, "augment": "none",
}  # fmt: skip


def save_point(folder: Path, mixer: str, lr: float, top1: float | None, net=USUAL_NET, decay=0.05, **more) -> None:
    norm, positions = net
    trial = make_trial("tuning", mixer, lr=lr, weight_decay=decay, norm=norm, positions=positions, **(SETTING | more))
    if top1 is None:
        save(folder, trial, status="diverged", reason="the loss is not a number")
    else:
        save(folder, trial, {"val_top1_percent": top1, "train_s": 10.0})


def sweep_rates(folder: Path, mixer: str, **more) -> float:
    """A complete sweep of rates whose best has 40 % held out; the best rate."""
    grid = PROFILE.tuned_lrs
    for i, top1 in ((MIDDLE - 1, 30), (MIDDLE, 40), (MIDDLE + 1, 35)):
        save_point(folder, mixer, grid[i], top1, **more)
    save_point(folder, mixer, grid[MIDDLE], 40.5, decay=PROFILE.tuned_weight_decays[1], **more)
    return grid[MIDDLE]


def search(folder: Path, mixer: str, token: float | None, learned: float | None, sine: float | None, **more) -> None:
    lr = sweep_rates(folder, mixer, **more)
    for net, top1 in zip(OTHER_NETS, (token, learned, sine), strict=True):
        save_point(folder, mixer, lr, top1, net, **more)


def request(folder: Path, **more) -> Request:
    base = {"mixer": "dct", "dataset": "constellations", "profile": "quick", "device": "cpu"}
    return Request(**(base | {"results": folder} | more))


def nets_of(trials) -> set[tuple[str, str]]:
    return {(trial.norm, trial.positions) for trial in trials}


# the rule


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ((40.9, 40.9, 40.9), USUAL_NET),
        ((41.0, 40.0, 40.0), TOKEN),
        ((40.0, 41.5, 42.0), SINE),
        ((42.0, 41.5, 42.0), TOKEN),  # never both; of equals the first
        ((None, 41.5, 40.0), LEARNED),
        ((None, None, None), USUAL_NET),
    ],
)
def test_another_net_is_chosen_only_where_it_is_clearly_better_and_then_alone(values, chosen) -> None:
    nets = {USUAL_NET: [40.0]} | {net: [top1] for net, top1 in zip(OTHER_NETS, values, strict=True)}
    assert best_net(nets) == chosen
    for net in nets:
        assert best_net({other: top1 for other, top1 in nets.items() if other != net}) is None


def test_a_sweep_of_rates_alone_is_complete_and_one_of_nets_is_not_until_all_three_are_there(tmp_path) -> None:
    lr = sweep_rates(tmp_path, "dct")
    for net in (TOKEN, SINE):
        save_point(tmp_path, "dct", lr, 60.0, net)
        (choice,) = choices(load_records(tmp_path, "tuning-*.json"), PROFILE).values()
        assert (choice.lr, choice.net, choice.norm, choice.positions) == (lr, None, "image", "none")
        assert choice.val_top1_percent == 40.0
    save_point(tmp_path, "dct", lr, 61.0, LEARNED)
    (choice,) = choices(load_records(tmp_path, "tuning-*.json"), PROFILE).values()
    assert (choice.norm, choice.positions, choice.val_top1_percent, choice.tried) == ("image", "learned", 61.0, 7)


def test_who_chooses_the_net_of_others_is_a_mixer_that_chooses_its_own() -> None:
    assert {*NET_CHOSEN_BY.values()} <= {*list_mixers()} - {*NET_CHOSEN_BY}
    assert {*NET_CHOSEN_BY} <= {*list_mixers(), *HYBRID_NAMES}


# the plan


def test_tune_asks_for_three_more_runs_once_the_rate_is_chosen(tmp_path) -> None:
    asked = request(tmp_path, search="nets", mixer="dct,hartley")
    assert nets_of(Plan(asked).tuning()) == {USUAL_NET}
    lr = sweep_rates(tmp_path, "dct")
    before = Plan(dataclasses.replace(asked, search=None)).tuning()
    more = [trial for trial in Plan(asked).tuning() if trial not in before]
    assert nets_of(more) == set(OTHER_NETS) and len(more) == 3
    assert {(trial.mixer, trial.lr, trial.weight_decay) for trial in more} == {("dct", lr, 0.05)}
    sweep_rates(tmp_path, "hartley")  # takes the choice of fft_real
    assert len(Plan(asked).tuning()) == len(before) + 3 + 2


def test_what_was_chosen_is_trained_costed_and_timed(tmp_path) -> None:
    search(tmp_path, "dct", 40, 45, 44)
    plan = Plan(request(tmp_path, mixer="dct,linear_separable,dct(method=auto),hadamard"))
    for trials in (plan.accuracy(), plan.cost()):
        by_mixer = {trial.mixer: (trial.norm, trial.positions) for trial in trials}
        assert by_mixer.pop("hadamard") == USUAL_NET
        assert set(by_mixer.values()) == {LEARNED}
    assert nets_of(t for t in plan.latency() if t.patch_size == 2 and t.mixer == "dct") == {LEARNED}
    assert nets_of(t for t in plan.latency() if t.patch_size == 1) == {USUAL_NET}  # no net of a search
    for other in ({"depth": 4}, {"epochs": 9}, {"image_size": (32,)}, {"norm": "image"}, {"positions": "none"}):
        assert nets_of(Plan(request(tmp_path, **other)).accuracy()) == {USUAL_NET}
    assert nets_of(Plan(request(tmp_path, norm="token")).accuracy()) == {TOKEN}
    assert nets_of(Plan(request(tmp_path, positions="sine")).accuracy()) == {SINE}


def test_without_a_search_in_the_folder_the_published_choice_holds(tmp_path) -> None:
    published = PROFILES | {("quick", "constellations"): dataclasses.replace(PROFILE, net_of={"dct": SINE})}
    nets = ChosenNets([], published)
    trial = make_trial("accuracy", "dct", **SETTING)
    assert nets.of(trial.to_dict()) == [SINE]
    assert nets.of(trial.to_dict() | {"depth": 3}) == [] == nets.of(trial.to_dict() | {"mixer": "hadamard"})
    search(tmp_path, "dct", 50, 40, 40)
    assert ChosenNets(load_records(tmp_path), published).of(trial.to_dict()) == [TOKEN]


def test_a_net_searched_at_a_size_serves_that_size(tmp_path) -> None:
    """Though a search at the profile's size serves the profile's other sizes too."""
    several = PROFILES | {("quick", "constellations"): dataclasses.replace(PROFILE, extra_sizes=(32, 48))}
    search(tmp_path, "dct", 40, 40, 50)
    search(tmp_path, "dct", 40, 50, 40, image_size=32)
    nets = ChosenNets(load_records(tmp_path), several)
    at = {
        size: nets.of(make_trial("accuracy", "dct", **SETTING | {"image_size": size}).to_dict())
        for size in (16, 32, 48)
    }
    assert at == {16: [SINE], 32: [LEARNED], 48: [SINE]}


def test_a_search_of_an_older_version_is_no_choice_of_a_newer_one(tmp_path) -> None:
    search(tmp_path, "gmlp", 50, 40, 40, mixer_version=2)
    nets, trial = ChosenNets(load_records(tmp_path)), make_trial("accuracy", "gmlp", **SETTING).to_dict()
    assert nets.of(trial | {"mixer_version": 2}) == [TOKEN] and nets.of(trial | {"mixer_version": 3}) == []


# the report


@pytest.fixture
def trained(tmp_path):
    """dct chose learned positions, attention the usual net, random was not searched; with ablations of all."""
    search(tmp_path, "dct", 40, 45, 44)
    search(tmp_path, "attention", 40, 40, 40)
    own = SETTING | {"lr": 0.008, "weight_decay": 0.05}
    for seed in range(3):
        save_accuracy(tmp_path, "dct", 50 + seed, seed, positions="learned", **own)
        save_accuracy(tmp_path, "dct", 40 + seed, seed, **own)
        for mixer, top1 in (("attention", 60), ("random", 20)):
            save_accuracy(tmp_path, mixer, top1 + seed, seed, **own)
        for mixer, top1 in (("dct", 33), ("attention", 43), ("random", 13)):
            save_accuracy(tmp_path, mixer, top1 + seed, seed, norm="token", **own)
    return tmp_path


def test_a_ranking_compares_every_mixer_at_its_own_net_and_the_others_are_ablations(trained) -> None:
    frame = results_frame(trained)
    assert set(frame["net"].dropna()) == {CHOSEN, UNCHOSEN}
    summary = summary_table(frame)
    parts = comparisons(summary, TRAINED_ALIKE)
    means = {suffix: dict(zip(p["label"], p["test_top1_percent_mean"], strict=True)) for suffix, p in parts.items()}
    assert means == {
        "": {"attention": 61, "dct": 51, "random": 21},
        "norm-token": {"attention": 44, "dct": 34, "random": 14},
        "net-unchosen": {"dct": 41},
    }
    rows = [row for _, row in main_rows(summary).iterrows()]
    found = leader(Sample(frame, trained), rows)
    assert found is not None and found.label == "attention" and found.n == 3
    paired = paired_table(Sample(frame, trained))
    (mine,) = paired[(paired["label"] == "dct") & (paired["norm"] == "image")].to_dict("records")
    assert (mine["reference"], mine["positions"], mine["difference_points"]) == ("attention", "learned", -10)


def test_a_claim_about_the_norm_compares_nets_that_differ_in_the_norm_alone(trained) -> None:
    evidence = Evidence(results_frame(trained), trained)
    rule = EachMixer(free=("norm",), mine=(("norm", "image"),), other=(("norm", "token"),))
    finding = rule.find(evidence)
    assert finding is not None
    assert {part.what.split()[0]: round(part.effect) for part in finding.parts} == {
        "dct": 7, "attention": 17, "random": 7,
    }  # fmt: skip


def test_a_line_over_sizes_joins_results_of_one_net_alone(trained, monkeypatch) -> None:
    """dct chose learned positions at 16 px; at 32 px nobody searched."""
    for mixer, top1 in (("dct", 44), ("attention", 66)):
        for seed in range(3):
            save_accuracy(trained, mixer, top1 + seed, seed, **SETTING | {"lr": 0.008, "image_size": 32})
    drawn = []
    monkeypatch.setattr(variants, "draw_by_size", lambda rows, *_: drawn.append(rows) or [])
    frame = results_frame(trained)
    variants.by_size(summary_table(frame), frame, trained)
    (rows,) = drawn
    of_dct = rows[rows["label"] == "dct"].set_index("image_size")
    assert dict(of_dct["test_top1_percent_mean"]) == {16: 41, 32: 45} and {*of_dct["positions"]} == {"none"}


@pytest.mark.parametrize(("chosen_seeds", "n"), [(3, 3), (2, 5)])
def test_a_claim_is_judged_in_own_nets_once_these_have_seeds_enough(tmp_path, chosen_seeds, n) -> None:
    for mixer in ("dct", "hadamard"):
        search(tmp_path, mixer, 40, 45, 44)
        own = SETTING | {"lr": 0.008, "weight_decay": 0.05}
        for seed in range(5):
            save_accuracy(tmp_path, mixer, 40 + seed, seed, **own)
        for seed in range(chosen_seeds):
            save_accuracy(tmp_path, mixer, 50 + seed, seed, positions="learned", **own)
    rule = Accuracies((Contrast((Arm("dct"), Arm("hadamard")), (0, 100)),))
    finding = rule.find(Evidence(results_frame(tmp_path), tmp_path))
    assert finding is not None and finding.own_nets == (n == 3)
    assert [part.n for part in finding.parts] == [n]


def test_the_report_shows_norm_and_positions_of_the_search_and_what_was_chosen(trained) -> None:
    table = tuning_table(results_frame(trained))
    chosen = table[table["choice"].notna()].set_index("label")
    assert (chosen.loc["dct", "positions"], chosen.loc["attention", "positions"]) == ("learned", "none")
    assert len(chosen) == 2 and chosen.loc["dct", "val_top1_percent"] == 45
    write_report(trained)
    tables = trained / "tables" / "constellations-quick"
    header = next(line for line in (tables / "tuning.md").read_text().splitlines() if line.startswith("| mixer"))
    assert "norm" in header and "positions" in header
    page = (trained / "index.html").read_text()
    assert "POSITIONS=learned" in page and "norm and positions as chosen for each mixer" in page
    assert "POSITIONS=none" not in page


def test_search_is_refused_in_one_line_where_there_is_nothing_to_search(tmp_path, capsys) -> None:
    usual = ["--mixer", "dct", "--results", str(tmp_path)]
    for words, message in (
        (["tune", "--search", "nets", "--norm", "token"], "leave --norm and --positions out"),
        (["train", "--search", "nets"], "train has no use for --search"),
        (["train", "--positions", "sines"], "--positions is 'sines'; allowed: none, learned, sine"),
    ):
        assert main([*words, *usual]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
