"""The first source's own net, trained again as its published log was: in the log's layout and in the one meant.

The recipe is the source's: Adam at 1e-3, batches of 256, float32, no schedule, no weight decay, no augmentation, images
in [0, 1], the whole training split. Nothing is chosen, so nothing is held out. Unlike the source, which read the test
split every epoch, each run reads it once, at its end. Both layouts start from the same weights and see the same order.
On request, in place of the log, the net of complex-linear layers is trained beside the real one of as many parameters,
both in the right layout and with the norm over the image; they see the same order too.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contract.errors import Diverged, UserError, one_line
from benchmarks.contract.facts.datasets import info_of
from benchmarks.contract.record import code_version, cores, now
from benchmarks.contract.trial import RESULTS_VERSION, Trial
from benchmarks.machine.device import resolve_device, set_math_mode
from benchmarks.machine.environment import environment
from benchmarks.machine.memory import is_out_of_memory
from benchmarks.plan.trials import Request
from benchmarks.studies.spectracles.record import FILES, load, save
from benchmarks.tasks.images.augment import Augment
from benchmarks.tasks.images.common import hold_out
from benchmarks.tasks.task import Data, batches, check_files, load_data, task_of
from benchmarks.training.train import evaluation_pass
from benchmarks.training.training_step import training_step
from mixers import Spectracles
from mixers.nets.spectracles import equal_width

LEARNING_RATE = 1e-3
BATCH_SIZE = 256
CPU_EPOCHS = 1  # where nobody says; a GPU trains for as long as the published log did
CHECK_EVERY_STEPS = 50
MIXER_OF_LAYOUT = {"scrambled": "fft_scrambled", "right": "fft_complex", "complex": "fft_complex"}

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One line of the published log."""

    width: int
    depth: int
    n_linear: int
    standardize: str
    published: tuple[tuple[int, float], ...]  # (epochs, test top-1 in percent)
    residual: bool = True

    def build(self, layout: str, seed: int) -> Spectracles:
        """The net, on the CPU, its weights drawn from the seed; both layouts draw the same, "complex" others."""
        shape: dict[str, Any] = {"depth": self.depth, "n_linear": self.n_linear, "standardize": self.standardize}
        shape |= {"residual": self.residual, "num_classes": 100}
        if layout == "complex":
            width = equal_width(Spectracles(self.width, **shape))
            torch.manual_seed(seed)
            return Spectracles(width, **shape, complex=True)
        torch.manual_seed(seed)
        return Spectracles(self.width, **shape, layout=layout)

    @property
    def beside_complex(self) -> bool:
        """Whether it is the line that the net of complex layers is held against: the plain one whose norm works."""
        return self.standardize == "chw" and self.n_linear == 0 and self.residual

    def describe(self) -> str:
        residual = "" if self.residual else ", no residual"
        return f"{self.width} x {self.depth}, n_linear {self.n_linear}, standardize {self.standardize}{residual}"


LOG = (
    Configuration(32, 4, 0, "none", ((40, 16.3), (120, 28.5))),
    Configuration(64, 4, 0, "none", ((150, 31.3),)),
    Configuration(32, 8, 0, "none", ((100, 2.1),)),
    Configuration(32, 8, 0, "chw", ((50, 29.1),)),
    Configuration(32, 8, 0, "c", ((50, 16.0),)),
    Configuration(32, 4, 0, "c", ((30, 13.1),)),
    Configuration(32, 4, 0, "c", ((50, 17.0),), residual=False),
    Configuration(32, 4, 0, "chw", ((50, 25.5),)),
    Configuration(32, 4, 1, "chw", ((120, 31.0),)),
)


@dataclasses.dataclass(frozen=True)
class Replication:
    """A published run again: one configuration in one layout, with everything that decides its outcome."""

    configuration: Configuration
    layout: str
    trial: Trial  # for the data, the machine and the range of every number; its net is another
    train_images: int | None

    def settings(self) -> dict[str, Any]:
        """What makes two runs one; the number of threads is not among it."""
        choices = dataclasses.asdict(self.configuration)
        del choices["published"]
        recipe = {name: getattr(self.trial, name) for name in ("seed", "epochs", "batch_size", "lr", "device")}
        return {
            **choices,
            "layout": self.layout,
            **recipe,
            "train_images": self.train_images,
            "results_version": RESULTS_VERSION,
        }

    def describe(self) -> str:
        layout = "complex layers" if self.layout == "complex" else f"{self.layout} layout"
        return f"{self.configuration.describe()}, {layout}, seed {self.trial.seed}"


def plan_replications(request: Request) -> list[Replication]:
    """Seeds outermost, then the published lines in their order, then the layouts.

    Args:
        request: its `dim` and `depth`, where given, choose among the published lines; its `train_images` takes so many
            of the training split, the same of each class; its `complex` asks for the net of complex layers and the
            real one beside it, and for no other.

    Raises:
        UserError: a value is not allowed, no published line has this width and depth, or the data set is another.
    """
    if request.dataset not in (None, "cifar100"):
        raise UserError(f"--dataset is {request.dataset!r}; the published log is of cifar100, leave --dataset out")
    device = resolve_device(request.device)
    classes, whole = info_of("cifar100").num_classes, _whole_training_split()
    count = request.train_images
    if count is not None and (count % classes or not classes <= count <= whole):
        raise UserError(f"--train-images is {count}; allowed: multiples of {classes} up to {whole:,}")
    lines = [c for c in LOG if c.beside_complex or not request.complex]
    chosen = [c for c in lines if request.dim in (None, c.width) and request.depth in (None, c.depth)]
    if not chosen:
        sizes = ", ".join(dict.fromkeys(f"--dim {c.width} --depth {c.depth}" for c in lines))
        given = " ".join(f"--{n} {v}" for n, v in (("dim", request.dim), ("depth", request.depth)) if v is not None)
        where = "has no net of complex layers" if request.complex else "is not in the published log"
        raise UserError(f"{given} {where}; allowed: {sizes}")
    return [
        Replication(configuration, layout, _trial(request, configuration, layout, seed, device), count)
        for seed in request.seed or (0,)
        for configuration in chosen
        for layout in (("right", "complex") if request.complex else ("scrambled", "right"))
    ]


def measure(
    runs: list[Replication], results: Path, data_dir: Path, retry: bool = False
) -> Iterator[list[dict[str, Any]]]:
    """Trains every run that `spectracles.json` in `results` does not hold yet, and writes the file after each.

    Args:
        runs: what is wanted.
        results: the folder of the file, made if missing.
        data_dir: where CIFAR-100 is, or is downloaded to.
        retry: whether those of `runs` that failed earlier are trained again.

    Yields:
        All runs in the file, as written: once before the first is trained, and again after each.

    Raises:
        UserError: the file is no such file, or the data set is not there.
    """
    done = load(results / FILES[0])
    settings = [entry["settings"] for entry in done if entry["status"] == "ok" or not retry]
    todo = [run for run in runs if run.settings() not in settings]
    log.info("%d runs, %d of them measured earlier", len(runs), len(runs) - len(todo))
    if todo:
        results.mkdir(parents=True, exist_ok=True)
        check_files([todo[0].trial], data_dir)  # fail before anything is written
        load_data(todo[0].trial, data_dir, "cpu")
    if done:
        yield done
    for number, run in enumerate(todo, 1):
        log.info("[%d/%d] %s", number, len(todo), run.describe())
        entry = _measured(run, load_data(run.trial, data_dir, run.trial.device))
        done = [*(earlier for earlier in done if earlier["settings"] != entry["settings"]), entry]
        save(results, done)
        yield done


def train_net(
    run: Replication, net: nn.Module, images: Tensor, labels: Tensor, augment: Augment
) -> list[dict[str, Any]]:
    """Trains by the source's recipe on uint8 images (n, 3, 32, 32); one row of the history an epoch.

    Raises:
        Diverged: the loss is not finite.
    """
    trial = run.trial
    assert trial.epochs is not None and trial.batch_size is not None
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    loss_of = task_of(trial).loss
    history = []
    net.train()
    for epoch in range(trial.epochs):
        order = torch.Generator(trial.device).manual_seed(trial.seed * 100_003 + epoch)
        started = time.perf_counter()
        loss_sum, seen = torch.zeros((), device=trial.device), 0
        schedule = list(batches(len(labels), trial.batch_size, order, trial.device))
        for step, index in enumerate(schedule):
            inputs = augment.prepare(images[index])
            loss = training_step(net, loss_of, inputs, labels[index], optimizer)
            loss_sum += loss * len(index)
            seen += len(index)
            last = step == len(schedule) - 1
            if (last or step % CHECK_EVERY_STEPS == 0) and not math.isfinite(loss_sum.item()):
                raise Diverged(f"the loss is not finite by step {step} of epoch {epoch + 1}")
        seconds = time.perf_counter() - started
        row = {"epoch": epoch + 1, "train_loss": loss_sum.item() / seen, "images_per_s": seen / seconds}
        history.append(row | {"seconds": seconds})
        log.info("  epoch %d of %d: loss %.3f, %.0f images/s", epoch + 1, trial.epochs, *list(row.values())[1:])
    return history


def _measured(run: Replication, data: Data) -> dict[str, Any]:
    """Trains one run and reads the test split; the entry of the file."""
    set_math_mode(run.trial.threads)
    started, status, reason = now(), "ok", None
    net = run.configuration.build(run.layout, run.trial.seed).to(run.trial.device)
    # a mean of 0 and a deviation of 1 leave images in [0, 1]
    task = task_of(run.trial)
    augment = Augment("none", dataclasses.replace(task.info, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    metrics: dict[str, Any] = {"params": sum(p.numel() for p in net.parameters())}
    history: list[dict[str, Any]] = []
    try:
        images, labels = _training_images(data, run.train_images)
        history = train_net(run, net, images, labels, augment)
        test = data.read_test()
        scores, _ = task.scores(evaluation_pass(net, augment, run.trial)(test.inputs), test.targets)
        metrics |= {f"test_{name}": value for name, value in scores.items()}
        metrics["train_loss"] = history[-1]["train_loss"]
        metrics["train_s"] = sum(row["seconds"] for row in history)
        metrics["train_images_per_s"] = len(history) * len(labels) / metrics["train_s"]
        log.info("  test top-1 %.2f %%", metrics["test_top1_percent"])
    except (MemoryError, RuntimeError) as error:
        status, reason = _failure(error), one_line(error)
        log.info("  %s: %s", status, reason)
    return {
        "settings": run.settings(),
        "published": [{"epochs": epochs, "top1_percent": top1} for epochs, top1 in run.configuration.published],
        "status": status,
        "reason": reason,
        "metrics": metrics,
        "history": history,
        "environment": environment(run.trial.device, run.trial.threads),
        "code": code_version(),
        "started": started,
        "ended": now(),
    }


def _failure(error: Exception) -> str:
    if isinstance(error, Diverged):
        return "diverged"
    out_of_memory = is_out_of_memory(error)
    return "oom" if out_of_memory else "error"


def _training_images(data: Data, count: int | None) -> tuple[Tensor, Tensor]:
    """The whole training split, the held-out part included, or `count` images of it, as many of each class."""
    images = torch.cat([data.train.inputs, data.val.inputs])
    labels = torch.cat([data.train.targets, data.val.targets])
    if count is None:
        return images, labels
    classes = info_of("cifar100").num_classes
    _, taken = hold_out(labels.cpu(), classes, count // classes)
    taken = taken.to(labels.device)
    return images[taken], labels[taken]


def _whole_training_split() -> int:
    info = info_of("cifar100")
    assert info.train_images is not None and info.val_images is not None
    return info.train_images + info.val_images


def _trial(request: Request, configuration: Configuration, layout: str, seed: int, device: str) -> Trial:
    published = max(epochs for epochs, _ in configuration.published)
    return Trial(
        kind="accuracy",
        mixer=MIXER_OF_LAYOUT[layout],
        dataset="cifar100",
        image_size=32,
        patch_size=1,
        dim=configuration.width,
        depth=configuration.depth,
        seed=seed,
        device=device,
        threads=cores() if request.threads is None else request.threads,
        batch_size=BATCH_SIZE,
        epochs=request.epochs if request.epochs is not None else CPU_EPOCHS if device == "cpu" else published,
        lr=LEARNING_RATE,
        weight_decay=0.0,
        augment="none",
    )
