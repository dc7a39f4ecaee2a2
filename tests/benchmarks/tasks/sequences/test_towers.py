"""Two documents through one net: what it computes, and all that is asked of a net when it is measured."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.contract.trial import Trial
from benchmarks.machine.flops import flops_and_unknown
from benchmarks.studies.profile.measure import ranges_in
from benchmarks.tasks.sequences.parts.towers import TwoTowers
from benchmarks.tasks.task import Batch
from benchmarks.timing import cost
from benchmarks.training.step import compiled_blocks
from benchmarks.training.train import make_optimizer, memory_format_of, method_of
from mixers import MixerError, MixerNet

N, DIM, CLASSES = 16, 24, 3
TRIAL = Trial(kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=4, dim=DIM, depth=2)


def towers(mixer: str = "dct", **options) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(MixerNet(mixer, num_classes=0, vocabulary=257, length=N, dim=DIM, depth=2, **options), CLASSES)


def documents(count: int = 4) -> torch.Tensor:
    return torch.randint(1, 257, (count, 2, N), generator=torch.Generator().manual_seed(0))


def test_it_compares_the_features_of_two_documents_by_the_same_net():
    net, x = towers().eval(), documents()
    a, b = net.tower(x[:, 0]), net.tower(x[:, 1])
    expected = net.head(F.gelu(net.hidden(torch.cat([a, b, a * b, a - b], 1))))
    torch.testing.assert_close(net(x), expected)
    assert net(x).shape == (4, CLASSES) and not torch.allclose(net(x), net(x.flip(1)))


def test_padding_stays_out_of_the_features_of_its_own_document():
    net, x = towers("conv1x1").eval(), documents()
    x[1, 0, N // 2 :] = 0
    expected = net(x)
    with torch.no_grad():
        net.tower.stem.weight[0] = 5  # of padding, which conv1x1 mixes with nothing
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("mixer", ["dct", "attention", "fft_real+linear"])
def test_flops_are_those_that_run_and_of_both_documents(mixer):
    net, head = towers(mixer), 2 * DIM * (4 * DIM + CLASSES)
    of_tower, _ = flops_and_unknown(net.tower, documents(2)[:, 0])
    assert flops_and_unknown(net, documents(2)) == (2 * of_tower + head, [])
    assert net.flops() == 2 * net.tower.flops() + head
    assert net.flops_executed() == 2 * net.tower.flops_executed() + head


def test_it_says_what_measurement_asks_of_a_net():
    net = towers("fft_real+attention")
    assert net.mixers == net.tower.mixers and len(net.mixers) == len(net.blocks) == 2
    assert memory_format_of(net) == net.tower.memory_format
    assert method_of(net, TRIAL) == net.tower.method_on("cpu")
    with ranges_in(net):  # type: ignore[arg-type]
        net(documents())


def test_what_does_not_decay_in_the_net_does_not_in_towers():
    net = towers("fft_real+linear")
    kept = make_optimizer(net, TRIAL).param_groups[1]["params"]
    names = {name for name, p in net.named_parameters() if any(p is other for other in kept)}
    assert "tower.positions.weight" in names and "tower.stem.weight" not in names
    assert {f"tower.{name}" for name in net.tower.no_weight_decay()} <= names


def test_compiled_blocks_are_those_of_the_net_in_it(monkeypatch):
    compiled = []

    class Compiled(nn.Module):
        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.block = block
            compiled.append(block)

        def forward(self, *inputs):
            called.append(self.block)
            return self.block(*inputs)

    called: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda block, dynamic: Compiled(block))
    net = towers().eval()
    twin, x = compiled_blocks(net), documents()
    torch.testing.assert_close(twin(x), net(x))
    assert called == compiled == list(net.blocks) and twin.tower is not net.tower
    assert {id(p) for p in twin.parameters()} == {id(p) for p in net.parameters()}


def test_cost_counts_the_mixers_for_both_documents(monkeypatch):
    net = towers("attention")

    class OfTowers:
        loss = staticmethod(F.cross_entropy)

        def example(self, trial, n, device):
            return Batch(documents(n), torch.zeros(n, dtype=torch.int64))

    monkeypatch.setattr(cost, "task_of", lambda trial: OfTowers())
    monkeypatch.setattr(cost, "build_net", lambda trial: net)
    measured = cost.measure_cost(Trial(**TRIAL.to_dict() | {"kind": "cost", "batch_size": 4}))
    assert measured["mixer_flops"] == 2 * sum(mixer.flops() for mixer in net.mixers) > 0
    assert measured["flops_counted"] == pytest.approx(measured["flops_executed"], abs=2)


def test_every_weight_has_a_gradient_and_can_be_saved(tmp_path):
    net, x = towers("attention"), documents()
    F.cross_entropy(net(x), torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
    safetensors.torch.save_file(net.state_dict(), tmp_path / "net.safetensors")
    other = towers("attention")
    for p in other.parameters():
        nn.init.zeros_(p)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "net.safetensors"))
    torch.testing.assert_close(other.eval()(x), net.eval()(x))


@pytest.mark.parametrize("shape", [(4, N), (4, 3, N), (4, 2, N, 1)])
def test_other_inputs_are_refused_in_a_line(shape):
    with pytest.raises(MixerError, match=r"two towers take \(batch, 2, tokens\)"):
        towers()(torch.ones(shape, dtype=torch.int64))


def test_a_net_with_a_head_is_refused():
    with pytest.raises(MixerError, match=r"a head of 7 classes; allowed: num_classes=0"):
        TwoTowers(MixerNet("dct", num_classes=7, vocabulary=9, length=N, dim=DIM, depth=1), 2)
