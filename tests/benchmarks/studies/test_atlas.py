"""Influence maps and their numbers, held to closed forms, dense Jacobians and finite differences."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Request
from benchmarks.studies.atlas import measure as atlas
from benchmarks.studies.atlas.record import STATES, AtlasRecord
from benchmarks.studies.atlas.report import pages, write_pages
from mixers import MixerNet, create_mixer, list_mixers

SMALL = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1", "--epochs", "1"]
SMALL += ["--train-images", "200", "--image-size", "16", "--patch-size", "4"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def layer(name: str, dim: int = 8, size: tuple[int, int] = (4, 4)):
    """A mixer in float64, as it evaluates, and one image for it."""
    return create_mixer(name, dim, size).double().eval(), torch.randn(1, dim, *size, dtype=torch.float64)


def spectrum(name: str, dim: int = 8, size: tuple[int, int] = (4, 4)) -> tuple[float, float]:
    mixer, x = layer(name, dim, size)
    return atlas.rank_and_orthogonality(atlas.layer_jacobian(mixer, x[0]))


def influence(name: str, sources: list[int], dim: int = 8, size: tuple[int, int] = (4, 4)) -> torch.Tensor:
    mixer, x = layer(name, dim, size)
    return atlas.squared_influence(mixer, x, sources)


@pytest.mark.parametrize("name", list_mixers())
def test_a_map_is_the_norm_of_the_blocks_of_the_dense_jacobian(name):
    size = (4, 4)
    mixer, x = layer(name, 8, size)
    x = torch.cat([x, torch.randn_like(x)])
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        blocks = [torch.autograd.functional.jacobian(lambda y: mixer(y[None])[0], image) for image in x]
    for i, token in enumerate(sources := [5, 0]):
        row, column = divmod(token, 4)
        expected = sum(block[..., row, column].square().sum((0, 3)) for block in blocks) / 2
        found = atlas.squared_influence(mixer, x, sources)[i]
        torch.testing.assert_close(found, expected if expected.sum() > atlas.NOTHING else found * 0)
    dense = blocks[0].flatten(0, 2).movedim(1, -1).flatten(1)  # inputs token by token
    torch.testing.assert_close(atlas.layer_jacobian(mixer, x[0]).mT, dense)
    singular = np.linalg.svd(dense.numpy(), compute_uv=False)
    rank, orthogonality = atlas.rank_and_orthogonality(dense.mT)
    assert rank == (singular > 1e-5 * singular[0]).sum() / 128
    assert orthogonality == pytest.approx((singular**2).sum() ** 2 / (128 * (singular**4).sum()))


def test_a_map_of_the_net_is_what_finite_differences_say():
    net = MixerNet("dct", 10, 16, 4, 8, 2, norm="token").double().eval()
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    step = 1e-5 * atlas.unit_tangents(8, (4, 4), [6]).double()
    with torch.no_grad():
        change = (net.norm(net.blocks(x + step)) - net.norm(net.blocks(x - step))) / 2e-5
    found = atlas.squared_influence(lambda y: net.norm(net.blocks(y)), x, [6])[0]
    torch.testing.assert_close(found, change.square().sum((0, 1)), rtol=1e-5, atol=1e-9)


def test_the_identity_reaches_nobody():
    (found,) = influence("conv1x1", [5])
    assert atlas.reach(found, 5) == 0 and atlas.evenness(found) == pytest.approx(1 / 16)
    assert spectrum("conv1x1") == (1.0, pytest.approx(1.0))


@pytest.mark.parametrize(
    "name", ["dct", "hadamard", "hartley", "fft_complex", "fft_pairs", "fft_scrambled", "random_orthogonal"]
)
@pytest.mark.parametrize("size", [(4, 4), (2, 12)])
def test_orthogonal_mixers_are_orthogonal(name, size):
    rank, orthogonality = spectrum(name, 8, size)
    assert rank == 1 and orthogonality == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["hadamard", "fft_complex"])
def test_what_spreads_evenly_has_reach_and_evenness_one(name):
    for token, found in zip([0, 5, 14], influence(name, [0, 5, 14], size=(2, 8)), strict=True):
        assert atlas.reach(found, token) == pytest.approx(1) and atlas.evenness(found) == pytest.approx(1)


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 8), (6, 4)])
def test_the_real_part_keeps_one_of_each_pair_of_frequencies_and_the_imaginary_the_other(size):
    height, width = size
    tokens = height * width
    own_mirror = (2 if height % 2 == 0 else 1) * (2 if width % 2 == 0 else 1)
    up_to_sign = (tokens + own_mirror) // 2
    for name, rank in (("fft_real_2d", up_to_sign), ("fft_imag", tokens - up_to_sign)):
        assert spectrum(name, 8, size) == (pytest.approx(rank / tokens), pytest.approx(rank / tokens, abs=1e-5))


def test_shift_moves_four_of_its_groups_by_one_token():
    dim, size = 24, (4, 5)  # groups of two channels
    (found,) = influence("shift", [6], dim, size)  # row 1, column 1: four neighbours
    expected = torch.zeros(4, 5, dtype=torch.float64)
    expected[1, 1], expected[1, 0], expected[1, 2], expected[0, 1], expected[2, 1] = dim - 8, 2, 2, 2, 2
    torch.testing.assert_close(found, expected)
    mean = np.mean([math.hypot(r - 1, c - 1) for r in range(4) for c in range(5)])
    assert atlas.reach(found, 6) == pytest.approx(8 / 24 / mean)
    assert atlas.evenness(found) == pytest.approx(24**2 / (16**2 + 4 * 2**2) / 20)
    lost = 4 * (4 + 5)  # two channels each lose a column left and right, a row up and down
    assert spectrum("shift", dim, size) == (pytest.approx(1 - lost / 480), pytest.approx(1 - lost / 480))


def test_pool_reaches_the_eight_neighbours():
    (found,) = influence("pool", [12], 8, (5, 5))
    expected = torch.zeros(5, 5, dtype=torch.float64)
    expected[1:4, 1:4] = 8 / 81
    expected[2, 2] = 8 * (8 / 9) ** 2
    torch.testing.assert_close(found, expected)


def test_an_average_has_no_rank_but_one_and_nothing_has_none():
    ones = torch.ones(6, 6, dtype=torch.float64)
    assert atlas.rank_and_orthogonality(ones) == (1 / 6, pytest.approx(1 / 6))
    rank, orthogonality = atlas.rank_and_orthogonality(0 * ones)
    assert rank == 0 and math.isnan(orthogonality)
    assert math.isnan(atlas.reach(0 * ones, 0)) and math.isnan(atlas.evenness(0 * ones))


def test_the_imaginary_part_of_its_own_mirror_image_is_no_influence():
    net = MixerNet("fft_imag", 10, 16, 4, 8, 1, norm="token").eval()
    seen = atlas.look(net, torch.randn(2, 3, 16, 16), [10, 5])  # row 2, column 2 of 4 x 4, and row 1, column 1
    influence_of_mirror, numbers = seen["layer"]
    assert influence_of_mirror.count_nonzero() == 0
    assert numbers["evenness"] == pytest.approx(atlas.evenness(influence("fft_imag", [5])[0]), rel=1e-4)


@pytest.mark.parametrize("norm", ["token", "image"])
def test_without_mixing_nothing_reaches_another_token_once_the_statistics_are_fixed(norm):
    net = MixerNet("conv1x1", 10, 16, 4, 8, 2, norm=norm).eval()
    x = torch.randn(1, 3, 16, 16)
    found, numbers = atlas.look(net, x, [5])["net"]
    assert found.count_nonzero() == 1 and numbers["reach"] == 0
    leaking = atlas.squared_influence(lambda y: net.norm(net.blocks(y)), net.stem(x).detach(), [5])[0]
    assert (leaking.count_nonzero() > 1) == (norm == "image")


def test_fixed_statistics_change_no_output_and_are_those_of_the_image():
    net = MixerNet("dct", 10, 16, 4, 8, 2).double().eval()
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)

    def features(y: torch.Tensor) -> torch.Tensor:
        return net.norm(net.blocks(y))

    with atlas.fixed_statistics(net):
        found = atlas.squared_influence(features, x, [6])[0]
        out = features(x)
    torch.testing.assert_close(features(x), out)
    # an independent way: every norm replaced by the affine map that it is at x
    recorded = {}
    norms = {name: module for name, module in net.named_modules() if isinstance(module, torch.nn.GroupNorm)}
    hooks = [m.register_forward_hook(lambda m, i, o: recorded.update({m: i[0].detach()})) for m in norms.values()]
    features(x)
    for hook in hooks:
        hook.remove()
    for name, module in norms.items():
        parent, _, child = name.rpartition(".")
        setattr(net.get_submodule(parent), child, Affine(recorded[module], module))
    step = 1e-5 * atlas.unit_tangents(8, (4, 4), [6]).double()
    with torch.no_grad():
        change = (features(x + step) - features(x - step)) / 2e-5
    torch.testing.assert_close(found, change.square().sum((0, 1)), rtol=1e-5, atol=1e-9)


class Affine(torch.nn.Module):
    """x -> (x - mean) / sqrt(variance + eps) * weight + bias with the statistics of one image."""

    def __init__(self, image: torch.Tensor, norm: torch.nn.GroupNorm) -> None:
        super().__init__()
        self.scale = norm.weight[:, None, None] / (image.var(correction=0) + norm.eps).sqrt()
        self.shift = norm.bias[:, None, None] - image.mean() * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


def test_sources_begin_near_the_centre_and_are_drawn_from_the_seed():
    assert atlas.source_tokens((8, 8), 0)[0] == 27 and atlas.source_tokens((3, 5), 0)[0] == 7
    assert atlas.source_tokens((8, 8), 0) == atlas.source_tokens((8, 8), 0) != atlas.source_tokens((8, 8), 1)
    assert sorted(atlas.source_tokens((1, 3), 0)) == [0, 1, 2]
    assert atlas.source_tokens((1, 1), 0) == [0]


def test_an_atlas_takes_one_seed_and_all_mixers_unless_told():
    request = Request(device="cpu")
    assert [trial.mixer for trial in atlas.atlas_trials(request)] == list_mixers()
    with pytest.raises(UserError, match="takes one, such as 3"):
        atlas.atlas_trials(dataclasses.replace(request, seed=(3, 4)))


@pytest.mark.parametrize("dataset", ["pretrain", "glue:wnli", "plays"])
def test_an_atlas_of_text_is_refused_before_anything_is_trained(dataset, tmp_path, capsys):
    assert cli.main(["atlas", "--dataset", dataset, "--results", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err
    assert f"--dataset is '{dataset}', of text, whose net an atlas cannot draw; allowed: cifar100, " in said
    assert not (tmp_path / "r").exists()


@pytest.fixture(scope="module")
def small_atlas(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    assert cli.main(["atlas", "--mixer", "conv1x1,dct", "--results", str(folder), *SMALL]) == 0
    return folder


def test_the_verb_ends_with_a_page_and_a_table_and_does_nothing_twice(small_atlas, capsys):
    folder = small_atlas / "atlas"
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        f"atlas-constellations.{ending}" for ending in ("png", "svg", "csv", "md")
    }
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert cli.main(["atlas", "--mixer", "conv1x1,dct", "--results", str(small_atlas), *SMALL]) == 0
    assert "2 already there" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with (folder / "atlas-constellations.csv").open(newline="") as file:
        rows = {(row["mixer"], row["scope"], row["weights"]): row for row in csv.DictReader(file)}
    assert len(rows) == 8
    for weights in ("untrained", "trained"):
        assert float(rows["conv1x1", "net", weights]["reach"]) == 0
        assert float(rows["conv1x1", "layer", weights]["evenness"]) == 1 / 16
        assert float(rows["dct", "layer", weights]["orthogonality"]) == pytest.approx(1, abs=1e-5)
        assert rows["dct", "net", weights]["rank"] == ""
    assert rows["dct", "net", "untrained"]["reach"] != rows["dct", "net", "trained"]["reach"]
    assert not (small_atlas / "records").exists()


def test_lost_weights_are_trained_again_and_a_mixer_that_cannot_be_is_a_hole(small_atlas, capsys):
    folder = small_atlas / "atlas"
    (record,) = [p for p in (folder / "maps").iterdir() if AtlasRecord.load(p).trial.mixer == "dct"]
    before = AtlasRecord.load(record)
    record.unlink()
    (folder / "checkpoints" / f"accuracy-{before.trial.id()}.safetensors").unlink()
    assert cli.main(["atlas", "--mixer", "dct", "--results", str(small_atlas), *SMALL]) == 0
    assert AtlasRecord.load(record).maps == before.maps
    small = [*SMALL[:-3], "24", *SMALL[-2:]]
    command = ["atlas", "--results", str(small_atlas / "odd"), *small, "--mixer"]
    capsys.readouterr()
    assert cli.main([*command, "hadamard"]) == 2
    assert "no matrix for a side of 6" in capsys.readouterr().err
    assert cli.main([*command, "hadamard,conv1x1"]) == 0
    table = (small_atlas / "odd" / "atlas" / "atlas-constellations.md").read_text()
    assert "unsupported: hadamard has no matrix for a side of 6 tokens" in table
    assert "no matrix for a side of 6" in capsys.readouterr().out


def test_records_of_other_settings_have_pages_of_their_own_and_a_damaged_one_is_told(small_atlas, tmp_path):
    records = [AtlasRecord.load(path) for path in sorted((small_atlas / "atlas" / "maps").iterdir())]
    other = [dataclasses.replace(r, trial=dataclasses.replace(r.trial, seed=1)) for r in records[:1]]
    assert list(pages([*records, *other])) == ["atlas-constellations", "atlas-constellations-seed-1"]
    path = records[0].save(tmp_path / "atlas" / "maps")
    assert AtlasRecord.load(path) == records[0]
    content = json.loads(path.read_text())
    content["maps"][STATES[0]] = [[1.0]]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is no 4 x 4 numbers"):
        write_pages(tmp_path)
    assert write_pages(tmp_path / "nothing") == []


def test_half_an_atlas_says_what_is_missing(tmp_path):
    trial = Trial(
        kind="accuracy", mixer="gmlp(x=$1$)", dataset="constellations", image_size="8x16", patch_size=4, dim=8, depth=1,
        epochs=1, lr=1e-3,
    )  # fmt: skip
    AtlasRecord(
        id="0", status="diverged", reason="the loss is not finite", trial=trial, images=1, sources=[1], maps={
            "layer_untrained": [[0.0] * 4] * 2}, numbers={"layer_untrained": dict.fromkeys(
            ("reach", "evenness", "rank", "orthogonality"))}, val_top1_percent=None,
        environment={"device": "cpu", "cpu": "x", "torch": "2"}, code={}, started="", ended="",
    ).save(tmp_path / "atlas" / "maps")  # fmt: skip
    assert len(write_pages(tmp_path)) == 4
    table = (tmp_path / "atlas" / "atlas-constellations.md").read_text()
    assert "diverged: the loss is not finite" in table and "nan" not in table.lower()
