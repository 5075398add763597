"""Which ONNX files which TensorRT reads, and the export that it reads."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from engines.onnx_compat import export_command, newest_opset, refuse_unreadable
from engines.trtexec.command import precision_flags
from export.arguments import parse
from export.options import InputOptions
from runtime.errors import ArtifactError
from runtime.spec import InputSpec


def manifest(
    precision: str = "fp32", target: str = "tensorrt", opset: int = 17, **spec: Any
) -> dict[str, Any]:
    return {
        "precision": precision,
        "target": target,
        "opset": opset,
        "input": InputSpec(**spec).to_json(),
    }


@pytest.mark.parametrize(
    ("version", "newest"),
    [
        ((8, 6, 1), 17),
        ((10, 3), 20),
        ((10, 13, 3), 22),
        ((10, 15), 24),
        ((10, 16), 24),
        ((11,), 24),
        ((11, 4), 24),
    ],
)
def test_newer_opsets_than_the_parser_is_documented_to_know_are_refused(
    version: tuple[int, ...], newest: int
) -> None:
    assert newest_opset(version) == newest
    target = "tensorrt8" if version[0] == 8 else "tensorrt"
    refuse_unreadable(manifest(target=target, opset=newest), version, "m.onnx")
    with pytest.raises(ArtifactError, match=rf"opset {newest + 1}\b.* {newest}\).*--target {target} "):
        refuse_unreadable(manifest(target=target, opset=newest + 1), version, "m.onnx")


@pytest.mark.parametrize(
    ("version", "target"), [((8, 6), "tensorrt8"), ((10, 3), "tensorrt"), ((11, 1), "tensorrt")]
)
def test_uint8_images_made_for_onnxruntime_are_refused_with_the_right_target(
    version: tuple[int, ...], target: str
) -> None:
    with pytest.raises(ArtifactError, match=f"uint8.*--target {target} .*--out m.{target}.onnx"):
        refuse_unreadable(manifest(target="onnxruntime"), version, "m.onnx")
    refuse_unreadable(manifest(target="onnxruntime", layout="float-nchw"), version, "m.onnx")
    if version[0] > 8:
        # FP16 files cast first whatever they are for
        refuse_unreadable(manifest("fp16", "onnxruntime"), version, "m.onnx")


def test_8_takes_an_old_opset_fp32_file_of_any_target_without_flags() -> None:
    assert precision_flags(manifest(target="onnxruntime", layout="float-nchw"), (8, 6), "m.onnx") == []


def test_tensorrt_rtx_really_refuses_what_is_refused_here_and_reads_the_other_order(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs the TensorRT-RTX wheel")

    def reads(*kinds: str) -> bool:
        turn = {"Transpose": {"perm": [0, 3, 1, 2]}, "Cast": {"to": TensorProto.FLOAT}}
        nodes = [helper.make_node(kinds[0], ["images"], ["x"], **turn[kinds[0]])]
        nodes.append(helper.make_node(kinds[1], ["x"], ["features"], **turn[kinds[1]]))
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, [1, 8, 4, 3])
        features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3, 8, 4])
        graph = helper.make_graph(nodes, "g", [images], [features])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / "m.onnx")
        logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
        network = trt.Builder(logger).create_network()
        return bool(trt.OnnxParser(network, logger).parse_from_file(str(tmp_path / "m.onnx")))

    assert not reads("Transpose", "Cast") and reads("Cast", "Transpose")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"layout": "float-nchw", "batch": 8},
        {"camera": "input", "cameras": 6},
        {"camera": 3, "cameras": 6},
        {"camera": "none", "cameras": 6},
    ],
)
def test_the_export_command_is_one_that_export_takes_and_keeps_precision_and_inputs(
    spec: dict[str, Any],
) -> None:
    words = shlex.split(export_command(manifest("fp16", "onnxruntime", **spec), (10, 3), "my models/m.onnx"))
    assert words[:2] == ["python", "export_onnx.py"]
    parsed = parse(words[2:])
    assert parsed.out == Path("my models/m.tensorrt.onnx")
    assert (parsed.options.precision, parsed.options.target) == ("fp16", "tensorrt")
    camera = spec.get("camera", "none")
    assert parsed.options.input == InputOptions(
        layout=spec.get("layout", "uint8-nhwc"),
        camera=camera if spec.get("cameras") and camera != "input" else None,
        batch=spec.get("batch"),
    )


def test_a_file_for_the_same_target_is_exported_in_its_place() -> None:
    assert export_command(manifest("int8", "tensorrt"), (11, 1), "m.onnx").endswith("--out m.onnx")


def test_the_file_of_an_integration_is_exported_for_it_again() -> None:
    file = manifest(target="onnxruntime") | {"neighbour": {"for": "triton"}}
    words = shlex.split(export_command(file, (10, 3), "m.onnx"))
    export_options = parse(words[2:]).options
    assert (export_options.input.integration, export_options.target) == ("triton", "tensorrt")
    assert "--for" not in export_command(file | {"neighbour": "damaged"}, (10, 3), "m.onnx")
