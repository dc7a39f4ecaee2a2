"""The captured training step: the same as the plain one, whatever its preparation computed."""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.machine.device import cuda_graph
from benchmarks.tasks.images import augment as augment_module
from benchmarks.tasks.images.augment import Augment
from benchmarks.tasks.task import Data
from benchmarks.training import step as step_module
from benchmarks.training.step import EvaluationPass, TrainingStep, compiled_blocks, compiling_pays
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


def replayed(function, generator, beside) -> Replayed:
    return Replayed(function)


def _run(
    capture,
    steps: int = 6,
    device: str = "cpu",
    compiler=None,
    total: int = 0,
    kind: str | None = None,
    together: int | None = None,
    mixer: str = "dct",
    seed: int = 0,
) -> tuple[TrainingStep, list[float]]:
    torch.manual_seed(seed)
    info = DATASETS["cifar100"]
    images = torch.randint(0, 256, (IMAGES, 3, 8, 8), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (IMAGES,), device=device)
    data = Data((images, labels), (images, labels), lambda: (images, labels))
    net = MixerNet(mixer, num_classes=100, img_size=8, patch_size=2, dim=16, depth=2, seed=seed).to(device).train()
    rate = torch.tensor(0.0, device=device) if device == "cuda" else 0.0
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, fused=True, capturable=device == "cuda")
    generator = torch.Generator(device).manual_seed(1)
    augment = Augment("light", info)
    step = TrainingStep(
        net,
        optimizer,
        data,
        augment,
        F.cross_entropy,
        contextlib.nullcontext,
        generator,
        capture,
        compiler,
        total,
        together,
        kind,
    )
    losses = []
    for number in range(steps):
        batch = BATCH if number % 3 < 2 else BATCH // 2  # the last one of an epoch is smaller
        index = torch.arange(batch, device=device) + number
        losses.append(step(index, 1e-2 / (number + 1)).item())
    return step, losses


def test_a_captured_step_trains_as_the_plain_one() -> None:
    graphs: list[Replayed] = []
    plain, plain_losses = _run(None)
    captured, losses = _run(lambda step, _, beside: graphs.append(Replayed(step)) or graphs[-1])
    assert (plain.kind, captured.kind) == ("eager", "graph")
    assert [graph.replays for graph in graphs] == [4, 2]  # the smaller batches have a graph of their own
    assert losses == plain_losses
    for name, value in plain.net.state_dict().items():
        assert torch.equal(captured.net.state_dict()[name], value), name
    assert captured.compile_s > 0


def test_graphs_of_one_run_share_their_memory() -> None:
    besides = []
    step, _ = _run(lambda function, _, beside: besides.append(beside) or Replayed(function))
    assert besides == [None, step.graph]


def test_what_cannot_be_captured_runs_plainly_and_is_said_so(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(step, generator, beside):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    fallback, losses = _run(refuse)
    assert fallback.kind == "eager"
    assert losses == _run(None)[1]
    assert "no CUDA graph, the plain step runs: operation not permitted when stream is capturing" in caplog.text


def test_a_smaller_batch_that_cannot_be_captured_takes_the_whole_run_to_the_plain_step() -> None:
    """The failed capture may have spoiled the generator that the first graph draws from."""
    graphs: list[Replayed] = []

    def only_one(step, generator, beside):
        if graphs:
            generator.manual_seed(99)
            raise RuntimeError("no")
        graphs.append(Replayed(step))
        return graphs[0]

    fallback, losses = _run(only_one)
    assert fallback.kind == "eager" and losses == _run(None)[1]
    assert graphs[0].replays == 2


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
    ("plain_s", "compiled_s", "steps", "together", "kind"),
    [
        (1.0, 0.5, 1000, None, "compiled"),
        (1.0, 1.5, 1000, None, "graph"),  # not faster
        (1.0, 0.5, 50, None, "graph"),  # too short a run
        (1.0, 0.5, 50, 500, "compiled"),  # but others share the code
    ],
)
def test_the_net_is_compiled_where_that_pays(plain_s, compiled_s, steps, together, kind, monkeypatch) -> None:
    plain_losses = _run(None)[1]
    compiler = _compiler({"plain": plain_s, "compiled": compiled_s}, monkeypatch)
    step, losses = _run(replayed, compiler=compiler, total=steps, together=together)
    assert step.kind == kind
    assert losses == plain_losses


def test_compiling_pays_for_long_runs_and_for_many_alike() -> None:
    first, later, saves = step_module.COMPILE_FIRST_S, step_module.COMPILE_CACHED_S, step_module.COMPILE_SAVES
    assert compiling_pays(1.0, 1000, 1000) == (saves * 1000 > first)
    steps = int(first / saves)  # of one second: just too few
    assert not compiling_pays(1.0, steps, steps) and compiling_pays(1.0, steps + 2, steps + 2)
    assert compiling_pays(1.0, steps, 3 * steps) == (saves * 3 * steps > first + 2 * later)
    assert not compiling_pays(0.1 * later / saves, 1, 10**6)  # what one run saves is less than what it costs each


def test_a_compiler_that_fails_leaves_the_graph(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    """The graph that was there is gone before the step is captured again, and its memory with it."""
    graphs: list[weakref.ref] = []
    alive: list[int] = []

    def capture(step, generator, beside):
        alive.append(sum(ref() is not None for ref in graphs))
        graph = Replayed(step)
        graphs.append(weakref.ref(graph))
        return graph

    def broken(net):
        raise ImportError("no compiler here\nmore")

    monkeypatch.setattr(TrainingStep, "seconds_each", lambda self, graph: 1.0)
    step, losses = _run(capture, compiler=broken, total=1000)
    assert step.kind == "graph" and losses == _run(None)[1]
    assert "not compiled: no compiler here" in caplog.text
    assert alive == [0, 0, 1]  # the third is of the smaller batch


@pytest.mark.parametrize(("kind", "wanted"), [("compiled", "compiled"), ("graph", "graph"), ("eager", "eager")])
def test_a_resumed_run_keeps_to_the_step_that_it_began_with(kind, wanted, monkeypatch) -> None:
    faster_plain = {"compiled": {"plain": 1.0, "compiled": 1.5}, "graph": {"plain": 1.0, "compiled": 0.5}}
    compiler = _compiler(faster_plain.get(kind, {"plain": 1.0, "compiled": 0.5}), monkeypatch)
    step, losses = _run(replayed, compiler=compiler, total=1000, kind=kind)
    assert step.kind == wanted and losses == _run(None)[1]


def test_a_generator_in_a_failed_capture_is_left_behind() -> None:
    """On a GPU it would refuse to draw; here a stand-in spoils it."""
    spoiled: list[torch.Generator] = []

    def refuse(step, generator, beside):
        generator.manual_seed(99)
        spoiled.append(generator)
        raise RuntimeError("no capture")

    fallback, losses = _run(refuse)
    assert losses == _run(None)[1] and fallback.generator is not spoiled[0]


@pytest.mark.slow
def test_a_really_compiled_net_trains_as_the_plain_one_and_its_code_serves_other_seeds(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(TrainingStep, "seconds_each", lambda self, graph: next(times))
    counters = torch._dynamo.utils.counters
    for seed, cached in ((0, False), (1, True)):
        counters.clear()
        times = iter([2.0, 1.0])
        step, losses = _run(replayed, compiler=compiled_blocks, total=1000, mixer="random", seed=seed)
        assert step.kind == "compiled"
        assert counters["stats"]["unique_graphs"] == 1  # of two blocks
        assert (counters["inductor"]["fxgraph_cache_miss"] == 0) == cached
        assert losses == pytest.approx(_run(None, mixer="random", seed=seed)[1], rel=1e-4)


class Operators(TorchDispatchMode):
    """Those that run, and of them those that wait for the device or bring something from the host to it."""

    WAITING = ("_local_scalar_dense", "nonzero", "item", "is_nonzero", "equal", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.waiting: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        name = function.name().removeprefix("aten::").partition(".")[0]
        self.names.append(name)
        tensors = [x for x in tree_leaves((arguments, keywords, result)) if isinstance(x, torch.Tensor)]
        if name in self.WAITING or any(x.device.type == "cpu" for x in tensors):
            self.waiting.append(name)
        return result


@pytest.mark.parametrize(
    "mixer", ["dct", "attention", "fft_magphase", "performer", "gmlp", "afno", "shift", "conv_mixer"]
)
def test_nothing_in_augmentation_and_forward_pass_waits_for_a_gpu(mixer: str) -> None:
    """On tensors that only say that they are on one: what waits cannot be captured."""
    info = DATASETS["cifar100"]
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.zeros(64, 3, 32, 32, dtype=torch.uint8, device="cuda")
        labels, index = (torch.zeros(n, dtype=torch.int64, device="cuda") for n in (64, 56))
        with torch.device("cuda"):
            net = MixerNet(mixer, num_classes=100, img_size=32, patch_size=4, dim=16, depth=1)
        augment = Augment("strong", info, label_smoothing=0.1, memory_format=net.memory_format)

        def forward() -> None:
            pixels, targets = augment(images.index_select(0, index), labels[index], torch.Generator())
            F.cross_entropy(net(pixels), targets)

        forward()  # tables are made once
        with Operators() as operators:
            forward()
    for function in vars(augment_module).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    assert "convolution" in operators.names and "randperm" in operators.names
    assert not operators.waiting


def _evaluation(capture) -> tuple[EvaluationPass, MixerNet]:
    torch.manual_seed(0)
    net = MixerNet("dct", num_classes=7, img_size=8, patch_size=2, dim=16, depth=2, drop_rate=0.5).train()
    return EvaluationPass(net, lambda images: images.float() / 255, contextlib.nullcontext, 16, capture), net


@pytest.mark.parametrize("images", [1, 16, 40])
def test_a_captured_evaluation_is_the_plain_one(images: int) -> None:
    graphs: list[Replayed] = []
    plain, _ = _evaluation(None)
    captured, net = _evaluation(lambda forward, generator, beside: graphs.append(Replayed(forward)) or graphs[-1])
    torch.manual_seed(1)
    for count in (images, 40, 3):
        x = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
        expected, logits = plain(x), captured(x)
        assert logits.dtype == torch.float32 and not logits.requires_grad
        torch.testing.assert_close(logits, expected)
        with torch.no_grad():  # training goes on
            for one, other in zip(net.parameters(), plain.net.parameters(), strict=True):
                other.copy_(one.add_(0.01))
        net.train()
    (graph,) = graphs
    assert graph.replays == -(-images // 16) + 3 + 1


def test_an_evaluation_that_cannot_be_captured_runs_plainly(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(forward, generator, beside):
        raise RuntimeError("no capture\nmore")

    x = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(_evaluation(refuse)[0](x), _evaluation(None)[0](x))
    assert "no CUDA graph of the evaluation, the plain pass runs: no capture" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_cuda_graph_trains_as_the_plain_step() -> None:
    plain, plain_losses = _run(None, device="cuda")
    captured, losses = _run(cuda_graph, device="cuda")
    assert captured.kind == "graph"
    assert losses == pytest.approx(plain_losses, rel=1e-4)
    for name, value in plain.net.state_dict().items():
        torch.testing.assert_close(captured.net.state_dict()[name], value, rtol=1e-3, atol=1e-4)
