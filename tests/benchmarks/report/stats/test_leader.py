"""When a mixer is called the best, and when the answer is "too small to tell"."""

from __future__ import annotations

import pytest
from report_files import make_groups
from synthetic import make_trial, save, save_accuracy

from benchmarks.report.page.answers import answers, main_rows
from benchmarks.report.stats.leader import leader, leader_text

FIVE = {"conv1x1": 20.0, "dct": 40.0, "hadamard": 42.0, "pool": 44.0, "attention": 60.0}
NOISE = (0.1, -0.2, 0.15, -0.05)


def found(folder, means: dict[str, float], seeds: int = 4, noise: float = 1.0):
    for number, (mixer, mean) in enumerate(means.items()):
        for seed in range(seeds):
            # of another pattern for every mixer, so that differences vary too
            save_accuracy(folder, mixer, mean + noise * NOISE[(seed * (number + 1) + number) % 4], seed)
        save(folder, make_trial("latency", mixer), {"forward_ms": 1.0 + number})
    (group,) = make_groups(folder)
    rows = [row for _, row in main_rows(group.tables["summary"]).iterrows()]
    return leader(group.sample, rows), answers(group.sample, dict(group.tables), group.frame)[0].lines[0], group


def test_a_winner_is_named_where_all_differences_are_clear(tmp_path):
    won, said, _ = found(tmp_path, FIVE)
    assert (won.label, won.outcome, won.level) == ("attention", "clear", ())
    assert leader_text(won) == "attention" and said.startswith("attention, where")


def test_a_few_level_mixers_share_the_lead(tmp_path):
    won, said, _ = found(tmp_path, FIVE | {"pool": 60.0})
    assert won.outcome == "shared" and {won.label, *won.level} == {"attention", "pool"}
    assert leader_text(won).endswith("too small to tell which, n = 4 seeds")
    assert "no clear difference to" in said


@pytest.mark.parametrize(
    ("means", "seeds", "noise"),
    [
        (dict.fromkeys(FIVE, 20.0), 4, 1.0),  # as no mixing
        (FIVE | {"attention": 44.5, "pool": 44.0, "hadamard": 43.0, "dct": 42.0}, 4, 40.0),  # noisy
        (FIVE, 1, 1.0),
        (FIVE, 2, 1.0),
        (FIVE | {"conv1x1": 60.0}, 4, 1.0),  # the net without mixing is level
    ],
)
def test_until_it_is_clear_nobody_wins(tmp_path, means, seeds, noise):
    won, said, _ = found(tmp_path, means, seeds, noise)
    assert won.outcome == "open"
    for text in (leader_text(won), said):
        assert text.lower().startswith(f"too small to tell, n = {seeds} seed") and "SEED=" in text


def test_one_mixer_alone_and_none(tmp_path):
    won, _, group = found(tmp_path, {"dct": 40.0})
    assert (won.label, won.outcome) == ("dct", "alone")
    assert leader(group.sample, []) is None
