"""The encoder for text: what it refuses, computes and costs. Held to `transformers` in test_pretrained.py."""

from __future__ import annotations

import io
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine.flops import flops_and_unknown
from mixers import MixerError, TextEncoder, create_mixer, list_mixers
from mixers.nets.encoder import in_text
from mixers.nets.mixing import not_decayed_by_mixers
from mixers.registry import mixer_entry, mixer_options
from mixers.spec import HYBRID_NAMES, parse

VOCABULARY, LENGTH, DIM = 11, 16, 16
FNET = "fft_real(scale=fnet)"


def encoder(mixer: str = "fft_real", **options: object) -> TextEncoder:
    torch.manual_seed(0)
    shape = {"vocabulary": VOCABULARY, "length": LENGTH, "dim": DIM, "depth": 2, **options}
    return TextEncoder(mixer, **shape)  # type: ignore[arg-type]


def tokens(lengths: tuple[int, ...] = (16, 9, 1)) -> Tensor:
    """Sequences of these lengths, filled up with padding."""
    drawn = torch.randint(1, VOCABULARY, (len(lengths), LENGTH), generator=torch.Generator().manual_seed(1))
    return drawn * (torch.arange(LENGTH) < torch.tensor(lengths)[:, None])


def second_half() -> Tensor:
    return (torch.arange(LENGTH) >= LENGTH // 2).long().expand(3, LENGTH)


@pytest.mark.parametrize("mixer", [*list_mixers(), "ff_only", FNET, *HYBRID_NAMES, "dct+attention(heads=2)"])
@pytest.mark.parametrize("padding", [False, True])
def test_every_mixer_trains_in_it_and_every_weight_gets_a_gradient(mixer: str, padding: bool) -> None:
    model = encoder(mixer, padding=padding, projection=True)
    hidden = model(tokens(), second_half())
    assert hidden.shape == (3, LENGTH, DIM)
    loss = model.predict(hidden, torch.tensor([[0, 3], [1, 2], [0, 0]])).square().mean() + model.pool(hidden).sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert len(model.mixers) == 2 and all(mixer.size == (1, LENGTH) for mixer in model.mixers)


def by_hand(model: TextEncoder, x: Tensor, types: Tensor, mix: object) -> Tensor:
    """The whole encoder in one go; `mix(layer, x)` gives the mixing sublayer of (B, N, C)."""
    norm = lambda x, of: F.layer_norm(x, (DIM,), of.weight, of.bias, model.eps)  # noqa: E731
    places = model.positions.weight[:, 0].T  # type: ignore[union-attr]
    y = norm(model.words.weight[x] + model.kinds.weight[types] + places, model.norm)
    if model.projection is not None:
        y = model.projection(y)
    for layer, block in enumerate(model.blocks):
        y = norm(y + mix(layer, y), block.norm1)  # type: ignore[operator]
        y = norm(y + block.contract(F.gelu(block.expand(y))), block.norm2)  # type: ignore[operator]
    return y


@pytest.mark.parametrize("projection", [False, True])
def test_ff_only_adds_each_token_to_itself(projection: bool) -> None:
    model, x = encoder("ff_only", projection=projection), tokens()
    expected = by_hand(model, x, second_half(), lambda layer, y: y)
    torch.testing.assert_close(model(x, second_half()), expected)
    assert all(block.dense is None for block in model._blocks())
    alone = x.clone()
    alone[0, 5] = 3 + (alone[0, 5] == 3)
    changed = (model(alone) - model(x)).abs().sum(-1) > 0
    assert changed.nonzero().tolist() == [[0, 5]]


@pytest.mark.parametrize("mixer", [FNET, "linear_fnet", "random_fnet"])
def test_fnets_own_mixing_is_its_formula(mixer: str) -> None:
    model, x = encoder(mixer), tokens()

    def mix(layer: int, y: Tensor) -> Tensor:
        own = model.mixers[layer]
        return torch.fft.fftn(y, dim=(1, 2)).real if mixer == FNET else own.matrix @ y @ own.channels.T  # type: ignore

    torch.testing.assert_close(model(x, second_half()), by_hand(model, x, second_half(), mix))
    assert all(block.dense is None for block in model._blocks())


def test_random_fnet_is_another_in_each_layer_and_of_each_seed() -> None:
    first, second = encoder("random_fnet").mixers
    other = encoder("random_fnet", seed=1).mixers[0]
    for one in (second, other):
        assert not torch.allclose(first.matrix, one.matrix)  # type: ignore[arg-type]
        assert not torch.allclose(first.channels, one.channels)  # type: ignore[arg-type]
    assert torch.equal(first.matrix, encoder("random_fnet").mixers[0].matrix)  # type: ignore[arg-type]


def fnet_layout(name: str, k: int, n: int) -> list[int]:
    """The layers with attention, as in google-research/f_net/models.py (`_init_hybrid_layers`)."""
    return {
        "hybrid_bottom": [i for i in range(n) if i < k],
        "hybrid_middle": [i for i in range(n) if n - k <= 2 * i < n + k],
        "hybrid_mixed": [i for i in range(n) if i % (n // k) == 0],
        "hybrid_top": [i for i in range(n) if i >= n - k],
    }[name]


@pytest.mark.parametrize(
    ("name", "layers"),
    [("hybrid_bottom", [0, 1]), ("hybrid_middle", [5, 6]), ("hybrid_mixed", [0, 6]), ("hybrid_top", [10, 11])],
)
def test_hybrids_have_attention_where_fnet_has_it(name: str, layers: list[int]) -> None:
    model = encoder(name, depth=12)
    assert fnet_layout(name, 2, 12) == layers
    assert [i for i, mixer in enumerate(model.mixers) if type(mixer).__name__ == "Attention"] == layers
    assert [i for i, block in enumerate(model._blocks()) if block.dense is not None] == layers
    assert all(mixer.positions is None for i, mixer in enumerate(model.mixers) if i in layers)


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("name", HYBRID_NAMES)
def test_in_shallow_nets_at_most_half_of_the_layers_are_attention(name: str, depth: int) -> None:
    k = min(2, depth // 2)
    places = [i for i, mixer in enumerate(parse(name).of_blocks(depth)) if mixer.name == "attention"]
    assert places == fnet_layout(name, k, depth)[:k] and len(places) == k


def test_the_scale_of_fnet_is_that_of_an_unscaled_transform() -> None:
    x = torch.randn(3, 8, 1, 12)
    for method in ("dense", "gemm", "fft"):
        one, other = (
            create_mixer(f"fft_real(method={method},scale={scale})", 8, (1, 12)) for scale in ("fnet", "unit")
        )
        expected = torch.fft.fftn(x, dim=(1, 2, 3)).real
        torch.testing.assert_close(one(x), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.reference(x).float(), expected)
        torch.testing.assert_close(other(x) * 96**0.5, expected, rtol=1e-4, atol=1e-4)
    assert create_mixer("fft_real", 8, (1, 12)).definition()["scale"] == "unit"
    with pytest.raises(MixerError, match="fft_real: scale is 'none'; allowed: unit, fnet"):
        create_mixer("fft_real(scale=none)", 8, (1, 12))


@pytest.mark.parametrize("mixer", ["dct", "attention", "fft_complex"])
def test_a_gain_multiplies_what_the_mixer_gives_back(mixer: str) -> None:
    plain, louder = encoder(mixer, depth=1), encoder(mixer, depth=1, gain=8.0)
    (block,) = louder._blocks()
    block.mixer.register_forward_hook(lambda module, given, result: result / 8)
    torch.testing.assert_close(louder(tokens()), plain(tokens()), rtol=1e-4, atol=1e-5)


def test_fnets_transform_is_the_orthonormal_one_with_a_gain() -> None:
    one, other = encoder("fft_real"), encoder("fft_real(scale=unit)", gain=(LENGTH * DIM) ** 0.5)
    torch.testing.assert_close(one(tokens()), other(tokens()), rtol=1e-4, atol=1e-4)


def test_which_mixers_have_a_dense_behind_them() -> None:
    for name in list_mixers():
        (block,) = encoder(name, depth=1)._blocks()
        wider = block.mixer.out_channels != DIM
        assert (block.dense is not None) == (mixer_entry(name).family == "attention" or wider), name
        if block.dense is not None:
            assert block.dense.weight.shape == (DIM, block.mixer.out_channels)


def test_a_mixer_is_built_as_text_needs_it() -> None:
    assert in_text(parse("attention")) == in_text(parse("attention(heads=2)")) == {"positions": "none"}
    assert in_text(parse("performer(positions=sincos)")) == {}
    assert in_text(parse("linear_fnet")) == {"init": "fnet"}
    assert in_text(parse("linear_fnet(init=unit)")) == {}
    assert in_text(parse("fft_real")) == {"scale": "fnet"}
    assert in_text(parse("dct")) == {}
    told = {name for name in list_mixers() if in_text(parse(name))}
    options = {name: mixer_options(mixer_entry(name).cls) for name in list_mixers()}
    assert told == {name for name, own in options.items() if {"positions", "init", "scale"} & {*own}}
    assert told == {"attention", "linear_attention", "performer", "linear_fnet", "fft_real"}


def test_all_weights_start_as_berts() -> None:
    model = encoder("attention", dim=64, vocabulary=300, length=128, types=40, projection=True)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
        else:
            assert parameter.unique().tolist() == [float("norm" in name and name.endswith("weight"))], name
    for matrix in encoder("linear_fnet", dim=64, length=128).mixers[0].parameters():
        assert matrix.std().item() == pytest.approx(0.02, rel=0.1)


def test_other_mixers_start_as_their_papers_say() -> None:
    for name in ("gmlp", "mlp_mixer", "afno"):
        torch.manual_seed(0)
        alone = create_mixer(name, 64, (1, 64))
        inside = encoder(name, dim=64, length=64, depth=1).mixers[0]
        for (of, mine), other in zip(inside.named_parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(mine.std(), other.std(), rtol=0.3, atol=1e-6, msg=of)  # of 64 numbers


def test_padding_is_mixed_unless_it_is_kept_out() -> None:
    x = tokens((16, 9, 3))
    model = encoder("attention", padding=True)
    alone = model(x)
    with torch.no_grad():
        model.words.weight[0] += 1.0
    moved = (model(x) - alone).abs().amax(-1) > 1e-6
    assert torch.equal(moved, x == 0)
    mixing = encoder("attention")
    assert (mixing(x) - alone)[1:].abs().amax() > 1e-3
    assert torch.equal(encoder("dct", padding=True)(x), encoder("dct")(x))


def test_predictions_are_those_of_the_places_asked_for() -> None:
    model, at = encoder(), torch.tensor([[0, 3, 15], [1, 1, 2], [4, 5, 6]])
    hidden = model(tokens())
    everywhere = model.predict(hidden)
    assert everywhere.shape == (3, LENGTH, VOCABULARY)
    expected = torch.stack([row[places] for row, places in zip(everywhere, at, strict=True)])
    torch.testing.assert_close(model.predict(hidden, at), expected)
    x = F.gelu(model.transform(hidden))
    x = F.layer_norm(x, (DIM,), model.transform_norm.weight, model.transform_norm.bias, 1e-12)
    torch.testing.assert_close(everywhere, x @ model.words.weight.T + model.bias)
    assert torch.equal(model.pool(hidden), model.pooler(hidden[:, 0]).tanh())


@pytest.mark.parametrize("mixer", ["attention", "fft_complex", "fft_real", "ff_only"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_some_places_alone_are_as_they_are_among_all(mixer: str, depth: int) -> None:
    model, at = encoder(mixer, depth=depth, padding=True), torch.tensor([[0, 3, 15], [0, 1, 1], [4, 0, 2]])
    whole, alone = model(tokens(), second_half()), model(tokens(), second_half(), at)
    torch.testing.assert_close(alone, torch.stack([row[places] for row, places in zip(whole, at, strict=True)]))
    gradients = [
        torch.autograd.grad(model.predict(*of).square().sum(), [*model.words.parameters(), *model.blocks.parameters()])
        for of in ((whole, at), (alone,))
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    seen = []
    for block in model._blocks():
        block.norm2.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    model(tokens(), None, at)
    assert seen == [LENGTH, LENGTH, 3][3 - depth :]


def test_activation_and_positions_are_what_they_say() -> None:
    x = tokens()
    assert not torch.equal(encoder(activation="gelu_new")(x), encoder()(x))
    torch.testing.assert_close(encoder(activation="gelu_new")(x), encoder()(x), atol=1e-3, rtol=0)
    same = torch.full((1, LENGTH), 3)
    assert encoder("ff_only", positions="none")(same).std(1).amax() < 1e-6
    for positions in ("learned", "sine"):
        assert encoder("ff_only", positions=positions)(same).std(1).amax() > 1e-3
    assert not any("positions" in name for name in encoder(positions="sine").state_dict())


def test_dropout_stands_behind_embeddings_and_denses() -> None:
    model = encoder("attention+fft_real", dropout=0.5)
    probabilities = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert probabilities == [0.5] * 3
    x = tokens()
    assert not torch.equal(model(x), model(x))
    dropped: dict[nn.Module, list[Tensor]] = {}
    for module in (model.dropout, *(block.dropout for block in model._blocks())):
        module.register_forward_hook(lambda module, inputs, output: dropped.setdefault(module, []).append(output))
    model(x)
    assert [len(outputs) for outputs in dropped.values()] == [1, 2, 1]  # attention has a dense of its own
    for output in itertools.chain(*dropped.values()):
        assert 0.3 < (output == 0).float().mean() < 0.7
    assert torch.equal(model.eval()(x), model(x))
    embedded = model.train()._embedded(x, None)
    assert 0.3 < (embedded == 0).float().mean() < 0.7


@pytest.mark.parametrize("options", [{}, {"projection": True}, {"ff_dim": 24, "depth": 3}], ids=str)
@pytest.mark.parametrize("mixer", ["attention", "fft_real(method=fft)", "fft_complex", "random_fnet", "ff_only"])
def test_flops_are_those_that_are_counted(mixer: str, options: dict[str, object]) -> None:
    model = encoder(mixer, **options)
    assert flops_and_unknown(model, tokens()) == (model.flops_executed(), [])
    at, hidden = torch.zeros(3, 5, dtype=torch.int64), model(tokens())
    head = flops_and_unknown(_Call(lambda hidden: model.predict(hidden, at)), hidden.detach())[0]
    pooler = flops_and_unknown(_Call(model.pool), hidden.detach())[0]
    assert model.flops_executed(5, True) - model.flops_executed() == head + pooler
    assert model.flops(5, True) - model.flops() == head + pooler


def test_flops_by_hand() -> None:
    n, c, own = LENGTH, DIM, 6 * LENGTH * DIM**2 + 4 * LENGTH**2 * DIM
    assert encoder("attention").flops() == 2 * (own + 2 * n * c * c + 2 * 2 * n * c * 4 * c)
    assert encoder("ff_only", projection=True).flops() == 2 * n * c * c + 2 * (2 * 2 * n * c * 4 * c)


class _Call(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)  # type: ignore[operator]


@pytest.mark.parametrize("mixer", ["attention", "fft_real", FNET, "hybrid_top", "linear_fnet", "dct"])
def test_under_bfloat16_autocast_it_is_near_and_trains(mixer: str) -> None:
    model, x = encoder(mixer, dim=32), tokens()
    exact = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(x)
        loss = model.predict(hidden, x[:, :3]).float().logsumexp(-1).mean() + model.pool(hidden).float().sum()
    assert (hidden - exact).abs().mean() < 0.03 * exact.abs().mean() + 0.01
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    half = encoder(mixer, dim=32).to(torch.bfloat16)
    assert half(x).dtype == torch.bfloat16
    assert encoder(mixer, dim=32).double()(x).dtype == torch.float64


@pytest.mark.parametrize(("mixer", "padding"), [("attention", False), ("attention", True), ("fft_real", False)])
def test_it_is_one_graph(mixer: str, padding: bool) -> None:
    model, x, at = encoder(mixer, padding=padding), tokens(), torch.zeros(3, 2, dtype=torch.int64)

    def step(x: Tensor, types: Tensor) -> Tensor:
        hidden = model(x, types)
        return model.predict(hidden, at).square().mean() + model.pool(hidden).sum()

    torch._dynamo.reset()
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    expected = step(x, second_half())
    loss = compiled(x, second_half())
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("mixer", ["attention", "random_fnet", "hybrid_top", FNET])
def test_a_checkpoint_gives_the_same_encoder_back(mixer: str) -> None:
    model, x = encoder(mixer, projection=True), tokens()
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    torch.manual_seed(7)
    other = TextEncoder(mixer, vocabulary=VOCABULARY, length=LENGTH, dim=DIM, depth=2, projection=True)
    other.load_state_dict(torch.load(buffer))
    assert torch.equal(other(x), model(x)) and torch.equal(other.predict(other(x)), model.predict(model(x)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"padding": True}, "padding=False"),
        ({"activation": "gelu_new"}, "activation=gelu"),
        ({"eps": 1e-5}, "eps=1e-12"),
        ({"mixer": "fft_real(scale=unit)"}, "scale=fnet"),
        ({"gain": 8.0}, "gain=1.0"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_encoder_is_refused(change: dict[str, object], words: str) -> None:
    other = encoder(**change)  # type: ignore[arg-type]
    with pytest.raises(MixerError, match=words):
        other.load_state_dict(encoder().state_dict())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vocabulary": 1}, "vocabulary is 1; allowed: whole numbers from 2"),
        ({"length": 0}, "length is 0; allowed: whole numbers from 1"),
        ({"dim": 20}, "dim is 20; allowed: multiples of 8"),
        ({"depth": -1}, "depth is -1"),
        ({"ff_dim": 0}, "ff_dim is 0"),
        ({"types": 0}, "types is 0"),
        ({"dropout": 1.0}, "dropout is 1.0; allowed: from 0 to below 1"),
        ({"padding": 1}, "padding is 1; allowed: True, False"),
        ({"projection": "yes"}, "projection is 'yes'; allowed: True, False"),
        ({"positions": "rotary"}, "positions is 'rotary'; allowed: none, learned, sine"),
        ({"activation": "relu"}, "activation is 'relu'; allowed: gelu, gelu_new"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"drop": 0.1}, "TextEncoder has no option 'drop'"),
        ({"mixer": "fft_reel"}, "Did you mean 'fft_real'?"),
        ({"mixer": "3xdct+attention"}, "names the mixers of 4 blocks, the depth is 2"),
        ({"mixer": "hybrid_top", "depth": 1}, "the depth is 1, allowed: from 2"),
    ],
    ids=str,
)
def test_what_no_encoder_is_is_told_in_one_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(MixerError) as caught:
        encoder(**options)  # type: ignore[arg-type]
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "types", "words"),
    [
        (torch.full((2, LENGTH), VOCABULARY), None, "token 11 is outside the vocabulary; allowed: 0"),
        (torch.ones(2, LENGTH + 1).long(), None, "built for sequences of 16 tokens (B x 16), this is 2 x 17"),
        (torch.ones(2, LENGTH), None, "the tokens are of torch.float32; allowed: whole numbers"),
        (torch.ones(2, LENGTH).long(), torch.zeros(2, 3).long(), "the types are 2 x 3 of torch.int64; allowed: whole"),
        (torch.ones(2, LENGTH).long(), torch.zeros(LENGTH).long(), "the types are 16 of torch.int64"),
        (torch.ones(2, LENGTH).long(), torch.zeros(2, LENGTH), "the types are 2 x 16 of torch.float32"),
        (torch.ones(2, LENGTH).long(), torch.full((2, LENGTH), 2), "there is no type 2 of tokens; allowed: 0 to 1"),
        (torch.ones(2, LENGTH).long(), [0], "the input is of list"),
    ],
    ids=str,
)
def test_wrong_input_is_told_in_one_line(x: Tensor, types: Tensor, words: str) -> None:
    with pytest.raises(MixerError) as caught:
        encoder()(x, types)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("at", [torch.zeros(2, 3).long(), torch.zeros(3).long(), torch.zeros(3, 2)], ids=str)
def test_wrong_places_are_told_in_one_line(at: Tensor) -> None:
    model = encoder()
    with pytest.raises(MixerError, match="allowed: int64, 3 x K, K of each sequence"):
        model.predict(model(tokens()), at)
    with pytest.raises(MixerError, match="allowed: int64, 3 x K, K of each sequence"):
        model(tokens(), None, at)


@pytest.mark.parametrize("place", [LENGTH, -1, 2**40])
@pytest.mark.parametrize("depth", [0, 2])
def test_a_place_outside_is_told_in_one_line(place: int, depth: int) -> None:
    model = encoder(depth=depth)
    at = torch.tensor([[0, 1], [2, place], [3, 4]])
    for ask in (lambda: model(tokens(), None, at), lambda: model.predict(model(tokens()), at)):
        with pytest.raises(MixerError, match=rf"^there is no place {place}; allowed: 0 to {LENGTH - 1}$"):
            ask()


def test_what_does_not_decay_and_which_method_runs() -> None:
    assert encoder("attention").no_weight_decay() == set()
    model = encoder("global_filter+attention", padding=True)
    assert model.no_weight_decay() == not_decayed_by_mixers(model)
    assert model.method_on("cpu").partition("+")[2].startswith("sdpa-")
