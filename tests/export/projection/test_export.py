"""Exports with --dim: the features against numpy, what the manifest records, and what is refused."""

import json
import shutil

import numpy as np
import onnx
import pytest

from export import cli
from export.__main__ import main as adopting
from export.int8.groups import groups
from export.projection import choose
from prune.model.file import save_model
from runtime.__main__ import main as runtime
from runtime.entry import guarded
from runtime.features import load_features
from runtime.files.manifest import read_manifest
from runtime.images.decode import load_image
from runtime.opening import open_artifact
from runtime.ranking.metrics import evaluate
from tests.fakes import foreign as fake
from tests.fakes import lite

BGR = ["--color", "bgr", "--mean", "0.3,0.4,0.5", "--std", "0.2,0.25,0.3"]


@pytest.fixture(autouse=True)
def any_cost(monkeypatch):
    """The networks are random, so what a projection costs says nothing; tests of the gate set the limit."""
    monkeypatch.setattr(choose, "MOST_COST", 100)


@pytest.fixture
def path(tmp_path):
    return fake.write(tmp_path / "theirs.onnx")


def adopt(path, out, people, *more):
    return guarded(adopting, ["adopt", str(path), "--out", str(out), "--check", str(people), *BGR, *more])


def images(folder):
    return np.stack([load_image(str(path)) for path in sorted(folder.iterdir())])


def theirs(folder):
    return fake.features(images(folder), color="bgr", mean=(0.3, 0.4, 0.5), std=(0.2, 0.25, 0.3))


def expected(known, features, dim):
    """Return the projected features as numpy computes them from the original's."""
    _, _, rows = np.linalg.svd(known, full_matrices=False)
    short = features @ rows[:dim].T
    return short / np.linalg.norm(short, axis=1, keepdims=True)


def up_to_signs(ours, oracle):
    return np.abs(ours * np.sign((ours * oracle).sum(axis=0)) - oracle).max()


def test_the_features_are_those_of_numpy(path, people, tmp_path, capsys):
    out = tmp_path / "short.onnx"
    assert adopt(path, out, people, "--dim", "5", "--projection-data", str(people)) == 0
    known, features = theirs(people / "bounding_box_train"), theirs(people / "query")
    artifact = open_artifact(out)
    ours = artifact.run(images(people / "query"))
    assert ours.shape == (10, 5) and artifact.dim == 5
    assert up_to_signs(ours, expected(known, features, 5)) < 1e-5
    check = np.load(f"{out}.check.npz")
    assert np.abs(artifact.run(check["images"]) - check["features"]).max() < 1e-5
    entry = read_manifest(out)["output"]["projection"]
    assert (entry["from"], entry["dim"], entry["images"]) == (fake.DIM, 5, 48)
    weight = {tensor.name: tensor for tensor in onnx.load(out).graph.initializer}["projection_weight"]
    assert artifact.projection == entry["sha256"] and list(weight.dims) == [fake.DIM, 5]
    assert str(people) not in json.dumps(entry) and "12 -> 5 numbers" in capsys.readouterr().out


def test_the_cost_is_the_difference_of_two_map_scores(path, people, tmp_path, monkeypatch, capsys):
    """With a limit below the cost, the file is refused, and the message names a number that passes."""
    known, query, gallery = (
        theirs(people / name) for name in ("bounding_box_train", "query", "bounding_box_test")
    )
    who = [np.repeat(np.arange(10), crops) for crops in (1, 3)]
    where = [np.zeros(10), np.tile([1, 2, 3], 10)]

    def score(dim):
        sides = [query, gallery] if dim is None else [expected(known, side, dim) for side in (query, gallery)]
        return evaluate(sides[0], who[0], where[0], sides[1], who[1], where[1]).mAP

    costs = {dim: 100 * (score(None) - score(dim)) for dim in (1, 2, 4, 8)}
    assert costs[1] > costs[8] + 1
    out = tmp_path / "short.onnx"
    assert adopt(path, out, people, "--dim", "8", "--projection-data", str(people)) == 0
    cost = read_manifest(out)["gate"]["projection"]
    # a rounding error may swap two images that are equally near, which is worth less than this
    assert abs(cost["cost"] - costs[8]) < 0.3 and abs(cost["all"] - score(None)) < 0.003
    assert cost["cost"] == 100 * (cost["all"] - cost["projected"])
    monkeypatch.setattr(choose, "USUAL", (2, 4, 8))
    limit = max(costs[8], 0) + 0.5
    monkeypatch.setattr(choose, "MOST_COST", limit)
    capsys.readouterr()
    assert adopt(path, out, people, "--dim", "1", "--projection-data", str(people)) == 7
    first = next(dim for dim in (2, 4, 8) if costs[dim] <= limit)
    err = capsys.readouterr().err
    assert "points of mAP" in err and f"--dim {first}," in err
    assert not list(tmp_path.glob("short.onnx*"))
    monkeypatch.setattr(choose, "MOST_COST", -200)
    assert adopt(path, out, people, "--dim", "1", "--projection-data", str(people)) == 7
    assert "leave --dim out" in capsys.readouterr().err


def test_on_rendered_people_a_projection_must_also_keep_the_features(
    path, people, tmp_path, monkeypatch, capsys
):
    """The people that ship with the project do not show what real people lose; on other data, mAP alone decides."""
    known, features = theirs(people / "bounding_box_train"), theirs(people / "query")
    _, _, rows = np.linalg.svd(known, full_matrices=False)
    sides = np.concatenate([features, theirs(people / "bounding_box_test")])
    kept = {dim: ((sides @ rows[:dim].T) ** 2).sum(axis=1).mean() for dim in (2, 8, 10)}
    out, words = tmp_path / "short.onnx", ["--dim", "2", "--projection-data", str(people)]
    assert adopt(path, out, people, *words) == 0
    assert abs(read_manifest(out)["gate"]["projection"]["kept"] - kept[2]) < 1e-5
    assert f"{kept[2]:.0%}" in capsys.readouterr().out
    monkeypatch.setattr(choose, "SHIPPED", people)
    monkeypatch.setattr(choose, "USUAL", (8, 10))
    monkeypatch.setattr(choose, "LEAST_KEPT", (kept[8] + kept[10]) / 2)
    assert adopt(path, out, people, *words) == 7
    err = capsys.readouterr().err
    assert f"{kept[2]:.0%}" in err and "--dim 10," in err and not out.exists()
    monkeypatch.setattr(choose, "LEAST_KEPT", 1.1)
    assert adopt(path, out, people, *words) == 7
    assert "--check" in capsys.readouterr().err


@pytest.mark.parametrize(("precision", "target"), fake.CONVERSIONS)
def test_every_precision_and_target_passes_its_gate(precision, target, path, people, tmp_path):
    out = tmp_path / "short.onnx"
    words = ["--dim", "6", "--projection-data", str(people), "--precision", precision, "--target", target]
    assert adopt(path, out, people, *words) == 0
    manifest = read_manifest(out)
    assert (
        manifest["precision"] == precision and manifest["gate"]["passed"] and manifest["output"]["dim"] == 6
    )


def test_without_the_gate_nothing_is_measured(path, people, tmp_path):
    out = tmp_path / "short.onnx"
    words = ["--dim", "6", "--projection-data", str(people / "query"), "--gate", "off"]
    assert adopt(path, out, tmp_path, *words) == 3, "ten crops are fewer than twice six"
    words[1] = "5"
    assert adopt(path, out, people, *words) == 0
    manifest = read_manifest(out)
    assert "projection" not in manifest["gate"] and manifest["output"]["projection"]["images"] == 10


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--dim", "5"], 2, ["--projection-data"]),
        (["--projection-data", "PEOPLE"], 2, ["--dim"]),
        (["--dim", "0", "--projection-data", "PEOPLE"], 2, ["--dim 0"]),
        (["--dim", "12", "--projection-data", "PEOPLE"], 2, ["below 12"]),
        (["--dim", "8", "--projection-data", "PEOPLE/query"], 3, ["10 crops", "at least 16"]),
        (["--dim", "5", "--projection-data", "PEOPLE/none"], 3, ["--projection-data"]),
        (["--dim", "5", "--projection-data", "EQUAL"], 3, ["1 directions"]),
        (["--dim", "5", "--projection-data", "PEOPLE", "--check", "PEOPLE/query"], 2, ["--dim", "--check"]),
    ],
)
def test_refusals_are_one_line_and_write_nothing(more, code, words, path, people, tmp_path, capsys):
    equal = tmp_path / "equal"
    equal.mkdir()
    for number in range(12):
        shutil.copy(next(iter((people / "query").iterdir())), equal / f"{number}.jpg")
    out = tmp_path / "short.onnx"
    more = [word.replace("PEOPLE", str(people)).replace("EQUAL", str(equal)) for word in more]
    assert adopt(path, out, people, *more) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1 and all(word in errors[0] for word in words)
    assert not list(tmp_path.glob("short.onnx*"))


def test_galleries_of_two_projections_are_never_mixed(path, people, tmp_path, capsys):
    files = {name: tmp_path / f"{name}.onnx" for name in ("one", "two")}
    for name, out in files.items():
        data = people if name == "one" else people / "bounding_box_test"
        assert adopt(path, out, people, "--dim", "5", "--projection-data", str(data)) == 0
    store, crops = str(tmp_path / "g"), str(people / "query")

    def add(name):
        return guarded(runtime, ["gallery", "add", str(files[name]), crops, "--store", store])

    assert add("one") == 0
    capsys.readouterr()
    assert add("two") == 4
    digest = read_manifest(files["one"])["output"]["projection"]["sha256"]
    err = capsys.readouterr().err
    assert f"projection (sha256) is {digest[:12]}" in err
    # the features of a file belong to the same space as the gallery, and so do those that a gallery exports
    saved = tmp_path / "q.npz"
    assert guarded(runtime, ["extract", str(files["one"]), crops, "--out", str(saved)]) == 0
    assert load_features(saved).projection == digest
    assert guarded(runtime, ["gallery", "merge", str(saved), "--store", store]) == 0
    assert guarded(runtime, ["gallery", "export", "--store", store, "--out", str(tmp_path / "e.npz")]) == 0
    assert load_features(tmp_path / "e.npz").projection == digest


@pytest.mark.parametrize(
    "changes",
    [
        {"jpm": True, "cameras": 3},
        pytest.param({"jpm": False, "cameras": 0, "neck": "after"}, marks=pytest.mark.full),
    ],
)
def test_a_transformer_gets_one_product_more_and_the_same_groups_for_int8(changes, people, tmp_path):
    spec = lite.SPEC.from_json(
        lite.SPEC.to_json()
        | {"cameras": changes["cameras"]}
        | ({} if changes["cameras"] else {"camera": "none"})
    )
    weights = tmp_path / "model.safetensors"
    save_model(lite.shallow(lite.pruned(**changes)), weights, spec)
    camera = ["--camera", "mean"] if changes["cameras"] else []
    short = ["--dim", "9", "--projection-data", str(people)]
    for name, more in (("whole", []), ("short", short)):
        words = [
            str(weights),
            "--out",
            str(tmp_path / f"{name}.onnx"),
            "--check",
            str(people),
            *camera,
            *more,
        ]
        assert guarded(cli.main, words) == 0
    whole, projected = (onnx.load(tmp_path / f"{name}.onnx") for name in ("whole", "short"))
    assert len(projected.graph.node) == len(whole.graph.node) + 1
    assert groups(projected) == groups(whole)
    assert read_manifest(tmp_path / "short.onnx")["nodes"]["simplified"] == len(projected.graph.node)
    models = [open_artifact(tmp_path / f"{name}.onnx") for name in ("whole", "short")]
    saved = {}
    for part in ("bounding_box_train", "query"):
        crops = np.stack([np.asarray(picture) for picture in resized(people / part)])
        saved[part] = [model.run(crops) for model in models]
    oracle = expected(
        saved["bounding_box_train"][0].astype(np.float64), saved["query"][0].astype(np.float64), 9
    )
    assert up_to_signs(saved["query"][1], oracle) < 1e-4


def resized(folder):
    """Yield the crops of a folder in the size of the small transformer."""
    from runtime.images.preprocess import resize

    for path in sorted(folder.iterdir()):
        yield resize(load_image(str(path)), lite.SPEC)
