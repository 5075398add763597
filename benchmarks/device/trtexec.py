"""Time an engine with trtexec, to compare its times with those that bench.py measures. The output of trtexec is kept unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.device.run import Trtexec
from engines.trtexec.load import find_profile, load_line
from engines.trtexec.run import find_trtexec, run, trtexec_version
from runtime.console import note
from runtime.errors import UserError
from runtime.spec import InputSpec

# The seconds that trtexec may take to load an engine and warm up, in addition to the measured time.
STARTING_S = 300


def run_trtexec(
    path: Path, manifest: Mapping[str, Any], spec: InputSpec, batches: Sequence[int], *, seconds: float
) -> list[Trtexec]:
    """Run trtexec twice on the engine at `path` for each batch size, and return all runs.

    The times of the first run leave out the transfers between CPU and GPU, and are comparable between TensorRT versions. Those of the
    second run include the copying of the images to the GPU and of the features back, and are comparable with the times of bench.py.
    `manifest` and `spec` are those of the engine, and each run measures for `seconds` seconds. If trtexec cannot run, the `why` of the
    results gives the reason.
    """
    settings = [(batch, transfers) for batch in batches for transfers in (False, True)]
    if manifest.get("kind") != "engine":
        return [Trtexec(*setting, why=f"{path} is not an engine") for setting in settings]
    if (manifest.get("builder") or {}).get("name") == "rtx":
        return [
            Trtexec(*setting, why="trtexec does not load engines of TensorRT-RTX") for setting in settings
        ]
    try:
        trtexec = find_trtexec()
        version = trtexec_version(trtexec)
    except UserError as error:
        return [Trtexec(*setting, why=str(error)) for setting in settings]
    runs = []
    for batch, transfers in settings:
        line: list[str] = []
        try:
            profile = find_profile(path, manifest, batch)
            line = load_line(spec, profile, batch, version, transfers=transfers, seconds=math.ceil(seconds))
            note(
                f"{profile.engine}: timing with trtexec, batch {batch}, {'with' if transfers else 'without'} copies to and from the "
                "GPU"
            )
            _, output = run(trtexec, line, timeout_s=seconds + STARTING_S)
            runs.append(Trtexec(batch, transfers, line, output))
        except UserError as error:
            runs.append(Trtexec(batch, transfers, line, why=str(error)))
    return runs
