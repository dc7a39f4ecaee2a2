"""The encoder of BERT and FNet, for text: post-norm blocks in which only the token mixer changes."""

from __future__ import annotations

import inspect
from os import PathLike
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.arguments import check_rate, finite_number, flag, no_others, one_of, whole_number
from mixers.base import Mixer, MixerError, check_is_tensor
from mixers.families.attention import SelfAttention
from mixers.nets.mixing import create_mixer_of_layer, not_decayed_by_mixers
from mixers.nets.positions import POSITIONS, make_positions
from mixers.nets.stems import check_tokens, embedded, real_tokens
from mixers.registry import mixer_entry, mixer_options
from mixers.saved import SavesDefinition
from mixers.spec import MixerSpec, parse

ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh"}  # by transformers' names: PyTorch's approximation
SPREAD = 0.02  # the standard deviation of all weights at the start (Devlin et al., 2019)
# options of mixers that have another value here where nothing is said: places are told below the first block, and
# linear_fnet starts, and fft_real scales, as in the paper's code
IN_TEXT = {"positions": "none", "init": "fnet", "scale": "fnet"}


class TextEncoder(SavesDefinition):
    """BERT's encoder with any mixer in the place of attention: whole numbers (B, length) -> (B, length, dim).

    With "attention" it is BERT (Devlin et al., 2019, https://arxiv.org/abs/1810.04805), and with
    "fft_real", `projection` and four types it is FNet (Lee-Thorp et al., 2021,
    https://arxiv.org/abs/2105.03824). Embeddings of word, place and type are added and normed; then `depth` blocks

        x = norm(x + mix(x))
        x = norm(x + dense(gelu(dense(x))))

    on (B, length, dim), whose mixers see the grid (1, length). Behind attention and its like stands BERT's output
    dense, and behind a mixer of another width one back to dim; behind all others none, as in FNet. "conv1x1", also
    called "ff_only", is the identity, so that x + x goes into the norm: FNet's FF-only. Attention has no positions of
    its own here, and `linear_fnet` starts from N(0, 0.02^2), unless its options say otherwise. `pool` and `predict` are
    the two heads of pre-training.

    0 is padding. It is mixed like any token, as in FNet, unless `padding` keeps it out, as BERT does; that takes a
    mixer with `takes_padding`, and all others mix it all the same. Dropout stands where BERT has it, behind the
    embeddings and behind each dense that ends a sublayer; attention's weights have none.

    Args:
        mixer: as for `MixerNet`: one for all blocks, or one for each, such as "10xfft_real+2xattention" or
            "hybrid_top".
        vocabulary: how many tokens there are, padding too.
        length: N, tokens of a sequence; a shorter one is filled up with padding.
        dim: channels, a multiple of 8.
        depth: blocks.
        ff_dim: channels between the two denses of a block; by default 4 dim.
        types: how many types of tokens there are: 2 in BERT, 4 in FNet's checkpoints.
        dropout: rate.
        padding: whether padding is kept out.
        seed: of fixed random mixers; each block gets another one from it.
        eps: of the norms.
        projection: whether a dense stands behind the norm of the embeddings, as in FNet.
        positions: "learned", "sine" or "none", as for `MixerNet`.
        gain: what the mixers give back is multiplied by it. FNet's transform without a scale is the orthonormal one
            times sqrt(length dim).
        activation: "gelu", or "gelu_new" for its approximation by tanh, which FNet's checkpoints have.

    Raises:
        MixerError: an argument is not allowed, or the mixer is unknown or does not exist at this size.
    """

    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format

    def __init__(
        self,
        mixer: str = "fft_real",
        *,
        vocabulary: int,
        length: int,
        dim: int = 128,
        depth: int = 2,
        ff_dim: int | None = None,
        types: int = 2,
        dropout: float = 0.0,
        padding: bool = False,
        seed: int = 0,
        eps: float = 1e-12,
        projection: bool = False,
        positions: str = "learned",
        activation: str = "gelu",
        gain: float = 1.0,
        **others: Any,
    ) -> None:
        super().__init__()
        no_others("TextEncoder", others, inspect.signature(type(self)).parameters)
        self.mixer = mixer
        self.vocabulary = whole_number("vocabulary", vocabulary, 2)
        self.length = whole_number("length", length, 1)
        self.dim = dim = _channels(dim)
        self.depth = whole_number("depth", depth, 0)
        self.ff_dim = 4 * dim if ff_dim is None else whole_number("ff_dim", ff_dim, 1)
        self.types = whole_number("types", types, 1)
        check_rate("dropout", dropout)
        self.padding = flag("padding", padding)
        self.positions_kind = one_of("positions", positions, POSITIONS)
        self.activation = one_of("activation", activation, tuple(ACTIVATIONS))
        self.eps, self.gain = finite_number("eps", eps), finite_number("gain", gain)
        if self.eps < 0:
            raise MixerError(f"eps is {eps!r}; allowed: finite numbers from 0")
        self.words = nn.Embedding(self.vocabulary, dim)
        self.kinds = nn.Embedding(self.types, dim)
        self.positions = make_positions(positions, dim, (1, self.length))
        self.norm = nn.LayerNorm(dim, eps)
        self.projection = nn.Linear(dim, dim) if flag("projection", projection) else None
        self.dropout = nn.Dropout(dropout)
        specs = enumerate(parse(mixer).of_blocks(self.depth))
        self.blocks = nn.ModuleList(self._block(spec, layer, seed) for layer, spec in specs)
        self.pooler = nn.Linear(dim, dim)
        self.transform, self.transform_norm = nn.Linear(dim, dim), nn.LayerNorm(dim, eps)
        self.bias = nn.Parameter(torch.zeros(self.vocabulary))
        self._draw()

    def _block(self, spec: MixerSpec, layer: int, seed: int) -> EncoderBlock:
        mixer = create_mixer_of_layer(spec, self.dim, (1, self.length), layer, seed, **in_text(spec))
        dense = mixer_entry(spec).family == "attention" or mixer.out_channels != self.dim
        return EncoderBlock(
            mixer, dense, self.ff_dim, self.dropout.p, self.eps, ACTIVATIONS[self.activation], self.gain
        )

    def _draw(self) -> None:
        """Starts all weights as BERT's, but those of mixers that their own papers start in another way."""
        others = [mixer for mixer in self.mixers if not isinstance(mixer, SelfAttention)]
        kept = {module for mixer in others for module in mixer.modules()}
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding) and module not in kept:
                nn.init.normal_(module.weight, std=SPREAD)
            if isinstance(module, nn.Linear) and module not in kept:
                nn.init.zeros_(module.bias)

    def definition(self) -> dict[str, Any]:
        """What neither the weights nor the mixers' own entries tell."""
        own = {name: getattr(self, name) for name in ("padding", "activation", "eps", "gain")}
        return {"class": "TextEncoder", "positions": self.positions_kind, **own}

    @property
    def mixers(self) -> list[Mixer]:
        """The mixing layers, from the first block to the last."""
        return [block.mixer for block in self._blocks()]

    def _blocks(self) -> list[EncoderBlock]:
        return [block for block in self.blocks if isinstance(block, EncoderBlock)]

    def forward(self, tokens: Tensor, types: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """Tokens -> what the last block makes of each, (B, length, dim), or of those at some places, (B, K, dim).

        For some places alone the last block leaves out what it does to every other token by itself, which is most of
        its work; the outputs are the same.

        Args:
            tokens: whole numbers (B, length).
            types: of each token, whole numbers (B, length); without them all are of type 0.
            at: int64 (B, K), the places; None for all of them.

        Raises:
            MixerError: they have another shape or dtype; or, on a CPU, one is outside the vocabulary, of no such type
                or no place. A GPU is not waited for.
        """
        check_tokens(tokens, self.length)
        real = real_tokens(tokens) if self.padding else None
        x = self._embedded(tokens, types)
        if at is not None:
            check_places(at, len(tokens))
        for layer, block in enumerate(self.blocks, 1):
            x = block(x, real, at if layer == self.depth else None)
        return x if self.depth else taken(x, at)

    def _embedded(self, tokens: Tensor, types: Tensor | None) -> Tensor:
        x = embedded(tokens, self.words.weight)
        x = x + (self.kinds.weight[0] if types is None else self._of_types(tokens, types))
        if self.positions is not None:
            x = x + self.positions().flatten(1).mT.to(x.dtype)
        x = self.norm(x)
        return self.dropout(x if self.projection is None else self.projection(x))

    def _of_types(self, tokens: Tensor, types: Tensor) -> Tensor:
        check_is_tensor(types)
        if types.shape != tokens.shape or types.is_floating_point() or types.dtype == torch.bool:
            given, wanted = (" x ".join(map(str, tensor.shape)) for tensor in (types, tokens))
            allowed = f"allowed: whole numbers {wanted}, as the tokens"
            raise MixerError(f"the types are {given} of {types.dtype}; {allowed}, from 0 to {self.types - 1}")
        try:
            return F.embedding(types.long(), self.kinds.weight)
        except IndexError as error:
            lowest, highest = int(types.min()), int(types.max())
            given = str(lowest if lowest < 0 else highest)
            raise MixerError(f"there is no type {given} of tokens; allowed: 0 to {self.types - 1}") from error

    def pool(self, hidden: Tensor) -> Tensor:
        """What stands for the whole sequence: tanh of a dense on the first of (B, length, dim) -> (B, dim)."""
        return torch.tanh(self.pooler(hidden[:, 0]))

    def predict(self, hidden: Tensor, at: Tensor | None = None) -> Tensor:
        """Logits of what tokens stand at some places: (B, length, dim) -> (B, K, vocabulary).

        The decoder's matrix is that of the word embeddings.

        Args:
            hidden: what `forward` gave.
            at: int64 (B, K), the places; None for all that there are.

        Raises:
            MixerError: `at` has another shape or dtype, or, on a CPU, one is no place.
        """
        if at is not None:
            check_places(at, len(hidden))
        x = F.gelu(self.transform(taken(hidden, at)), approximate=ACTIVATIONS[self.activation])
        return F.linear(self.transform_norm(x), self.words.weight, self.bias)

    def no_weight_decay(self) -> set[str]:
        """What the mixers name; embeddings decay, as BERT's, and whatever has one axis does not."""
        return not_decayed_by_mixers(self)

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        """Which implementation of the mixers runs on this type of device; of several, all, in their order."""
        methods = [
            mixer.method_on_padded(device, dtype) if self.padding else mixer.method_on(device, dtype)
            for mixer in self.mixers
        ]
        return "+".join(dict.fromkeys(methods))

    def flops(self, places: int = 0, pooled: bool = False) -> int:
        """Real FLOPs of the algorithm for one sequence, forward, of all its places; 2 per multiply-add.

        Counted as in `MixerNet.flops`: mixers and denses.

        Args:
            places: K, at which `predict` is asked beside.
            pooled: whether `pool` is asked beside.
        """
        return self._flops([mixer.flops() for mixer in self.mixers], places, pooled)

    def flops_executed(self, places: int = 0, pooled: bool = False) -> int:
        """The same with what the mixers' implementations really do."""
        return self._flops([mixer.flops_executed() for mixer in self.mixers], places, pooled)

    def _flops(self, mixer_flops: list[int], places: int, pooled: bool) -> int:
        dim = self.dim
        denses = self.ff_dim * 2 * self.depth + (0 if self.projection is None else dim)
        denses += sum(block.mixer.out_channels for block in self._blocks() if block.dense is not None)
        heads = places * (dim + self.vocabulary) + dim * pooled
        return sum(mixer_flops) + 2 * dim * (denses * self.length + heads)

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], **options: Any) -> TextEncoder:
        """The encoder of a checkpoint of BERT or FNet, see `mixers.nets.pretrained.load`."""
        from mixers.nets.pretrained import load

        return load(cls, name, **options)

    def save_pretrained(self, folder: str | PathLike[str], order: nn.Linear | None = None) -> None:
        """Writes a checkpoint that `transformers` loads as BERT or FNet, see `mixers.nets.pretrained.save`."""
        from mixers.nets.pretrained import save

        save(self, folder, order)


class EncoderBlock(nn.Module):
    """One mixing layer and one two-layer perceptron per token, with a norm behind each sum: (B, N, dim), the same.

    Args:
        mixer: of the grid (1, N).
        dense: whether a dense to dim channels, and dropout, stand behind it.
        ff_dim: hidden channels of the perceptron.
        dropout: rate.
        eps: of the norms.
        approximate: of the GELU, as PyTorch calls it.
        gain: of the mixer.
    """

    def __init__(
        self, mixer: Mixer, dense: bool, ff_dim: int, dropout: float, eps: float, approximate: str, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.dense = nn.Linear(mixer.out_channels, mixer.dim) if dense else None
        self.norm1, self.norm2 = nn.LayerNorm(mixer.dim, eps), nn.LayerNorm(mixer.dim, eps)
        self.expand, self.contract = nn.Linear(mixer.dim, ff_dim), nn.Linear(ff_dim, mixer.dim)
        self.dropout = nn.Dropout(dropout)
        self.approximate, self.gain = approximate, gain

    def forward(self, x: Tensor, real: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """Of all tokens, or of those at the places `at` (B, K) alone; `real` (B, 1, N) says which are no padding."""
        told = (real,) if real is not None and self.mixer.takes_padding else ()
        # views, of what attention gives back too, with the channels last in memory
        mixed = self.mixer(x.mT.unsqueeze(2), *told).flatten(2).mT
        x, mixed = taken(x, at), taken(mixed, at)
        mixed = mixed if self.gain == 1 else mixed * self.gain
        if self.dense is not None:
            mixed = self.dropout(self.dense(mixed))
        x = self.norm1(x + mixed)
        hidden = F.gelu(self.expand(x), approximate=self.approximate)
        return self.norm2(x + self.dropout(self.contract(hidden)))


def in_text(spec: MixerSpec) -> dict[str, Any]:
    """What a TextEncoder sets of IN_TEXT: the options that a mixer of ours has, and of which nothing is said.

    >>> in_text(parse("attention(heads=2)"))
    {'positions': 'none'}
    """
    cls = mixer_entry(spec).cls
    own = mixer_options(cls) if cls.__module__.startswith("mixers.") else []
    return {name: value for name, value in IN_TEXT.items() if name in own and name not in dict(spec.options)}


def _channels(dim: Any) -> int:
    dim = whole_number("dim", dim, 8, "multiples of 8")
    if dim % 8:
        raise MixerError(f"dim is {dim}; allowed: multiples of 8")
    return dim


def taken(x: Tensor, at: Tensor | None) -> Tensor:
    """The tokens of (B, N, C) at the places (B, K), or all of them.

    Raises:
        MixerError: on a CPU, there is no such place.
    """
    if at is None:
        return x
    try:
        return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
    except RuntimeError as error:
        lowest, highest, last = int(at.min()), int(at.max()), x.shape[1] - 1
        if lowest >= 0 and highest <= last:
            raise
        raise MixerError(f"there is no place {lowest if lowest < 0 else highest}; allowed: 0 to {last}") from error


def check_places(at: Tensor, batch: int) -> None:
    """Raises:
    MixerError: the places are no int64 (batch, K).
    """
    check_is_tensor(at)
    if at.ndim != 2 or len(at) != batch or at.dtype != torch.int64:
        given = " x ".join(map(str, at.shape))
        raise MixerError(f"the places are {given} of {at.dtype}; allowed: int64, {batch} x K, K of each sequence")
