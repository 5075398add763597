"""Places for people to stand in: textured ground and walls in perspective, parked things, sky. Plain numpy.

A place is a plane of ground, a wall some metres behind, and objects between them. Textures come from a seed and are
shared by all pictures of that seed, so that a background repeats between people and cannot become an identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmarks.people.render import View
from benchmarks.people.surface import Noise

Floats = npt.NDArray[np.float32]
_SIZE = 512
_EACH = 6


def _rgb(*values: float) -> Floats:
    return (np.asarray(values, np.float32) / 255) ** 2.2


def _mix(a: Floats, b: Floats, share: npt.NDArray[np.floating]) -> Floats:
    return (a + (b - a) * np.clip(share, 0, 1)[..., None]).astype(np.float32)


@dataclass(frozen=True)
class _Sheet:
    """Coordinates of a texture sheet in metres and two noises over it, (S, S) each."""

    x: Floats
    y: Floats
    coarse: Floats
    fine: Floats
    rng: np.random.Generator

    @staticmethod
    def make(rng: np.random.Generator, noise: Noise, metres: float) -> _Sheet:
        y, x = np.mgrid[0:_SIZE, 0:_SIZE].astype(np.float32) * np.float32(metres / _SIZE)
        a, b = rng.random(2)
        grain = rng.standard_normal((_SIZE, _SIZE)).astype(np.float32)
        return _Sheet(x, y, noise.at(x / metres + a, y / metres + b), grain, rng)

    def cells(self, wide: float, high: float, *, shift: float = 0.0) -> tuple[Floats, Floats]:
        """Bricks or slabs: (S, S) 1 on the joints between them, and a random level per stone."""
        row = np.floor(self.y / high).astype(int)
        x = self.x / wide + shift * np.mod(row, 2)
        column = np.floor(x).astype(int)
        joint = (np.mod(x, 1) * wide < 0.014) | (np.mod(self.y / high, 1) * high < 0.014)
        table = self.rng.standard_normal((64, 64)).astype(np.float32)
        return joint.astype(np.float32), table[np.mod(row, 64), np.mod(column, 64)]


def _stone(s: _Sheet, base: Floats, grain: float, stain: float) -> Floats:
    return base * np.exp(grain * s.fine + stain * s.coarse)[..., None]


def _paving(s: _Sheet) -> Floats:
    joint, level = s.cells(*((0.5, 0.5), (0.6, 0.4), (0.25, 0.125))[int(s.rng.integers(3))], shift=0.5)
    base = (_rgb(150, 148, 144), _rgb(168, 158, 146), _rgb(128, 130, 134), _rgb(150, 122, 108))[int(s.rng.integers(4))]
    return _stone(s, base, 0.06, 0.1) * np.exp(0.09 * level - 0.5 * joint)[..., None]


def _asphalt(s: _Sheet) -> Floats:
    base = (_rgb(96, 97, 100), _rgb(112, 111, 110), _rgb(80, 82, 86))[int(s.rng.integers(3))]
    crack = np.abs(s.coarse - 0.3) < 0.02
    return _stone(s, base, 0.13, 0.13) * (1 - 0.35 * crack[..., None])


def _grass(s: _Sheet) -> Floats:
    ground = _mix(_rgb(86, 104, 52), _rgb(134, 132, 84), 0.4 + 0.35 * s.coarse)
    leaves = s.fine > 2.2
    out = ground * np.exp(0.28 * s.fine)[..., None]
    out[leaves] = _rgb(150, 112, 62)
    return out


def _gravel(s: _Sheet) -> Floats:
    return _stone(s, _rgb(158, 144, 122), 0.2, 0.12)


def _tiles(s: _Sheet) -> Floats:
    joint, level = s.cells(0.3, 0.3)
    return _stone(s, _rgb(176, 168, 154), 0.03, 0.05) * np.exp(0.05 * level - 0.3 * joint)[..., None]


def _brick(s: _Sheet) -> Floats:
    joint, level = s.cells(0.24, 0.08, shift=0.5)
    base = (_rgb(138, 84, 66), _rgb(160, 132, 104), _rgb(120, 104, 96))[int(s.rng.integers(3))]
    return _mix(_stone(s, base, 0.06, 0.1) * np.exp(0.14 * level)[..., None], _rgb(170, 164, 154), joint * 0.8)


def _concrete(s: _Sheet) -> Floats:
    joint, level = s.cells(1.5, 1.2)
    return _stone(s, _rgb(148, 146, 142), 0.04, 0.16) * np.exp(0.05 * level - 0.6 * joint)[..., None]


def _facade(s: _Sheet) -> Floats:
    wall = _stone(s, (_rgb(196, 184, 164), _rgb(168, 168, 170), _rgb(184, 140, 116))[int(s.rng.integers(3))], 0.03, 0.06)
    column, row = np.mod(s.x, 2.0), np.mod(s.y, 3.0)
    window = (np.abs(column - 1.0) < 0.55) & (np.abs(row - 1.75) < 0.75)
    frame = (np.abs(column - 1.0) < 0.63) & (np.abs(row - 1.75) < 0.83) & ~window
    glass = _mix(_rgb(54, 62, 72), _rgb(150, 164, 180), 0.35 + 0.4 * s.coarse + (row - 1.75) * 0.4)
    wall[window], wall[frame] = glass[window], _rgb(218, 216, 210)
    return wall


def _shops(s: _Sheet) -> Floats:
    out = _stone(s, _rgb(122, 116, 110), 0.03, 0.1)
    unit = np.floor(s.x / 3.0).astype(int) % 2
    column = np.mod(s.x, 3.0)
    inside = s.rng.gamma(1.2, 0.04, (64, 96, 1)) * s.rng.uniform(0.6, 1.4, (64, 96, 3))
    goods = inside[np.floor(s.y * 5 + s.coarse).astype(int) % 64, np.floor(s.x * 11).astype(int) % 96]
    glass = (column > 0.25) & (column < 2.75) & (s.y > 0.45) & (s.y < 2.5) & (np.abs(np.mod(column, 1.25) - 0.25) > 0.03)
    out[glass] = _mix(goods, _rgb(150, 160, 170), 0.22 + 0.15 * s.coarse)[glass]
    signs = s.rng.uniform(0.02, 0.5, (2, 3)).astype(np.float32)
    band = (s.y > 2.6) & (s.y < 3.2)
    out[band] = signs[unit[band]]
    text = band & (np.abs(s.y - 2.9) < 0.13) & (np.abs(column - 1.5) < 0.9) & (np.mod(s.x * 5, 1) < 0.6)
    out[text] = _rgb(235, 232, 224)
    return out


def _hedge(s: _Sheet) -> Floats:
    deep = np.clip(0.5 + 0.3 * s.coarse + 0.22 * s.fine, 0, 1)
    return _mix(_rgb(22, 34, 20), _rgb(96, 120, 60), deep)


def _trees(s: _Sheet) -> Floats:
    out = _hedge(s) * 0.8
    trunk = (np.mod(s.x + 0.15 * s.coarse, 2.1) < 0.22) & (s.y < 2.4)
    out[trunk] = _rgb(78, 64, 52) * np.exp(0.15 * s.fine[trunk])[:, None]
    gap = (s.coarse > 1.3) & (s.y > 2.0)
    out[gap] = _rgb(190, 205, 215)
    return out


def _fence(s: _Sheet) -> Floats:
    out = _hedge(s) * 0.9
    bars = (np.mod(s.x, 0.13) < 0.03) | (np.abs(s.y - 1.3) < 0.04) | (np.abs(s.y - 0.2) < 0.04)
    out[bars & (s.y < 1.4)] = _rgb(52, 56, 58)
    return out


_GROUNDS: Mapping[str, Callable[[_Sheet], Floats]] = {
    "paving": _paving, "asphalt": _asphalt, "grass": _grass, "gravel": _gravel, "tiles": _tiles,
}  # fmt: skip
_WALLS: Mapping[str, Callable[[_Sheet], Floats]] = {
    "brick": _brick, "concrete": _concrete, "facade": _facade, "shops": _shops, "hedge": _hedge,
    "trees": _trees, "fence": _fence,
}  # fmt: skip

# scene: (grounds, walls, metres from the person to the wall, height of the wall)
_KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[float, float], tuple[float, float]]] = {
    "street": (("paving", "asphalt", "paving"), ("shops", "facade", "brick"), (1.5, 6.0), (4.0, 9.0)),
    "square": (("paving", "paving", "asphalt", "gravel"), ("facade", "concrete", "hedge"), (6.0, 18.0), (3.0, 9.0)),
    "park": (("grass", "gravel", "grass", "paving"), ("hedge", "trees", "fence", "trees"), (2.5, 9.0), (2.2, 7.0)),
    "passage": (("tiles", "asphalt", "tiles"), ("concrete", "brick", "shops"), (0.8, 4.0), (3.0, 5.0)),
}


@dataclass(frozen=True)
class _Place:
    ground: tuple[Floats, ...]
    strip: tuple[Floats, ...]
    wall: Floats
    distance: float
    tall: float
    angle: float
    border: tuple[float, float]
    line: bool
    tint: float


def _halves(texture: Floats) -> tuple[Floats, ...]:
    """The texture at full, half, quarter and eighth size: far ground is averaged ground, it must not flicker."""
    out = [texture]
    for _ in range(4):
        last = out[-1]
        size = len(last) // 2
        out.append(last.reshape(size, 2, size, 2, 3).mean((1, 3)))
    return tuple(out)


@lru_cache(maxsize=2)
def _town(seed: int) -> list[_Place]:
    """The places of a seed, _EACH of every kind. Cameras share them: a background must not name its camera."""
    rng, noise = np.random.default_rng([seed, 78]), Noise(seed)
    grounds = {name: [_halves(make(_Sheet.make(rng, noise, 4.0))) for _ in range(3)] for name, make in _GROUNDS.items()}
    town = []
    for kind in _KINDS:
        floors, walls, distance, tall = _KINDS[kind]
        for _ in range(_EACH):
            first, second = (grounds[str(rng.choice(floors))][int(rng.integers(3))] for _ in range(2))
            town.append(
                _Place(
                    ground=first,
                    strip=second,
                    wall=_WALLS[str(rng.choice(walls))](_Sheet.make(rng, noise, 6.0)),
                    distance=float(rng.uniform(*distance)),
                    tall=float(rng.uniform(*tall)),
                    angle=float(rng.normal(0, 22)),
                    border=(float(rng.uniform(0.4, 3.0)), float(rng.uniform(-60, 60))),
                    line=bool(rng.random() < 0.4),
                    tint=float(rng.uniform(0.85, 1.15)),
                )
            )
    return town


class Scenery:
    """What one camera sees: every place of its scene kind and some of the town's others. `paint` draws one of them."""

    def __init__(self, kind: str, seed: int, *, others: int = 12) -> None:
        rng = np.random.default_rng([seed, list(_KINDS).index(kind), 77])
        town, first = _town(seed), list(_KINDS).index(kind) * _EACH
        rest = [place for number, place in enumerate(town) if not first <= number < first + _EACH]
        self.places = town[first : first + _EACH] + [rest[int(k)] for k in rng.permutation(len(rest))[:others]]

    def paint(self, view: View, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """(H, W, 3) linear light of a place seen through view, and where it is ground (H, W)."""
        number = int(rng.integers(len(self.places)))
        place = self.places[number]
        offset, lift = rng.uniform(-20, 20, 2), rng.normal(0, 0.5)
        rays = view.rays()
        down = np.minimum(rays[..., 2], -1e-4)
        far = np.where(rays[..., 2] < -1e-3, -view.eye[2] / down, 1e4)
        angle = np.radians(place.angle + rng.normal(0, 6))
        normal = np.asarray([np.sin(angle), np.cos(angle)], np.float32)
        away = max(place.distance + lift, 0.7)
        wall_far = (away - view.eye[:2] @ normal) / np.maximum(rays[..., :2] @ normal, 1e-3)
        ground = far < wall_far
        hit = view.eye + rays * np.minimum(far, 60)[..., None]
        out = self._ground(place, hit, far, view, offset)
        at = view.eye + rays * np.minimum(wall_far, 80)[..., None]
        along = at[..., 0] * normal[1] - at[..., 1] * normal[0] + offset[0]
        column = np.mod(along * (_SIZE / 6.0), _SIZE).astype(int) % _SIZE
        row = np.clip(at[..., 2] * (_SIZE / 6.0), 0, None).astype(int) % _SIZE
        wall = place.wall[row, column] * place.tint
        wall *= np.clip(0.7 + 0.5 * at[..., 2:], 0.55, 1)
        sky = _mix(_rgb(210, 218, 226), _rgb(150, 184, 222), rays[..., 2] * 3)
        above = np.where((at[..., 2] > place.tall)[..., None], sky, wall)
        light = 0.95
        return np.where(ground[..., None], out * light, above).astype(np.float32), ground

    def _ground(self, place: _Place, hit: Floats, far: Floats, view: View, offset: npt.NDArray[np.floating]) -> Floats:
        x, y = hit[..., 0] + offset[0], hit[..., 1] + offset[1]
        level = np.clip(np.log2(np.maximum(far / view.scale * 128 * 1.6, 1)), 0, 4).astype(int)
        out = np.empty((*far.shape, 3), np.float32)
        turn = np.radians(place.border[1])
        side = hit[..., 0] * np.sin(turn) + hit[..., 1] * np.cos(turn) - place.border[0]
        for depth in np.unique(level):
            for textures, here in ((place.ground, (level == depth) & (side < 0)), (place.strip, (level == depth) & (side >= 0))):
                size = _SIZE >> int(depth)
                column = np.mod(x[here] * (size / 4.0), size).astype(int) % size
                row = np.mod(y[here] * (size / 4.0), size).astype(int) % size
                out[here] = textures[int(depth)][row, column]
        kerb = np.abs(side) < 0.07
        out[kerb] = out[kerb] * 0.35 + _rgb(150, 150, 148) * 0.65
        if place.line:
            out[np.abs(side - 0.9) < 0.07] = _rgb(214, 210, 196)
        return out
