"""Read and write manifests: `<file>.json`, which records what a file is, what it was made from, and its sha256."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from runtime.errors import ArtifactError, StorageError
from runtime.files.json_text import parse_json
from runtime.host.processor import this_kind

SCHEMA = 1
# The file name suffixes of TensorRT engines.
ENGINES = (".engine", ".plan", ".trt")
# The type of each known entry of a manifest. Every entry may be missing or null.
KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(
        ("kind", "sha256", "parent", "precision", "target", "form", "layout", "camera", "engine"), str
    ),
    **dict.fromkeys(
        ("input", "output", "macs", "shape", "builder", "machine", "host", "tools", "check"), dict
    ),
    **dict.fromkeys(("params", "opset", "dim"), int),
}


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def manifest_path(path: Path | str) -> Path:
    """Return the path of a file's manifest: `model.onnx` -> `model.onnx.json`."""
    return Path(f"{path}.json")


def tools(*names: str) -> dict[str, str]:
    """Return {"python": version of Python, name: version} for the Python packages `names`; packages that are missing are left out."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        # Callers name every package that may take part; which of them are installed depends on the machine.
        except metadata.PackageNotFoundError:
            continue
    return versions


def host() -> dict[str, Any]:
    """Describe this machine as {system, machine, processor, processor_kind, cores}.

    `machine` is the architecture, `processor` the model name of the CPU, `processor_kind` its instruction sets as
    `runtime.host.processor.this_kind` returns them, and `cores` the number of logical cores.
    """
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processor_kind": this_kind(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Write the file at `path` completely or not at all: yield a temporary path, which the block writes.

    When the block ends, the temporary file is renamed to `path`; when the block raises, it is removed. Missing folders are created.
    Raises StorageError when the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise StorageError(
            f"{target}: cannot write here ({error.strerror}); name another place, or make this one writable"
        ) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_manifest(path: Path | str, content: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of the finished file at `path` and return it: `content` with the schema, the sha256 and the host added."""
    manifest = {"schema": SCHEMA, "sha256": sha256(path), "host": host()} | content
    with replacing(manifest_path(path)) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def making_command(file: Path) -> str:
    """Return the command line of this project that makes `file`, chosen by its suffix.

    Its input files are placeholders in capitals, such as MODEL.safetensors. An unknown suffix gives the command of an ONNX export.
    """
    name = str(file)
    if file.suffix in ENGINES:
        words = ["python", "-m", "engines", "build", "MODEL.onnx", "--out", name]
    elif file.suffix == ".npz":
        words = ["python", "-m", "runtime", "extract", "MODEL.onnx", "IMAGES", "--out", name]
    elif file.suffix == ".safetensors":
        words = ["python", "-m", "prune.convert", "CHECKPOINT.pth", "--config", "CONFIG.yaml", "--out", name]
    else:
        out = name if file.suffix == ".onnx" else "MODEL.onnx"
        words = ["python", "export_onnx.py", "MODEL.safetensors", "--out", out]
    return shlex.join(words)


def read_manifest(path: Path | str, *, verify: bool = True) -> dict[str, Any]:
    """Return the manifest of the file at `path`; with `verify`, the file's sha256 must match the one in the manifest.

    Raises ArtifactError when the file or its manifest is missing, damaged, newer than this code, or does not match.
    """
    file, sidecar = Path(path), manifest_path(path)
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file; make it with: {making_command(file)}")
    again = f"make the file again: {making_command(file)}"
    try:
        manifest = parse_json(sidecar.read_text(), finite=True)
    except FileNotFoundError:
        # the command must not overwrite this file, which may belong to another program
        other = f"make one: {making_command(Path(f'model{file.suffix}'))}"
        if file.suffix == ".onnx":
            adopting = shlex.join(["python", "-m", "export", "adopt", str(file)])
            other = f"{other}, or, if it is a model of another project, adopt it: {adopting} --like NAME"
        if file.suffix in ENGINES:
            other = f"adopt it: {shlex.join(['python', '-m', 'engines', 'verify', str(file), '--onnx', 'model.onnx'])}"
        raise ArtifactError(
            f"{file}: its manifest {sidecar.name} is missing; copy it from where the file was made, or {other}"
        ) from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{sidecar}: unreadable manifest ({error}); {again}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise ArtifactError(
            f"{sidecar}: has manifest schema {schema!r}, but this version reads schema {SCHEMA}; {again}"
        )
    if wrong := [key for key, kind in KINDS.items() if not isinstance(manifest.get(key), (kind, type(None)))]:
        raise ArtifactError(f"{sidecar}: is damaged: entries of the wrong type: {', '.join(wrong)}; {again}")
    if verify and sha256(file) != manifest.get("sha256"):
        raise ArtifactError(f"{file}: changed since its manifest was written (sha256 differs); {again}")
    return manifest
