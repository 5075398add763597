"""Write the tracker configuration with which Ultralytics uses an exported file. Imports and runs nothing of Ultralytics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.options import ExportOptions
from runtime.errors import ConfigError
from runtime.files.manifest import replacing

# The version whose keys and default values the configuration has.
VERSION = "8.4.190"


def refuse(options: ExportOptions) -> None:
    """Raise ConfigError if the target is not onnxruntime: Ultralytics feeds 224 x 224 pixels to every other kind of re-ID file."""
    if options.target != "onnxruntime":
        raise ConfigError(
            f"--target {options.target}: Ultralytics reads the input size from ONNX files only, and would feed 224 x 224 pixels to an "
            "engine; leave --target out"
        )


def configuration(path: Path, manifest: dict[str, Any], remarks: list[str]) -> str:
    """Return the YAML text of a BoT-SORT configuration that uses the ONNX file at `path`, which has the `manifest`.

    `remarks` are lines about the file, which become comments.
    """
    comments = "".join(f"# {remark}\n" for remark in remarks)
    return f"""\
# For {path.name}, {manifest["precision"]}, sha256 {manifest["sha256"]}.
# Use it with YOLO("yolo26n.pt").track(source, tracker="{path.with_suffix(".ultralytics.yaml").name}").
# The keys and values are the defaults of Ultralytics {VERSION}, except with_reid and model.
{comments}tracker_type: botsort
track_high_thresh: 0.25
track_low_thresh: 0.1
new_track_thresh: 0.25
track_buffer: 30
match_thresh: 0.8
fuse_score: True
gmc_method: sparseOptFlow
proximity_thresh: 0.5
# The right value depends on the model and the cameras. A value t accepts a cosine of at least 2 t - 1.
appearance_thresh: 0.8
with_reid: True
model: {json.dumps(str(path.resolve()), ensure_ascii=False)}
"""


def write(out: Path, manifest: dict[str, Any], remarks: list[str]) -> tuple[Path, str | None]:
    """Write the tracker configuration for the ONNX file `out`, model.ultralytics.yaml for model.onnx; return (its path, None).

    `manifest` and `remarks` are as in `configuration`.
    """
    path = out.with_suffix(".ultralytics.yaml")
    with replacing(path) as temporary:
        temporary.write_text(configuration(out, manifest, remarks))
    return path, None
