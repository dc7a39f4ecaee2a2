"""The page's numbers, commands and escaping, without a browser."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shlex
import statistics
from pathlib import Path

import pandas as pd
import pytest
from report_files import make_groups
from synthetic import HOSTILE, fill, make_trial, save, save_accuracy, save_latency

from benchmarks.cli.flags import read
from benchmarks.cli.measuring import request_of
from benchmarks.contract.record import Record
from benchmarks.plan.trials import Plan
from benchmarks.report.claims.catalogue import CLAIMS
from benchmarks.report.claims.parts import Part
from benchmarks.report.claims.verdicts import Verdict
from benchmarks.report.commands import latency_command
from benchmarks.report.page import tables as page_tables
from benchmarks.report.page.answers import answers, best_at_latency, main_rows, variance_split
from benchmarks.report.page.charts import patch_charts
from benchmarks.report.page.headlines import crossing_text, headlines
from benchmarks.report.page.picture import settings
from benchmarks.report.page.write import write_page
from benchmarks.report.wording import signed


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = fill(tmp_path_factory.mktemp("page"))
    write_page(folder, make_groups(folder))
    return folder


def content(folder: Path) -> dict:
    html = (folder / "index.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    return json.loads(text)


def groups_of(folder: Path) -> dict[str, dict]:
    return {group["name"]: group for group in content(folder)["groups"]}


def shown_settings(group) -> list[dict]:
    return settings(group.sample, group.frame, group.tables["summary"])


def test_the_same_records_make_the_same_page(results, tmp_path):
    other = fill(tmp_path)
    write_page(other, make_groups(other))
    assert (other / "index.html").read_bytes() == (results / "index.html").read_bytes()
    assert (other / "index.html").stat().st_size < 2_500_000


def test_the_page_names_no_address_that_it_could_load_from(results):
    html = (results / "index.html").read_text(encoding="utf-8")
    own = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", own)
    assert "default-src 'none'" in own
    # papers are links, which load nothing
    urls = {facts["url"].split("/")[2] for facts in content(results)["mixers"].values() if facts["url"]}
    assert urls == {"arxiv.org", "github.com"}


def test_points_are_the_summary_and_groups_do_not_meet(results):
    groups, data = make_groups(results), groups_of(results)
    assert len(data) == len(groups) == 2
    for group in groups:
        found = data[group.name]
        summary = group.tables["summary"]
        trained = summary[summary["status"] == "ok"]
        shown = [point for setting in found["settings"] for point in setting["points"]]
        means = {float(f"{mean:.6g}") for mean in trained["test_top1_percent_mean"]}
        assert {point["y"] for point in shown} == means
        for point in shown:
            for key, (low, high) in point["intervals"].items():
                assert low <= point["values"][key] * (1 + 1e-5) and point["values"][key] * (1 - 1e-5) <= high
    found = data["constellations-quick"]["settings"]
    timed = {(p["label"], key) for s in found for p in s["points"] for key in p["intervals"]}
    assert ("hadamard", "net_forward_ms_per_image") in timed and ("attention", "net_forward_ms_per_image") not in timed


def test_a_command_makes_the_trials_again_that_its_number_came_from(results, tmp_path):
    records = [Record.load(path) for path in sorted((results / "records").glob("accuracy-*.json"))]
    checked = 0
    for group in make_groups(results):
        for setting in groups_of(results)[group.name]["settings"]:
            for point in setting["points"]:
                make, verb, *words = shlex.split(point["command"])
                assert (make, verb) == ("make", "train")
                flags = [
                    f"--{name.lower().replace('_', '-')}={value}" for name, value in (w.split("=", 1) for w in words)
                ]
                options = read(verb, [*flags, f"--results={tmp_path}"])
                trials = Plan(request_of(options)).accuracy(all_seeds=False)
                # synthetic trials leave warm-up and smoothing out, which the profile has
                fields = (
                    "mixer",
                    "dataset",
                    "image_size",
                    "patch_size",
                    "dim",
                    "depth",
                    "seed",
                    "epochs",
                    "lr",
                    "batch_size",
                    "augment",
                )
                wanted = {tuple(getattr(t, name) for name in fields) for t in trials}
                mine = {
                    tuple(getattr(r.trial, name) for name in fields)
                    for r in records
                    if (r.trial.mixer, r.trial.dataset, r.trial.image_size, r.status)
                    == (point["label"], group.frame["dataset"][0], trials[0].image_size, "ok")
                }
                assert wanted == mine
                checked += 1
    assert checked == 15


def test_a_command_survives_the_shell_and_make():
    row = {"mixer": "file:A$B x'", "match": "params", "match_dim": 64, "dim": 72, "coordinates": False}
    text = latency_command(row, [16, "16x32"])
    *words, last = shlex.split(text)
    assert "MIXER=attention,file:A$$B x'" in words and "DIM=64" in words and "IMAGE_SIZE=16,16x32" in words
    assert last == "ARGS=--no-coordinates"


def test_what_records_call_themselves_is_escaped(tmp_path):
    name = "file:<script>alert(1)</script><b>&\"'"
    for mixer in (name, HOSTILE, "attention"):
        save_accuracy(tmp_path, mixer, 40.0, 0)
        for size in (16, 32):
            save_latency(tmp_path, mixer, size)
    path = write_page(tmp_path, make_groups(tmp_path))
    html = path.read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<b>&" not in html and r"\u003cscript\u003ealert(1)" in html
    assert name in {point["label"] for point in content(tmp_path)["groups"][0]["settings"][0]["points"]}


def test_headlines_say_the_gap_by_seed_and_the_crossing(results):
    group = make_groups(results)[1]
    tops: dict[str, dict[int, float]] = {}
    for path in (results / "records").glob("accuracy-*.json"):
        record = Record.load(path)
        if (record.trial.dataset, record.trial.image_size, record.status) == ("constellations", 16, "ok"):
            tops.setdefault(record.trial.mixer, {})[record.trial.seed] = float(record.metrics["test_top1_percent"])  # type: ignore[arg-type]
    shown = {headline.label: headline for headline in headlines(group.sample, dict(group.tables))}
    means = {mixer: sum(by_seed.values()) / len(by_seed) for mixer, by_seed in tops.items()}
    gap = means["hadamard"] - means["attention"]  # hadamard's seed 2 diverged
    failed = "n = 2; hadamard: 1 of 3 runs failed (diverged), no verdict"
    assert shown["hadamard"].gap.startswith(f"{signed(gap)} points [") and shown["hadamard"].gap.endswith(failed)
    assert shown["conv1x1"].crossings["net_forward"] == "at every size, 256-4,096; one sitting, not settled"
    assert shown["attention(backend=plain)"].gap == "–"


def test_the_page_says_what_a_ratio_of_times_is_and_which_sittings_it_is_of(results):
    group = make_groups(results)[1]
    lines = answers(group.sample, dict(group.tables), group.frame)[3].lines
    assert all(not re.search("(settled|sitting).*(tokens|attention)", line) for line in lines)
    assert any(re.search(r"time over attention's: .*\), one sitting$", line) for line in lines)
    # what was trained and single pixels are told of apart
    assert not any("pixels" in line and "trained" in line for line in lines)
    tables = groups_of(results)["constellations-quick"]["tables"]
    assert "interval over sittings" in tables["beside"]["caption"] and "trained" not in tables["crossings"]["caption"]


def test_a_size_between_two_measured_ones_says_so():
    assert crossing_text("from 1,800 tokens; one sitting, not settled") == (
        "from 1,800 tokens (interpolated); one sitting, not settled"
    )
    assert crossing_text("only up to 530 tokens") == "only up to 530 tokens (interpolated)"
    assert crossing_text("faster at every measured size (256-4,096)") == "at every size, 256-4,096"
    assert crossing_text("never up to 4,096") == "never up to 4,096"


def test_a_long_table_is_cut_and_says_so(tmp_path, monkeypatch):
    folder = fill(tmp_path)
    whole = write_page(folder, make_groups(folder)).read_text(encoding="utf-8")
    assert "latency.csv has all." not in whole
    monkeypatch.setattr(page_tables, "MOST_ROWS", 2)
    cut = write_page(folder, make_groups(folder)).read_text(encoding="utf-8")
    assert "latency.csv has all." in cut and len(cut) < len(whole)


def test_patches_or_mixing_names_the_mixer_that_the_shares_rest_on():
    rows = [(None, 42.0, 45.0), ("attention", 47.0, 40.0), ("linear", 13.0, 73.0)]
    table = pd.DataFrame(
        [{"dim": 32, "without": w, "mixer_percent": m, "patch_percent": p, "mixer_less_patch_percent": m - p}
         for w, m, p in rows], dtype=object,
    )  # fmt: skip
    told = variance_split(table, pd.Series({"dim": 32}))
    assert told == (
        "Of the variance between these nets the mixer explains 42 %, the patch size 45 %; "
        "without linear 13 % and 73 %. "
    )
    assert variance_split(table, pd.Series({"dim": 64})) == variance_split(table.iloc[:0], pd.Series()) == ""


def test_answers_take_the_claims_verdicts(results):
    group = make_groups(results)[1]
    claims = {claim.id: claim for claim in CLAIMS}
    parts = [
        Part("fft_complex − fft_real", 2.5, 1.25, 3.75, 8, (0, math.inf), wide=(0.5, 4.5)),
        Part("fft_pairs − fft_real", 0.5, 0.1, 0.9, 8, (0, math.inf), wide=(-0.2, 1.2)),
    ]
    imaginary = Verdict(claims["imaginary-part-helps"], "undecided", 0.5, 0.1, 0.9, 8, "points", "", "why", parts=parts)
    dct = Verdict(
        claims["dct-hadamard-slightly-worse"], "contradicted", -1.0, -2.0, -0.5, 3, "points", "x", "it is not"
    )

    def said(*verdicts):
        return {a.question: a.lines for a in answers(group.sample, dict(group.tables), group.frame, verdicts)}

    told = said(imaginary, dct)
    assert told["Does the imaginary part matter?"] == [
        "Undecided: keeping it helps in 1 of 2 comparisons, shows no difference in 1. "
        "Intervals are widened for 2 comparisons.",
        "fft_complex − fft_real: +2.5 points (+0.5 to +4.5), 8 seeds",
        "fft_pairs − fft_real: +0.5 points (−0.2 to +1.2), 8 seeds",
    ]
    assert told["Which published claims hold here?"] == [
        "Of 2 claims: 1 contradicted, 1 undecided.",
        "contradicted: DCT and Hadamard are slightly less accurate than the DFT",
    ]
    few = dataclasses.replace(imaginary, parts=[dataclasses.replace(part, n=2) for part in parts])
    assert said(few)["Does the imaginary part matter?"][0] == "Too few runs to tell."
    # the card says what the claim's verdict says, whatever its comparisons
    for outcome, word in (("supported", "Yes"), ("contradicted", "No"), ("undecided", "Undecided")):
        both = dataclasses.replace(imaginary, parts=parts[:1] * 2, outcome=outcome)
        lead = said(both)["Does the imaginary part matter?"][0]
        assert lead.startswith(f"{word}: keeping it helps in 2 of 2 comparisons.")
    level = dataclasses.replace(imaginary, parts=parts[1:])
    assert "shows no difference in 1." in said(level)["Does the imaginary part matter?"][0]
    write_page(results / "with", [dataclasses.replace(group, verdicts=[imaginary, dct])])
    rows = groups_of(results / "with")["constellations-quick"]["tables"]["claims"]["rows"]
    assert [row[1] for row in rows] == ["contradicted", "undecided"]  # what is decided comes first
    assert rows[0][2] == "−1.0 points (−2.0 to −0.5)" and "why: it is not" in rows[0][3]["more"]
    assert f"holds if: {dct.claim.threshold}" in rows[0][3]["more"]


def test_no_mixing_may_be_the_best(tmp_path):
    for seed in range(3):
        save_accuracy(tmp_path, "conv1x1", 31 + seed / 10, seed)
        save_accuracy(tmp_path, "attention", 29 + seed / 10, seed)
    (group,) = make_groups(tmp_path)
    lines = answers(group.sample, dict(group.tables), group.frame)[2].lines
    assert "reaches 107 % of the accuracy of the most accurate mixer, attention." in lines[0]
    assert "Too small" not in lines[0]
    assert lines[1].startswith("attention minus conv1x1: −2.0 points")


def test_what_is_shown_first_is_the_setting_with_most_runs_and_without_ablation(tmp_path):
    for seed in range(3):
        for mixer in ("conv1x1", "attention"):
            save_accuracy(tmp_path, mixer, 30 + seed, seed, image_size=32)
    for mixer in ("conv1x1", "attention"):
        save_accuracy(tmp_path, mixer, 20, 0, image_size=16)
        save_accuracy(tmp_path, mixer, 10, 0, image_size=32, coordinates=False)
    (group,) = make_groups(tmp_path)
    shown = shown_settings(group)
    assert shown[0]["key"] == "" and shown[0]["title"].startswith("32 px")
    assert "n = 3" in shown[0]["points"][0]["numbers"][0]
    assert [runs.setting["image_size"] for runs in group.sample.settings()[0]] == [32, 32]


def test_one_run_is_no_winner_among_many_and_level_mixers_are_named(tmp_path):
    times = {"conv1x1": 1.0, "dct": 2.0, "hadamard": 3.0, "pool": 0.5}
    for mixer, top1 in (("conv1x1", 30.0), ("dct", 40.0), ("hadamard", 40.1), ("pool", 60.0)):
        for seed in range(1 if mixer == "pool" else 4):
            save_accuracy(tmp_path, mixer, top1 + 0.3 * math.sin(seed + len(mixer)), seed)
        starts = [f"2026-01-01T0{hour}:00:00+00:00" for hour in (1, 3, 5)]
        history = [{"round": r, "sitting": start, "forward_ms": times[mixer]} for start in starts for r in range(2)]
        save(tmp_path, make_trial("latency", mixer), {"forward_ms": times[mixer]}, history)
    (group,) = make_groups(tmp_path)
    rows = main_rows(group.tables["summary"])
    lines = best_at_latency(
        group.sample,
        rows.assign(net_forward_ms_per_image=[times[label] for label in rows["label"]]),
        group.frame[group.frame["kind"] == "latency"],
    )
    assert lines[0].startswith("hadamard") and "no clear difference to dct" in lines[0]
    assert not any("pool" in line for line in lines)
    assert any("dct" in line and "points" in line and "over conv1x1" in line for line in lines[1:])


@pytest.mark.parametrize(
    ("dct_over_hadamard", "dct_top1", "lead", "steps"),
    [
        ((0.9, 0.91, 0.9), (40, 41, 42), "Below that dct, conv1x1, as listed.", ["conv1x1", "dct", "hadamard"]),
        ((0.7, 1.2, 0.8), (40, 41, 42), "; dct less accurate, not clearly faster. ", ["conv1x1", "hadamard"]),
        ((0.7, 1.2, 0.8), (52, 49, 51), "forward); no clear difference to dct. ", ["conv1x1", "hadamard"]),
        ((0.9, 0.91), (40, 41, 42), "conv1x1 less accurate, not timed in 3 sittings, so that nothing", ["hadamard"]),
        ((0.9,), (40, 41, 42), "conv1x1 less accurate, not timed in 3 sittings, so that nothing", ["hadamard"]),
    ],
)
def test_a_mixer_is_faster_if_it_is_so_over_sittings(tmp_path, dct_over_hadamard, dct_top1, lead, steps):
    drift = (1.0, 1.5, 0.7, 1.2)  # of the machine, from round to round
    ratio_of = {"conv1x1": (0.5, 0.5, 0.5), "dct": dct_over_hadamard, "hadamard": (1.0, 1.0, 1.0)}
    for mixer, top1 in (("conv1x1", (30, 31, 32)), ("dct", dct_top1), ("hadamard", (50, 51, 52))):
        for seed in range(3):
            save_accuracy(tmp_path, mixer, float(top1[seed]), seed)
        history = [
            {"round": i, "sitting": f"2026-01-01T0{hour}:00:00+00:00", "forward_ms": ms * ratio}
            for hour, ratio, _ in zip((1, 3, 5), ratio_of[mixer], dct_over_hadamard, strict=False)
            for i, ms in enumerate(drift)
        ]
        metrics = {"forward_ms": statistics.median(row["forward_ms"] for row in history)}
        save(tmp_path, make_trial("latency", mixer, rounds=4), metrics, history)
    (group,) = make_groups(tmp_path)
    lines = answers(group.sample, dict(group.tables), group.frame)[0].lines
    assert lines[0].startswith("hadamard") and lead in lines[0]
    assert [line.split(": ")[1].split(",")[0] for line in lines[1:]] == steps


def test_every_difference_stands_in_the_setting_of_its_ranking(results):
    seen = 0
    for group in make_groups(results):
        differences = group.tables["differences"]
        table = page_tables.differences_table("paired", group.tables["summary"], differences)
        ranked = page_tables.ranked_table("ranked", group.tables["summary"], group.tables["tuning"])
        assert ranked is not None
        if table is None:
            assert differences.empty
            continue
        seen += len(table.rows)
        assert len(table.rows) == len(differences) and set(table.settings) <= set(ranked.settings)
        trained = {(key, row[1].text) for key, row in zip(ranked.settings, ranked.rows, strict=True)}
        for key, against, row in zip(table.settings, table.against, table.rows, strict=True):
            assert {(key, row[0].text), (key, against)} <= trained
    assert seen > 10


@pytest.mark.parametrize(
    ("text", "order"), [("+3.7", 3.7), ("−2.1", -2.1), ("−2.1 to +0.4", -2.1), ("1.23 M (1-2)", 1.23e6), ("–", -1.0)]
)
def test_cells_sort_by_the_number_that_they_begin_with(text, order):
    assert page_tables.sort_key(text) == order


@pytest.mark.parametrize(
    ("seeds", "noise", "doubt"),
    [
        ((0, 1), 0, " Too few to tell how surely, n = 2."),
        ((0, 1, 2), 0, ""),
        ((0, 1, 2), 9, " At patch 2 the interval includes 0."),
    ],
)
def test_accuracy_by_patch_size_needs_two_of_them_and_says_how_surely(tmp_path, seeds, noise, doubt):
    for patch, top1 in ((2, 30.0), (4, 25.0)):
        for mixer, more in (("conv1x1", 0.0), ("linear", 5.0 * patch)):
            for seed in seeds:
                chance = noise * (seed - 1) if (mixer, patch) == ("linear", 2) else 0
                save_accuracy(tmp_path, mixer, top1 + more + seed + chance, seed, patch_size=patch)
    (group,) = make_groups(tmp_path)
    (sweep,) = patch_charts(group.frame, group.tables["summary"])
    mean = sum(seeds) / len(seeds)
    assert {line["label"]: (line["x"], line["y"]) for line in sweep["lines"]} == {
        "conv1x1": ([2, 4], [30 + mean, 25 + mean]), "linear": ([2, 4], [40 + mean, 45 + mean]),
    }  # fmt: skip
    said = answers(group.sample, dict(group.tables), group.frame)[2].lines[0]
    assert f"({sweep['title']})" in said and "depth" in sweep["title"] and "mixing by linear" in said
    assert said.endswith(f"+10.0 at patch 2, +20.0 at patch 4.{doubt}")
    assert len(shown_settings(group)) == 2
