from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.machine.memory import TensorBytes, peak_bytes, predict_peak_bytes
from mixers import MixerNet, list_mixers

KIB = 1024


def kib(n: int) -> torch.Tensor:
    return torch.zeros(n * KIB // 4)


def test_a_product_is_its_input_and_its_output():
    x = kib(8)
    assert peak_bytes(lambda: x * 2, [x], "cpu") == 16 * KIB


def test_an_input_that_was_not_named_is_not_counted():
    x = kib(8)
    assert peak_bytes(lambda: x * 2, [], "cpu") == 8 * KIB


def test_views_and_work_in_place_take_nothing():
    x = kib(8)
    assert peak_bytes(lambda: x.view(2, -1).mul_(2)[0].t().contiguous(), [x, x.view(-1, 2)], "cpu") == 8 * KIB


def test_freed_tensors_go_down_again():
    def chain() -> None:
        y = kib(4)
        for _ in range(5):
            y = y + 1  # the old one lives until the new one is there

    assert peak_bytes(chain, [], "cpu") == 8 * KIB
    counter = TensorBytes()
    with counter:
        y = kib(4)
        z = kib(2)
        assert counter.current == 6 * KIB
        del y
        assert counter.current == 2 * KIB and counter.peak == 6 * KIB
        del z
    assert counter.current == 0


def test_what_the_backward_pass_needs_is_kept():
    x, weight = kib(8), kib(8).requires_grad_()

    def chain() -> None:
        y = weight * x
        for _ in range(3):
            y = y.exp()  # keeps its output for the backward pass

    with torch.no_grad():
        without = peak_bytes(chain, [x, weight], "cpu")
    assert without == (2 + 2) * 8 * KIB  # one link and the next
    # the product is read by the first exp alone, and dropped; at the end three links stand
    assert peak_bytes(chain, [x, weight], "cpu") == (2 + 3) * 8 * KIB


def training_step(mixer: str, size: tuple[int, int], patch: int):
    def make():
        net = MixerNet(mixer, num_classes=10, img_size=size, patch_size=patch, dim=16, depth=2)
        x = torch.randn(4, 3, *size)

        def run() -> None:
            loss = F.cross_entropy(net(x), torch.zeros(4, dtype=torch.int64))
            torch.autograd.grad(loss, list(net.parameters()))

        return run, [x, *net.parameters(), *net.buffers()]

    return make


@pytest.mark.parametrize("mixer", [*list_mixers(), "attention(backend=plain)"])
@pytest.mark.parametrize(("size", "patch"), [((16, 16), 2), ((16, 32), 1)])
def test_the_prediction_on_fake_tensors_is_what_a_real_step_takes(mixer, size, patch):
    make = training_step(mixer, size, patch)
    predicted = predict_peak_bytes(make)
    real = peak_bytes(*make(), "cpu")
    assert predicted == pytest.approx(real, rel=0.02)


def test_plain_attention_takes_the_weights_that_the_fused_kernel_does_not():
    plain, fused = (
        predict_peak_bytes(training_step(mixer, (32, 32), 1)) for mixer in ("attention(backend=plain)", "attention")
    )
    weights = 4 * 1 * 1024 * 1024 * 4  # batch 4, one head of 16, 1024 x 1024 float32
    assert plain - fused > weights


@pytest.mark.parametrize("run", [lambda x: x.numpy(), lambda x: x.sum().item() and x, torch.unique])
def test_what_does_not_go_without_numbers_is_not_predicted(run):
    x = torch.randn(2, 3)
    assert predict_peak_bytes(lambda: (lambda: run(torch.ones(3) * 2), [x])) is None


@pytest.mark.parametrize("mixer", ["attention(backend=plain)", "random", "dct"])
def test_the_impossible_is_predicted_without_taking_memory(mixer):
    def make():
        net = MixerNet(mixer, img_size=1024, patch_size=1, dim=1024, depth=4)
        x = torch.randn(64, 3, 1024, 1024)
        return lambda: torch.autograd.grad(net(x).sum(), list(net.parameters())), [x, *net.parameters()]

    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert predict_peak_bytes(make) > 2**40
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB: under 256 MiB
