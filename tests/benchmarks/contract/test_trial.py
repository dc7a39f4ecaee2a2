from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import types
from pathlib import Path

import pytest

from benchmarks.contract import trial as trial_module
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.record import machine_key
from benchmarks.contract.trial import ADDED, FACTS, FIELDS, Trial, normal_size, parse_size

REQUIRED = {
    "kind": "accuracy",
    "mixer": "dct",
    "dataset": "cifar100",
    "image_size": 32,
    "patch_size": 4,
    "dim": 64,
    "depth": 4,
}
# another allowed value for every field
OTHER = {
    "kind": "cost",
    "mixer": "hadamard",
    "dataset": "constellations",
    "image_size": 16,
    "patch_size": 2,
    "dim": 72,
    "depth": 5,
    "seed": 1,
    "profile": "full",
    "match": "params",
    "match_dim": 64,
    "norm": "token",
    "coordinates": False,
    "positions": "sine",
    "device": "cuda",
    "precision": "bfloat16",
    "threads": 2,
    "mixer_source": "0" * 64,
    "batch_size": 32,
    "epochs": 3,
    "lr": 1e-3,
    "weight_decay": 0.1,
    "warmup_epochs": 1.0,
    "label_smoothing": 0.2,
    "augment": "light",
    "train_images": 1000,
    "rounds": 3,
    "compiled": True,
    "mixer_version": 2,
    "recipe_version": 2,
    "residual": "bfloat16",
    "length": 128,
    "dataset_source": "0" * 64,
    "optimizer": "adamw",
    "beta1": 0.8,
    "beta2": 0.99,
    "clip_norm": 0.5,
    "schedule": "constant",
    "pretrain": "own",
    "padded_length": 256,
    "corpus": "wikipedia",
    "tokenizer": "bpe-4096",
    "gain": 8.0,
    "pretrained": "0123456789abcdef",
    "order": "none",
}
SINGLE = {"optimizer"}  # fields that have one allowed value yet
OF_TEXT = ("corpus", "tokenizer", "gain", "pretrained", "order")
RANGES = {name: (facts.low, facts.high) for name, facts in FACTS.items() if facts.low is not None}
PUBLISHED = Path(__file__).resolve().parents[3] / "results" / "published"


def make(**changes) -> Trial:
    return Trial(**(REQUIRED | changes))


def test_the_id_is_the_same_on_every_machine_and_in_every_release_of_this_results_version():
    assert make().id() == "7c0f9bf8750dc8ff"
    assert make(kind="latency").id("a machine") == "3017eb92d84b5a6c"


def test_the_fields_of_version_0_1_are_frozen():
    old = [name for name in FIELDS if name not in ADDED]
    assert len(old) == 27 and list(FIELDS)[:27] == old


def test_every_published_trial_keeps_its_id_and_needs_no_later_field():
    paths = sorted(PUBLISHED.glob("*/records/*.json"))
    for path in paths:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["kind"] == "latency":
            continue  # its id covers the machine, and the next test holds it
        assert Trial.from_dict(values["trial"]).id() == values["id"], path.name
    assert len(paths) > 800 or not PUBLISHED.exists()


def test_every_published_latency_keeps_its_id():
    for path in sorted(PUBLISHED.glob("*/records/latency-*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        assert Trial.from_dict(values["trial"]).id(machine_key(values["environment"])) == values["id"], path.name


def later_release(**replaced: tuple[str, str]) -> types.ModuleType:
    """The module of trials with some of its text replaced, as a release to come might have it."""
    text = inspect.getsource(trial_module)
    for old, new in replaced.values():
        assert text.count(old) == 1
        text = text.replace(old, new)
    module = types.ModuleType("later_release")
    sys.modules[module.__name__] = module
    exec(compile(text, "later_release.py", "exec"), module.__dict__)
    return module


def test_a_new_field_and_a_new_default_leave_every_id_as_it_was():
    new = later_release(
        field=(
            "    mixer_version: int = later(1, MIXER,",
            "    momentum: float = later(1.0, RECIPE, 2.0)\n    mixer_version: int = later(1, MIXER,",
        ),
        default=('        NET, "image", choices=("image",', '        NET, "token", choices=("image",'),
        added_default=("recipe_version: int = later(1, NET, RECIPE_VERSION,", "recipe_version: int = later(1, NET, 3,"),
    )
    paths = sorted(PUBLISHED.glob("*/records/*.json"))[::20]
    for path in paths:
        values = json.loads(path.read_text(encoding="utf-8"))
        machine = machine_key(values["environment"])
        assert new.Trial.from_dict(values["trial"]).id(machine) == values["id"], path.name
    assert paths or not PUBLISHED.exists()
    old = make(norm="image")
    # a record of before the field reads as what it was, and one that says otherwise is another trial
    assert new.Trial.from_dict(old.to_dict()).id() == old.id()
    assert new.Trial.from_dict(old.to_dict()).momentum == 1.0
    assert new.Trial.from_dict(old.to_dict() | {"momentum": 2.0}).id() != old.id()
    assert new.Trial(**(REQUIRED | {"norm": "image", "momentum": 1.0, "recipe_version": 1})).id() == old.id()
    assert new.Trial(**REQUIRED).momentum == 2.0


def test_every_field_has_another_value_here():
    assert set(OTHER) == {field.name for field in dataclasses.fields(Trial)}


@pytest.mark.parametrize(
    "field", [name for name in OTHER if name not in SINGLE | {"length", "pretrain", "padded_length", *OF_TEXT}]
)
def test_every_field_changes_the_id(field):
    assert make(**{field: OTHER[field]}).id() != make().id()


@pytest.fixture
def words(monkeypatch):
    """The values of a trial on a data set of sequences."""
    info = dataclasses.replace(DATASETS["mosaics"], name="words", task="sequences")
    monkeypatch.setitem(DATASETS, "words", info)
    values = {name: value for name, value in REQUIRED.items() if name not in ("image_size", "patch_size")}
    return values | {"dataset": "words", "length": 64}


@pytest.mark.parametrize("field", OF_TEXT)
def test_every_field_of_text_changes_the_id_of_text_and_is_refused_elsewhere(words, field):
    text = words | {"dataset": "pretrain"}
    assert Trial(**text | {field: OTHER[field]}).id() != Trial(**text).id()
    with pytest.raises(UserError, match=r"which is for text; .* is a data set of images"):
        make(**{field: OTHER[field]})


def test_a_sequence_has_a_length_and_no_image(words):
    trial = Trial(**words)
    assert trial.grid == trial.size == (1, 64) and trial.tokens == 64
    assert trial.id() != Trial(**words | {"length": 128}).id()
    assert trial.id() != Trial(**words | {"pretrain": "own"}).id()
    assert Trial.from_dict(trial.to_dict()) == trial
    assert trial.describe() == "accuracy dct 64 tokens seed 0"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"length": None}, "--length is missing; words is a data set of sequences, which needs --length"),
        ({"patch_size": 4}, "--patch-size is 4; words is a data set of sequences, which needs --length"),
        ({"image_size": 32}, "--image-size is 32; words is a data set of sequences, which needs --length"),
        ({"dataset": "cifar100"}, "--image-size is missing; cifar100 is a data set of images, which needs --image-size "
                                  "and --patch-size"),
    ],
)  # fmt: skip
def test_what_says_how_large_an_input_is_is_the_tasks_business(words, change, says):
    with pytest.raises(UserError) as caught:
        Trial(**words | change)
    assert str(caught.value) == says


def test_images_have_no_length():
    with pytest.raises(UserError, match="--length is 64; cifar100 is a data set of images"):
        make(length=64)


def test_only_the_id_of_a_latency_trial_covers_the_machine():
    assert make().id("one") == make().id("two") == make().id()
    latency = make(kind="latency")
    assert latency.id("one") != latency.id("two")
    with pytest.raises(ValueError, match="machine"):
        latency.id()


def test_a_trial_is_frozen_and_hashable():
    trial = make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.dim = 8  # type: ignore[misc]
    assert {trial: 1}[make()] == 1


def test_a_trial_survives_its_dict():
    trial = make(seed=3, lr=1e-3, image_size="16x32")
    assert Trial.from_dict(trial.to_dict()) == trial


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(UserError, match=r"no field 'patchsize'.*Did you mean 'patch_size'"):
        Trial.from_dict(REQUIRED | {"patchsize": 4})


def test_missing_keys_are_named():
    with pytest.raises(UserError, match="needs mixer, depth"):
        Trial.from_dict({name: value for name, value in REQUIRED.items() if name not in ("mixer", "depth")})


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("kind", "accurracy", "accuracy"),
        ("dataset", "cifra100", "cifar100"),
        ("profile", "quik", "quick"),
        ("match", "flop", "flops"),
        ("norm", "tokens", "token"),
        ("device", "cudaa", "cuda"),
        ("precision", "float3", "float32"),
        ("augment", "strng", "strong"),
    ],
)
def test_a_word_that_is_not_allowed_names_all_that_are_and_the_nearest(field, value, hint):
    with pytest.raises(UserError, match=f"--{field} is '{value}'; allowed: .*{hint}.*Did you mean '{hint}'"):
        make(**{field: value})


@pytest.mark.parametrize("field", RANGES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1, 1e30])
def test_numbers_that_make_no_sense_are_refused_with_the_range(field, value):
    with pytest.raises(UserError, match=f"--{field.replace('_', '-')} is .*; allowed: .* to .*"):
        make(**{field: value})


@pytest.mark.parametrize("field", sorted(RANGES))
def test_an_integer_too_large_for_a_float_is_refused_like_any_other(field):
    with pytest.raises(UserError, match="allowed"):
        make(**{field: 10**400})


@pytest.mark.parametrize("field", [name for name, (low, _) in RANGES.items() if low > 0])
def test_zero_is_refused_where_it_makes_no_sense(field):
    with pytest.raises(UserError, match="allowed"):
        make(**{field: 0})


def test_sizes_that_the_patch_does_not_divide_name_the_patches_that_fit():
    with pytest.raises(
        UserError, match=r"32 is not a multiple of patch size 5; patch sizes that fit: 1, 2, 4, 8, 16, 32$"
    ):
        make(patch_size=5)
    with pytest.raises(UserError, match=r"patch sizes that fit: 1, 2, 4, 8, 16$"):
        make(image_size="16x32", patch_size=32)


def test_dims_are_multiples_of_eight():
    with pytest.raises(UserError, match="--dim is 20; allowed: multiples of 8, such as 16"):
        make(dim=20)


def test_sizes_are_height_by_width():
    trial = make(image_size="16x32")
    assert trial.size == (16, 32) and trial.grid == (4, 8) and trial.tokens == 32
    assert parse_size(32) == parse_size("32") == (32, 32)
    assert normal_size("32x32") == normal_size("32") == 32
    assert normal_size("16X32") == "16x32"


@pytest.mark.parametrize("value", [0, -1, "0x4", "4097", "", "x", "16x", "16x16x16", "1e3", "nan", 1.5, "9" * 30])
def test_what_is_no_size_is_refused_with_an_example(value):
    with pytest.raises(UserError, match=r"--image-size is .*; allowed: .* such as 32, or 16x32"):
        parse_size(value)


def test_errors_are_one_line():
    for changes in ({"dim": 7}, {"patch_size": 5}, {"kind": "a\nb"}, {"image_size": "a\nb"}):
        with pytest.raises(UserError) as caught:
            make(**changes)
        assert "\n" not in str(caught.value)


def test_a_description_is_short():
    assert make(seed=2).describe() == "accuracy dct 32 px patch 4 seed 2"
    assert make(kind="latency", compiled=True, precision="bfloat16").describe().endswith("compiled bfloat16")
