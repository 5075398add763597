"""Tracks from a live tracker, frame by frame, and from the features of a recorded video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime.errors import DataError
from runtime.features import Features
from runtime.identities.collecting import CROPS, TrackCollector, tracks_of
from runtime.identities.quality import box_quality
from runtime.video.boxes import Boxes
from tests.runtime.identities.people import direction

BOX = [100.0, 100.0, 160.0, 260.0]


def test_a_track_ends_when_it_is_not_seen_any_more() -> None:
    collector = TrackCollector(3, gap_s=1.0, source="cam")
    ended = []
    for frame in range(60):
        time = frame / 10
        names = ["1"] if frame < 20 or 25 <= frame < 30 else []
        features = np.stack([direction(1)] * len(names)) if names else np.empty((0, 32), np.float32)
        ended += [(time, one) for one in collector.add(time, names, features, np.array([BOX] * len(names)))]
    ((time, one),) = ended
    assert (one.camera, one.name, one.source, len(one.times)) == (3, "1", "cam", 25)
    assert (one.first_s, one.last_s) == (0.0, 2.9) and 3.9 < time <= 4.1
    assert collector.close() == []


def test_a_long_track_comes_in_parts_and_keeps_its_best_crops() -> None:
    collector = TrackCollector(0, longest_s=30)
    parts = []
    for frame in range(1000):
        # the person comes nearer: later boxes are larger
        box = np.array([[100.0, 100.0, 130.0, 130.0 + frame / 20]])
        parts += collector.add(frame / 10, [7], direction(1)[None], box, (640, 480))
    parts += collector.close()
    assert len(parts) == 4 and all(len(one.times) <= CROPS for one in parts)
    assert [one.last_s - one.first_s <= 30.2 for one in parts] == [True] * 4
    assert parts[0].first_s == 0 and parts[0].last_s == pytest.approx(30.1) and parts[0].times[0] > 20
    assert [one.first_s for one in parts[1:]] == pytest.approx([one.last_s + 0.1 for one in parts[:-1]])


def test_a_frame_out_of_order_or_with_too_few_rows_is_refused() -> None:
    collector = TrackCollector(0)
    collector.add(1.0, [1], direction(1)[None], np.array([BOX]))
    with pytest.raises(DataError, match="order"):
        collector.add(1.0, [1], direction(1)[None], np.array([BOX]))
    with pytest.raises(DataError, match="features"):
        collector.add(2.0, [1, 2], direction(1)[None], np.array([BOX]))
    empty = np.full((1, 32), np.nan, np.float32)
    collector.add(3.0, [2], empty, np.array([BOX]))
    assert [one.name for one in collector.close()] == ["1"]


def test_small_clipped_and_hidden_boxes_have_a_lower_quality() -> None:
    boxes = np.array(
        [
            [100, 100, 160, 260],  # whole
            [100, 300, 120, 340],  # small
            [0, 100, 60, 260],  # clipped
            [300, 100, 360, 260],  # hidden by the next, which ends lower
            [320, 100, 380, 270],
        ],
        np.float64,
    )
    whole, small, clipped, hidden, front = box_quality(boxes, np.zeros(5, np.int64), (640, 480))
    assert whole == front == 1 and clipped == 0.5
    assert 0 < small < 0.5 and 0 < hidden < 0.5
    # boxes of other frames hide nothing
    assert box_quality(boxes[3:], np.array([0, 1]), (640, 480)).tolist() == [1, 1]
    assert box_quality(boxes[:0], np.zeros(0, np.int64), None).shape == (0,)


def features_of_video(tracks: list[int], times: list[float]) -> Features:
    count = len(tracks)
    return Features(
        np.stack([direction(max(track, 0)) for track in tracks]),
        tuple(f"v.mp4#frame={frame}&box=0" for frame in range(count)),
        np.full(count, -1),
        np.full(count, 2),
        "0" * 64,
        frames=np.arange(count),
        times=np.array(times),
        tracks=np.array(tracks),
    )


def test_the_rows_of_a_video_become_tracks() -> None:
    features = features_of_video([5, -1, 5, 6, 5], [0.0, 0.1, 0.2, 0.3, 0.4])
    first, second = tracks_of(features, start_s=100)
    assert (first.name, first.camera, first.source, first.times.tolist()) == ("6", 2, "v.mp4", [100.3])
    assert (second.name, second.times.tolist()) == ("5", [100.0, 100.2, 100.4])
    assert second.evidence[1] == "v.mp4#frame=2&box=0"
    numbers = np.arange(5)
    boxes = Boxes(
        "b",
        numbers,
        np.array([BOX] * 4 + [[0.0, 0, 20, 32]]),
        numbers * 0.1,
        numbers,
        numbers,
        numbers,
        numbers * 0,
        numbers,
    )
    assert tracks_of(features, boxes, (640, 480))[1].quality.tolist() == pytest.approx([1, 1, 0.125])
    with pytest.raises(DataError, match="b: .*other boxes"):
        tracks_of(features, replace(boxes, frames=numbers + 1))
    with pytest.raises(DataError, match=r"v\.mp4.*time"):
        tracks_of(features_of_video([5, 5], [0.0, float("nan")]))
    with pytest.raises(DataError, match="no tracks"):
        tracks_of(Features(features.features, features.paths, features.pids, features.camids, features.model))


def test_clock_times_stay_and_a_number_given_again_is_another_track() -> None:
    tracks = tracks_of(features_of_video([5, 5, 5, 5], [0.0, 299.0, 700.0, 1.7e9]), start_s=1e9)
    assert [(one.name, one.first_s, one.last_s) for one in tracks] == [
        ("5", 1e9, 1e9 + 299),
        ("5", 1e9 + 700, 1e9 + 700),
        ("5", 1.7e9, 1.7e9),
    ]
