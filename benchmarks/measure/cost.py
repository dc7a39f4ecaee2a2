"""Cost: parameters, FLOPs and peak memory of one net. Nothing here depends on how fast the machine is."""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.contract.datasets import info_of
from benchmarks.contract.trial import Trial
from benchmarks.measure.flops import flops_and_unknown
from benchmarks.measure.match import match_ratio
from benchmarks.measure.memory import peak_bytes
from benchmarks.measure.train import autocast, build_net, make_optimizer, method_of

MOST_LETTERS = 1000  # of a word in a record

log = logging.getLogger(__name__)


def measure_cost(trial: Trial) -> dict[str, Any]:
    """Metrics of the trial's net; peak memory is that of a batch of `trial.batch_size` images."""
    assert trial.batch_size is not None
    classes = info_of(trial.dataset).num_classes
    net = build_net(trial, classes)
    counted, unknown = flops_and_unknown(net, torch.randn(2, 3, *trial.size))
    if unknown:
        log.warning(
            "%s: its counted FLOPs are a lower bound; nothing is known of %s (a formula for one can be registered with "
            "torch.utils.flop_counter.register_flop_formula)",
            *(trial.mixer, ", ".join(unknown)),
        )
    net.to(trial.device)
    images = torch.randn(trial.batch_size, 3, *trial.size, device=trial.device)
    labels = torch.zeros(trial.batch_size, dtype=torch.int64, device=trial.device)
    optimizer = make_optimizer(net, trial)

    def forward() -> None:
        with torch.no_grad(), autocast(trial):
            net(images)

    def step() -> None:
        with autocast(trial):
            loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    alive = [images, labels, *net.parameters(), *net.buffers()]
    return {
        "params": sum(p.numel() for p in net.parameters()),
        "mixer_params": sum(p.numel() for mixer in net.mixers for p in mixer.parameters()),
        "flops": net.flops(),
        "mixer_flops": sum(mixer.flops() for mixer in net.mixers),
        "flops_executed": net.flops_executed(),
        "method": method_of(net, trial),
        "flops_counted": counted,
        "forward_peak_bytes": peak_bytes(forward, alive, trial.device),
        "train_peak_bytes": peak_bytes(step, alive, trial.device),
        **({"flops_unknown": ", ".join(unknown)[:MOST_LETTERS]} if unknown else {}),
        "match_ratio": match_ratio(trial) if trial.match != "width" else None,
    }
