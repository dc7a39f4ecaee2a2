"""The fused kernel, held to the plain sum in float64: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mixers import create_mixer
from mixers.transforms import fused
from mixers.transforms.fused import by_products, can_fuse, plane_transform
from mixers.transforms.planes import PlaneTransform

pytest.importorskip("triton", reason="no Triton on this platform")

# inputs, outputs, terms, (H, W), (H', W')
SHAPES = [
    (1, 1, 1, (8, 8), (8, 8)),
    (1, 1, 1, (4, 128), (4, 128)),
    (1, 1, 2, (33, 17), (33, 17)),
    (1, 2, 2, (12, 7), (12, 7)),
    (2, 2, 2, (16, 20), (16, 20)),
    (1, 1, 2, (6, 10), (6, 20)),
    (1, 2, 2, (1, 5), (1, 5)),
    (1, 1, 1, (66, 128), (66, 128)),  # a result in several parts
    (1, 2, 2, (72, 40), (72, 72)),
    (1, 3, 1, (6, 6), (6, 6)),  # more results than the kernel makes
]
TOLERANCE = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}  # of the norm
TOLERANCE_ON_CUDA = TOLERANCE | {torch.float32: 5e-6}  # tensor cores multiply float32 as three products in TF32
MOST_SPILLED_BYTES = 32  # a thread, in float32
pytestmark = pytest.mark.gpu
MIXERS = ["dct", "hadamard", "random_separable", "linear_separable", "fft_complex", "fft_real", "fft_real_2d"]
MIXERS += ["fft_imag", "hartley", "fft_pairs", "fft_scrambled"]


@pytest.fixture
def device() -> str:
    """Where the kernel runs; conftest.py has turned the interpreter on where there is no GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _arguments(shape, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor]:
    inputs, outputs, terms, (height, width), (new_height, new_width) = shape
    generator = torch.Generator().manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(device, dtype)

    left = draw(outputs, inputs, terms, new_height, height) / height**0.5
    return draw(2, 3, inputs, height, width), left, draw(terms, new_width, width) / width**0.5


def _plain(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("jitvh,bgihw,tuw->bgjvu", left.double(), x.double(), right.double())


def _tolerance(dtype: torch.dtype, device: str) -> float:
    return (TOLERANCE_ON_CUDA if device == "cuda" else TOLERANCE)[dtype]


def _error(actual: Tensor, expected: Tensor) -> float:
    return ((actual.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("parts_first", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_is_the_plain_sum(shape, dtype: torch.dtype, parts_first: bool, device: str) -> None:
    x, left, right = _arguments(shape, dtype, device)
    assert can_fuse(device, (max(left.shape[3:]), x.shape[-1]), dtype)
    y = plane_transform(x, left, right, parts_first)
    assert y.dtype == dtype
    assert _error(y, _plain(x, left, right)) < _tolerance(dtype, device)
    assert _error(by_products(x, left, right), _plain(x, left, right)) < _tolerance(dtype, device)
    memory = y.transpose(1, 2) if parts_first else y
    assert memory.is_contiguous()


def test_kernel_reads_strided_input_where_it_lies(device: str) -> None:
    x, left, right = _arguments((2, 1, 1, (8, 12), (8, 12)), torch.float32, device)
    for strided in (x.transpose(1, 2).contiguous().transpose(1, 2), x.mT.contiguous().mT, x[:, ::2]):
        assert not strided.is_contiguous()
        error = _error(plane_transform(strided, left, right), _plain(strided, left, right))
        assert error < _tolerance(torch.float32, device)


# several groups of planes in one program, the last of which has fewer
TOGETHER = [
    ((1, 1, 1, (8, 8), (8, 8)), 8),
    ((1, 2, 2, (7, 5), (7, 5)), 8),
    ((2, 1, 2, (16, 3), (16, 3)), 8),
    ((1, 1, 2, (9, 18), (9, 36)), 2),
    ((1, 1, 1, (1, 13), (1, 13)), 8),
    ((2, 2, 2, (20, 31), (20, 31)), 2),
    ((1, 1, 1, (24, 5), (24, 5)), 4),
]


@pytest.mark.parametrize(("shape", "together"), TOGETHER, ids=str)
def test_planes_together_stay_apart_and_within_bounds(
    shape, together: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies between and around the arguments is NaN, and none of it is read or written."""
    monkeypatch.setattr(fused, "FULL_GRID", 1)
    _, left, right = _arguments(shape, torch.float32, device)
    x = torch.randn(3, 7, shape[0], *shape[3], device=device)
    assert fused.launch_sizes(21, shape[3], shape[4], 4)["together"] == together
    assert 21 % together
    padded = [torch.full([n + 2 for n in tensor.shape], torch.nan, device=device) for tensor in (x, left, right)]
    inner = [tensor[(slice(1, -1),) * tensor.ndim] for tensor in padded]
    for place, tensor in zip(inner, (x, left, right), strict=True):
        place.copy_(tensor)
    room = torch.full((5, 9, shape[1] + 2, *shape[4]), torch.nan, device=device)
    fused._launch(*inner, room[1:-1, 1:-1, 1:-1])
    out = room[1:-1, 1:-1, 1:-1].clone()
    assert _error(out, _plain(x, left, right)) < _tolerance(torch.float32, device)
    assert _error(out, by_products(x, left, right).double()) < 2 * _tolerance(torch.float32, device)
    room[1:-1, 1:-1, 1:-1] = torch.nan
    assert room.isnan().all()


@pytest.mark.parametrize("shape", [shape for shape, _ in TOGETHER], ids=str)
def test_no_program_reads_beyond_the_planes(shape, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by the interpreter: every address it reads is that of a number of x or of a matrix."""
    if device == "cuda":
        pytest.skip("there is a GPU, and no interpreter")
    from triton.runtime.interpreter import InterpreterBuilder

    monkeypatch.setattr(fused, "FULL_GRID", 1)
    _, left, right = _arguments(shape, torch.float32, device)
    x = torch.randn(3, 7, shape[0], *shape[3])
    ours = {address for tensor in (x, left, right) for address in _addresses(tensor)}
    read: set[int] = set()
    load = InterpreterBuilder.create_masked_load

    def watched(self, pointers, mask, *rest):
        read.update(pointers.data[mask.data.astype(bool)].tolist())
        return load(self, pointers, mask, *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", watched)
    plane_transform(x, left, right)
    assert read == ours


def _addresses(tensor: Tensor) -> range:
    assert tensor.is_contiguous()
    size = tensor.element_size()
    return range(tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * size, size)


@pytest.mark.parametrize(("shape", "together"), TOGETHER[:4], ids=str)
def test_gradients_of_planes_together(shape, together: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "FULL_GRID", 1)
    _, left, right = _arguments(shape, torch.float32, device)
    x = torch.randn(3, 7, shape[0], *shape[3], device=device, requires_grad=True)
    y = plane_transform(x, left, right, True)
    cotangent = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, cotangent)
    (expected,) = torch.autograd.grad(_plain(x, left, right), x, cotangent.double())
    assert _error(gradient, expected.double()) < 1e-5


@pytest.mark.parametrize("planes", [1, 100, 5000, 100_000])
@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_small_planes_go_together_where_there_are_enough(planes: int, side: int) -> None:
    sizes = fused.launch_sizes(planes, (side, side), (side, side), 2)
    together, parts = sizes["together"], -(-side // sizes["block_w_out"])
    assert together == 1 or planes * parts >= fused.FULL_GRID * together
    assert together == {8: 16, 16: 16, 32: 4}.get(side, 1) or planes < 16 * fused.FULL_GRID


@pytest.mark.parametrize("shape", SHAPES[3:6], ids=str)
def test_gradients_of_input_and_matrices(shape, device: str) -> None:
    arguments = [tensor.requires_grad_() for tensor in _arguments(shape, torch.float32, device)]
    y = plane_transform(*arguments)
    cotangent = torch.randn_like(y)
    gradients = torch.autograd.grad(y, arguments, cotangent)
    expected = torch.autograd.grad(_plain(*arguments), arguments, cotangent.double())
    for actual, wanted in zip(gradients, expected, strict=True):
        assert _error(actual, wanted.double()) < 1e-5


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_by_the_kernel_is_its_definition(name: str, device: str) -> None:
    torch.manual_seed(0)
    mixer = create_mixer(f"{name}(method=fused)", 8, (12, 8)).to(device)
    assert isinstance(mixer, PlaneTransform)
    assert mixer.method_on(device) == "fused"
    x = torch.randn(2, 8, 12, 8, device=device, requires_grad=True)
    y = mixer(x)
    reference = mixer.reference(x)
    assert _error(y, reference) < 1e-5
    cotangent = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, cotangent)
    (expected,) = torch.autograd.grad(reference, x, cotangent.double())
    assert _error(gradient, expected.double()) < 1e-5


def test_autocast_halves_what_goes_in(device: str) -> None:
    mixer = create_mixer("dct(method=fused)", 8, (12, 8)).to(device)
    with torch.autocast(device, torch.bfloat16):
        y = mixer(torch.randn(1, 8, 12, 8, device=device))
    assert y.dtype == torch.bfloat16


def test_the_operator_keeps_pytorchs_rules(device: str) -> None:
    arguments = [tensor.requires_grad_() for tensor in _arguments(SHAPES[3], torch.float32, device)]
    for parts_first in (False, True):
        results = torch.library.opcheck(torch.ops.token_mixers.plane_transform.default, (*arguments, parts_first))
        assert set(results.values()) == {"SUCCESS"}


def test_an_empty_batch(device: str) -> None:
    x, left, right = _arguments(SHAPES[0], torch.float32, device)
    assert plane_transform(x[:0], left, right).shape == (0, 3, 1, 8, 8)


def test_without_a_kernel_the_operator_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(fused, "_launch", lambda *arguments: pytest.fail("a kernel was started on a CPU"))
    x, left, right = _arguments(SHAPES[4], torch.float32, "cpu")
    assert not can_fuse("cpu", (16, 20))
    assert _error(plane_transform(x, left, right), _plain(x, left, right)) < TOLERANCE[torch.float32]
    mixer = create_mixer("dct(method=fused)", 8, (12, 8))
    assert mixer.method_on("cpu") == "gemm"  # and the record says so


@pytest.mark.slow
def test_every_kernel_compiles_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    """For compute capability 9.0, in two processes without the interpreter; see compile_kernels.py."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(fused.__file__).parents[2])}
    script = Path(__file__).with_name("compile_kernels.py")
    processes = [
        subprocess.Popen([sys.executable, str(script), *dtypes], env=environment, stdout=subprocess.PIPE)
        for dtypes in (["bfloat16"], ["float32"])
    ]
    kernels = [json.loads(line) for process in processes for line in process.communicate(timeout=900)[0].splitlines()]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(kernels) > 100
    for kernel in kernels:
        assert kernel["shared_bytes"] <= 227 * 1024, kernel
        assert kernel["spilled_bytes"] <= (0 if kernel["dtype"] == "bfloat16" else MOST_SPILLED_BYTES), kernel
