"""Plan who walks where and when: visits to cameras, paths over the ground, and re-entries. Knows no bodies and no images.

The ground of each camera has the origin of its view: x to the right of the image, y away from the camera, in metres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.people.arrays import Floats, floats
from benchmarks.people.place.camera import CAMERAS
from benchmarks.people.sequence.place.furniture import Furniture, clearance
from benchmarks.people.sequence.place.view import DISTANCE, FARTHEST, NEAREST, half_width
from benchmarks.people.sequence.plan import SequencePlan
from benchmarks.people.sequence.streams import generator

# Metres that people keep from each other and from objects, where a path can be found that does.
APART, FROM_OBJECTS = 0.65, 0.4
_CANDIDATES = 80
# The fraction of the paths that cross the image in any camera.
_CROSSING = 0.35
# The least part of the points of a path that lie in the image.
_IN_IMAGE = 0.6
_RE_ENTRY = 0.25
# A step of the table in which the places of people are compared, in seconds.
_STEP = 0.2


@dataclass(frozen=True)
class Visit:
    """One passage of a person through a camera: a walk along `path` (P, 2), in metres, at constant `speed` in metres a second.

    `person` and `camera` are 0-based. `track` is 1 or more and unique in the sequence. The walk begins at `enters` in seconds, where
    the first frame has 0, outside the image, and ends outside it.
    """

    person: int
    camera: int
    track: int
    enters: float
    speed: float
    path: Floats

    @property
    def length(self) -> float:
        """The length of the path in metres."""
        return float(_lengths(self.path)[-1])

    @property
    def leaves(self) -> float:
        """The time at which the path ends, in seconds."""
        return self.enters + self.length / self.speed

    def at(self, time: float) -> tuple[Floats, Floats, float] | None:
        """Return the position (2,), the direction (2,) of unit length, and the metres walked at `time`, or None outside the visit."""
        walked = (time - self.enters) * self.speed
        if not 0 <= walked <= self.length:
            return None
        ahead = self._point(walked + 0.15) - self._point(walked - 0.15)
        return self._point(walked), ahead / np.linalg.norm(ahead), walked

    def _point(self, walked: float) -> Floats:
        lengths = _lengths(self.path)
        walked = min(max(walked, 0.0), float(lengths[-1]))
        return floats([np.interp(walked, lengths, self.path[:, k]) for k in range(2)])


def _lengths(path: Floats) -> Floats:
    return floats(np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]))


def _side(rng: np.random.Generator, distance: float, side: float) -> Floats:
    # A metre outside the image hides the whole person.
    return floats([side * (half_width(distance) + 1.0), distance - DISTANCE])


def _curve(start: Floats, bend: Floats, end: Floats) -> Floats:
    t = np.linspace(0, 1, 49)[:, None]
    return floats((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end)


def random_path(rng: np.random.Generator, yaws: Sequence[float], *, start: Floats | None = None) -> Floats:
    """Return a random path (49, 2), in metres, from one edge of the image to an edge.

    `yaws` are the directions of the camera's people in degrees, as in `Camera`: around 0 they come towards it, around 180 they walk
    away, otherwise they cross the image. Some people cross it in every camera. The path begins at `start` if given. Most of it lies
    in the image.
    """
    path = _any_path(rng, yaws, start)
    while _share_in_image(path) < _IN_IMAGE:
        path = _any_path(rng, yaws, start)
    return path


def _share_in_image(path: Floats) -> float:
    return float((np.abs(path[:, 0]) < half_width(1.0) * (path[:, 1] + DISTANCE)).mean())


def _any_path(rng: np.random.Generator, yaws: Sequence[float], start: Floats | None) -> Floats:
    yaw = 90.0 if rng.random() < _CROSSING else abs(float(rng.choice(yaws)))
    near, far = rng.uniform(NEAREST, NEAREST + 1.4), rng.uniform(FARTHEST - 2.5, FARTHEST)
    first, second = rng.choice([-1.0, 1.0], 2)
    if yaw < 50 or yaw > 130:
        ends = [_side(rng, far, first), _side(rng, near, second)]
        bend = floats([rng.normal(0, 1.0), rng.uniform(near, near + 2.0) - DISTANCE])
        if yaw > 130:
            ends.reverse()
    else:
        ends = [_side(rng, rng.uniform(NEAREST + 0.8, FARTHEST), side) for side in (first, -first)]
        bend = floats([rng.normal(0, 1.5), rng.uniform(NEAREST + 0.5, FARTHEST - 1) - DISTANCE])
    if start is not None:
        # A person who comes back enters where the last visit ended, and leaves at the end that is farther from there.
        ends = [start, max(ends, key=lambda end: float(np.abs(end - start).sum()))]
    return _curve(ends[0], bend, ends[1])


class _Ground:
    """The people on the ground of one camera so far, and its objects."""

    def __init__(self, plan: SequencePlan, furniture: Sequence[Furniture]) -> None:
        self.furniture = furniture
        self.times = np.arange(0, plan.seconds + _STEP, _STEP)
        self.tracks = np.zeros((0, len(self.times), 2), np.float32)

    def _places(self, visit: Visit) -> Floats:
        """Return the positions (T, 2) of a visit at the times of the table, NaN outside the visit."""
        walked = (self.times - visit.enters) * visit.speed
        lengths = _lengths(visit.path)
        out = np.stack([np.interp(walked, lengths, visit.path[:, k]) for k in range(2)], 1)
        out[(walked < 0) | (walked > lengths[-1])] = np.nan
        return floats(out)

    def room(self, visit: Visit) -> float:
        """Return 1 or more if the visit keeps its distance from everybody and everything, and less the closer it comes.

        The result is below 0 if it comes too close to an object.
        """
        objects = min((clearance(one, visit.path) for one in self.furniture), default=np.inf)
        if objects < FROM_OBJECTS:
            return objects / FROM_OBJECTS - 1
        gaps = np.linalg.norm(self.tracks - self._places(visit), axis=2)
        return float(np.fmin.reduce(gaps, axis=None, initial=np.inf)) / APART

    def add(self, visit: Visit) -> None:
        """Note where a visit is at each time."""
        self.tracks = np.concatenate([self.tracks, self._places(visit)[None]])


def _visits_of(
    plan: SequencePlan, person: int, grounds: Sequence[_Ground], first_track: int
) -> Iterator[Visit]:
    rng = generator(plan.seed, "route", person)
    speed = float(rng.uniform(1.05, 1.5))
    enters = float(rng.uniform(-2.0, max(plan.seconds * 0.55, plan.seconds - 16.0)))
    camera, start = int(rng.integers(len(grounds))), None
    # A stream of its own: the other random numbers of a person are the same whatever the fraction is.
    stays = bool(generator(plan.seed, "one camera", person).random() < plan.one_camera)
    for number in range(int(rng.choice([1, 2, 3, 4], p=(0.06, 0.39, 0.35, 0.2)))):
        if enters > plan.seconds - 1.5:
            return
        ground, best, best_room = grounds[camera], None, -2.0
        for _ in range(_CANDIDATES):
            path = random_path(rng, CAMERAS[camera].yaws, start=start)
            visit = Visit(person, camera, first_track + number, enters, speed, path)
            room = ground.room(visit)
            if room > best_room:
                best, best_room = visit, room
            if room >= 1:
                break
        assert best is not None
        ground.add(best)
        yield best
        again = rng.random() < _RE_ENTRY
        enters = best.leaves + float(rng.uniform(1.5, 4.0))
        start = best.path[-1] if again else None
        if not again and not stays:
            camera = (camera + 1 + int(rng.integers(len(grounds) - 1))) % len(grounds)


def plan_visits(plan: SequencePlan, furniture: Sequence[Sequence[Furniture]]) -> list[Visit]:
    """Return the visits of all people, in the order of the people. `furniture` has the objects of each camera.

    A person is in at most one camera at a time. People keep apart where a path can be found that does.
    """
    grounds = [_Ground(plan, objects) for objects in furniture]
    visits: list[Visit] = []
    for person in range(plan.people):
        visits += list(_visits_of(plan, person, grounds, len(visits) + 1))
    return visits
