"""What the tests of the mixers share: building one, drawing sizes, and comparing one with its plain definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mixers import Mixer, UnsupportedSize, create_mixer
from mixers.transforms.definitions import hadamard_order

# odd, prime, non-square, one row, one column, one token; both sides of the change from one dense product to two
SPECIAL_SIZES = [(1, 1), (1, 7), (5, 1), (1, 12), (7, 11), (8, 8), (16, 4), (12, 20), (13, 13)]
sizes = st.sampled_from(SPECIAL_SIZES) | st.tuples(st.integers(1, 14), st.integers(1, 14))
dims = st.sampled_from([8, 16, 24, 40])
seeds = st.integers(0, 2**32 - 1)

few_examples = settings(max_examples=40, deadline=None, database=None)
some_examples = settings(max_examples=150, deadline=None, database=None)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Builds everything inside in `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def build(name: str, dim: int, size: tuple[int, int], seed: int = 0) -> Mixer:
    """A mixer whose parameters are those of `seed`.

    One with a batch norm is set to evaluate, since in training its state moves: `test_batch_norm.py`.
    """
    torch.manual_seed(seed)
    mixer = create_mixer(name, dim, size)
    return mixer.eval() if any(isinstance(part, nn.BatchNorm2d) for part in mixer.modules()) else mixer


def build_if_defined(name: str, dim: int, size: tuple[int, int], seed: int = 0) -> Mixer | None:
    """A mixer, or None where it does not exist by its definition; a refusal without that reason is a failure."""
    undefined = name == "hadamard" and any(hadamard_order(n) is None for n in size)
    try:
        mixer = build(name, dim, size, seed)
    except UnsupportedSize:
        assert undefined, f"{name} refuses {size}"
        return None
    assert not undefined, f"{name} accepts {size}"
    return mixer


def assert_near(actual: Tensor, expected: Tensor, what: str = "output") -> None:
    """Equal shapes, and values as near as the precision of `actual` allows for sums of some hundred terms near one."""
    tolerance = {torch.float64: 1e-10, torch.float32: 3e-5}[actual.dtype]
    torch.testing.assert_close(
        actual.to(torch.float64),
        expected.to(torch.float64),
        rtol=tolerance,
        atol=tolerance,
        msg=lambda text: f"{what}: {text}",
    )


def output_and_gradients(
    function: Callable[[Tensor], Tensor], mixer: Mixer, x: Tensor, cotangent: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The output, and the gradients of its product with `cotangent` by the input and by every named parameter."""
    x = x.detach().requires_grad_()
    output = function(x)
    parameters = dict(mixer.named_parameters())
    gradients = torch.autograd.grad((output * cotangent).sum(), [x, *parameters.values()])
    return output.detach(), dict(zip(["input", *parameters], gradients, strict=True))


def assert_matches_reference(mixer: Mixer, x: Tensor) -> None:
    """Output and gradients of `forward` are those of `reference`."""
    cotangent = torch.randn(x.shape[0], mixer.out_channels, *x.shape[2:])
    output, gradients = output_and_gradients(mixer, mixer, x, cotangent)
    expected, expected_gradients = output_and_gradients(mixer.reference, mixer, x, cotangent)
    assert output.dtype == x.dtype
    assert_near(output, expected)
    for name, gradient in gradients.items():
        # a gradient by a weight sums over the tokens of all images, so that its size is what errors are measured by
        size = expected_gradients[name].abs().max().clamp(min=1)
        assert_near(gradient / size, expected_gradients[name] / size, f"gradient by {name}")
