"""The fixed view of each camera of a sequence, and the ground that it shows."""

from __future__ import annotations

import numpy as np

from benchmarks.people.arrays import Floats, floats
from benchmarks.people.place.camera import SUPER, Camera
from benchmarks.people.render import View

# Metres from the camera to the origin, around which people walk, and the range of distances in which they walk.
DISTANCE = 9.0
NEAREST, FARTHEST = 5.6, 13.0
# The focal length as a multiple of the width of the image: the camera sees 49 degrees from side to side.
_FOCAL = 1.1


def camera_view(camera: Camera, width: int, height: int) -> View:
    """Return the view of `camera` for a video of `width` x `height` pixels, with SUPER times as many rows and columns.

    The camera stands at y = -DISTANCE, at the middle of its range of heights, and looks at the origin at the height of the chest.
    """
    eye = floats([0, -DISTANCE, sum(camera.height) / 2])
    forward = floats([0, 0, 1.0]) - eye
    forward /= np.linalg.norm(forward)
    right = floats([1, 0, 0])
    axes = floats(np.stack([right, np.cross(forward, right), forward]))
    centre = (width * SUPER / 2, height * SUPER / 2)
    return View(eye, axes, _FOCAL * width * SUPER, centre, height * SUPER, width * SUPER)


def half_width(distance: float) -> float:
    """Return how far the camera sees to each side, in metres, at a `distance` in metres along the ground."""
    return distance / (2 * _FOCAL)


def window(view: View, points: Floats, *, margin: int = 2) -> tuple[View, int, int]:
    """Return the part of `view` that shows all `points` (N, 3), also where it lies outside the image.

    The result is the view of the part, and the column and row of its first pixel in `view`. The part is `margin` pixels larger at
    each side.
    """
    xy, _ = view.project(points)
    left, top = (int(value) - margin for value in np.floor(xy.min(0)))
    right, bottom = (int(value) + margin for value in np.ceil(xy.max(0)))
    centre = (view.centre[0] - left, view.centre[1] - top)
    return View(view.eye, view.axes, view.scale, centre, bottom - top, right - left), left, top
