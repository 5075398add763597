"""Extract features with the camera embeddings that a policy selects, and record the policy and the layout in the features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runtime.artifact import Artifact
from runtime.datasets.cameras import camera_ids, resolve_policy
from runtime.extraction.extract import TooManyBad, Unfinished
from runtime.extraction.preset import Extract
from runtime.features import Features
from runtime.images.sources import Images


def extract_with_policy(
    extract: Extract,
    artifact: Artifact,
    images: Images,
    *,
    policy: str | int | None,
    max_bad: float = 0.01,
    progress: Callable[[int], None] = lambda images: None,
) -> Features:
    """Return the features of the images, extracted with the camera embeddings that `policy` selects.

    `policy` is a camera policy as in `runtime.datasets.cameras.resolve_policy`: "input", "mean", "none" or a camera id; None chooses
    the default for the model and the data set of the images. `extract(items, camera_ids=..., max_bad=..., progress=...)` returns the
    Features; the context manager `runtime.extraction.preset.extractor` yields such a function for the artifact. `max_bad` and
    `progress` are passed to it. The result records the policy in `camera` and the layout of the images in `layout`. Raises
    ConfigError for a policy that the model does not support, and the errors of `runtime.extraction.extract.extract`.
    """
    name = images.dataset_name
    camids = [item.camid for item in images.items]
    ids, remark = camera_ids(camids, artifact.spec, policy=policy, dataset=name)
    camera = str(resolve_policy(artifact.spec, policy=policy, dataset=name))
    try:
        features = extract(images.items, camera_ids=ids, max_bad=max_bad, progress=progress)
    except TooManyBad as error:
        features = replace(error.features, camera=camera, layout=images.layout)
        raise TooManyBad(str(error), features) from None
    except Unfinished as stop:
        features = replace(stop.features, camera=camera, layout=images.layout)
        raise Unfinished(stop.number, features, stop.total) from None
    notes = ((remark,) if remark else ()) + features.notes
    return replace(features, camera=camera, layout=images.layout, notes=notes)
