"""What is counted as start, steady state and end of an extraction, and as a row that is lost or stored twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.experiments.ray_extraction import measured, report
from benchmarks.experiments.ray_extraction.cli import main
from benchmarks.experiments.ray_extraction.measured import Marks
from runtime import open_gallery, open_model, save_features
from runtime.errors import GateError
from runtime.gallery.ingest import add_files
from runtime.images.sources import labelled_images
from tests.fakes.pictures import write_crops
from tests.fakes.tiny_model import write_model


def test_the_steady_state_is_without_the_start_and_the_last_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cpu = iter([5.0, 6.0, 7.0, 9.0, 20.0, 21.0]), iter([1.0, 2.0, 6.0])
    monkeypatch.setattr(measured.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(measured, "_cpu", lambda pids: next(cpu))
    marks = Marks(total=100, started=1.0)
    for images in (10, 20, 30, 30, 10):
        marks.progress(images)
    result = marks.result()
    memory = result.pop("memory_mb")
    # first features after 4 s; 10 images at 5 s are the first mark, 30 at 6 s the second, 90 at 9 s the third
    assert result == {
        "start_s": 4.0,
        "images_per_s": 60 / 3,
        "cpu_ms": 4000 / 60,
        "end_s": 1.0,
        "total_s": 20.0,
    }
    assert memory > 0


def test_rows_that_are_missing_or_differ_are_counted(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    folder = write_crops(tmp_path / "crops", 6)
    model = open_model(write_model(tmp_path / "m.onnx"))
    features = model.embed_files(folder)
    save_features(tmp_path / "f.npz", features)
    images = labelled_images(folder)
    some = dataclasses.replace(images, items=images.items[:5])
    with open_gallery(tmp_path / "g", model=model) as gallery:
        add_files(gallery, model, some)
    compared = measured._compared(tmp_path / "g", tmp_path / "f.npz")
    assert compared == {"rows": 5, "lost": 1, "twice": 0, "equal": True}
    other = features.features.copy()
    other[0] = other[0][::-1]
    save_features(tmp_path / "other.npz", dataclasses.replace(features, features=other))
    assert not measured._compared(tmp_path / "g", tmp_path / "other.npz")["equal"]
    assert not measured._equal(tmp_path / "other.npz", tmp_path / "f.npz")


def test_the_table_has_medians_and_the_ratios_of_each_round() -> None:
    keys = list(report.LINES)
    rounds = [
        {
            "plain": dict.fromkeys(keys, base) | {"load_average": [base, 0.0, 0.0]},
            "ray": dict.fromkeys(keys, base * factor) | {"load_average": [4.0, 0.0, 0.0]},
        }
        for base, factor in ((1.0, 2.0), (3.0, 1.0), (5.0, 1.5))
    ]
    _, rows = report.speed_rows({"rounds": rounds, "host": {"usable_cores": 2}})
    (row,) = [row for row in rows if "images a second" in row[0]]
    assert row[1:] == ["3", "3", "1.500 (1.000 .. 2.000)"]
    assert rows[-1][1:] == ["3.0", "4.0", ""] and all(len(row) == 4 for row in rows)


@pytest.mark.parametrize(
    ("wrong", "equal"), [({"lost": 1}, True), ({"twice": 1}, True), ({"equal": False}, True), ({}, False)]
)
def test_lost_doubled_or_changed_features_end_with_an_error_after_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: dict[str, object], equal: bool
) -> None:
    killed = {"kills": 2, "rows": 5, "lost": 0, "twice": 0, "equal": True}
    document = {"warnings": [], "equal": equal, "killed": killed | wrong}
    monkeypatch.setattr(measured, "measure", lambda options, folder: document)
    with pytest.raises(GateError):
        main(["m.onnx", "images", "--json"])
    assert json.loads(capsys.readouterr().out)["killed"]["rows"] == 5
    document |= {"equal": True, "killed": killed}
    assert main(["m.onnx", "images", "--json"]) == 0
