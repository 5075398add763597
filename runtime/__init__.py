"""Run exported re-identification models: open a model, embed crops, rank a gallery, score the ranking.

    from runtime import open_model
    model = open_model("pruned.onnx")
    features = model.embed(crops, color="bgr")

The names below are the public API. They are imported when they are first used (PEP 562), so that `import runtime` and the
`--help` of a command load neither numpy nor Pillow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "runtime.model": ("open_model", "Model"),
    "runtime.backend_timing": ("choose_backend", "BackendChoice", "BackendResult", "BackendTiming"),
    "runtime.datasets.summary": ("inspect_dataset", "DatasetSummary", "SplitCounts"),
    "runtime.features": ("Features", "load_features", "save_features"),
    "runtime.ranking.api": ("evaluate", "search", "Metrics", "Hit"),
    "runtime.gallery.api": ("open_gallery", "Gallery"),
    "runtime.gallery.lookup.searching": ("GalleryHit",),
    "runtime.identities.api": ("Identities",),
    "runtime.identities.collecting": ("TrackCollector", "tracks_of"),
    "runtime.identities.false_matches": ("FalseMatches",),
    "runtime.identities.events": ("Event",),
    "runtime.identities.options": ("IdentityOptions",),
    "runtime.identities.track": ("Track",),
    "runtime.extraction.extract": ("TooManyBad", "Unfinished"),
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

if TYPE_CHECKING:
    # The same names for type checkers and editors, which cannot read the table.
    from runtime.backend_timing import BackendChoice as BackendChoice
    from runtime.backend_timing import BackendResult as BackendResult
    from runtime.backend_timing import BackendTiming as BackendTiming
    from runtime.backend_timing import choose_backend as choose_backend
    from runtime.datasets.summary import DatasetSummary as DatasetSummary
    from runtime.datasets.summary import SplitCounts as SplitCounts
    from runtime.datasets.summary import inspect_dataset as inspect_dataset
    from runtime.errors import ArtifactError as ArtifactError
    from runtime.errors import ConfigError as ConfigError
    from runtime.errors import DataError as DataError
    from runtime.errors import DeviceError as DeviceError
    from runtime.errors import GateError as GateError
    from runtime.errors import NonFiniteFeatures as NonFiniteFeatures
    from runtime.errors import OutOfMemory as OutOfMemory
    from runtime.errors import StorageError as StorageError
    from runtime.errors import UserError as UserError
    from runtime.extraction.extract import TooManyBad as TooManyBad
    from runtime.extraction.extract import Unfinished as Unfinished
    from runtime.features import Features as Features
    from runtime.features import load_features as load_features
    from runtime.features import save_features as save_features
    from runtime.gallery.api import Gallery as Gallery
    from runtime.gallery.api import open_gallery as open_gallery
    from runtime.gallery.lookup.searching import GalleryHit as GalleryHit
    from runtime.identities.api import Identities as Identities
    from runtime.identities.collecting import TrackCollector as TrackCollector
    from runtime.identities.collecting import tracks_of as tracks_of
    from runtime.identities.events import Event as Event
    from runtime.identities.false_matches import FalseMatches as FalseMatches
    from runtime.identities.options import IdentityOptions as IdentityOptions
    from runtime.identities.track import Track as Track
    from runtime.model import Model as Model
    from runtime.model import open_model as open_model
    from runtime.ranking.api import Hit as Hit
    from runtime.ranking.api import Metrics as Metrics
    from runtime.ranking.api import evaluate as evaluate
    from runtime.ranking.api import search as search


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
