"""Write a model repository of Triton Inference Server for an exported file. Imports and runs nothing of Triton."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from runtime.errors import StorageError
from runtime.files.manifest import replacing
from runtime.spec import InputSpec

# The largest batch of the default profile of `python -m engines build`; it fits a small GPU.
MAX_BATCH = 32
PROFILE = f"1,8,{MAX_BATCH}"
QUEUE_DELAY_US = 2000
KINDS = {"uint8-nhwc": "TYPE_UINT8", "float-nchw": "TYPE_FP32"}


def model_name(out: Path) -> str:
    """Return the model's name in Triton: the file's stem with only letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", out.stem)


def repository(out: Path) -> Path:
    """Return the folder for `tritonserver --model-repository`: `model.triton` for `model.onnx`."""
    return out.with_suffix(".triton")


def is_plan(manifest: dict[str, Any]) -> bool:
    """Return whether the file was exported for TensorRT (`--target tensorrt`), by its `manifest`.

    Triton's TensorRT backend then runs an engine (a "plan" in Triton), model.plan, which is built from the file on the server.
    Otherwise, Triton's ONNX Runtime backend runs the file itself.
    """
    return str(manifest["target"]).startswith("tensorrt")


def configuration(name: str, manifest: dict[str, Any], remarks: list[str]) -> str:
    """Return the text of config.pbtxt for the model `name`, whose ONNX file has the `manifest`.

    `remarks` are lines about the camera that the file fixes; they become comments. The `dims` of images and features contain no batch,
    because Triton puts the batch before them.
    """
    spec = InputSpec.from_json(manifest["input"], name)
    plan = is_plan(manifest)
    size = [spec.height, spec.width]
    dims = [*size, 3] if spec.layout == "uint8-nhwc" else [3, *size]
    lines = [
        f"# For {name}, {manifest['precision']}, sha256 {manifest['sha256']}. This configuration was not tested in Triton.",
        f"# Images: {pixels(spec)}.",
        f"# Features: L2-normalised; the cosine of two is their dot product.{_camera(remarks)}",
        f'name: "{name}"',
        f'platform: "{"tensorrt_plan" if plan else "onnxruntime_onnx"}"',
        f"max_batch_size: {MAX_BATCH}",
        f'input [ {{ name: "images" data_type: {KINDS[spec.layout]} dims: {dims} }} ]',
        f'output [ {{ name: "features" data_type: TYPE_FP32 dims: [{manifest["output"]["dim"]}] }} ]',
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_US} }}",
        # An engine needs a GPU; ONNX Runtime uses a GPU where there is one.
        f"instance_group [ {{ count: 1 kind: {'KIND_GPU' if plan else 'KIND_AUTO'} }} ]",
    ]
    return "\n".join(lines) + "\n"


def pixels(spec: InputSpec) -> str:
    """Return a line that describes the shape, type and scale of the images that a client must send for the input `spec`."""
    size = f"({spec.height}, {spec.width})"
    resized = f"resized to {size} by Pillow's {spec.interpolation} filter without keeping the aspect ratio"
    if spec.layout == "uint8-nhwc":
        return f"(B, {spec.height}, {spec.width}, 3) uint8 RGB 0..255, {resized}"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return f"(B, 3, {spec.height}, {spec.width}) float32 RGB, {resized}, then (x / 255 - ({mean})) / ({std}) per channel"


def _camera(remarks: list[str]) -> str:
    return "".join(f"\n# Camera: {remark}." for remark in remarks)


def write(out: Path, manifest: dict[str, Any], remarks: list[str]) -> tuple[Path, str | None]:
    """Write a model repository beside the ONNX file `out`; return (its folder, the command that completes it or None).

    The repository holds NAME/config.pbtxt and NAME/1/model.onnx, where NAME is the `model_name` of `out`. For TensorRT, NAME/1 stays
    empty, because NAME/1/model.plan must be built with the GPU and the TensorRT of the server; the returned command builds it.
    `manifest` and `remarks` are as in `configuration`. Raises StorageError when the repository cannot be written.
    """
    name, root = model_name(out), repository(out)
    version = root / name / "1"
    try:
        # Triton must not serve a model of an earlier export under this configuration.
        if version.is_dir():
            shutil.rmtree(version)
        version.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{version}: cannot be created ({error.strerror}); choose another --out") from None
    next_command = None
    if is_plan(manifest):
        words = ["python", "-m", "engines", "build", str(out), "--out", str(version / "model.plan")]
        next_command = shlex.join([*words, "--batch", PROFILE]) + "   (on the server, with its TensorRT)"
    else:
        with replacing(version / "model.onnx") as temporary:
            shutil.copyfile(out, temporary)
    with replacing(root / name / "config.pbtxt") as temporary:
        temporary.write_text(configuration(name, manifest, remarks))
    return root, next_command
