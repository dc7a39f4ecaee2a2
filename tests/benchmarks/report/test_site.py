"""One page of all results folders within a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from synthetic import PLOTTERS, save_accuracy, save_latency

from benchmarks.cli import main as cli
from benchmarks.report.build import write_report, write_site


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        for module in PLOTTERS:
            patch.setattr(f"{module}.save_figure", lambda *_: [])
        for name, mixers in (("small", ("dct", "attention")), ("large", ("dct", "attention", "conv1x1"))):
            for mixer in mixers:
                save_accuracy(place / name, mixer, 40.0 + len(mixer), 0)
                for size in (16, 32):
                    save_latency(place / name, mixer, size)
            write_report(place / name)
    save_accuracy(place / "begun", "dct", 12.0, 0)  # has no report yet
    (place / "notes").mkdir()
    return place


def content(page: Path) -> dict:
    return json.loads(page.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0])


def test_it_has_the_groups_of_every_reported_folder_and_says_what_their_own_pages_say(published):
    before = sorted(path for path in published.rglob("*") if path.is_file())
    page = write_site(published)
    assert sorted(path for path in published.rglob("*") if path.is_file()) == sorted([*before, page])
    shown = content(page)["groups"]
    assert [group["name"] for group in shown] == ["large/constellations-quick", "small/constellations-quick"]
    titles = [group["title"] for group in shown]
    assert titles[1] == f"{titles[0]}: small"  # two of one title are told apart
    for group in shown:
        folder, _, name = group["name"].partition("/")
        (own,) = content(published / folder / "index.html")["groups"]
        assert own == group | {"name": name, "title": titles[0]}
    assert page.read_bytes() == write_site(published).read_bytes()


def test_sources_are_links_where_the_repository_is_known(published, capsys):
    assert cli.main(["site", f"--results={published}", "--repository=https://github.com/me/mixers"]) == 0
    assert str(published / "index.html") in capsys.readouterr().out
    data = content(published / "index.html")
    assert data["repository"] == "https://github.com/me/mixers"
    assert data["mixers"]["dct"]["file"] == "mixers/families/separable.py" and data["mixers"]["dct"]["line"] > 1
    assert content(published / "large" / "index.html")["repository"] == ""


@pytest.mark.parametrize("address", ["github.com/me", "javascript:alert(1)", "https://a b"])
def test_what_is_no_address_is_one_line(published, capsys, address):
    assert cli.main(["site", f"--results={published}", f"--repository={address}"]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and repr(address) in told and "https://" in told


def test_a_folder_without_reports_is_one_line_that_says_what_to_type(tmp_path, capsys):
    save_accuracy(tmp_path / "begun", "dct", 12.0, 0)
    assert cli.main(["site", f"--results={tmp_path}"]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and "no folder in" in told and "report" in told
    shutil.rmtree(tmp_path / "begun")
    assert cli.main(["site", f"--results={tmp_path}"]) == 2
