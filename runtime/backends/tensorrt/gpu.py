"""The name and compute capability of a GPU, and the constants that both CUDA bindings share. Imports neither binding."""

from __future__ import annotations

from typing import NamedTuple

# cudaStreamNonBlocking, cudaEventDisableTiming, cudaHostAllocDefault
NON_BLOCKING, NO_TIMING, PINNED = 1, 2, 0


NO_DEVICE_TEXT = (
    "there is an NVIDIA driver but no CUDA device here; check nvidia-smi and CUDA_VISIBLE_DEVICES"
)


class Gpu(NamedTuple):
    """A GPU: its `name` as the driver reports it, and its `compute_capability`, such as "8.7"."""

    name: str
    compute_capability: str
