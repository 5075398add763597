"""Draw a person as a camera sees it: the colour, the silhouette, and the shadow on the ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.people.arrays import Bools, Floats, floats
from benchmarks.people.person.cloth import Mesh
from benchmarks.people.person.figure import Person
from benchmarks.people.person.pose import turn
from benchmarks.people.person.surface import Noise, Points, colours, creases
from benchmarks.people.render import Light, View, ambient_occlusion, rasterise, shade


@dataclass(frozen=True)
class Portrait:
    """A drawn person: its `colour` (H, W, 3) in linear light, and the mask of its silhouette, `inside` (H, W).

    `depth` (H, W) is the distance of the visible surface along the view, in metres. It is 0 outside the silhouette.
    """

    colour: Floats
    inside: Bools
    depth: Floats


def rotated(meshes: Sequence[Mesh], yaw: float) -> list[Mesh]:
    """Return the meshes rotated about the vertical axis by `yaw` degrees. At 0, the person faces a camera at -y."""
    spin = turn("z", yaw)
    return [
        Mesh(m.vertices @ spin.T, m.normals @ spin.T, m.faces, m.canon, m.material, m.closed) for m in meshes
    ]


def draw(
    person: Person,
    meshes: Sequence[Mesh],
    view: View,
    light: Light,
    *,
    noise: Noise,
    steady: bool = False,
) -> Portrait:
    """Return the portrait of a person in `view` under `light`.

    `meshes` are those of `figure.meshes`, which the caller has rotated with `rotated`. `noise` gives patterns and folds of the
    clothes. With `steady`, the fine folds stay in place from one portrait of a person to the next, as a video needs. Otherwise they
    differ between portraits.
    """
    size = (view.height, view.width)
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes])
    vertices = np.concatenate([m.vertices for m in meshes])
    normals = np.concatenate([m.normals for m in meshes])
    canon = np.concatenate([m.canon for m in meshes])
    faces = np.concatenate([m.faces + start for m, start in zip(meshes, starts)])
    material = np.concatenate([np.full(len(m.faces), m.material, np.int8) for m in meshes])
    closed = np.concatenate([np.full(len(m.faces), m.closed) for m in meshes])
    part = np.zeros(len(vertices), np.int8)
    part[: len(person.skeleton.part)] = person.skeleton.part
    xy, depth = view.project(vertices)
    tri = xy[faces]
    side = (tri[:, 1, 0] - tri[:, 0, 0]) * (tri[:, 2, 1] - tri[:, 0, 1])
    side -= (tri[:, 1, 1] - tri[:, 0, 1]) * (tri[:, 2, 0] - tri[:, 0, 0])
    kept = np.flatnonzero((side < 0) | ~closed)
    fragments = rasterise(xy, depth, faces[kept].astype(np.int32), size)
    face = kept[fragments.face]
    corner = faces[face]

    def interpolated(values: Floats) -> Floats:
        return floats(np.einsum("nc,nck->nk", fragments.weight, values[corner]))

    place, normal = interpolated(canon), interpolated(normals)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    towards = view.eye - interpolated(vertices)
    # An open sheet shows its inner side where its normal points away.
    away = (normal * towards).sum(1) < 0
    normal[away & ~closed[face]] *= -1
    points = Points(material[face], part[corner[np.arange(len(corner)), fragments.weight.argmax(1)]], place)
    albedo = colours(points, person.outfit, noise) ** 2.2
    folds = 0.0 if steady else float(len(fragments.pixel) % 7) * 0.13
    crease = creases(points, person.outfit, noise, person.outfit.top.seed % 17 + folds)
    inside = np.zeros(view.height * view.width, bool)
    inside[fragments.pixel] = True
    field = np.zeros(view.height * view.width, np.float32)
    field[fragments.pixel] = fragments.depth
    inside = inside.reshape(size)
    depths = field.reshape(size)
    sky = ambient_occlusion(depths, inside, max(2, view.width // 20)).ravel()[fragments.pixel]
    sky = sky * (0.62 + 0.38 * np.clip((place[:, 2] + 0.75) / 0.7, 0, 1))
    lit = np.clip(1 - 1.6 * (1 - sky), 0, 1)
    out = np.zeros((view.height * view.width, 3), np.float32)
    lightness = shade(albedo, normal, light, open_sky=sky, lit=lit) * (1 + 0.24 * crease)[:, None]
    inner = away & ~closed[face]
    lightness[inner] *= 0.45
    out[fragments.pixel] = np.maximum(lightness, 0)
    return Portrait(out.reshape(*size, 3), inside, depths)


def ground_shadow(meshes: Sequence[Mesh], view: View, light: Light) -> Floats:
    """Return an array (H, W) with the part of the sun's light, 0..1, that the person's shadow takes from the ground at each pixel.

    The shadow has a soft edge, and is darkest under the feet.
    """
    grid = (view.height // 4, view.width // 4)
    vertices = np.concatenate([m.vertices for m in meshes])[::2]
    fall = vertices[:, 2:] / max(float(light.sun[2]), 0.25) * light.sun[None, :2]
    cast = np.concatenate([vertices[:, :2] - fall, np.zeros((len(vertices), 1), np.float32)], 1)
    low = vertices[vertices[:, 2] < 0.16] * floats([1, 1, 0])
    total = np.zeros(grid, np.float32)
    for points, weight, spread in ((cast, 0.75, 1), (low, 0.9, 1)):
        xy, _ = view.project(points.astype(np.float32))
        column, row = np.floor(xy / 4).astype(int).T
        ok = (column >= 0) & (row >= 0) & (column < grid[1]) & (row < grid[0])
        hit = np.zeros(grid, np.float32)
        hit[row[ok], column[ok]] = weight
        total = np.maximum(total, _blurred(hit, spread))
    big = np.repeat(np.repeat(_blurred(total, 1), 4, 0), 4, 1)[: view.height, : view.width]
    out = np.zeros((view.height, view.width), np.float32)
    out[: big.shape[0], : big.shape[1]] = big
    return _blurred(out, 3)


def _blurred(values: Floats, radius: int) -> Floats:
    for axis in (0, 1):
        values = floats(np.mean([np.roll(values, k, axis) for k in range(-radius, radius + 1)], axis=0))
    return values
