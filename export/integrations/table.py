"""The programs that `--for` supports (Triton, DeepStream, Ultralytics and BoxMOT), and the input that each of them sends.

Imports neither torch nor numpy. export/integrations/configuration.py writes the configuration of each program.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from runtime.errors import ConfigError
from runtime.spec import InputSpec

Channels = tuple[float, float, float]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Integration:
    """A program that runs exported files: the image `layouts` that it can send, the default first, and its default `target`.

    If `one_scale` is true, it can divide pixels only by the same standard deviation in all three channels. `normalisation` is the
    fixed (mean, std) of the program for R, G and B, or None if it follows its configuration. `suffix` is the end that a file name
    needs, because the program recognises files by it (None: any). A `tracker` cuts the crops out of frames itself.
    """

    layouts: tuple[str, ...]
    one_scale: bool
    target: str
    normalisation: tuple[Channels, Channels] | None = None
    suffix: str | None = None
    tracker: bool = False


INTEGRATIONS = {
    "triton": Integration(("uint8-nhwc", "float-nchw"), one_scale=False, target="onnxruntime"),
    "deepstream": Integration(("float-nchw",), one_scale=True, target="tensorrt"),
    # Ultralytics sends RGB / 255, whatever the model was trained on.
    "ultralytics": Integration(
        ("float-nchw",),
        one_scale=False,
        target="onnxruntime",
        normalisation=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        suffix=".onnx",
        tracker=True,
    ),
    "boxmot": Integration(
        ("float-nchw",),
        one_scale=False,
        target="onnxruntime",
        normalisation=IMAGENET,
        suffix=".onnx",
        tracker=True,
    ),
}


def default_layout(name: str | None) -> str:
    """Return the image layout of an export without --input, for the program `name` (None: without --for)."""
    return INTEGRATIONS[name].layouts[0] if name else "uint8-nhwc"


def default_target(name: str | None) -> str:
    """Return the target of an export without --target, for the program `name` (None: without --for)."""
    return INTEGRATIONS[name].target if name else "onnxruntime"


def integration_input(spec: InputSpec, name: str) -> InputSpec:
    """Return the input `spec` of the exported file, with its `mean` and `std` changed to those with which `name` normalises pixels.

    A program with a fixed normalisation gets that one. A program with `one_scale` gets the mean of the three values of `std` for all
    channels; for others, nothing changes. The exported graph compensates for the change. Raises ConfigError if `spec` has a layout
    that the program cannot send, a fixed batch, or camera ids as a second input.
    """
    integration = INTEGRATIONS[name]
    if spec.layout not in integration.layouts:
        raise ConfigError(
            f"--input {spec.layout}: --for {name} sends {' or '.join(integration.layouts)} images; leave --input out"
        )
    if spec.batch is not None:
        raise ConfigError(
            f"--batch {spec.batch}: {name} chooses the batch sizes itself and needs a dynamic batch; leave --batch out"
        )
    if spec.camera == "input":
        raise ConfigError(
            f"--camera input: {name} sends images only, without camera ids; give mean, none or a camera id"
        )
    if integration.normalisation is not None:
        mean, std = integration.normalisation
        return dataclasses.replace(spec, mean=mean, std=std)
    if integration.one_scale and len(set(spec.std)) > 1:
        # Any single number will do, because the exported graph compensates for it (export.forms.rescaled).
        scale = sum(spec.std) / 3
        return dataclasses.replace(spec, std=(scale, scale, scale))
    return spec
