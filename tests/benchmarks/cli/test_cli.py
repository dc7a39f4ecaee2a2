"""The command line as a user meets it: exit codes, one line for a mistake, and the whole way to tables and plots."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.contract.record import Record
from benchmarks.contract.trial import RESULTS_VERSION
from benchmarks.tasks.images import cifar

ROOT = Path(__file__).resolve().parents[3]
TINY = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1"]
WRITING = [
    "speed",
    "crossovers",
    "spectracles",
    "profile --mixer dct",
    "bench-peers",
    "train --mixer dct",
    "tune",
    "cost",
]
TINY += ["--epochs", "1", "--train-images", "300"]


def python_m(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600, **options)


def refused(capsys, *arguments: str) -> str:
    """The one line that a mistake is answered with."""
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("benchall", "Did you mean 'bench-all'?"),
        ("train", "python -m benchmarks train --mixer fft_complex"),
        ("train --mixer fft_complx", "Did you mean 'fft_complex'?"),
        ("train --mixer attention(heads=3) --dim 8", "heads"),
        ("train --mixer attention(head=2)", "Did you mean 'heads'?"),
        ("train --mixer zzz*", "no mixer matches"),
        ("train --mixer nowhere.py:M", "there is no file"),
        ("train --mixer dct --dataset cifra100", "Did you mean 'cifar100'?"),
        ("train --mixer dct --profile fast", "allowed: quick, full"),
        ("train --mixer dct --epoch 3", "Did you mean '--epochs'?"),
        ("train --BATCH_SIZE=3", "Did you mean '--batch-size'?"),
        ("train --mixer dct --results=", "allowed: the name of a folder"),
        ("train --mixer dct --data-dir=", "allowed: the name of a folder"),
        ("train --mixer dct --train-images 5", "allowed: 100 to 10000000"),
        ("report --epochs 3", "report has no use for --epochs, which is for bench-all, train, latency"),
        ("train --mixer dct --epochs 0", "allowed: 1 to"),
        ("train --mixer dct --epochs x", "is not a whole number"),
        ("train --mixer dct --lr nan", "allowed:"),
        ("train --mixer dct --lr inf", "allowed:"),
        ("train --mixer dct --lr -1", "allowed:"),
        ("train --mixer dct --seed -1", "allowed:"),
        ("train --mixer dct --seed ,", "the list is empty"),
        ("train --mixer dct --dim 9", "multiples of 8"),
        ("train --mixer dct --dim 999999999", "allowed:"),
        ("train --mixer dct --image-size 17", "patch sizes that fit: 1, 17"),
        ("train --mixer dct --image-size 0", "allowed:"),
        ("train --mixer dct --image-size 99999", "allowed:"),
        ("train --mixer dct --patch-size 3", "patch sizes that fit"),
        ("train --mixer dct --threads 0", "allowed:"),
        ("train --mixer dct --match size", "allowed: width, params, flops"),
        ("train --mixer dct --norm batch", "allowed: image, token"),
        ("train --mixer dct --augment light", "allowed for mosaics"),
        ("train --mixer dct --device cuda", "sees no GPU"),
        ("train --mixer dct --device mps", "--device is mps, but PyTorch sees no GPU with Metal here"),
        ("train --mixer dct --device tpu", "allowed: cpu, cuda, mps, xpu"),
        (f"train --mixer hadamard --image-size 18 --patch-size 1 {' '.join(TINY)}", "16 and 20"),
        *((f"{verb} --results {where}", "cannot be written") for where in ("file", "file/x") for verb in WRITING),
        ("atlas --seed 0,1", "an atlas takes one"),
        ("atlas --mixer dtc", "Did you mean"),
        ("atlas --mixer dct --results file", "cannot be written"),
        ("report --results nowhere", "nowhere"),
        ("list --mixer zzz", "no mixer matches"),
        ("latency --rounds 0", "--rounds is 0; allowed: 1 to"),
        (
            "cost --rounds 4",
            "is for bench-all, latency, crossovers, profile, bench-peers; what cost takes: python",
        ),
        ("cost --augment all", "--augment is 'all'; allowed:"),
        ("train --mixer dct stray", "no use for 'stray'"),
        ("status --mixer dct", "no use for --mixer"),
        ("validate nowhere", "is not a folder"),
    ],
)
def test_a_mistake_is_answered_in_one_line(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not a folder")
    for gpu in ("cuda", "mps"):
        monkeypatch.setattr(f"torch.{gpu}.is_available", lambda: False)
    assert says in refused(capsys, *arguments.split())


@pytest.mark.parametrize("arguments", ["train --bogus", "train --mixer nowhere.py:M"])
def test_a_mistake_is_answered_without_a_wild_guess_or_the_name_of_a_class(capsys, arguments):
    line = refused(capsys, *arguments.split())
    assert "Did you mean" not in line and "MixerError" not in line


def test_cifar100_that_is_missing_or_damaged_is_told(capsys, tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    train = ["train", "--mixer", "dct", "--dataset", "cifar100", "--device", "cpu", "--results", str(tmp_path / "r")]
    assert "--dataset mosaics" in refused(capsys, *train, "--data-dir", str(tmp_path / "empty"))
    for content in (b"<html>", b"\0" * (50_000 * cifar.RECORD_BYTES)):
        folder = tmp_path / "bad" / "cifar-100-binary"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.bin").write_bytes(content)
        (folder / "test.bin").write_bytes(content)
        assert re.search(r"(train|test)\.bin", refused(capsys, *train, "--data-dir", str(tmp_path / "bad")))


def test_a_results_folder_that_is_a_file_or_empty_is_told(capsys, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in refused(capsys, "train", "--mixer", "dct", "--results", str(tmp_path / "file"), *TINY)
    (tmp_path / "empty").mkdir()
    assert "bench-all" in refused(capsys, "report", "--results", str(tmp_path / "empty"))


def test_a_checkpoint_of_another_configuration_is_told_and_kept(capsys, tmp_path):
    command = ["train", "--mixer", "dct", "--results", str(tmp_path), *TINY]
    assert cli.main(command) == 0
    (path,) = (tmp_path / "records").glob("*.json")
    trial = Record.load(path).trial
    path.unlink()
    checkpoint = tmp_path / "checkpoints" / f"{path.stem}.pt"
    torch.save({"trial": trial.to_dict() | {"lr": 1.0}, "results_version": RESULTS_VERSION}, checkpoint)
    capsys.readouterr()
    assert f"another configuration (lr 1.0 for {trial.lr})" in refused(capsys, *command)
    assert checkpoint.exists()


def test_list_imports_nothing_heavy_beyond_torch():
    code = (
        "import sys; from benchmarks.cli.main import main; main(['list']);"
        "print([m for m in ('timm', 'torchvision', 'pandas', 'matplotlib', 'fvcore', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert "fft_complex" in done.stdout and "2021" in done.stdout


def test_verbs_in_a_process_of_their_own():
    done = python_m("tarin")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Did you mean 'train'?" in done.stderr
    done = python_m("help")
    assert done.returncode == 0 and "bench-all" in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_hands_variables_on_as_they_were_typed():
    odd = "a'b $HOME;*"
    command = ["make", "-n", "train", "MIXER=" + odd.replace("$", "$$"), "PYTHON=python3", "ARGS=--no-coordinates"]
    ours = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}  # `make test` sets some
    environment = ours | {"SEED": "from the environment"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    line = done.stdout.strip().splitlines()[-1].removeprefix("@")
    shown = subprocess.run(["bash", "-c", "printf '%s\\n' " + line], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["python3", "-m", "benchmarks", "train", f"--mixer={odd}", "--no-coordinates"]


@pytest.mark.slow
def test_bench_all_ends_with_tables_and_plots_and_does_nothing_twice(capsys, tmp_path):
    command = [
        "bench-all",
        "--mixer",
        "dct,attention",
        "--seed",
        "0",
        "--rounds",
        "1",
        "--results",
        str(tmp_path),
        *TINY,
    ]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "plan: 2 accuracy, 2 cost, 15 latency" in said and "about" in said
    written = {path.name for path in tmp_path.rglob("*") if path.parent.name == "mosaics-quick"}
    assert {"summary.md", "summary.csv", "latency.md", "scaling.md", "cost.md"} <= written
    assert {"accuracy-vs-flops.png", "latency-vs-image-size.svg", "learning-curves.png"} <= written
    records = {path: path.read_bytes() for path in (tmp_path / "records").iterdir()}
    assert cli.main(command) == 0
    assert "19 measured earlier" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (tmp_path / "records").iterdir()} == records


@pytest.mark.slow
def test_training_killed_in_the_middle_goes_on_and_ends_the_same_bit_for_bit(tmp_path):
    command = [
        *(sys.executable, "-m", "benchmarks", "train", "--mixer", "attention", *TINY),
        *("--epochs", "3", "--train-images", "3000", "--results"),
    ]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    subprocess.run([*command, str(undisturbed)], cwd=ROOT, check=True, capture_output=True)
    kills = 0
    for attempt in range(12):
        with (tmp_path / f"log-{attempt}").open("wb") as log:
            process = subprocess.Popen([*command, str(killed)], cwd=ROOT, stdout=log, stderr=log)
            seen = {path: path.stat().st_mtime_ns for path in killed.glob("checkpoints/*.pt")}
            while process.poll() is None:  # until another checkpoint is there
                now = {path: path.stat().st_mtime_ns for path in killed.glob("checkpoints/*.pt")}
                if any(seen.get(path) != when for path, when in now.items()):
                    process.kill()
                    kills += 1
                    break
                time.sleep(0.01)
            if process.wait() == 0:
                break
    assert kills >= 3
    records = [
        {r.trial.mixer: r.metrics for r in map(Record.load, folder.glob("records/*.json"))}
        for folder in (undisturbed, killed)
    ]
    assert set(records[0]) == set(records[1]) == {"attention"}, (tmp_path / f"log-{attempt}").read_text()
    for mixer, metrics in records[0].items():
        same = {
            name: value for name, value in metrics.items() if not name.endswith("_s") and name != "overhead_percent"
        }
        assert same.items() <= records[1][mixer].items(), mixer
