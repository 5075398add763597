"""Write the configuration of the program of `--for` for an exported file, and measure what its camera and crops cost in mAP.

The module of each program, such as export/integrations/triton.py, holds its format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.integrations import boxmot, crop_cost, deepstream, triton, ultralytics
from export.integrations.table import INTEGRATIONS
from export.options import ExportOptions
from prune.session import open_torch_model
from runtime.artifact import Artifact
from runtime.datasets import count_warnings, guess_layout, read_dataset
from runtime.datasets.cameras import dataset_name
from runtime.errors import ConfigError, DataError
from runtime.extraction.accuracy import accuracy
from runtime.files.manifest import write_manifest
from runtime.spec import InputSpec

# (exported file, its manifest, remarks about its camera and crops) -> (written file or folder, next command for the user or None)
Writer = Callable[[Path, dict[str, Any], list[str]], tuple[Path, str | None]]
WRITERS: dict[str, Writer] = {
    "triton": triton.write,
    "deepstream": deepstream.write_configuration,
    "ultralytics": ultralytics.write,
    "boxmot": boxmot.write,
}
# The programs that do not support every option; the function raises ConfigError for an unsupported one.
REFUSALS: dict[str, Callable[[ExportOptions], None]] = {
    "deepstream": deepstream.refuse,
    "ultralytics": ultralytics.refuse,
}


def refuse(name: str, out: Path, options: ExportOptions) -> None:
    """Raise ConfigError if the program `name`, a key of WRITERS, does not support the `options` or the file name `out`."""
    suffix = INTEGRATIONS[name].suffix
    if suffix is not None and out.suffix != suffix:
        raise ConfigError(
            f"--out {out}: {name} recognises files by their name; give one that ends in {suffix}"
        )
    if name in REFUSALS:
        REFUSALS[name](options)


def write_integration(
    name: str, weights: Path, out: Path, manifest: dict[str, Any], *, check: Path, measured: bool
) -> list[list[object]]:
    """Write the configuration of the program `name` for the exported file `out`; return rows (name, text) for the export's summary.

    `name` is a key of WRITERS, and `manifest` is that of `out`. If the model has camera embeddings and `measured` is True,
    `camera_cost` measures how much mAP the fixed camera costs; it runs the torch model `weights` on the data set at `check`. If the
    program is a tracker and `measured` is True, `crop_cost` measures the cost of the tracker's own crops on the same data set. The
    costs, or the reasons why they were not measured, are recorded in the manifest.
    """
    spec = InputSpec.from_json(manifest["input"], f"{out}.json")
    cost: dict[str, Any] | None = None
    if spec.cameras:
        cost = camera_cost(weights, spec, check) if measured else {"reason": "was not measured (--gate off)"}
    remarks = {"camera": cost_text(spec, cost)} if cost else {}
    record: dict[str, Any] = {"for": name, "camera_cost": cost}
    if INTEGRATIONS[name].tracker:
        off: dict[str, Any] = {"reason": "--gate off"}
        record["crop_cost"] = crop_cost.crop_cost(name, out, spec, check) if measured else off
        remarks["crops"] = crop_cost.cost_text(name, record["crop_cost"])
    written, next_command = WRITERS[name](out, manifest, list(remarks.values()))
    write_manifest(out, manifest | {"neighbour": record | {"file": written.name}})
    rows: list[list[object]] = [[name, str(written)]]
    rows += [[key, text] for key, text in remarks.items()]
    return rows + ([["next", next_command]] if next_command else [])


def camera_cost(weights: Path, spec: InputSpec, check: Path) -> dict[str, Any]:
    """Return the mAPs (0..1) of the torch model with camera ids and with a fixed camera, {dataset, input, baked}, or {reason}.

    `input` is the mAP of the model `weights` on the data set at `check` with the camera ids of its images. `baked` is the mAP of
    the same model on the same images if all of them use the camera that `spec` fixes. `dataset` is the name of the data set. Camera
    ids mean something to a model only on the data set that it was trained on. For any other data set, nothing is measured, and
    `reason` says why.
    """
    parent, _ = open_torch_model(weights)
    try:
        dataset = read_dataset(str(check), guess_layout(str(check)))
    except (ConfigError, DataError):
        return {"reason": f"was not measured, because {check} is not a data set"}
    name = dataset_name(dataset.layout, count_warnings(dataset))
    if name is None or name != parent.spec.dataset:
        known = parent.spec.dataset or "unknown"
        return {
            "reason": f"was not measured, because {check} is not the data set that the model was trained on ({known})"
        }

    def score(camera: str | int) -> float:
        return float(accuracy(_named(parent, f"camera {camera}"), dataset, camera=camera)["mAP"])

    return {"dataset": name, "input": score("input"), "baked": score(spec.camera)}


def _named(parent: Artifact, name: str) -> Artifact:
    """Return the artifact under another name, which tells the progress lines of several runs apart."""
    return dataclasses.replace(parent, path=Path(name))


def cost_text(spec: InputSpec, cost: dict[str, Any]) -> str:
    """Return one line with the camera that `spec` fixes and with `cost`, the result of `camera_cost`."""
    if "reason" in cost:
        return f"{spec.camera}; its cost in mAP {cost['reason']}"
    before, after = 100 * cost["input"], 100 * cost["baked"]
    return (
        f"{spec.camera}: mAP {after:.2f} % on {cost['dataset']} instead of {before:.2f} % with --camera input "
        f"({after - before:+.2f} points)"
    )
