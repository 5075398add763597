"""Models with narrower MLPs and without some blocks go through every form and precision of the export."""

import shutil

import pytest

from export import cli as command
from export.options import SHIPPED
from prune.model.file import load_model, save_model
from prune.model.surgery import keep_neurons, remove_blocks
from prune.scoring.model_scores import score_neuron_magnitudes
from runtime.entry import guarded
from runtime.opening import open_artifact
from runtime.spec import InputSpec

DEMO = SHIPPED.parent / "demo" / "model.safetensors"


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Forty shipped images of different people, in a folder without identities."""
    root = tmp_path_factory.mktemp("crops")
    for name in sorted(path.name for path in (SHIPPED / "twins").iterdir())[::3]:
        shutil.copy(SHIPPED / "twins" / name, root / f"picture{name}")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The demo's teacher without its sixth block and without a quarter of the other neurons; one block keeps very few."""
    model, manifest = load_model(DEMO)
    counts = [576, 576, 9, 576, 576, 576, 768]
    scores = score_neuron_magnitudes(model)
    keep = [sorted(score.topk(count).indices.tolist()) for score, count in zip(scores, counts)]
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    thinned = keep_neurons(remove_blocks(model, [5]), keep)
    save_model(thinned, path, InputSpec.from_json(manifest["input"], "demo"))
    return path


@pytest.mark.parametrize(
    "options",
    [
        ["--form", "reference"],
        ["--form", "folded"],
        ["--precision", "fp16"],
        ["--precision", "int8"],
        ["--precision", "fp16", "--target", "tensorrt"],
        ["--precision", "int8", "--target", "tensorrt"],
    ],
)
def test_every_form_and_precision_passes_its_gate(options, weights, crops, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    code = guarded(command.main, [str(weights), "--out", str(out), "--check", str(crops), *options])
    assert code == 0, capsys.readouterr().err
    manifest = open_artifact(out).manifest
    assert manifest["gate"]["passed"]
    assert [block.get("hidden") for block in manifest["shape"]["blocks"]] == [
        576,
        576,
        9,
        576,
        576,
        None,
        None,
    ]
    if "--form" in options:
        assert manifest["gate"]["numbers"]["difference_max"] < 1e-5
    if "int8" in options:
        table = manifest["sensitivity"]
        # six blocks are left, of four groups each, and the two branches'
        blocks = {row["group"].split(".")[0] for row in table["rows"]} - {"jpm"}
        assert blocks == {f"block{index}" for index in range(6)}
