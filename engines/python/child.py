"""`python -m engines.python.child`: one build, from the JSON job on stdin; a crash here costs `engines.python.builders` nothing.

Prints JSON lines: {"stage": what it is doing}, then one answer: {"code", "error"}, or the fields of `engines.python.builders.Built`.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.memory_advice import memory_advice, memory_lines
from engines.python.steps import (
    Asked,
    configure,
    create_network,
    parser_errors,
    read_asked,
    refuse_other_network,
)
from engines.trtexec.run import NO_DEVICE, NO_MEMORY
from runtime.backends.tensorrt.session import LIBRARIES
from runtime.errors import ArtifactError, DeviceError, StorageError, UserError
from runtime.files.manifest import replacing
from runtime.library import importing
from runtime.wording import reason_of

Say = Callable[[dict[str, Any]], None]
# kept of what a library says: different messages, and characters of each
MESSAGES, LENGTH = 20, 1_000
NODE = re.compile(r"[Pp]arsing node: (.+)")
PLACE = re.compile(r"^\s*\[?\w+\.(?:cpp|hpp|h)(?:::\w+)*:{1,2}\d+\]?:?\s*")
# True of every exported file, and what our runtime does: 64-bit ids are bound as such, or narrowed by TensorRT 8.6.
EXPECTED = ("Make sure input", "Your ONNX model has been generated with INT64 weights")
# What TensorRT-RTX logs as an error on a machine without a GPU, where it builds all the same.
NO_GPU = ("cudaError", "Cuda Runtime", "CUDA initialization")


class Progress:
    """What the build is doing, said as it begins, and what the library logged since `doing` was last called."""

    def __init__(self, say: Say, *, ahead_of_time: bool) -> None:
        self._say, self._ahead_of_time = say, ahead_of_time
        self.stage = "starting"
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def doing(self, stage: str) -> None:
        """Begin a stage: its errors are its own."""
        self.errors.clear()
        self._at(stage)

    def _at(self, stage: str) -> None:
        self.stage = stage
        self._say({"stage": stage})

    def log(self, severity: str, text: str) -> None:
        """One message of the library, of the severity with that name."""
        if severity == "VERBOSE":
            # the node that a crashing parser was at
            if self.stage.startswith("parsing") and (found := NODE.search(text)):
                self._at(f"parsing node {found[1]}")
        elif severity == "WARNING":
            self._keep(self.warnings, self.tidy(text))
        elif severity in ("ERROR", "INTERNAL_ERROR"):
            self._keep(self.errors, self.tidy(text))

    def tidy(self, text: str) -> str:
        """A message on one line, without source lines, and without the complaint about a GPU that is not needed."""
        lines = [PLACE.sub("", line) for line in text.splitlines()]
        if self._ahead_of_time:
            lines = [line for line in lines if not any(mark in line for mark in NO_GPU)]
        return reason_of(" ".join(lines), LENGTH)

    def _keep(self, messages: list[str], text: str) -> None:
        if text and text not in messages and len(messages) < MESSAGES and not text.startswith(EXPECTED):
            messages.append(text)


def build(asked: Asked, progress: Progress) -> dict[str, Any]:
    """Parse, build and write one engine: the fields of `engines.python.builders.Built`. UserError when it cannot."""
    began = time.monotonic()
    trt = _library(asked.flavour)
    flags = asked.precision_flags(trt.__version__)
    logger = _logger(trt, progress)
    progress.doing("starting TensorRT")
    builder = trt.Builder(logger)
    config = builder.create_builder_config()
    network, words = create_network(trt, builder, typed="--fp16" not in flags)
    parser = trt.OnnxParser(network, logger)
    progress.doing("parsing")
    if not parser.parse_from_file(str(asked.onnx)):
        said = [progress.tidy(error) for error in parser_errors(parser)] or progress.errors[:3]
        raise ArtifactError(f"{asked.onnx}: {asked.flavour} cannot read it: {'; '.join(said)}; {asked.again}")
    progress.doing("configuring the build")
    refuse_other_network(network, asked)
    words += configure(trt, builder, config, network, asked, flags)
    progress.doing("building")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise failure(asked, progress, "no reason given")
    seconds = time.monotonic() - began
    progress.doing("writing")
    if asked.timing_cache is not None:
        with replacing(asked.timing_cache) as temporary:
            temporary.write_bytes(config.get_timing_cache().serialize())
    # last: with it, everything is done
    _write(asked.engine, plan)
    gpu = None if asked.ahead_of_time else _gpu()
    return {
        "version": str(trt.__version__),
        "compute_capabilities": [gpu["compute_capability"]] if gpu else asked.compute_capabilities,
        "gpu": gpu["name"] if gpu else None,
        "seconds": seconds,
        "peak_mib": _peak_mib(),
        "bytes": asked.engine.stat().st_size,
        "fused": sum(1 for _ in re.finditer(b"fmha", plan)),
        "warnings": progress.warnings,
        "words": words,
    }


def failure(asked: Asked, progress: Progress, reason: str) -> UserError:
    """The refusal for a library that gave up: by what it logged of the stage, else by `reason`."""
    memory = memory_lines([*progress.warnings, *progress.errors])
    said = "; ".join(progress.errors[:3]) or reason
    if memory or any(mark in said for mark in NO_MEMORY) or "MemoryError" in reason:
        said = "; ".join([said, *(line for line in memory[:1] if line not in said)])
        return DeviceError(
            f"{asked.onnx}: not built, out of memory while {progress.stage} ({said}); {memory_advice(memory, asked.workspace_mib)}"
        )
    if not asked.ahead_of_time and any(mark in said for mark in NO_DEVICE):
        return DeviceError(
            f"{asked.onnx}: not built, {said}; engines are built on the device that runs them, see: python -m engines doctor"
        )
    return ArtifactError(
        f"{asked.onnx}: not built, {asked.flavour} failed while {progress.stage}: {said}; {asked.again}"
    )


def _library(flavour: str) -> Any:
    with importing(LIBRARIES[flavour], needs=("Builder", "ILogger")):
        return importlib.import_module(flavour)


def _logger(trt: Any, progress: Progress) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            progress.log(severity.name, msg)

    return Log()


def _write(engine: Path, plan: Any) -> None:
    try:
        engine.write_bytes(plan)
    except OSError as error:
        engine.unlink(missing_ok=True)
        raise StorageError(f"{engine}: cannot be written ({error.strerror}); choose another --out") from None


def _gpu() -> dict[str, Any] | None:
    from engines.probe import cuda

    gpus = cuda().get("gpus") or [None]
    found: dict[str, Any] | None = gpus[0]
    return found


def _peak_mib() -> int:
    # not getrusage: its maximum begins with that of the process which started this one
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) >> 10 if found else 0


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it is gone, however it went."""
    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def main() -> int:
    """Do the job on stdin. Returns 0 also for a build that is refused: the answer says so."""
    _die_with_parent()
    warnings.simplefilter("ignore")
    # libraries print what they like to stdout: from here on it goes to stderr
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    asked = read_asked(json.load(sys.stdin))
    progress = Progress(say, ahead_of_time=asked.ahead_of_time)
    try:
        say(build(asked, progress))
    except UserError as refusal:
        say({"code": refusal.code, "error": str(refusal)})
    # whatever a binding raises, what it logged before is the better reason
    except Exception as error:
        found = failure(asked, progress, f"{type(error).__name__}: {reason_of(error)}")
        say({"code": found.code, "error": str(found)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
