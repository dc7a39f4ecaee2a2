"""Accuracy: trains one net by the one recipe and reads the test split once, at the end.

AdamW, linear warm-up and cosine to zero, gradient norm clipped, label smoothing, augmentation in batches on the
device, bfloat16 autocast where the trial says so. Everything random comes from generators seeded with (seed, epoch), so
that a run resumed from its checkpoint at the end of an epoch goes on exactly as it would have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from benchmarks.contract.errors import Diverged, OutOfTime
from benchmarks.contract.facts.devices import DEVICES, by_device
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.facts.metrics import baseline_name
from benchmarks.contract.record import set_aside
from benchmarks.contract.trial import Trial
from benchmarks.machine.device import Capture, Graph, capture_of
from benchmarks.machine.memory import predict_bytes
from benchmarks.tasks.task import Augmenter, Data, Task, batches, task_of
from benchmarks.training.checkpoint import UnreadableCheckpoint
from benchmarks.training.checkpoint import resume as _resume
from benchmarks.training.checkpoint import save as _save
from benchmarks.training.pretrain import MaskedModelling, hand_over, pretraining_epochs
from benchmarks.training.step import EvaluationPass, TrainingStep, compiled_blocks
from benchmarks.training.training_step import training_step
from benchmarks.training.weights import save_weights, take_weights

EVALUATION_BATCH = 500
GPU_EVALUATION_BATCH = 1000
# at the end of an epoch, so that a run that is killed repeats no more than that and one epoch; on a CPU every epoch
CHECKPOINT_EVERY_S = by_device(cpu=0.0, gpu=10.0)
IN_HISTORY = ("loss", "order_percent")  # of what a task scores held-out examples by, beside top-1
CHECK_EVERY_STEPS = 50  # how often the loss is looked at; each look waits for the device

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Outcome:
    """What one accuracy trial measured."""

    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    predictions: np.ndarray | None  # (test examples,), the most probable class of each; None where not read


def method_of(net: nn.Module, trial: Trial) -> str | None:
    """Which implementation of its mixers runs in this trial; None of a net that does not say."""
    method_on = getattr(net, "method_on", None)
    return method_on and method_on(trial.device, torch.bfloat16 if trial.precision == "bfloat16" else torch.float32)


def memory_format_of(net: nn.Module) -> torch.memory_format:
    """The layout in which a net takes its inputs best."""
    return getattr(net, "memory_format", torch.contiguous_format)


def training_step_bytes(trial: Trial) -> int:
    """Predicted peak of a training step's tensors, or of building its net, in bytes; nothing is computed.

    Both moments of AdamW count, which from the second step on are there all the time; with PRETRAIN=own the steps that
    fill in masked tokens, too. 0 where a step cannot be predicted, see `predict_bytes`.
    """
    assert trial.batch_size is not None
    task = task_of(trial)
    needed, weights = _step_bytes(trial, task, trial.batch_size)
    if trial.pretrain == "none":
        return needed
    masked = MaskedModelling(task).as_task
    sooner, _ = _step_bytes(trial, masked, trial.batch_size * task.info.towers)
    return max(needed, sooner + weights if sooner else 0)  # the task's net waits beside


def _step_bytes(trial: Trial, task: Task, batch: int) -> tuple[int, int]:
    """Of one task's step over so many examples, and of the weights alone."""
    weights = 0

    def make():
        nonlocal weights
        net, (inputs, targets) = task.net(trial), task.example(trial, batch, "cpu")
        weights = sum(p.numel() * p.element_size() for p in net.parameters())
        step = functools.partial(training_step, net, task.loss, inputs, targets, optimizer=None)
        return step, [inputs, targets, *net.parameters(), *net.buffers()]

    peak, built = predict_bytes(make)
    return 0 if peak is None else max(peak + 2 * weights, built), weights


def train(
    trial: Trial,
    data: Data,
    checkpoint: Path,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    *,
    steps_to_come: int | None = None,
    until: float | None = None,
    bar: bool = True,
) -> Outcome:
    """Trains, going on from `checkpoint` where that exists, and evaluates on the test split, once.

    Leaves the final weights beside the checkpoint as `.safetensors`, with what is needed to build the net. A tuning
    trial does neither: what is chosen from it is chosen on held-out images. A checkpoint that cannot be read is set
    aside.

    Args:
        trial: what to train.
        data: of its task, on its device.
        checkpoint: written at the end of an epoch, CHECKPOINT_EVERY_S after the last one or later, and after the last
            epoch.
        on_epoch: told every epoch's row of the history, and the last one again when resuming. Epochs that were not in
            the checkpoint when a run was killed are told again by the next one.
        steps_to_come: of all trials that would share this one's compiled code, it among them; see `TrainingStep`.
        until: of `time.monotonic()`; no epoch is begun that would end later, as far as the last one tells.
        bar: whether a terminal shows a progress bar.

    Raises:
        Diverged: the loss is not finite.
        OutOfTime: epochs are left, and `until` came too near; the checkpoint holds those that were trained.
        UserError: the checkpoint belongs to another configuration, or there is no room for a new one.
    """
    assert trial.epochs is not None
    task, sooner = task_of(trial), checkpoint.with_name(f"{checkpoint.stem}-pretrain.pt")
    run_phase = functools.partial(
        _run_phase, trial, data=data, on_epoch=on_epoch, steps_to_come=steps_to_come, until=until, bar=bar
    )
    first = pretraining_epochs(trial)

    def pretrained(net: nn.Module) -> tuple[list[dict[str, Any]], float, float]:
        """What comes before the task's own epochs: their history and seconds; the net gets their weights."""
        if trial.pretrained is not None:
            take_weights(net, checkpoint.parent, trial)
        if not first:
            return [], 0.0, 0.0
        run = run_phase(_Phase(MaskedModelling(task), 0, first, "pretrain"), checkpoint=sooner)
        hand_over(run.net, net)
        return list(run.history), run.train_s, run.overhead_s

    run = run_phase(
        _Phase(task, first, trial.epochs, "train" if first else None), checkpoint=checkpoint, before=pretrained
    )
    sooner.unlink(missing_ok=True)
    net, history, train_s, step = run.net, run.history, run.train_s, run.step
    device = DEVICES[trial.device]
    test_scores: dict[str, float] = {}
    trivial: dict[str, float] = {}
    second_scores: dict[str, float] = {}
    predictions = None
    if KINDS[trial.kind].reads_test:
        test = data.read_test()
        test_scores, predictions = task.scores(run.forward(test.inputs), test.targets)
        trivial = task.trivial(data, test)
        if (second := data.read_second_test()) is not None:
            more, _ = task.scores(run.forward(second.inputs), second.targets)
            second_scores = {"test2_top1_percent": more["top1_percent"]}
        save_weights(checkpoint.with_suffix(".safetensors"), net, trial, getattr(run.augment, "info", task.info))
    metrics = {
        **{f"test_{name}": value for name, value in test_scores.items()},
        **second_scores,
        **{baseline_name(name): value for name, value in trivial.items()},
        **({f"pretrain_{name}": history[first - 1][name] for name in ("train_loss", "val_loss")} if first else {}),
        "val_top1_percent": history[-1]["val_top1_percent"],
        "train_loss": history[-1]["train_loss"],
        "train_s": train_s,
        "train_images_per_s": trial.epochs * data.epoch_examples / train_s,
        "overhead_percent": 100 * run.overhead_s / train_s if not device.is_gpu else None,
        "params": sum(p.numel() for p in net.parameters()),
        "method": method_of(net, trial),
        "step": step.kind,
        "compile_s": step.compile_s if device.captures else None,
    }
    return Outcome(metrics, history, predictions)


@dataclasses.dataclass(frozen=True)
class _Phase:
    """The epochs of a trial, counted from 0, that go to one task, each with a schedule of rates of its own."""

    task: Any
    first: int
    end: int
    name: str | None = None  # in the history, where there are two


@dataclasses.dataclass
class _Run:
    """What is left of a phase at its end."""

    net: Any
    augment: Augmenter
    step: TrainingStep
    forward: EvaluationPass
    history: list[dict[str, Any]]  # of the phases before too, as are the seconds
    train_s: float
    overhead_s: float


def _run_phase(
    trial: Trial,
    phase: _Phase,
    data: Data,
    checkpoint: Path,
    on_epoch: Callable[[dict[str, Any]], None],
    *,
    steps_to_come: int | None,
    until: float | None,
    bar: bool,
    before: Callable[[nn.Module], tuple[list[dict[str, Any]], float, float]] = lambda net: ([], 0.0, 0.0),
) -> _Run:
    """Trains one phase as `train` says; `before` gives the net what it starts from where there is no checkpoint."""
    assert trial.epochs is not None and trial.batch_size is not None
    task = phase.task
    net = task.net(trial).to(trial.device)
    optimizer = make_optimizer(net, trial)
    try:
        history, train_s, overhead_s, kind = _resume(trial, checkpoint, net, optimizer)
    except UnreadableCheckpoint as error:
        set_aside(checkpoint)
        log.warning(
            "  %s cannot be read (%s): it is now in set-aside/, and the trial starts anew", checkpoint.name, error
        )
        return _run_phase(
            trial, phase, data, checkpoint, on_epoch, steps_to_come=steps_to_come, until=until, bar=bar, before=before
        )
    if history:
        on_epoch(history[-1])
    else:
        history, train_s, overhead_s = before(net)
    augment = task.augment(trial, memory_format_of(net))
    capture = capture_of(trial.device)
    step = TrainingStep(
        net,
        optimizer,
        data,
        augment,
        task.loss,
        functools.partial(autocast, trial),
        torch.Generator(trial.device),
        capture,
        compiled_blocks if capture else None,
        steps=(phase.end - len(history)) * -(-data.epoch_examples // trial.batch_size),
        steps_to_come=steps_to_come,
        kind=kind,
        clip_norm=trial.clip_norm,
    )
    forward = evaluation_pass(net, augment, trial, capture, lambda: step.graph)
    saved_at, saved_epochs = time.monotonic(), len(history)
    epoch_s = history[-1]["seconds"] if history else 0.0

    def save() -> None:
        _save(trial, checkpoint, net, optimizer, history, train_s, overhead_s, step.kind)

    for epoch in range(len(history), phase.end):
        started, compile_before = time.monotonic(), step.compile_s
        if until is not None and started + epoch_s > until:
            if saved_epochs < epoch:
                save()
            raise OutOfTime(f"the time was up after {epoch} of {trial.epochs} epochs")
        row = _train_epoch(trial, step, epoch, phase=phase, show_bar=bar)
        train_s += row["seconds"]
        overhead_s += row.pop("overhead_s")
        row |= _held_out(trial, phase, net, forward, data)
        history.append(row)
        top1 = "" if row["val_top1_percent"] is None else f" top-1 {row['val_top1_percent']:.1f} %,"
        log.info(
            "  epoch %d of %d: loss %.3f, held-out%s %.0f images/s",
            *(epoch + 1, trial.epochs, row["train_loss"], top1 or f" loss {row['val_loss']:.3f},", row["images_per_s"]),
        )
        if epoch + 1 == phase.end or time.monotonic() - saved_at >= CHECKPOINT_EVERY_S[trial.device]:
            save()
            saved_at, saved_epochs = time.monotonic(), epoch + 1
        epoch_s = time.monotonic() - started - (step.compile_s - compile_before)
        on_epoch(row)
    return _Run(net, augment, step, forward, history, train_s, overhead_s)


def _held_out(trial: Trial, phase: _Phase, net: nn.Module, forward: EvaluationPass, data: Data) -> dict[str, Any]:
    """What an epoch's row says of the held-out examples, and the name of its phase."""
    named = {} if phase.name is None else {"phase": phase.name}
    if phase.name == "pretrain":
        return named | phase.task.judge(net, trial, data, functools.partial(autocast, trial))
    scores, _ = phase.task.scores(forward(data.val.inputs), data.val.targets)
    return (
        named
        | {"val_top1_percent": scores.get("top1_percent")}
        | {f"val_{name}": value for name, value in scores.items() if name in IN_HISTORY}
    )


def _train_epoch(trial: Trial, step: TrainingStep, epoch: int, *, phase: _Phase, show_bar: bool) -> dict[str, Any]:
    """One pass over the training examples; returns its row of the history, and `overhead_s` outside the net in it."""
    assert trial.epochs is not None and trial.batch_size is not None
    # one generator for the order and one for the augmentation, both seeded anew from (seed, epoch)
    seed = trial.seed * 100_003 + epoch
    order = torch.Generator(trial.device).manual_seed(2 * seed)
    step.generator.manual_seed(2 * seed + 1)
    torch.manual_seed(seed)
    step.net.train()
    count = step.data.epoch_examples
    schedule = list(batches(count, trial.batch_size, order, trial.device))
    if (examples := step.data.examples_of(epoch, trial.seed)) is not None:
        schedule = [examples[index] for index in schedule]
    step.data.ahead(schedule)
    images_seen, steps = 0, len(schedule)
    part = dataclasses.replace(trial, epochs=phase.end - phase.first, pretrain="none")
    loss_sum, last_finite = torch.zeros((), device=trial.device), math.nan
    model_before, compile_before, started = step.model_s, step.compile_s, time.perf_counter()
    bar = tqdm(total=count, unit="example", disable=None if show_bar else True, leave=False, dynamic_ncols=True)
    bar.set_description(f"{trial.mixer} epoch {epoch + 1}/{trial.epochs}")
    lr = 0.0
    for number, index in enumerate(schedule):
        lr = learning_rate(part, epoch - phase.first + number / steps)
        loss_sum += step(index, lr) * len(index)
        images_seen += len(index)
        bar.update(len(index))
        if number % CHECK_EVERY_STEPS == 0 or number == steps - 1:
            mean_loss = loss_sum.item() / images_seen
            if not math.isfinite(mean_loss):
                bar.close()
                raise Diverged(
                    f"the loss is not finite by step {number} of epoch {epoch + 1}; before: {last_finite:.4g}"
                )
            last_finite = mean_loss
            bar.set_postfix(loss=f"{mean_loss:.3f}")
    bar.close()
    seconds = time.perf_counter() - started - (step.compile_s - compile_before)
    return {
        "epoch": epoch + 1,
        "train_loss": last_finite,
        "lr": lr,
        "images_per_s": images_seen / seconds,
        "seconds": seconds,
        "overhead_s": max(0.0, seconds - (step.model_s - model_before)),
    }


def evaluation_pass(
    net: nn.Module,
    augment: Augmenter,
    trial: Trial,
    capture: Capture | None = None,
    beside: Callable[[], Graph | None] = lambda: None,
) -> EvaluationPass:
    """The forward pass of the trial's evaluations, in its precision."""
    batch = EVALUATION_BATCH if capture is None else GPU_EVALUATION_BATCH
    return EvaluationPass(net, augment.prepare, functools.partial(autocast, trial), batch, capture, beside)


def make_optimizer(net: nn.Module, trial: Trial) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels alone, not on biases, gains, scales and what the mixers name."""
    named: set[str] = getattr(net, "no_weight_decay", set)()
    decayed = [p for name, p in net.named_parameters() if p.ndim > 1 and name not in named]
    others = [p for name, p in net.named_parameters() if p.ndim <= 1 or name in named]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": trial.weight_decay or 0.0},
        {"params": others, "weight_decay": 0.0},
    ]
    betas = (trial.beta1, trial.beta2)
    if DEVICES[trial.device].captures:  # a captured step reads its rate from the device
        rate = torch.tensor(trial.lr or 0.0, device=trial.device)
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True, capturable=True)
        optimizer._warned_capturable_if_run_uncaptured = True  # as the warm-up of a capture does
        return optimizer
    return torch.optim.AdamW(groups, lr=trial.lr or 0.0, betas=betas, fused=True)


def learning_rate(trial: Trial, epoch: float) -> float:
    """Linear from 0 over the warm-up, then by the trial's schedule; `epoch` counts from 0 with fractions.

    "cosine" is a half cosine to 0 at the end, "linear" a line to it, "constant" keeps the peak, "rsqrt" falls as the
    inverse square root of the steps. Its warm-up (without one, the first epoch) sets the scale, and may be longer than
    the run; that of the others ends half way at the latest.
    """
    assert trial.lr is not None and trial.epochs is not None and trial.warmup_epochs is not None
    warmup = trial.warmup_epochs if trial.schedule == "rsqrt" else min(trial.warmup_epochs, trial.epochs / 2)
    if epoch < warmup:
        return trial.lr * max(epoch / warmup, 1e-3)
    if trial.schedule == "constant":
        return trial.lr
    if trial.schedule == "rsqrt":
        scale = warmup or 1.0
        return trial.lr * math.sqrt(scale / max(epoch, scale))
    done = (epoch - warmup) / (trial.epochs - warmup)
    if trial.schedule == "linear":
        return trial.lr * (1 - done)
    return trial.lr * 0.5 * (1 + math.cos(math.pi * done))


@contextlib.contextmanager
def autocast(trial: Trial) -> Iterator[None]:
    """The trial's precision."""
    with torch.autocast(trial.device, torch.bfloat16, enabled=trial.precision == "bfloat16"):
        yield
