"""The demo's steps and numbers, without running any of them."""

import json

import pytest

from benchmarks.demo import steps as demo
from benchmarks.demo.cli import main
from benchmarks.demo.results import COLUMNS, kept_heads, kept_tokens, read_models, score_change, token_total
from benchmarks.steps import StepFailed
from runtime.files.manifest import write_manifest

SHAPE = {
    "variant": "vit_lite",
    "height": 128,
    "width": 64,
    "stride": 12,
    "jpm": True,
    "mode": "bypass",
    "blocks": [{"heads": [0, 1], "tokens": None}, {"heads": [1], "tokens": [0, 1, 50]}],
}


def results(folder, *, ratios=True):
    """The output of the steps for three models, whose files are written to `folder`."""
    bench = {"models": [], "ratios": [], "warnings": []}
    outputs = {"bench": bench}
    for name, p50, macs in (("unpruned-plain", 4.0, 200), ("unpruned", 3.0, 150), ("pruned", 2.0, 100)):
        path = folder / f"{name}.onnx"
        path.write_bytes(b"x" * 1_500_000)
        form = "reference" if name == "unpruned-plain" else "folded"
        manifest = {
            "form": form,
            "macs": {f"macs_{form}": macs * 10**6},
            "shape": SHAPE,
            "tools": {"onnx": "1"},
        }
        write_manifest(path, manifest)
        timing = {
            "path": str(path),
            "sha256": "0" * 64,
            "latency_ms": {"p50": p50},
            "images_per_s": 1000 / p50,
        }
        bench["models"].append(timing)
        speed = {"median": 4.4 / p50, "low": 1, "high": 2} if ratios else None
        bench["ratios"].append({"path": str(path), "speed": speed})
        outputs[f"evaluate {name}"] = {"mAP": 0.5, "R1": 0.75, "queries": 4}
    return outputs


def test_a_row_shows_the_macs_of_the_exported_form_and_the_paired_speed(tmp_path):
    models = read_models(results(tmp_path), tmp_path)
    assert [len(model.row) for model in models] == [len(COLUMNS)] * 3
    assert models[2].row == ["pruned", "0.100", "1.5", "50.0%", "75.0%", "2.00", "500", "2.20x"]


def test_without_paired_rounds_the_speed_is_the_ratio_of_the_medians(tmp_path):
    assert read_models(results(tmp_path, ratios=False), tmp_path)[2].speed == 2.0


def test_kept_counts_include_the_class_token_and_null_means_all():
    assert token_total(SHAPE) == 10 * 5 + 1
    assert kept_tokens(SHAPE, 51) == [51, 3]
    assert kept_heads(SHAPE) == [2, 1]


@pytest.mark.parametrize(
    ("after", "before", "phrase"),
    [
        (0.547, 0.617, "falls by 7.0 points"),
        (0.62, 0.6, "rises by 2.0 points"),
        (0.6, 0.6002, "stays the same"),
    ],
)
def test_a_score_change_names_its_direction(after, before, phrase):
    assert score_change(after, before) == phrase


def test_every_file_that_a_step_reads_was_shipped_or_written_by_an_earlier_step(tmp_path):
    written = set()
    for name, command in demo.steps(tmp_path).items():
        outputs = [
            after
            for option, after in zip(command, command[1:])
            if option in ("--out", "--store", "--picture")
        ]
        for word in command:
            if word.startswith(str(tmp_path)) and word not in outputs:
                assert any(word == done or word.startswith(f"{done}/") for done in written), (name, word)
            elif word.startswith(("data/", "configs/")):
                assert (demo.ROOT / word).exists(), (name, word)
        written.update(outputs)


def test_features_are_extracted_once_for_each_model_and_folder(tmp_path):
    extracted = [name for name in demo.steps(tmp_path) if name.startswith("extract")]
    assert extracted == [
        f"extract {model} {side}"
        for model in ("unpruned", "pruned")
        for side in ("query", "gallery", "twins")
    ]


def test_a_step_that_fails_ends_the_demo_with_its_exit_code(capsys):
    with pytest.raises(StepFailed) as failed:
        demo.run_step("broken", ["-c", "raise SystemExit(3)"])
    assert failed.value.code == 3 and "raise SystemExit(3)" in str(failed.value)
    assert "[broken]" in capsys.readouterr().err


@pytest.mark.parametrize("no_video", [None, "av is not installed; pip install '.[video]'"])
def test_without_pyav_the_demo_leaves_only_the_videos_out_and_says_so(
    tmp_path, monkeypatch, capsys, no_video
):
    class Gathered(Exception):
        pass

    def gather(results, out, seconds, **given):
        assert given["no_video"] == no_video and ("identify" in results) == (no_video is None)
        raise Gathered

    stale = tmp_path / "identities" / "gallery.json"
    stale.parent.mkdir()
    stale.write_text("of another model")
    ran = []
    monkeypatch.setattr("benchmarks.demo.cameras.why_no_video", lambda: no_video)
    monkeypatch.setattr(demo, "run_step", lambda name, command: (ran.append(name) or "{}", 0.1))
    monkeypatch.setattr(demo, "gather", gather)
    with pytest.raises(Gathered):
        main(["--out", str(tmp_path)])
    assert set(demo.steps(tmp_path)) - set(ran) == (set() if no_video is None else {"identify"})
    assert not stale.exists()
    printed = capsys.readouterr().err
    assert ("left out" in printed) == (no_video is not None) and (no_video or "") in printed


def test_the_person_of_the_token_maps_is_an_unoccluded_image_of_the_shipped_data():
    names = list(json.loads((demo.ROOT / demo.DATA / "anny.json").read_text())["images"])
    person = demo.largest_person(demo.ROOT / demo.DATA, names)
    assert person.startswith("twins/") and (demo.ROOT / demo.DATA / person).is_file()
