"""Compare the manifest of an engine with this machine, and return the command that builds the engine again. Loads no library."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.backends.tensorrt.gpu import Gpu
from runtime.errors import ArtifactError
from runtime.files.manifest import sha256
from runtime.host.jetson import jetpack_version

# the defaults of `engines build`
WORKSPACE_MIB, LEVEL = 2048, 3


def differences(
    manifest: Mapping[str, Any], *, tensorrt: str, gpu: Gpu, l4t: str | None, portable: bool
) -> list[str]:
    """Compare the machine that built an engine with this one, and return a text for each difference; [] for none.

    The `manifest` of the engine describes the machine that built it. The other parameters describe this machine: the version of
    `tensorrt`, the `gpu`, and `l4t`, the release of its Jetson Linux (None on a machine that is not a Jetson). With `portable`,
    which is for TensorRT-RTX, the GPU is not compared: such an engine is built for many GPUs, and TensorRT-RTX itself refuses the
    wrong one. A property that the manifest does not contain is not compared.
    """
    built = manifest.get("machine")
    if not isinstance(built, Mapping):
        return []
    facts = [
        ("operating system", "system", platform.system()),
        ("processor", "processor", platform.machine()),
    ]
    if not portable:
        facts += [
            ("compute capability", "compute_capability", gpu.compute_capability),
            ("GPU", "gpu", gpu.name),
        ]
    mismatches = [
        f"built for {label} {built[key]}, here {here}"
        for label, key, here in facts
        if built.get(key) is not None and built[key] != here
    ]
    version = built.get("tensorrt")
    if isinstance(version, str) and not _loads(version, tensorrt, version_compatible(manifest)):
        mismatches.insert(0, f"built for TensorRT {version}, here {tensorrt}")
    # null means that the engine's machine was no Jetson; a missing entry means that it was not recorded
    if "l4t" in built and _branch(built["l4t"]) != _branch(l4t):
        mismatches.append(_other_release(built, l4t))
    return mismatches


def version_compatible(manifest: Mapping[str, Any]) -> bool:
    """Return whether the engine was built to run on later TensorRT versions too.

    Such an engine contains a small runtime of the version that built it.
    """
    builder = manifest.get("builder")
    return isinstance(builder, Mapping) and bool(builder.get("version_compatible"))


def _loads(built: str, here: str, compatible: bool) -> bool:
    """Return whether TensorRT version `here` loads an engine that version `built` made.

    It does if the versions are equal or, for a `compatible` engine, if `here` is a later version with the same major number.
    """
    old, new = ([int(part) for part in text.split(".")[:3] if part.isdigit()] for text in (built, here))
    # some versions are written 10.3, others 10.3.0
    length = min(len(old), len(new))
    if length < 2:
        return False
    return old[:length] == new[:length] or (compatible and old[0] == new[0] and old <= new)


def _branch(l4t: str | None) -> list[str] | None:
    # 36.4.0 to 36.4.7 carry the same CUDA and TensorRT
    return None if l4t is None else str(l4t).split(".")[:2]


def _other_release(built: Mapping[str, Any], l4t: str | None) -> str:
    before = built["l4t"] and f"{built['l4t']} (JetPack {built.get('jetpack') or 'unknown'})"
    here = l4t and f"{l4t} (JetPack {jetpack_version(l4t) or 'unknown'})"
    inside = l4t is None and built.get("processor") == "aarch64"
    hint = " (in a container: mount /etc/nv_tegra_release or set L4T_VERSION)" if inside else ""
    return f"built for L4T {before or 'none'}, here {here or 'none'}{hint}"


def siblings(engine: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Return the paths of the engines for other batch sizes that the same command built from the same model as `engine`.

    `manifest` is the manifest of `engine`, which lists them (`others_of`). They are in the folder of `engine`. Raises ArtifactError
    if one of them is missing or its sha256 differs from the listed one.
    """
    paths = []
    for other in others_of(manifest, engine):
        path = engine.parent / Path(other["file"]).name
        if not path.is_file() or sha256(path) != other["sha256"]:
            state = "is not the file that the manifest lists" if path.is_file() else "is missing"
            raise ArtifactError(
                f"{engine}: the engine for another batch size beside it, {path.name}, {state}; rebuild: "
                f"{rebuild_command(manifest, engine)}"
            )
        paths.append(path)
    return paths


def others_of(manifest: Mapping[str, Any], engine: Path) -> list[Mapping[str, Any]]:
    """Return {file, sha256, batch} of each engine for other batch sizes that the same command built from the same model as `engine`.

    The command is `engines build --separate`, which builds one engine for each --batch. `manifest` is the manifest of `engine`, which
    lists the other engines. `batch` is [min, opt, max]. The result is [] if there are none. Raises ArtifactError, which names the
    path `engine`, if the list is damaged.
    """
    others = manifest.get("others", [])
    if not isinstance(others, list) or not all(_is_other(other) for other in others):
        raise ArtifactError(
            f"{engine}: the entry `others` of its manifest is damaged; rebuild: {rebuild_command(manifest, engine)}"
        )
    return others


def _is_other(other: object) -> bool:
    if not isinstance(other, Mapping):
        return False
    texts = (other.get("file"), other.get("sha256"))
    return all(isinstance(text, str) for text in texts) and _is_batch(other.get("batch"))


def _is_batch(sizes: object) -> bool:
    return isinstance(sizes, list) and len(sizes) == 3 and all(type(size) is int for size in sizes)


def rebuild_command(manifest: Mapping[str, Any], engine: Path | None = None) -> str:
    """Return the shell command that builds the engine of `manifest` again.

    `engine` is the path of the engine; None stands for its file name in the current folder. The command expects the ONNX file in the
    folder of the engine, because manifests do not record folders.
    """
    builder = manifest.get("builder")
    names = ("onnx", "engine", "name")
    if not isinstance(builder, Mapping) or not all(isinstance(builder.get(name), str) for name in names):
        unknown = "model.engine" if engine is None else str(engine)
        return shlex.join(["python", "-m", "engines", "build", "model.onnx", "--out", unknown])
    folder = Path() if engine is None else engine.parent
    out = folder / str(builder["engine"]) if engine is None else engine
    words: list[object] = ["python", "-m", "engines", "build", folder / builder["onnx"], "--out", out]
    words += ["--builder", builder["name"]]
    # The manifest may be damaged. Entries that cannot be read are left out of the command.
    others = manifest.get("others")
    others = [other for other in others if _is_other(other)] if isinstance(others, list) else []
    profiles = builder.get("profiles")
    profiles = [sizes for sizes in profiles if _is_batch(sizes)] if isinstance(profiles, list) else []
    for sizes in (*(other["batch"] for other in others), *profiles):
        words += ["--batch", batch_text(sizes)]
    for option, key, default in (
        ("--workspace", "workspace_mib", WORKSPACE_MIB),
        ("--optimization-level", "level", LEVEL),
    ):
        if builder.get(key, default) != default:
            words += [option, builder[key]]
    if builder.get("timing_cache"):
        words += ["--timing-cache", folder / str(builder["timing_cache"])]
    if builder.get("compute_capability"):
        words += ["--compute-capability", builder["compute_capability"]]
    words += ["--version-compatible"] if builder.get("version_compatible") else []
    words += ["--separate"] if others else []
    return shlex.join(map(str, words))


def batch_text(sizes: Sequence[int]) -> str:
    """Return the batch sizes (min, opt, max) of a profile as a value of --batch: (8, 8, 8) -> `8`, (1, 8, 32) -> `1,8,32`."""
    return str(sizes[0]) if min(sizes) == max(sizes) else ",".join(map(str, sizes))
