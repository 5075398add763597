"""benchmarks.experiments.frames: the same boxes for all three forms, and shares of throughput. No test looks at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.experiments.frames import cli, shares
from runtime.entry import guarded
from runtime.host.stopwatch import Samples
from tests.fakes.tiny_model import write_model


def samples(*times: float) -> Samples:
    return Samples(np.array(times), np.array(times) * 2)


def test_a_share_is_the_throughput_divided_by_that_of_the_model_alone_in_each_round():
    share = shares.share(samples(8, 9, 100), samples(10, 10, 125))
    assert share["share"] == pytest.approx(0.8) == share["cpu_share"]
    assert (share["low"], share["high"]) == (pytest.approx(0.8), pytest.approx(0.9))
    assert shares.share(samples(0, 1), samples(1, 1))["share"] is None


def test_people_are_inside_the_frame_and_the_same_in_every_run():
    scene, again = (shares.random_scene(30, (640, 480)) for _ in range(2))
    for frame, boxes, other in zip(scene.frames, scene.boxes, again.boxes, strict=True):
        assert frame.shape == (480, 640, 3) and np.array_equal(boxes, other)
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (640, 480)).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 8).all()


def test_all_models_and_numbers_of_people_are_measured(tmp_path, capsys, monkeypatch):
    batches = []
    monkeypatch.setattr(shares, "FRAMES", 2)
    model = write_model(tmp_path / "m.onnx")
    honest = shares.open_candidate

    def opened(candidate):
        artifact = honest(candidate)

        def run(images, ids=None):
            batches.append(len(images))
            return artifact.run(images, ids)

        return type(artifact)(**{**vars(artifact), "run": run})

    monkeypatch.setattr(shares, "open_candidate", opened)
    argv = [model, "--people", "1,20", "--size", "640x480", "--rounds", 2, "--seconds", 0.001]
    assert guarded(cli.main, [str(word) for word in (*argv, "--json")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["people"] for row in document["rows"]] == [1, 20] and document["size"] == [640, 480]
    assert all(row[form]["share"] > 0 for row in document["rows"] for form in ("embed_boxes", "embed_frames"))
    assert set(batches) == {1, 20}
    assert guarded(cli.main, [str(word) for word in argv]) == 0
    assert "embed_frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["m.safetensors"],
        ["m.onnx", "--size", "8x8"],
        ["m.onnx", "--size", "640x239"],
        ["m.onnx", "--size", "wide"],
    ],
)
def test_wrong_usage_ends_2(words, capsys):
    try:
        code = guarded(cli.main, words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and "Traceback" not in capsys.readouterr().err
