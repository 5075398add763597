"""What commands measure, as frozen options: which models, for how long, on which images. Opens nothing, and imports no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.errors import ConfigError
from runtime.options.choices import AUTO, BACKENDS

WEIGHTS = ".safetensors"
# How weights run in torch: word behind the @ -> (in half precision, through torch.compile).
TORCH = {"compile": (False, True), "fp16": (True, False), "compile-fp16": (True, True)}


@dataclass(frozen=True)
class Candidate:
    """A model to open, here or in a child process; `torch` for a model.safetensors in torch, eager or `compiled`, FP32 or `half`.

    `backend` runs an .onnx file on the CPU, as `runtime.opening.open_artifact` takes it.
    """

    path: Path
    torch: bool = False
    compiled: bool = False
    half: bool = False
    device: str = "cpu"
    threads: int | None = None
    allow_ungated: bool = False
    backend: str = BACKENDS[0]

    @property
    def name(self) -> str:
        """The path, and how it runs where that is not how such a file runs without being told."""
        words = next((word for word, kind in TORCH.items() if kind == (self.half, self.compiled)), None)
        how = words if self.torch else self.backend if self.backend != BACKENDS[0] else None
        return f"{self.path}@{how}" if how else str(self.path)


@dataclass(frozen=True)
class Timing:
    """How long each model is timed: for `rounds` calls, or where that is None for about `seconds`."""

    rounds: int | None
    seconds: float


@dataclass(frozen=True)
class Images:
    """The data set whose crops models are timed on (None: random pixels), how it is read, and whether models are scored on it."""

    root: str | None = None
    layout: str | None = None
    camera: str | int | None = None
    accuracy: bool = True


def candidates_of(names: Sequence[str], common: Candidate) -> tuple[Candidate, ...]:
    """The models that `names` (`PATH` or `PATH@BACKEND`) stand for, in their order, and otherwise as `common`.

    `common.backend` runs those .onnx files that name none. ConfigError for a backend that does not exist.
    """
    found = []
    for text in names:
        name, _, backend = text.partition("@")
        path = Path(name)
        weights = path.suffix == WEIGHTS
        known = tuple(TORCH) if weights else (*BACKENDS, AUTO)
        if backend and backend not in known:
            raise ConfigError(f"{text}: there is no backend {backend}; give {name}@{{{','.join(known)}}}")
        if weights:
            half, compiled = TORCH.get(backend, (False, False))
            found.append(replace(common, path=path, torch=True, half=half, compiled=compiled))
        else:
            found.append(replace(common, path=path, backend=backend or common.backend))
    return tuple(found)
