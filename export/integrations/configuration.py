"""The configuration that a server or tracker reads (`--for`), written for an exported file, and what its camera policy costs.

Knows no server itself: export/integrations/triton.py and export/integrations/deepstream.py hold what each reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.integrations import deepstream, triton
from prune.session import open_model
from runtime.artifact import Artifact
from runtime.datasets import count_warnings, guess_layout, read_dataset
from runtime.datasets.cameras import dataset_name
from runtime.errors import ConfigError, DataError
from runtime.extraction.accuracy import accuracy
from runtime.files.manifest import write_manifest
from runtime.spec import InputSpec

# (the exported file, its manifest, remarks about its camera) -> (the configuration's file, what to run next)
Writer = Callable[[Path, dict[str, Any], list[str]], tuple[Path, str | None]]
WRITERS: dict[str, Writer] = {"triton": triton.write, "deepstream": deepstream.write_configuration}
# Those that cannot build every precision: the function raises ConfigError for one of them.
REFUSALS = {"deepstream": deepstream.refuse}


def refuse(name: str, *, precision: str) -> None:
    """ConfigError for a precision that the neighbour could not build."""
    if name in REFUSALS:
        REFUSALS[name](precision)


def finish(
    name: str, weights: Path, out: Path, manifest: dict[str, Any], *, check: Path, measured: bool
) -> list[list[object]]:
    """Write the neighbour's configuration for the exported file; the rows that tell people of it.

    What the camera policy costs is measured on the data set at `check` (not where `measured` is False) and kept in the manifest.
    """
    spec = InputSpec.from_json(manifest["input"], f"{out}.json")
    cost: dict[str, Any] | None = None
    if spec.cameras:
        cost = camera_cost(weights, spec, check) if measured else {"reason": "not measured (--gate off)"}
    said = [cost_text(spec, cost)] if cost else []
    written, following = WRITERS[name](out, manifest, said)
    write_manifest(out, manifest | {"neighbour": {"for": name, "file": written.name, "camera_cost": cost}})
    rows: list[list[object]] = [[name, str(written)]]
    rows += [["camera", text] for text in said]
    return rows + ([["next", following]] if following else [])


def camera_cost(weights: Path, spec: InputSpec, check: Path) -> dict[str, Any]:
    """{dataset, input, baked} (mAP, 0..1) of the torch model on the data set at `check`, or {reason} why there is no number.

    Camera ids mean something to a model only on the data set it was trained on: on any other there is nothing to lose.
    """
    parent, _ = open_model(weights)
    try:
        dataset = read_dataset(str(check), guess_layout(str(check)))
    except (ConfigError, DataError):
        return {"reason": f"not measured, {check} is no data set"}
    name = dataset_name(dataset.layout, count_warnings(dataset))
    if name is None or name != parent.spec.dataset:
        known = parent.spec.dataset or "unknown"
        return {
            "reason": f"not measured, {check} is not the data set whose cameras the model knows ({known})"
        }

    def score(camera: str | int) -> float:
        return float(accuracy(_named(parent, f"camera {camera}"), dataset, camera=camera)["mAP"])

    return {"dataset": name, "input": score("input"), "baked": score(spec.camera)}


def _named(parent: Artifact, name: str) -> Artifact:
    """The artifact under a name that tells the progress lines of several runs apart."""
    return dataclasses.replace(parent, path=Path(name))


def cost_text(spec: InputSpec, cost: dict[str, Any]) -> str:
    """One line: the camera that is baked in, and what that costs."""
    if "reason" in cost:
        return f"{spec.camera}, its cost in mAP {cost['reason']}"
    before, after = 100 * cost["input"], 100 * cost["baked"]
    return (
        f"{spec.camera}: mAP {after:.2f} % on {cost['dataset']} instead of {before:.2f} % with --camera input "
        f"({after - before:+.2f} points)"
    )
