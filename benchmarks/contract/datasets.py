"""What is known of a data set before it is read; every list of data sets derives from here."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contract.errors import UserError, nearest

# what says how large an input is, by task: fields of a trial that this task's trials have, and no others do
TASK_SIZES = {"images": ("image_size", "patch_size"), "sequences": ("length",)}
SIZES = tuple(name for names in TASK_SIZES.values() for name in names)


@dataclass(frozen=True)
class DatasetInfo:
    """The facts of one data set.

    Attributes:
        name: as in a trial.
        num_classes: of the images.
        mean: per channel, on [0, 1].
        std: as mean.
        native_size: pixels a side; None: drawn at any size.
        train_images: without the held-out part; None: the trial says.
        val_images: the held-out part; None: a share of what the trial says.
        test_images: of the test split.
        augment_levels: those that leave an image its class.
        procedural: drawn by a program, from no files.
        task: of TASK_SIZES; the file of benchmarks/tasks that says how it is trained on.
    """

    name: str
    num_classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    native_size: int | None
    train_images: int | None
    val_images: int | None
    test_images: int
    augment_levels: tuple[str, ...]
    procedural: bool = False
    task: str = "images"

    @property
    def prediction_dtype(self) -> str:
        """In which a file keeps one predicted class an example: the smallest unsigned integer that holds them all."""
        return next(f"uint{bits}" for bits in (8, 16, 32, 64) if self.num_classes <= 2**bits)


DATASETS = {
    "cifar100": DatasetInfo(
        name="cifar100",
        num_classes=100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        native_size=32,
        train_images=45_000,
        val_images=5_000,
        test_images=10_000,
        augment_levels=("none", "light", "strong"),
    ),
    # a mirrored arrangement is another class, and a crop can lose a dot
    "constellations": DatasetInfo(
        name="constellations",
        num_classes=10,
        mean=(0.51, 0.51, 0.51),
        std=(0.071, 0.071, 0.071),
        native_size=None,
        train_images=None,
        val_images=None,
        test_images=2_000,
        augment_levels=("none",),
        procedural=True,
    ),
    # a crop can lose a domino, and a shifted one lies across cells
    "mosaics": DatasetInfo(
        name="mosaics",
        num_classes=10,
        mean=(0.4785, 0.4785, 0.4785),
        std=(0.235, 0.235, 0.235),
        native_size=None,
        train_images=None,
        val_images=None,
        test_images=4_000,
        augment_levels=("none",),
        procedural=True,
    ),
}


def info_of(dataset: str) -> DatasetInfo:
    """The facts of a data set by its name in a trial.

    Raises:
        UserError: nothing is known of it.
    """
    if dataset not in DATASETS:
        raise UserError(f"--dataset is {dataset!r}; allowed: {', '.join(DATASETS)}.{nearest(dataset, DATASETS)}")
    return DATASETS[dataset]
