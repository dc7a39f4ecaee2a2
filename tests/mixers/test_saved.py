"""What is loaded computes what was saved, or is an error; and fixed tensors hold whatever becomes of a module."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import scipy.fft
import scipy.linalg
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixer_checks import build, few_examples
from timm.models import load_checkpoint
from torch import Tensor, nn

from mixers import Mixer, MixerError, MixerNet, Spectracles, create_mixer, list_mixers
from mixers.registry import mixer_entry, mixer_options

every_mixer = pytest.mark.parametrize("name", list_mixers())
drawn = pytest.mark.parametrize("name", [n for n in list_mixers() if "seed" in mixer_options(mixer_entry(n).cls)])
SIZE = (4, 8)


def _net(mixer: str, **options) -> MixerNet:
    torch.manual_seed(0)
    return MixerNet(mixer, 10, dim=16, depth=2, **options).eval()


def _statistics(net: MixerNet) -> set[str]:
    """The names of what batch norms have learned beside their parameters."""
    norms = {key for key, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
    return {key for key, _ in net.named_buffers() if key.rpartition(".")[0] in norms}


def _images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# checkpoints


@drawn
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_saved_seed_comes_back(name: str, ending: str, tmp_path: Path) -> None:
    saved, path = _net(name, seed=3), tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save({"state_dict": saved.state_dict()}, path)
    else:
        safetensors.torch.save_file(saved.state_dict(), path)
    expected = saved(_images())
    assert not torch.equal(_net(name)(_images()), expected)
    loaded = _net(name)
    load_checkpoint(loaded, str(path))
    assert torch.equal(loaded(_images()), expected)
    by_name = timm.create_model(
        "mixernet_nano", mixer=name, dim=16, depth=2, num_classes=10, checkpoint_path=str(path)
    ).eval()
    assert torch.equal(by_name(_images()), expected)
    again = _net(name)
    again.load_state_dict(by_name.state_dict())  # which says what it has become
    assert torch.equal(again(_images()), expected)


@drawn
@pytest.mark.parametrize(
    "change",
    [
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        lambda state: {key: value.half() for key, value in state.items()},
        lambda state: {key: value.bfloat16() for key, value in state.items()},
        lambda state: {key: value.double() for key, value in state.items()},
        lambda state: {key: (value.double() + value.double()) / 2 for key, value in state.items()},
    ],
    ids=["compiled", "half", "bfloat16", "double", "mean"],
)
def test_a_seed_survives_what_is_done_to_a_checkpoint(name: str, change: Callable) -> None:
    saved, loaded = _net(name, seed=3), _net(name)
    target = torch.compile(loaded) if "_orig_mod.head.weight" in change(saved.state_dict()) else loaded
    target.load_state_dict(change(saved.state_dict()))
    for mine, other in zip(loaded.mixers, saved.mixers, strict=True):
        for key, value in other.named_buffers():
            assert torch.equal(dict(mine.named_buffers())[key], value), key


def test_the_mean_of_two_seeds_is_refused() -> None:
    one, two = (_net("random", seed=seed).state_dict() for seed in (3, 5))
    mean = {key: (one[key].double() + two[key].double()) / 2 for key in one}
    with pytest.raises(MixerError, match="a mean of checkpoints must be one of the same mixer"):
        _net("random").load_state_dict(mean)


def test_a_moving_average_keeps_the_seed() -> None:
    net = _net("random", seed=3)
    ema = timm.utils.ModelEmaV3(net, decay=0.5)
    ema.update(net)
    loaded = _net("random")
    loaded.load_state_dict(ema.module.state_dict())
    torch.testing.assert_close(loaded(_images()), net(_images()))


OTHERS = [
    ("dct", "hadamard", "of DCT, this is Hadamard"),
    ("random_orthogonal", "random", "of RandomOrthogonal, this is Random"),
    ("attention(heads=4)", "attention(heads=2)", "of Attention with heads=4, this is Attention with heads=2"),
    ("performer", "performer(positions=none)", "with positions=sincos, this is Performer with positions=none"),
    ("afno", "afno(shrink=0.1)", "with shrink=0.01, this is AFNO with shrink=0.1"),
    ("pool", "pool(kernel=5)", "with kernel=3, this is Pool with kernel=5"),
]


@pytest.mark.parametrize(("saved", "loading", "message"), OTHERS)
@pytest.mark.parametrize("strict", [True, False])
def test_another_map_is_refused_in_one_line(saved: str, loading: str, message: str, strict: bool) -> None:
    state = _net(saved).state_dict()
    with pytest.raises(MixerError) as caught:
        _net(loading).load_state_dict(state, strict=strict)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    bare = {key: value for key, value in state.items() if not key.endswith("_extra_state")}
    _net(loading).load_state_dict(bare)  # as the message says


def test_another_norm_and_another_spectracles_are_refused() -> None:
    with pytest.raises(MixerError, match="MixerNet with norm=image, this is MixerNet with norm=token"):
        _net("dct", norm="token").load_state_dict(_net("dct").state_dict())
    for option in ({"layout": "scrambled"}, {"standardize": "c"}, {"residual": False}, {"standardize_at": "before"}):
        (key,) = option
        with pytest.raises(MixerError, match=f"of Spectracles with {key}="):
            Spectracles(8, 1, **option).load_state_dict(Spectracles(8, 1).state_dict())


def test_another_version_is_refused() -> None:
    class Newer(type(create_mixer("dct", 8, SIZE))):  # type: ignore[misc]
        version = 7

    Newer.__name__ = "DCT"
    with pytest.raises(MixerError, match="of DCT with version=7, this is DCT with version=1"):
        create_mixer("dct", 8, SIZE).load_state_dict(Newer(8, SIZE).state_dict())


@pytest.mark.parametrize(
    ("saved", "loading"),
    [
        ("dct(method=gemm)", "dct(method=dense)"),
        ("attention(backend=plain)", "attention"),
        ("attention", "attention(heads=1)"),  # the default at this dim
    ],
)
def test_another_way_to_compute_the_same_map_loads(saved: str, loading: str) -> None:
    one, other = build(saved, 8, SIZE, seed=1), build(loading, 8, SIZE, seed=2)
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 8, *SIZE)
    torch.testing.assert_close(one(x), other(x))


@every_mixer
def test_a_checkpoint_without_the_entry_loads_as_before(name: str) -> None:
    saved, loaded = _net(name), _net(name)
    bare = {key: value for key, value in saved.state_dict().items() if not key.endswith("_extra_state")}
    assert set(bare) == {key for key, _ in saved.named_parameters()} | _statistics(saved)
    result = loaded.load_state_dict(bare, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    assert torch.equal(loaded(_images()), saved(_images()))


@every_mixer
def test_the_entry_is_a_small_tensor_that_says_the_mixer(name: str) -> None:
    mixer = build(name, 8, SIZE)
    entry = mixer.state_dict()["_extra_state"]
    assert entry.dtype == torch.uint8 and len(entry) < 200
    assert json.loads(bytes(entry[4:].tolist()))["class"] == type(mixer).__name__
    assert "_extra_state" not in dict(mixer.named_buffers())


# plug-ins


class _Scaled(Mixer):
    """x times a number that it does not keep under the option's name, plus fixed noise."""

    def __init__(self, dim: int, size: tuple[int, int], factor: float = 2.0, seed: int = 0, method: str = "a") -> None:
        super().__init__(dim, size)
        self.by = factor
        noise = torch.randn(size, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by + self.noise


class _Drawn(Mixer):
    def __init__(self, dim: int, size: tuple[int, int], seed: int = 0) -> None:
        super().__init__(dim, size)
        self.seed = seed
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return {"noise": torch.randn(self.size, generator=torch.Generator().manual_seed(self.seed))}

    def forward(self, x: Tensor) -> Tensor:
        return x + self.noise


def test_a_mixer_from_elsewhere_says_its_options_without_a_line_of_its_own() -> None:
    for other in (_Scaled(8, SIZE, 3.0), _Scaled(8, SIZE, seed=1), _Scaled(8, SIZE, factor=np.float64(4))):
        with pytest.raises(MixerError, match=r"of _Scaled with (factor|seed)="):
            _Scaled(8, SIZE).load_state_dict(other.state_dict())
    _Scaled(8, SIZE).load_state_dict(_Scaled(8, (2, 2), method="b").state_dict())


def test_a_mixer_from_elsewhere_gets_its_seed_back() -> None:
    one, other = _Drawn(8, SIZE, seed=4), _Drawn(8, SIZE)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.noise, one.noise)


# fixed tensors


def _checked_against(net: nn.Module, expected: Tensor, x: Tensor, state: dict[str, Tensor]) -> None:
    net.load_state_dict(state)  # whatever happened to the weights
    assert torch.equal(net(x), expected)


@every_mixer
def test_fixed_tensors_hold_whatever_becomes_of_a_net(name: str) -> None:
    net = _net(name, seed=2)
    state, x = copy.deepcopy(net.state_dict()), _images()
    expected = net(x)
    changes: list[Callable[[nn.Module], object]] = [
        lambda net: net.half().float(),
        lambda net: net.bfloat16().float(),
        lambda net: net.half().bfloat16().double().float(),
        lambda net: net.to_empty(device="cpu"),
        lambda net: net.to("meta").to_empty(device="cpu"),
        lambda net: net.to("meta").half().to_empty(device="cpu").float(),
        lambda net: net.share_memory(),
        lambda net: net.to(memory_format=torch.channels_last).to(memory_format=torch.contiguous_format),
    ]
    for change in changes:
        changed = copy.deepcopy(net)
        change(changed)
        _checked_against(changed, expected, x, state)
        _checked_against(pickle.loads(pickle.dumps(changed.blocks[0].mixer)), *_mixer_alone(net, state))
    shared = copy.deepcopy(net).share_memory()
    assert all(tensor.is_shared() for tensor in (*shared.parameters(), *shared.buffers()))


def _mixer_alone(net: MixerNet, state: dict[str, Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    mixer, start = net.mixers[0], "blocks.0.mixer."
    x = torch.randn(1, mixer.dim, *mixer.size)
    return mixer(x), x, {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


@every_mixer
def test_a_net_from_the_meta_device_is_the_net(name: str) -> None:
    net = _net(name)
    state, x, expected = net.state_dict(), _images(), net(_images())
    with torch.device("meta"):
        made = MixerNet(name, 10, dim=16, depth=2).eval()
    assert all(tensor.is_meta for tensor in (*made.parameters(), *made.buffers()))
    assigned = copy.deepcopy(made)
    assigned.load_state_dict(state, assign=True)
    assert torch.equal(assigned(x), expected)
    _checked_against(made.to_empty(device="cpu"), expected, x, state)


@every_mixer
def test_timms_protocol_makes_them_again(name: str) -> None:
    manipulate = pytest.importorskip("timm.models._manipulate")
    net = _net(name)
    expected = net(_images())
    for key, buffer in net.named_buffers():
        if key not in _statistics(net):
            buffer.fill_(1)
    if hasattr(manipulate, "reinit_non_persistent_buffers"):
        manipulate.reinit_non_persistent_buffers(net)
    else:
        for module in net.modules():
            if hasattr(module, "init_non_persistent_buffers"):
                module.init_non_persistent_buffers()
    assert torch.equal(net(_images()), expected)


@few_examples
@given(size=st.tuples(st.integers(1, 13), st.integers(1, 13)), seed=st.integers(0, 2**31 - 1))
def test_double_gives_all_digits(size: tuple[int, int], seed: int) -> None:
    x = torch.randn(1, 8, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values = x.numpy()
    spectrum = scipy.fft.fft2(values, norm="ortho")
    expected = {
        "dct": scipy.fft.dctn(values, axes=(2, 3), norm="ortho"),
        "fft_complex": np.concatenate([spectrum.real, spectrum.imag], 1),
        "fft_real": scipy.fft.fftn(values, axes=(1, 2, 3), norm="ortho").real,
        "fft_real_2d": spectrum.real,
        "fft_imag": spectrum.imag,
        "hartley": spectrum.real - spectrum.imag,
    }
    for name, value in expected.items():
        y = create_mixer(f"{name}(method=gemm)", 8, size).double()(x)
        assert np.abs(y.numpy() - value).max() < 2e-14 * max(1, np.abs(value).max()), name
    if all(n.bit_count() == 1 for n in size):
        y = create_mixer("hadamard", 8, size).double()(x)
        rows, columns = (scipy.linalg.hadamard(n) / n**0.5 for n in size)
        assert np.abs(y.numpy() - rows @ values @ columns.T).max() < 2e-14 * max(1, np.abs(values).max())
    matrix = create_mixer("random_orthogonal", 8, size).half().double().matrix
    assert (matrix @ matrix.mT - torch.eye(len(matrix))).abs().max() < 1e-14


def test_coordinates_in_double_have_all_digits() -> None:
    coordinates = _net("dct", patch_size=1).blocks[0].double().coordinates
    assert coordinates is not None
    assert np.abs(coordinates.rows[:, 0].numpy() - np.linspace(-1, 1, 32)).max() < 1e-15


def test_a_whole_mixer_is_saved_and_loaded(tmp_path: Path) -> None:
    file = io.BytesIO()
    mixer = create_mixer("random", 8, SIZE, seed=5)
    torch.save(mixer.state_dict(keep_vars=True), file)
    file.seek(0)
    other = create_mixer("random", 8, SIZE)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.matrix, mixer.matrix)
