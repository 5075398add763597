"""The features of a video keep their tracks, cameras and people in a gallery, and their times if a clock gave them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gallery.rows import SPACE, features, gallery, put
from runtime.features import Features, save_features
from runtime.gallery.exchange import merge
from runtime.gallery.store.rows import Row
from runtime.options.store_place import StorePlace

CLOCK = 1_764_288_000.25


def of_video(name: str, times: list[float]) -> Features:
    count = len(times)
    return Features(
        features=features(range(count)),
        paths=tuple(f"{name}#frame={frame}&box=0" for frame in range(count)),
        pids=np.arange(count) - 1,
        camids=np.full(count, 3),
        model=SPACE.model,
        camera=SPACE.camera,
        frames=np.arange(count),
        times=np.array(times),
        tracks=np.array([-1, *range(7, 7 + count - 1)]),
    )


def stored(place: StorePlace, count: int) -> list[Row]:
    with gallery(place) as opened:
        rows, _ = opened.rows(list(opened.ids()))
    assert len(rows) == count
    return sorted(rows, key=lambda row: row.path)


@pytest.mark.parametrize("merged", [False, True])
def test_rows_have_the_tracks_cameras_people_and_clock_times_of_the_boxes(tmp_path, at, merged):
    one = of_video(str(tmp_path / "v.mp4"), [CLOCK, 0.04, float("nan")])
    if merged:
        save_features(tmp_path / "v.npz", one)
        merge(at("g"), [tmp_path / "v.npz"])
    else:
        with gallery(at("g")) as opened:
            opened.add(one)
    rows = stored(at("g"), 3)
    assert [row.track for row in rows] == [None, "7", "8"] and [row.camera for row in rows] == [3] * 3
    assert [row.person for row in rows] == [None, None, "1"]
    assert [row.time_us for row in rows] == [round(CLOCK * 1e6), None, None]
    assert [row.path for row in rows] == list(one.paths)


def test_labels_that_are_given_win_and_the_name_of_a_stream_stays(at):
    one = of_video("rtsp://camera/1", [CLOCK, CLOCK])
    with gallery(at("g")) as opened:
        opened.add(one, tracks=["a", "b"], times=[5, 6])
    rows = stored(at("g"), 2)
    assert [row.track for row in rows] == ["a", "b"] and [row.time_us for row in rows] == [
        5_000_000,
        6_000_000,
    ]
    assert rows[0].path == "rtsp://camera/1#frame=0&box=0"


@pytest.mark.parametrize("start", [None, CLOCK])
def test_times_within_a_video_count_from_the_start_also_after_a_gallery(tmp_path, at, start):
    save_features(tmp_path / "v.npz", of_video("v.mp4", [2.0]))
    with gallery(at("other")) as opened:
        put(opened, range(100, 103))
    merge(at("g"), [at("other"), tmp_path / "v.npz"], start=start)
    (row,) = [row for row in stored(at("g"), 4) if row.track is None]
    assert row.time_us == (None if start is None else round((CLOCK + 2) * 1e6))
