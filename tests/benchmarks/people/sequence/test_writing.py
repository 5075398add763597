"""Rendering a sequence: the same seed gives the same files, and bad requests are refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.people.sequence import boxes as box_files
from benchmarks.people.sequence import cli, writing
from benchmarks.people.sequence.plan import FIRST_PERSON, DetectionErrors, SequencePlan
from runtime.entry import guarded
from runtime.errors import ConfigError
from runtime.files.manifest import sha256

PLAN = SequencePlan(seed=11, people=6, seconds=0.4, fps=5, width=128, height=72, start_time=100.0)
ERRORS = DetectionErrors(missed=0.2, shifted=0.3, false_boxes=1.0)


@pytest.fixture
def renderer():
    pytest.importorskip("anny", reason="the renderer is not installed: pip install '.[render]'")
    return pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")


def test_a_seed_gives_the_same_files_and_another_process_too(renderer, tmp_path):
    # Everybody is in the image by then.
    plan = replace(PLAN, seconds=6.0, fps=1)
    first = writing.write(plan, ERRORS, tmp_path / "a")
    second = writing.write(plan, ERRORS, tmp_path / "b", jobs=2)
    assert first == second and first["sha256"] == second["sha256"]
    assert set(first["sha256"]) == {
        f"camera{camera}.{kind}"
        for camera in range(1, 5)
        for kind in ("mp4", "boxes.jsonl", "gt.txt", "detections.jsonl")
    }
    document = json.loads((tmp_path / "a" / "sequence.json").read_text())
    assert document["synthetic"] is True and document["people"] == 6 and document["fps"] == 1
    assert document["generator"]["plan"]["start_time"] == 100.0
    boxes = []
    for entry in document["cameras"]:
        assert entry["start_time"] == 100.0 and entry["frames"] == 6
        for name in ("video", "boxes", "ground_truth", "detections"):
            assert sha256(tmp_path / "a" / entry[name]) == document["sha256"][entry[name]]
        of_camera = box_files.read_person_boxes(tmp_path / "a" / entry["boxes"])
        assert len(of_camera) == entry["people_boxes"]
        boxes += of_camera
        with renderer.open(str(tmp_path / "a" / entry["video"])) as video:
            decoded = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(decoded) == 6 and decoded[0].shape == (72, 128, 3)
    assert boxes and all(one.time == 100.0 + one.frame for one in boxes)
    assert {one.person for one in boxes} <= set(range(FIRST_PERSON, FIRST_PERSON + 6))


def test_a_video_keeps_the_frames_in_order(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    from benchmarks.people.sequence.video import write_video

    frames = [np.full((64, 96, 3), 20 * number, np.uint8) for number in range(10)]
    write_video(tmp_path / "v.mp4", iter(frames), fps=5, width=96, height=64)
    with av.open(str(tmp_path / "v.mp4")) as video:
        assert video.streams.video[0].average_rate == 5 and video.streams.video[0].codec.name == "h264"
        decoded = [(frame.time, frame.to_ndarray(format="rgb24").mean()) for frame in video.decode(video=0)]
    assert [time for time, _ in decoded] == pytest.approx([number / 5 for number in range(10)])
    np.testing.assert_allclose([level for _, level in decoded], [20 * number for number in range(10)], atol=4)


def test_a_folder_with_content_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="--out"):
        writing.write(PLAN, ERRORS, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_stopped_rendering_leaves_nothing(tmp_path, monkeypatch, capsys):
    def stop(task):
        (task[2] / "camera1.mp4").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_write_camera", stop)
    monkeypatch.setattr(writing, "check_av", lambda: None)
    monkeypatch.setattr(writing, "load_bodies", lambda: None)
    assert guarded(cli.main, ["--out", str(tmp_path / "seq")]) == 130
    assert not list(tmp_path.iterdir()) and "nothing is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--seed", "-1"], "--seed"),
        (["--seed", str(2**32)], "--seed"),
        (["--people", "1001"], "--people"),
        (["--fps", "61"], "--fps"),
        (["--size", "641x360"], "--size"),
        (["--seconds", "0.01"], "--seconds"),
        (["--missed", "0.8", "--shifted", "0.3"], "--missed"),
        (["--false-boxes", "-1"], "--false-boxes"),
        (["--start-time", "nan"], "--start-time"),
    ],
)
def test_bad_options_are_refused_in_one_line(words, word, tmp_path, capsys):
    assert guarded(cli.main, ["--out", str(tmp_path / "seq"), *words]) == 2
    message = capsys.readouterr().err
    assert word in message.splitlines()[-1] and "Traceback" not in message
    assert not list(tmp_path.iterdir())


def test_a_size_without_a_height_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--out", str(tmp_path / "seq"), "--size", "960"])
    assert stop.value.code == 2 and "960x540" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert guarded(cli.main, ["--out", str(tmp_path / "seq")]) == 5
    assert "av" in capsys.readouterr().err and not list(tmp_path.iterdir())
