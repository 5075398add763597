"""`Arrivals`, which puts tracks into the order of their ends, whatever the order in which they arrive. Knows no features."""

from __future__ import annotations

import heapq
import itertools
from collections import deque

from runtime.identities.track import Track

Key = tuple[float, int, str, float, str]


def order_of(track: Track) -> Key:
    """Return what tracks are ordered by: the end first, and then what tells tracks apart that end at the same time."""
    return (track.last_s, track.camera, track.name, track.first_s, track.source)


class Arrivals:
    """Holds each track until `delay_s` seconds after its end, by the clock of the tracks, and then releases it in order.

    The clock is the latest end of a track, or what `advance` said. A track that arrives within the delay is released in its place;
    one that arrives later is released at once, and is late.
    """

    def __init__(self, delay_s: float) -> None:
        """Hold no tracks yet."""
        self._delay_s = delay_s
        self._now_s = float("-inf")
        self._released: Key | None = None
        self._late: deque[Track] = deque()
        self._waiting: list[tuple[Key, int, Track]] = []
        self._keys: set[Key] = set()
        self._numbers = itertools.count()

    def add(self, track: Track) -> None:
        """Add a track. A track that is waiting already is ignored."""
        key = order_of(track)
        if self._released is not None and key <= self._released:
            self._late.append(track)
        elif key not in self._keys:
            self._keys.add(key)
            heapq.heappush(self._waiting, (key, next(self._numbers), track))
        self.advance(track.last_s)

    def advance(self, now_s: float) -> None:
        """Set the clock to `now_s`, unless it is later already."""
        self._now_s = max(self._now_s, now_s)

    def due(self) -> tuple[Track, bool] | None:
        """Return the next track that is due, and whether it is late; None if none is. It stays until `release`."""
        if self._late:
            return self._late[0], True
        if self._waiting and self._waiting[0][0][0] < self._now_s - self._delay_s:
            return self._waiting[0][2], False
        return None

    def ending_by(self, last_s: float) -> list[Track]:
        """Return the tracks behind the next one that end by `last_s`, in the order of their ends."""
        waiting = sorted(entry[:2] for entry in self._waiting if entry[0][0] <= last_s)
        tracks = {entry[1]: entry[2] for entry in self._waiting}
        return [tracks[number] for _, number in (waiting if self._late else waiting[1:])]

    def release(self) -> None:
        """Let the track go that `due` returned."""
        if self._late:
            self._late.popleft()
        else:
            self._released, _, _ = heapq.heappop(self._waiting)
            self._keys.discard(self._released)
