"""Records of sequences through tables, plots, rankings and page: lengths for sizes, and predictors that are no net."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_files import read
from synthetic import PLOTTERS, fill, save
from synthetic_sequences import TASKS, fill_sequences, know, make_trial, save_accuracy

from benchmarks.cli import flags as cli_flags
from benchmarks.cli.measuring import request_of
from benchmarks.contract.record import Record
from benchmarks.plan.trials import Plan
from benchmarks.report import baselines, load
from benchmarks.report.build import Report, clear, make_report
from benchmarks.report.frame import results_frame
from benchmarks.report.page.answers import answers
from benchmarks.report.page.charts import latency_sweeps
from benchmarks.report.page.picture import settings
from benchmarks.report.plots.figures import Figure
from benchmarks.report.ranking import ranking
from benchmarks.report.sizes import IMAGES, SEQUENCES, worded
from benchmarks.report.stats.leader import CLEAR, leader
from benchmarks.report.stats.noise import noise
from benchmarks.report.stats.paired import Sample
from benchmarks.report.stats.predictions import correct_answers
from benchmarks.report.tables import abilities

FIGURES: dict[str, Figure] = {}


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        know(patch)
        yield patch


@pytest.fixture(scope="module")
def report(tmp_path_factory, patch) -> tuple[Path, Report]:
    folder = fill_sequences(fill(tmp_path_factory.mktemp("sequences")))

    def keep(figure: Figure, place: Path, name: str) -> list[Path]:
        FIGURES[f"{place.name}/{name}"] = figure  # drawing files takes seconds
        return []

    with pytest.MonkeyPatch.context() as patched:
        for module in PLOTTERS:
            patched.setattr(f"{module}.save_figure", keep)
        return folder, make_report(folder)


def groups(report: tuple[Path, Report]):
    return {group.name: group for group in report[1].groups}


def words_of(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text"))]
    return " ".join(texts)


def test_no_table_of_sequences_speaks_of_images_or_patches(report):
    folder = report[0]
    for task in TASKS:
        files = sorted((folder / "tables" / f"{task}-quick").iterdir())
        assert {path.suffix for path in files} == {".csv", ".md", ".tex"}
        for path in files:
            text = path.read_text(encoding="utf-8")
            header = text.splitlines()[0] if path.suffix == ".csv" else text
            header = re.sub(r"(train_)?images_per_s|per_image|train_images|images/s", "", header)  # names of metrics
            assert not re.search(r"(?i)patch|image| px", header), (path, header)
    assert "length" in read(folder / "tables/recall-quick/summary.csv")[0]
    assert "sequence by sequence" in (folder / "tables/recall-quick/differences.md").read_text(encoding="utf-8")


def test_no_plot_of_sequences_speaks_of_images_or_patches(report):
    figures = {name: words_of(figure) for name, figure in FIGURES.items() if name.startswith(tuple(TASKS))}
    assert len(figures) > 15
    assert not [name for name, text in figures.items() if re.search(r"(?i)patch|image| px", text)]
    assert "sequence length (tokens)" in figures["recall-quick/accuracy-by-length"]
    assert "image size (px), tokens below" in words_of(FIGURES["constellations-quick/latency-vs-image-size"])


def test_sequences_beside_images_leave_the_images_tables_as_they_are(report, tmp_path, patch, monkeypatch):
    monkeypatch.setattr("benchmarks.report.build.make_plots", lambda *_: [])
    make_report(fill(tmp_path))
    for alone in sorted((tmp_path / "tables").rglob("*.*")):
        assert alone.read_bytes() == (report[0] / alone.relative_to(tmp_path)).read_bytes(), alone.name


def test_words_are_those_of_the_examples():
    assert (
        worded("images/s, per image, Image size (px)", SEQUENCES) == "sequences/s, per sequence, Sequence length (px)"
    )
    assert worded("file:my_image_mixer.py images_per_s", SEQUENCES) == "file:my_image_mixer.py images_per_s"
    assert worded("images/s", IMAGES) == "images/s"


def test_trivial_predictors_are_columns_and_tell_who_has_not_left_them(report):
    rows = {row["label"]: row for row in read(report[0] / "tables/match-quick/summary.csv")}
    assert rows["dct"]["baseline_majority_percent"] == "61.7" and "baseline_root_operator_percent" not in rows["dct"]
    # two of three seeds of the hybrid say the majority class: the mean is above, its interval is not
    assert float(rows["hybrid_top"]["test_top1_percent_mean"]) > 70
    assert rows["hybrid_top"]["standing"] == baselines.OPEN and rows["attention"]["standing"] == baselines.SOLVED
    listops = {row["label"]: row["standing"] for row in read(report[0] / "tables/listops-quick/summary.csv")}
    # exact to depth 2 is above them all, and no net has to beat it
    assert listops["linear"] == listops["attention"] == baselines.ABOVE and listops["dct"] == baselines.AT


def test_an_interval_of_one_seed_is_over_the_test_examples():
    row = {"test_top1_percent_mean": 63.0, "test_top1_percent_low": None, "test_sd_points": 0.5}
    assert baselines.own_interval(row) == pytest.approx((63 - 0.98, 63 + 0.98))
    row["baseline_majority_percent"] = 61.7
    assert baselines.standing(row) == baselines.ABOVE
    assert baselines.standing(row | {"test_sd_points": 0.7}) == baselines.AT
    seeds_differ = row | {"test_top1_percent_low": 50.0}
    assert baselines.standing(seeds_differ) == baselines.OPEN and baselines.at_baseline({"standing": baselines.OPEN})
    assert baselines.standing(row | {"test_sd_points": None}) == baselines.UNJUDGED  # nothing says how sure it is
    assert baselines.standing(row | {"test_sd_points": None, "test_top1_percent_mean": 61.0}) == baselines.AT
    assert baselines.standing({"test_top1_percent_mean": None} | {k: row[k] for k in list(row)[1:]}) is None


def test_a_net_at_its_baseline_is_ranked_behind_the_others_and_never_best(report):
    lines = ranking(groups(report)["match-quick"])
    assert lines[0] == "match, 64 tokens; 3 seeds:"
    names = [line.removeprefix("*").split()[0] for line in lines[2:8]]
    assert names[:2] == ["attention", "hybrid_top"]
    assert lines[3].endswith("open")  # one seed of three learned it
    assert [line.endswith("at its baseline") for line in lines[2:8]] == [False] * 2 + [True] * 4
    assert "without a net: bag of tokens 61.7 %, majority class 61.7 %, chance 50.0 %" in lines
    assert lines[-1] == "the most accurate: attention"
    recall = groups(report)["recall-quick"]
    summary = recall.tables["summary"]
    stuck = summary[(summary["label"] == "attention") & (summary["length"] == 32)].assign(standing=baselines.AT)
    rows = [row for _, row in pd.concat([stuck, summary[summary["label"] == "linear"].head(1)]).iterrows()]
    found = leader(recall.sample, rows)
    assert found is not None and found.label == "linear" and found.outcome != CLEAR


def test_baselines_are_labelled_lines_in_every_plot_of_accuracy(report):
    names = [name for name in FIGURES if name.startswith("listops-quick/") and "latency-vs" not in name]
    assert {name.partition("/")[2] for name in names} >= {
        "accuracy-vs-latency",
        "accuracy-vs-params",
        "learning-curves",
    }
    for name in names:
        text = words_of(FIGURES[name])
        assert "root operator alone" in text and "exact to depth 2" in text and "Dashed" in text
        assert "Pale" in text
    assert "bag of tokens" in words_of(FIGURES["recall-quick/accuracy-by-length"])
    assert "Dashed" not in words_of(FIGURES["constellations-quick/accuracy-vs-params"])


def test_what_a_mixer_can_do_is_a_table_of_tasks(report):
    folder = report[0] / "tables" / "sequences-quick"
    rows = read(folder / "abilities.csv")
    found = {(row["dataset"], row["label"]): row["standing"] for row in rows if row["length"] != "64" or
             row["dataset"] != "recall"}  # fmt: skip
    assert found["recall", "attention"] == "solved" and found["recall", "dct"] == "at its baseline"
    text = (folder / "abilities.md").read_text(encoding="utf-8")
    cells = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[3:-1]]
             for line in text.splitlines() if line.startswith("|")}  # fmt: skip
    assert cells["mixer"] == ["listops, 128 tokens", "match, 64 tokens", "recall, 32 tokens", "recall, 64 tokens"]
    assert cells["attention"][2].startswith("✓ 99.8 ") and cells["dct"][1].startswith("× 61.7 ")
    assert cells["attention"][3].startswith("80.8 ")  # the same set, longer
    assert cells["hybrid_top"][0] == "–"  # not trained there
    assert cells["highest baseline"] == [
        "root operator alone, 35.0 %", "majority class, 61.7 %", "bag of tokens, 9.8 %", "bag of tokens, 9.8 %",
    ]  # fmt: skip
    two = (
        "Most tasks are solved by attention: 2 of 4. No better than a predictor that looks at one thing alone: 2 of "
        "5 mixers on listops, 4 of 6 mixers on match, 3 of 6 mixers on recall at 32 tokens, 3 of 6 mixers on recall at "
        "64 tokens."
    )
    assert two in text and f"<p>{two} " in (report[0] / "index.html").read_text(encoding="utf-8")
    made = abilities.find_abilities([(g.frame, g.tables) for g in report[1].groups])[0]
    told = abilities.by_task(made)
    assert told["match, 64 tokens"][0] == "Solved by attention."
    assert told["match, 64 tokens"][1] == "Open, above on average and not by the interval over seeds: hybrid_top."
    assert cells["hybrid_top"][1].startswith("? ")
    assert told["match, 64 tokens"][-1].startswith("Cannot, no better than") and "dct" in told["match, 64 tokens"][-1]
    for task in ("listops, 128 tokens", "recall, 32 tokens", "recall, 64 tokens"):
        assert any("linear" in line for line in told[task] if line.startswith("Above its baselines"))
    assert (report[0] / "plots/sequences-quick/abilities.png").stat().st_size > 10_000


def test_what_another_rate_or_more_epochs_would_change_is_told_beside_the_table(report, tmp_path, patch, monkeypatch):
    how = "had other rates or more epochs too, judged on held-out sequences, one seed where no number is said."
    told = f"at the baseline or open {how} None left it"
    assert f"1 net {told}" in (report[0] / "tables/sequences-quick/abilities.md").read_text(encoding="utf-8")
    assert f"<p>1 net {told}.</p>" in (report[0] / "index.html").read_text(encoding="utf-8")
    monkeypatch.setattr("benchmarks.report.build.make_plots", lambda *_: [])
    for mixer, task, top1 in (("dct", "recall", 6.3), ("linear", "recall", 25.0), ("dct", "match", 61.7)):
        save_accuracy(tmp_path, mixer, top1, 0, task)
    for mixer, task, changes, top1 in (
        ("dct", "recall", {"lr": 0.003}, 90.0),  # the very rate of the table tells nothing new
        ("dct", "recall", {"lr": 0.001}, 10.0),  # above, but within the chance of the test sequences
        ("dct", "match", {"lr": 0.008}, 40.0),
        ("dct", "match", {"epochs": 9}, 80.0),
        ("linear", "recall", {"lr": 0.008}, 99.0),  # it is above its baselines as it is
        ("dct", "match", {"epochs": 9, "seed": 1}, 82.0),
    ):
        trial = make_trial("tuning", mixer, task, **changes)
        save(tmp_path, trial, {"val_top1_percent": top1, "train_s": 12.0})
    made = make_report(tmp_path)
    found = abilities.find_abilities([(g.frame, g.tables) for g in made.groups])[0]
    assert abilities.retried(found) == (
        f"2 nets at the baseline or open {how} Above the baseline then: dct on match (0.003, 9 epochs, 2 seeds: "
        "81.0 %)."
    )


@pytest.mark.parametrize("name", ["sequences-quick-amd", "pathfinder-middle-full"])
def test_what_a_report_wrote_of_sequences_it_clears(tmp_path, name):
    folder = tmp_path / "tables" / name
    folder.mkdir(parents=True)
    for file in ("abilities.csv", "abilities.md", "abilities.tex", "notes.txt"):
        (folder / file).write_text("mine")
    clear(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_one_task_makes_no_table_of_tasks(tmp_path, patch, monkeypatch):
    save_accuracy(tmp_path, "dct", 30.0, 0)
    save_accuracy(tmp_path, "attention", 99.0, 0)
    monkeypatch.setattr("benchmarks.report.build.make_plots", lambda *_: [])
    made = make_report(tmp_path)
    assert not (tmp_path / "tables" / "sequences-quick").exists()
    assert abilities.find_abilities([(g.frame, g.tables) for g in made.groups]) == []


def test_two_lengths_of_one_task_make_a_table(tmp_path, patch, monkeypatch):
    for length in (32, 64):
        for mixer, top1 in (("dct", 30.0), ("attention", 99.0)):
            save_accuracy(tmp_path, mixer, top1, 0, length=length)
    monkeypatch.setattr("benchmarks.report.build.make_plots", lambda *_: [])
    make_report(tmp_path)
    rows = read(tmp_path / "tables/sequences-quick/abilities.csv")
    assert [(row["label"], row["length"]) for row in rows] == [
        (mixer, length) for mixer in ("attention", "dct") for length in ("32", "64")
    ]


def mixing_card(folder, **nets: tuple[float, ...]) -> str:
    for mixer, values in nets.items():
        for seed, top1 in enumerate(values):
            save_accuracy(folder, mixer, top1, seed)
    (group,) = make_report(folder).groups
    (card,) = [a for a in answers(group.sample, dict(group.tables), group.frame) if a.question == "Does mixing matter?"]
    return card.lines[0]


def test_the_card_on_mixing_says_what_is_lacking(tmp_path, patch, monkeypatch):
    monkeypatch.setattr("benchmarks.report.build.make_plots", lambda *_: [])
    stuck = mixing_card(tmp_path, conv1x1=(6.2,), dct=(6.4,))
    assert stuck == "Not to be told here: at 32 tokens no net is above its baseline (bag of tokens, 9.8 %)."
    one = mixing_card(tmp_path, attention=(99.0,))
    assert one.endswith("mixer, attention. Seen with 1 seed; a verdict takes 3.") and "Too small" not in one
    # the highest mean is not above its baseline, since one seed of two has learned nothing
    lucky = mixing_card(tmp_path, attention=(40.0, 40.1, 40.2), hybrid_top=(100.0, 6.0))
    assert "most accurate mixer, attention." in lucky
    whole = mixing_card(tmp_path, conv1x1=(6.2, 6.3, 6.4), dct=(6.4, 6.5, 6.2), attention=(99.0, 99.1, 98.9))
    assert whole.endswith("most accurate mixer, attention.")


def test_what_is_at_its_baseline_is_no_contender_in_the_picture(report):
    group = groups(report)["match-quick"]
    (shown,) = settings(group.sample, group.frame, group.tables["summary"])
    stuck = {"conv1x1", "dct", "fft_real", "hybrid_top", "linear"}
    for cost in shown["costs"]:
        known = {p["label"] for p in shown["points"] if p["values"][cost["key"]] is not None}
        assert set(cost["stuck"] + cost["unjudged"]) == stuck & known
        assert {shown["points"][step[1]]["label"] for step in cost["steps"]} <= {"attention"}
    assert shown["highest"].startswith("majority class")
    images = groups(report)["constellations-quick"]
    for one in settings(images.sample, images.frame, images.tables["summary"]):
        assert not any(cost["stuck"] or cost["unjudged"] for cost in one["costs"]) and "baselines" not in one


def test_answers_of_tokens_are_shares_of_an_example(tmp_path, patch):
    for seed in range(3):
        save_accuracy(tmp_path, "dct", 30.0 + seed, seed)
        save_accuracy(tmp_path, "attention", 50.0 + seed, seed)
    frame = results_frame(tmp_path)
    correct = correct_answers(frame, tmp_path)
    one = correct[str(frame["id"][0])]
    assert one.shape == (400,) and set(np.round(one * 16, 9) % 1) == {0.0} and len(set(one)) > 5
    sample = Sample(frame, tmp_path)
    low, high = sample.runs
    found = sample.interval(lambda a, b: a - b, high, low)
    assert found.n == 3 and found.low is not None and abs(found.value) == pytest.approx(20, abs=0.1)
    # examples are the unit: the error of a mean of 400 shares, not of 6,400 answers
    answers = np.stack([correct[i] for i in low.ids.values()])
    expected = 100 * np.sqrt(answers.var(axis=1, ddof=1).mean() / 400)
    assert noise(answers).test == pytest.approx(expected)


def test_lengths_are_swept_and_what_ran_out_of_memory_is_a_row(report):
    folder = report[0] / "tables" / "recall-quick"
    scaling = {row["label"]: row for row in read(folder / "scaling.csv")}
    assert scaling["linear"]["lengths"] == "32 512 1024 2048 4096 8192"
    assert "image_sizes_px" not in scaling["linear"] and "dct" not in scaling  # timed at one length alone
    assert scaling["fft_real"]["net_forward_overtakes_attention"].startswith("from")
    lost = [row for row in read(folder / "latency.csv") if row["status"] == "oom"]
    assert {(row["label"], row["length"]) for row in lost} == {
        ("linear", "16384"), ("attention(backend=plain)", "8192"), ("attention(backend=plain)", "16384"),
    }  # fmt: skip
    text = words_of(FIGURES["recall-quick/ratio-vs-length"])
    assert "16,384 tokens" in text and "(out of memory)" in text and "time over attention's" in text


def test_a_chosen_rate_of_sequences_is_marked(report):
    tuning = read(report[0] / "tables/recall-quick/tuning.csv")
    assert [row["lr"] for row in tuning] == ["0.001", "0.003", "0.008"]
    assert "norm" in tuning[0] and {row["norm"] for row in tuning} == {"token"}


def test_commands_of_sequences_make_the_trials_again(report, tmp_path):
    records = {record.id: record for record in map(Record.load, sorted((report[0] / "records").glob("*.json")))}
    group = groups(report)["recall-quick"]
    found = settings(group.sample, group.frame, group.tables["summary"])
    commands = [point["command"] for one in found for point in one["points"]]
    swept = latency_sweeps(group.frame, group.tables["latency"])[0]["quantities"][0]["lines"]
    commands += [line["command"] for line in swept if line["label"] == "fft_real"]
    assert len(commands) > 12
    for command in commands:
        _, verb, *words = shlex.split(command)
        plain = [
            f"--{name.lower().replace('_', '-')}={v}" for name, v in (w.split("=", 1) for w in words) if name != "ARGS"
        ]
        request = request_of(cli_flags.read(verb, [*plain, "--no-coordinates", f"--results={tmp_path}"]))
        plan = Plan(request)
        trials = plan.accuracy(all_seeds=False) if verb == "train" else plan.latency()
        fields = ("mixer", "length", "dim", "depth", "seed", "lr", "norm", "positions", "coordinates", "image_size")
        known = {tuple(getattr(record.trial, name) for name in fields) for record in records.values()}
        assert {
            tuple(getattr(trial, name) for name in fields) for trial in trials if "plain" not in trial.mixer
        } <= known


def test_the_page_of_sequences_has_lengths_baselines_and_no_patches(report):
    html = (report[0] / "index.html").read_text(encoding="utf-8")
    data = json.loads(html.partition('id="data">')[2].partition("</script>")[0])
    part = next(group for group in data["groups"] if group["name"] == "recall-quick")
    assert part["words"] == {"axis": "sequence length (tokens)", "noun": "sequence", "sequences": True}
    assert "Does mixing matter?" in part["answers"] and not part["patches"]
    text = json.dumps(part)
    assert not re.search(r"(?i)patch(?!_size|es\W)|per image|image size", text)
    assert "bag of tokens" in text and "at its baseline" in text
    assert "dct: above its baselines" not in html and "majority class" in json.dumps(data)


def test_the_page_of_images_is_not_touched_by_the_words():
    for text in ("<b>image size</b> of images", "per image"):
        assert worded(text, IMAGES) is text


def test_load_results_has_sequences_with_lengths_as_numbers(report):
    frame = load.load_results(report[0], settings="all")
    found = frame[frame["dataset"] == "recall"]
    assert found["length"].dtype == "Int64" and found["image_size"].isna().all()
    assert found["baseline_majority_percent"].dropna().unique().tolist() == [6.5]
    assert load.main_setting(results_frame(report[0]))["label"].nunique() > 4
