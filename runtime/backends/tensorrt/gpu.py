"""What either CUDA binding says of a device. Imports neither."""

from __future__ import annotations

from typing import NamedTuple

# cudaStreamNonBlocking, cudaEventDisableTiming, cudaHostAllocDefault
NON_BLOCKING, NO_TIMING, PINNED = 1, 2, 0


NO_DEVICE_TEXT = "an NVIDIA driver but no CUDA device here; check nvidia-smi and CUDA_VISIBLE_DEVICES"


class Gpu(NamedTuple):
    """`name` as the driver says it, `compute_capability` "8.7"."""

    name: str
    compute_capability: str
