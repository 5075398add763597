"""The split of the time, with a clock that says which stage is which."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench import stages
from runtime.artifact import Artifact
from runtime.datasets import Item
from runtime.errors import DataError
from tests.fakes import tiny_model

QUERY = sorted((Path(__file__).resolve().parents[3] / "data/anny_reid/query").glob("*.jpg"))[:3]


def artifact(tmp_path, calls):
    spec = tiny_model.SPEC

    def run(images, camera_ids=None, /):
        assert images.shape == (1, spec.height, spec.width, 3)
        calls.append(camera_ids)
        return np.eye(1, tiny_model.DIM, dtype=np.float32)

    return Artifact(tmp_path, {}, spec, tiny_model.DIM, "0", run)


def test_each_stage_gets_its_own_time_and_every_image_its_own_camera(tmp_path):
    # from one reading of the clock to the next: 1, 2, 3, 4 ms, then 90 between images, which belong to no stage
    steps = iter([0, 1, 2, 3, 4, 90] * 10)
    now = 0.0

    def clock():
        nonlocal now
        step = next(steps)
        now += (next(steps) if step == 90 else step) / 1000
        return now

    calls = []
    items = [Item(str(path), 1, 0) for path in QUERY]
    result = stages.stages(artifact(tmp_path, calls), items, np.array([4, 5, 6]), gallery=9, clock=clock)
    assert result["ms"] == pytest.approx({"decode": 1, "preprocess": 2, "infer": 3, "rank": 4})
    assert result["images"] == 3 and result["gallery"] == 9
    # the first one warms up
    assert [ids.tolist() for ids in calls] == [[4], [4], [5], [6]]


def test_an_image_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no")
    with pytest.raises(DataError):
        stages.stages(artifact(tmp_path, []), [Item(str(tmp_path / "bad.jpg"), 1, 0)], None, gallery=3)
