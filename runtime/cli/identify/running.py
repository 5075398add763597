"""Run `python -m runtime identify`: read or make the tracks, decide them in order, and write the events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime import DataError, Features, Gallery, Model, console, open_gallery
from runtime.cli.identify.options import IdentifyOptions, VideoTracks
from runtime.cli.model_features import open_with_options, saved_features, video_features_of
from runtime.cli.notes import print_notes, print_result
from runtime.errors import StorageError
from runtime.files.manifest import replacing
from runtime.gallery.labelling import EARLIEST_S, whole_path
from runtime.gallery.space import same_space, space_of_features
from runtime.gallery.times import MILLION, microseconds
from runtime.identities.api import Identities
from runtime.identities.arrivals import order_of
from runtime.identities.collecting import tracks_of, tracks_of_gallery
from runtime.identities.events import Event, cameras_of
from runtime.identities.false_matches import FalseMatches, distances_of
from runtime.identities.keeping import read_distances, write_distances
from runtime.identities.lanes import lanes_page
from runtime.identities.track import Track
from runtime.options.choices import REOPEN
from runtime.video.boxes import read_boxes

# The distances between different people are measured on this many tracks, the first: their number of pairs rises with its square.
MEASURED = 3000


def run(options: IdentifyOptions) -> None:
    """Give the tracks identities, write the events, and print a summary."""
    model = None if options.model is None else open_with_options(options.model, options.run_options)
    videos = [*options.videos, *options.features]
    extracted = [_features(video, options, model) for video in videos]
    with closing(_open(options, model, extracted)) as gallery:
        if videos:
            tracks, left_out = _tracks(videos, extracted)
        else:
            tracks, left_out = tracks_of_gallery(gallery)
        if left_out:
            print_notes([f"{left_out} boxes belong to no track, and get no identity"])
        if not tracks:
            raise DataError(
                "no tracks: give boxes with the numbers of a tracker (track), or rows with cameras, times and tracks"
            )
        threshold = _threshold(gallery, tracks, options)
        identities = Identities(gallery, threshold, options=options.identities)
        events = _decide(identities, tracks, options)
        if options.picture is not None:
            with replacing(options.picture) as temporary:
                temporary.write_text(lanes_page(events), encoding="utf-8")
        print_result("identities", _summary(events, threshold, options), as_json=options.as_json)


def _features(video: VideoTracks, options: IdentifyOptions, model: Model | None) -> Features:
    if model is not None and video in options.videos:
        return video_features_of(model, video.source, video.boxes or "", options.run_options, reopen=REOPEN)
    return saved_features(video.source, allow_partial=False)


def _open(options: IdentifyOptions, model: Model | None, extracted: Sequence[Features]) -> Gallery:
    """Open the gallery, which is made for the model or for the features if it does not exist yet."""
    if extracted:
        space = space_of_features(extracted[0])
        for features, name in zip(extracted[1:], [*options.videos, *options.features][1:]):
            same_space(space, space_of_features(features), name.source)
        return open_gallery(options.store, space=space)
    return open_gallery(options.store)


def _tracks(videos: Sequence[VideoTracks], extracted: Sequence[Features]) -> tuple[list[Track], int]:
    tracks: list[Track] = []
    left_out = 0
    for video, features in zip(videos, extracted):
        if features.tracks is None:
            raise DataError(
                f"{video.source}: holds features of images, which are in no track; extract a video and its boxes (--video, --boxes)"
            )
        boxes = None if video.boxes is None else read_boxes(video.boxes)
        left_out += int((features.tracks < 0).sum())
        start_s = 0.0 if video.start is None else microseconds(video.start, "--start") / MILLION
        own = tracks_of(_placed(features, video), boxes, start_s=start_s)
        # the whole path, so that a run from another folder knows its tracks again
        tracks += [replace(track, source=whole_path(track.source)) for track in own]
    _check_cameras(tracks)
    return sorted(tracks, key=order_of), left_out


def _check_cameras(tracks: Sequence[Track]) -> None:
    """Raise DataError if two videos of one camera begin together, as far as is known: its people would be twice in it at once."""
    first_source: dict[int, str] = {}
    for track in tracks:
        other = first_source.setdefault(track.camera, track.source)
        if track.first_s < EARLIEST_S and other != track.source:
            raise DataError(
                f"{track.source}: is of camera {track.camera}, and so is {other}; say when each began (--start), or give "
                "them different cameras (--as-cameras)"
            )


def _placed(features: Features, video: VideoTracks) -> Features:
    """Return the features with the cameras that the command says, or else the place of the video where its boxes have none."""
    camids = features.camids
    camids = (
        np.where(camids < 0, video.place, camids)
        if video.camera is None
        else np.full_like(camids, video.camera)
    )
    return replace(features, camids=camids)


def _threshold(gallery: Gallery, tracks: Sequence[Track], options: IdentifyOptions) -> float | FalseMatches:
    """Return the threshold that the command gives, or the distances between different people that the gallery keeps, or new ones."""
    if options.threshold is not None:
        return options.threshold
    if not options.measure_again and (known := read_distances(gallery)) is not None:
        return known
    distances = distances_of(
        tracks[:MEASURED],
        gallery.calibration.site,
        separate_cameras=options.identities.separate_cameras,
        overlap_s=options.identities.overlap_s,
    )
    threshold = FalseMatches.fit(distances)
    write_distances(gallery, threshold)
    print_notes(
        [
            f"threshold from {threshold.pairs} pairs of tracks that are two people, because both were seen at the same time; "
            f"kept in {options.store}"
        ]
    )
    return threshold


def _decide(identities: Identities, tracks: Sequence[Track], options: IdentifyOptions) -> list[Event]:
    events: list[Event] = []
    try:
        with replacing(Path(options.out)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            with console.progress("identify", len(tracks), noun="tracks") as advance:
                for track in tracks:
                    events += _written(identities.observe(track), file)
                    advance(1)
                events += _written(identities.close(), file)
    except OSError as error:
        raise StorageError(
            f"{options.out}: cannot be written ({error.strerror}); free some space and run the same command again; the "
            "gallery keeps the identities"
        ) from None
    return events


def _written(events: list[Event], file: Any) -> list[Event]:
    for event in events:
        print(json.dumps(event.to_json()), file=file)
    return events


def _summary(
    events: Sequence[Event], threshold: float | FalseMatches, options: IdentifyOptions
) -> dict[str, Any]:
    cameras = cameras_of(events)
    measured = isinstance(threshold, FalseMatches)
    return {
        "out": options.out,
        "store": str(options.store),
        "tracks": sum(event.kind == "track" for event in events),
        "identities": len(cameras),
        "in_several_cameras": sum(len(seen) > 1 for seen in cameras.values()),
        "late": sum(event.late for event in events),
        "stored_before": sum(event.stored for event in events),
        "false_match_rate": options.identities.false_match_rate if measured else None,
        "threshold": None if isinstance(threshold, FalseMatches) else threshold,
        "pairs": threshold.pairs if isinstance(threshold, FalseMatches) else None,
    }
