"""The plan of a sequence: its people, its length and the errors of its detections. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import ConfigError

CAMERAS = 4
# File names of `benchmarks.people.plan.Plan` have room for the identities 1 to 9999. A sequence numbers its people from here on.
FIRST_PERSON = 10001
# A person is listed in a frame while at least this part of the silhouette lies inside the frame.
LEAST_IN_FRAME = 0.25
# A person of whom less than this part is visible has no detection.
LEAST_DETECTED = 0.1


def frame_time(number: int, *, start_time: float, fps: int) -> float:
    """Return the time in seconds of the frame `number`, which counts from 0."""
    return round(start_time + number / fps, 6)


@dataclass(frozen=True)
class DetectionErrors:
    """How the detections of a sequence differ from its exact boxes. The `seed` selects the random numbers.

    `missed` and `shifted` are the fractions of the boxes, 0..1, that are left out, and that are moved and resized. `false_boxes` is
    the mean number of boxes in a frame that show no person in particular.
    """

    missed: float = 0.0
    shifted: float = 0.0
    false_boxes: float = 0.0
    seed: int = 1

    def check(self) -> None:
        """Raise ConfigError if a number is out of range."""
        if self.missed + self.shifted > 1:
            raise ConfigError(
                f"--missed {self.missed:g}, --shifted {self.shifted:g}: the two fractions are more than 1 together; give smaller ones"
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"--seed {self.seed}: give a number from 0 to {2**32 - 1}")
        if not 0 <= self.false_boxes <= 100:
            raise ConfigError(f"--false-boxes {self.false_boxes:g}: give a number of boxes from 0 to 100")


@dataclass(frozen=True)
class SequencePlan:
    """What is to be rendered: `people` who walk through four cameras for `seconds`, as videos of `width` x `height` pixels.

    `seed` selects all random numbers, and `fps` is the number of frames in a second. `lookalikes` is the fraction of the people, 0..1,
    who share most clothes with another person. `start_time` is the time of the first frames in seconds. `one_camera` is the fraction
    of the people, 0..1, who visit one camera only, once or several times.
    """

    seed: int = 1
    people: int = 40
    seconds: float = 30.0
    fps: int = 10
    width: int = 960
    height: int = 540
    lookalikes: float = 0.25
    start_time: float = 0.0
    one_camera: float = 0.0

    @property
    def frames(self) -> int:
        """The number of frames of each camera."""
        return round(self.seconds * self.fps)

    @property
    def pairs(self) -> int:
        """The number of pairs of lookalikes. People 2k and 2k + 1 (0-based) are a pair for each k below it."""
        return min(round(self.lookalikes * self.people / 2), self.people // 2)

    def check(self) -> None:
        """Raise ConfigError if a number is out of range."""
        # Seeds are a single word of numpy's entropy, so that no sequence shares random numbers with a data set of `Plan`.
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"--seed {self.seed}: give a number from 0 to {2**32 - 1}")
        if not 1 <= self.people <= 1000:
            raise ConfigError(f"--people {self.people}: give a number from 1 to 1000")
        if not 1 <= self.fps <= 60:
            raise ConfigError(f"--fps {self.fps}: give a number from 1 to 60")
        if self.frames < 1:
            raise ConfigError(
                f"--seconds {self.seconds:g}: no frame at {self.fps} frames a second; give a longer time"
            )
        if not abs(self.start_time) < 1e12:
            raise ConfigError(f"--start-time {self.start_time:g}: give a time in seconds, such as 0")
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 64:
            raise ConfigError(
                f"--size {self.width}x{self.height}: the video needs even sizes of 64 pixels or more"
            )
