"""The sections `model` and `input` of a configuration file: one frozen dataclass each, one line per key. Reads no files."""

from __future__ import annotations

from dataclasses import dataclass

from prune.config.limits import one_of, within


@dataclass(frozen=True)
class ModelConfig:
    """The model; prune.model.architecture.Architecture explains the keys. `drop_path` acts in training only."""

    variant: str = "vit_base"
    size: tuple[int, int] = (256, 128)
    stride: int = 16
    jpm: bool = True
    rearrange: bool = True
    cameras: int = 0
    sie_coefficient: float = 3.0
    identities: int = 0
    neck: str = "before"
    drop_path: float = 0.1
    family: str = "vit"
    pooling: str = "class"
    depth: int | None = None

    def __post_init__(self) -> None:
        one_of("neck", self.neck, ("before", "after"))
        within("drop_path", self.drop_path, 0, 0.99)
        within("cameras", self.cameras, 0, None)
        within("identities", self.identities, 0, None)


@dataclass(frozen=True)
class InputConfig:
    """Normalisation and resizing of the input in training. The model file records them for evaluation, export and deployment."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        one_of("interpolation", self.interpolation, ("bicubic", "bilinear"))
        for value in self.std:
            within("std", value, 1e-6, None)
