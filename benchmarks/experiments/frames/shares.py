"""Time the model alone, `embed_boxes` and `embed_frames` in turns, and divide their throughputs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.candidate import facts, open_candidate
from benchmarks.experiments.options import FramesOptions
from benchmarks.host import describe_host, doubts, load_average
from benchmarks.options import Candidate
from benchmarks.timing import speed
from benchmarks.unfinished import printed
from runtime import console
from runtime.artifact import Artifact
from runtime.extraction.frame_boxes import BoxOptions, cut_boxes
from runtime.host.stopwatch import Samples, interleave
from runtime.model import Model

# The number of different frames. A 1080p frame has 6 MB, so the boxes of several frames do not stay in the caches.
FRAMES = 6
# The height of a person as a part of the height of the frame, and the width as a part of the person's height.
HEIGHTS, WIDTH = (0.11, 0.44), 0.4
FEWEST_CALLS, MOST_CALLS = 2, 200


@dataclass(frozen=True)
class Scene:
    """`frames`, each (H, W, 3) uint8, and the `boxes` (people, 4) of each frame."""

    frames: tuple[NDArray[np.uint8], ...]
    boxes: tuple[NDArray[np.float64], ...]

    def pair(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return one frame and its boxes; after the last frame, the first one comes again."""
        return self.frames[number % len(self.frames)], self.boxes[number % len(self.boxes)]


def random_scene(people: int, size: tuple[int, int]) -> Scene:
    """Return frames of noise of `size` (width, height), each with `people` boxes of random size and place, the same in every run."""
    random = np.random.default_rng(people)
    width, height = size
    frames = [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(FRAMES)]
    boxes = []
    for _ in frames:
        tall = height * np.exp(random.uniform(math.log(HEIGHTS[0]), math.log(HEIGHTS[1]), people))
        left, top = random.random((2, people)) * (width - WIDTH * tall, height - tall)
        boxes.append(np.stack([left, top, left + WIDTH * tall, top + tall], axis=1))
    return Scene(tuple(frames), tuple(boxes))


def measure_frames(options: FramesOptions) -> dict[str, Any]:
    """Return {host, models[], size, rounds, rows[], warnings[]} for all models and numbers of people, as `measure_row` has them."""
    host = describe_host(device="cpu", threads=options.candidates[0].threads)
    models: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    document = {
        "host": host,
        "models": models,
        "size": list(options.size),
        "rounds": options.rounds,
        "rows": rows,
        "warnings": doubts(host),
    }
    with printed(lambda: document if rows else None):
        for candidate in options.candidates:
            artifact = open_candidate(candidate)
            models.append(facts(artifact) | {"name": candidate.name})
            for people in options.people:
                console.note(f"{candidate.name}: {people} people in each frame")
                rows.append(measure_row(candidate, artifact, people, options))
    host["load_average_after"] = load_average()
    return document


def measure_row(
    candidate: Candidate, artifact: Artifact, people: int, options: FramesOptions
) -> dict[str, Any]:
    """Return {model, people, frames, people_per_s, embed_boxes, embed_frames} of one model with one number of people in each frame.

    `frames` is the number of frames in each turn, and `people_per_s` is the median throughput of the model alone. The last two are
    shares of it, as `share` returns them.
    """
    scene = random_scene(people, options.size)
    model = Model(artifact, frame_batch=artifact.spec.batch or people, threads=candidate.threads)
    box_options = BoxOptions("bgr", threads=candidate.threads)
    crops = [cut_boxes(*scene.pair(number), artifact.spec, box_options) for number in range(FRAMES)]

    def alone(count: int) -> None:
        for number in range(count):
            crop = crops[number % FRAMES]
            artifact.run(crop.images, crop.camera_ids)

    def boxes(count: int) -> None:
        for number in range(count):
            frame, corners = scene.pair(number)
            model.embed_boxes(frame, corners, color="bgr")

    def frames(count: int) -> None:
        for _ in model.embed_frames((scene.pair(number) for number in range(count)), color="bgr"):
            pass

    count = _frames_per_turn(alone, options.seconds)
    calls = [lambda round_number, form=form: form(count) for form in (alone, boxes, frames)]
    bare, one, threaded = interleave(calls, rounds=options.rounds, warmup_s=0)
    return {
        "model": candidate.name,
        "people": people,
        "frames": count,
        "people_per_s": 1000 * people * count / float(np.median(bare.wall_ms)),
        "embed_boxes": share(bare, one),
        "embed_frames": share(bare, threaded),
    }


def share(bare: Samples, form: Samples) -> dict[str, float | None]:
    """Return how much of the throughput of `bare` the other `form` reaches, as medians over the rounds.

    The dictionary is {share, low, high, cpu_share}: the median share by elapsed time with its 5th and 95th percentile, and the median
    share by CPU time. A value is None if a time is 0.
    """
    by_wall, by_cpu = speed(bare.wall_ms, form.wall_ms), speed(bare.cpu_ms, form.cpu_ms)
    return {
        "share": by_wall.median if by_wall else None,
        "low": by_wall.low if by_wall else None,
        "high": by_wall.high if by_wall else None,
        "cpu_share": by_cpu.median if by_cpu else None,
    }


def _frames_per_turn(alone: Callable[[int], None], seconds: float) -> int:
    """Return how many frames the model alone processes in about `seconds` seconds, 2 to 200."""
    alone(1)
    started = time.perf_counter()
    alone(1)
    took = time.perf_counter() - started
    return int(np.clip(seconds / max(took, 1e-6), FEWEST_CALLS, MOST_CALLS))
