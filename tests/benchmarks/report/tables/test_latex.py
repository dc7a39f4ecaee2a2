"""Tables for a paper: what stands in them, that nothing in them means anything to LaTeX, and that LaTeX takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic import HOSTILE, fill, make_trial, save, save_accuracy

from benchmarks.report.build import clear
from benchmarks.report.frame import results_frame, split_groups
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.latex import cell_of, escaped, latex_files
from benchmarks.report.tables.write import make_tables, table_files

REASON = r"50 % of {x} & #1 at C:\a_b^2 ~ café 中 [*] `a' \"b\" --c"
FIVE = {"conv1x1": 20.0, "dct": 40.0, "hadamard": 42.0, "pool": 44.0, "attention(heads=4)": 60.0}
NOISE = (0.1, -0.2, 0.15, -0.05)


def write(folder: Path) -> dict[str, str]:
    """The .tex files of a results folder by group and name."""
    texts = {}
    for name, group in split_groups(results_frame(folder)).items():
        sample = Sample(group, folder)
        tables = make_tables(group, sample)
        table_files(tables, group, folder / "tables" / name)
        for path in latex_files(tables, group, folder / "tables" / name, sample):
            texts[f"{name}/{path.stem}"] = path.read_text(encoding="utf-8")
    return texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> dict[str, str]:
    folder = fill(tmp_path_factory.mktemp("results"))
    for seed in range(3):
        save_accuracy(folder, HOSTILE, 39.0 + seed, seed)
        save_accuracy(folder, "attention(heads=4)", 30.0 + seed, seed)
    save(folder, make_trial("accuracy", "pool"), status="error", reason=REASON)
    return write(folder)


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    return [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in lines]


def assert_takes(text: str) -> None:
    """What a compiler would complain of, as far as it can be seen without one."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%")).replace("{!}{%\n", "{!}{\n")
    opened: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    bare = re.sub(r"\\[a-zA-Z]+|\\.", "", body)
    assert bare.count("{") == bare.count("}")
    assert all(line.count("$") % 2 == 0 for line in bare.splitlines())
    words = re.sub(r"\$[^$]*\$", "", bare.replace(r"{>}{", ""))
    assert not re.search(r"[%#_^<>|\"`−±–—†≥]", words)
    assert all(ord(c) < 256 for c in body)
    for table in body.split(r"\begin{table}")[1:]:
        columns = re.search(r"\\begin\{tabular\}\{(.*)\}", table)[1]  # type: ignore[index]
        wide = len(re.sub(r"p\{[^}]*\}", "p", columns))
        assert {len(row) for row in rows_of(table)} == {wide}


def test_a_file_stands_beside_every_table(texts, tmp_path):
    folder = fill(tmp_path)
    made = write(folder)
    assert {"constellations-quick/summary", "constellations-quick/failures", "cifar100-quick/summary"} <= set(made)
    for name in made:
        assert (folder / "tables" / f"{name}.md").is_file() and (folder / "tables" / f"{name}.tex").is_file()
    assert len(list((folder / "tables").rglob("*.md"))) == len(made)
    assert write(folder) == made
    clear(folder)
    assert not [path for path in (folder / "tables").rglob("*") if path.is_file()]


def test_nothing_in_a_table_means_anything_to_latex(texts):
    for text in texts.values():
        assert_takes(text)
    with pytest.raises(AssertionError):
        assert_takes(texts["constellations-quick/summary"].replace(r"\_", "_"))
    labels = re.findall(r"\\label\{(.*?)\}", "".join(texts.values()))
    assert len(labels) == len(set(labels)) > len(texts)
    assert set(re.findall(r"\\ref\{(.*?)\}", "".join(texts.values()))) <= set(labels)


def test_intervals_failures_and_odd_names_stand_in_the_table(texts):
    text = texts["constellations-quick/summary"].split(r"\end{table}")[0]
    rows = {row[0]: row for row in rows_of(text)}
    assert re.fullmatch(r"\$40\.0 \\pm \d\.\d\$ \(3\)", rows[escaped(HOSTILE)][3])
    assert rows["fft\\_real"] and rows["attention(heads=4)"]
    assert r"error: 50 \% of \{x\} \& \#1 at C:\textbackslash{}a\_b\textasciicircum{}2" in rows["pool"][2]
    assert "café U+4E2D {[}{*}{]}" in rows["pool"][2]
    assert "diverged (the loss is not a number in epoch 2)" in rows["hadamard"][2]
    assert re.search(r"\$-\d+\.\d\$ to \$[+-]\d+\.\d\$", texts["constellations-quick/differences"])
    assert "out of memory: 1.2 GiB asked for" in texts["constellations-quick/failures"]


def test_rows_share_a_table_where_they_share_a_ranking(texts):
    tables = texts["constellations-quick/summary"].split(r"\begin{table}")[1:]
    assert [("image (px) 16" in t, "image (px) 32" in t) for t in tables] == [(True, False), (False, True)]
    assert "Top-1 is the mean over seeds" in tables[0]
    assert r"Read as Table~\ref{tab:constellations-quick-summary}." in tables[1]


@pytest.mark.parametrize(("best", "marked"), [({}, ["attention(heads=4)"]), ({"pool": 60.0}, [])])
def test_the_best_is_marked_where_the_suite_says_who_it_is(tmp_path, best, marked):
    for number, (mixer, mean) in enumerate((FIVE | best).items()):
        for seed in range(4):
            save_accuracy(tmp_path, mixer, mean + NOISE[(seed * (number + 1) + number) % 4], seed)
    text = write(tmp_path)["constellations-quick/summary"]
    assert [row[0] for row in rows_of(text) if any(r"\textbf" in cell for cell in row)] == marked
    assert ("Bold: every other mixer" in text) == bool(marked)


def test_a_long_table_goes_on_in_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.report.tables.latex.MOST_ROWS", 3)
    for number, mixer in enumerate(FIVE):
        save_accuracy(tmp_path, mixer, 30.0 + number, 0)
    text = write(tmp_path)["constellations-quick/summary"]
    assert len([row for row in rows_of(text) if "(1)" in "".join(row)]) == 5
    assert r"Table~\ref{tab:constellations-quick-summary} continued, 2 of 2." in text
    assert_takes(text)


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("33.8 ± 0.4 (3)", r"$33.8 \pm 0.4$ (3)"),
        ("−1.2 to +0.3 *", r"$-1.2$ to $+0.3$ {*}"),
        ("−1,234.5", "$-1{,}234.5$"),
        ("22.3 (21.2-23.4)", "22.3 (21.2--23.4)"),
        ("< 0.0001", "$<$ 0.0001"),
        ("45 %", r"45 \%"),
        ("1e-05", "1e-05"),
        ("–", "--"),
    ],
)
def test_numbers_are_set_as_numbers(cell, wanted):
    assert cell_of(cell, True) == wanted


@pytest.mark.skipif(
    shutil.which("pdflatex") is None and shutil.which("tectonic") is None, reason="neither pdflatex nor tectonic here"
)
def test_latex_takes_them(texts, tmp_path):
    for number, text in enumerate(texts.values()):
        (tmp_path / f"t{number}.tex").write_text(text, encoding="utf-8")
    inputs = "".join(rf"\input{{t{number}}}\clearpage" for number in range(len(texts)))
    page = rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    program = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    done = subprocess.run([*program, "page.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    if "booktabs.sty' not found" in done.stdout:
        pytest.skip("LaTeX is here, booktabs is not")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "page.pdf").stat().st_size > 10_000 and "Overfull" not in done.stdout
