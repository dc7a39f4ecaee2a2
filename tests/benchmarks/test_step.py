"""The captured training step: the same as the plain one, whatever its preparation computed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import pytest
import torch

from benchmarks.measure.augment import Augment
from benchmarks.measure.data import DATASETS, ImageData
from benchmarks.measure.step import TrainingStep, cuda_graph
from mixers import MixerNet

IMAGES, BATCH = 40, 16


@dataclasses.dataclass
class Replayed:
    """Stands for a CUDA graph on a CPU: replaying runs the captured function."""

    step: Callable[[], None]
    replays: int = 0

    def replay(self) -> None:
        self.replays += 1
        self.step()


def _run(
    capture, steps: int = 5, device: str = "cpu", compiler=None, total: int = 0, kind: str | None = None
) -> tuple[TrainingStep, list[float]]:
    torch.manual_seed(0)
    info = DATASETS["cifar100"]
    images = torch.randint(0, 256, (IMAGES, 3, 8, 8), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (IMAGES,), device=device)
    data = ImageData(info, (images, labels), (images, labels), lambda: (images, labels))
    net = MixerNet("dct", num_classes=100, img_size=8, patch_size=2, dim=16, depth=2).to(device).train()
    rate = torch.tensor(0.0, device=device) if device == "cuda" else 0.0
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, fused=True, capturable=device == "cuda")
    generator = torch.Generator(device).manual_seed(1)
    augment = Augment("light", info)
    step = TrainingStep(
        net, optimizer, data, augment, contextlib.nullcontext, generator, capture, compiler, total, kind
    )
    losses = []
    for number in range(steps):
        batch = BATCH if number < steps - 1 else BATCH // 2  # the last one of an epoch is smaller
        index = torch.arange(batch, device=device) + number
        losses.append(step(index, 1e-2 / (number + 1)).item())
    return step, losses


def test_a_captured_step_trains_as_the_plain_one() -> None:
    graphs: list[Replayed] = []
    plain, plain_losses = _run(None)
    captured, losses = _run(lambda step, _: graphs.append(Replayed(step)) or graphs[-1])
    assert (plain.kind, captured.kind) == ("eager", "graph")
    assert graphs[0].replays == 4  # and the smaller batch went the plain way
    assert losses == plain_losses
    for name, value in plain.net.state_dict().items():
        assert torch.equal(captured.net.state_dict()[name], value), name
    assert captured.compile_s > 0


def test_what_cannot_be_captured_runs_plainly_and_is_said_so(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(step, generator):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    fallback, losses = _run(refuse)
    assert fallback.kind == "eager"
    assert losses == _run(None)[1]
    assert "no CUDA graph, the plain step runs: operation not permitted when stream is capturing" in caplog.text


def _compiler(seconds: dict[str, float], monkeypatch: pytest.MonkeyPatch):
    """A stand-in for torch.compile; each graph takes the seconds of the form of the net in it."""
    compiled: list[torch.nn.Module] = []

    def compiler(net):
        compiled.append(net)
        return net.forward

    def seconds_each(self, graph):
        graph.replay()
        return seconds["compiled" if compiled else "plain"]

    monkeypatch.setattr(TrainingStep, "seconds_each", seconds_each)
    return compiler


@pytest.mark.parametrize(
    ("plain_s", "compiled_s", "steps", "kind"),
    [
        (1.0, 0.5, 1000, "compiled"),
        (1.0, 1.5, 1000, "graph"),  # not faster
        (1.0, 0.5, 10, "graph"),  # too short a run
    ],
)
def test_the_net_is_compiled_where_that_pays(plain_s, compiled_s, steps, kind, monkeypatch) -> None:
    plain_losses = _run(None)[1]
    compiler = _compiler({"plain": plain_s, "compiled": compiled_s}, monkeypatch)
    step, losses = _run(lambda step, _: Replayed(step), compiler=compiler, total=steps)
    assert step.kind == kind
    assert losses == plain_losses


def test_a_compiler_that_fails_leaves_the_graph(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    def broken(net):
        raise ImportError("no compiler here\nmore")

    monkeypatch.setattr(TrainingStep, "seconds_each", lambda self, graph: 1.0)
    step, losses = _run(lambda step, _: Replayed(step), compiler=broken, total=1000)
    assert step.kind == "graph" and losses == _run(None)[1]
    assert "not compiled: no compiler here" in caplog.text


@pytest.mark.parametrize(("kind", "wanted"), [("compiled", "compiled"), ("graph", "graph"), ("eager", "eager")])
def test_a_resumed_run_keeps_to_the_step_that_it_began_with(kind, wanted, monkeypatch) -> None:
    faster_plain = {"compiled": {"plain": 1.0, "compiled": 1.5}, "graph": {"plain": 1.0, "compiled": 0.5}}
    compiler = _compiler(faster_plain.get(kind, {"plain": 1.0, "compiled": 0.5}), monkeypatch)
    step, losses = _run(lambda step, _: Replayed(step), compiler=compiler, total=1000, kind=kind)
    assert step.kind == wanted and losses == _run(None)[1]


def test_a_generator_in_a_failed_capture_is_left_behind() -> None:
    """On a GPU it would refuse to draw; here a stand-in spoils it."""
    spoiled: list[torch.Generator] = []

    def refuse(step, generator):
        generator.manual_seed(99)
        spoiled.append(generator)
        raise RuntimeError("no capture")

    fallback, losses = _run(refuse)
    assert losses == _run(None)[1] and fallback.generator is not spoiled[0]


@pytest.mark.slow
def test_a_really_compiled_net_trains_as_the_plain_one(monkeypatch) -> None:
    times = iter([2.0, 1.0])
    monkeypatch.setattr(TrainingStep, "seconds_each", lambda self, graph: next(times))
    compiler = functools.partial(torch.compile, dynamic=False)
    step, losses = _run(lambda step, _: Replayed(step), compiler=compiler, total=1000)
    assert step.kind == "compiled"
    assert losses == pytest.approx(_run(None)[1], rel=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_cuda_graph_trains_as_the_plain_step() -> None:
    plain, plain_losses = _run(None, device="cuda")
    captured, losses = _run(cuda_graph, device="cuda")
    assert captured.kind == "graph"
    assert losses == pytest.approx(plain_losses, rel=1e-4)
    for name, value in plain.net.state_dict().items():
        torch.testing.assert_close(captured.net.state_dict()[name], value, rtol=1e-3, atol=1e-4)
