"""Peak memory of one model: run in a process of its own, `python -m benchmarks.memory MODEL`. Times nothing."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.models import open_runnable
from runtime.errors import guarded
from runtime.preprocess import to_input

ROOT = Path(__file__).resolve().parent.parent


def peak_mib(status: str) -> float:
    """The resident high-water mark in MiB from the text of /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def measure(path: Path, *, device: str, threads: int | None, batch: int) -> float | None:
    """Peak resident memory in MiB of opening `path` and running a few batches, interpreter and libraries included.

    None where it cannot be measured (no /proc, or the process failed).
    """
    command = [sys.executable, "-m", "benchmarks.memory", str(Path(path).resolve()), "--device", device]
    command += ["--batch", str(batch), *(["--threads", str(threads)] if threads else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    value = float(json.loads(done.stdout)["peak_mib"])
    return value if value == value else None


def main(argv: Sequence[str] | None = None) -> int:
    """Print {peak_mib} of one model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=main.__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args(argv)
    # gated or not is the caller's business: it opened the model before
    artifact = open_runnable(args.model, device=args.device, threads=args.threads, allow_ungated=True)
    spec = artifact.spec
    crops = np.zeros((args.batch, spec.height, spec.width, 3), np.uint8)
    ids = np.full(args.batch, spec.mean_camera) if spec.camera == "input" else None
    for _ in range(3):
        artifact.run(to_input(crops, spec), ids)
    status = Path("/proc/self/status")
    print(json.dumps({"peak_mib": peak_mib(status.read_text() if status.exists() else "")}))
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
