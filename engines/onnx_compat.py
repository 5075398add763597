"""Decide from its manifest whether a TensorRT version reads an ONNX file, and give the command that exports a suitable one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.errors import ArtifactError

Version = tuple[int, ...]

# (TensorRT version, newest opset that its parser is documented to know from that version on), from the parser's support matrix
# and operators.md. The parser does not refuse a newer opset: it reads it by the older rules.
OPSETS: tuple[tuple[Version, int], ...] = (((8,), 17), ((10,), 20), ((10, 13), 22), ((10, 15), 24))


def newest_opset(version: Version) -> int:
    """Return the newest opset that the parser of this TensorRT, 8.6 or later, is documented to know."""
    return max(opset for since, opset in OPSETS if version >= since)


def refuse_unreadable(manifest: Mapping[str, Any], version: Version, where: str) -> None:
    """Raise ArtifactError when TensorRT `version` does not read the ONNX file with this manifest.

    The error names the command that exports a file which this version reads.
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
    # a file without an opset in its manifest counts as too new for the oldest parser only
    if (opset if isinstance(opset, int) else OPSETS[0][1] + 1) > newest:
        reasons.append(f"the file has opset {opset}, the parser reads up to {newest}")
    if (precision, target) == ("fp32", "onnxruntime") and inputs.get("layout") == "uint8-nhwc":
        # files of every other target and precision cast first
        reasons.append(
            "the file transposes its uint8 images before it casts them, the parser requires the cast first"
        )
    if version[0] == 8 and target != "tensorrt8":
        if precision != "fp32":
            reasons.append(
                f"the file is a typed {precision} graph, this version needs an FP32 graph and flags"
            )
        if inputs.get("camera") == "input":
            reasons.append("the file takes int64 camera ids, this version has int32 only")
    return reasons


def export_command(manifest: Mapping[str, Any], version: Version, where: str) -> str:
    """Return the command that exports the file `where` again for this TensorRT, with the same precision and inputs.

    The command names a new file where `where` was exported for another target.
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
