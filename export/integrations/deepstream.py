"""DeepStream's tracker: the `ReID:` block of its configuration for an exported file. Runs nothing of DeepStream."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.spec import InputSpec

# the largest batch of the profile that `python -m engines build` makes by default
BATCH = 32
MODES = {"fp32": 0, "fp16": 1}
# How often a target's feature is taken, in frames: what NVIDIA's own tracker for accuracy has.
INTERVAL = 8
# Round numbers to start from, measured on no stream: the right ones depend on model and cameras.
SIMILARITY, WEIGHT = 0.5, 0.5


def refuse(precision: str) -> None:
    """ConfigError for INT8: the tracker builds it from a calibration table, and a Q/DQ file has none."""
    if precision not in MODES:
        raise ConfigError(
            f"--precision {precision}: --for deepstream builds fp32 or fp16 (its int8 wants a calibration table, which a Q/DQ file "
            "does not have); use --precision fp16"
        )


def scaling(spec: InputSpec) -> tuple[list[float], float]:
    """(offsets, net-scale-factor) of y = factor (x - offset), x in 0..255 RGB, that give the file's input.

    Both are float32 values, as the tracker holds them. ValueError where the channels have different scales.
    """
    if len(set(spec.std)) != 1:
        raise ValueError(f"std {spec.std}: DeepStream has one net-scale-factor")
    offsets = [_single(255 * mean) for mean in spec.mean]
    return offsets, _single(1 / (255 * spec.std[0]))


def _single(value: float) -> float:
    """The shortest decimal that reads as the same float32."""
    return float(str(np.float32(value)))


def configuration(path: Path, manifest: dict[str, Any], remarks: list[str]) -> str:
    """The YAML blocks for the file at `path` with this manifest; `remarks` are comments about its camera policy."""
    onnx, folder = path.name, path.resolve().parent
    spec = InputSpec.from_json(manifest["input"], onnx)
    offsets, factor = scaling(spec)
    precision = str(manifest["precision"])
    camera = "".join(f"# camera: {remark}\n" for remark in remarks)
    return f"""\
# For {onnx}, {precision}, sha256 {manifest["sha256"]}; not run in DeepStream by who wrote it.
# Put the ReID block into the tracker's configuration file (ll-config-file) in place of its own, and the keys of TrajectoryManagement
# into its block of that name.
# Both paths must be absolute: before DeepStream 9.2 the tracker opens others relative to the working directory of its process. They
# say where the files were written; where they lie elsewhere on the device, correct both.
# The tracker's scaler is not Pillow's {spec.interpolation}, which the model was trained with: measure accuracy on your own streams.
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
  keepAspc: 0                    # trained on crops stretched to the input's size
  addFeatureNormalization: 0     # the file normalises
  outputReidTensor: 1
  useVPICropScaler: 1
TrajectoryManagement:
  enableReAssoc: 1               # features are for finding a lost target again
  reidExtractionInterval: {INTERVAL}      # frames from one feature of a target to its next; 0 every frame, -1 only the first
  # The two numbers below depend on model and cameras. Start from these, and choose the threshold between the similarities that the
  # same and other people have on your own streams.
  minMatchingScore4ReidSimilarity: {SIMILARITY}   # cosine, 0 to 1: below it no two tracks are joined
  matchingScoreWeight4ReidSimilarity: {WEIGHT}
"""


def _quoted(path: Path) -> str:
    """A path as a YAML string, whatever characters it has."""
    return json.dumps(str(path), ensure_ascii=False)


def engine_name(onnx: str, precision: str) -> str:
    """The engine's file name, as DeepStream itself names what it builds."""
    return f"{onnx}_b{BATCH}_gpu0_{precision}.engine"


def write_configuration(out: Path, manifest: dict[str, Any], remarks: list[str]) -> tuple[Path, str | None]:
    """Write `model.deepstream.yaml` beside the ONNX file at `out`; (its path, the command that builds the engine beforehand)."""
    path = out.with_suffix(".deepstream.yaml")
    with replacing(path) as temporary:
        temporary.write_text(configuration(out, manifest, remarks))
    engine = out.with_name(engine_name(out.name, str(manifest["precision"])))
    words = ["python", "-m", "engines", "build", str(out), "--out", str(engine), "--batch", f"1,8,{BATCH}"]
    return path, shlex.join(words) + "   (on the device; else the tracker builds it at its first start)"
