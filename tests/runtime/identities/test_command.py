"""`python -m runtime identify`: from feature files and from a gallery to events, a summary and a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.__main__ import main
from runtime.cli.identify import running
from runtime.entry import guarded
from runtime.features import Features, load_features, save_features
from tests.runtime.identities.people import walk

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `python -m runtime identify` with some words and return (exit code, JSON document on stdout or None, stderr)."""

    def call(*words: object) -> tuple[int, Any, str]:
        code = guarded(main, ["identify", *map(str, words), "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return call


def videos(folder: Path, people: int = 30) -> list[Path]:
    """Feature files of four cameras, whose boxes name no camera. The track of a person has its number and that of the visit."""
    paths = []
    tracks = walk(people)
    for camera in range(4):
        own = [one for one in tracks if one.camera == camera]
        count = sum(len(one.times) for one in own)
        frames = np.arange(count)
        features = Features(
            np.concatenate([one.features for one in own]),
            tuple(f"camera{camera}.mp4#frame={frame}&box=0" for frame in frames),
            np.full(count, -1),
            np.full(count, -1),
            "0" * 64,
            frames=frames,
            times=np.concatenate([one.times for one in own]),
            tracks=np.concatenate([[number] * len(one.times) for number, one in enumerate(own)]),
        )
        paths.append(folder / f"camera{camera}.npz")
        save_features(paths[-1], features)
    return paths


def words_of(folder: Path) -> list[object]:
    files = [word for path in videos(folder) for word in ("--features", path)]
    return [*files, "--store", folder / "g", "--out", folder / "events.jsonl", "--separate-cameras"]


def test_feature_files_become_events_a_summary_and_a_page(tmp_path: Path, run: Run) -> None:
    words = words_of(tmp_path)
    code, summary, said = run(*words, "--picture", tmp_path / "lanes.html")
    assert code == 0 and "pairs" in said
    assert (summary["tracks"], summary["identities"], summary["stored_before"]) == (120, 30, 0)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert len(events) == 120 and {event["camera"] for event in events} == {0, 1, 2, 3}
    assert [event["last_s"] for event in events] == sorted(event["last_s"] for event in events)
    assert all(event["false_match_rate"] <= 0.2 for event in events if not event["new"])
    page = (tmp_path / "lanes.html").read_text()
    assert page.count("<rect") == 120 and "<script" not in page
    # again: everything is stored, with the threshold of the first time
    code, again, said = run(*words)
    assert (code, again["stored_before"], again["pairs"]) == (
        0,
        120,
        summary["pairs"],
    ) and "pairs" not in said
    code, cameras, _ = run(
        *words[:-3], "--out", tmp_path / "other.jsonl", "--as-cameras", "4,5,6,7", "--start", "2026-11-27"
    )
    assert code == 0 and cameras["stored_before"] == 0
    lines = (tmp_path / "other.jsonl").read_text().splitlines()
    assert {json.loads(line)["camera"] for line in lines} == {4, 5, 6, 7}
    assert min(json.loads(line)["first_s"] for line in lines) >= 1_795_737_600


@pytest.mark.parametrize(
    ("changed", "code", "word"),
    [
        (["--threshold", "3"], 2, "--threshold"),
        (["--threshold", "nan"], 2, "--threshold"),
        (["--delay", "-1"], 2, "delay"),
        (["--look-ahead", "20"], 2, "look_ahead"),
        (["--false-match-rate", "0"], 2, "rate"),
        (["--as-cameras", "1,2"], 2, "--as-cameras"),
        (["--start", "2026-11-27", "--start", "2026-11-28"], 2, "--start"),
        (["--start", "yesterday"], 2, "--start"),
        (["--boxes", "b.txt"], 2, "--boxes"),
        (["--video", "a.mp4"], 2, "MODEL"),
        (["--picture", "lanes.png"], 2, "lanes.html"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(
    tmp_path: Path, run: Run, changed: list[str], code: int, word: str
) -> None:
    result, document, said = run(*words_of(tmp_path), *changed)
    assert (result, document) == (code, None) and word in said and "Traceback" not in said
    assert not (tmp_path / "events.jsonl").exists()


def test_an_output_that_is_a_folder_or_an_input_is_refused(tmp_path: Path, run: Run) -> None:
    words = words_of(tmp_path)
    boxes = tmp_path / "boxes.jsonl"
    boxes.write_text('{"frame": 0, "box": [0, 0, 10, 20], "track": 1}\n')
    page = tmp_path / "lanes.html"
    for changed, word in (
        (["--out", tmp_path], "folder"),
        (["--out", boxes, *["--boxes", boxes] * 4], "reads"),
        (["--out", page, "--picture", page], "writes"),
    ):
        code, _, said = run(*words, *changed)
        assert code == 2 and word in said and "--" in said
    assert boxes.read_text().startswith('{"frame"') and not (tmp_path / "g").exists()
    code, _, said = run(*words, *["--boxes", boxes] * 4)
    assert code == 3 and "boxes.jsonl" in said and "Traceback" not in said


def test_a_full_disk_is_said_with_the_name_of_the_file(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def on_a_full_disk(_: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    with monkeypatch.context() as patch:
        patch.setattr(running, "replacing", on_a_full_disk)
        code, _, said = run(*words_of(tmp_path))
        assert code == 6 and "events.jsonl" in said and "Traceback" not in said
    code, summary, _ = run(*words_of(tmp_path))
    assert code == 0 and summary["stored_before"] > 0 and summary["tracks"] == 120


def test_the_distances_are_measured_on_the_first_tracks(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, summary, _ = run(*words_of(tmp_path))
    monkeypatch.setattr(running, "MEASURED", 60)
    code, fewer, _ = run(*words_of(tmp_path), "--measure-again")
    assert code == 0 and 200 <= fewer["pairs"] < summary["pairs"]


def test_two_videos_of_one_camera_need_their_starts(tmp_path: Path, run: Run) -> None:
    words = [*words_of(tmp_path), "--as-cameras", "0,1,2,0"]
    code, _, said = run(*words, "--threshold", "0.5")
    assert code == 3 and "--start" in said and "camera0.mp4" in said and "camera3.mp4" in said
    times = ["2026-11-27T10:00Z"] * 3 + ["2026-11-27T10:10Z"]
    code, summary, _ = run(
        *words, "--threshold", "0.5", *[word for time in times for word in ("--start", time)]
    )
    assert code == 0 and summary["tracks"] == 120


def test_a_run_from_another_folder_knows_the_tracks(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tracks(source: str) -> Features:
        return replace(features, paths=tuple(path.replace("camera0.mp4", source) for path in features.paths))

    words = [*words_of(tmp_path)[:2], *words_of(tmp_path)[8:], "--threshold", "0.5"]
    features = load_features(tmp_path / "camera0.npz")
    stored = []
    for folder, source in (
        (tmp_path, "camera0.mp4"),
        (tmp_path, "./camera0.mp4"),
        (tmp_path / "g", "../camera0.mp4"),
    ):
        monkeypatch.chdir(folder)
        save_features(tmp_path / "camera0.npz", tracks(source))
        code, summary, _ = run(*words)
        assert code == 0
        stored.append(summary["stored_before"])
    assert stored[0] == 0 and stored[1] == stored[2] == summary["tracks"] > 0


def test_what_cannot_be_decided_is_said(tmp_path: Path, run: Run) -> None:
    out = ("--out", tmp_path / "events.jsonl")
    code, _, said = run("--store", tmp_path / "none", *out)
    assert code == 3 and "no gallery" in said
    (file, *_) = videos(tmp_path, people=3)
    code, _, said = run("--features", file, "--store", tmp_path / "g", *out)
    assert code == 3 and "200" in said and "threshold" in said
    code, summary, _ = run("--features", file, "--store", tmp_path / "g", *out, "--threshold", "0.5")
    assert code == 0 and summary["threshold"] == 0.5
    code, _, said = run("--features", tmp_path / "x.npz", "--store", tmp_path / "g", *out)
    assert code == 4 and "x.npz" in said
