"""Find trtexec, read its version, and run it so that the engine's file appears whole or not at all."""

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

# The folder of JetPack and the Debian packages, and that of NVIDIA's TensorRT container. PyPI's wheels have no trtexec.
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
    """Return the path of trtexec: $TRTEXEC, else one in PATH, else one in `locations`.

    ConfigError when $TRTEXEC is set but cannot be run (another trtexec never takes its place), DeviceError when there is none.
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
    """Return the TensorRT version from the first line of `trtexec --help`; DeviceError when trtexec does not start."""
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
    """Lock the folder of `out` against every other build into it, and yield the lock's file descriptor.

    While another build holds the lock, this one waits and says so. With the lock held, it removes the unfinished files that a
    killed build of the same `out` left.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # The folder itself is locked: no lock file to leave behind, and nothing to race for when removing it.
        lock = os.open(out.parent, os.O_RDONLY)
    except OSError as error:
        raise StorageError(
            f"{out}: it cannot be written ({error.strerror}); choose another file with --out"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another build into {out.parent}")
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
    """Run the command line `line_for(temporary file)` and rename the engine that it wrote to `out`.

    `lock` is the descriptor that `locked(out)` yielded, and `trtexec` replaces the first word of the command line. Everything
    that trtexec prints goes to the file `log`, if given. ArtifactError when trtexec cannot build this model, DeviceError when
    the machine cannot build any, StorageError when the engine cannot be written; `out` is unchanged then. Once the engine is
    finished, signals are deferred until `committing` is closed, so that the manifest can be written.
    """
    with replacing(out) as temporary:
        if log is not None:
            # fail before the long build if the log cannot be written
            log.write_text("")
        # The child inherits the lock: if only this process is killed, no other build starts while trtexec still writes.
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
    """Run a command line that builds nothing, with `trtexec` as its first word, and return (exit status, output).

    DeviceError when trtexec cannot be started or takes longer than `timeout_s`.
    """
    return _execute([str(trtexec), *line[1:]], timeout_s=timeout_s)


def failure(report: Report, code: int, out: Path) -> UserError:
    """Return the error that explains why trtexec built no engine, by the lines of its output that matter."""
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
    # When tactics are skipped for lack of memory, a layer may be left without any: the file is not at fault.
    if report.memory or any(mark in line for mark in NO_MEMORY for line in report.errors):
        return DeviceError(
            f"{out}: the build failed ({reason}); {memory_advice(report.memory, report.workspace_mib)}"
        )
    if any(mark in line for mark in NO_DEVICE for line in report.errors):
        return DeviceError(f"{out}: the build failed ({reason}); build engines on the device that runs them")
    return ArtifactError(
        f"{out}: the build failed, trtexec reports: {reason}; add --log FILE to keep its whole output"
    )


def _execute(
    command: list[str], *, timeout_s: float | None = None, inherit: int | None = None
) -> tuple[int, str]:
    """Run a command and return (exit status, negative for a signal; stdout and stderr together).

    When this call is interrupted, everything that the command started is killed.
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
            raise DeviceError(f"{command[0]}: it did not answer {command[1]} within {timeout_s} s") from None
        except OSError as error:
            raise DeviceError(
                f"{command[0]}: it cannot be run ({error.strerror}); check that it was built for this machine"
            ) from None
        finally:
            if process is not None and process.poll() is None:
                # kill the whole session: a wrapper script starts trtexec as its child
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
