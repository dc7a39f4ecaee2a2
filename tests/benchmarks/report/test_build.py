"""A whole report: which files it writes and clears, what it may not load, and records as a table."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from pathlib import Path

import pytest
from report_files import only, read, summary
from synthetic import HOSTILE, MACHINE, OTHER, fill, save_accuracy, save_latency

from benchmarks.contract.errors import UserError
from benchmarks.report import build
from benchmarks.report.build import write_report
from benchmarks.report.families import ROOT, mixer_family, registered_mixers
from benchmarks.report.frame import results_frame
from mixers.registry import list_mixers, mixer_entry


def test_groups_do_not_mix(tmp_path):
    for environment, top1 in ((MACHINE, 40.0), (OTHER, 60.0)):
        for seed in range(2):
            lr = 0.002 if environment is MACHINE else 0.0021  # ids of accuracy trials do not cover the machine
            save_accuracy(tmp_path, "dct", top1 + seed, seed, environment=environment, lr=lr)
    save_accuracy(tmp_path, "dct", 10.0, 0, dataset="cifar100", train_images=None)
    write_report(tmp_path)
    names = ["cifar100-quick", "constellations-quick-amd-epyc-9b14", "constellations-quick-apple-m3"]
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == names
    means = [
        [float(row["test_top1_percent_mean"]) for row in read(tmp_path / "tables" / name / "summary.csv")]
        for name in names
    ]
    assert means == [[10.0], [40.5], [60.5]]


def digests(folder: Path) -> dict[str, str]:
    made = [*folder.glob("claims.*"), *(path for room in ("tables", "plots") for path in (folder / room).rglob("*"))]
    paths = [*(path for path in made if path.is_file()), folder / "index.html"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_same_records_make_the_same_bytes_and_stale_files_go(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        for mixer in ("dct", "attention") if folder.name == "a" else ("attention", "dct"):
            save_accuracy(folder, mixer, 40.0 + len(mixer), 0)
            for size in (16, 32):
                save_latency(folder, mixer, size)
    stale = folders[1] / "plots" / "cifar100-full-old" / "old.png"
    kept = [folders[1] / "plots" / "mine" / "a.png", folders[1] / "tables" / "constellations-quick" / "notes.txt"]
    for path in (stale, *kept):
        path.parent.mkdir(parents=True)
        path.touch()
    assert {path.suffix for path in write_report(folders[0])} == {".csv", ".md", ".tex", ".png", ".svg", ".html"}
    written = write_report(folders[1])
    assert not stale.parent.exists() and all(path.exists() for path in kept)
    for path in kept:
        path.unlink()
    assert digests(folders[0]) == digests(folders[1])
    assert sorted(str(p.relative_to(folders[1])) for p in written) == sorted(digests(folders[1]))


def test_another_report_of_the_same_folder_may_begin_meanwhile(tmp_path, monkeypatch):
    save_accuracy(tmp_path, "dct", 40.0, 0)
    write_report(tmp_path)
    make_latex = build.latex_files

    def latex_files(*arguments):
        build.clear(tmp_path)
        return make_latex(*arguments)

    monkeypatch.setattr(build, "latex_files", latex_files)
    write_report(tmp_path)
    assert list((tmp_path / "tables").glob("*/summary.tex"))


def test_hostile_names(tmp_path):
    for mixer in (HOSTILE, "pkg.mod:../../etc/passwd", "file:" + "x" * 80, "$$", "dct"):
        for seed in range(2):
            save_accuracy(tmp_path, mixer, 40.0 + seed + len(mixer) / 10, seed)
        for size in (16, 32):
            save_latency(tmp_path, mixer, size)
    paths = write_report(tmp_path)
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in paths)
    text = (tmp_path / "tables" / "constellations-quick" / "summary.md").read_text(encoding="utf-8")
    assert "file:A\\$B\\_{\\|\\`&lt;b&gt;\\*" in text
    assert only(summary(tmp_path), mixer=HOSTILE)["family"] == "plug-in"


def test_load_results_is_a_row_a_record(results):
    frame = results_frame(results)
    assert len(frame) == len(list((results / "records").iterdir()))
    row = frame[(frame["mixer"] == "random") & (frame["status"] == "oom")].iloc[0]
    assert math.isnan(row["forward_ms"]) and row["tokens"] == 4096 and row["machine"] == "AMD EPYC 9B14"
    assert row["history"] == []


def test_no_records_is_one_line_that_says_what_to_type(tmp_path):
    with pytest.raises(UserError, match=r"benchmarks bench-all") as error:
        results_frame(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"benchmarks bench-all"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_suite_does_not_import_pandas():
    code = "import sys, benchmarks; print('pandas' in sys.modules); benchmarks.load_results\n"
    code += "print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


@pytest.mark.parametrize("verb", ["report", "status", "claims", "help", "reprot"])
def test_what_needs_no_torch_does_not_load_it(verb, tmp_path):
    where = ["--results", str(fill(tmp_path))] if verb in ("report", "status", "claims") else []
    code = (
        f"import sys; from benchmarks.cli.main import main; main({[verb, *where]}); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_families_are_those_of_the_registry():
    own = [mixer_entry(name) for name in list_mixers() if mixer_entry(name).cls.__module__.startswith("mixers.")]
    found = registered_mixers()
    assert {e.name: e.family for e in own} == {name: facts.family for name, facts in found.items()}
    for entry in own:
        facts = found[entry.name]
        assert entry.paper.replace(f" ({facts.url})", "") == facts.paper and "://" not in facts.paper
        assert entry.year == facts.year and facts.url in entry.paper
        line = (ROOT / facts.file).read_text(encoding="utf-8").splitlines()[facts.line - 1]
        assert line.startswith(f"class {entry.cls.__name__}(")
    assert mixer_family("attention(backend=plain)") == "attention"


def test_plug_ins_are_never_imported_for_a_report():
    assert mixer_family("antigravity:Mixer") == "plug-in"
    assert "antigravity" not in sys.modules
    assert mixer_family("2xdct+attention") == "hybrid"
