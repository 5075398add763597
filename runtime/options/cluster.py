"""The option `on`: another engine that runs an extraction, on this machine or on several. Loads no library."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import ConfigError
from runtime.options.choices import THROUGHPUT

RAY = "ray"
ENGINES = (RAY,)
# The address of the cluster that runs on this machine.
AUTO = "auto"


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster that runs an extraction.

    `address` is that of a running cluster: HOST:PORT, or "auto" for the one on this machine. None starts one on this machine, which
    ends with the extraction.
    """

    address: str | None = None


def cluster_of(on: str | None, address: str | None, *, preset: str | None, device: str) -> Cluster | None:
    """Return the cluster that the options `on` and `address` name, or None without `on`.

    Raises ConfigError for a wrong address or one without `on`, and for a `preset` or a `device` that does not go with it.
    """
    if on is None:
        if address is not None:
            raise ConfigError(f"address={address!r:.60}: give the engine as well: on={RAY!r} (--on)")
        return None
    host, _, port = (address or "").rpartition(":")
    if address is not None and address != AUTO and (not host or "/" in host or not port.isdecimal()):
        raise ConfigError(
            f"address={address!r:.60}: give host:port, such as 10.0.0.1:6379, or {AUTO!r} (--address)"
        )
    if preset not in (None, THROUGHPUT):
        raise ConfigError(
            f"on={on!r}: each actor runs the model with one thread, like preset={THROUGHPUT!r}; leave preset={preset!r} out (--preset)"
        )
    if device != "cpu":
        raise ConfigError(
            f"on={on!r}: runs models on CPUs; leave device={device!r} out (--device), or start an extraction on each GPU with `shard` "
            "(--shard)"
        )
    return Cluster(address)
