"""Messages name the command that the reader used: make, the module, or the installed program."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli import main as cli
from benchmarks.cli.verbs import VERBS
from benchmarks.contract import called
from benchmarks.contract.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
WAYS = (called.MAKE, called.MODULE, called.INSTALLED)
WANTED = {
    called.MAKE: "train needs a mixer: make train MIXER=fft_complex (make list shows all)",
    called.MODULE: (
        "train needs a mixer: python -m benchmarks train --mixer fft_complex (python -m benchmarks list shows all)"
    ),
    called.INSTALLED: "train needs a mixer: token-mixers train --mixer fft_complex (token-mixers list shows all)",
}


@pytest.fixture
def installed(tmp_path) -> Path:
    """The program as an installer writes it."""
    path = tmp_path / "token-mixers"
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom benchmarks.__main__ import run\nsys.exit(run())\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_a_message_names_the_command_as_it_was_typed(way, installed):
    if way == called.MAKE and shutil.which("make") is None:
        pytest.skip("make is not installed")
    words = {
        called.MAKE: ["make", "train", f"PYTHON={sys.executable}"],
        called.MODULE: [sys.executable, "-m", "benchmarks", "train"],
        called.INSTALLED: [str(installed), "train"],
    }
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        words[way], cwd=ROOT, capture_output=True, text=True, check=False, env=outer | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"token-mixers: {WANTED[way]}"


@pytest.mark.parametrize(
    ("arguments", "make", "flags"),
    [
        (
            "train --rounds 4",
            "train has no use for ROUNDS=, which is for",
            "train has no use for --rounds, which is for",
        ),
        ("train --complex", "what train takes: make train ARGS=--help", "train --help"),
        ("report --results empty", "type `make bench-all`, or `make train MIXER=dct` for one run", None),
        ("cost --device cuda", "use DEVICE=cpu, or", "use --device cpu, or"),
        ("cost --device cpu --residual bfloat16", "add PRECISION=bfloat16", "add --precision bfloat16"),
        ("cost --results file", "name another by RESULTS=", "name another by --results"),
        (
            "train --mixer dct --dataset cifar100 --device cpu --data-dir empty",
            "type DATA_DIR=... for the folder that holds it, or DATASET=mosaics",
            "type --data-dir ... for the folder that holds it, or --dataset mosaics",
        ),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_what_to_type_is_in_the_readers_words(capsys, tmp_path, monkeypatch, way, arguments, make, flags):
    def no_network(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setenv(called.VARIABLE, way)
    assert cli.main(arguments.split()) == 2
    flags = flags or f"type `{way} bench-all`, or `{way} train --mixer dct` for one run"
    (line,) = capsys.readouterr().err.splitlines()
    assert (make if way == called.MAKE else flags) in line


def test_a_value_is_quoted_for_the_shell_and_for_make(monkeypatch):
    monkeypatch.setenv(called.VARIABLE, called.MAKE)
    assert called.command("train", mixer="m.py:A(b='$c')") == "make train MIXER='m.py:A(b='\"'\"'$$c'\"'\"')'"
    monkeypatch.setenv(called.VARIABLE, called.INSTALLED)
    assert called.command("cost", image_size="16,32", data_dir="a b") == (
        "token-mixers cost --image-size 16,32 --data-dir 'a b'"
    )
    assert called.option("data_dir") == "--data-dir"


def test_the_first_to_say_is_believed(monkeypatch):
    for first, then, wanted in (("bin/token-mixers", "x/__main__.py", called.INSTALLED), ("-m", "y", called.MODULE)):
        monkeypatch.setenv(called.VARIABLE, "")  # unlike delenv, this is undone after
        called.remember(first)
        called.remember(then)
        assert called.way() == wanted
    monkeypatch.setenv(called.VARIABLE, "nonsense")
    assert called.way() == called.MODULE


def refuse() -> None:
    raise UserError(called.command("train", mixer="dct"))


def test_processes_that_measure_know_too(monkeypatch):
    from benchmarks.sweep.process import OwnProcess

    process = OwnProcess()
    for way, wanted in ((called.INSTALLED, "token-mixers train --mixer dct"), (called.MAKE, "make train MIXER=dct")):
        monkeypatch.setenv(called.VARIABLE, way)
        with pytest.raises(UserError, match=wanted):
            process.call(refuse)


VARIABLES = re.search(r"VARIABLES := ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text())[1]  # type: ignore[index]
NAMED = re.compile(
    rf"\bmake ({'|'.join(map(re.escape, VERBS))}|test)\b|\b({'|'.join(re.findall('[A-Z_]+', VARIABLES))})="
)
FILES = {  # whose words go into files, which keep those of make
    "contract/facts/metrics.py", "report/claims/catalogue.py", "report/claims/catalogue_sequences.py",
    "report/claims/catalogue_text.py", "report/page/answers.py",
}  # fmt: skip
SENTENCES = {". `make gpu-check` makes this page."}


def docstrings(tree: ast.Module) -> set[int]:
    places = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef) and n.body]
    return {id(node.body[0].value) for node in places if isinstance(node.body[0], ast.Expr)}


def named_in(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = docstrings(tree)
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in known]
    return [text for text in texts if isinstance(text, str) and NAMED.search(text) and text not in SENTENCES]


def test_no_message_spells_a_command_itself():
    found = {str(p.relative_to(ROOT / "benchmarks")): named_in(p) for p in (ROOT / "benchmarks").rglob("*.py")}
    assert len(found) > 100
    assert found["report/claims/catalogue.py"] and NAMED.search("see RETRY=failed")
    assert {path: texts for path, texts in found.items() if texts and path not in FILES} == {}
