"""Nets on tensors that say they are on a GPU and hold nothing: what is made on the CPU by mistake shows without one."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OnlyOnTheGPU(TorchDispatchMode):
    """While active, an operator that makes a tensor elsewhere is an error; `calls` are those that ran.

    With `numbers`, one that makes a tensor of a Python number is none: what x[mask] = 0.0 does costs no transfer.
    """

    def __init__(self, numbers: bool = False) -> None:
        super().__init__()
        self.numbers = numbers
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        number = self.numbers and func == torch.ops.aten.lift_fresh.default and result.ndim == 0
        for leaf in () if number else tree_leaves(result):
            assert not isinstance(leaf, Tensor) or leaf.device.type == "cuda", f"{func} made a tensor on {leaf.device}"
        self.calls.append((func, args))
        return result


class AnyGenerator(TorchFunctionMode):
    """Takes the generator away from what draws at random: without a GPU there is none for it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **{key: value for key, value in (kwargs or {}).items() if key != "generator"})


def moved(net: nn.Module) -> nn.Module:
    """A net in fake tensors on a GPU; within FakeTensorMode."""

    def empty(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")

    return net._apply(lambda tensor: empty(tensor).requires_grad_(tensor.requires_grad))


@contextmanager
def autocast() -> Iterator[None]:
    """`torch.autocast("cuda", torch.bfloat16)`, which turns itself off where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "CUDA is not available")
            yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


def backward(output: Tensor) -> dict[int, Tensor]:
    """The gradients of every leaf, by id, node by node: autograd's own engine wants a GPU that is there."""
    gradients: dict[Any, dict[int, Tensor]] = defaultdict(dict)
    gradients[output.grad_fn][output.output_nr] = torch.empty_like(output)
    leaves: dict[int, Tensor] = {}
    for node in _from_last_to_first(output.grad_fn):
        given = gradients.pop(node, None)
        if given is None:
            continue
        in_python = isinstance(node, torch.autograd.function.BackwardCFunction)
        inputs = [_of_output(given.get(i), output, in_python) for i, output in enumerate(node._input_metadata)]
        if hasattr(node, "variable"):
            assert inputs[0] is not None
            leaves[id(node.variable)] = inputs[0]
            continue
        results = node.apply(*inputs) if in_python else node(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        assert not any(result is not None for result in results[len(node.next_functions) :])  # of what is no tensor
        for (following, place), result in zip(node.next_functions, results, strict=False):
            if following is not None and result is not None:
                known = gradients[following].get(place)
                gradients[following][place] = result if known is None else known + result
    return leaves


def _of_output(gradient: Tensor | None, output: Any, in_python: bool) -> Tensor | None:
    """What the engine gives a node for an output of this device, dtype and shape."""
    if gradient is None:
        return torch.zeros(output.shape, dtype=output.dtype, device=output.device) if in_python else None
    assert gradient.device == output.device
    gradient = gradient.to(output.dtype)
    return gradient if gradient.shape == output.shape else gradient.sum_to_size(output.shape)


def _from_last_to_first(root: Any) -> list[Any]:
    order: list[Any] = []
    seen: set[Any] = set()
    waiting = [(root, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            waiting.append((node, True))
            waiting += [(following, False) for following, _ in node.next_functions if following is not None]
    return order[::-1]
