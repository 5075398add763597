"""The child process that builds one engine with a TensorRT library. `engines.python.builders` starts it.

`python -m engines.python.child` reads one build from stdin (`ChildJob` as JSON). It prints JSON lines: {"stage": ...} whenever a stage
begins, and at the end one answer. The answer has the fields of `engines.python.builders.BuildResult` or, for a failed build, the exit
code and the message of the error, {"code", "error"}.
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
    ChildJob,
    configure,
    create_network,
    parser_errors,
    read_job,
    refuse_other_network,
)
from engines.trtexec.run import NO_DEVICE, NO_MEMORY
from runtime.backends.library import importing
from runtime.backends.tensorrt.session import LIBRARIES
from runtime.errors import ArtifactError, DeviceError, StorageError, UserError
from runtime.files.manifest import replacing
from runtime.host.memory import high_water
from runtime.wording import reason_of

Send = Callable[[dict[str, Any]], None]
# the largest number of different messages of the library to keep, and of characters in each
MESSAGES, LENGTH = 20, 1_000
NODE = re.compile(r"[Pp]arsing node: (.+)")
SOURCE_LOCATION = re.compile(r"^\s*\[?\w+\.(?:cpp|hpp|h)(?:::\w+)*:{1,2}\d+\]?:?\s*")
# Warnings that every exported file causes. They need no action: the runtime binds 64-bit ids, and TensorRT 8.6 narrows them.
EXPECTED = ("Make sure input", "Your ONNX model has been generated with INT64 weights")
# Errors that TensorRT-RTX logs on a machine without a GPU, where it builds nevertheless.
NO_GPU = ("cudaError", "Cuda Runtime", "CUDA initialization")


class Progress:
    """The current stage of the build and the messages that the library logged.

    `send` is called with {"stage": NAME} for each new stage; it reports the stage to the main process. `errors` are those of the
    current stage, and `warnings` are those of the whole build. `ahead_of_time` is true for a build that needs no GPU, so that
    errors about a missing GPU are ignored.
    """

    def __init__(self, send: Send, *, ahead_of_time: bool) -> None:
        self._send, self._ahead_of_time = send, ahead_of_time
        self.stage = "starting"
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def begin(self, stage: str) -> None:
        """Begin a new stage and drop the errors of the previous one."""
        self.errors.clear()
        self._set_stage(stage)

    def _set_stage(self, stage: str) -> None:
        self.stage = stage
        self._send({"stage": stage})

    def log(self, severity: str, text: str) -> None:
        """Record one message of the library; `severity` is its name in TensorRT, such as "WARNING"."""
        if severity == "VERBOSE":
            # if the parser crashes, this is the node that it crashed at
            if self.stage.startswith("parsing") and (node := NODE.search(text)):
                self._set_stage(f"parsing node {node[1]}")
        elif severity == "WARNING":
            self._keep(self.warnings, self.tidy(text))
        elif severity in ("ERROR", "INTERNAL_ERROR"):
            self._keep(self.errors, self.tidy(text))

    def tidy(self, text: str) -> str:
        """Return the message `text` on one line of at most LENGTH characters, without locations in the library's source code.

        For an ahead-of-time build, lines about a missing GPU are left out too.
        """
        lines = [SOURCE_LOCATION.sub("", line) for line in text.splitlines()]
        if self._ahead_of_time:
            lines = [line for line in lines if not any(mark in line for mark in NO_GPU)]
        return reason_of(" ".join(lines), LENGTH)

    def _keep(self, messages: list[str], text: str) -> None:
        if text and text not in messages and len(messages) < MESSAGES and not text.startswith(EXPECTED):
            messages.append(text)


def build(job: ChildJob, progress: Progress) -> dict[str, Any]:
    """Build and write the engine of `job`, and return the fields of `engines.python.builders.BuildResult`.

    `progress` receives the stages and the library's messages. Raises a UserError if the library is missing or cannot build the engine.
    """
    began = time.monotonic()
    trt = _library(job.flavour)
    flags = job.precision_flags(trt.__version__)
    logger = _logger(trt, progress)
    progress.begin("starting TensorRT")
    builder = trt.Builder(logger)
    config = builder.create_builder_config()
    network, settings = create_network(trt, builder, typed="--fp16" not in flags)
    parser = trt.OnnxParser(network, logger)
    progress.begin("parsing")
    if not parser.parse_from_file(str(job.onnx)):
        reasons = [progress.tidy(error) for error in parser_errors(parser)] or progress.errors[:3]
        raise ArtifactError(
            f"{job.onnx}: {job.flavour} cannot read the file: {'; '.join(reasons)}; {job.export_advice}"
        )
    progress.begin("configuring the build")
    refuse_other_network(network, job)
    settings += configure(trt, builder, config, network, job, flags)
    progress.begin("building")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise failure(job, progress, "no reason given")
    seconds = time.monotonic() - began
    progress.begin("writing")
    if job.timing_cache is not None:
        with replacing(job.timing_cache) as temporary:
            temporary.write_bytes(config.get_timing_cache().serialize())
    # the engine comes last: when it exists, the build is complete
    _write(job.engine, plan)
    gpu = None if job.ahead_of_time else _gpu()
    return {
        "version": str(trt.__version__),
        "compute_capabilities": [gpu["compute_capability"]] if gpu else job.compute_capabilities,
        "gpu": gpu["name"] if gpu else None,
        "seconds": seconds,
        "peak_mib": (high_water() or 0) >> 20,
        "bytes": job.engine.stat().st_size,
        "fused_attention_strings": sum(1 for _ in re.finditer(b"fmha", plan)),
        "warnings": progress.warnings,
        "settings": settings,
    }


def failure(job: ChildJob, progress: Progress, reason: str) -> UserError:
    """Return the error for a failed build, a DeviceError if memory or the GPU is the cause, else an ArtifactError.

    The message gives as the cause what the library logged in the current stage of `progress` or, if it logged nothing, `reason`.
    """
    memory = memory_lines([*progress.warnings, *progress.errors])
    cause = "; ".join(progress.errors[:3]) or reason
    if memory or any(mark in cause for mark in NO_MEMORY) or "MemoryError" in reason:
        cause = "; ".join([cause, *(line for line in memory[:1] if line not in cause)])
        return DeviceError(
            f"{job.onnx}: the build failed, {job.flavour} ran out of memory while {progress.stage} ({cause}); "
            f"{memory_advice(memory, job.workspace_mib)}"
        )
    if not job.ahead_of_time and any(mark in cause for mark in NO_DEVICE):
        return DeviceError(
            f"{job.onnx}: the build failed ({cause}); build engines on the device that runs them, see: python -m engines doctor"
        )
    return ArtifactError(
        f"{job.onnx}: the build failed, {job.flavour} failed while {progress.stage}: {cause}; {job.export_advice}"
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
        raise StorageError(
            f"{engine}: it cannot be written ({error.strerror}); choose another file with --out"
        ) from None


def _gpu() -> dict[str, Any] | None:
    from engines.probe import cuda

    gpus = cuda().get("gpus") or [None]
    first: dict[str, Any] | None = gpus[0]
    return first


def _die_with_parent() -> None:
    """Ask Linux to kill this process as soon as the process that started it has ended."""
    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def main() -> int:
    """Run the build that stdin describes, print the answer on stdout, and return 0, also if the answer is the error of the build."""
    _die_with_parent()
    warnings.simplefilter("ignore")
    # libraries may print to stdout, so redirect it to stderr, and keep the real stdout for the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    job = read_job(json.load(sys.stdin))
    progress = Progress(send, ahead_of_time=job.ahead_of_time)
    try:
        send(build(job, progress))
    except UserError as error:
        send({"code": error.code, "error": str(error)})
    # a binding may raise anything; what it logged before explains the failure better
    except Exception as error:
        explained = failure(job, progress, f"{type(error).__name__}: {reason_of(error)}")
        send({"code": explained.code, "error": str(explained)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
