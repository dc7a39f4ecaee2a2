"""A task is a file and a row of facts: one that is no image trains through the same loop as all others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cli.listing import dataset_lines
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS, TASKS, DatasetInfo, TaskInfo, fixed_of
from benchmarks.contract.trial import Trial
from benchmarks.sweep import estimate
from benchmarks.tasks import task as task_module
from benchmarks.tasks.images.common import ImageClassification
from benchmarks.tasks.task import Batch, Data, batches, build_net, load_data, task_of
from benchmarks.timing.cost import measure_cost
from benchmarks.training.train import learning_rate, train, training_step_bytes
from mixers import create_mixer

MAJORITY = DatasetInfo(
    name="majority",
    num_classes=2,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    native_size=None,
    train_images=None,
    val_images=None,
    test_images=200,
    augment_levels=("none",),
    procedural=True,
    task="majority",
)
LENGTH = 9
INFO = DATASETS["mosaics"]


class TokenNet(nn.Module):
    """Token ids (B, N) -> logits (B, 2): an embedding, one mixer, the mean over the tokens, a linear head."""

    def __init__(self, mixer: str, dim: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2, dim)
        self.mixers = [create_mixer(mixer, dim, (1, length))]
        self.mixer = self.mixers[0]
        self.head = nn.Linear(dim, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids).mT[:, :, None]
        return self.head((x + self.mixer(x)).mean((2, 3)))

    def flops(self) -> int:
        return self.mixer.flops() + 4 * self.head.in_features

    def flops_executed(self) -> int:
        return self.mixer.flops_executed() + 4 * self.head.in_features


class Plain:
    """No augmentation."""

    def __call__(self, ids: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return ids, targets

    def prepare(self, ids: Tensor) -> Tensor:
        return ids


class Majority:
    """Are more tokens 1 than 0?"""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    def grid(self, trial: Trial) -> tuple[int, int]:
        return trial.grid

    def net(self, trial: Trial) -> nn.Module:
        torch.manual_seed(trial.seed)
        return TokenNet(trial.mixer, trial.dim, trial.grid[1])

    def example(self, trial: Trial, n: int, device: str) -> Batch:
        ids = torch.zeros(n, trial.grid[1], dtype=torch.int64, device=device)
        return Batch(ids, ids[:, 0])

    def check_files(self, trial: Trial, data_dir: Path) -> None:
        pass

    def load(self, trial: Trial, data_dir: Path, device: torch.device) -> Data:
        def draw(count: int, seed: int) -> tuple[Tensor, Tensor]:
            ids = torch.randint(0, 2, (count, trial.grid[1]), generator=torch.Generator().manual_seed(seed))
            return ids.to(device), (2 * ids.sum(1) > ids.shape[1]).long().to(device)

        return Data(draw(trial.train_images or 0, 0), draw(100, 1), lambda: draw(self.info.test_images, 2))

    def augment(self, trial: Trial, memory_format: torch.memory_format = torch.contiguous_format) -> Plain:
        return Plain()

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(output, targets)

    def scores(self, output: Tensor, targets: Tensor) -> tuple[dict[str, float], np.ndarray]:
        best = output.argmax(1)
        share = 100 * (best == targets).double().mean().item()
        return {"top1_percent": share, "loss": self.loss(output, targets).item()}, best.numpy().astype(np.uint8)

    def trivial(self, data: Data, test: Batch) -> dict[str, float]:
        return {}

    def test_targets(self, trial: Trial, data_dir: Path) -> np.ndarray | None:
        return self.load(trial, data_dir, torch.device("cpu")).read_test().targets.numpy()


@pytest.fixture
def majority(monkeypatch) -> Trial:
    """A trial of sequences of token ids, whose task is registered."""
    monkeypatch.setitem(DATASETS, "majority", MAJORITY)
    monkeypatch.setitem(TASKS, "majority", TaskInfo(noun="vote"))
    monkeypatch.setitem(task_module._TASKS, "majority", Majority)
    return Trial(
        kind="accuracy", mixer="attention", dataset="majority", length=LENGTH, dim=8, depth=1, epochs=4, lr=3e-2,
        weight_decay=0.0, warmup_epochs=0.0, batch_size=32, train_images=500,
    )  # fmt: skip


def test_a_task_of_token_ids_trains_through_the_same_loop(majority, tmp_path):
    data = load_data(majority, tmp_path, "cpu")
    outcome = train(majority, data, tmp_path / "c.pt")
    assert data.test_reads == 1
    assert outcome.metrics["test_top1_percent"] > 90
    assert outcome.history[-1]["train_loss"] < 0.5 * outcome.history[0]["train_loss"]
    truth = task_of(majority).test_targets(majority, tmp_path)
    assert outcome.metrics["test_top1_percent"] == pytest.approx(100 * (outcome.predictions == truth).mean())
    again = train(majority, load_data(majority, tmp_path, "cpu"), tmp_path / "c.pt")  # from its checkpoint
    assert again.metrics["test_loss"] == outcome.metrics["test_loss"]


def test_a_task_is_known_everywhere_by_its_row(majority):
    assert fixed_of("majority")["norm"] == "token"
    lines = list(dataset_lines("majority"))
    assert lines[0].split()[3:4] == ["tokens"] and lines[1].startswith("majority")
    with pytest.raises(UserError, match="--length is missing; majority is a data set of majority, which needs"):
        dataclasses.replace(majority, length=None)


def test_cost_memory_and_the_probe_take_its_step_too(majority):
    cost = dataclasses.replace(
        majority, kind="cost", epochs=None, lr=None, weight_decay=None, warmup_epochs=None, train_images=None
    )
    metrics = measure_cost(cost)
    net = build_net(cost)
    assert metrics["params"] == sum(p.numel() for p in net.parameters()) and metrics["flops"] == net.flops()
    assert metrics["train_peak_bytes"] > 16 * metrics["params"]  # gradients and both moments of AdamW
    ids = 8 * cost.batch_size * LENGTH
    assert training_step_bytes(cost) > 8 * metrics["params"] + ids
    assert estimate.step_seconds_per_image(cost) > 0


def test_training_is_the_recipe_written_out_bit_for_bit(tmp_path):
    trial = Trial(
        kind="tuning", mixer="dct", dataset="mosaics", image_size=16, patch_size=4, dim=8, depth=1, epochs=2, lr=1e-2,
        weight_decay=0.1, warmup_epochs=0.5, label_smoothing=0.1, batch_size=32, train_images=300, seed=5,
        clip_norm=0.1,
    )  # fmt: skip
    data = load_data(trial, tmp_path, "cpu")
    outcome = train(trial, data, tmp_path / "c.pt")

    net = build_net(trial)
    matrices = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (INFO.mean, INFO.std))
    scale, shift = (1 / (255 * std)).float(), (-mean / std).float()
    losses = []
    for epoch in range(2):
        order = torch.Generator().manual_seed(2 * (5 * 100_003 + epoch))
        steps = list(batches(len(data.train.targets), 32, order))
        losses.append(0.0)
        for number, index in enumerate(steps):
            targets = torch.where(F.one_hot(data.train.targets[index], 10).bool(), 1 - 0.1 + 0.01, 0.01)
            loss = F.cross_entropy(net(data.train.inputs[index].float() * scale + shift), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(trial, epoch + number / len(steps))
            optimizer.step()
            losses[-1] += loss.item() * len(index)
    state = torch.load(tmp_path / "c.pt", weights_only=True)["net"]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items() if "extra" not in name)
    means = [loss / len(data.train.targets) for loss in losses]
    assert [row["train_loss"] for row in outcome.history] == pytest.approx(means, rel=1e-6)


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [(2, "uint8"), (10, "uint8"), (256, "uint8"), (257, "uint16"), (300, "uint16"), (70_000, "uint32")],
)
def test_predictions_are_kept_in_the_smallest_type_that_holds_every_class(classes, dtype):
    task = ImageClassification(dataclasses.replace(INFO, num_classes=classes))
    targets = torch.tensor([0, classes - 1, 1])
    output = F.one_hot(targets, classes).float()
    scores, predictions = task.scores(output, targets)
    assert predictions.dtype == dtype and predictions.tolist() == targets.tolist()
    assert scores["top1_percent"] == 100 and scores["top5_percent"] == 100
    assert task.scores(output.roll(1, 1), targets)[0]["top1_percent"] == 0
