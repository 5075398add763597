"""Build an engine with the Python bindings of TensorRT or TensorRT-RTX, in a child process.

If a graph crashes the library, only the child process ends, and this process reports the error in one line. Here no TensorRT library
is imported; `engines.python.child` imports it in the child process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.machine import Machine, this_machine
from engines.memory_advice import USE_LESS_MEMORY
from engines.trtexec.command import BuildRequest, input_spec, profiles_of
from engines.trtexec.command import refuse_options as refuse_settings
from engines.trtexec.run import NO_MEMORY
from runtime.errors import ArtifactError, ConfigError, DeviceError, StorageError, UserError
from runtime.wording import reason_of

FLAVOURS = ("tensorrt", "tensorrt_rtx")
# The slowest known build, level 5 on a small Jetson, takes about an hour.
TIMEOUT_S = 6 * 3600.0
REFUSALS: dict[int, type[UserError]] = {
    kind.code: kind for kind in (ConfigError, ArtifactError, DeviceError, StorageError)
}
EXPORT = "python export_onnx.py model.safetensors --target tensorrt --out model.onnx"


@dataclass(frozen=True)
class BuildResult:
    """The result of a build: the `version` of the library, the GPUs on which the engine runs, and the cost of the build.

    - `compute_capabilities` are those of the GPUs, such as ("8.6",); () means that TensorRT-RTX built for its default GPUs, which are
      those of the Ampere generation and later.
    - `gpu` is the name of the GPU to which the engine is bound; None for an ahead-of-time build.
    - `seconds` is the time of parsing and building, `peak_mib` the peak resident memory, and `bytes` the size of the engine.
    - `fused_attention_strings` is the number of strings `fmha` in the engine. It is a heuristic for fused attention kernels: an engine
      of TensorRT-RTX has 7 to 12 for each fused attention, and 0 to 2 without any.
    - `warnings` are the library's. `settings` are texts for the manifest, one for each flag or option that was set in the library.
      They use the names of TensorRT's API, such as "FP16" or "builder_optimization_level=3".
    """

    version: str
    compute_capabilities: tuple[str, ...]
    gpu: str | None
    seconds: float
    peak_mib: int
    bytes: int
    fused_attention_strings: int
    warnings: tuple[str, ...]
    settings: tuple[str, ...]

    @property
    def machine(self) -> Machine:
        """The machine for which the engine was built.

        Its GPU is given by `compute_capabilities` and `gpu`. Its operating system and processor are those of the machine that built
        the engine.
        """
        capability = ",".join(self.compute_capabilities) or None
        return this_machine(tensorrt=self.version, compute_capability=capability, gpu=self.gpu)


def build(
    request: BuildRequest,
    parent: Mapping[str, Any],
    *,
    flavour: str,
    compute_capability: str | None,
    engine: Path,
) -> BuildResult:
    """Build the ONNX file `request.onnx`, whose manifest is `parent`, into the file `engine`.

    `flavour` is the library, one of FLAVOURS. `compute_capability` ("8.6", or "8.6,8.9" for several) names the GPUs for which
    TensorRT-RTX builds ahead of time; None lets it choose, and TensorRT accepts only None. The engine is written completely or not at
    all. Raises ConfigError for options that are not supported, ArtifactError for a file that the library cannot build (also if the
    library crashes), DeviceError if the library, a GPU or memory is missing, and StorageError if the engine cannot be written.
    """
    refuse_options(request, flavour, compute_capability)
    profiles = profiles_of(input_spec(parent, str(request.onnx)), request.profiles)
    job = {
        "flavour": flavour,
        "onnx": str(request.onnx),
        "engine": str(engine),
        "manifest": dict(parent),
        "profiles": [list(profile) for profile in profiles],
        "workspace_mib": request.workspace_mib,
        "level": request.level,
        "timing_cache": str(request.timing_cache) if request.timing_cache else None,
        "version_compatible": request.version_compatible,
        "compute_capabilities": compute_capability.split(",") if compute_capability else [],
    }
    try:
        answer = run(job, timeout_s=TIMEOUT_S)
    except StorageError as error:
        # the child's message names the temporary file
        raise StorageError(str(error).replace(str(engine), str(request.engine))) from None
    lists = {key: tuple(answer[key]) for key in ("compute_capabilities", "warnings", "settings")}
    return BuildResult(**(answer | lists))


def refuse_options(request: BuildRequest, flavour: str, compute_capability: str | None) -> None:
    """Raise ConfigError for options that the library `flavour` never supports, whatever the ONNX file is.

    Also raises it if `flavour` is not one of FLAVOURS.
    """
    if flavour not in FLAVOURS:
        raise ConfigError(f"{flavour}: this is not a TensorRT library; known: {', '.join(FLAVOURS)}")
    refuse_settings(request)
    if flavour == "tensorrt":
        if compute_capability is not None:
            raise ConfigError(
                f"--compute-capability {compute_capability}: TensorRT builds for this machine's GPU only; leave the option "
                "out, or use --builder rtx"
            )
        return
    # TensorRT-RTX's API has both options, but a timing cache has no effect, and a version-compatible build needs a library that is in
    # no package of TensorRT-RTX
    if request.timing_cache is not None:
        raise ConfigError(
            "--timing-cache: TensorRT-RTX measures nothing while it builds; leave the option out"
        )
    if request.version_compatible:
        raise ConfigError(
            "--version-compatible: TensorRT-RTX builds no version-compatible engines; leave the option out"
        )


def run(job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Run `job` in a child process and return its answer, the fields of `BuildResult`. Raises a UserError if the build fails.

    `job` has the fields of `engines.python.steps.ChildJob` as JSON values. The child process is killed after `timeout_s` seconds, when
    this call is interrupted, and when this process ends.
    """
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "engines.python.child"],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Ctrl-C reaches this process only, which then stops the child below
        start_new_session=True,
    )
    timed_out = False
    try:
        out, err = process.communicate(json.dumps(job), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill(process)
        out, err = process.communicate()
    finally:
        if process.poll() is None:
            _kill(process)
            process.wait()
    stage, answer = read_answer(out)
    if timed_out:
        raise ArtifactError(
            f"{job['onnx']}: the build failed: {job['flavour']} was stopped because it was still {stage} "
            f"after {timeout_s / 3600:g} h; give a lower --optimization-level"
        )
    # An answer is valid even if the library crashed afterwards, at its exit, because the engine was complete before.
    if answer is None:
        raise crash(job, process.returncode, stage, err)
    if "error" in answer:
        raise REFUSALS[answer["code"]](answer["error"])
    return answer


def _kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def read_answer(out: str) -> tuple[str, dict[str, Any] | None]:
    """Return (stage, answer) from `out`, the stdout of the child process.

    `stage` is the last one that the child process reported ("starting" if there is none). `answer` is its result or error, or None
    if it gave no answer. The stdout consists of JSON lines; a last line that is cut off is skipped.
    """
    stage, answer = "starting", None
    for line in out.splitlines():
        try:
            message = json.loads(line)
        # The child ended while it wrote this line. Without an answer, the caller reports how it ended.
        except ValueError:
            continue
        if "stage" in message:
            stage = message["stage"]
        else:
            answer = message
    return stage, answer


def crash(job: Mapping[str, Any], code: int, stage: str, err: str) -> UserError:
    """Return the error for a child process that ended without an answer, in the given `stage` of the build `job`.

    `code` is its exit status, or the negative number of the signal that ended it. `err` is its stderr. The result is a DeviceError if
    memory or the library is the cause, else an ArtifactError.
    """
    onnx, flavour = job["onnx"], job["flavour"]
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    last_line = f": {reason_of(lines[-1], 200)}" if lines else ""
    if code == -signal.SIGKILL:
        return DeviceError(
            f"{onnx}: the build failed, {flavour} was killed while {stage}, probably because the machine is out of memory; "
            f"{USE_LESS_MEMORY}"
        )
    if any(mark in line for mark in (*NO_MEMORY, "bad_alloc", "MemoryError") for line in lines):
        return DeviceError(
            f"{onnx}: the build failed, {flavour} ran out of memory while {stage}; {USE_LESS_MEMORY}"
        )
    ending = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit status {code}"
    if stage == "starting":
        return DeviceError(f"{flavour} {ending} while starting{last_line}; see: python -m engines doctor")
    return ArtifactError(
        f"{onnx}: the build failed, {flavour} {ending} while {stage}{last_line}; it may not support this graph, export it "
        f"again: {EXPORT}"
    )
