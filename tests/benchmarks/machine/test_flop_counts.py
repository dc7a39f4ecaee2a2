"""What the counter counts, operator by operator, and what it says that it cannot count."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import flop_registry, register_flop_formula

from benchmarks.cli.main import main
from benchmarks.contract.record import load_records
from benchmarks.contract.trial import Trial
from benchmarks.machine.flops import HANDLERS, flops_and_unknown
from benchmarks.machine.flops_fvcore import fvcore_flops
from benchmarks.report.frame import records_frame
from benchmarks.report.tables.summary import cost_table
from benchmarks.report.tables.write import people
from benchmarks.tasks.task import build_net
from benchmarks.timing.cost import measure_cost
from mixers import MixerNet, Spectracles, UnsupportedSize, list_mixers
from tests.benchmarks.synthetic import make_trial, save

PUBLISHED = Path(__file__).resolve().parents[3] / "results" / "published"
B, N, C, D = 2, 6, 8, 5
W, WIDE = torch.randn(C, D), torch.randn(B, C, D)
SPARSE = torch.eye(C)
PRODUCT = 2 * N * C * D


class Call(nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def without_grad(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def called(x: Tensor) -> Tensor:
        with torch.no_grad():
            return call(x)

    return called


def in_inference_mode(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def called(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return call(x)

    return called


class Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x @ W

    @staticmethod
    def backward(ctx, grad):
        return grad @ W.T


PRODUCTS: dict[str, Callable[[Tensor], Tensor]] = {  # of x (B, N, C) and W (C, D), or the same amount of work
    "matmul": lambda x: x @ W,
    "linear": lambda x: F.linear(x, W.T, torch.zeros(D)),
    "tensordot": lambda x: torch.tensordot(x, W, 1),
    "einsum": lambda x: torch.einsum("bnc,cd->bnd", x, W),
    "einsum of an outer product": lambda x: torch.einsum("bnc,d->bncd", x, W[0]),
    "bmm": lambda x: torch.bmm(x, WIDE),
    "baddbmm": lambda x: torch.baddbmm(torch.zeros(B, N, D), x, WIDE),
    "addbmm": lambda x: torch.addbmm(torch.zeros(N, D), x, WIDE),
    "addmm": lambda x: torch.addmm(torch.zeros(B * N, D), x.reshape(-1, C), W),
    "mv": lambda x: torch.stack([torch.mv(W.T, row) for row in x.reshape(-1, C)]),
    "addmv": lambda x: torch.stack([torch.addmv(torch.zeros(D), W.T, row) for row in x.reshape(-1, C)]),
    "dot": lambda x: torch.stack([row.dot(column) for row in x.reshape(-1, C) for column in W.T]),
    "vecdot": lambda x: torch.linalg.vecdot(x[:, :, None].expand(B, N, D, C), W.T),
    "inner": lambda x: torch.inner(x, W.T),
    "outer": lambda x: torch.stack([torch.outer(row, W[0]) for row in x.reshape(-1, C)]),
    "ger": lambda x: torch.stack([row.ger(W[0]) for row in x.reshape(-1, C)]),
    "addr": lambda x: torch.stack([torch.addr(torch.zeros(C, D), row, W[0]) for row in x.reshape(-1, C)]),
    "kron": lambda x: torch.kron(x.reshape(-1, C), W[:1]),
    "matmul into a tensor": lambda x: torch.matmul(x, W, out=torch.empty(B, N, D)),
    "bmm into a tensor": lambda x: torch.bmm(x, WIDE, out=torch.empty(B, N, D)),
    "operands by name": lambda x: torch.bmm(mat2=WIDE, input=x),
    "multi_dot": lambda x: torch.linalg.multi_dot([x.reshape(-1, C), W]),
    "conv1d": lambda x: F.conv1d(x.mT, W.T[:, :, None]),
    "conv_transpose1d": lambda x: F.conv_transpose1d(x.mT, W[:, :, None]),
    "conv_tbc": lambda x: torch.conv_tbc(x.transpose(0, 1).contiguous(), W[None], torch.zeros(D)),
    "autograd.Function": Function.apply,
    "checkpoint": lambda x: checkpoint(lambda y: y @ W, x, use_reentrant=False),
    "vmap": torch.vmap(lambda x: x @ W),
    "compile": torch.compile(lambda x: x @ W),
    "inference mode": in_inference_mode(lambda x: x @ W),
    "trace": torch.jit.trace(nn.Linear(C, D), torch.zeros(B, N, C)),
}


@pytest.mark.parametrize("spelling", PRODUCTS)
def test_a_matrix_product_counts_the_same_in_every_spelling(spelling):
    assert flops_and_unknown(Call(PRODUCTS[spelling]), torch.randn(B, N, C)) == (PRODUCT, [])


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("groups", "dilation", "stride"), [(1, 1, 1), (2, 2, 1), (4, 1, 2)])
def test_convolutions_count_each_number_of_the_kernel_once_an_output(dims, groups, dilation, stride):
    x, how = torch.randn(B, 4, *[9] * dims), {"groups": groups, "dilation": dilation, "stride": stride}
    plain = getattr(nn, f"Conv{dims}d")(4, 8, 3, **how)
    side = plain(x).shape[-1]
    assert flops_and_unknown(plain, x) == (2 * 8 * side**dims * 4 // groups * 3**dims, [])
    transposed = getattr(nn, f"ConvTranspose{dims}d")(4, 8, 3, **how)
    assert flops_and_unknown(transposed, x) == (2 * 4 * 9**dims * 8 // groups * 3**dims, [])


def test_complex_numbers_take_four_times_as_much_of_a_product_and_six_of_a_multiplication():
    x = torch.randn(B, N, C)
    assert flops_and_unknown(Call(lambda x: x.cfloat() @ W.cfloat()), x)[0] == 4 * PRODUCT
    assert flops_and_unknown(Call(lambda x: x.cfloat() * x.cfloat()), x)[0] == 6 * N * C
    assert flops_and_unknown(Call(lambda x: x.cfloat() * W.T[:1]), x)[0] == 2 * N * C
    assert flops_and_unknown(Call(lambda x: torch.vdot(x.cfloat().flatten(), x.cfloat().flatten())), x)[0] == 8 * N * C


H, V = 8, 12
FFTS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {  # of x (B, 4, H, V): the transform, its operations
    "rfft": (torch.fft.rfft, 2.5 * 4 * H * V * math.log2(V)),
    "rfft padded": (lambda x: torch.fft.rfft(x, n=20), 2.5 * 4 * H * 20 * math.log2(20)),
    "rfft cut": (lambda x: torch.fft.rfft(x, n=5), 2.5 * 4 * H * 5 * math.log2(5)),
    "rfft along the first": (lambda x: torch.fft.rfft(x, dim=1, n=7), 2.5 * 7 * H * V * math.log2(7)),
    "fft of real": (torch.fft.fft, 2.5 * 4 * H * V * math.log2(V)),
    "fft2 of real": (torch.fft.fft2, 2.5 * 4 * H * V * math.log2(H * V)),
    "fft2 of real, padded": (lambda x: torch.fft.fft2(x, s=(9, 13)), 2.5 * 4 * 9 * 13 * math.log2(9 * 13)),
    "fftn": (lambda x: torch.fft.fftn(x, dim=(1, 2, 3)), 2.5 * 4 * H * V * math.log2(4 * H * V)),
    "fft2 of complex": (lambda x: torch.fft.fft2(torch.complex(x, x)), 5 * 4 * H * V * math.log2(H * V)),
    "ifft of complex": (lambda x: torch.fft.ifft(torch.complex(x, x), n=7), 5 * 4 * H * 7 * math.log2(7)),
    "irfft2": (lambda x: torch.fft.irfft2(torch.complex(x, x), s=(H, 22)), 2.5 * 4 * H * 22 * math.log2(H * 22)),
    "hfft": (lambda x: torch.fft.hfft(torch.complex(x, x)), 2.5 * 4 * H * 22 * math.log2(22)),
    "ihfft": (torch.fft.ihfft, 2.5 * 4 * H * V * math.log2(V)),
    "rfft into a tensor": (
        lambda x: torch.fft.rfft(x, out=torch.empty(B, 4, H, V // 2 + 1, dtype=torch.cfloat)),
        2.5 * 4 * H * V * math.log2(V),
    ),
    "vmap": (torch.vmap(torch.fft.fft2), 2.5 * 4 * H * V * math.log2(H * V)),
    "stft": (
        lambda x: torch.stft(
            x.flatten(1)[:, :64], 16, hop_length=4, window=torch.hann_window(16), center=False, return_complex=True
        ),
        2.5 * 13 * 16 * math.log2(16),
    ),
}


@pytest.mark.parametrize("transform", FFTS)
def test_ffts_of_any_length_and_padding(transform):
    call, expected = FFTS[transform]
    counted, unknown = flops_and_unknown(Call(call), torch.randn(B, 4, H, V))
    assert counted == pytest.approx(expected, abs=1) and unknown == []


@pytest.mark.parametrize(("name", "gates"), [("RNN", 1), ("LSTM", 4), ("GRU", 3)])
def test_recurrent_layers(name, gates):
    x, steps = torch.randn(B, N, C), 2 * gates * D
    layer = getattr(nn, name)(C, D, batch_first=True)
    for call in (layer, without_grad(layer), in_inference_mode(layer)):
        assert flops_and_unknown(Call(call), x) == (N * steps * (C + D), [])
    deep = getattr(nn, name)(C, D, 2, batch_first=True, bidirectional=True)
    assert flops_and_unknown(deep, x) == (N * 2 * steps * (C + D + 2 * D + D), [])
    packed = Call(lambda x: layer(nn.utils.rnn.pack_padded_sequence(x, [N, 2], batch_first=True))[0].data)
    assert flops_and_unknown(packed, x) == ((N + 2) / 2 * steps * (C + D), [])
    assert flops_and_unknown(getattr(nn, f"{name}Cell")(C, D), x[:, 0]) == (steps * (C + D), [])


def test_attention_and_transformer_layers_with_and_without_their_fast_path():
    x, heads = torch.randn(B, N, C), nn.MultiheadAttention(C, 2, batch_first=True)
    attention = 4 * 2 * N * C * C + 4 * N * N * C
    for weights in (True, False):
        assert flops_and_unknown(Call(lambda x, w=weights: heads(x, x, x, need_weights=w)[0]), x) == (attention, [])
    layer = nn.TransformerEncoderLayer(C, 2, 16, batch_first=True)
    for call in (layer, without_grad(layer), in_inference_mode(layer)):
        assert flops_and_unknown(Call(call), x) == (attention + 2 * 2 * N * C * 16, [])
    assert torch.backends.mha.get_fastpath_enabled()


def test_bilinear_embedding_bag_sparse_products_and_pooling():
    x = torch.randn(B, N, C)
    bilinear = nn.Bilinear(C, 7, D)
    assert flops_and_unknown(Call(lambda x: bilinear(x, torch.ones(B, N, 7))), x) == (N * D * 2 * (C * 7 + 7), [])
    places, table = torch.randint(0, 10, (B, N)), torch.randn(10, C)
    assert flops_and_unknown(Call(lambda i: F.embedding(i, table)), places) == (0, [])
    assert flops_and_unknown(Call(lambda i: F.embedding_bag(i, table)), places) == (N * C, [])
    weighted = Call(lambda i: F.embedding_bag(i, table, mode="sum", per_sample_weights=torch.ones(B, N)))
    assert flops_and_unknown(weighted, places) == (2 * N * C, [])
    for sparse in (SPARSE.to_sparse(), SPARSE.to_sparse_csr()):
        assert flops_and_unknown(Call(lambda x, s=sparse: s @ x.reshape(-1, C).T), x) == (2 * C * N, [])
        assert flops_and_unknown(Call(lambda x, s=sparse: torch.sparse.mm(s, x.reshape(-1, C).T)), x) == (2 * C * N, [])
    image = torch.randn(B, 4, 8, 8)
    assert flops_and_unknown(nn.AvgPool2d(3, 1, 1), image) == (9 * 4 * 64, [])
    assert flops_and_unknown(nn.AvgPool1d(2), image[:, 0]) == (8 * 8, [])


# what has no count, on x (B, 4, 8, 8): left out by the convention, or named
LEFT_OUT = [
    *("x + 1", "x * 2", "x.exp()", "x.relu_()", "x / x.norm()", "x.sum(1)", "x.std()", "x.argmax(1)", "x.max(1)[0]"),
    *("x.logsumexp(1)", "x.roll(1, 2)", "x.flip(1)", "x.permute(0, 2, 3, 1).contiguous()", "torch.cat([x, x], 1)"),
    *("x.unfold(2, 2, 1)", "x[:, [0, 1]]", "torch.where(x > 0, x, -x)", "x.masked_fill(x > 0, 0.0)", "x.tril()"),
    *("x.repeat(1, 2, 1, 1)", "x.clone().transpose_(1, 2)", "F.normalize(x)", "x.half().float()", "x.rot90(1, [2, 3])"),
    *("torch.bernoulli(x.sigmoid())", "torch.rand_like(x)", "F.dropout(x, 0.5, True)", "F.one_hot(x.argmax(1))"),
    *("nn.LayerNorm(8)(x)", "nn.GroupNorm(2, 4)(x)", "nn.BatchNorm2d(4)(x)", "nn.RMSNorm(8)(x)", "nn.GELU()(x)"),
    *("nn.Softmax(-1)(x)", "nn.PReLU()(x)", "nn.GLU(1)(x)", "nn.PixelShuffle(2)(x)", "nn.ReflectionPad2d(1)(x)"),
    *("nn.Upsample(scale_factor=2)(x)", "nn.MaxPool2d(2)(x)", "nn.AdaptiveAvgPool2d(2)(x)", "nn.Unfold(2)(x)"),
    *("nn.MaxPool1d(2)(x[0])", "F.cross_entropy(x.flatten(1), x.new_zeros(2).long())", "torch._foreach_add([x], 1)[0]"),
    *("torch.add(x, x, out=torch.empty(2, 4, 8, 8))", "x[0, 0].to_sparse_csr().to_dense()"),
]
NAMED = {
    "x.cumsum(1)": "cumsum",
    "x.sort(1)[0]": "sort",
    "x.topk(2, 1)[0]": "topk",
    "x.median()": "median",
    "x.unique()": "_unique2",
    "x.scatter_add(1, torch.zeros(2, 1, 8, 8).long(), x)": "scatter_add",
    "x.clone().scatter_add_(1, torch.zeros(2, 1, 8, 8).long(), x)": "scatter_add",
    "x.index_add(1, torch.zeros(4).long(), x)": "index_add",
    "x.clone().index_put_((torch.tensor([0]),), torch.tensor(1.0), accumulate=True)": "index_put",
    "x.clone().scatter_(1, torch.zeros(2, 1, 8, 8).long(), x, reduce='add')": "scatter",
    "F.grid_sample(x, torch.zeros(2, 8, 8, 2))": "grid_sampler_2d",
    "F.interpolate(x, scale_factor=2, mode='bilinear')": "upsample_bilinear2d",
    "torch.cdist(x, x)": "_cdist_forward",
    "torch.linalg.solve(x, x)": "_linalg_solve_ex",
    "torch.linalg.qr(x)[0]": "linalg_qr",
    "torch.linalg.svd(x)[0]": "_linalg_svd",
    "torch.linalg.matrix_exp(x)": "linalg_matrix_exp",
    "torch.vmap(lambda y: y.sort()[0])(x)": "sort",
    "torch.compile(lambda y: y.sort()[0])(x)": "sort",
    "checkpoint(lambda y: y.sort()[0], x, use_reentrant=False)": "sort",
}


class InNumPy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.numpy() @ W.numpy())


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (InNumPy.apply, "numpy"),
        (lambda x: torch.from_numpy(np.fft.fft(x)), "__array__"),
        (torch.from_dlpack, "__dlpack__"),
        (torch.compile(lambda x: torch.from_numpy(x.detach().numpy() * 2)), "numpy"),
    ],
)
def test_what_is_handed_to_numpy_is_named(call, name):
    assert flops_and_unknown(Call(call), torch.randn(B, N, C))[1] == [f"Tensor.{name}"]


@pytest.mark.parametrize("text", LEFT_OUT)
def test_what_the_convention_leaves_out_is_neither_counted_nor_named(text):
    call = eval(f"lambda x: {text}", globals())
    assert flops_and_unknown(Call(call), torch.randn(B, 4, 8, 8)) == (0, [])


def test_work_on_whole_numbers_is_neither_counted_nor_named_and_that_on_others_is():
    whole = torch.arange(24).view(B, -1)
    assert flops_and_unknown(Call(lambda x: x.cumsum(1)), whole) == (0, [])
    assert flops_and_unknown(Call(lambda x: x.double().cumsum(1)), whole) == (0, ["aten::cumsum"])


@pytest.mark.parametrize("text", NAMED)
def test_an_operator_that_does_work_and_has_no_handler_is_named(text):
    call = eval(f"lambda x: {text}", globals())
    assert flops_and_unknown(Call(call), torch.randn(B, 4, 8, 8)) == (0, [f"aten::{NAMED[text]}"])


def test_an_operator_of_a_third_party_is_named_until_its_formula_is_registered_with_pytorch():
    @torch.library.custom_op("flops_test::product", mutates_args=())
    def product(x: Tensor) -> Tensor:
        return x @ W

    x = torch.randn(B, N, C)
    assert flops_and_unknown(Call(product), x) == (0, ["flops_test::product"])
    packet = torch.ops.flops_test.product
    try:
        register_flop_formula(packet)(lambda shape, *_, out_shape=None, **__: 2 * math.prod(shape) * out_shape[-1])
        assert flops_and_unknown(Call(product), x) == (PRODUCT, [])
    finally:
        flop_registry.pop(packet, None)


def test_a_net_is_left_in_the_mode_it_was_in_module_by_module():
    net = nn.Sequential(nn.Linear(C, D), nn.Dropout())
    net.train()
    net[1].eval()
    flops_and_unknown(net, torch.randn(B, C))
    assert net.training and net[0].training and not net[1].training


@pytest.mark.parametrize("name", list_mixers())
@pytest.mark.parametrize(("img_size", "patch_size", "dim"), [(32, 4, 16), ((12, 20), 1, 24)])
def test_fvcore_counts_the_same_in_every_net(name, img_size, patch_size, dim):
    try:
        net = MixerNet(name, img_size=img_size, patch_size=patch_size, dim=dim, depth=1)
    except UnsupportedSize:
        pytest.skip("no such size for this mixer")
    images = torch.randn(2, 3, *net.img_size)
    counted, unknown = flops_and_unknown(net, images)
    assert counted == pytest.approx(fvcore_flops(net, images), abs=2) and unknown == []


def test_published_counts_stay():
    held = 0
    for record in load_records(PUBLISHED / "cifar100-cpu", "cost-*.json"):
        trial, metrics = record.trial, record.metrics
        net = build_net(trial)
        if record.status == "ok" and metrics["flops_executed"] == net.flops_executed():  # by the same method
            assert flops_and_unknown(net, torch.randn(2, 3, *trial.size)) == (metrics["flops_counted"], [])
            held += 1
    assert held > 50


TENSORDOT = """
import torch
from mixers import Mixer

class Plugin(Mixer):
    def __init__(self, dim, size):
        super().__init__(dim, size)
        self.weight = torch.nn.Parameter(torch.randn(dim, dim))

    def forward(self, x):
        return torch.tensordot(x, self.weight, ([1], [0])).permute(0, 3, 1, 2){then}

    def flops(self):
        return 2 * self.dim**2 * self.size[0] * self.size[1]
"""


@pytest.mark.parametrize(("then", "unknown"), [("", None), (".sort(1)[0].cumsum(1)", "aten::cumsum, aten::sort")])
def test_the_record_and_the_command_line_name_what_is_not_counted(tmp_path, caplog, then, unknown):
    file = tmp_path / f"counted_{len(then)}.py"
    file.write_text(TENSORDOT.replace("{then}", then))
    trial = Trial(
        kind="cost", mixer=f"{file}:Plugin", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1,
        batch_size=2,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        metrics = measure_cost(trial)
    assert metrics["flops_counted"] == metrics["flops_executed"] and metrics.get("flops_unknown") == unknown
    assert ("lower bound" in caplog.text) == bool(unknown) and (unknown or "") in caplog.text


IN_NUMPY = """
import torch
from mixers import Mixer

class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.numpy() * 2)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2

class InNumPy(Mixer):
    def forward(self, x):
        return Doubled.apply(x)

    def flops(self):
        return 0
"""


def test_a_mixer_that_computes_in_numpy_is_measured_and_its_count_marked(tmp_path):
    file = tmp_path / "in_numpy.py"
    file.write_text(IN_NUMPY)
    tiny = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1"]
    tiny += ["--epochs", "1", "--train-images", "300", "--image-size", "16", "--results", str(tmp_path)]
    for verb in (["cost"], ["latency", "--rounds", "1"], ["train"]):
        assert main([*verb, "--mixer", f"{file}:InNumPy", *tiny]) == 0
    (cost,) = load_records(tmp_path, "cost-*.json")
    assert cost.status == "ok" and cost.metrics["flops_unknown"] == "Tensor.numpy"


def test_a_count_that_is_a_lower_bound_is_marked_in_the_tables(tmp_path):
    metrics = {"flops": 1000, "flops_executed": 1000, "flops_counted": 352_576}
    save(tmp_path, make_trial("cost", "dct", batch_size=64), metrics)
    save(tmp_path, make_trial("cost", "random", batch_size=64), metrics | {"flops_unknown": "aten::sort"})
    frame = records_frame(load_records(tmp_path))
    text = people("cost", cost_table(frame), frame)
    assert text.count("≥") == 1 and "(without aten::sort)" in text
    assert list(cost_table(frame)["flops_unknown"]) == [None, "aten::sort"]


def test_the_handlers_are_of_operators_that_exist():
    for name in HANDLERS:
        namespace, _, operator = name.partition("::")
        assert hasattr(getattr(torch.ops, namespace), operator), name


def test_spectracles_is_counted_whole():
    net = Spectracles(num_classes=10)
    assert flops_and_unknown(net, torch.randn(2, 3, 8, 8))[1] == []
