"""Augmentation of whole batches on their device, random by one generator only.

No image is handled by itself and nothing is brought back to the host: a step on a GPU need not wait. What is random
comes from the generator that is passed, so that a run resumed with its state goes on bit for bit.

Cost on one thread of a server CPU, batches of 256 images of 3 x 32 x 32, microseconds an image: none 1, light 5 to 8,
strong 45 to 57; three more where the images come out channels_last. That is with an allocator that keeps its memory
(glibc's MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_); page faults add up to half.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contract.facts.datasets import DatasetInfo

PAD_FRACTION = 1 / 8  # of the side, before the random crop: 4 px at 32
RAND_OPS = 2  # RandAugment's n
RAND_MAGNITUDE = 9  # RandAugment's m, of MAX_MAGNITUDE
MAX_MAGNITUDE = 30
MIXUP_ALPHA = 0.8
CUTMIX_ALPHA = 1.0
# half of the batches stay as they are: small nets on a hundred epochs gain little from more
MIXUP_PROBABILITY = 0.25
CUTMIX_PROBABILITY = 0.25

Triple = tuple[float, float, float]


class Augment:
    """One recipe: uint8 images and labels in, normalised images and soft targets out.

    Args:
        level: none: normalise; light: crop and flip too; strong: RandAugment, and CutMix or Mixup too.
        info: the data set.
        label_smoothing: share of a target that is spread over all classes.
        memory_format: of the images that come out.
        mixup_probability: share of batches, under strong.
        cutmix_probability: share of batches, under strong.

    Raises:
        UserError: the level would change the class of this data set's images.
    """

    def __init__(
        self,
        level: str,
        info: DatasetInfo,
        label_smoothing: float = 0.0,
        memory_format: torch.memory_format = torch.contiguous_format,
        *,
        mixup_probability: float = MIXUP_PROBABILITY,
        cutmix_probability: float = CUTMIX_PROBABILITY,
    ) -> None:
        info.check_augment(level)
        self.level = level
        self.info = info
        self.label_smoothing = label_smoothing
        self.memory_format = memory_format
        self.mixup_probability = mixup_probability
        self.cutmix_probability = cutmix_probability

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images, uint8 (B, 3, H, W), and labels (B,) -> float32 (B, 3, H, W) and targets (B, classes)."""
        if self.level != "none":
            images = crop_and_flip(images, generator)
        if self.level == "strong":
            images = rand_augment(images, generator)
        pixels = self.prepare(images)
        targets = soft_targets(labels, self.info.num_classes, self.label_smoothing)
        if self.level == "strong":
            pixels, targets, _ = mix(
                pixels,
                targets,
                generator,
                mixup_probability=self.mixup_probability,
                cutmix_probability=self.cutmix_probability,
            )
        return pixels, targets

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float32, and nothing more: what validation and test images get."""
        return normalise(images, self.info.mean, self.info.std, self.memory_format)


def normalise(
    images: Tensor, mean: Triple, std: Triple, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """uint8 (B, 3, H, W) -> float32, with `mean` and `std` per channel given on [0, 1]."""
    scale, shift = _scale_and_shift(mean, std, images.device)
    return images.float().mul_(scale).add_(shift).contiguous(memory_format=memory_format)


def soft_targets(labels: Tensor, num_classes: int, smoothing: float = 0.0) -> Tensor:
    """Labels (B,) -> float32 (B, num_classes), rows summing to 1, `smoothing` of it spread over all classes."""
    spread = smoothing / num_classes
    targets = torch.full((len(labels), num_classes), spread, device=labels.device)
    return targets.scatter_(1, labels[:, None], 1 - smoothing + spread)


def crop_and_flip(images: Tensor, generator: torch.Generator, pad_fraction: float = PAD_FRACTION) -> Tensor:
    """Pads with black, cuts the old size out at a random place, and mirrors every other image, each by its own draw.

    Args:
        images: uint8 (B, C, H, W).
        generator: on the images' device.
        pad_fraction: padding on each edge, of that side's length; at least one pixel.
    """
    batch, channels, height, width = images.shape
    pad_y, pad_x = (max(1, round(side * pad_fraction)) for side in (height, width))
    padded = F.pad(images, (pad_x, pad_x, pad_y, pad_y))
    draw = functools.partial(torch.randint, size=(batch, 1), generator=generator, device=images.device)
    top, left, flip = draw(0, 2 * pad_y + 1), draw(0, 2 * pad_x + 1), draw(0, 2)
    rows = top + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    columns = left + torch.where(flip.bool(), width - 1 - columns, columns)
    # one gather for crop and flip: where each pixel comes from in the padded plane
    index = (rows * padded.shape[3])[:, :, None] + columns[:, None, :]  # (B, H, W)
    index = index.view(batch, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).view_as(images)


def rand_augment(
    images: Tensor, generator: torch.Generator, ops: int = RAND_OPS, magnitude: int = RAND_MAGNITUDE
) -> Tensor:
    """RandAugment: `ops` of fourteen operations at one magnitude on each image.

    Cubuk, Zoph, Shlens, Le, "RandAugment: Practical automated data augmentation with a reduced search space", 2020,
    https://arxiv.org/abs/1909.13719. Ranges are torchvision's; pixels are interpolated bilinearly and black comes in
    from outside. In place of one draw an image, a random permutation deals the batch out in equal shares, one an
    operation, and half of a share gets the operation's other sign.

    Args:
        images: uint8 (B, 3, H, W).
        generator: on the images' device.
        ops: operations an image, one after the other; a round may draw what another drew.
        magnitude: of 30.
    """
    for _ in range(ops):
        order = torch.randperm(len(images), generator=generator, device=images.device)
        dealt = _apply_in_shares(images.index_select(0, order), magnitude)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        images = dealt.index_select(0, back)
    return images


def mix(
    images: Tensor,
    targets: Tensor,
    generator: torch.Generator,
    *,
    mixup_probability: float = MIXUP_PROBABILITY,
    cutmix_probability: float = CUTMIX_PROBABILITY,
    mixup_alpha: float = MIXUP_ALPHA,
    cutmix_alpha: float = CUTMIX_ALPHA,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixes each image with the next one of the batch, by Mixup, by CutMix or not at all, drawn once a batch.

    Mixup: Zhang, Cisse, Dauphin, Lopez-Paz, 2018, https://arxiv.org/abs/1710.09412. CutMix: Yun et al., 2019,
    https://arxiv.org/abs/1905.04899. All three are one weighted mean with a weight a pixel, so that the host need not
    know which was drawn.

    Args:
        images: float (B, C, H, W), in an order that is random already.
        targets: (B, classes).
        generator: on the images' device.
        mixup_probability: share of batches.
        cutmix_probability: share of batches.
        mixup_alpha: of the Beta(alpha, alpha) from which an image's weight is drawn.
        cutmix_alpha: of the Beta(alpha, alpha) from which the kept share of the area is drawn.

    Returns:
        Images, targets, and lam, 0-dim: the share of an image that is its own.
    """
    device = images.device
    draws = torch.rand(3, 1, generator=generator, device=device)
    choice, centre = draws[0], draws[1:]
    kept = _beta(cutmix_alpha, generator, device)
    inside = _box((images.shape[-2], images.shape[-1]), centre, (1 - kept).sqrt())
    lam = _beta(mixup_alpha, generator, device)
    weight = torch.where(choice < cutmix_probability, 1.0 - inside.float(), lam)  # (H, W)
    weight = weight.masked_fill_(choice >= cutmix_probability + mixup_probability, 1.0)
    lam = weight.mean()
    mixed = images.roll(1, 0).lerp_(images, weight.to(images.dtype))
    return mixed, torch.lerp(targets.roll(1, 0), targets, lam.to(targets.dtype)), lam


def _box(size: tuple[int, int], centre: Tensor, side: Tensor) -> Tensor:
    """A box cut off at the edges, bool (H, W); `centre` (2, 1) and `side` (1,) in shares of the image."""
    lengths, pixels = _lengths_and_pixels(size, centre.device)
    half = (side * lengths).floor_().div_(2)
    middle = centre * lengths
    inside = (pixels >= (middle - half).round_()) & (pixels < middle.add_(half).round_())
    return inside[0, : size[0], None] & inside[1, : size[1]]


@functools.lru_cache(maxsize=16)
def _lengths_and_pixels(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Float32 (2, 1), and (longer side,)."""
    return torch.tensor(size, dtype=torch.float32)[:, None].to(device), torch.arange(float(max(size))).to(device)


def _beta(alpha: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """One draw from Beta(alpha, alpha), (1,): torch's own sampler takes no generator."""
    quantiles = _beta_quantiles(alpha, device)
    return quantiles[torch.randint(len(quantiles), (1,), generator=generator, device=device)]


@functools.lru_cache(maxsize=16)
def _beta_quantiles(alpha: float, device: torch.device, count: int = 4096) -> Tensor:
    from scipy import stats

    quantiles = stats.beta.ppf((np.arange(count) + 0.5) / count, alpha, alpha)
    return torch.tensor(quantiles, dtype=torch.float32, device=device)


@functools.lru_cache(maxsize=16)
def _scale_and_shift(mean: Triple, std: Triple, device: torch.device) -> tuple[Tensor, Tensor]:
    """(3, 1, 1) each, so that normalising is a multiplication and an addition."""
    mean_, std_ = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (mean, std))
    return (1 / (255 * std_)).float().to(device), (-mean_ / std_).float().to(device)


# The operations of RandAugment, in the order of their shares of a batch. Those that leave pixels where they are give
# torchvision's values, in a few kernels for all of them: many small kernels are what a step waits for.

SIGNED_OPS = ("brightness", "color", "contrast", "sharpness")
UNSIGNED_OPS = ("identity", "posterize", "solarize", "autocontrast", "equalize")

# from a pixel of the result to where it comes from, both counted from the image's centre: rows of a 2 x 3 matrix in
# (x, y, 1), given the level and the image's height and width in pixels
AffineOp = Callable[[float, int, int], tuple[Triple, Triple]]
AFFINE_OPS: dict[str, AffineOp] = {
    # as in PIL, a shear leaves the edge at the origin where it is
    "shear_x": lambda level, h, w: ((1, 0.3 * level, 0.3 * level * h / 2), (0, 1, 0)),
    "shear_y": lambda level, h, w: ((1, 0, 0), (0.3 * level, 1, 0.3 * level * w / 2)),
    "translate_x": lambda level, h, w: ((1, 0, -round(150 / 331 * level * w)), (0, 1, 0)),
    "translate_y": lambda level, h, w: ((1, 0, 0), (0, 1, -round(150 / 331 * level * h))),
    "rotate": lambda level, h, w: _rotation(math.radians(30 * level)),
}
OPS = (*AFFINE_OPS, *SIGNED_OPS, *UNSIGNED_OPS)


def _rotation(angle: float) -> tuple[Triple, Triple]:
    return (math.cos(angle), -math.sin(angle), 0), (math.sin(angle), math.cos(angle), 0)


def share(name: str, batch: int) -> tuple[slice, slice]:
    """The places of a dealt batch that get an operation: with plus, with minus (none where it has no sign)."""
    ends = [batch * i // (2 * len(OPS)) for i in range(2 * len(OPS) + 1)]
    start = 2 * OPS.index(name)
    if name in UNSIGNED_OPS:
        return slice(ends[start], ends[start + 2]), slice(0, 0)
    return slice(ends[start], ends[start + 1]), slice(ends[start + 1], ends[start + 2])


def _shares(first: str, last: str, batch: int) -> slice:
    """The places of a dealt batch that get one of neighbouring operations."""
    plus, minus = share(last, batch)
    return slice(share(first, batch)[0].start, max(plus.stop, minus.stop))


def _apply_in_shares(images: Tensor, magnitude: int) -> Tensor:
    """Applies to each share of a dealt batch, uint8 (B, 3, H, W), its operation."""
    level = magnitude / MAX_MAGNITUDE
    result = torch.empty_like(images)
    places = functools.partial(_shares, batch=len(images))
    if (warped := places("shear_x", "rotate")).stop:
        grid = _affine_grid(len(images), (images.shape[2], images.shape[3]), level, images.device)
        pixels = F.grid_sample(images[warped].float(), grid, mode="bilinear", align_corners=False)
        result[warped] = pixels.round_()
    if (blended := places("brightness", "contrast")).stop > blended.start:
        result[blended] = _blended(images[blended], len(images), level)
    if (sharpened := places("sharpness", "sharpness")).stop > sharpened.start:
        result[sharpened] = _sharpness(images[sharpened], len(images), level)
    if (looked_up := places("identity", "equalize")).stop > looked_up.start:
        values = images[looked_up].flatten(2).long()
        tables = _fixed_tables(len(images), level, images.device)
        sizes = [len(tables), *(_count(places(name, name)) for name in ("autocontrast", "equalize"))]
        _, stretched, equalized = values.split(sizes)
        tables = torch.cat([tables, _autocontrast_tables(stretched), _equalize_tables(equalized)])
        result[looked_up] = tables.gather(2, values).view_as(images[looked_up])
    return result


def _blended(images: Tensor, batch: int, level: float) -> Tensor:
    """Brightness, color and contrast: each pixel blended with black, its grey or the image's mean grey.

    uint8 to float32.
    """
    red, green, blue = images.unbind(1)
    grey = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()[:, None]
    contrast = grey[_count(_shares("brightness", "color", batch)) :]
    contrast.copy_(contrast.mean((1, 2, 3), keepdim=True))
    own, others = _blend_weights("brightness", "contrast", batch, level, images.device)
    return torch.addcmul(images * own, grey, others).clamp_(0, 255)


def _sharpness(images: Tensor, batch: int, level: float) -> Tensor:
    """Each pixel but the outermost blended with a smooth image; uint8 to float32."""
    pixels = images.float()
    if min(pixels.shape[2:]) < 3:
        return pixels
    middle = pixels[..., 1:-1, 1:-1]
    smooth = F.avg_pool2d(pixels, 3, 1, divisor_override=1).add_(middle, alpha=4).div_(13).round_()
    _, others = _blend_weights("sharpness", "sharpness", batch, level, images.device)
    middle.addcmul_(smooth.sub_(middle), others)
    return pixels.clamp_(0, 255)


def _autocontrast_tables(values: Tensor) -> Tensor:
    """What becomes of every value, uint8 (b, 3, 256), for values (b, 3, pixels): the range is stretched to 0 to 255."""
    low, high = torch.aminmax(values, dim=2, keepdim=True)
    scale = (high - low).mul(1 / 255)
    flat = scale == 0
    table = _ramp(values.device) - low.masked_fill(flat, 0)
    return table.div(scale.masked_fill_(flat, 1)).clamp_(0, 255).to(torch.uint8)


def _equalize_tables(values: Tensor) -> Tensor:
    """What becomes of every value, uint8 (b, 3, 256), for values (b, 3, pixels), by PIL's scheme."""
    counts = values.new_zeros(*values.shape[:2], 256)
    counts.scatter_add_(2, values, _ramp(values.device)[1:2].expand_as(values))
    up_to = counts.cumsum(2)
    of_highest = counts.gather(2, up_to.argmax(2, keepdim=True))
    step = (values.shape[2] - of_highest).div_(255, rounding_mode="floor")
    table = (up_to.sub_(counts) + step // 2).div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=255)
    return torch.where(step == 0, _ramp(values.device), table).to(torch.uint8)


@functools.lru_cache(maxsize=16)
def _ramp(device: torch.device) -> Tensor:
    return torch.arange(256).to(device)


@functools.lru_cache(maxsize=16)
def _fixed_tables(batch: int, level: float, device: torch.device) -> Tensor:
    """What becomes of every value, uint8 (b, 3, 256), for the shares of identity, posterize and solarize."""
    from torchvision.transforms.v2 import functional as TF

    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 256)
    tables = {
        "identity": ramp,
        "posterize": TF.posterize(ramp, 8 - round(4 * level)),
        "solarize": TF.solarize(ramp, 255 * (1 - level)),
    }
    return torch.cat([table.expand(_count(share(name, batch)[0]), 3, 256) for name, table in tables.items()]).to(device)


@functools.lru_cache(maxsize=16)
def _blend_weights(first: str, last: str, batch: int, level: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each image in some shares, and of what it is blended with: float32 (b, 1, 1, 1) each."""
    weights = []
    for name in OPS[OPS.index(first) : OPS.index(last) + 1]:
        for places, signed_level in zip(share(name, batch), (level, -level), strict=True):
            factor = 1 + 0.9 * signed_level
            weights += [(factor, 0.0 if name == "brightness" else 1 - factor)] * _count(places)
    own, others = torch.tensor(weights, dtype=torch.float32, device=device).view(-1, 2, 1, 1, 1).unbind(1)
    return own.contiguous(), others.contiguous()


def _count(places: slice) -> int:
    return places.stop - places.start


@functools.lru_cache(maxsize=8)
def _affine_grid(batch: int, size: tuple[int, int], level: float, device: torch.device) -> Tensor:
    """Where the pixels of all affine shares come from, (b, H, W, 2) in grid_sample's coordinates."""
    height, width = size
    thetas = []
    for name, matrix in AFFINE_OPS.items():
        for places, signed_level in zip(share(name, batch), (level, -level), strict=True):
            (xx, xy, x1), (yx, yy, y1) = matrix(signed_level, height, width)
            theta = (xx, xy * height / width, 2 * x1 / width), (yx * width / height, yy, 2 * y1 / height)
            thetas += [theta] * (places.stop - places.start)
    theta_ = torch.tensor(thetas, dtype=torch.float32).view(-1, 2, 3)
    return F.affine_grid(theta_, [len(thetas), 3, height, width], align_corners=False).to(device)
