"""Every way to compute a mixer gives the same numbers and the same training; the table names ways that exist."""

from __future__ import annotations

import copy
import pickle

import fake_cuda
import pytest
import torch
import torch.nn.functional as F
from mixer_checks import default_dtype
from torch._subclasses.fake_tensor import FakeTensorMode

from mixers import MixerError, MixerNet, create_mixer, list_mixers
from mixers.families import attention
from mixers.families.attention import BACKENDS
from mixers.transforms import planes
from mixers.transforms.methods import CROSSOVERS, fastest
from mixers.transforms.planes import PlaneTransform

TRANSFORMS = [name for name in list_mixers() if isinstance(create_mixer(name, 8, (4, 4)), PlaneTransform)]
METHODS = ("dense", "gemm", "fft", "fused")
SIZES = [(8, 8), (4, 12), (1, 8), (12, 8), (16, 20)]


def _variants(name: str, size: tuple[int, int]) -> dict[str, PlaneTransform]:
    found = {}
    for method in METHODS:
        torch.manual_seed(0)
        try:
            found[method] = create_mixer(f"{name}(method={method})", 8, size)
        except MixerError as error:
            assert f"method {method}" in str(error) or f"method '{method}'" in str(error)
    return found


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_method_is_the_definition(name: str, size: tuple[int, int]) -> None:
    if name == "hadamard" and 1 in size:
        size = (2, 8)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    cotangent = None
    with default_dtype(torch.float64):
        variants = _variants(name, size)
    assert {"gemm", "fused"} <= set(variants)
    for method, mixer in variants.items():
        inputs = [x.clone().requires_grad_(), *mixer.parameters()]
        y, reference = mixer(inputs[0]), mixer.reference(inputs[0])
        torch.testing.assert_close(y, reference, rtol=1e-11, atol=1e-11, msg=lambda text, m=method: f"{m}: {text}")
        cotangent = torch.randn_like(y) if cotangent is None else cotangent
        got = torch.autograd.grad(y, inputs, cotangent)
        wanted = torch.autograd.grad(reference, inputs, cotangent)
        for mine, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def _losses(mixer: str, seed: int, steps: int, batch: int = 16) -> torch.Tensor:
    torch.manual_seed(seed)
    net = MixerNet(mixer, num_classes=4, img_size=8, patch_size=1, dim=8, depth=1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    data = torch.Generator().manual_seed(seed)
    curve = []
    for _ in range(steps):
        images = torch.randn(batch, 3, 8, 8, generator=data)
        labels = (images[:, 0, 0, 0] > 0).long() + 2 * (images[:, 1, 4, 4] > 0).long()
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    return torch.tensor(curve)


@pytest.mark.parametrize("name", ["dct", "fft_complex", "fft_real_2d"])
def test_training_does_not_depend_on_the_method(name: str) -> None:
    """Some hundred steps from one seed: loss curves agree far better than those of two seeds."""

    def smooth(method: str, seed: int) -> torch.Tensor:
        return _losses(f"{name}(method={method})", seed, 200).unflatten(0, (10, -1)).mean(1)

    plain, other_seed = smooth("gemm", 0), smooth("gemm", 1)
    noise = (plain - other_seed).abs().mean()
    for method in ("dense", "fft"):
        if method == "fft" and name == "dct":
            continue
        assert (smooth(method, 0) - plain).abs().max() < 0.2 * noise


def test_training_by_the_kernel_is_training_by_products() -> None:
    """A few steps alone, since Triton's interpreter takes a second for each."""
    plain, fused = (_losses(f"dct(method={method})", 0, 5, batch=2) for method in ("gemm", "fused"))
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_unknown_method_is_told_with_those_that_there_are(name: str) -> None:
    with pytest.raises(MixerError, match=r"no method 'fast'; allowed: auto, .*gemm"):
        create_mixer(f"{name}(method=fast)", 8, (4, 4))


def test_the_dense_matrix_is_for_small_grids() -> None:
    with pytest.raises(MixerError, match="up to 64 tokens; this one has 72"):
        create_mixer("dct(method=dense)", 8, (8, 9))


@pytest.mark.parametrize(
    ("device", "dtype"), [(device, dtype) for device, tables in CROSSOVERS.items() for dtype in tables]
)
def test_the_table_names_methods_that_exist(device: str, dtype: str) -> None:
    kinds = {create_mixer(name, 8, (4, 4)).kind for name in TRANSFORMS}
    methods = CROSSOVERS[device][dtype]["methods"]
    assert dtype in ("float32", "bfloat16")
    assert kinds | {"attention"} == set(methods)
    for kind, rows in methods.items():
        bounds = [most for most, _ in rows]
        assert bounds[-1] is None
        assert bounds[:-1] == sorted(bounds[:-1])
        allowed = ("torch", *BACKENDS) if kind == "attention" else METHODS
        assert {method for _, method in rows} <= set(allowed)
        assert all(most is not None and most <= 64 for most, method in rows if method == "dense")


@pytest.fixture
def two_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in which the dtype says the method."""

    def table(method: str, backend: str) -> dict:
        kinds = CROSSOVERS["cpu"]["float32"]["methods"]
        rows = {kind: [[None, backend if kind == "attention" else method]] for kind in kinds}
        return {"measured_on": None, "methods": rows}

    monkeypatch.setitem(CROSSOVERS, "cpu", {"float32": table("gemm", "plain"), "bfloat16": table("fft", "flash")})


def test_each_dtype_has_its_table_and_the_rest_share_them(two_tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    assert [fastest("pairs", "cpu", 99, dtype) for dtype in dtypes] == ["gemm", "gemm", "fft", "fft"]
    monkeypatch.delitem(CROSSOVERS["cpu"], "bfloat16")  # not measured: that of float32 serves
    assert {fastest("pairs", "cpu", 99, dtype) for dtype in dtypes} == {"gemm"}


@pytest.mark.parametrize("name", ["fft_pairs", "fft_real", "fft_real_2d", "attention"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_the_method_that_is_recorded_is_the_one_that_runs(
    two_tables: None, name: str, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a net under autocast, and on what its mixer is given there on a GPU, where norms give float32."""
    net = MixerNet(name, num_classes=2, img_size=8, patch_size=1, dim=16, depth=1)
    ran = []

    def noting(method: str, function):
        return lambda *arguments, **options: ran.append(method) or function(*arguments, **options)

    for method, owner, attribute in (("gemm", planes, "by_products"), ("fft", type(net.blocks[0].mixer), "by_fft")):
        if hasattr(owner, attribute):
            monkeypatch.setattr(owner, attribute, noting(method, getattr(owner, attribute)))
    original = attention.sdpa_kernel

    def kernels(wanted, set_priority=False):
        ran.append(f"sdpa-{next(name for name, value in BACKENDS.items() if value == wanted[0])}")
        return original(wanted, set_priority=set_priority)

    monkeypatch.setattr(attention, "sdpa_kernel", kernels)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        net(torch.randn(2, 3, 8, 8))
        net.blocks[0].mixer(torch.randn(2, 16, 8, 8))
    wanted = {torch.float32: ("gemm", "sdpa-plain"), torch.bfloat16: ("fft", "sdpa-flash")}[precision]
    assert set(ran) == {wanted[name == "attention"]}
    assert net.method_on("cpu", precision) == wanted[name == "attention"]


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", [(4, 4), (8, 8), (16, 16), (64, 64), (256, 256)], ids=str)
def test_auto_is_what_the_table_says(name: str, size: tuple[int, int]) -> None:
    mixer = create_mixer(name, 8, size)
    assert mixer.method_on("cpu") in (fastest(mixer.kind, "cpu", mixer.tokens), "gemm")
    assert mixer.method_on("cuda") in METHODS
    assert mixer.method_on("cuda", torch.bfloat16) in METHODS
    if max(size) > 128:
        assert mixer.method_on("cuda") != "fused"


@pytest.mark.parametrize("backend", ["auto", "torch", "flash", "plain"])
def test_attention_by_every_backend_of_a_cpu(backend: str) -> None:
    torch.manual_seed(0)
    mixer = create_mixer(f"attention(backend={backend})", 16, (4, 6))
    x = torch.randn(2, 16, 4, 6)
    torch.testing.assert_close(mixer(x).double(), mixer.reference(x), rtol=1e-4, atol=1e-5)
    assert mixer.method_on("cpu") in ("sdpa-flash", "sdpa-plain")
    if backend in ("flash", "plain"):
        assert mixer.method_on("cpu") == f"sdpa-{backend}"


def test_cudnn_runs_on_request_alone() -> None:
    kernels = {name: create_mixer(f"attention(backend={name})", 16, (4, 4))._kernels for name in ("auto", "cudnn")}
    cudnn = BACKENDS["cudnn"]
    assert kernels["cudnn"]("cudnn") == [cudnn]
    for dtypes in CROSSOVERS["cuda"].values():
        for _, backend in dtypes["methods"]["attention"]:
            assert backend in BACKENDS and cudnn not in kernels["auto"](backend)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("tokens", [64, 192, 256])
def test_gradients_are_finite_where_all_weights_come_from_very_negative_products(tokens: int, padded: bool) -> None:
    """PyTorch's issue 196678: with cuDNN, those of the queries are not, at 64 and 192 tokens in bfloat16."""
    torch.manual_seed(0)
    mixer = create_mixer("attention", 32, (1, tokens), positions="none")
    with torch.no_grad():
        bias = mixer.qkv.bias.zero_()
        bias[0], bias[32] = 1.0, -120 * 32**0.5  # every product is about -120
    x = torch.randn(2, 32, 1, tokens, device="cuda", requires_grad=True)
    real = torch.arange(tokens, device="cuda").expand(2, 1, tokens) < tokens - 7 if padded else None
    with torch.autocast("cuda", torch.bfloat16):
        mixer.cuda()(x, real).sum().backward()
    assert x.grad.isfinite().all() and all(weight.grad.isfinite().all() for weight in mixer.parameters())


def test_a_net_names_the_methods_of_its_mixers_once() -> None:
    net = MixerNet("2xattention(backend=plain)+2xdct(method=gemm)", img_size=8, patch_size=1, dim=16, depth=4)
    assert net.method_on("cpu") == "sdpa-plain+gemm"


def _copies(mixer: PlaneTransform) -> dict[str, torch.Tensor]:
    return {name: buffer for name, buffer in mixer.named_buffers() if name.endswith("_bfloat16")}


@pytest.mark.parametrize("name", ["dct", "fft_real", "random"])
def test_fixed_matrices_have_a_copy_in_bfloat16_off_the_cpu_alone(name: str) -> None:
    """It is that of the matrix wherever the mixer goes; no checkpoint carries it, and the meta device has none."""
    mixer = create_mixer(name, 8, (4, 4))
    assert _copies(mixer) == {} == _copies(pickle.loads(pickle.dumps(copy.deepcopy(mixer).to("meta"))))
    assert all(mixer.kept_matrix(kept, torch.bfloat16) is getattr(mixer, kept) for kept in mixer.fixed_names)
    with FakeTensorMode(allow_non_fake_inputs=True):
        moved = fake_cuda.moved(create_mixer(name, 8, (4, 4))).double().to(torch.float32)
        copies = _copies(moved)
        assert list(copies) == [f"{name}_bfloat16" for name in moved.fixed_names]
        for kept in moved.fixed_names:
            chosen = moved.kept_matrix(kept, torch.bfloat16)
            assert chosen is copies[f"{kept}_bfloat16"]
            assert (chosen.device.type, chosen.dtype) == ("cuda", torch.bfloat16)
            assert moved.kept_matrix(kept, torch.float32) is getattr(moved, kept)
        assert list(moved.state_dict()) == ["_extra_state"]
        assert _copies(moved.to("cpu")) == {}


def test_the_copy_in_bfloat16_is_the_matrix_rounded() -> None:
    """The same output under autocast as with a cast at every call."""
    x = torch.randn(2, 8, 4, 4)
    for method in METHODS:
        expected = create_mixer(f"fft_real(method={method})", 8, (4, 4))
        mixer = copy.deepcopy(expected)
        for name in mixer.fixed_names:
            setattr(mixer, f"{name}_bfloat16", getattr(mixer, name).bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(mixer(x), expected(x))
