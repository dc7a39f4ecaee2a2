"""Data sets from outside: classes in files and modules, entry points, and what is said of broken ones."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import info_of
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.images import data_plugins
from benchmarks.tasks.own import find_own
from benchmarks.tasks.task import load_data
from benchmarks.training.train import train

ROOT = Path(__file__).resolve().parents[4]
SMALL = dict(mixer="conv1x1", profile="quick", device="cpu", dim=8, depth=1, epochs=2, threads=1, seed=(0,))
BLOBS = """
import numpy as np
class Blobs:
    def train(self, n=30):
        labels = np.arange(n) % 3
        return (labels[:, None, None] * 80 + np.zeros((n, 9, 7), int)).astype(np.uint8), labels
    def test(self):
        return self.train(9)
"""


pytestmark = pytest.mark.usefixtures("forget_datasets")


def written(folder: Path, text: str, name: str = "blobs.py") -> str:
    (folder / name).write_text(text)
    return f"{folder / name}:Blobs"


def test_the_data_set_of_the_docs_works_as_it_stands_there(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), re.DOTALL)
    own = block[block.index("class") :]
    assert len([line for line in own.splitlines() if line.strip()]) <= 10
    (tmp_path / "stripes.py").write_text(block)
    request = Request(
        dataset=f"{tmp_path}/stripes.py:Stripes", data_dir=tmp_path, augment="none", **SMALL | {"dim": 16, "epochs": 20}
    )
    (trial,) = Plan(request).accuracy(all_seeds=False)
    assert trial.dataset == "stripes.py:Stripes" and str(tmp_path) not in str(trial)
    outcome = train(trial, load_data(trial, tmp_path, "cpu"), tmp_path / "c.pt")
    assert info_of(trial.dataset).classes == ("level", "upright")
    assert len(outcome.predictions) == 100 and outcome.metrics["test_top1_percent"] > 90


def test_images_come_as_they_are_given(tmp_path):
    info = find_own(written(tmp_path, BLOBS), tmp_path)
    assert (info.name, info.num_classes, info.classes) == ("blobs.py:Blobs", 3, ("0", "1", "2"))
    assert (info.train_images, info.val_images, info.test_images, info.native_size) == (27, 3, 9, 7)
    (trial,) = Plan(Request(dataset=written(tmp_path, BLOBS), data_dir=tmp_path, **SMALL)).accuracy(all_seeds=False)
    images, labels = load_data(trial, tmp_path, "cpu").train
    assert all((image == 80 * label).all() for image, label in zip(images, labels, strict=True))


def test_code_and_images_both_make_the_fingerprint(tmp_path, monkeypatch):
    def source(text: str) -> str | None:
        return find_own(written(tmp_path, text), tmp_path).source

    monkeypatch.setattr(np, "shades", 80, raising=False)
    text = BLOBS.replace("80", "np.shades")
    first = source(text)
    assert source(text) == first
    assert source(text + "# more") != first
    np.shades = 81
    assert source(text) != first


def test_what_may_be_there_is_used(tmp_path):
    text = BLOBS + (
        "    def val(self):\n        return self.train(6)\n"
        "    classes = ['a', 'b', 'c', 'd']\n    augment_levels = ('none', 'light')\n"
        "    def __init__(self, data_dir):\n        (data_dir / 'asked').touch()\n"
    )
    with pytest.raises(UserError, match="class 'd' has 0 images"):
        find_own(written(tmp_path, text), tmp_path)
    info = find_own(written(tmp_path, text.replace(", 'd'", "")), tmp_path)
    assert (info.train_images, info.val_images, info.classes) == (30, 6, ("a", "b", "c"))
    assert info.augment_levels == ("none", "light") and (tmp_path / "asked").exists()
    where = written(tmp_path, text.replace(", 'd'", ""))
    with pytest.raises(UserError, match=r"--augment is 'strong'; allowed for blobs.py:Blobs.*none, light"):
        Plan(Request(dataset=where, data_dir=tmp_path, augment="strong", **SMALL))


def test_a_module_and_an_entry_point_are_recorded_as_the_class_that_they_name(tmp_path, monkeypatch):
    written(tmp_path, BLOBS, "own_blobs_module.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_own("own_blobs_module:Blobs", tmp_path).name == "own_blobs_module:Blobs"
    point = importlib.metadata.EntryPoint("blobs", "own_blobs_module:Blobs", data_plugins.ENTRY_POINT_GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if "data" in group else [])
    data_plugins.entry_points.cache_clear()
    try:
        info = find_own("blobs", tmp_path)
        assert (info.name, info.origin) == ("own_blobs_module:Blobs", "own_blobs_module:Blobs")
    finally:
        data_plugins.entry_points.cache_clear()
        sys.modules.pop("own_blobs_module", None)


BROKEN = {
    "import nowhere\n": r"cannot be used: ModuleNotFoundError: No module named 'nowhere' \(blobs.py:1\)",
    "class Other: ...\n": r"it has no class 'Blobs'; it has: Other",
    "Blobs = 3\n": r"it has no class 'Blobs'; it has: none",
    "class Blobs:\n    def __init__(self):\n        1 / 0\n": r"ZeroDivisionError: division by zero \(blobs.py:3\)",
    "class Blobs:\n    def train(self):\n        exit()\n": r"SystemExit.*\(blobs.py:3\)",
    "class Blobs: ...\n": r"has no train\(\); it gives \(images, labels\)",
    "class Blobs:\n    def train(self): return 3\n": r"train\(\) gives int; allowed: a pair \(images, labels\)",
    BLOBS.replace("np.uint8", "float"): r"train\(\) gives images of float64 \(30, 9, 7\); allowed: uint8",
    BLOBS.replace("(np.uint8)", "(np.uint8)[..., None]"): r"gives images of uint8 \(30, 9, 7, 1\); allowed: uint8",
    BLOBS.replace(", labels\n", ", labels[1:]\n"): r"gives labels of int64 \(29,\) for 30 images",
    BLOBS.replace(", labels\n", ", labels / 2\n"): r"gives labels of float64 \(30,\) for 30 images",
    BLOBS.replace(", labels\n", ", labels - 1\n"): r"train\(\) gives labels below 0",
    BLOBS.replace(", labels\n", ", labels * 2\n"): r"class '1' has 0 images",
    BLOBS.replace(", labels\n", ", labels + 1\n"): r"labels begin at 1; allowed: whole numbers from 0",
    BLOBS.replace(", labels\n", ", labels * 10**12\n"): r"a label is 2000000000000, of \d+ images",
    BLOBS + "    augment_levels = ()\n": r"augment_levels is empty",
    BLOBS + "    classes = ['a']\n": r"label 2 has no name; classes names 1",
    BLOBS + "    augment_levels = ['flip']\n": r"augment_levels has 'flip'; allowed: none, light, strong",
    BLOBS.replace("train(9)", "train(0)"): r"test\(\) gives no images",
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_one_is_told_by_name_file_and_line(tmp_path, text):
    with pytest.raises(UserError, match=BROKEN[text]) as caught:
        find_own(written(tmp_path, text), tmp_path)
    assert "blobs.py:Blobs" in str(caught.value) and "\n" not in str(caught.value)


def test_a_mistyped_task_runs_no_file_of_its_familys_name(tmp_path, monkeypatch):
    written(tmp_path, BLOBS, "glue.py")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("glue:SST2", "glue:Blobs"):
        with pytest.raises(UserError, match=r"allowed: cifar100, .*glue:sst2"):
            Plan(Request(dataset=name, data_dir=tmp_path, **SMALL))
    assert "glue" not in sys.modules
    for name in ("glue.py", "glue,mr.py"):
        assert (
            Plan(Request(dataset=written(tmp_path, BLOBS, name), data_dir=tmp_path, **SMALL)).dataset == f"{name}:Blobs"
        )


def test_one_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        find_own(f"{tmp_path}/nowhere.py:Blobs", tmp_path)
    with pytest.raises(UserError, match="No module named 'no_such_module'"):
        find_own("no_such_module:Blobs", tmp_path)
