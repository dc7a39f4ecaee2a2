"""The constructive half: a transform that the winner designs, and one that is learned once and frozen.

Designed: from the DCT, rotations of two random rows by a random angle, each kept where the winner moves to the better
side; every orthogonal matrix of the DCT's determinant can be reached so. Learned: `LearnedOrthogonal` trained by the
study's own recipe with a seed that no comparison uses, on the training split without its held-out part; the matrices of
its layers are then fixed, and a net with them is trained anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import safetensors.torch
from numpy.typing import NDArray

from benchmarks.contract.errors import UserError
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Request
from benchmarks.studies.transforms.matrices import DECIMALS, SIDE, dct, on_grid
from benchmarks.studies.transforms.measure import Trainer, member_of, template, write_matrix
from benchmarks.studies.transforms.predictors import PREDICTORS
from benchmarks.studies.transforms.record import COVARIANCE, FOLDER, MATRICES, Member, Study, prediction
from benchmarks.tasks.task import build_net
from mixers.registry import mixer_entry

STEPS, ANGLE, DESIGN_SEED = 30_000, 0.5, 9  # rotations tried, their standard deviation in radians
LEARN_SEED = 100
LEARNED = "benchmarks.studies.transforms.learned:LearnedOrthogonal"
FAMILY = "designed"
THE_SAME_FOR_ALL = ("rank", "condition")  # of orthogonal matrices


def add_designed(study: Study, trainer: Trainer) -> Study:
    """The study with the designed transform, where the winner can design one, and the learned one, ready to be trained.

    Raises:
        UserError: the study has made no choice yet.
    """
    if study.choice is None:
        raise UserError("--design needs the winner; run transforms without it to its end first")
    results = trainer.request.results
    designs = study.choice.wins and study.choice.predictor not in THE_SAME_FOR_ALL
    made = [_designed(study, results)] if designs else []
    learned = learned_member(study, trainer)
    for member in [*made, *([learned] if learned else [])]:
        study = study.with_member(member)
    study.save(results)
    return study


def design(predictor: str, sign: float, covariance: NDArray[np.float64], steps: int = STEPS) -> NDArray[np.float64]:
    """An orthogonal matrix (256, 256) with a higher value of a predictor than the DCT, or a lower one.

    Args:
        predictor: of `PREDICTORS`.
        sign: 1 for higher, -1 for lower.
        covariance: of the tokens.
        steps: rotations tried.

    Raises:
        UserError: the predictor is the same for all orthogonal matrices.
    """
    if predictor in THE_SAME_FOR_ALL:
        raise UserError(f"every orthogonal matrix has the same {predictor}; there is nothing to design")
    compute, grid = PREDICTORS[predictor].compute, (SIDE, SIDE)
    generator = np.random.default_rng(DESIGN_SEED)
    matrix = on_grid(dct(SIDE))
    best = sign * compute(matrix, covariance, grid)
    for _ in range(steps):
        pair = generator.choice(len(matrix), 2, replace=False)
        angle = generator.normal(0, ANGLE)
        before = matrix[pair].copy()
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix[pair] = turn @ before
        value = sign * compute(matrix, covariance, grid)
        if value > best:
            best = value
        else:
            matrix[pair] = before
    return matrix


def _designed(study: Study, results: Path) -> Member:
    assert study.choice is not None
    winner = next(row for row in study.choice.correlations if row.predictor == study.choice.predictor)
    path = results / FOLDER / MATRICES / f"designed_{winner.predictor}.npy"
    covariance = np.load(results / FOLDER / COVARIANCE, allow_pickle=False).astype(np.float64)
    if not path.exists():
        write_matrix(path, design(winner.predictor, np.sign(winner.rho), covariance).round(DECIMALS))
    text = f"orthogonal, from the DCT, designed by {PREDICTORS[winner.predictor].label}"
    made = member_of(path, "designed", FAMILY, text, covariance, study.grid)
    return dataclasses.replace(made, predicted=prediction(study.choice, made))


def learned_member(study: Study, trainer: Trainer) -> Member | None:
    """None where its training did not end."""
    request = trainer.request
    trial = learning_trial(request)
    paths = [request.results / FOLDER / MATRICES / f"learned_{i + 1}.npy" for i in range(trial.depth)]
    if not all(path.exists() for path in paths):
        trainer.train([trial])
        weights = trainer.runner.checkpoints / f"accuracy-{trial.id()}.safetensors"
        if not weights.exists():
            return None
        for path, matrix in zip(paths, learned_matrices(trial, weights), strict=True):
            write_matrix(path, matrix.round(DECIMALS))
    entries = [mixer_entry(str(path)) for path in paths]
    source = hashlib.sha256("".join(str(entry.source) for entry in entries).encode()).hexdigest()
    mixer = "+".join(entry.name for entry in entries)
    text = "orthogonal, learned from the DCT on, a matrix a layer, then fixed"
    return Member(
        name="learned", role="designed", family=FAMILY, text=text, mixer=mixer, source=source, predictors=None
    )


def learning_trial(request: Request) -> Trial:
    """The run that learns the matrices."""
    entry = mixer_entry(LEARNED)
    return dataclasses.replace(template(request), mixer=entry.name, mixer_source=entry.source, seed=LEARN_SEED)


def learned_matrices(trial: Trial, weights: Path) -> list[NDArray[np.float64]]:
    """The matrix of each layer, (N, N), from the weights of a net of `LearnedOrthogonal`."""
    net = build_net(trial)
    net.load_state_dict(safetensors.torch.load_file(weights))
    return [mixer.double().matrix.detach().numpy() for mixer in net.mixers]
