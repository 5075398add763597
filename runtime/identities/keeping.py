"""Keep identities in a gallery: one row for each track, whose feature is the mean of its crops, and whose person is the identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, StorageError
from runtime.files.json_text import parse_json
from runtime.gallery.api import Gallery
from runtime.gallery.labelling import EARLIEST_S
from runtime.gallery.store.rows import Row
from runtime.gallery.times import MILLION
from runtime.identities.false_matches import FalseMatches
from runtime.identities.open_identities import Span
from runtime.identities.track import Track, track_feature

# The `source` of the rows of tracks, and how identities are called that nobody has named.
SOURCE, PREFIX = "identities", "identity-"
# The kinds of the records that a gallery keeps beside its calibrations: the distances between tracks of different people, and the
# number of the next identity.
DISTANCES, COUNTER = "tracks", "identities"
# How many rows are read at once.
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class KeptTrack:
    """A track as its row has it: the identity, the feature (D,) as stored, and where and when it was (None: unknown)."""

    identity: str
    feature: NDArray[np.float32]
    span: Span | None
    camera: int


def row_of(track: Track, identity: str) -> Row:
    """Return the row of a track. Its sha256 is that of what tells tracks apart, so that a track is stored once."""
    where = {
        "source": track.source,
        "camera": track.camera,
        "track": track.name,
        "from": repr(track.first_s),
        "to": repr(track.last_s),
    }
    digest = hashlib.sha256(json.dumps(where).encode(errors="surrogatepass")).hexdigest()
    time_us = round(track.last_s * MILLION) if track.last_s >= EARLIEST_S else None
    details = urlencode({"from": where["from"], "to": where["to"]})
    return Row(
        digest, SOURCE, track.camera, time_us, track.name, identity, f"track://{track.source}?{details}"
    )


def keep_track(gallery: Gallery, track: Track, identity: str) -> int:
    """Store a track with its identity, which its crops in the gallery get as well, and return the number of its row.

    On return, it is on the disk. Raises StorageError when the disk fails; a second call then completes what is missing.
    """
    row = row_of(track, identity)
    gallery.add_rows([row], track_feature(track.features)[None])
    ((number, stored),) = gallery.known([(row.sha256, row.source)]).values()
    if stored.person is None:
        gallery.set_persons([number], identity)
    label_crops(gallery, track, identity)
    return number


def stored_track(gallery: Gallery, track: Track) -> tuple[str, int] | None:
    """Return the identity and the row number of a track that is stored, or None. A row without a person counts as not stored."""
    row = row_of(track, "")
    for number, stored in gallery.known([(row.sha256, row.source)]).values():
        return None if stored.person is None else (stored.person, number)
    return None


def label_crops(gallery: Gallery, track: Track, identity: str) -> None:
    """Give the crops of a track that lie in the gallery its identity, unless they have a person."""
    unknown = [number for number, row in _crops(gallery, track) if row.person is None]
    if unknown:
        gallery.set_persons(unknown, identity)


def identity_of_crops(gallery: Gallery, track: Track) -> str | None:
    """Return the identity that crops of a track got when it had fewer of them; None if they have none, or several."""
    persons = {row.person for _, row in _crops(gallery, track) if is_identity(row.person)}
    return persons.pop() if len(persons) == 1 else None


def _crops(gallery: Gallery, track: Track) -> list[tuple[int, Row]]:
    """Return the numbers and rows of the crops of a track, without those that were deleted since the track was read."""
    if not track.rows:
        return []
    try:
        return [*zip(track.rows, gallery.rows(track.rows)[0])]
    except DataError:
        return [(number, row) for number in track.rows if (row := _row_or_none(gallery, number))]


def _row_or_none(gallery: Gallery, number: int) -> Row | None:
    try:
        return gallery.rows([number])[0][0]
    except DataError:
        return None


def read_kept(gallery: Gallery) -> list[KeptTrack]:
    """Return the tracks of all identities, in the order in which they were stored, and the rows of people who have names.

    A row of a person that is no track counts as one without a span. Raises StorageError for a damaged row.
    """
    people = {number: person for number, _, person, _ in gallery.store.labels() if person is not None}
    kept = []
    ids = list(people)
    for start in range(0, len(ids), CHUNK):
        rows, features = gallery.rows(ids[start : start + CHUNK])
        for row, feature in zip(rows, features):
            if row.source == SOURCE or not is_identity(row.person):
                kept.append(_kept(row, feature))
    return kept


def is_identity(person: str | None) -> bool:
    """Return whether a person's name is one that `Identities` gives."""
    return person is not None and person.startswith(PREFIX) and person.removeprefix(PREFIX).isdecimal()


def next_number(gallery: Gallery) -> int:
    """Return the number of the next identity: above those that are stored, and above those that were forgotten."""
    used = [
        int(person.removeprefix(PREFIX))
        for _, _, person, _ in gallery.store.labels()
        if person is not None and is_identity(person)
    ]
    record = _record(gallery, COUNTER)
    return max([int(record.get("next", 1)), *(number + 1 for number in used)])


def write_counter(gallery: Gallery, number: int) -> None:
    """Store the number of the next identity, so that the name of a forgotten one is never given again."""
    gallery.store.write_calibration(COUNTER, json.dumps({"next": number}), [])


def read_distances(gallery: Gallery) -> FalseMatches | None:
    """Return the distances between tracks of different people that the gallery keeps, or None.

    None also if the site calibration has changed since: the distances hold only for the one under which they were measured.
    """
    record = _record(gallery, DISTANCES)
    if not record or record.get("site") != gallery.calibration.site_id:
        return None
    try:
        return FalseMatches.from_json(record["distances"])
    except (KeyError, TypeError, ValueError):
        raise StorageError(
            f"{gallery.store.place}: the distances between its tracks are damaged; store new ones with `write_distances` "
            "(--measure-again)"
        ) from None


def write_distances(gallery: Gallery, distances: FalseMatches) -> None:
    """Store the distances between tracks of different people, which `read_distances` returns from now on."""
    record = {"distances": distances.to_json(), "site": gallery.calibration.site_id}
    gallery.store.write_calibration(DISTANCES, json.dumps(record, sort_keys=True), [])


def _record(gallery: Gallery, kind: str) -> dict[str, Any]:
    for record in gallery.store.calibrations(newest=True):
        if record.kind == kind and record.right:
            content = parse_json(record.record)
            return content if isinstance(content, dict) else {}
    return {}


def _kept(row: Row, feature: NDArray[np.float32]) -> KeptTrack:
    person, camera = row.person or "", -1 if row.camera is None else row.camera
    if row.source != SOURCE:
        return KeptTrack(person, feature, None, camera)
    details = parse_qs(row.path.rpartition("?")[2])
    try:
        first, last = (float(details[name][0]) for name in ("from", "to"))
    except (KeyError, ValueError):
        raise StorageError(
            f"the row of track {row.track} of camera {camera} is damaged; delete it by its sha256 {row.sha256}"
        ) from None
    return KeptTrack(person, feature, Span(camera, first, last), camera)
