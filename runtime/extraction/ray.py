"""Extract features on Ray Data: each actor of a pool opens the model once, reads images, and returns their features.

The calling process keeps the results, so an actor or a machine that dies takes no finished feature with it: Ray computes its images
again elsewhere.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import ArtifactError, DeviceError
from runtime.extraction.extract import chunks, parts
from runtime.extraction.parallel import Setup
from runtime.extraction.parts import ImageItem, Part
from runtime.extraction.ray_cluster import connected, imported_ray
from runtime.options.cluster import Cluster
from runtime.wording import reason_of

# Most batches in one task of an actor. A task costs Ray some tens of milliseconds of CPU time, and is computed again when its actor
# dies.
BATCHES = 32
# Tasks that each actor gets at least, if there are images for so many, so that all actors end at about the same time.
TASKS = 8
# How often Ray runs a task whose actor dies. Images that always kill it, such as by too little memory, must not run for ever.
RETRIES = 10


@dataclass(frozen=True)
class Failed:
    """The answer of an actor to a task that raised `error`."""

    error: Exception


class Worker:
    """What an actor runs: it opens the model once, and then extracts the images of one task after the other."""

    def __init__(self, setup: Setup, folder: str) -> None:
        """Open the model. `folder` is the current folder of the calling process, from which relative paths count."""
        # Another machine may not have the folder, and absolute paths do not need it.
        with suppress(OSError):
            os.chdir(folder)
        self._setup = setup
        self._opened: Artifact | Failed
        try:
            self._opened = _open(setup)
        except Exception as error:
            self._opened = Failed(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the Parts of the images of a task, or how it failed. Both rows hold bytes that pickle made."""
        start, items, ids = pickle.loads(row["task"])
        return {"answer": pickle.dumps((start, self._answer(items, ids)))}

    def _answer(self, items: Sequence[ImageItem], ids: NDArray[np.int64] | None) -> list[Part] | Failed:
        if isinstance(self._opened, Failed):
            return self._opened
        flow = self._setup.flow
        try:
            return list(parts(self._opened, items, chunks(len(items), flow.batch), flow=flow, camera_ids=ids))
        except Exception as error:
            return Failed(error)


def _open(setup: Setup) -> Artifact:
    # The calling process has already printed the warnings about the file.
    with redirect_stderr(StringIO()):
        artifact = setup.opens()
    if artifact.sha256 != setup.sha256:
        raise ArtifactError(
            f"{artifact.path}: an actor of Ray found another file than this process; copy the same file to all machines, and run the "
            "command again"
        )
    return artifact


Extracted = Callable[[Sequence[ImageItem], "NDArray[np.int64] | None"], Generator[Part, None, None]]


@contextmanager
def open_ray(setup: Setup, cluster: Cluster) -> Iterator[Extracted]:
    """Connect to a Ray cluster, or start one on this machine, and yield a function that extracts images on it.

    The function is a `runtime.extraction.preset.Stream`; it yields the Parts in the order in which they are done. Each CPU of the
    cluster gets an actor with a session of one thread. The images must have the same paths on all machines. A cluster that was
    started here ends with the block.

    Raises DeviceError if Ray is not installed, if no cluster answers at the address or it has no CPU, and if Ray loses the same
    images again and again. Raises the errors of `runtime.extraction.extract.parts`; of several failures, that of the earliest images.
    """
    setup = replace(setup, flow=replace(setup.flow, ahead=1, workers=setup.flow.workers or 1))
    with connected(cluster) as actors:
        yield partial(_parts, setup, actors)


def _parts(
    setup: Setup, actors: int, items: Sequence[ImageItem], camera_ids: NDArray[np.int64] | None = None
) -> Generator[Part, None, None]:
    batch = setup.flow.batch
    tasks = {
        task.start: pickle.dumps(
            (
                task.start,
                tuple(items[task.start : task.stop]),
                None if camera_ids is None else camera_ids[task],
            )
        )
        for task in chunks(len(items), batch * task_batches(len(items), batch, actors))
    }
    failure: tuple[int, Exception] | None = None
    with closing(_answers(setup, min(actors, len(tasks)), tasks)) as answers:
        for start, answer in answers:
            # Ray promises each answer once at least.
            if tasks.pop(start, None) is None:
                continue
            if isinstance(answer, Failed):
                if failure is None or start < failure[0]:
                    failure = (start, answer.error)
            elif failure is None or start < failure[0]:
                yield from (_moved(part, start) for part in answer)
            if failure is not None and not any(at < failure[0] for at in tasks):
                raise failure[1]
    if tasks:
        raise DeviceError(
            f"Ray ended without the features of the images from {items[min(tasks)].path} on; run it again"
        )


def task_batches(images: int, batch: int, actors: int) -> int:
    """Return how many batches of `batch` images each task gets when `actors` actors extract `images` images."""
    return min(BATCHES, max(1, images // (batch * actors * TASKS)))


def _answers(
    setup: Setup, actors: int, tasks: Mapping[int, bytes]
) -> Generator[tuple[int, list[Part] | Failed], None, None]:
    """Yield (start of the task, its answer) for each task, in the order in which the tasks are done."""
    ray = imported_ray()
    rows = [{"task": task} for task in tasks.values()]
    with warnings.catch_warnings():
        # Ray deprecates the argument that sets the retries, and has no other one yet.
        warnings.simplefilter("ignore")
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Worker,
            fn_constructor_args=(setup, os.getcwd()),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            ray_remote_args_fn=partial(dict, max_task_retries=RETRIES),
        )
    try:
        for row in dataset.iter_rows():
            yield pickle.loads(row["answer"])
    except ray.exceptions.RayError as error:
        raise DeviceError(
            f"Ray gave up: {reason_of(error)}; give each actor more memory by using fewer CPUs, and run it again"
        ) from None


def _moved(part: Part, start: int) -> Part:
    """Return the Part of a task with positions in the list of all images."""
    return replace(
        part,
        positions=tuple(start + at for at in part.positions),
        skipped=tuple((start + at, image) for at, image in part.skipped),
    )
