"""Draw textures of ground and walls from a seed, in linear light: paving, asphalt, grass, brick, facades, hedges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.people.arrays import Floats, floats
from benchmarks.people.person.surface import Noise

SIZE = 512


def linear(*values: float) -> Floats:
    """Return the sRGB colour `values` (0..255) as linear light (3,)."""
    return floats((floats(values) / 255) ** 2.2)


def mix(a: Floats, b: Floats, share: npt.NDArray[np.floating]) -> Floats:
    """Return a mixture of two colours `a` and `b` (..., 3), in which `b` has the weight `share` (...), 0..1."""
    return floats(a + (b - a) * np.clip(share, 0, 1)[..., None])


@dataclass(frozen=True)
class Sheet:
    """The canvas of a texture: the coordinates `x` and `y` of its S x S pixels in metres, and two kinds of noise, each (S, S).

    `rng` gives the random values of the texture.
    """

    x: Floats
    y: Floats
    coarse: Floats
    fine: Floats
    rng: np.random.Generator

    @staticmethod
    def make(rng: np.random.Generator, noise: Noise, metres: float) -> Sheet:
        """Return a sheet that is `metres` wide, with a random part of `noise`."""
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) * np.float32(metres / SIZE)
        a, b = rng.random(2)
        grain = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
        return Sheet(x, y, noise.at(x / metres + a, y / metres + b), grain, rng)

    def cells(self, wide: float, high: float, *, shift: float = 0.0) -> tuple[Floats, Floats]:
        """Divide the sheet into bricks that are `wide` and `high` (in metres), and return two arrays (S, S).

        The first is 1 on the joints and 0 elsewhere. The second has a standard normal random number, the same for all pixels of a
        brick. Every second row is moved sideways by `shift` times the width of a brick.
        """
        row = np.floor(self.y / high).astype(int)
        x = self.x / wide + shift * np.mod(row, 2)
        column = np.floor(x).astype(int)
        joint = (np.mod(x, 1) * wide < 0.014) | (np.mod(self.y / high, 1) * high < 0.014)
        table = self.rng.standard_normal((64, 64)).astype(np.float32)
        return joint.astype(np.float32), table[np.mod(row, 64), np.mod(column, 64)]


def _stone(s: Sheet, base: Floats, grain: float, stain: float) -> Floats:
    return floats(base * np.exp(grain * s.fine + stain * s.coarse)[..., None])


def _paving(s: Sheet) -> Floats:
    joint, level = s.cells(*((0.5, 0.5), (0.6, 0.4), (0.25, 0.125))[int(s.rng.integers(3))], shift=0.5)
    base = (linear(150, 148, 144), linear(168, 158, 146), linear(128, 130, 134), linear(150, 122, 108))[
        int(s.rng.integers(4))
    ]
    return floats(_stone(s, base, 0.045, 0.1) * np.exp(0.09 * level - 0.5 * joint)[..., None])


def _asphalt(s: Sheet) -> Floats:
    base = (linear(96, 97, 100), linear(112, 111, 110), linear(80, 82, 86))[int(s.rng.integers(3))]
    crack = np.abs(s.coarse - 0.3) < 0.02
    return floats(_stone(s, base, 0.09, 0.13) * (1 - 0.35 * crack[..., None]))


def _grass(s: Sheet) -> Floats:
    ground = mix(linear(86, 104, 52), linear(134, 132, 84), 0.4 + 0.35 * s.coarse)
    leaves = s.fine > 2.2
    out = floats(ground * np.exp(0.22 * s.fine)[..., None])
    out[leaves] = linear(150, 112, 62)
    return out


def _gravel(s: Sheet) -> Floats:
    return _stone(s, linear(158, 144, 122), 0.14, 0.12)


def _tiles(s: Sheet) -> Floats:
    joint, level = s.cells(0.3, 0.3)
    return floats(
        _stone(s, linear(176, 168, 154), 0.03, 0.05) * np.exp(0.05 * level - 0.3 * joint)[..., None]
    )


def _brick(s: Sheet) -> Floats:
    joint, level = s.cells(0.24, 0.08, shift=0.5)
    base = (linear(138, 84, 66), linear(160, 132, 104), linear(120, 104, 96))[int(s.rng.integers(3))]
    return mix(
        _stone(s, base, 0.06, 0.1) * np.exp(0.14 * level)[..., None], linear(170, 164, 154), joint * 0.8
    )


def _concrete(s: Sheet) -> Floats:
    joint, level = s.cells(1.5, 1.2)
    return floats(
        _stone(s, linear(148, 146, 142), 0.04, 0.16) * np.exp(0.05 * level - 0.6 * joint)[..., None]
    )


def _facade(s: Sheet) -> Floats:
    wall = _stone(
        s,
        (linear(196, 184, 164), linear(168, 168, 170), linear(184, 140, 116))[int(s.rng.integers(3))],
        0.03,
        0.06,
    )
    column, row = np.mod(s.x, 2.0), np.mod(s.y, 3.0)
    window = (np.abs(column - 1.0) < 0.55) & (np.abs(row - 1.75) < 0.75)
    frame = (np.abs(column - 1.0) < 0.63) & (np.abs(row - 1.75) < 0.83) & ~window
    glass = mix(linear(54, 62, 72), linear(150, 164, 180), 0.35 + 0.4 * s.coarse + (row - 1.75) * 0.4)
    wall[window], wall[frame] = glass[window], linear(218, 216, 210)
    return wall


def _shops(s: Sheet) -> Floats:
    out = _stone(s, linear(122, 116, 110), 0.03, 0.1)
    unit = np.floor(s.x / 3.0).astype(int) % 2
    column = np.mod(s.x, 3.0)
    inside = s.rng.gamma(1.2, 0.07, (64, 96, 1)) * s.rng.uniform(0.6, 1.4, (64, 96, 3))
    goods = inside[np.floor(s.y * 5 + s.coarse).astype(int) % 64, np.floor(s.x * 11).astype(int) % 96]
    glass = (
        (column > 0.25)
        & (column < 2.75)
        & (s.y > 0.45)
        & (s.y < 2.5)
        & (np.abs(np.mod(column, 1.25) - 0.25) > 0.03)
    )
    out[glass] = mix(goods, linear(150, 160, 170), 0.22 + 0.15 * s.coarse)[glass]
    signs = s.rng.uniform(0.02, 0.5, (2, 3)).astype(np.float32)
    band = (s.y > 2.6) & (s.y < 3.2)
    out[band] = signs[unit[band]]
    text = band & (np.abs(s.y - 2.9) < 0.13) & (np.abs(column - 1.5) < 0.9) & (np.mod(s.x * 5, 1) < 0.6)
    out[text] = linear(235, 232, 224)
    return out


def _hedge(s: Sheet) -> Floats:
    deep = np.clip(0.5 + 0.3 * s.coarse + 0.22 * s.fine, 0, 1)
    return mix(linear(22, 34, 20), linear(96, 120, 60), deep)


def _trees(s: Sheet) -> Floats:
    out = _hedge(s) * 0.8
    trunk = (np.mod(s.x + 0.15 * s.coarse, 2.1) < 0.22) & (s.y < 2.4)
    out[trunk] = linear(78, 64, 52) * np.exp(0.15 * s.fine[trunk])[:, None]
    gap = (s.coarse > 1.3) & (s.y > 2.0)
    out[gap] = linear(190, 205, 215)
    return out


def _fence(s: Sheet) -> Floats:
    out = _hedge(s) * 0.9
    bars = (np.mod(s.x, 0.13) < 0.03) | (np.abs(s.y - 1.3) < 0.04) | (np.abs(s.y - 0.2) < 0.04)
    out[bars & (s.y < 1.4)] = linear(52, 56, 58)
    return out


GROUNDS: Mapping[str, Callable[[Sheet], Floats]] = {
    "paving": _paving, "asphalt": _asphalt, "grass": _grass, "gravel": _gravel, "tiles": _tiles,
}  # fmt: skip
WALLS: Mapping[str, Callable[[Sheet], Floats]] = {
    "brick": _brick, "concrete": _concrete, "facade": _facade, "shops": _shops, "hedge": _hedge,
    "trees": _trees, "fence": _fence,
}  # fmt: skip


def mip_levels(texture: Floats) -> tuple[Floats, ...]:
    """Return the texture in its full size and in four smaller sizes, each half of the one before.

    Distant ground is drawn from a small size, so that it does not alias.
    """
    out = [texture]
    for _ in range(4):
        last = out[-1]
        size = len(last) // 2
        out.append(last.reshape(size, 2, size, 2, 3).mean((1, 3)))
    return tuple(out)
