"""Whether an engine belongs here, by its manifest, and the command that builds it again."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import pytest

from runtime.backends.tensorrt.compat import differences, rebuild_command, siblings
from runtime.backends.tensorrt.gpu import Gpu
from runtime.errors import ArtifactError
from runtime.files.manifest import sha256

HERE = {
    "system": platform.system(),
    "processor": platform.machine(),
    "gpu": "Orin",
    "compute_capability": "8.7",
}


@pytest.mark.parametrize(
    ("built", "here", "compatible", "loads"),
    [
        ("10.3.0", "10.3.0", False, True),
        ("10.3.0.26", "10.3.0", False, True),
        ("10.3", "10.3.0", False, True),
        ("10.3.0", "10.13.3", False, False),
        ("10.3.0", "10.13.3", True, True),
        ("10.13.3", "10.3.0", True, False),
        ("10.3.0", "11.4.0", True, False),
        ("8.6.1", "8.6.2", False, False),
        ("10.3.0", "none", True, False),
    ],
)
def test_versions_that_load_each_others_engines(built: str, here: str, compatible: bool, loads: bool) -> None:
    manifest = {"machine": HERE | {"tensorrt": built}, "builder": {"version_compatible": compatible}}
    reasons = differences(manifest, tensorrt=here, gpu=Gpu("Orin", "8.7"), l4t=None, portable=False)
    assert reasons == ([] if loads else [f"built for TensorRT {built}, here {here}"])


def test_every_difference_is_named_and_what_is_not_said_is_not_compared() -> None:
    gpu = Gpu("Thor", "11.0")
    manifest = {"machine": HERE | {"tensorrt": "10.3.0", "system": "QNX", "processor": "sh4"}}
    reasons = differences(manifest, tensorrt="11.4.1", gpu=gpu, l4t=None, portable=False)
    assert len(reasons) == 5 and "built for GPU Orin, here Thor" in reasons
    assert len(differences(manifest, tensorrt="11.4.1", gpu=gpu, l4t=None, portable=True)) == 3
    for silent in ({}, {"machine": None}, {"machine": {}}, {"machine": {"gpu": None, "tensorrt": None}}):
        assert differences(silent, tensorrt="11.4.1", gpu=gpu, l4t=None, portable=False) == []


@pytest.mark.parametrize(
    ("built", "here", "words"),
    [
        ("36.4.0", "36.4.7", None),
        (None, None, None),
        ("36.4.3", "39.2.0", "built for L4T 36.4.3 (JetPack 6.2), here 39.2.0 (JetPack 7.2)"),
        (None, "36.4.3", "built for L4T none, here 36.4.3 (JetPack 6.2)"),
        ("36.4.3", None, "built for L4T 36.4.3 (JetPack 6.2), here none (in a container: mount /etc/nv_"),
    ],
)
def test_another_l4t_is_a_difference_unless_only_its_third_number_is(
    built: str | None, here: str | None, words: str | None
) -> None:
    machine = {"l4t": built, "jetpack": "6.2", "processor": "aarch64"}
    reasons = differences(
        {"machine": machine}, tensorrt="10.3.0", gpu=Gpu("Orin", "8.7"), l4t=here, portable=False
    )
    others = [text for text in reasons if not text.startswith("built for processor")]
    assert [text[: len(words or "")] for text in others] == ([words] if words else [])


BUILDER: dict[str, Any] = {
    "name": "trtexec",
    "onnx": "m.onnx",
    "engine": "m.engine",
    "profiles": [[1, 8, 32]],
    "workspace_mib": 512,
    "level": 3,
    "timing_cache": "tactics.bin",
    "version_compatible": True,
}


def test_the_rebuilding_command_names_files_where_the_engine_lies() -> None:
    assert rebuild_command({"builder": BUILDER}, Path("runs/jetson/other name.engine")) == (
        "python -m engines build runs/jetson/m.onnx --out 'runs/jetson/other name.engine' --builder trtexec --batch 1,8,32 "
        "--workspace 512 --timing-cache runs/jetson/tactics.bin --version-compatible"
    )
    assert rebuild_command({"builder": BUILDER | {"profiles": [[8, 8, 8]]}}).count("--batch 8 ") == 1


@pytest.mark.parametrize("manifest", [{}, {"builder": None}, {"builder": {"name": "trtexec"}}])
def test_without_a_known_builder_the_command_still_names_the_engine(manifest: dict[str, Any]) -> None:
    command = rebuild_command(manifest, Path("runs/m.engine"))
    assert command == "python -m engines build model.onnx --out runs/m.engine"


def with_other(folder: Path) -> tuple[Path, dict[str, Any], Path]:
    """(an engine, its manifest, the engine of batch 1 that the manifest names)."""
    other = folder / "m.b1.engine"
    other.write_bytes(b"plan of 1")
    entry = {"file": other.name, "sha256": sha256(other), "batch": [1, 1, 1]}
    return folder / "m.engine", {"builder": BUILDER | {"profiles": [[8, 8, 8]]}, "others": [entry]}, other


def test_the_engines_that_a_manifest_names_lie_beside_it(tmp_path: Path) -> None:
    engine, manifest, other = with_other(tmp_path)
    assert siblings(engine, manifest) == [other] and siblings(engine, {}) == []


@pytest.mark.parametrize("change", ["rebuilt", "removed"])
def test_another_batch_that_is_not_what_was_built_names_the_command_that_rebuilds_all(
    tmp_path: Path, change: str
) -> None:
    engine, manifest, other = with_other(tmp_path)
    if change == "rebuilt":
        other.write_bytes(b"plan of another day")
    else:
        other.unlink()
    with pytest.raises(
        ArtifactError, match="m.b1.engine, is (not|missing).*--batch 1 --batch 8 .*--separate"
    ):
        siblings(engine, manifest)


def test_a_manifest_cannot_name_a_file_of_another_folder(tmp_path: Path) -> None:
    engine, manifest, other = with_other(tmp_path)
    (tmp_path / "in").mkdir()
    manifest["others"][0]["file"] = f"../{other.name}"
    with pytest.raises(ArtifactError, match="is missing"):
        siblings(tmp_path / "in" / "m.engine", manifest)


@pytest.mark.parametrize(
    "others",
    [
        None,
        3,
        "m.b1.engine",
        {"file": "m.b1.engine"},
        [None],
        [{}],
        [{"file": None, "sha256": "0" * 64, "batch": [1, 1, 1]}],
        [{"file": "m.b1.engine", "batch": [1, 1, 1]}],
        [{"file": "m.b1.engine", "sha256": "0" * 64, "batch": [1]}],
        [{"file": "m.b1.engine", "sha256": "0" * 64, "batch": ["1", "1", "1"]}],
    ],
)
def test_damaged_words_about_other_batches_are_a_refusal(tmp_path: Path, others: Any) -> None:
    engine, manifest, _ = with_other(tmp_path)
    command = re.escape(f"python -m engines build {tmp_path}/m.onnx --out {engine}")
    with pytest.raises(ArtifactError, match=f"others.*damaged.*{command}"):
        siblings(engine, manifest | {"others": others})


@pytest.mark.parametrize(
    "change",
    [{"profiles": None}, {"profiles": [None]}, {"profiles": [["1", "8"]]}, {"timing_cache": 3}, {"onnx": 3}],
)
def test_the_rebuilding_command_survives_a_damaged_manifest(change: dict[str, Any]) -> None:
    command = rebuild_command({"builder": BUILDER | change}, Path("runs/m.engine"))
    assert command.startswith("python -m engines build ") and "--out runs/m.engine" in command
