"""How often somebody who was never seen before is taken for somebody else: the rate of false matches that a user states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.identities.intervals import counted
from benchmarks.identities.prepared.sequences import TrackKey
from runtime.identities.events import Event


def first_tracks(events: Sequence[Event], people: Mapping[TrackKey, int]) -> list[Event]:
    """Return the event of the first track of each person but the very first, who can be taken for nobody.

    `people` has the person of each track, 0 for a track that shows nobody in particular; such tracks are left out.
    """
    seen: set[int] = set()
    first = []
    for number, event in enumerate(event for event in events if event.kind == "track"):
        assert event.camera is not None and event.track is not None
        person = people[event.camera, int(event.track)]
        if person and person not in seen:
            seen.add(person)
            if number:
                first.append(event)
    return first


def false_matches(
    said: Sequence[Sequence[Event]], people: Sequence[Mapping[TrackKey, int]]
) -> dict[str, float | int]:
    """Return how many first tracks of people got the identity of somebody else, of all sequences, with the interval of the rate."""
    first = [
        event for events, names in zip(said, people, strict=True) for event in first_tracks(events, names)
    ]
    return counted(sum(not event.new for event in first), len(first))
