"""Decide whether a TensorRT version can read an ONNX file, by the file's manifest, and return the command that exports it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.errors import ArtifactError

Version = tuple[int, ...]

# (TensorRT version, newest opset that the parser supports from this version on), from the parser's support matrix and operators.md.
# The parser does not refuse a newer opset, but reads the operators by their older definitions.
OPSETS: tuple[tuple[Version, int], ...] = (((8,), 17), ((10,), 20), ((10, 13), 22), ((10, 15), 24))


def newest_opset(version: Version) -> int:
    """Return the newest opset that the ONNX parser of TensorRT `version` (8.6 or later) supports."""
    return max(opset for since, opset in OPSETS if version >= since)


def refuse_unreadable(manifest: Mapping[str, Any], version: Version, where: str) -> None:
    """Raise ArtifactError if TensorRT `version` cannot read the ONNX file with this manifest; `where` is the file's path.

    The error names the command that exports a suitable file.
    """
    if reasons := _reasons(manifest, version):
        name = ".".join(map(str, version[:2]))
        raise ArtifactError(
            f"{where}: TensorRT {name} does not read this file ({'; '.join(reasons)}); export it again: "
            f"{export_command(manifest, version, where)}"
        )


def _reasons(manifest: Mapping[str, Any], version: Version) -> list[str]:
    precision, inputs = manifest.get("precision", "fp32"), manifest["input"]
    target = manifest.get("target", "onnxruntime")
    opset, newest = manifest.get("opset"), newest_opset(version)
    reasons = []
    # a file whose manifest has no opset counts as too new for the oldest parser, and as readable for the others
    if (opset if isinstance(opset, int) else OPSETS[0][1] + 1) > newest:
        reasons.append(f"the file has opset {opset}, but the parser only reads up to {newest}")
    if (precision, target) == ("fp32", "onnxruntime") and inputs.get("layout") == "uint8-nhwc":
        # the export casts first for every other target and precision
        reasons.append(
            "the file transposes its uint8 images before it casts them, but the parser requires the cast first"
        )
    if version[0] == 8 and target != "tensorrt8":
        if precision != "fp32":
            reasons.append(
                f"the file is a typed {precision} graph, but this version needs an FP32 graph and build flags"
            )
        if inputs.get("camera") == "input":
            reasons.append("the file takes int64 camera ids, but this version has int32 only")
    return reasons


def export_command(manifest: Mapping[str, Any], version: Version, where: str) -> str:
    """Return the shell command that exports the ONNX file at `where` again for TensorRT `version`, with the same precision and inputs.

    `manifest` is that of the file. The command exports for the target tensorrt8 if `version` is 8.x, else for tensorrt. If the file
    was exported for this target too, the command overwrites it; otherwise the command writes a new file beside it. The command
    names the weights model.safetensors, because manifests do not record the path of the weights.
    """
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
    integration = manifest.get("neighbour")
    if isinstance(integration, dict) and integration.get("for"):
        # the option restores the input that the integration sends, and its configuration
        words += ["--for", integration["for"]]
    if inputs.get("layout", "uint8-nhwc") != "uint8-nhwc":
        words += ["--input", inputs["layout"]]
    # `input` is the default for a model with camera embeddings; a model without them has no other policy
    if inputs.get("cameras") and inputs.get("camera", "none") != "input":
        words += ["--camera", inputs.get("camera", "none")]
    if inputs.get("batch") is not None:
        words += ["--batch", inputs["batch"]]
    return shlex.join(map(str, [*words, "--out", out]))
