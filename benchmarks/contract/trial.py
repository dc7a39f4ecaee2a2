"""What to measure: a trial is a frozen set of choices, and its id is a hash of them.

Two trials with the same choices have the same id on any machine and at any commit, which is what makes a sweep
resumable: a trial whose record exists is done. Only a latency trial's id also covers the machine, since a time measured
on one machine says nothing of another.

Ids never move. The fields of results version 0.1 are always part of the hash. A field added later says which value the
records without it had (`later`), and is part of the hash only where its value is another one.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Self

from benchmarks.contract.choices import lra
from benchmarks.contract.errors import UserError, nearest, printable
from benchmarks.contract.facts import devices
from benchmarks.contract.facts.datasets import DATASETS, PRETRAIN, SIZES, TASKS, facts_of, task_name, vocabulary_of
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.fields import DATA, KIND, MACHINE, MATCH, MIXER, NET, RECIPE, SEED, TIMING, Facts, known, later

RESULTS_VERSION = "0.1"  # records of one results version are comparable with each other; see CHANGELOG.md
MAX_IMAGE_SIZE = 4096
# raised by whoever changes what the backbone computes or how nets are trained; records of two versions never meet
RECIPE_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One thing to measure.

    Fields are None where they do not bear on the kind or on the task, so that they cannot change its id. What is known
    of a field beside its type stands with it, see `benchmarks.contract.fields`.

    Raises:
        UserError: a value is outside what is allowed.
    """

    kind: str = known(KIND, choices=tuple(KINDS))
    mixer: str = known(MIXER)  # as on the command line: a registered name, options in parentheses, or a plug-in
    dataset: str = known(DATA, help=" | ".join([*DATASETS, "folder:PATH | torch/NAME | file.py:MyData"]))
    image_size: int | str | None = known(  # of images; "HxW" where not square
        NET, None, noun="image", unit=" px", heading="image (px)", listed=True, help="pixels, or a list: 16,32 or 16x32"
    )
    patch_size: int | None = known(
        NET, None, low=1, high=64, noun="patch", unit=" px", heading="patch (px)", listed=True,
        help="side of a token in pixels; 1: every pixel is a token",
    )  # fmt: skip
    dim: int = known(NET, low=8, high=8192, noun="dim", listed=True, help="channels of the backbone, a multiple of 8")
    depth: int = known(NET, low=1, high=256, noun="depth", listed=True, help="blocks")
    seed: int = known(SEED, 0, low=0, high=2**31 - 1, listed=True, help="one, or a list: 0,1,2 or 0-7")
    profile: str = known(
        DATA,
        "quick",
        choices=("quick", "full", *lra.NAMES),
        help="quick (without a GPU) | full (with one) | lra | lra-small (Long Range Arena's)",
    )
    match: str = known(  # what is held equal across mixers
        MATCH, "width", choices=("width", "params", "flops"), heading="equal", help="hold equal: width | params | flops"
    )
    # where it is not the width: that of attention's net, whose budget `dim` was solved for
    match_dim: int | None = known(MATCH, None, low=8, high=8192)
    norm: str = known(  # statistics over (C, H, W), or over C alone
        NET, "image", choices=("image", "token"), common=(("token", "norm per token"),), listed=True,
        help="image: statistics per image; token: per token (what a search chose, else image)",
    )  # fmt: skip
    coordinates: bool = known(  # the two coordinate channels after every mixing layer
        NET, True, common=((False, "no coordinate channels"),), help="leave the coordinate channels out"
    )
    device: str = known(MACHINE, "cpu", choices=tuple(DEVICES), help=devices.HELP)
    precision: str = known(
        MACHINE, "float32", choices=("float32", "bfloat16"), common=(("bfloat16", "bfloat16"),),
        help="float32 | bfloat16",
    )  # fmt: skip
    threads: int = known(MACHINE, 1, low=1, high=1024, help="on the CPU (all cores)")
    mixer_source: str | None = known(MIXER, None)  # SHA-256 of a plug-in's file, so that editing it makes a new trial

    # of latency and of cost's training step too
    batch_size: int | None = known(RECIPE, None, low=1, high=65536, listed=True, help="images a step")

    epochs: int | None = known(RECIPE, None, low=1, high=100_000, listed=True, help="passes over the training images")
    lr: float | None = known(
        RECIPE, None, low=1e-8, high=10, heading="learning rate", tuned=True, listed=True,
        help="peak learning rate; tune: a list of those to try",
    )  # fmt: skip
    weight_decay: float | None = known(
        RECIPE, None, low=0, high=10, tuned=True, listed=True, help="of AdamW; tune: a list of those to try"
    )
    warmup_epochs: float | None = known(RECIPE, None, heading="warm-up epochs")
    label_smoothing: float | None = known(RECIPE, None, low=0, high=0.9)
    augment: str | None = known(  # light: crop and flip; strong: RandAugment, CutMix and Mixup too
        RECIPE, None, choices=("none", "light", "strong"), listed=True, help="none | light | strong"
    )
    train_images: int | None = known(  # of a procedural data set; the validation images are held out from these
        RECIPE, None, low=100, high=10_000_000, heading="training images", listed=True,
        help="of a procedural data set; spectracles: of the training split",
    )  # fmt: skip

    rounds: int | None = known(TIMING, None, low=1, high=1000, help="of the latency sweep; steps of a profile")
    compiled: bool | None = known(TIMING, None)  # through torch.compile

    mixer_version: int = later(1, MIXER, low=1, high=10_000)  # of what it computes, see `mixers.Mixer.version`
    recipe_version: int = later(1, NET, RECIPE_VERSION, low=1, high=10_000)
    residual: str = later(  # precision of the residual stream under autocast
        "float32", MACHINE, choices=("float32", "bfloat16"), common=(("bfloat16", "residual stream too"),),
        help="float32 | bfloat16: the residual stream under bfloat16 autocast (bfloat16)",
    )  # fmt: skip
    positions: str = later(  # what is added to the tokens behind the stem
        "none", NET, choices=("none", "learned", "sine"), listed=True,
        common=(("learned", "learned positions"), ("sine", "sine positions")),
        help="behind the stem: none | learned | sine (what a search chose, else none)",
    )  # fmt: skip
    length: int | None = later(
        None, NET, low=1, high=2**20, noun="length", unit=" tokens", listed=True, help="tokens of a sequence"
    )
    dataset_source: str | None = later(None, DATA)  # a fingerprint of own data or text: other data, another trial
    optimizer: str = later("adamw", RECIPE, choices=("adamw",), help="adamw")
    beta1: float = later(0.9, RECIPE, low=0, high=0.9999, listed=True, help="of AdamW, for the mean of gradients (0.9)")
    beta2: float = later(
        0.999, RECIPE, low=0, high=0.999999, listed=True, help="of AdamW, for the mean of their squares (0.999)"
    )
    clip_norm: float = later(
        1.0, RECIPE, low=1e-6, high=1e6, noun="clip norm", listed=True,
        help="longest gradient; a longer one is scaled down to it (1)",
    )  # fmt: skip
    schedule: str = later(
        "cosine", RECIPE, choices=("cosine", "constant", "rsqrt", "linear"), listed=True,
        help="of the learning rate behind the warm-up: cosine or linear to zero | constant | rsqrt (cosine)",
    )  # fmt: skip
    pretrain: str = later(  # own: masked modelling of the training sequences first, see training/pretrain.py
        "none", RECIPE, choices=("none", "own"), listed=True, common=(("own", "masked pre-training first"),),
        help="of sequences: none | own (a third of the epochs fills in masked tokens first) (none)",
    )  # fmt: skip
    padded_length: int | None = later(  # of the net; None: that of the sequences
        None, NET, low=1, high=2**20, noun="padded to", unit=" tokens", heading="padded to (tokens)", listed=True,
        help="tokens of the net, to which sequences of --length are filled up with padding (that of --length)",
    )  # fmt: skip

    corpus: str | None = later(None, DATA)  # of text: what a net was, or is, pre-trained on
    tokenizer: str | None = later(None, NET, heading="tokens", listed=True, help="of text: bytes | bpe-N (bytes)")
    gain: float = later(
        1.0, RECIPE, low=1e-3, high=1e4, listed=True, tuned=True,
        help="of text: what the mixing layers give back is multiplied by it (the profile's, else 1)",
    )  # fmt: skip
    pretrained: str | None = later(  # the id of a record, whose weights a net starts from
        None, RECIPE, heading="pre-trained", listed=True,
        help="of text: the id of a pre-training record that nets start from (none)",
    )  # fmt: skip
    order: str = later(
        "swap", RECIPE, choices=("swap", "random", "none"), listed=True,
        help="of pre-training: swap (two parts change places) | random (the second is another's) | none (swap)",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in FACTS:
            check_value(name, getattr(self, name))
        self._check_sizes()
        self._check_padding()
        if self.pretrain == "own":
            self._check_pretraining()
        self._check_text()
        if self.dim % 8:
            raise UserError(f"--dim is {self.dim}; allowed: multiples of 8, such as {max(8, self.dim // 8 * 8)}")

    def _check_pretraining(self) -> None:
        task = task_name(self.dataset)
        if task != "sequences":
            raise UserError(f"--pretrain is own, which is for sequences; {self.dataset} is a data set of {task}")
        if self.epochs is not None and self.epochs < 2:
            raise UserError(f"--pretrain is own, which takes a third of the epochs; --epochs is {self.epochs}, take 3")

    def _check_text(self) -> None:
        """What is for text alone, and the form of a tokenizer's name and of an id."""
        task = task_name(self.dataset)
        for name, usual in (
            ("corpus", None),
            ("tokenizer", None),
            ("pretrained", None),
            ("order", "swap"),
            ("gain", 1.0),
        ):
            if task != "text" and getattr(self, name) != usual:
                raise UserError(
                    f"{flag(name)} is {getattr(self, name)}, which is for text; {self.dataset} is a data set of {task}"
                )
        pretrains = self.dataset == PRETRAIN and KINDS[self.kind].trains
        if pretrains and self.order == "random" and self.batch_size == 1:
            raise UserError(
                "--batch-size is 1, and --order random takes the second part from another passage of the batch; "
                "allowed: 2 and more, or --order swap or none"
            )
        if task == "text" and self.tokenizer is not None:
            vocabulary_of(self.tokenizer)
        if self.pretrained is not None and not re.fullmatch("[0-9a-f]{16}", self.pretrained):
            raise UserError(
                f"--pretrained is {self.pretrained!r}; allowed: the id of a pre-training record, 16 of 0-9 and a-f"
            )

    def _check_sizes(self) -> None:
        """What says how large an input is depends on the task, see TASKS."""
        task = task_name(self.dataset)
        for name in SIZES:
            needed = name in TASKS[task].sizes
            if needed == (getattr(self, name) is None):
                takes = " and ".join(map(flag, TASKS[task].sizes))
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

    def _check_padding(self) -> None:
        if self.padded_length is None:
            return
        task = task_name(self.dataset)
        if self.length is None:
            raise UserError(
                f"--padded-length is {self.padded_length}, which is for sequences; "
                f"{self.dataset} is a data set of {task}"
            )
        if self.padded_length < self.length:
            raise UserError(
                f"--padded-length is {self.padded_length}, and the sequences have {self.length} tokens; "
                f"allowed: {self.length} and more"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of an image in pixels; of a sequence (1, tokens), those of padding too."""
        return (1, self.padded_length or self.length or 1) if self.image_size is None else parse_size(self.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of tokens."""
        height, width = self.size
        patch = self.patch_size or 1
        return height // patch, width // patch

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def extent(self) -> int | str:
        """What a sweep over sizes varies: an image's size, or a sequence's length."""
        return self.image_size if self.image_size is not None else self.length or 1

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
        """16 hexadecimal digits that stand for this trial; `machine` counts where a time is measured."""
        values = {name: value for name, value in self.to_dict().items() if name not in ADDED or value != ADDED[name]}
        content = {"trial": values, "results_version": RESULTS_VERSION}
        if KINDS[self.kind].timed:
            if machine is None:
                raise ValueError(f"the id of a {self.kind} trial needs the machine")
            content["machine"] = machine
        return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]

    def describe(self, more: Iterable[str] = ()) -> str:
        """One short line for progress output and errors.

        Args:
            more: fields to name too, see `varied`.
        """
        words = [self.kind, self.mixer]
        words += [self.extent_in_words(), *([f"patch {self.patch_size}"] if self.image_size else [])]
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
        words += [word for word in self.named(more) if word not in words]
        return printable(" ".join(words))

    def extent_in_words(self) -> str:
        """ "32 px", "512 tokens", or "512 tokens padded to 1024"."""
        if self.image_size:
            return f"{self.extent} px"
        return f"{self.extent} tokens" + (f" padded to {self.padded_length}" if self.padded_length else "")

    def named(self, names: Iterable[str]) -> list[str]:
        """Some fields in words, ["dim 128"], without those that the trial has not."""
        values = {name: value for name in names if (value := getattr(self, name)) is not None}
        return [
            f"{FACTS[name].noun or name.replace('_', ' ')} {f'{v:g}' if isinstance(v, float) else v}{FACTS[name].unit}"
            for name, v in values.items()
        ]


def varied(trials: Iterable[Trial]) -> list[str]:
    """The fields of a grid that tell apart trials whose lines would be the same; [] of an ordinary run."""
    lines = {trial: trial.describe() for trial in trials}
    alike = collections.Counter(lines.values())
    same: dict[Trial, tuple[Any, ...]] = {trial: (line,) for trial, line in lines.items() if alike[line] > 1}
    found: list[str] = []
    for name in (name for name, facts in FACTS.items() if facts.listed):
        split = {trial: (*key, getattr(trial, name)) for trial, key in same.items()}
        if len(set(split.values())) > len(set(same.values())):
            same, found = split, [*found, name]
    return found


FIELDS = {field.name: field.default for field in dataclasses.fields(Trial)}
REQUIRED = [name for name, default in FIELDS.items() if default is dataclasses.MISSING]
FACTS: dict[str, Facts] = {field.name: field.metadata["facts"] for field in dataclasses.fields(Trial)}
FLAGGED = [name for name, facts in FACTS.items() if facts.flagged]
# the fields that results version 0.1 did not have, with the value that its records had
ADDED = {field.name: field.metadata["before"] for field in dataclasses.fields(Trial) if "before" in field.metadata}


def check_value(name: str, value: Any) -> None:
    """Holds one field to its choices or its range; None is always allowed.

    Raises:
        UserError: it is not allowed.
    """
    facts = FACTS.get(name)
    if value is None or facts is None:
        return
    if name == "dataset":
        facts_of(value)  # says what is allowed
    if facts.choices and value not in facts.choices:
        hint = nearest(str(value), facts.choices)
        raise UserError(f"{flag(name)} is {value!r}; allowed: {', '.join(facts.choices)}.{hint}")
    if facts.low is not None and facts.high is not None and not facts.low <= value <= facts.high:  # nor is NaN
        raise UserError(f"{flag(name)} is {value}; allowed: {_number(facts.low)} to {_number(facts.high)}")


@functools.cache
def type_of(name: str) -> type:
    """The type of a field's values as they are typed: of several the one that takes them all, None aside."""
    kinds = [kind for kind in (str, float, int, bool) if kind.__name__ in Trial.__annotations__[name].split(" | ")]
    return kinds[0]


def names_of(*roles: str) -> list[str]:
    """The fields of a trial that have one of these roles, those of the first role first."""
    return [name for role in roles for name, facts in FACTS.items() if facts.role == role]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def base_name(mixer: str) -> str:
    """The name of a mixer as trials have it, without its options; who may load torch asks `mixers.spec`."""
    return mixer.partition("(")[0]


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
