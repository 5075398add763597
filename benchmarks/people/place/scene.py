"""Paint the places where people stand: ground and walls with textures in perspective, and the sky, in plain numpy.

A place has a plane of ground, and a wall some metres behind the person. All images of a seed share the same textures. Backgrounds
therefore repeat between people, and a background does not identify a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmarks.people.arrays import Bools, Floats, floats
from benchmarks.people.person.surface import Noise
from benchmarks.people.place.texture import GROUNDS, SIZE, WALLS, Sheet, linear, mip_levels, mix
from benchmarks.people.render import View

_PLACES_PER_KIND = 6

# The kind of a scene -> (textures of the ground, textures of the wall, metres from the person to the wall, height of the wall in
# metres).
_KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[float, float], tuple[float, float]]] = {
    "street": (("paving", "asphalt", "paving"), ("shops", "facade", "brick"), (1.5, 6.0), (4.0, 9.0)),
    "square": (
        ("paving", "paving", "asphalt", "gravel"),
        ("facade", "concrete", "hedge"),
        (6.0, 18.0),
        (3.0, 9.0),
    ),
    "park": (
        ("grass", "gravel", "grass", "paving"),
        ("hedge", "trees", "fence", "trees"),
        (2.5, 9.0),
        (2.2, 7.0),
    ),
    "passage": (("tiles", "asphalt", "tiles"), ("concrete", "brick", "shops"), (0.8, 4.0), (3.0, 5.0)),
}


@dataclass(frozen=True)
class _Place:
    ground: tuple[Floats, ...]
    strip: tuple[Floats, ...]
    wall: Floats
    distance: float
    wall_height: float
    angle: float
    border: tuple[float, float]
    line: bool
    tint: float


@lru_cache(maxsize=2)
def _places_of_seed(seed: int) -> list[_Place]:
    """Return the places of a seed, _PLACES_PER_KIND of each kind. Cameras share them, so no background reveals its camera."""
    rng, noise = np.random.default_rng([seed, 78]), Noise(seed)
    grounds = {
        name: [mip_levels(make(Sheet.make(rng, noise, 4.0))) for _ in range(3)]
        for name, make in GROUNDS.items()
    }
    places = []
    for kind in _KINDS:
        floors, walls, distance, wall_height = _KINDS[kind]
        for _ in range(_PLACES_PER_KIND):
            first, second = (grounds[str(rng.choice(floors))][int(rng.integers(3))] for _ in range(2))
            places.append(
                _Place(
                    ground=first,
                    strip=second,
                    wall=WALLS[str(rng.choice(walls))](Sheet.make(rng, noise, 6.0)),
                    distance=float(rng.uniform(*distance)),
                    wall_height=float(rng.uniform(*wall_height)),
                    angle=float(rng.normal(0, 22)),
                    border=(float(rng.uniform(0.4, 3.0)), float(rng.uniform(-60, 60))),
                    line=bool(rng.random() < 0.4),
                    tint=float(rng.uniform(0.85, 1.15)),
                )
            )
    return places


class Scenery:
    """The places that one camera sees: all places of the kind `kind`, such as "street", and a few places of other kinds.

    `others` is the number of places of other kinds. They are chosen at random. `seed` determines this choice and how all places look.
    """

    def __init__(self, kind: str, seed: int, *, others: int = 12) -> None:
        rng = np.random.default_rng([seed, list(_KINDS).index(kind), 77])
        places, first = _places_of_seed(seed), list(_KINDS).index(kind) * _PLACES_PER_KIND
        rest = [
            place for number, place in enumerate(places) if not first <= number < first + _PLACES_PER_KIND
        ]
        self.places = places[first : first + _PLACES_PER_KIND] + [
            rest[int(k)] for k in rng.permutation(len(rest))[:others]
        ]

    def cleared(self, depth: float) -> Scenery:
        """Return this scenery with every wall at least `depth` metres behind the origin and nearly parallel to the image."""
        out = Scenery.__new__(Scenery)
        out.places = [replace(place, distance=max(place.distance, depth), angle=0.0) for place in self.places]
        return out

    def paint(self, view: View, rng: np.random.Generator) -> tuple[Floats, Bools]:
        """Return the linear light (H, W, 3) of a random place through `view`, and a mask (H, W) of the pixels that show the ground."""
        place = self.places[int(rng.integers(len(self.places)))]
        offset, nearer = rng.uniform(-20, 20, 2), rng.normal(0, 0.5)
        rays = view.rays()
        down = np.minimum(rays[..., 2], -1e-4)
        far = np.where(rays[..., 2] < -1e-3, -view.eye[2] / down, 1e4)
        angle = np.radians(place.angle + rng.normal(0, 6))
        normal = np.asarray([np.sin(angle), np.cos(angle)], np.float32)
        away = max(place.distance + nearer, 0.7)
        wall_far = (away - view.eye[:2] @ normal) / np.maximum(rays[..., :2] @ normal, 1e-3)
        ground = far < wall_far
        hit = view.eye + rays * np.minimum(far, 60)[..., None]
        out = self._ground(place, hit, far, view, offset)
        at = view.eye + rays * np.minimum(wall_far, 80)[..., None]
        along = at[..., 0] * normal[1] - at[..., 1] * normal[0] + offset[0]
        column = np.mod(along * (SIZE / 6.0), SIZE).astype(int) % SIZE
        row = np.clip(at[..., 2] * (SIZE / 6.0), 0, None).astype(int) % SIZE
        wall = place.wall[row, column] * place.tint
        wall *= np.clip(0.7 + 0.5 * at[..., 2:], 0.55, 1)
        sky = mix(linear(210, 218, 226), linear(150, 184, 222), rays[..., 2] * 3)
        above = np.where((at[..., 2] > place.wall_height)[..., None], sky, wall)
        return floats(np.where(ground[..., None], out * 0.95, above)), ground

    def _ground(
        self, place: _Place, hit: Floats, far: Floats, view: View, offset: npt.NDArray[np.floating]
    ) -> Floats:
        x, y = hit[..., 0] + offset[0], hit[..., 1] + offset[1]
        level = np.clip(np.log2(np.maximum(far / view.scale * 128 * 1.6, 1)), 0, 4).astype(int)
        out = np.empty((*far.shape, 3), np.float32)
        turn = np.radians(place.border[1])
        side = hit[..., 0] * np.sin(turn) + hit[..., 1] * np.cos(turn) - place.border[0]
        for depth in np.unique(level):
            for textures, here in (
                (place.ground, (level == depth) & (side < 0)),
                (place.strip, (level == depth) & (side >= 0)),
            ):
                size = SIZE >> int(depth)
                column = np.mod(x[here] * (size / 4.0), size).astype(int) % size
                row = np.mod(y[here] * (size / 4.0), size).astype(int) % size
                out[here] = textures[int(depth)][row, column]
        kerb = np.abs(side) < 0.07
        out[kerb] = out[kerb] * 0.35 + linear(150, 150, 148) * 0.65
        if place.line:
            out[np.abs(side - 0.9) < 0.07] = linear(214, 210, 196)
        return out
