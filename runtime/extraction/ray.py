"""Extract features on Ray Data: each actor of a pool opens the model once, reads images, and returns their features.

The calling process keeps the results, so an actor or a machine that dies takes no finished feature with it: Ray computes its images
again elsewhere. Ray is imported when it is first used, because a device does without it.
"""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO, TextIOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.backends.library import Library, importing
from runtime.console import note
from runtime.errors import ArtifactError, DeviceError
from runtime.extraction.extract import chunks, parts
from runtime.extraction.parallel import Setup
from runtime.extraction.parts import ImageItem, Part
from runtime.extraction.processes import usable_cores
from runtime.options.cluster import AUTO, Cluster
from runtime.stopping import SIGNALS
from runtime.wording import reason_of

LIBRARY = Library("ray", "pip install '.[ray]'", "pip install --force-reinstall -U 'ray[data]'")
# Batches in one task of an actor. A task costs Ray some milliseconds, and is computed again when its actor dies.
BATCHES = 16
# How often Ray runs a task whose actor dies. Images that always kill it, such as by too little memory, must not run for ever.
RETRIES = 10
# Bytes of shared memory of a cluster on this machine: it holds lists of paths and features on their way, not images.
STORE = 256 << 20
# Seconds in which a cluster must answer.
ANSWER_S = 5.0
# Parts of the messages that Ray prints when a process or a machine died, and of those that say nothing more.
DIED = ("A worker died or was killed", "has been marked dead")
QUIET = ("retries remaining", "Raylet is terminated")


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

    Raises DeviceError if Ray is not installed, if no cluster answers at the address, and if Ray loses the same images again and
    again. Raises the errors of `runtime.extraction.extract.parts`; of several failures, that of the earliest images.
    """
    setup = replace(setup, flow=replace(setup.flow, ahead=1, workers=setup.flow.workers or 1))
    messages = _Messages()
    # Ray prints its messages on stdout, where the result of a command belongs.
    with redirect_stdout(messages), _connected(cluster) as actors:
        yield partial(_parts, setup, actors)
    if messages.deaths:
        note(
            f"Ray said {messages.deaths} times that a process or machine died; others extracted its images again"
        )


class _Messages(TextIOBase):
    """A stdout for the messages of Ray. `deaths` counts those of dead processes and machines; unknown ones are noted on stderr."""

    deaths = 0

    def write(self, text: str) -> int:
        """Take one message, or a part of one."""
        if any(part in text for part in DIED):
            self.deaths += 1
        elif text.strip() and not any(part in text for part in QUIET):
            note(reason_of(text, 300))
        return len(text)


@contextmanager
def _connected(cluster: Cluster) -> Iterator[int]:
    """Yield the number of actors that the cluster has CPUs for."""
    ray = _ray(cluster)
    if cluster.address not in (None, AUTO):
        _ask(cluster.address)
    folder = None if cluster.address else tempfile.mkdtemp(prefix="ray-")
    options = {
        "address": cluster.address or "local",
        "log_to_driver": False,
        "logging_level": "ERROR",
        **({} if cluster.address else _local_options(folder)),
    }
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        try:
            with _without_stderr():
                ray.init(**options)
        except Exception as error:
            where = (
                f"no Ray cluster can be used at {cluster.address}"
                if cluster.address
                else "Ray does not start"
            )
            raise DeviceError(f"{where}: {reason_of(error)}") from None
        finally:
            # Ray sets a handler of its own for SIGTERM, which would end this process without a word.
            for number, handler in handlers.items():
                signal.signal(number, handler)
        yield int(ray.cluster_resources().get("CPU", 0)) or 1
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _ask(address: str) -> None:
    """Raise DeviceError unless somebody answers at the address: Ray would try for minutes, and no signal would stop it."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"no Ray cluster answers at {address} ({reason_of(error)}); start one there with ray start"
        ) from None


def _local_options(folder: str | None) -> dict[str, Any]:
    return {
        "num_cpus": usable_cores(),
        "object_store_memory": STORE,
        "include_dashboard": False,
        "_temp_dir": folder,
    }


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what native code prints on stderr while the block runs: Ray announces its level of logging there."""
    with open(os.devnull, "wb") as null:
        saved = os.dup(2)
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _parts(
    setup: Setup, actors: int, items: Sequence[ImageItem], camera_ids: NDArray[np.int64] | None = None
) -> Generator[Part, None, None]:
    tasks = {
        task.start: pickle.dumps(
            (
                task.start,
                tuple(items[task.start : task.stop]),
                None if camera_ids is None else camera_ids[task],
            )
        )
        for task in chunks(len(items), BATCHES * setup.flow.batch)
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


def _answers(
    setup: Setup, actors: int, tasks: Mapping[int, bytes]
) -> Generator[tuple[int, list[Part] | Failed], None, None]:
    """Yield (start of the task, its answer) for each task, in the order in which the tasks are done."""
    ray = _ray()
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


def _ray(cluster: Cluster | None = None) -> Any:
    """Return the module `ray`. With a `cluster`, the environment is set for it first, because Ray reads it once."""
    if cluster is not None:
        settings = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_BACKEND_LOG_LEVEL": "fatal",
            "RAY_DATA_LOG_LEVEL": "ERROR",
            "RAY_DEDUP_LOGS": "0",
        }
        if cluster.address is None:
            # The processes of this machine listen on 127.0.0.1 only, and answer nobody without the token.
            settings |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
            settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        for name, value in settings.items():
            os.environ.setdefault(name, value)
    with importing(LIBRARY, needs=("init",)):
        import ray
        import ray.data
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray
