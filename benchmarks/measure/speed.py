"""Speed that this suite answers for itself, as ratios within one run.

Transforms: our mixers beside the torch.fft calls that they replace, on one thread, rounds interleaved, outputs checked
against the plain definition first. Training: images per second of our loop beside the same net fed by a DataLoader
with per-image transforms, and the share of our step that is not the net.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.measure.augment import Augment
from benchmarks.measure.compare import Comparison, compare, interleaved
from benchmarks.measure.data import DATASETS, batches
from benchmarks.measure.train import build_net, make_optimizer
from benchmarks.record import atomic_write, code_version, environment, machine_name
from benchmarks.trial import Trial
from mixers import create_mixer

SHAPE = (32, 192, 32, 32)
TRANSFORM_ROUNDS = 15
LOOP_ROUNDS = 5
LOOP_STEPS = 8
PEERS: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "dct": ("rfft2", torch.fft.rfft2),
    "hadamard": ("rfft2", torch.fft.rfft2),
    "fft_complex": ("fft2 and a concatenation", lambda x: torch.cat(_parts(torch.fft.fft2(x)), 1)),
    "fft_real": ("fftn and its real part", lambda x: torch.fft.fftn(x, dim=(1, 2, 3)).real.contiguous()),
}


def compare_transforms() -> list[Comparison]:
    """Time of `dct`, `hadamard`, `fft_complex` and `fft_real` beside torch.fft, on one thread.

    Raises:
        RuntimeError: an output differs from the plain definition; nothing is timed then.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    _, dim, height, width = SHAPE
    x = torch.randn(SHAPE)
    mixers = {name: create_mixer(name, dim, (height, width)) for name in PEERS}
    for name, mixer in mixers.items():
        difference = torch.linalg.norm(mixer(x[:1]) - mixer.reference(x[:1])) / torch.linalg.norm(
            mixer.reference(x[:1])
        )
        if not difference < 1e-5:
            raise RuntimeError(f"{name} differs from its definition by {difference:.1e}; not timed")
    with torch.no_grad():
        calls: dict[str, Callable[[], Any]] = {name: functools.partial(mixer, x) for name, mixer in mixers.items()}
        calls |= {peer: functools.partial(function, x) for peer, function in PEERS.values()}
        times = interleaved(calls, TRANSFORM_ROUNDS)
    setting = f"{list(SHAPE)} float32, forward, 1 thread"
    return [compare(name, peer, setting, times[name], times[peer], "ms") for name, (peer, _) in PEERS.items()]


def compare_loops(mixer: str, threads: int) -> list[Comparison]:
    """Training time per image of our loop beside a DataLoader's, and the share of a step outside the net."""
    trial = Trial(
        kind="accuracy",
        mixer=mixer,
        dataset="cifar100",
        image_size=32,
        patch_size=4,
        dim=64,
        depth=4,
        threads=threads,
        batch_size=128,
        lr=1e-3,
        weight_decay=0.05,
    )
    torch.set_num_threads(threads)
    info = DATASETS["cifar100"]
    images = torch.randint(0, 256, (LOOP_STEPS * 128, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 100, (len(images),))
    outside: list[float] = []

    def ours() -> Iterator[tuple[Tensor, Tensor]]:
        augment = Augment("light", info, label_smoothing=0.1, memory_format=net.memory_format)
        generator = torch.Generator().manual_seed(0)
        for index in batches(len(images), 128, generator, "cpu"):
            yield augment(images[index], labels[index], generator)

    net = build_net(trial, 100)
    optimizer = make_optimizer(net, trial)
    loader = DataLoader(_PerImage(images, labels, info), batch_size=128, shuffle=True)
    calls = {
        "ours": lambda: outside.append(_epoch(net, optimizer, ours())),
        "DataLoader": lambda: _epoch(net, optimizer, iter(loader)),
    }
    times = interleaved(calls, LOOP_ROUNDS)
    per_image = {name: [ms / len(images) for ms in values] for name, values in times.items()}
    mine, plain = per_image.values()
    setting = f"{mixer}, dim 64, depth 4, 32 px, patch 4, batch 128, crop and flip, {threads} threads"
    total = [ms / 1000 for ms in times["ours"]]
    return [
        compare("training loop", "DataLoader, per-image transforms", setting, mine, plain, "ms per image"),
        compare("step outside the net", "whole step", setting, outside[1:], total, "s"),
    ]


def write_speed(folder: Path, mixers: list[str], threads: int) -> list[Comparison]:
    """Makes all comparisons and writes them to `speed.json` in `folder`, and as a table to `speed.md`."""
    comparisons = compare_transforms()
    for mixer in mixers:
        comparisons += compare_loops(mixer, threads)
    where = environment(
        Trial(kind="cost", mixer="dct", dataset="cifar100", image_size=32, patch_size=4, dim=64, depth=4)
    )
    content = {
        "environment": where | {"threads": threads},
        "code": code_version(),
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }
    with atomic_write(folder / "speed.json") as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
    lines = [f"# Speed, as ratios within one run\n\n{machine_name(where)}, torch {where['torch']}\n"]
    lines += ["| ours | beside | setting | ours | theirs | ratio (range) | rounds |", "|---|---|---|---|---|---|---|"]
    for c in comparisons:
        lines.append(
            f"| {c.what} | {c.beside} | {c.setting} | {c.ours:.3g} {c.unit} | {c.theirs:.3g} {c.unit} "
            f"| {c.ratio:.3f} ({c.ratio_low:.3f} to {c.ratio_high:.3f}) | {c.rounds} |"
        )
    with atomic_write(folder / "speed.md") as file:
        file.write(("\n".join(lines) + "\n").encode())
    return comparisons


class _PerImage(Dataset):
    """CIFAR as a plain training script has it: one image at a time, transformed by torchvision."""

    def __init__(self, images: Tensor, labels: Tensor, info) -> None:
        self.images, self.labels = images, labels
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(info.mean, info.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.labels[index]


def _epoch(net: nn.Module, optimizer: torch.optim.Optimizer, loader: Iterator[tuple[Tensor, Tensor]]) -> float:
    """Trains on all batches; returns the seconds spent waiting for them."""
    waiting, mark = 0.0, time.perf_counter()
    for images, targets in loader:
        waiting += time.perf_counter() - mark
        loss = F.cross_entropy(net(images), targets, label_smoothing=0.1 if targets.ndim == 1 else 0.0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        mark = time.perf_counter()
    return waiting


def _parts(spectrum: Tensor) -> list[Tensor]:
    return [spectrum.real, spectrum.imag]
