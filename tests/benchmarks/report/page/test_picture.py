"""The picture's answers: for every budget what the statistics of the tables say of the mixers within it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from report_files import make_groups
from synthetic import HOSTILE, fill, make_trial, save, save_accuracy, save_latency

from benchmarks.report.choose import best_of_settings, finished
from benchmarks.report.page.answers import best_at_latency, main_rows
from benchmarks.report.page.picture import COSTS, settings, timed_sizes
from benchmarks.report.page.tables import fastest_table
from benchmarks.report.sizes import IMAGES
from benchmarks.report.stats.leader import OPEN, contenders, leader

LATENCY = COSTS[0][0]
TIMES = {"conv1x1": 1.0, "dct": 2.0, "hadamard": 3.0, "fft_real": 4.0, "attention": 5.0}


def timed(folder: Path, mixer: str, ms: float, sittings: int = 1) -> None:
    history = [
        {"round": r, "sitting": f"2026-01-01T0{hour}:00:00+00:00", "forward_ms": ms, "forward_backward_ms": 3 * ms}
        for hour in range(1, 1 + sittings)
        for r in range(2)
    ]
    save(folder, make_trial("latency", mixer), {"forward_ms": 32 * ms, "forward_backward_ms": 96 * ms}, history)


def group_of(folder: Path, **nets: tuple[float, ...]):
    for mixer, values in nets.items():
        for seed, top1 in enumerate(values):
            save_accuracy(folder, mixer, top1, seed)
        timed(folder, mixer, TIMES[mixer])
    (group,) = make_groups(folder)
    return group


def picture(group) -> dict:
    return settings(group.sample, group.frame, group.tables["summary"])[0]


def step_within(cost: dict, budget: float) -> list:
    """As the page's script looks it up."""
    return [step for step in cost["steps"] if step[0] <= budget][-1]


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("picture"))


def test_at_every_budget_it_says_what_the_leader_of_the_mixers_within_it_is(filled):
    seen = 0
    for group in make_groups(filled):
        summary = group.tables["summary"]
        shown = settings(group.sample, group.frame, summary)
        for setting, best in zip(shown, best_of_settings(summary).values(), strict=True):
            rows = finished(best).reset_index(drop=True)
            labels = [point["label"] for point in setting["points"]]
            for cost in setting["costs"]:
                column = cost["key"]
                ready = contenders(rows, column).ready
                for budget in sorted({float(row[column]) for row in ready}):
                    wanted = leader(group.sample, [row for row in ready if row[column] <= budget])
                    scale = 1e-6 if column == "peak_memory_bytes" else 1.0
                    _, place, outcome, level, n = step_within(cost, budget * scale * (1 + 1e-5))
                    assert (labels[place], outcome, tuple(labels[i] for i in level), n) == (
                        wanted.label, wanted.outcome, wanted.level, wanted.n,
                    )  # fmt: skip
                    seen += 1
    assert seen > 60


def test_what_is_best_of_all_is_what_is_said_below(tmp_path):
    spread = (0.0, 0.3, -0.2, 0.1)
    nets = {"conv1x1": 20.0, "dct": 40.0, "hadamard": 40.1, "attention": 30.0}
    group = group_of(tmp_path, **{mixer: tuple(top1 + s for s in spread) for mixer, top1 in nets.items()})
    shown = picture(group)
    step = step_within(shown["costs"][0], math.inf)
    labels = [point["label"] for point in shown["points"]]
    said = best_at_latency(group.sample, main_rows(group.tables["summary"]), group.frame.query("kind == 'latency'"))
    assert labels[step[1]] == "hadamard" and [labels[i] for i in step[3]] == ["dct"]
    assert said[0].startswith("hadamard,") and "no clear difference to dct" in said[0]
    assert labels[step_within(shown["costs"][0], 2.5)[1]] == "dct"  # hadamard takes 3 ms
    assert labels[step_within(shown["costs"][0], 1.5)[1]] == "conv1x1"


def test_a_run_too_small_gives_no_answer_but_says_so(tmp_path):
    group = group_of(tmp_path, conv1x1=(20.0,), dct=(40.0,), attention=(60.0,))
    assert step_within(picture(group)["costs"][0], math.inf)[2] == OPEN


def test_who_is_no_contender_is_named_with_the_reason(tmp_path):
    for seed in (1, 2):
        trial = make_trial("accuracy", "dct", seed=seed)
        save(tmp_path, trial, status="diverged", reason="the loss is not a number")
    save(tmp_path, make_trial("accuracy", "fft_real"), status="oom", reason="2 GiB asked for")
    several = {"conv1x1": (20.0, 20.1, 20.2), "attention": (30.0, 30.1, 30.2), "hadamard": (90.0,)}
    group = group_of(tmp_path, dct=(99.0,), **several)
    shown = picture(group)
    (cost, *_) = shown["costs"]
    assert cost["failed"] == ["dct"] and cost["few"] == ["hadamard (1 seed)"]
    assert shown["missing"] == ["fft_real (out of memory)"]
    assert {shown["points"][step[1]]["label"] for step in cost["steps"]} == {"conv1x1", "attention"}
    assert cost["doubt"] == "Times are of one sitting: another may order them otherwise."
    assert not next(c for c in shown["costs"] if c["key"] == "params")["doubt"]


def test_sizes_that_were_timed_alone_name_the_fastest(filled):
    group = next(g for g in make_groups(filled) if g.name.startswith("constellations"))
    sizes = timed_sizes(group.frame, group.tables["latency"], untrained=False)
    assert [one["tokens"].split(" ")[0] for one in sizes] == ["256", "1,024", "2,304", "4,096"]
    for one in sizes:
        times = [point["values"][LATENCY] for point in one["points"]]
        assert times == sorted(times) and one["points"][one["attention"]]["label"] == "attention"
        assert one["doubt"] == "timed in one sitting, so that nothing is called faster"
        assert {c["key"] for c in one["costs"]} <= {key for key, *_ in COSTS if "param" not in key and key != "flops"}
    table = fastest_table("fastest", sizes, IMAGES)
    assert table is not None and table.rows[-1][0].text == "4,096 tokens (64 px, patch 1)"
    assert table.rows[-1][1].text.startswith("conv1x1 ") and "no accuracy is known" in table.caption


def test_what_was_timed_in_three_sittings_is_called_faster(tmp_path):
    for mixer, ms in (("dct", 1.0), ("attention", 2.0)):
        for size in (16, 32):
            history = [
                {"round": r, "sitting": f"2026-01-01T0{hour}:00:00+00:00", "forward_ms": ms * (1 + r / 100)}
                for hour in (1, 3, 5)
                for r in range(3)
            ]
            trial = make_trial("latency", mixer, image_size=size, patch_size=1)
            save(tmp_path, trial, {"forward_ms": ms}, history)
    (group,) = make_groups(tmp_path)
    for one in timed_sizes(group.frame, group.tables["latency"], untrained=True):
        assert one["level"] == [] and one["doubt"] == ""


def test_titles_of_settings_say_what_differs_and_no_more(tmp_path):
    for mixer in ("dct", HOSTILE):
        save_accuracy(tmp_path, mixer, 40.0, 0)
        save_accuracy(tmp_path, mixer, 40.0, 0, coordinates=False)
        save_accuracy(tmp_path, mixer, 40.0, 0, image_size=32, norm="token")
    save_latency(tmp_path, "dct", 16)
    (group,) = make_groups(tmp_path)
    titles = {one["title"] for one in settings(group.sample, group.frame, group.tables["summary"])}
    assert titles == {
        "16 px, patch 2, 64 tokens, dim 48, 4 epochs",
        "16 px, patch 2, 64 tokens, dim 48, 4 epochs, no coordinates",
        "32 px, patch 2, 256 tokens, dim 48, 4 epochs, norm token",
    }
