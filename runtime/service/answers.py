"""What the service answers, as JSON documents: rows, hits, calibrations and what the gallery holds."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from runtime.gallery.calibrations import Calibration
from runtime.gallery.lookup.searching import GalleryHit
from runtime.gallery.store.contents import Info
from runtime.gallery.store.rows import Row
from runtime.gallery.times import time_text
from runtime.model import Model
from runtime.service.settings import Limits
from runtime.wording import printable


def row_json(number: int, row: Row) -> dict[str, Any]:
    """Return a row; of its path, only the name of the file."""
    track: int | str | None = row.track
    # "007" stays a text, because the number would lose its zeros
    if row.track is not None and re.fullmatch("0|[1-9][0-9]{0,8}", row.track):
        track = int(row.track)
    return {
        "id": number,
        "person": row.person,
        "camera": row.camera,
        "time": time_text(row.time_us),
        "track": track,
        "source": printable(os.path.basename(row.path)),
    }


def hit_json(hit: GalleryHit) -> dict[str, Any]:
    """Return a hit; its similarity is the cosine."""
    return {
        "row": row_json(hit.id, hit.row),
        "similarity": 1 - hit.distance,
        "accepted": hit.accepted,
        "false_match_rate": hit.fpir,
        "bound": hit.fpir_bound,
        "probability": hit.probability,
    }


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """Return the calibrations that a search applies; None for none."""
    site, threshold = calibration.site, calibration.threshold
    document: dict[str, Any] = {"site": None, "threshold": None}
    if site is not None:
        document["site"] = {"id": calibration.site_id, "cameras": list(site.cameras)}
    if threshold is not None:
        curve = threshold.curve
        points = zip(curve.distances, curve.rates, curve.bounds)
        document["threshold"] = {
            "id": calibration.threshold_id,
            "similarity": 1 - threshold.distance,
            "false_match_rate": threshold.fpir,
            "bound": threshold.bound,
            "enrolled": threshold.people,
            "curve": [[1 - distance, rate, bound] for distance, rate, bound in points],
        }
    return document


def info_json(
    held: Info,
    calibration: Calibration,
    model: Model,
    limits: Limits,
    *,
    gallery: str,
    writable: bool,
    pictures: bool,
) -> dict[str, Any]:
    """Return what the gallery holds and what the service takes. `gallery` tells it from others, whose ids mean other rows."""
    spec = model.artifact.spec
    return {
        "gallery": gallery,
        "rows": held.rows,
        "people": held.persons,
        "cameras": [
            {"camera": camera, "rows": rows} for camera, rows in held.cameras.items() if camera is not None
        ],
        "first": time_text(held.first_us),
        "last": time_text(held.last_us),
        "model": {
            "name": printable(model.artifact.path.name),
            "width": spec.width,
            "height": spec.height,
            "dimension": model.dim,
        },
        "calibration": calibration_json(calibration),
        "limits": {"bytes": limits.image, "images": limits.images, "top": limits.top},
        "writable": writable,
        # an empty gallery will have thumbnails, because adding a picture stores one
        "thumbnails": pictures or held.thumbnails > 0 or not held.rows,
    }


def features_json(features: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return features (N, D)."""
    return {"dimension": int(features.shape[1]), "features": features.tolist()}
