"""Let trtexec time an engine beside our own session. Judges nothing: what it printed is kept."""

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

# loading an engine and warming up, on top of the time it is told to measure
STARTING_S = 300


def run_trtexec(
    path: Path, manifest: Mapping[str, Any], spec: InputSpec, batches: Sequence[int], *, seconds: float
) -> list[Trtexec]:
    """trtexec on the engine at `path` for every batch, without and with the copies; `why` says where it could not.

    Without the copies its numbers compare between TensorRT versions, with them to those of a session.
    """
    wanted = [(batch, transfers) for batch in batches for transfers in (False, True)]
    if manifest.get("kind") != "engine":
        return [Trtexec(*one, why=f"{path} is no engine") for one in wanted]
    if (manifest.get("builder") or {}).get("name") == "rtx":
        return [Trtexec(*one, why="trtexec does not load engines of TensorRT-RTX") for one in wanted]
    try:
        trtexec = find_trtexec()
        version = trtexec_version(trtexec)
    except UserError as refusal:
        return [Trtexec(*one, why=str(refusal)) for one in wanted]
    found = []
    for batch, transfers in wanted:
        line: list[str] = []
        try:
            place = find_profile(path, manifest, batch)
            line = load_line(spec, place, batch, version, transfers=transfers, seconds=math.ceil(seconds))
            note(f"trtexec: {place.engine}, batch {batch}{', with transfers' if transfers else ''}")
            _, output = run(trtexec, line, timeout_s=seconds + STARTING_S)
            found.append(Trtexec(batch, transfers, line, output))
        except UserError as refusal:
            found.append(Trtexec(batch, transfers, line, why=str(refusal)))
    return found
