"""Draw meshes: an exact triangle rasteriser for many tiny triangles, and the light on them. Plain numpy.

Knows nothing of people or places: it takes meshes, a view and a light, and returns pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.people.arrays import Bools, Floats, Ints, floats


@dataclass(frozen=True)
class View:
    """A pinhole looking at a crop: eye (3,), axes (3, 3) rows right/down/forward, pixels = scale * (x, y) / z + centre."""

    eye: Floats
    axes: Floats
    scale: float
    centre: tuple[float, float]
    height: int
    width: int

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixel positions (N, 2) and depths (N,) metres."""
        local = (points - self.eye) @ self.axes.T
        depth = np.maximum(local[:, 2], 0.05)
        return (self.scale * local[:, :2] / depth[:, None] + floats(self.centre)).astype(np.float32), depth

    def rays(self) -> Floats:
        """(H, W, 3) world directions through the pixel centres, with forward component 1."""
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32) + 0.5
        local = np.stack(
            [(x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale, np.ones_like(x)], -1
        )
        return (local @ self.axes).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """sun: unit direction towards it; colours (3,) linear: sun, sky (from above), ground (bounced)."""

    sun: Floats
    sun_colour: Floats
    sky: Floats
    ground: Floats


@dataclass(frozen=True)
class Fragments:
    """The visible surface: pixel index (N,) in row-major order, its face (N,), barycentric weights (N, 3), depth (N,)."""

    pixel: Ints
    face: Ints
    weight: Floats
    depth: Floats


def rasterise(xy: Floats, depth: Floats, faces: Ints, size: tuple[int, int]) -> Fragments:
    """The nearest triangle at every pixel centre it covers. xy (V, 2) pixels, depth (V,), faces (F, 3), size (H, W)."""
    height, width = size
    a, b, c = xy[faces[:, 0]], xy[faces[:, 1]], xy[faces[:, 2]]
    low = np.ceil(np.minimum(np.minimum(a, b), c) - 0.5).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(a, b), c) - 0.5).astype(np.int32)
    low = np.maximum(low, 0)
    high = np.minimum(high, [width - 1, height - 1])
    span = high - low + 1
    ab, ac = b - a, c - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    seen = np.flatnonzero((span > 0).all(1) & (np.abs(area) > 1e-9))
    count = span[seen, 0] * span[seen, 1]
    owner = np.repeat(seen, count)
    local = np.arange(len(owner), dtype=np.int32) - np.repeat(np.cumsum(count) - count, count).astype(
        np.int32
    )
    wide = span[owner, 0]
    x, y = low[owner, 0] + local % wide, low[owner, 1] + local // wide
    dx, dy = x + np.float32(0.5) - a[owner, 0], y + np.float32(0.5) - a[owner, 1]
    inverse = 1 / area[owner]
    wb = (dx * ac[owner, 1] - dy * ac[owner, 0]) * inverse
    wc = (dy * ab[owner, 0] - dx * ab[owner, 1]) * inverse
    inside = np.flatnonzero((wb >= 0) & (wc >= 0) & (wb + wc <= 1))
    owner, wb, wc = owner[inside], wb[inside], wc[inside]
    pixel = (y[inside] * width + x[inside]).astype(np.int32)
    corner = depth[faces[owner]]
    z = corner[:, 0] + wb * (corner[:, 1] - corner[:, 0]) + wc * (corner[:, 2] - corner[:, 0])
    near = float(z.min()) if len(z) else 0.0
    steps = (z - near) * (65535 / max(float(z.max()) - near, 1e-6)) if len(z) else z
    # 16-bit keys: a stable sort of them is a radix sort, several times faster than sorting floats
    order = np.argsort((65535 - steps).astype(np.uint16), kind="stable")
    winner = np.full(height * width, -1, np.int32)
    winner[pixel[order]] = order
    best = winner[winner >= 0]
    weight = np.stack([1 - wb[best] - wc[best], wb[best], wc[best]], 1).astype(np.float32)
    return Fragments(pixel[best], owner[best].astype(np.int32), weight, z[best].astype(np.float32))


def ambient_occlusion(depth: Floats, inside: Bools, radius: int) -> Floats:
    """(H, W) 0..1 share of the sky a pixel sees, from depths (H, W): a pixel behind its neighbours is darker."""
    far = float(depth[inside].max()) if inside.any() else 0.0
    filled = np.where(inside, depth, far)
    mean = _box(_box(filled, radius), radius)
    return np.clip(1 - 2.6 * np.maximum(filled - mean, 0), 0.35, 1).astype(np.float32)


def _box(values: Floats, radius: int) -> Floats:
    """The mean over a square window, by running sums."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(values, pad, mode="edge"), axis=axis, dtype=np.float64)
        head = np.take(total, np.arange(2 * radius + 1, total.shape[axis]), axis)
        tail = np.take(total, np.arange(0, total.shape[axis] - 2 * radius - 1), axis)
        values = ((head - tail) / (2 * radius + 1)).astype(np.float32)
    return values


def shade(albedo: Floats, normals: Floats, light: Light, *, open_sky: Floats, lit: Floats) -> Floats:
    """(N, 3) linear light leaving a matt surface: albedo (N, 3) linear, normals (N, 3), open_sky and lit (N,) 0..1."""
    facing = np.clip(normals @ light.sun, 0, 1) * lit
    upward = (0.5 + 0.5 * normals[:, 2])[:, None]
    ambient = (light.sky * upward + light.ground * (1 - upward)) * open_sky[:, None]
    return floats(albedo * (ambient + light.sun_colour * facing[:, None]))
