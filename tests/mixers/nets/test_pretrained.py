"""The encoder for text beside `transformers`: the same outputs and gradients, and its checkpoints, both ways."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from logging import Handler
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mixers import MixerError, TextEncoder
from mixers.nets.pretrained import weights

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")

VOCABULARY, LENGTH, DIM, DEPTH, BATCH = 37, 12, 32, 3, 4
FNET = "fft_real(scale=fnet)"
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": DIM,
    "num_hidden_layers": DEPTH,
    "intermediate_size": 48,
    "max_position_embeddings": LENGTH,
    "hidden_dropout_prob": 0.0,
    "initializer_range": 0.2,  # so that no branch is too small to matter
}


def theirs(kind: str, **options: Any) -> Any:
    """A model for pre-training whose every weight is drawn, biases and gains too; padding is a token as any other."""
    torch.manual_seed(0)
    if kind == "bert":
        sizes = {**SIZES, "num_attention_heads": 4, "attention_probs_dropout_prob": 0.0, "pad_token_id": None}
        model = transformers.BertForPreTraining(transformers.BertConfig(**{**sizes, **options}))
    else:
        model = transformers.FNetForPreTraining(transformers.FNetConfig(**{**SIZES, "pad_token_id": None, **options}))
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def ours(kind: str, folder: Path, model: Any, **options: Any) -> TextEncoder:
    model.save_pretrained(folder)
    return TextEncoder.from_pretrained(folder, **options)


def batch(types: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, VOCABULARY, (BATCH, LENGTH), generator=generator)
    return tokens, torch.randint(0, types, (BATCH, LENGTH), generator=generator)


def close(mine: Tensor, other: Tensor, what: str = "output") -> None:
    """To 1e-5 of the largest value; of 0.1 where all are smaller, as of keys' biases, whose gradient is 0."""
    scale = other.detach().abs().max().clamp(min=0.1)
    torch.testing.assert_close(mine / scale, other / scale, rtol=0, atol=1e-5, msg=lambda text: f"{what}: {text}")


def check_gradients(encoder: TextEncoder, gradients: dict[str, Tensor], kind: str) -> None:
    """Of all weights, of which some are parts of ours: of an encoder whose weights are the gradients."""
    grown = copy.deepcopy(encoder)
    for parameter, own in zip(grown.parameters(), encoder.parameters(), strict=True):
        assert own.grad is not None
        parameter.data = own.grad
    named = weights(grown, kind)
    assert {*gradients} - {*named} <= {"cls.seq_relationship.weight", "cls.seq_relationship.bias"}
    for name, gradient in named.items():
        close(gradient, gradients[name], name)


def gradients_of(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("kind", ["bert", "fnet"])
def test_outputs_and_gradients_are_theirs(kind: str, tmp_path: Path) -> None:
    model = theirs(kind)
    encoder = ours(kind, tmp_path, model, padding=False)
    assert encoder.mixer == {"bert": "attention(heads=4)", "fnet": FNET}[kind]
    tokens, types = batch(encoder.types)
    other = model(tokens, token_type_ids=types, output_hidden_states=True)
    hidden = encoder(tokens, types)
    close(hidden, other.hidden_states[-1])
    close(encoder.predict(hidden), other.prediction_logits)
    close(model.cls.seq_relationship(encoder.pool(hidden)), other.seq_relationship_logits)
    close(encoder(tokens), model(tokens, output_hidden_states=True).hidden_states[-1], "without types")
    found = gradients_of(loss_of(other.prediction_logits, other.seq_relationship_logits), model)
    loss_of(encoder.predict(hidden), model.cls.seq_relationship(encoder.pool(hidden))).backward()
    check_gradients(encoder, found, kind)


@pytest.mark.parametrize(("kind", "token"), [("bert", 0), ("fnet", 3)])
def test_the_token_of_padding_alone_has_a_gradient_that_is_not_theirs(kind: str, token: int, tmp_path: Path) -> None:
    model = getattr(theirs(kind, pad_token_id=token), kind)  # by itself: the decoder, which is tied, trains all tokens
    assert getattr(transformers, type(model.config).__name__)().pad_token_id == token
    with pytest.warns(UserWarning, match="lacks heads"):
        encoder = ours(kind, tmp_path, model, padding=False)
    tokens, types = batch(encoder.types)
    tokens[:, :4] = token
    other, hidden = model(tokens, token_type_ids=types).last_hidden_state, encoder(tokens, types)
    close(hidden, other)
    found = gradients_of(other.square().sum() + other[:, 3, 5].sum(), model)["embeddings.word_embeddings.weight"]
    (hidden.square().sum() + hidden[:, 3, 5].sum()).backward()
    mine = encoder.words.weight.grad
    assert mine is not None and not found[token].any() and mine[token].abs().max() > 0.01
    rest = torch.arange(VOCABULARY) != token
    close(mine[rest], found[rest])


def test_the_fnet_of_the_page_on_python_is_that_of_transformers_and_its_blocks_alone_are_none(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"vocabulary": VOCABULARY, "length": LENGTH, "dim": DIM, "depth": 2}
    whole = TextEncoder("fft_real", **sizes, projection=True, types=4, activation="gelu_new")
    whole.save_pretrained(tmp_path)
    config, usual = transformers.AutoConfig.from_pretrained(tmp_path), transformers.FNetConfig()
    assert (config.type_vocab_size, config.hidden_act) == (usual.type_vocab_size, usual.hidden_act)
    with pytest.raises(MixerError, match="mixer fft_real with projection=True; both with learned positions and gain 1"):
        TextEncoder("fft_real", **sizes).save_pretrained(tmp_path)


def loss_of(predictions: Tensor, pooled: Tensor) -> Tensor:
    return predictions.logsumexp(-1).square().mean() + predictions[:, 3, 5].sum() + pooled.square().sum()


def test_with_a_mask_outputs_and_gradients_of_bert_are_theirs(tmp_path: Path) -> None:
    model = theirs("bert", pad_token_id=0)
    encoder = ours("bert", tmp_path, model)
    assert encoder.padding
    tokens, types = batch(2)
    real = torch.arange(LENGTH) < torch.tensor([LENGTH, 7, 1, 3])[:, None]
    tokens = tokens * real
    other = model.bert(tokens, attention_mask=real.long(), token_type_ids=types)
    hidden = encoder(tokens, types)
    close(hidden[real], other.last_hidden_state[real])
    close(encoder.pool(hidden), other.pooler_output)
    without = model.bert(tokens, token_type_ids=types).last_hidden_state
    assert (hidden - without)[real].abs().max() > 0.01  # the mask matters
    predictions, pooled = model.cls.predictions(other.last_hidden_state), other.pooler_output
    found = gradients_of(predictions[real].logsumexp(-1).square().mean() + pooled.square().sum(), model)
    (encoder.predict(hidden)[real].logsumexp(-1).square().mean() + encoder.pool(hidden).square().sum()).backward()
    check_gradients(encoder, found, "bert")


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("mixer", ["attention", FNET])
def test_padding_is_mixed_or_kept_out_after_a_round_trip_as_before(mixer: str, padding: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(
        mixer, vocabulary=9, length=4, dim=16, depth=2, padding=padding, projection=mixer == FNET
    ).eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    encoder.save_pretrained(tmp_path)
    tokens = torch.tensor([[1, 5, 0, 0], [1, 2, 3, 4]])
    assert torch.equal(TextEncoder.from_pretrained(tmp_path).eval()(tokens), encoder(tokens))


@pytest.mark.parametrize("kind", ["bert", "fnet"])
def test_what_is_saved_is_theirs_and_comes_back(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    own = {"bert": {"mixer": "attention(heads=2)"}, "fnet": {"mixer": FNET, "projection": True}}[kind]
    options: dict[str, Any] = {"padding": kind == "bert", "types": 3, "dropout": 0.25, "eps": 1e-7, **own}
    if kind == "fnet":
        options["activation"] = "gelu_new"
    encoder = TextEncoder(vocabulary=VOCABULARY, length=LENGTH, dim=DIM, depth=2, **options)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    order = nn.Linear(DIM, 2)
    encoder.save_pretrained(tmp_path / "new" / "folder", order)
    model = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "new" / "folder").eval()
    assert type(model).__name__ == {"bert": "BertForPreTraining", "fnet": "FNetForPreTraining"}[kind]
    tokens, types = batch(3)
    encoder.eval()
    hidden, other = encoder(tokens, types), model(tokens, token_type_ids=types)
    close(encoder.predict(hidden), other.prediction_logits)
    close(order(encoder.pool(hidden)), other.seq_relationship_logits)
    again = TextEncoder.from_pretrained(tmp_path / "new" / "folder")
    for name in ("mixer", "padding", "types", "eps", "ff_dim", "depth", "dim", "length", "vocabulary", "activation"):
        assert getattr(again, name) == getattr(encoder, name), name
    assert again.dropout.p == 0.25
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), encoder.parameters(), strict=True))
    encoder.save_pretrained(tmp_path / "zero")
    model = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "zero")
    assert not model.cls.seq_relationship.weight.any() and not model.cls.seq_relationship.bias.any()


def test_a_shorter_length_takes_the_first_places(tmp_path: Path) -> None:
    model = theirs("bert")
    encoder = ours("bert", tmp_path, model, length=5, padding=False, dropout=0.5)
    assert encoder.length == 5 and encoder.dropout.p == 0.5
    tokens, types = (tensor[:, :5] for tensor in batch(2))
    close(encoder.eval()(tokens, types), model.bert(tokens, token_type_ids=types).last_hidden_state)


def test_without_heads_they_start_fresh_and_it_is_said(tmp_path: Path) -> None:
    model = theirs("bert").bert
    model.pooler = None
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="lacks heads, which start fresh: bert.pooler.dense.bias and 5 more"):
        encoder = TextEncoder.from_pretrained(tmp_path, padding=False)
    tokens, types = batch(2)
    close(encoder(tokens, types), model(tokens, token_type_ids=types).last_hidden_state)
    assert encoder.pooler.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert not encoder.bias.any()


@pytest.fixture
def verbose() -> Iterator[Any]:
    """What transformers logs meanwhile at its usual level, and its module for that, which is then as before."""
    logging, logged = transformers.utils.logging, []
    before, handler = logging.get_verbosity(), Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logging.set_verbosity_warning()
    logging.enable_progress_bar()
    logging.add_handler(handler)
    yield logging, logged
    logging.remove_handler(handler)
    logging.set_verbosity(before)


def test_reading_and_writing_print_nothing(verbose: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging, logged = verbose
    encoder = TextEncoder(FNET, vocabulary=9, length=4, dim=8, depth=1, projection=True)
    encoder.save_pretrained(tmp_path)
    TextEncoder.from_pretrained(tmp_path)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.WARNING, True)
    model = transformers.FNetModel.from_pretrained(tmp_path)
    logged.clear()
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="lacks heads"):
        TextEncoder.from_pretrained(tmp_path)
    assert not logged
    transformers.FNetForPreTraining.from_pretrained(tmp_path)
    assert logged  # which it would have been


def _told(folder: Any, **options: Any) -> str:
    with pytest.raises(MixerError) as caught:
        TextEncoder.from_pretrained(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vocabulary": 261}, "has vocabulary 37; 261 was asked for"),
        ({"dim": 64}, "has dim 32; 64 was asked for"),
        ({"depth": 2}, "has depth 3; 2 was asked for"),
        ({"length": LENGTH + 1}, "length is 13; the checkpoint"),
        ({"length": 0}, "length is 0; allowed: whole numbers from 1"),
        ({"lenght": 4}, "from_pretrained has no option 'lenght'"),
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_fit_is_told_in_one_line(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    theirs("bert").save_pretrained(tmp_path)
    assert words in _told(tmp_path, **options)
    assert TextEncoder.from_pretrained(tmp_path, vocabulary=37, dim=32, depth=3, types=2, ff_dim=48).dim == 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gpt2"}, "is a checkpoint of gpt2; allowed: bert, fnet"),
        ({"vocab_size": 38}, "are not of the sizes in its config: bert.embeddings.word_embeddings.weight"),
        ({"num_hidden_layers": 4}, "lacks weights: bert.encoder.layer.3."),
        ({"num_hidden_layers": 2}, "has weights of which its config knows nothing: bert.encoder.layer.2."),
        ({"num_hidden_layers": 2.5}, "is no checkpoint that transformers finds: Validation error"),
        ({"vocab_size": "x"}, "is no checkpoint that transformers finds: Validation error for field 'vocab_size'"),
        ({"layer_norm_eps": "a"}, "is no checkpoint that transformers finds: Validation error"),
        ({"layer_norm_eps": -1.0}, "eps is -1.0; allowed: finite numbers from 0"),
        ({"model_type": ["bert"]}, "is no checkpoint that transformers finds: unhashable"),
        ({"hidden_act": "relu"}, "has hidden_act 'relu', which TextEncoder has not"),
        ({"is_decoder": True}, "has is_decoder True, which TextEncoder has not"),
        ({"pad_token_id": 3}, "is token 3, here it is 0; give padding=False"),
        ({"hidden_size": 36}, "dim is 36; allowed: multiples of 8"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_kind_is_told_in_one_line(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    theirs("bert").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    assert words in _told(tmp_path)


@pytest.mark.parametrize("kind", ["bert", "fnet"])
def test_weights_of_layers_that_the_config_has_not_are_refused_without_heads_too(kind: str, tmp_path: Path) -> None:
    getattr(theirs(kind), kind).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 1}))
    assert "has weights of which its config knows nothing: encoder.layer.1." in _told(tmp_path)


@pytest.mark.parametrize("kind", ["bert", "fnet"])
def test_what_checkpoints_have_beside_the_encoder_is_left_out(kind: str, tmp_path: Path) -> None:
    files = pytest.importorskip("safetensors.torch")
    model = theirs(kind)
    model.save_pretrained(tmp_path)
    beside = {
        f"{kind}.embeddings.position_ids": torch.arange(LENGTH)[None],
        f"{kind}.embeddings.token_type_ids": torch.zeros(1, LENGTH, dtype=torch.int64),
        "classifier.weight": torch.zeros(2, DIM),
        "qa_outputs.bias": torch.zeros(2),
    }
    path = tmp_path / "model.safetensors"
    files.save_file(files.load_file(path) | beside, path, metadata={"format": "pt"})
    tokens, types = batch(2)
    close(TextEncoder.from_pretrained(tmp_path)(tokens, types), getattr(model, kind)(tokens, token_type_ids=types)[0])


def test_what_is_no_checkpoint_is_told_in_one_line(tmp_path: Path) -> None:
    assert "is no checkpoint that transformers finds" in _told(tmp_path / "missing" / "folder")
    theirs("fnet").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    assert "cannot be read: " in _told(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "is no checkpoint that transformers finds" in _told(tmp_path)


@pytest.mark.parametrize(
    ("mixer", "options"),
    [
        ("dct", {}),
        ("fft_real(scale=unit)", {"projection": True}),
        ("fft_real", {"projection": True, "gain": 2.0}),
        (FNET, {}),
        ("attention", {"projection": True}),
        ("attention", {"positions": "sine"}),
        ("attention(positions=sincos)", {}),
        ("hybrid_top", {}),
        ("attention(heads=1)+attention(heads=2)", {}),
        ("attention", {"depth": 0}),
    ],
    ids=str,
)
def test_what_transformers_does_not_know_is_not_saved_as_its_own(
    mixer: str, options: dict[str, Any], tmp_path: Path
) -> None:
    encoder = TextEncoder(mixer, **{"vocabulary": 9, "length": 4, "dim": 8, "depth": 2, **options})
    with pytest.raises(MixerError, match="transformers has no model for this encoder of") as caught:
        encoder.save_pretrained(tmp_path / "new")
    assert "\n" not in str(caught.value) and not (tmp_path / "new").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(MixerError, match="is a file; name a folder"):
        TextEncoder("attention", vocabulary=9, length=4, dim=8, depth=1).save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("order", [nn.Linear(8, 2), nn.Linear(16, 3), nn.Linear(16, 2, bias=False), nn.Tanh()], ids=str)
def test_a_head_of_order_of_other_sizes_is_told_in_one_line(order: Any, tmp_path: Path) -> None:
    encoder = TextEncoder("attention", vocabulary=9, length=4, dim=16, depth=1)
    with pytest.raises(MixerError, match=r"^order is \w+\(.*\); allowed: None, or nn.Linear\(16, 2\)$"):
        encoder.save_pretrained(tmp_path / "new", order)
    assert not (tmp_path / "new").exists()


def test_where_nothing_can_be_written_it_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder("attention", vocabulary=9, length=4, dim=8, depth=1)
    (tmp_path / "file").write_text("mine")

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nroom")

    with pytest.raises(MixerError, match=r"^the checkpoint cannot be written to .*; name a folder that can be w\w+$"):
        encoder.save_pretrained(tmp_path / "file" / "below")
    monkeypatch.setattr(transformers.BertForPreTraining, "save_pretrained", full)
    with pytest.raises(MixerError, match=r"\(no room\); name a folder that can be written$"):
        encoder.save_pretrained(tmp_path / "new")


def test_without_transformers_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "type pip install 'token-mixers[text]'" in _told("google/fnet-base")
    with pytest.raises(MixerError, match=r"pip install 'token-mixers\[text\]'"):
        TextEncoder("attention", vocabulary=9, length=4, dim=8, depth=1).save_pretrained(tmp_path)
