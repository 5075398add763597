"""Objects that stand on the ground of a camera and hide people: cars, poles, planters, railings, bins and pillars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.people.arrays import Floats, floats
from benchmarks.people.person.pose import turn
from benchmarks.people.place.texture import linear
from benchmarks.people.sequence.place.solids import Solid, box, circle, cylinder, leaves, moved, profile
from benchmarks.people.sequence.place.view import DISTANCE, half_width
from benchmarks.people.sequence.plan import SequencePlan
from benchmarks.people.sequence.streams import generator


@dataclass(frozen=True)
class Furniture:
    """An object that stands at `place` (x, y), turned by `angle` degrees, and covers `size` (x, y) of the ground, in metres.

    `solids` are its parts where they stand.
    """

    kind: str
    place: tuple[float, float]
    angle: float
    size: tuple[float, float]
    solids: tuple[Solid, ...]


def _paint(rng: np.random.Generator) -> Floats:
    colours = ((74, 78, 84), (186, 186, 184), (128, 130, 134), (136, 42, 38), (52, 78, 124), (70, 96, 78))
    return linear(*colours[int(rng.integers(len(colours)))])


def _pole(rng: np.random.Generator) -> list[Solid]:
    radius, colour = float(rng.uniform(0.06, 0.14)), linear(96, 98, 102)
    return [cylinder(radius, 0, 5.5, colour), cylinder(radius + 0.05, 0, 0.5, colour * 0.8)]


def _planter(rng: np.random.Generator) -> list[Solid]:
    long, high = float(rng.uniform(1.2, 1.9)), float(rng.uniform(0.42, 0.6))
    tub = box((long, 0.6, high), linear(150, 146, 140))
    rim = box((long + 0.06, 0.66, 0.07), linear(164, 160, 154), low=high - 0.05)
    places = np.linspace(-0.42, 0.42, 5) * long
    green = [
        leaves(
            (float(x), float(rng.normal(0, 0.06)), high + float(rng.uniform(0.12, 0.3))),
            (0.62, 0.66, float(rng.uniform(0.5, 0.8))),
            linear(72, 98, 48) * float(rng.uniform(0.75, 1.15)),
        )
        for x in places
    ]
    return [tub, rim, *green]


def _car(rng: np.random.Generator) -> list[Solid]:
    paint, glass, rubber = _paint(rng), linear(46, 52, 60), linear(30, 30, 32)
    body = [(-2.1, 0.3), (2.0, 0.3), (2.12, 0.42), (2.08, 0.72), (1.9, 0.84), (1.0, 0.96), (0.35, 1.42)]
    body += [(-0.3, 1.47), (-1.0, 1.42), (-1.55, 0.98), (-2.05, 0.9), (-2.14, 0.5)]
    rear = [(-1.36, 1.0), (-0.3, 1.0), (-0.3, 1.38), (-0.94, 1.35)]
    front = [(-0.2, 1.0), (0.8, 1.0), (0.3, 1.36), (-0.2, 1.39)]
    sill = [(-1.9, 0.26), (1.95, 0.26), (1.95, 0.38), (-1.9, 0.38)]
    wheels = [
        profile(circle(radius, x=x, y=0.31), 1.74 + proud, colour)
        for x in (-1.32, 1.34)
        for radius, proud, colour in (
            (0.38, 0.0, rubber * 0.5),
            (0.31, 0.04, rubber),
            (0.18, 0.05, linear(150, 152, 156)),
        )
    ]
    return [
        profile(body, 1.7, paint),
        profile(rear, 1.72, glass),
        profile(front, 1.72, glass),
        profile(sill, 1.73, rubber),
        *wheels,
    ]


def _railing(rng: np.random.Generator) -> list[Solid]:
    colour, long = _paint(rng) * 0.9, float(rng.uniform(2.0, 3.0))
    posts = [box((0.04, 0.04, 1.0), colour, x=float(x)) for x in np.linspace(-long / 2, long / 2, 16)]
    return [*posts, *(box((long, 0.05, 0.05), colour, low=low) for low in (0.12, 1.0))]


def _bin(rng: np.random.Generator) -> list[Solid]:
    colour = _paint(rng)
    return [
        box((0.5, 0.5, 0.92), colour),
        box((0.4, 0.52, 0.12), colour * 0.25, low=0.72),
        box((0.56, 0.56, 0.06), colour * 0.7, low=0.92),
    ]


def _pillar(rng: np.random.Generator) -> list[Solid]:
    posters = [linear(*rng.integers(60, 215, 3).tolist()) for _ in range(2)]
    return [
        cylinder(0.5, 0, 2.5, linear(120, 122, 124)),
        cylinder(0.51, 0.6, 1.3, posters[0]),
        cylinder(0.51, 1.4, 2.3, posters[1]),
        cylinder(0.58, 2.5, 2.62, linear(54, 70, 60)),
    ]


# The kind of an object -> how it is made, the ground that it covers, and its distances from the camera, all in metres.
_KINDS: Mapping[
    str, tuple[Callable[[np.random.Generator], list[Solid]], tuple[float, float], tuple[float, float]]
] = {
    "car": (_car, (4.3, 1.8), (9.4, 10.8)),
    "pole": (_pole, (0.4, 0.4), (6.8, 9.5)),
    "planter": (_planter, (1.9, 0.7), (7.2, 10.5)),
    "railing": (_railing, (3.0, 0.1), (7.5, 10.5)),
    "bin": (_bin, (0.6, 0.6), (7.0, 10.0)),
    "pillar": (_pillar, (1.2, 1.2), (8.5, 11.0)),
}
_OF_CAMERA = (
    ("car", "pole", "planter"),
    ("pillar", "railing", "planter"),
    ("planter", "pole", "railing", "bin"),
    ("pillar", "pole", "bin", "railing"),
)


def random_furniture(plan: SequencePlan, camera: int) -> list[Furniture]:
    """Return the objects that stand in front of a camera (0-based). They depend on the seed alone."""
    rng = generator(plan.seed, "furniture", camera)
    # Each object has a part of the image's width of its own.
    slots = rng.permutation(len(_OF_CAMERA[camera]))
    out = []
    for slot, kind in zip(slots, _OF_CAMERA[camera]):
        make, size, distances = _KINDS[kind]
        distance = float(rng.uniform(*distances))
        across = (slot + rng.uniform(0.3, 0.7)) / len(slots) * 2 - 1
        place = (float(across * 0.9 * half_width(distance)), distance - DISTANCE)
        angle = float(rng.normal(0, 6))
        solids = tuple(moved(solid, place, angle) for solid in make(rng))
        out.append(Furniture(kind, place, angle, size, solids))
    return out


def clearance(furniture: Furniture, points: Floats) -> float:
    """Return the smallest distance in metres from `points` (N, 2) to the ground that an object covers, 0 on it."""
    local = (points - floats(furniture.place)) @ turn("z", furniture.angle)[:2, :2]
    outside = np.maximum(np.abs(local) - floats(furniture.size) / 2, 0)
    return float(np.linalg.norm(outside, axis=1).min())
