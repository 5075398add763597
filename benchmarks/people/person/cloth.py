"""Make clothes, hair and bags as geometry around a body.

Clothes that follow the skin are made once per identity: the surface of the body in the rest pose is smoothed and pushed out. Parts
that hang free (skirts, coat tails, loose tops, long hair) are made in each pose, around the convex hull of the body below them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.people.arrays import Floats, Ints, floats
from benchmarks.people.person.garments import Garment, Outfit
from benchmarks.people.person.pose import ARM, HEAD, LEG, Body, Skeleton

BODY, TOP, OUTER, LOWER, HAIR, BAG, BRIM = range(7)


@dataclass(frozen=True)
class Mesh:
    """A mesh of triangles: vertices in metres and unit normals (V, 3), and the vertex indices of its faces (F, 3).

    `canon` (V, 8) are canonical coordinates (see `Skeleton`), and `material` is one of BODY, TOP, OUTER, LOWER, HAIR, BAG and BRIM.
    `closed` is False for an open sheet, which is visible from both sides.
    """

    vertices: Floats
    normals: Floats
    faces: Ints
    canon: Floats
    material: int
    closed: bool = True


def normals_of(vertices: Floats, faces: Ints) -> Floats:
    """Return the unit normal (V, 3) of each vertex: the mean over the faces that meet there, weighted by their areas."""
    tri = vertices[faces]
    face = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    count = len(vertices)
    total = np.stack(
        [sum(np.bincount(faces[:, c], face[:, k], count) for c in range(3)) for k in range(3)], 1
    )
    unit = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
    return floats(unit)


def _smooth(vertices: Floats, edges: Ints, rounds: int) -> Floats:
    count = len(vertices)
    a, b = edges[:, 0], edges[:, 1]
    degree = np.maximum(np.bincount(a, minlength=count) + np.bincount(b, minlength=count), 1)
    out = vertices
    for _ in range(rounds):
        total = [np.bincount(a, out[b, k], count) + np.bincount(b, out[a, k], count) for k in range(3)]
        out = (np.stack(total, 1) / degree[:, None]).astype(np.float32)
    return out


def _ramp(values: npt.NDArray[np.floating], low: float, high: float) -> Floats:
    return floats(np.clip((values - low) / (high - low), 0, 1))


def _covered(skeleton: Skeleton, garment: Garment) -> Floats:
    """Return (V,) how much an upper garment covers each vertex of the body, 0..1."""
    z, arm = skeleton.canon[:, 2], skeleton.canon[:, 6]
    body = _ramp(z, garment.hem - 0.01, garment.hem + 0.02) * (1 - _ramp(z, 0.535, 0.565))
    sleeve = 1 - _ramp(arm, garment.sleeve - 0.02, garment.sleeve + 0.04)
    return np.where(skeleton.part == ARM, sleeve, np.where(skeleton.part == HEAD, 0, body)).astype(np.float32)


def scalp(canon: npt.NDArray[np.floating], style: str) -> Floats:
    """Return the density of the hair (N,), 0..1, at N points of the head with the canonical coordinates `canon` (N, 8).

    `style` is a hair style of `Outfit`, such as "crop" or "bald".
    """
    x, y, z = canon[:, 0], canon[:, 1], canon[:, 2]
    # The hairline is high over the forehead, falls in front of the ear and is low at the nape.
    line = np.interp(y, [-0.14, -0.1, -0.06, -0.02, 0.03], [0.772, 0.757, 0.705, 0.655, 0.628])
    if style == "crop":
        line = line + 0.006
    inside = _ramp(z - line + 0.006 * np.abs(np.sin(x * 160.0)), -0.004, 0.004)
    return np.zeros_like(inside) if style == "bald" else inside


def _relax_hands(skeleton: Skeleton, body: Body) -> Floats:
    """Return the vertices (V, 3) in the rest pose with the fingers close together, which are spread in anny's rest pose."""
    out = body.vertices.copy()
    for letter, side in (("L", 1), ("R", -1)):
        hand = (skeleton.part == ARM) & (skeleton.side == side) & (skeleton.canon[:, 6] > 1.02)
        wrist = body.joints[skeleton.names.index(f"wrist.{letter}")]
        local = out[hand] - wrist
        line = local.mean(0) / np.linalg.norm(local.mean(0))
        along = (local @ line)[:, None] * line
        out[hand] = wrist + along * 0.86 + (local - along) * 0.62
    return out


def dress(skeleton: Skeleton, body: Body, outfit: Outfit) -> tuple[Floats, Floats]:
    """Return the vertices (in metres) and unit normals (V, 3) of `body` in the rest pose, dressed in the clothes of `outfit`."""
    rest, canon = body.vertices, skeleton.canon
    normals = normals_of(rest, skeleton.faces)
    z, leg, part = canon[:, 2], canon[:, 7], skeleton.part
    push, soft = np.zeros(len(rest), np.float32), np.zeros(len(rest), np.float32)
    if outfit.lower.kind != "skirt":
        cover = (
            (part != ARM)
            * (1 - _ramp(z, 0.08, 0.12))
            * _ramp(z, outfit.lower.hem - 0.02, outfit.lower.hem + 0.02)
        )
        push, soft = cover * (outfit.lower.ease + outfit.lower.flare * np.clip(leg, 0, 1)), cover
    for garment in (outfit.top, outfit.outer):
        if garment is not None:
            cover = _covered(skeleton, garment)
            push, soft = np.maximum(push, cover * garment.ease), np.maximum(soft, cover)
    if outfit.outer is not None and outfit.outer.neck > 0.02:
        push = push + 0.02 * _ramp(z, 0.5, 0.53) * (1 - _ramp(z, 0.56, 0.58)) * (part != ARM) * (
            np.abs(canon[:, 0]) < 0.1
        )
    if outfit.scarf is not None:
        push = push + 0.035 * _ramp(z, 0.5, 0.53) * (1 - _ramp(z, 0.575, 0.6)) * (part != ARM)
    if outfit.top.kind == "hoodie" and outfit.outer is None:
        nape = _ramp(z, 0.44, 0.5) * (1 - _ramp(z, 0.56, 0.6)) * _ramp(canon[:, 1], -0.02, 0.03)
        push = push + 0.06 * nape * (np.abs(canon[:, 0]) < 0.11)
    shoe = 1 - _ramp(z, -0.735 + outfit.shoe_height, -0.72 + outfit.shoe_height)
    push, soft = np.maximum(push, shoe * 0.014), np.maximum(soft, shoe)
    hair = (part == HEAD) * scalp(canon, outfit.hair_style if outfit.hat == "none" else "short")
    depth = {"bald": 0.0, "crop": 0.008, "short": 0.018, "bun": 0.014, "pony": 0.014}.get(
        outfit.hair_style, 0.024
    )
    hat = {"none": depth, "cap": 0.02, "beanie": 0.026}[outfit.hat]
    push = push + hair * hat * (0.75 + 0.25 * np.sin(90 * canon[:, 0] + 60 * z))
    if outfit.hair_style == "bun" and outfit.hat == "none":
        push = push + 0.05 * np.exp(-((canon[:, 0] / 0.03) ** 2) - ((z - 0.745) / 0.03) ** 2) * (
            canon[:, 1] > 0
        )
    rest = _relax_hands(skeleton, body)
    relaxed = _smooth(rest, skeleton.edges, 6)
    toes = (part == LEG) & (z < -0.7)
    relaxed[toes] = _smooth(rest, skeleton.edges, 24)[toes]
    base = rest + soft[:, None] * (relaxed - rest)
    out = (base + push[:, None] * normals_of(base, skeleton.faces)).astype(np.float32)
    blended = normals * (1 - soft[:, None]) + soft[:, None] * normals_of(out, skeleton.faces)
    return out, blended.astype(np.float32)


def grid_faces(rows: int, columns: int, *, wrap: bool) -> Ints:
    """Return the triangles (F, 3) of a grid of `rows` x `columns` vertices. With `wrap`, the last column joins the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if wrap else columns - 1), indexing="ij")
    a = row * columns + column
    b = row * columns + (column + 1) % columns
    quads = np.stack([a, b, b + columns, a, b + columns, a + columns], -1)
    return quads.reshape(-1, 3).astype(np.int32)


def drape(points: Floats, levels: Floats, angles: Floats, *, ease: Floats, hang: float) -> Floats:
    """Return a grid (R, A, 3) of points, in metres, of a sheet that hangs around the convex hull of `points` (N, 3).

    `levels` (R,) are the heights of its rows in metres, from the highest on. `angles` (A,) are the directions of its columns in
    radians, 0 at the person's left. `ease` (R,) is the distance from the hull in metres. `hang` (0..1) says how
    the sheet falls where the body narrows downwards: at 0 it follows the body, and at 1 it hangs straight down from the row above.
    """
    half = max(float(np.abs(np.diff(levels)).max()), 0.02)
    ring = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.stack([np.cos(ring), np.sin(ring)])
    support = points[:, :2] @ reach
    rows: list[npt.NDArray[np.floating]] = []
    for level in levels:
        near = np.abs(points[:, 2] - level) < half
        rows.append(support[near].max(0) if near.any() else rows[-1] if rows else np.full(48, 0.1))
    table = np.asarray(rows)
    for row in range(1, len(table)):
        table[row] = np.maximum(table[row], table[row - 1] * hang + table[row] * (1 - hang))
    table = (np.roll(table, 1, 1) + 2 * table + np.roll(table, -1, 1)) / 4 + ease[:, None]
    slope = (np.roll(table, -1, 1) - np.roll(table, 1, 1)) / (2 * ring[1])
    x = table * reach[0] - slope * reach[1]
    y = table * reach[1] + slope * reach[0]
    turned = np.mod(angles, 2 * np.pi)
    wrapped = np.append(ring, 2 * np.pi)
    out = np.empty((len(levels), len(angles), 3), np.float32)
    for row, level in enumerate(levels):
        out[row, :, 0] = np.interp(turned, wrapped, np.append(x[row], x[row, 0]))
        out[row, :, 1] = np.interp(turned, wrapped, np.append(y[row], y[row, 0]))
        out[row, :, 2] = level
    return out


def sheet(grid: Floats, material: int, *, wrap: bool, height: float, folds: tuple[float, int, float]) -> Mesh:
    """Return a grid from `drape` as a mesh of `material` with folds, which become deeper towards the hem.

    `folds` are (depth in metres, number of folds around the person, phase in radians). With `wrap`, the last column of the grid joins
    the first. `height` is the z, in metres, at which the canonical z of the mesh is 0: canonical z = z - `height`.
    """
    rows, columns, _ = grid.shape
    middle = grid.mean(1, keepdims=True)
    out = (grid - middle) * [1, 1, 0]
    radius = np.linalg.norm(out, axis=2, keepdims=True)
    theta = np.arctan2(out[..., 1], out[..., 0])
    size, number, phase = folds
    wave = (
        size
        * np.linspace(0, 1, rows)[:, None]
        * (np.sin(number * theta + phase) + 0.5 * np.sin(2.3 * number * theta))
    )
    vertices = (grid + out / np.maximum(radius, 1e-6) * wave[..., None]).reshape(-1, 3).astype(np.float32)
    faces = grid_faces(rows, columns, wrap=wrap)
    normals = normals_of(vertices, faces)
    outward = (normals * out.reshape(-1, 3)).sum(1, keepdims=True) < 0
    canon = np.zeros((len(vertices), 8), np.float32)
    canon[:, 0], canon[:, 1] = 0.14 * np.cos(theta).ravel(), 0.14 * np.sin(theta).ravel() - 0.02
    canon[:, 3], canon[:, 4] = canon[:, 0], canon[:, 1] + 0.02
    canon[:, 2] = canon[:, 5] = vertices[:, 2] - height
    return Mesh(vertices, np.where(outward, -normals, normals), faces, canon, material, closed=False)


def block(centre: Floats, size: tuple[float, float, float], frame: Floats, *, square: float = 4.0) -> Mesh:
    """Return a rounded box (a superellipsoid) around `centre` as a mesh.

    `size` has the full lengths of its three sides in metres. Side k points along column k of the rotation matrix `frame` (3, 3). A
    larger `square` gives sharper edges.
    """
    v, u = np.meshgrid(np.linspace(-np.pi / 2, np.pi / 2, 13), np.linspace(-np.pi, np.pi, 25), indexing="ij")
    power = 2 / square

    def bend(value: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return floats(np.sign(value) * np.abs(value) ** power)

    local = np.stack(
        [bend(np.cos(v)) * bend(np.cos(u)), bend(np.cos(v)) * bend(np.sin(u)), bend(np.sin(v))], -1
    )
    local = local.reshape(-1, 3) * (np.asarray(size) / 2)
    vertices = (centre + local @ frame.T).astype(np.float32)
    faces = grid_faces(13, 25, wrap=False)
    normals = normals_of(vertices, faces)
    inward = (normals * (vertices - centre)).sum(1, keepdims=True) < 0
    canon = np.zeros((len(vertices), 8), np.float32)
    canon[:, :3] = canon[:, 3:6] = local
    return Mesh(vertices, np.where(inward, -normals, normals), faces, canon, BAG, closed=False)
