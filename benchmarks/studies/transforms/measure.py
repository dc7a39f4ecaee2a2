"""Trains the transforms: development first, then the choice, and only then those that it predicts.

Every run is an accuracy trial like any other, its mixer a matrix in a file, so that a run that is killed goes on from
its last epoch, and what has a record is not trained again.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import atomic_write, now
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Plan, Request
from benchmarks.studies.transforms import record
from benchmarks.studies.transforms.analysis import choose
from benchmarks.studies.transforms.matrices import HELD_BACK, SIDE, TOKENS, TRANSFORMS, matrix_of
from benchmarks.studies.transforms.predictors import predictors_of
from benchmarks.studies.transforms.record import COVARIANCE, FOLDER, MATRICES, Member, Study, find_study, trained_of
from benchmarks.sweep.budget import Budget
from benchmarks.sweep.run import Result, Runner
from benchmarks.sweep.status import write_plan
from benchmarks.tasks.images.augment import normalise
from benchmarks.tasks.task import load_data, task_of
from mixers import MixerError
from mixers.families.matrix import matrix_in, read_bytes
from mixers.registry import mixer_entry

SEEDS = (0, 1, 2, 3)
DIM, DEPTH, LR = 32, 4, 8e-3
OWN_FAMILY = "your own"
CHUNK = 5000  # images at once
NUMBER_DECIMALS = 4  # of predictors

log = logging.getLogger("benchmarks")


@dataclasses.dataclass
class Outcome:
    """What one command came to."""

    study: Study
    results: list[Result]
    left: list[Trial]


def template(request: Request) -> Trial:
    """The trial that all others are but for mixer and seed: 16 px, patch 1, the quick profile, one learning rate.

    Raises:
        UserError: a value is not allowed.
    """
    asked = request.but(
        mixer="conv1x1",
        dataset=request.dataset or "cifar100",
        profile="quick",
        image_size=(SIDE,),
        patch_size=1,
        dim=request.dim or DIM,
        depth=request.depth or DEPTH,
        lr=LR,
        seed=request.seed or SEEDS,
        threads=request.threads or 1,
        results=request.results / FOLDER / "no-sweep",  # whose choices would be others than the study's
    )
    return Plan(asked).accuracy(all_seeds=False)[0]


def open_study(request: Request) -> Study:
    """The study in the results folder, or a new one; its matrices and the covariance are then there as files.

    Raises:
        UserError: the folder holds a study of another setting or of other seeds, or the data are not there.
    """
    trial = template(request)
    covariance, images = covariance_of(trial, request.results, request.data_dir)
    found = find_study(request.results)
    if found is None:
        found = Study(
            setting=record.setting_of(trial),
            seeds=list(request.seed or SEEDS),
            grid=list(trial.grid),
            covariance_images=images,
            members=[],
        )
    _check_same(found, trial, request)
    for name in TRANSFORMS:
        found = found.with_member(_named(name, covariance, found, request.results))
    found.save(request.results)
    return found


def _check_same(study: Study, trial: Trial, request: Request) -> None:
    """Raises UserError where the study in the folder is another one."""
    mine = record.setting_of(trial)
    for name in sorted(mine.keys() | study.setting.keys()):
        if mine.get(name) != study.setting.get(name):
            there, wanted = study.setting.get(name), mine.get(name)
            raise UserError(
                f"{request.results / FOLDER} holds a study with {name} {there!r}, this one has {wanted!r}; "
                f"type {called.option('results', '...')} for another folder"
            )
    if request.seed is not None and list(request.seed) != study.seeds:
        seeds = ",".join(map(str, study.seeds))
        raise UserError(
            f"{request.results / FOLDER} holds a study of the seeds {seeds}; leave {called.option('seed')} out"
        )


def _named(name: str, covariance: NDArray[np.float64], study: Study, results: Path) -> Member:
    """A transform of the table, its file written where it is not there yet."""
    path = results / FOLDER / MATRICES / f"{name}.npy"
    if not path.exists():
        write_matrix(path, matrix_of(name, covariance))
    earlier = next((member for member in study.members if member.name == name), None)
    role = "held back" if name in HELD_BACK else "development"
    made = member_of(path, role, TRANSFORMS[name].family, TRANSFORMS[name].text, covariance, study.grid)
    if earlier is not None and earlier.source != made.source:
        raise UserError(f"{path} is not the file that its study was made with; move {results / FOLDER} away")
    return dataclasses.replace(made, predicted=None if earlier is None else earlier.predicted)


def member_of(
    path: Path, role: str, family: str, text: str, covariance: NDArray[np.float64], grid: Sequence[int]
) -> Member:
    """A transform from its file, its predictors with it.

    Raises:
        UserError: the file holds no matrix for this grid.
    """
    try:
        entry = mixer_entry(str(path))
    except MixerError as error:
        raise UserError(str(error)) from error
    matrix = np.asarray(entry.cls.values)  # type: ignore[attr-defined]
    if len(matrix) != grid[0] * grid[1]:
        raise UserError(
            f"{path.name} is {len(matrix)} x {len(matrix)}; allowed: {TOKENS} x {TOKENS}, a row a token of the grid of "
            f"{grid[0]} x {grid[1]}"
        )
    assert entry.source is not None
    numbers = predictors_of(matrix, covariance, (grid[0], grid[1]))
    # what differs by the rounding of the matrices alone is a tie
    rounded = {name: round(value, NUMBER_DECIMALS) + 0.0 for name, value in numbers.items()}
    return Member(
        name=path.stem, role=role, family=family, text=text, mixer=entry.name, source=entry.source, predictors=rounded
    )


def check_file(path: Path) -> float:
    """Holds a user's file to its name and form, before there is a study to hold it to.

    Returns:
        The root mean square norm of the matrix's rows.

    Raises:
        UserError: it is no .npy file of a matrix.
    """
    if path.suffix != ".npy" or not re.fullmatch(r"[\w.-]+", path.name):
        raise UserError(f"--matrix is {path.name!r}; allowed: a file NAME.npy, of letters, digits, - and _")
    try:
        matrix = matrix_in(path.name, read_bytes(path))
    except MixerError as error:
        raise UserError(str(error)) from error
    return float(np.sqrt((matrix**2).sum(1).mean()))


def own_member(path: Path, study: Study, results: Path) -> Member:
    """A user's matrix as a member of the study, with what the study predicts of it.

    Raises:
        UserError: the matrix is of another size, or its file is named as a transform of the study is.
    """
    if path.stem in {member.name for member in study.members if member.role != "own"}:
        raise UserError(f"--matrix is {path.name!r}, which is a transform of the study; rename the file")
    covariance = np.load(results / FOLDER / COVARIANCE, allow_pickle=False).astype(np.float64)
    made = member_of(path, "own", OWN_FAMILY, "your own matrix", covariance, study.grid)
    predicted = None if study.choice is None else record.prediction(study.choice, made)
    return dataclasses.replace(made, predicted=predicted)


def write_matrix(path: Path, matrix: NDArray[np.float64]) -> None:
    """Saves a matrix as float32, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, matrix.astype(np.float32), allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def covariance_of(trial: Trial, results: Path, data_dir: Path) -> tuple[NDArray[np.float64], int]:
    """C of the tokens and the number of images behind it, from its file or, the first time, from the training images.

    Raises:
        UserError: the file is none, or there are no data.
    """
    path = results / FOLDER / COVARIANCE
    study = find_study(results)
    if path.is_file() and study is not None:
        try:
            covariance = np.load(path, allow_pickle=False).astype(np.float64)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); move it away") from error
        if covariance.shape != (TOKENS, TOKENS):
            raise UserError(f"{path} is of shape {covariance.shape}; move it away")
        return covariance, study.covariance_images
    data, info = load_data(trial, data_dir, "cpu"), task_of(trial).info
    covariance = token_covariance(data.train.inputs, info.mean, info.std)
    write_matrix(path, covariance)
    return covariance.astype(np.float32).astype(np.float64), len(data.train.inputs)


def token_covariance(
    images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Covariance (N, N) of the tokens over images, each token less its own mean, the mean over the three channels.

    Args:
        images: uint8 (n, 3, H, W), a pixel a token; normalised as the net sees them.
        mean: per channel, on [0, 1].
        std: per channel, on [0, 1].
    """
    tokens = images.shape[2] * images.shape[3]
    total, products = torch.zeros(3, tokens, dtype=torch.float64), torch.zeros(3, tokens, tokens, dtype=torch.float64)
    for part in images.split(CHUNK):
        x = normalise(part, mean, std).double().flatten(2).transpose(0, 1)  # (3, n, N)
        total += x.sum(1)
        products += x.mT @ x
    average = total / len(images)
    return (products / len(images) - average[:, :, None] * average[:, None, :]).mean(0).numpy()


def trials_of(members: Sequence[Member], study: Study, request: Request) -> list[Trial]:
    """Seeds outermost, so that whatever has finished is a fair set."""
    base = template(request)
    return [
        dataclasses.replace(base, mixer=member.mixer, mixer_source=member.source, seed=seed)
        for seed in study.seeds
        for member in members
    ]


class Trainer:
    """Trains members of a study under one budget.

    Args:
        request: of the command.
        retry: statuses that are trained again.
        timeout_s: as of `Runner`.
        workers: as of `Runner`.
        budget: of the whole command.
    """

    def __init__(
        self,
        request: Request,
        retry: Sequence[str] = (),
        timeout_s: float | None = None,
        workers: int = 1,
        budget: Budget | None = None,
    ) -> None:
        self.request = request
        self.runner = Runner(
            request.results / FOLDER, request.data_dir, retry, timeout_s, workers=workers, budget=budget or Budget()
        )
        self.results: list[Result] = []
        self.left: list[Trial] = []

    def train(self, trials: list[Trial]) -> None:
        """What has no record yet; the outcome is added to `results` and `left`."""
        if trials:
            write_plan(self.request.results / FOLDER, trials)
            self.results += self.runner.run(trials)
            self.left += self.runner.left

    def whole_study(self, study: Study) -> Study:
        """Rules 1 to 4: development, choice, held back. The choice is made once and stays.

        Returns:
            The study as it then is; without a choice where the budget did not suffice for all of the development.
        """
        self.train(trials_of(study.role("development"), study, self.request))
        if study.choice is None:
            study = choose_now(study, self.request.results)
        if study.choice is not None:
            self.train(trials_of(study.role("held back"), study, self.request))
        return study


def choose_now(study: Study, results: Path) -> Study:
    """The study with its choice, saved, if every development run has ended and enough of them count."""
    trained = trained_of(study, results)
    development = study.role("development")
    if any(not set(study.seeds) <= trained[member.name].seeds_done for member in development):
        return study
    numbers = {member.name: member.predictors or {} for member in development}
    choice = choose(numbers, record.accuracies_of(trained, development))
    if choice is None:
        log.warning("too few development transforms were trained to choose a predictor")
        return study
    chosen = study.with_choice(choice, now())
    chosen.save(results)
    word = "wins" if choice.wins else "correlates most, not significantly: nothing predicts"
    log.info("%s %s; the held-back transforms are predicted, and trained now", choice.predictor, word)
    return chosen
