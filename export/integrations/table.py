"""Export for other people's servers and trackers (`--for`): what they send becomes the file's input, their configuration is written.

Knows no server itself: export/integrations/triton.py and export/integrations/deepstream.py hold what each reads.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.integrations import deepstream, triton
from prune.model.transreid import TransReID
from prune.session import open_model
from runtime.artifact import Artifact
from runtime.datasets import count_warnings, guess_layout, read_dataset
from runtime.datasets.cameras import dataset_name
from runtime.errors import ConfigError, DataError
from runtime.extraction.accuracy import accuracy
from runtime.files.manifest import write_manifest
from runtime.spec import InputSpec


@dataclass(frozen=True)
class Neighbour:
    """`layouts`: the image inputs that it can feed, the default first; `one_scale`: one std for all three channels.

    `target` is what it runs a file with where nothing else is said. `refuse(precision)` raises ConfigError for what it cannot
    build (None: it takes all); `write(out, manifest, remarks)` writes its configuration and gives (the file, what to run next).
    """

    layouts: tuple[str, ...]
    one_scale: bool
    target: str
    refuse: Callable[[str], None] | None
    write: Callable[[Path, dict[str, Any], list[str]], tuple[Path, str | None]]


NEIGHBOURS = {
    "triton": Neighbour(("uint8-nhwc", "float-nchw"), False, "onnxruntime", None, triton.write),
    "deepstream": Neighbour(
        ("float-nchw",), True, "tensorrt", deepstream.refuse, deepstream.write_configuration
    ),
}


def default_layout(name: str | None) -> str:
    """The image layout where --input is not given."""
    return NEIGHBOURS[name].layouts[0] if name else "uint8-nhwc"


def default_target(name: str | None) -> str:
    """The target where --target is not given."""
    return NEIGHBOURS[name].target if name else "onnxruntime"


def refuse(name: str, *, precision: str) -> None:
    """ConfigError for a precision that the neighbour could not build."""
    if (check := NEIGHBOURS[name].refuse) is not None:
        check(precision)


def neighbour_input(spec: InputSpec, name: str) -> InputSpec:
    """The file's input as the neighbour sends it: one image input, any batch, pixels in its own scale.

    ConfigError for a layout it cannot send, a fixed batch, or a camera input.
    """
    neighbour = NEIGHBOURS[name]
    if spec.layout not in neighbour.layouts:
        raise ConfigError(
            f"--input {spec.layout}: --for {name} sends {' or '.join(neighbour.layouts)}; leave --input out"
        )
    if spec.batch is not None:
        raise ConfigError(f"--batch {spec.batch}: --for {name} batches by itself; leave --batch out")
    if spec.camera == "input":
        raise ConfigError(
            f"--camera input: --for {name} sends one image and no camera; give mean, none or a camera id"
        )
    if neighbour.one_scale and len(set(spec.std)) > 1:
        # any one number would do: the graph makes up for it
        scale = sum(spec.std) / 3
        return dataclasses.replace(spec, std=(scale, scale, scale))
    return spec


def rescaled(model: TransReID, own: InputSpec, sent: InputSpec) -> TransReID:
    """The model for pixels normalised with `sent`'s mean and std instead of its `own`: exact, in the patch convolution.

    The model itself where the two agree. The convolution has no padding, so a change of scale and offset of its input is one of
    its weights and bias.
    """
    if (own.mean, own.std) == (sent.mean, sent.std):
        return model
    changed: Any = copy.deepcopy(model)
    convolution = changed.base.patch_embed.proj
    std = torch.tensor(own.std).double()
    gain = torch.tensor(sent.std).double() / std
    shift = (torch.tensor(sent.mean).double() - torch.tensor(own.mean).double()) / std
    weight = convolution.weight.data.double()
    bias = convolution.bias.data.double() + (weight * shift.view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    convolution.weight.data = (weight * gain.view(1, 3, 1, 1)).float()
    convolution.bias.data = bias.float()
    result: TransReID = changed
    return result


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
    written, following = NEIGHBOURS[name].write(out, manifest, said)
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
