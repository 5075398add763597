"""`extract --video --boxes`: a file of features with frames, times and tracks, in one command and with one line for each mistake."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime import load_features, open_model
from runtime.__main__ import main
from runtime.entry import guarded
from tests.fakes.stopping import stop_models
from tests.fakes.tiny_model import write_model
from tests.fakes.videos import FPS, sending, write_video

ROOT = Path(__file__).resolve().parents[3]
LINES = [
    {
        "frame": frame,
        "track": track,
        "person": 5 + track,
        "camera": 3,
        "box": [10 + 80 * track, 8, 40 + 80 * track, 90],
    }
    for frame in range(10)
    for track in range(2)
]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = guarded(main, [str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.onnx")


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    path = tmp_path / "v.boxes.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    return write_video(tmp_path / "v.mp4", 12)


def test_the_boxes_of_a_video_become_a_file_of_features(run, model, video, boxes, tmp_path):
    out = tmp_path / "deep" / "v.npz"
    code, text, err = run("extract", model, "--video", video, "--boxes", boxes, "--out", out, "--json")
    summary = json.loads(text)
    assert code == 0 and summary["video"] == str(video)
    assert [summary[key] for key in ("boxes", "frames", "tracks", "skipped")] == [20, 10, 2, 0]
    assert "20 of 20 boxes" in err and not (out.parent / "skipped.jsonl").exists()
    saved = load_features(out)
    assert saved.frames.tolist() == [line["frame"] for line in LINES]
    assert saved.tracks.tolist() == [line["track"] for line in LINES]
    assert saved.times == pytest.approx(saved.frames / FPS)
    assert saved.pids.tolist() == [line["person"] for line in LINES] and set(saved.camids.tolist()) == {3}
    assert saved.paths[3] == f"{video}#frame=1&box=1"
    api = open_model(model).embed_video(video, boxes)
    assert np.array_equal(api.features, saved.features) and api.paths == saved.paths


def test_the_features_are_those_of_embed_boxes_on_the_same_frames(model, video, boxes):
    from runtime.video.av import decode_frames
    from runtime.video.source import video_source

    opened = open_model(model)
    frames = [frame.rgb() for frame in decode_frames(video_source(video))]
    expected = [opened.embed_boxes(frames[line["frame"]], [line["box"]], color="rgb")[0] for line in LINES]
    np.testing.assert_allclose(opened.embed_video(video, boxes).features, expected, atol=1e-6)


def test_motchallenge_text_gives_the_same_features(run, model, video, boxes, tmp_path):
    mot = tmp_path / "gt.txt"
    mot.write_text(
        "".join(
            f"{line['frame'] + 1},{line['track']},{line['box'][0] + 1},{line['box'][1] + 1},30,82,1,1,1\n"
            for line in LINES
        )
    )
    for source, name in ((boxes, "a"), (mot, "b")):
        assert (
            run("extract", model, "--video", video, "--boxes", source, "--out", tmp_path / f"{name}.npz")[0]
            == 0
        )
    a, b = (load_features(tmp_path / f"{name}.npz") for name in "ab")
    assert np.array_equal(a.features, b.features) and np.array_equal(a.tracks, b.tracks)


def test_people_of_two_videos_are_evaluated_against_each_other(run, model, video, boxes, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text(boxes.read_text().replace('"camera": 3', '"camera": 1'))
    for source, name in ((boxes, "q"), (other, "g")):
        run("extract", model, "--video", video, "--boxes", source, "--out", tmp_path / f"{name}.npz")
    code, text, _ = run("evaluate", "--query", tmp_path / "q.npz", "--gallery", tmp_path / "g.npz", "--json")
    assert code == 0 and json.loads(text)["R1"] == 1 and json.loads(text)["queries"] == 20


def test_bad_boxes_are_listed_counted_and_too_many_end_3(run, model, video, boxes, tmp_path):
    boxes.write_text(
        boxes.read_text() + '{"frame": 50, "box": [0, 0, 40, 90]}\n{"frame": 1, "box": [0, 0, 4, 90]}\n'
    )
    words = ("extract", model, "--video", video, "--boxes", boxes, "--out", tmp_path / "o" / "v.npz")
    code, text, err = run(*words, "--max-bad", 0.2, "--json")
    assert code == 0 and json.loads(text)["skipped"] == 2 and "skipped.jsonl" in err
    records = [json.loads(line) for line in (tmp_path / "o" / "skipped.jsonl").read_text().splitlines()]
    assert [record["path"] for record in records] == [f"{video}#frame=1&box=2", f"{video}#frame=50&box=0"]
    assert "frame 11" in records[1]["reason"] and records[0]["sha256"] is None
    code, text, err = run(*words)
    assert (code, text) == (3, "") and "2 of 22 boxes" in err and "--max-bad" in err
    assert len(load_features(tmp_path / "o" / "v.npz").paths) == 20


def test_a_lost_stream_is_reported_and_read_on(run, model, boxes, tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    data = write_video(tmp_path / "v.ts", 6, format="mpegts").read_bytes()
    with sending([data, data]) as url:
        words = ("extract", model, "--video", url, "--boxes", boxes, "--out", tmp_path / "v.npz", "--json")
        code, text, err = run(*words)
    assert code == 0 and json.loads(text)["boxes"] == 20
    assert "lost after frame 5" in err and "attempt 1 of 10" in err and "number 6" in err
    features = load_features(tmp_path / "v.npz")
    assert (np.diff(features.times) >= 0).all() and features.paths[-1] == f"{url}#frame=9&box=1"
    with sending([data]) as url:
        words = ("extract", model, "--video", url, "--boxes", boxes, "--out", tmp_path / "v.npz")
        code, text, err = run(*words, "--reopen", 0)
    assert code == 3 and "lost after frame 5" in err and "8 of 20 boxes" in err
    assert len(load_features(tmp_path / "v.npz").paths) == 12


def test_ctrl_c_keeps_what_was_done(run, model, video, boxes, tmp_path, monkeypatch):
    stop_models(monkeypatch, signal.SIGINT, batches=3)
    out = tmp_path / "v.npz"
    words = ("extract", model, "--video", video, "--boxes", boxes, "--out", out, "--batch", 2, "--json")
    code, text, err = run(*words)
    assert (code, text) == (130, "") and "6 of 20 boxes" in err and not out.exists()
    kept = load_features(tmp_path / "v.partial.npz", partial=True)
    assert kept.frames.tolist() == [0, 0, 1, 1, 2, 2] and kept.tracks.tolist() == [0, 1] * 3
    monkeypatch.undo()
    assert run(*words)[0] == 0 and not (tmp_path / "v.partial.npz").exists()


WRONG = [
    ["extract", "MODEL", "--video", "VIDEO", "--out", "OUT"],
    ["extract", "MODEL", "--boxes", "BOXES", "--out", "OUT"],
    ["extract", "MODEL", "--out", "OUT"],
    ["extract", "MODEL", "IMAGES", "--reopen", "3", "--out", "OUT"],
    ["extract", "MODEL", "IMAGES", "--video", "VIDEO", "--boxes", "BOXES", "--out", "OUT"],
    ["extract", "MODEL", "--video", "VIDEO", "--boxes", "BOXES", "--out", "OUT", "--layout", "anny"],
    ["extract", "MODEL", "--video", "VIDEO", "--boxes", "BOXES", "--out", "OUT", "--preset", "throughput"],
    ["extract", "MODEL", "--video", "VIDEO", "--boxes", "BOXES", "--out", "OUT", "--reopen", "-1"],
    ["extract", "MODEL", "--video", "VIDEO", "--boxes", "BOXES", "--out", "OUT", "--camera", "3"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_ends_2(run, model, video, boxes, tmp_path, words):
    places = {"MODEL": model, "VIDEO": video, "BOXES": boxes, "OUT": tmp_path / "v.npz", "IMAGES": tmp_path}
    code, out, err = run(*[places.get(word, word) for word in words])
    assert (code, out) == (2, "") and err and "Traceback" not in err


@pytest.mark.parametrize(
    "words", [(), ("IMAGES", "--boxes", "b.jsonl"), ("--boxes", "b.jsonl", "--shard", "1/2")]
)
def test_messages_about_options_do_not_contain_the_password_of_the_video(run, words):
    video = "rtsp://user:secret@127.0.0.1:1/x"
    code, out, err = run("extract", "m.onnx", *words, "--video", video, "--out", "v.npz")
    assert (code, out) == (2, "") and "--" in err and "secret" not in err


def test_a_missing_or_useless_video_or_file_of_boxes_ends_3(run, model, video, boxes, tmp_path):
    useless = tmp_path / "useless.txt"
    useless.write_text("nothing\n")
    for source, where, word in (
        (tmp_path / "no.mp4", boxes, "no.mp4"),
        (useless, boxes, "useless.txt"),
        (video, tmp_path / "no.jsonl", "no.jsonl"),
        (video, useless, "useless.txt"),
        ("rtsp://u:secret@127.0.0.1:1/x", boxes, "rtsp://127.0.0.1:1/x"),
    ):
        code, out, err = run(
            "extract", model, "--video", source, "--boxes", where, "--out", tmp_path / "v.npz"
        )
        assert (code, out) == (3, "") and word in err and "secret" not in err and "Traceback" not in err


def test_without_pyav_one_line_names_the_command_that_installs_it(model, boxes, tmp_path):
    code = "import sys; sys.modules['av'] = None; from runtime.entry import run_main; raise SystemExit(run_main('runtime.__main__'))"
    words = ["extract", model, "--video", "v.mp4", "--boxes", boxes, "--out", tmp_path / "v.npz"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 5 and done.stdout == ""
    assert done.stderr.splitlines()[-1] == "error[5] av is not installed; pip install '.[video]'"


def test_ctrl_c_ends_a_command_that_waits_for_a_stream(model, boxes, tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    data = write_video(tmp_path / "v.ts", 6, format="mpegts").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        words = ["extract", model, "--video", url, "--boxes", boxes, "--out", tmp_path / "v.npz"]
        command = [sys.executable, "-m", "runtime", *map(str, words), "--batch", "4"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            server.settimeout(60)
            connection, _ = server.accept()
            with connection:
                # it gets six frames, and waits for more
                connection.sendall(data)
                time.sleep(1)
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and "box" in err
    assert not (tmp_path / "v.npz").exists()
