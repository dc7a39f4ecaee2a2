"""Tensors that follow from how a module was built: buffers of it that no checkpoint carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

COPY = "_bfloat16"  # ends the name of a copy


class FixedTensors(nn.Module):
    """A module with matrices, directions or coordinates that nobody learns.

    A subclass defines `fixed_tensors` and calls `keep_fixed` in its constructor, once what they depend on is set. They
    are rounded once, to the dtype of the module, and made again wherever that would not hold otherwise: after a change
    of dtype, for `to_empty`, for a module built on the meta device, and by timm's `reinit_non_persistent_buffers`.
    """

    fixed_names: tuple[str, ...] = ()
    copied_off_cpu = False  # whether autocast finds them in bfloat16 where a cast is a kernel to launch at every call

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """The tensors by name, on the CPU, as exact as their definition is.

        Args:
            dtype: float32 or float64, to compute in where the definition does not say.
        """
        raise NotImplementedError

    def keep_fixed(self, tensors: dict[str, Tensor] | None = None) -> None:
        """Registers the tensors as buffers, in the default dtype, on the default device."""
        dtype, device = torch.get_default_dtype(), torch.empty(0).device
        tensors = self._made(dtype) if tensors is None else tensors
        self.fixed_names = tuple(tensors)
        for name, tensor in tensors.items():
            kept = tensor.to(device, dtype if tensor.is_floating_point() else None)
            self.register_buffer(name, kept, persistent=False)
        self._copy_fixed()

    def init_non_persistent_buffers(self) -> None:
        """Makes the tensors again, in place; the name is timm's, which calls it after `to_empty`."""
        self._fill(self.fixed_names)
        self._copy_fixed()

    def kept_matrix(self, name: str, dtype: torch.dtype) -> Tensor:
        """A fixed matrix to multiply by in this dtype: its copy, or where there is none itself, still to be cast."""
        copied = self._buffers.get(name + COPY) if dtype == torch.bfloat16 else None
        return getattr(self, name) if copied is None else copied

    def _made(self, dtype: torch.dtype) -> dict[str, Tensor]:
        with torch.device("cpu"):
            return self.fixed_tensors(torch.float64 if dtype == torch.float64 else torch.float32)

    def _fill(self, names: Iterable[str]) -> None:
        buffers = {name: getattr(self, name) for name in names}
        filled = {name: buffer for name, buffer in buffers.items() if holds_numbers(buffer)}
        if not filled:
            return
        made = self._made(max((b.dtype for b in filled.values()), key=lambda dtype: dtype.itemsize))
        for name, buffer in filled.items():
            buffer.copy_(made[name].to(buffer.dtype))

    def _copy_fixed(self) -> None:
        for name in self.fixed_names if self.copied_off_cpu else ():
            matrix = getattr(self, name)
            self._buffers.pop(name + COPY, None)
            # a meta module computes with the tensors that functional_call gives it, by the names that those have
            if matrix.device.type not in ("cpu", "meta"):
                self.register_buffer(name + COPY, matrix.to(torch.bfloat16), persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        before = {name: getattr(self, name) for name in self.fixed_names}
        for name in before:
            self._buffers.pop(name + COPY, None)
        super()._apply(fn, recurse)
        again = []
        for name, old in before.items():
            new = getattr(self, name)
            if new is old or not holds_numbers(new):
                continue
            if new.dtype == old.dtype and holds_numbers(old):
                new.copy_(old)  # to_empty has left it without numbers
            else:
                again.append(name)
        self._fill(again)
        self._copy_fixed()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        if local_metadata.get("assign_to_params_buffers") and any(getattr(self, n).is_meta for n in self.fixed_names):
            # a module from the meta device gets its weights from a checkpoint as they are, and these beside them
            device = next((value.device for value in state_dict.values() if isinstance(value, Tensor)), "cpu")
            for name in self.fixed_names:
                self._buffers[name] = torch.empty_like(getattr(self, name), device=device)
            self.init_non_persistent_buffers()


def holds_numbers(tensor: Tensor) -> bool:
    """Not so on the meta device and in fake tensors."""
    return type(tensor) is Tensor and not tensor.is_meta
