"""What a checkpoint says of a module beside its weights, so that what is loaded computes what was saved."""

from __future__ import annotations

import json
import zlib
from typing import Any

import torch
from torch import Tensor, nn

from mixers.errors import MixerError
from mixers.fixed import holds_numbers


class SavesDefinition(nn.Module):
    """A module whose entry `_extra_state` in a checkpoint says which map its weights belong to.

    A subclass defines `definition`. Loading the weights of another definition is an error, with strict=False too,
    unless `become` can make this module the saved one. A checkpoint without the entry loads as the weights alone do.
    """

    def definition(self) -> dict[str, Any]:
        """What the weights leave open: plain values by name, with the name of the class under "class"."""
        raise NotImplementedError

    def become(self, saved: dict[str, Any]) -> None:
        """Makes this module the one that was saved.

        Raises:
            MixerError: it is of another definition.
        """
        mine = self.definition()
        # what was saved before a module had some option leaves it as it is
        differing = [key for key in saved if key not in mine or mine[key] != saved[key]]
        if differing:
            raise _differs(mine, saved, "class" if "class" in differing else differing[0])

    def get_extra_state(self) -> Tensor:
        return _packed(self.definition())

    def set_extra_state(self, state: Any) -> None:
        saved = _unpacked(state)
        if saved is not None:
            self.become(saved)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        *rest: Any,
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *rest)
        missing_keys[:] = [key for key in missing_keys if key != f"{prefix}_extra_state"]


def _differs(mine: dict[str, Any], saved: dict[str, Any], key: str) -> MixerError:
    """The error for a checkpoint of another definition, told by what differs first."""
    if key == "class":
        what, other = mine["class"], saved.get("class")
    else:
        what, other = (f"{mine['class']} with {key}={which.get(key)}" for which in (mine, saved))
    return MixerError(
        f"the checkpoint is of {other}, this is {what}: build the net as it was saved, or take the keys that end in "
        "_extra_state out of the checkpoint to load its weights all the same"
    )


def _packed(definition: dict[str, Any]) -> Tensor:
    """A dict of plain values as a tensor of bytes, which is what every format of checkpoints can hold."""
    text = json.dumps(definition, sort_keys=True).encode()
    return torch.tensor([*zlib.crc32(text).to_bytes(4, "big"), *text], dtype=torch.uint8, device="cpu")


def _unpacked(state: Any) -> dict[str, Any] | None:
    """The dict back, also from a tensor that was cast to any float on its way; None from one that holds no numbers.

    Raises:
        MixerError: it is none of ours, or was mixed with another, as in a mean of two checkpoints.
    """
    if isinstance(state, Tensor) and not holds_numbers(state):
        return None
    try:
        data = bytes(int(byte) for byte in state.tolist())
        if zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
            raise ValueError("wrong checksum")
        return dict(json.loads(data[4:]))
    except (AttributeError, TypeError, ValueError) as error:
        raise MixerError(
            "what the checkpoint says of its mixers cannot be read; a mean of checkpoints must be one of the same mixer"
        ) from error
