"""The machine and the packages, as records name them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from typing import Any

import torch

from benchmarks.contract.processor import cpu_name, processor
from benchmarks.contract.record import SETTINGS, cores
from benchmarks.machine.device import device_name, tf32

PACKAGES = ("torch", "torchvision", "timm", "fvcore", "pytest-benchmark", "numpy", "scipy")


def environment(device: str, threads: int, neighbours: int = 0) -> dict[str, Any]:
    """The machine and the packages, without a host name, a user or a path.

    Args:
        device: that measures.
        threads: on the CPU.
        neighbours: training runs of this suite that went on beside it on the same machine.
    """
    cuda = device == "cuda"
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "device": device_name(device),
        "cpu": cpu_name(),
        "processor": processor(),
        "cores": cores(),
        "threads": threads,
        "neighbours": neighbours,
        "tf32": tf32() if cuda else None,
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
        "packages": versions,
    }
