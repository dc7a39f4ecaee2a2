"""Cost: parameters, FLOPs and peak memory of one net. Nothing here depends on how fast the machine is."""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch

from benchmarks.contract.trial import Trial
from benchmarks.machine.flops import flops_and_unknown
from benchmarks.machine.memory import peak_bytes
from benchmarks.tasks.task import build_net, task_of
from benchmarks.timing.match import match_ratio
from benchmarks.training.train import autocast, make_optimizer, method_of
from benchmarks.training.training_step import training_step

MOST_LETTERS = 1000  # of a word in a record

log = logging.getLogger(__name__)


def measure_cost(trial: Trial) -> dict[str, Any]:
    """Metrics of the trial's net; peak memory is that of a batch of `trial.batch_size` examples."""
    assert trial.batch_size is not None
    task = task_of(trial)
    net = build_net(trial)
    counted, unknown = flops_and_unknown(net, task.example(trial, 2, "cpu").inputs)
    if unknown:
        log.warning(
            "%s: its counted FLOPs are a lower bound; nothing is known of %s (a formula for one can be registered with "
            "torch.utils.flop_counter.register_flop_formula)",
            *(trial.mixer, ", ".join(unknown)),
        )
    net.to(trial.device)
    inputs, targets = task.example(trial, trial.batch_size, trial.device)
    optimizer = make_optimizer(net, trial)

    def forward() -> None:
        with torch.no_grad(), autocast(trial):
            net(inputs)

    def step() -> None:
        training_step(
            net, task.loss, inputs, targets, optimizer, functools.partial(autocast, trial), clip_norm=trial.clip_norm
        )
        net.zero_grad()  # on a GPU the second step is measured, and what is left of the first is subtracted

    alive = [inputs, targets, *net.parameters(), *net.buffers()]
    return {
        "params": sum(p.numel() for p in net.parameters()),
        "mixer_params": sum(p.numel() for mixer in net.mixers for p in mixer.parameters()),
        "flops": net.flops(),
        "mixer_flops": getattr(net, "documents", 1) * sum(mixer.flops() for mixer in net.mixers),
        "flops_executed": net.flops_executed(),
        "method": method_of(net, trial),
        "flops_counted": counted,
        "forward_peak_bytes": peak_bytes(forward, alive, trial.device),
        "train_peak_bytes": peak_bytes(step, alive, trial.device),
        **({"flops_unknown": ", ".join(unknown)[:MOST_LETTERS]} if unknown else {}),
        "match_ratio": match_ratio(trial) if trial.match != "width" else None,
    }
