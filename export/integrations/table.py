"""The programs that `--for` supports (Triton Inference Server and DeepStream), and the input that each of them sends.

Imports neither torch nor numpy. export/integrations/configuration.py writes the configuration of each program.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from runtime.errors import ConfigError
from runtime.spec import InputSpec


@dataclass(frozen=True)
class Integration:
    """A program that runs exported files: the image `layouts` that it can send, the default first, and its default `target`.

    If `one_scale` is true, it can divide pixels only by the same standard deviation in all three channels.
    """

    layouts: tuple[str, ...]
    one_scale: bool
    target: str


INTEGRATIONS = {
    "triton": Integration(("uint8-nhwc", "float-nchw"), one_scale=False, target="onnxruntime"),
    "deepstream": Integration(("float-nchw",), one_scale=True, target="tensorrt"),
}


def default_layout(name: str | None) -> str:
    """Return the image layout of an export without --input, for the program `name` (None: without --for)."""
    return INTEGRATIONS[name].layouts[0] if name else "uint8-nhwc"


def default_target(name: str | None) -> str:
    """Return the target of an export without --target, for the program `name` (None: without --for)."""
    return INTEGRATIONS[name].target if name else "onnxruntime"


def integration_input(spec: InputSpec, name: str) -> InputSpec:
    """Return the input `spec` of the exported file, with its `std` changed to one by which the program `name` can divide pixels.

    A program with `one_scale` gets the mean of the three values for all channels; for others, nothing changes. Raises ConfigError
    if `spec` has a layout that the program cannot send, a fixed batch, or camera ids as a second input.
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
    if integration.one_scale and len(set(spec.std)) > 1:
        # Any single number will do, because the exported graph compensates for it (export.forms.rescaled).
        scale = sum(spec.std) / 3
        return dataclasses.replace(spec, std=(scale, scale, scale))
    return spec
