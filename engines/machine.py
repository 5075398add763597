"""The machine that an engine is bound to: GPU, TensorRT, operating system, JetPack. Knows nothing of models."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.host.jetson import jetpack_version, this_l4t


@dataclass(frozen=True)
class Machine:
    """What a serialized engine depends on; None is "not known here" (`l4t`, `jetpack`: not a Jetson).

    `tensorrt` "10.3.0", `compute_capability` "8.7", `gpu` its name, `system` "Linux", `processor` "aarch64", `l4t` "36.4.3".
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
    """This machine, with what only TensorRT and CUDA can say of it given by the caller."""
    l4t = this_l4t(root, environment)
    jetpack = environment.get("JETPACK_VERSION") or jetpack_version(l4t)
    return Machine(tensorrt, compute_capability, gpu, platform.system(), platform.machine(), l4t, jetpack)
