"""Runs of several devices in one table and one picture."""

import json
import math
import xml.etree.ElementTree as ET

import pytest

from benchmarks import bench, merge
from benchmarks.merge_picture import Box, Point, log_axis, picture
from runtime.errors import guarded
from tests.jetson_files import put_recording

SVG = "{http://www.w3.org/2000/svg}"


def run(**changed):
    model = {
        "path": "runs/m.onnx",
        "sha256": "a",
        "engine": "onnxruntime",
        "precision": "fp32",
        "batch": 1,
        "latency_ms": {"p50": 20.0, "p99": 25.0},
        "images_per_s": 48.0,
        "energy": None,
        "accuracy": {"mAP": 0.7, "R1": 0.8, "queries": 20},
    }
    found = {
        "host": {"device": "cpu", "processor": "Xeon", "threads": 2},
        "images": {"source": "crops of /somewhere/anny_reid", "count": 64},
        "models": [model | changed.pop("model", {})],
        "warnings": [],
    }
    return found | changed


def write(path, document):
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def jetson(tmp_path, capsys):
    folder = put_recording(tmp_path / "recording")
    bench.main(["m.engine", "--device", "jetson", "--replay", str(folder), "--json"])
    return write(tmp_path / "jetson.json", json.loads(capsys.readouterr().out))


def test_a_cpu_a_card_and_a_replayed_jetson_make_one_table_and_one_picture(tmp_path, jetson, capsys):
    card = run(
        host={"device": "cuda", "processor": "Xeon", "gpu": {"name": "NVIDIA X"}}, model={"energy": JOULES}
    )
    files = [write(tmp_path / "cpu.json", run()), write(tmp_path / "card.json", card), jetson]
    out, svg = tmp_path / "merged.json", tmp_path / "merged.svg"
    assert merge.main([*map(str, files), "--out", str(out), "--picture", str(svg)]) == 0
    found = json.loads(out.read_text())
    devices = ["Xeon, 2 threads", "NVIDIA X", "Jetson Orin Nano (8 GB, developer kit), MAXN_SUPER (replayed)"]
    assert [one["device"] for one in found["runs"]] == devices
    assert [row["device"] for row in found["rows"]] == [*devices[:2], *devices[2:] * 2]
    assert found["data"] == "anny_reid (20 queries)" and found["runs"][2]["clocks_locked"] is True
    assert found["rows"][1]["gross_j_per_image"] == 0.5 and found["rows"][0]["gross_j_per_image"] is None
    table = capsys.readouterr().out
    assert "500" in table and "(replayed)" in table
    texts = [text.text for text in ET.parse(svg).iter(f"{SVG}text")]
    assert all(device in texts for device in devices) and texts.count("m.onnx") == 2
    assert "http" not in svg.read_text().replace("http://www.w3.org/2000/svg", ""), (
        "the picture needs nothing else"
    )


JOULES = {"gross_j_per_image": 0.5, "net_j_per_image": 0.4, "rail": "GPU_BOARD"}


def test_the_same_device_twice_is_told_apart(tmp_path):
    runs = [(write(tmp_path / f"{number}.json", run()), run()) for number in range(2)]
    assert [one["device"] for one in merge.merge(runs)["runs"]] == [
        "Xeon, 2 threads #1",
        "Xeon, 2 threads #2",
    ]


def test_map_of_different_data_is_never_side_by_side(tmp_path):
    other = run(images={"source": "crops of /elsewhere/market1501", "count": 64})
    files = [write(tmp_path / "a.json", run()), write(tmp_path / "b.json", other)]
    assert guarded(merge.main, [str(path) for path in files]) == 2
    without = run(images={"source": "images of random pixels", "count": 64}, model={"accuracy": None})
    files[1] = write(tmp_path / "b.json", without)
    assert guarded(merge.main, [str(path) for path in files]) == 0, "a run without mAP may stand beside"


def test_what_is_no_run_or_has_no_map_for_a_picture_is_refused(tmp_path, capsys):
    assert guarded(merge.main, [str(tmp_path / "none.json")]) == 2
    assert guarded(merge.main, [str(write(tmp_path / "a.json", {"host": {}}))]) == 2
    path = write(tmp_path / "b.json", run(model={"accuracy": None}))
    assert guarded(merge.main, [str(path), "--picture", str(tmp_path / "p.svg")]) == 2
    assert "run bench.py with --data" in capsys.readouterr().err and not (tmp_path / "p.svg").exists()


def test_the_logarithmic_axis_ends_at_ticks_around_the_values():
    axis = log_axis([3.0, 40.0], 0, 100)
    assert axis.ticks == (2, 5, 10, 20, 50) and (axis.at(2), axis.at(50)) == (0, 100)
    assert axis.at(10) == pytest.approx(100 * math.log(5) / math.log(25))
    alone = log_axis([7.0], 0, 100)
    assert 0 < alone.at(7.0) < 100


def test_names_are_escaped_and_labels_do_not_lie_on_each_other():
    points = [Point("<A & B>", f"model{number}.onnx", 10 + 0.01 * number, 0.5) for number in range(6)]
    tree = ET.fromstring(picture(points, "a < b"))
    labels = [one for one in tree.iter(f"{SVG}text") if (one.text or "").startswith("model")]
    assert len(labels) == 6
    boxes = []
    for one in labels:
        x, y, width = float(one.get("x")), float(one.get("y")), 7 * len(one.text)
        left = {"": x, "end": x - width, "mid": x - width / 2}[one.get("class")]
        boxes.append(Box(left, y - 12, left + width, y + 4))
    assert not any(a.meets(b) for place, a in enumerate(boxes) for b in boxes[place + 1 :])
