"""Accuracy over training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.choose import finished, runs_of
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots import baselines as plots_baselines
from benchmarks.report.plots.figures import label_room, make_figure, save_figure
from benchmarks.report.plots.labels import label_ends
from benchmarks.report.plots.style import GREY, NARROW, front_runners, mixer_style, short
from benchmarks.report.plots.words import grey_words, highest, name, of_seeds, sure
from benchmarks.report.wording import span_of

Curves = dict[str, pd.DataFrame]  # of each mixer: held-out top-1 by epoch, a column a seed


def learning_curves(rows: pd.DataFrame, frame: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """Held-out accuracy against epoch of the front runners and the references, the others grey."""
    curves = curves_of(rows, frame)
    if not curves:
        return []
    ready = finished(rows)
    shown = front_runners({label: float(curve.iloc[-1].mean()) for label, curve in curves.items()})
    missing = {r["label"]: str(r["status"]) for _, r in rows.iterrows() if r["status"] != "ok"}
    told = " Colours: families." + of_seeds(ready, " Lines: mean over seeds; bands: lowest to highest seed.")
    told = told.replace("One seed has no bar.", "One seed has no band.")
    told += grey_words(len(shown), len(curves)) + plots_baselines.told(ready[ready["label"].isin(shown)])
    texts = [short(label) for label in shown]
    figure, (axes,) = make_figure(
        NARROW,
        2.4,
        [caption(frame, ready) + told, *holes(missing)],
        title=message(curves, list(sure(rows)["label"])),
        families=ready[ready["label"].isin(shown)]["family"],
        right=[label_room([*texts, *plots_baselines.labels_of(ready)])],
    )
    pale = {row["label"]: plots_baselines.paleness(row) for row in ready.to_dict("records")}
    for label, curve in curves.items():
        if label not in shown:
            axes.plot(curve.index, curve.mean(axis=1), **GREY)
    ends = []
    for label in shown:
        curve, style = curves[label], mixer_style(label)
        mean = curve.mean(axis=1)
        if curve.shape[1] > 1:
            axes.fill_between(
                curve.index, curve.min(axis=1), curve.max(axis=1), color=style["color"], alpha=0.15, linewidth=0
            )
        axes.plot(mean.index, mean, **style, **pale[label], markevery=max(1, len(mean) // 6))
        ends.append((float(mean.index[-1]), float(mean.iloc[-1])))
    axes.margins(x=0.03)
    axes.set_xlim(axes.get_xlim())
    trivial = plots_baselines.draw_levels(axes, ready)
    axes.set_ylim(axes.get_ylim())
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch", labelpad=2)
    axes.set_ylabel(METRICS["val_top1_percent"].label)
    colours = [mixer_style(label)["color"] for label in shown]
    label_ends(axes, [*ends, *trivial[0]], [*texts, *trivial[1]], [*colours, *trivial[2]])
    return save_figure(figure, folder, plot)


def curves_of(rows: pd.DataFrame, frame: pd.DataFrame) -> Curves:
    """Of each mixer the epochs that all its seeds have."""
    trained = finished(frame, "accuracy")
    curves: Curves = {}
    for _, row in rows.iterrows():
        histories = runs_of(row, trained)["history"]
        seeds = [{int(e["epoch"]): e.get("val_top1_percent") for e in history} for history in histories]
        if seeds:
            epochs = [e for e in sorted(seeds[0]) if all(seed.get(e) is not None for seed in seeds)]
            curves[row["label"]] = pd.DataFrame([[seed[e] for seed in seeds] for e in epochs], epochs, dtype=float)
    return {label: curve for label, curve in curves.items() if len(curve)}


def message(curves: Curves, known: list[str]) -> str:
    """Who ends highest, and since when."""
    means = {label: curve.mean(axis=1) for label, curve in curves.items() if label in known}
    if not means:
        return "Held-out accuracy over training"
    last = max(int(mean.index[-1]) for mean in means.values())
    ends = {label: float(mean.iloc[-1]) for label, mean in means.items()}
    if len(means) == 1:
        ((label, end),) = ends.items()
        return f"{name(label)}: {end:.1f} % of held-out examples after {span_of([last], 'epoch')}"
    first = min(ends, key=lambda label: (-ends[label], label))
    since = last
    for epoch in sorted(means[first].index, reverse=True):
        if any(mean.get(epoch, -1.0) > means[first][epoch] for mean in means.values()):
            break
        since = int(epoch)
    text = highest(ends, [len(curve.columns) for curve in curves.values()])
    when = f"from epoch {since} on" if since < last else f"after {span_of([last], 'epoch')}"
    return f"{text} on held-out examples" + (f" {when}" if text.startswith(f"{name(first)} has ") else "")
