"""What is made of one picture, of any size, mode and format."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import v2 as transforms

from benchmarks.tasks.images.pictures import as_pixels, fitted, open_picture, read_picture, to_rgb


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40))
def test_a_picture_is_scaled_and_cut_as_by_torchvision(height, width, side):
    image = Image.fromarray(noise(height, width))
    resize = transforms.Resize(side, transforms.InterpolationMode.BICUBIC, antialias=True)
    theirs = transforms.Compose([resize, transforms.CenterCrop(side), transforms.PILToTensor()])(image)
    assert torch.equal(torch.tensor(fitted(image, (side, side))), theirs)


@pytest.mark.parametrize("size", [(7, 20), (20, 7), (1, 1), (50, 3)])
def test_a_size_that_is_not_square_is_covered_and_the_centre_kept(size):
    image = Image.new("RGB", (61, 43))
    image.paste((255, 255, 255), (30, 21, 31, 22))
    pixels = fitted(image, size)
    assert pixels.shape == (3, *size)
    row, column = np.unravel_index(pixels[0].argmax(), size)
    assert abs(row - size[0] / 2) < 2 and abs(column - size[1] / 2) < 2


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_tag_says(tag):
    image, exif = Image.fromarray(noise(20, 30)), Image.Exif()
    exif[0x0112] = tag
    file = saved(image, exif=exif)
    theirs = np.asarray(ImageOps.exif_transpose(Image.open(file))).transpose(2, 0, 1)
    file.seek(0)
    assert np.array_equal(read_picture(file, theirs.shape[1:]), theirs)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_tag_says_nothing():
    file = saved(Image.new("RGB", (4, 4), "red"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert read_picture(file, (4, 4)).shape == (3, 4, 4)


def test_grey_is_repeated_and_16_bits_are_rounded_to_8():
    values = np.array([[0, 128, 129, 257, 65_535, 33_000]], dtype=np.uint16)
    pixels = read_picture(saved(Image.fromarray(values)), (1, 6))
    assert pixels.tolist() == [np.round(values / 257).astype(int).tolist()] * 3
    grey = noise(5, 6, 1)
    assert np.array_equal(read_picture(saved(Image.fromarray(grey)), (5, 6)), np.broadcast_to(grey, (3, 5, 6)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode):
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (200, 0, 0, 0))
    pixels = to_rgb(image.convert("P").convert("PA") if mode == "PA" else image.convert(mode))
    assert pixels.getpixel((1, 0)) == (255, 255, 255) or mode == "PA"
    assert max(pixels.getpixel((0, 0))) < 60


def test_palettes_and_their_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert read_picture(saved(image), (1, 2))[:, 0].T.tolist() == [[9, 8, 7], [200, 100, 50]]
    assert read_picture(saved(image, transparency=0), (1, 2))[:, 0].T.tolist() == [[255] * 3, [200, 100, 50]]
    assert read_picture(saved(image, "GIF"), (1, 2)).shape == (3, 1, 2)


@pytest.mark.parametrize(("mode", "kind"), [("1", "PNG"), ("CMYK", "JPEG"), ("YCbCr", "JPEG"), ("I;16", "TIFF")])
def test_other_modes_are_read(mode, kind):
    image = Image.fromarray(noise(8, 8, 1).astype(np.uint16)) if mode == "I;16" else Image.fromarray(noise(8, 8))
    assert read_picture(saved(image.convert(mode), kind), (8, 8)).shape == (3, 8, 8)


def test_floating_point_numbers_are_refused():
    with pytest.raises(ValueError, match="8 or 16 bits"):
        read_picture(saved(Image.fromarray(np.zeros((3, 3), np.float32)), "TIFF"), (3, 3))


def test_a_large_photograph_is_decoded_smaller_but_never_below_twice_the_size():
    waves = 127 + 100 * np.sin(np.arange(400) / 23)
    image = Image.fromarray((waves[:, None] * np.ones((400, 640)))[..., None].repeat(3, 2).astype(np.uint8))
    file = saved(image, "JPEG", quality=95)
    for side, decoded in ((200, 400), (100, 200), (60, 200), (16, 50)):
        file.seek(0)
        opened = open_picture(file, (side, side))
        assert min(opened.size) == decoded >= 2 * min(side, 200)
        file.seek(0)
        whole = fitted(Image.open(file).convert("RGB"), (side, side)).astype(int)
        assert np.abs(fitted(opened, (side, side)) - whole).mean() < 1


def test_numbers_are_images_too():
    grey = noise(5, 6, 1)
    assert np.array_equal(as_pixels(grey, (5, 6)), np.broadcast_to(grey, (3, 5, 6)))
    assert np.array_equal(as_pixels(grey[None], (5, 6)), as_pixels(grey, (5, 6)))
    colour = noise(5, 6).transpose(2, 0, 1)
    assert np.array_equal(as_pixels(colour, (5, 6)), colour)
