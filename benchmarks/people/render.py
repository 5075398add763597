"""Rasterise meshes and compute the light on them, in plain numpy. The rasteriser is exact and made for many tiny triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.people.arrays import Bools, Floats, Ints, floats


@dataclass(frozen=True)
class View:
    """A pinhole camera for one crop of `height` x `width` pixels, at the position `eye` (3,).

    The rows of `axes` (3, 3) are its directions right, down and forward. A point at (x, y, z) along these axes, seen from the eye, has
    the pixel position scale * (x, y) / z + centre.
    """

    eye: Floats
    axes: Floats
    scale: float
    centre: tuple[float, float]
    height: int
    width: int

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the pixel positions (N, 2) and the depths (N,), in metres, of `points` (N, 3)."""
        local = (points - self.eye) @ self.axes.T
        depth = np.maximum(local[:, 2], 0.05)
        return (self.scale * local[:, :2] / depth[:, None] + floats(self.centre)).astype(np.float32), depth

    def rays(self) -> Floats:
        """Return the directions (H, W, 3) from the eye through the pixel centres, in world axes, with forward component 1."""
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32) + 0.5
        local = np.stack(
            [(x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale, np.ones_like(x)], -1
        )
        return (local @ self.axes).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """The light of a scene: the unit vector towards the `sun` (3,), and the linear colours (3,) of sun, sky and ground light."""

    sun: Floats
    sun_colour: Floats
    sky: Floats
    ground: Floats


@dataclass(frozen=True)
class Fragments:
    """The visible surface of a mesh at the N pixels that show it.

    `pixel` (N,) are the row-major indices of these pixels. `face` (N,) are the indices of the faces that they show, `weight` (N, 3)
    the barycentric weights of the three vertices of the face, and `depth` (N,) the depths in metres.
    """

    pixel: Ints
    face: Ints
    weight: Floats
    depth: Floats


def rasterise(xy: Floats, depth: Floats, faces: Ints, size: tuple[int, int]) -> Fragments:
    """Find the triangle of a mesh that is nearest to the camera at each pixel centre, and return the pixels that show the mesh.

    The vertices of the mesh have the pixel positions `xy` (V, 2) and the depths `depth` (V,). `faces` (F, 3) are the vertex indices
    of its triangles. `size` is the (height, width) of the image in pixels.
    """
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
    # With 16-bit keys the stable sort is a radix sort, which is several times faster than sorting floats.
    order = np.argsort((65535 - steps).astype(np.uint16), kind="stable")
    winner = np.full(height * width, -1, np.int32)
    winner[pixel[order]] = order
    best = winner[winner >= 0]
    weight = np.stack([1 - wb[best] - wc[best], wb[best], wc[best]], 1).astype(np.float32)
    return Fragments(pixel[best], owner[best].astype(np.int32), weight, z[best].astype(np.float32))


def ambient_occlusion(depth: Floats, inside: Bools, radius: int) -> Floats:
    """Return an array (H, W) with the part of the sky, 0..1, that is visible from each pixel. It is smaller for a pixel in a hollow.

    `depth` (H, W) is in metres, and `inside` (H, W) is the mask of the silhouette. A pixel is compared with those up to `radius`
    pixels away.
    """
    far = float(depth[inside].max()) if inside.any() else 0.0
    filled = np.where(inside, depth, far)
    mean = _box(_box(filled, radius), radius)
    return np.clip(1 - 2.6 * np.maximum(filled - mean, 0), 0.35, 1).astype(np.float32)


def _box(values: Floats, radius: int) -> Floats:
    """Return (H, W) the mean of `values` over a square window around each pixel, which reaches `radius` pixels to each side."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(values, pad, mode="edge"), axis=axis, dtype=np.float64)
        head = np.take(total, np.arange(2 * radius + 1, total.shape[axis]), axis)
        tail = np.take(total, np.arange(0, total.shape[axis] - 2 * radius - 1), axis)
        values = ((head - tail) / (2 * radius + 1)).astype(np.float32)
    return values


def shade(albedo: Floats, normals: Floats, light: Light, *, open_sky: Floats, lit: Floats) -> Floats:
    """Return the linear light (N, 3) that a matt surface reflects at N points.

    `albedo` (N, 3) is the linear colour of the surface, and `normals` (N, 3) are its unit normals. `open_sky` and `lit` (N,) are the
    parts of the sky and of the sun that are visible from the points, 0..1.
    """
    facing = np.clip(normals @ light.sun, 0, 1) * lit
    upward = (0.5 + 0.5 * normals[:, 2])[:, None]
    ambient = (light.sky * upward + light.ground * (1 - upward)) * open_sky[:, None]
    return floats(albedo * (ambient + light.sun_colour * facing[:, None]))
