"""prune.py and prune.evaluate end to end on a data set of twelve people."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prune.cli import evaluate
from prune.cli import prune as command
from prune.config.settings import PruneConfig
from prune.model.file import load_model, save_model
from prune.scoring import inputs
from prune.session import open_weights
from prune.training.losses import training_loss
from runtime.datasets import read_dataset
from runtime.entry import guarded
from runtime.extraction.accuracy import accuracy
from tests.fakes import lite
from tests.fakes.authors_checkpoint import amg_checkpoint

CONFIG = """
model: {variant: vit_lite, size: [64, 32], stride: 8, cameras: 3, identities: 12, drop_path: 0}
data: {layout: market1501}
prune:
  heads: {fraction: 0.25}
  tokens: {fraction: 0.25, floor: 4}
  batches: 1
  identities: 4
  images: 2
train: {optimizer: adamw, lr: 1e-4, identities: 4, images: 2, fine_epochs: 0, final_epochs: 1, warmup_epochs: 0}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Market-1501 names; a person is two colours, a camera a brightness."""
    root, random = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    folders = (
        ("bounding_box_train", range(1, 13), 3, 2),
        ("query", range(21, 26), 1, 1),
        ("bounding_box_test", range(21, 26), 3, 1),
    )
    for folder, people, cameras, shots in folders:
        (root / folder).mkdir()
        for person in people:
            colours = np.random.default_rng(person).integers(30, 200, (2, 1, 3))
            for camera in range(1, cameras + 1):
                for shot in range(shots):
                    pixels = np.repeat(colours, 32, axis=0).repeat(32, axis=1) + 10 * camera
                    pixels = pixels + random.integers(0, 10, pixels.shape)
                    name = f"{person:04d}_c{camera}s1_{shot:06d}_00.png"
                    Image.fromarray(pixels.astype(np.uint8)).save(root / folder / name)
    return root


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    root = tmp_path_factory.mktemp("teacher")
    (root / "config.yaml").write_text(CONFIG)
    save_model(lite.model(identities=12), root / "model.safetensors", lite.SPEC)
    return root


def prune(teacher, data, out, *more):
    weights = ["--config", str(teacher / "config.yaml"), "--weights", str(teacher / "model.safetensors")]
    return guarded(command.main, [*weights, "--data", str(data), "--out", str(out), "--device", "cpu", *more])


def test_prune_scores_cuts_tunes_and_evaluates(teacher, data, tmp_path, capsys):
    assert prune(teacher, data, tmp_path / "out", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert [(cut["what"], cut["asked"], cut["removed"]) for cut in result["cuts"]] == [
        ("heads", 10, 10),
        ("tokens", 36, 36),
    ]
    assert {"mAP", "R1", "R5", "R10", "mINP"} <= set(result["after"]["scores"])
    assert result["after"]["flops"]["macs_paper"] < result["before"]["flops"]["macs_paper"]
    model, manifest = load_model(tmp_path / "out" / "model.safetensors")
    assert sum(len(block.heads) for block in model.architecture.blocks) == 7 * 6 - 10
    assert manifest["parent"] == load_model(teacher / "model.safetensors")[1]["sha256"]
    # fine-tuning moved what surgery left alone
    before = load_model(teacher / "model.safetensors")[0].b1[0].mlp.fc1.weight
    assert not torch.equal(model.b1[0].mlp.fc1.weight, before)
    assert (tmp_path / "out" / "round_02" / "metrics.jsonl").exists()
    assert not list((tmp_path / "out").rglob("*.pt"))


def test_pruning_again_starts_from_stage_ones_output(teacher, data, tmp_path, capsys):
    tuned = ["--set", "train.final_epochs=0", "--evaluate", "none"]
    assert prune(teacher, data, tmp_path / "one", "--set", "prune.tokens.fraction=0", *tuned) == 0
    config, weights = str(teacher / "config.yaml"), str(tmp_path / "one" / "model.safetensors")
    argv = ["--config", config, "--weights", weights, "--data", str(data), "--out", str(tmp_path / "two")]
    assert guarded(command.main, [*argv, "--set", "prune.heads.fraction=0", *tuned]) == 0
    model, _ = load_model(tmp_path / "two" / "model.safetensors")
    assert sum(len(block.heads) for block in model.architecture.blocks) == 7 * 6 - 10
    assert sum(22 - len(block.tokens) for block in model.architecture.blocks) == 36


def batches(data):
    items = read_dataset(str(data), "market1501").train
    return inputs.batch_source(items, lite.SPEC, PruneConfig(batches=6, identities=4, images=2), "cpu")


def test_a_classifier_that_does_not_know_the_people_is_not_trusted(data):
    loss, why = inputs.scoring_loss(lite.model(identities=7), 12, batches(data))
    assert loss is inputs.triplet_only and "7 identities" in why and "12" in why
    loss, why = inputs.scoring_loss(lite.model(identities=12), 12, batches(data))
    assert loss is inputs.triplet_only and "right on only" in why


def test_a_classifier_that_knows_them_is(data):
    model = lite.model(identities=12)
    scoring_batches = list(batches(data)())
    with torch.no_grad():
        # a classifier that fits these crops: least squares on one-hot labels
        features = torch.cat(
            [model.necks(model.parts(images, rows))[0] for images, _, rows in scoring_batches]
        )
        targets = torch.eye(12)[torch.cat([labels for _, labels, _ in scoring_batches])]
        model.classifier.weight.copy_((torch.linalg.pinv(features.double()) @ targets.double()).T)
    loss, why = inputs.scoring_loss(model, 12, batches(data))
    assert loss is training_loss, why


def test_cameras_of_another_data_set_are_unknown_to_the_model(data):
    """Market-1501's names, but not its published counts: the mean camera, as in evaluation."""
    dataset = read_dataset(str(data), "market1501")
    assert {item.camid for item in inputs.training_items(dataset, "market1501")} == {-1}
    rows = [rows for _, _, rows in inputs.batch_source(inputs.training_items(dataset, "market1501"), lite.SPEC,
            PruneConfig(batches=1, identities=4, images=2), "cpu")()]  # fmt: skip
    assert set(rows[0].tolist()) == {lite.SPEC.mean_camera}
    anny = dataclasses.replace(dataset, layout="anny")
    assert {item.camid for item in inputs.training_items(anny, "anny")} == {0, 1, 2}


def test_the_result_never_overwrites_its_parent(teacher, data, capsys):
    before = (teacher / "model.safetensors").read_bytes()
    assert prune(teacher, data, teacher, "--evaluate", "none") == 2
    assert "overwrite" in capsys.readouterr().err
    assert (teacher / "model.safetensors").read_bytes() == before


def test_other_identities_get_new_classifiers_and_the_rest_stays(teacher, data, tmp_path, capsys):
    root = tmp_path / "other"
    root.mkdir()
    (root / "config.yaml").write_text(CONFIG)
    save_model(lite.model(identities=7), root / "model.safetensors", lite.SPEC)
    assert prune(root, data, tmp_path / "out", "--evaluate", "none") == 0
    assert "new classifiers for 12 identities" in capsys.readouterr().err
    assert load_model(tmp_path / "out" / "model.safetensors")[0].architecture.identities == 12


def test_evaluate_gives_the_same_scores_as_prune(teacher, data, capsys):
    weights = str(teacher / "model.safetensors")
    assert evaluate.main([weights, "--data", str(data), "--layout", "market1501", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    artifact, _ = open_weights(weights, None)
    assert document["mAP"] == accuracy(artifact, read_dataset(str(data), "market1501"))["mAP"]
    assert document["queries"] == 5


def test_evaluate_reads_a_published_checkpoint_with_its_configuration(tmp_path, data, capsys):
    torch.save(amg_checkpoint("occduke_small_s11"), tmp_path / "small.pth")
    (tmp_path / "c.yaml").write_text("model: {variant: vit_small, stride: 11, cameras: 8}\n")
    argv = [str(tmp_path / "small.pth"), "--data", str(data), "--layout", "market1501", "--json"]
    # its tensors say what it is, but not of which data set its camera embeddings are
    assert guarded(evaluate.main, argv) == 0
    read = capsys.readouterr()
    recognised = json.loads(read.out)["mAP"]
    assert "vit_small" in read.err
    assert evaluate.main([*argv, "--config", str(tmp_path / "c.yaml"), "--camera", "none"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["mAP"] <= 1 and 0 < recognised <= 1


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--set", "prune.heads.fraction=1.5"], 2, "fraction"),
        (["--set", "prune.heads.fration=0.1"], 2, "did you mean fraction"),
        (["--set", "prune.tokens.count=5000"], 2, "at most"),
        (["--set", "prune.identities=0"], 2, "identities must be at least 2"),
        (["--set", "prune.heads.multiple=0"], 2, "multiple must be at least 1"),
        (["--set", "model.neck=after"], 2, "neck before"),
        (["--set", "model.stride=12"], 2, "stride 8"),
        (["--data", "nowhere"], 3, "nowhere"),
    ],
)
def test_mistakes_are_one_line(more, code, words, teacher, data, tmp_path, capsys):
    assert prune(teacher, data, tmp_path / "out", *more) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and lines[0].startswith(f"error[{code}]") and words in lines[0]


@pytest.mark.parametrize("script", ["prune.py", "export_onnx.py", "bench.py"])
def test_the_root_scripts_run_beside_their_packages(script):
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, script, "--help"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and script in done.stdout
