"""Token mixers for images: a registry of mixing layers and one backbone that holds everything else equal.

>>> import torch
>>> from mixers import MixerNet, create_mixer, list_mixers
>>> create_mixer("fft_complex", dim=64, size=(32, 32))(torch.randn(1, 64, 32, 32)).shape
torch.Size([1, 128, 32, 32])
"""

# a registry entry exists once its module is imported
from mixers.base import Mixer, MixerError, UnsupportedSize
from mixers.families import attention, dense, filters, local, matrix, mlp, separable, spectral  # noqa: F401
from mixers.moved import find_moved
from mixers.nets.backbone import MixerNet
from mixers.nets.encoder import TextEncoder
from mixers.nets.spectracles import Spectracles
from mixers.registry import create_mixer, list_mixers, register_mixer
from mixers.timm.register import register_with_timm

__all__ = [
    "Mixer",
    "MixerError",
    "MixerNet",
    "Spectracles",
    "TextEncoder",
    "UnsupportedSize",
    "create_mixer",
    "list_mixers",
    "register_mixer",
]

register_with_timm()
find_moved()
