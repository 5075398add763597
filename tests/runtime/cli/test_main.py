"""`python -m runtime`: results on stdout, one line per mistake on stderr, and its exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.cli import evaluation
from runtime.entry import guarded
from runtime.features import load_features
from runtime.images import sources
from runtime.ranking.metrics import evaluate
from tests.fakes.tiny_model import DIM, SPEC, write_model

ROOT = Path(__file__).resolve().parents[3]
PEOPLE = ROOT.parent / "shared" / "data" / "pku_reid_74"
CAMERAS = dataclasses.replace(SPEC, camera="input", cameras=6, dataset="market1501")
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def picture(path: Path, pid: int, seed: int) -> None:
    """A crop whose colours belong to the person, with some noise."""
    colours = np.random.default_rng(pid).integers(0, 256, (8, 4, 3))
    noise = np.random.default_rng(seed).integers(-60, 60, (8, 4, 3))
    crop = Image.fromarray(np.clip(colours + noise, 0, 255).astype(np.uint8))
    crop.resize((24, 48)).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Market-1501's layout: 6 people, 2 cameras, a distractor and a junk image in the gallery."""
    root = tmp_path / "people"
    for folder in FOLDERS.values():
        (root / folder).mkdir(parents=True)
    for pid in range(1, 7):
        picture(root / "query" / f"{pid:04}_c1s1_000001_00.png", pid, pid)
        for frame in (1, 2):
            picture(root / "bounding_box_test" / f"{pid:04}_c2s1_00000{frame}_00.png", pid, pid * 10 + frame)
            picture(
                root / "bounding_box_train" / f"{pid + 50:04}_c{frame}s1_000001_00.png", pid, pid * 20 + frame
            )
    picture(root / "bounding_box_test" / "0000_c2s1_000009_00.png", 99, 99)
    picture(root / "bounding_box_test" / "-1_c2s1_000009_00.png", 98, 98)
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.onnx")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = guarded(main, [str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(str(stop.code))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def refused(result: tuple[int, str, str], code: int, *words: str) -> None:
    """The exit code, nothing on stdout, the reason in one last line on stderr."""
    got, out, err = result
    assert (got, out) == (code, ""), err
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"error[{code}] ") and "Traceback" not in err
    for word in words:
        assert word in last


def test_inspect_counts_the_splits(run: Run, data: Path) -> None:
    code, out, err = run("inspect", data, "--json")
    document = json.loads(out)
    assert code == 0 and document["layout"] == "market1501"
    assert document["splits"] == {
        "train": {"images": 12, "identities": 6, "cameras": 2},
        "query": {"images": 6, "identities": 6, "cameras": 1},
        "gallery": {"images": 13, "identities": 7, "cameras": 1},
    }
    assert "published" in err and len(document["warnings"]) == 3
    code, out, _ = run("inspect", data)
    assert code == 0 and "market1501" in out and "identities" in out and "13" in out


def test_extract_writes_features_their_manifest_and_a_summary(run: Run, data: Path, model: Path) -> None:
    out_file = data.parent / "deep" / "g.npz"
    code, out, err = run(
        "extract", model, data / "query", "--out", out_file, "--json", "--batch", 4, "--threads", 1
    )
    summary = json.loads(out)
    assert code == 0 and summary["images"] == 6 and summary["skipped"] == 0 and summary["dim"] == DIM
    saved = load_features(out_file)
    assert saved.pids.tolist() == [1, 2, 3, 4, 5, 6] and set(saved.camids.tolist()) == {0}
    assert summary["model"] == saved.model and saved.layout == "market1501"
    assert not (out_file.parent / "skipped.jsonl").exists()
    assert "6 of 6" in err


def test_evaluate_gives_the_same_numbers_from_the_data_and_from_files(
    run: Run, data: Path, model: Path
) -> None:
    for split in ("query", "gallery"):
        code, *_ = run("extract", model, data / FOLDERS[split], "--out", data.parent / f"{split}.npz")
        assert code == 0
    q, g = (data.parent / f"{split}.npz" for split in ("query", "gallery"))
    code, fresh, _ = run("evaluate", model, "--data", data, "--json")
    assert code == 0
    code, saved, _ = run("evaluate", "--query", q, "--gallery", g, "--json")
    assert code == 0
    fresh, saved = json.loads(fresh), json.loads(saved)
    query, gallery = load_features(q), load_features(g)
    junk = gallery.pids >= 0
    expected = evaluate(
        query.features,
        query.pids,
        query.camids,
        gallery.features[junk],
        gallery.pids[junk],
        gallery.camids[junk],
    )
    for key in ("mAP", "R1", "R5", "R10", "mINP", "queries", "queries_without_match"):
        assert fresh[key] == pytest.approx(expected.to_json()[key]) == pytest.approx(saved[key])
    assert 0 < fresh["mAP"] <= 1 and fresh["queries"] == 6 and fresh["layout"] == "market1501"


def test_evaluate_prints_a_table_for_people(run: Run, data: Path, model: Path) -> None:
    code, out, _ = run("evaluate", model, "--data", data)
    assert code == 0 and "mAP" in out and "%" in out


def test_reranking_is_an_option_and_is_recorded(run: Run, data: Path, model: Path) -> None:
    code, out, _ = run("evaluate", model, "--data", data, "--rerank", "--json")
    assert code == 0 and json.loads(out)["rerank"] is True
    assert json.loads(run("evaluate", model, "--data", data, "--json")[1])["rerank"] is False


def test_search_finds_the_query_image_itself_first(run: Run, data: Path, model: Path) -> None:
    gallery = data.parent / "g.npz"
    run("extract", model, data / "bounding_box_test", "--out", gallery)
    wanted = sorted((data / "bounding_box_test").iterdir())[3:5]
    code, out, _ = run("search", model, *wanted, "--gallery", gallery, "--top", 3, "--json")
    queries = json.loads(out)["queries"]
    assert code == 0 and [query["path"] for query in queries] == [str(path) for path in wanted]
    for query in queries:
        assert [match["rank"] for match in query["matches"]] == [1, 2, 3]
        assert query["matches"][0]["path"] == query["path"]
        assert query["matches"][0]["distance"] == pytest.approx(0, abs=1e-5)
        assert set(query["matches"][0]) == {"rank", "path", "pid", "camid", "distance"}
    code, out, _ = run("search", model, wanted[0], "--gallery", gallery)
    assert code == 0 and wanted[0].name in out.replace("\n", "")


def test_bad_images_within_the_limit_are_listed_and_the_run_ends_well(
    run: Run, data: Path, model: Path
) -> None:
    bad = data / "query" / "0003_c1s1_000001_00.png"
    bad.write_bytes(b"")
    out_file = data.parent / "out" / "q.npz"
    code, out, err = run("extract", model, data / "query", "--out", out_file, "--max-bad", 0.2, "--json")
    assert code == 0 and json.loads(out)["skipped"] == 1 and "skipped.jsonl" in err
    (record,) = map(json.loads, (out_file.parent / "skipped.jsonl").read_text().splitlines())
    assert record["path"] == str(bad) and record["reason"] == "empty file"
    scores = json.loads(run("evaluate", model, "--data", data, "--max-bad", 0.2, "--json")[1])
    assert scores["skipped"] == 1 and scores["queries"] == 5
    assert scores["skipped_images"] == [{"path": str(bad), "reason": "empty file"}]


def test_too_many_bad_images_end_3_and_the_good_features_are_kept(run: Run, data: Path, model: Path) -> None:
    (data / "query" / "0003_c1s1_000001_00.png").write_bytes(b"")
    out_file = data.parent / "out" / "q.npz"
    refused(run("extract", model, data / "query", "--out", out_file), 3, "0003_c1s1", "--max-bad")
    assert len(load_features(out_file).paths) == 5
    assert (out_file.parent / "skipped.jsonl").read_text().count("\n") == 1
    refused(run("evaluate", model, "--data", data), 3, "0003_c1s1")


def test_nothing_usable_ends_3_and_writes_no_features(run: Run, data: Path, model: Path) -> None:
    for path in (data / "query").iterdir():
        path.write_bytes(b"x")
    out_file = data.parent / "out" / "q.npz"
    refused(run("extract", model, data / "query", "--out", out_file, "--max-bad", 1), 3, "6 of 6")
    assert [path.name for path in out_file.parent.iterdir()] == ["skipped.jsonl"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["evaluate"],
        ["evaluate", "MODEL"],
        ["evaluate", "--query", "q.npz"],
        ["evaluate", "MODEL", "--query", "q.npz", "--gallery", "g.npz"],
        ["evaluate", "--query", "q.npz", "--gallery", "g.npz", "--data", "DATA"],
        ["evaluate", "--query", "q.npz", "--gallery", "g.npz", "--camera", "mean"],
        ["extract", "MODEL", "DATA"],
        ["extract", "MODEL", "DATA", "--out", "f.npy"],
        ["extract", "MODEL", "DATA", "--out", "f.npz", "--device", "tpu"],
        ["extract", "MODEL", "DATA", "--out", "f.npz", "--batch", "0"],
        ["extract", "MODEL", "DATA", "--out", "f.npz", "--threads", "none"],
        ["extract", "MODEL", "DATA", "--out", "f.npz", "--max-bad", "2"],
        ["extract", "MODEL", "DATA", "--out", "f.npz", "--camera", "front"],
        ["extract", "MODEL", "DATA", "--out", "f.npz", "--camera", "0"],
        ["extract", "MODEL", "DATA", "--out", "f.npz", "--resize", "exact"],
        ["evaluate", "MODEL", "--data", "DATA", "--resize", "fast"],
        ["search", "MODEL", "DATA", "--gallery", "g.npz", "--top", "0"],
        ["inspect", "DATA", "--layout", "mars"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_2(run: Run, data: Path, model: Path, arguments: list[str]) -> None:
    places = {"MODEL": str(model), "DATA": str(data)}
    code, out, err = run(*[places.get(argument, argument) for argument in arguments])
    assert (code, out) == (2, "") and err and "Traceback" not in err


def test_missing_or_empty_data_ends_3(run: Run, data: Path, model: Path) -> None:
    refused(run("evaluate", model, "--data", data / "nowhere"), 3, "nowhere")
    refused(run("extract", model, data / "nowhere", "--out", data / "f.npz"), 3, "nowhere")
    for path in (data / "bounding_box_test").iterdir():
        path.unlink()
    refused(run("evaluate", model, "--data", data), 3, "gallery set", "bounding_box_test")
    refused(run("extract", model, data / "bounding_box_test", "--out", data / "f.npz"), 3, "no image")


def test_queries_that_only_their_own_camera_saw_end_3(run: Run, data: Path, model: Path) -> None:
    for path in (data / "bounding_box_test").iterdir():
        path.rename(path.with_name(path.name.replace("_c2", "_c1")))
    refused(run("evaluate", model, "--data", data), 3, "match")


def test_a_damaged_ungated_or_foreign_artifact_ends_4(run: Run, data: Path, tmp_path: Path) -> None:
    out = data / "f.npz"
    model = write_model(tmp_path / "m.onnx")
    refused(run("extract", tmp_path / "model.safetensors", data / "query", "--out", out), 4, "export_onnx.py")
    refused(run("extract", tmp_path / "none.onnx", data / "query", "--out", out), 4, "none.onnx")
    ungated = write_model(tmp_path / "u.onnx", manifest={"gate": {"passed": None}})
    refused(run("extract", ungated, data / "query", "--out", out), 4, "--allow-ungated")
    code, _, err = run("extract", ungated, data / "query", "--out", out, "--allow-ungated")
    assert code == 0 and "WARNING" in err
    run("extract", model, data / "query", "--out", out)
    other = write_model(tmp_path / "o.onnx", dataclasses.replace(SPEC, mean=(0.1, 0.1, 0.1)), dim=DIM + 1)
    gallery = data / "g.npz"
    run("extract", other, data / "bounding_box_test", "--out", gallery)
    refused(run("evaluate", "--query", out, "--gallery", gallery), 4, "different models")
    refused(run("search", model, data / "query", "--gallery", gallery), 4, "different models")
    with open(model, "ab") as file:
        file.write(b"x")
    refused(run("extract", model, data / "query", "--out", out), 4, "changed")


def test_a_device_that_is_not_there_ends_5(run: Run, data: Path, model: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    refused(
        run("extract", model, data / "query", "--out", data / "f.npz", "--device", "cuda"),
        5,
        "onnxruntime-gpu",
    )
    assert not (data / "f.npz").exists()


def test_an_output_that_cannot_be_written_ends_6(run: Run, data: Path, model: Path) -> None:
    refused(run("extract", model, data / "query", "--out", model / "f.npz"), 6, "f.npz")


def test_features_that_are_not_numbers_end_7_and_name_the_image(run: Run, data: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "nan.onnx", nan=True)
    refused(run("extract", model, data / "query", "--out", data / "f.npz"), 7, "0001_c1s1", "NaN")
    assert not (data / "f.npz").exists()


def test_copies_between_query_and_gallery_are_told(run: Run, data: Path, model: Path) -> None:
    name = "0001_c2s1_000001_00.png"
    shutil.copy(
        data / "bounding_box_test" / name,
        data / "query" / name.replace("_c2", "_c1").replace("01_00", "07_00"),
    )
    code, _, err = run("evaluate", model, "--data", data, "--json")
    assert code == 0 and "1 query images have an exact copy in the gallery" in err
    shutil.copy(data / "query" / "0001_c1s1_000001_00.png", data / "query" / "0001_c1s1_000008_00.png")
    code, out, _ = run("extract", model, data / "query", "--out", data / "q.npz", "--json")
    assert code == 0 and json.loads(out)["duplicates"] == 1


def test_the_camera_policy_depends_on_whose_images_they_are(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "c.onnx", CAMERAS)

    def evaluated(*options: object) -> tuple[dict, str]:
        code, out, err = run("evaluate", model, "--data", data, "--json", *options)
        assert code == 0, err
        return json.loads(out), err

    def extracted() -> str:
        code, out, err = run("extract", model, data / "query", "--out", data / "q.npz", "--json")
        assert code == 0, err
        return str(json.loads(out)["camera"])

    scores, err = evaluated()
    assert scores["camera"] == extracted() == "mean" and "camera='input'" in err
    for policy in ("input", "none", "2"):
        assert evaluated("--camera", policy)[0]["camera"] == policy
    refused(run("evaluate", model, "--data", data, "--camera", 6), 2, "cameras 0 to 5")
    # Were these the published images, their cameras would be the model's own.
    for module in (evaluation, sources):
        monkeypatch.setattr(module, "count_warnings", lambda dataset: [])
    scores, err = evaluated()
    assert scores["camera"] == extracted() == "input" and "camera=" not in err
    code, *_ = run("extract", model, data / "bounding_box_test", "--out", data / "g.npz", "--camera", "mean")
    assert code == 0
    _, _, err = run("evaluate", "--query", data / "q.npz", "--gallery", data / "g.npz")
    assert "input for the query, mean for the gallery" in err


def test_names_without_identity_are_extracted_with_minus_one(run: Run, data: Path, model: Path) -> None:
    folder = data.parent / "loose"
    folder.mkdir()
    for name in ("a.png", "b\n.png", os.fsdecode(b"\xff.png")):
        picture(folder / name, 1, 1)
    (folder / "notes.txt").write_text("no image")
    code, out, _ = run("extract", model, folder, "--out", data / "f.npz", "--json")
    saved = load_features(data / "f.npz")
    assert code == 0 and json.loads(out)["images"] == 3
    assert saved.pids.tolist() == saved.camids.tolist() == [-1, -1, -1]
    code, out, _ = run("search", model, folder, "--gallery", data / "f.npz", "--json")
    assert code == 0 and len(json.loads(out)["queries"]) == 3
    code, out, _ = run("search", model, folder, "--gallery", data / "f.npz")
    assert code == 0 and "\\udcff.png" in out and "b\\n.png" in out


def test_as_a_program_it_prints_only_json_and_exits_with_the_code(data: Path, model: Path) -> None:
    command = [sys.executable, "-m", "runtime"]
    options = {"cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run([*command, "evaluate", model, "--data", data, "--json"], **options)  # type: ignore[call-overload]
    assert done.returncode == 0 and json.loads(done.stdout)["queries"] == 6
    done = subprocess.run([*command, "inspect", data / "none"], **options)  # type: ignore[call-overload]
    assert done.returncode == 3 and done.stdout == "" and done.stderr.startswith("error[3] ")
    assert len(done.stderr.splitlines()) == 1


def test_real_people_rank_better_than_chance(run: Run, model: Path) -> None:
    if not PEOPLE.is_dir():
        pytest.skip("the PKU-Reid crops are not on this machine")
    code, out, err = run("evaluate", model, "--data", PEOPLE, "--json")
    scores = json.loads(out)
    assert code == 0 and scores["queries"] == 240 and scores["queries_without_match"] == 0
    # 30 people: guessing finds the right one first in 3.3 % of the queries.
    assert 0.05 < scores["R1"] < 1 and 0.04 < scores["mAP"] < 1
    assert "published" in err
