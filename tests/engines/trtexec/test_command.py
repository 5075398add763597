"""trtexec's command lines, one test per row of the table of what each TensorRT version has."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from engines.trtexec.command import BuildRequest, Profile, parse_version, profiles_of, trtexec_line
from runtime.errors import ArtifactError, ConfigError
from runtime.spec import InputSpec

VERSIONS = {"8.6": (8, 6), "10.3": (10, 3), "10.13": (10, 13), "10.16": (10, 16), "11.1": (11, 1)}
NEW = {name: version for name, version in VERSIONS.items() if name != "8.6"}
COMMON = {"--onnx", "--saveEngine", "--memPoolSize", "--builderOptimizationLevel", "--versionCompatible"}
COMMON |= {"--timingCacheFile", "--profilingVerbosity", "--skipInference", "--infStreams", "--shapes"}
COMMON |= {"--minShapes", "--optShapes", "--maxShapes"}
RUNS_8_AND_10 = {"--useCudaGraph", "--useSpinWait", "--noDataTransfers"}
PROFILES = {"--profile", "--useProfile"}
TYPED_10 = {"--fp16", "--int8", "--stronglyTyped"}
# The documented flags of each version, written down apart from the code's own table.
DOCUMENTED = {
    "8.6": COMMON | RUNS_8_AND_10 | {"--fp16", "--int8", "--buildOnly"},
    "10.3": COMMON | RUNS_8_AND_10 | PROFILES | TYPED_10,
    "10.13": COMMON | RUNS_8_AND_10 | PROFILES | TYPED_10,
    "10.16": COMMON | RUNS_8_AND_10 | PROFILES | TYPED_10,
    "11.1": COMMON | PROFILES | {"--includeDataTransfers", "--noCudaGraph", "--noSpinWait"},
}
BUILD = BuildRequest(Path("m.onnx"), Path("m.engine"))


def onnx(
    precision: str = "fp32", target: str = "tensorrt", *, opset: int | None = None, **spec: Any
) -> dict[str, Any]:
    """A manifest as export writes it."""
    return {
        "kind": "onnx",
        "precision": precision,
        "target": target,
        "opset": opset or (17 if target == "tensorrt8" else 19),
        "input": InputSpec(**spec).to_json(),
        "output": {"dim": 8, "normalised": True},
    }


def line(manifest: dict[str, Any], version: str, **options: Any) -> list[str]:
    return trtexec_line(manifest, parse_version(version), dataclasses.replace(BUILD, **options))


def flags(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words[1:]}


def test_the_published_static_line_of_10_is_reproduced() -> None:
    words = line(onnx("fp16", batch=8), "10.3", timing_cache=Path("tc.bin"))
    published = (
        "--onnx=m.onnx --saveEngine=m.engine --stronglyTyped --timingCacheFile=tc.bin --memPoolSize=workspace:2048 "
        "--builderOptimizationLevel=3 --profilingVerbosity=detailed --skipInference"
    )
    assert words[0] == "trtexec"
    assert sorted(words[1:]) == sorted(published.split())


def test_the_published_dynamic_shapes_are_reproduced() -> None:
    manifest = onnx("fp16", layout="float-nchw")
    words = line(manifest, "10.3", profiles=(Profile(1, 16, 32),), timed=True)
    for published in (
        "--minShapes=images:1x3x256x128",
        "--optShapes=images:16x3x256x128",
        "--maxShapes=images:32x3x256x128",
        "--shapes=images:16x3x256x128",
    ):
        assert published in words


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_without_timing_by_skip_inference(version: str) -> None:
    assert {"--skipInference", "--buildOnly"} & set(line(onnx(target="tensorrt8", batch=1), version)) == {
        "--skipInference"
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_workspace_level_and_version_compatibility_are_in_every_version(version: str) -> None:
    words = line(
        onnx(target="tensorrt8", batch=1), version, workspace_mib=512, level=5, version_compatible=True
    )
    flags = {"--memPoolSize=workspace:512", "--builderOptimizationLevel=5", "--versionCompatible"}
    assert flags <= set(words)


@pytest.mark.parametrize(
    ("version", "precision", "target", "wanted"),
    [
        ("8.6", "fp32", "tensorrt8", set()),
        ("8.6", "fp16", "tensorrt8", {"--fp16"}),
        ("8.6", "int8", "tensorrt8", {"--fp16", "--int8"}),
        *[
            (v, p, "tensorrt", {"--stronglyTyped"})
            for v in NEW
            if v != "11.1"
            for p in ("fp32", "fp16", "int8")
        ],
        ("10.3", "fp16", "tensorrt8", {"--fp16"}),
        ("10.16", "int8", "tensorrt8", {"--fp16", "--int8"}),
        ("10.13", "fp32", "tensorrt8", {"--stronglyTyped"}),
        *[("11.1", precision, "tensorrt", set()) for precision in ("fp32", "fp16", "int8")],
        ("11.1", "fp32", "tensorrt8", set()),
        ("10.3", "fp16", "onnxruntime", {"--stronglyTyped"}),
        ("11.4", "fp32", "onnxruntime", set()),
    ],
)
def test_precision_is_said_in_flags_only_where_the_version_has_them(
    version: str, precision: str, target: str, wanted: set[str]
) -> None:
    words = line(onnx(precision, target, layout="float-nchw"), version)
    assert flags(words) & {"--fp16", "--int8", "--stronglyTyped", "--best"} == wanted


@pytest.mark.parametrize("version", NEW)
def test_todays_files_without_target_are_typed_fp32(version: str) -> None:
    inputs = onnx(layout="float-nchw")
    silent = {key: value for key, value in inputs.items() if key not in ("target", "precision")}
    assert line(silent, version) == line(inputs, version)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_11_refuses_a_graph_that_needs_precision_flags(precision: str) -> None:
    with pytest.raises(ArtifactError, match=rf"--precision {precision} --target tensorrt "):
        line(onnx(precision, "tensorrt8"), "11.1")


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (onnx("fp16", "tensorrt"), "typed fp16 graph"),
        (onnx("int8", "tensorrt"), "typed int8 graph"),
        (onnx("fp32", "onnxruntime", opset=18), "opset 18"),
        (onnx("fp32", "tensorrt", opset=17, camera="input", cameras=6), "int64 camera ids"),
    ],
)
def test_8_refuses_files_made_for_newer_versions(manifest: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArtifactError, match=rf"{reason}.*--target tensorrt8"):
        line(manifest, "8.6")


@pytest.mark.parametrize("version", VERSIONS)
def test_int8_made_for_onnxruntime_is_refused_everywhere(version: str) -> None:
    with pytest.raises(ArtifactError, match="onnxruntime.*--precision int8 --target tensorrt"):
        line(onnx("int8", "onnxruntime"), version)


@pytest.mark.parametrize(
    "field", [{"precision": "fp8"}, {"target": "openvino"}, {"kind": "engine"}, {"input": None}]
)
def test_unknown_files_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        line(onnx() | field, "10.3")


@pytest.mark.parametrize("version", ["8.2", "8.5", "9.0", "10.0", "10.2", "12.0", "7.1"])
def test_versions_outside_the_table_are_refused(version: str) -> None:
    with pytest.raises(ConfigError, match="not supported"):
        line(onnx(target="tensorrt8"), version)


@pytest.mark.parametrize("text", ["10", "", "ten.three", "10.x", "1.2.3.4.5", "-8.6", "10.3 "])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="give X.Y"):
        parse_version(text)


def test_patch_and_build_numbers_do_not_change_the_line() -> None:
    assert parse_version("10.3.0.26") == (10, 3, 0, 26)
    assert line(onnx(), "10.3.0.26") == line(onnx(), "10.3")


def test_both_inputs_are_in_every_shape_list() -> None:
    manifest = onnx(camera="input", cameras=6)
    words = line(manifest, "10.3", profiles=(Profile(1, 8, 32),), timed=True)
    assert "--minShapes=images:1x256x128x3,camera_ids:1" in words
    assert "--optShapes=images:8x256x128x3,camera_ids:8" in words
    assert "--maxShapes=images:32x256x128x3,camera_ids:32" in words
    assert "--shapes=images:8x256x128x3,camera_ids:8" in words


def test_a_baked_in_camera_is_no_input() -> None:
    assert not any("camera_ids" in word for word in line(onnx(camera="mean", cameras=6), "10.3"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fixed_file_gets_no_shapes_for_trtexec_refuses_them(version: str) -> None:
    words = line(onnx(target="tensorrt8", batch=4), version, timed=True)
    assert not any("hapes" in word for word in words)


def test_a_dynamic_file_always_gets_a_profile() -> None:
    assert "--optShapes=images:8x256x128x3" in line(onnx(), "11.1")


def test_a_fixed_file_refuses_another_batch_and_takes_its_own() -> None:
    assert line(onnx(batch=4), "10.3", profiles=(Profile(4, 4, 4),)) == line(onnx(batch=4), "10.3")
    with pytest.raises(ConfigError, match="fixed batch 4"):
        line(onnx(batch=4), "10.3", profiles=(Profile(8, 8, 8),))


@pytest.mark.parametrize("version", NEW)
def test_several_profiles_are_numbered_and_the_first_is_timed(version: str) -> None:
    two = (Profile(1, 1, 1), Profile(1, 16, 32))
    words = line(onnx(), version, profiles=two, timed=True)
    first, second = words.index("--profile=0"), words.index("--profile=1")
    assert words[first + 1 : second] == [
        f"--{name}Shapes=images:1x256x128x3" for name in ("min", "opt", "max")
    ]
    assert words[second + 2] == "--optShapes=images:16x256x128x3"
    assert "--useProfile=0" in words and "--shapes=images:1x256x128x3" in words


def test_8_refuses_several_profiles() -> None:
    two = (Profile(1, 1, 1), Profile(1, 16, 32))
    with pytest.raises(ConfigError, match="--batch.*--separate"):
        line(onnx(target="tensorrt8"), "8.6", profiles=two)


@pytest.mark.parametrize(
    ("version", "transfers", "wanted"),
    [
        *[
            (v, False, {"--useCudaGraph", "--useSpinWait", "--noDataTransfers"})
            for v in VERSIONS
            if v != "11.1"
        ],
        *[(v, True, {"--useCudaGraph", "--useSpinWait"}) for v in VERSIONS if v != "11.1"],
        ("11.1", False, set()),
        ("11.1", True, {"--includeDataTransfers"}),
    ],
)
def test_timing_runs_measure_the_same_in_every_version(
    version: str, transfers: bool, wanted: set[str]
) -> None:
    words = line(onnx(target="tensorrt8"), version, timed=True, transfers=transfers)
    assert flags(words) & (RUNS_8_AND_10 | {"--includeDataTransfers"}) == wanted
    assert "--infStreams=1" in words and "--skipInference" not in words and "--streams=1" not in words


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"level": 6}, "--optimization-level 6"),
        ({"level": -1}, "--optimization-level -1"),
        ({"workspace_mib": 0}, "--workspace 0"),
        ({"engine": Path("m.onnx")}, "--out m.onnx"),
        ({"engine": Path("other.onnx")}, "--out other.onnx"),
        ({"engine": Path("engine")}, "--out engine"),
        ({"profiles": (Profile(0, 1, 2),)}, "--batch 0,1,2"),
        ({"profiles": (Profile(4, 2, 8),)}, "--batch 4,2,8"),
        ({"profiles": (Profile(1, 9, 8),)}, "--batch 1,9,8"),
    ],
)
def test_options_that_make_no_engine_are_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        line(onnx(), "10.3", **options)


def test_profiles_of_a_dynamic_file_are_as_asked() -> None:
    profiles = (Profile(1, 2, 3), Profile(4, 5, 6))
    assert profiles_of(InputSpec(), profiles) == profiles


def test_every_flag_of_every_line_is_documented_for_its_version() -> None:
    """All combinations of files and options: no line holds a flag its version is not documented to have."""
    lines, refused = 0, 0
    for (name, version), precision, target in product(
        VERSIONS.items(), ("fp32", "fp16", "int8"), ("tensorrt", "tensorrt8", "onnxruntime")
    ):
        for batch, profiles, timed, transfers, whole in product(
            (None, 8),
            ((), (Profile(8, 8, 8),), (Profile(1, 1, 1), Profile(1, 8, 16))),
            (False, True),
            (False, True),
            (False, True),
        ):
            options = dataclasses.replace(
                BUILD, profiles=profiles, timed=timed, transfers=transfers, version_compatible=whole
            )
            options = dataclasses.replace(options, timing_cache=Path("c") if whole else None)
            try:
                words = trtexec_line(onnx(precision, target, batch=batch), version, options)
            except (ArtifactError, ConfigError):
                refused += 1
                continue
            lines += 1
            assert flags(words) <= DOCUMENTED[name], (name, flags(words) - DOCUMENTED[name])
            assert not {"--stronglyTyped"} & flags(words) or not {"--fp16", "--int8"} & flags(words)
    assert lines > 500 and refused > 100
