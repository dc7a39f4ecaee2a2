"""torch.compile sees a net as one graph, whatever the mixer and its method, and compiles it once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mixers import MixerError, MixerNet, Spectracles, create_mixer, list_mixers
from mixers.transforms.planes import PlaneTransform

METHODS = ("dense", "gemm", "fft", "fused")
BACKENDS_OF_A_CPU = ("torch", "flash", "plain")


def _specs() -> list[str]:
    """Every mixer, and by each of its methods."""
    specs = [*list_mixers(), *(f"attention(backend={backend})" for backend in BACKENDS_OF_A_CPU)]
    for name in list_mixers():
        if isinstance(create_mixer(name, 8, (4, 4)), PlaneTransform):
            for method in METHODS:
                try:
                    create_mixer(spec := f"{name}(method={method})", 8, (4, 4))
                except MixerError:
                    continue
                specs.append(spec)
    return specs


def _graphs(net: nn.Module, images: torch.Tensor) -> list[int]:
    """How many graphs there are after a step, one under autocast, and another; a break is an error."""
    graphs, counts = [], []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(net, backend=backend, fullgraph=True)
    for half in (False, True, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = compiled(images)
        output.sum().backward()
        counts.append(len(graphs))
    return counts


@pytest.mark.parametrize("mixer", _specs())
def test_a_net_is_one_graph(mixer: str) -> None:
    net = MixerNet(mixer, num_classes=4, img_size=4, patch_size=1, dim=8, depth=1)
    assert _graphs(net, torch.randn(1, 3, 4, 4)) == [1, 2, 2]
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("layout", ["right", "scrambled"])
def test_spectracles_is_one_graph(layout: str) -> None:
    net = Spectracles(8, 1, num_classes=4, layout=layout)
    torch._dynamo.reset()
    torch.compile(net, backend="eager", fullgraph=True)(torch.randn(1, 3, 4, 4)).sum().backward()  # raises at a break
    assert all(parameter.grad is not None for parameter in net.parameters())
