"""The study's file: its setting, every matrix with its predictors, and the choice made before the others were trained.

RESULTS/transforms/ holds `study.json`, `covariance.npy` (of the tokens), `matrices/` (a .npy file a transform) and
`records/`, which are accuracy records like all others. The report reads `study.json` and the records alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contract.record import Record, load_records, one_line_errors, read_json, without_nan, write_json
from benchmarks.contract.trial import ADDED, FIELDS, Trial
from benchmarks.report.choose import FAILED, too_many_failed
from benchmarks.studies.transforms.analysis import Choice

FOLDER = "transforms"  # in the results folder
FILE_NAME, COVARIANCE, MATRICES = "study.json", "covariance.npy", "matrices"
FILES = (f"{FOLDER}/{FILE_NAME}",)
SCHEMA_VERSION = 1
ROLES = ("development", "held back", "own", "designed")
OWN_FIELDS = ("mixer", "mixer_source", "mixer_version", "seed")  # what runs of one study differ in
MACHINE_FIELDS = ("threads",)  # and may differ in


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One transform of a study."""

    name: str
    role: str  # of ROLES
    family: str
    text: str
    mixer: str  # of its trials
    source: str  # of its trials: SHA-256 of its file
    predictors: dict[str, float] | None  # None of a net with several matrices
    predicted: list[float] | None = None  # percent, with the ends of the interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What is known but for the training runs."""

    setting: dict[str, Any]  # of all trials
    seeds: list[int]
    grid: list[int]
    covariance_images: int
    members: list[Member]
    choice: Choice | None = None
    chosen_at: str | None = None
    schema_version: int = SCHEMA_VERSION

    def role(self, *roles: str) -> list[Member]:
        return [member for member in self.members if member.role in roles]

    def with_member(self, new: Member) -> Study:
        """The same with this transform in the place of one of its name, or at the end."""
        names = [member.name for member in self.members]
        members = [new if member.name == new.name else member for member in self.members]
        return dataclasses.replace(self, members=members if new.name in names else [*members, new])

    def with_choice(self, choice: Choice, at: str) -> Study:
        """The same with a choice, and what it predicts of every transform that it was not made from."""
        members = [
            member
            if member.role == "development"
            else dataclasses.replace(member, predicted=prediction(choice, member))
            for member in self.members
        ]
        return dataclasses.replace(self, choice=choice, chosen_at=at, members=members)

    def save(self, results: Path) -> Path:
        content = dataclasses.asdict(self)
        folder = results / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return write_json(folder / FILE_NAME, without_nan(content), indent=1)

    @classmethod
    def load(cls, path: Path) -> Study:
        """Reads the file.

        Raises:
            UserError: it is no such file.
        """
        with one_line_errors(path, "study of transforms"):
            content = read_json(path, SCHEMA_VERSION)
            members = [Member(**row) for row in content["members"]]
            wrong = [member.role for member in members if member.role not in ROLES]
            if wrong:
                raise ValueError(f"role {wrong[0]!r}")
            choice = None if content["choice"] is None else Choice.from_dict(content["choice"])
            # a field that came later has the value of before in a study that does not know it
            setting = {name: ADDED.get(name) for name in FIELDS if name not in (*OWN_FIELDS, *MACHINE_FIELDS)}
            setting |= content["setting"]
            study = cls(**{**content, "members": members, "choice": choice, "setting": setting})
            _ = [study.grid[0] * study.grid[1], *map(int, study.seeds), dict(study.setting)]
        return study


def load(path: Path) -> Study:
    """As `Study.load`."""
    return Study.load(path)


def find_study(results: Path) -> Study | None:
    """The study in a results folder, None where there is none.

    Raises:
        UserError: its file cannot be read.
    """
    path = results / FOLDER / FILE_NAME
    return Study.load(path) if path.is_file() else None


def prediction(choice: Choice, member: Member) -> list[float] | None:
    """What a choice says of a transform: percent, with the ends of the 95 % interval."""
    return None if member.predictors is None else list(choice.fit.predict(member.predictors[choice.predictor]))


def setting_of(trial: Trial) -> dict[str, Any]:
    """What all trials of a study share, machine aside."""
    return {name: value for name, value in trial.to_dict().items() if name not in (*OWN_FIELDS, *MACHINE_FIELDS)}


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training gave of one transform, seed by seed."""

    by_seed: dict[int, float]  # test top-1 in percent
    failed: list[str]  # statuses of those that came to nothing
    records: list[Record]

    @property
    def seeds_done(self) -> set[int]:
        return {record.trial.seed for record in self.records}

    @property
    def counts(self) -> bool:
        return bool(self.by_seed) and not too_many_failed(len(self.by_seed), len(self.failed))

    @property
    def accuracies(self) -> list[float]:
        """By seed; none where too many failed."""
        return [self.by_seed[seed] for seed in sorted(self.by_seed)] if self.counts else []


def trained_of(study: Study, results: Path) -> dict[str, Trained]:
    """What training gave of every transform by its name, from the records of the study's setting and seeds."""
    folder = results / FOLDER / "records"
    records = load_records(folder, "accuracy-*.json") if folder.is_dir() else []
    mine = [r for r in records if setting_of(r.trial) == dict(study.setting) and r.trial.seed in study.seeds]
    return {member.name: _trained(member, mine) for member in study.members}


def _trained(member: Member, records: list[Record]) -> Trained:
    own = [r for r in records if (r.trial.mixer, r.trial.mixer_source) == (member.mixer, member.source)]
    by_seed = {r.trial.seed: float(r.metrics["test_top1_percent"] or 0) for r in own if r.status == "ok"}
    failed = [r.status for r in own if r.status in (*FAILED, "unsupported")]
    return Trained(by_seed, failed, own)


def accuracies_of(trained: Mapping[str, Trained], members: list[Member]) -> dict[str, list[float]]:
    """Test top-1 in percent by seed of each of these transforms that counts."""
    return {member.name: trained[member.name].accuracies for member in members if trained[member.name].counts}
