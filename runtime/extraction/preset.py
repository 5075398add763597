"""`--preset`: how many processes, threads and images a run make the least latency or the most images a second on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from runtime.artifact import Artifact
from runtime.errors import ConfigError
from runtime.extraction.extract import Flow, extract
from runtime.extraction.parallel import Setup, open_workers
from runtime.extraction.processes import usable_cores
from runtime.features import Features
from runtime.opening import load_artifact
from runtime.options.choices import BACKENDS, LATENCY

# Images a run in a process of one thread. OpenVINO gains by it; ONNX Runtime gains on small models and does not lose on large.
BATCH = 8

Extract = Callable[..., Features]
"""`runtime.extraction.extract.extract`, its artifact, batch and workers given."""


@dataclass(frozen=True)
class Plan:
    """`processes` with `threads` each (None: all cores), `batch` images a run."""

    processes: int
    threads: int | None
    batch: int


def plan(preset: str, artifact: Artifact, batch: int | None = None) -> Plan:
    """What `preset` means for the model; `batch` overrides its batch. ConfigError for a TensorRT engine, or a fixed batch."""
    if artifact.backend not in BACKENDS:
        raise ConfigError(
            f"{artifact.path}: --preset is for CPUs, and this runs on a GPU; leave it out and give --batch N"
        )
    fixed = artifact.spec.batch
    if preset == LATENCY:
        if fixed not in (None, 1):
            raise ConfigError(
                f"{artifact.path}: has a fixed batch of {fixed}, --preset latency runs 1; export it with --batch dynamic"
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
    """What extracts with the artifact under `preset`; for throughput it need only be verified: its processes open it."""
    if preset is None:
        yield partial(extract, artifact, batch=batch or artifact.spec.batch or 16, workers=workers)
        return
    chosen = plan(preset, artifact, batch)
    if preset == LATENCY:
        yield partial(extract, artifact, batch=chosen.batch, workers=workers)
        return
    # the gate on this processor was run when the artifact was verified
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
