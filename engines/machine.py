"""The properties of a machine on which an engine depends: GPU, TensorRT version, operating system and JetPack."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.host.jetson import jetpack_version, this_l4t


@dataclass(frozen=True)
class Machine:
    """The properties of a machine on which an engine depends.

    Examples are `tensorrt` "10.3.0", `compute_capability` "8.7", `system` "Linux", `processor` "aarch64" and `l4t` "36.4.3" (the
    release of Jetson Linux). `gpu` is the name of the GPU. None means that a property is not known; for `l4t` it means that the
    machine is not a Jetson.
    """

    tensorrt: str | None
    compute_capability: str | None
    gpu: str | None
    system: str
    processor: str
    l4t: str | None
    jetpack: str | None


def this_machine(
    *,
    tensorrt: str | None,
    compute_capability: str | None,
    gpu: str | None,
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
) -> Machine:
    """Describe this machine. The caller gives the first three fields of Machine; the other properties are read from the system.

    `root` is the root folder of the file system, and `environment` holds the environment variables.
    """
    l4t = this_l4t(root, environment)
    jetpack = environment.get("JETPACK_VERSION") or jetpack_version(l4t)
    return Machine(tensorrt, compute_capability, gpu, platform.system(), platform.machine(), l4t, jetpack)
