"""What is chosen for encoders from records: the gain before the rate, and rates that serve all seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import save
from synthetic_text import make_trial

from benchmarks.contract.choices.tuning import chosen_gain, tuning_records
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.frame import results_frame

RECIPE = {"epochs": 5, "batch_size": 32, "beta2": 0.98, "train_images": 4096, "warmup_epochs": 0.8, "threads": 1}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "prose.txt"
    path.write_text("\n\n".join(f"document {n} of some words" for n in range(40)) + "\n", encoding="utf-8")
    return path


def plan(corpus: Path, **asked) -> Plan:
    request = Request(dataset="pretrain", profile="quick", device="cpu", text=str(corpus), data_dir=corpus.parent)
    return Plan(request.but(results=corpus.parent / "r", **asked))


def save_tuned(corpus: Path, trial: Trial, held_out: float | None) -> None:
    status = {"status": "diverged", "reason": "not a number"} if held_out is None else {}
    save(corpus.parent / "r", trial, {} if held_out is None else {"val_top1_percent": held_out}, **status)


def search(corpus: Path, mixer: str, rates: dict[float, float | None], lr: float = 2e-3) -> None:
    """A run of each gain at one rate, as `tune GAIN=... LR=...` asks for them."""
    for gain, held_out in rates.items():
        (trial,) = plan(corpus, mixer=mixer, gain=gain, lr=(lr,), weight_decay=(0.01,)).tuning()
        assert (trial.gain, trial.lr) == (gain, lr)
        save_tuned(corpus, trial, held_out)


@pytest.mark.parametrize(
    ("held_out", "gain"),
    [
        ({1: 30.0, 8: 40.0, 90: 39.0}, 8),
        ({1: 30.0, 8: 30.2, 90: 30.25}, 1),  # a tie
        ({1: 30.0, 8: 30.2, 90: 30.31}, 90),
        ({1: 30.0, 8: None, 90: 20.0}, 1),
        ({1: None, 8: 20.0}, 8),
        ({8: 20.0, 90: 20.0}, 8),
        ({1: None, 8: None}, None),
        ({8: 20.0}, None),
        ({}, None),
    ],
)
def test_the_gain_that_did_best_is_taken_and_a_tie_goes_to_1(corpus, held_out, gain):
    search(corpus, "hartley", held_out)
    search(corpus, "dct", {1: 50.0, 90: 40.0})
    records = tuning_records(corpus.parent / "r", "pretrain", "quick")
    assert chosen_gain(records, "hartley") == gain
    (trial,) = plan(corpus, mixer="hartley").accuracy()
    assert trial.gain == (gain or 1)
    (other,) = plan(corpus, mixer="dct").accuracy()
    assert other.gain == 1  # in place of the profile's 90
    (asked,) = plan(corpus, mixer="hartley", gain=3.0).accuracy()
    assert asked.gain == 3


def test_the_rate_is_searched_and_chosen_at_the_chosen_gain(corpus):
    search(corpus, "hartley", {1: 30.0, 8: 40.0})
    wanted = plan(corpus, mixer="hartley", lr=(1e-3, 2e-3, 4e-3), weight_decay=(0.01,)).tuning()
    assert {(trial.gain, trial.lr) for trial in wanted} == {(8, 1e-3), (8, 2e-3), (8, 4e-3)}
    for trial in wanted:
        save_tuned(corpus, trial, {1e-3: 41.0, 2e-3: 40.0, 4e-3: 39.0}[trial.lr])
    search(corpus, "hartley", {1: 45.0}, lr=8e-3)  # at which no other gain was tried
    (trial,) = plan(corpus, mixer="hartley").accuracy()
    assert (trial.gain, trial.lr) == (8, 1e-3)


def test_of_gains_only_points_that_most_of_them_have_are_compared(corpus):
    search(corpus, "hartley", {1: 30.0, 8: 40.0, 90: 35.0})
    search(corpus, "hartley", {1: 60.0, 90: 50.0}, lr=1e-3)
    search(corpus, "hartley", {4: 99.0}, lr=4e-3)
    assert chosen_gain(tuning_records(corpus.parent / "r", "pretrain", "quick"), "hartley") == 8


@pytest.mark.parametrize(
    ("changes", "lr"), [({"seed": 1}, 1e-4), ({"seed": 1, "lr": 1e-3}, 5e-4), ({"epochs": 2}, 5e-4)]
)
def test_a_rate_tuned_from_one_pretrained_net_serves_its_other_seeds_and_no_other_net(tmp_path, changes, lr):
    results = tmp_path / "r"
    first = make_trial("accuracy", "dct")
    other = make_trial("accuracy", "dct", **changes)
    for trial in (first, other):
        save(results, trial, {"val_top1_percent": 40.0})
    how = {"dataset": "trec", "profile": "quick", "device": "cpu", "mixer": "dct", "data_dir": tmp_path}
    how["results"] = results
    for _ in range(4):
        for trial in Plan(Request(**how, pretrained=first.id(), seed=(0,))).tuning():
            save(results, trial, {"val_top1_percent": 60.0 - 1e4 * trial.lr})
    for start, expected in ((first.id(), 1e-4), (other.id(), lr), (None, 5e-4)):
        (planned,) = Plan(Request(**how, pretrained=start, seed=(1,))).accuracy()
        assert planned.lr == expected


def test_rates_tuned_on_sst2_serve_every_task_that_has_no_sweep_of_its_own(tmp_path):
    how = {"profile": "quick", "device": "cpu", "mixer": "dct", "data_dir": tmp_path, "results": tmp_path / "r"}

    def tune(dataset: str, best: float) -> None:
        for _ in range(4):
            for trial in Plan(Request(**how, dataset=dataset, seed=(0,))).tuning():
                save(tmp_path / "r", trial, {"val_top1_percent": 60.0 - 1e4 * abs(trial.lr - best)})

    def planned(dataset: str) -> float:
        return Plan(Request(**how, dataset=dataset)).accuracy()[0].lr

    tune("glue:sst2", 1e-4)
    assert [planned(name) for name in ("glue:sst2", "trec", "glue:stsb", "mr")] == [1e-4] * 4
    tune("trec", 1e-3)
    assert [planned(name) for name in ("glue:sst2", "trec", "mr")] == [1e-4, 1e-3, 1e-4]
    assert [trial.lr for trial in Plan(Request(**how, dataset="mr", seed=(0,))).tuning()] == [2e-4, 5e-4]
    other = {**how, "dataset": "trec", "length": (64,)}  # of no length that its own sweep had, but SST-2's has
    for _ in range(4):
        for trial in Plan(Request(**{**other, "dataset": "glue:sst2"}, seed=(0,))).tuning():
            save(tmp_path / "r", trial, {"val_top1_percent": 60.0 - 1e4 * trial.lr})
    assert Plan(Request(**other)).accuracy()[0].lr == 1e-3


def test_words_of_pretraining_tell_rates_apart_where_one_encoder_has_several(tmp_path):
    rates = {("dct", 2e-3, 0): 40.0, ("dct", 1e-3, 0): 30.0, ("attention", 1e-3, 0): 50.0, ("dct", 1e-3, 1): 45.0}
    words = {}
    for (mixer, lr, seed), held_out in rates.items():
        start = make_trial("accuracy", mixer, lr=lr, seed=seed)
        save(tmp_path, start, {"val_top1_percent": held_out, "test_top1_percent": 40.0})
        tuned = make_trial("accuracy", mixer, "glue:sst2", pretrained=start.id(), seed=seed)
        words[tuned.id()] = (mixer, lr)
        save(tmp_path, tuned, {"test_top1_percent": 60.0})
    frame = results_frame(tmp_path).set_index("id")["pretrained"]
    found = {words[name]: text for name, text in frame.items() if name in words}
    usual = "0.295 M tokens of wikipedia"
    assert found == {
        ("dct", 2e-3): f"{usual}, learning rate 0.002, weight decay 0.01",  # one seed beside two
        ("dct", 1e-3): usual,
        ("attention", 1e-3): usual,
    }


def test_the_published_search_on_a_gpu_chooses_what_was_chosen_by_hand():
    """results/experiments.md, "Text on a GPU"."""
    records = tuning_records(Path(__file__).parents[4] / "results" / "published" / "text-h200", "pretrain", "full")
    chosen = {mixer: chosen_gain(records, mixer) for mixer in {record.trial.mixer for record in records}}
    assert {mixer for mixer, gain in chosen.items() if gain == 90} == {"dct", "hadamard", "hartley"}
    of_8 = {"attention", "linear_fnet", "hybrid_top", "fft_complex", "fft_pairs"}
    assert {mixer for mixer, gain in chosen.items() if gain == 8} == of_8
    assert chosen["random_fnet"] == 1 and chosen["fft_real"] is None
