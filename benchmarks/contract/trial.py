"""What to measure: a trial is a frozen set of choices, and its id is a hash of them.

Two trials with the same choices have the same id on any machine and at any commit, which is what makes a sweep
resumable: a trial whose record exists is done. Only a latency trial's id also covers the machine, since a time measured
on one machine says nothing of another.

Ids never move. The fields of results version 0.1 are always part of the hash. A field added later says which value the
records without it had (`later`), and is part of the hash only where its value is another one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Self

from benchmarks.contract.datasets import DATASETS, SIZES, TASK_SIZES, info_of
from benchmarks.contract.errors import UserError, nearest, printable

RESULTS_VERSION = "0.1"  # records of one results version are comparable with each other; see CHANGELOG.md

KINDS = ("accuracy", "cost", "latency", "tuning")  # tuning: an accuracy trial that never reads the test split
CHOICES = {
    "kind": KINDS,
    "dataset": tuple(DATASETS),
    "profile": ("quick", "full"),
    "match": ("width", "params", "flops"),
    "norm": ("image", "token"),
    "device": ("cpu", "cuda"),
    "precision": ("float32", "bfloat16"),
    "augment": ("none", "light", "strong"),
    "residual": ("float32", "bfloat16"),
    "positions": ("none", "learned", "sine"),
    "optimizer": ("adamw",),
    "schedule": ("cosine", "constant"),
}
# lowest and highest value that makes sense; both allowed
RANGES: dict[str, tuple[float, float]] = {
    "patch_size": (1, 64),
    "length": (1, 2**20),
    "dim": (8, 8192),
    "match_dim": (8, 8192),
    "depth": (1, 256),
    "seed": (0, 2**31 - 1),
    "threads": (1, 1024),
    "batch_size": (1, 65536),
    "epochs": (1, 100_000),
    "lr": (1e-8, 10),
    "weight_decay": (0, 10),
    "label_smoothing": (0, 0.9),
    "train_images": (100, 10_000_000),
    "rounds": (1, 1000),
    "mixer_version": (1, 10_000),
    "recipe_version": (1, 10_000),
    "clip_norm": (1e-6, 1e6),
    "beta1": (0, 0.9999),
    "beta2": (0, 0.999999),
}
CHECKED = (*CHOICES, *RANGES)
MAX_IMAGE_SIZE = 4096
# raised by whoever changes what the backbone computes or how nets are trained; records of two versions never meet
RECIPE_VERSION = 1


def later(before: Any, default: Any = dataclasses.MISSING) -> Any:
    """A field that results version 0.1 did not have.

    Args:
        before: the value that trials without the field had; it never changes again.
        default: of new trials; where it is left out, `before`.
    """
    return dataclasses.field(default=before if default is dataclasses.MISSING else default, metadata={"before": before})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One thing to measure.

    Fields below the first group are None where they do not bear on the kind, so that they cannot change its id.

    Raises:
        UserError: a value is outside what is allowed.
    """

    kind: str  # accuracy, cost, latency or tuning
    mixer: str  # as on the command line: a registered name, options in parentheses, or a plug-in
    dataset: str
    image_size: int | str | None = None  # of images: pixels; "HxW" where not square
    patch_size: int | None = None  # of images: pixels a side of one token; 1: every pixel is a token
    dim: int  # channels of the backbone
    depth: int  # blocks
    seed: int = 0
    profile: str = "quick"
    match: str = "width"  # what is held equal across mixers: width, params or flops
    match_dim: int | None = (
        None  # where it is not the width: that of attention's net, whose budget `dim` was solved for
    )
    norm: str = "image"  # statistics over (C, H, W), or over C alone
    coordinates: bool = True  # the two coordinate channels after every mixing layer
    device: str = "cpu"
    precision: str = "float32"
    threads: int = 1  # intra-op threads on the CPU
    mixer_source: str | None = None  # SHA-256 of a plug-in's source file, so that editing it makes a new trial

    batch_size: int | None = None  # accuracy, latency, and the training step of cost

    epochs: int | None = None  # accuracy and tuning only, from here on
    lr: float | None = None  # peak learning rate
    weight_decay: float | None = None
    warmup_epochs: float | None = None
    label_smoothing: float | None = None
    augment: str | None = None  # none; light: crop and flip; strong: RandAugment, CutMix and Mixup too
    train_images: int | None = None  # of a procedural data set; the validation images are held out from these

    rounds: int | None = None  # latency only, from here on
    compiled: bool | None = None  # through torch.compile

    mixer_version: int = later(1)  # of what the mixer computes, see `mixers.Mixer.version`
    recipe_version: int = later(1)  # RECIPE_VERSION
    residual: str = later("float32")  # precision of the residual stream under autocast
    positions: str = later("none")  # what is added to the tokens behind the stem
    length: int | None = later(None)  # of sequences: tokens
    dataset_source: str | None = later(None)  # a fingerprint of a user's own data, so that other data make a new trial
    optimizer: str = later("adamw")
    beta1: float = later(0.9)  # of AdamW: how much the running mean of gradients keeps a step
    beta2: float = later(0.999)  # the same of their squares
    clip_norm: float = later(1.0)  # longest gradient; a longer one is scaled down to it
    schedule: str = later("cosine")  # of the learning rate behind the warm-up: to zero by a half cosine, or constant

    def __post_init__(self) -> None:
        for name in CHECKED:
            check_value(name, getattr(self, name))
        self._check_sizes()
        if self.dim % 8:
            raise UserError(f"--dim is {self.dim}; allowed: multiples of 8, such as {max(8, self.dim // 8 * 8)}")

    def _check_sizes(self) -> None:
        """What says how large an input is depends on the task, see TASK_SIZES."""
        task = info_of(self.dataset).task
        for name in SIZES:
            needed = name in TASK_SIZES[task]
            if needed == (getattr(self, name) is None):
                takes = " and ".join(map(flag, TASK_SIZES[task]))
                raise UserError(
                    f"{flag(name)} is {'missing' if needed else getattr(self, name)}; "
                    f"{self.dataset} is a data set of {task}, which needs {takes}"
                )
        if self.image_size is None or self.patch_size is None:
            return
        height, width = self.size
        if height % self.patch_size or width % self.patch_size:
            fits = [p for p in range(1, min(height, width, 64) + 1) if height % p == 0 == width % p]
            raise UserError(
                f"image size {self.image_size} is not a multiple of patch size {self.patch_size}; "
                f"patch sizes that fit: {', '.join(map(str, fits))}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of an image in pixels; of a sequence (1, tokens)."""
        return (1, self.length or 1) if self.image_size is None else parse_size(self.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of tokens."""
        height, width = self.size
        patch = self.patch_size or 1
        return height // patch, width // patch

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds a trial from a mapping.

        Raises:
            UserError: a key is unknown, or a required one is missing.
        """
        for key in values:
            if key not in FIELDS:
                raise UserError(f"a trial has no field {key!r}.{nearest(key, FIELDS)}")
        if missing := [name for name in REQUIRED if name not in values]:
            raise UserError(f"a trial needs {', '.join(missing)}")
        return cls(**(ADDED | values))

    def id(self, machine: str | None = None) -> str:
        """16 hexadecimal digits that stand for this trial; `machine` counts for latency alone."""
        values = {name: value for name, value in self.to_dict().items() if name not in ADDED or value != ADDED[name]}
        content = {"trial": values, "results_version": RESULTS_VERSION}
        if self.kind == "latency":
            if machine is None:
                raise ValueError("the id of a latency trial needs the machine")
            content["machine"] = machine
        return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]

    def describe(self) -> str:
        """One short line for progress output and errors."""
        words = [self.kind, self.mixer]
        words += [f"{self.image_size} px", f"patch {self.patch_size}"] if self.image_size else [f"{self.length} tokens"]
        if self.kind == "accuracy":
            words.append(f"seed {self.seed}")
        if self.kind == "tuning":
            words += [f"lr {self.lr:g}", f"weight decay {self.weight_decay:g}"]
            words += [f"norm {self.norm}"] if self.norm != "image" else []
            words += [f"{self.positions} positions"] if self.positions != "none" else []
        if self.kind == "latency" and self.compiled:
            words.append("compiled")
        if self.kind == "latency" and self.precision != "float32":
            words.append(self.precision)
        return printable(" ".join(words))


FIELDS = {field.name: field.default for field in dataclasses.fields(Trial)}
REQUIRED = [name for name, default in FIELDS.items() if default is dataclasses.MISSING]
# the fields that results version 0.1 did not have, with the value that its records had
ADDED = {field.name: field.metadata["before"] for field in dataclasses.fields(Trial) if "before" in field.metadata}


def check_value(name: str, value: Any) -> None:
    """Holds one field to its choices or its range; None is always allowed.

    Raises:
        UserError: it is not allowed.
    """
    if value is None:
        return
    if name in CHOICES and value not in CHOICES[name]:
        hint = nearest(str(value), CHOICES[name])
        raise UserError(f"{flag(name)} is {value!r}; allowed: {', '.join(CHOICES[name])}.{hint}")
    if name in RANGES:
        low, high = RANGES[name]
        if not low <= value <= high:  # nor is NaN, whatever it is compared with
            raise UserError(f"{flag(name)} is {value}; allowed: {_number(low)} to {_number(high)}")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def flag(name: str) -> str:
    """The command-line flag of a trial's field."""
    return "--" + name.replace("_", "-")


def parse_size(value: int | str) -> tuple[int, int]:
    """(height, width) from 32, "32" or "16x32".

    Raises:
        UserError: it is no size, or no sensible one.
    """
    try:
        parts = [int(part) for part in str(value).lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or not all(1 <= part <= MAX_IMAGE_SIZE for part in parts):
        raise UserError(
            f"--image-size is {value!r}; allowed: 1 to {MAX_IMAGE_SIZE} pixels, such as 32, or 16x32 (height x width)"
        )
    return parts[0], parts[-1]


def normal_size(value: int | str) -> int | str:
    """The form in which a trial keeps a size: 32 for "32" and "32x32", "16x32" otherwise."""
    height, width = parse_size(value)
    return height if height == width else f"{height}x{width}"
