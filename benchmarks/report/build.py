"""Everything that is made from a folder of records."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS, PRETRAIN, TIMM_KINDS
from benchmarks.contract.trial import FACTS
from benchmarks.machine.collector import without_collector
from benchmarks.report.choose import best_of_settings
from benchmarks.report.claims.settled import write_settled
from benchmarks.report.claims.verdicts import Verdict, judge_groups, write_verdicts
from benchmarks.report.families import ROOT
from benchmarks.report.frame import results_frame, slug, split_groups
from benchmarks.report.page.convergence import page_sections
from benchmarks.report.page.sections import Section
from benchmarks.report.page.text import text_content
from benchmarks.report.page.write import Group, write_page
from benchmarks.report.plots.abilities import heat_map
from benchmarks.report.plots.accuracy import tradeoffs
from benchmarks.report.plots.convergence import convergence_plots
from benchmarks.report.plots.curves import learning_curves
from benchmarks.report.plots.figures import plot_style
from benchmarks.report.plots.latency import latency_plots
from benchmarks.report.plots.params import against_params
from benchmarks.report.plots.variants import by_setting, by_size
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.text_lines import FOLDER as TEXT_FOLDER
from benchmarks.report.stats.text_lines import Line, find_lines
from benchmarks.report.tables.abilities import FOLDER, Abilities, find_abilities, write_abilities
from benchmarks.report.tables.convergence_files import write_convergence
from benchmarks.report.tables.latex import latex_files
from benchmarks.report.tables.padding import write_padding
from benchmarks.report.tables.write import make_tables, table_files
from benchmarks.report.text.write import write_line

OWNED = {
    "tables": (".csv", ".md", ".tex"),
    "plots": (".png", ".svg"),
}  # what this report writes, and so what it may delete


@dataclasses.dataclass(frozen=True)
class Report:
    """What was written, in order, and what it was made from."""

    paths: list[Path]
    groups: list[Group]


def write_report(results: Path, sections: Sequence[Section] = ()) -> list[Path]:
    """As `make_report`; returns the paths written, in order."""
    return make_report(results, sections).paths


def make_report(results: Path, sections: Sequence[Section] = ()) -> Report:
    """Makes all tables, plots and the page from the records in `results`, in place of those of an earlier report.

    Records of each data set, profile and machine have folders of their own: `tables/<dataset>-<profile>/` and
    `plots/<dataset>-<profile>/`; the page, `index.html`, has a part for each. The same records make the same files byte
    for byte.

    Where a folder holds several tasks of sequences, what each mixer can do of them goes into a folder of its own,
    `sequences-<profile>`.

    Where nets were pre-trained on text or fine-tuned on its tasks, FNet's tables and plots of them go into
    `text-<profile>`.

    Where nets were padded to several lengths, what that did to each mixer is the group's table `padding`.

    What the records say to the literature's claims goes into `claims.csv` and `claims.md`. Where mixers were trained
    long, how their order held goes into `convergence.md`, and what is settled into `settled.csv` and `settled.md`.

    Args:
        sections: what others have to say on the page, at its end.

    Raises:
        UserError: there are no records, or a file among them is none.
    """
    results = Path(results)
    with without_collector():
        frame = results_frame(results)
        clear(results)
        found = gather(results, frame)
        paths: list[Path] = []
        for group, one in zip(found.groups, found.evidence, strict=True):
            tables, plots = results / "tables" / group.name, results / "plots" / group.name
            paths += table_files(group.tables, group.frame, tables)
            paths += latex_files(group.tables, group.frame, tables, one.sample)
            paths += make_plots(group.tables, group.frame, plots)
            source = f"{one.group}."
            paths += write_padding(one.sample, tables, source)
            paths += write_convergence(one, tables) + convergence_plots(one, plots)
        for ability in found.abilities:
            paths += write_abilities(ability, results) + heat_map(ability, results / "plots" / ability.folder)
        paths += [path for line in found.lines for path in write_line(line, results)]
        paths += [*write_verdicts(found.verdicts, results), *write_settled(found.evidence, results)]
        texts = found.texts(results)
        page = write_page(results, found.groups, found.abilities, texts, sections)
        for folder in own_folders(results):
            if not any(folder.iterdir()):
                folder.rmdir()
        return Report([*paths, page], found.groups)


@dataclasses.dataclass(frozen=True)
class Gathered:
    """What the records of a folder say, before anything of it is written."""

    results: Path
    groups: list[Group]
    evidence: list[Evidence]  # of each group
    abilities: list[Abilities]
    lines: list[Line]
    verdicts: list[Verdict]  # on all claims

    def texts(self, folder: Path, key: str = "text") -> list[dict[str, Any]]:
        """What a page in a folder says of text; `key` begins its ids."""
        page = folder / "index.html"
        return [text_content(self.results, page, f"{key}{i}", line, self.verdicts) for i, line in enumerate(self.lines)]


def gather(results: Path, frame: pd.DataFrame) -> Gathered:
    """Reads a folder's records into groups, tables, claims and what spans several groups; writes nothing."""
    evidence = [Evidence(group, results) for group in split_groups(frame).values()]
    groups = []
    for name, one in zip(split_groups(frame), evidence, strict=True):
        long = page_sections(one, evidence)
        verdicts = judge_groups([one], beside=evidence, on_text=False)
        groups.append(Group(name, one.frame, make_tables(one.frame, one.sample), one.sample, verdicts, long))
    abilities = find_abilities([(g.frame, g.tables) for g in groups])
    return Gathered(results, groups, evidence, abilities, find_lines(evidence), judge_groups(evidence))


def write_site(results: Path, sections: Sequence[Section] = (), repository: str = "") -> Path:
    """Writes one page of all results folders within a folder, `index.html` there; nothing else is touched.

    A folder counts that has a report: records without one are on their way to something.

    Args:
        results: the folder of results folders.
        sections: what studies have to say.
        repository: its address, for links to it and to each mixer's source.

    Raises:
        UserError: no folder in it holds records, or a file among them is none.
    """
    folders = sorted(path.parent for path in Path(results).glob("*/claims.md") if (path.parent / "records").is_dir())
    if not folders:
        wanted = called.command("report", results=Path(results) / "...")
        raise UserError(f"no folder in {results} has a report; what makes one of a folder's records: {wanted}")
    with without_collector():
        found = [gather(folder, results_frame(folder)) for folder in folders]
        groups = [dataclasses.replace(g, name=f"{one.results.name}/{g.name}") for one in found for g in one.groups]
        abilities = [ability for one in found for ability in one.abilities]
        texts = [text for one in found for text in one.texts(Path(results), one.results.name)]
        texts.sort(key=lambda text: text["title"])
        return write_page(Path(results), groups, abilities, texts, sections, repository or _way_to_code(Path(results)))


def _way_to_code(folder: Path) -> str:
    """From a folder within this repository to its root; nothing from elsewhere."""
    inside = folder.resolve().is_relative_to(ROOT) and (ROOT / "README.md").is_file()
    return Path(os.path.relpath(ROOT, folder)).as_posix() if inside else ""


def make_plots(tables: Mapping[str, pd.DataFrame], frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes every plot of a group for which there are records, as PNG and SVG; returns their paths.

    The comparison with most mixers has plots of its own; all settings stand together in `accuracy-by-setting`.
    """
    summary = tables["summary"]
    settings = best_of_settings(summary)
    with plot_style():
        paths: list[Path] = []
        for main in list(settings.values())[:1]:
            paths += tradeoffs(main, frame, folder) + against_params(main, frame, folder, "accuracy-vs-params")
            if frame["dataset"].iloc[0] != PRETRAIN:  # drawn over tokens and minutes, with the text
                paths += learning_curves(main, frame, folder, "learning-curves")
            paths += by_size(summary, frame, folder) + by_setting(settings, frame, folder, "accuracy-by-setting")
        return paths + latency_plots(tables["latency"], tables["scaling"], frame, folder)


def clear(results: Path) -> None:
    """Deletes the files of earlier reports that this one may not write again: no others.

    Folders stay until the report is written, since another command may be writing one here.
    """
    for name in ("settled.csv", "settled.md"):
        (results / name).unlink(missing_ok=True)
    for folder in own_folders(results):
        for path in folder.iterdir():
            if path.suffix in OWNED[folder.parent.name] and path.is_file():
                path.unlink(missing_ok=True)


def own_folders(results: Path) -> list[Path]:
    """The folders within a results folder that reports write."""
    profiles = "|".join(FACTS["profile"].choices)
    own = (
        rf"(?:folder|{'|'.join(TIMM_KINDS)})-.+|.+-py-.+"  # as `slug` writes the user's own data, but those of modules
    )
    datasets = "|".join((*map(slug, DATASETS), FOLDER, TEXT_FOLDER, own))
    folders = [folder for room in OWNED for folder in sorted((results / room).glob("*"))]
    named = [folder for folder in folders if re.fullmatch(rf"({datasets})-({profiles})(-.+)?", folder.name)]
    return [folder for folder in named if folder.is_dir() and not folder.is_symlink()]
