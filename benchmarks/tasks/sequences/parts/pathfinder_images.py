"""How images of Pathfinder are drawn: two long dashed curves, short ones between them, two discs on tips.

Linsley, Kim, Veerabadran, Windolf, Serre, "Learning long-range spatial dependencies with horizontal gated recurrent
units" (2018), with the parameters of Tay et al., "Long Range Arena" (2021), whose paddles, distances, contrasts and
markers these are. Written from the description. What differs from the original generator, for the sake of speed (it
draws four images a second) or of clean curves:

- the curves grow one after the other, and one that is stuck takes back its last paddles; there, they grow in turn, and
  the whole image begins again;
- a paddle keeps clear of all paddles but the one before it in its own curve, from the first one on; there, of those
  that came a step or more before, and what is occupied is yes or no, where there it has shades;
- coordinates are rounded to the nearest pixel, not up or down, and all images of a look have one scale of brightness:
  there, each is stretched to 0 to 255.

Occupied pixels are the bits of one integer, and the stamp of each paddle is made once for each direction.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FINE = 2  # points of the canvas that a stamp is drawn on, along a pixel
PADDING = 1  # pixels of the border that nothing is drawn on
TURN = 360  # directions of a curve's first paddle
OCCUPIED = 0.9  # share of a pixel, as two such pixels are 1.8 together
TRIES = 10  # draws of a paddle before some are taken back
DEAD_ENDS = 60  # of a curve before the image begins again
DISTRACTOR_TRIES = 5
PLACES = 40  # tries for a distractor's first paddle
CHUNK = 256  # images rendered at a time


@dataclasses.dataclass(frozen=True)
class Look:
    """What images of one size look like; lengths in pixels."""

    size: int
    paddle: int  # length
    thickness: float
    margins: tuple[int, ...]  # half of a gap; one for each image
    continuity: float  # the greater, the straighter
    seed_distance: int  # between the first tips
    marker_radius: float
    contrast: float  # of the two curves; a marker has 1
    distractor_contrast: float
    distractor_paddles: int  # in all short curves together


LOOKS = {
    32: Look(32, 2, 0.5, (1,), 1.0, 7, 1.5, 1.5, 2.0, 20),
    64: Look(64, 5, 1.0, (1,), 1.8, 12, 2.5, 0.8, 0.8, 22),
    128: Look(128, 5, 1.5, (2, 3), 1.8, 20, 3.0, 0.9, 0.9, 35),
}


Occupied = tuple[int, int]  # bits of what paddles cover, and of where no outer end may be


class Paddle(NamedTuple):
    """One that was placed: the bit of its base, which is its pivot or first tip; its direction; what it occupies."""

    base: int
    direction: int
    body: int
    halo: int


@dataclasses.dataclass(frozen=True)
class Picture:
    """What is in one image, before it is drawn; points are (row, column).

    Attributes:
        curves: of each curve, the two long ones first, the stamp and the point that it is put on, for each paddle.
        tips: first and last of each of the two.
        markers: the two points with a disc.
        label: 1 where both are of one curve.
    """

    margin: int
    curves: list[list[tuple[int, int, int]]]
    tips: list[tuple[tuple[int, int], tuple[int, int]]]
    markers: tuple[tuple[int, int], tuple[int, int]]
    label: int


def distractors_of(look: Look, paddles: int) -> tuple[int, int]:
    """How many distractors there are at most, and how many paddles each has."""
    length = paddles // 3
    return look.distractor_paddles // length, length


def compose(draw: random.Random, look: Look, paddles: int) -> Picture:
    """Decides what is in an image whose two curves have `paddles` each."""
    label = int(draw.random() < 0.5)
    stamps = stamps_of(look, _choice(draw, look.margins))
    curves = None
    while curves is None:
        curves = _two_curves(draw, stamps, paddles)
    tips = [(stamps.anchor(curve[0]), stamps.anchor(curve[-1])) for curve in curves]
    curves += _distractors(draw, stamps, _union(stamps.border, curves[0] + curves[1]), paddles)
    first = int(draw.random() < 0.5)
    markers = (tips[first][0], tips[first if label else 1 - first][1])
    drawn = [[(paddle.direction, *stamps.anchor(paddle)) for paddle in curve] for curve in curves]
    return Picture(stamps.margin, drawn, tips, markers, label)


def _two_curves(draw: random.Random, stamps: Stamps, paddles: int) -> list[list[Paddle]] | None:
    """The long curves, or None where they do not fit: one begins in the middle, the other seed_distance from there."""
    look = stamps.look
    inner = look.size - 4 * look.seed_distance
    row, column = (2 * look.seed_distance + int(draw.random() * inner) for _ in range(2))
    start = stamps.start(draw, row, column, stamps.border)
    down, across = _along(math.radians(int(draw.random() * TURN)), look.seed_distance)
    other = start and stamps.start(draw, row + down, column + across, _union(stamps.border, [start]))
    if start is None or other is None:
        return None
    first = _grow(draw, stamps, _union(stamps.border, [other]), start, paddles, DEAD_ENDS)
    second = first and _grow(draw, stamps, _union(stamps.border, first), other, paddles, DEAD_ENDS)
    return [first, second] if first and second else None


def _distractors(draw: random.Random, stamps: Stamps, occupied: Occupied, paddles: int) -> list[list[Paddle]]:
    """Short curves anywhere, as many as fit after a few tries each."""
    count, length = distractors_of(stamps.look, paddles)
    found: list[list[Paddle]] = []
    for _ in range(count):
        for _ in range(DISTRACTOR_TRIES):
            start = _start_anywhere(draw, stamps, occupied)
            curve = start and _grow(draw, stamps, occupied, start, length, 0)
            if curve:
                found.append(curve)
                occupied = _union(occupied, curve)
                break
    return found


def _start_anywhere(draw: random.Random, stamps: Stamps, occupied: Occupied) -> Paddle | None:
    size = stamps.look.size
    for _ in range(PLACES):
        paddle = stamps.start(draw, int(draw.random() * size), int(draw.random() * size), occupied)
        if paddle is not None:
            return paddle
    return None


def _grow(
    draw: random.Random, stamps: Stamps, occupied: Occupied, start: Paddle, count: int, dead_ends: int
) -> list[Paddle] | None:
    """A curve of `count` paddles, which takes back one or two of them at a dead end; None after so many of those."""
    curve, before = [start], [occupied]  # of each paddle, what was occupied before it
    while len(curve) < count:
        paddle = stamps.follow(draw, curve[-1], before[-1])
        if paddle is not None:
            before.append(_union(before[-1], curve[-1:]))
            curve.append(paddle)
        elif dead_ends == 0:
            return None
        else:
            dead_ends -= 1
            kept = max(1, len(curve) - 1 - int(draw.random() * 2))
            del curve[kept:], before[kept:]
    return curve


def _union(occupied: Occupied, paddles: Sequence[Paddle]) -> Occupied:
    body, halo = occupied
    for paddle in paddles:
        body |= paddle.body
        halo |= paddle.halo
    return body, halo


class Stamps:
    """Every paddle that images of a look and margin have: directions 0 to 359 by degrees, then those on the lattice.

    A paddle of the first kind reaches from its base, which is its tip, forward; one of the second kind lies between its
    base, which is the pivot, and its outer end, a lattice point at length + margin.

    Attributes:
        border: what is occupied in an empty image.
        ink: (directions, side, side), what each adds to an image, its outer end in the middle; 0 to 1.
    """

    def __init__(self, look: Look, margin: int) -> None:
        self.look, self.margin = look, margin
        self.reach = look.paddle + 3 * margin + 3  # of what any paddle occupies, from its base
        self.width = look.size + 2 * self.reach  # of the bits' canvas
        steps = circle(look.paddle + margin)
        angles = [math.radians(degree) for degree in range(TURN)] + [math.atan2(*step) for step in steps]
        self.ends = [(0, 0)] * TURN + steps  # of each direction, its outer end, from the base
        ahead = [look.paddle + margin] * TURN + [look.paddle + 2 * margin] * len(steps)
        self.next = [self._bit(*_along(angle, far)) for angle, far in zip(angles, ahead, strict=True)]
        turned = [angle if index < TURN else angle + math.pi for index, angle in enumerate(angles)]
        self.ink = np.stack(
            [line(angle, look.paddle, look.thickness / 2, look.paddle + 2, rounded=False) for angle in turned]
        )
        shapes = [self._shapes(angle, end) for angle, end in zip(turned, self.ends, strict=True)]
        self.bodies = [self._bits(body) for body, _ in shapes]
        self.halos = [self._bits(halo) for _, halo in shapes]
        self.end_bits = [1 << self.local + self._bit(*end) for end in self.ends]
        self.border = self._border()
        self.chances = [self._chances(angle, angles[TURN:]) for angle in angles]

    @functools.cached_property
    def local(self) -> int:
        """Bit of the base in a stamp."""
        return self._bit(self.reach, self.reach)

    def anchor(self, paddle: Paddle) -> tuple[int, int]:
        """Row and column of a paddle's outer end in the image."""
        row, column = divmod(paddle.base, self.width)
        down, across = self.ends[paddle.direction]
        return row + down - self.reach, column + across - self.reach

    def start(self, draw: random.Random, row: int, column: int, occupied: Occupied) -> Paddle | None:
        """A curve's first paddle with its tip at a place, or None where it does not fit."""
        base, direction = self._bit(row + self.reach, column + self.reach), int(draw.random() * TURN)
        here = base - self.local
        body = self.bodies[direction] << here
        if occupied[0] & body or occupied[1] & self.end_bits[direction] << here:
            return None
        return Paddle(base, direction, body, self.halos[direction] << here)

    def follow(self, draw: random.Random, last: Paddle, occupied: Occupied) -> Paddle | None:
        """The paddle after another, or None where it does not fit after some tries."""
        base, chances = last.base + self.next[last.direction], self.chances[last.direction]
        here = base - self.local
        body, halo = occupied[0] >> here, occupied[1] >> here
        for _ in range(TRIES):
            direction = TURN + bisect.bisect(chances, draw.random())
            if not (halo & self.end_bits[direction] or body & self.bodies[direction]):
                return Paddle(base, direction, self.bodies[direction] << here, self.halos[direction] << here)
        return None

    def _bit(self, row: int, column: int) -> int:
        return row * self.width + column

    def _bits(self, pixels: NDArray[np.bool_]) -> int:
        return sum(1 << self._bit(int(row), int(column)) for row, column in np.argwhere(pixels))

    def _shapes(self, angle: float, end: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What a paddle and its margin cover, and where no other's outer end may be: (side, side) about the base."""
        look = self.look
        share = line(angle, look.paddle, look.thickness / 2 + self.margin, self.reach, rounded=True)
        share = np.roll(share, end, axis=(0, 1))
        return share >= OCCUPIED, dilated(share >= 0.5, self.margin)

    def _border(self) -> Occupied:
        free = np.zeros((self.width, self.width), dtype=bool)
        edge = self.reach + PADDING
        free[edge:-edge, edge:-edge] = True
        return self._bits(~free), self._bits(dilated(~free, self.margin))

    def _chances(self, angle: float, others: list[float]) -> list[float]:
        """Cumulative: how likely each direction on the lattice is after a paddle of this angle."""
        turns = [abs(math.remainder(other - angle, 2 * math.pi)) * self.look.continuity for other in others]
        weights = list(itertools.accumulate(max(0.0, math.cos(min(math.pi / 2, turn))) ** 2 for turn in turns))
        return [weight / weights[-1] for weight in weights[:-1]]


@functools.cache
def stamps_of(look: Look, margin: int) -> Stamps:
    return Stamps(look, margin)


def nearest(value: float) -> int:
    """The nearest whole number, halves upwards, on every machine."""
    return math.floor(value + 0.5 + 1e-9)


def _along(angle: float, distance: float) -> tuple[int, int]:
    """Rows and columns of a way, rounded; angles are counted from the columns' axis to the rows'."""
    return nearest(distance * math.sin(angle)), nearest(distance * math.cos(angle))


def circle(radius: int) -> list[tuple[int, int]]:
    """Lattice points nearest to a circle about the origin, in their order round it."""
    count = math.ceil(2 * math.pi * radius)
    return list(dict.fromkeys(_along(2 * math.pi * index / count, radius) for index in range(count)))


def dilated(pixels: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """A shape widened by a disc; what is outside of the array is empty."""
    disc = [
        (y, x) for y in range(-radius, radius + 1) for x in range(-radius, radius + 1) if y * y + x * x <= radius**2
    ]
    height, width = pixels.shape
    wide = np.pad(pixels, radius)
    shifted = [wide[radius + y : radius + y + height, radius + x : radius + x + width] for y, x in disc]
    return np.logical_or.reduce(shifted)


def line(angle: float, length: float, radius: float, reach: int, *, rounded: bool) -> NDArray[np.float64]:
    """Share of each pixel that a line covers, which begins in the middle: (2 reach + 1, 2 reach + 1)."""
    fine = np.arange(-reach * FINE, reach * FINE + 1)
    along = fine[:, None] * math.sin(angle) + fine * math.cos(angle)
    beside = fine[:, None] * math.cos(angle) - fine * math.sin(angle)
    beyond = np.maximum(-along, along - length * FINE).clip(0)
    covered = np.hypot(beside, beyond) <= radius * FINE + 1e-9
    return _shrunk(covered if rounded else covered & (beyond < 1e-9), 2 * reach + 1)


def disc(radius: float) -> NDArray[np.float64]:
    """A marker: share of each pixel, (side, side), its middle in the middle."""
    return line(0.0, 0.0, radius, math.ceil(radius) + 1, rounded=True)


def _shrunk(shape: NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    image = Image.fromarray(shape.astype(np.uint8) * 255)
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)) / 255.0


def _choice(draw: random.Random, among: Sequence[int]) -> int:
    return among[int(draw.random() * len(among))]


def pictures(name: str, look: Look, paddles: int, numbers: range) -> Iterator[Picture]:
    """The pictures of these numbers in a set; each has random numbers of its own, from its name and number alone."""
    for number in numbers:
        yield compose(random.Random(f"{name}/{number}"), look, paddles)


def render(look: Look, chunk: Sequence[Picture]) -> NDArray[np.float32]:
    """Draws pictures, each pixel the brightest of what is there: (n, size, size), a marker has 1."""
    stamps, starts = _ink(look)
    room = stamps.shape[1] // 2  # a stamp may reach over the edge
    canvas = np.zeros((len(chunk), look.size + 2 * room, look.size + 2 * room), dtype=np.float32)
    strokes = [_strokes(picture, starts[picture.margin], len(stamps)) for picture in chunk]
    for slot in range(max(map(len, strokes))):
        here = np.array([(image, *those[slot]) for image, those in enumerate(strokes) if slot < len(those)])
        _stamp(canvas, stamps, here)
    return canvas[:, room:-room, room:-room]


def brightest(look: Look) -> float:
    """Of all pixels that images of this look can have."""
    return float(_ink(look)[0].max())


@functools.cache
def _ink(look: Look) -> tuple[NDArray[np.float32], dict[int, tuple[int, int]]]:
    """Every stamp, (stamps, side, side), the marker last; where those of a margin's curves and distractors begin."""
    room = max(look.paddle + 2, math.ceil(look.marker_radius) + 1)
    found: list[NDArray[np.float64]] = []
    starts = {}
    for margin in look.margins:
        ink = _widened(stamps_of(look, margin).ink, room)
        count = sum(map(len, found))
        starts[margin] = (count, count + len(ink))
        found += [ink * look.contrast, ink * look.distractor_contrast]
    found.append(_widened(disc(look.marker_radius)[None], room))
    return np.concatenate(found).astype(np.float32), starts


def _widened(stamps: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    more = room - stamps.shape[1] // 2
    return np.pad(stamps, ((0, 0), (more, more), (more, more)))


def _strokes(picture: Picture, starts: tuple[int, int], count: int) -> list[tuple[int, int, int]]:
    """The stamps of a picture and their places."""
    kinds = (starts[0], starts[0], *[starts[1]] * (len(picture.curves) - 2))
    drawn = [
        (start + direction, row, column)
        for start, curve in zip(kinds, picture.curves, strict=True)
        for direction, row, column in curve
    ]
    return drawn + [(count - 1, *marker) for marker in picture.markers]


def _stamp(canvas: NDArray[np.float32], stamps: NDArray[np.float32], strokes: NDArray[np.int64]) -> None:
    """Puts stamps (image, stamp, row, column) on a canvas, at most one an image."""
    image, stamp, row, column = strokes.T[..., None, None]
    offsets = np.arange(stamps.shape[1])
    place = image, row + offsets[:, None], column + offsets
    canvas[place] = np.maximum(canvas[place], stamps[stamp[:, 0, 0]])
