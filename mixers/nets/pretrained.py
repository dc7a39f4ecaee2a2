"""Checkpoints of BERT and FNet, as `transformers` reads and writes them, in a TextEncoder and back."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixers.arguments import no_others, whole_number
from mixers.errors import MixerError
from mixers.families.attention import Attention
from mixers.families.spectral import FFTReal
from mixers.nets.positions import LearnedPositions

Encoder = Any  # a TextEncoder, whose module stands on this one
CLASSES = {"bert": "BertForPreTraining", "fnet": "FNetForPreTraining"}  # by model type
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_new", "gelu_pytorch_tanh": "gelu_new"}
SIZES = ("vocabulary", "dim", "depth", "ff_dim", "types")
HEADS = ("pooler", "cls")  # parts of the names of weights that a checkpoint may lack
# what is tied to another weight, starts from zero, or is not taken over: nobody is told of
UNTOLD = ("cls.predictions.decoder.", "cls.predictions.bias", "cls.seq_relationship.")
BUFFERS = ("position_ids", "token_type_ids")  # numbers that older checkpoints have among their weights
WRITTEN = "BERT, mixer attention, or FNet, mixer fft_real with projection=True; both with learned positions and gain 1"


def load(
    cls: type[Encoder],
    name: str | PathLike[str],
    *,
    length: int | None = None,
    padding: bool | None = None,
    dropout: float | None = None,
    **wanted: int,
) -> Encoder:
    """The encoder of a checkpoint of BERT or FNet, with its pooler and its head of predictions.

    Heads that it lacks start fresh, with a warning. The dropout of BERT's attention weights is left out. Outputs and
    gradients are those of `transformers`, but for one: there the look-up of the config's `pad_token_id`, by default 3
    in FNet and 0 in BERT, gives its embedding no gradient; here the look-up of every token does.

    Args:
        cls: the class to build.
        name: a folder, or a name on the hub such as "google/fnet-base".
        length: of the sequences; by default all places that the checkpoint has.
        padding: as for `TextEncoder`; by default kept out of BERT whose config has a token of padding, else mixed.
        dropout: by default the checkpoint's own.
        wanted: `vocabulary`, `dim`, `depth`, `ff_dim` or `types` that the checkpoint has to have.

    Raises:
        MixerError: `transformers` is missing; there is no such checkpoint; or it is of another model, size or
            vocabulary.
    """
    transformers = _transformers()
    name = str(name)
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except Exception as error:  # whatever a nonsensical config makes the readers raise
        raise MixerError(f"{name!r} is no checkpoint that transformers finds: {_one_line(error)}") from error
    options = _options(name, config)
    _hold_to(name, options, wanted)
    options |= {"length": _length(name, options["length"], length), "dropout": _or(dropout, options["dropout"])}
    options["padding"] = _or(padding, config.model_type == "bert" and config.pad_token_id is not None)
    if options["padding"] and config.pad_token_id not in (0, None):
        raise MixerError(f"the padding of {name!r} is token {config.pad_token_id}, here it is 0; give padding=False")
    encoder = cls(**options)
    state = _state(transformers, name, config.model_type)
    with torch.no_grad():
        for key, weight in weights(encoder, config.model_type).items():
            if key in state:
                weight.copy_(state[key][: len(weight)])  # a shorter length takes the first places
    return encoder


def save(encoder: Encoder, folder: str | PathLike[str], order: nn.Linear | None = None) -> None:
    """Writes the encoder and its heads as BertForPreTraining or FNetForPreTraining.

    Args:
        encoder: of attention, or of FNet's own transform.
        folder: made where there is none.
        order: the head on `pool` that tells the order of two sentences, (dim) -> (2); without one that of the
            checkpoint is zero.

    Raises:
        MixerError: `transformers` is missing, it knows no such encoder, `order` is of other sizes, or the folder is a
            file or cannot be written.
    """
    transformers = _transformers()
    kind = _kind(encoder)
    order = _zero_order(encoder.dim) if order is None else _order(order, encoder.dim)
    model = getattr(transformers, CLASSES[kind])(_config(transformers, encoder, kind))
    state = {name: weight.detach() for name, weight in weights(encoder, kind).items()}
    decoder = {"weight": encoder.words.weight.detach(), "bias": encoder.bias.detach()}
    state |= {f"cls.predictions.decoder.{name}": weight for name, weight in decoder.items()}
    state |= {name: weight.detach() for name, weight in _of("cls.seq_relationship", order).items()}
    model.load_state_dict(state)
    try:
        if Path(folder).is_file():
            raise MixerError(f"{str(folder)!r} is a file; name a folder")
        with _quiet(transformers):
            model.save_pretrained(folder)
    except MixerError:
        raise
    except Exception as error:  # of the system, or of the writer of the weights
        why = f"the checkpoint cannot be written to {str(folder)!r} ({_one_line(error)})"
        raise MixerError(f"{why}; name a folder that can be written") from error


def weights(encoder: Encoder, kind: str) -> dict[str, Tensor]:
    """The weights of an encoder, or views of them, by the names that they have in `transformers`.

    Args:
        encoder: whose weights they are.
        kind: "bert" or "fnet".
    """
    embeddings = f"{kind}.embeddings"
    assert isinstance(encoder.positions, LearnedPositions)
    named = {
        f"{embeddings}.word_embeddings.weight": encoder.words.weight,
        f"{embeddings}.token_type_embeddings.weight": encoder.kinds.weight,
        f"{embeddings}.position_embeddings.weight": encoder.positions.weight.flatten(1).mT,
        **_of(f"{embeddings}.LayerNorm", encoder.norm),
        **_of(f"{kind}.pooler.dense", encoder.pooler),
        "cls.predictions.bias": encoder.bias,
        **_of("cls.predictions.transform.dense", encoder.transform),
        **_of("cls.predictions.transform.LayerNorm", encoder.transform_norm),
    }
    if encoder.projection is not None:
        named |= _of(f"{embeddings}.projection", encoder.projection)
    for layer, block in enumerate(encoder.blocks):
        named |= _of_block(f"{kind}.encoder.layer.{layer}", block)
    return named


def _of_block(place: str, block: Any) -> dict[str, Tensor]:
    named = {
        **_of(f"{place}.intermediate.dense", block.expand),
        **_of(f"{place}.output.dense", block.contract),
        **_of(f"{place}.output.LayerNorm", block.norm2),
    }
    if block.dense is None:
        return named | _of(f"{place}.fourier.output.LayerNorm", block.norm1)
    for part, weight in block.mixer.qkv.named_parameters():
        names = [f"{place}.attention.self.{name}.{part}" for name in ("query", "key", "value")]
        named |= dict(zip(names, weight.chunk(3), strict=True))
    named |= _of(f"{place}.attention.output.dense", block.dense)
    return named | _of(f"{place}.attention.output.LayerNorm", block.norm1)


def _of(place: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{place}.{name}": weight for name, weight in module.named_parameters()}


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        why = "checkpoints of BERT and FNet are read and written by transformers, which is not installed"
        raise MixerError(f"{why}; type pip install 'token-mixers[text]'") from error
    return transformers


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without what transformers would print, of which errors and warnings here are told by us."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _options(name: str, config: Any) -> dict[str, Any]:
    """What a TextEncoder of this config is built with.

    Raises:
        MixerError: it is of another model.
    """
    if config.model_type not in CLASSES:
        raise MixerError(f"{name!r} is a checkpoint of {config.model_type}; allowed: {', '.join(CLASSES)}")
    bert = config.model_type == "bert"
    unlike = {
        "hidden_act": config.hidden_act not in ACTIVATIONS,
        "is_decoder": getattr(config, "is_decoder", False),
        "position_embedding_type": getattr(config, "position_embedding_type", "absolute") != "absolute",
        "tie_word_embeddings": not getattr(config, "tie_word_embeddings", True),
    }
    for field in [field for field, other in unlike.items() if other]:
        raise MixerError(f"{name!r} has {field} {getattr(config, field)!r}, which TextEncoder has not")
    return {
        "mixer": f"attention(heads={config.num_attention_heads})" if bert else "fft_real(scale=fnet)",
        "vocabulary": config.vocab_size,
        "length": config.max_position_embeddings,
        "dim": config.hidden_size,
        "depth": config.num_hidden_layers,
        "ff_dim": config.intermediate_size,
        "types": config.type_vocab_size,
        "dropout": config.hidden_dropout_prob,
        "eps": config.layer_norm_eps,
        "projection": not bert,
        "activation": ACTIVATIONS[config.hidden_act],
    }


def _hold_to(name: str, options: dict[str, Any], wanted: dict[str, Any]) -> None:
    no_others("from_pretrained", wanted, ("length", "padding", "dropout", *SIZES))
    for size, value in wanted.items():
        if options[size] != value:
            raise MixerError(f"the checkpoint {name!r} has {size} {options[size]}; {value!r} was asked for")


def _length(name: str, most: int, length: int | None) -> int:
    length = most if length is None else whole_number("length", length, 1)
    if length > most:
        raise MixerError(f"length is {length}; the checkpoint {name!r} has {most} places, allowed: up to {most}")
    return length


def _state(transformers: Any, name: str, kind: str) -> dict[str, Tensor]:
    """The weights of a checkpoint, without those that it lacks.

    Raises:
        MixerError: it cannot be read, it is not of the sizes that its config names, it lacks more than heads, or its
            encoder has more than the config names.
    """
    options = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with _quiet(transformers):
            model, info = getattr(transformers, CLASSES[kind]).from_pretrained(name, **options)
    except Exception as error:  # whatever a broken file makes the readers raise
        raise MixerError(f"the weights of {name!r} cannot be read: {_one_line(error)}") from error
    others = sorted(str(key[0]) if isinstance(key, tuple) else str(key) for key in info["mismatched_keys"])
    if others:
        raise MixerError(f"the weights of {name!r} are not of the sizes in its config: {_first(others)}")
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(UNTOLD))
    needed = [key for key in missing if not any(part in key.split(".")[:2] for part in HEADS)]
    if needed:
        raise MixerError(f"the checkpoint {name!r} lacks weights: {_first(needed)}")
    more = sorted(key for key in info["unexpected_keys"] if _of_encoder(key, kind))
    if more:
        raise MixerError(f"the checkpoint {name!r} has weights of which its config knows nothing: {_first(more)}")
    if missing:
        warnings.warn(f"the checkpoint {name!r} lacks heads, which start fresh: {_first(missing)}", stacklevel=4)
    return {key: weight for key, weight in model.state_dict().items() if key not in missing}


def _of_encoder(key: str, kind: str) -> bool:
    """Whether a checkpoint's weight is one of the encoder, not of a head: of a checkpoint with heads or without."""
    return key.removeprefix(f"{kind}.").startswith(("embeddings.", "encoder.")) and not key.endswith(BUFFERS)


def _kind(encoder: Encoder) -> str:
    """The model of `transformers` that an encoder is.

    Raises:
        MixerError: there is none.
    """
    kinds = {_kind_of(mixer) for mixer in encoder.mixers}
    kind = kinds.pop() if len(kinds) == 1 else None
    learned = isinstance(encoder.positions, LearnedPositions)
    if kind is None or not learned or encoder.gain != 1 or (encoder.projection is not None) != (kind[0] == "fnet"):
        raise MixerError(f"transformers has no model for this encoder of {encoder.mixer}; it has {WRITTEN}")
    return kind[0]


def _kind_of(mixer: nn.Module) -> tuple[str, int] | None:
    if type(mixer) is Attention and mixer.positions is None:
        return "bert", mixer.heads
    return ("fnet", 0) if type(mixer) is FFTReal and mixer.factor != 1 else None


def _config(transformers: Any, encoder: Encoder, kind: str) -> Any:
    options = {
        "vocab_size": encoder.vocabulary,
        "hidden_size": encoder.dim,
        "num_hidden_layers": encoder.depth,
        "intermediate_size": encoder.ff_dim,
        "hidden_act": encoder.activation,
        "hidden_dropout_prob": encoder.dropout.p,
        "max_position_embeddings": encoder.length,
        "type_vocab_size": encoder.types,
        "layer_norm_eps": encoder.eps,
        "pad_token_id": 0 if encoder.padding else None,  # one that is mixed is trained as any other
    }
    if kind == "fnet":
        return transformers.FNetConfig(**options)
    attention: Any = encoder.mixers[0]
    return transformers.BertConfig(**options, num_attention_heads=attention.heads, attention_probs_dropout_prob=0.0)


def _order(order: Any, dim: int) -> nn.Linear:
    """Raises:
    MixerError: it is no head (dim) -> (2).
    """
    sizes = {name: weight.shape for name, weight in _zero_order(dim).named_parameters()}
    if not isinstance(order, nn.Linear) or {name: w.shape for name, w in order.named_parameters()} != sizes:
        raise MixerError(f"order is {_one_line(order)}; allowed: None, or nn.Linear({dim}, 2)")
    return order


def _zero_order(dim: int) -> nn.Linear:
    order = nn.Linear(dim, 2)
    for weight in order.parameters():
        nn.init.zeros_(weight)
    return order


def _first(names: Iterable[str]) -> str:
    names = list(names)
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _one_line(what: object) -> str:
    return " ".join(str(what).split())[:200]


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
