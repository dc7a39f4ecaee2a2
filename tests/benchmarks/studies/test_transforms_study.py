"""`python -m benchmarks transforms`: its order, resuming, a user's matrix, the report from files, the page."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.cli import transforms as verb
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import Record
from benchmarks.plan.trials import Request
from benchmarks.report.page.write import write_page
from benchmarks.studies.transforms import analysis, design, measure
from benchmarks.studies.transforms.matrices import HELD_BACK, TOKENS, TRANSFORMS
from benchmarks.studies.transforms.record import find_study, trained_of
from benchmarks.studies.transforms.report import judged, sentences, write_pages
from benchmarks.studies.transforms.section import sections
from benchmarks.sweep.run import Result
from mixers import create_mixer, registry

ROOT = Path(__file__).resolve().parents[3]
MACHINE = {"torch": "2.11.0", "device": "cpu", "cpu": "AMD EPYC 9B14", "cores": 2, "threads": 1}
REASON = {"ok": None, "diverged": "made up"}
SMALL = ["--dataset", "mosaics", "--train-images", "200", "--epochs", "1", "--dim", "8", "--depth", "1"]


class PretendedRunner:
    """Writes records whose accuracy follows the coding gain, and stops after `most` runs of a command."""

    most = 10_000
    order: list[str] = []
    status = "ok"

    def __init__(self, results, data_dir, retry=(), timeout_s=None, workers=1, budget=None) -> None:
        self.results, self.left = results, []
        self.checkpoints = results / "checkpoints"
        self.budget_runs = type(self).most

    def run(self, trials):
        self.left, made = [], []
        study = find_study(self.results.parent)
        assert study is not None
        for trial in trials:
            path = self.results / "records" / f"accuracy-{trial.id()}.json"
            if path.exists():
                made.append(Result(Record.load(path), False))
            elif not self.budget_runs:
                self.left.append(trial)
            else:
                self.budget_runs -= 1
                made.append(Result(self.write(trial, study), True))
        return made

    def write(self, trial, study):
        (member,) = [m for m in study.members if m.source == trial.mixer_source]
        type(self).order.append(member.name)
        gain = (member.predictors or {"coding_gain_db": 9.0})["coding_gain_db"]
        noise = np.random.default_rng([trial.seed, len(member.name)]).normal()
        made = Record(
            id=trial.id(), kind="accuracy", status=self.status, reason=REASON[self.status], trial=trial, history=[],
            metrics={"test_top1_percent": 20 + gain / 2 + 0.5 * noise} if self.status == "ok" else {},
            environment=MACHINE, code={"commit": "c0ffee", "dirty": False},
            started="2026-01-01T01:00:00+00:00", ended="2026-01-01T01:30:00+00:00",
        )  # fmt: skip
        made.save(self.results / "records")
        return made


@pytest.fixture(autouse=True)
def own_registry(monkeypatch, forget_plugins):
    """Files of one name in other folders are other mixers in every test; and there is no GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture(autouse=True)
def quick_statistics(monkeypatch):
    monkeypatch.setattr(analysis, "PERMUTATIONS", 1_999)


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """A results folder, still empty, and no training."""
    monkeypatch.setattr(measure, "Runner", PretendedRunner)
    monkeypatch.setattr(verb, "PUBLISHED", tmp_path / "nowhere")
    monkeypatch.setattr(PretendedRunner, "order", [])
    return tmp_path / "results"


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("finished") / "results"


@pytest.fixture
def finished(pretended, once, forget_plugins):
    """A results folder with a whole study."""
    if not once.exists():
        assert transforms(once) == 0
        PretendedRunner.order.clear()
        forget_plugins()
    shutil.copytree(once, pretended)
    return pretended


def transforms(results: Path, *more: str) -> int:
    return cli.main(["transforms", *SMALL, "--results", str(results), "--data-dir", str(results / "none"), *more])


def refused(capsys, *arguments: str) -> str:
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in line
    return line


def test_the_held_back_are_trained_after_the_choice_and_the_choice_stays(pretended, monkeypatch, capsys):
    monkeypatch.setattr(PretendedRunner, "most", 40)
    monkeypatch.setattr(verb, "write_pages", lambda results: [])  # others look at the files
    development = [name for name in TRANSFORMS if name not in HELD_BACK]
    assert transforms(pretended) == 0
    assert PretendedRunner.order[:22] == development and not set(PretendedRunner.order) & set(HELD_BACK)
    study = find_study(pretended)
    assert study is not None and study.choice is None and "the same command goes on" in capsys.readouterr().out

    monkeypatch.setattr(PretendedRunner, "most", 50)
    assert transforms(pretended) == 0  # the last 48 of the development, and two more
    assert sorted(PretendedRunner.order[:88]) == sorted(development * 4)
    assert len(PretendedRunner.order) == 90 and set(PretendedRunner.order[88:]) <= set(HELD_BACK)
    study = find_study(pretended)
    assert study is not None and study.choice is not None
    assert study.choice.predictor == "coding_gain_db" and study.choice.wins
    assert sorted(study.choice.transforms) == sorted(development)
    assert {m.name for m in study.members if m.predicted} == set(HELD_BACK)
    conditions = {m.name: (m.predictors or {})["condition"] for m in study.members}
    uneven = {"dct_condition_32", "random_banded"}
    assert {name for name, value in conditions.items() if value} == uneven  # rounding is a tie
    before = study.choice, study.chosen_at

    monkeypatch.setattr(PretendedRunner, "most", 10_000)
    assert transforms(pretended) == 0
    assert len(PretendedRunner.order) == 28 * 4
    assert "confirmed" in capsys.readouterr().out
    assert transforms(pretended) == 0 and len(PretendedRunner.order) == 28 * 4
    study = find_study(pretended)
    assert study is not None and (study.choice, study.chosen_at) == before


def test_runs_that_fail_are_said_and_no_choice_is_made_of_nothing(pretended, monkeypatch, capsys):
    monkeypatch.setattr(PretendedRunner, "status", "diverged")
    assert transforms(pretended, "--seed", "0") == 1
    assert "--retry failed" in capsys.readouterr().out
    study = find_study(pretended)
    assert study is not None and study.choice is None
    rows = list(csv.DictReader((pretended / "transforms" / "transforms.csv").open()))
    assert {row["failed"] for row in rows if row["role"] == "development"} == {"1"}


def test_another_setting_wants_another_folder(finished, capsys):
    capsys.readouterr()
    arguments = ["transforms", *SMALL, "--results", str(finished)]
    assert "depth 1, this one has 2" in refused(capsys, *arguments, "--depth", "2")
    assert "seeds 0,1,2,3; leave --seed out" in refused(capsys, *arguments, "--seed", "1")


def test_a_users_matrix_is_predicted_and_trained_and_leaves_no_path(finished, tmp_path, capsys):
    path = tmp_path / "secret" / "mine.npy"
    path.parent.mkdir()
    np.save(path, np.linalg.qr(np.random.default_rng(5).standard_normal((TOKENS, TOKENS)))[0])
    capsys.readouterr()
    assert transforms(finished, "--matrix", str(path)) == 0
    out = capsys.readouterr().out
    assert PretendedRunner.order == ["mine"] * 4
    assert "coding gain (dB):" in out and "predicted:" in out and "mine: " in out and "against the DCT" in out
    study = find_study(finished)
    assert study is not None
    (mine,) = study.role("own")
    assert mine.source == registry.mixer_entry(str(path)).source
    files = [finished / "transforms" / "study.json", *(finished / "transforms" / "records").glob("*.json")]
    assert not [file for file in files if "secret" in file.read_text()]
    assert "mine" in (finished / "transforms" / "transforms.md").read_text()


def test_the_published_study_predicts_where_none_was_trained_here(finished, tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.npy"
    np.save(path, np.eye(TOKENS)[::-1].copy())
    elsewhere = tmp_path / "elsewhere"
    assert transforms(elsewhere, "--matrix", str(path)) == 0
    out = capsys.readouterr().out
    assert "no prediction" in out and "mine: 2" in out and "over 4 seeds." in out  # measured all the same
    text = (elsewhere / "transforms" / "transforms.md").read_text()
    assert "0 of the 88 runs that decide it are there" in text
    monkeypatch.setattr(verb, "PUBLISHED", finished)
    assert transforms(elsewhere, "--matrix", str(path)) == 0
    assert "predicted: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.npy", np.ones((256, 255)), "256 x 255"),
        ("m.npy", np.eye(64), "64 x 64; allowed: 256 x 256"),
        ("m.npy", np.full((256, 256), np.inf), "not finite"),
        ("m.npy", np.eye(256, dtype=int), "int64"),
        ("m.npy", np.array([[None]]), "allow_pickle=False"),
        ("m.npy", None, "there is no file"),
        ("m.txt", np.eye(256), "allowed: a file NAME.npy"),
        ("my m.npy", np.eye(256), "allowed: a file NAME.npy"),
        ("dct.npy", np.eye(256), "rename the file"),
    ],
)
def test_a_file_that_is_no_such_matrix_is_one_line(pretended, tmp_path, capsys, name, content, says):
    path = tmp_path / name
    if content is not None:
        with path.open("wb") as stream:
            np.save(stream, content, allow_pickle=True)
    assert says in refused(capsys, "transforms", *SMALL, "--results", str(pretended), "--matrix", str(path))
    assert not PretendedRunner.order


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("train --mixer dct --matrix a.npy", "train has no use for --matrix"),
        ("cost --design", "cost has no use for --design"),
        ("transforms --mixer dct", "transforms has no use for --mixer"),
        ("transforms --lr 1e-3", "transforms has no use for --lr"),
        ("transforms --matrix a.npy --design", "ask one at a time"),
    ],
)
def test_flags_of_other_verbs_are_refused(tmp_path, capsys, arguments, says):
    assert says in refused(capsys, *arguments.split(), "--results", str(tmp_path))


def test_the_report_needs_neither_torch_nor_data_nor_matrices(finished):
    folder = finished / "transforms"
    for path in [folder / "covariance.npy", *(folder / "matrices").iterdir()]:
        path.unlink()
    before = {path.name: path.read_bytes() for path in folder.glob("transforms.*")}
    assert sorted(before) == [f"transforms.{ending}" for ending in ("csv", "md", "png", "svg")]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from benchmarks.studies.transforms.report import write_pages\n"
        f"print(len(write_pages(Path({str(finished)!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "4", done.stderr
    assert {path.name: path.read_bytes() for path in folder.glob("transforms.*")} == before
    rows = list(csv.DictReader((folder / "transforms.csv").open()))
    assert [row["transform"] for row in rows] != sorted(row["transform"] for row in rows) and len(rows) == 28
    assert {row["transform"] for row in rows if row["hit"]} == set(HELD_BACK)
    accuracies = [float(row["test_top1_percent_mean"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)


def test_the_page_has_a_section_where_the_study_is_there(finished, tmp_path):
    assert sections(tmp_path / "empty" / "below") == []
    text = write_page(finished, [], sections=sections(finished)).read_text()
    assert 'src="transforms/transforms.png"' in text and "dct_power_1_4" in text and "Not measured yet" in text
    place = text.partition('<section id="mixing"')[2].partition("</section>")[0]
    assert "Not measured yet" not in place
    all_folders = tmp_path / "published"  # each study of it in a folder of its own
    all_folders.mkdir()
    (all_folders / "transforms").symlink_to(finished)
    text = write_page(all_folders, [], sections=sections(all_folders)).read_text()
    assert 'src="transforms/transforms/transforms.png"' in text
    (tmp_path / "none").mkdir()
    assert sections(tmp_path / "none") == []
    text = write_page(tmp_path / "none", []).read_text()
    assert "Not measured yet: <code>make transforms</code>" in text


def test_a_study_of_before_a_field_came_still_has_its_runs():
    home = Path(__file__).parents[3] / "results" / "published" / "transforms"
    study = find_study(home)
    assert (
        study is not None and "schedule" not in json.loads((home / "transforms" / "study.json").read_text())["setting"]
    )
    assert sum(len(one.records) for one in trained_of(study, home).values()) >= 5


def test_a_study_that_is_none_is_one_line(tmp_path):
    (tmp_path / "transforms").mkdir()
    for content in ("[]", "{}", json.dumps({"schema_version": 1, "members": [{"name": 1}]})):
        (tmp_path / "transforms" / "study.json").write_text(content)
        with pytest.raises(UserError, match=r"study\.json is not a readable study"):
            write_pages(tmp_path)


def test_no_study_no_files(tmp_path):
    assert write_pages(tmp_path) == []


def test_a_matrix_that_is_not_the_studys_is_refused(finished, capsys):
    np.save(finished / "transforms" / "matrices" / "haar.npy", np.eye(TOKENS))
    assert "haar.npy is not the file" in refused(capsys, "transforms", *SMALL, "--results", str(finished))


def test_design_wants_a_choice(pretended, capsys):
    assert "needs the winner" in refused(capsys, "transforms", *SMALL, "--design", "--results", str(pretended))


def test_a_design_moves_the_winner(finished, monkeypatch):
    monkeypatch.setattr(design, "learned_member", lambda study, trainer: None)
    monkeypatch.setattr(design.design, "__defaults__", (40,))
    assert transforms(finished, "--design") == 0
    study = find_study(finished)
    assert study is not None
    (made,) = study.role("designed")
    (dct,) = [member for member in study.members if member.name == "dct"]
    assert made.name == "designed_coding_gain_db" and made.predictors and dct.predictors and made.predicted
    assert made.predictors["coding_gain_db"] > dct.predictors["coding_gain_db"]
    matrix = np.load(finished / "transforms" / "matrices" / "designed_coding_gain_db.npy")
    assert np.abs(matrix @ matrix.T - np.eye(TOKENS)).max() < 2e-5
    assert len(trained_of(study, finished)[made.name].by_seed) == 4


def test_nothing_is_designed_by_what_all_orthogonal_matrices_share_and_the_learned_one_is_made_all_the_same(
    finished, monkeypatch
):
    with pytest.raises(UserError, match="same rank"):
        design.design("rank", 1, np.eye(TOKENS), 1)
    study = find_study(finished)
    assert study is not None and study.choice is not None
    choice = dataclasses.replace(study.choice, predictor="rank", wins=True)
    dataclasses.replace(study, choice=choice).save(finished)
    asked = []
    monkeypatch.setattr(design, "learned_member", lambda study, trainer: asked.append(study))
    assert transforms(finished, "--design") == 0
    assert asked
    study = find_study(finished)
    assert study is not None and not study.role("designed")


def test_a_held_back_transform_that_fails_is_a_miss_and_leaves_nothing_open(finished):
    study = find_study(finished)
    assert study is not None
    trained = trained_of(study, finished)
    name = HELD_BACK[0]
    assert judged(study, trained)["outcome"] == "confirmed" and judged(study, trained)["hits"][name]
    for record in trained[name].records:
        dataclasses.replace(record, status="diverged", reason="made up", metrics={}).save(
            finished / "transforms" / "records"
        )
    trained = trained_of(study, finished)
    found = judged(study, trained)
    assert found["hits"][name] is False and len(found["hits"]) == 6 and found["outcome"] == "confirmed"
    assert f"({name} failed, which counts as a miss)" in " ".join(sentences(study, trained))


def test_a_matrix_of_another_scale_is_told(finished, tmp_path, capsys):
    path = tmp_path / "small.npy"
    np.save(path, np.eye(TOKENS) / 256)
    assert transforms(finished, "--matrix", str(path)) == 0
    assert "its rows have a norm of 0.00391" in capsys.readouterr().out
    np.save(path, np.eye(TOKENS) * 1e-50)
    assert "zero everywhere in float32" in refused(
        capsys, "transforms", *SMALL, "--matrix", str(path), "--results", str(finished)
    )


def test_the_learned_mixer_starts_at_the_dct_and_stays_orthogonal():
    mixer = create_mixer(design.LEARNED, 8, (4, 6))
    x = torch.randn(2, 8, 4, 6)
    torch.testing.assert_close(mixer(x), create_mixer("dct", 8, (4, 6))(x), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        mixer.skew.normal_()  # type: ignore[union-attr, operator]
    matrix = mixer.matrix
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(24), atol=1e-4, rtol=0)  # type: ignore[operator, union-attr]
    mixer(x).sum().backward()
    assert mixer.skew.grad is not None and mixer.skew.grad.abs().max() > 0  # type: ignore[union-attr]


@pytest.mark.slow
def test_real_runs_of_a_users_matrix_and_a_learned_one(tmp_path, capsys):
    path = tmp_path / "mine.npy"
    np.save(path, np.eye(TOKENS, dtype=np.float32))
    results = tmp_path / "results"
    assert transforms(results, "--seed", "0", "--matrix", str(path)) == 0
    study = find_study(results)
    assert study is not None
    trained = trained_of(study, results)["mine"]
    assert len(trained.by_seed) == 1 and trained.records[0].trial.mixer == "mine.npy"
    assert trained.records[0].trial.mixer_source == study.role("own")[0].source
    assert cli.main(["validate", str(results)]) == 0
    request = Request(dataset="mosaics", train_images=200, epochs=1, dim=8, depth=1, seed=(0,), results=results)
    learned = design.learned_member(study, measure.Trainer(request))
    assert learned is not None and learned.mixer == "learned_1.npy"
    matrix = np.load(results / "transforms" / "matrices" / "learned_1.npy")
    assert np.abs(matrix @ matrix.T - np.eye(TOKENS)).max() < 1e-3
    dct = np.load(results / "transforms" / "matrices" / "dct.npy")
    assert np.abs(matrix - dct).max() > 1e-4
    trainer = measure.Trainer(request)
    trainer.train(measure.trials_of([learned], study, request))
    assert [result.record.status for result in trainer.results] == ["ok"]


def test_a_bad_matrix_is_told_before_any_data_are_looked_for(tmp_path, capsys):
    said = refused(
        capsys,
        "transforms",
        "--data-dir",
        str(tmp_path),
        "--results",
        str(tmp_path),
        "--matrix",
        str(tmp_path / "m.npy"),
    )
    assert "there is no file" in said and "cifar" not in said.lower()
