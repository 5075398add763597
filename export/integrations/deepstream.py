"""Write the two blocks of DeepStream's tracker configuration that concern an exported file, `ReID` and `TrajectoryManagement`.

Imports and runs nothing of DeepStream.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from export.options import ExportOptions
from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.spec import InputSpec

# The largest batch of the default profile of `python -m engines build`.
BATCH = 32
MODES = {"fp32": 0, "fp16": 1}
# The number of frames between two features of a target, as in NVIDIA's own tracker configuration for accuracy.
INTERVAL = 8
# Starting values that were not measured on any stream: the right values depend on the model and the cameras.
SIMILARITY, WEIGHT = 0.5, 0.5


def refuse(options: ExportOptions) -> None:
    """Raise ConfigError for int8: the tracker needs a calibration table, which a file with Q/DQ nodes does not have."""
    if options.precision not in MODES:
        raise ConfigError(
            f"--precision {options.precision}: --for deepstream supports fp32 and fp16 (the tracker builds int8 from a calibration "
            "table, which a Q/DQ file does not have); use --precision fp16"
        )


def scaling(spec: InputSpec) -> tuple[list[float], float]:
    """Return (one offset per channel, net-scale-factor), with which DeepStream computes the model input that `spec` describes.

    DeepStream computes factor x (pixel - offset) from RGB pixels 0..255. All numbers have float32 precision, as in the tracker. Raises
    ValueError when the three values of `spec.std` differ.
    """
    if len(set(spec.std)) != 1:
        raise ValueError(
            f"std {spec.std}: DeepStream has one net-scale-factor for all channels; give a spec with three equal values of std"
        )
    offsets = [_single(255 * mean) for mean in spec.mean]
    return offsets, _single(1 / (255 * spec.std[0]))


def _single(value: float) -> float:
    """Return the shortest decimal number that has the same float32 value."""
    return float(str(np.float32(value)))


def configuration(path: Path, manifest: dict[str, Any], remarks: list[str]) -> str:
    """Return the YAML text of the blocks `ReID` and `TrajectoryManagement` of the tracker, for the ONNX file at `path`.

    `manifest` is that of the file. `remarks` are lines about the camera that the file fixes; they become comments.
    """
    onnx, folder = path.name, path.resolve().parent
    spec = InputSpec.from_json(manifest["input"], onnx)
    offsets, factor = scaling(spec)
    precision = str(manifest["precision"])
    camera = "".join(f"# camera: {remark}\n" for remark in remarks)
    return f"""\
# For {onnx}, {precision}, sha256 {manifest["sha256"]}. This configuration was not tested in DeepStream.
# Replace the ReID block of the tracker's configuration file (ll-config-file) by this one, and copy the keys of TrajectoryManagement
# into the block of that name.
# Both paths must be absolute: before DeepStream 9.2 the tracker opens relative paths from the working directory of its process. They
# name the folder where the files were written. If the files are elsewhere on the device, correct both paths.
# The tracker's scaler differs from Pillow's {spec.interpolation} filter of the training. Measure accuracy on your own streams.
{camera}ReID:
  reidType: 2                    # re-association
  onnxFile: {_quoted(folder / onnx)}
  modelEngineFile: {_quoted(folder / engine_name(onnx, precision))}
  batchSize: {BATCH}
  workspaceSize: 1000            # MB
  reidFeatureSize: {manifest["output"]["dim"]}
  reidHistorySize: 100
  inferDims: [3, {spec.height}, {spec.width}]
  networkMode: {MODES[precision]}                 # 0 fp32, 1 fp16
  inputOrder: 0                  # NCHW
  colorFormat: 0                 # RGB
  offsets: {offsets}
  netScaleFactor: {factor}
  keepAspc: 0                    # the model was trained on crops stretched to the input size
  addFeatureNormalization: 0     # the model already normalises its features
  outputReidTensor: 1
  useVPICropScaler: 1
TrajectoryManagement:
  enableReAssoc: 1               # use the features to find a lost target again
  reidExtractionInterval: {INTERVAL}      # frames between two features of a target; 0: every frame, -1: only the first
  # The right values of the two numbers below depend on the model and the cameras. Start from these, and choose a threshold between
  # the similarities of the same person and of different people on your own streams.
  minMatchingScore4ReidSimilarity: {SIMILARITY}   # cosine, 0 to 1: tracks below it are not joined
  matchingScoreWeight4ReidSimilarity: {WEIGHT}
"""


def _quoted(path: Path) -> str:
    """Return the path as a YAML string, with any special characters escaped."""
    return json.dumps(str(path), ensure_ascii=False)


def engine_name(onnx: str, precision: str) -> str:
    """Return the file name that DeepStream itself gives to the engine that it builds from the file `onnx`."""
    return f"{onnx}_b{BATCH}_gpu0_{precision}.engine"


def write_configuration(out: Path, manifest: dict[str, Any], remarks: list[str]) -> tuple[Path, str | None]:
    """Write the tracker's configuration for the ONNX file `out`; return (its path, the command that builds the engine).

    The configuration for model.onnx is model.deepstream.yaml in the same folder. The command is never None here; the type allows
    it because `export.integrations.triton.write` can return None. `manifest` and `remarks` are as in `configuration`.
    """
    path = out.with_suffix(".deepstream.yaml")
    with replacing(path) as temporary:
        temporary.write_text(configuration(out, manifest, remarks))
    engine = out.with_name(engine_name(out.name, str(manifest["precision"])))
    words = ["python", "-m", "engines", "build", str(out), "--out", str(engine), "--batch", f"1,8,{BATCH}"]
    return path, shlex.join(
        words
    ) + "   (on the device; otherwise the tracker builds the engine at its first start)"
