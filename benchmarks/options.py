"""Options that several commands share: the models, the duration and the images of a measurement. Imports no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.errors import ConfigError
from runtime.options.choices import AUTO, BACKENDS

WEIGHTS = ".safetensors"
# How weights run in torch: the word after the @ -> (in half precision, through torch.compile).
TORCH = {"compile": (False, True), "fp16": (True, False), "compile-fp16": (True, True)}


@dataclass(frozen=True)
class Candidate:
    """A model that a measurement opens, in this process or in a child process.

    With `torch`, the file at `path` is a model.safetensors that runs in torch: through torch.compile if `compiled`, else in eager
    mode, and in FP16 if `half`, else in FP32. `device` is "cpu" or "cuda". For an .onnx file on the CPU, `backend` names the backend
    that runs it (see `runtime.opening.open_artifact`). If `threads` is None, the backend uses all cores. With `allow_ungated`, the
    model need not have passed its quality gate.
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
        """Return the path, followed by @BACKEND unless the file runs on the default backend of its type."""
        torch_mode = next((mode for mode, kind in TORCH.items() if kind == (self.half, self.compiled)), None)
        suffix = torch_mode if self.torch else self.backend if self.backend != BACKENDS[0] else None
        return f"{self.path}@{suffix}" if suffix else str(self.path)


@dataclass(frozen=True)
class Timing:
    """How long each model is timed: for `rounds` calls, or for about `seconds` seconds if `rounds` is None."""

    rounds: int | None
    seconds: float


@dataclass(frozen=True)
class Images:
    """The images that models are timed on: crops of the data set at `root`, or random pixels if `root` is None.

    `layout` is a name in `runtime.datasets.READERS`, or None to recognise the layout from the folder. `camera` says which camera
    embedding the models use: "input", "mean", "none" or a 0-based camera id. None stands for the default of the model on this data set
    (see `runtime.datasets.cameras.camera_ids`). With `accuracy`, the mAP of the models on the data set is measured too.
    """

    root: str | None = None
    layout: str | None = None
    camera: str | int | None = None
    accuracy: bool = True


def candidates_of(names: Sequence[str], common: Candidate) -> tuple[Candidate, ...]:
    """Return one candidate for each of `names`, which are `PATH` or `PATH@BACKEND`, in the same order.

    All fields that a name does not determine are copied from `common`. An .onnx file without @BACKEND also gets its backend from
    `common`. For a .safetensors file, BACKEND is "compile", "fp16" or "compile-fp16", and without @BACKEND the file runs in eager mode
    and FP32. Raises ConfigError for a backend that does not exist.
    """
    candidates = []
    for text in names:
        name, _, backend = text.partition("@")
        path = Path(name)
        is_torch = path.suffix == WEIGHTS
        choices = tuple(TORCH) if is_torch else (*BACKENDS, AUTO)
        if backend and backend not in choices:
            raise ConfigError(
                f"{text}: there is no backend {backend}; after the @, give one of {', '.join(choices)}"
            )
        if is_torch:
            half, compiled = TORCH.get(backend, (False, False))
            candidates.append(replace(common, path=path, torch=True, half=half, compiled=compiled))
        else:
            candidates.append(replace(common, path=path, backend=backend or common.backend))
    return tuple(candidates)
