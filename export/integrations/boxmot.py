"""Write the metadata file that BoxMOT reads beside a re-ID model. Imports and runs nothing of BoxMOT."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from runtime.files.manifest import replacing
from runtime.spec import InputSpec

# The largest batch of the default profile of `python -m engines build`.
PROFILE = "1,8,32"


def metadata(out: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of the ONNX file `out`, which has the `manifest`, in BoxMOT's schema 1.

    Without it, BoxMOT would look for the architecture in the file name and for the crop size in a table of its own models.
    """
    spec = InputSpec.from_json(manifest["input"], out.name)
    size = [spec.height, spec.width]
    return {
        "schema_version": 1,
        "model_name": "reid-edge",
        "model_kwargs_schema_version": 1,
        "model_kwargs": {"img_size": size},
        "img_size": size,
        "num_classes": 1,
        # the crops are stretched to the input size, as in training
        "preprocess": "resize",
        "source": out.name,
        "source_sha256": manifest["sha256"],
    }


def metadata_path(model: Path) -> Path:
    """Return where BoxMOT looks for the metadata of the file `model`: model.onnx.metadata.json for model.onnx."""
    return Path(f"{model}.metadata.json")


def write(out: Path, manifest: dict[str, Any], remarks: list[str]) -> tuple[Path, str | None]:
    """Write the metadata of the ONNX file `out` beside it; return (its path, the command that builds an engine or None).

    A file that was exported for TensorRT becomes an engine on the device. An engine says nothing about itself, so its metadata is
    written too. `remarks` are not used, because the metadata has no place for them.
    """
    text = json.dumps(metadata(out, manifest), indent=1) + "\n"
    targets, command = [out], None
    if str(manifest["target"]).startswith("tensorrt"):
        engine = out.with_suffix(".engine")
        targets.append(engine)
        words = ["python", "-m", "engines", "build", str(out), "--out", str(engine), "--batch", PROFILE]
        command = shlex.join(words) + "   (on the device)"
    for target in targets:
        with replacing(metadata_path(target)) as temporary:
            temporary.write_text(text)
    return metadata_path(out), command
