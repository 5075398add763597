"""Render the frames and exact boxes of one camera of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmarks.people.person.loading import load_bodies
from benchmarks.people.sequence import frame
from benchmarks.people.sequence.boxes import PersonBox
from benchmarks.people.sequence.cast import Walker, looks, walker
from benchmarks.people.sequence.place.furniture import random_furniture
from benchmarks.people.sequence.place.stage import make_stage
from benchmarks.people.sequence.plan import CAMERAS, FIRST_PERSON, LEAST_IN_FRAME, SequencePlan, frame_time
from benchmarks.people.sequence.routes import Visit, plan_visits


@lru_cache(maxsize=1)
def all_visits(plan: SequencePlan) -> tuple[Visit, ...]:
    """Return the visits of all people of a plan to all cameras."""
    return tuple(plan_visits(plan, [random_furniture(plan, camera) for camera in range(CAMERAS)]))


class CameraRenderer:
    """Renders one camera (0-based) of a sequence, frame by frame.

    `CameraRenderer(plan, camera)` raises ConfigError if a package of the extra `render` is not installed.
    """

    def __init__(self, plan: SequencePlan, camera: int) -> None:
        self.plan, self.camera = plan, camera
        self.bodies = load_bodies()
        self.visits = [visit for visit in all_visits(plan) if visit.camera == camera]
        self.stage = make_stage(plan, camera)
        self._walker = lru_cache(maxsize=None)(self._make_walker)

    def _make_walker(self, person: int, speed: float) -> Walker:
        body = self.bodies.body(looks(self.plan, person).phenotype)
        return walker(self.plan, person, speed, skeleton=self.bodies.skeleton, body=body)

    def placed(self, number: int) -> list[tuple[Visit, frame.Placed]]:
        """Return the visits under way in the frame `number`, each with the person at the place that it has reached."""
        out = []
        for visit in self.visits:
            step = visit.at(number / self.plan.fps)
            if step is not None:
                position, direction, walked = step
                who = self._walker(visit.person, visit.speed)
                meshes = frame.place(who.meshes(walked), position, direction)
                out.append((visit, frame.Placed(who.person, meshes)))
        return out

    def frames(self) -> Iterator[tuple[npt.NDArray[np.uint8], list[PersonBox]]]:
        """Yield the pixels (height, width, 3) uint8 RGB of each frame, and the exact boxes of its people.

        A person is listed while at least LEAST_IN_FRAME of the silhouette lies inside the frame.
        """
        for number in range(self.plan.frames):
            visits = self.placed(number)
            drawn = frame.draw(self.stage, [placed for _, placed in visits])
            yield (
                drawn.pixels,
                [
                    self._box(number, visit, seen.box, seen.visible)
                    for (visit, _), seen in zip(visits, drawn.seen)
                    if seen.box is not None and seen.inside >= LEAST_IN_FRAME
                ],
            )

    def _box(
        self, number: int, visit: Visit, box: tuple[float, float, float, float], visible: float
    ) -> PersonBox:
        return PersonBox(
            frame=number,
            time=frame_time(number, start_time=self.plan.start_time, fps=self.plan.fps),
            camera=self.camera + 1,
            track=visit.track,
            box=box,
            confidence=1.0,
            person=FIRST_PERSON + visit.person,
            visibility=round(visible, 4),
        )
