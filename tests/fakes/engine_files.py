"""An ONNX file that passed its gate, its check crops, and a program that stands in for trtexec, for the tests of engines."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engines.machine import Machine
from engines.probe import identity_model
from export.check import Check, save_check
from runtime.files.manifest import write_manifest
from runtime.spec import InputSpec
from tests.fakes import tiny_model

HOST = Machine("10.3.0", "8.7", "Orin", "Linux", "x86_64", None, None)
# A program of its own, which accepts the arguments of any version, prints what trtexec prints, and writes the requested files.
TRTEXEC = """#!{python}
import os, sys, time
VERSION, MODE, LOG = {version!r}, {mode!r}, {log!r}
words = dict(word.partition("=")[::2] for word in sys.argv[1:])
open(LOG, "a").write(" ".join(sys.argv[1:]) + "\\n")
banner = f"TensorRT.trtexec [TensorRT v{{VERSION}}] # trtexec"
print("&&&& RUNNING", banner, flush=True)
if "--help" in words:
    sys.exit(0)
print("[11/02/2026-10:00:01] [I] Selected Device: Orin")
print("[11/02/2026-10:00:01] [I] Compute Capability: 8.7", flush=True)
engine = words["--saveEngine"]
if MODE == "fails":
    open(engine, "wb").write(b"half an eng")
    print("[11/02/2026-10:00:01] [E] Error[4]: node /Tile: cannot be built")
    print("[11/02/2026-10:00:01] [E] Engine set up failed")
    print("&&&& FAILED", banner)
    sys.exit(1)
if MODE == "memory":
    print("[11/02/2026-10:00:01] [E] Error Code 2: OutOfMemory (Requested size was 2147483648 bytes.)")
    print("&&&& FAILED", banner)
    sys.exit(1)
if MODE == "disk":
    print("[11/02/2026-10:00:01] [E] Saving engine to file failed.")
    print("[11/02/2026-10:00:01] [E] Engine set up failed")
    print("&&&& FAILED", banner)
    sys.exit(1)
if MODE == "killed":
    open(engine, "wb").write(b"half an eng")
    os.kill(os.getpid(), 9)
if MODE == "hangs":
    open(engine, "wb").write(b"half an eng")
    open(LOG + ".started", "w").write(str(os.getpid()))
    time.sleep(60)
if MODE != "writes nothing":
    open(engine, "wb").write(b"plan of " + words["--onnx"].encode())
if "--timingCacheFile" in words:
    open(words["--timingCacheFile"], "wb").write(b"tactics")
if "--skipInference" not in words:
    times = "min = 1 ms, max = 3 ms, mean = 2 ms, median = 2 ms, percentile(99%) = 3 ms"
    print("[11/02/2026-10:00:01] [I] Throughput: 100 qps")
    print("[11/02/2026-10:00:01] [I] Latency:", times)
print("&&&& PASSED", banner)
"""


def fake_trtexec(folder: Path, *, version: int = 100300, mode: str = "builds") -> Path:
    """Write an executable `trtexec` to `folder`, which appends its arguments to trtexec.log there. Return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    if mode == "hangs":
        os.mkfifo(folder / "trtexec.log.started")
    path = folder / "trtexec"
    log = str(folder / "trtexec.log")
    path.write_text(TRTEXEC.format(python=sys.executable, version=version, mode=mode, log=log))
    path.chmod(0o755)
    return path


def lines(trtexec: Path) -> list[str]:
    """Return the arguments of each run of a fake `trtexec` so far, except runs that only ask for its version."""
    log = trtexec.parent / "trtexec.log"
    return [line for line in log.read_text().splitlines() if line != "--help"] if log.exists() else []


def unit_features(count: int = 12, dim: int = 16) -> np.ndarray:
    """Return different features (count, dim) float32 of length 1."""
    raw = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def crops(spec: InputSpec, count: int = 12) -> np.ndarray:
    """Return crops (count, H, W, 3) uint8, in each of which the first pixel is the number of the crop."""
    images = np.zeros((count, spec.height, spec.width, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    return images


def onnx_file(path: Path, *, precision: str = "fp16", check: bool = True, **spec_of: Any) -> dict[str, Any]:
    """Write an ONNX file, its check crops and its manifest as an export writes them, and return the manifest."""
    spec = dataclasses.replace(InputSpec(height=4, width=2), **spec_of)
    features = unit_features()
    path.write_bytes(identity_model())
    crop_check = Check(crops(spec), np.arange(12, dtype=np.int64), features)
    saved = save_check(Path(f"{path}.check.npz"), crop_check) if check else None
    content = {
        "kind": "onnx",
        "parent": "0" * 64,
        "precision": precision,
        "target": "tensorrt",
        "opset": 19,
        "input": spec.to_json(),
        "output": {"dim": features.shape[1], "normalised": True},
        "gate": {"passed": True},
        "check": saved,
    }
    return write_manifest(path, content)


def write_model(
    path: Path, spec: InputSpec = tiny_model.SPEC, *, manifest: dict[str, Any] | None = None, **options: Any
) -> Path:
    """Write a real network for TensorRT, whose first operation casts the uint8 images, and its manifest."""
    fields = {"target": "tensorrt", "opset": 17} | (manifest or {})
    return tiny_model.write_model(path, spec, manifest=fields, **options)
