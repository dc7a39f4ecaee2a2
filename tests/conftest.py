"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side, a core for each; read when torch is imported
    os.environ["OMP_NUM_THREADS"] = "1"

os.environ.pop("TOKEN_MIXERS_CALLED", None)  # `make gpu-check` says that it was make; tests say it themselves

import torch  # which leaves Triton alone until it is wanted

if not torch.cuda.is_available():  # Triton's kernels run in its interpreter, which is asked for when it is imported
    assert "triton" not in sys.modules
    os.environ["TRITON_INTERPRET"] = "1"

# The same drawn examples in every run, whatever the machine is at; what a test says for itself goes on top. Another
# draw each time: --hypothesis-profile=nightly. What fails prints the decorator that makes it again.
hypothesis.settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("nightly", hypothesis.settings.get_profile("steady"), derandomize=False)
hypothesis.settings.load_profile("steady")
# Hypothesis draws numbers and words too that it reads in those of our modules that are loaded by then, which is another
# set in every order of the tests; releases that do not have no such function.
with contextlib.suppress(ImportError, AttributeError):
    providers = importlib.import_module("hypothesis.internal.conjecture.providers")
    assert providers.is_local_module_file is not None
    providers.is_local_module_file = lambda path: False  # type: ignore[attr-defined]

# a shell starts what it sends to the background with interrupts ignored, and the processes of a test would inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a test sets of the suite's log, as the command line does, is not there for the next."""
    log = logging.getLogger("benchmarks")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


@pytest.fixture
def forget_plugins(monkeypatch) -> Callable[[], None]:
    """No plug-in of another test is known in this one, so that files may share a name; a call forgets its own too."""
    from mixers import registry

    def forget() -> None:
        monkeypatch.setattr(registry, "_PLUGINS", {})
        registry._load_plugin.cache_clear()

    forget()
    return forget


@pytest.fixture
def forget_datasets(monkeypatch) -> Callable[[], None]:
    """The same of the user's own data sets."""
    from benchmarks.contract.facts import datasets

    def forget() -> None:
        monkeypatch.setattr(datasets, "_FOUND", {})

    forget()
    return forget


@pytest.fixture(scope="session")
def cifar100_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the real CIFAR-100 in its official binary layout; tests that need it skip without it."""
    given = os.environ.get("TOKEN_MIXERS_CIFAR100")
    candidates = [Path(given)] if given else [ROOT / "data" / "cifar-100-binary"]
    for folder in candidates:
        for place in (folder, folder / "cifar-100-binary"):
            if (place / "train.bin").is_file() and (place / "test.bin").is_file():
                return place
    unpack = ROOT.parent / "shared" / "data" / "unpack.py"
    if not given and unpack.is_file():
        target = tmp_path_factory.mktemp("cifar100")
        subprocess.run([sys.executable, str(unpack), str(target)], check=True, capture_output=True)
        return target / "cifar-100-binary"
    pytest.skip(
        f"no CIFAR-100: no train.bin and test.bin in {given or 'data/cifar-100-binary'}; "
        "set TOKEN_MIXERS_CIFAR100 to the folder that holds them"
    )


@pytest.fixture(scope="session")
def text_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds real text, imdb/ and wikipedia/; tests that need it skip without it."""
    given = os.environ.get("TOKEN_MIXERS_TEXT")
    folder = Path(given) if given else ROOT / "data"
    if (folder / "imdb" / "train.tsv").is_file() and (folder / "wikipedia" / "wikipedia.txt").is_file():
        return folder
    unpack = ROOT.parent / "shared" / "data" / "unpack_text.py"
    if not given and unpack.is_file():
        target = tmp_path_factory.mktemp("text")
        subprocess.run([sys.executable, str(unpack), str(target)], check=True, capture_output=True)
        return target
    pytest.skip(
        f"no real text: no imdb/train.tsv and wikipedia/wikipedia.txt in {given or 'data'}; "
        "set TOKEN_MIXERS_TEXT to the folder that holds them"
    )
