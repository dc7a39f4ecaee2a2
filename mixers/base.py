"""The contract that every token mixer keeps."""

from __future__ import annotations

import copyreg
import functools
import inspect
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.fx
from torch import Tensor

from mixers.arguments import two_sides, whole_number
from mixers.errors import MixerError, UnsupportedSize
from mixers.fixed import FixedTensors
from mixers.saved import SavesDefinition

__all__ = ["Mixer", "MixerError", "UnsupportedSize"]


def _memory_format(name: str) -> torch.memory_format:
    return getattr(torch, name)


# by itself a memory format cannot be saved, nor then a net that keeps one
copyreg.pickle(torch.memory_format, lambda layout: (_memory_format, (str(layout).removeprefix("torch."),)))


class Mixer(FixedTensors, SavesDefinition):
    """Mixes tokens: real (B, dim, H, W) -> real (B, out_channels, H, W).

    A subclass calls `super().__init__(dim, size)`, may assign `out_channels`, and defines `forward` and `flops`. It
    mixes tokens and nothing else: norms, residuals and the output projection are the backbone's.

    `forward` and `reference` of a subclass get inputs of that shape alone; any other is refused before, and for an
    empty batch, which some operators refuse, they get an image of zeros. A checkpoint says of which class, version and
    options its weights are.

    Args:
        dim: channels of the input, a multiple of 8 in the backbone.
        size: (H, W) of the grid of tokens.

    Raises:
        MixerError: dim or size are no whole numbers.
        UnsupportedSize: dim or size is not positive.
    """

    memory_format: torch.memory_format = torch.contiguous_format  # the layout in which this mixer is fastest
    version: int = 1  # raised by whoever changes what it computes or what decays; two versions are never averaged
    takes_padding = False  # whether forward and reference also take real, bool (B, H, W), and keep the other tokens out
    ways: tuple[str, ...] = ("method", "backend")  # options that say how the map is computed, not which it is
    given_options: dict[str, Any] = {}
    seed: int

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        dim, (height, width) = whole_number("dim", dim), two_sides("size", size)
        if dim < 1 or height < 1 or width < 1:
            raise UnsupportedSize(f"dim {dim} on a grid of {height} x {width} tokens: all must be at least 1")
        self.dim = dim
        self.size = (height, width)
        self.out_channels = dim

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _keeping_options(cls.__init__)  # type: ignore[method-assign]
        for name in ("forward", "reference"):
            owner = next(base for base in cls.__mro__ if name in vars(base))
            if owner is cls or not issubclass(owner, Mixer):  # one from a class beside a mixer is held to it too
                setattr(cls, name, _checked(vars(owner)[name]))

    @property
    def tokens(self) -> int:
        """N = H W."""
        return self.size[0] * self.size[1]

    def check_size(self, x: Tensor) -> None:
        """Holds an input to (B, dim, H, W) of floating-point numbers.

        Raises:
            MixerError: it is anything else.
        """
        shape = (self.dim, *self.size)
        check_is_tensor(x)
        if x.ndim == 4 and x.shape[1:] == shape and x.is_floating_point():
            return
        built = f"{type(self).__name__} was built for inputs of {_by(shape)} (C x H x W)"
        if not x.is_floating_point():
            raise MixerError(f"{built} in floating point, this one is of {x.dtype}")
        if x.ndim != 4:
            raise MixerError(f"{built} behind the axis of the batch, this one has {x.ndim} axes: {_by(x.shape)}")
        raise MixerError(f"{built}, this one is {_by(x.shape[1:])}")

    def _is_empty(self, x: Tensor) -> bool:
        """Whether a checked input has no images."""
        if torch.jit.is_tracing():  # which warns of every comparison of a shape
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                self.check_size(x)
                return bool(x.shape[0] == 0)
        self.check_size(x)
        return x.shape[0] == 0

    def forward(self, x: Tensor) -> Tensor:
        raise self._lacks("forward(self, x)", "which mixes the tokens of x (B, dim, H, W)")

    def flops(self) -> int:
        """Real floating-point operations of the algorithm for one image, forward, 2 per multiply-add."""
        raise self._lacks("flops(self) -> int", "the operations for one image, 2 per multiply-add")

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that an optimizer must not decay, as timm asks a model; here they are the mixer's.

        Those with one axis, biases and gains, never decay and need not be named.
        """
        return set()

    def method_on(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        """Which implementation runs on this type of device for input of this dtype, as records name it."""
        return "plain"

    def method_on_padded(self, device: str, dtype: torch.dtype = torch.float32) -> str:
        """The same for input with padding, which a mixer that keeps it out may have to compute in another way."""
        return self.method_on(device, dtype)

    def flops_executed(self) -> int:
        """Operations that this implementation really does for one image."""
        return self.flops()

    def reference(self, x: Tensor) -> Tensor:
        """The plain definition, slow and obviously right; tests hold `forward` to it."""
        raise self._lacks("reference(self, x)", "the plain definition of forward")

    def _lacks(self, method: str, what: str) -> MixerError:
        return MixerError(f"{_class_and_file(type(self))} does not define {method}, {what}")

    def definition(self) -> dict[str, Any]:
        """Class, version, and the options that say which map this is; an attribute of an option's name goes first."""
        kept: dict[str, Any] = {}
        for name, given in self.given_options.items():
            value, resolved = _plain(given), _plain(getattr(self, name, None))
            if name not in self.ways and value is not _NOT_PLAIN:
                kept[name] = value if resolved is None or resolved is _NOT_PLAIN else resolved
        return {"class": type(self).__name__, "version": self.version, **kept}

    def become(self, saved: dict[str, Any]) -> None:
        """Draws the fixed tensors of the saved seed where only that is another.

        Raises:
            MixerError: the checkpoint is of another class or version, or of another option.
        """
        only_seed = {**saved, "seed": None} == {**saved, **self.definition(), "seed": None}
        if only_seed and saved.get("seed") is not None and self.fixed_names and hasattr(self, "seed"):
            if self.seed != saved["seed"]:
                self.seed = saved["seed"]
                self.init_non_persistent_buffers()
            return
        super().become(saved)

    def extra_repr(self) -> str:
        height, width = self.size
        return f"dim={self.dim}, size={height}x{width}, out_channels={self.out_channels}"


def check_is_tensor(x: Any) -> None:
    """Tells of an input that PyTorch would tell of by an attribute that it lacks.

    Raises:
        MixerError: x is no tensor.
    """
    if not isinstance(x, Tensor | torch.fx.Proxy):
        raise MixerError(f"the input is of {type(x).__name__}; allowed: a tensor, such as torch.as_tensor(images)")


def check_floating_point(x: Tensor) -> None:
    """For nets, whose layers would tell of it in their own words.

    Raises:
        MixerError: x is of whole or complex numbers, or no tensor.
    """
    check_is_tensor(x)
    if not x.is_floating_point():
        raise MixerError(f"the input is of {x.dtype}; allowed: floating point, such as images.float() / 255")


def _is_empty_mask(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bool and value.shape[:1] == (0,)


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """The value as JSON gives it back, or _NOT_PLAIN."""
    if isinstance(value, Tensor):
        return _NOT_PLAIN
    try:
        return json.loads(json.dumps(value, default=lambda number: number.item()))  # NumPy's, as plain ones
    except (AttributeError, TypeError, ValueError):
        return _NOT_PLAIN


def _class_and_file(cls: type) -> str:
    """Where to look for a class; one that was typed in has no file."""
    try:
        return f"class {cls.__name__} in {Path(inspect.getfile(cls)).name}"
    except (OSError, TypeError):
        return f"class {cls.__name__}"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _keeping_options(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that keeps what it was given beside dim and size, defaults too, in `given_options`."""
    parameters = inspect.signature(init)

    @functools.wraps(init)
    def keeping(self: Mixer, *args: Any, **kwargs: Any) -> None:
        if "given_options" not in vars(self):  # not again for the class above, which its subclass calls
            bound = parameters.bind(self, *args, **kwargs)  # raises what the call below would
            bound.apply_defaults()
            for name, check in (("dim", whole_number), ("size", two_sides)):
                if name in bound.arguments:
                    bound.arguments[name] = check(name, bound.arguments[name])
            given = {name: value for name, value in [*bound.arguments.items()][1:] if name not in ("dim", "size")}
            vars(self)["given_options"] = given  # before nn.Module's constructor, which leaves it there
            args, kwargs = bound.args[1:], bound.kwargs
        try:
            init(self, *args, **kwargs)
        except AttributeError as error:
            if "_modules" not in vars(self):  # what PyTorch says of it names neither class nor remedy
                raise _not_begun(type(self)) from error
            raise
        if not {"_modules", "dim", "size"} <= vars(self).keys():
            raise _not_begun(type(self))

    return keeping


def _not_begun(cls: type) -> MixerError:
    call = "super().__init__(dim, size)"
    return MixerError(f"{_class_and_file(cls)} does not call {call} at the beginning of its __init__")


def _checked(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method on inputs of the mixer's shape alone; see `Mixer`."""

    if not callable(function) and not isinstance(function, classmethod):
        return function
    parameters = [*inspect.signature(getattr(function, "__func__", function)).parameters, "x", "x"]
    first = parameters[0 if isinstance(function, staticmethod) else 1]
    if isinstance(function, staticmethod | classmethod):
        unbound = function

        def function(self: Mixer, *args: Any, **kwargs: Any) -> Tensor:
            return unbound.__get__(self, type(self))(*args, **kwargs)

    @functools.wraps(function)
    def checked(self: Mixer, *args: Any, **kwargs: Any) -> Tensor:
        if not args and first in kwargs:
            args = (kwargs.pop(first),)
        if not args or isinstance(args[0], torch.fx.Proxy):  # a symbolic trace knows no shapes
            return function(self, *args, **kwargs)
        x, *others = args
        if self._is_empty(x):
            others = [one.new_ones(1, *one.shape[1:]) if _is_empty_mask(one) else one for one in others]
            return function(self, torch.cat([x, x.new_zeros(1, *x.shape[1:])]), *others, **kwargs)[:0]
        return function(self, *args, **kwargs)

    return checked
