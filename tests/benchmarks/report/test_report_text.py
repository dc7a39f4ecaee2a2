"""Records of text through tables, plots, page, rankings and claims."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from synthetic import PLOTTERS as OTHERS
from synthetic import fill
from synthetic_text import ENCODERS, EPOCHS, EXAMPLES, LENGTH, fill_text, make_trial, save_run

from benchmarks import compare
from benchmarks.cli import flags as cli_flags
from benchmarks.contract.errors import UserError
from benchmarks.report.build import Report, clear, make_report
from benchmarks.report.claims.catalogue_text import TEXT_CLAIMS, OnText, text_claims
from benchmarks.report.claims.parts import SUPPORTED, UNDECIDED
from benchmarks.report.claims.verdicts import judge
from benchmarks.report.frame import results_frame, split_groups
from benchmarks.report.plots.figures import Figure
from benchmarks.report.ranking import ranking
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.scores import score_sample
from benchmarks.report.stats.text_lines import find_lines, joined, own_interval, span_of_task
from benchmarks.report.text.literature import PRETRAINING
from benchmarks.report.text.rows import minutes_rows, task_rows

FIGURES: dict[str, Figure] = {}
OTHER_METRICS = ["STS-B, Pearson (x 100)", "CoLA, accuracy (%)", "MRPC, accuracy (%)"]
PLOTTERS = [*OTHERS, "benchmarks.report.text.plots"]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> tuple[Path, Report]:
    folder = fill_text(tmp_path_factory.mktemp("text"))

    def keep(figure: Figure, place: Path, name: str) -> list[Path]:
        FIGURES[f"{place.name}/{name}"] = figure  # drawing files takes seconds
        return []

    with pytest.MonkeyPatch.context() as patch:
        for module in PLOTTERS:
            patch.setattr(f"{module}.save_figure", keep)
        return folder, make_report(folder)


@pytest.fixture(scope="module")
def line(report):
    (found,) = find_lines(evidence_of(report[0]))
    return found


def evidence_of(folder: Path) -> list[Evidence]:
    return [Evidence(group, folder) for group in split_groups(results_frame(folder)).values()]


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables/text-quick" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_pre_training_is_fnets_table_with_the_published_rows_below(report):
    rows = read(report[0], "pretraining")
    ours = {row["label"]: row for row in rows if row["source"] == "these records"}
    assert {*ENCODERS, "dct", "hadamard"} == set(ours)
    assert ours["dct"]["part"] == "2"  # trained for a third: no share of attention's
    assert not ours["dct"]["share_of_attention_percent"]
    fnet, attention = ours["fft_real"], ours["attention"]
    share = 100 * float(fnet["score_mean"]) / float(attention["score_mean"])
    assert float(fnet["share_of_attention_percent"]) == pytest.approx(share)
    assert float(fnet["share_of_attention_percent_low"]) < share < float(fnet["share_of_attention_percent_high"])
    assert int(fnet["tokens_seen"]) == EPOCHS * EXAMPLES * LENGTH
    assert float(fnet["train_tokens_per_s"]) == pytest.approx(EXAMPLES * LENGTH / (64 / 62.5))
    assert float(fnet["timed_tokens_per_s"]) == pytest.approx(32 * LENGTH / 0.064, rel=0.05)
    assert float(fnet["baseline_frequencies_percent"]) == 17
    published = [row for row in rows if row["family"] == "published"]
    assert [row["label"] for row in published] == [row.model for row in PRETRAINING]
    text = (report[0] / "tables/text-quick/pretraining.md").read_text(encoding="utf-8")
    assert text.index("| ff_only") < text.index("| token frequencies") < text.index("| BERT-Base")
    assert re.search(r"\| own place alone +\| no net +\| +23.6 \| +2.90 \| +50.0 \|", text)
    assert re.search(r"\| FNet-Base +\| published +\| +58.0 \| +2.06 \| +80.0 \|.* 85 \|", text)
    assert "second hand" in text
    assert (report[0] / "tables/text-quick/pretraining.tex").read_text(encoding="utf-8").count(r"\begin{table}") == 2


def test_equal_minutes_are_the_shortest_of_all_runs(report):
    rows = {row["label"]: row for row in read(report[0], "equal-minutes")}
    until = EPOCHS * 55 / 62.5  # of ff_only
    assert float(rows["attention"]["seconds"]) == pytest.approx(until)
    epochs = until / (120 / 62.5)
    assert int(rows["attention"]["tokens_seen"]) == pytest.approx(epochs * EXAMPLES * LENGTH, abs=1)
    curve = [18 + (57.5 - 18) * (1 - 0.6 ** max(0, e - 3)) / (1 - 0.6 ** (EPOCHS - 3)) for e in range(1, EPOCHS + 1)]
    expected = np.interp(epochs, range(1, EPOCHS + 1), curve)
    assert float(rows["attention"]["val_top1_percent_mean"]) == pytest.approx(expected, abs=0.01)
    assert float(rows["hybrid_top"]["val_top1_percent_mean"]) > float(rows["attention"]["val_top1_percent_mean"])
    text = (report[0] / "tables/text-quick/equal-minutes.md").read_text(encoding="utf-8")
    assert "held-out" in text and "may have had other work" in text


def test_tasks_have_their_own_metrics_floors_and_means(report, line):
    pretrained, scratch = line.parts
    assert [task.name for task in pretrained.tasks[:2]] == ["glue:sst2", "glue:stsb"]  # what says something first
    assert not pretrained.scratch and scratch.scratch
    by_name = {task.name: task for task in pretrained.tasks}
    assert by_name["glue:stsb"].floor == by_name["glue:cola"].floor == 0
    ones = 100 * np.load(report[0] / f"test_labels/glue-mrpc-{LENGTH}.npy").mean()
    assert by_name["glue:mrpc"].floor == pytest.approx(200 * ones / (100 + ones))
    assert [task.name for task in pretrained.counted] == ["glue:sst2", "glue:stsb"]
    mean = pretrained.mean
    one, two = by_name["glue:sst2"].runs["attention"], by_name["glue:stsb"].runs["attention"]
    assert mean.runs["attention"].top1 == {s: pytest.approx((one.top1[s] + two.top1[s]) / 2) for s in range(3)}
    rows = read(report[0], "tasks")
    row = next(r for r in rows if r["label"] == "linear_fnet" and r["dataset"] == "glue:stsb")
    assert row["metric"] == "test_spearman" and float(row["test_pearson_mean"]) != float(row["score_mean"])
    assert not row["test_top1_percent_mean"]
    row = next(r for r in rows if r["label"] == "linear_fnet" and r["dataset"] == "glue:cola")
    assert float(row["test_matthews_mean"]) == float(row["score_mean"]) and float(row["test_top1_percent_mean"]) > 60
    of_scratch = {r["dataset"] for r in rows if r["part"] == "2"}
    assert {name for name in of_scratch if not name.startswith("mean of")} == {task.name for task in scratch.tasks}


def test_what_cannot_rank_is_said(report, line):
    text = (report[0] / "tables/text-quick/tasks.md").read_text(encoding="utf-8")
    others = text.partition("the other metrics:")[2].partition("\n\n")[2].splitlines()
    assert [cell.strip() for cell in others[0].split("|")[3:-1]] == OTHER_METRICS
    (bert,) = [line for line in others[:12] if line.startswith("| attention")]
    assert "66.6 ± 1.0 (3)" in bert and bert.count("(3)") == len(OTHER_METRICS)
    assert "Tells encoders apart: SST-2, STS-B." in text
    assert re.search(r"Cannot rank anything here: CoLA, .* 300 test rows and n = 3 leave", text)
    assert "No encoder lies above a constant answer on CoLA, MRPC." in text
    assert re.search(r"\| bag of words +\| no net +\| +– \| +– \| +– \| +81.5 \|", text)
    assert re.search(r"\| majority class +\| no net .* \d+\.\d \(accuracy\) \|", text)
    by_name = {task.name: task for task in line.parts[0].tasks}
    assert span_of_task(by_name["glue:sst2"]).ranks and not span_of_task(by_name["glue:mrpc"]).ranks


def test_one_seed_leaves_the_test_rows(tmp_path):
    for mixer, right in (("attention", 0.9), ("dct", 0.6), ("hadamard", 0.61)):
        save_run(tmp_path, make_trial("accuracy", mixer, "glue:sst2"), right, 1.0)
    (found,) = find_lines(evidence_of(tmp_path))
    (task,) = found.parts[0].tasks
    span = span_of_task(task)
    assert span.n == 1 and span.ranks and span.half > 3
    low, high = own_interval(task.sample, task.runs["dct"])
    share = task.runs["dct"].top1[0] / 100
    assert (high - low) / 2 == pytest.approx(196 * np.sqrt(share * (1 - share) / 600), rel=0.01)
    assert found.settings == []


def test_a_mean_of_tasks_has_the_error_of_its_tasks():
    draw = np.random.default_rng(0)
    parts = [draw.random(400) < 0.9, draw.random(100) < 0.5]
    together = joined([part.astype(float) for part in parts])
    assert together.mean() == pytest.approx(np.mean([part.mean() for part in parts]))
    exact = np.sqrt(sum(part.var() / len(part) for part in parts)) / 2
    assert together.std() / np.sqrt(500) == pytest.approx(exact, rel=1e-6)


def test_a_share_of_a_correlation_that_may_be_0_is_not_told(tmp_path):
    for mixer, right in (("attention", 0.05), ("dct", 0.6)):
        for seed in range(3):
            save_run(tmp_path, make_trial("accuracy", mixer, "glue:stsb", seed=seed), right, 1.0)
    (found,) = find_lines(evidence_of(tmp_path))
    assert [row["share_of_attention_percent"] for row in task_rows(found.parts[0])] == [None, None]


def test_a_slow_encoder_has_no_figure_before_its_first_epoch(tmp_path):
    for mixer, seconds in (("attention", 10.0), ("dct", 1.0)):
        save_run(tmp_path, make_trial("accuracy", mixer), 0.5, seconds)
    (found,) = find_lines(evidence_of(tmp_path))
    rows = {row["label"]: row for row in minutes_rows(found, found.settings[0])}
    assert rows["dct"]["n"] == 1 and rows["dct"]["seconds"] == EPOCHS
    assert rows["attention"]["n"] == 0 and rows["attention"]["val_top1_percent_mean"] is None


def test_predictions_of_another_record_are_refused(tmp_path):
    record = save_run(tmp_path, make_trial("accuracy", "dct", "glue:stsb"), 0.5, 1.0)
    path = tmp_path / "records" / f"accuracy-{record.id}.npy"
    np.save(path, np.load(path)[::-1])
    (evidence,) = evidence_of(tmp_path)
    with pytest.raises(UserError, match="does not give the accuracy"):
        score_sample(evidence, "test_spearman")


def test_every_plot_of_a_line_is_drawn(report):
    names = {name for name in FIGURES if name.startswith("text-quick/")}
    assert names >= {f"text-quick/{what}" for what in ("accuracy-vs-speed", "accuracy-vs-tokens", "tasks-vs-attention")}
    figure = FIGURES["text-quick/loss-vs-tokens"]
    assert any("lowest mean loss after equal tokens" in text.get_text().replace("\n", " ") for text in figure.texts)
    assert figure.axes[0].get_ylabel() == "held-out loss of masked tokens (nats)"
    figure = FIGURES["text-quick/accuracy-vs-tokens"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["tokens seen", "seconds of training"]
    words = " ".join(t.get_text() for t in figure.findobj(
        lambda item: hasattr(item, "get_text")))  # fmt: skip
    assert (
        "token frequencies" in words
        and "own place alone" in words
        and "may have had other work" in words
        and "n = 3 seeds" in words
    )


def test_sts_b_is_ranked_by_its_correlation(report):
    group = next(g for g in report[1].groups if g.name == "glue-stsb-quick")
    lines = ranking(group)
    assert "Spearman" in lines[1] and "top-1" not in "".join(lines)
    assert re.match(r"attention +5\d\.\d \[", lines[2])
    text = (report[0] / "tables/glue-stsb-quick/summary.md").read_text(encoding="utf-8")
    assert "Spearman correlation" in text and "op-1" not in text
    files = {path.name for path in (report[0] / "tables/glue-stsb-quick").iterdir()}
    assert files == {"summary.csv", "summary.md", "summary.tex"}  # no differences of an accuracy that is not there
    assert "Matthews" in (report[0] / "tables/glue-cola-quick/summary.md").read_text(encoding="utf-8")
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    assert "Spearman correlation (x 100) [95 % interval], seeds" in page


def test_the_page_has_a_section_on_text_with_its_claims(report):
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    section = page.partition('<section id="text"')[2].partition("</section>")[0]
    for words in ("Pre-training at equal steps", "Pre-training at equal minutes", "Tells encoders apart"):
        assert words in section
    assert "Masked words found again: attention (BERT) " in section and "fft_real (FNet) " in section
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    rows = {name: table["rows"] for name, table in data["tables"].items() if name.startswith("text0")}
    assert any(row[0] == "FNet-Base" for row in rows["text0-pretraining-published"])
    assert "supported" in [row[1] for row in rows["text0-claims"]]
    assert "Text, pre-training" not in json.dumps(data["groups"])


def test_claims_on_text_are_judged_by_masked_accuracy_and_by_the_mean_of_tasks(report):
    found = {v.claim.id: v for v in judge(results_frame(report[0]), report[0]) if v.claim in TEXT_CLAIMS}
    assert set(found) == {claim.id for claim in TEXT_CLAIMS}
    worse = found["text-pretraining-random-and-none-worse"]
    assert worse.outcome == SUPPORTED and len(worse.parts) == 3
    share = found["text-tasks-fft-reaches-attention"]
    assert share.n == 3 and "mean of 2 tasks" in share.setting
    assert found["text-pretraining-dct-hadamard-below-fft"].reason.startswith("not measured: needs make text")
    faster = found["text-fft-trains-faster"]
    assert faster.parts[0].effect == pytest.approx(120 / 64, rel=0.05) and faster.outcome == UNDECIDED


def test_every_claim_says_what_measures_it():
    ids = [claim.id for claim in TEXT_CLAIMS]
    assert len(set(ids)) == len(ids)
    for claim in TEXT_CLAIMS:
        words = shlex.split(claim.command)
        assert words[0] == "make"
        flags = [f"--{w.partition('=')[0].lower().replace('_', '-')}={w.partition('=')[2]}" for w in words[2:]]
        given = cli_flags.read(words[1], flags)
        mixers = (
            {arm.mixer for c in claim.rule.contrasts for arm in c.arms} if isinstance(claim.rule, OnText) else set()
        )
        assert mixers <= set(str(given.mixer).split(","))


def test_a_folder_without_text_is_as_it_was(tmp_path):
    folder = fill(tmp_path / "images")
    assert text_claims(evidence_of(folder)) == () and find_lines(evidence_of(folder)) == []
    assert all(v.claim not in TEXT_CLAIMS for v in judge(results_frame(folder), folder))


def test_a_task_that_wants_a_number_has_a_page_and_can_be_compared(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, more in ((one, 0.0), (other, 0.2)):
        for seed, (mixer, score) in itertools.product(range(3), (("fft_real", 0.3), ("conv1x1", 0.1))):
            save_run(folder, make_trial("accuracy", mixer, "glue:stsb", seed=seed), score + more + seed / 100, 3.0)
    make_report(one)
    assert "the task wants a number, not a class" in (one / "index.html").read_text(encoding="utf-8")
    rows = compare(one, other).set_index("mixer")
    assert set(rows["quantity"]) == {"test_spearman"} and set(rows["verdict"]) == {"higher"}
    assert rows.loc["conv1x1", "change"] == pytest.approx(20, abs=4)
    alike = compare(one, one)
    assert set(alike["verdict"]) == {"identical"} and set(alike["quantity"]) == {"test_spearman"}


def test_old_files_of_text_are_cleared(tmp_path):
    for name in ("text-quick", "text-full-a-machine", "texts-quick"):
        (tmp_path / "tables" / name).mkdir(parents=True)
        (tmp_path / "tables" / name / "old.csv").touch()
    clear(tmp_path)
    assert [path.parent.name for path in (tmp_path / "tables").rglob("*.csv")] == ["texts-quick"]
