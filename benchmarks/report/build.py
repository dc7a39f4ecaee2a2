"""Everything that is made from a folder of records."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.contract.facts.datasets import DATASETS, PRETRAIN, TIMM_KINDS
from benchmarks.contract.trial import FACTS
from benchmarks.machine.collector import without_collector
from benchmarks.report.choose import best_of_settings
from benchmarks.report.claims.settled import write_settled
from benchmarks.report.claims.verdicts import judge_groups, write_verdicts
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
from benchmarks.report.stats.text_lines import find_lines
from benchmarks.report.tables.abilities import FOLDER, find_abilities, write_abilities
from benchmarks.report.tables.convergence_files import write_convergence
from benchmarks.report.tables.latex import latex_files
from benchmarks.report.tables.padding import write_padding
from benchmarks.report.tables.write import table_files
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
        paths: list[Path] = []
        groups, evidence = [], []
        for name, group in split_groups(frame).items():
            evidence.append(Evidence(group, results))
            tables, written = table_files(group, results / "tables" / name, evidence[-1].sample)
            written += latex_files(tables, group, results / "tables" / name, evidence[-1].sample)
            paths += written + make_plots(tables, group, results / "plots" / name)
            source = f"{group.iloc[0]['dataset']}, {group.iloc[0]['profile']} profile, {group.iloc[0]['machine']}."
            paths += write_padding(evidence[-1].sample, results / "tables" / name, source)
            paths += write_convergence(evidence[-1], results / "tables" / name)
            paths += convergence_plots(evidence[-1], results / "plots" / name)
            groups.append(Group(name, group, tables, evidence[-1].sample))
        abilities = find_abilities([(g.frame, g.tables) for g in groups])
        for found in abilities:
            paths += write_abilities(found, results) + heat_map(found, results / "plots" / found.folder)
        lines = find_lines(evidence)
        paths += [path for line in lines for path in write_line(line, results)]
        verdicts = judge_groups(evidence)
        paths += [*write_verdicts(verdicts, results), *write_settled(evidence, results)]
        shown = zip(groups, evidence, strict=True)
        groups = [
            dataclasses.replace(
                group,
                long=page_sections(f"g{i}", one, evidence),
                verdicts=judge_groups([one], beside=evidence, on_text=False),
            )
            for i, (group, one) in enumerate(shown)
        ]
        texts = [text_content(results, f"text{i}", line, verdicts) for i, line in enumerate(lines)]
        return Report([*paths, write_page(results, groups, abilities, texts, sections)], groups)


def make_plots(tables: dict[str, pd.DataFrame], frame: pd.DataFrame, folder: Path) -> list[Path]:
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
    """Deletes the files of earlier reports that this one may not write again: no others."""
    for name in ("settled.csv", "settled.md"):
        (results / name).unlink(missing_ok=True)
    profiles = "|".join(FACTS["profile"].choices)
    own = (
        rf"(?:folder|{'|'.join(TIMM_KINDS)})-.+|.+-py-.+"  # as `slug` writes the user's own data, but those of modules
    )
    datasets = "|".join((*map(slug, DATASETS), FOLDER, TEXT_FOLDER, own))
    for room, endings in OWNED.items():
        for folder in sorted((results / room).glob("*")):
            if (
                folder.is_symlink()
                or not folder.is_dir()
                or not re.fullmatch(rf"({datasets})-({profiles})(-.+)?", folder.name)
            ):
                continue
            for path in folder.iterdir():
                if path.suffix in endings and path.is_file():
                    path.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
