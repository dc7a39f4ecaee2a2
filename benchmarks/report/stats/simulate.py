"""How the test of two mixers was chosen: false positives and power of five tests on drawn accuracies.

    python -m benchmarks.report.stats.simulate

writes `simulation.md` and `simulation.json` into results/published/statistics; the stream of random numbers is fixed.
Drawn are 26 mixers and the one that all are held against: seeds vary by what published nets vary by, test images move a
mixer's mean for all of its seeds at once, and chance over images within single runs is part of the spread over seeds.
Taken is the test with most power among those whose false positives are at most nominal everywhere.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from benchmarks.contract.record import write_texts
from benchmarks.report.wording import markdown_table

Floats = NDArray[np.float64]
Test = Callable[[Floats, NDArray[np.int64]], Floats]  # accuracies (draws, mixers, seeds), seeds a mixer -> p
MIXERS = 26  # beside the one that they are held against, which is the first
DIFFERENCES = (0.5, 1.0, 2.0)  # points, of half of them
LAYOUTS = ((3, 3), (5, 5), (8, 8), (3, 8))  # seeds of each mixer, and of the one that they are held against
LEAST_SD, USUAL_SD, MOST_SD = 0.25, 0.4, 1.1  # of a seed, points: what published nets have
EQUAL_SD = 0.75
CHANCE_SD = 0.22  # of one run, by images within it
IMAGES_SD = 0.2 / math.sqrt(2)  # of a mixer's mean, by the images that all of its runs share
NOMINAL = 0.05
SPREADS = {
    "equal": f"all {EQUAL_SD}",
    "unequal": f"drawn from {LEAST_SD} to {MOST_SD}, even in logarithm",
    "noisy reference": f"{MOST_SD} of the one held against, {USUAL_SD} of the others",
}


def draw(spread: str, layout: tuple[int, int], draws: int) -> tuple[Floats, NDArray[np.int64]]:
    """Accuracies (draws, 1 + mixers, seeds) without any difference, NaN where a mixer has no such seed."""
    random = np.random.RandomState([list(SPREADS).index(spread), *layout])  # its stream is frozen by NumPy's policy
    shape = (draws, 1 + MIXERS)
    sd = np.full(shape, EQUAL_SD)
    if spread == "unequal":
        sd = np.exp(random.uniform(math.log(LEAST_SD), math.log(MOST_SD), shape))
    elif spread == "noisy reference":
        sd[:] = USUAL_SD
        sd[:, 0] = MOST_SD
    n = np.full(1 + MIXERS, layout[0])
    n[0] = layout[1]
    of_seeds = random.normal(size=(*shape, max(layout))) * np.hypot(sd, CHANCE_SD)[:, :, None]
    accuracies = of_seeds + random.normal(0, IMAGES_SD, shape)[:, :, None]
    accuracies[:, np.arange(max(layout)) >= n[:, None]] = np.nan
    return accuracies, n


def p_values(differences: Floats, error: Floats, df: Floats) -> Floats:
    """As `compared.Comparison.p_value`, of many at once."""
    low, high = np.full(differences.shape, math.log(1e-12)), np.zeros(differences.shape)
    for _ in range(36):
        middle = (low + high) / 2
        tail = np.exp(middle) / 2
        half = np.hypot(scipy.special.stdtrit(df, tail) * error, scipy.special.ndtri(tail) * IMAGES_SD * math.sqrt(2))
        wide = half > np.abs(differences)
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    return np.asarray(np.exp(high))


def welch(accuracies: Floats, n: NDArray[np.int64], variances: Floats, df: Floats) -> Floats:
    """Two means by variances and degrees of freedom that each mixer has of its own."""
    means, parts = np.nanmean(accuracies, axis=2), variances / n
    total = parts[:, 1:] + parts[:, :1]
    joint = total**2 / (parts[:, 1:] ** 2 / df[:, 1:] + parts[:, :1] ** 2 / df[:, :1])
    return p_values(means[:, 1:] - means[:, :1], np.sqrt(total), joint)


def own(accuracies: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    variances = np.nanvar(accuracies, axis=2, ddof=1)
    return variances, np.broadcast_to(n - 1.0, variances.shape)


def pooled(accuracies: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    variances, df = own(accuracies, n)
    everything = df.sum(axis=1, keepdims=True)
    return (variances * df).sum(axis=1, keepdims=True) / everything, everything


def moderated(accuracies: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Smyth (2004): each variance drawn to a common one, as far as they are alike, with the prior's degrees added."""
    variances, df = own(accuracies, n)
    half, mixers = df / 2, variances.shape[1]
    logs = np.log(variances) - scipy.special.digamma(half) + np.log(half)
    middle = logs.mean(axis=1)
    more = logs.var(axis=1, ddof=1) - scipy.special.polygamma(1, half).mean(axis=1)
    prior_df = np.full(len(more), 1e6)  # variances as alike as chance would have them
    prior_df[more > 0] = 2 * _inverse_trigamma(more[more > 0])
    prior = np.exp(middle + scipy.special.digamma(prior_df / 2) - np.log(prior_df / 2))
    prior[more <= 0] = pooled(accuracies, n)[0][more <= 0, 0]
    drawn = (prior_df * prior)[:, None] + df * variances
    total = prior_df[:, None] + df
    return drawn / total, np.minimum(total, mixers * df.mean())


def _inverse_trigamma(values: Floats) -> Floats:
    found = 0.5 + 1 / values
    for _ in range(30):
        at = scipy.special.polygamma(1, found)
        found = found + at * (1 - at / values) / scipy.special.polygamma(2, found)
    return found


def floored(accuracies: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """As `compared.spreads`: its own where larger than the pooled one, else that."""
    (variances, df), (common, everything) = own(accuracies, n), pooled(accuracies, n)
    noisy = variances > common
    return np.where(noisy, variances, common), np.where(noisy, df, everything)


def paired(accuracies: Floats, n: NDArray[np.int64]) -> Floats:
    """Student's t of the differences, seed by seed, over the seeds that both have."""
    both = int(min(n))
    differences = accuracies[:, 1:, :both] - accuracies[:, :1, :both]
    error = differences.std(axis=2, ddof=1) / math.sqrt(both)
    return p_values(differences.mean(axis=2), error, np.full(error.shape, both - 1.0))


def plain_pooled(accuracies: Floats, n: NDArray[np.int64]) -> Floats:
    common, df = pooled(accuracies, n)
    means = np.nanmean(accuracies, axis=2)
    return p_values(means[:, 1:] - means[:, :1], np.sqrt(common * (1 / n[1:] + 1 / n[0])), df)


TESTS: dict[str, Test] = {
    "paired by seed": paired,
    "Welch": lambda y, n: welch(y, n, *own(y, n)),
    "pooled": plain_pooled,
    "moderated": lambda y, n: welch(y, n, *moderated(y, n)),
    "own or pooled": lambda y, n: welch(y, n, *floored(y, n)),
}


def corrected(p: Floats) -> Floats:
    """Holm's correction of each row."""
    order, m = np.argsort(p, axis=1), p.shape[1]
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, axis=1) * (m - np.arange(m)), axis=1)
    result = np.empty_like(p)
    np.put_along_axis(result, order, np.minimum(1, stepped), axis=1)
    return result


def simulate(draws: int) -> list[dict[str, Any]]:
    """One row per spread, layout and test: shares in percent, with the simulation's own standard error."""
    return [row for spread in SPREADS for layout in LAYOUTS for row in power_rows(spread, layout, draws)]


def power_rows(spread: str, layout: tuple[int, int], draws: int) -> list[dict[str, Any]]:
    accuracies, n = draw(spread, layout, draws)
    rows = []
    for name, test in TESTS.items():
        p = test(accuracies, n)
        alone = np.asarray((p < NOMINAL).mean(axis=1))
        any_of_them = np.asarray((corrected(p) < NOMINAL).any(axis=1))
        row = {"spread": spread, "n": layout[0], "reference_n": layout[1], "test": name}
        row |= {"false_percent": _percent(alone), "false_percent_error": _error(alone)}
        row |= {"false_holm_percent": _percent(any_of_them), "false_holm_percent_error": _error(any_of_them)}
        row |= {f"power_{d:g}_percent": _percent(_found(test, accuracies, n, d)) for d in DIFFERENCES}
        rows.append(row)
    return rows


def _found(test: Test, accuracies: Floats, n: NDArray[np.int64], difference: float) -> NDArray[np.bool_]:
    half = 1 + MIXERS // 2
    moved = accuracies.copy()
    moved[:, 1:half] += difference
    return np.asarray(corrected(test(moved, n))[:, : half - 1] < NOMINAL)


def _percent(shares: NDArray[Any]) -> float:
    return round(100 * float(shares.mean()), 2)


def _error(shares: NDArray[Any]) -> float:
    return round(100 * float(shares.std(ddof=1)) / math.sqrt(len(shares)), 2)


def taken(rows: list[dict[str, Any]]) -> str:
    """Most power, over all cells, of the tests whose false positives are at most nominal, within two errors."""
    kinds, most = ("false_percent", "false_holm_percent"), 100 * NOMINAL
    over = {row["test"] for row in rows for kind in kinds if row[kind] - 2 * row[f"{kind}_error"] > most}
    power: dict[str, float] = {}
    for row in rows:
        if row["test"] not in over:
            power[row["test"]] = power.get(row["test"], 0) + sum(row[f"power_{d:g}_percent"] for d in DIFFERENCES)
    return max(power, key=power.__getitem__)


def text(rows: list[dict[str, Any]], draws: int) -> str:
    """The table for people."""
    header = ["spread over seeds", "test", "seeds", "of the other", "false positives (%)", "of any, Holm (%)"]
    header += [f"power at {d:g} (%)" for d in DIFFERENCES]
    body = [
        [row["spread"], row["test"], str(row["n"]), str(row["reference_n"])]
        + [f"{row[kind]:.1f} ± {2 * row[f'{kind}_error']:.1f}" for kind in ("false_percent", "false_holm_percent")]
        + [f"{row[f'power_{d:g}_percent']:.1f}" for d in DIFFERENCES]
        for row in rows
    ]
    return f"""# Which test tells mixers apart

{draws:,} draws a row of {MIXERS} mixers held against one. Standard deviation of a seed, in points: {_listed()};
besides, {CHANCE_SD} by chance over images within a run and {IMAGES_SD:.2f} of a mixer's mean by the images that its
runs share. False positives: the share of comparisons without a difference with p under {NOMINAL}, and the share of
draws in which any of the {MIXERS} has p under {NOMINAL} by Holm's correction, ± two standard errors of the simulation.
Power: the share found, by Holm's correction, of {MIXERS // 2} mixers that differ by so many points. Taken, the most
power among tests whose false positives are nowhere over {100 * NOMINAL:g} % by more than two standard errors:
**{taken(rows)}**.
"own or pooled" takes the larger of a mixer's own spread and that pooled over all.
Made again by `python -m benchmarks.report.stats.simulate`.

{markdown_table(header, body, 2)}"""


def _listed() -> str:
    return "; ".join(f"{name}, {words}" for name, words in SPREADS.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report.stats.simulate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--results", type=Path, default=Path("results/published/statistics"))
    parser.add_argument("--draws", type=int, default=4000)
    given = parser.parse_args()
    if given.draws < 2:
        parser.error(f"--draws {given.draws} is too few: give 2 or more")
    rows = simulate(given.draws)
    numbers = json.dumps({"draws": given.draws, "taken": taken(rows), "rows": rows}, indent=1) + "\n"
    write_texts(given.results, {"simulation.json": numbers, "simulation.md": text(rows, given.draws)})


if __name__ == "__main__":
    main()
