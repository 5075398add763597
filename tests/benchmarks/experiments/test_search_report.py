"""The picture and the sums of searched models: every run has its dot, groups are named, bad groups are one line."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.experiments import search_report
from benchmarks.experiments.search import measured, picture
from runtime.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def run(score, ms):
    return {"mAP": score, "R1": score, "predicted_ms": ms, "measured_ms": ms, "macs_folded": 1}


def test_a_group_is_summed_over_its_seeds():
    group = measured.summed("AMG", [run(0.8, 3.0), run(0.9, 3.2)])
    assert group["mAP"] == {"mean": pytest.approx(0.85), "sd": pytest.approx(0.0707, abs=1e-4)}
    assert measured.summed("one", [run(0.8, 3.0)])["mAP"]["sd"] is None


def test_the_picture_has_a_dot_for_every_run_inside_its_frame_and_better_is_higher():
    groups = [
        measured.summed("AMG <uniform>", [run(0.80, 3.0), run(0.9, 3.2)]),
        measured.summed("searched", [run(0.85, 2.5)]),
    ]
    root = ElementTree.fromstring(picture.picture({"groups": groups}))
    dots = {
        circle.find(f"{SVG}title").text: (float(circle.get("cx")), float(circle.get("cy")))
        for circle in root.iter(f"{SVG}circle")
        if circle.find(f"{SVG}title") is not None
    }
    assert set(dots) == {"80.0 %, 3.00 ms", "90.0 %, 3.20 ms", "85.0 %, 2.50 ms"}
    for x, y in dots.values():
        assert picture.LEFT < x < picture.WIDTH and picture.TOP < y < picture.HEIGHT
    assert dots["90.0 %, 3.20 ms"][1] < dots["80.0 %, 3.00 ms"][1]
    assert dots["85.0 %, 2.50 ms"][0] < dots["80.0 %, 3.00 ms"][0]
    assert "AMG <uniform>" in [text.text for text in root.iter(f"{SVG}text")]


def test_a_group_is_a_name_and_finished_runs(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text(json.dumps({}))
    assert search_report.read_groups([f"AMG={tmp_path}/a"]) == {"AMG": [tmp_path / "a"]}
    many = [f"{number}={tmp_path}/a" for number in range(9)]
    assert len(search_report.read_groups(many[:8])) == 8
    with pytest.raises(ConfigError, match="9 groups.* 8 colours"):
        search_report.read_groups(many)
    for word in ("AMG", f"={tmp_path}/a", f"AMG={tmp_path}/b", "AMG="):
        with pytest.raises(ConfigError, match="finished runs"):
            search_report.read_groups([word])
