"""What is wrong with a plug-in is told with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure.plugins import check_plugin
from mixers import MixerError

PLUGIN = """
import torch
from mixers import Mixer

class NoFlops(Mixer):
    def forward(self, x):
        return x

class NoForward(Mixer):
    def flops(self):
        return 0

class Broken(NoForward):
    def forward(self, x):
        return torch.nn.functional.conv2d(x, torch.ones(3, 3))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoFlops", "class NoFlops in faulty.py does not define flops(self) -> int, "),
        ("NoForward", "class NoForward in faulty.py does not define forward(self, x), "),
        ("Broken", "(faulty.py:15)"),  # the line of the plug-in, not the one of PyTorch
    ],
)
def test_an_error_says_what_is_missing_and_where(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(PLUGIN)
    with pytest.raises(MixerError) as caught:
        check_plugin(f"{tmp_path / 'faulty.py'}:{name}", 8, (4, 4))
    assert message in str(caught.value) and "\n" not in str(caught.value)
