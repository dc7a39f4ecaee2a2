"""One step of training, as it is taken, profiled, weighed and probed: all of them call this one function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


def no_part(name: str) -> AbstractContextManager[object]:
    """Marks nothing."""
    return contextlib.nullcontext()


def training_step(
    net: nn.Module,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    optimizer: torch.optim.Optimizer | None,
    autocast: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    *,
    forward: Callable[[Tensor], Tensor] | None = None,
    clip_norm: float | None = None,
    part: Callable[[str], AbstractContextManager[object]] = no_part,
) -> Tensor:
    """Forward and loss under autocast, backward, clipping and the optimizer.

    Args:
        net: on its device, in training mode.
        loss_of: output and targets -> the loss, 0-dim.
        inputs: (B, ...), as the net takes them.
        targets: (B, ...), as the loss takes them.
        optimizer: of the net, its rate already set; None: the step ends with the gradients, and nothing is clipped.
        autocast: makes the context of the forward pass.
        forward: another form of the net, with the same parameters.
        clip_norm: the longest gradient, over all parameters; None: it is never clipped.
        part: makes a context around each of "net", "loss", "backward" and "optimizer", the last of them twice.

    Returns:
        The loss, 0-dim, detached.
    """
    with part("optimizer"):
        # gradients that are there would cost one addition a parameter; in a graph new ones have a fixed place too
        net.zero_grad(set_to_none=True)
    with autocast():
        with part("net"):
            output = (forward or net)(inputs)
        with part("loss"):
            loss = loss_of(output, targets)
            del output  # its memory is free in the backward pass, where the loss does not need it
    with part("backward"):
        loss.backward()
    if optimizer is not None:
        with part("optimizer"):
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
            optimizer.step()
    return loss.detach()
