"""Run exported re-identification models: open a model, embed crops, rank a gallery, score the ranking.

    from runtime import open_model
    model = open_model("pruned.onnx")
    features = model.embed(crops, color="bgr")

The names below are the public API. They are imported when they are first used (PEP 562), so that `import runtime` and the
`--help` of a command load neither numpy nor Pillow.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "runtime.model": ("open_model", "Model"),
    "runtime.features": ("Features", "load_features", "save_features"),
    "runtime.ranking.api": ("evaluate", "search", "Metrics", "Hit"),
    "runtime.errors": (
        "ArtifactError",
        "ConfigError",
        "DataError",
        "DeviceError",
        "GateError",
        "NonFiniteFeatures",
        "OutOfMemory",
        "StorageError",
        "UserError",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
