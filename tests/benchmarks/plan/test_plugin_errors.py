"""What is wrong with a plug-in is told with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.plan.plugins import check_plugin
from mixers import MixerError, create_mixer

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

class NoSuper(NoForward):
    def __init__(self, dim, size):
        self.dim = dim

class LateSuper(NoForward):
    def __init__(self, dim, size):
        self.layer = torch.nn.Linear(dim, dim)
        super().__init__(dim, size)

class Exits(NoForward):
    def forward(self, x):
        raise SystemExit(3)

class NoSize(NoForward):
    def __init__(self, dim):
        super().__init__(dim, (4, 4))

class Needs(NoForward):
    def __init__(self, dim, size, hidden):
        super().__init__(dim, size)

class NoMixer(torch.nn.Module):
    pass
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoFlops", "class NoFlops in faulty.py does not define flops(self) -> int, "),
        ("NoForward", "class NoForward in faulty.py does not define forward(self, x), "),
        ("NoSuper", "class NoSuper in faulty.py does not call super().__init__(dim, size) at the beginning"),
        ("LateSuper", "class LateSuper in faulty.py does not call super().__init__(dim, size) at the beginning"),
        ("Exits", "SystemExit: 3 (faulty.py:28)"),
        ("NoSize", "its constructor is NoSize(dim)"),
        ("Needs", "missing a required argument: 'hidden'"),
        ("NoMixer", "no Mixer 'NoMixer', what it has of that name is no subclass of mixers.Mixer; it has: "),
        ("Brokn", "Did you mean 'Broken'?"),
        ("Broken", "(faulty.py:15)"),  # the line of the plug-in, not the one of PyTorch
    ],
)
def test_an_error_says_what_is_missing_and_where(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(PLUGIN)
    with pytest.raises(MixerError) as caught:
        check_plugin(f"{tmp_path / 'faulty.py'}:{name}", 8, (4, 4))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["import no_such_module", "from torch import nothing", "undefined", "exit(3)"])
def test_an_error_while_loading_names_the_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(f"import torch\n{line}\n")
    with pytest.raises(MixerError, match=r"cannot be loaded: .* \(faulty\.py:2\)$"):
        create_mixer(f"{tmp_path / 'faulty.py'}:Any", 8, 4)


def test_a_file_without_a_class_is_told_so() -> None:
    with pytest.raises(MixerError, match=r"write some/file\.py:MyMixer"):
        create_mixer("some/file.py", 8, 4)


def test_a_class_that_has_no_file_is_told_of_all_the_same() -> None:
    typed: dict = {"__name__": "nowhere"}
    exec("from mixers import Mixer\nclass Typed(Mixer):\n    pass", typed)
    with pytest.raises(MixerError, match=r"^class Typed does not define flops"):
        typed["Typed"](8, 4).flops()
