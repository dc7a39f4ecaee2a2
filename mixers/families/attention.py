"""Attention: the weights of the mixing are computed from the tokens themselves."""

from __future__ import annotations

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixers.arguments import bounded, divisor, whole_seed
from mixers.base import Mixer, MixerError, UnsupportedSize
from mixers.registry import register_mixer
from mixers.transforms.definitions import random_orthogonal_matrix
from mixers.transforms.methods import fastest

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "plain": SDPBackend.MATH,
}
# never chosen unasked: on Hopper, cuDNN's gradients of half precision are not finite for some inputs of 64, 192 ...
# tokens (https://github.com/pytorch/pytorch/issues/196678)
ON_REQUEST = ("cudnn",)
GPU_ALONE = ("efficient", "cudnn")  # backends that PyTorch has no operator of on a CPU
WITHOUT_GPU = ", ".join(name for name in ("auto", "torch", *BACKENDS) if name not in GPU_ALONE)

POSITIONS = ("sincos", "none")


class SelfAttention(Mixer):
    """What the mixers of this family have in common: heads, positions, and one projection to queries, keys and values.

    Without positions attention takes its tokens for a set: whatever their order, it gives the same. The transforms and
    the matrices of the other families know where each token stands, so attention is told, as in its paper: "sincos"
    adds sines and cosines of row and column to its input (Vaswani et al., 2017, along each axis of the image). They
    have no parameters, and are those of the grid it was built for. "none" leaves them out.

    Keys of padding are kept out of the sums over tokens, exactly: what a token gets does not depend on what stands in
    the padding, nor on how much there is. Each image or sequence must have one token that is none.
    """

    memory_format = torch.channels_last
    takes_padding = True
    head_widths: tuple[int, ...] = (32, 24, 16, 8)  # of a head by default: the first that divides dim
    positions: Tensor | None

    def __init__(self, name: str, dim: int, size: tuple[int, int], heads: int | None, positions: str) -> None:
        super().__init__(dim, size)
        if heads is None:
            heads = dim // next((width for width in self.head_widths if dim % width == 0), dim)
        heads = divisor(name, dim, heads, "heads")
        if positions not in POSITIONS:
            raise MixerError(f"{name} has no positions {positions!r}; allowed: {', '.join(POSITIONS)}")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.told_positions = positions == "sincos"
        if not self.told_positions:
            self.positions = None

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return {"positions": sines_and_cosines(self.dim, self.size)} if self.told_positions else {}

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, heads, N, d)."""
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)  # a view of channels_last input
        if self.positions is not None:
            tokens = tokens + self.positions.to(tokens.dtype)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def project_exactly(self, x: Tensor) -> tuple[Tensor, ...]:
        """The same in float64, by the formula."""
        weight, bias = self.qkv.weight.to(torch.float64), self.qkv.bias.to(torch.float64)
        tokens = x.to(torch.float64).flatten(2).mT  # [B, N, C]
        if self.positions is not None:
            tokens = tokens + self.positions.to(torch.float64)
        parts = (tokens @ weight.T + bias).chunk(3, 2)
        return tuple(part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)


def sines_and_cosines(dim: int, size: tuple[int, int]) -> Tensor:
    """(N, dim) in float64: in four channels at a time sine and cosine of the row and of the column, ever slower.

    The i-th of q = ceil(dim / 4) such groups turns by 10000^(-i / q) radians a token.
    """
    groups = -(-dim // 4)
    speeds = 10_000.0 ** -(torch.arange(groups, dtype=torch.float64) / groups)
    rows, columns = (torch.arange(n, dtype=torch.float64)[:, None] * speeds for n in size)
    rows, columns = rows[:, None].expand(*size, groups), columns[None].expand(*size, groups)
    return torch.stack([rows.sin(), rows.cos(), columns.sin(), columns.cos()], -1).flatten(2)[..., :dim].flatten(0, 1)


@register_mixer(
    "attention",
    family="attention",
    complexity="N C^2 + C N^2",
    paper="Attention Is All You Need (https://arxiv.org/abs/1706.03762)",
    year=2017,
)
class Attention(SelfAttention):
    """Multi-head self-attention.

    Y_h = softmax(Q_h K_h^T / sqrt(d)) V_h for each head h of width d, with Q, K, V = X W_q, X W_k, X W_v. Complexity
    6 N C^2 for the projections and 4 N^2 C for the two products. Runs through PyTorch's scaled dot-product attention,
    whose fused operators have no forward mode (`torch.func.jvp`) and no second derivative; backend="plain" has both.

    Differs from the paper in that the output projection is the block's own 1x1 convolution, and in that the positions
    are added at every layer instead of below the first. Heads are 64 wide in the paper and 16 here, for nets far less
    wide than its 512 channels; at dim 64, `heads` of 4, 2 and 1 make them 16, 32 and 64 wide.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        heads: number of heads; by default heads are 16 wide, or the wider of 24, 8 that divides dim.
        backend: of PyTorch's operator. "plain" forms the N x N weights in memory, as was usual in 2021; "flash",
            "efficient" and "cudnn" do not; "torch" is what PyTorch chooses; "auto" the fastest by crossovers.json, and
            never "cudnn", whose gradients are not always finite.
        positions: "sincos" or "none", see `SelfAttention`.

    Raises:
        MixerError: heads does not divide dim, or backend or positions is unknown.
        UnsupportedSize: in use, a backend that is for GPUs alone on a CPU.
    """

    version = 2  # 1 had heads 32 wide
    head_widths = (16, 24, 8)

    def __init__(
        self,
        dim: int,
        size: tuple[int, int],
        heads: int | None = None,
        backend: str = "auto",
        positions: str = "sincos",
    ) -> None:
        super().__init__("attention", dim, size, heads, positions)
        if backend not in ("auto", "torch", *BACKENDS):
            raise MixerError(f"attention has no backend {backend!r}; allowed: auto, torch, {', '.join(BACKENDS)}")
        self.backend = backend
        self.keep_fixed()

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        if x.device.type == "cpu" and self.backend in GPU_ALONE:
            raise UnsupportedSize(f"attention(backend={self.backend}) needs a GPU; allowed without: {WITHOUT_GPU}")
        q, k, v = self.project(x)
        mask = None if real is None else self._mask(real)
        backend = self._backend_on(x.device.type, q.dtype)
        if backend == "torch":
            return _image(F.scaled_dot_product_attention(q, k, v, mask), x)
        with sdpa_kernel(self._kernels(backend), set_priority=True):
            return _image(F.scaled_dot_product_attention(q, k, v, mask), x)

    def _mask(self, real: Tensor) -> Tensor:
        """(B, H, W) -> (B, 1, 1, N), for every query of every head.

        Raises:
            MixerError: the one operator that is to run takes none.
        """
        if self.backend == "flash" and real.device.type != "cpu":
            raise MixerError("attention(backend=flash) keeps no padding out on a GPU; allowed: auto, efficient, plain")
        return _keys(real).mT

    def _backend_on(self, device: str, dtype: torch.dtype) -> str:
        return fastest("attention", device, self.tokens, dtype) if self.backend == "auto" else self.backend

    def _kernels(self, backend: str) -> list[SDPBackend]:
        """Those that may run, the wanted one first."""
        wanted = [BACKENDS[backend]]
        if self.backend == "auto" and backend != "plain":  # others may lack this dtype or width
            wanted += [other for name, other in BACKENDS.items() if name not in (backend, *ON_REQUEST)]
        return wanted

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        return self._method_on(device, dtype, padded=False)

    def method_on_padded(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        return self._method_on(device, dtype, padded=True)  # not every operator takes a mask

    def _method_on(self, device: str, dtype: torch.dtype, padded: bool) -> str:
        backend = self._backend_on(device, dtype)
        if self.backend in ("auto", "torch") and (device == "cpu" or torch.cuda.is_available()):
            q = torch.empty(1, self.heads, self.tokens, self.dim // self.heads, device=device, dtype=dtype)
            with (
                contextlib.nullcontext()
                if backend == "torch"
                else sdpa_kernel(self._kernels(backend), set_priority=True)
            ):
                mask = torch.ones(1, 1, 1, self.tokens, dtype=torch.bool, device=device) if padded else None
                chosen = SDPBackend(torch._fused_sdp_choice(q, q, q, mask))
            backend = next((name for name, value in BACKENDS.items() if value == chosen), chosen.name.lower())
        return f"sdpa-{backend}"

    def flops(self) -> int:
        n, c = self.tokens, self.dim
        return 6 * n * c**2 + 4 * n**2 * c

    def reference(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        q, k, v = self.project_exactly(x)
        logits = _without_padding((q @ k.mT / math.sqrt(q.shape[-1])).mT, real).mT  # [B, heads, N, N]
        weights = torch.softmax(logits, dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2).mT.unflatten(2, self.size)


@register_mixer(
    "linear_attention",
    family="attention",
    complexity="N C^2",
    paper="Transformers are RNNs (https://arxiv.org/abs/2006.16236)",
    year=2020,
)
class LinearAttention(SelfAttention):
    """Attention with weights phi(q) . phi(k) in place of exp(q . k), phi(x) = elu(x) + 1, so that N^2 never appears.

    Y_h = phi(Q_h) (phi(K_h)^T V_h) / (phi(Q_h) phi(K_h)^T 1) for each head h of width d. Complexity 6 N C^2 for the
    projections, 4 N C d for the two products and 2 N C for the sums of the weights.

    The paper's layer without its causal mask, which is for text that is written token by token. Output projection and
    positions are as for `attention`.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        heads: number of heads; by default heads are 32 wide, or the widest of 24, 16, 8 that divides dim.
        positions: as for `attention`.

    Raises:
        MixerError: heads does not divide dim, or positions is unknown.
    """

    version = 2  # 1 cancelled for very negative keys

    def __init__(self, dim: int, size: tuple[int, int], heads: int | None = None, positions: str = "sincos") -> None:
        super().__init__("linear_attention", dim, size, heads, positions)
        self.keep_fixed()

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        q, k, v = self.project(x)
        dtype, (q, k, v) = v.dtype, _wide(q, k, v)
        with torch.autocast(x.device.type, enabled=False):
            k = _without_padding(k, real)  # phi of minus infinity is 0
            # phi(x) = exp(min(x, 0)) for negative x, where elu(x) + 1 cancels, and 1 + x for others; the largest
            # exponent of each feature over the keys, and then of each query, cancels in the quotient
            largest = k.amax(-2, keepdim=True).clamp(max=0).detach()
            weighing = torch.exp(k.clamp(max=0) - largest) + F.relu(k)
            exponents = q.clamp(max=0) + largest
            asking = (1 + F.relu(q)) * torch.exp(exponents - exponents.amax(-1, keepdim=True).detach())
            mixed = _weigh(asking, weighing, v)
        return _image(mixed.to(dtype), x)

    def flops(self) -> int:
        n, c = self.tokens, self.dim
        return 6 * n * c**2 + 4 * n * c * (c // self.heads) + 2 * n * c

    def reference(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        q, k, v = self.project_exactly(x)
        weights = _phi(q) @ _phi(_without_padding(k, real)).mT  # [B, heads, N, N]
        return (weights / weights.sum(-1, keepdim=True) @ v).transpose(1, 2).flatten(2).mT.unflatten(2, self.size)


@register_mixer(
    "performer",
    family="attention",
    complexity="N C^2 + N C features",
    paper="Rethinking Attention with Performers (https://arxiv.org/abs/2009.14794)",
    year=2020,
)
class Performer(SelfAttention):
    """FAVOR+: softmax attention estimated by positive random features.

    exp(q . k / sqrt(d)) is the mean over directions w of phi_w(q) phi_w(k), phi_w(x) = exp(w . x / d^(1/4) -
    |x|^2 / (2 sqrt(d))); the directions are drawn once, orthogonal in blocks of d, with Gaussian lengths. Complexity
    6 N C^2 for the projections, 8 N C m for m features, and 2 N m for each head's sums of the weights.

    Differs from the paper's code in that the features are divided by their largest value exactly, direction by
    direction, where that code adds a small number to them; and in that the directions are not drawn again. Output
    projection and positions are as for `attention`.

    With the paper's d ln d features it is dearer than attention on few tokens, which have fewer weights than that: by
    FLOPs it is the cheaper one from N > 2 m + m / (2 d), with heads 16, 32 and 64 wide from 90, 222 and 535 tokens on.

    Args:
        dim: channels.
        size: (H, W) of the grid.
        heads: number of heads; by default heads are 32 wide, or the widest of 24, 16, 8 that divides dim.
        features: m, directions for each head; by default d ln d.
        seed: of the generator that draws the directions, which all heads share.
        positions: as for `attention`.

    Raises:
        MixerError: heads does not divide dim, features is not from 1 to 65,536, or positions is unknown.
    """

    directions: Tensor

    def __init__(
        self,
        dim: int,
        size: tuple[int, int],
        heads: int | None = None,
        features: int | None = None,
        seed: int = 0,
        positions: str = "sincos",
    ) -> None:
        super().__init__("performer", dim, size, heads, positions)
        width = dim // self.heads
        features = max(1, int(width * math.log(width))) if features is None else features
        self.features = features = bounded("performer: features", features, 2**16)
        self.seed = whole_seed(seed)
        self.keep_fixed()

    def fixed_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        directions = _orthogonal_directions(self.features, self.dim // self.heads, generator)
        return {**super().fixed_tensors(dtype), "directions": directions}

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        q, k, v = self.project(x)
        dtype, (q, k, v) = v.dtype, _wide(q, k, v)
        with torch.autocast(x.device.type, enabled=False):
            q, k = self._exponents(q), _without_padding(self._exponents(k), real)
            # a factor for each direction, and one for each query, cancel in the quotient: nothing overflows, and no sum
            # of weights is less than one
            largest = k.amax(-2, keepdim=True).detach()
            q = q + largest
            q = torch.exp(q - q.amax(-1, keepdim=True).detach())
            mixed = _weigh(q, torch.exp(k - largest), v)
        return _image(mixed.to(dtype), x)

    def _exponents(self, x: Tensor) -> Tensor:
        """(..., N, d) -> (..., N, m), the exponents of the features."""
        x = x * (self.dim // self.heads) ** -0.25
        return torch.matmul(x, self.directions.to(x.dtype).mT) - x.square().sum(-1, keepdim=True) / 2

    def flops(self) -> int:
        n, c, m = self.tokens, self.dim, self.features
        return 6 * n * c**2 + 8 * n * c * m + 2 * n * m * self.heads

    def reference(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        q, k, v = self.project_exactly(x)
        exponents = [
            q_or_k @ self.directions.to(torch.float64).mT / q_or_k.shape[-1] ** 0.25
            - q_or_k.square().sum(-1, keepdim=True) / (2 * math.sqrt(q_or_k.shape[-1]))
            for q_or_k in (q, k)
        ]
        # the logarithm of the sum of phi_w(q) phi_w(k) over w, which itself is 0 for long queries and keys
        logits = exponents[0][..., :1] + exponents[1][..., :1].mT  # [B, heads, N, N]
        for w in range(1, self.features):
            logits = torch.logaddexp(logits, exponents[0][..., w : w + 1] + exponents[1][..., w : w + 1].mT)
        logits = _without_padding(logits.mT, real).mT
        return (torch.softmax(logits, -1) @ v).transpose(1, 2).flatten(2).mT.unflatten(2, self.size)


def _image(mixed: Tensor, x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, C, H, W), the grid that of x."""
    return mixed.transpose(1, 2).flatten(2).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def _keys(real: Tensor) -> Tensor:
    """(B, H, W) -> (B, 1, N, 1), to be held against keys (B, heads, N, d)."""
    return real.flatten(1)[:, None, :, None]


def _without_padding(keys: Tensor, real: Tensor | None) -> Tensor:
    """Keys (B, heads, N, d), or their exponents, minus infinity where the token is padding."""
    return keys if real is None else keys.masked_fill(~_keys(real), -math.inf)


def _phi(x: Tensor) -> Tensor:
    """elu(x) + 1."""
    return torch.where(x < 0, x.clamp(max=0).exp(), 1 + x)


def _wide(*tensors: Tensor) -> tuple[Tensor, ...]:
    """In float32 where they are in half precision, which has too few digits for exponents and overflows in sums."""
    half = tensors[0].dtype in (torch.bfloat16, torch.float16)
    return tuple(tensor.float() if half else tensor for tensor in tensors)


def _weigh(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Values (B, heads, N, d) weighed by q . k and divided by the sum of the weights, without N^2 of them."""
    mixed = torch.matmul(q, torch.matmul(k.mT, v))
    return mixed / torch.matmul(q, k.sum(-2)[..., None])


def _orthogonal_directions(count: int, width: int, generator: torch.Generator) -> Tensor:
    """(count, width): rows as long as Gaussian vectors, orthogonal within each block of `width` rows."""
    blocks = [random_orthogonal_matrix(width, generator) for _ in range(math.ceil(count / width))]
    lengths = torch.randn(count, width, generator=generator, dtype=torch.float64).norm(dim=1)
    return torch.cat(blocks)[:count] * lengths[:, None]
