"""Whether a TensorRT version reads an ONNX file, by that file's manifest, and how to export one that it does. Reads no file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.errors import ArtifactError

Version = tuple[int, ...]

# From which version on the parser is documented to know operators up to which opset (its support matrix and operators.md). It does
# not refuse newer ones: it reads them by the older rules.
OPSETS: tuple[tuple[Version, int], ...] = (((8,), 17), ((10,), 20), ((10, 13), 22), ((10, 15), 24))


def newest_opset(version: Version) -> int:
    """The newest opset that the parser of this TensorRT, 8.6 or later, is documented to know."""
    return max(opset for since, opset in OPSETS if version >= since)


def refuse_unreadable(manifest: Mapping[str, Any], version: Version, where: str) -> None:
    """ArtifactError when TensorRT `version` does not read the ONNX file with this manifest, with the export that it reads."""
    if reasons := _reasons(manifest, version):
        name = ".".join(map(str, version[:2]))
        raise ArtifactError(
            f"{where}: not for TensorRT {name} ({'; '.join(reasons)}); export it again: "
            f"{export_command(manifest, version, where)}"
        )


def _reasons(manifest: Mapping[str, Any], version: Version) -> list[str]:
    precision, inputs = manifest.get("precision", "fp32"), manifest["input"]
    target = manifest.get("target", "onnxruntime")
    opset, newest = manifest.get("opset"), newest_opset(version)
    reasons = []
    # a file that does not say is too new for the oldest parser only
    if (opset if isinstance(opset, int) else OPSETS[0][1] + 1) > newest:
        reasons.append(f"opset {opset}, it reads {newest}")
    if (precision, target) == ("fp32", "onnxruntime") and inputs.get("layout") == "uint8-nhwc":
        # those of every other target and precision are cast first
        reasons.append("uint8 images that are transposed first, it takes them into nothing but a cast")
    if version[0] == 8 and target != "tensorrt8":
        if precision != "fp32":
            reasons.append(f"a typed {precision} graph, it wants FP32 and flags")
        if inputs.get("camera") == "input":
            reasons.append("int64 camera ids, it has int32")
    return reasons


def export_command(manifest: Mapping[str, Any], version: Version, where: str) -> str:
    """The command that exports the file `where` with its precision and inputs again, for this TensorRT; beside it, if for another."""
    target = "tensorrt8" if version[0] == 8 else "tensorrt"
    inputs, out = manifest["input"], Path(where)
    if manifest.get("target", "onnxruntime") != target:
        # the file for another target may still be needed
        out = out.with_suffix(f".{target}{out.suffix}")
    words = [
        "python",
        "export_onnx.py",
        "model.safetensors",
        "--precision",
        manifest.get("precision", "fp32"),
    ]
    words += ["--target", target]
    neighbour = manifest.get("neighbour")
    if isinstance(neighbour, dict) and neighbour.get("for"):
        # what a server or tracker sends, and its configuration, come with it
        words += ["--for", neighbour["for"]]
    if inputs.get("layout", "uint8-nhwc") != "uint8-nhwc":
        words += ["--input", inputs["layout"]]
    # `input` is the default of a model with camera embeddings, the only one of a model without
    if inputs.get("cameras") and inputs.get("camera", "none") != "input":
        words += ["--camera", inputs.get("camera", "none")]
    if inputs.get("batch") is not None:
        words += ["--batch", inputs["batch"]]
    return shlex.join(map(str, [*words, "--out", out]))
