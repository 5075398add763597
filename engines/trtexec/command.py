"""The trtexec command line that builds an engine from one ONNX file with one TensorRT version.

The functions are pure: they run nothing and read no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from engines.onnx_compat import Version, export_command, refuse_unreadable
from runtime.backends.tensorrt.compat import LEVEL, WORKSPACE_MIB
from runtime.errors import ArtifactError, ConfigError
from runtime.spec import InputSpec

# The versions of TensorRT that have each flag of trtexec, and where that is documented (platforms.md, tensorrt.md). Every command line
# is checked against this table. x: the flag works, w: it works with a warning, o: it has no effect, -: there is no such flag.
#   flag                          8.6 10.3 10.13 10.16 11   documented in
#   --onnx --saveEngine            x   x    x     x    x    platforms 3 "Static"; tensorrt 6 "[K] 8.6: --onnx ... --saveEngine"
#   --fp16 --int8                  x   x    x     w    -    platforms 3 row 4 (10.16 warns: deprecated), tensorrt 6 "11.x removed"
#   --stronglyTyped                -   x    x     x    o    platforms 3 row 5 (11: no-op, so it is not written)
#   --memPoolSize=workspace:MiB    x   x    x     x    x    platforms 3 row 2
#   --builderOptimizationLevel     x   x    x     x    x    platforms 3 row 3
#   --versionCompatible            x   x    x     x    x    platforms 3 row 3
#   --timingCacheFile              x   x    x     x    x    platforms 3 "Static" and its last sentence (what 8.x drops of it)
#   --profilingVerbosity           x   x    x     x    x    the same; platforms 2 on --exportLayerInfo
#   --skipInference                x   x    x     x    x    platforms 3 row 1 (8.6: "either")
#   --min/opt/maxShapes --shapes   x   x    x     x    x    platforms 3 "Dynamic"
#   --profile --useProfile         -   x    x     x    x    platforms 3 "Multi-profile", row 6 (8.x: only through the API)
#   --infStreams                   x   x    x     x    x    platforms 3 row "concurrent streams"
#   --useCudaGraph --useSpinWait   x   x    x     x    o    platforms 0.3 and 2 (11: on by default)
#   --noDataTransfers              x   x    x     x    o    the same (11: off by default)
#   --includeDataTransfers         -   -    -     -    x    the same
FLAGS: dict[str, tuple[int, ...]] = {
    "--onnx": (8, 10, 11),
    "--saveEngine": (8, 10, 11),
    "--fp16": (8, 10),
    "--int8": (8, 10),
    "--stronglyTyped": (10,),
    "--memPoolSize": (8, 10, 11),
    "--builderOptimizationLevel": (8, 10, 11),
    "--versionCompatible": (8, 10, 11),
    "--timingCacheFile": (8, 10, 11),
    "--profilingVerbosity": (8, 10, 11),
    "--skipInference": (8, 10, 11),
    "--minShapes": (8, 10, 11),
    "--optShapes": (8, 10, 11),
    "--maxShapes": (8, 10, 11),
    "--shapes": (8, 10, 11),
    "--profile": (10, 11),
    "--useProfile": (10, 11),
    "--infStreams": (8, 10, 11),
    "--useCudaGraph": (8, 10),
    "--useSpinWait": (8, 10),
    "--noDataTransfers": (8, 10),
    "--includeDataTransfers": (11,),
}
SUPPORTED = "8.6, 10.3 and later 10.x, 11.x"


class Profile(NamedTuple):
    """The batch sizes of one optimisation profile: the smallest, the one for which TensorRT optimises, and the largest."""

    min: int
    opt: int
    max: int


DEFAULT_PROFILE = Profile(1, 8, 32)


@dataclass(frozen=True)
class BuildRequest:
    """The options to build the file `engine` from the file `onnx`.

    With `profiles` empty, a file with a dynamic batch gets DEFAULT_PROFILE, and one with a fixed batch needs none. `workspace_mib`
    limits the scratch memory that a layer may use. `level` is the optimisation level, from 0 (fast build) to 5 (fast engine).
    `timing_cache` is a file of kernel timings that the build reads and extends (None: no file). A `version_compatible` engine also
    runs with later TensorRT versions of the same major version. `timed` lets trtexec time the engine after the build, with the `opt`
    batch of the first profile, one stream, a CUDA graph and spin wait; with `transfers`, the times include the copies to and from the
    GPU. `others` are the engines for smaller batches that the runtime opens together with this one, each with its profile.
    """

    onnx: Path
    engine: Path
    profiles: tuple[Profile, ...] = ()
    workspace_mib: int = WORKSPACE_MIB
    level: int = LEVEL
    timing_cache: Path | None = None
    version_compatible: bool = False
    timed: bool = False
    transfers: bool = False
    others: tuple[tuple[Path, Profile], ...] = ()


def parse_version(text: str) -> Version:
    """Parse a TensorRT version: `10.3` -> (10, 3), `10.3.0.26` -> (10, 3, 0, 26). Raises ConfigError for anything else."""
    parts = text.split(".")
    if not 2 <= len(parts) <= 4 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"TensorRT version {text!r} is not valid; give X.Y, such as 10.3")
    return tuple(int(part) for part in parts)


def version_text(version: Version) -> str:
    """Return the text of a version: (10, 3) -> `10.3`."""
    return ".".join(str(part) for part in version)


def trtexec_line(manifest: Mapping[str, Any], version: Version, build: BuildRequest) -> list[str]:
    """Return the command line with which trtexec of TensorRT `version` builds the engine of `build`, as a list of words.

    The first word is `trtexec`. `manifest` is that of the ONNX file. Raises ConfigError for options or a version that are not
    supported, and ArtifactError for a file that this version cannot build.
    """
    _refuse_version(version)
    refuse_options(build)
    spec = input_spec(manifest, str(build.onnx))
    profiles = profiles_of(spec, build.profiles)
    line = [f"--onnx={build.onnx}", f"--saveEngine={build.engine}"]
    line += precision_flags(manifest, version, str(build.onnx))
    line += [f"--memPoolSize=workspace:{build.workspace_mib}", f"--builderOptimizationLevel={build.level}"]
    line += ["--profilingVerbosity=detailed"]
    if build.timing_cache is not None:
        line.append(f"--timingCacheFile={build.timing_cache}")
    if build.version_compatible:
        line.append("--versionCompatible")
    if spec.batch is None:
        line += _shape_flags(spec, profiles, version)
    line += (
        timing_flags(spec, profiles, version, transfers=build.transfers)
        if build.timed
        else ["--skipInference"]
    )
    _refuse_undocumented(line, version)
    return ["trtexec", *line]


def precision_flags(manifest: Mapping[str, Any], version: Version, where: str) -> list[str]:
    """Return the trtexec flags that give an engine the precision of its ONNX file; [] if no flag is needed.

    In a file for the target tensorrt or onnxruntime, the types of the tensors fix the precision. A file for tensorrt8 is an FP32
    graph, and the flags make its engine fp16 or int8. `where` is the path of the file, for an error. Raises ArtifactError for a file
    that TensorRT `version` cannot build.
    """
    precision, target = manifest.get("precision", "fp32"), manifest.get("target", "onnxruntime")
    if precision not in ("fp32", "fp16", "int8") or target not in ("tensorrt", "tensorrt8", "onnxruntime"):
        raise ArtifactError(
            f"{where}: the precision {precision!r} for the target {target!r} is not known; export the file again"
        )
    if precision == "int8" and target == "onnxruntime":
        # The parser refuses ONNX Runtime's int8 forms (dynamic, or Q/DQ on an FP32 base), or their engines are slower than FP16.
        raise ArtifactError(
            f"{where}: this int8 file was made for onnxruntime, not for TensorRT; export it again: "
            f"{export_command(manifest, version, where)}"
        )
    refuse_unreadable(manifest, version, where)
    typed = target != "tensorrt8" or precision == "fp32"
    if typed:
        return ["--stronglyTyped"] if version[0] == 10 else []
    if version[0] == 11:
        raise ArtifactError(
            f"{where}: this {precision} file was made for TensorRT 8.6 (an FP32 graph that needs --{precision}), and TensorRT "
            f"{version_text(version)} no longer has that flag; export it again: {export_command(manifest, version, where)}"
        )
    return ["--fp16"] if precision == "fp16" else ["--fp16", "--int8"]


def input_spec(manifest: Mapping[str, Any], where: str) -> InputSpec:
    """Return the input specification in the manifest of the ONNX file at `where`.

    Raises ArtifactError if the manifest is incomplete or is not that of an exported ONNX file.
    """
    described = all(isinstance(manifest.get(key), dict) for key in ("input", "output"))
    if manifest.get("kind") != "onnx" or not described:
        raise ArtifactError(
            f"{where}: this is not an exported ONNX file; make one with: python export_onnx.py model.safetensors --out model.onnx"
        )
    return InputSpec.from_json(manifest["input"], f"{where}.json")


def profiles_of(spec: InputSpec, requested: Sequence[Profile]) -> tuple[Profile, ...]:
    """Return the profiles of an engine for the input `spec`: the `requested` ones or, if there are none, DEFAULT_PROFILE.

    If `spec` fixes the batch, the result is one profile of this batch. Raises ConfigError if another batch than the fixed one is
    requested, or if a profile is not 1 <= min <= opt <= max.
    """
    for profile in requested:
        if not 1 <= profile.min <= profile.opt <= profile.max:
            raise ConfigError(
                f"--batch {','.join(map(str, profile))}: give one batch, or min,opt,max in rising order from 1"
            )
    if spec.batch is None:
        return tuple(requested) or (DEFAULT_PROFILE,)
    fixed = Profile(spec.batch, spec.batch, spec.batch)
    if any(profile != fixed for profile in requested):
        raise ConfigError(
            f"--batch: the ONNX file has the fixed batch {spec.batch}; leave --batch out, or export it with --batch dynamic"
        )
    return (fixed,)


def input_shapes(spec: InputSpec, batch: int) -> dict[str, list[int]]:
    """Return {name: shape} of the inputs of `spec` for `batch` images: `images` and, if the model takes them, `camera_ids`."""
    size = [spec.height, spec.width]
    images = [batch, *size, 3] if spec.layout == "uint8-nhwc" else [batch, 3, *size]
    return {"images": images} | ({"camera_ids": [batch]} if spec.camera == "input" else {})


def _shapes(spec: InputSpec, batch: int) -> str:
    """Return the shapes as trtexec takes them: `images:8x256x128x3,camera_ids:8`."""
    return ",".join(f"{name}:{'x'.join(map(str, dims))}" for name, dims in input_shapes(spec, batch).items())


def _shape_flags(spec: InputSpec, profiles: Sequence[Profile], version: Version) -> list[str]:
    if len(profiles) > 1 and version[0] == 8:
        raise ConfigError(
            f"--batch is given {len(profiles)} times, but trtexec of TensorRT {version_text(version)} builds one profile only; "
            "give one --batch, or build one engine per batch with --separate"
        )
    line = []
    for number, profile in enumerate(profiles):
        if len(profiles) > 1:
            line.append(f"--profile={number}")
        # trtexec refuses explicit shapes for a static model, and needs every dynamic input in every list
        line += [f"--{bound}Shapes={_shapes(spec, size)}" for bound, size in zip(Profile._fields, profile)]
    return line


def timing_flags(
    spec: InputSpec, profiles: Sequence[Profile], version: Version, *, transfers: bool
) -> list[str]:
    """Return the trtexec flags that time the `opt` batch of the first profile; with `transfers`, including copies to and from the GPU.

    The defaults of TensorRT 8.6, 10.x and 11.x differ; with these flags, all of them time in the same way.
    """
    line = [f"--shapes={_shapes(spec, profiles[0].opt)}"] if spec.batch is None else []
    if len(profiles) > 1:
        line.append("--useProfile=0")
    return line + latency_flags(version, transfers=transfers)


def latency_flags(version: Version, *, transfers: bool) -> list[str]:
    """Return the trtexec flags for timing with one stream, a CUDA graph and spin wait.

    With `transfers`, the times include the copies to and from the GPU. A flag that is on by default in `version` is left out.
    """
    # trtexec runs one batch ahead on every stream; latency needs one stream
    line = ["--infStreams=1"]
    if version[0] == 11:
        return line + (["--includeDataTransfers"] if transfers else [])
    return line + ["--useCudaGraph", "--useSpinWait"] + ([] if transfers else ["--noDataTransfers"])


def is_supported(version: Version) -> bool:
    """Return whether this project builds and runs engines with this TensorRT version."""
    # 10.0 to 10.2 are left out: no JetPack contains them, the project was not tested with them, and 10.2.0 has a known bug.
    return version[:2] == (8, 6) or (version[:1] == (10,) and version[1:2] >= (3,)) or version[:1] == (11,)


def _refuse_version(version: Version) -> None:
    if not is_supported(version):
        raise ConfigError(
            f"TensorRT {version_text(version)} is not supported; use a supported version: {SUPPORTED}"
        )


def refuse_options(build: BuildRequest) -> None:
    """Raise ConfigError for options that no version of TensorRT accepts."""
    if not 0 <= build.level <= 5:
        raise ConfigError(
            f"--optimization-level {build.level}: give a level from 0 (fast build) to 5 (fast engine)"
        )
    if build.workspace_mib < 1:
        raise ConfigError(
            f"--workspace {build.workspace_mib}: give 1 MiB or more (the default is {WORKSPACE_MIB})"
        )
    if build.engine.suffix in ("", ".onnx", ".safetensors") or build.engine == build.onnx:
        raise ConfigError(f"--out {build.engine}: give the name of the engine's file, such as model.engine")


def _refuse_undocumented(line: Sequence[str], version: Version) -> None:
    for word in line:
        flag = word.split("=", 1)[0]
        if version[0] not in FLAGS[flag]:
            raise ConfigError(
                f"trtexec of TensorRT {version_text(version)} has no flag {flag}; please report this as a bug of this project"
            )
