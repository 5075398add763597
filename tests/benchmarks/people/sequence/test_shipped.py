"""The shipped sequence is what sequence.json says: videos, boxes, ground truth and detections agree.

Only the last test needs the renderer.
"""

import itertools
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.people.sequence import detect, frame
from benchmarks.people.sequence.boxes import read_person_boxes, read_sequence
from benchmarks.people.sequence.plan import CAMERAS, FIRST_PERSON, LEAST_DETECTED, SequencePlan
from benchmarks.people.sequence.render import CameraRenderer, all_visits
from runtime.entry import guarded
from runtime.files.manifest import sha256

ROOT = Path(__file__).resolve().parents[4] / "data" / "sequence"
DOCUMENT = read_sequence(ROOT)
ENTRIES = DOCUMENT["cameras"]
BOXES = {entry["camera"]: read_person_boxes(ROOT / entry["boxes"]) for entry in ENTRIES}
EVERY = [one for boxes in BOXES.values() for one in boxes]
PLAN = SequencePlan(**DOCUMENT["generator"]["plan"])


def test_every_file_has_its_hash_and_none_is_missing_or_extra():
    files = {path.name: path for path in ROOT.iterdir()}
    assert files.keys() == DOCUMENT["sha256"].keys() | {"sequence.json", "README.md"}
    for name, digest in DOCUMENT["sha256"].items():
        assert sha256(files[name]) == digest, name


def test_it_is_small_and_labelled_synthetic():
    assert sum(path.stat().st_size for path in ROOT.iterdir()) < 8_000_000
    assert DOCUMENT["synthetic"] is True and (DOCUMENT["schema"], DOCUMENT["kind"]) == (1, "people-sequence")


def test_there_are_four_cameras_and_as_many_people_as_it_says():
    assert [entry["camera"] for entry in ENTRIES] == [1, 2, 3, 4] and len(ENTRIES) == CAMERAS
    people = {one.person for one in EVERY}
    assert people == set(range(FIRST_PERSON, FIRST_PERSON + DOCUMENT["people"]))
    for entry in ENTRIES:
        boxes = BOXES[entry["camera"]]
        assert (len(boxes), len({one.track for one in boxes})) == (entry["people_boxes"], entry["tracks"])
        assert len((ROOT / entry["detections"]).read_text().splitlines()) == entry["detected_boxes"]
    for first, second in DOCUMENT["lookalikes"]:
        assert second == first + 1 and {first, second} <= people


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["video"])
def test_a_video_has_the_frames_and_the_size_of_sequence_json(entry):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    with av.open(str(ROOT / entry["video"])) as video:
        stream = video.streams.video[0]
        assert stream.codec.name == "h264" and stream.average_rate == DOCUMENT["fps"]
        assert (stream.width, stream.height) == (DOCUMENT["width"], DOCUMENT["height"])
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([number / DOCUMENT["fps"] for number in range(entry["frames"])])


def test_a_video_shows_a_person_where_a_box_says_so():
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    for entry in ENTRIES:
        with av.open(str(ROOT / entry["video"])) as video:
            # Every third row and column are enough.
            frames = np.stack([frame.to_ndarray(format="gray")[::3, ::3] for frame in video.decode(video=0)])
        # The place without people is what a pixel shows most of the time.
        changed = np.abs(frames.astype(np.int16) - np.median(frames, 0).astype(np.int16)) > 25
        at, elsewhere = [], changed.copy()
        for one in BOXES[entry["camera"]]:
            x1, y1, x2, y2 = (round(value / 3) for value in one.box)
            elsewhere[one.frame, max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = False
            if one.visibility > 0.9:
                at.append(changed[one.frame, y1:y2, x1:x2].mean())
        # Outside the boxes, little moves but shadows.
        assert np.mean(at) > 0.2 and np.mean(at) > 10 * elsewhere.mean()


def test_boxes_lie_in_their_frames_at_their_times():
    for entry in ENTRIES:
        for one in BOXES[entry["camera"]]:
            x1, y1, x2, y2 = one.box
            assert 0 <= x1 < x2 <= DOCUMENT["width"] and 0 <= y1 < y2 <= DOCUMENT["height"]
            assert one.camera == entry["camera"] and 0 <= one.frame < entry["frames"]
            assert one.time == pytest.approx(entry["start_time"] + one.frame / DOCUMENT["fps"], abs=1e-6)
            assert 0 <= one.visibility <= 1 and one.confidence == 1


def test_a_frame_has_a_person_once_and_nobody_is_in_two_cameras_at_once():
    assert len({(one.frame, one.person) for one in EVERY}) == len(EVERY)


def test_a_track_is_one_passage_of_one_person_through_one_camera():
    tracks = defaultdict(list)
    for one in EVERY:
        tracks[one.track].append(one)
    for boxes in tracks.values():
        assert len({(one.person, one.camera) for one in boxes}) == 1
        assert [one.frame for one in boxes] == list(range(boxes[0].frame, boxes[0].frame + len(boxes)))
        # People walk: a box overlaps the one of the frame before.
        for (a, _, b, _), (c, _, d, _) in itertools.pairwise(one.box for one in boxes):
            assert a < d and c < b
    passages = {(boxes[0].person, boxes[0].camera, track) for track, boxes in tracks.items()}
    again = len(passages) - len({(person, camera) for person, camera, _ in passages})
    assert again >= 3, "some people come back to a camera"
    cameras = defaultdict(set)
    for person, camera, _ in passages:
        cameras[person].add(camera)
    assert np.mean([len(seen) > 1 for seen in cameras.values()]) > 0.6


def test_people_are_hidden_by_objects_and_by_each_other():
    visibility = np.asarray([one.visibility for one in EVERY])
    assert 0.1 < (visibility < 0.8).mean() < 0.5 and (visibility < 0.1).any() and (visibility == 1).any()


def test_the_ground_truth_of_motchallenge_holds_the_same_boxes():
    for entry in ENTRIES:
        rows = np.loadtxt(ROOT / entry["ground_truth"], delimiter=",")
        boxes = BOXES[entry["camera"]]
        corners = np.asarray([one.box for one in boxes])
        expected = np.column_stack(
            [
                [one.frame + 1 for one in boxes],
                [one.person for one in boxes],
                corners[:, :2] + 1,
                corners[:, 2:] - corners[:, :2],
                np.ones((len(boxes), 2)),
                [one.visibility for one in boxes],
            ]
        )
        np.testing.assert_allclose(rows, expected)


def test_the_shipped_detections_are_made_again_from_the_boxes(tmp_path):
    errors = DOCUMENT["generator"]["detections"]
    words = ["--missed", errors["missed"], "--shifted", errors["shifted"]]
    words += ["--false-boxes", errors["false_boxes"], "--seed", errors["seed"]]
    assert guarded(detect.main, [str(word) for word in (ROOT, "--out", tmp_path / "made", *words)]) == 0
    for entry in ENTRIES:
        shipped = (ROOT / entry["detections"]).read_text()
        assert (tmp_path / "made" / entry["detections"]).read_text() == shipped
    assert guarded(detect.main, [str(ROOT), "--out", str(tmp_path / "made")]) == 2


@pytest.mark.parametrize("change", [{"frame": 250}, {"box": [0, 0, 961, 9]}, {"box": [9, 0, 3, 9]}])
def test_boxes_outside_their_frames_are_refused_in_one_line(change, tmp_path, capsys):
    shutil.copytree(ROOT, tmp_path / "seq", ignore=shutil.ignore_patterns("*.mp4"))
    boxes = tmp_path / "seq" / ENTRIES[1]["boxes"]
    first, *others = boxes.read_text().splitlines()
    boxes.write_text("\n".join([json.dumps(json.loads(first) | change), *others]))
    words = [str(tmp_path / "seq"), "--out", str(tmp_path / "out"), "--false-boxes", "2"]
    assert guarded(detect.main, words) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and boxes.name in message and not (tmp_path / "out").exists()


def test_as_many_detections_are_missed_and_shifted_as_sequence_json_says():
    errors, exact, detected = DOCUMENT["generator"]["detections"], set(), set()
    count = 0
    for entry in ENTRIES:
        exact |= {
            (one.camera, one.frame, one.box)
            for one in BOXES[entry["camera"]]
            if one.visibility >= LEAST_DETECTED
        }
        for line in (ROOT / entry["detections"]).read_text().splitlines():
            row = json.loads(line)
            assert row.keys() == {"frame", "time", "camera", "box", "confidence"}
            detected.add((row["camera"], row["frame"], tuple(row["box"])))
            count += row["confidence"] == 1
    assert count / len(exact) == pytest.approx(1 - errors["missed"], abs=0.02)
    same = len(exact & detected) / len(exact)
    assert same == pytest.approx(1 - errors["missed"] - errors["shifted"], abs=0.02)


def test_the_plan_gives_the_shipped_tracks():
    visits = {visit.track: visit for visit in all_visits(PLAN)}
    for one in EVERY:
        visit = visits[one.track]
        assert (FIRST_PERSON + visit.person, visit.camera + 1) == (one.person, one.camera)
        assert visit.enters - 1e-6 <= one.frame / PLAN.fps <= visit.leaves + 1e-6


def test_rendering_a_frame_again_gives_the_shipped_boxes():
    pytest.importorskip("anny", reason="the renderer is not installed: pip install '.[render]'")
    renderer, number = CameraRenderer(PLAN, 2), 200
    visits = renderer.placed(number)
    drawn = frame.draw(renderer.stage, [placed for _, placed in visits])
    expected = {one.track: one for one in BOXES[3] if one.frame == number}
    assert len(expected) > 3
    # The floating point of another machine may move an edge by one pixel.
    for (visit, _), seen in zip(visits, drawn.seen):
        if one := expected.pop(visit.track, None):
            np.testing.assert_allclose(seen.box, one.box, atol=1)
            assert seen.visible == pytest.approx(one.visibility, abs=0.02)
    assert not expected
