"""bench.py --device jetson --replay: what a recording gives, whole, damaged or from another board."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.bench import cli as bench
from runtime.entry import guarded
from tests.fakes.jetson_files import put_recording, trtexec_text


def replay(capsys, folder, *names):
    words = [*(names or ("m.engine",)), "--device", "jetson", "--replay", str(folder)]
    assert bench.main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert bench.main(words) == 0
    return result, capsys.readouterr().out


def test_a_replay_gives_the_whole_document_and_says_that_it_is_one(tmp_path, capsys):
    result, table = replay(capsys, put_recording(tmp_path))
    assert result["replayed"] is True and any("replayed" in warning for warning in result["warnings"])
    assert result["board"]["l4t"] == "36.4.3" and result["board"]["power_mode"]["name"] == "MAXN_SUPER"
    assert result["state"]["before"]["locked"] is True and result["state"]["commands"] == []
    assert [model["scenario"] for model in result["models"]] == ["batch 1", "8 persons"]
    single, eight = result["models"]
    assert single["latency_ms"]["p50"] == 11 and single["images_per_s"] == pytest.approx(1000 / 11)
    assert eight["batch"] == 8 and eight["images_per_s"] == pytest.approx(200)
    assert single["accuracy"]["mAP"] == 0.8
    for words in (
        "REPLAYED",
        "Orin Nano",
        "36.4.3",
        "MAXN_SUPER",
        "VDD_IN from tegrastats",
        "gallery, 100 files",
    ):
        assert words in table


def test_energy_is_power_times_time_without_the_lines_that_are_broken(tmp_path, capsys):
    result, _ = replay(capsys, put_recording(tmp_path))
    # 12 s at 15 W (5 W idle) for 1000 images, then 2400; the window's first sample may still be of the phase before
    single, eight = (model["energy"] for model in result["models"])
    assert single["rail"] == "VDD_IN" and single["gross_j_per_image"] == pytest.approx(0.18, rel=0.01)
    assert single["net_j_per_image"] == pytest.approx(0.12, rel=0.01)
    assert eight["gross_j_per_image"] == pytest.approx(0.075, rel=0.01)
    assert single["idle_w"] == pytest.approx(5) and result["power"]["idle_w"] == pytest.approx(5)
    assert result["galleries"][0]["energy"]["gross_j_per_image"] == pytest.approx(0.6, rel=0.01)
    # garbage, and the last line that was cut off; a line cut within has no rail
    assert result["power"]["malformed"] == 2 and single["incomplete"] == 1


def test_trtexec_stands_beside_the_session_with_what_was_pinned(tmp_path, capsys):
    result, _ = replay(capsys, put_recording(tmp_path))
    without, copies = result["models"][0]["trtexec"]
    assert without["latency_ms"] == {"p50": 4.5, "p90": 5, "p99": 6, "mean": 5} == without["gpu_ms"]
    assert (without["transfers"], without["cuda_graph"], without["spin_wait"]) == (False, True, True)
    assert without["version"] == "10.3.0" and without["images_per_s"] == 200 and without["why"] is None
    assert copies["latency_ms"] is None and copies["why"] == "not recorded"
    assert result["models"][0]["measured"]["transfers"] is True
    assert any("not recorded" in warning for warning in result["warnings"])


def test_a_broken_number_of_trtexec_stops_nothing_and_a_refused_graph_is_recorded(tmp_path, capsys):
    folder = put_recording(tmp_path)
    (folder / "trtexec.txt").write_text(trtexec_text().replace("median = 4.5 ms", "median = 4,5 ms"))
    (without, _) = replay(capsys, folder)[0]["models"][0]["trtexec"]
    assert without["latency_ms"] is None and without["images_per_s"] == 200 and without["cuda_graph"] is True
    refused = "[W] The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode.\n"
    (folder / "trtexec.txt").write_text(refused + trtexec_text())
    result, _ = replay(capsys, folder)
    assert result["models"][0]["trtexec"][0]["cuda_graph"] is False
    assert any("without a CUDA graph" in warning for warning in result["warnings"])


def test_a_recording_without_system_files_says_unknown_and_never_none(tmp_path, capsys):
    folder = put_recording(tmp_path)
    shutil.rmtree(folder / "root")
    result, table = replay(capsys, folder)
    assert set(result["board"].values()) == {None} and result["state"]["before"]["locked"] is None
    assert "unknown, JetPack unknown" in table and "None" not in table


def test_a_graph_is_claimed_for_engines_alone(tmp_path, capsys):
    folder = put_recording(tmp_path)
    assert "third call" in replay(capsys, folder)[0]["models"][0]["measured"]["cuda_graph"]
    timing = json.loads((folder / "timing.json").read_text())
    timing["models"][0]["facts"]["engine"] = "onnxruntime"
    (folder / "timing.json").write_text(json.dumps(timing))
    assert replay(capsys, folder)[0]["models"][0]["measured"]["cuda_graph"] is False


def test_power_that_cannot_be_read_is_null_never_zero(tmp_path, capsys):
    result, table = replay(capsys, put_recording(tmp_path, power=False))
    assert result["power"]["sensor"] is None and result["power"]["rail"] is None
    for row in (*result["models"], *result["galleries"]):
        assert row["energy"]["gross_j_per_image"] is None and row["energy"]["net_j_per_image"] is None
    assert "not readable" in table and any("are null" in text for text in result["warnings"])


def test_a_run_is_compared_with_one_before(tmp_path, capsys):
    folder = put_recording(tmp_path / "run")
    words = ["m.engine", "--device", "jetson", "--replay", str(folder)]
    bench.main([*words, "--json"])
    (tmp_path / "before.json").write_text(capsys.readouterr().out)
    bench.main([*words, "--compare", str(tmp_path / "before.json")])
    assert "1.000 (" in capsys.readouterr().out


def test_ratios_are_to_the_first_model_in_the_same_scenario(tmp_path, capsys):
    result, _ = replay(
        capsys, put_recording(tmp_path, names=("a.engine", "b.engine")), "b.engine", "a.engine"
    )
    assert [ratio["path"] for ratio in result["ratios"]] == ["/models/b.engine"] * 2 + [
        "/models/a.engine"
    ] * 2
    assert {ratio["interval_95"]["ratio"] for ratio in result["ratios"]} == {1.0}


def test_a_folder_that_is_no_recording_or_lacks_the_model_is_refused(tmp_path):
    words = ["m.engine", "--device", "jetson", "--replay", str(tmp_path)]
    assert guarded(bench.main, words) == 2
    put_recording(tmp_path)
    assert guarded(bench.main, ["other.engine", *words[1:]]) == 2
    (tmp_path / "timing.json").write_text('{"models": 3}')
    assert guarded(bench.main, words) == 2
    assert guarded(bench.main, ["m.engine", "--replay", str(tmp_path)]) == 2


FOLDER = Path(__file__).resolve().parents[2] / "data/jetson"
# What is read from each published line, repeated for a whole run: the rails and their sum in W.
PUBLISHED = {
    "nano_jp4": ("POM_5V_IN", True, 0.933),
    "xavier_jp4": ("GPU+CPU+SOC+CV+VDDRQ+SYS5V", True, 0.463 + 0.618 + 2.936 + 0 + 0.309 + 3.306),
    "agx_jp6": ("VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0", True, 2.34 + 0.39 + 4.025),
    "nano_jp6": ("VDD_IN", True, 17.946),
    "agx_jp7.2": ("VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0", True, 5.139 + 3.268 + 5.5),
    "thor_jp7": (None, None, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_run_on_every_published_board_has_its_rails_and_watts(tmp_path, capsys, name):
    folder = put_recording(tmp_path)
    (folder / "tegrastats.txt").write_text((FOLDER / f"tegrastats_{name}.txt").read_text() * 361)
    result, _ = replay(capsys, folder)
    rail, known, watts = PUBLISHED[name]
    for row in (*result["models"], *result["galleries"]):
        energy = row["energy"]
        assert (energy["rail"], energy["rail_known"]) == (rail, known)
        if watts is None:
            assert energy["gross_j_per_image"] is None and energy["mean_w"] is None
            continue
        images = energy["images"]
        assert energy["mean_w"] == pytest.approx(watts) and energy["idle_w"] == pytest.approx(watts)
        assert energy["gross_j_per_image"] == pytest.approx(watts * 12 / images)
        assert energy["net_j_per_image"] == pytest.approx(0, abs=1e-9)


def test_a_tegrastats_that_dies_midway_leaves_null_with_a_warning_and_all_times(tmp_path, capsys):
    folder = put_recording(tmp_path)
    lines = (folder / "tegrastats.txt").read_text().splitlines(keepends=True)
    (folder / "tegrastats.txt").write_text("".join(lines[:300]))
    result, _ = replay(capsys, folder)
    single, eight = result["models"]
    assert single["energy"]["gross_j_per_image"] is not None and eight["energy"]["gross_j_per_image"] is None
    assert eight["latency_ms"]["p50"] == 40
    assert any("energy is null 2 times" in text and " for 6" in text for text in result["warnings"])


def test_lines_that_came_late_are_where_they_came(tmp_path, capsys):
    folder = put_recording(tmp_path)
    timing = json.loads((folder / "timing.json").read_text())
    count = (folder / "tegrastats.txt").read_text().count("\n")
    # one line in 0.11 s: 12 s of 5 W end at 13.2 s then
    timing |= {"at_s": [0.11 * number for number in range(count)], "interval_s": None}
    (folder / "timing.json").write_text(json.dumps(timing))
    result, _ = replay(capsys, folder)
    assert result["models"][0]["energy"]["mean_w"] == pytest.approx((1.2 * 5 + 10.8 * 15) / 12, rel=0.01)


def test_trtexec_that_failed_after_its_summary_has_measured_nothing(tmp_path, capsys):
    folder = put_recording(tmp_path)
    for ending in ("&&&& FAILED TensorRT.trtexec [TensorRT v100300] # trtexec\n", ""):
        text = "".join(trtexec_text().splitlines(keepends=True)[:-1]) + ending
        (folder / "trtexec.txt").write_text(text)
        (without, _) = replay(capsys, folder)[0]["models"][0]["trtexec"]
        assert without["latency_ms"] is None and without["images_per_s"] is None and without["why"]


@pytest.mark.parametrize("file", ["timing.json", "tegrastats.txt", "trtexec.txt"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 500, b"[" * 100_000, b"9" * 100_000, None])
def test_a_damaged_recording_is_refused_or_read_but_never_a_traceback(tmp_path, capsys, file, content):
    folder = put_recording(tmp_path)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    code = guarded(bench.main, ["m.engine", "--device", "jetson", "--replay", str(folder), "--json"])
    out, err = capsys.readouterr()
    assert code == (2 if file == "timing.json" or content is None else 0)
    assert json.loads(out)["models"] if code == 0 else err.count("\n") == 1


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        (("models", 0, "scenes", 0, "wall_ms"), []),
        (("models", 0, "scenes", 0, "wall_ms", 0), float("nan")),
        (("models", 0, "scenes", 0, "window"), [5, 5]),
        (("models", 0, "scenes"), []),
        (("models", 0, "accuracy", "mAP"), 80),
        (("models", 0, "facts", "path"), 7),
        (("models", 0, "trtexec"), "x"),
        (("interval_s",), None),
        (("idle",), [1, 2, 3]),
        (("power",), {"sensor": "INA3221", "malformed": 0, "samples": [[0, {"VIN": "x"}]]}),
    ],
)
def test_times_that_are_none_are_refused_in_one_line_that_names_the_place(tmp_path, capsys, place, bad):
    folder = put_recording(tmp_path)
    timing = json.loads((folder / "timing.json").read_text())
    spot = timing
    for key in place[:-1]:
        spot = spot[key]
    spot[place[-1]] = bad
    (folder / "timing.json").write_text(json.dumps(timing))
    assert guarded(bench.main, ["m.engine", "--device", "jetson", "--replay", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_recording_reads_no_file_beside_itself(tmp_path, capsys):
    folder = put_recording(tmp_path / "recording")
    (tmp_path / "secret.txt").write_text("password\n")
    timing = json.loads((folder / "timing.json").read_text())
    timing["models"][0]["trtexec"][0]["output"] = "../secret.txt"
    (folder / "timing.json").write_text(json.dumps(timing))
    assert guarded(bench.main, ["m.engine", "--device", "jetson", "--replay", str(folder), "--json"]) == 2
    assert "password" not in "".join(capsys.readouterr())


def test_recorded_models_of_one_file_name_are_told_apart_by_their_path(tmp_path, capsys):
    folder = put_recording(tmp_path, names=("a/m.engine", "b/m.engine"))
    result, _ = replay(capsys, folder, "/models/b/m.engine")
    assert result["models"][0]["path"] == "/models/b/m.engine"
    assert guarded(bench.main, ["m.engine", "--device", "jetson", "--replay", str(folder)]) == 2
    assert "several models" in capsys.readouterr().err


def test_another_sensor_than_tegrastats_is_replayed_from_its_samples(tmp_path, capsys):
    folder = put_recording(tmp_path)
    timing = json.loads((folder / "timing.json").read_text())
    samples = [[0.1 * number, {"VIN": 20000.0, "VDD_GPU": 9000.0}] for number in range(361)]
    timing["power"] = {"sensor": "INA3221", "malformed": 1, "samples": samples}
    (folder / "timing.json").write_text(json.dumps(timing))
    result, _ = replay(capsys, folder)
    assert (result["power"]["sensor"], result["power"]["rail"]) == ("INA3221", "VIN")
    assert result["models"][0]["energy"]["mean_w"] == pytest.approx(20)
    assert any("1 readings of INA3221" in text for text in result["warnings"])
