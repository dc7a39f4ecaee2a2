from __future__ import annotations

import dataclasses
import io
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.contract.errors import Diverged, OutOfTime, UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.trial import Trial
from benchmarks.tasks.images.augment import Augment
from benchmarks.tasks.task import Data, build_net, load_data, task_of
from benchmarks.training import train as train_module
from benchmarks.training.train import evaluation_pass, learning_rate, make_optimizer, train


def make(**changes) -> Trial:
    values = {
        "kind": "accuracy",
        "mixer": "dct",
        "dataset": "constellations",
        "image_size": 16,
        "patch_size": 4,
        "dim": 8,
        "depth": 1,
        "epochs": 3,
        "lr": 1e-2,
        "weight_decay": 0.05,
        "warmup_epochs": 0.5,
        "label_smoothing": 0.1,
        "augment": "none",
        "batch_size": 32,
        "train_images": 200,
    }
    return Trial(**(values | changes))


@pytest.fixture
def small_test_split(monkeypatch):
    info = dataclasses.replace(DATASETS["constellations"], test_images=100)
    monkeypatch.setitem(DATASETS, "constellations", info)


pytestmark = pytest.mark.usefixtures("small_test_split")


def data_of(trial: Trial) -> Data:
    return load_data(trial, Path("nowhere"), "cpu")


def weights(path: Path) -> dict[str, torch.Tensor]:
    import safetensors.torch

    return safetensors.torch.load_file(path.with_suffix(".safetensors"))


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    trial = make(epochs=10, lr=0.4, warmup_epochs=2.0)
    rates = [learning_rate(trial, epoch) for epoch in np.linspace(0, 10, 101)]
    assert 0 < rates[0] <= 0.4e-3
    assert learning_rate(trial, 1) == pytest.approx(0.2) and learning_rate(trial, 2) == pytest.approx(0.4)
    assert learning_rate(trial, 6) == pytest.approx(0.2)
    assert learning_rate(trial, 10) == pytest.approx(0, abs=1e-12)
    for epoch in (2.5, 4.0, 9.0):
        assert learning_rate(trial, epoch) == pytest.approx(0.2 * (1 + math.cos(math.pi * (epoch - 2) / 8)))
    assert max(rates) == pytest.approx(0.4)
    assert rates[:21] == sorted(rates[:21]) and rates[20:] == sorted(rates[20:], reverse=True)


def test_a_warm_up_longer_than_the_run_takes_half_of_it():
    trial = make(epochs=1, lr=1.0, warmup_epochs=5.0)
    assert learning_rate(trial, 0.5) == pytest.approx(1.0) and learning_rate(trial, 0.25) == pytest.approx(0.5)
    assert learning_rate(make(warmup_epochs=0.0, lr=1.0), 0) == pytest.approx(1.0)


def test_a_constant_schedule_keeps_the_peak_behind_the_warm_up():
    trial = make(epochs=10, lr=0.4, warmup_epochs=2.0, schedule="constant")
    assert learning_rate(trial, 1) == pytest.approx(0.2)
    assert {learning_rate(trial, epoch) for epoch in (2, 5.5, 10)} == {0.4}


def test_the_optimizer_has_the_trials_betas():
    for trial, betas in ((make(), (0.9, 0.999)), (make(beta1=0.8, beta2=0.95), (0.8, 0.95))):
        assert {group["betas"] for group in make_optimizer(build_net(trial), trial).param_groups} == {betas}


@pytest.mark.parametrize("change", [{"clip_norm": 1e-4}, {"beta1": 0.5}, {"beta2": 0.5}, {"schedule": "constant"}])
def test_every_number_of_the_recipe_reaches_the_training(tmp_path, change):
    losses = [
        [row["train_loss"] for row in train(trial, data_of(trial), tmp_path / f"{trial.id()}.pt", bar=False).history]
        for trial in (make(), make(**change))
    ]
    assert losses[0] != losses[1]


def test_weight_decay_is_on_matrices_and_kernels_alone():
    net = build_net(make())
    optimizer = make_optimizer(net, make(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(net.parameters()))
    for name, parameter in net.named_parameters():
        plain = name.endswith("bias") or "norm" in name or "scale" in name
        assert decay[id(parameter)] == (0.0 if plain else 0.3), name


def test_what_a_mixer_names_does_not_decay():
    net = build_net(make(mixer="global_filter"))
    decayed, others = make_optimizer(net, make(mixer="global_filter", weight_decay=0.3)).param_groups
    ids = {id(p): name for name, p in net.named_parameters()}
    names = [ids[id(p)] for p in others["params"]]
    assert others["weight_decay"] == 0 and any(name.endswith("mixer.filter") for name in names)
    assert not any("mixer.filter" in ids[id(p)] for p in decayed["params"])
    assert len(names) + len(decayed["params"]) == len(ids)


def test_a_trial_without_a_recipe_still_takes_a_step():
    """As cost does, which measures the memory of a step."""
    trial = make(kind="cost", lr=None, weight_decay=None)
    net = build_net(trial)
    net(torch.randn(2, 3, 16, 16)).sum().backward()
    make_optimizer(net, trial).step()
    assert all(p.isfinite().all() for p in net.parameters())


def test_the_scores_are_what_a_plain_loop_counts():
    trial = make()
    data = data_of(trial)
    net = build_net(trial)
    task = task_of(trial)
    forward = evaluation_pass(net, task.augment(trial), trial)
    scores, predictions = task.scores(forward(data.val.inputs), data.val.targets)
    top1 = top5 = loss = 0.0
    net.eval()
    mean, std = (torch.tensor(values)[:, None, None] for values in (task.info.mean, task.info.std))
    for image, label, predicted in zip(data.val.inputs, data.val.targets, predictions, strict=True):
        with torch.no_grad():
            logits = net(((image / 255 - mean) / std)[None])[0].double()
        order = logits.argsort(descending=True)
        assert order[0] == predicted
        top1 += float(order[0] == label)
        top5 += float(label in order[:5])
        loss += float(F.cross_entropy(logits, label))
    n = len(data.val.targets)
    assert predictions.dtype == np.uint8 and len(predictions) == n
    assert scores["top1_percent"] == pytest.approx(100 * top1 / n)
    assert scores["top5_percent"] == pytest.approx(100 * top5 / n)
    assert scores["loss"] == pytest.approx(loss / n, rel=1e-4)


def same(one, other, one_path: Path, other_path: Path) -> None:
    """Two outcomes are the same bit for bit."""
    first, second = weights(one_path), weights(other_path)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert (one.predictions == other.predictions).all()
    for a, b in zip(one.history, other.history, strict=True):
        for name in ("epoch", "train_loss", "val_loss", "val_top1_percent", "lr"):
            assert a[name] == b[name], name
    assert one.metrics["test_loss"] == other.metrics["test_loss"]


def epochs_trained(monkeypatch) -> list[int]:
    """Those that are trained from here on, counted from 0."""
    epochs: list[int] = []
    one_epoch = train_module._train_epoch
    monkeypatch.setattr(train_module, "_train_epoch", lambda *a, **k: epochs.append(a[-1]) or one_epoch(*a, **k))
    return epochs


@pytest.mark.parametrize("mixer", ["dct", "random", "attention"])
def test_a_run_resumed_from_its_checkpoint_ends_bit_for_bit_like_one_without_a_break(tmp_path, monkeypatch, mixer):
    trial = make(mixer=mixer)
    whole = train(trial, data_of(trial), tmp_path / "whole.pt")

    class Killed(BaseException):
        pass

    save = train_module._save

    def save_and_die(trial, checkpoint, net, optimizer, history, *times):
        save(trial, checkpoint, net, optimizer, history, *times)
        if len(history) == 2:
            raise Killed

    monkeypatch.setattr(train_module, "_save", save_and_die)
    with pytest.raises(Killed):
        train(trial, data_of(trial), tmp_path / "broken.pt")
    monkeypatch.setattr(train_module, "_save", save)
    epochs = epochs_trained(monkeypatch)
    torch.rand(7)  # whatever the process did with the global generator meanwhile
    resumed = train(trial, data_of(trial), tmp_path / "broken.pt")
    assert epochs == [2]
    same(whole, resumed, tmp_path / "whole.pt", tmp_path / "broken.pt")


def test_a_checkpoint_is_written_every_so_many_seconds_and_at_the_end(tmp_path, monkeypatch):
    trial, saved, told = make(epochs=7), [], []
    clock = 0.0
    one_epoch, save = train_module._train_epoch, train_module._save

    def three_seconds(*args, **how):
        nonlocal clock
        clock += 3
        return one_epoch(*args, **how)

    monkeypatch.setattr(train_module, "_train_epoch", three_seconds)
    monkeypatch.setattr(train_module, "_save", lambda *args: saved.append(len(args[4])) or save(*args))
    monkeypatch.setattr(train_module.time, "monotonic", lambda: clock)
    assert (train_module.CHECKPOINT_EVERY_S["cpu"], train_module.CHECKPOINT_EVERY_S["cuda"]) == (0.0, 10.0)
    monkeypatch.setitem(train_module.CHECKPOINT_EVERY_S, "cpu", 10.0)
    train(trial, data_of(trial), tmp_path / "c.pt", lambda row: told.append(row["epoch"]))
    assert saved == [4, 7]
    assert told == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("mixer", ["dct", "random"])
def test_a_run_cut_at_an_epochs_end_and_resumed_ends_like_one_without_a_break(tmp_path, monkeypatch, mixer):
    trial = make(mixer=mixer)
    whole = train(trial, data_of(trial), tmp_path / "whole.pt")
    clock, told = 1000.0, []
    one_epoch = train_module._train_epoch

    def two_seconds(*args, **how):
        nonlocal clock
        clock += 2
        return one_epoch(*args, **how) | {"seconds": 2.0}

    path = tmp_path / "cut.pt"
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_train_epoch", two_seconds)
        patch.setattr(train_module.time, "monotonic", lambda: clock)
        with pytest.raises(OutOfTime, match="after 2 of 3 epochs"):
            train(trial, data_of(trial), path, lambda row: told.append(row["epoch"]), until=1005.0)
        assert told == [1, 2] and path.exists() and not path.with_suffix(".safetensors").exists()
        before = path.read_bytes()
        with pytest.raises(OutOfTime, match="after 2 of 3 epochs"):  # the checkpoint says how long an epoch takes
            train(trial, data_of(trial), path, until=clock + 1.9)
        assert path.read_bytes() == before and clock == 1004
    epochs = epochs_trained(monkeypatch)
    torch.rand(7)
    resumed = train(trial, data_of(trial), path, until=time.monotonic() + 3600)
    assert epochs == [2]
    same(whole, resumed, tmp_path / "whole.pt", path)


def test_no_epoch_begins_when_the_time_is_up(tmp_path):
    trial = make()
    with pytest.raises(OutOfTime, match="after 0 of 3 epochs"):
        train(trial, data_of(trial), tmp_path / "c.pt", until=time.monotonic() - 1)
    assert not (tmp_path / "c.pt").exists()


def test_a_checkpoint_of_another_configuration_names_what_differs(tmp_path):
    trial = make(epochs=1)
    train(trial, data_of(trial), tmp_path / "c.pt")
    other = make(epochs=1, lr=0.5, mixer="random")
    with pytest.raises(UserError, match=r"another configuration \(mixer 'dct' for 'random', lr 0.01 for 0.5\).*move"):
        train(other, data_of(other), tmp_path / "c.pt")


def flipped(content: bytes) -> bytes:
    """A bit of some weight is another."""
    weight = torch.load(io.BytesIO(content), weights_only=True)["net"]["head.weight"]
    place = content.index(weight.numpy().tobytes()) + 2
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def executable(content: bytes) -> bytes:
    """A pickle that is more than tensors and plain values."""
    buffer = io.BytesIO()
    torch.save({"trial": make(), "results_version": Path("x")}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"nonsense", lambda b: b[:-9], flipped, executable]
)
def test_a_broken_checkpoint_is_set_aside_and_the_trial_starts_anew(tmp_path, damage, caplog):
    trial, path = make(epochs=2), tmp_path / "c.pt"
    whole = train(trial, data_of(trial), path)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    epochs = []
    again = train(trial, data_of(trial), path, lambda row: epochs.append(row["epoch"]))
    assert epochs == [1, 2] and again.metrics["test_loss"] == whole.metrics["test_loss"]
    assert (tmp_path / "set-aside" / "c.pt").read_bytes() == broken
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "c.pt cannot be read" in line and "starts anew" in line and "\n" not in line


def test_a_checkpoint_of_a_net_that_has_changed_is_set_aside(tmp_path):
    trial, path = make(epochs=1), tmp_path / "c.pt"
    whole = train(trial, data_of(trial), path)
    state = torch.load(path, weights_only=True)
    state["net"].popitem()
    torch.save(state, path)
    assert train(trial, data_of(trial), path).metrics["test_loss"] == whole.metrics["test_loss"]
    assert (tmp_path / "set-aside" / "c.pt").exists()


def test_a_loss_that_is_not_finite_is_a_divergence(tmp_path, monkeypatch):
    real = F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda *args, **kw: real(*args, **kw) * math.inf)
    trial = make()
    with pytest.raises(Diverged, match="the loss is not finite by step 0 of epoch 1"):
        train(trial, data_of(trial), tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize("images", [100, 101])
def test_a_divergence_late_in_an_epoch_is_seen_at_its_end(tmp_path, monkeypatch, images):
    """Also where the last batch would hold one image and is left out."""
    trial = make(epochs=1, batch_size=20, train_images=202)
    whole = data_of(trial)
    data = Data(first(whole, images), first(whole, 50), whole._test)
    assert len(data.train.targets) == images
    real, calls = F.cross_entropy, []

    def explode(*args, **kw):
        calls.append(1)
        return real(*args, **kw) * (math.nan if len(calls) > 1 else 1)

    monkeypatch.setattr(F, "cross_entropy", explode)
    with pytest.raises(Diverged):
        train(trial, data, tmp_path / "c.pt")


def first(data: Data, count: int):
    return data.train.inputs[:count], data.train.targets[:count]


def test_the_training_loss_is_the_mean_over_all_images_of_the_epoch(tmp_path, monkeypatch):
    trial = make(epochs=1, batch_size=20, train_images=202)
    whole = data_of(trial)
    data = Data(first(whole, 101), first(whole, 50), whole._test)  # five batches, and one image left out
    assert len(data.train.targets) == 101
    losses, real = [], F.cross_entropy

    def spy(*args, **kw):
        loss = real(*args, **kw)
        if loss.requires_grad:
            losses.append((loss.item(), len(args[0])))
        return loss

    monkeypatch.setattr(F, "cross_entropy", spy)
    outcome = train(trial, data, tmp_path / "c.pt")
    assert sum(n for _, n in losses) == 100
    assert outcome.metrics["train_loss"] == pytest.approx(sum(loss * n for loss, n in losses) / 100, rel=1e-5)


def test_the_test_split_is_read_once_and_after_the_last_epoch(tmp_path, monkeypatch):
    trial, events = make(), []
    data = data_of(trial)
    source, one_epoch = data._test, train_module._train_epoch
    monkeypatch.setattr(data, "_test", lambda: events.append("test") or source())  # however it is reached
    monkeypatch.setattr(train_module, "_train_epoch", lambda *a, **k: events.append("epoch") or one_epoch(*a, **k))
    train(trial, data, tmp_path / "c.pt")
    assert events == ["epoch"] * 3 + ["test"]
    with pytest.raises(RuntimeError, match="read once"):
        data.read_test()


def test_held_out_images_are_never_trained_on(tmp_path, monkeypatch):
    trial, seen = make(), []
    data = data_of(trial)
    call = Augment.__call__
    monkeypatch.setattr(Augment, "__call__", lambda self, x, y, g: seen.append(x.clone()) or call(self, x, y, g))
    train(trial, data, tmp_path / "c.pt")
    trained = [image.numpy().tobytes() for image in torch.cat(seen)]
    held = {image.numpy().tobytes() for image in data.val.inputs}
    mine = {image.numpy().tobytes() for image in data.train.inputs}
    assert len(trained) == 3 * len(mine) and set(trained) == mine
    assert len(held) == len(data.val.inputs) and not held & mine


def test_the_outcome_holds_what_the_record_needs(tmp_path):
    trial = make()
    outcome = train(trial, data_of(trial), tmp_path / "c.pt")
    metrics = outcome.metrics
    assert 0 <= metrics["test_top1_percent"] <= metrics["test_top5_percent"] <= 100
    _, labels = data_of(trial).read_test()
    assert metrics["test_top1_percent"] == pytest.approx(100 * (outcome.predictions == labels.numpy()).mean())
    assert metrics["val_top1_percent"] == outcome.history[-1]["val_top1_percent"]
    assert 0 <= metrics["overhead_percent"] <= 100 and metrics["train_images_per_s"] > 0
    assert metrics["train_s"] == pytest.approx(sum(row["seconds"] for row in outcome.history))
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3]
    saved = {name: weight for name, weight in weights(tmp_path / "c.pt").items() if not name.endswith("_extra_state")}
    assert metrics["params"] == sum(weight.numel() for weight in saved.values())


def test_a_net_learns_what_it_is_shown(tmp_path):
    trial = make(epochs=30, dim=16, lr=3e-2, label_smoothing=0.0)
    outcome = train(trial, data_of(trial), tmp_path / "c.pt")
    assert outcome.history[-1]["train_loss"] < 0.7 * outcome.history[0]["train_loss"]


def test_another_seed_draws_other_weights_and_another_order():
    one, other = (build_net(make(seed=seed)).state_dict() for seed in (0, 1))
    assert not torch.equal(one["head.weight"], other["head.weight"])
    again = build_net(make(seed=0)).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)


@pytest.mark.gpu
def test_on_a_gpu_without_capture_the_plain_step_trains_and_nothing_is_said_of_capture_or_overhead(
    tmp_path, monkeypatch
):
    trial = make(kind="tuning", epochs=1)
    expected = train(trial, data_of(trial), tmp_path / "cpu.pt")
    monkeypatch.setitem(DEVICES, "cpu", DEVICES["mps"])
    outcome = train(trial, data_of(trial), tmp_path / "gpu.pt")
    assert (outcome.metrics["step"], outcome.metrics["compile_s"], outcome.metrics["overhead_percent"]) == (
        "eager",
        None,
        None,
    )
    assert expected.metrics["overhead_percent"] is not None
    assert outcome.metrics["train_loss"] == expected.metrics["train_loss"]
    (group, *_) = make_optimizer(build_net(trial), trial).param_groups
    assert not group["capturable"] and not isinstance(group["lr"], torch.Tensor)
