"""The profiles: every number of a run that nobody set on the command line.

`quick` shows the whole line in minutes on two cores; `full` is a comparison to cite, for a GPU. Everything a profile
sets is the same for all mixers but the learning rate, the norm and the positions, which each gets from the same sweep
on held-out images. `lra` and `lra-small` are settings of others, for sequences: see `lra.py` for what they leave open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from benchmarks.contract.choices import lra
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS, PRETRAIN, TASKS, facts_of

# compared where no mixer is named; MIXER="*" takes every registered one
CORE_MIXERS = ("attention", "conv1x1", "dct", "fft_complex", "fft_real", "hadamard", "random")
QUICK_LATENCY_SIZES: tuple[int | str, ...] = (16, 32, 48, 64)
QUICK_TUNED_LRS = (1e-3, 3e-3, 8e-3, 2e-2, 5e-2)
FULL_LATENCY_SIZES: tuple[int | str, ...] = (16, "16x32", 32, 48, 64, 96, 128, 192, 256)

Net = tuple[str, str]  # norm and positions
USUAL_NET: Net = ("image", "none")
# whose choice of norm and positions a mixer takes that is not searched itself: one of its family
NET_CHOSEN_BY: Mapping[str, str] = {
    "linear_attention": "attention", "performer": "attention", "afno": "global_filter", "pool": "conv_mixer",
    "shift": "conv_mixer", "random_separable": "dct", "linear_separable": "dct", "fft_imag": "fft_real",
    "fft_magphase": "fft_complex", "fft_pairs": "fft_real", "fft_real_2d": "fft_real", "fft_scrambled": "fft_complex",
    "hartley": "fft_real", "random_orthogonal": "random", "random_fnet": "random", "linear_fnet": "linear",
    "hybrid_bottom": "fft_real", "hybrid_middle": "fft_real", "hybrid_mixed": "fft_real", "hybrid_top": "fft_real",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """Settings of one profile on one data set."""

    image_size: int | None = None  # pixels
    patch_size: int | None = None
    length: int | None = None  # tokens of a sequence, which has no image
    extra_sizes: tuple[int, ...] = ()  # pixels or tokens, trained too, with the first seed alone
    dim: int
    depth: int
    seeds: tuple[int, ...]
    epochs: int
    batch_size: int
    lr: float  # of mixers that `lr_of` does not name
    lr_of: Mapping[str, float] = field(default_factory=dict)  # where the published sweep chose another
    net_of: Mapping[str, Net] = field(default_factory=dict)  # where the published search chose another than USUAL_NET
    tuned_lrs: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 4e-3)  # what `tune` tries, from the middle outwards
    tuned_all: bool = False  # all of them, as of rates that a user listed; else as far as the best one's neighbours
    tuned_weight_decays: tuple[float, ...] = (0.05, 0.2)  # the first with every rate, the others with the best one
    weight_decay: float = 0.05
    warmup_epochs: float
    schedule: str | None = None  # None: what trials have, as all that is None here
    beta2: float | None = None
    label_smoothing: float = 0.1
    augment: str
    train_images: int | None = None  # of a procedural data set
    latency_sizes: tuple[int | str, ...]  # of images with patch size 1, where tokens are pixels
    latency_elements: int  # numbers in the mixer's input tensor; the batch follows from it
    rounds: int
    compiled_sizes: tuple[int | str, ...] = ()  # of the sweep, timed compiled too, as the net of the main size then is
    precisions: tuple[str, ...] = ("float32",)  # of latency on a GPU
    threads: int | None = None  # on a CPU; None: all cores
    tokenizer: str | None = None  # of text
    gain_of: Mapping[str, float] = field(default_factory=dict)  # of text, where it is not 1


PROFILES: dict[tuple[str, str], Profile] = {
    ("quick", "constellations"): Profile(
        image_size=16,
        patch_size=2,
        extra_sizes=(),  # at 24 px and more nothing is learned in this budget: results/experiments.md
        dim=32,
        depth=2,
        seeds=(0, 1, 2),
        epochs=2,
        batch_size=32,
        lr=8e-3,
        tuned_lrs=QUICK_TUNED_LRS,
        warmup_epochs=0.2,
        label_smoothing=0.0,
        augment="none",
        train_images=6_500,
        latency_sizes=QUICK_LATENCY_SIZES,
        latency_elements=2**18,
        rounds=4,
        threads=1,  # a net this small is slower on two, which wait for each other
    ),
    ("quick", "cifar100"): Profile(
        image_size=32,
        patch_size=4,
        extra_sizes=(),
        dim=64,
        depth=4,
        seeds=(0, 1, 2),
        epochs=5,
        batch_size=64,
        lr=8e-3,
        lr_of={
            "afno": 2e-2,
            "attention": 3e-3,
            "fft_real_2d": 2e-2,
            "gmlp": 3e-3,
            "hybrid_top": 3e-3,
            "linear": 3e-3,
            "linear_attention": 3e-3,
            "mlp_mixer": 3e-3,
            "performer": 3e-3,
        },
        net_of={
            "attention": ("token", "none"),
            "conv1x1": ("image", "sine"),
            "fft_complex": ("image", "sine"),
            "fft_real": ("image", "sine"),
        },
        tuned_lrs=QUICK_TUNED_LRS,
        warmup_epochs=0.5,
        augment="none",  # five epochs of a small net underfit: results/experiments.md
        latency_sizes=QUICK_LATENCY_SIZES,
        latency_elements=2**18,
        rounds=4,
    ),
    ("full", "cifar100"): Profile(
        image_size=32,
        patch_size=4,
        extra_sizes=(16, 48, 64),
        dim=192,
        depth=8,
        seeds=(0, 1, 2),
        epochs=100,
        batch_size=256,
        lr=2e-3,
        warmup_epochs=5,
        augment="strong",
        latency_sizes=FULL_LATENCY_SIZES,
        latency_elements=2**26,
        rounds=7,
        compiled_sizes=(64,),  # a net takes up to a minute to compile, once for each way that it is timed
        precisions=("float32", "bfloat16"),
    ),
}
PROFILES["quick", "mosaics"] = dataclasses.replace(
    PROFILES["quick", "constellations"], patch_size=4, epochs=4, batch_size=64, warmup_epochs=0.4, train_images=14_000
)
PROFILES |= {
    ("full", name): dataclasses.replace(
        PROFILES["full", "cifar100"],
        epochs=20,
        warmup_epochs=1,
        label_smoothing=0.0,
        augment="none",
        train_images=50_000,
    )
    for name in ("constellations", "mosaics")
}
USUAL_LENGTHS = (32, 64)  # of the quick and of the full profile, tokens
LENGTHS = {  # where they are others
    **dict.fromkeys(("pathfinder", "pathfinder_middle", "pathfinder_easy"), (1024, 1024)),
    **dict.fromkeys(("pixels", "pixels100"), (256, 1024)),
    "listops": (128, 2048),
    "imdb": (512, 4096),
    "pairs": (512, 1024),
    "retrieval": (1024, 4096),
}
_SEQUENCES = {
    "quick": Profile(
        dim=64,
        depth=2,
        seeds=(0, 1, 2),
        epochs=3,
        batch_size=64,
        lr=3e-3,
        tuned_lrs=QUICK_TUNED_LRS,
        warmup_epochs=0.3,
        label_smoothing=0.0,
        augment="none",
        train_images=20_000,
        latency_sizes=(128, 512, 2048),
        latency_elements=2**18,
        rounds=4,
        threads=1,
    ),
    "full": Profile(
        dim=128,
        depth=4,
        seeds=(0, 1, 2),
        epochs=20,
        batch_size=256,
        lr=1e-3,
        warmup_epochs=1,
        label_smoothing=0.0,
        augment="none",
        train_images=100_000,
        latency_sizes=(512, 1024, 2048, 4096, 8192, 16384),
        latency_elements=2**24,
        rounds=7,
        precisions=("float32", "bfloat16"),
    ),
}
PROFILES |= {
    (name, dataset): dataclasses.replace(
        _SEQUENCES[name],
        length=length,
        train_images=_SEQUENCES[name].train_images if info.procedural else None,
    )
    for dataset, info in DATASETS.items()
    if info.task != "text" and "length" in TASKS[info.task].sizes
    for name, length in zip(("quick", "full"), LENGTHS.get(dataset, USUAL_LENGTHS), strict=True)
}


_TEXT = {
    "quick": Profile(
        length=64,
        dim=128,
        depth=2,
        seeds=(0,),
        epochs=8,
        batch_size=32,
        lr=2e-3,
        tuned_lrs=(5e-4, 1e-3, 2e-3, 4e-3),
        weight_decay=0.01,
        warmup_epochs=0.8,
        schedule="linear",
        beta2=0.98,
        label_smoothing=0.0,
        augment="none",
        train_images=4_096,
        latency_sizes=(64, 128, 256, 512),
        latency_elements=2**18,
        rounds=4,
        threads=1,
        tokenizer="bytes",
        gain_of={"dct": 90.0, "hadamard": 90.0, "linear_fnet": 8.0},
    ),
    "full": Profile(
        length=128,
        dim=256,
        depth=4,
        seeds=(0,),
        epochs=20,
        batch_size=512,
        lr=1e-3,
        tuned_lrs=(5e-4, 1e-3, 2e-3),
        weight_decay=0.01,
        warmup_epochs=1,
        schedule="linear",
        beta2=0.98,
        label_smoothing=0.0,
        augment="none",
        train_images=65_536,
        latency_sizes=(128, 256, 512, 1024, 2048),
        latency_elements=2**24,
        rounds=7,
        precisions=("float32", "bfloat16"),
        tokenizer="bpe-8192",
    ),
}
RATES_FROM = "glue:sst2"  # whose sweep serves all tasks on passages that have none of their own
# of a task on passages, from a net that was pre-trained in the same profile
_ON_PASSAGES: dict[str, dict[str, Any]] = {
    "quick": {"epochs": 3, "lr": 5e-4, "batch_size": 32},
    "full": {"epochs": 3, "lr": 2e-4, "batch_size": 64},
}
PROFILES |= {(name, PRETRAIN): profile for name, profile in _TEXT.items()}
PROFILES |= {
    (name, dataset): dataclasses.replace(
        _TEXT[name], warmup_epochs=0.3, train_images=None, tuned_lrs=(1e-4, 2e-4, 5e-4, 1e-3), **own
    )
    for dataset, info in DATASETS.items()
    if info.task == "text" and dataset != PRETRAIN
    for name, own in _ON_PASSAGES.items()
}


def _of_lra(dataset: str, setting: lra.Setting) -> Profile:
    """One of Long Range Arena's settings, in epochs of what is trained on."""
    drawn = lra.DRAWN.get(dataset)
    examples = DATASETS[dataset].train_images or round(0.9 * (drawn or 0))
    an_epoch = examples / setting.batch_size  # steps
    return dataclasses.replace(
        _SEQUENCES["full"],
        length=setting.length,
        dim=setting.dim,
        depth=setting.depth,
        epochs=max(1, round(setting.steps / an_epoch)),
        batch_size=setting.batch_size,
        lr=setting.lr,
        tuned_lrs=tuple(setting.lr * factor for factor in (0.25, 0.5, 1, 2, 4)),
        weight_decay=setting.weight_decay,
        warmup_epochs=setting.warmup / an_epoch,
        schedule=setting.schedule,
        beta2=setting.beta2,
        train_images=drawn,
    )


PROFILES |= {(name, dataset): _of_lra(dataset, setting) for (name, dataset), setting in lra.SETTINGS.items()}
# the rates of CIFAR-100, the nearest that was searched; a sweep of one's own replaces them
PROFILES |= {(name, "cifar10"): PROFILES[name, "cifar100"] for name in ("quick", "full")}

USUAL_SIDE, USUAL_IMAGES = 64, 10_000  # of data that are not at hand
PASSES = {"quick": 225_000, "full": 4_500_000}  # images that a net sees in training, as on CIFAR-100
EPOCHS = {"quick": (5, 50), "full": (20, 300)}
WARMUP_SHARE = {"quick": 0.1, "full": 0.05}  # of the epochs
LEAST_BATCHES = 8  # an epoch
FEW = 10_000  # training images, below which a quick run sees each so often that it needs augmentation


def profile_of(profile: str, dataset: str) -> Profile:
    """The settings of a profile on a data set; on the user's own, those of CIFAR-100 fitted to their size and number.

    Raises:
        UserError: there is no such data set, or the profile has no numbers for it.
    """
    known = PROFILES.get((profile, dataset))
    if known is not None:
        return known
    if profile in lra.NAMES:
        has = ", ".join(name for of, name in lra.SETTINGS if of == profile)
        raise UserError(
            f"--profile is {profile}, which has no numbers for {dataset}, only for {has}; type quick or full"
        )
    info = facts_of(dataset)
    if info is None:
        return fitted(profile, USUAL_SIDE, USUAL_IMAGES, ("none",))
    return fitted(profile, info.native_size or USUAL_SIDE, info.train_images or USUAL_IMAGES, info.augment_levels)


def fitted(profile: str, side: int, images: int, augment_levels: tuple[str, ...]) -> Profile:
    """A profile for images of any size and number.

    32, 64 or 128 px, the nearest to the median of the shorter sides; a quick net has 64 tokens at each of them, a full
    one 64 or 256. As many passes over the images as on CIFAR-100, within limits.
    """
    usual = PROFILES[profile, "cifar100"]
    size = 32 if side < 48 else 64 if side < 96 else 128
    patch = size // 8 if profile == "quick" or size == 32 else size // 16
    low, high = EPOCHS[profile]
    epochs = min(max(round(PASSES[profile] / max(1, images)), low), high)
    batch = usual.batch_size
    while batch > 8 and images < LEAST_BATCHES * batch:
        batch //= 2
    wanted = usual.augment if profile == "full" or images >= FEW else "light"
    return dataclasses.replace(
        usual,
        image_size=size,
        patch_size=patch,
        extra_sizes=(),
        epochs=epochs,
        batch_size=batch,
        warmup_epochs=WARMUP_SHARE[profile] * epochs,
        augment=wanted if wanted in augment_levels else augment_levels[-1],
    )
