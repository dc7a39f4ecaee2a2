"""Trained nets that come back: weights that carry what is needed to build them, and the errors around them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from benchmarks import load_net
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.record import Record, load_records
from benchmarks.contract.trial import Trial
from benchmarks.finished.nets import own_data_of
from benchmarks.plan.trials import Plan, Request
from benchmarks.sweep.one_trial import Call, measure
from benchmarks.tasks.task import build_net, load_data
from benchmarks.training.weights import read_metadata, save_weights
from mixers import registry
from tests.benchmarks.synthetic import save

PLUGIN = """import torch
from mixers import Mixer


class Mine(Mixer):
    def forward(self, x):
        return x.flip(2, 3)

    def flops(self):
        return 0
"""


@pytest.fixture(scope="module", autouse=True)
def small_test_split():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "constellations", dataclasses.replace(DATASETS["constellations"], test_images=200))
        yield


@pytest.fixture(scope="module")
def results(small_test_split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of dct and one of attention, trained for an epoch."""
    folder = tmp_path_factory.mktemp("results")
    for mixer, seed in (("dct", 0), ("dct", 1), ("attention", 0)):
        train(folder, mixer, seed)
    return folder


def train(folder: Path, mixer: str, seed: int = 0) -> Trial:
    small: dict[str, Any] = dict(dim=8, depth=1, epochs=1, train_images=200, image_size=(16,), threads=1, device="cpu")
    (trial,) = Plan(Request(mixer=mixer, dataset="constellations", profile="quick", seed=(seed,), **small)).accuracy()
    done = measure(Call(trial, folder / "nowhere", folder / "records", folder / "checkpoints"))
    save(folder, trial, done.metrics, done.history, status=done.status)
    return trial


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    """The same, to be spoiled."""
    return Path(shutil.copytree(results, tmp_path / "copy"))


def records_of(folder: Path, mixer: str) -> list[Record]:
    return [record for record in load_records(folder) if record.trial.mixer == mixer]


def weights_of(folder: Path, record: Record) -> Path:
    return folder / "checkpoints" / f"accuracy-{record.id}.safetensors"


def without_metadata(folder: Path, record: Record) -> None:
    path = weights_of(folder, record)
    safetensors.torch.save_file(safetensors.torch.load_file(path), path)


@pytest.mark.parametrize("old", [False, True])
def test_the_net_that_comes_back_gives_the_predictions_of_its_record(copy, old):
    (record,) = records_of(copy, "attention")
    if old:
        without_metadata(copy, record)
    net = load_net(copy, "attention")
    assert not net.training and not net.net.training and net.id == record.id and net.trial == record.trial
    images, labels = load_data(record.trial, Path("nowhere"), "cpu").read_test()
    with torch.no_grad():
        logits = torch.cat([net(chunk) for chunk in images.split(500)])
        of_floats = net(images[:50].float() / 255)
    assert logits.shape == (len(images), 10) and logits.dtype == torch.float32
    predicted = logits.argmax(1)
    np.testing.assert_array_equal(predicted.numpy(), np.load(copy / "records" / f"accuracy-{record.id}.npy"))
    accuracy = 100 * float((predicted == labels).double().mean())
    assert accuracy == pytest.approx(record.metrics["test_top1_percent"])
    torch.testing.assert_close(of_floats, logits[:50], rtol=1e-4, atol=1e-4)


def test_a_net_is_found_by_the_beginning_of_its_id_and_by_a_field(results):
    for record in records_of(results, "dct"):
        assert load_net(results, record.id[:8]).trial == record.trial
        assert load_net(str(results), "dct", seed=record.trial.seed, image_size="16x16").id == record.id


def test_the_file_of_weights_says_what_it_is_and_nothing_of_the_machine(results):
    (record,) = records_of(results, "attention")
    content = read_metadata(weights_of(results, record))
    assert content is not None and content["trial"] == record.trial.to_dict()
    info = DATASETS["constellations"]
    facts = content["dataset"]
    assert (facts["num_classes"], tuple(facts["mean"]), facts["classes"]) == (10, info.mean, None)
    assert str(results) not in json.dumps(content)


def test_a_net_needs_no_record_beside_it(copy):
    shutil.rmtree(copy / "records")
    (copy / "records").mkdir()
    assert load_net(copy, "attention").trial.mixer == "attention"


def test_the_same_net_leaves_the_same_bytes(results, tmp_path):
    (record,) = records_of(results, "attention")
    net, info = build_net(record.trial), DATASETS["constellations"]
    for name in "ab":
        save_weights(tmp_path / name, net, record.trial, info)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    header = (tmp_path / "a").read_bytes()
    size = int.from_bytes(header[:8], "little")
    assert list(json.loads(header[8 : 8 + size])["__metadata__"]) == ["token_mixers"]  # of several the order would vary


def test_what_was_trained_on_data_that_are_not_here_comes_back(copy):
    (record,) = records_of(copy, "attention")
    path = weights_of(copy, record)
    content = read_metadata(path)
    assert content is not None
    content["dataset"] |= {"name": "folder:photos", "classes": ["cat", "dog"], "mean": [0.1, 0.2, 0.3]}
    info = own_data_of(content)
    assert (info.name, info.classes, info.mean, info.num_classes) == (
        "folder:photos",
        ("cat", "dog"),
        (0.1, 0.2, 0.3),
        10,
    )


@pytest.mark.parametrize(
    ("asked", "choose", "says"),
    [
        ("dtc", {}, "has no run 'dtc', mixer or id. Did you mean 'dct'?"),
        ("dct", {}, r"2 runs of .* are 'dct'; choose by id, or by a field such as seed=0: \w{8} \(seed \d\), \w{8} \("),
        ("dct", {"seed": 7}, r"no run of 'dct' in .* has seed=7; there are: "),
        ("dct", {"sed": 0}, "no field 'sed' to choose by. Did you mean 'seed'?"),
        ("0000000", {}, "has no run '0000000'"),
    ],
)
def test_what_is_not_one_run_is_told_in_one_line(results, asked, choose, says):
    with pytest.raises(UserError, match=says) as error:
        load_net(results, asked, **choose)
    assert "\n" not in str(error.value)


def test_missing_or_torn_weights_are_told(copy):
    (record,) = records_of(copy, "attention")
    path = weights_of(copy, record)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="does not fit the net of its trial"):
        load_net(copy, "attention")
    assert load_net(copy, "dct", seed=0).trial.seed == 0
    path.unlink()
    with pytest.raises(UserError, match=r"are not in .*checkpoints; train it again.*train --mixer attention --dataset"):
        load_net(copy, "attention")
    with pytest.raises(UserError, match="is not a folder"):
        load_net(copy / "nowhere", "attention")
    (copy / "empty").mkdir()
    with pytest.raises(UserError, match="holds no training runs"):
        load_net(copy / "empty", "attention")


def test_a_run_that_failed_has_no_net(copy):
    (record,) = records_of(copy, "attention")
    weights_of(copy, record).unlink()
    dataclasses.replace(record, status="diverged", reason="not finite").save(copy / "records")
    with pytest.raises(UserError, match="its run ended as diverged: not finite"):
        load_net(copy, "attention")


def test_a_mixer_that_computes_something_else_by_now_is_refused(results, monkeypatch):
    monkeypatch.setattr(registry.mixer_entry("attention").cls, "version", 99)
    with pytest.raises(UserError, match=r"is of version 2 of its mixer .*here is version 99"):
        load_net(results, "attention")


def test_a_plug_in_has_to_be_given_and_to_be_the_same(tmp_path, forget_plugins):
    (tmp_path / "mine_for_load_net.py").write_text(PLUGIN)
    place = f"{tmp_path / 'mine_for_load_net.py'}:Mine"
    assert train(tmp_path / "r", place).mixer == "mine_for_load_net:Mine"

    forget_plugins()
    with pytest.raises(UserError, match="is a plug-in, give its place: mixer='path/to/mine_for_load_net:Mine'"):
        load_net(tmp_path / "r", "mine_for_load_net:Mine")
    assert load_net(tmp_path / "r", "mine_for_load_net:Mine", mixer=place).trial.mixer == "mine_for_load_net:Mine"
    forget_plugins()
    (tmp_path / "mine_for_load_net.py").write_text(PLUGIN.replace("flip(2, 3)", "flip(2)"))
    with pytest.raises(UserError, match="is not what it was when this net was trained"):
        load_net(tmp_path / "r", "mine_for_load_net:Mine", mixer=place)


def test_images_of_another_kind_are_told(results):
    net = load_net(results, "attention")
    with pytest.raises(UserError, match=r"images are of shape \(2, 3, 8, 8\); this net takes \(B, 3, 16, 16\)"):
        net(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match="divide them by 255"):
        net(torch.full((2, 3, 16, 16), 255.0))
    images = torch.rand(2, 3, 16, 16)
    before = images.clone()
    net(images)
    assert torch.equal(images, before)


def test_the_names_of_cifar_100s_classes_are_those_of_its_files(cifar100_dir):
    assert DATASETS["cifar100"].classes == tuple((cifar100_dir / "fine_label_names.txt").read_text().split())


def test_weights_under_another_name_are_refused(copy):
    first, second = records_of(copy, "dct")
    places = [copy / "checkpoints" / f"accuracy-{record.id}.safetensors" for record in (first, second)]
    shutil.copy(places[1], places[0])
    with pytest.raises(UserError, match=f"holds the net of another run, {second.id}"):
        load_net(copy, first.id)
    assert load_net(copy, second.id).id == second.id


@pytest.mark.parametrize("spoiled", [{}, {"trial": None}, {"trial": {}}, {"dataset": {}}, {"dataset": None}])
def test_spoiled_metadata_of_one_net_are_no_harm_to_another(copy, spoiled):
    first, second = records_of(copy, "dct")
    path = copy / "checkpoints" / f"accuracy-{first.id}.safetensors"
    content = (read_metadata(path) | spoiled) if spoiled else {}
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, {"token_mixers": json.dumps(content)})
    assert load_net(copy, second.id).id == second.id
    assert load_net(copy, first.id).trial == first.trial  # the record knows


def test_a_device_that_is_not_here_is_one_clear_line(results):
    with pytest.raises(UserError, match=r"device is toaster, which cannot be used .*; device='cpu' works anywhere"):
        load_net(results, "attention", device="toaster")


@pytest.mark.parametrize("kind", [torch.int64, torch.int8, torch.bool, torch.complex64])
def test_images_are_bytes_or_floats(results, kind):
    net = load_net(results, "attention")
    images = torch.zeros(2, 3, 16, 16)
    with pytest.raises(UserError, match=f"images are {kind}; this net takes tensors of uint8"):
        net(images.to(kind))
    with pytest.raises(UserError, match="images are ndarray"):
        net(images.numpy())  # type: ignore[arg-type]
