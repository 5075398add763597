"""What a camera of a sequence always sees: the place, its objects and their shadows, and how light becomes an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.people.arrays import Bools, Floats, bools, floats
from benchmarks.people.person.surface import Noise
from benchmarks.people.place import camera as cameras
from benchmarks.people.place.camera import SUPER
from benchmarks.people.place.scene import Scenery
from benchmarks.people.render import Light, View
from benchmarks.people.sequence.place import solids
from benchmarks.people.sequence.place.furniture import random_furniture
from benchmarks.people.sequence.place.view import DISTANCE, FARTHEST, camera_view
from benchmarks.people.sequence.plan import SequencePlan
from benchmarks.people.sequence.streams import generator, place_seed

# The wall stands behind the farthest path.
_WALL = FARTHEST - DISTANCE + 1.5
# Blur and sharpening reach this many pixels at most.
_BLUR = 6


@dataclass(frozen=True)
class Stage:
    """The unchanging part of one camera's video, at SUPER times the size of the video.

    `colour` (H, W, 3) is its linear light, and `ground` (H, W) is the mask of the pixels that show the ground. `depth` (H, W) is the
    distance of the objects along the view in metres, and infinite where no object is. `empty` (height, width, 3) is the frame without
    people.
    """

    camera: cameras.Camera
    view: View
    light: Light
    noise: Noise
    colour: Floats
    ground: Bools
    depth: Floats
    settings: cameras.DevelopmentSettings
    empty: npt.NDArray[np.uint8]

    def develop(self, linear: Floats) -> npt.NDArray[np.uint8]:
        """Return the frame (height, width, 3) uint8 RGB of the linear light (H, W, 3)."""
        return np.asarray(cameras.develop(self.camera, linear, self.settings), np.uint8)

    def develop_changes(self, linear: Floats, changed: Bools) -> npt.NDArray[np.uint8]:
        """Return `develop(linear)`, of which only the surroundings of the pixels `changed` (H, W) are computed.

        Everywhere else, `linear` must be the light of the empty stage, `colour`.
        """
        out = self.empty.copy()
        for rows, columns in _spans(changed):
            top, left = max(rows.start - 2 * _BLUR, 0), max(columns.start - 2 * _BLUR, 0)
            part = linear[
                top * SUPER : (rows.stop + 2 * _BLUR) * SUPER,
                left * SUPER : (columns.stop + 2 * _BLUR) * SUPER,
            ]
            inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
            out[rows, columns] = self.develop(part)[inner]
        return out


def _spans(changed: Bools) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the frame that hold all pixels that `changed` (H, W) and what the blur spreads of them."""
    height, width = changed.shape[0] // SUPER, changed.shape[1] // SUPER
    small = bools(changed.reshape(height, SUPER, width, SUPER).any((1, 3)))
    columns = np.convolve(small.any(0), np.ones(2 * _BLUR + 1), "same") > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], columns, [0]])))
    for left, right in edges.reshape(-1, 2):
        rows = np.flatnonzero(small[:, left:right].any(1))
        yield slice(max(int(rows[0]) - _BLUR, 0), int(rows[-1]) + 1 + _BLUR), slice(int(left), int(right))


def make_stage(plan: SequencePlan, number: int) -> Stage:
    """Return the stage of a camera (0-based)."""
    camera, rng = cameras.CAMERAS[number], generator(plan.seed, "place", 1 + number)
    seed = place_seed(plan.seed)
    view = camera_view(camera, plan.width, plan.height)
    sun = floats(camera.sun) + floats(rng.normal(0, 0.08, 3))
    light = cameras.daylight(camera, sun=sun)
    noise = Noise(seed)
    colour, ground = Scenery(camera.scene, seed, others=0).cleared(_WALL).paint(view, rng)
    objects = [solid for one in random_furniture(plan, number) for solid in one.solids]
    cast = _softened(solids.shadow(objects, view, light))
    colour = floats(colour * (1 - 0.8 * darkness(light) * np.where(ground, cast, 0))[..., None])
    drawn = solids.draw(objects, view, light, noise)
    colour[drawn.inside] = drawn.colour[drawn.inside]
    settings = cameras.DevelopmentSettings(
        gain=floats(camera.exposure * np.asarray(camera.white)),
        blur=sum(camera.blur) / 2,
        quality=100,
        grain=np.zeros((1, 1, 1), np.float32),
    )
    depth = np.where(drawn.inside, drawn.depth, np.float32(np.inf))
    empty = np.asarray(cameras.develop(camera, colour, settings), np.uint8)
    return Stage(camera, view, light, noise, colour, ground, depth, settings, empty)


def darkness(light: Light) -> float:
    """Return which part of the light, 0..1, a full shadow takes from the ground."""
    return float(np.clip(1.2 * light.sun_colour.mean(), 0.5, 0.85))


def _softened(mask: Bools) -> Floats:
    # A quarter of the size and back: a soft edge of a few pixels.
    small = Image.fromarray(mask).convert("L").reduce(4)
    large = small.resize((mask.shape[1], mask.shape[0]), Image.Resampling.BICUBIC)
    return floats(np.asarray(large, np.float32) / 255)
