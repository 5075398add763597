"""The parsed command line of `python -m runtime identify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.cli.arguments import ModelOptions, RunOptions
from runtime.identities.options import IdentityOptions
from runtime.options.store_place import StorePlace


@dataclass(frozen=True)
class VideoTracks:
    """A `video` (a file) or a feature file of one, the file with its `boxes`, its 0-based `camera`, and when it `start`s (ISO 8601).

    `boxes` are None for a feature file without them. `camera` None is that of the boxes, else the place of the video in the command.
    """

    source: str
    boxes: str | None
    place: int
    camera: int | None
    start: str | None


@dataclass(frozen=True)
class IdentifyOptions:
    """The gallery `store` that keeps the identities, where the tracks come from, and how they are decided.

    Tracks come from the `videos`, which need a `model`, and from the feature files `features`; without either, from the rows of the
    gallery. `threshold` is a cosine distance (None: from the distances between different people and the rate in `identities`, which
    are measured anew with `measure_again`). `out` is the file for the events, and `picture` an HTML page with a lane for each camera.
    """

    store: StorePlace
    model: ModelOptions | None
    run_options: RunOptions
    videos: tuple[VideoTracks, ...]
    features: tuple[VideoTracks, ...]
    identities: IdentityOptions
    threshold: float | None
    measure_again: bool
    out: str
    picture: Path | None
    as_json: bool
