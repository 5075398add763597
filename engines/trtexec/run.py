"""Find trtexec, ask its version, let it build into a file that appears whole or not at all."""

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

from engines.memory_advice import LESS, memory_advice
from engines.onnx_compat import Version
from engines.trtexec.output import Report, parse
from runtime.console import note
from runtime.errors import ArtifactError, ConfigError, DeviceError, StorageError, UserError
from runtime.files.manifest import replacing
from runtime.stopping import deferred, terminable
from runtime.wording import reason_of

# JetPack and the Debian packages; NVIDIA's TensorRT container. PyPI's wheels ship none.
LOCATIONS = (Path("/usr/src/tensorrt/bin/trtexec"), Path("/opt/tensorrt/bin/trtexec"))
# A failure of the machine, not of the model.
NO_DEVICE = (
    "CUDA initialization failure",
    "no CUDA-capable device",
    "CUDA driver version is insufficient",
    "Cuda failure",
    "error while loading shared libraries",
)
NO_MEMORY = ("out of memory", "OutOfMemory", "OUT_OF_MEMORY")
# A failure of the disk: what the plan was to be written to.
NO_SPACE = ("Saving engine to file failed", "Cannot open engine file", "No space left on device")
VERSION_TIMEOUT_S = 120


def find_trtexec(environment: Mapping[str, str] = os.environ, locations: Sequence[Path] = LOCATIONS) -> Path:
    """$TRTEXEC, then PATH, then where JetPack and NVIDIA's container keep it.

    ConfigError when $TRTEXEC is set but cannot be run (never another one in its place), DeviceError when there is none.
    """
    if said := environment.get("TRTEXEC"):
        if not _runnable(Path(said)):
            raise ConfigError(f"TRTEXEC={said}: no executable file; correct it, or unset it to search")
        return Path(said)
    if found := shutil.which("trtexec", path=environment.get("PATH", "")):
        return Path(found)
    for path in locations:
        if _runnable(path):
            return path
    places = ", ".join(map(str, locations))
    raise DeviceError(
        f"no trtexec in PATH nor in {places}; install TensorRT's package (JetPack has it) or set TRTEXEC=/path/to/trtexec"
    )


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def trtexec_version(trtexec: Path) -> Version:
    """The TensorRT version that `trtexec --help` puts in its first line; DeviceError when it cannot even start."""
    code, text = _execute([str(trtexec), "--help"], timeout_s=VERSION_TIMEOUT_S)
    version = parse(text).version
    if version is None:
        reason = reason_of("; ".join(parse(text).errors)) or f"exit status {code} and no version"
        raise DeviceError(
            f"{trtexec}: does not say its version ({reason}); check the TensorRT installation: {trtexec} --help"
        )
    return version


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Take turns with every other build into the folder of `out`; yields the lock's file descriptor.

    Waits as long as it takes and says so. Half-built files that a killed build of the same `out` left are removed then.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # The folder itself is locked: no lock file to leave behind, and nothing to race for when removing it.
        lock = os.open(out.parent, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{out}: cannot write here ({error.strerror}); choose another --out") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another build in {out.parent}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # eight letters are what `replacing` puts there
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
    """Run `line_for(temporary file)` and rename what it wrote to `out`, under the lock that `locked(out)` gave.

    The first word of the line is replaced by `trtexec`. All that it prints goes to `log`, when given. ArtifactError when it
    cannot build this model, DeviceError when the machine cannot build any, StorageError when the engine cannot be written; then
    `out` is what it was before. From the finished engine on, a signal waits until `committing` is closed: for the manifest.
    """
    with replacing(out) as temporary:
        if log is not None:
            # a log that cannot be written is found out before the minutes are spent
            log.write_text("")
        # The child inherits the lock: should only this process be killed, nobody else starts while trtexec still writes.
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
    """(exit status, all that it printed) of a line that builds nothing; its first word is replaced by `trtexec`.

    DeviceError when it cannot be started or takes longer than `timeout_s`.
    """
    return _execute([str(trtexec), *line[1:]], timeout_s=timeout_s)


def failure(report: Report, code: int, out: Path) -> UserError:
    """The refusal that tells why trtexec built nothing, by the lines that matter."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = f"; out of memory? {LESS}" if -code == signal.SIGKILL and not report.memory else ""
        if report.memory:
            hint = f" ({report.memory[0]}); {memory_advice(report.memory, report.workspace_mib)}"
        return DeviceError(
            f"{out}: not built, trtexec was killed by {name}{hint}; add --log FILE for what it said"
        )
    said = reason_of(report.why(), 1_000)
    if not report.errors:
        said = "it wrote no engine" if report.passed else f"exit status {code} without a reason"
    if any(mark in line for mark in NO_SPACE for line in report.errors):
        return StorageError(
            f"{out}: cannot be written, trtexec said: {said}; free its disk or choose another --out"
        )
    # skipped for lack of memory, tactics leave a layer without any implementation: no fault of the file
    if report.memory or any(mark in line for mark in NO_MEMORY for line in report.errors):
        return DeviceError(f"{out}: not built, {said}; {memory_advice(report.memory, report.workspace_mib)}")
    if any(mark in line for mark in NO_DEVICE for line in report.errors):
        return DeviceError(f"{out}: not built, {said}; engines are built on the device that runs them")
    return ArtifactError(f"{out}: not built, trtexec said: {said}; add --log FILE for all of it")


def _execute(
    command: list[str], *, timeout_s: float | None = None, inherit: int | None = None
) -> tuple[int, str]:
    """(exit status, negative for a signal; stdout and stderr together). Nothing it started outlives an interruption."""
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
            raise DeviceError(f"{command[0]}: no answer to {command[1]} within {timeout_s} s") from None
        except OSError as error:
            raise DeviceError(
                f"{command[0]}: cannot be run ({error.strerror}); is it this machine's?"
            ) from None
        finally:
            if process is not None and process.poll() is None:
                # the whole session: a wrapper script's trtexec too
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
