"""What the build survey runs and reads: the commands as a pure function, the row from a manifest written by hand."""

import json
from pathlib import Path

import pytest

from benchmarks.experiments import builds
from runtime.errors import UserError
from runtime.files.manifest import write_manifest

DEMO = builds.CANDIDATES[-1]


def test_every_model_is_built_in_both_precisions_for_both_capabilities_unpruned_and_pruned():
    made = builds.commands(builds.CANDIDATES[0], Path("w"), Path("w/base_s12/unpruned.safetensors"))
    engines = [path.name for path in made if path.suffix == ".engine"]
    assert len(engines) == len(set(engines)) == 2 * 2 * 2
    # a file is made before it is used
    order = [str(path) for path in made]
    for path, command in made.items():
        used = [word for word in command if word in order and word != str(path)]
        assert all(order.index(word) < order.index(str(path)) for word in used)


def test_only_random_weights_go_ungated():
    random = builds.commands(builds.CANDIDATES[0], Path("w"), Path("m.safetensors"))
    shipped = builds.commands(DEMO, Path("w"), Path("m.safetensors"))
    assert sum("--gate" in command for command in random.values()) == 2
    assert not any("--gate" in command or "train.fine_epochs=0" in command for command in shipped.values())


def test_a_row_says_what_the_manifest_says(tmp_path):
    (tmp_path / "pruned.int8.onnx").write_bytes(b"12345")
    engine = tmp_path / "pruned.int8.sm89.engine"
    engine.write_bytes(b"plan")
    built = {"seconds": 3.5, "peak_mib": 99, "bytes": 4, "fused_attention_strings": 7}
    write_manifest(engine, {"kind": "engine", "built": built, "machine": {"tensorrt": "1.7.1"}})
    row = builds.row("hybrid_lite", engine)
    assert (row["form"], row["precision"], row["compute_capability"]) == ("pruned", "int8", "8.9")
    assert (row["seconds"], row["peak_mib"], row["engine_bytes"], row["onnx_bytes"]) == (3.5, 99, 4, 5)
    assert row["fused_attention_strings"] == 7 and row["tensorrt"] == "1.7.1"


def test_a_command_that_fails_ends_the_survey_with_its_command_and_code(tmp_path, monkeypatch):
    monkeypatch.setattr(builds, "commands", lambda *_: {tmp_path / "x.onnx": ["-c", "raise SystemExit(7)"]})
    with pytest.raises(UserError, match="exit code 7 .*python -c"):
        builds.build_all(DEMO, tmp_path)


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    there = tmp_path / "x.onnx"
    there.write_text(json.dumps({}))
    monkeypatch.setattr(builds, "commands", lambda *_: {there: ["-c", "raise SystemExit(7)"]})
    assert builds.build_all(DEMO, tmp_path) == []
