"""One picture, of any size and mode, as a small array: what is done to every image of the user's own, and once.

Turned upright as its EXIF tag says, made RGB (grey is repeated, transparent parts become white, 16-bit grey keeps its
upper byte, rounded), scaled by an antialiased bicubic filter until it just covers the size that is asked for, and its
centre cut out: torchvision's `Resize` and `CenterCrop`, pixel for pixel. A JPEG much larger than that is decoded at a
half, quarter or eighth of its size, but never below twice the one asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

DRAFT_GAP = 2  # a JPEG is decoded at no less than this multiple of the size asked for
ORIENTATION = 0x0112
TURNS = {  # by the EXIF tag
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIXTEEN_BITS = 65_535


def read_picture(file: Path | IO[bytes], size: tuple[int, int]) -> Pixels:
    """A file's picture, uint8 (3, height, width).

    Raises:
        Exception: whatever a file that is no whole picture makes Pillow raise.
    """
    return fitted(open_picture(file, size), size)


def open_picture(file: Path | IO[bytes], size: tuple[int, int]) -> Image.Image:
    """The same before it is scaled: an upright RGB image that is at least twice `size`, or as large as the file's."""
    with Image.open(file) as image:
        if image.format == "JPEG":
            side = DRAFT_GAP * max(size)
            image.draft(image.mode, (side, side))
        image.load()
        return to_rgb(upright(image))


def upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF tag says; a tag that cannot be read says nothing."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever a broken tag raises
        turn = None
    return image if turn is None else image.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB.

    Raises:
        ValueError: it is of floating-point numbers, or of integers beyond 16 bits.
    """
    if image.mode == "I" or image.mode.startswith("I;"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > SIXTEEN_BITS:
            raise ValueError("its numbers are beyond 16 bits; save it with 8 or 16")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("it holds floating-point numbers; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def fitted(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """An RGB image, scaled until it just covers `size`, and its centre; uint8 (3, height, width)."""
    height, width = size
    wide, high = image.size
    if wide * height <= high * width:
        scaled = width, max(height, int(width * high / wide))
    else:
        scaled = max(width, int(height * wide / high)), height
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BICUBIC)
    left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
    if scaled != (width, height):
        image = image.crop((left, top, left + width, top + height))
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def as_pixels(array: NDArray[np.generic], size: tuple[int, int]) -> Pixels:
    """An image given as numbers, uint8 (3, h, w), (1, h, w) or (h, w), at `size`."""
    planes = array if array.ndim == 3 else array[None]
    planes = np.broadcast_to(planes, (3, *planes.shape[1:])) if len(planes) == 1 else planes
    return fitted(Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0))), size)
