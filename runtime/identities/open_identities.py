"""`OpenIdentities`, the identities that a new track may belong to: the sum of the features of each. Bounded; writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Span(NamedTuple):
    """When a track was in a camera: its camera, its first and its last time in seconds."""

    camera: int
    first_s: float
    last_s: float


@dataclass
class Identity:
    """One identity: its name, when its tracks were where, and whether it is `enrolled`, so that it is never dropped.

    `last_s` is the latest end of its spans, and `oldest_s` the earliest.
    """

    name: str
    spans: list[Span] = field(default_factory=list)
    last_s: float = -np.inf
    oldest_s: float = np.inf
    enrolled: bool = False


class OpenIdentities:
    """At most `most` identities with features of `dim` numbers, besides the enrolled ones.

    An identity that no track has joined for `window_s` seconds is dropped, and the one that was joined the longest ago where there
    would be too many. The distance between an identity and a track is the mean of the cosine distances between its tracks and this
    one, for which the sum of its features is enough.
    """

    def __init__(self, dim: int, *, most: int, window_s: float) -> None:
        """Hold no identities yet."""
        self.dim = dim
        self._most, self._window_s = most, window_s
        self._identities: list[Identity] = []
        self._places: dict[str, int] = {}
        self._sums = np.zeros((16, dim), np.float32)
        self._counts = np.zeros(16, np.float32)

    def __len__(self) -> int:
        return len(self._identities)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[Identity]:
        return iter(list(self._identities))

    def get(self, name: str) -> Identity:
        """Return an identity. Raises KeyError if it is not open."""
        return self._identities[self._places[name]]

    def total(self, name: str) -> tuple[NDArray[np.float32], float]:
        """Return the sum (D,) of the features of an identity's tracks, and their number."""
        place = self._places[name]
        return self._sums[place], float(self._counts[place])

    def within(self, feature: NDArray[np.float32], distance: float) -> list[tuple[float, Identity]]:
        """Return the identities within a mean distance of a feature (D,), nearest first, each with its distance."""
        # not @: the last digits of a product of BLAS depend on the number of rows
        products = np.einsum("md,d->m", self._sums[: len(self)], feature)
        far = np.float32(1) - products / self._counts[: len(self)]
        near = np.flatnonzero(far <= distance).tolist()
        # at equal distances, the earlier name; the places depend on what was dropped before
        near.sort(key=lambda place: (far[place], self._identities[place].name))
        return [(float(far[place]), self._identities[place]) for place in near]

    def join(
        self, name: str, feature: NDArray[np.float32], span: Span | None, *, enrolled: bool = False
    ) -> None:
        """Add a track with this feature (D,) to an identity, which is made if it is not open. A span of None is unknown."""
        if name not in self._places:
            if not enrolled:
                self._make_room()
            if len(self) == len(self._sums):
                self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._places[name] = len(self)
            self._identities.append(Identity(name, enrolled=enrolled))
        place = self._places[name]
        self._sums[place] += feature
        self._counts[place] += 1
        if span is not None:
            identity = self._identities[place]
            identity.spans.append(span)
            identity.last_s = max(identity.last_s, span.last_s)
            identity.oldest_s = min(identity.oldest_s, span.last_s)

    def merge(self, kept: str, other: str) -> None:
        """Make the tracks of `other` tracks of `kept`."""
        place, gone = self._places[kept], self._places[other]
        self._sums[place] += self._sums[gone]
        self._counts[place] += self._counts[gone]
        identity, former = self._identities[place], self._identities[gone]
        identity.spans.extend(former.spans)
        identity.last_s = max(identity.last_s, former.last_s)
        identity.oldest_s = min(identity.oldest_s, former.oldest_s)
        identity.enrolled = identity.enrolled or former.enrolled
        self.remove(other)

    def remove(self, name: str) -> None:
        """Forget an identity, if it is open. The last one takes its place."""
        place = self._places.pop(name, None)
        if place is None:
            return
        moved = self._identities.pop()
        last = len(self._identities)
        if place != last:
            self._identities[place] = moved
            self._places[moved.name] = place
            self._sums[place], self._counts[place] = self._sums[last], self._counts[last]
        # the numbers of a forgotten person stay nowhere
        self._sums[last] = self._counts[last] = 0

    def close_before(self, now_s: float) -> None:
        """Drop the identities that no track has joined in the window before `now_s`, and the spans that are older."""
        limit = now_s - self._window_s
        for identity in self:
            if identity.last_s < limit and not identity.enrolled:
                self.remove(identity.name)
            elif identity.oldest_s < limit:
                identity.spans = [span for span in identity.spans if span.last_s >= limit]
                identity.oldest_s = min((span.last_s for span in identity.spans), default=np.inf)

    def _make_room(self) -> None:
        guests = [identity for identity in self._identities if not identity.enrolled]
        if len(guests) >= self._most:
            self.remove(min(guests, key=lambda identity: (identity.last_s, identity.name)).name)


def excluded(
    spans: Iterable[Span], span: Span, *, separate_cameras: bool = False, overlap_s: float = 0.0
) -> bool:
    """Return whether a track at `span` cannot be the person of the tracks at `spans`, who was elsewhere at the same time.

    One person is not twice in one camera at one time. `separate_cameras` and `overlap_s` are as in
    `runtime.identities.false_matches.simultaneous`.
    """
    for other in spans:
        if separate_cameras or other.camera == span.camera:
            common = min(other.last_s, span.last_s) - max(other.first_s, span.first_s)
            if common > overlap_s or (not overlap_s and common >= 0):
                return True
    return False
