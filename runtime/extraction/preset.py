"""Choose the processes, threads and batch of an extraction, with or without a preset.

A preset is for the least latency, or for the most images per second, on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import ConfigError
from runtime.extraction.extract import Flow, ImageItem, extract
from runtime.extraction.parallel import Setup, open_workers
from runtime.extraction.processes import usable_cores
from runtime.features import Features
from runtime.opening import load_artifact
from runtime.options.choices import BACKENDS, LATENCY

# Images per run in a process of one thread. OpenVINO is faster with it; ONNX Runtime is faster on small models and as fast on large.
BATCH = 8


class Extract(Protocol):
    """The function `runtime.extraction.extract.extract` with the artifact, batch and workers already given."""

    def __call__(
        self,
        items: Sequence[ImageItem],
        /,
        *,
        camera_ids: NDArray[np.int64] | None = None,
        max_bad: float = 0.01,
        progress: Callable[[int], None] = lambda images: None,
    ) -> Features:
        """Return the features of the items."""
        ...


@dataclass(frozen=True)
class Plan:
    """How a preset runs a model: `processes` with `threads` each (None: all cores), and `batch` images per run."""

    processes: int
    threads: int | None
    batch: int


def plan(preset: str, artifact: Artifact, batch: int | None = None) -> Plan:
    """Return the plan of `preset` for the model; `batch` overrides the batch of the throughput preset.

    Raises ConfigError for a model that runs on a GPU, and for a fixed batch that the preset cannot use.
    """
    if artifact.backend not in BACKENDS:
        raise ConfigError(
            f"{artifact.path}: preset={preset!r} is for CPUs, but this model runs on a GPU; leave preset out and give a batch"
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
    """Yield the function that extracts features with the artifact under `preset`.

    For throughput, the artifact may be verified without being loaded, because each process opens the model itself.
    """
    if preset is None:
        yield partial(extract, artifact, batch=batch or artifact.spec.batch or 16, workers=workers)
        return
    chosen = plan(preset, artifact, batch)
    if preset == LATENCY:
        yield partial(extract, artifact, batch=chosen.batch, workers=workers)
        return
    # The gate of this processor already ran when the artifact was verified.
    opens = partial(
        load_artifact,
        artifact.path,
        threads=chosen.threads,
        allow_ungated=allow_ungated,
        backend=artifact.backend or BACKENDS[0],
    )
    setup = Setup(opens, artifact.sha256, Flow(chosen.batch, workers))
    with open_workers(setup, chosen.processes) as pool:
        yield partial(pool.extract, artifact)
