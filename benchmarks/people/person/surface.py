"""Compute the colour of each visible point of a person: cloth patterns, skin, face, hair, shoes and straps.

Points are given in canonical coordinates (`Skeleton.canon`), so that a pattern stays in place on the cloth in every pose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.people.arrays import Bools, Floats, bools, floats
from benchmarks.people.person import cloth
from benchmarks.people.person.garments import Garment, Outfit
from benchmarks.people.person.pose import ARM, HEAD


@dataclass(frozen=True)
class Points:
    """N points of a surface: their canonical coordinates (N, 8), material and body part (N,).

    A material is one of the constants in `cloth`, such as HAIR, and a body part one of those in `pose`, such as ARM.
    """

    material: npt.NDArray[np.int8]
    part: npt.NDArray[np.int8]
    canon: Floats


def _tile(spectrum: npt.NDArray[np.complexfloating]) -> Floats:
    field = np.real(np.fft.ifft2(spectrum))
    return floats((field - field.mean()) / field.std())


class Noise:
    """Fractal noise with mean 0 and standard deviation 1, which has the period 1 in both coordinates."""

    def __init__(self, seed: int, size: int = 256) -> None:
        rng = np.random.default_rng(seed)
        wave = np.fft.fftfreq(size)
        radius = np.hypot(wave[:, None], wave[None, :])
        radius[0, 0] = 1.0
        white = np.fft.fft2(rng.standard_normal((size, size)))
        self.tile = _tile(white / np.maximum(radius, 0.02) ** 1.75)
        # Folds of cloth have no detail below about three centimetres. Finer noise looks like fur.
        self.folds = _tile(white / np.maximum(radius, 0.015) ** 1.3 * np.exp(-((radius * size / 15) ** 2)))

    def at(self, u: npt.ArrayLike, v: npt.ArrayLike, *, folds: bool = False) -> Floats:
        """Return the noise at the coordinates `u`, `v` (any range). `folds` selects a smoother noise for folds of cloth."""
        size, tile = len(self.tile), self.folds if folds else self.tile
        row = np.mod(np.asarray(v) * size, size).astype(np.int32) % size
        column = np.mod(np.asarray(u) * size, size).astype(np.int32) % size
        return floats(tile[row, column])


def _hoops(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    return bools(np.mod(v / g.scale, 1.0) < 0.45)


def _pin(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    return bools(np.mod(u / (g.scale * 0.8), 1.0) < 0.25)


def _print(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    offset = (g.seed % 97) / 97
    return bools(n.at(u * 1.4 + offset, v * 1.4 + 2 * offset) > 0.55)


def _dots(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    row = np.floor(v / g.scale)
    across = np.mod(u / g.scale + 0.5 * np.mod(row, 2), 1.0) - 0.5
    return bools(np.hypot(across, np.mod(v / g.scale, 1.0) - 0.5) < 0.27)


def _logo(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    x, y, z = p.canon[:, 0], p.canon[:, 1], p.canon[:, 2]
    tall, wide = 0.03 + 0.07 * (g.seed % 5) / 4, 0.055 + 0.045 * (g.seed % 7) / 6
    box = (y < -0.03) & (np.abs(z - 0.36) < tall) & (np.abs(x) < wide) & (p.part != ARM)
    return bools(box & (n.at(x * 2.2 + g.seed % 13, z * 2.2) > -0.5))


def _block(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    low = 0.18 + 0.12 * (g.seed % 5) / 4
    return bools((v > low) & (v < low + 0.1 + 0.1 * (g.seed % 3) / 2))


def _yoke(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    return bools((p.part == ARM) | (p.canon[:, 2] > 0.47))


def _side(g: Garment, u: Floats, v: Floats, p: Points, n: Noise) -> Bools:
    return bools((np.abs(p.canon[:, 4]) < 0.014) & (np.abs(p.canon[:, 0]) > 0.09))


_MARKS: Mapping[str, Callable[[Garment, Floats, Floats, Points, Noise], Bools]] = {
    "hoops": _hoops,
    "pin": _pin,
    "print": _print,
    "dots": _dots,
    "logo": _logo,
    "block": _block,
    "yoke": _yoke,
    "side": _side,
}


def fabric(garment: Garment, points: Points, noise: Noise) -> Floats:
    """Return the sRGB colours (N, 3), 0..1, of a garment at `points`."""
    c = points.canon
    u = (np.arctan2(c[:, 3], -c[:, 4]) * np.where(points.part == ARM, 0.05, 0.14)).astype(np.float32)
    v = c[:, 5]
    out = np.empty((len(c), 3), np.float32)
    out[:] = garment.colour
    second = np.asarray(garment.second, np.float32)
    if garment.pattern == "check":
        lines = (np.mod(u / garment.scale, 1) < 0.4).astype(np.float32) + (np.mod(v / garment.scale, 1) < 0.4)
        out += (second - out) * (0.42 * lines[:, None])
    elif garment.pattern == "quilt":
        out *= 1 - 0.34 * np.exp(-((np.mod(v / 0.062, 1) - 0.5) ** 2) * 60)[:, None]
    elif garment.pattern in _MARKS:
        out[_MARKS[garment.pattern](garment, u, v, points, noise)] = second
    worn = noise.at(u * 1.7 + garment.seed % 11, v * 1.7)[:, None]
    strength = 0.022
    if garment.kind == "jeans":
        strength = 0.06
        fade = np.exp(-((c[:, 7] - 0.3) ** 2) / 0.04) * (c[:, 4] < 0.02)
        out += (0.1 * fade)[:, None] * (1 - out)
    return np.clip(out * (1 + strength * worn), 0.015, 0.95).astype(np.float32)


def _collar(garment: Garment, points: Points) -> Bools:
    """Return (N,) whether each point lies above the neckline of a garment, where the skin or a shirt shows.

    The neckline is lower in front.
    """
    x, y, z = np.abs(points.canon[:, 0]), points.canon[:, 1], points.canon[:, 2]
    front = 0.512 + garment.neck + 0.25 * x
    if garment.neck < -0.02:
        front = np.minimum(front, 0.40 + 2.0 * x - garment.neck * 0.5)
    line = np.where(y < -0.025, front, 0.548 + garment.neck * 0.5)
    return bools((z > line) & (points.part != ARM))


def _wears(garment: Garment, points: Points) -> Bools:
    c = points.canon
    on_arm = (points.part == ARM) & (c[:, 6] < garment.sleeve)
    on_body = (
        (points.part != ARM) & (points.part != HEAD) & (c[:, 2] > garment.hem) & ~_collar(garment, points)
    )
    if garment.opening:
        width = garment.opening * (1.15 - 0.9 * np.clip(c[:, 2] - 0.2, 0, 0.5))
        on_body &= ~((c[:, 1] < -0.02) & (np.abs(c[:, 0]) < width))
    return bools(on_arm | on_body)


def _face(points: Points, outfit: Outfit, out: Floats) -> None:
    x, y, z = np.abs(points.canon[:, 0]), points.canon[:, 1], points.canon[:, 2]
    front = (y < -0.09) & (points.part == HEAD)
    out[front & (np.abs(z - 0.697) < 0.007) & (np.abs(x - 0.03) < 0.014)] *= 0.38
    out[front & (np.abs(z - 0.717) < 0.005) & (np.abs(x - 0.031) < 0.019)] *= 0.5
    out[front & (np.abs(z - 0.622) < 0.006) & (x < 0.022)] *= (0.78, 0.52, 0.52)
    if outfit.top.seed % 4 == 0 and outfit.hair_style in ("short", "crop", "bald"):
        beard = (
            (points.part == HEAD)
            & (z < 0.632)
            & (y < -0.04)
            & ~(front & (np.abs(z - 0.622) < 0.006) & (x < 0.02))
        )
        out[beard] = 0.45 * out[beard] + 0.55 * np.asarray(outfit.hair)


def _body(points: Points, outfit: Outfit, noise: Noise) -> Floats:
    c, part = points.canon, points.part
    out = np.empty((len(c), 3), np.float32)
    out[:] = outfit.skin
    out *= 1 + 0.02 * noise.at(c[:, 0] * 3, c[:, 2] * 3)[:, None]
    _face(points, outfit, out)

    def put(where: Bools, garment: Garment) -> None:
        chosen = Points(points.material[where], part[where], c[where])
        out[where] = fabric(garment, chosen, noise)

    if outfit.lower.kind != "skirt":
        put((part != ARM) & (c[:, 2] < 0.1) & (c[:, 2] > outfit.lower.hem), outfit.lower)
    for garment in (outfit.top, outfit.outer):
        if garment is not None:
            put(_wears(garment, points), garment)
    leg = part != ARM
    out[leg & (c[:, 2] < -0.727 + outfit.shoe_height)] = outfit.shoes
    out[leg & (c[:, 2] < -0.802)] = outfit.soles
    grown = (part == HEAD) & (cloth.scalp(c, outfit.hair_style if outfit.hat == "none" else "short") > 0.5)
    out[grown] = outfit.hair if outfit.hat == "none" else outfit.hat_colour
    if outfit.scarf is not None:
        out[leg & (c[:, 2] > 0.505) & (c[:, 2] < 0.588) & (part != HEAD)] = outfit.scarf
    _straps(points, outfit, out)
    return out


def _straps(points: Points, outfit: Outfit, out: Floats) -> None:
    x, y, z = points.canon[:, 0], points.canon[:, 1], points.canon[:, 2]
    trunk = (points.part != ARM) & (points.part != HEAD)
    if outfit.bag == "backpack":
        out[trunk & (np.abs(np.abs(x) - 0.105) < 0.021) & (z > 0.2) & (y < 0.02)] = outfit.bag_colour
    elif outfit.bag == "shoulder":
        if outfit.bag_colour[0] > 0.5 or outfit.top.seed % 2:
            line = 0.06 + (outfit.bag_side * -x + 0.13) * 1.75
            out[trunk & (np.abs(z - line) < 0.03) & (z > 0.0)] = np.asarray(outfit.bag_colour) * 0.85
        else:
            out[trunk & (np.abs(x * outfit.bag_side - 0.12) < 0.015) & (z > 0.0)] = outfit.bag_colour


def colours(points: Points, outfit: Outfit, noise: Noise) -> Floats:
    """Return the sRGB colours (N, 3), 0..1, of a person's surface at `points`, before light is applied."""
    out = np.empty((len(points.canon), 3), np.float32)
    sheets = {cloth.TOP: outfit.top, cloth.OUTER: outfit.outer, cloth.LOWER: outfit.lower}
    for material in np.unique(points.material):
        here = points.material == material
        chosen = Points(points.material[here], points.part[here], points.canon[here])
        c = chosen.canon
        garment = sheets.get(int(material))
        if material == cloth.BODY:
            out[here] = _body(chosen, outfit, noise)
        elif garment is not None:
            out[here] = fabric(garment, chosen, noise)
        elif material == cloth.HAIR:
            strand = noise.at(np.arctan2(c[:, 0], c[:, 1]) * 3.0, c[:, 2] * 0.25)
            out[here] = np.asarray(outfit.hair) * (1 + 0.16 * strand[:, None])
        elif material == cloth.BRIM:
            out[here] = np.asarray(outfit.hat_colour) * 0.9
        else:
            seam = (np.abs(np.mod(c[:, 2] * 9 + 0.3, 1) - 0.5) < 0.05).astype(np.float32)
            out[here] = np.asarray(outfit.bag_colour) * (1 - 0.3 * seam[:, None])
    return np.clip(out, 0.01, 1)


def creases(points: Points, outfit: Outfit, noise: Noise, seed: float) -> Floats:
    """Return an array (N,), -1..1, that says by how much small folds of cloth make each point lighter (above 0) or darker (below 0).

    These folds are too fine for the mesh. Skin, hair and bags have none. `seed` selects the place of the folds in `noise`.
    """
    c = points.canon
    u, v = np.arctan2(c[:, 3], -c[:, 4]) * 0.14, c[:, 5]
    # Sleeves and trouser legs crease across the limb; skirts and tops hang in folds along it.
    limb = (points.part == ARM) | ((points.material == cloth.BODY) & (c[:, 2] < 0.05))
    along, across = np.where(limb, 0.9, 2.1), np.where(limb, 2.3, 0.7)
    shear = 0.35 * np.sin(7 * v + seed)
    a = noise.at(u * along + v * shear + seed, v * across + seed * 3, folds=True)
    b = noise.at(u * along + v * shear + seed + 0.01, v * across + seed * 3 + 0.022, folds=True)
    sleeve = max(outfit.top.sleeve, outfit.outer.sleeve if outfit.outer else 0.0)
    skin = np.where(points.part == ARM, c[:, 6] > sleeve, c[:, 2] < max(outfit.lower.hem, -0.72))
    bare = (points.part == HEAD) | np.isin(points.material, (cloth.HAIR, cloth.BAG, cloth.BRIM))
    bare |= skin & (points.material == cloth.BODY)
    return np.where(bare, 0.0, np.clip((a - b) * 1.5, -1, 1)).astype(np.float32)
