"""The fast resize runs only when asked for and measured, and what it made is never ranked with what it did not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.errors import ArtifactError, DeviceError, guarded
from runtime.extraction.resize_cost import changed, cost_path, read_cost
from runtime.features import load_features, save_features
from runtime.images import fast_resize
from runtime.images.fast_resize import resize_fast, resizer
from runtime.images.preprocess import resize
from runtime.opening import verify_artifact
from runtime.spec import InputSpec
from tests.fakes.tiny_model import SPEC, write_model

Run = Callable[..., tuple[int, str, str]]


def nearest(image: np.ndarray, size: tuple[int, int], interpolation: object) -> np.ndarray:
    """Stands for OpenCV's filter: other pixels than Pillow's, whichever it is asked for."""
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.NEAREST))


OPENCV = SimpleNamespace(resize=nearest, INTER_CUBIC=2, INTER_LINEAR=1, __version__="9.9")


@pytest.fixture
def opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_resize, "_opencv", lambda: OPENCV)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = guarded(main, [str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def people(root: Path, size: tuple[int, int]) -> Path:
    """Market-1501's layout: 6 people, one query and two gallery images each."""
    random = np.random.default_rng(0)
    for pid in range(1, 7):
        colours = random.integers(0, 256, (12, 7, 3))
        for folder, camera, frame in (
            ("query", 1, 1),
            ("bounding_box_test", 2, 1),
            ("bounding_box_test", 2, 2),
        ):
            noise = random.integers(-90, 90, (12, 7, 3))
            crop = Image.fromarray(np.clip(colours + noise, 0, 255).astype(np.uint8))
            path = root / folder / f"{pid:04}_c{camera}s1_00000{frame}_00.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            crop.resize(size, Image.Resampling.BICUBIC).save(path)
    train = root / "bounding_box_train"
    train.mkdir()
    crop.save(train / "0007_c1s1_000001_00.png")
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return people(tmp_path / "people", (29, 51))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.onnx")


def test_evaluate_scores_both_resizes_and_records_the_difference(
    run: Run, data: Path, model: Path, opencv: None
) -> None:
    _, exact, _ = run("evaluate", model, "--data", data, "--json")
    code, fast, told = run("evaluate", model, "--data", data, "--json", "--resize", "fast")
    exact, fast = json.loads(exact), json.loads(fast)
    assert code == 0 and (exact["resize"], fast["resize"]) == ("exact", "fast")
    for key in ("mAP", "R1"):
        assert fast["exact"][key] == exact[key]
        assert fast["difference"][key] == fast[key] - exact[key]
    assert fast["mAP"] != exact["mAP"], "the picture must be one that the resize matters for"
    recorded = json.loads(cost_path(model).read_text())
    assert recorded["difference"] == fast["difference"] and recorded["model"] == fast["model"]
    assert recorded["data"] == {
        "folder": "people",
        "layout": "market1501",
        "queries": 6,
        "gallery": 12,
        "resized": 18,
    }
    assert f"{100 * fast['difference']['mAP']:+.2f}" in told and "people" in told


def test_evaluate_prints_both_for_people(run: Run, data: Path, model: Path, opencv: None) -> None:
    code, out, _ = run("evaluate", model, "--data", data, "--resize", "fast")
    assert code == 0
    for row in ("exact mAP", "difference mAP", "exact R1", "difference R1"):
        assert any(row in line and "%" in line for line in out.splitlines())


def test_extract_says_what_was_measured_and_its_features_say_how_they_were_made(
    run: Run, data: Path, model: Path, tmp_path: Path, opencv: None
) -> None:
    run("evaluate", model, "--data", data, "--resize", "fast")
    out = tmp_path / "q.npz"
    code, said, told = run("extract", model, data / "query", "--out", out, "--resize", "fast", "--json")
    assert code == 0 and "points against exact, measured on people (market1501): 6 queries" in told
    recorded = read_cost(model, verify_artifact(model).sha256)
    assert json.loads(said)["resize_difference"] == recorded["difference"]
    assert (
        load_features(out).resize == "fast"
        and json.loads(Path(f"{out}.json").read_text())["resize"] == "fast"
    )


def test_extract_refuses_what_was_never_measured(
    run: Run, data: Path, model: Path, tmp_path: Path, opencv: None
) -> None:
    arguments = ("extract", model, data / "query", "--out", tmp_path / "q.npz", "--resize", "fast")
    code, out, err = run(*arguments)
    assert (code, out) == (4, "") and f"python -m runtime evaluate {model} --data ROOT --resize fast" in err
    run("evaluate", model, "--data", data, "--resize", "fast")
    assert run(*arguments)[0] == 0
    # another file under the same name: nothing is known of it
    write_model(model, dataclasses.replace(SPEC, height=64))
    code, _, err = run(*arguments)
    assert code == 4 and "measured on another file" in err and not (tmp_path / "q.npz.tmp").exists()
    cost_path(model).write_text("{")
    assert run(*arguments)[0] == 4


def test_data_whose_images_need_no_resize_measure_nothing(
    run: Run, model: Path, tmp_path: Path, opencv: None
) -> None:
    fitting = people(tmp_path / "fitting", (SPEC.width, SPEC.height))
    code, out, told = run("evaluate", model, "--data", fitting, "--resize", "fast", "--json")
    assert code == 0 and json.loads(out)["difference"] == {"mAP": 0.0, "R1": 0.0}
    assert "nothing is recorded" in told and not cost_path(model).exists()


def test_features_of_different_resizes_are_never_ranked_together(
    run: Run, data: Path, model: Path, tmp_path: Path, opencv: None
) -> None:
    run("evaluate", model, "--data", data, "--resize", "fast")
    q, g = tmp_path / "q.npz", tmp_path / "g.npz"
    run("extract", model, data / "query", "--out", q, "--resize", "fast")
    run("extract", model, data / "bounding_box_test", "--out", g)
    code, _, err = run("evaluate", "--query", q, "--gallery", g)
    assert code == 4 and "resized differently (fast and exact)" in err and "same --resize" in err
    code, _, err = run("evaluate", "--query", q, "--gallery", g, "--resize", "fast")
    assert code == 2 and "give it to extract" in err


def test_search_resizes_its_queries_as_the_gallery_was(
    run: Run, data: Path, model: Path, tmp_path: Path, opencv: None
) -> None:
    run("evaluate", model, "--data", data, "--resize", "fast")
    g = tmp_path / "g.npz"
    run("extract", model, data / "bounding_box_test", "--out", g, "--resize", "fast")
    one = sorted((data / "bounding_box_test").iterdir())[3]
    code, out, err = run("search", model, one, "--gallery", g, "--top", 1, "--json")
    assert code == 0, err
    (match,) = json.loads(out)["queries"][0]["matches"]
    assert code == 0 and match["path"] == str(one) and match["distance"] < 1e-6


def test_features_from_before_the_option_count_as_exact(
    tmp_path: Path, run: Run, data: Path, model: Path
) -> None:
    out = tmp_path / "q.npz"
    run("extract", model, data / "query", "--out", out)
    saved = load_features(out)
    assert saved.resize == "exact"
    save_features(out, dataclasses.replace(saved, resize="fast"))
    assert load_features(out).resize == "fast"


def test_without_opencv_fast_is_refused(
    run: Run, data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast_resize._opencv.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(DeviceError, match=r"pip install '\.\[fast\]'"):
        resizer("fast")
    assert resizer("exact") is resize
    code, out, err = run("evaluate", model, "--data", data, "--resize", "fast")
    assert (code, out) == (5, ""), err
    assert "cv2 is not installed" in err.splitlines()[-1]


def test_changed_counts_the_images_with_other_features(
    run: Run, data: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q.npz"
    run("extract", model, data / "query", "--out", out)
    saved = load_features(out)
    other = saved.features.copy()
    other[2] = -other[2]
    assert changed(saved, saved) == 0
    assert changed(saved, dataclasses.replace(saved, features=other)) == 1
    # one that was skipped in one of them cannot be compared
    less = dataclasses.replace(saved, features=other[1:], paths=saved.paths[1:])
    assert changed(saved, less) == 1


def test_a_record_of_another_version_is_refused(model: Path) -> None:
    cost_path(model).write_text(json.dumps({"schema": 0, "model": "x"}))
    with pytest.raises(ArtifactError, match="--resize fast"):
        read_cost(model, "x")


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_opencv_is_near_pillow_where_an_image_grows(interpolation: str) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed: pip install '.[fast]'")
    fast_resize._opencv.cache_clear()
    ramp = np.linspace(0, 255, 128 * 64).reshape(128, 64)
    picture = np.stack([ramp, ramp[::-1], 255 - ramp], axis=2).astype(np.uint8)
    spec = InputSpec(interpolation=interpolation)
    exact, fast = resize(picture, spec).astype(int), resize_fast(picture, spec).astype(int)
    assert fast.shape == (256, 128, 3) and np.abs(exact - fast).mean() < 1
    fits = np.zeros((256, 128, 3), np.uint8)
    assert resize_fast(fits, spec) is fits
