"""`python -m benchmarks spectracles` on a small set of noise in CIFAR-100's own layout."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.plan.trials import Request
from benchmarks.studies.spectracles import measure as verb
from benchmarks.studies.spectracles.record import save
from benchmarks.studies.spectracles.report import people, write_pages
from benchmarks.tasks.images import cifar
from benchmarks.tasks.task import Data

SMALL = (
    verb.Configuration(8, 1, 0, "none", ((40, 16.3), (120, 28.5))),
    verb.Configuration(8, 2, 1, "c", ((2, 17.0),), residual=False),
)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """5,200 images to train on and 100 to test, and a log of two small nets; the options of a run on them."""
    folder = tmp_path / "data" / cifar.BINARY_FOLDER
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, per_class in (("train", 52), ("test", 1)):
        records = rng.integers(0, 256, (100 * per_class, cifar.RECORD_BYTES), dtype=np.uint8)
        records[:, 1] = rng.permutation(np.arange(100).repeat(per_class))
        path = folder / f"{split}.bin"
        path.write_bytes(records.tobytes())
        digest = hashlib.sha1(records.tobytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(
            cifar.BINARY_FILES, split, cifar.SourceFile(path.name, digest, "sha1", len(records.tobytes()))
        )
    monkeypatch.setattr(verb, "LOG", SMALL)
    options = ["--data-dir", str(folder.parent), "--results", str(tmp_path / "results"), "--threads", "1"]
    return tmp_path / "results", ["spectracles", *options, "--train-images", "100"]


def content_of(results) -> dict:
    return json.loads((results / "spectracles.json").read_text(), parse_constant=pytest.fail)


def refused(capsys, *arguments: str) -> str:
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in line
    return line


def test_the_log_is_the_published_one():
    assert [(c.width, c.depth, c.n_linear, c.standardize, c.residual, c.published) for c in verb.LOG] == [
        (32, 4, 0, "none", True, ((40, 16.3), (120, 28.5))),
        (64, 4, 0, "none", True, ((150, 31.3),)),
        (32, 8, 0, "none", True, ((100, 2.1),)),
        (32, 8, 0, "chw", True, ((50, 29.1),)),
        (32, 8, 0, "c", True, ((50, 16.0),)),
        (32, 4, 0, "c", True, ((30, 13.1),)),
        (32, 4, 0, "c", False, ((50, 17.0),)),
        (32, 4, 0, "chw", True, ((50, 25.5),)),
        (32, 4, 1, "chw", True, ((120, 31.0),)),
    ]


def test_it_measures_writes_and_does_nothing_twice(small, capsys):
    results, command = small
    assert cli.main(command) == 0
    assert "4 runs, 0 of them measured earlier" in capsys.readouterr().out
    runs = content_of(results)["runs"]
    assert [(run["settings"]["depth"], run["settings"]["layout"]) for run in runs] == [
        *((1, "scrambled"), (1, "right")),
        *((2, "scrambled"), (2, "right")),
    ]
    for run in runs:
        assert run["status"] == "ok" and 0 <= run["metrics"]["test_top1_percent"] <= 100
        assert run["settings"]["epochs"] == 1 and run["settings"]["batch_size"] == 256
        assert len(run["history"]) == 1 and run["code"] and "threads" in run["environment"]
    files = {name: (results / f"spectracles.{name}").read_bytes() for name in ("json", "md", "csv")}
    assert cli.main(command) == 0
    assert "4 runs, 4 of them measured earlier" in capsys.readouterr().out
    assert {name: (results / f"spectracles.{name}").read_bytes() for name in files} == files
    assert cli.main([*command, "--seed", "1", "--depth", "1", "--epochs", "2"]) == 0
    assert content_of(results)["runs"][:4] == runs and len(content_of(results)["runs"]) == 6


def test_an_interrupted_run_goes_on_where_it_was(small, capsys, monkeypatch):
    results, command = small
    train_net, calls = verb.train_net, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_net(*arguments)

    monkeypatch.setattr(verb, "train_net", interrupted)
    assert cli.main(command) == 130
    first = content_of(results)["runs"]
    assert len(first) == 2 and "| 8 x 1" in (results / "spectracles.md").read_text()
    assert cli.main(command) == 0
    assert len(calls) == 3 + 2 and content_of(results)["runs"][:2] == first
    assert "4 runs, 2 of them measured earlier" in capsys.readouterr().out


def test_the_test_split_is_read_once_a_run_and_after_training(small, monkeypatch):
    _, command = small
    events, train_net, read_test = [], verb.train_net, Data.read_test
    monkeypatch.setattr(verb, "train_net", lambda *a: (train_net(*a), events.append("train"))[0])
    monkeypatch.setattr(Data, "read_test", lambda self: (events.append("test"), read_test(self))[1])
    assert cli.main(command) == 0
    assert events == ["train", "test"] * 4


def test_both_layouts_start_alike_and_see_the_same_images(small, monkeypatch):
    _, command = small
    seen = []

    def spy(run, net, images, labels, augment):
        seen.append((run.layout, [p.clone() for p in net.parameters()], images, labels, augment.prepare(images)))
        return train_net(run, net, images, labels, augment)

    train_net = verb.train_net
    monkeypatch.setattr(verb, "train_net", spy)
    assert cli.main([*command, "--depth", "1"]) == 0
    (one, weights, images, labels, pixels), (other, *rest) = seen
    assert (one, other) == ("scrambled", "right")
    assert all(map(torch.equal, weights, rest[0])) and torch.equal(images, rest[1]) and torch.equal(labels, rest[2])
    assert labels.bincount().tolist() == [1] * 100
    torch.testing.assert_close(pixels, images.float() / 255)


def test_the_same_seed_gives_the_same_run(small, tmp_path):
    results, command = small
    again = [*command, "--depth", "1"]
    assert cli.main(again) == 0
    assert cli.main([*again, "--results", str(tmp_path / "other")]) == 0
    losses = [[run["metrics"]["train_loss"] for run in content_of(r)["runs"]] for r in (results, tmp_path / "other")]
    assert losses[0] == losses[1] and losses[0][0] != losses[0][1]


def test_it_learns():
    """A net of the log's kind tells dark images from bright ones."""
    (run, _) = verb.plan_replications(Request(dim=64, epochs=200, threads=1, device="cpu"))
    labels = torch.arange(64) % 2
    images = (torch.randint(0, 100, (64, 3, 4, 4)) + 100 * labels[:, None, None, None]).to(torch.uint8)
    net = verb.Configuration(16, 1, 0, "none", ()).build("right", 0)
    history = verb.train_net(run, net, images, labels, verb.Augment("none", DATASETS["cifar100"]))
    assert history[-1]["train_loss"] < 0.5 and history[0]["train_loss"] > 4


def test_a_run_that_diverges_is_a_row_and_can_be_tried_again(small, capsys, monkeypatch):
    results, command = small
    command = [*command, "--depth", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim, "Adam", lambda parameters, lr: torch.optim.SGD(parameters, lr=1e38))
        assert cli.main([*command, "--epochs", "3"]) == 1
    said = capsys.readouterr().out
    assert "2 of 2 runs failed; to try them again, add --retry failed" in said
    runs = content_of(results)["runs"]
    assert [run["status"] for run in runs] == ["diverged"] * 2 and "not finite" in runs[0]["reason"]
    assert "test_top1_percent" not in runs[0]["metrics"]
    assert "1 diverged" in (results / "spectracles.md").read_text()
    assert cli.main([*command, "--epochs", "3"]) == 1
    assert "2 of them measured earlier" in capsys.readouterr().out
    assert cli.main([*command, "--epochs", "3", "--retry", "failed"]) == 0
    assert [run["status"] for run in content_of(results)["runs"]] == ["ok"] * 2


def test_the_net_of_complex_layers_is_measured_beside_its_real_one_on_request(small, capsys, monkeypatch):
    results, command = small
    plain = verb.Configuration(8, 1, 0, "chw", ((40, 16.3),))
    monkeypatch.setattr(verb, "LOG", (*SMALL, plain))
    assert cli.main([*command, "--depth", "1", "--complex"]) == 0
    assert "2 runs" in capsys.readouterr().out
    real, added = content_of(results)["runs"]
    assert added["settings"]["layout"] == "complex" and added["status"] == "ok"
    assert added["settings"] | {"layout": "right"} == real["settings"] and real["settings"]["standardize"] == "chw"
    net = plain.build("complex", 0)
    assert net.complex and added["metrics"]["params"] == sum(p.numel() for p in net.parameters())
    assert abs(added["metrics"]["params"] / real["metrics"]["params"] - 1) < 0.2
    (line,) = [line for line in (results / "spectracles.md").read_text().splitlines() if line.startswith("| 8 x 1")]
    cells = [cell.strip() for cell in line.strip("| ").split("|")]
    assert len(cells) == 14 and f"{added['metrics']['test_top1_percent']:.1f} (1)" == cells[-2]
    said = refused(capsys, *command, "--depth", "2", "--complex")
    assert "--depth 2 has no net of complex layers; allowed: --dim 8 --depth 1" in said


def test_other_verbs_have_no_use_for_complex_layers(capsys, tmp_path):
    said = refused(capsys, "train", "--mixer", "dct", "--complex", "--results", str(tmp_path / "results"))
    assert "train has no use for --complex" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--dataset constellations", "--dataset is 'constellations'; the published log is of cifar100"),
        ("--dataset cifar10", "--dataset is 'cifar10'; the published log is of cifar100"),
        ("--epochs 0", "--epochs is 0; allowed: 1 to"),
        ("--epochs x", "is not a whole number"),
        ("--threads 0", "--threads is 0; allowed"),
        ("--seed -1", "--seed is -1; allowed"),
        ("--device cuda", "sees no GPU"),
        ("--device tpu", "allowed: cpu, cuda"),
        ("--train-images 150", "--train-images is 150; allowed: multiples of 100 up to 50,000"),
        ("--train-images 60000", "--train-images is 60000; allowed"),
        ("--dim 48", "--dim 48 is not in the published log; allowed: --dim 32 --depth 4, --dim 64 --depth 4"),
        ("--dim 64 --depth 8", "--dim 64 --depth 8 is not in the published log"),
        ("--lr 0.1", "spectracles has no use for --lr, which is for"),
        ("--mixer dct", "spectracles has no use for --mixer"),
        ("--no-coordinates", "spectracles has no use for --no-coordinates"),
        ("--results file/x", "file"),
    ],
)
def test_a_mistake_is_answered_in_one_line(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    assert says in refused(capsys, "spectracles", *arguments.split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_images_are_told_and_nothing_is_written(small, capsys, tmp_path, monkeypatch):
    results, command = small

    def no_network(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    assert "--data-dir" in refused(capsys, *command, "--data-dir", str(tmp_path / "empty"))
    assert not list(results.iterdir())


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"schema_version": 2, "runs": []}', '{"schema_version": 1, "runs": [{}]}',
     '{"schema_version": 1, "runs": [{"settings": 3}]}'],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_is_told_and_kept(small, capsys, content):
    results, command = small
    results.mkdir()
    (results / "spectracles.json").write_text(content)
    assert "spectracles.json is not a readable record of spectracles" in refused(capsys, *command)
    assert (results / "spectracles.json").read_text() == content


def test_a_gpu_trains_for_as_long_as_the_log(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    runs = verb.plan_replications(Request())
    assert [run.trial.epochs for run in runs][::2] == [120, 150, 100, 50, 50, 30, 50, 50, 120]
    assert {run.trial.device for run in runs} == {"cuda"}
    assert {run.trial.epochs for run in verb.plan_replications(Request(device="cpu"))} == {1}
    assert {run.trial.epochs for run in verb.plan_replications(Request(epochs=7))} == {7}


def entry(layout: str, seed: int, top1: float | None, **settings) -> dict:
    net = {"n_linear": 0, "width": 32, "depth": 4, "standardize": "chw", "residual": True}
    recipe = {"epochs": 2, "train_images": None, "batch_size": 256, "lr": 1e-3, "device": "cpu"}
    return {
        "settings": net | recipe | {"results_version": "0.1"} | settings | {"layout": layout, "seed": seed},
        "published": [{"epochs": 50, "top1_percent": 25.5}],
        "status": "ok" if top1 is not None else "diverged",
        "reason": None if top1 is not None else "the loss | is not finite",
        "metrics": {"params": 12164} | ({} if top1 is None else {"test_top1_percent": top1}),
        "environment": {"cpu": "A_CPU", "device": "cpu", "torch": "2.11"},
    }


def test_the_tables_hold_the_published_figure_beside_ours(tmp_path):
    entries = [entry("scrambled", seed, 4.0 + seed) for seed in range(3)]
    entries += [entry("right", seed, 5.5 + seed + (seed == 2)) for seed in range(3)]
    entries += [entry("scrambled", 0, None, depth=8), entry("right", 0, 3.0, depth=8, epochs=50)]
    save(tmp_path, entries)
    markdown, table = write_pages(tmp_path)
    text = markdown.read_text()
    assert "differ from the published ones in 2 of 3 rows" in text and "1-3 seeds a row" in text and "A_CPU" in text
    rows = [[c.strip() for c in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith("| 32")]
    assert len(rows) == 3
    assert rows[0] == [
        *("32 x 4", "0", "(C, H, W)", "yes", "12.2 k", "50", "25.5", "2"),
        *("5.0 ± 2.5 (3)", "6.8 ± 3.8 (3)", "1.8 ± 1.4 (3)"),
    ]
    assert rows[1][-3:] == ["1 diverged", "–", "–"] and rows[2][-4:] == ["50", "–", "3.0 (1)", "–"]
    with table.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(entries)
    assert found[0]["test_top1_percent"] == "4.0" and found[0]["published_top1_percent"] == "25.5"
    assert found[-2]["status"] == "diverged" and found[-2]["test_top1_percent"] == ""
    assert "are the published ones" in people([entry("right", 0, 3.0, epochs=50)])


def test_complex_layers_have_columns_of_their_own():
    entries = [entry("right", seed, 5.0 + seed) for seed in range(3)]
    entries += [entry("complex", seed, 7.0 + seed) for seed in range(3)]
    for one in entries[3:]:
        one["metrics"]["params"] = 12304
    entries += [entry("complex", 0, None, depth=8)]
    text = people(entries)
    rows = [[c.strip() for c in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith("| 32")]
    assert rows[0][4] == "12.2 k" and rows[0][-3:] == ["12.3 k", "8.0 ± 2.5 (3)", "2.0 ± 0.0 (3)"]
    assert rows[1][4] == "–" and rows[1][-2:] == ["1 diverged", "–"]
    assert "complex-linear" in text and "complex" not in people(entries[:3])


def test_more_images_than_there_are_is_a_user_error():
    with pytest.raises(UserError, match="--train-images is 0"):
        verb.plan_replications(Request(train_images=0))
