"""Score the identities of a sequence with TrackEval, an independent library. Only this file imports it.

The cameras become one sequence: the frames of the first camera come first, then those of the second, and so on. Identities hold in
all cameras, so a person who gets another identity in another camera costs IDF1 and AssA.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.prepared.overlaps import LEAST_OVERLAP, overlap
from benchmarks.identities.prepared.sequences import Answer, Camera, PreparedSequence
from runtime.backends.library import Library, importing

TRACKEVAL = Library(
    "trackeval", "pip install '.[measure]'", "pip install --force-reinstall --no-deps trackeval"
)


@dataclass(frozen=True)
class Scores:
    """The scores of one answer, 0..1, but for `switches`, the number of identity switches."""

    idf1: float
    assa: float
    hota: float
    switches: int

    def to_json(self) -> dict[str, Any]:
        """Return the scores as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Hits:
    """What IDF1 counts, for each of P people of a sequence and, at the end, for the boxes that show nobody.

    `hits` (P + 1,) are the boxes with the identity that fits the person best in the whole sequence, `truth` (P + 1,) the exact boxes,
    and `boxes` (P + 1,) the boxes of tracks. IDF1 is 2 * hits.sum() / (truth.sum() + boxes.sum()). `people` (P,) are the persons.
    """

    people: NDArray[np.int64]
    hits: NDArray[np.float64]
    truth: NDArray[np.float64]
    boxes: NDArray[np.float64]

    @property
    def idf1(self) -> float:
        """The IDF1 of the sequence, 0..1."""
        return float(2 * self.hits.sum() / (self.truth.sum() + self.boxes.sum()))


class Scorer:
    """Scores answers for one sequence. What all answers share is computed once."""

    def __init__(self, sequence: PreparedSequence) -> None:
        """Compare the boxes of the tracks with the exact boxes."""
        self._people = np.unique(np.concatenate([camera.truth[2] for camera in sequence.cameras]))
        # one entry a frame of the joined sequence: exact people (T,), tracks of the boxes, and the overlap (T, N)
        self._frames: list[tuple[NDArray[np.int64], list[tuple[int, int]], NDArray[np.float64]]] = []
        self._starts: dict[tuple[int, int], int] = {}
        for camera in sequence.cameras:
            self._add(camera, sequence.frames)

    def _add(self, camera: Camera, frames: int) -> None:
        numbers, corners, people = camera.truth
        for frame in range(frames):
            here = camera.boxes.frames == frame
            here[here] = camera.tracks[here] >= 0
            exact = numbers == frame
            keys = [(camera.number, track) for track in camera.tracks[here].tolist()]
            for key in keys:
                self._starts.setdefault(key, frame)
            ids = np.searchsorted(self._people, people[exact])
            self._frames.append((ids, keys, overlap(corners[exact], camera.boxes.corners[here])))

    def identities(self, answer: Answer) -> list[NDArray[np.int64]]:
        """Return the number of the identity of each box of each frame.

        In a frame, an identity is one box. If the answer gives it to several, the track that began first keeps it, and each other
        one has an identity of its own in this frame.
        """
        number: dict[Hashable, int] = {}
        rows = []
        for _, keys, _ in self._frames:
            taken: dict[Hashable, tuple[int, int]] = {}
            for key in sorted(keys, key=lambda key: (self._starts[key], key)):
                taken.setdefault(answer[key], key)
            names: list[Hashable] = [
                answer[key] if taken[answer[key]] == key else ("second", answer[key], key) for key in keys
            ]
            rows.append(np.array([number.setdefault(name, len(number)) for name in names], np.int64))
        return rows

    def hits(self, answer: Answer) -> Hits:
        """Return what IDF1 counts. The identities are assigned to the people as IDF1 does: so that the hits are the most."""
        from scipy.optimize import linear_sum_assignment

        rows = self.identities(answer)
        count = 1 + max((int(row.max()) for row in rows if len(row)), default=0)
        people = len(self._people)
        common = np.zeros((people, count))
        truth, boxes = np.zeros(people + 1), np.zeros(people + 1)
        for (exact, keys, similarity), row in zip(self._frames, rows):
            shown, box = np.nonzero(similarity >= LEAST_OVERLAP)
            np.add.at(common, (exact[shown], row[box]), 1)
            np.add.at(truth, exact, 1)
            if len(keys):
                best = similarity.argmax(axis=0) if len(exact) else np.zeros(len(keys), np.int64)
                fits = similarity.max(axis=0, initial=0) >= LEAST_OVERLAP
                owner = np.where(fits, exact[best] if len(exact) else people, people)
                np.add.at(boxes, owner, 1)
        person, identity = linear_sum_assignment(-common)
        hits = np.zeros(people + 1)
        hits[person] = common[person, identity]
        return Hits(self._people, hits, truth, boxes)

    def scores(self, answer: Answer) -> Scores:
        """Return the scores that TrackEval computes for an answer."""
        with importing(TRACKEVAL, needs=("metrics",)):
            from trackeval import metrics
        rows = self.identities(answer)
        data = {
            "num_timesteps": len(rows),
            "num_gt_ids": len(self._people),
            "num_tracker_ids": 1 + max((int(row.max()) for row in rows if len(row)), default=0),
            "num_gt_dets": sum(len(exact) for exact, _, _ in self._frames),
            "num_tracker_dets": sum(map(len, rows)),
            "gt_ids": [exact for exact, _, _ in self._frames],
            "tracker_ids": rows,
            "similarity_scores": [similarity for _, _, similarity in self._frames],
        }
        identity = metrics.Identity({"PRINT_CONFIG": False}).eval_sequence(data)
        hota = metrics.HOTA().eval_sequence(data)
        clear = metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
        return Scores(
            idf1=float(identity["IDF1"]),
            assa=float(np.mean(hota["AssA"])),
            hota=float(np.mean(hota["HOTA"])),
            switches=int(clear["IDSW"]),
        )
