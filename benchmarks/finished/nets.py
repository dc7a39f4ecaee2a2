"""Trained nets out of a results folder, ready to call: `load_net`."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.facts.datasets import PRETRAIN, DatasetInfo, facts_of, info_of, vocabulary_of
from benchmarks.contract.record import Record, load_records
from benchmarks.contract.trial import FIELDS, RECIPE_VERSION, Trial, normal_size
from benchmarks.plan.plugins import source_of, version_of
from benchmarks.tasks.task import task_for
from benchmarks.tasks.text.corpus.tokens import types_of
from benchmarks.training.train import memory_format_of
from benchmarks.training.weights import read_metadata
from mixers import MixerError
from mixers.registry import mixer_entry
from mixers.spec import parse

log = logging.getLogger(__name__)

ID = re.compile(r"[0-9a-f]{4,16}")  # or the beginning of one
LEVELS = 256  # of a uint8 pixel
MOST_NAMED = 8  # runs in one error
# what says in `make train` which net it is
TO_TYPE = (
    "dataset",
    "profile",
    "image_size",
    "patch_size",
    "length",
    "padded_length",
    "tokenizer",
    "dim",
    "depth",
    "epochs",
    "lr",
    "weight_decay",
    "seed",
)


class TrainedNet(nn.Module):
    """A trained net with what stood around it: images or tokens in, logits out.

    Attributes:
        net: the net itself, normalised float32 inputs -> logits (B, classes).
        trial: how it was trained.
        id: of its record.
        classes: their names in the order of the logits; None where the data set has none.
        mean: of the normalisation, per channel on [0, 1].
        std: as mean.
    """

    def __init__(self, net: nn.Module, trial: Trial, info: DatasetInfo) -> None:
        super().__init__()
        self.net, self.trial, self.info, self.id = net, trial, info, trial.id()
        self.classes, self.mean, self.std = info.classes, info.mean, info.std
        self._prepare = task_for(info).augment(trial, memory_format_of(net)).prepare

    def normalise(self, images: Tensor) -> Tensor:
        """Images, uint8 (B, 3, H, W) or float on [0, 1], as the net takes them, float32.

        Raises:
            UserError: they are of another shape than the net was trained on, or of another type, or float and not on
                [0, 1].
        """
        wanted = (3, *self.trial.size)
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        if not isinstance(images, Tensor) or not (images.dtype == torch.uint8 or images.is_floating_point()):
            raise UserError(f"images are {kind}; this net takes tensors of uint8, or of float on [0, 1]")
        if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
            raise UserError(
                f"images are of shape {tuple(images.shape)}; this net takes (B, {', '.join(map(str, wanted))})"
            )
        if not images.is_floating_point():
            return self._prepare(images)
        if len(images) and not 0 <= float(images.min()) <= float(images.max()) <= 1:
            raise UserError(
                "float images are not on [0, 1]; divide them by 255, or give uint8; .net takes normalised ones"
            )
        return self._prepare(images * (LEVELS - 1))

    def checked(self, tokens: Tensor) -> Tensor:
        """Tokens of a sequence, whole numbers (B, N), or (B, 2, N) of two documents, as the net takes them, int64.

        Raises:
            UserError: they are of another shape or type, or not in the vocabulary; 0 is padding.
        """
        towers, length, vocabulary = self.info.towers, self.trial.length or 1, self.vocabulary
        wanted = (length,) if towers == 1 else (towers, length)
        if not isinstance(tokens, Tensor) or tokens.is_floating_point() or tuple(tokens.shape[1:]) != wanted:
            given = f"{tokens.dtype} {tuple(tokens.shape)}" if isinstance(tokens, Tensor) else type(tokens).__name__
            shape = ", ".join(map(str, ("B", *wanted)))
            raise UserError(f"tokens are {given}; this net takes whole numbers ({shape}), shorter ones padded with 0")
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
            raise UserError(f"tokens are {int(tokens.min())} to {int(tokens.max())}; allowed: 0 to {vocabulary - 1}")
        return self._prepare(tokens)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return vocabulary_of(self.trial.tokenizer) if self.trial.tokenizer else self.info.vocabulary or 1

    def forward(self, images: Tensor) -> Tensor:
        """Images, uint8 (B, 3, H, W) or float on [0, 1] -> logits, float32 (B, classes), in the trial's precision.

        Of a sequence or a text tokens (B, N), to logits (B, classes), or (B, N, classes) where each token has a class;
        of a pre-trained net, (B, N, vocabulary) of what may stand at each place.
        """
        inputs = self.normalise(images) if self.info.task == "images" else self.checked(images)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.trial.precision == "bfloat16"):
            output = (filled_in(self.net, inputs) if self.info.name == PRETRAIN else self.net(inputs)).float()
        return output[:, : images.shape[-1]] if self.info.per_token else output  # none of what was filled up


def filled_in(net: Any, tokens: Tensor, at: Tensor | None = None) -> Tensor:
    """What a pre-trained net says may stand at some places of (B, N) tokens: logits (B, K, vocabulary).

    Args:
        net: of the task `pretrain`.
        tokens: int64.
        at: the places, int64 (B, K); None for all of them.
    """
    return net.encoder.predict(net.encoder(tokens, types_of(tokens), at))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A training run that may be the one that is asked for."""

    trial: Trial
    weights: Path
    info: DatasetInfo | None  # from the file of weights; None of an old one
    record: Record | None = None
    stranger: str = ""  # the id of the net whose weights are in the file instead

    @property
    def id(self) -> str:
        return self.trial.id()


def load_net(
    folder: Path | str, net: str, *, device: str | torch.device = "cpu", mixer: str | None = None, **choose: Any
) -> TrainedNet:
    """The net of a training run, weights loaded, in evaluation mode.

    >>> from benchmarks import load_net
    >>> net = load_net("results", "dct", seed=0)  # doctest: +SKIP
    >>> net(images).argmax(1)  # doctest: +SKIP

    Args:
        folder: of the results; weights are in its `checkpoints/`.
        net: a mixer as in the trials, the id of a record, or the beginning of one, 4 digits or more.
        device: where the net is needed.
        mixer: of a net with a plug-in the place of it, "path/to/file.py:MyMixer".
        choose: fields of the trial, where several runs fit: `seed=0`, `epochs=5`.

    Raises:
        UserError: there is no such run, or several; or it failed, or its weights are not here, or not readable; or its
            mixer is a plug-in that is not given, or another one by now; or the device is not here.
    """
    folder = Path(folder)
    chosen = _choose(_candidates(folder), folder, net, choose)
    if chosen.record is not None and chosen.record.status != "ok":
        raise UserError(
            f"{_name(chosen)} has no trained net, its run ended as {chosen.record.status}: {chosen.record.reason}"
        )
    if not chosen.weights.is_file():
        raise UserError(
            f"the weights of {_name(chosen)} are not in {chosen.weights.parent}; train it again, into another folder: "
            f"{_train_command(chosen.trial, folder.with_name(f'{folder.name}-again'))}"
        )
    if chosen.stranger:
        raise UserError(f"{chosen.weights} holds the net of another run, {chosen.stranger}; give it back its name")
    trial = chosen.trial
    _check_mixer(trial, mixer)
    info = chosen.info or info_of(trial.dataset)
    try:
        built = task_for(info).net(trial)
        built.load_state_dict(safetensors.torch.load_file(chosen.weights))
    except (OSError, ImportError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{chosen.weights} does not fit the net of its trial ({why})") from error
    try:
        return TrainedNet(built, trial, info).to(device).eval()
    except (RuntimeError, AssertionError) as error:  # AssertionError: PyTorch without CUDA
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"device is {device}, which cannot be used here ({why}); device='cpu' works anywhere"
        ) from error


def _candidates(folder: Path) -> list[Candidate]:
    """Every training run of a folder, those too of which there are weights and no record."""
    found = {record.id: record for record in load_records(folder, "accuracy-*.json")}
    places = {path.stem.partition("-")[2]: path for path in (folder / "checkpoints").glob("accuracy-*.safetensors")}
    candidates = []
    for name in sorted(found.keys() | places.keys()):
        record, path = found.get(name), folder / "checkpoints" / f"accuracy-{name}.safetensors"
        told = _told(path) if name in places else None
        if record is not None and told is not None and told[0].id() != name:
            candidates.append(Candidate(record.trial, path, None, record, stranger=told[0].id()))
        elif told is not None and told[0].id() == name:
            candidates.append(Candidate(told[0], path, told[1], record))
        elif record is not None:
            candidates.append(Candidate(record.trial, path, None, record))
    return candidates


def _told(path: Path) -> tuple[Trial, DatasetInfo] | None:
    """What a file of weights says of itself; None of one that cannot be read, of which only who asks for it hears."""
    try:
        content = read_metadata(path)
        return None if content is None else (Trial.from_dict(content["trial"]), own_data_of(content))
    except (KeyError, TypeError, ValueError) as error:
        log.debug("%s: %s", path, error)
        return None


def own_data_of(content: dict[str, Any]) -> DatasetInfo:
    """The facts of the data set that a net was trained on, whether or not it is here."""
    facts = content["dataset"] | {"mean": tuple(content["dataset"]["mean"]), "std": tuple(content["dataset"]["std"])}
    facts["classes"] = facts["classes"] and tuple(facts["classes"])
    try:
        known = facts_of(facts["name"])
    except UserError:  # of another release
        known = None
    if known is not None:
        return dataclasses.replace(known, **facts)
    level = content["trial"]["augment"] or "none"
    unknown: dict[str, Any] = dict.fromkeys(("native_size", "train_images", "val_images"))
    return DatasetInfo(**facts, **unknown, test_images=0, augment_levels=(level,))


def _choose(candidates: Sequence[Candidate], folder: Path, net: str, choose: dict[str, Any]) -> Candidate:
    """The one run that is meant; of several those count that have their weights."""
    for name in choose:
        if name not in FIELDS:
            raise UserError(f"a trial has no field {name!r} to choose by.{nearest(name, FIELDS)}")
    if not candidates:
        typed = called.command("train", mixer="dct", results=folder)
        raise UserError(f"{folder} holds no training runs; type {typed}")
    named = [one for one in candidates if one.trial.mixer == net]
    named = named or [one for one in candidates if ID.fullmatch(net) and one.id.startswith(net)]
    if not named:
        mixers = list(dict.fromkeys(one.trial.mixer for one in candidates))
        raise UserError(f"{folder} has no run {net!r}, mixer or id.{nearest(net, mixers)} It has: {', '.join(mixers)}")
    wanted = {name: normal_size(value) if name == "image_size" else value for name, value in choose.items()}
    fit = [one for one in named if all(getattr(one.trial, name) == value for name, value in wanted.items())]
    if not fit:
        words = ", ".join(f"{name}={value!r}" for name, value in choose.items())
        raise UserError(f"no run of {net!r} in {folder} has {words}; there are: {_listed(named)}")
    fit = [one for one in fit if one.weights.is_file()] or fit
    if len(fit) > 1:
        raise UserError(
            f"{len(fit)} runs of {folder} are {net!r}; choose by id, or by a field such as seed=0: {_listed(fit)}"
        )
    return fit[0]


def _listed(several: Sequence[Candidate]) -> str:
    """ "1a2b3c4d (seed 0), 5e6f7a8b (seed 1)"."""
    differing = [name for name in FIELDS if len({getattr(one.trial, name) for one in several}) > 1]
    words = [f"{one.id[:8]} ({', '.join(f'{n} {getattr(one.trial, n)}' for n in differing)})" for one in several]
    more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    return ", ".join(words[:MOST_NAMED]).replace(" ()", "") + more


def _name(one: Candidate) -> str:
    return f"{one.trial.mixer}, seed {one.trial.seed} ({one.id[:8]})"


def _train_command(trial: Trial, results: Path) -> str:
    given = {name: getattr(trial, name) for name in TO_TYPE if getattr(trial, name) is not None}
    given |= {} if trial.corpus is None else {"text": trial.corpus}
    return called.command("train", mixer=trial.mixer, **given, results=results)


def _check_mixer(trial: Trial, place: str | None) -> None:
    """Whether the mixers of a trial are here, and still what they were when it was trained."""
    mixer = parse(trial.mixer)
    outside = [part.name for part in mixer.mixers if part.is_outside]
    give = f"give its place: mixer='path/to/{outside[0]}'" if outside else ""
    try:
        if place is not None:
            mixer_entry(place)  # from now on known by its name without the path
        source, version = source_of(mixer), version_of(mixer)
    except MixerError as error:
        raise UserError(f"{error}; its mixer is a plug-in, {give}" if outside else str(error)) from error
    if source != trial.mixer_source:
        raise UserError(
            f"{trial.mixer} is not what it was when this net was trained (SHA-256 {_short(source)} for "
            f"{_short(trial.mixer_source)}); {give}, as it was then"
        )
    for what, now, then in (("mixer", version, trial.mixer_version), ("recipe", RECIPE_VERSION, trial.recipe_version)):
        if now != then:
            raise UserError(
                f"this net is of version {then} of its {what} ({trial.mixer}), and here is version {now}, which "
                "computes something else; use the commit that its record names"
            )


def _short(digest: str | None) -> str:
    return (digest or "none")[:8]
