"""Others' figures hold together as they do in their sources, so that no digit is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.contract.facts.text_tasks import TEXT_TASKS
from benchmarks.report.text.literature import (
    CARD_TASKS,
    FNET_CARD,
    FNET_GLUE,
    GLUE,
    MINIATURES,
    PRETRAINING,
    READ,
    SECOND_HAND,
)
from benchmarks.tasks.text.tasks.scores import METRICS

ROWS = (*GLUE, *PRETRAINING)
BY_MODEL = {row.model: row for row in GLUE}


@pytest.mark.parametrize("row", [row for row in GLUE if row.source is FNET_GLUE], ids=lambda row: row.model)
def test_averages_of_the_paper_are_those_of_its_scores(row):
    known = [score for score in row.scores.values() if score is not None]
    assert row.average == pytest.approx(np.mean(known), abs=0.06)


@pytest.mark.parametrize("row", [row for row in GLUE if row.source is FNET_CARD], ids=lambda row: row.model)
def test_averages_of_the_card_are_those_of_its_scores(row):
    assert tuple(row.scores) == CARD_TASKS
    assert row.average == pytest.approx(np.mean(list(row.scores.values())), abs=0.06)


@pytest.mark.parametrize("row", [row for row in GLUE if row.source is MINIATURES], ids=lambda row: row.model)
def test_the_miniatures_have_two_figures_where_two_metrics_are_named(row):
    assert row.separate
    for task, score in row.scores.items():
        assert isinstance(score, tuple) == (len(row.source.metrics.get(task, ("accuracy",))) == 2), task


def test_ratios_are_those_that_the_paper_states():
    def share(model: str, to: str) -> float:
        return BY_MODEL[model].average / BY_MODEL[to].average

    assert share("FNet-Base", "BERT-Base") == pytest.approx(0.92, abs=0.005)
    assert share("FNet-Large", "BERT-Large") == pytest.approx(0.97, abs=0.005)


def test_losses_add_up():
    for row in PRETRAINING:
        assert row.total_loss == pytest.approx(row.mlm_loss + row.order_loss, abs=0.015), row.model


def test_every_row_says_where_it_is_from_and_only_of_known_tasks_and_metrics():
    for row in ROWS:
        assert row.source.certainty in (READ, SECOND_HAND) and row.source.url.startswith("https://")
        assert all(set(names) <= set(METRICS) for names in row.source.metrics.values())
    for row in GLUE:
        assert {task.removesuffix("_mm") for task in row.scores} <= set(TEXT_TASKS) and row.source.tested_on
    names = [(type(row), row.model) for row in ROWS]
    assert len(set(names)) == len(names)
