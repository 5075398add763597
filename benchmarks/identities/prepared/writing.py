"""Prepare a rendered sequence: tracks of its detections, and features of every box.

`prepare` writes into the folder SEQ/prepared:

- `cameraN.exact.jsonl`: the detections that show a person, with the exact track of the person,
- `cameraN.tracker.jsonl`: the detections to which a tracker gave a track, with that track,
- `MODEL/cameraN.exact.npz` and `MODEL/cameraN.tracker.npz`: their features, and `MODEL/costs.json`: the CPU time they took.

Both files of boxes have the `person` that a box shows, 0 for nobody. Only the scores read it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.prepared.linking import link
from benchmarks.identities.prepared.overlaps import matched, overlap
from benchmarks.people.sequence.boxes import PersonBox, read_person_boxes, read_sequence
from benchmarks.people.sequence.plan import LEAST_DETECTED
from runtime.features import Features, load_features, save_features
from runtime.video.boxes import read_boxes

KINDS = ("exact", "tracker")
FOLDER = "prepared"
COSTS = "costs.json"
# A side of fewer pixels is too small for a feature, and such boxes are left out everywhere.
LEAST_SIDE = 8
NOBODY = 0

Extract = Callable[[Path, Path, Path], None]
"""A function of (video, boxes, out) that writes the features of the boxes to an .npz file."""


def visible_boxes(path: Path) -> list[PersonBox]:
    """Return the exact boxes of a camera that a detector can see: those that the scores count."""
    return [
        one
        for one in read_person_boxes(path)
        if one.visibility >= LEAST_DETECTED and _side(one.box) >= LEAST_SIDE
    ]


def _side(box: Sequence[float]) -> float:
    return min(box[2] - box[0], box[3] - box[1])


def write_tracks(root: Path) -> None:
    """Write the files of boxes with tracks of the sequence in the folder `root`, unless they are there."""
    document = read_sequence(root)
    out = root / FOLDER
    out.mkdir(exist_ok=True)
    for camera in document["cameras"]:
        number = camera["camera"]
        if all((out / f"camera{number}.{kind}.jsonl").exists() for kind in KINDS):
            continue
        detected = _detections(root / camera["detections"], camera["frames"])
        exact = _by_frame(visible_boxes(root / camera["boxes"]), camera["frames"])
        linked = link(
            [(_corners(rows), np.array([row["confidence"] for row in rows])) for rows in detected],
            fps=document["fps"],
        )
        lines: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for rows, truth, tracks in zip(detected, exact, linked):
            pairs = matched(overlap(_corners(rows), np.array([one.box for one in truth]).reshape(-1, 4)))
            for index, row in enumerate(rows):
                shown = truth[pairs[index]] if index in pairs else None
                person = shown.person if shown else NOBODY
                if shown:
                    lines["exact"].append(json.dumps(row | {"track": shown.track, "person": person}))
                if tracks[index] >= 0:
                    lines["tracker"].append(json.dumps(row | {"track": int(tracks[index]), "person": person}))
        for kind, written in lines.items():
            (out / f"camera{number}.{kind}.jsonl").write_text("".join(line + "\n" for line in written))


def _detections(path: Path, frames: int) -> list[list[dict[str, Any]]]:
    by_frame: list[list[dict[str, Any]]] = [[] for _ in range(frames)]
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if _side(row["box"]) >= LEAST_SIDE:
            by_frame[row["frame"]].append(row)
    return by_frame


def _by_frame(boxes: Sequence[PersonBox], frames: int) -> list[list[PersonBox]]:
    by_frame: list[list[PersonBox]] = [[] for _ in range(frames)]
    for one in boxes:
        by_frame[one.frame].append(one)
    return by_frame


def _corners(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([row["box"] for row in rows], np.float64).reshape(-1, 4)


def write_features(root: Path, name: str, extract: Extract) -> None:
    """Write the features of every box with a track of the sequence in `root`, unless they are there.

    They go into the folder of the model `name`. Each detection is extracted once, for both kinds of tracks. `costs.json` gets
    {crops, cpu_s, cpu_ms_per_crop}.
    """
    out = root / FOLDER / name
    if (out / COSTS).exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    crops, spent = 0, 0.0
    for camera in read_sequence(root)["cameras"]:
        number = camera["camera"]
        union, everything = out / f"camera{number}.all.jsonl", out / f"camera{number}.all.npz"
        _write_union(root, number, union)
        started = time.process_time()
        extract(root / camera["video"], union, everything)
        spent += time.process_time() - started
        features = load_features(everything)
        crops += len(features.paths)
        rows = _rows_by_box(features, union)
        for kind in KINDS:
            boxes = root / FOLDER / f"camera{number}.{kind}.jsonl"
            save_features(out / f"camera{number}.{kind}.npz", _features_of(boxes, features, rows))
        for path in (union, everything, everything.with_name(everything.name + ".json")):
            path.unlink()
    cost = {"crops": crops, "cpu_s": spent, "cpu_ms_per_crop": 1000 * spent / max(crops, 1)}
    (out / COSTS).write_text(json.dumps(cost) + "\n")


def _key(frame: int, corners: Sequence[float]) -> tuple[int, ...]:
    return (frame, *(round(100 * value) for value in corners))


def _write_union(root: Path, number: int, path: Path) -> None:
    lines = {}
    for kind in KINDS:
        for line in (root / FOLDER / f"camera{number}.{kind}.jsonl").read_text().splitlines():
            row = json.loads(line)
            lines[_key(row["frame"], row["box"])] = row | {"track": -1, "person": -1}
    path.write_text("".join(json.dumps(lines[key]) + "\n" for key in sorted(lines)))


def _rows_by_box(features: Features, path: Path) -> dict[tuple[int, ...], int]:
    boxes = read_boxes(path)
    keys = [_key(int(frame), corners) for frame, corners in zip(boxes.frames, boxes.corners)]
    places = {
        f"#frame={frame}&box={number}": key for frame, number, key in zip(boxes.frames, boxes.numbers, keys)
    }
    return {places["#" + text.rsplit("#", 1)[1]]: row for row, text in enumerate(features.paths)}


def _features_of(path: Path, features: Features, row_of: dict[tuple[int, ...], int]) -> Features:
    """Return the features of the boxes in the file at `path`, whose rows in `features` are `row_of`."""
    boxes = read_boxes(path)
    kept = [
        (index, row_of[key])
        for index, key in enumerate(map(_key, boxes.frames.tolist(), boxes.corners.tolist()))
        if key in row_of
    ]
    here, there = (np.array(column, np.int64) for column in zip(*kept))
    video = features.paths[0].rsplit("#", 1)[0]
    return replace(
        features,
        features=features.features[there],
        paths=tuple(
            f"{video}#frame={frame}&box={number}"
            for frame, number in zip(boxes.frames[here], boxes.numbers[here])
        ),
        pids=boxes.persons[here],
        camids=boxes.cameras[here],
        frames=boxes.frames[here],
        times=boxes.times[here],
        tracks=boxes.tracks[here],
        images=(),
    )
