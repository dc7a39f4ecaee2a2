"""Studies that are published: their pages are made again, byte for byte, from their records alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import make_trial, save

from benchmarks.cli import main as cli
from benchmarks.studies import pages
from benchmarks.studies.comparison import OK, Comparison, Failed
from benchmarks.studies.crossovers.record import load as load_crossovers
from benchmarks.studies.files import made
from benchmarks.studies.peers.record import load as load_peers
from benchmarks.studies.peers.report import people
from benchmarks.studies.speed.record import SpeedRecord
from benchmarks.studies.speed.record import load as load_speed

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "results" / "published"
MADE = {  # by its record, what is made of it
    "peers-cpu/peers.json": ("peers.csv", "peers.md"),
    "cifar100-cpu/speed.json": ("speed.md",),
    "crossovers-cpu/crossovers.json": ("crossovers.md",),
    "h100/gpu-check/crossovers.json": ("gpu-check/crossovers.md",),
    "h100/gpu-check/gpu-check.json": ("gpu-check/gpu-check.md",),
    "profile-cpu/profile.json": ("profile.csv", "profile.md"),
    "cifar100-cpu/spectracles.json": ("spectracles.md", "spectracles.csv"),
    "transforms/transforms/study.json": ("transforms/transforms.csv", "transforms/transforms.md"),
}
ATLAS = "atlas/atlas/maps/atlas-17bb78a9d6394471.json"


def copy_of(record: str, folder: Path) -> Path:
    """The record alone, in a results folder of its own."""
    inside = Path(*Path(record).parts[1:])
    (folder / inside).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(PUBLISHED / record, folder / inside)
    return folder / inside


@pytest.mark.parametrize("record", MADE)
def test_published_pages_are_made_again_byte_for_byte_without_records_of_trials(record, tmp_path, capsys):
    place = copy_of(record, tmp_path)
    if place.name == "study.json":  # its own runs lie beside it
        shutil.copytree((PUBLISHED / record).parent / "records", place.parent / "records")
    assert cli.main(["report", "--results", str(tmp_path)]) == 0
    made_of = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.suffix in (".md", ".csv")}
    assert made_of == set(MADE[record])
    for name in made_of:
        assert (tmp_path / name).read_bytes() == (PUBLISHED / Path(record).parts[0] / name).read_bytes()
    assert not (tmp_path / "index.html").exists() and str(tmp_path) in capsys.readouterr().out


def test_the_published_atlas_has_its_tables_again(tmp_path):
    shutil.copytree(PUBLISHED / "atlas" / "atlas" / "maps", tmp_path / "atlas" / "maps")
    assert cli.main(["report", "--results", str(tmp_path)]) == 0
    for name in ("atlas-constellations.md", "atlas-constellations.csv"):
        assert (tmp_path / "atlas" / name).read_bytes() == (PUBLISHED / "atlas" / "atlas" / name).read_bytes()


@pytest.mark.parametrize("record", [*MADE, ATLAS])
def test_a_record_that_is_cut_short_is_one_line(record, tmp_path, capsys):
    path = copy_of(record, tmp_path)
    path.write_text(path.read_text()[:-200])
    assert cli.main(["report", "--results", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert path.name in line and "is not a readable" in line
    assert cli.main(["validate", str(tmp_path)]) == 1
    problem, count = capsys.readouterr().out.strip().splitlines()
    assert problem.startswith(f"{path.relative_to(tmp_path)}: not a readable") and count == "1 record, 1 problem"


@pytest.mark.parametrize("record", [*MADE, ATLAS])
def test_a_record_without_one_of_its_parts_is_one_line(record, tmp_path, capsys):
    """Whatever key is missing, the page is made or the line says so."""
    path = copy_of(record, tmp_path)
    content = json.loads(path.read_text())
    refused = 0
    for name in content:
        path.write_text(json.dumps({key: value for key, value in content.items() if key != name}))
        code = cli.main(["report", "--results", str(tmp_path)])
        lines = capsys.readouterr().err.strip().splitlines()
        assert (code, len(lines)) in ((0, 0), (2, 1)), name
        refused += code == 2
    assert refused


def test_every_study_is_known_and_a_page_needs_no_torch(tmp_path):
    rooms = {path.parent.name for path in (ROOT / "benchmarks" / "studies").glob("*/report.py")}
    assert rooms == set(pages.STUDIES)
    for record in MADE:
        copy_of(record, tmp_path)
    code = (
        "import sys\n"
        "from benchmarks.studies.pages import sections, write_pages\n"
        f"print(len(write_pages({str(tmp_path)!r})[0]), len(sections({str(tmp_path)!r})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "12 1 False", done.stderr


def test_records_of_today_say_mean_and_interval_and_are_read_as_they_were_written(tmp_path):
    compared = Comparison("dct", "rfft2", "1 thread", 1.0, 2.0, "ms", 0.5, None, None, 1)
    failed = Failed("dct", "fft2", "1 thread", "oom", "no | memory")
    where = {"cpu": "A CPU", "device": "cpu", "torch": "2.11.0"}
    record = SpeedRecord(environment=where, code={}, comparisons=[compared, failed], forms=[], left=["a", "b"])
    assert load_speed(record.save(tmp_path)) == record
    assert json.loads((tmp_path / "speed.json").read_text())["comparisons"][0].items() >= OK.items()
    pages.write_pages(tmp_path)
    text = (tmp_path / "speed.md").read_text()
    assert (
        "ratio (95 %)" in text and "| oom: no \\| memory | | | |" in text and text.endswith("\nNot measured: a; b.\n")
    )
    old = load_peers(PUBLISHED / "peers-cpu" / "peers.json")
    assert old.medians and "median over rounds" in people(old)
    assert len(load_crossovers(PUBLISHED / "h100" / "gpu-check" / "crossovers.json").times) == 73


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"more": 1}, "'more' is no field of Comparison"),
        ({"ours": "1"}, "ours is '1'"),
        ({"rounds": True}, "rounds is True"),
        ({"rounds": 1.5}, "rounds is 1.5"),
        ({"what": None}, "what is None"),
    ],
)
def test_a_value_of_another_type_is_named(change, says):
    row = {"what": "a", "beside": "b", "setting": "", "ours": 1, "theirs": 2.0, "unit": "ms", "ratio": 0.5}
    row |= {"ratio_low": None, "ratio_high": None, "rounds": 3}
    assert made(Comparison, row) == Comparison(**row)
    with pytest.raises(ValueError, match=says):
        made(Comparison, row | change)
    with pytest.raises(ValueError, match="a Comparison has no unit"):
        made(Comparison, {key: value for key, value in row.items() if key != "unit"})


def test_one_study_that_cannot_be_read_keeps_nothing_else_from_being_written(tmp_path, capsys):
    save(tmp_path, make_trial("accuracy", "dct"), {"test_top1_percent": 12.5})
    copy_of("peers-cpu/peers.json", tmp_path)
    (tmp_path / "profile.json").write_text('{"parts": [')
    assert cli.main(["report", "--results", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "profile.json is not a readable record" in told.err and len(told.err.splitlines()) == 1
    assert (tmp_path / "index.html").is_file() and (tmp_path / "peers.md").is_file()


def test_a_sweep_ends_with_its_page_beside_a_study_that_cannot_be_read(tmp_path, caplog):
    path = copy_of("transforms/transforms/study.json", tmp_path)
    path.write_text(path.read_text()[:-200])
    assert pages.sections(tmp_path) == []
    assert "left out of the page" in caplog.text and path.name in caplog.text
