"""Which code a record is of, with and without a checkout."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contract.record import COMMIT_VARIABLE, code_version

ROOT = Path(__file__).resolve().parents[3]
SAY = "import json, benchmarks.contract.record as r; print(json.dumps(r.code_version()))"
WITHOUT_METADATA = (
    "import importlib.metadata as m\ndef version(name): raise m.PackageNotFoundError(name)\nm.version = version\n"
)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The repository without its .git folder."""
    for package in ("mixers", "benchmarks"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def say(copy: Path, before: str = "", **variables: str) -> dict:

    done = subprocess.run(
        [sys.executable, "-c", before + SAY],
        cwd=copy,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_copy_says_what_the_variable_says(copy) -> None:
    code = say(copy, **{COMMIT_VARIABLE: "abc123"})
    assert code["commit"] == "abc123" and COMMIT_VARIABLE in code["reason"]


def test_a_copy_says_the_installed_version(copy) -> None:
    try:
        version = importlib.metadata.version("token-mixers")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("token-mixers is not installed here")
    assert say(copy)["commit"] == f"v{version}"


def test_what_is_not_known_has_a_reason(copy) -> None:
    code = say(copy, WITHOUT_METADATA)
    assert code["commit"] is None and COMMIT_VARIABLE in code["reason"]


def test_a_checkout_says_its_commit(monkeypatch) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    assert len(code_version()["commit"]) == 40 and "reason" not in code_version()
