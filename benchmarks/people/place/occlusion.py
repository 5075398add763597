"""Place objects and other people in front of a person, so that they hide a chosen fraction of the person.

The hidden fraction is the number of covered pixels of the person, divided by the number of all pixels of the person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.people.arrays import Bools, Floats, bools, floats
from benchmarks.people.person.surface import Noise
from benchmarks.people.place.texture import linear

# The smallest and the largest fraction of a person that an occluder hides.
MIN_HIDDEN, MAX_HIDDEN = 0.2, 0.6


@dataclass(frozen=True)
class Layer:
    """An occluder as it is drawn: its `colour` (H, W, 3) in linear light, and the `mask` (H, W) of the pixels that it covers."""

    colour: Floats
    mask: Bools


def visible_fraction(person: Bools, occluder: Bools) -> float:
    """Return the fraction of the person's pixels that the occluder leaves visible, 0..1.

    `person` and `occluder` are masks (H, W). The result is 1 if `person` has no pixel.
    """
    total = int(np.count_nonzero(person))
    return int(np.count_nonzero(person & ~occluder)) / total if total else 1.0


@dataclass(frozen=True)
class _Draft:
    """The random look of an occluder before it is placed. Only its place changes while the right place is searched."""

    size: tuple[int, int]
    colour: Floats
    level: float
    noise: Noise
    phase: float
    side: int

    def grid(self) -> tuple[Floats, Floats]:
        height, width = self.size
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        return x / width * self.side + (0 if self.side > 0 else 1), y / height

    def surface(self, x: Floats, y: Floats, amount: float) -> Floats:
        grain = self.noise.at(x * 0.5 + self.phase, y * 0.9 + self.phase)
        return floats(self.colour * (self.level * np.exp(amount * grain))[..., None])


def _pole(d: _Draft, reach: float) -> Layer:
    x, y = d.grid()
    width, centre = 0.1 + 0.5 * reach, 0.5 + 0.12 * np.sin(d.phase * 6)
    across = (x - centre) / width
    round_ = 0.55 + 0.6 * np.clip(1 - np.abs(across * 2 + 0.35), 0, 1)
    return Layer(d.surface(x, y, 0.1) * round_[..., None], np.abs(across) < 0.5)


def _car(d: _Draft, reach: float) -> Layer:
    x, y = d.grid()
    top = 1.02 - reach
    roof = top + 0.09 * np.clip((x - 0.55) * 2.4, 0, 1) + 0.03 * (x - 0.5) ** 2
    inside = y > roof
    deep = y - roof
    colour = d.surface(x, y, 0.03) * (1.15 - 0.9 * np.clip(deep / max(reach, 0.2), 0, 1))[..., None]
    glass = inside & (deep > 0.03) & (deep < 0.13) & (np.abs(np.mod(x + d.phase, 0.6) - 0.3) > 0.03)
    colour[glass] = linear(40, 46, 54) * (1.6 - 6 * deep[glass])[:, None]
    seam = inside & (np.abs(np.mod(x + d.phase, 0.7) - 0.1) < 0.008) & (deep > 0.13)
    colour[seam] *= 0.4
    colour[inside & (deep < 0.018)] *= 1.6
    wheel = inside & (np.hypot((x - 0.2 - 0.5 * d.phase) * 0.5, y - 1.0) < 0.09)
    colour[wheel] = linear(30, 30, 32)
    return Layer(colour, inside)


def _box(d: _Draft, reach: float) -> Layer:
    x, y = d.grid()
    top, left = 1.0 - reach * 1.05, 0.06 + 0.3 * (d.phase % 0.5)
    inside = (y > top) & (x > left - 0.1)
    colour = d.surface(x, y, 0.07)
    colour *= np.where(x < left + 0.12, 0.6, 1.0)[..., None]
    colour[inside & (y < top + 0.035)] *= 1.5
    rib = inside & (np.abs(np.mod((x - left) * 5, 1) - 0.5) < 0.06) & (d.phase > 0.5)
    colour[rib] *= 0.7
    return Layer(colour, inside)


def _bush(d: _Draft, reach: float) -> Layer:
    x, y = d.grid()
    rough = 0.05 * d.noise.at(x * 0.35 + d.phase, d.phase) + 0.02 * d.noise.at(x * 1.5, y * 1.5 + d.phase)
    inside = y > 1.0 - reach + rough - 0.1 * np.sin(np.pi * np.clip(x, 0, 1))
    leaf = d.noise.at(x * 1.3 + d.phase, y * 2.6) + 0.7 * d.noise.at(x * 4 + d.phase, y * 8)
    colour = linear(72, 96, 46) * (d.level * np.exp(0.42 * leaf))[..., None]
    return Layer(colour.astype(np.float32), inside)


def _board(d: _Draft, reach: float) -> Layer:
    """Draw a sign, a pillar or a door that covers one side of the image. It reaches further for a larger `reach` (0..1)."""
    x, y = d.grid()
    inside = x > 1.0 - reach * 0.85 - 0.16
    colour = d.surface(x, y, 0.06)
    colour[inside & (x < 1.0 - reach * 0.85 - 0.13)] *= 0.6
    poster = inside & (d.phase > 0.4) & (np.abs(y - 0.3) < 0.16) & (x > 1.0 - reach * 0.85 - 0.08)
    colour[poster] = 0.3 * colour[poster] + 0.6 * linear(220, 216, 200)
    return Layer(colour, inside)


def _rail(d: _Draft, reach: float) -> Layer:
    """Draw a railing of horizontal and vertical bars with gaps. It reaches further for a larger `reach` (0..1)."""
    x, y = d.grid()
    top = 1.0 - reach * 1.25
    below = y > top
    thick = 0.25 + 0.5 * reach
    bars = (np.mod(x * 7 + d.phase, 1) < thick) | (np.mod((y - top) * 4, 1) < 0.16)
    return Layer(
        d.surface(x, y, 0.06) * (0.8 + 0.3 * (np.mod(x * 7 + d.phase, 1) < 0.15))[..., None], below & bars
    )


_OBJECTS: Mapping[str, Callable[[_Draft, float], Layer]] = {
    "pole": _pole, "car": _car, "box": _box, "bush": _bush, "board": _board, "rail": _rail,
}  # fmt: skip
_COLOURS = (
    (32, 34, 38),
    (196, 196, 194),
    (120, 122, 126),
    (146, 40, 36),
    (40, 64, 110),
    (150, 116, 80),
    (60, 84, 66),
)


def _fit(person: Bools, make: Callable[[float], Layer], hidden: float) -> Layer:
    """Return the layer `make(reach)`, with `reach` in 0..1, whose hidden fraction of `person` (H, W) is closest to `hidden`.

    The hidden fraction, 0..1, must grow with `reach`.
    """
    low, high = 0.0, 1.0
    best, gap = make(0.5), 2.0
    for _ in range(9):
        middle = (low + high) / 2
        layer = make(middle)
        share = 1 - visible_fraction(person, layer.mask)
        if abs(share - hidden) < gap:
            best, gap = layer, abs(share - hidden)
        low, high = (middle, high) if share < hidden else (low, middle)
    return best


def place_passer_by(person: Bools, passer_by: Layer, hidden: float) -> Layer:
    """Return `passer_by`, another person, shifted sideways so that it hides about the fraction `hidden` (0..1) of `person`.

    Several shifts are tried. The result is a new layer with the shift that comes closest to `hidden`.
    """
    width = person.shape[1]
    columns = np.flatnonzero(passer_by.mask.any(0))
    side = 1 if columns.mean() > width / 2 else -1

    def moved(reach: float) -> Layer:
        step = int(round(side * (1 - reach) * width * 0.9))
        return Layer(floats(_shifted(passer_by.colour, step)), bools(_shifted(passer_by.mask, step)))

    return _fit(person, moved, hidden)


def _shifted(values: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    out = np.zeros_like(values)
    width = values.shape[1]
    if abs(step) < width:
        out[:, max(step, 0) : width + min(step, 0)] = values[:, max(-step, 0) : width - max(step, 0)]
    return out


def _random_paint(rng: np.random.Generator) -> Floats:
    """Return a random mixture of two colours of occluders, so that few occluders look alike."""
    first, second = (linear(*_COLOURS[int(rng.integers(len(_COLOURS)))]) for _ in range(2))
    return (first + (second - first) * np.float32(rng.uniform(0, 0.6))).astype(np.float32)


def occlude(
    person: Bools, rng: np.random.Generator, *, noise: Noise, passer_by: Layer | None = None
) -> Layer:
    """Return an occluder that hides a random fraction of the mask `person` (H, W), from 20 % (MIN_HIDDEN) to 60 % (MAX_HIDDEN).

    The occluder is `passer_by`, another person, if one is given and can hide such a fraction. Otherwise it is a random object.
    """
    for attempt in range(12):
        hidden = float(MIN_HIDDEN + 0.02 + (MAX_HIDDEN - MIN_HIDDEN - 0.04) * rng.beta(1.0, 2.2))
        kind = str(rng.choice(list(_OBJECTS)))
        draft = _Draft(
            size=(person.shape[0], person.shape[1]),
            colour=_random_paint(rng),
            level=float(rng.uniform(0.5, 1.2)),
            noise=noise,
            phase=float(rng.random()),
            side=int(rng.choice([-1, 1])),
        )
        if passer_by is not None and attempt < 2:
            layer = place_passer_by(person, passer_by, hidden)
        else:
            layer = _fit(person, partial(_OBJECTS[kind], draft), hidden)
        if MIN_HIDDEN <= 1 - visible_fraction(person, layer.mask) <= MAX_HIDDEN:
            return layer
    return _fit(person, partial(_box, draft), 0.4)
