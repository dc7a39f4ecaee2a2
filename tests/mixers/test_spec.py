"""A mixer as asked for: what it is parsed into, and a mixer for each block of a net."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mixers
from mixers import MixerError, MixerNet, create_mixer
from mixers.registry import mixer_entry, split_mixers
from mixers.spec import HYBRID_NAMES, parse, parse_one

F, A = "fft_real", "attention"


def of_blocks(spec: str, depth: int) -> list[str]:
    return [mixer.text for mixer in parse(spec).of_blocks(depth)]


@pytest.mark.parametrize(
    ("spec", "depth", "expected"),
    [
        ("dct", 3, ["dct"] * 3),
        ("dct", 0, []),
        ("6xfft_real+2xattention", 8, [F] * 6 + [A] * 2),
        ("fft_real+attention", 2, [F, A]),
        (" 2xdct + conv1x1 ", 3, ["dct", "dct", "conv1x1"]),
        ("1xattention(heads=2,backend=plain)+dct", 2, ["attention(heads=2,backend=plain)", "dct"]),
        ("4xdct", 4, ["dct"] * 4),
        # the layers that FNet's own test expects for four layers with two, and one, of attention
        ("hybrid_middle", 4, [F, A, A, F]),
        ("hybrid_mixed", 4, [A, F, A, F]),
        ("hybrid_top", 8, [F] * 6 + [A] * 2),
        ("hybrid_bottom", 8, [A] * 2 + [F] * 6),
        ("hybrid_top", 2, [F, A]),
        ("hybrid_mixed", 12, [A, *[F] * 5, A, *[F] * 5]),
        ("hybrid_middle", 12, [*[F] * 5, A, A, *[F] * 5]),
        ("path/to/my.py:Mine+dct", 2, ["path/to/my.py:Mine", "dct"]),
    ],
)
def test_the_of_blocks(spec: str, depth: int, expected: list[str]) -> None:
    assert of_blocks(spec, depth) == expected
    assert {mixer.text for mixer in parse(spec).mixers} >= set(expected)


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=4), extra=st.integers(1, 3))
@settings(max_examples=30, deadline=None, database=None)
def test_counts_add_up_or_are_refused(counts: list[int], extra: int) -> None:
    names = ["dct", "attention", "conv1x1", "hadamard"]
    spec = "+".join(f"{count}x{name}" for count, name in zip(counts, names, strict=False))
    blocks = of_blocks(spec, sum(counts))
    assert [blocks.count(name) for name in names[: len(counts)]] == counts
    with pytest.raises(
        MixerError, match=f"names the mixers of {sum(counts)} blocks, the depth is {sum(counts) + extra}"
    ):
        of_blocks(spec, sum(counts) + extra)


@pytest.mark.parametrize("name", HYBRID_NAMES)
@pytest.mark.parametrize("depth", range(2, 14))
def test_hybrids_have_as_many_layers_of_attention_at_every_depth(name: str, depth: int) -> None:
    blocks = of_blocks(name, depth)
    assert len(blocks) == depth and blocks.count(A) == min(2, depth // 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dct+", "is not a mixer for each block"),
        ("+dct", "is not a mixer for each block"),
        ("0xdct+attention", "is not a mixer for each block"),
        ("dct++attention", "is not a mixer for each block"),
        ("2xdctt+attention", "unknown mixer 'dctt'. Did you mean 'dct'?"),
        ("hybrid_topp", "Did you mean 'hybrid_top'?"),
    ],
)
def test_what_does_not_parse_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(MixerError) as caught:
        split_mixers(spec)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_hybrid_needs_two_blocks() -> None:
    with pytest.raises(MixerError, match="depth is 1, allowed: from 2"):
        MixerNet("hybrid_top", depth=1)


def test_a_mixer_for_each_block_is_not_one_mixer() -> None:
    with pytest.raises(MixerError, match="not one mixer"):
        create_mixer("hybrid_top", 8, (4, 4))
    with pytest.raises(MixerError, match="not one mixer"):
        create_mixer(parse("2xdct+my.py:M"), 8, (4, 4))
    assert not parse("attention(heads=2)").parts and not parse("my_path.py:M").parts
    assert parse_one("c++/my.py:M").name == "c++/my.py:M"


def test_a_spec_is_a_key_and_stays_what_it_is_in_another_process() -> None:
    spec = parse(" 2xattention(heads=2,window=[4])+dct ")
    assert pickle.loads(pickle.dumps(spec)) == spec and {spec: 1}[parse(spec.text)] == 1
    assert pickle.loads(pickle.dumps(spec)).parts[0][1].options == (("heads", 2), ("window", [4]))
    assert parse(spec) is spec and parse("dct") is parse(" dct") and parse("dct") != parse("dct()")


@pytest.mark.parametrize(
    ("spec", "recorded"),
    [
        (" 6xfft_real + 2xattention ", "6xfft_real + 2xattention"),
        ("ff_only", "conv1x1"),
        ("some/where/my.py:M(a=b)", "my:M(a=b)"),
        ("2xsome/where/my.py:M+dct", "2xmy:M+dct"),
        ("some/where/own.npy", "own.npy"),
        ("own.npy+a/other.npy", "own.npy+other.npy"),
        ("pkg.inner:M", "pkg.inner:M"),
        ("my:M", "my:M"),
    ],
)
def test_records_know_no_folder(spec: str, recorded: str) -> None:
    assert parse(spec).recorded == recorded


def test_the_recorded_name_is_the_one_that_the_registry_keeps(tmp_path: Path, forget_plugins) -> None:
    path = tmp_path / "kept_name.py"
    path.write_text("from mixers import Mixer\n\nclass M(Mixer):\n    pass\n", encoding="utf-8")
    spec = parse(f"{path}:M")
    assert mixer_entry(spec).name == spec.recorded == "kept_name:M"
    assert mixer_entry("kept_name:M") is mixer_entry(spec)


def test_lists_may_hold_them() -> None:
    found = [str(mixer) for mixer in split_mixers("2xdct+2xattention,hybrid*,conv1x1")]
    assert found == ["2xdct+2xattention", *HYBRID_NAMES, "conv1x1"]
    assert not {mixer.name for mixer in split_mixers("*")} & set(HYBRID_NAMES)


def test_a_net_of_one_kind_is_the_same_either_way() -> None:
    x = torch.randn(2, 3, 16, 16)
    outputs = []
    for spec in ("random", "3xrandom", "random+2xrandom"):
        torch.manual_seed(0)
        outputs.append(MixerNet(spec, img_size=16, dim=16, depth=3)(x))
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("spec", ["2xfft_real+2xattention", "conv1x1+fft_complex+gmlp+attention"])
def test_blocks_of_different_layout_are_those_blocks_one_after_the_other(spec: str) -> None:
    torch.manual_seed(0)
    net = MixerNet(spec, img_size=16, dim=16, depth=4).eval()
    x = torch.randn(2, 3, 16, 16)
    tokens = net.stem(x)
    for block in net.blocks:  # each on contiguous input
        mixed = block.norm2(block.mixer(block.norm1(tokens.contiguous())))
        bias = block.coordinates(block.scale1)
        tokens = tokens + block.scale1[:, None, None] * block.proj(mixed) + bias
        hidden = torch.nn.functional.gelu(block.expand(block.norm3(tokens)))
        tokens = tokens + block.scale2[:, None, None] * block.contract(hidden)
    torch.testing.assert_close(net(x), net.head(net.norm(tokens).mean((2, 3))), rtol=1e-4, atol=1e-5)
    assert net.flops() == sum(
        create_mixer(name, 16, (4, 4)).flops() for name in of_blocks(spec, 4)
    ) + 2 * 3 * 16 * 16 * 16 + 2 * 16 * 100 + sum(
        2 * b.mixer.out_channels * 16 * 16 + 2 * 2 * 16 * 32 * 16 for b in net.blocks
    )  # fmt: skip


def test_timm_takes_the_same_words() -> None:
    assert mixers  # registers with timm
    net = timm.create_model("mixernet_tiny", mixer="6xfft_real+2xattention")
    assert [type(m).__name__ for m in net.mixers] == ["FFTReal"] * 6 + ["Attention"] * 2


@pytest.mark.parametrize("count", [10**11, 10**17])
def test_more_blocks_than_memory_holds_are_counted_and_not_made(count: int) -> None:
    with pytest.raises(MixerError, match=f"names the mixers of {count + 1} blocks, the depth is 4"):
        of_blocks(f"{count}xdct+attention", 4)
    with pytest.raises(MixerError):
        of_blocks("9" * 5000 + "xdct+attention", 4)
