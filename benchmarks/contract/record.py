"""What was measured: one strict JSON file a trial, written whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.processor import kind_of
from benchmarks.contract.schema import check_record
from benchmarks.contract.trial import Trial

SCHEMA_VERSION = 1
STATUSES = ("ok", "unsupported", "oom", "diverged", "timeout", "error")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

log = logging.getLogger(__name__)
COMMIT_VARIABLE = "TOKEN_MIXERS_COMMIT"  # for a copy without its .git folder
SETTINGS = ("MALLOC_", "OMP_")  # beginnings of the environment variables that a record names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One measured trial. A metric that could not be measured is None and `status` and `reason` say why."""

    id: str
    kind: str
    status: str
    reason: str | None
    trial: Trial
    metrics: dict[str, float | int | str | None]
    history: list[dict[str, Any]]  # accuracy: a row an epoch; latency: a row a round
    environment: dict[str, Any]
    code: dict[str, Any]
    started: str
    ended: str
    schema_version: int = SCHEMA_VERSION

    @property
    def file_name(self) -> str:
        return f"{self.kind}-{self.id}.json"

    @property
    def failed(self) -> bool:
        """Whether it says nothing of what was asked. That a mixer has no form, or no room to be timed, is an answer."""
        return self.status not in ("ok", "unsupported") and not (self.status == "oom" and KINDS[self.kind].timed)

    def save(self, folder: Path) -> Path:
        """Writes the record into `folder` (made if missing), in place of an earlier one with the same id.

        Raises:
            UserError: it is not what the schema allows.
        """
        content = content_of(self)
        check_record(content)
        return write_json(folder / self.file_name, content | {"checksum": checksum(content)}, indent=1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads one record.

        Raises:
            UserError: the file is no record of this schema version, or was changed after it was written.
        """
        with one_line_errors(path, "record"):
            content = read_json(path, SCHEMA_VERSION)
            check_record(content)
            written = content.pop("checksum", None)
            if written is not None and written != checksum(content):
                raise UserError("its checksum is not that of its content: it was changed after it was written")
            record = cls(**content | {"trial": Trial.from_dict(content["trial"])})
        if record.file_name != path.name or record.trial.kind != record.kind:
            raise UserError(f"{path.name} is not what it says it is ({record.kind}, {record.status}, {record.id})")
        return record


def content_of(record: Any) -> dict[str, Any]:
    """What goes into the file of a record, a dataclass with a trial: JSON values alone, the schema version first."""
    content = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    content["trial"] = record.trial.to_dict()
    content = {"schema_version": content.pop("schema_version"), **content}
    return json.loads(json.dumps(without_nan(content), allow_nan=False))


def checksum(content: dict[str, Any]) -> str:
    """16 hexadecimal digits that change with every value, whatever the file's white space."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write_json(path: Path, content: dict[str, Any], indent: int | None = None) -> Path:
    """Writes strict JSON, whole or not at all."""
    text = json.dumps(content, indent=indent, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode() + b"\n")
    return path


def read_json(path: Path, schema_version: int) -> dict[str, Any]:
    """The content of a record's file.

    Raises:
        ValueError: it is no strict JSON object, or one of another schema version.
        OSError: it cannot be read.
    """
    content = strict_json(path)
    if "schema_version" not in content:
        raise UserError("it has no schema_version")
    if content["schema_version"] != schema_version:
        raise UserError(f"schema version {content['schema_version']}, this code reads {schema_version}")
    return content


def strict_json(path: Path) -> dict[str, Any]:
    """The object in a file of strict JSON.

    Raises:
        ValueError: it is none.
        OSError: it cannot be read.
    """
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    if not isinstance(content, dict):
        raise UserError("it is no JSON object")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


@contextlib.contextmanager
def one_line_errors(path: Path, what: str) -> Iterator[None]:
    """Whatever a file's content makes go wrong is one line that names the file and the remedy."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = " ".join(str(error).split())[:500] or type(error).__name__
        raise UserError(f"{path.name} is not a readable {what} ({why}); move it out of the folder") from error


def load_records(folder: Path, pattern: str = "*.json") -> list[Record]:
    """The records of a results folder, or of its `records/`, in the order of their file names.

    A file that is no record is named in the log and left out.

    Args:
        pattern: of the file names to read.

    Raises:
        UserError: the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; --results names the folder that holds records/")
    if (folder / "records").is_dir():
        folder = folder / "records"
    records = []
    for name in sorted(path.name for path in folder.glob(pattern)):
        try:
            records.append(Record.load(folder / name))
        except UserError as error:
            log.warning("left out: %s", error)
    return records


def set_aside(path: Path) -> Path | None:
    """Moves a file that is not what its name says into `set-aside/` beside it; None where another process has."""
    folder = path.parent / "set-aside"
    folder.mkdir(exist_ok=True)
    names = (path.name if n == 0 else f"{path.name}.{n}" for n in itertools.count())
    target = next(folder / name for name in names if not (folder / name).exists())
    try:
        return path.rename(target)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def atomic_write(path: Path, durable: bool = True) -> Iterator[Any]:
    """Opens a temporary file beside `path` for bytes and renames it onto `path` once it is safely on the disk.

    Args:
        durable: wait for the disk; without, a reader still never sees half a file.

    Raises:
        UserError: there is no room for it; what was there before is still there.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        if durable:
            _fsync_folder(path.parent)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise UserError(
                f"{path} cannot be written ({os.strerror(error.errno)}); make room there and type the same command "
                "again, which goes on from here"
            ) from error
        raise


def write_text(path: Path, text: str) -> Path:
    """Writes a text in UTF-8, whole or not at all; returns its path."""
    with atomic_write(path) as file:
        file.write(text.encode())
    return path


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """The same of several texts by the names of their files, in their order."""
    return [write_text(folder / name, text) for name, text in texts.items()]


def _fsync_folder(folder: Path) -> None:
    """Makes a rename in the folder outlast a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def without_nan(value: Any) -> Any:
    """The same value with None for every float that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_name(environment: dict[str, Any]) -> str:
    """One machine in words, as captions and file names tell machines apart.

    The processor, or the GPU; how many cores were free for a run says little, and the threads it used are in its trial.
    """
    return str(environment["cpu"] if environment["device"] == "cpu" else environment["device"])


def processor_kind(environment: dict[str, Any]) -> str | None:
    """The kind of processor that did the work; None on a GPU, and in records that do not say."""
    return kind_of(environment.get("processor")) if environment["device"] == "cpu" else None


def machine_key(environment: dict[str, Any]) -> str:
    """What a latency depends on besides the trial: two runs with one key may share times."""
    words = [machine_name(environment), environment["torch"], processor_kind(environment)]
    return hashlib.sha256("|".join(filter(None, words)).encode()).hexdigest()[:8]


@functools.cache
def code_version() -> dict[str, Any]:
    """The commit of the checkout and whether it was changed.

    Without a checkout the commit is what TOKEN_MIXERS_COMMIT says, else the installed version; where there is none of
    these it is None, and `reason` says why.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no git here, or no checkout
        if Path(git("rev-parse", "--show-toplevel")).resolve() == root:
            dirty = git("status", "--porcelain", "--", "mixers", "benchmarks", "pyproject.toml")
            return {"commit": git("rev-parse", "HEAD"), "dirty": bool(dirty)}
    if given := os.environ.get(COMMIT_VARIABLE, "").strip():
        return {"commit": given[:100], "dirty": None, "reason": f"no checkout; {COMMIT_VARIABLE} says the commit"}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return {"commit": f"v{importlib.metadata.version('token-mixers')}", "dirty": False}
    reason = f"no checkout, not installed, and {COMMIT_VARIABLE} is not set"
    return {"commit": None, "dirty": None, "reason": reason}


def make_results_folder(results: Path, *rooms: str) -> None:
    """Makes the folder that a verb writes to, and rooms in it, before it measures anything.

    Raises:
        UserError: it cannot be written.
    """
    try:
        for folder in (results, *(results / room for room in rooms)):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        reason = "it is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(
            f"the results folder {results} cannot be written ({reason}); name another by {called.option('results')}"
        ) from error
