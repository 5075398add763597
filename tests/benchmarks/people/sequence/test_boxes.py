"""The files of boxes: JSON lines that read back, and the ground truth of MOTChallenge."""

import json

from benchmarks.people.sequence.boxes import (
    Detection,
    PersonBox,
    read_person_boxes,
    write_ground_truth,
    write_lines,
)

BOX = PersonBox(4, 2.4, 3, 7, (10.5, 20.0, 40.0, 99.5), 1.0, 10002, 0.625)


def test_a_line_holds_the_fields_in_their_order_and_reads_back(tmp_path):
    path = tmp_path / "boxes.jsonl"
    write_lines(path, [BOX, BOX])
    lines = path.read_text().splitlines()
    assert (
        lines
        == [
            '{"frame": 4, "time": 2.4, "camera": 3, "track": 7, "box": [10.5, 20.0, 40.0, 99.5], '
            '"confidence": 1.0, "person": 10002, "visibility": 0.625}'
        ]
        * 2
    )
    assert read_person_boxes(path) == [BOX, BOX]


def test_a_detection_knows_no_person_track_or_visibility(tmp_path):
    write_lines(tmp_path / "d.jsonl", [Detection(4, 2.4, 3, (1.0, 2.0, 3.0, 4.0), 0.5)])
    assert json.loads((tmp_path / "d.jsonl").read_text()) == {
        "frame": 4, "time": 2.4, "camera": 3, "box": [1.0, 2.0, 3.0, 4.0], "confidence": 0.5
    }  # fmt: skip


def test_the_ground_truth_counts_frames_and_pixels_from_one(tmp_path):
    write_ground_truth(tmp_path / "gt.txt", [BOX])
    assert (tmp_path / "gt.txt").read_text() == "5,10002,11.5,21,29.5,79.5,1,1,0.625\n"
