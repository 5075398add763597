"""Find trtexec, read its version, and run it. A build writes the engine's file completely or not at all."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.memory_advice import USE_LESS_MEMORY, memory_advice
from engines.onnx_compat import Version
from engines.trtexec.output import Report, parse
from runtime.console import note
from runtime.errors import ArtifactError, ConfigError, DeviceError, StorageError, UserError
from runtime.files.manifest import replacing
from runtime.stopping import deferred, terminable
from runtime.wording import reason_of

# Where JetPack and the Debian packages install trtexec, and where NVIDIA's TensorRT container has it. PyPI's wheels do not contain it.
LOCATIONS = (Path("/usr/src/tensorrt/bin/trtexec"), Path("/opt/tensorrt/bin/trtexec"))
# Messages about the machine, not about the model.
NO_DEVICE = (
    "CUDA initialization failure",
    "no CUDA-capable device",
    "CUDA driver version is insufficient",
    "Cuda failure",
    "error while loading shared libraries",
)
NO_MEMORY = ("out of memory", "OutOfMemory", "OUT_OF_MEMORY")
# Messages about the disk that the engine is written to.
NO_SPACE = ("Saving engine to file failed", "Cannot open engine file", "No space left on device")
VERSION_TIMEOUT_S = 120


def find_trtexec(environment: Mapping[str, str] = os.environ, locations: Sequence[Path] = LOCATIONS) -> Path:
    """Return the path of trtexec: $TRTEXEC if it is set, else the first one in PATH, else the first one of `locations`.

    Raises ConfigError if $TRTEXEC is set but is not an executable file, and DeviceError if there is no trtexec.
    """
    if variable := environment.get("TRTEXEC"):
        if not _is_executable(Path(variable)):
            raise ConfigError(
                f"TRTEXEC={variable}: this is not an executable file; correct the variable, or unset it to search for trtexec"
            )
        return Path(variable)
    if path_entry := shutil.which("trtexec", path=environment.get("PATH", "")):
        return Path(path_entry)
    for path in locations:
        if _is_executable(path):
            return path
    raise DeviceError(
        f"there is no trtexec in PATH nor in {', '.join(map(str, locations))}; install TensorRT's package (JetPack has it) "
        "or set TRTEXEC=/path/to/trtexec"
    )


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def trtexec_version(trtexec: Path) -> Version:
    """Return the TensorRT version of the program `trtexec`, such as (10, 3, 0), from what `trtexec --help` prints.

    Raises DeviceError if trtexec does not start or prints no version.
    """
    code, text = _execute([str(trtexec), "--help"], timeout_s=VERSION_TIMEOUT_S)
    version = parse(text).version
    if version is None:
        reason = reason_of("; ".join(parse(text).errors)) or f"exit status {code} and no version"
        raise DeviceError(
            f"{trtexec}: it does not print its version ({reason}); check the TensorRT installation: {trtexec} --help"
        )
    return version


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Lock the folder of `out` against other builds while the `with` block runs; yield the file descriptor of the lock.

    If another build holds the lock, this one prints a note and waits. As soon as it holds the lock, it removes the unfinished files
    that killed builds of `out` have left. Raises StorageError if the folder cannot be created or opened.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # the lock is on the folder itself, because a lock file would have to be removed without a race
        lock = os.open(out.parent, os.O_RDONLY)
    except OSError as error:
        raise StorageError(
            f"{out}: it cannot be written ({error.strerror}); choose another file with --out"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another build into the folder {out.parent} to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # `replacing` puts eight letters into the name of its temporary file
        for stale in out.parent.glob(f".{glob.escape(out.name)}.????????{glob.escape(out.suffix)}"):
            stale.unlink(missing_ok=True)
        yield lock
    finally:
        os.close(lock)


def build(
    trtexec: Path,
    line_for: Callable[[Path], list[str]],
    out: Path,
    *,
    lock: int,
    log: Path | None = None,
    committing: ExitStack | None = None,
) -> Report:
    """Build the engine `out` with trtexec and return the parsed output.

    `line_for(path)` returns the command line that writes the engine to `path`, a temporary file that is then renamed to `out`. The
    path `trtexec` replaces the first word of the line. `lock` is the descriptor that `locked(out)` yielded. Everything that trtexec
    prints is written to the file `log` (None: it is not kept).

    `committing` is an ExitStack of the caller. Once trtexec has built the engine, a signal to stop waits until the caller closes
    this stack, so that the caller can first write the manifest: `build` enters `runtime.stopping.deferred` into the stack. With
    None, signals do not wait.

    Raises ArtifactError if trtexec cannot build this model, DeviceError if this machine cannot build any engine, and StorageError
    if the engine cannot be written. After an error, `out` is unchanged.
    """
    with replacing(out) as temporary:
        if log is not None:
            # fail before the long build if the log cannot be written
            log.write_text("")
        # trtexec inherits the lock, so that no other build starts if this process is killed while trtexec still writes
        code, text = _execute([str(trtexec), *line_for(temporary)[1:]], inherit=lock)
        if log is not None:
            log.write_text(text)
        report = parse(text)
        if code != 0 or report.passed is not True or temporary.stat().st_size == 0:
            raise failure(report, code, out)
        if committing is not None:
            committing.enter_context(deferred())
    return report


def run(trtexec: Path, line: Sequence[str], *, timeout_s: float) -> tuple[int, str]:
    """Run a trtexec command line that builds no engine, and return (exit status, text of stdout and stderr).

    The exit status is negative if a signal ended trtexec. The path `trtexec` replaces the first word of `line`. Raises DeviceError if
    trtexec cannot be started or takes longer than `timeout_s` seconds.
    """
    return _execute([str(trtexec), *line[1:]], timeout_s=timeout_s)


def failure(report: Report, code: int, out: Path) -> UserError:
    """Return the error for a failed build of `out`, from the `report` of trtexec's output and its exit status `code`.

    If a signal killed trtexec, `code` is its negative number. The result is a StorageError if the engine cannot be written, a
    DeviceError if memory or the GPU is the cause, else an ArtifactError.
    """
    if code < 0:
        signal_name = signal.Signals(-code).name
        hint = ""
        if report.memory:
            hint = f" ({report.memory[0]}); {memory_advice(report.memory, report.workspace_mib)}"
        elif -code == signal.SIGKILL:
            hint = f"; the device may be out of memory: {USE_LESS_MEMORY}"
        return DeviceError(
            f"{out}: the build failed, trtexec was killed by {signal_name}{hint}; add --log FILE to keep its output"
        )
    reason = reason_of(report.failure_reason(), 1_000)
    if not report.errors:
        reason = "it wrote no engine" if report.passed else f"exit status {code} without a reason"
    if any(mark in line for mark in NO_SPACE for line in report.errors):
        return StorageError(
            f"{out}: it cannot be written ({reason}); free space on its disk or choose another file with --out"
        )
    # With too little memory, TensorRT skips tactics, and a layer may have no tactic left. Then the file is not the cause.
    if report.memory or any(mark in line for mark in NO_MEMORY for line in report.errors):
        return DeviceError(
            f"{out}: the build failed ({reason}); {memory_advice(report.memory, report.workspace_mib)}"
        )
    if any(mark in line for mark in NO_DEVICE for line in report.errors):
        return DeviceError(
            f"{out}: the build failed ({reason}); build engines on the device that runs them, see: python -m engines doctor"
        )
    return ArtifactError(
        f"{out}: the build failed, trtexec reports: {reason}; add --log FILE to keep its whole output"
    )


def _execute(
    command: list[str], *, timeout_s: float | None = None, inherit: int | None = None
) -> tuple[int, str]:
    """Run a command and return (exit status, output). The output is stdout and stderr; the status is negative after a signal.

    When this call is interrupted, the command and every process that it started are killed.
    """
    process: subprocess.Popen[str] | None = None
    with terminable():
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=() if inherit is None else (inherit,),
                start_new_session=True,
            )
            text, _ = process.communicate(timeout=timeout_s)
            return process.returncode, text
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"{command[0]}: it did not end within {timeout_s} s ({command[1]}); check the GPU and its driver: "
                "python -m engines doctor"
            ) from None
        except OSError as error:
            raise DeviceError(
                f"{command[0]}: it cannot be run ({error.strerror}); check that it was built for this machine"
            ) from None
        finally:
            if process is not None and process.poll() is None:
                # kill the whole session: a wrapper script starts trtexec as its child
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
