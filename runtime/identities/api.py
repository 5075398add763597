"""`Identities`: which tracks of several cameras show the same person, decided while the tracks arrive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, ConfigError, DataError
from runtime.gallery.api import Gallery
from runtime.identities import keeping
from runtime.identities.arrivals import Arrivals
from runtime.identities.deciding import Candidate, match
from runtime.identities.events import Event
from runtime.identities.false_matches import FalseMatches
from runtime.identities.open_identities import OpenIdentities, Span, excluded
from runtime.identities.options import IdentityOptions
from runtime.identities.track import Track, track_feature
from runtime.ranking.site import SiteMeans

# How many crops an event names.
EVIDENCE = 3
USUAL = IdentityOptions()


class Identities:
    """The identities of a gallery, which tracks join in the order of their ends.

    Each track gets the nearest identity within the threshold, unless that person was elsewhere at the same time, or else a new one. A
    gallery keeps one row for each track. People of the gallery who have names are identities as well.
    """

    def __init__(
        self,
        gallery: Gallery | None,
        threshold: float | FalseMatches,
        *,
        options: IdentityOptions = USUAL,
        site: SiteMeans | None = None,
    ) -> None:
        """Open the identities of a `gallery`; None keeps them in memory only.

        `threshold` is the largest cosine distance (0..2) between a track and its identity, or the distribution of the distances
        between different people, from which `options.false_match_rate` makes it. `site` are the means of the cameras (None: those
        of the gallery, if it has any). Raises ConfigError for options out of range.
        """
        options.check()
        if not isinstance(threshold, FalseMatches) and not 0 <= threshold <= 2:
            raise ConfigError(f"threshold {threshold}: give a cosine distance between 0 and 2, such as 0.4")
        self.options = options
        self.threshold = threshold
        self._gallery = gallery
        if site is None and gallery is not None:
            site = gallery.calibration.site
        self._site = site
        self._dim = None if gallery is None else gallery.space.dim
        self._arrivals = Arrivals(options.delay_s)
        self._events: list[Event] = []
        # None: to be read from the gallery before the next decision
        self._open: OpenIdentities | None = None
        self._next = 1
        # the tracks of the window, where no gallery knows them
        self._known: dict[str, tuple[str, float]] = {}
        if gallery is not None:
            self._identities()

    def __len__(self) -> int:
        """Return the number of identities that a new track can join."""
        return 0 if self._dim is None else len(self._identities())

    def observe(self, track: Track) -> list[Event]:
        """Take a track that has ended, and return the events that are known now: those of tracks whose delay is over.

        A track that is stored in the gallery already gets an event with the identity that it has there. Raises ArtifactError for
        features of another width than those of the gallery. Raises StorageError when the disk fails; the tracks that were not
        decided then wait, and no event is lost: the next call of any method decides and returns them.
        """
        width = track.features.shape[1]
        if width != (self._dim or width):
            raise ArtifactError(
                f"{track} has features of {width} numbers, not {self._dim}; use one model for all tracks of a gallery"
            )
        self._dim = width
        self._arrivals.add(track)
        return self._decide_due()

    def advance(self, now_s: float) -> list[Event]:
        """Say that the time is `now_s` seconds, on the clock of the tracks, and return the events that are known now."""
        self._arrivals.advance(now_s)
        return self._decide_due()

    def close(self) -> list[Event]:
        """Decide all tracks that still wait, and return their events. Tracks that come afterwards are decided at once."""
        return self.advance(math.inf)

    def merge(self, kept: str, other: str) -> list[Event]:
        """Make the tracks of the identity `other` tracks of `kept`, whatever their distance, and return an event of the kind "merge".

        Raises DataError if either is unknown, ConfigError if both are the same, and StorageError when the disk fails; then nothing has
        changed.
        """
        self._check_known(kept)
        self._check_known(other)
        if kept == other:
            raise ConfigError(f"{kept}: give two different identities")
        if self._gallery is not None:
            self._gallery.set_persons(self._gallery.ids(person=other), kept)
            self._open = None
        elif self._open is not None:
            self._open.merge(kept, other)
            named = {key: (kept if name == other else name, end) for key, (name, end) in self._known.items()}
            self._known = named
        return [Event("merge", kept, merged=other)]

    def split(self, identity: str, tracks: Iterable[tuple[int, str]]) -> str:
        """Give some `tracks` of an identity, pairs of camera and name, a new identity, and return its name.

        All tracks of the identity with this camera and name move, and their crops in the gallery as well. Raises ConfigError without a
        gallery, DataError if the identity has none of the tracks, and StorageError when the disk fails; then nothing has changed.
        """
        if self._gallery is None:
            raise ConfigError(
                "identities without a gallery keep no tracks that could be split; give a gallery"
            )
        self._check_known(identity)
        ids = self._gallery.ids(person=identity)
        rows, _ = self._gallery.rows(ids)
        chosen = {(int(camera), str(name)) for camera, name in tracks}
        moved = [number for number, row in zip(ids, rows) if (row.camera, row.track) in chosen]
        if not moved:
            raise DataError(
                f"{identity}: has none of the tracks {sorted(chosen)}; give the camera and the name of tracks"
            )
        name = self._new_name()
        self._gallery.set_persons(moved, name)
        self._open = None
        return name

    def forget(self, identity: str) -> int:
        """Erase an identity: all rows of this person in the gallery, also those of crops. Returns the number of rows.

        On return, no file of the gallery holds their bytes (see `Gallery.delete`). The name is not given again. Raises DataError if it
        is unknown, and StorageError when the disk fails.
        """
        self._check_known(identity)
        deleted = 0
        if self._gallery is not None:
            keeping.write_counter(self._gallery, self._next)
            deleted = self._gallery.delete(person=identity)
            self._open = None
        elif self._open is not None:
            self._open.remove(identity)
        self._known = {key: value for key, value in self._known.items() if value[0] != identity}
        return deleted

    def _identities(self) -> OpenIdentities:
        """Return the open identities. They are read from the gallery at first, after a change by hand, and after an error.

        So a program that goes on and one that is started again decide alike.
        """
        if self._open is not None:
            return self._open
        identities = OpenIdentities(self._dim or 0, most=self.options.most, window_s=self.options.window_s)
        if self._gallery is not None:
            for kept in keeping.read_kept(self._gallery):
                enrolled = not keeping.is_identity(kept.identity)
                feature = self._calibrated(kept.feature, kept.camera)
                if kept.span is not None:
                    identities.close_before(kept.span.last_s)
                identities.join(kept.identity, feature, kept.span, enrolled=enrolled)
            self._next = max(self._next, keeping.next_number(self._gallery))
        self._open = identities
        return identities

    def _decide_due(self) -> list[Event]:
        # events wait in a list, so that an error loses neither them nor the tracks behind the one that failed
        while (due := self._arrivals.due()) is not None:
            self._events += self._decide(*due)
            self._arrivals.release()
        events, self._events = self._events, []
        return events

    def _decide(self, track: Track, late: bool) -> list[Event]:
        identities = self._identities()
        if (stored := self._stored(track)) is not None:
            identity, number = stored
            if self._gallery is not None:
                keeping.label_crops(self._gallery, track, identity)
            return [self._event(track, identity, late=late, stored=True, row=number)]
        candidate = self._candidate(track)
        identities.close_before(track.last_s)
        before = None if self._gallery is None else keeping.identity_of_crops(self._gallery, track)
        if before is not None:
            number = self._keep(track, before)
            identities.join(before, candidate.feature, candidate.span)
            return [self._event(track, before, late=late, stored=True, row=number)]
        soon = self._arrivals.ending_by(track.last_s + self.options.look_ahead_s)
        found = match(
            identities,
            candidate,
            [self._candidate(other) for other in soon],
            limit=self._limit(),
            apart=self._apart,
        )
        identity = self._new_name() if found is None else found.identity.name
        rate = None
        if found is not None and isinstance(self.threshold, FalseMatches):
            rate = self.threshold.rate(found.distance, len(self))
        number = self._keep(track, identity)
        identities.join(identity, candidate.feature, candidate.span)
        return [
            self._event(
                track,
                identity,
                new=found is None,
                similarity=None if found is None else 1 - found.distance,
                false_match_rate=rate,
                late=late,
                row=number,
            )
        ]

    def _candidate(self, track: Track) -> Candidate:
        feature = self._calibrated(track_feature(track.features), track.camera)
        return Candidate(feature, Span(track.camera, track.first_s, track.last_s))

    def _limit(self) -> float:
        """Return the largest distance at which a track joins an identity now."""
        if isinstance(self.threshold, FalseMatches):
            return self.threshold.distance(self.options.false_match_rate, len(self))
        return self.threshold

    def _apart(self, spans: Sequence[Span], others: Sequence[Span]) -> bool:
        options = self.options
        return options.exclusion and any(
            excluded(spans, other, separate_cameras=options.separate_cameras, overlap_s=options.overlap_s)
            for other in others
        )

    def _new_name(self) -> str:
        while True:
            name = f"{keeping.PREFIX}{self._next}"
            self._next += 1
            # another process may have given this name since
            if self._gallery is None or not self._gallery.ids(person=name, limit=1):
                return name

    def _calibrated(self, feature: NDArray[np.float32], camera: int) -> NDArray[np.float32]:
        if self._site is None:
            return feature
        calibrated: NDArray[np.float32] = self._site.apply(feature[None], np.array([camera]))[0]
        return calibrated

    def _stored(self, track: Track) -> tuple[str, int | None] | None:
        """Return the identity and the row number of a track that is stored already, or None."""
        if self._gallery is not None:
            return keeping.stored_track(self._gallery, track)
        key = keeping.row_of(track, "").sha256
        return (self._known[key][0], None) if key in self._known else None

    def _keep(self, track: Track, identity: str) -> int | None:
        """Store a decision, and return the number of its row. On return, it is on the disk."""
        if self._gallery is None:
            self._known[keeping.row_of(track, "").sha256] = (identity, track.last_s)
            limit = track.last_s - self.options.window_s
            for key in [key for key, (_, end) in self._known.items() if end < limit]:
                del self._known[key]
            return None
        try:
            return keeping.keep_track(self._gallery, track, identity)
        except BaseException:
            # the row may be on the disk or not
            self._open = None
            raise

    def _check_known(self, identity: str) -> None:
        # no name at all would mean every row
        if identity and self._gallery is not None and self._gallery.ids(person=identity, limit=1):
            return
        if self._open is None or identity not in self._open:
            raise DataError(f"{identity}: no such identity; give a name that an event has")

    @staticmethod
    def _event(track: Track, identity: str, **values: Any) -> Event:
        best = np.argsort(-track.quality, kind="stable")[:EVIDENCE]
        evidence = tuple(track.evidence[place] for place in best) if track.evidence else ()
        return Event(
            "track",
            identity,
            track.camera,
            track.name,
            track.first_s,
            track.last_s,
            evidence=evidence,
            **values,
        )
