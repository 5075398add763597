"""Runs of several devices in one table and one picture."""

import json
import math
import xml.etree.ElementTree as ET

import pytest

from benchmarks.bench import cli as bench
from benchmarks.bench.merge import cli, runs
from benchmarks.bench.merge.picture import Box, Point, picture, short_names
from benchmarks.svg import log_axis
from runtime.entry import guarded
from tests.fakes.jetson_files import put_recording

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
    result = {
        "host": {"device": "cpu", "processor": "Xeon", "threads": 2},
        "images": {"source": "crops of /somewhere/anny_reid", "count": 64},
        "models": [model | changed.pop("model", {})],
        "warnings": [],
    }
    return result | changed


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
    assert cli.main([*map(str, files), "--out", str(out), "--picture", str(svg)]) == 0
    merged = json.loads(out.read_text())
    devices = ["Xeon, 2 threads", "NVIDIA X", "Jetson Orin Nano (8 GB, developer kit), MAXN_SUPER (replayed)"]
    assert [entry["device"] for entry in merged["runs"]] == devices
    assert [row["device"] for row in merged["rows"]] == [*devices[:2], *devices[2:] * 2]
    assert merged["data"] == "anny_reid (20 queries)" and merged["runs"][2]["clocks_locked"] is True
    assert merged["rows"][1]["gross_j_per_image"] == 0.5 and merged["rows"][0]["gross_j_per_image"] is None
    table = capsys.readouterr().out
    assert "500" in table and "(replayed)" in table
    texts = [text.text for text in ET.parse(svg).iter(f"{SVG}text")]
    assert all(device in texts for device in devices) and texts.count("m.onnx") == 2
    assert "http" not in svg.read_text().replace("http://www.w3.org/2000/svg", ""), (
        "the picture needs nothing else"
    )


JOULES = {"gross_j_per_image": 0.5, "net_j_per_image": 0.4, "rail": "GPU_BOARD"}


def test_energy_of_different_parts_of_a_machine_is_told(tmp_path):
    cards = [
        run(host={"device": "cuda", "gpu": {"name": name}}, model={"energy": JOULES | {"rail": rail}})
        for name, rail in (("X", "GPU_BOARD"), ("Y", "GPU_BOARD"), ("Z", "VDD_IN"))
    ]
    documents = [
        (write(tmp_path / f"{number}.json", content), content)
        for number, content in enumerate([run(), *cards])
    ]
    assert runs.merge(documents[:3])["warnings"] == []
    (warning,) = runs.merge(documents)["warnings"]
    assert warning.endswith("GPU_BOARD on X; GPU_BOARD on Y; VDD_IN on Z")


def test_the_same_device_twice_is_told_apart(tmp_path):
    contents = [run(images={"source": "crops of anny_reid", "count": number}) for number in range(2)]
    documents = [
        (write(tmp_path / f"{number}.json", content), content) for number, content in enumerate(contents)
    ]
    assert [entry["device"] for entry in runs.merge(documents)["runs"]] == [
        "Xeon, 2 threads #1",
        "Xeon, 2 threads #2",
    ]


def test_a_run_given_twice_counts_once(tmp_path, capsys):
    files = [str(write(tmp_path / name, run())) for name in ("a.json", "copy.json")]
    assert cli.main([files[0], *files, "--out", str(tmp_path / "out.json")]) == 0
    assert len(json.loads((tmp_path / "out.json").read_text())["rows"]) == 1
    assert f"{files[1]} has the same content as {files[0]} " in capsys.readouterr().err


def test_models_of_one_name_are_told_apart_or_told_of(tmp_path):
    model = run()["models"][0]
    others = [
        model | {"path": "old/m.onnx", "sha256": "b"},
        model | {"engine": "openvino"},
        model | {"path": "runs/n.onnx"},
    ]
    first_run = run() | {"models": [model, *others]}
    merged = runs.merge([(write(tmp_path / "a.json", first_run), first_run)])
    assert [row["model"] for row in merged["rows"]] == [
        "runs/m.onnx",
        "old/m.onnx",
        "m.onnx@openvino",
        "n.onnx",
    ]
    assert merged["warnings"] == []
    # another device's file of that name is another model, but an engine is of course another file there
    other = run(host={"device": "cuda", "gpu": {"name": "X"}}, model={"sha256": "b"})
    engines = [
        run(
            host={"device": "cuda", "gpu": {"name": name}},
            model={"path": "m.engine", "kind": "engine", "sha256": name, "parent": parent},
        )
        for name, parent in (("Y", "a"), ("Z", "a"), ("W", "c"))
    ]
    documents = [run(), other, *engines]
    documents = [
        (write(tmp_path / f"{number}.json", content), content) for number, content in enumerate(documents)
    ]
    (onnx_warning,) = runs.merge(documents[:2])["warnings"]
    assert "m.onnx" in onnx_warning and "different models on Xeon, 2 threads and on X" in onnx_warning
    assert runs.merge(documents[2:4])["warnings"] == []
    (engine_warning,) = runs.merge(documents[2:])["warnings"]
    assert "m.engine" in engine_warning and "different models on Y and on W" in engine_warning


BAD = [None, -1, 10**400, [], {}, "x", True, float("nan"), float("inf")]


@pytest.mark.parametrize(
    "place", [("models", 0, "latency_ms", "p50"), ("models", 0, "batch"), ("host",), ("models",)]
)
@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_document_that_is_damaged_anywhere_is_refused_in_one_line(tmp_path, capsys, place, bad):
    document = run()
    spot = document
    for key in place[:-1]:
        spot = spot[key]
    spot[place[-1]] = bad
    path = write(tmp_path / "a.json", document)
    assert guarded(cli.main, [str(path), "--picture", str(tmp_path / "p.svg")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "p.svg").exists()


def test_names_of_any_length_and_kind_stay_inside_the_picture(tmp_path):
    device = run(
        host={"device": "cuda", "gpu": {"name": "\ud800\x00" + "G" * 300}},
        model={"path": "a" * 200 + ".engine", "engine": "tensorrt"},
    )
    path, svg = write(tmp_path / "a.json", device), tmp_path / "p.svg"
    assert cli.main([str(path), "--picture", str(svg)]) == 0
    texts = [text.text for text in ET.parse(svg).iter(f"{SVG}text")]
    assert max(map(len, texts)) <= 120 and any(text.endswith("a.engine") and "…" in text for text in texts)


def test_map_of_different_data_is_never_side_by_side(tmp_path):
    other = run(images={"source": "crops of /elsewhere/market1501", "count": 64})
    files = [write(tmp_path / "a.json", run()), write(tmp_path / "b.json", other)]
    assert guarded(cli.main, [str(path) for path in files]) == 2
    without = run(images={"source": "images of random pixels", "count": 64}, model={"accuracy": None})
    files[1] = write(tmp_path / "b.json", without)
    assert guarded(cli.main, [str(path) for path in files]) == 0, "a run without mAP may stand beside"


def test_what_is_no_run_or_has_no_map_for_a_picture_is_refused(tmp_path, capsys):
    assert guarded(cli.main, [str(tmp_path / "none.json")]) == 2
    assert guarded(cli.main, [str(write(tmp_path / "a.json", {"host": {}}))]) == 2
    path = write(tmp_path / "b.json", run(model={"accuracy": None}))
    assert guarded(cli.main, [str(path), "--picture", str(tmp_path / "p.svg")]) == 2
    assert "run bench.py with --data" in capsys.readouterr().err and not (tmp_path / "p.svg").exists()


def test_the_logarithmic_axis_ends_at_ticks_around_the_values():
    axis = log_axis([3.0, 40.0], 0, 100)
    assert axis.ticks == (2, 5, 10, 20, 50) and (axis.at(2), axis.at(50)) == (0, 100)
    assert axis.at(10) == pytest.approx(100 * math.log(5) / math.log(25))
    alone = log_axis([7.0], 0, 100)
    assert 0 < alone.at(7.0) < 100


def test_different_models_never_have_the_same_label():
    form = "transreid_base_s12_{}_256x128_b32_fp16_sm87_trt10.3.engine"
    long = [form.format(pruned) for pruned in ("unpruned", "amg_h25_t25", "amg_h50_t50")]
    assert short_names(long) == dict(zip(long, ["…unpruned…", "…amg_h25_t25…", "…amg_h50_t50…"]))
    assert short_names(["m.onnx", "m.engine"]) == {"m.onnx": "m.onnx", "m.engine": "m.engine"}
    # still too long: numbers, and the whole names in the legend
    for names in (["a" * 40 + "b" + "c" * 40, "a" * 40 + "d" + "c" * 40], long[:1]):
        assert short_names(names) is None
        points = [Point(device, name, 10, 0.5) for device in ("X", "Y") for name in names]
        texts = [one.text for one in ET.fromstring(picture(points, "")).iter(f"{SVG}text")]
        for number, name in enumerate(names, 1):
            assert texts.count(name) == 1 and texts.count(str(number)) >= 3


def test_names_are_escaped_and_labels_do_not_lie_on_each_other():
    points = [Point("<A & B>", f"model{number}.onnx", 10 + 0.01 * number, 0.5) for number in range(6)]
    tree = ET.fromstring(picture(points, "a < b"))
    labels = [label for label in tree.iter(f"{SVG}text") if (label.text or "").startswith("model")]
    assert len(labels) == 6
    boxes = []
    for label in labels:
        x, y, width = float(label.get("x")), float(label.get("y")), 7 * len(label.text)
        left = {"": x, "end": x - width, "mid": x - width / 2}[label.get("class", "")]
        boxes.append(Box(left, y - 12, left + width, y + 4))
    assert not any(a.meets(b) for place, a in enumerate(boxes) for b in boxes[place + 1 :])
