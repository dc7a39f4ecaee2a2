"""Files as their publishers made them: checked before they are read, downloaded and unpacked whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contract.errors import UserError

CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set as published."""

    name: str
    digest: str | None  # None: none is published
    algorithm: str  # of the digest: sha1 or md5
    size_bytes: int | None = None  # where the publisher says


@dataclass(frozen=True)
class Archive:
    """A data set that is published as one tar file.

    Attributes:
        title: of the data set, as people write it.
        file: the archive.
        url: where it is published.
        folder: what is in it, and lies beside it once unpacked.
        probe: a file of that folder, by which one that is whole is known.
        wanted: whether a member of the archive, by its name, is unpacked.
    """

    title: str
    file: SourceFile
    url: str
    folder: str
    probe: str
    wanted: Callable[[str], bool] = lambda name: True


def read_checked(folder: Path, file: SourceFile) -> bytes:
    """The content of a file, if it is what was published.

    Raises:
        UserError: it cannot be read, or its size or checksum is wrong.
    """
    path = folder / file.name
    advice = "replace it by the original, or move it and those beside it away to have the data set downloaded"
    try:
        size_bytes = path.stat().st_size
        if file.size_bytes is not None and size_bytes != file.size_bytes:
            raise UserError(f"{path} is damaged: {size_bytes:,} bytes, expected {file.size_bytes:,}; {advice}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; {advice}") from error
    if file.digest is None:
        return content
    digest = hashlib.new(file.algorithm, content, usedforsecurity=False).hexdigest()
    if digest != file.digest:
        name = {"sha1": "SHA-1", "md5": "MD5"}[file.algorithm]
        raise UserError(f"{path} is damaged: {name} {digest}, expected {file.digest}; {advice}")
    return content


def download(archive: Archive, data_dir: Path, absent: str, advice: str) -> None:
    """Downloads an archive through torchvision and unpacks it into `data_dir`; it appears there whole or not at all.

    An archive that lies there already is unpacked instead.

    Args:
        archive: which.
        data_dir: where its folder is to lie; made where it is missing.
        absent: what was looked for there, to tell where nothing can be had: "neither a/ nor b/".
        advice: what helps then.

    Raises:
        UserError: it cannot be downloaded, or not written, or the archive is damaged.
    """
    unpack = (data_dir / archive.file.name).is_file()
    if unpack:
        read_checked(data_dir, archive.file)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as folder:
            if not unpack:
                _fetch(archive, Path(folder))
            extract((data_dir if unpack else Path(folder)) / archive.file.name, Path(folder), archive.wanted)
            (Path(folder) / archive.folder).rename(data_dir / archive.folder)
    except Exception as error:
        if (data_dir / archive.folder / archive.probe).exists():
            return  # another process was faster
        how = f"unpacking {archive.file.name}" if unpack else "downloading it"
        raise UserError(
            f"no {archive.title}: {absent} is in {data_dir}, and {how} there "
            f"failed ({' '.join(str(error).split()) or type(error).__name__}); {advice}"
        ) from error


def _fetch(archive: Archive, folder: Path) -> None:
    import torchvision.datasets

    with (
        _socket_timeout(CONNECT_TIMEOUT_S),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        torchvision.datasets.utils.download_url(archive.url, str(folder), archive.file.name, archive.file.digest)


def extract(path: Path, folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Unpacks a tar file; a member that is no plain file or folder within `folder` is an error."""
    with tarfile.open(path) as tar:
        tar.extractall(folder, members=(member for member in tar if wanted(member.name)), filter="data")


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
