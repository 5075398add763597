"""Choose the processes, threads and batch of an extraction.

The preset "latency" gives the least time per image on a CPU, and the preset "throughput" the most images per second.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import ConfigError
from runtime.extraction.extract import Flow, chunks, collect, parts
from runtime.extraction.parallel import Setup, open_workers
from runtime.extraction.parts import ImageItem, Part
from runtime.extraction.processes import usable_cores
from runtime.features import Features
from runtime.opening import load_artifact, open_artifact
from runtime.options.choices import BACKENDS, LATENCY, THROUGHPUT
from runtime.options.cluster import Cluster

# The images per run in each process of "throughput", which has one thread. Compared with batch 1, OpenVINO is faster with it, and ONNX
# Runtime is faster on small models and equally fast on large ones.
BATCH = 8


class Extract(Protocol):
    """The function `runtime.extraction.extract.extract` with its parameters `artifact`, `batch` and `workers` already set."""

    def __call__(
        self,
        items: Sequence[ImageItem],
        /,
        *,
        camera_ids: NDArray[np.int64] | None = None,
        max_bad: float = 0.01,
        progress: Callable[[int], None] = lambda images: None,
    ) -> Features:
        """Return the features of the usable images among `items`, in their order. The parameters are those of `extract`."""
        ...


Stream = Callable[[Sequence[ImageItem], "NDArray[np.int64] | None"], Generator[Part, None, None]]
"""A function of image items and their camera ids (N,), or None for a model without; it yields their features in Parts."""


@dataclass(frozen=True)
class Plan:
    """How a preset runs a model: in `processes` processes of `threads` threads each (None: all cores), with `batch` images per run."""

    processes: int
    threads: int | None
    batch: int


def plan(preset: str, artifact: Artifact, batch: int | None = None) -> Plan:
    """Return the plan of `preset`, "latency" or "throughput", for the model.

    `batch` is the batch size for "throughput" (None: the model's fixed batch, or 8); "latency" always has batch 1. Raises
    ConfigError for a model that runs on a GPU, and for a fixed batch that the preset cannot use.
    """
    if artifact.backend not in BACKENDS:
        raise ConfigError(
            f"{artifact.path}: preset={preset!r} is for CPUs, but this model runs on a GPU; "
            "leave the argument preset (--preset) out, and give a batch"
        )
    fixed = artifact.spec.batch
    if preset == LATENCY:
        if fixed not in (None, 1):
            raise ConfigError(
                f"{artifact.path}: has a fixed batch of {fixed}, but preset={preset!r} needs 1; "
                "export the model again with export_onnx.py --batch dynamic"
            )
        return Plan(1, None, 1)
    return Plan(usable_cores(), 1, batch or fixed or BATCH)


@contextmanager
def extractor(
    artifact: Artifact,
    preset: str | None = None,
    *,
    batch: int | None = None,
    workers: int | None = None,
    allow_ungated: bool = False,
) -> Iterator[Extract]:
    """Yield a function that extracts features with `artifact`. Use it inside the block; its worker processes end with the block.

    The model runs in this process if `preset` is None or "latency", and in worker processes if it is "throughput". Without a preset,
    `batch` is the number of images per run (None: the model's fixed batch, or 16); with a preset, it is as in `plan`. Worker processes
    open the model themselves, so `artifact` need not be loaded; `allow_ungated` lets them open a model that has not passed its gate.
    `workers` is the number of decoding threads in each process (None: up to 4 in this process, 1 in a worker process). Raises the
    errors of `plan`.
    """
    with _opened(artifact, preset, Flow(_batch(artifact, preset, batch), workers), allow_ungated) as stream:
        yield partial(_collected, artifact, stream)


@contextmanager
def streamer(
    artifact: Artifact,
    preset: str | None = None,
    *,
    batch: int | None = None,
    workers: int | None = None,
    allow_ungated: bool = False,
    cluster: Cluster | None = None,
) -> Iterator[Stream]:
    """Yield a function that yields the features batch by batch, so that a caller can store each batch when it is done.

    Every batch is filled to the same size, so that the features of an image do not depend on which other images are extracted in the
    same run. With a `cluster`, Ray runs the preset "throughput" there, with one actor for each CPU in place of the worker processes.
    The other parameters are those of `extractor`. Raises ConfigError for a `cluster` with another preset.
    """
    if cluster is not None and preset != THROUGHPUT:
        raise ConfigError(
            f"preset={preset!r}: a cluster runs models that were opened with preset={THROUGHPUT!r}; open the model with it (--preset)"
        )
    flow = Flow(_batch(artifact, preset, batch), workers, pad=True)
    with _opened(artifact, preset, flow, allow_ungated, cluster) as stream:
        yield stream


def _batch(artifact: Artifact, preset: str | None, batch: int | None) -> int:
    return plan(preset, artifact, batch).batch if preset else batch or artifact.spec.batch or 16


@contextmanager
def _opened(
    artifact: Artifact, preset: str | None, flow: Flow, allow_ungated: bool, cluster: Cluster | None = None
) -> Iterator[Stream]:
    if preset is None or preset == LATENCY:
        yield partial(_parts, artifact, flow)
        return
    chosen = plan(preset, artifact, flow.batch)
    # The gate of this processor already ran when the artifact was verified; other machines may have other processors.
    opens = partial(
        open_artifact if cluster and cluster.address else load_artifact,
        artifact.path,
        threads=chosen.threads,
        allow_ungated=allow_ungated,
        backend=artifact.backend or BACKENDS[0],
    )
    setup = Setup(opens, artifact.sha256, flow)
    if cluster is not None:
        # imported here, because a device does without Ray
        from runtime.extraction.ray import open_ray

        with open_ray(setup, cluster) as stream:
            yield stream
        return
    with open_workers(setup, chosen.processes) as pool:
        yield pool.parts


def _parts(
    artifact: Artifact,
    flow: Flow,
    items: Sequence[ImageItem],
    camera_ids: NDArray[np.int64] | None = None,
) -> Generator[Part, None, None]:
    return parts(artifact, items, chunks(len(items), flow.batch), flow=flow, camera_ids=camera_ids)


def _collected(
    artifact: Artifact,
    stream: Stream,
    items: Sequence[ImageItem],
    *,
    camera_ids: NDArray[np.int64] | None = None,
    max_bad: float = 0.01,
    progress: Callable[[int], None] = lambda images: None,
) -> Features:
    return collect(artifact, items, stream(items, camera_ids), max_bad=max_bad, progress=progress)
