"""How fast sequences are generated: `python tests/reliability/sequence_data_speed.py [SET ...]`.

Each set is drawn once on one core, with nothing kept on disk; printed are examples a second of the core's own time, so
that what else the machine does counts little, and of the clock's. `--share 0.1` draws a tenth. The exit code is 1 where
a set of which something is asked is slower than that.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable

from benchmarks.tasks.sequences import pathfinder
from benchmarks.tasks.sequences.parts.pathfinder_images import LOOKS


@dataclasses.dataclass(frozen=True)
class Set:
    """What is drawn: a function of the number of examples, how many, and how many a second there should be."""

    draw: Callable[[int], object]
    count: int
    least: float | None = None


def draw_pathfinder(size: int, paddles: int) -> Callable[[int], object]:
    return lambda count: pathfinder.draw("speed", LOOKS[size], paddles, range(count))


SETS = {
    "pathfinder-32px": Set(draw_pathfinder(32, 14), 20_000, 500),
    "pathfinder_middle-32px": Set(draw_pathfinder(32, 9), 20_000, 500),
    "pathfinder_easy-32px": Set(draw_pathfinder(32, 6), 20_000, 500),
    "pathfinder-64px": Set(draw_pathfinder(64, 14), 1_000),
    "pathfinder-128px": Set(draw_pathfinder(128, 14), 1_000),
}


def measure(asked: Set, share: float) -> tuple[int, float, float]:
    """How many were drawn, and how many a second of the core and of the clock, stamps and tables being made before."""
    count = max(2, round(asked.count * share))
    asked.draw(2)
    clock, core = time.perf_counter(), time.process_time()
    asked.draw(count)
    return count, count / (time.process_time() - core), count / (time.perf_counter() - clock)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"all, if none is named: {', '.join(SETS)}")
    parser.add_argument("--share", type=float, default=1.0, help="of the examples")
    asked = parser.parse_args()
    unknown = sorted(set(asked.sets) - set(SETS))
    if unknown:
        parser.error(f"no set {', '.join(unknown)}; there are {', '.join(SETS)}")
    slow = False
    print(f"{'set':<24}{'examples':>10}{'a core second':>15}{'a second':>10}{'asked for':>11}")
    for name in asked.sets or SETS:
        count, of_core, of_clock = measure(SETS[name], asked.share)
        least = SETS[name].least
        slow |= least is not None and of_core < least
        print(f"{name:<24}{count:>10,}{of_core:>15,.0f}{of_clock:>10,.0f}{least or '':>11}", flush=True)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
