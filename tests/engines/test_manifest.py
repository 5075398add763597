"""An engine's manifest, and every difference that keeps it from being loaded, each forged in turn."""

import copy
import dataclasses
import platform
import re
import shlex

import pytest

from engines.__main__ import parser
from engines.cli.build import build_options
from engines.machine import Machine
from engines.manifest import differences, engine_manifest, preflight
from engines.trtexec.command import BuildRequest, Profile
from runtime.backends.tensorrt.compat import rebuild_command
from runtime.errors import ArtifactError
from runtime.files.manifest import manifest_path, sha256, write_manifest
from tests.fakes.engine_files import onnx_file

HOST = Machine("10.3.0", "8.7", "Orin", platform.system(), platform.machine(), "36.4.3", "6.2")
WORDS = ["--onnx=/home/me/m.onnx", "--saveEngine=/home/me/m.engine", "--stronglyTyped", "--skipInference"]


@pytest.fixture
def parent(tmp_path):
    return onnx_file(tmp_path / "m.onnx")


@pytest.fixture
def build(tmp_path):
    return BuildRequest(tmp_path / "m.onnx", tmp_path / "m.engine", profiles=(Profile(1, 4, 8),))


@pytest.fixture
def manifest(parent, build):
    return engine_manifest(parent, HOST, build, WORDS)


def forged(manifest, path, value):
    copied = copy.deepcopy(manifest)
    *way, last = path
    inner = copied
    for key in way:
        inner = inner[key]
    inner[last] = value
    return copied


def test_the_manifest_names_what_it_was_built_from_for_and_how(manifest, parent):
    assert manifest["kind"] == "engine" and manifest["parent"] == parent["sha256"]
    assert manifest["machine"] == dataclasses.asdict(HOST)
    assert manifest["shapes"] == [
        {"min": {"images": [1, 4, 2, 3]}, "opt": {"images": [4, 4, 2, 3]}, "max": {"images": [8, 4, 2, 3]}}
    ]
    assert manifest["gate"] == {"passed": None} and manifest["check"] == parent["check"]
    for key in ("precision", "input", "output"):
        assert manifest[key] == parent[key]


def test_no_folder_of_the_building_machine_is_written_down(manifest, tmp_path):
    assert manifest["builder"]["flags"] == ["--stronglyTyped", "--skipInference"]
    assert str(tmp_path) not in str(manifest) and "/home" not in str(manifest)


def test_the_timing_cache_is_known_by_the_hash_it_has_after_the_build(parent, build, tmp_path):
    cache = tmp_path / "tactics.bin"
    build = dataclasses.replace(build, timing_cache=cache)
    assert engine_manifest(parent, HOST, build, WORDS)["builder"]["timing_cache_sha256"] is None
    cache.write_bytes(b"tactics")
    builder = engine_manifest(parent, HOST, build, WORDS)["builder"]
    assert builder["timing_cache_sha256"] == sha256(cache) and builder["timing_cache"] == "tactics.bin"


def test_a_fitting_engine_has_no_differences(manifest, parent):
    assert differences(manifest, HOST) == differences(manifest, HOST, parent=parent) == []


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("tensorrt", "10.13.3", "TensorRT 10.13.3, here 10.3.0"),
        ("tensorrt", "8.6.2", "TensorRT 8.6.2, here 10.3.0"),
        ("tensorrt", "10.3.1", "TensorRT 10.3.1, here 10.3.0"),
        ("tensorrt", None, "TensorRT unknown, here 10.3.0"),
        ("compute_capability", "9.0", "compute capability 9.0, here 8.7"),
        ("compute_capability", None, "compute capability unknown, here 8.7"),
        ("gpu", "NVIDIA H100", "GPU NVIDIA H100, here Orin"),
        ("gpu", None, "GPU unknown, here Orin"),
        ("system", "Windows", f"operating system Windows, here {platform.system()}"),
        ("processor", "mips", f"processor mips, here {platform.machine()}"),
        ("l4t", "35.4.1", "L4T 35.4.1 .JetPack 6.2., here 36.4.3 .JetPack 6.2."),
        ("l4t", "36.5.0", "L4T 36.5.0 "),
        ("l4t", None, "L4T none, here 36.4.3"),
    ],
)
def test_every_forged_fact_is_the_one_difference_and_names_the_rebuilding_command(
    manifest, field, value, named
):
    (difference,) = differences(forged(manifest, ["machine", field], value), HOST)
    assert difference.startswith("built for ") and difference.endswith(
        f"; rebuild: {rebuild_command(manifest)}"
    )
    assert re.search(named, difference)


@pytest.mark.parametrize("field", ["tensorrt", "compute_capability", "gpu"])
def test_a_host_that_does_not_say_what_it_is_loads_nothing(manifest, field):
    host = dataclasses.replace(HOST, **{field: None})
    (difference,) = differences(manifest, host)
    assert "here none" in difference


def test_the_third_number_of_l4t_and_the_build_number_of_tensorrt_make_no_difference(manifest):
    assert differences(forged(manifest, ["machine", "l4t"], "36.4.0"), HOST) == []
    assert differences(manifest, dataclasses.replace(HOST, tensorrt="10.3.0.26")) == []


@pytest.mark.parametrize(
    ("here", "fits"), [("10.13.3", True), ("10.3.0", True), ("10.2.9", False), ("11.1.0", False)]
)
def test_a_version_compatible_engine_loads_on_later_ones_of_its_major(parent, build, here, fits):
    build = dataclasses.replace(build, version_compatible=True)
    manifest = engine_manifest(parent, HOST, build, WORDS)
    assert (differences(manifest, dataclasses.replace(HOST, tensorrt=here)) == []) is fits


def test_an_rtx_engine_of_another_gpu_is_left_to_its_library_but_not_one_of_another_version(parent, build):
    ahead = Machine("1.7.1.116", "8.6", None, platform.system(), platform.machine(), None, None)
    manifest = engine_manifest(parent, ahead, build, ["SM86"], builder="rtx", compute_capability="8.6")
    host = dataclasses.replace(ahead, compute_capability="8.9", gpu="NVIDIA GeForce RTX 4090")
    assert differences(manifest, host) == []
    (difference,) = differences(manifest, dataclasses.replace(host, tensorrt="1.6.1.120"))
    assert "built for TensorRT 1.7.1.116, here 1.6.1.120" in difference
    assert "--builder rtx" in difference and "--compute-capability 8.6" in difference


def test_another_onnx_file_is_told_with_what_differs(manifest, tmp_path):
    other = onnx_file(tmp_path / "other.onnx", precision="fp32", layout="float-nchw", height=8)
    other["sha256"] = "f" * 64
    (difference,) = differences(manifest, HOST, parent=other)
    for text in (
        "built from another ONNX file",
        "precision is fp16,.* fp32",
        "input layout is uint8-nhwc,.* float-nchw",
        "input height is 4,.* 8",
        "rebuild: python -m engines build",
    ):
        assert re.search(text, difference)
    assert "width" not in difference and "output" not in difference


def test_a_container_on_a_jetson_is_told_how_to_say_so(manifest):
    host = dataclasses.replace(HOST, l4t=None, jetpack=None)
    difference = differences(forged(manifest, ["machine", "processor"], "aarch64"), host)[-1]
    assert "L4T 36.4.3 (JetPack 6.2), here none (in a container: mount /etc/nv_tegra_release" in difference


@pytest.mark.parametrize("key", ["machine", "builder", "kind"])
def test_an_incomplete_manifest_is_refused_with_a_command(manifest, key):
    broken = {name: value for name, value in manifest.items() if name != key}
    with pytest.raises(ArtifactError, match=f"{key}.*rebuild: python -m engines build"):
        differences(broken, HOST)


def test_other_kinds_and_unknown_machines_are_refused(manifest, parent):
    with pytest.raises(ArtifactError, match="kind 'onnx'"):
        differences(parent, HOST)
    with pytest.raises(ArtifactError, match="incomplete"):
        differences(forged(manifest, ["machine", "colour"], "green"), HOST)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"profiles": (Profile(8, 8, 8),)},
        {"profiles": (Profile(1, 1, 1), Profile(1, 8, 32))},
        {"workspace_mib": 512, "level": 5, "version_compatible": True},
    ],
)
def test_the_rebuilding_command_asks_for_the_same_build(parent, build, change, tmp_path):
    build = dataclasses.replace(build, **change)
    words = shlex.split(rebuild_command(engine_manifest(parent, HOST, build, WORDS)))
    assert words[:3] == ["python", "-m", "engines"]
    again = build_options(parser().parse_args(words[3:])).request
    names = {"onnx": build.onnx.name, "engine": build.engine.name}
    assert {key: str(getattr(again, key)) for key in names} == names
    assert dataclasses.replace(again, onnx=build.onnx, engine=build.engine) == build


def test_preflight_is_silent_only_for_a_whole_proved_engine_of_this_machine(manifest, build):
    engine = build.engine
    engine.write_bytes(b"plan")
    write_manifest(engine, manifest | {"gate": {"passed": True}})
    assert preflight(engine, HOST) == []
    for passed in (None, False):
        write_manifest(engine, manifest | {"gate": {"passed": passed}})
        (problem,) = preflight(engine, HOST)
        assert ("FAILED" in problem) is (passed is False)
        assert "gate" in problem and problem.endswith(
            f"; run: python -m engines verify {engine} --onnx m.onnx"
        )
    write_manifest(engine, forged(manifest, ["machine", "gpu"], "Thor") | {"gate": {"passed": True}})
    (problem,) = preflight(engine, HOST)
    assert "GPU Thor, here Orin" in problem


def test_preflight_names_another_batch_that_is_gone(manifest, build):
    build.engine.write_bytes(b"plan")
    others = [{"file": "m.b1.engine", "sha256": "0" * 64, "batch": [1, 1, 1]}]
    write_manifest(build.engine, manifest | {"gate": {"passed": True}, "others": others})
    (problem,) = preflight(build.engine, HOST)
    assert "m.b1.engine, is missing; rebuild: python -m engines build" in problem and "--separate" in problem


def test_preflight_of_a_changed_or_unknown_file_stops_at_its_hash(manifest, build):
    engine = build.engine
    engine.write_bytes(b"plan")
    write_manifest(engine, manifest)
    engine.write_bytes(b"PLAN")
    with pytest.raises(
        ArtifactError, match=f"sha256 differs.*rebuild: python -m engines build .* --out {engine} "
    ):
        preflight(engine, HOST)
    manifest_path(engine).unlink()
    (problem,) = preflight(engine, HOST)
    assert "manifest" in problem and problem.endswith(
        f"; run: python -m engines verify {engine} --onnx MODEL.onnx"
    )
