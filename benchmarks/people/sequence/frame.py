"""Draw one frame of a camera, and measure where each person is and how much of each is visible.

Each pixel belongs to the person or object that is nearest to the camera there. Boxes and visibility are counted from these pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.people import portrait
from benchmarks.people.arrays import Bools, Floats, floats
from benchmarks.people.person.cloth import Mesh
from benchmarks.people.person.figure import Person
from benchmarks.people.place.camera import SUPER
from benchmarks.people.render import View
from benchmarks.people.sequence.place.stage import Stage, darkness
from benchmarks.people.sequence.place.view import window

# Shadows are computed on a small image, in which the window of a person has about this many rows.
_SHADOW_ROWS = 256


@dataclass(frozen=True)
class Placed:
    """A person in a frame: the meshes where the person stands, turned in the direction of the walk."""

    person: Person
    meshes: Sequence[Mesh]


@dataclass(frozen=True)
class Seen:
    """Where a frame shows a person.

    `box` is x1, y1, x2, y2 in pixels of the video, with x2 and y2 exclusive: the smallest box around the part of the silhouette that
    lies inside the frame, whether something hides it or not. It is None if no part does. `inside` is the part of the silhouette's
    pixels that lie inside the frame, 0..1. `visible` is the part of all its pixels that the frame shows, 0..1.
    """

    box: tuple[float, float, float, float] | None
    inside: float
    visible: float


@dataclass(frozen=True)
class Frame:
    """A drawn frame: its pixels (height, width, 3) uint8 RGB, and where it shows each person.

    `owner` (height * SUPER, width * SUPER) has the 1-based index of the person that each pixel of the drawing shows, and 0 elsewhere.
    """

    pixels: npt.NDArray[np.uint8]
    seen: tuple[Seen, ...]
    owner: npt.NDArray[np.int16]


def place(meshes: Sequence[Mesh], position: Floats, direction: Floats) -> list[Mesh]:
    """Return the meshes of `figure.meshes` at `position` (2,) in metres, facing in `direction` (2,) of unit length."""
    yaw = float(np.degrees(np.arctan2(direction[0], -direction[1])))
    offset = floats([*position, 0])
    return [replace(mesh, vertices=mesh.vertices + offset) for mesh in portrait.rotated(meshes, yaw)]


def draw(stage: Stage, people: Sequence[Placed]) -> Frame:
    """Draw the people on the stage of a camera."""
    size = stage.depth.shape
    shade = np.zeros(size, np.float32)
    for placed in people:
        _cast_shadow(stage, placed, shade)
    touched = shade > 0.004
    colour, depth = stage.colour.copy(), stage.depth.copy()
    touched &= stage.ground & ~np.isfinite(depth)
    colour[touched] *= (1 - darkness(stage.light) * shade[touched])[:, None]
    owner = np.zeros(size, np.int16)
    masks = []
    for index, placed in enumerate(people, 1):
        view, left, top = window(stage.view, _vertices(placed))
        drawn = portrait.draw(placed.person, placed.meshes, view, stage.light, noise=stage.noise, steady=True)
        masks.append((drawn.inside, left, top))
        inner, outer = _overlap(drawn.inside.shape, left, top, size)
        nearer = drawn.inside[inner] & (drawn.depth[inner] < depth[outer])
        for canvas, values in ((colour, drawn.colour), (depth, drawn.depth)):
            canvas[outer][nearer] = values[inner][nearer]
        owner[outer][nearer] = index
    seen = tuple(_seen(mask, left, top, owner == index) for index, (mask, left, top) in enumerate(masks, 1))
    return Frame(stage.develop_changes(colour, touched | (owner > 0)), seen, owner)


def _vertices(placed: Placed) -> Floats:
    return np.concatenate([mesh.vertices for mesh in placed.meshes])


def _overlap(
    shape: tuple[int, ...], left: int, top: int, size: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of a window that lies in a frame of `size` (H, W), as slices of the window and as slices of the frame."""
    spans = [
        (max(start, 0), max(min(start + length, limit), max(start, 0)))
        for start, length, limit in zip((top, left), shape, size)
    ]
    inner = tuple(slice(low - start, high - start) for (low, high), start in zip(spans, (top, left)))
    outer = tuple(slice(low, high) for low, high in spans)
    return (inner[0], inner[1]), (outer[0], outer[1])


def _seen(mask: Bools, left: int, top: int, owned: Bools) -> Seen:
    inner, outer = _overlap(mask.shape, left, top, owned.shape)
    part, total = mask[inner], max(int(mask.sum()), 1)
    if not part.any():
        return Seen(None, 0.0, 0.0)
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    y, x = outer[0].start, outer[1].start
    box = (x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1)
    edges = tuple(float(value) / SUPER for value in box)
    visible = int(np.count_nonzero(owned[outer]))
    return Seen((edges[0], edges[1], edges[2], edges[3]), int(part.sum()) / total, visible / total)


def _cast_shadow(stage: Stage, placed: Placed, shade: Floats) -> None:
    """Raise `shade` (H, W) to the shadow of a person, 0..1."""
    points = _vertices(placed)[::4]
    sun = stage.light.sun
    fall = points[:, :2] - points[:, 2:] / max(float(sun[2]), 0.25) * sun[None, :2]
    reach = np.concatenate([points, floats(np.concatenate([fall, np.zeros((len(fall), 1))], 1))])
    view, left, top = window(stage.view, reach)
    factor = min(1.0, _SHADOW_ROWS / max(window(stage.view, points)[0].height, 1))
    margin = 24
    small = View(
        view.eye,
        view.axes,
        view.scale * factor,
        (view.centre[0] * factor + margin, view.centre[1] * factor + margin),
        int(view.height * factor) + 2 * margin,
        int(view.width * factor) + 2 * margin,
    )
    cast = portrait.ground_shadow(placed.meshes, small, stage.light)
    wide, high = round(small.width / factor), round(small.height / factor)
    large = np.asarray(Image.fromarray(cast).resize((wide, high), Image.Resampling.BILINEAR), np.float32)
    left, top = left - round(margin / factor), top - round(margin / factor)
    inner, outer = _overlap(large.shape, left, top, shade.shape)
    shade[outer] = np.maximum(shade[outer], large[inner])
