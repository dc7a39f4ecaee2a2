"""What reading one's own images costs: `python tests/reliability/own_data_speed.py OUT`.

Makes 20,000 JPEGs of 256 px in ten folders, and beside each other in one run, in turns, measures

- one pass over them decoded by the suite, in random batches, and by a plain torchvision `ImageFolder` and `DataLoader`
  with two workers, which reads files and scales them as the suite does: the same batches, bit for bit;
- how long the suite takes to decode them, once, and to see that nothing changed, each time;
- the share of a training step of the quick net that goes to data, resident and streamed;
- the peak of memory.

Writes own-data-speed.json and .md into OUT. `--images`, `--side`, `--image-size` and `--rounds` make it smaller.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.contract.processor import cpu_name
from benchmarks.contract.record import write_json
from benchmarks.contract.trial import Trial
from benchmarks.machine.device import set_math_mode
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.images import stream
from benchmarks.tasks.images.pictures import read_picture
from benchmarks.tasks.own import cache_of, find_own
from benchmarks.tasks.task import load_data, task_of

CLASSES, BATCH, WORKERS, SCALE = 10, 64, 2, 16
LEAST_RATIO, MOST_SHARE = 10.0, 5.0
STEPS = 20


def make_images(folder: Path, count: int, side: int) -> None:
    """Smooth noise, which a JPEG of a photograph's size holds, each class brighter in a place of its own."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / "train" / f"class{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (max(1, side // SCALE), max(1, side // SCALE), 3), dtype=np.uint8)
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(place / f"{number:06d}.jpg")
    for label in range(CLASSES):
        place = folder / "test" / f"class{label}"
        place.mkdir(parents=True)
        Image.new("RGB", (side, side)).save(place / "0.jpg")


class Plain(ImageFolder):
    """torchvision's own, with the reading and scaling of the suite."""

    def __init__(self, root: Path, size: int) -> None:
        super().__init__(str(root), loader=lambda path: torch.from_numpy(read_picture(Path(path), (size, size))))


def plain_pass(folder: Path, size: int, order: list[int]) -> Iterator[torch.Tensor]:
    yield from (x for x, _ in DataLoader(Plain(folder / "train", size), BATCH, sampler=order, num_workers=WORKERS))


def own_pass(data: Any, order: torch.Tensor) -> Iterator[torch.Tensor]:
    schedule = list(order.split(BATCH))
    data.ahead(schedule)
    for index in schedule:
        data.stage(index)
        yield data.train.inputs.index_select(0, index)


def seconds(batches: Callable[[], Iterator[torch.Tensor]]) -> float:
    started = time.perf_counter()
    for batch in batches():
        batch[0, 0, 0, 0].item()
    return time.perf_counter() - started


def where_each_lies(data: Any, folder: Path, size: int) -> list[int]:
    """For each image of the training part its number in torchvision's order, held-out images being left out there."""
    by_content: dict[bytes, list[int]] = {}
    for number, (image, _) in enumerate(Plain(folder / "train", size)):
        by_content.setdefault(image.numpy().tobytes(), []).append(number)
    images = data.train.inputs
    return [by_content[images[i : i + 1][0].numpy().tobytes()].pop() for i in range(len(images))]


def data_share(trial: Trial, data: Any) -> float:
    """Percent of a training step's time that goes to reading and augmenting the batch: the median over STEPS steps."""
    from benchmarks.training.train import make_optimizer
    from benchmarks.training.training_step import training_step

    task = task_of(trial)
    net, augment = task.net(trial), task.augment(trial)
    optimizer, noise, shares = make_optimizer(net, trial), torch.Generator(), []
    order = torch.randperm(len(data.train.targets))
    schedule = [index for index in order.split(trial.batch_size or 1) if len(index) > 1][:STEPS]
    data.ahead(schedule)
    for index in schedule:
        started = time.perf_counter()
        data.stage(index)
        inputs, targets = augment(data.train.inputs.index_select(0, index), data.train.targets[index], noise)
        read = time.perf_counter()
        training_step(net, task.loss, inputs, targets, optimizer)
        shares.append(100 * (read - started) / (time.perf_counter() - started))
    return statistics.median(shares)


def measure(folder: Path, data_dir: Path, size: int | None, rounds: int) -> dict[str, Any]:
    dataset, sizes = f"folder:{folder}", None if size is None else (size,)
    started = time.perf_counter()
    find_own(dataset, data_dir)
    found = {"fingerprint_s": time.perf_counter() - started}
    started = time.perf_counter()
    find_own(dataset, data_dir)
    found["found_again_s"] = time.perf_counter() - started
    request = Request(
        mixer="fft_real", dataset=dataset, data_dir=data_dir, image_size=sizes, profile="quick", device="cpu"
    )
    (trial,) = Plan(request).accuracy(all_seeds=False)
    set_math_mode(trial.threads)
    side = trial.size[0]
    started = time.perf_counter()
    cache = cache_of(trial, data_dir)
    found |= {"decode_s": time.perf_counter() - started, "cache_bytes": cache.bytes}
    data = load_data(trial, data_dir, "cpu")
    numbers = where_each_lies(data, folder, side)
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))
    same = [numbers[i] for i in order.tolist()]
    for ours, theirs in zip(own_pass(data, order), plain_pass(folder, side, same), strict=True):
        assert torch.equal(ours, theirs)
    with mock.patch.object(stream, "RESIDENT_SHARE", 0.0):
        streamed = load_data(trial, data_dir, "cpu")
    ways = {"own": lambda: own_pass(data, order), "streamed": lambda: own_pass(streamed, order)}
    ways["plain"] = lambda: plain_pass(folder, side, same)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(seconds(way))
    for name in ("own", "streamed"):
        ratios = [plain / own for plain, own in zip(times["plain"], times[name], strict=True)]
        found[f"{name}_ratio"] = statistics.median(ratios)
    found |= {"own_data_percent": data_share(trial, data), "streamed_data_percent": data_share(trial, streamed)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found | {"images": len(numbers), "image_size": side, "times_s": times, "peak_bytes": peak}


def text_of(found: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {value:,.3g} |" if isinstance(value, float) else f"| {name} | {value} |"
        for name, value in found.items()
        if name != "times_s"
    ]
    return "\n".join(["# Reading one's own images", "", "| what | value |", "|---|---|", *rows, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=256, help="of the JPEGs, in pixels")
    parser.add_argument("--image-size", type=int, help="that they are decoded to (what the quick profile says)")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "photos"
        make_images(folder, asked.images, asked.side)
        found = measure(folder, Path(name) / "data", asked.image_size, asked.rounds)
    found |= {"jpegs": asked.images, "side": asked.side, "cpu": cpu_name(), "python": platform.python_version()}
    asked.out.mkdir(parents=True, exist_ok=True)
    write_json(asked.out / "own-data-speed.json", found, indent=1)
    text = text_of(found)
    (asked.out / "own-data-speed.md").write_text(text, encoding="utf-8")
    print(text)
    shares = found["own_data_percent"], found["streamed_data_percent"]
    fast = found["own_ratio"] >= LEAST_RATIO and max(shares) <= MOST_SHARE
    return 0 if fast else 1


if __name__ == "__main__":
    sys.exit(main())
