"""Two roads, one number: however features and rankings come about, the scores of the same images are the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.entry import guarded
from runtime.features import load_features
from tests.fakes.tiny_model import write_model

NUMBERS = ("mAP", "R1", "R5", "R10", "mINP", "mAP_market_matlab", "queries", "queries_without_match")
# Layout -> how a person's image is named in (query, gallery), people and cameras counted as the layout does.
FORMS = {
    "market1501": ("query/{:04}_c{}s1_{:06}_00.png", "bounding_box_test/{:04}_c{}s1_{:06}_00.png"),
    "msmt17": ("query/{:04}_c{}_{:04}.png", "bounding_box_test/{:04}_c{}_{:04}.png"),
    "p_dukemtmc": (
        "test/occluded_body_images/{0:04}/{0:04}_c{1}_f{2:07}.png",
        "test/whole_body_images/{0:04}/{0:04}_c{1}_f{2:07}.png",
    ),
    "occluded_reid": (
        "occluded_body_images/{0:03}/{0:03}_{2:02}.png",
        "whole_body_images/{0:03}/{0:03}_{2:02}.png",
    ),
    "person_folders": ("query/{0}/a{2}_c{1}.png", "gallery/{0}/a{2}_c{1}.png"),
}
Run = Callable[..., dict]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The JSON document that a command prints."""

    def run(*arguments: object) -> dict:
        code = guarded(main, [*(str(argument) for argument in arguments), "--json", "--max-bad", "0.2"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return run


def crop(path: Path, pid: int, random: np.random.Generator) -> None:
    colours = np.random.default_rng(pid + 10).integers(0, 256, (8, 4, 3))
    pixels = np.clip(colours + random.integers(-110, 110, (8, 4, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((24, 48)).save(path)


def made(root: Path, layout: str, seed: int = 0) -> tuple[Path, list[Path]]:
    """A data set of nine people whose images have neighbours of every kind, and its query and gallery folders."""
    random, frame = np.random.default_rng(seed), 0
    first = int(layout != "msmt17")
    for pid in range(first, first + 9):
        for split, images in ((0, 1), (1, 4)):
            for number in range(images):
                frame += 1
                crop(root / FORMS[layout][split].format(pid, 1 + number % 3, frame), pid, random)
    if layout in ("market1501", "msmt17"):
        crop(root / "bounding_box_train/0001_c1s1_000001_00.png", 1, random)
    if layout == "market1501":
        for place in range(12):
            # junk and distractors in the middle of the neighbourhoods of somebody
            crop(root / f"bounding_box_test/-1_c{1 + place % 3}s1_{place:06}_00.png", 1 + place % 4, random)
            crop(root / f"bounding_box_test/0000_c{1 + place % 3}s1_{place:06}_00.png", 5 + place % 4, random)
        crop(root / "query/-1_c1s1_000077_00.png", 2, random)
        crop(root / "bounding_box_test/stray.png", 3, random)
        crop(root / "query/stray.png", 3, random)
    names = (FORMS[layout][0].split("{")[0], FORMS[layout][1].split("{")[0])
    return root, [root / name for name in names]


def scores(document: dict) -> list[float]:
    return [document[key] for key in NUMBERS]


@pytest.mark.parametrize("reranked", [False, True], ids=["plain", "reranked"])
@pytest.mark.parametrize("layout", FORMS)
def test_the_data_set_and_its_saved_features_have_one_score(
    run: Run, tmp_path: Path, layout: str, reranked: bool
) -> None:
    name = {"msmt17": "MSMT17", "p_dukemtmc": "P-Duke"}.get(layout, "set")
    root, folders = made(tmp_path / name, layout)
    model, options = write_model(tmp_path / "m.onnx"), ["--rerank"] * reranked
    files = [tmp_path / "q.npz", tmp_path / "g.npz"]
    for folder, file in zip(folders, files):
        run("extract", model, folder, "--out", file)
    saved = ["--query", files[0], "--gallery", files[1]]
    for rule in ([], ["--same-camera", "keep"], ["--same-camera", "remove"]):
        fresh = run("evaluate", model, "--data", root, *options, *rule)
        again = run("evaluate", *saved, *options, *rule)
        assert fresh["layout"] == again["layout"] == layout
        assert scores(fresh) == scores(again)
        for key in ("gallery", "same_camera", "protocol"):
            assert fresh[key] == again[key]
    assert fresh["queries"] == 9


def test_batches_presets_and_encodings_change_nothing(run: Run, tmp_path: Path) -> None:
    root, folders = made(tmp_path / "set", "market1501", seed=1)
    model = write_model(tmp_path / "m.onnx")
    routes = {"data": scores(run("evaluate", model, "--data", root, "--rerank"))}
    for batch in (1, 7):
        routes[f"batch {batch}"] = scores(
            run("evaluate", model, "--data", root, "--rerank", "--batch", batch)
        )
    for suffix, options in {"tif": {}, "bmp": {}, "webp": {"lossless": True}}.items():
        copy = tmp_path / suffix / "set"
        for path in root.rglob("*.png"):
            target = copy / path.relative_to(root).with_suffix(f".{suffix}")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(target, **options)
        routes[suffix] = scores(run("evaluate", model, "--data", copy, "--rerank"))
    linked = tmp_path / "links" / "set"
    for path in root.rglob("*.png"):
        target = linked / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    routes["links"] = scores(run("evaluate", model, "--data", linked, "--rerank"))
    for preset in ("latency", "throughput"):
        files = [tmp_path / f"{preset}{number}.npz" for number in (0, 1)]
        for folder, file in zip(folders, files):
            run("extract", model, folder, "--out", file, "--preset", preset)
        saved = ("evaluate", "--query", files[0], "--gallery", files[1], "--rerank")
        routes[preset] = scores(run(*saved))
    for (one, left), (other, right) in combinations(routes.items(), 2):
        assert left == pytest.approx(right, abs=1e-6), f"{one} and {other}"


def test_a_list_and_folders_have_one_score(run: Run, tmp_path: Path) -> None:
    root, folders = made(tmp_path / "set", "market1501", seed=2)
    model = write_model(tmp_path / "m.onnx")
    for split, folder in zip(("query", "gallery"), folders):
        run("extract", model, folder, "--out", tmp_path / f"{split}.npz")
        saved = load_features(tmp_path / f"{split}.npz")
        rows = zip(saved.paths, saved.pids.tolist(), saved.camids.tolist())
        (tmp_path / f"{split}.csv").write_text(
            "".join(f"{path},{pid},{camid}\n" for path, pid, camid in rows)
        )
    expected = scores(run("evaluate", model, "--data", root, "--rerank"))
    assert scores(run("evaluate", model, "--data", tmp_path, "--layout", "list", "--rerank")) == expected
    for split in ("query", "gallery"):
        run("extract", model, tmp_path / f"{split}.csv", "--out", tmp_path / f"{split}.npz")
    saved_pair = ("--query", tmp_path / "query.npz", "--gallery", tmp_path / "gallery.npz")
    assert scores(run("evaluate", *saved_pair, "--rerank")) == expected


def test_a_search_finds_what_the_evaluation_ranks_first(run: Run, tmp_path: Path) -> None:
    """Of images of known people from other cameras, the nearest that search finds is the one that R1 counts."""
    root, folders = made(tmp_path / "set", "market1501", seed=3)
    model, file = write_model(tmp_path / "m.onnx"), tmp_path / "g.npz"
    run("extract", model, folders[1], "--out", file)
    queries = run("search", model, folders[0], "--gallery", file, "--top", 500)["queries"]
    firsts = []
    for query in queries:
        name = Path(query["path"]).name
        if name.startswith(("-1", "stray")):
            continue
        own = (int(name[:4]), int(name[6]) - 1)
        left = [hit for hit in query["matches"] if hit["pid"] >= 0 and (hit["pid"], hit["camid"]) != own]
        firsts.append(left[0]["pid"] == own[0])
    assert np.mean(firsts) == pytest.approx(run("evaluate", model, "--data", root)["R1"])


def test_one_camera_needs_to_be_asked_for_and_is_labelled(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = made(tmp_path / "set", "market1501")
    for path in root.rglob("*.png"):
        if "_c1s" not in path.name:
            path.unlink()
    model = write_model(tmp_path / "m.onnx")
    command = ["evaluate", str(model), "--data", str(root)]
    assert guarded(main, command) == 3
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "camera" in last and "match" in last and "--same-camera keep" in last
    document = run(*command, "--same-camera", "keep")
    assert document["same_camera"] == "keep" and "not the published protocol" in document["protocol"]
    assert guarded(main, [*command, "--same-camera", "keep"]) == 0
    assert "not the published protocol" in capsys.readouterr().out
    assert "published" == run("evaluate", model, "--data", made(tmp_path / "b", "market1501")[0])["protocol"]


def test_every_suffix_is_read_and_others_are_counted(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "x"
    crop(folder / "a.jpg", 1, np.random.default_rng(0))
    with Image.open(folder / "a.jpg") as image:
        for suffix in ("jfif", "tif", "tiff", "JPE"):
            image.save(folder / f"b.{suffix}", "TIFF" if suffix.startswith("ti") else "JPEG")
    (folder / "c.heic").touch()
    shutil.copy(folder / "b.tif", tmp_path / "001_01.tif")
    model = write_model(tmp_path / "m.onnx")
    assert guarded(main, ["extract", str(model), str(folder), "--out", str(tmp_path / "f.npz")]) == 0
    assert "1 .heic" in capsys.readouterr().err
    assert len(load_features(tmp_path / "f.npz").paths) == 5
    assert run("extract", model, tmp_path / "001_01.tif", "--out", tmp_path / "o.npz")["images"] == 1
