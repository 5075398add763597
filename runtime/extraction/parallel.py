"""Extract features in several processes. The main process sends them chunks of the images and collects the features."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import ArtifactError
from runtime.extraction.extract import Flow, chunks, parts
from runtime.extraction.parts import ImageItem, Part
from runtime.extraction.processes import Child, processes, ready

# Each process has three chunks: it runs the model on one, decodes the next one (AHEAD), and has received a third one.
AHEAD, HANDED_OUT = 1, 3


@dataclass(frozen=True)
class Setup:
    """The settings of a worker process.

    `opens` is the function that opens the model, `sha256` is the expected hash of the model file, and `flow` has the settings for
    batches and decoding.
    """

    opens: Callable[[], Artifact]
    sha256: str
    flow: Flow


@dataclass(frozen=True)
class Workers:
    """Worker processes that have opened the same model, and together extract the features of images.

    `children` are the processes, and `batch` is the number of images per run of the model.
    """

    children: Sequence[Child]
    batch: int

    def parts(
        self, items: Sequence[ImageItem], camera_ids: NDArray[np.int64] | None = None
    ) -> Generator[Part, None, None]:
        """Yield the features of the images among `items` as Parts, in the order in which the processes finish them.

        The parameters are those of `runtime.extraction.extract.parts`, whose errors are raised; of several failures, that of the
        earliest images. Raises DeviceError when a process has died. After an error the workers cannot be used again.
        """
        remaining = chunks(len(items), self.batch)
        given: dict[Child, deque[int]] = {child: deque() for child in self.children}
        informed = set[Child]()
        first, failure = len(items), None
        for child in self.children:
            child.send((tuple(items), camera_ids))
        for _ in range(HANDED_OUT):
            for child in self.children:
                _hand_out(child, remaining, given[child], informed)
        while waiting := [child for child in self.children if any(at < first for at in given[child])]:
            for child in ready(waiting):
                try:
                    part = child.receive()
                except Exception as error:
                    first, failure = min((first, failure), (given[child][0], error), key=lambda pair: pair[0])
                    given[child].clear()
                    continue
                given[child].popleft()
                if failure is None:
                    _hand_out(child, remaining, given[child], informed)
                yield part
        if failure is not None:
            raise failure


@contextmanager
def open_workers(setup: Setup, count: int) -> Iterator[Workers]:
    """Start `count` worker processes, wait until each has opened the model, and yield them. They end with the block.

    `setup` says how they open and run the model. An error while a process opens the model is raised here.
    """
    setup = replace(setup, flow=replace(setup.flow, ahead=AHEAD, workers=setup.flow.workers or 1))
    with processes(count, _work, setup) as children:
        for child in children:
            child.receive()
        yield Workers(children, setup.flow.batch)


def _hand_out(child: Child, remaining: Iterator[range], given: deque[int], informed: set[Child]) -> None:
    """Send the child its next chunk, or None, once, when no chunk is left."""
    chunk = next(remaining, None)
    if chunk is not None:
        given.append(chunk.start)
        child.send(chunk)
    elif child not in informed:
        informed.add(child)
        child.send(None)


def _work(pipe: Connection, setup: Setup) -> None:
    # The main process verified the same file and has already printed its warnings.
    with redirect_stderr(StringIO()):
        artifact = setup.opens()
    if artifact.sha256 != setup.sha256:
        raise ArtifactError(
            f"{artifact.path}: the file changed while worker processes opened it; run the command again"
        )
    pipe.send(None)
    while True:
        items, camera_ids = pipe.recv()
        coming: Iterator[Any] = iter(pipe.recv, None)
        for part in parts(artifact, items, coming, flow=setup.flow, camera_ids=camera_ids):
            pipe.send(part)
