"""What is known of a data set before it is read; every list of data sets derives from here.

A data set of the user's own is known once it was found, and goes by a name that says nothing of where it lies:

    folder:NAME                       a folder of images, by its own name
    torch/fashion_mnist, hfds/NAME    what timm reads, by timm's own names
    file.py:MyData, pkg.module:MyData a class in a file or module
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.facts.text_tasks import TEST, TEXT_TASKS, TRAIN


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """The facts of one task.

    Attributes:
        noun: what an example is.
        sizes: fields of a trial that say how large an input is, which trials of tasks without them do not have; a sweep
            over sizes varies the first.
        fixed: fields of a trial that are the same for all mixers, with their values.
    """

    noun: str
    sizes: tuple[str, ...] = ("length",)
    # a norm over all tokens would pass information without a mixer, and a sequence has no rows and columns
    fixed: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"norm": "token", "positions": "learned", "coordinates": False}
    )


TASKS = {
    "images": TaskInfo(noun="image", sizes=("image_size", "patch_size"), fixed={}),
    "sequences": TaskInfo(noun="sequence"),
    "text": TaskInfo(noun="passage"),
}
SIZES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.sizes))


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """The facts of one data set.

    Attributes:
        name: as in a trial.
        num_classes: of the images, or of what is asked of a sequence or of each of its tokens.
        mean: of images, per channel, on [0, 1].
        std: as mean.
        native_size: pixels a side, of the user's own images the median of the shorter ones; None: drawn at any size.
        train_images: without the held-out part; None: the trial says.
        val_images: the held-out part; None: a share of what the trial says.
        test_images: of the test split.
        augment_levels: those that leave an image its class.
        procedural: drawn by a program, from no files.
        least_size: pixels a side; below, what tells the classes apart cannot be drawn.
        classes: their names, in the order of the labels; None where they have none here.
        origin: where the user's own data lie, as typed, path and all; it is in no record.
        source: SHA-256 of the user's own data, which is the same on every machine.
        vocabulary: of sequences, the number of tokens, the padding among them.
        per_token: whether each token of a sequence has a class, not the whole.
        padded: whether sequences are shorter than the net's length.
        towers: sequences of one example, each through the net by itself.
        lengths: the allowed ones, of sequences that have no others.
        least_length: the shortest one.
        longest: the longest one, of sequences that say nothing beyond; None: any.
        masked_share: of the real tokens, that masked pre-training hides (Amos et al., 2024).
        chunked: whether an epoch is as many examples as the trial says, one such part of the whole after another.
        headline: of text, the metric that says most, without `test_`.
        task: of TASKS; the file of benchmarks/tasks that says how it is trained on.
        reader: of images, the file of benchmarks/tasks that draws or reads it; None: the one of its name.
    """

    name: str
    num_classes: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    native_size: int | None = None
    train_images: int | None = None
    val_images: int | None = None
    test_images: int
    augment_levels: tuple[str, ...] = ("none",)
    procedural: bool = False
    least_size: int = 1
    classes: tuple[str, ...] | None = None
    origin: str | None = None
    source: str | None = None
    task: str = "images"
    reader: str | None = None
    vocabulary: int | None = None
    per_token: bool = False
    padded: bool = False
    towers: int = 1
    lengths: tuple[int, ...] = ()
    least_length: int = 1
    longest: int | None = None
    masked_share: float = 0.1
    chunked: bool = False
    headline: str = "top1_percent"

    def check_length(self, length: int) -> None:
        """Refuses sequences of a length, in tokens, that this data set does not have.

        Raises:
            UserError: it has not.
        """
        if self.lengths and length not in self.lengths:
            raise UserError(f"--length is {length}; {self.name} allows {', '.join(map(str, self.lengths))}")
        if length < self.least_length:
            raise UserError(f"--length is {length}; {self.name} allows {self.least_length} tokens and more")
        if self.longest is not None and length > self.longest:
            raise UserError(f"--length is {length}; {self.name} allows {self.least_length} to {self.longest} tokens")

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuses images, (height, width) in pixels, that are too small to show their class.

        Raises:
            UserError: they are.
        """
        if min(size) < self.least_size:
            height, width = size
            allowed = f"{self.least_size} px and more a side, such as {self.least_size}"
            raise UserError(f"--image-size is {height}x{width}; {self.name} allows {allowed}")

    def check_augment(self, level: str) -> None:
        """Refuses an augmentation that changes the class of an image.

        Raises:
            UserError: it does.
        """
        if level not in self.augment_levels:
            allowed = ", ".join(self.augment_levels)
            raise UserError(
                f"--augment is {level!r}; allowed for {self.name}, where others change the class of an image: {allowed}"
            )

    @property
    def regression(self) -> bool:
        """Whether a number is asked for, not a class."""
        return self.num_classes == 1

    @property
    def prediction_dtype(self) -> str:
        """In which a file keeps one prediction an example: of classes the smallest unsigned integer that holds them."""
        if self.regression:
            return "float32"
        return next(f"uint{bits}" for bits in (8, 16, 32, 64) if self.num_classes <= 2**bits)


CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip

DATASETS = {
    "cifar100": DatasetInfo(
        name="cifar100",
        reader="cifar",
        num_classes=100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        native_size=32,
        train_images=45_000,
        val_images=5_000,
        test_images=10_000,
        augment_levels=("none", "light", "strong"),
        classes=CIFAR100_CLASSES,
    ),
    "cifar10": DatasetInfo(
        name="cifar10",
        reader="cifar",
        num_classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        native_size=32,
        train_images=45_000,
        val_images=5_000,
        test_images=10_000,
        augment_levels=("none", "light", "strong"),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
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
        least_size=16,  # below, dots would touch
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
        least_size=8,  # below, dominoes have no halves
    ),
}


SQUARES = (32 * 32, 64 * 64, 128 * 128)  # pixels of Pathfinder's images


def _sequences(
    name: str, classes: int, vocabulary: int, test: int, train: int | None = None, **facts: Any
) -> DatasetInfo:
    """Facts of a set of sequences; `train` None: drawn by a program, as many as the trial says; 0: what is found."""
    made = {"procedural": train is None, "val_images": None, "train_images": train or None}
    return DatasetInfo(
        name=name, num_classes=classes, test_images=test, task="sequences", vocabulary=vocabulary, **made | facts
    )


DATASETS |= {
    info.name: info
    for info in (
        _sequences("recall", 16, 273, 1_000, per_token=True, least_length=4),
        _sequences("match", 2, 65, 1_000, per_token=True, least_length=4, longest=128),
        _sequences("copy", 16, 19, 1_000, per_token=True, least_length=13),
        _sequences("reverse", 32, 33, 1_000, per_token=True, least_length=2),
        _sequences("first", 8, 9, 1_000, per_token=True, least_length=2),
        _sequences("sort", 16, 17, 1_000, per_token=True, least_length=4),
        _sequences("two_hop", 16, 289, 1_000, per_token=True, least_length=8),
        _sequences("listops", 10, 16, 2_000, padded=True, least_length=16),
        _sequences("pathfinder", 2, 257, 2_000, lengths=SQUARES),
        _sequences("pathfinder_middle", 2, 257, 2_000, lengths=SQUARES),
        _sequences("pathfinder_easy", 2, 257, 2_000, lengths=SQUARES),
        _sequences("imdb", 2, 257, 25_000, 22_500, padded=True, least_length=16, longest=16_384),
        _sequences("pixels", 10, 257, 10_000, 45_000, lengths=(256, 1024)),
        _sequences("pixels100", 20, 257, 10_000, 45_000, lengths=(256, 1024)),
        _sequences("pairs", 2, 257, 1_000, 0, towers=2, least_length=16, longest=4096),
        _sequences("retrieval", 2, 257, 17_437, 132_377, padded=True, towers=2, least_length=16, longest=16_384),
    )
}

# half of an image's tokens, as its neighbours tell each; 15 % of text
MASKED = {"pixels": 0.5, "pathfinder": 0.5, "imdb": 0.15, "pairs": 0.15, "retrieval": 0.15}
DATASETS |= {
    name: dataclasses.replace(info, masked_share=share)
    for name, info in DATASETS.items()
    if (share := next((share for start, share in MASKED.items() if name.startswith(start)), None))
}


def _text(
    name: str, classes: int, test: int, train: int | None = None, val: int | None = None, **facts: Any
) -> DatasetInfo:
    """Facts of a task on text; of `classes` 1 a number is asked."""
    return DatasetInfo(
        name=name, num_classes=classes, test_images=test, train_images=train, val_images=val, task="text",
        padded=True, least_length=16, longest=8192, **facts,
    )  # fmt: skip


PRETRAIN = "pretrain"
DATASETS |= {
    info.name: info
    for info in (
        # any token may be asked for; as many passages as the corpus has
        _text(PRETRAIN, 2**16, 2_000, chunked=True, per_token=True),
        _text("plays", 2, 0),
        *(
            _text(
                f"glue:{name}" if name not in ("trec", "mr") else name,
                facts.outputs,
                facts.sizes[TEST][0],
                facts.sizes[TRAIN][0] - min(facts.sizes[TRAIN][0] // 10, 2_000),
                headline={"accuracy": "top1_percent"}.get(facts.metrics[0], facts.metrics[0]),
            )
            for name, facts in TEXT_TASKS.items()
        ),
    )
}

TIMM_KINDS = ("torch", "hfds", "hfids", "tfds", "wds")  # what timm's names begin with
# no path in it, nor a character that a line or a terminal would stumble over
OWN = re.compile(
    rf"folder:(?!\.\.?$)[^/\\\x00-\x1f\x7f]{{1,200}}"
    rf"|(?:{'|'.join(TIMM_KINDS)})/[\w.-]+(?:/[\w.-]+)?"
    r"|(?!folder:)[^/\\:\x00-\x1f\x7f]{1,200}:[A-Za-z_]\w*"
)
HOW_OWN = "folder:PATH, torch/NAME and others that timm reads, or file.py:MyData"
_FOUND: dict[str, DatasetInfo] = {}  # the user's own, in this process


def is_own(dataset: str) -> bool:
    """Whether a name is that of a data set of the user's own, as records keep it."""
    return isinstance(dataset, str) and OWN.fullmatch(dataset) is not None


def add_found(info: DatasetInfo) -> DatasetInfo:
    """Makes a data set of the user's own known in this process; the latest of a name counts."""
    _FOUND[info.name] = info
    return info


def labels_file(results: Path, trial: Mapping[str, Any]) -> Path | None:
    """Where a results folder keeps the classes of a test split, so that a report needs no data; None: nowhere.

    Args:
        results: the folder.
        trial: its fields; those count on which the classes depend.
    """
    dataset, source, length = trial["dataset"], trial["dataset_source"], trial["length"]
    of_length = f"{dataset.replace(':', '-')}-{length}" + (f"-{source[:16]}" if source else "")
    if dataset == PRETRAIN:
        of_length += f"-{trial['tokenizer']}-{trial['order']}"
    elif trial.get("tokenizer") not in (None, BYTES):
        of_length += f"-{trial['tokenizer']}"
    name = of_length if length else source[:16] if source else None
    return None if name is None else results / "test_labels" / f"{name}.npy"


_CORPORA: dict[str, str] = {}  # those of the user's own, by their names in records, as typed in this process


def add_corpus(name: str, typed: str) -> None:
    """Makes known in this process where a corpus lies that records know by `name`."""
    _CORPORA[name] = typed


def typed_corpus(name: str | None) -> str | None:
    """A corpus as it would be typed, by its name in a trial."""
    return None if name is None else _CORPORA.get(name, name)


def handed_on(dataset: str, corpus: str | None = None) -> dict[str, Any] | None:
    """What another process has to know of the user's own data or text, as JSON has it; None for the suite's."""
    if corpus in _CORPORA:
        return {"corpus": [corpus, _CORPORA[corpus]]}
    info = _FOUND.get(dataset)
    return None if info is None else dataclasses.asdict(info)


def take_over(content: dict[str, Any] | None) -> None:
    """Makes known here what `handed_on` gave in another process."""
    if content is not None and "corpus" in content:
        add_corpus(*content["corpus"])
    elif content is not None:
        lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
        add_found(DatasetInfo(**content | lists))


def facts_of(dataset: str) -> DatasetInfo | None:
    """As `info_of`; None for a data set of the user's own that was not looked for in this process.

    Raises:
        UserError: there is no such data set.
    """
    if dataset in DATASETS:
        return DATASETS[dataset]
    if is_own(dataset):
        return _FOUND.get(dataset)
    raise UserError(
        f"--dataset is {dataset!r}; allowed: {', '.join(DATASETS)}; or your own: {HOW_OWN}.{nearest(dataset, DATASETS)}"
    )


def info_of(dataset: str) -> DatasetInfo:
    """The facts of a data set by its name in a trial.

    Raises:
        UserError: nothing is known of it.
    """
    info = facts_of(dataset)
    if info is None:
        where = called.option("dataset")
        raise UserError(f"{dataset} is somebody's own data, and not at hand; type {where} with the place of them")
    return info


def task_name(dataset: str) -> str:
    """The task of a data set; the user's own are images."""
    info = facts_of(dataset)
    return "images" if info is None else info.task


def fixed_of(dataset: str) -> Mapping[str, Any]:
    """Fields of a trial that are the same for all mixers on this data set, with their values."""
    return TASKS[task_name(dataset)].fixed


BYTES = "bytes"
BYTES_VOCABULARY = 261  # 256 bytes behind five special tokens
BPE = re.compile(r"bpe-([1-9]\d{2,4})")
BPE_SIZES = (300, 64_000)


def vocabulary_of(tokenizer: str) -> int:
    """How many tokens a tokenizer has, by its name in a trial.

    Raises:
        UserError: there is no such tokenizer.
    """
    if tokenizer == BYTES:
        return BYTES_VOCABULARY
    found = BPE.fullmatch(tokenizer)
    size = int(found[1]) if found else 0
    if not BPE_SIZES[0] <= size <= BPE_SIZES[1]:
        low, high = BPE_SIZES
        raise UserError(
            f"--tokenizer is {tokenizer!r}; allowed: bytes, or bpe-N with N from {low} to {high}, such as bpe-4096"
        )
    return size


def main_metric(dataset: str) -> str:
    """The metric without which a training run on a data set says nothing."""
    info = facts_of(dataset)
    return "test_spearman" if info is not None and info.regression and info.task == "text" else "test_top1_percent"


def is_procedural(dataset: str) -> bool:
    """Whether it is drawn by a program, from no files."""
    info = facts_of(dataset)
    return info is not None and info.procedural


LETTERS = {"plays": 165_937}  # that are trained on, where how many passages these are follows from their length
LETTERS_A_PAIR = 3.6  # in one token of byte-pairs, about


def training_images(dataset: str, asked: int | None, length: int | None = None, tokenizer: str | None = None) -> int:
    """How many images, sequences or passages an epoch has, about; 0 where nothing tells.

    Args:
        dataset: what is trained on.
        asked: what the trial says.
        length: tokens of a passage.
        tokenizer: what makes them of text.
    """
    info = facts_of(dataset)
    known = asked or (info and info.train_images)
    if known or dataset not in LETTERS or not length:
        return known or 0
    return round(LETTERS[dataset] / (1 if tokenizer == BYTES else LETTERS_A_PAIR) / length)
