"""Where the time of a training step goes: mixer, norm, 1x1 convolutions, optimizer, data, loss.

A few plain steps of the trial's net are taken under torch.profiler: no CUDA graph and no compilation, which leave no
operators to tell apart. Ranges of `record_function` stand around the parts of the step, and hooks put one around every
mixer and norm; an operator belongs to the innermost range, a convolution between them to the 1x1 convolutions. A
backward operator carries the sequence number of the forward operator that asked for it, and belongs to the same part.

On a CPU a part's time is the wall clock inside its ranges and operators, Python included; on a GPU it is the time of
its kernels. `other` is what else the net computes: stem, GELU, layer scale, residual, coordinates, pooling, head, and
the adding up of gradients. `rest` is the step's wall clock less all parts: Python between ranges and operators, the
autograd engine, on a GPU also the time in which it waits. Not counted are reading the data set, evaluation and
checkpoints. The profiler itself slows a step down, small operators most; the same step without it is timed beside.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import gzip
import itertools
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.record import atomic_write, code_version
from benchmarks.contract.trial import Trial
from benchmarks.machine.device import set_math_mode, synchronize
from benchmarks.machine.environment import environment
from benchmarks.studies.attempt import Deadline, is_the_users, let_go, why
from benchmarks.studies.profile.record import PARTS, ProfileRecord, StepProfile
from benchmarks.studies.profile.report import write_pages
from benchmarks.sweep.one_trial import refuse_if_too_large
from benchmarks.tasks.task import Data, batches, build_net, load_data, task_of
from benchmarks.training.step import set_rate
from benchmarks.training.train import autocast, learning_rate, make_optimizer, memory_format_of
from benchmarks.training.training_step import training_step
from mixers import MixerNet
from mixers.nets.block import Block

STEP, NET, BACKWARD = "step", "net", "backward"  # ranges that are no part by themselves, the last two of the step
PREFIX = "token-mixers: "
NODE = "autograd::engine::evaluate_function"
STEPS = 10
WARM_UP_STEPS = 3
TRACE_PRIVATE = ("host_name", "traceName", "trace_id")  # entries of a trace that say where it was made


def profile_trials(
    trials: list[Trial],
    data_dir: Path,
    results: Path,
    steps: int = STEPS,
    on_result: Callable[[StepProfile], Any] = lambda result: None,
    until: float | None = None,
) -> tuple[list[StepProfile], list[str]]:
    """Profiles each trial's training step and leaves `trace-<mixer>.json.gz` of it in `results`.

    Record and pages are written after every trial: what stops the run later takes nothing away.

    Args:
        on_result: told each result once it is in the files.
        until: of `time.monotonic`, after which no trial is begun.

    Returns:
        The results, and in words what the deadline left.
    """
    several_sizes = len({trial.extent for trial in trials}) > 1
    found: list[StepProfile] = []
    left = []
    deadline = Deadline(until)
    for trial in trials:
        if deadline.passed():
            left.append(trial.describe())
            continue
        set_math_mode(trial.threads)
        trace = None
        try:
            refuse_if_too_large(trial)
            result, trace = profile_step(trial, load_data(trial, data_dir, trial.device), steps)
        except Exception as error:
            if is_the_users(error):
                raise
            result = StepProfile(trial, *why(error))
        let_go(trial.device)
        if trace is not None:
            with atomic_write(results / trace_name(trial, several_sizes)) as file:
                file.write(trace)
        found.append(result)
        _write(results, found, left)
        on_result(result)
    if found and left:
        _write(results, found, left)
    return found, left


def _write(results: Path, found: list[StepProfile], left: list[str]) -> None:
    where = environment(found[0].trial.device, found[0].trial.threads)
    ProfileRecord(environment=where, code=code_version(), profiles=found, left=left).save(results)
    write_pages(results)


def profile_step(trial: Trial, data: Data, steps: int) -> tuple[StepProfile, bytes]:
    """The parts of a training step, and its trace in Chrome's format, compressed by gzip."""
    net = build_net(trial).to(trial.device).train()
    step = _stepper(trial, net, data)
    on_gpu = DEVICES[trial.device].is_gpu
    activities = {ProfilerActivity.CPU, getattr(ProfilerActivity, trial.device.upper(), ProfilerActivity.CPU)}
    for _ in range(WARM_UP_STEPS):
        step()
    plain_ms = [_milliseconds(trial, step) for _ in range(steps)]
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes lines of its own on starting and stopping
    with ranges_in(net):
        step()
        with profile(activities=activities) as profiler:
            if on_gpu:  # the tracer of kernels starts with the first one, before the steps that count
                _milliseconds(trial, step)
            for _ in range(steps):
                with record_function(PREFIX + STEP):
                    _milliseconds(trial, step)
    step_ms, part_ms = attribute(profiler.events(), on_gpu=on_gpu)
    if on_gpu and not any(sum(part_ms[part]) for part in PARTS if part != "rest"):
        raise RuntimeError("the profiler saw no kernel: CUPTI is missing, not permitted, or in use by another tool")
    shares = {part: [100 * ms / whole for ms, whole in zip(part_ms[part], step_ms, strict=True)] for part in PARTS}
    result = StepProfile(
        trial=trial,
        steps=steps,
        step_ms=statistics.median(plain_ms),
        profiled_step_ms=statistics.mean(step_ms),
        part_ms={part: statistics.mean(values) for part, values in part_ms.items()},
        part_percent={p: (100 * sum(part_ms[p]) / sum(step_ms), min(v), max(v)) for p, v in shares.items()},
    )
    return result, _trace(profiler)


def attribute(events: Any, on_gpu: bool) -> tuple[list[float], dict[str, list[float]]]:
    """Wall clock of every step and the time of each part in it, in ms, from the profiler's events."""
    events = sorted((e for e in events if e.device_type == DeviceType.CPU), key=lambda e: e.time_range.start)
    steps = [event for event in events if event.name == PREFIX + STEP]
    starts = [event.time_range.start for event in steps]
    of_sequence: dict[int, str] = {}
    found: dict[int, str] = {}

    def part(event: Any) -> str:
        """The range that an event lies in, or a part by what it is; parents start before their children."""
        parent = found[id(event.cpu_parent)] if event.cpu_parent is not None else "rest"
        if event.name.startswith(PREFIX):
            return str(event.name.removeprefix(PREFIX))
        if event.name.startswith(NODE):
            return of_sequence.get(event.sequence_nr, NET)
        return "conv1x1" if parent == NET and event.name == "aten::conv2d" else parent

    part_ms = {name: [0.0] * len(steps) for name in PARTS}
    for event in events:
        found[id(event)] = name = part(event)
        is_range = event.name.startswith(PREFIX)
        if event.sequence_nr >= 0 and not event.name.startswith(NODE):
            of_sequence[event.sequence_nr] = name  # of operators that saw one number the last made the node
        at = bisect.bisect_right(starts, event.time_range.start) - 1
        if at < 0 or (is_range and (on_gpu or name not in PARTS)):
            continue
        name = {STEP: "rest", BACKWARD: "rest", NET: "other"}.get(name, name)
        part_ms[name][at] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000
    step_ms = [event.cpu_time_total / 1000 for event in steps]
    for at, whole in enumerate(step_ms):
        part_ms["rest"][at] = whole - sum(part_ms[name][at] for name in PARTS if name != "rest")
    return step_ms, part_ms


def trace_name(trial: Trial, with_size: bool) -> str:
    """The file name of a trial's trace."""
    mixer = re.sub(r"[^A-Za-z0-9_]+", "-", trial.mixer).strip("-")[:80]
    size = f"{trial.image_size}px" if trial.image_size else f"{trial.length}tokens"
    return f"trace-{mixer}-{size}.json.gz" if with_size else f"trace-{mixer}.json.gz"


def _stepper(trial: Trial, net: MixerNet, data: Data) -> Callable[[], None]:
    """One training step by the recipe, its parts in ranges."""
    assert trial.batch_size is not None
    optimizer = make_optimizer(net, trial)
    task = task_of(trial)
    augment = task.augment(trial, memory_format_of(net))
    order, noise = (torch.Generator(trial.device).manual_seed(trial.seed + i) for i in range(2))
    count, batch = len(data.train.targets), trial.batch_size
    epochs = (batches(count, batch, order, trial.device) for _ in itertools.count())
    # whole batches alone, so that steps are alike
    indices = (index for epoch in epochs for index in epoch if len(index) == min(batch, count))
    number = itertools.count()
    context = functools.partial(autocast, trial)

    def step() -> None:
        with record_function(PREFIX + "data"):
            index = next(indices)
            inputs, targets = augment(data.train.inputs.index_select(0, index), data.train.targets[index], noise)
        with record_function(PREFIX + "optimizer"):
            set_rate(optimizer, learning_rate(trial, next(number) * batch / count % (trial.epochs or 1)))
        training_step(
            net,
            task.loss,
            inputs,
            targets,
            optimizer,
            context,
            clip_norm=trial.clip_norm,
            part=lambda name: record_function(PREFIX + name),
        )

    return step


@contextlib.contextmanager
def ranges_in(net: MixerNet) -> Iterator[None]:
    """Ranges around every mixer, norm and the stem of the net."""
    blocks = [block for block in net.blocks if isinstance(block, Block)]
    inside: dict[nn.Module, str] = {block.mixer: "mixer" for block in blocks}
    inside |= {norm: "norm" for block in blocks for norm in (block.norm1, block.norm2, block.norm3)}
    inside |= {net.norm: "norm", net.stem: "other"}
    with contextlib.ExitStack() as hooks:
        for module, name in inside.items():
            _put_range_around(module, name, hooks)
        yield


def _put_range_around(module: nn.Module, name: str, hooks: contextlib.ExitStack) -> None:
    open_ranges: list[record_function] = []

    def enter(*_: Any) -> None:
        open_ranges.append(record_function(PREFIX + name))
        open_ranges[-1].__enter__()

    def leave(*_: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    hooks.callback(module.register_forward_pre_hook(enter).remove)
    hooks.callback(module.register_forward_hook(leave).remove)


def _milliseconds(trial: Trial, step: Callable[[], None]) -> float:
    """Of a step, from when the device has done what was before."""
    synchronize(trial.device)
    started = time.perf_counter()
    step()
    synchronize(trial.device)
    return 1000 * (time.perf_counter() - started)


def _trace(profiler: profile) -> bytes:
    """The trace as compressed JSON, without what tells the machine's name and paths."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        content = json.loads(path.read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key not in TRACE_PRIVATE}
    return gzip.compress(json.dumps(content).encode(), mtime=0)
