"""The events that `Identities` returns, and what they say together. Imports no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """What became known: a `kind` of "track" for a track that got its identity, or "merge" for two identities that are one person.

    For a track: `camera`, `track`, `first_s` and `last_s` say which it is. `new` says that it is the first of its `identity`;
    otherwise `similarity` is the cosine with the identity (-1..1), and `false_match_rate` the probability that a track of somebody
    else would have been this near to one of the candidates (None if the threshold is only a distance). `late` says that it arrived
    after later tracks were decided, and `stored` that the gallery had it already, with this identity. `evidence` names its best
    crops, and `row` is its row in the gallery. For a merge, the tracks of `merged` are from now on those of `identity`.
    """

    kind: str
    identity: str
    camera: int | None = None
    track: str | None = None
    first_s: float | None = None
    last_s: float | None = None
    new: bool = False
    similarity: float | None = None
    false_match_rate: float | None = None
    late: bool = False
    stored: bool = False
    evidence: tuple[str, ...] = ()
    row: int | None = None
    merged: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as a JSON object; a merge has only the keys of a merge."""
        if self.kind == "merge":
            return {"kind": self.kind, "identity": self.identity, "merged": self.merged}
        content = asdict(self)
        del content["merged"]
        return content | {"evidence": list(self.evidence)}


def identities_now(events: Sequence[Event]) -> list[tuple[Event, str]]:
    """Return the events of tracks, each with the identity that it has after all merges."""
    merged: dict[str, str] = {}
    for event in events:
        if event.kind == "merge" and event.merged is not None:
            merged[event.merged] = event.identity

    def final(name: str) -> str:
        while name in merged:
            name = merged[name]
        return name

    return [(event, final(event.identity)) for event in events if event.kind == "track"]


def cameras_of(events: Sequence[Event]) -> dict[str, set[int | None]]:
    """Return the cameras of each identity, after all merges."""
    cameras: dict[str, set[int | None]] = {}
    for event, name in identities_now(events):
        cameras.setdefault(name, set()).add(event.camera)
    return cameras
