"""README and docs as a reader meets them: short lines, a README of one screen and a bit, links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mixers import list_mixers

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("", "docs/", "results/")
PAGES = [f"{folder}{path.name}" for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.md"))]
PAGES += ["results/published/README.md"]
MADE = {"results/published/index.html"}  # by `make site`
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """Those of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_one_screen_and_a_bit():
    lines = text_of("README.md").splitlines()
    assert len(lines) <= 130 and sum(len(line.split()) for line in lines) <= 900
    assert max(map(len, lines)) <= 160


@pytest.mark.parametrize("name", PAGES)
def test_no_line_of_prose_is_long(name):
    long = [(number, len(line)) for number, line in enumerate(text_of(name).splitlines(), 1)
            if len(line) > 160 and not line.startswith("|")]  # fmt: skip
    assert not long


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in LINK.findall(re.sub(r"^```.*?^```", "", text_of(name), flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        path = ((ROOT / name).parent / place).resolve() if place else ROOT / name
        if path.relative_to(ROOT).as_posix() not in MADE:
            assert path.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{name}: {target}"


def test_every_page_of_docs_is_reached_from_the_readme():
    linked = {target.partition("#")[0] for target in LINK.findall(text_of("README.md"))}
    beyond = {f"docs/{target.partition('#')[0]}" for target in LINK.findall(text_of("docs/tasks.md"))}
    assert {name for name in PAGES if name.startswith("docs/")} <= linked | beyond


def test_the_page_of_commands_has_the_verbs_of_make_help():
    verbs = re.search(r"VERBS := ((?:.*\\\n)*.*)", text_of("Makefile"))[1].replace("\\\n", "").split()  # type: ignore[index]
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| `make ([\w-]+)", text_of("docs/commands.md"), re.MULTILINE)
    assert [verb for verb, _ in rows] == verbs and all(verb == example for verb, example in rows)


@pytest.mark.parametrize("name", [name for name in PAGES if name == "README.md" or name.startswith("docs/")])
def test_every_variable_that_is_named_is_one_of_make(name):
    known = re.search(r"VARIABLES := ((?:.*\\\n)*.*)", text_of("Makefile"))[1].split()  # type: ignore[index]
    assert set(re.findall(r"\b([A-Z][A-Z0-9_]+)=", text_of(name))) <= {*known, "ARGS", "PYTHON", "VARIABLE"}


def test_the_page_of_mixers_has_every_registered_one():
    first = "\n".join(re.findall(r"^\|([^|]*)\|", text_of("docs/mixers.md"), re.MULTILINE))
    assert set(list_mixers()) <= set(re.findall(r"`(\w+)`", first))


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("docs/upgrading.md", "CHANGELOG.md")])
def test_modules_that_are_run_exist(name):
    named = re.findall(r"python -m (benchmarks(?:\.\w+)+)", text_of(name))
    assert all((ROOT / module.replace(".", "/")).with_suffix(".py").is_file() for module in named), named
