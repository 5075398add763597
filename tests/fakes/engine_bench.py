"""A TensorRT session on a fake library and a fake GPU, and images to run it on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.backends.tensorrt.execution import EngineSession
from runtime.backends.tensorrt.session import open_tensorrt
from runtime.spec import InputSpec
from tests.fakes.cuda import FakeGpu
from tests.fakes.tensorrt import HEIGHT, WIDTH, FakeTensorRt

SPEC = InputSpec(height=HEIGHT, width=WIDTH)
CAMERAS = dataclasses.replace(SPEC, camera="input", cameras=3, dataset="anny")
FLOATS = dataclasses.replace(SPEC, layout="float-nchw")
# With seed 0, the fake GPU does all work as late as possible. With another seed, it works in a random allowed order.
SEEDS = range(4)


@dataclasses.dataclass
class Bench:
    """A fake GPU, a fake TensorRT library that uses it, and a folder for engine files."""

    gpu: FakeGpu
    trt: FakeTensorRt
    folder: Path

    @classmethod
    def make(cls, folder: Path, monkeypatch: pytest.MonkeyPatch, *, seed: int, version: str) -> Bench:
        gpu = FakeGpu(seed=seed).install(monkeypatch)
        return cls(gpu, FakeTensorRt(gpu, version).install(monkeypatch), folder)

    def open(self, *plans: bytes, spec: InputSpec = SPEC, **options: Any) -> EngineSession:
        paths = [self.folder / f"{number}.engine" for number in range(len(plans))]
        for path, content in zip(paths, plans):
            path.write_bytes(content)
        return open_tensorrt(paths[0], spec, others=paths[1:], **options)


def crops(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
