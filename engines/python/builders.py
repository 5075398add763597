"""Build an engine with Python's TensorRT or TensorRT-RTX, in a child process: a graph that crashes the parser costs one line.

Names no TensorRT library: `engines.python.child` does, over there.
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
from engines.trtexec.command import Build, input_spec, profiles_of
from engines.trtexec.command import refuse_options as refuse_settings
from engines.trtexec.run import NO_MEMORY
from runtime.errors import ArtifactError, ConfigError, DeviceError, StorageError, UserError
from runtime.wording import reason_of

FLAVOURS = ("tensorrt", "tensorrt_rtx")
# The slowest build known is level 5 on a small Jetson: about an hour.
TIMEOUT_S = 6 * 3600.0
REFUSALS: dict[int, type[UserError]] = {
    kind.code: kind for kind in (ConfigError, ArtifactError, DeviceError, StorageError)
}
EXPORT = "python export_onnx.py model.safetensors --target tensorrt --out model.onnx"


@dataclass(frozen=True)
class Built:
    """A finished build: the library's `version`, what the engine runs on, and what the build cost.

    `compute_capabilities` ("8.6", ...) is () for TensorRT-RTX's own choice (portable: Ampere and later); `gpu` is the GPU it is
    bound to, None for an ahead-of-time build. `seconds` and `peak_mib` (resident memory) are those of parse and build together,
    `bytes` is the plan's size. `fused` counts `fmha` in the plan: TensorRT-RTX's plans have 7 to 12 per fused attention, 0 to 2
    without (a heuristic). `words` describe the build for a manifest, by the names of TensorRT's API.
    """

    version: str
    compute_capabilities: tuple[str, ...]
    gpu: str | None
    seconds: float
    peak_mib: int
    bytes: int
    fused: int
    warnings: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def machine(self) -> Machine:
        """The machine that the engine is bound to; the operating system and the processor are this one's."""
        capability = ",".join(self.compute_capabilities) or None
        return this_machine(tensorrt=self.version, compute_capability=capability, gpu=self.gpu)


def build(
    asked: Build, parent: Mapping[str, Any], *, flavour: str, compute_capability: str | None, engine: Path
) -> Built:
    """Build `asked.onnx`, whose manifest is `parent`, into the file `engine` with the library `flavour`, a name of FLAVOURS.

    `compute_capability` ("8.6", or "8.6,8.9" for several) is for TensorRT-RTX, which builds ahead of time and needs no GPU. Nothing
    is written unless the whole engine is. ConfigError for options that cannot be served, ArtifactError for a file that the library
    cannot build (also one that crashes it), DeviceError without library, GPU or memory, StorageError where it cannot be written.
    """
    refuse_options(asked, flavour, compute_capability)
    profiles = profiles_of(input_spec(parent, str(asked.onnx)), asked.profiles)
    job = {
        "flavour": flavour,
        "onnx": str(asked.onnx),
        "engine": str(engine),
        "manifest": dict(parent),
        "profiles": [list(profile) for profile in profiles],
        "workspace_mib": asked.workspace_mib,
        "level": asked.level,
        "timing_cache": str(asked.timing_cache) if asked.timing_cache else None,
        "version_compatible": asked.version_compatible,
        "compute_capabilities": compute_capability.split(",") if compute_capability else [],
    }
    try:
        done = run(job, timeout_s=TIMEOUT_S)
    except StorageError as error:
        # the child knows only the temporary file
        raise StorageError(str(error).replace(str(engine), str(asked.engine))) from None
    lists = {key: tuple(done[key]) for key in ("compute_capabilities", "warnings", "words")}
    return Built(**(done | lists))


def refuse_options(asked: Build, flavour: str, compute_capability: str | None) -> None:
    """ConfigError for what the library `flavour` cannot do, whatever the file."""
    if flavour not in FLAVOURS:
        raise ConfigError(f"{flavour}: no TensorRT; known: {', '.join(FLAVOURS)}")
    refuse_settings(asked)
    if flavour == "tensorrt":
        if compute_capability is not None:
            raise ConfigError(
                f"--compute-capability {compute_capability}: TensorRT builds for the GPU found here; leave it out, or "
                "use --builder rtx"
            )
        return
    # both exist in its API: the first does nothing, the second wants a library that no TensorRT-RTX package has
    if asked.timing_cache is not None:
        raise ConfigError("--timing-cache: TensorRT-RTX measures nothing while it builds; leave it out")
    if asked.version_compatible:
        raise ConfigError("--version-compatible: TensorRT-RTX has no such engines; leave it out")


def run(job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """What the child reports of the build `job`: the fields of `Built`. A UserError when it built nothing, for whatever reason.

    The child never outlives this call: it is killed after `timeout_s`, on an interruption, and with this process.
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
        # Ctrl-C is this process's: it stops the child below
        start_new_session=True,
    )
    late = False
    try:
        out, err = process.communicate(json.dumps(job), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        late = True
        _kill(process)
        out, err = process.communicate()
    finally:
        if process.poll() is None:
            _kill(process)
            process.wait()
    stage, answer = read_answer(out)
    if late:
        raise ArtifactError(
            f"{job['onnx']}: not built, {job['flavour']} was still {stage} after {timeout_s / 3600:g} h and was stopped; "
            "give a lower --optimization-level"
        )
    # an answer counts also when the library crashed afterwards, on its way out: by then the engine was written and closed
    if answer is None:
        raise crash(job, process.returncode, stage, err)
    if "error" in answer:
        raise REFUSALS[answer["code"]](answer["error"])
    return answer


def _kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def read_answer(out: str) -> tuple[str, dict[str, Any] | None]:
    """(what the child was last doing, its answer or None) from its stdout: JSON lines, the last one maybe cut off."""
    stage, answer = "starting", None
    for line in out.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if "stage" in message:
            stage = message["stage"]
        else:
            answer = message
    return stage, answer


def crash(job: Mapping[str, Any], code: int, stage: str, err: str) -> UserError:
    """The refusal for a child that ended without an answer: exit status `code` (negative: a signal), `err` its stderr."""
    onnx, flavour = job["onnx"], job["flavour"]
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    said = f": {reason_of(lines[-1], 200)}" if lines else ""
    if code == -signal.SIGKILL:
        return DeviceError(
            f"{onnx}: not built, {flavour} was killed while {stage}, which is what a machine out of memory does; {USE_LESS_MEMORY}"
        )
    if any(mark in line for mark in (*NO_MEMORY, "bad_alloc", "MemoryError") for line in lines):
        return DeviceError(f"{onnx}: not built, out of memory while {stage}; {USE_LESS_MEMORY}")
    what = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit status {code}"
    if stage == "starting":
        return DeviceError(f"{flavour} {what} while starting{said}; see: python -m engines doctor")
    return ArtifactError(
        f"{onnx}: not built, {flavour} {what} while {stage}{said}; a graph it cannot take: export it again: {EXPORT}"
    )
