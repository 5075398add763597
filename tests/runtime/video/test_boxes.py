"""A boxes file is JSON lines or MOTChallenge text; what cannot be used is listed by its line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.people.sequence.boxes import PersonBox, write_ground_truth, write_lines
from runtime.errors import DataError
from runtime.video import mot
from runtime.video.boxes import Boxes, read_boxes


def written(folder: Path, *lines: object, name: str = "b.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def read(folder: Path, *lines: object, name: str = "b.jsonl") -> Boxes:
    return read_boxes(written(folder, *lines, name=name))


def test_json_lines_give_their_fields_sorted_by_frame(tmp_path):
    boxes = read(
        tmp_path,
        {
            "frame": 7,
            "box": [1, 2, 30.5, 40],
            "time": 12.25,
            "camera": 3,
            "track": 9,
            "person": 17,
            "confidence": 0.9,
        },
        "",
        {"frame": 2, "box": [5, 6, 7, 8], "visibility": 0.4},
        {"frame": 7, "box": [-3, 0, 9, 9], "track": None, "camera": 0},
        {"frame": 2.0, "box": [0, 0, 1, 1], "track": 4.0},
    )
    assert boxes.frames.tolist() == [2, 2, 7, 7] and len(boxes) == 4
    assert boxes.corners.tolist() == [[5, 6, 7, 8], [0, 0, 1, 1], [1, 2, 30.5, 40], [-3, 0, 9, 9]]
    assert boxes.numbers.tolist() == [0, 1, 0, 1] and boxes.lines.tolist() == [3, 5, 1, 4]
    assert boxes.tracks.tolist() == [-1, 4, 9, -1] and boxes.persons.tolist() == [-1, -1, 17, -1]
    assert boxes.cameras.tolist() == [-1, -1, 3, 0]
    assert np.isnan(boxes.times[[0, 1, 3]]).all() and boxes.times[2] == 12.25
    assert boxes.bad == () and boxes.notes == ()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1, 2]",
        "[" * 100_000,
        {"box": [0, 0, 9, 9]},
        {"frame": 0},
        {"frame": -1, "box": [0, 0, 9, 9]},
        {"frame": 1.5, "box": [0, 0, 9, 9]},
        {"frame": "3", "box": [0, 0, 9, 9]},
        {"frame": True, "box": [0, 0, 9, 9]},
        {"frame": 2**70, "box": [0, 0, 9, 9]},
        {"frame": float("nan"), "box": [0, 0, 9, 9]},
        {"frame": 0, "box": [0, 0, 9]},
        {"frame": 0, "box": [0, 0, 9, "9"]},
        {"frame": 0, "box": [0, 0, 9, None]},
        {"frame": 0, "box": [0, 0, 9, 10**400]},
        {"frame": 0, "box": {"x": 1}},
        {"frame": 0, "box": [0, 0, 9, 9], "time": "noon"},
        {"frame": 0, "box": [0, 0, 9, 9], "time": float("inf")},
        {"frame": 0, "box": [0, 0, 9, 9], "track": "a"},
        {"frame": 0, "box": [0, 0, 9, 9], "camera": -2},
        {"frame": 0, "box": [0, 0, 9, 9], "person": 1.5},
        "1,2,3,4,5,6",
    ],
    ids=lambda line: str(line)[:40],
)
def test_a_line_that_cannot_be_used_is_listed_and_the_others_stay(tmp_path, line):
    boxes = read(tmp_path, {"frame": 0, "box": [0, 0, 9, 9]}, line, {"frame": 1, "box": [0, 0, 9, 9]})
    assert [number for number, _ in boxes.bad] == [2] and boxes.frames.tolist() == [0, 1]


def test_a_box_that_is_not_finite_is_kept_for_the_list_of_skipped_boxes(tmp_path):
    boxes = read(tmp_path, '{"frame": 0, "box": [NaN, 0, Infinity, 1e999]}')
    assert not np.isfinite(boxes.corners[0, [0, 2, 3]]).any()


# The upper left pixel of a frame is (1, 1) in MOTChallenge text and covers 0 to 1 here.
@pytest.mark.parametrize(
    ("line", "frame", "track", "corners"),
    [
        ("1,5,1,1,10,20,1,-1,-1,-1", 0, 5, [0, 0, 10, 20]),
        ("300,-1,912,484,97,109,0.97,-1,-1,-1", 299, -1, [911, 483, 1008, 592]),
        ("2,3,-14.5,7.25,30,60.5,1,1,0.8", 1, 3, [-15.5, 6.25, 14.5, 66.75]),
        ("1.000000e+00 7 11 21 4 8", 0, 7, [10, 20, 14, 28]),
        ("4, 2, 100, 50, 40, 90, 0.5, -1, -1, -1", 3, 2, [99, 49, 139, 139]),
    ],
)
def test_motchallenge_text_is_converted_to_frames_and_corners_from_0(tmp_path, line, frame, track, corners):
    for name in ("det.txt", "boxes.jsonl"):
        boxes = read(tmp_path, line, name=name)
        assert boxes.frames.tolist() == [frame] and boxes.tracks.tolist() == [track]
        assert boxes.corners.tolist() == [corners]
        assert boxes.persons.tolist() == boxes.cameras.tolist() == [-1] and np.isnan(boxes.times[0])


@settings(deadline=None)
@given(
    frame=st.integers(0, 10**6),
    left=st.integers(-50, 2000),
    top=st.integers(-50, 2000),
    width=st.integers(1, 500),
    height=st.integers(1, 500),
)
def test_the_pixels_of_a_motchallenge_box_are_those_that_its_corners_name(frame, left, top, width, height):
    """A box covers the 1-based pixels left .. left + width - 1, as MOTChallenge's kit draws it."""
    row = mot.parse_line(f"{frame + 1},1,{left},{top},{width},{height},1,1,1\n")
    x1, y1, x2, y2 = row.box
    assert row.frame == frame
    assert {int(x) + 1 for x in np.arange(x1, x2)} == set(range(left, left + width))
    assert {int(y) + 1 for y in np.arange(y1, y2)} == set(range(top, top + height))


def test_what_the_ground_truth_does_not_consider_is_left_out_and_counted(tmp_path):
    boxes = read(
        tmp_path, "1,5,1,1,10,20,1,1,1", "1,6,1,1,10,20,0,3,1", "2,6,1,1,10,20,0,12,0.2", name="gt.txt"
    )
    assert boxes.tracks.tolist() == [5] and boxes.bad == ()
    assert len(boxes.notes) == 1 and "2 lines" in boxes.notes[0]
    # ten fields are the result of a tracker or a detector, where 0 is a confidence
    assert len(read(tmp_path, "1,5,1,1,10,20,0,-1,-1,-1", name="result.txt")) == 1


@pytest.mark.parametrize(
    "line", ["0,1,1,1,5,5,1,-1,-1,-1", "1.5,1,1,1,5,5", "a,1,1,1,5,5", "1,1,1,1,5", "1,1.5,1,1,5,5"]
)
def test_bad_motchallenge_lines_are_listed(tmp_path, line):
    boxes = read(tmp_path, "1,5,1,1,10,20,1,-1,-1,-1", line, name="det.txt")
    assert [number for number, _ in boxes.bad] == [2] and len(boxes) == 1


def test_the_files_of_a_rendered_sequence_are_read_alike(tmp_path):
    """The generator of sequences writes both forms of the same boxes."""
    people = [
        PersonBox(frame, frame / 10, 2, 4 + frame % 2, (10.25, 20.0, 60.5 + frame, 180.75), 1.0, 31, 0.5)
        for frame in range(5)
    ]
    write_lines(tmp_path / "camera2.boxes.jsonl", people)
    write_ground_truth(tmp_path / "camera2.gt.txt", people)
    lines, mot = (read_boxes(tmp_path / name) for name in ("camera2.boxes.jsonl", "camera2.gt.txt"))
    assert lines.bad == mot.bad == () and lines.notes == mot.notes == ()
    assert np.array_equal(lines.frames, mot.frames) and np.allclose(lines.corners, mot.corners, atol=1e-3)
    assert lines.corners.tolist() == [list(one.box) for one in people]
    assert lines.persons.tolist() == [31] * 5 and lines.cameras.tolist() == [2] * 5
    assert lines.tracks.tolist() == [4, 5, 4, 5, 4] and lines.times == pytest.approx(lines.frames / 10)
    # its ground truth numbers the people
    assert mot.tracks.tolist() == [31] * 5


@pytest.mark.parametrize(
    "text",
    ["", "\n \n", "frame,id,left\n", "[]\n", "\x00\x01\n", "{\n", '{"frame": 0}\n', "1,5,1,1,10,20,0,1,1\n"],
)
def test_a_file_without_a_box_is_refused_with_what_is_expected(tmp_path, text):
    path = tmp_path / "b.txt"
    path.write_text(text)
    with pytest.raises(DataError, match="MOTChallenge"):
        read_boxes(path)


def test_a_file_of_another_kind_is_refused_with_its_first_line_that_is_not_blank(tmp_path):
    with pytest.raises(DataError, match="line 3 "):
        read(tmp_path, "", " ", "frame,id,left", "1,5,1,1,10,20")


def test_missing_files_and_folders_are_refused_and_odd_bytes_are_not(tmp_path):
    for path in (tmp_path / "nothing.jsonl", tmp_path):
        with pytest.raises(DataError, match="boxes"):
            read_boxes(path)
    path = tmp_path / "b.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"frame": 0, "box": [0, 0, 9, 9]}\r\n\xff\xfe\n')
    boxes = read_boxes(path)
    assert len(boxes) == 1 and [line for line, _ in boxes.bad] == [2]
