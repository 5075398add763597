"""The options of an adoption, as a frozen dataclass. Imports neither numpy nor onnx, so that parsers are fast."""

from __future__ import annotations

from dataclasses import dataclass, field

from export.adopting.pixels import Pixels
from export.options import ExportOptions


@dataclass(frozen=True)
class AdoptOptions:
    """What `adopt` is told about a foreign ONNX file.

    `pixels` is what the model was trained with. `size` is (height, width); None means that of the file. `interpolation` resizes crops
    (bilinear or bicubic). `layout` is that of the file's input, nchw or nhwc (None: the file shows it), and `output` the name of its
    embedding (None: it has one output). `like` names the convention that these come from, or None. `stated_check` says whether the
    user named the crops of `export.check`; if so, another input that is significantly better on them is a reason to refuse.

    `export` has the options that every export has: the precision, the target, the batch, the gate and its crops.
    """

    pixels: Pixels
    size: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    layout: str | None = None
    output: str | None = None
    like: str | None = None
    stated_check: bool = False
    export: ExportOptions = field(default_factory=ExportOptions)
