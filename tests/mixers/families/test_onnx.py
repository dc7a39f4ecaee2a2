"""Every mixer exports to ONNX, and ONNX Runtime computes what PyTorch does."""

from __future__ import annotations

import io
import math
import warnings

import pytest
import timm
import torch
from torch import Tensor, nn

from mixers import MixerNet, Spectracles, create_mixer, list_mixers

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


def _in_onnx_runtime(module: nn.Module, example: Tensor, x: Tensor) -> Tensor:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module.eval(), (example,), dynamo=True, verbose=False)
    assert program is not None
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue())
    return torch.as_tensor(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def _assert_agrees(module: nn.Module, shape: tuple[int, ...]) -> None:
    example, x = torch.randn(shape), torch.randn(shape)
    with torch.no_grad():
        expected = module.eval()(x)
    actual = _in_onnx_runtime(module, example, x)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * max(1.0, expected.abs().max().item()))


@pytest.mark.parametrize("size", [(4, 4), (1, 12), (12, 20)], ids=str)
@pytest.mark.parametrize("name", [name for name in list_mixers() if name != "fft_magphase"])
def test_every_mixer_exports(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    _assert_agrees(create_mixer(name, 8, size), (2, 8, *size))


@pytest.mark.parametrize("size", [(4, 4), (1, 12), (12, 20), (5, 7)], ids=str)
def test_phases_agree_modulo_a_turn_and_at_frequencies_without_one_exactly(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    mixer, x = create_mixer("fft_magphase", 8, size), torch.randn(2, 8, *size)
    x[0] = -1  # a real spectrum below zero: its phase is pi, and never -pi
    expected = mixer(x)
    actual = _in_onnx_runtime(mixer, torch.randn_like(x), x)
    (magnitude, phase), (wanted_magnitude, wanted_phase) = actual.chunk(2, 1), expected.chunk(2, 1)
    torch.testing.assert_close(magnitude, wanted_magnitude, rtol=1e-5, atol=1e-5)
    turned = (phase - wanted_phase + math.pi) % (2 * math.pi) - math.pi
    assert (turned * wanted_magnitude).abs().max() < 1e-5 * wanted_magnitude.max()
    own = mixer.own_mirror & (wanted_magnitude > 1e-4)
    torch.testing.assert_close(phase[own], wanted_phase[own], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("net", "side"),
    [
        (lambda: MixerNet("dct", 5, 16, 4, 8, 2), 16),
        (lambda: MixerNet("hybrid_top", 5, 16, 4, 8, 2, norm="token"), 16),
        (lambda: MixerNet("fft_complex", 5, 32, 2, 8, 1), 32),
        (lambda: Spectracles(8, 1, 1, num_classes=5), 8),
        (lambda: timm.create_model("metaformer_mixer_s12", img_size=16, depths=(1, 1), dims=(8, 16)), 16),
    ],
    ids=["dct", "hybrid", "fft", "Spectracles", "MetaFormer"],
)
def test_nets_export(net, side: int) -> None:
    torch.manual_seed(0)
    _assert_agrees(net(), (2, 3, side, side))
