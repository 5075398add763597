"""Solids from which objects are built, boxes, cylinders, profiles and balls of leaves, and how they look through a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.people.arrays import Bools, Floats, Ints, bools, floats
from benchmarks.people.person import cloth
from benchmarks.people.person.pose import turn
from benchmarks.people.person.surface import Noise
from benchmarks.people.portrait import Portrait
from benchmarks.people.render import Light, View, ambient_occlusion, rasterise, shade


@dataclass(frozen=True)
class Solid:
    """A mesh of one colour: vertices in metres and unit normals (V, 3), and the vertex indices of its faces (F, 3).

    `colour` (3,) is linear. `grain` is the strength of the noise in the colour, and `fineness` how fine that noise is.
    """

    vertices: Floats
    normals: Floats
    faces: Ints
    colour: Floats
    grain: float = 0.06
    fineness: float = 0.9


def profile(outline: Sequence[tuple[float, float]], width: float, colour: Floats, *, y: float = 0.0) -> Solid:
    """Return a solid with the `outline` (x, z), which runs anticlockwise as seen from -y, and `width` metres across around `y`."""
    upright = prism(outline, -width / 2, width / 2, colour)
    # The axis of the prism turns from z to -y, and its second coordinate from y to z.
    swap = floats([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    return replace(
        upright, vertices=upright.vertices @ swap.T + floats([0, y, 0]), normals=upright.normals @ swap.T
    )


def prism(
    outline: Sequence[tuple[float, float]], low: float, high: float, colour: Floats, *, smooth: bool = False
) -> Solid:
    """Return an upright prism between the heights `low` and `high` over the anticlockwise `outline` (x, y), in metres.

    With `smooth`, its sides are shaded as one round surface. The outline must be seen whole from its centre.
    """
    ring = floats(outline)
    following = np.roll(ring, -1, 0)
    edge = following - ring
    flat = np.stack([edge[:, 1], -edge[:, 0]], 1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    corner = flat + np.roll(flat, 1, 0)
    corner /= np.maximum(np.linalg.norm(corner, axis=1, keepdims=True), 1e-6)
    ends = (corner, np.roll(corner, -1, 0)) if smooth else (flat, flat)
    # Each side has four vertices of its own, and each end a vertex in its middle.
    places = [_raised(ring, low), _raised(following, low), _raised(following, high), _raised(ring, high)]
    normals = [_raised(n, 0) for n in (ends[0], ends[1], ends[1], ends[0])]
    count = len(ring)
    index = np.arange(count, dtype=np.int32)
    faces = [np.stack([index + a * count for a in corners], 1) for corners in ((0, 1, 2), (0, 2, 3))]
    for height, direction in ((low, -1.0), (high, 1.0)):
        start = sum(map(len, places))
        places += [_raised(ring, height), _raised(ring.mean(0, keepdims=True), height)]
        normals.append(np.tile(floats([0, 0, direction]), (count + 1, 1)))
        first, second = (index, np.roll(index, -1)) if direction > 0 else (np.roll(index, -1), index)
        faces.append(np.stack([start + first, start + second, np.full(count, start + count)], 1))
    return Solid(
        floats(np.concatenate(places)),
        floats(np.concatenate(normals)),
        np.concatenate(faces).astype(np.int32),
        colour,
    )


def _raised(points: npt.NDArray[np.floating], height: float) -> Floats:
    return floats(np.concatenate([points, np.full((len(points), 1), height)], 1))


def box(size: tuple[float, float, float], colour: Floats, *, x: float = 0.0, low: float = 0.0) -> Solid:
    """Return a box of the `size` (x, y, z) in metres, whose middle is at `x` and whose lower side is at `low`."""
    a, b = size[0] / 2, size[1] / 2
    outline = [(x - a, -b), (x + a, -b), (x + a, b), (x - a, b)]
    return prism(outline, low, low + size[2], colour)


def circle(radius: float, *, x: float = 0.0, y: float = 0.0) -> list[tuple[float, float]]:
    """Return the outline of a circle around (x, y), anticlockwise."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return [(x + radius * float(np.cos(angle)), y + radius * float(np.sin(angle))) for angle in angles]


def cylinder(radius: float, low: float, high: float, colour: Floats) -> Solid:
    """Return an upright cylinder around the z axis between two heights, in metres."""
    return prism(circle(radius), low, high, colour, smooth=True)


def leaves(centre: tuple[float, float, float], size: tuple[float, float, float], colour: Floats) -> Solid:
    """Return an ellipsoid of leaves around `centre` with the full lengths `size`, in metres."""
    mesh = cloth.block(floats(centre), size, np.eye(3, dtype=np.float32), square=2.2)
    return Solid(mesh.vertices, mesh.normals, mesh.faces, colour, grain=0.42, fineness=2.6)


def moved(solid: Solid, place: tuple[float, float], angle: float) -> Solid:
    """Return a solid turned by `angle` degrees about the vertical axis, and then moved to `place` (x, y) in metres."""
    spin = turn("z", angle)
    return replace(
        solid, vertices=solid.vertices @ spin.T + floats([*place, 0]), normals=solid.normals @ spin.T
    )


def _joined(solids: Sequence[Solid]) -> tuple[Floats, Floats, Ints]:
    starts = np.cumsum([0] + [len(solid.vertices) for solid in solids])
    faces = np.concatenate([solid.faces + start for solid, start in zip(solids, starts)]).astype(np.int32)
    return (
        np.concatenate([solid.vertices for solid in solids]),
        np.concatenate([solid.normals for solid in solids]),
        faces,
    )


def draw(solids: Sequence[Solid], view: View, light: Light, noise: Noise) -> Portrait:
    """Return the solids as they look in `view`: colour, silhouette and depth."""
    vertices, normals, faces = _joined(solids)
    owner = np.repeat(np.arange(len(solids)), [len(solid.faces) for solid in solids])
    xy, depth = view.project(vertices)
    size = (view.height, view.width)
    fragments = rasterise(xy, depth, faces, size)
    corner, owner = faces[fragments.face], owner[fragments.face]
    normal = np.einsum("nc,nck->nk", fragments.weight, normals[corner])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    place = np.einsum("nc,nck->nk", fragments.weight, vertices[corner])
    fine = floats([solid.fineness for solid in solids])[owner]
    grain = noise.at(
        (place[:, 0] + 0.8 * place[:, 1]) * fine * 0.3, (place[:, 2] + 0.3 * place[:, 1]) * fine * 0.3
    )
    strength = floats([solid.grain for solid in solids])[owner]
    albedo = np.stack([solid.colour for solid in solids])[owner] * np.exp(strength * grain)[:, None]
    inside, depths = np.zeros(view.height * view.width, bool), np.zeros(view.height * view.width, np.float32)
    inside[fragments.pixel], depths[fragments.pixel] = True, fragments.depth
    open_sky = ambient_occlusion(depths.reshape(size), inside.reshape(size), 12).ravel()[fragments.pixel]
    # Less light reaches what stands close to the ground.
    open_sky = open_sky * (0.5 + 0.5 * np.clip(place[:, 2] / 0.7, 0, 1))
    colour = np.zeros((view.height * view.width, 3), np.float32)
    lit = np.ones_like(fragments.depth)
    colour[fragments.pixel] = shade(floats(albedo), floats(normal), light, open_sky=floats(open_sky), lit=lit)
    return Portrait(colour.reshape(*size, 3), inside.reshape(size), depths.reshape(size))


def shadow(solids: Sequence[Solid], view: View, light: Light) -> Bools:
    """Return the mask (H, W) of the pixels whose ground lies in the shadow that the sun casts of the solids."""
    vertices, _, faces = _joined(solids)
    fall = vertices[:, 2:] / max(float(light.sun[2]), 0.25) * light.sun[None, :2]
    cast = floats(np.concatenate([vertices[:, :2] - fall, np.zeros((len(vertices), 1))], 1))
    xy, depth = view.project(cast)
    out = np.zeros(view.height * view.width, bool)
    out[rasterise(xy, depth, faces, (view.height, view.width)).pixel] = True
    return bools(out.reshape(view.height, view.width))
