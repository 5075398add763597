"""Connect to a Ray cluster, or start one on this machine. Ray is imported when it is first used, because a device does without it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOBase
from typing import Any

from runtime.backends.library import Library, importing
from runtime.console import note
from runtime.errors import DeviceError
from runtime.extraction.processes import usable_cores
from runtime.options.cluster import AUTO, Cluster
from runtime.stopping import SIGNALS
from runtime.wording import reason_of

LIBRARY = Library("ray", "pip install '.[ray]'", "pip install --force-reinstall -U 'ray[data]'")
# Bytes of shared memory of a cluster on this machine: it holds lists of paths and features on their way, not images.
STORE = 256 << 20
# Seconds in which a cluster must answer.
ANSWER_S = 5.0
# The first bytes of a client of HTTP/2, which Ray speaks (RFC 9113, section 3.4), and the byte at position 3 of a server's answer.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4
# Parts of the messages that Ray prints when a process or a machine died, and of those that say nothing more.
DIED = ("A worker died or was killed", "has been marked dead")
QUIET = ("retries remaining", "Raylet is terminated")


@contextmanager
def connected(cluster: Cluster) -> Iterator[int]:
    """Connect to a Ray cluster, or start one on this machine, and yield its number of CPUs. A cluster that was started ends here.

    What Ray prints on stdout meanwhile becomes notes. Raises DeviceError if Ray is not installed, if no cluster answers at the
    address, and if it has no CPU.
    """
    messages = Messages()
    # Ray prints its messages on stdout, where the result of a command belongs.
    with redirect_stdout(messages), _joined(cluster) as cpus:
        yield cpus
    if messages.deaths:
        note(
            f"Ray said {messages.deaths} times that a process or machine died; others extracted its images again"
        )


@contextmanager
def _joined(cluster: Cluster) -> Iterator[int]:
    ray = imported_ray(cluster)
    if cluster.address not in (None, AUTO):
        check_address(cluster.address)
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
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if not cpus:
            raise DeviceError(
                f"the Ray cluster (address {cluster.address}) has no CPU now; first add a machine to it with ray start"
            )
        yield cpus
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def check_address(address: str) -> None:
    """Raise DeviceError unless a server of HTTP/2 answers at the address: Ray would try for minutes, and no signal would stop it."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_S) as connection:
            # An encrypted cluster answers only to a client with its certificates.
            if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
                connection.sendall(HELLO)
                with connection.makefile("rb") as stream:
                    header = stream.read(9)
                if header[3:4] != bytes([SETTINGS]):
                    raise OSError("another program listens there")
    except (OSError, OverflowError, ValueError) as error:
        raise DeviceError(
            f"no Ray cluster answers at {address} ({reason_of(error)}); start one there with ray start, or give the port of one "
            "(usually 6379)"
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


class Messages(TextIOBase):
    """A stdout for the messages of Ray. `deaths` counts those of dead processes and machines; unknown ones are noted on stderr."""

    deaths = 0

    def write(self, text: str) -> int:
        """Take one message, or a part of one."""
        if any(part in text for part in DIED):
            self.deaths += 1
        elif text.strip() and not any(part in text for part in QUIET):
            note(reason_of(text, 300))
        return len(text)


def imported_ray(cluster: Cluster | None = None) -> Any:
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
