"""Write a sequence: four videos, their boxes, and sequence.json, which describes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.people.person.loading import load_bodies
from benchmarks.people.sequence import boxes as box_files
from benchmarks.people.sequence.detections import detections
from benchmarks.people.sequence.plan import (
    CAMERAS,
    FIRST_PERSON,
    LEAST_DETECTED,
    LEAST_IN_FRAME,
    DetectionErrors,
    SequencePlan,
    frame_time,
)
from benchmarks.people.sequence.render import CameraRenderer
from benchmarks.people.sequence.video import check_av, write_video
from runtime.errors import ConfigError
from runtime.extraction.processes import each_apart
from runtime.files.manifest import sha256
from runtime.stopping import Stopped, stopped

VERSION = 1


def write(
    plan: SequencePlan,
    errors: DetectionErrors,
    out: Path,
    *,
    jobs: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Render the sequence of `plan` into the new folder `out` with `jobs` processes, and return the content of its sequence.json.

    After each camera, `report` is called with the numbers of finished cameras and boxes. Raises ConfigError if `out` is not empty, if
    the plan is not valid or if a package of the extra `render` is missing, and DeviceError if av is missing. If a signal stops the
    rendering, all files are removed and Stopped is raised.
    """
    plan.check()
    errors.check()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: not an empty folder; give a new folder")
    check_av()
    load_bodies()
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    cameras: dict[int, dict[str, Any]] = {}
    try:
        for entry in _rendered_cameras(plan, errors, part, jobs):
            cameras[entry["camera"]] = entry
            if report:
                report(len(cameras), sum(one["people_boxes"] for one in cameras.values()))
    except KeyboardInterrupt as error:
        shutil.rmtree(part, ignore_errors=True)
        lost = "nothing is kept, because an incomplete sequence is never written; start again"
        raise Stopped(stopped(error).number, lost) from None
    document = _document(plan, errors, [cameras[number] for number in sorted(cameras)], part)
    (part / box_files.INDEX).write_text(json.dumps(document, indent=1) + "\n")
    if out.exists():
        out.rmdir()
    part.rename(out)
    return document


def _rendered_cameras(
    plan: SequencePlan, errors: DetectionErrors, folder: Path, jobs: int
) -> Iterator[dict[str, Any]]:
    tasks = [(plan, errors, folder, camera) for camera in range(CAMERAS)]
    if jobs == 1:
        yield from map(_write_camera, tasks)
    else:
        yield from each_apart(_write_camera, tasks, jobs)


def _write_camera(task: tuple[SequencePlan, DetectionErrors, Path, int]) -> dict[str, Any]:
    """Write the files of one camera (0-based) into a folder, and return its entry of sequence.json."""
    plan, errors, folder, camera = task
    boxes: list[box_files.PersonBox] = []

    def frames() -> Iterator[npt.NDArray[np.uint8]]:
        for pixels, people in CameraRenderer(plan, camera).frames():
            boxes.extend(people)
            yield pixels

    names = {
        "video": f"camera{camera + 1}.mp4",
        "boxes": f"camera{camera + 1}.boxes.jsonl",
        "ground_truth": f"camera{camera + 1}.gt.txt",
        "detections": f"camera{camera + 1}.detections.jsonl",
    }
    write_video(folder / names["video"], frames(), fps=plan.fps, width=plan.width, height=plan.height)
    box_files.write_lines(folder / names["boxes"], boxes)
    box_files.write_ground_truth(folder / names["ground_truth"], boxes)
    times = [frame_time(number, start_time=plan.start_time, fps=plan.fps) for number in range(plan.frames)]
    detected = detections(boxes, errors, camera=camera + 1, times=times, size=(plan.width, plan.height))
    box_files.write_lines(folder / names["detections"], detected)
    return {
        "camera": camera + 1,
        **names,
        "frames": plan.frames,
        "start_time": plan.start_time,
        "tracks": len({one.track for one in boxes}),
        "people_boxes": len(boxes),
        "detected_boxes": len(detected),
    }


def _plan_record(plan: SequencePlan) -> dict[str, Any]:
    record = asdict(plan)
    if not plan.one_camera:
        # The option is newer than the sequence that ships, whose description stays what it was.
        del record["one_camera"]
    return record


def _document(
    plan: SequencePlan, errors: DetectionErrors, cameras: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    first = FIRST_PERSON
    return {
        "schema": 1,
        "kind": "people-sequence",
        "synthetic": True,
        "seed": plan.seed,
        "fps": plan.fps,
        "width": plan.width,
        "height": plan.height,
        "people": plan.people,
        "lookalikes": [[first + 2 * pair, first + 2 * pair + 1] for pair in range(plan.pairs)],
        "cameras": cameras,
        "generator": {
            "version": VERSION,
            "plan": _plan_record(plan),
            "detections": asdict(errors) | {"least_visibility": LEAST_DETECTED},
            "least_in_frame": LEAST_IN_FRAME,
            "tools": {name: version(name) for name in ("anny", "av", "numpy", "pillow")},
        },
        "sha256": {path.name: sha256(path) for path in sorted(folder.iterdir())},
    }
