"""Read what `identify` says about the shipped sequence, whose people are known, and say how much of it is right. Runs no command."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import DeviceError
from runtime.identities.events import Event, identities_now

SEQUENCE = Path("data/sequence")
CAMERAS = (1, 2, 3, 4)
# A track is known by its camera and its number, as the files of boxes have them.
Key = tuple[int, int]


@dataclass(frozen=True)
class Identified:
    """The `events` of `identify` on the shipped sequence, and what they are worth.

    `tracks`, `people` and `identities` are counts. `people_around` and `identities_around` count those in two cameras or more. `right`
    is how many tracks have the right identity (see `right_tracks`). `rate` (0..1) is the rate of false matches that was asked for,
    and `pairs` how many pairs of tracks of two people its threshold comes from.
    """

    events: Sequence[Event]
    tracks: int
    people: int
    people_around: int
    identities: int
    identities_around: int
    right: int
    rate: float
    pairs: int

    def __str__(self) -> str:
        return (
            f"{self.tracks} tracks of {self.people} people in {len(CAMERAS)} cameras became {self.identities} identities, and "
            f"{self.right} tracks ({self.right / self.tracks:.0%}) have the right one"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, without the events."""
        return {name: value for name, value in vars(self).items() if name != "events"}


def identify_command(model: str, out: Path) -> list[str]:
    """Return the arguments of `python` that give the tracks of the shipped sequence identities.

    The gallery `identities`, the events `identities.jsonl` and the page `identities.html` are written below the folder `out`.
    """
    videos = []
    for camera in CAMERAS:
        videos += ["--video", f"{SEQUENCE}/camera{camera}.mp4"]
        videos += ["--boxes", f"{SEQUENCE}/camera{camera}.boxes.jsonl"]
    files = ["--store", f"{out}/identities", "--picture", f"{out}/identities.html"]
    files += ["--out", f"{out}/identities.jsonl"]
    return ["-m", "runtime", "identify", model, *videos, "--separate-cameras", *files, "--json"]


def why_no_video() -> str | None:
    """Return why no video can be decoded here and what to do, in one line; None if videos can be decoded."""
    try:
        importlib.import_module("runtime.video.av")
    except DeviceError as error:
        return str(error)
    return None


def read_identified(result: Mapping[str, Any], events: Path, sequence: Path) -> Identified:
    """Return what `identify` said: its output `result` and its file of `events`, and how it compares with the people of `sequence`."""
    with events.open(encoding="utf-8") as file:
        said = [Event(**json.loads(line)) for line in file]
    people = read_people(sequence)
    answer = {
        (event.camera, int(event.track)): name
        for event, name in identities_now(said)
        if event.camera is not None and event.track is not None
    }
    return Identified(
        events=said,
        tracks=len(answer),
        people=len(set(people.values())),
        people_around=_around(people),
        identities=len(set(answer.values())),
        identities_around=_around(answer),
        right=len(right_tracks(answer, people)),
        rate=float(result["false_match_rate"]),
        pairs=int(result["pairs"]),
    )


def read_people(sequence: Path) -> dict[Key, int]:
    """Return the person of each track in the exact boxes of a rendered `sequence`."""
    people: dict[Key, int] = {}
    for path in sorted(sequence.glob("camera*.boxes.jsonl")):
        with path.open(encoding="utf-8") as file:
            for box in map(json.loads, file):
                people[box["camera"], box["track"]] = box["person"]
    return people


def right_tracks(answer: Mapping[Key, str], people: Mapping[Key, int]) -> list[Key]:
    """Return the tracks that have the right identity.

    `answer` maps a track to its identity, and `people` to its person. A track is right if most tracks of its person have its
    identity, and most tracks with this identity show its person. Of several that are the most, the first counts.
    """
    identity_of = _usual((people[key], name) for key, name in answer.items())
    person_of = _usual((name, people[key]) for key, name in answer.items())
    return [
        key
        for key, name in answer.items()
        if identity_of[people[key]] == name and person_of[name] == people[key]
    ]


def _usual(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return for each first member of the `pairs` the second that it most often has."""
    counts: dict[Any, Counter[Any]] = {}
    for first, second in pairs:
        counts.setdefault(first, Counter())[second] += 1
    return {first: seconds.most_common(1)[0][0] for first, seconds in counts.items()}


def _around(who: Mapping[Key, object]) -> int:
    """Return how many of the people, or of the identities, are in two cameras or more."""
    seen: dict[object, set[int]] = {}
    for (camera, _), name in who.items():
        seen.setdefault(name, set()).add(camera)
    return sum(len(cameras) > 1 for cameras in seen.values())
