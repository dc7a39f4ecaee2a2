from __future__ import annotations

import dataclasses
import hashlib
import inspect

import pytest
import torch

from benchmarks.cli.flags import OPTIONS
from benchmarks.contract.choices.profiles import PROFILES, profile_of
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.task import build_net
from benchmarks.timing.match import match_ratio, matched
from mixers import MixerError, list_mixers

SEVEN = ["fft_complex", "fft_real", "dct", "hadamard", "random", "attention", "conv1x1"]
PLUGIN = """
from mixers import Mixer


class Mine(Mixer):
    def __init__(self, dim, size, shift=1):
        super().__init__(dim, size)
        self.shift = shift

    def forward(self, x):
        return x.roll(self.shift, 2)

    def flops(self):
        return 0
"""


def plan(**fields) -> Plan:
    return Plan(Request(**({"device": "cpu"} | fields)))


@pytest.fixture
def plugin(tmp_path):
    """A plug-in's file; its name is its own, since plug-ins are known by it for the rest of the process."""
    path = tmp_path / f"plugin_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}.py"
    path.write_text(PLUGIN)
    return path


def test_without_a_gpu_the_default_is_the_quick_profile_on_the_embedded_set(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    default = Plan(Request())
    assert (default.device, default.profile_name, default.dataset) == ("cpu", "quick", "mosaics")
    assert sorted(map(str, default.mixers)) == sorted(SEVEN)


def test_with_a_gpu_the_default_is_the_full_profile_on_cifar100(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    default = Plan(Request())
    assert (default.device, default.profile_name, default.dataset) == ("cuda", "full", "cifar100")
    trial = default.accuracy()[0]
    assert (trial.dim, trial.depth, trial.epochs, trial.image_size, trial.patch_size) == (192, 8, 100, 32, 4)
    assert trial.precision == "bfloat16" and trial.augment == "strong"
    latency = default.latency()
    assert {t.compiled for t in latency} == {False, True} and {t.precision for t in latency} == {"float32", "bfloat16"}
    assert {16, "16x32", 256} <= {t.image_size for t in latency if t.patch_size == 1}


def test_a_profile_reaches_every_field_of_its_trials():
    profile = PROFILES["quick", "mosaics"]
    trial = plan(mixer="conv1x1").accuracy()[0]
    fields = "dim depth epochs batch_size lr weight_decay warmup_epochs label_smoothing augment train_images patch_size"
    for name in fields.split():
        assert getattr(trial, name) == getattr(profile, name), name
    assert (trial.profile, trial.threads, trial.device, trial.precision) == ("quick", 1, "cpu", "float32")
    assert (trial.rounds, trial.compiled) == (None, None)


def test_what_is_asked_for_wins_over_the_profile():
    given = dict(
        dim=16, depth=3, epochs=2, lr=0.5, weight_decay=0.0, batch_size=7, patch_size=4, threads=1, train_images=500
    )
    (trial,) = plan(mixer="dct", seed=(7,), image_size=(32,), norm="token", coordinates=False, **given).accuracy()
    for name, value in given.items():
        assert getattr(trial, name) == value, name
    assert (trial.seed, trial.image_size, trial.norm, trial.coordinates) == (7, 32, "token", False)


def test_every_option_of_the_command_line_is_a_field_of_the_request():
    how = {
        "folder",
        "config",
        "log",
        "ray",
        "timeout",
        "budget",
        "workers",
        *("scratch", "sittings", "matrix", "design", "a", "b", "net", "out", "repository"),
    }  # these say nothing of what to measure
    assert set(OPTIONS) - how == {field.name for field in dataclasses.fields(Request)}


def test_seeds_are_outermost_and_further_sizes_come_last_with_one_seed():
    trials = plan(mixer="dct,conv1x1", profile="full", dataset="constellations").accuracy()
    order = [(t.image_size, t.seed, t.mixer) for t in trials]
    main = [(32, seed, mixer) for seed in (0, 1, 2) for mixer in ("dct", "conv1x1")]
    assert order == [*main, *((size, 0, mixer) for size in (16, 48, 64) for mixer in ("dct", "conv1x1"))]
    assert len({t.id() for t in trials}) == len(trials)


def test_train_takes_one_seed_and_the_main_size():
    assert [(t.image_size, t.seed) for t in plan(mixer="dct").accuracy(all_seeds=False)] == [(16, 0)]
    asked = plan(mixer="dct", seed=(4, 5), image_size=(16, 32)).accuracy(all_seeds=False)
    assert [(t.seed, t.image_size) for t in asked] == [(4, 16), (4, 32), (5, 16), (5, 32)]


def test_cost_and_latency_cover_every_net_that_is_trained():
    whole = plan(mixer="dct,hadamard")
    trained = {(t.mixer, t.image_size, t.patch_size, t.dim, t.depth) for t in whole.accuracy()}
    assert {(t.mixer, t.image_size, t.patch_size, t.dim, t.depth) for t in whole.cost()} == trained
    assert {(t.mixer, t.image_size, t.patch_size, t.dim, t.depth) for t in whole.latency()} >= trained


def test_the_latency_sweep_has_pixels_as_tokens_and_attention_in_both_ways():
    trials = plan(mixer="dct,attention").latency()
    assert {t.image_size for t in trials if t.patch_size == 1} == {16, 32, 48, 64}
    assert [t.mixer for t in trials[:3]] == ["dct", "attention", "attention(backend=plain)"]
    # one tensor size for all image sizes, as far as whole images go
    assert all(t.batch_size == max(1, min(512, 2**18 // (t.dim * t.tokens))) for t in trials)
    keys = [(t.image_size, t.patch_size) for t in trials]
    assert len(set(keys)) == sum(a != b for a, b in zip(keys, [None, *keys], strict=False))
    alone = plan(mixer="dct", image_size=(16, "16x32"), rounds=2, batch_size=3).latency(trained=False)
    assert [(t.image_size, t.patch_size, t.rounds, t.batch_size) for t in alone] == [(16, 1, 2, 3), ("16x32", 1, 2, 3)]


def test_wildcards_and_lists_name_each_mixer_once():
    assert [*map(str, plan(mixer="fft*,dct,fft_real").mixers)] == [*list_mixers("fft*"), "dct"]
    found = plan(mixer="dct, attention(heads=2,backend=plain)").mixers
    assert [str(mixer) for mixer in found] == ["dct", "attention(heads=2,backend=plain)"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mixer": "fft_compelx"}, "Did you mean 'fft_complex'"),
        ({"mixer": "zzz*"}, "no mixer matches 'zzz\\*'"),
        ({"mixer": ""}, "no mixer given"),
        ({"mixer": "dct("}, "is not a mixer"),
        ({"mixer": "nowhere.py:Mine"}, "there is no file"),
        ({"mixer": "nowhere:Mine"}, "cannot be loaded"),
        ({"profile": "quik"}, "Did you mean 'quick'"),
        ({"dataset": "cifra100"}, "Did you mean 'cifar100'"),
        ({"dataset": "glue:SST2"}, "allowed: cifar100, .*Did you mean 'glue:sst2'"),
        ({"dataset": "glue:sst-2"}, "allowed: cifar100, .*Did you mean 'glue:sst2'"),
        ({"dataset": "gleu:rte"}, "Did you mean 'glue:rte'"),
        ({"dataset": "GLUE:RTE"}, "Did you mean 'glue:rte'"),
        ({"dataset": "pretrain,glue:wnli"}, "one is asked for, of: cifar100, "),
        ({"dataset": "mr,trec"}, "one is asked for, of: cifar100, "),
        ({"dataset": "glue:sst-2,mr"}, "Did you mean 'glue:sst2'"),
        ({"device": "gpu"}, "allowed: cpu, cuda"),
    ],
)
def test_what_is_not_there_is_refused(fields, message):
    with pytest.raises((UserError, MixerError), match=message):
        plan(**fields)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"sees no GPU.*--device cpu"):
        plan(device="cuda")


def test_a_fixed_set_has_no_number_of_training_images():
    with pytest.raises(UserError, match="--train-images"):
        plan(dataset="cifar100", train_images=1000).accuracy()


@pytest.mark.parametrize(("profile", "dataset"), [key for key in PROFILES if key[1] in DATASETS])
def test_the_number_of_training_examples_is_said_of_drawn_ones_alone(profile, dataset):
    info = DATASETS[dataset]
    assert (profile_of(profile, dataset).train_images is not None) == (info.procedural or info.chunked)


@pytest.mark.parametrize("match", ["params", "flops"])
@pytest.mark.parametrize("mixer", ["conv1x1", "fft_complex", "dct"])
def test_a_matched_width_comes_near_the_budget_of_attention(mixer, match):
    (trial,) = plan(mixer=mixer, match=match, dim=64, depth=2, seed=(0,), image_size=(16,)).accuracy()
    assert trial.match_dim == 64 and trial.dim % 8 == 0
    reached = true_budget(trial, trial.mixer, trial.dim) / true_budget(trial, "attention", 64)
    assert reached == pytest.approx(1, abs=0.13)  # a width is a multiple of eight
    for other in (trial.dim - 8, trial.dim + 8):
        distance = abs(true_budget(trial, mixer, other) / true_budget(trial, "attention", 64) - 1)
        assert distance >= abs(reached - 1)


@pytest.mark.parametrize("match", ["params", "flops"])
@pytest.mark.parametrize("dataset", ["constellations", "cifar100"])
def test_the_match_ratio_is_that_of_the_nets_that_are_trained(match, dataset):
    (trial,) = plan(
        mixer="conv1x1", match=match, dataset=dataset, dim=16, depth=1, seed=(0,), image_size=(16,), coordinates=False
    ).accuracy()
    assert match_ratio(trial) == true_budget(trial, trial.mixer, trial.dim) / true_budget(trial, "attention", 16)


def test_attention_is_matched_to_itself_and_the_pixel_sweep_to_nothing():
    whole = plan(mixer="attention,conv1x1", match="params", dim=16, depth=1)
    assert {(t.dim, t.match_dim) for t in whole.accuracy() if t.mixer == "attention"} == {(16, 16)}
    assert all((t.dim, t.match) == (16, "width") for t in whole.latency() if t.patch_size == 1)


def true_budget(trial: Trial, mixer: str, dim: int) -> int:
    net = build_net(dataclasses.replace(trial, mixer=mixer, dim=dim))
    return net.flops() if trial.match == "flops" else sum(p.numel() for p in net.parameters())


def test_a_size_that_a_mixer_does_not_admit_is_left_for_the_measurement_to_say():
    (trial,) = plan(mixer="hadamard", match="params", dim=16, seed=(0,), image_size=(20,)).accuracy()
    assert trial.dim == trial.match_dim == 16
    assert matched(trial) == trial


def test_a_plugin_file_is_recorded_by_its_name_and_the_hash_of_its_source(plugin):
    (trial,) = plan(mixer=f"{plugin}:Mine(shift=2)", seed=(0,), image_size=(16,)).accuracy()
    assert trial.mixer == f"{plugin.stem}:Mine(shift=2)"
    assert trial.mixer_source == hashlib.sha256(plugin.read_bytes()).hexdigest()
    assert str(plugin.parent) not in repr(trial.to_dict())
    assert build_net(trial).mixers[0].shift == 2


def test_a_plugin_module_is_recorded_as_written(plugin, monkeypatch):
    monkeypatch.syspath_prepend(plugin.parent)
    (trial,) = plan(mixer=f"{plugin.stem}:Mine", seed=(0,), image_size=(16,)).accuracy()
    assert trial.mixer == f"{plugin.stem}:Mine"
    assert trial.mixer_source == hashlib.sha256(plugin.read_bytes()).hexdigest()


def test_a_registered_mixer_has_no_source_hash():
    assert plan(mixer="dct").cost()[0].mixer_source is None
    assert "mixer_source" in inspect.signature(Trial).parameters


@pytest.mark.parametrize("mixer", ["dct(foo=1)", "attention(heads=5)"])
def test_options_that_a_mixer_does_not_take_are_refused_before_anything_is_measured(mixer):
    with pytest.raises((UserError, MixerError)):
        plan(mixer=mixer, dim=8).accuracy()


@pytest.mark.parametrize("dataset", ["mosaics", "constellations"])
def test_an_augmentation_that_changes_classes_is_told_before_anything_runs(dataset):
    with pytest.raises(UserError, match=f"allowed for {dataset}, where others change the class of an image: none"):
        Plan(Request(mixer="dct", dataset=dataset, profile="quick", device="cpu", augment="light"))
