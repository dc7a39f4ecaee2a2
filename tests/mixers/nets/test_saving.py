"""Every net that this library makes can be saved, pickled, copied and sent to another process."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from timm.models.metaformer import MetaFormer
from torch import Tensor, nn

from mixers import MixerNet, Spectracles, create_mixer, list_mixers
from mixers.timm.models import metaformer_token_mixers

PLUGIN = """
import torch
from mixers import Mixer


class Own(Mixer):
    def __init__(self, dim, size):
        super().__init__(dim, size)
        self.memory_format = torch.channels_last
        self.gain = torch.nn.Parameter(torch.randn(dim, 1, 1))

    def forward(self, x):
        return x.flip(2) * self.gain

    def flops(self):
        return 0


class Other(Own):
    pass
"""
STAGES = {"depths": (1, 1), "dims": (8, 16), "num_classes": 3}
NETS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: MixerNet(name, 5, 16, 4, 8, 2) for name in list_mixers()},
    "token norm": lambda: MixerNet("attention", 5, 16, 4, 8, 2, norm="token"),
    "hybrid": lambda: MixerNet("hybrid_top", 5, 16, 4, 8, 2, residual="bfloat16"),
    "timm": lambda: timm.create_model("mixernet_nano", mixer="random", dim=8, img_size=16),
    "features": lambda: timm.create_model("mixernet_nano", mixer="dct", dim=8, img_size=16, features_only=True),
    "MetaFormer": lambda: timm.create_model("metaformer_mixer_s12", img_size=16, mixer="attention", **STAGES),
    "MetaFormer of one's own": lambda: MetaFormer(token_mixers=metaformer_token_mixers("dct", 16, 2), **STAGES),
    "Spectracles": lambda: Spectracles(8, 1, 1, num_classes=3),
}


def _outputs(net: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        y = net.eval()(x)
    return list(y) if isinstance(y, list | tuple) else [y]


def _saved(net: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(net, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("again", [_saved, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_net_that_was_saved_is_the_net(name: str, again: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    net, x = NETS[name](), torch.randn(2, 3, 16, 16)
    expected = _outputs(net, x)  # before it is saved: what a forward leaves behind is saved too
    other = again(net)
    assert not {id(p) for p in net.parameters()} & {id(p) for p in other.parameters()}
    torch.testing.assert_close(_outputs(other, x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", list_mixers())
def test_a_mixer_that_was_saved_is_the_mixer(name: str) -> None:
    mixer, x = create_mixer(name, 8, (4, 4)), torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(_saved(mixer)(x), mixer(x), rtol=0, atol=0)


def test_mixers_of_files_are_saved_and_load_where_their_file_was_not_loaded_before(tmp_path: Path) -> None:
    for folder in ("one", "two"):  # files of one name are two modules
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(PLUGIN.replace("flip(2)", f"flip({2 if folder == 'one' else 3})"))
    first = create_mixer(f"{tmp_path}/one/mine.py:Own", 8, (4, 4))
    second = create_mixer(f"{tmp_path}/two/mine.py:Other", 8, (4, 4))
    x = torch.randn(2, 8, 4, 4)
    for mixer in (first, second, copy.deepcopy(first)):
        torch.testing.assert_close(_saved(mixer)(x), mixer(x), rtol=0, atol=0)
    net = MixerNet(f"{tmp_path}/one/mine.py:Own", 5, 16, 4, 8, 1).eval()
    image = torch.randn(2, 3, 16, 16)
    torch.save({"net": net, "x": image, "y": net(image)}, tmp_path / "net.pt")
    load = f"import torch; s = torch.load({str(tmp_path / 'net.pt')!r}, weights_only=False); "
    check = "assert torch.allclose(s['net'](s['x']), s['y']); print('the same')"
    done = subprocess.run([sys.executable, "-c", load + check], capture_output=True, text=True, check=False)
    assert done.stdout == "the same\n", done.stderr


def _forward_there(net: nn.Module, x: Tensor, answer) -> None:
    answer.put(_outputs(net, x)[0].sum().item())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention", "MetaFormer", "Spectracles"])
def test_a_net_goes_to_another_process(name: str) -> None:
    net, x = NETS[name](), torch.randn(2, 3, 16, 16)
    context = torch.multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=_forward_there, args=(net, x, answer))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert answer.get() == pytest.approx(_outputs(net, x)[0].sum().item(), rel=1e-5)
