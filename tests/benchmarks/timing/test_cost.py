from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.contract.trial import Trial
from benchmarks.machine.flops import flops_and_unknown
from benchmarks.machine.memory import peak_bytes
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.task import build_net
from benchmarks.timing.cost import measure_cost
from benchmarks.timing.match import match_ratio
from mixers import Mixer, MixerNet, UnsupportedSize, create_mixer, list_mixers

TINY = {"kind": "cost", "dataset": "constellations", "dim": 8, "depth": 1, "batch_size": 4}


class Reference(nn.Module):
    """The plain definition of a mixer, whose torch.fft calls and products the counter must know."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixer.reference(x)


@pytest.mark.parametrize("name", list_mixers())
@pytest.mark.parametrize(("img_size", "patch_size", "dim"), [(32, 4, 64), (32, 2, 16), ((12, 20), 1, 24), (16, 1, 8)])
def test_counted_flops_are_those_that_the_net_says_it_executes(name, img_size, patch_size, dim):
    try:
        net = MixerNet(name, img_size=img_size, patch_size=patch_size, dim=dim, depth=2)
    except UnsupportedSize:
        pytest.skip("no such size for this mixer")
    assert flops_and_unknown(net, torch.randn(2, 3, *net.img_size))[0] == pytest.approx(net.flops_executed(), abs=2)


@pytest.mark.parametrize("name", ["fft_complex", "fft_real", "attention"])
@pytest.mark.parametrize("size", [(8, 8), (6, 12), (1, 10)])
def test_plain_calls_are_counted_by_the_closed_form_too(name, size):
    mixer = create_mixer(name, 8, size)
    assert flops_and_unknown(Reference(mixer), torch.randn(2, 8, *size))[0] == pytest.approx(mixer.flops(), abs=2)


def test_complex_and_one_dimensional_ffts_are_counted():
    class Chain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            there_and_back = torch.fft.irfft2(torch.fft.rfft2(x), s=(8, 8))
            return there_and_back + torch.fft.fft(torch.fft.fft(x)).real

    # two real 2-D transforms, one real and one complex 1-D
    assert flops_and_unknown(Chain(), torch.randn(1, 4, 8, 8))[0] == 256 * (2 * 2.5 * 6 + 2.5 * 3 + 5 * 3)


@pytest.mark.parametrize("name", list_mixers())
def test_metrics_of_a_net(name):
    trial = Trial(mixer=name, image_size=8, patch_size=2, **TINY)
    metrics = measure_cost(trial)
    net = MixerNet(name, num_classes=10, img_size=8, patch_size=2, dim=8, depth=1)
    assert metrics["params"] == sum(p.numel() for p in net.parameters())
    assert metrics["mixer_params"] == sum(p.numel() for m in net.mixers for p in m.parameters())
    assert metrics["flops"] - metrics["mixer_flops"] == 2 * 12 * 8 * 16 + 2 * 80 + 16 * 2 * 8 * (
        net.mixers[0].out_channels + 2 * 16
    )
    parameter_bytes = 4 * metrics["params"]
    assert parameter_bytes < metrics["forward_peak_bytes"] < metrics["train_peak_bytes"]
    assert metrics["train_peak_bytes"] > 4 * parameter_bytes  # gradients and both moments of AdamW


def test_the_peak_is_that_of_a_step_written_out():
    """The logits are gone in the backward pass, as where nothing holds them."""
    trial = Trial(
        kind="cost", dataset="cifar100", mixer="dct", image_size=8, patch_size=2, dim=8, depth=2, batch_size=64
    )
    net = build_net(trial)
    images, labels = torch.randn(64, 3, 8, 8), torch.zeros(64, dtype=torch.int64)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def step() -> None:
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    alive = [images, labels, *net.parameters(), *net.buffers()]
    assert measure_cost(trial)["train_peak_bytes"] == peak_bytes(step, alive, "cpu")


@pytest.mark.parametrize("match", ["params", "flops"])
@pytest.mark.parametrize("name", ["conv1x1", "fft_complex", "random"])
def test_equal_budgets_are_met(match, name):
    plan = Plan(Request(mixer=name, match=match, dim=64, depth=2, profile="quick", device="cpu", threads=1))
    trial = plan.cost()[0]
    assert trial.match_dim == 64 and trial.dim % 8 == 0
    assert match_ratio(trial) == pytest.approx(1, abs=0.12)
