"""`InputSpec`, the description of a model's input, which export writes into the manifest and the runtime follows."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from runtime.errors import ArtifactError

INPUT_LAYOUTS = ("uint8-nhwc", "float-nchw")
CAMERA_MODES = ("input", "none", "mean")
# The orders of the channels that a model may take. The runtime gives RGB, so a model that takes another order is refused.
COLOURS = ("rgb",)
# The largest accepted height and width (pixels), batch size, camera id and number of cameras.
LARGEST = 100_000


@dataclass(frozen=True)
class InputSpec:
    """The input of a model: a batch of images and, if `camera` is "input", a second input `camera_ids` (B,).

    - `height`, `width`: the size of the images in pixels. `interpolation`: the method that resizes them, "bicubic" or "bilinear".
    - `layout`: "uint8-nhwc" is (B, height, width, 3) uint8 RGB 0..255; the caller resizes, and the graph normalises.
      "float-nchw" is (B, 3, height, width) float32; the caller resizes and computes (rgb / 255 - mean) / std.
    - `mean`, `std`: the constants of this normalisation, for R, G and B. `colour`: the order of the channels, always "rgb".
    - `camera`: "input" means that the caller chooses the camera embedding of each image by its value in `camera_ids`: a 0-based
      camera id, or one of the whole numbers `mean_camera` and `no_camera` (properties below). Any other `camera` means that the
      export fixed the embedding: "none" adds none, "mean" the mean of all, and a number that of the camera with this 0-based id.
    - `cameras`: the number of camera embeddings, 0 for a model without. `dataset`: the data set whose camera ids select them, or
      None if it is not known.
    - `batch`: the fixed batch size of the graph; None if the graph takes any.
    """

    height: int = 256
    width: int = 128
    layout: str = "uint8-nhwc"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"
    colour: str = "rgb"
    camera: str | int = "none"
    cameras: int = 0
    dataset: str | None = None
    batch: int | None = None

    @property
    def mean_camera(self) -> int:
        """The `camera_ids` value that selects the mean of all camera embeddings: one more than the last camera id."""
        return self.cameras

    @property
    def no_camera(self) -> int:
        """The `camera_ids` value with which the model adds no camera embedding: two more than the last camera id."""
        return self.cameras + 1

    def to_json(self) -> dict[str, Any]:
        """Return the dict that a manifest stores as `input`."""
        return dataclasses.asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str = "manifest") -> InputSpec:
        """Return the InputSpec that `data`, the `input` of a manifest, describes. `where` names the manifest in an error.

        Raises ArtifactError for a missing or unknown field, and for a value out of range.
        """
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - fields):
            raise ArtifactError(
                f"{where}: unknown input fields {unknown}, perhaps written by a newer version of this project; "
                "upgrade this project, or export the model again"
            )
        try:
            spec = cls(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"{where}: incomplete input specification ({error}); export the model again"
            ) from None
        if wrong := [name for name, right in _checks(spec).items() if not right]:
            values = ", ".join(f"{name} {getattr(spec, name)!r:.60}" for name in wrong)
            raise ArtifactError(f"{where}: unsupported input values: {values}; export the model again")
        return spec


def _checks(spec: InputSpec) -> dict[str, bool]:
    """Return for each field whether its value is possible; a manifest may be damaged."""

    def whole(value: Any, least: int, most: int) -> bool:
        return type(value) is int and least <= value <= most

    def three(values: Any) -> bool:
        return len(values) == 3 and all(
            type(value) in (int, float) and math.isfinite(value) for value in values
        )

    return {
        "height": whole(spec.height, 1, LARGEST),
        "width": whole(spec.width, 1, LARGEST),
        "layout": spec.layout in INPUT_LAYOUTS,
        "mean": three(spec.mean),
        "std": three(spec.std) and all(value != 0 for value in spec.std),
        "interpolation": spec.interpolation in ("bicubic", "bilinear"),
        "colour": spec.colour in COLOURS,
        "camera": spec.camera in CAMERA_MODES or whole(spec.camera, 0, LARGEST),
        "cameras": whole(spec.cameras, 0, LARGEST),
        "dataset": spec.dataset is None or isinstance(spec.dataset, str),
        "batch": spec.batch is None or whole(spec.batch, 1, LARGEST),
    }
