"""Every net runs on a GPU with nothing made on the CPU, forward and backward; shown on fake tensors, without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import fake_cuda
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.tasks.images import augment
from benchmarks.tasks.images.augment import Augment
from mixers import MixerNet, Spectracles, create_mixer, list_mixers
from mixers.base import Mixer
from mixers.transforms.planes import PlaneTransform

TRANSFORMS = [name for name in list_mixers() if isinstance(create_mixer(name, 8, (4, 4)), PlaneTransform)]
every_precision = pytest.mark.parametrize("precision", ["float32", "bfloat16"])


@pytest.fixture
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


def _run(net: nn.Module, side: int, precision: str) -> fake_cuda.OnlyOnTheGPU:
    """A step of a net that is on the CPU, on the GPU."""
    net = fake_cuda.moved(net)
    images = torch.empty(2, 3, side, side, device="cuda")
    with fake_cuda.OnlyOnTheGPU() as watch:
        with fake_cuda.autocast() if precision == "bfloat16" else nullcontext():
            output = net(images)
        gradients = fake_cuda.backward(output)
    for name, parameter in net.named_parameters():
        gradient = gradients[id(parameter)]
        assert (gradient.shape, gradient.dtype, gradient.device) == (
            parameter.shape,
            torch.float32,
            parameter.device,
        ), name
    return watch


def _net(mixer: str, side: int) -> MixerNet:
    return MixerNet(mixer, num_classes=10, img_size=side, patch_size=1, dim=16, depth=2, drop_path_rate=0.1)


@every_precision
@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("mixer", [*list_mixers(), *(f"{name}(method=fused)" for name in TRANSFORMS)])
def test_a_step_of_every_mixer(mixer: str, side: int, precision: str, request: pytest.FixtureRequest) -> None:
    net = _net(mixer, side)
    request.getfixturevalue("fake")
    watch = _run(net, side, precision)
    fused = torch.ops.token_mixers.plane_transform.default in [function for function, _ in watch.calls]
    if "method=fused" in mixer or precision == "float32":
        assert fused == (net.method_on("cuda") == "fused")
        assert fused or "method=fused" not in mixer


@every_precision
def test_no_fixed_matrix_is_cast_at_a_call(precision: str, fake: None) -> None:
    for name in TRANSFORMS:
        for side in (8, 32):
            if name == "linear_separable":
                continue
            with torch._subclasses.fake_tensor.unset_fake_temporarily():
                net = _net(name, side)
            watch = _run(net, side, precision)
            matrices = list(net.buffers())
            casts = [args[0] for function, args in watch.calls if function == torch.ops.aten._to_copy.default]
            assert not [1 for cast in casts if any(cast is matrix for matrix in matrices)], name
            assert bool(casts) == (precision == "bfloat16")


@pytest.mark.parametrize("layout", ["right", "scrambled"])
@pytest.mark.parametrize("standardize_at", ["before", "after"])
def test_a_step_of_spectracles(layout: str, standardize_at: str, fake: None) -> None:
    with torch._subclasses.fake_tensor.unset_fake_temporarily():
        net = Spectracles(8, 1, n_linear=1, num_classes=10, layout=layout, standardize_at=standardize_at)
    watch = _run(net, 32, "float32")  # raises at a tensor made on the CPU
    assert any("fft" in str(function) for function, _ in watch.calls)


class _Careless(Mixer):
    """A mixer that makes a tensor without saying where."""

    def __init__(self, dim: int, size: tuple[int, int], whole: bool = True) -> None:
        super().__init__(dim, size)
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        made = torch.arange(x.shape[-1])
        return x + made if self.whole else x + 0 * made.sum()  # one number of a CPU may meet tensors of a GPU


@pytest.mark.parametrize("whole", [True, False])
def test_a_tensor_made_on_the_cpu_is_seen(whole: bool, fake: None) -> None:
    with torch._subclasses.fake_tensor.unset_fake_temporarily():
        net = _Careless(8, (4, 4), whole)
    x = torch.empty(1, 8, 4, 4, device="cuda")
    with pytest.raises(AssertionError, match=r"arange.* made a tensor on cpu"), fake_cuda.OnlyOnTheGPU():
        fake_cuda.moved(net)(x)


@pytest.fixture
def forgotten_tables() -> Iterator[None]:
    """What augmentation keeps for a device is made anew, and no fake stays for the tests that follow."""
    tables = augment._beta_quantiles, augment._scale_and_shift, augment._affine_grid
    for table in tables:
        table.cache_clear()
    yield
    for table in tables:
        table.cache_clear()


@pytest.mark.parametrize("level", DATASETS["cifar100"].augment_levels)
def test_augmentation_stays_on_the_gpu(level: str, forgotten_tables: None, fake: None) -> None:
    recipe = Augment(level, DATASETS["cifar100"], 0.1, torch.channels_last)
    images = torch.empty(64, 3, 32, 32, dtype=torch.uint8, device="cuda")
    labels = torch.empty(64, dtype=torch.int64, device="cuda")
    with fake_cuda.AnyGenerator():
        recipe(images, labels, None)  # the first call makes tables and brings them there
        with fake_cuda.OnlyOnTheGPU(numbers=True):  # torchvision's autocontrast
            pixels, targets = recipe(images, labels, None)
    assert pixels.shape == images.shape
    assert targets.shape == (64, 100)
