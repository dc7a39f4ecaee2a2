"""The facts of a set of sequences and its file say the same."""

from __future__ import annotations

import pytest
import torch

from benchmarks.contract.choices.profiles import profile_of
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.sequences import source_of
from benchmarks.tasks.task import load_data

SEQUENCES = [name for name, info in DATASETS.items() if info.task == "sequences"]
DRAWN = [name for name in SEQUENCES if DATASETS[name].procedural and "pathfinder" not in name]


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_file_of_a_data_set_says_what_its_row_says(name):
    info, source = DATASETS[name], source_of(name)
    assert info.vocabulary == source.VOCABULARY
    assert info.num_classes == source.NUM_CLASSES
    lengths = getattr(source, "LENGTHS", ())
    assert tuple(lengths) == info.lengths
    if not lengths:
        assert info.least_length == source.LEAST_LENGTH
        assert getattr(source, "LONGEST", None) == info.longest
    for profile in ("quick", "full"):
        info.check_length(profile_of(profile, name).length or 0)


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_is_as_the_facts_say(name, tmp_path):
    info, source = DATASETS[name], source_of(name)
    length = profile_of("quick", name).length
    splits = [source.read(split, 300, length, tmp_path) for split in ("train", "test")]
    for tokens, targets in splits:
        assert tokens.shape == (300, length)
        assert int(tokens.min()) >= 0 and int(tokens.max()) < info.vocabulary
        assert (int(tokens.min()) == 0) == info.padded
        assert targets.shape == ((300, length) if info.per_token else (300,))
        asked = targets[targets >= 0]
        assert int(asked.max()) < info.num_classes and (targets >= 0).any()
    found = source.baselines(*splits)
    assert {"chance", "majority", "bag_of_tokens"} <= set(found)
    assert {f"baseline_{key}_percent" for key in found} <= set(METRICS)
    assert all(0 <= value <= 100 for value in found.values())


@pytest.mark.parametrize(("token", "says"), [(999, "999"), (0, "no tokens, padding alone")])
def test_tokens_that_a_net_could_not_read_are_told_before_training(token, says, monkeypatch, tmp_path):
    def read(split, count, length, data_dir):
        tokens = torch.ones(count, length, dtype=torch.int16)
        tokens[3] = token
        return tokens, torch.zeros(count, length, dtype=torch.int64)

    monkeypatch.setattr(source_of("first"), "read", read)
    trial = Plan(Request(dataset="first", mixer="dct", device="cpu", train_images=101)).accuracy()[0]
    with pytest.raises(UserError, match=f"^first: .*{says}"):
        load_data(trial, tmp_path, "cpu")
