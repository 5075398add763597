"""Triton Inference Server: a model repository for an exported file. Runs nothing of Triton."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from runtime.errors import StorageError
from runtime.files.manifest import replacing
from runtime.spec import InputSpec

# the largest batch of the profile that `python -m engines build` makes by default, and what a small GPU holds
MAX_BATCH = 32
PROFILE = f"1,8,{MAX_BATCH}"
QUEUE_DELAY_US = 2000
KINDS = {"uint8-nhwc": "TYPE_UINT8", "float-nchw": "TYPE_FP32"}


def model_name(out: Path) -> str:
    """What clients call the model, and its folder: the file's stem in letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", out.stem)


def repository(out: Path) -> Path:
    """`model.onnx` -> `model.triton`, what `tritonserver --model-repository` is given."""
    return out.with_suffix(".triton")


def is_plan(manifest: dict[str, Any]) -> bool:
    """Whether Triton's TensorRT backend runs it (`--target tensorrt`), for which an engine is built on its GPU."""
    return str(manifest["target"]).startswith("tensorrt")


def configuration(name: str, manifest: dict[str, Any], remarks: list[str]) -> str:
    """config.pbtxt of the file with this manifest; `remarks` are comments about its camera policy.

    Images and features carry no batch in `dims`: Triton puts it before them.
    """
    spec = InputSpec.from_json(manifest["input"], name)
    plan = is_plan(manifest)
    size = [spec.height, spec.width]
    dims = [*size, 3] if spec.layout == "uint8-nhwc" else [3, *size]
    lines = [
        f"# For {name}, {manifest['precision']}, sha256 {manifest['sha256']}; not run in Triton by who wrote it.",
        f"# Images: {pixels(spec)}.",
        f"# Features: L2-normalised; the cosine of two is their dot product.{_camera(remarks)}",
        f'name: "{name}"',
        f'platform: "{"tensorrt_plan" if plan else "onnxruntime_onnx"}"',
        f"max_batch_size: {MAX_BATCH}",
        f'input [ {{ name: "images" data_type: {KINDS[spec.layout]} dims: {dims} }} ]',
        f'output [ {{ name: "features" data_type: TYPE_FP32 dims: [{manifest["output"]["dim"]}] }} ]',
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_US} }}",
        # a plan needs a GPU; ONNX Runtime takes one where there is one
        f"instance_group [ {{ count: 1 kind: {'KIND_GPU' if plan else 'KIND_AUTO'} }} ]",
    ]
    return "\n".join(lines) + "\n"


def pixels(spec: InputSpec) -> str:
    """What a client has to send, in words."""
    size = f"({spec.height}, {spec.width})"
    resized = f"resized to {size} by Pillow's {spec.interpolation} filter without keeping the aspect ratio"
    if spec.layout == "uint8-nhwc":
        return f"(B, {spec.height}, {spec.width}, 3) uint8 RGB 0..255, {resized}"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return f"(B, 3, {spec.height}, {spec.width}) float32 RGB, {resized}, then (x / 255 - ({mean})) / ({std}) each"


def _camera(remarks: list[str]) -> str:
    return "".join(f"\n# Camera: {remark}." for remark in remarks)


def write(out: Path, manifest: dict[str, Any], remarks: list[str]) -> tuple[Path, str | None]:
    """Write the repository beside the ONNX file at `out`; (its folder, the command that completes it, if any).

    NAME/config.pbtxt and NAME/1/model.onnx, or for TensorRT the place of NAME/1/model.plan, which only the GPU and the TensorRT of
    the server can build. StorageError when it cannot be written.
    """
    name, root = model_name(out), repository(out)
    version = root / name / "1"
    try:
        # a model of an earlier export must not be served under this configuration
        if version.is_dir():
            shutil.rmtree(version)
        version.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{version}: cannot be made ({error.strerror}); choose another --out") from None
    following = None
    if is_plan(manifest):
        words = ["python", "-m", "engines", "build", str(out), "--out", str(version / "model.plan")]
        following = shlex.join([*words, "--batch", PROFILE]) + "   (on the server, with its TensorRT)"
    else:
        with replacing(version / "model.onnx") as temporary:
            shutil.copyfile(out, temporary)
    with replacing(root / name / "config.pbtxt") as temporary:
        temporary.write_text(configuration(name, manifest, remarks))
    return root, following
