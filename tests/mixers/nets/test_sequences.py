"""Nets for sequences: tokens in, padding kept out, and what they refuse."""

from __future__ import annotations

import io

import pytest
import torch
import torch.nn.functional as F
from mixer_checks import build, default_dtype, output_and_gradients
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mixers import MixerError, MixerNet, UnsupportedSize, create_mixer, list_mixers
from mixers.nets.mixing import not_decayed_by_mixers
from mixers.nets.stems import check_tokens, pooled, real_tokens
from mixers.registry import mixer_entry

VOCABULARY, LENGTH = 11, 16


def net(mixer: str = "dct", **options: object) -> MixerNet:
    torch.manual_seed(0)
    shape = {"vocabulary": VOCABULARY, "length": LENGTH, "dim": 16, "depth": 2, **options}
    return MixerNet(mixer, 5, **shape)  # type: ignore[arg-type]


def tokens(lengths: tuple[int, ...] = (16, 9, 1), length: int = LENGTH) -> Tensor:
    """Sequences of these lengths, filled up with padding."""
    drawn = torch.randint(1, VOCABULARY, (len(lengths), length), generator=torch.Generator().manual_seed(1))
    return drawn * (torch.arange(length) < torch.tensor(lengths)[:, None])


def test_each_pooling_is_what_it_says_of_the_features() -> None:
    x, lengths = tokens((16, 9, 1)), (16, 9, 1)
    for pool in ("avg", "first", "tokens"):
        model = net(global_pool=pool).eval()
        features, output = model.forward_features(x), model(x)
        assert features.shape == (3, 16, 1, LENGTH)
        rows = {
            "avg": torch.stack([row[:, 0, :n].mean(1) for row, n in zip(features, lengths, strict=True)]),
            "first": features[:, :, 0, 0],
            "tokens": features[:, :, 0].mT,
        }[pool]
        assert output.shape == ((3, LENGTH, 5) if pool == "tokens" else (3, 5))
        torch.testing.assert_close(output, model.head(rows))


def test_without_padding_zero_is_a_token_as_any_other() -> None:
    x = tokens((16, 9, 1))
    with_it, without = net(), net(padding=False)
    assert torch.equal(with_it.forward_features(x), without.forward_features(x))  # dct mixes it either way
    torch.testing.assert_close(without(x), without.head(without.forward_features(x).mean((2, 3))))
    assert not torch.allclose(with_it(x), without(x))


def test_tokens_and_their_places_start_equally_large() -> None:
    model = net(dim=64, length=128, vocabulary=100)
    for weight in (model.stem.weight, model.positions.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert "positions.weight" in dict(model.named_parameters())
    assert not torch.allclose(*model._tokens(torch.full((1, 128), 3)).squeeze().T[:2])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
def test_tokens_may_be_of_any_whole_dtype(dtype: torch.dtype) -> None:
    x, model = tokens(), net()
    assert torch.equal(model(x.to(dtype)), model(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"img_size": 32}, "leave out img_size=32"),
        ({"patch_size": 1}, "leave out patch_size=1"),
        ({"in_chans": 3}, "leave out in_chans=3"),
        ({"norm": "image"}, "norm is 'image'; allowed for sequences: token"),
        ({"coordinates": True}, "coordinates is True; allowed for sequences: False"),
        ({"length": None}, "length is not given"),
        ({"vocabulary": None}, "vocabulary is not given"),
        ({"vocabulary": 1}, "vocabulary is 1; allowed: whole numbers from 2"),
        ({"length": 0}, "length is 0; allowed: whole numbers from 1"),
        ({"padding": 1}, "padding is 1; allowed: True, False"),
        ({"global_pool": "last"}, "global_pool is 'last'; allowed: 'avg', 'first', 'tokens', or '' with"),
    ],
    ids=str,
)
def test_what_no_net_for_sequences_is_is_told_in_one_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(MixerError) as caught:
        net(**options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_images_have_no_pooling_of_sequences() -> None:
    with pytest.raises(MixerError, match="allowed: 'avg', or '' with num_classes=0"):
        MixerNet("dct", 5, img_size=16, dim=16, depth=1, global_pool="first")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            torch.full((2, LENGTH), VOCABULARY),
            "token 11 is outside the vocabulary; allowed: 0, which is padding, to 10",
        ),
        (torch.full((2, LENGTH), -1), "token -1 is outside the vocabulary"),
        (torch.zeros(2, LENGTH), "the tokens are of torch.float32; allowed: whole numbers"),
        (torch.ones(2, LENGTH, dtype=torch.bool), "the tokens are of torch.bool"),
        (torch.ones(2, LENGTH + 1).long(), "built for sequences of 16 tokens (B x 16), this is 2 x 17"),
        (torch.ones(2, LENGTH - 1).long(), "this is 2 x 15; fill up with padding, which is 0"),
        (torch.ones(LENGTH).long(), "(B x 16), this is 16"),
        ([[1] * LENGTH], "the input is of list"),
    ],
    ids=str,
)
def test_wrong_tokens_are_told_in_one_line(wrong: Tensor, words: str) -> None:
    for model in (net(), net(padding=False)):
        with pytest.raises(MixerError) as caught:
            model(wrong)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_data_set_is_held_to_its_vocabulary_and_to_having_tokens() -> None:
    check_tokens(tokens(), LENGTH, VOCABULARY)
    with pytest.raises(MixerError, match="token 10 is outside the vocabulary"):
        check_tokens(torch.full((2, LENGTH), 10), LENGTH, 10)
    with pytest.raises(MixerError, match=r"sequence 1 has no tokens, padding alone \(1 such\)"):
        check_tokens(tokens((3, 0)), LENGTH, VOCABULARY)


def test_of_a_sequence_of_padding_the_first_token_counts() -> None:
    assert real_tokens(tokens((2, 0), 4)).squeeze(1).tolist() == [[True, True, False, False], [True] + [False] * 3]
    x = torch.randn(2, 3, 1, 4)
    assert torch.equal(pooled(x, "avg", real_tokens(tokens((2, 0), 4)))[1], x[1, :, 0, 0])


@pytest.mark.parametrize("mixer", list_mixers())
def test_every_mixer_trains_on_sequences_with_padding(mixer: str) -> None:
    model = net(mixer)
    loss = model(tokens()).square().mean()
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("mixer", ["attention", "performer", "linear_attention"])
def test_a_sequence_of_padding_alone_makes_no_nan(mixer: str) -> None:
    model = net(mixer)
    output = model(tokens((16, 0)))
    output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("mixer", ["dct", "attention", "linear_attention", "performer"])
def test_checkpointing_computes_the_same_gradients(mixer: str) -> None:
    gradients = []
    for enable in (False, True):
        model = net(mixer)
        model.set_grad_checkpointing(enable)
        model(tokens()).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("pool", ["avg", "first", "tokens"])
def test_flops_are_what_pytorch_counts(pool: str) -> None:
    model = net("attention(backend=plain)", global_pool=pool)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(tokens())
    assert counter.get_total_flops() == 3 * model.flops_executed() == 3 * model.flops()
    per_block = (6 * 16 * 16 + 4 * 16 * LENGTH + 2 * 16 * 16 + 4 * 16 * 32) * LENGTH
    assert model.flops() == 2 * per_block + 2 * 16 * 5 * (LENGTH if pool == "tokens" else 1)


def test_parameters_by_closed_form() -> None:
    vectors = VOCABULARY * 16 + 16 * LENGTH  # embedding and positions
    block = 3 * 2 * 16 + (16 + 1) * 16 + (16 + 1) * 32 + (32 + 1) * 16 + 2 * 16  # norms, three 1x1, two scales
    assert sum(p.numel() for p in net().parameters()) == vectors + 2 * block + 2 * 16 + (16 + 1) * 5


def test_saved_and_loaded_it_computes_the_same() -> None:
    model, x = net("attention", seed=1), tokens()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = net("attention")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize(
    ("options", "words"), [({"padding": False}, "padding=False"), ({"global_pool": "first"}, "global_pool=first")]
)
def test_weights_are_those_of_one_way_to_treat_padding_and_to_pool(options: dict[str, object], words: str) -> None:
    with pytest.raises(MixerError, match=words):
        net(**options).load_state_dict(net().state_dict())


def test_another_head_after_pre_training_takes_another_pooling() -> None:
    model = net(global_pool="tokens")
    model.reset_classifier(3, "avg")
    assert model(tokens()).shape == (3, 3)
    model.load_state_dict(model.state_dict())
    with pytest.raises(MixerError, match="global_pool is ''"):
        model.reset_classifier(3, "")


def test_positions_are_not_decayed_and_the_embedding_is() -> None:
    model = net()
    assert model.no_weight_decay() == {"positions.weight"} | not_decayed_by_mixers(model)
    assert "stem.weight" in dict(model.named_parameters())


def test_intermediates_are_the_outputs_of_the_blocks() -> None:
    model, x = net("attention").eval(), tokens()
    last, outputs = model.forward_intermediates(x, norm=True)
    assert [tuple(y.shape) for y in outputs] == [(3, 16, 1, LENGTH)] * 2
    assert torch.equal(outputs[-1], last)
    assert torch.equal(last, model.forward_features(x))
    assert [tuple(y.shape) for y in model.forward_intermediates(x, output_fmt="NLC")[1]] == [(3, LENGTH, 16)] * 2


def test_bfloat16_between_the_blocks_is_near_float32() -> None:
    x = tokens()
    expected = net("attention")(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for residual in ("float32", "bfloat16"):
            output = net("attention", residual=residual)(x)
            assert (output.float() - expected).norm() < 0.05 * expected.norm()


def test_an_empty_batch_gives_an_empty_output() -> None:
    for mixer in ("dct", "attention"):
        assert net(mixer)(tokens()[:0]).shape == (0, 5)


TAKE_PADDING = ["attention", "attention(backend=plain)", "attention(backend=torch)", "linear_attention", "performer"]
WITH_A_BATCH_NORM = "conv_mixer"  # what a token gets depends on all of the batch


def test_these_and_no_others_keep_padding_out() -> None:
    assert [name for name in list_mixers() if mixer_entry(name).cls.takes_padding] == [
        "attention",
        "conv_mixer",
        "linear_attention",
        "performer",
    ]


@pytest.mark.parametrize("mixer", TAKE_PADDING)
def test_what_stands_in_the_padding_and_how_much_there_is_changes_no_real_token(mixer: str) -> None:
    lengths = (10, 7, 1)
    short, long = (build(mixer, 16, (1, n)) for n in (10, 40))
    long.load_state_dict(short.state_dict())
    x = torch.randn(3, 16, 1, 40)
    real = (torch.arange(40) < torch.tensor(lengths)[:, None]).unsqueeze(1)
    other = torch.where(real.unsqueeze(1), x, 30 * torch.randn_like(x))
    expected = [short(x[i : i + 1, ..., :10], real[i : i + 1, :, :10]) for i in range(3)]
    for y in (long(x, real), long(other, real), long.reference(x, real).float(), long.reference(other, real).float()):
        for i, n in enumerate(lengths):
            torch.testing.assert_close(y[i, ..., :n], expected[i][0, ..., :n], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(long(x)[1, ..., :7], long(other)[1, ..., :7], atol=1e-3)  # without the mask it does


@pytest.mark.parametrize("mixer", [*TAKE_PADDING, WITH_A_BATCH_NORM])
@pytest.mark.parametrize("size", [(1, 9), (3, 4)], ids=str)
def test_with_padding_output_and_gradients_are_those_of_the_reference(mixer: str, size: tuple[int, int]) -> None:
    with default_dtype(torch.float64):
        module = build(mixer, 16, size)
        real = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) < 0.5
        real[:, 0, 0] = True
        x, cotangent = torch.randn(3, 16, *size), torch.randn(3, 16, *size)
        (y, grads), (expected, expected_grads) = (
            output_and_gradients(lambda x, f=f: f(x, real), module, x, cotangent) for f in (module, module.reference)
        )
        torch.testing.assert_close(y, expected)
        for name, gradient in grads.items():
            torch.testing.assert_close(gradient, expected_grads[name], msg=name)


@pytest.mark.parametrize("mixer", [*TAKE_PADDING, WITH_A_BATCH_NORM])
def test_a_mask_that_hides_nothing_changes_nothing(mixer: str) -> None:
    module, x = build(mixer, 16, (1, 12)), torch.randn(2, 16, 1, 12)
    torch.testing.assert_close(module(x, torch.ones(2, 1, 12, dtype=torch.bool)), module(x))


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_is_blind_to_padding_and_learns_nothing_of_it(training: bool) -> None:
    short, long = (build(WITH_A_BATCH_NORM, 16, (1, n)).train(training) for n in (7, 40))
    long.load_state_dict(short.state_dict())
    assert not build("conv_mixer(activation=none)", 16, (1, 7)).takes_padding
    x = torch.randn(3, 16, 1, 40)
    real = (torch.arange(40) < 7).expand(3, 1, 40)
    torch.testing.assert_close(long(x, real)[..., :7], short(x[..., :7]))
    for name, value in short.state_dict().items():
        torch.testing.assert_close(long.state_dict()[name], value)


def test_a_batch_norm_of_one_real_token_or_in_half_precision_stays_sound() -> None:
    module = build(WITH_A_BATCH_NORM, 16, (1, 8)).train()
    one = torch.zeros(1, 1, 8, dtype=torch.bool)
    one[..., 0] = True
    module(torch.randn(1, 16, 1, 8), one)
    assert all(value.isfinite().all() for value in module.state_dict().values())
    x, all_real = torch.randn(4, 16, 1, 8), torch.ones(4, 1, 8, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        padded, plain = module(x, all_real), module(x)
    assert padded.dtype == plain.dtype
    torch.testing.assert_close(padded.float(), plain.float(), rtol=0.02, atol=0.03)


@pytest.mark.parametrize("mixer", ["attention", "linear_attention", "performer"])
def test_a_net_is_blind_to_its_padding(mixer: str) -> None:
    # of one sequence in nets of two lengths, whose first positions are the same
    short, long = net(mixer, length=8).eval(), net(mixer, length=24).eval()
    state = short.state_dict()
    state["positions.weight"] = torch.cat([state["positions.weight"], torch.randn(16, 1, 16)], 2)
    long.load_state_dict(state)
    x = tokens((8, 5, 2), 8)
    torch.testing.assert_close(long(F.pad(x, (0, 16))), short(x), rtol=1e-5, atol=1e-5)


def test_the_mask_reaches_the_mixers_unless_there_is_no_padding() -> None:
    x, model = tokens((16, 4, 1)), net("attention").eval()
    state = model.state_dict()
    with torch.no_grad():
        before = model(x)
        model.stem.weight[0] += 3  # another vector for padding
        torch.testing.assert_close(model(x), before)
        blind = net("attention", padding=False).eval()
        blind.load_state_dict({name: value for name, value in state.items() if name != "_extra_state"})
        assert not torch.allclose(blind(x), before, atol=1e-3)


@pytest.mark.parametrize("backend", ["efficient", "cudnn"])
def test_an_operator_that_only_gpus_have_is_told_in_one_line(backend: str) -> None:
    with pytest.raises(
        UnsupportedSize, match=f"backend={backend}.* needs a GPU; allowed without: auto, torch, flash, plain"
    ):
        net(f"attention(backend={backend})")(tokens())


def test_records_say_which_operator_runs_with_padding() -> None:
    assert net("attention(backend=plain)").method_on("cpu") == "sdpa-plain"
    assert net("attention(backend=torch)").method_on("cpu") == "sdpa-flash"  # which takes a mask on a CPU
    seen = []
    model = net("attention", padding=True)
    model.blocks[0].mixer.method_on_padded = lambda *_: seen.append("padded") or "one"
    model.blocks[1].mixer.method_on_padded = lambda *_: "two"
    assert model.method_on("cpu") == "one+two" and seen
    assert net("attention", padding=False).method_on("cpu") == net("attention").mixers[0].method_on("cpu")


@pytest.mark.parametrize("mixer", list_mixers())
@pytest.mark.parametrize("length", [32, 48, 128, 1000])
def test_every_mixer_works_on_one_row_or_has_no_form_for_it(mixer: str, length: int) -> None:
    if mixer == "hadamard" and length == 1000:
        with pytest.raises(UnsupportedSize, match="no matrix for a side of 1000 tokens"):
            build(mixer, 16, (1, length))
        return
    module = build(mixer, 16, (1, length))
    x = torch.randn(1, 16, 1, length)
    y = module(x)
    expected = module.reference(x)
    tolerance = 1e-3 if mixer == "fft_magphase" else 1e-4
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance)
    assert (y.square().mean((0, 2, 3)) > 0).all()  # every channel says something


@pytest.mark.parametrize(("dim", "group"), [(64, 10), (8, 2), (24, 4)])
def test_shift_on_one_row_moves_left_and_right_and_nothing_else(dim: int, group: int) -> None:
    x = torch.randn(2, dim, 1, 7)
    y = build("shift", dim, (1, 7))(x)
    assert torch.equal(y[:, :group, :, :-1], x[:, :group, :, 1:]) and not y[:, :group, :, -1].any()
    assert torch.equal(y[:, group : 2 * group, :, 1:], x[:, group : 2 * group, :, :-1])
    assert not y[:, group : 2 * group, :, 0].any()
    assert torch.equal(y[:, 2 * group :], x[:, 2 * group :])


def test_what_is_another_map_on_one_row_says_so_in_a_checkpoint() -> None:
    assert [build("shift", 8, size).definition()["version"] for size in ((1, 4), (4, 4), (4, 1))] == [2, 1, 1]


@pytest.mark.parametrize("kernel", [3, 7])
def test_kernels_on_one_row_are_one_row_high(kernel: int) -> None:
    conv = create_mixer("conv_mixer", 8, (1, 20), kernel=kernel)
    assert conv.conv.weight.shape == (8, 1, 1, kernel)
    assert conv.flops() == 2 * kernel * 8 * 20
    assert create_mixer("pool", 8, (1, 20), kernel=kernel).flops() == kernel * 8 * 20
    assert create_mixer("conv_mixer", 8, (4, 5), kernel=kernel).conv.weight.shape == (8, 1, kernel, kernel)


@pytest.mark.parametrize("kind", ["random", "linear"])
def test_separable_on_one_row_is_dense_times_a_number(kind: str) -> None:
    separable, dense = build(f"{kind}_separable", 8, (1, 12)), build("linear", 8, (1, 12))
    rows, columns = separable.plane_matrices()
    with torch.no_grad():
        dense.matrix.copy_(columns.squeeze(0))
    x = torch.randn(2, 8, 1, 12)
    torch.testing.assert_close(separable(x), rows.squeeze() * dense(x))
    assert f"`{kind}`" in (type(separable).__doc__ or "")


@pytest.mark.parametrize("mixer", ["linear_fnet", "random_fnet"])
def test_fnets_matrices_go_over_tokens_and_channels(mixer: str) -> None:
    module, x = build(mixer, 16, (1, 9)), torch.randn(2, 16, 1, 9)
    expected = [module.channels @ row[:, 0] @ module.matrix.T for row in x]
    torch.testing.assert_close(module(x)[:, :, 0], torch.stack(expected))
    assert sum(p.numel() for p in module.parameters()) == (16 * 16 + 9 * 9 if mixer == "linear_fnet" else 0)


@pytest.mark.parametrize("mixer", ["linear_fnet", "random_fnet"])
def test_they_keep_the_variance(mixer: str) -> None:
    x = torch.randn(8, 64, 1, 256)
    assert build(mixer, 64, (1, 256))(x).var().item() == pytest.approx(1, rel=0.15)


def test_linear_fnet_starts_as_the_paper_does_where_it_is_asked_to() -> None:
    paper, ours = (create_mixer("linear_fnet", 64, (1, 256), init=init) for init in ("fnet", "unit"))
    assert [paper.matrix.std().item(), paper.channels.std().item()] == pytest.approx([0.02, 0.02], rel=0.05)
    assert [ours.matrix.std().item(), ours.channels.std().item()] == pytest.approx([1 / 16, 1 / 8], rel=0.05)
    ours.load_state_dict(paper.state_dict())  # where it started is not what it is
    assert torch.equal(ours.channels, paper.channels)
    with pytest.raises(MixerError, match="linear_fnet: init is 'lecun'; allowed: unit, fnet"):
        create_mixer("linear_fnet", 64, (1, 8), init="lecun")


def test_each_layer_of_random_fnet_has_matrices_of_its_own() -> None:
    first, second = net("random_fnet").mixers
    assert not torch.allclose(first.matrix, second.matrix) and not torch.allclose(first.channels, second.channels)
