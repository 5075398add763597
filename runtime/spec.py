"""`InputSpec`, the input of an artifact: the contract between training, export and the device."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from runtime.errors import ArtifactError

INPUT_LAYOUTS = ("uint8-nhwc", "float-nchw")
CAMERA_MODES = ("input", "none", "mean")
# The order of the channels that a graph takes. Nothing of ours swaps them, so a model that wants another order is refused.
COLOURS = ("rgb",)
# The most pixels of a side, images of a batch, and cameras of a table.
LARGEST = 100_000


@dataclass(frozen=True)
class InputSpec:
    """One image input and, where `camera` is "input", one camera input.

    `layout` "uint8-nhwc" is (B, height, width, 3) uint8 RGB 0..255: the caller resizes the image, and the graph does the rest.
    "float-nchw" is (B, 3, height, width) float32, (rgb / 255 - mean) / std. `camera` is "input" (a second input `camera_ids`
    (B,), see `mean_camera`), "none", "mean" or a 0-based camera id that was baked in. `colour` is the order of the
    channels, always "rgb". `cameras` is the size of the camera embedding table (0: the model has none). `dataset` names the data
    set whose camera ids index this table. `batch` is a fixed batch size, or None for any.
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
        """The `camera_ids` value that selects the mean of all camera embeddings: one past the last camera.

        One further (`mean_camera + 1`) selects no camera embedding at all.
        """
        return self.cameras

    @property
    def no_camera(self) -> int:
        """The `camera_ids` value that adds no camera embedding."""
        return self.cameras + 1

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict for a manifest."""
        return dataclasses.asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str = "manifest") -> InputSpec:
        """Rebuild it from a manifest's dict. ArtifactError names a missing or unknown field, or a value out of range."""
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - fields):
            raise ArtifactError(
                f"{where}: unknown input fields {unknown}; made by a newer version? Upgrade this one"
            )
        try:
            spec = cls(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"{where}: incomplete input specification ({error}); export the model again"
            ) from None
        if wrong := [name for name, right in _checks(spec).items() if not right]:
            values = ", ".join(f"{name} {getattr(spec, name)!r:.60}" for name in wrong)
            raise ArtifactError(f"{where}: input {values} is not known; export the model again")
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
