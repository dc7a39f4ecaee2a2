"""Drawn examples are the same in every run, unless another draw is asked for; a failure says how to see it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DRAWING = """
from hypothesis import given, settings, strategies as st

@settings(max_examples=200)
@given(st.integers(), st.floats(allow_nan=False))
def test_draws(n, x):
    with open("drawn", "a") as file:
        file.write(f"{n} {x}\\n")
    assert n < 1000 or "fail" not in __file__
"""


def run(folder: Path, *options: str, name: str = "test_it.py") -> tuple[str, str]:
    """What was drawn in a run of its own, and what pytest said."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / name).write_text(DRAWING)
    (folder / "drawn").unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CI"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *options, name]
    environment["PYTHONPATH"] = str(folder)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    return (folder / "drawn").read_text(), done.stdout


@pytest.mark.slow
def test_two_runs_draw_the_same_and_nightly_ones_do_not(tmp_path):
    first, second = (run(tmp_path)[0] for _ in range(2))
    assert first == second and len(first.splitlines()) >= 200
    assert not (tmp_path / ".hypothesis" / "examples").exists()
    numbers = "\n".join(f"a_{n} = {n}" for n in range(10_007, 20_000, 101))
    (tmp_path / "other.py").write_text(numbers)  # a module that another test would have loaded
    assert run(tmp_path, "-p", "other")[0] == first
    nights = [run(tmp_path, "--hypothesis-profile=nightly")[0] for _ in range(2)]
    assert nights[0] != nights[1] != first
    said = run(tmp_path, "--hypothesis-profile=nightly", name="test_fails.py")[1]
    assert "@reproduce_failure(" in said
    assert "@reproduce_failure(" in run(tmp_path, name="test_fails.py")[1]


@pytest.mark.parametrize("attribute", ["derandomize", "print_blob"])
def test_the_tests_at_hand_run_so(attribute, request):
    from hypothesis import settings

    if request.config.getoption("--hypothesis-profile") is None:
        assert getattr(settings(), attribute) is True
    assert settings().deadline is None and settings().database is None
