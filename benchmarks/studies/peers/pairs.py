"""The pairs: each of our mixers beside the best public implementation that installs from PyPI.

A pair says which package its peer comes from and how a peer with our weights is built. Where no package has the layer,
the published formula in plain torch stands in. To add a peer: write a builder, and a line in PAIRS.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.studies.peers import modules as plain
from mixers import Mixer, UnsupportedSize

LAYOUTS = ("image", "tokens")  # (B, C, H, W); (B, N, C)


class Unfit(UnsupportedSize):
    """This peer cannot stand beside our mixer with these options or at this size; the message says why."""


def _same(y: Tensor) -> Tensor:
    return y


@dataclasses.dataclass(frozen=True)
class Pair:
    """One mixer of ours and one peer."""

    mixer: str  # registered name
    peer: str  # what stands beside it, as a reader would call it
    package: str  # on PyPI; torch: the formula in plain torch
    build: Callable[[Any], nn.Module]  # from our mixer, weights and all, to the peer
    layout: str = "image"  # in which the peer takes and gives tensors, one of LAYOUTS
    differs: str = ""  # why it is not the same function; empty: outputs and gradients are held to ours
    note: str = ""  # what was chosen or left out so that it is the same function
    comparable: Callable[[Tensor], Tensor] = _same  # what of an output is compared

    @property
    def same_function(self) -> bool:
        """Whether outputs and input gradients must agree."""
        return not self.differs

    @property
    def version(self) -> str | None:
        """The installed version of the package, None where it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def missing(self) -> str:
        """Why the peer's package cannot be used, empty where it can."""
        return _missing(self.package)

    def from_image(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in the peer's own layout, contiguous."""
        return (x.flatten(2).mT if self.layout == "tokens" else x).contiguous()

    def to_image(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        """The peer's output as (B, C', H, W)."""
        return y.mT.unflatten(2, size) if self.layout == "tokens" else y


@functools.cache
def _missing(package: str) -> str:
    module = package.replace("-", "_")
    if importlib.util.find_spec(module) is None:
        return "is not installed"
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a package of another time raises
        return f"cannot be imported ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
    return ""


def _copied(layer: nn.Module, **sources: Tensor) -> Any:
    """The layer with parameters, or buffers, set to copies of ours."""
    with torch.no_grad():
        for name, source in sources.items():
            layer.get_parameter(name).copy_(source)
    return layer


def _function(function: Callable[[Tensor], Tensor]) -> Callable[[Mixer], nn.Module]:
    return lambda ours: plain.Plain(function)


def _torch_dct(ours: Mixer) -> nn.Module:
    from torch_dct import dct_2d

    return plain.Plain(functools.partial(dct_2d, norm="ortho"))


def _torch_dct_linear(ours: Mixer) -> nn.Module:
    from torch_dct import LinearDCT, apply_linear_2d

    height, width = ours.size
    if height != width:
        raise Unfit("torch-dct applies one matrix to both axes: square grids only")
    return plain.Plain(functools.partial(apply_linear_2d, linear_layer=LinearDCT(height, "dct", norm="ortho")))


def _butterflies(ours: Mixer) -> nn.Module:
    if any(side.bit_count() != 1 for side in ours.size):
        raise Unfit("butterflies need sides that are powers of two")
    return plain.Plain(plain.walsh_hadamard)


def _fnet(ours: Mixer) -> nn.Module:
    from transformers import FNetConfig
    from transformers.models.fnet.modeling_fnet import FNetBasicFourierTransform

    return plain.FirstOutput(FNetBasicFourierTransform(FNetConfig(hidden_size=ours.dim)))


def _timm_attention(ours: Any) -> nn.Module:
    from timm.layers import Attention

    peer: Any = Attention(ours.dim, num_heads=ours.heads, qkv_bias=True)
    peer.proj = nn.Identity()
    _copied(peer.qkv, weight=ours.qkv.weight, bias=ours.qkv.bias)
    return _told(peer, ours)


def _performer(ours: Any) -> nn.Module:
    from performer_pytorch import SelfAttention
    from performer_pytorch.performer_pytorch import linear_attention, softmax_kernel

    width = ours.dim // ours.heads
    peer = SelfAttention(ours.dim, heads=ours.heads, dim_head=width, nb_features=ours.features, qkv_bias=True)
    peer.to_out = nn.Identity()
    peer.fast_attention = plain.Favor(ours.directions, softmax_kernel, linear_attention)
    weights, biases = ours.qkv.weight.chunk(3), ours.qkv.bias.chunk(3)
    for layer, weight, bias in zip((peer.to_q, peer.to_k, peer.to_v), weights, biases, strict=True):
        _copied(layer, weight=weight, bias=bias)
    return _told(peer, ours)


def _linear_attention(ours: Any) -> nn.Module:
    from performer_pytorch.performer_pytorch import linear_attention

    qkv = _copied(nn.Linear(ours.dim, 3 * ours.dim), weight=ours.qkv.weight, bias=ours.qkv.bias)
    return _told(plain.EluAttention(qkv, ours.heads, linear_attention), ours)


def _told(peer: nn.Module, ours: Any) -> nn.Module:
    return peer if ours.positions is None else plain.ToldPlaces(peer, ours.positions)


def _timm_mlp(ours: Any) -> nn.Module:
    from timm.layers import Mlp

    peer = Mlp(ours.tokens, ours.hidden)
    _copied(peer.fc1, weight=ours.expand.weight, bias=ours.expand.bias)
    _copied(peer.fc2, weight=ours.contract.weight, bias=ours.contract.bias)
    return plain.OverTokens(peer)


def _timm_gating(ours: Any) -> nn.Module:
    from timm.layers import GatedMlp
    from timm.models.mlp_mixer import SpatialGatingUnit

    if not ours.split:
        raise Unfit("timm's gating unit splits the channels")
    gating: Any = functools.partial(SpatialGatingUnit, seq_len=ours.tokens)
    peer: Any = GatedMlp(ours.dim, ours.expansion * ours.dim, gate_layer=gating)
    peer.fc2 = nn.Identity()
    for layer, own in ((peer.fc1, ours.expand), (peer.gate.norm, ours.norm), (peer.gate.proj, ours.gate)):
        _copied(layer, weight=own.weight, bias=own.bias)
    gmlp: nn.Module = peer
    return gmlp


def _timm_depthwise(ours: Any) -> nn.Module:
    from timm.models.metaformer import SepConv

    kernel = ours.kernel
    peer = SepConv(ours.dim, expansion_ratio=1, bias=True, kernel_size=kernel, padding=kernel // 2).dwconv
    peer = _copied(peer, weight=ours.conv.weight, bias=ours.conv.bias)
    return peer if ours.norm is None else nn.Sequential(peer, nn.GELU(), copy.deepcopy(ours.norm))


def _timm_pooling(ours: Any) -> nn.Module:
    from timm.models.metaformer import Pooling

    return Pooling(ours.kernel)


_VIEW = "its output is a strided view of a complex tensor"
_NO_PROJECTION = "its output projection left out"

PAIRS = (
    Pair("dct", "dct_2d", "torch-dct", _torch_dct, note='norm="ortho"'),
    Pair("dct", "LinearDCT", "torch-dct", _torch_dct_linear, note='its matrices by apply_linear_2d, norm="ortho"'),
    Pair("hadamard", "butterflies in a loop", "torch", _butterflies),
    Pair("fft_complex", "fft2 and a concatenation", "torch", _function(plain.complex_parts)),
    Pair(
        "fft_real",
        "FNetBasicFourierTransform",
        "transformers",
        _fnet,
        layout="tokens",
        differs="its DFT runs over the channels and one axis of tokens, ours over two axes; and it is not scaled",
    ),
    Pair("fft_real", "fftn().real", "torch", _function(plain.real_part_with_channels), note=_VIEW),
    Pair("fft_real_2d", "fft2().real", "torch", _function(plain.real_part), note=_VIEW),
    Pair("fft_imag", "fft2().imag", "torch", _function(plain.imaginary_part), note=_VIEW),
    Pair("hartley", "fft2, real less imaginary part", "torch", _function(plain.hartley)),
    Pair(
        "fft_magphase",
        "fft2, abs and angle",
        "torch",
        _function(plain.polar_parts),
        note="phases are compared modulo 2 pi",
        comparable=plain.unwound,
    ),
    Pair("fft_scrambled", "fft2 and a reshape", "torch", _function(plain.scrambled_parts)),
    Pair("global_filter", "GFNet's formula", "torch", plain.GFNetFilter, layout="tokens"),
    Pair(
        "afno",
        "AFNO's formula",
        "torch",
        plain.AFNO2D,
        layout="tokens",
        note="without its buffers for a threshold that keeps all frequencies",
    ),
    Pair("attention", "Attention", "timm", _timm_attention, layout="tokens", note=_NO_PROJECTION),
    Pair(
        "linear_attention",
        "linear_attention",
        "performer-pytorch",
        _linear_attention,
        layout="tokens",
        note="its function, after one projection and elu(x) + 1",
    ),
    Pair(
        "performer",
        "SelfAttention",
        "performer-pytorch",
        _performer,
        layout="tokens",
        note=f"our directions, the constant that it adds to features 0, {_NO_PROJECTION}",
    ),
    Pair("mlp_mixer", "Mlp on transposed tokens", "timm", _timm_mlp, layout="tokens"),
    Pair("gmlp", "GatedMlp", "timm", _timm_gating, layout="tokens", note=_NO_PROJECTION),
    Pair(
        "conv_mixer",
        "SepConv's depthwise part",
        "timm",
        _timm_depthwise,
        note="our kernel size, with bias; torch's GELU and batch norm behind it",
    ),
    Pair("pool", "Pooling", "timm", _timm_pooling),
    Pair("shift", "ShiftViT's formula", "torch", plain.ShiftViT),
)
