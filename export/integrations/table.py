"""The products that an export can be for (`--for`): what each sends becomes the file's input. Imports neither torch nor numpy.

export/integrations/configuration.py writes what each reads.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from runtime.errors import ConfigError
from runtime.spec import InputSpec


@dataclass(frozen=True)
class Neighbour:
    """`layouts`: the image inputs that it can feed, the default first; `one_scale`: one std for all three channels.

    `target` is what it runs a file with where nothing else is said.
    """

    layouts: tuple[str, ...]
    one_scale: bool
    target: str


NEIGHBOURS = {
    "triton": Neighbour(("uint8-nhwc", "float-nchw"), one_scale=False, target="onnxruntime"),
    "deepstream": Neighbour(("float-nchw",), one_scale=True, target="tensorrt"),
}


def default_layout(name: str | None) -> str:
    """The image layout where --input is not given."""
    return NEIGHBOURS[name].layouts[0] if name else "uint8-nhwc"


def default_target(name: str | None) -> str:
    """The target where --target is not given."""
    return NEIGHBOURS[name].target if name else "onnxruntime"


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
