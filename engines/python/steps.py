"""The steps of one build with a TensorRT library, the same for TensorRT 8.6 to 11 and TensorRT-RTX.

The functions get the library (`trt`) or its objects as parameters and import no library. If a version of the library lacks something,
they do without it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.onnx_compat import Version, export_command
from engines.trtexec.command import (
    SUPPORTED,
    Profile,
    input_shapes,
    input_spec,
    is_supported,
    parse_version,
    precision_flags,
)
from runtime.errors import ArtifactError, ConfigError
from runtime.spec import InputSpec

# TensorRT-RTX takes the same files as TensorRT 11: only those in which the types of the tensors fix the precision.
RTX_RULES: Version = (11,)
PARSER_ERRORS = 3


@dataclass(frozen=True)
class ChildJob:
    """The description of one build that the child process receives.

    `flavour` is the library, "tensorrt" or "tensorrt_rtx". `manifest` is that of the ONNX file. `profiles` are ignored for a file with
    a fixed batch. `compute_capabilities`, such as ["8.6"], are those of the GPUs for which TensorRT-RTX builds; [] lets it choose. The
    other fields are those of `engines.trtexec.command.BuildRequest`.
    """

    flavour: str
    onnx: Path
    engine: Path
    manifest: dict[str, Any]
    profiles: list[Profile]
    workspace_mib: int
    level: int
    timing_cache: Path | None
    version_compatible: bool
    compute_capabilities: list[str]

    @property
    def spec(self) -> InputSpec:
        """The input specification of the model, from its manifest."""
        return input_spec(self.manifest, str(self.onnx))

    @property
    def ahead_of_time(self) -> bool:
        """Whether the library builds ahead of time, without a GPU: True for TensorRT-RTX, False for TensorRT."""
        return self.flavour == "tensorrt_rtx"

    @property
    def export_advice(self) -> str:
        """The instruction `export it again: COMMAND`, for an error about an ONNX file that the library cannot read."""
        for_8 = self.manifest.get("target") == "tensorrt8" and not self.ahead_of_time
        version = (8, 6) if for_8 else RTX_RULES
        return f"export it again: {export_command(self.manifest, version, str(self.onnx))}"

    def precision_flags(self, version: str) -> list[str]:
        """Return the precision of the build as trtexec's flags (`engines.trtexec.command.precision_flags`).

        `version` is the version of the library. Raises a UserError if this library cannot build the file.
        """
        if self.ahead_of_time:
            try:
                return precision_flags(self.manifest, RTX_RULES, str(self.onnx))
            except ArtifactError as error:
                raise ArtifactError(f"{error} (TensorRT-RTX takes the same files as TensorRT 11)") from None
        # 10.3.0.26.post1 -> 10.3.0.26
        number = parse_version(".".join(version.split(".")[:4]))
        if not is_supported(number):
            raise ConfigError(f"TensorRT {version} is not supported; use a supported version: {SUPPORTED}")
        return precision_flags(self.manifest, number, str(self.onnx))


def read_job(document: dict[str, Any]) -> ChildJob:
    """Return `document` as a ChildJob. It is the parsed JSON that `engines.python.builders` sends to the child process."""
    cache = document["timing_cache"]
    return ChildJob(
        **document
        | {
            "onnx": Path(document["onnx"]),
            "engine": Path(document["engine"]),
            "profiles": [Profile(*profile) for profile in document["profiles"]],
            "timing_cache": Path(cache) if cache else None,
        }
    )


def create_network(trt: Any, builder: Any, *, typed: bool) -> tuple[Any, list[str]]:
    """Return (an empty network of `builder`, the names of its flags). `trt` is the library, and `builder` a `trt.Builder`.

    The flags are EXPLICIT_BATCH and, with `typed`, STRONGLY_TYPED, which means that the types in the ONNX graph fix the precision. A
    flag that this version of TensorRT does not have is left out.
    """
    wanted = ["EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if typed else [])]
    flags = trt.NetworkDefinitionCreationFlag
    names = [name for name in wanted if hasattr(flags, name)]
    return builder.create_network(sum(1 << int(getattr(flags, name)) for name in names)), names


def parser_errors(parser: Any) -> list[str]:
    """Return the first PARSER_ERRORS errors of a `trt.OnnxParser`, one text each, with the node if the library names it."""
    errors = []
    for index in range(min(parser.num_errors, PARSER_ERRORS)):
        error = parser.get_error(index)
        # 8.6 gives only the node's number
        name, operator = (getattr(error, key, str)() for key in ("node_name", "node_operator"))
        where = f"node {name or error.node()}" if name or error.node() >= 0 else "the file"
        errors.append(f"{where}{f' [{operator}]' if operator else ''}: {error.desc()}")
    return errors


def refuse_other_network(network: Any, job: ChildJob) -> None:
    """Raise ArtifactError unless the parsed `network` has the inputs in the manifest of `job`, and `features` as its only output."""
    spec = job.spec
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {tensor.name: list(tensor.shape) for tensor in inputs}
    expected = input_shapes(spec, -1 if spec.batch is None else spec.batch)
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
    if shapes != expected or outputs != ["features"]:
        raise ArtifactError(
            f"{job.onnx}: the network has the inputs {shapes} and the outputs {outputs}, but the manifest says {expected} and "
            f"['features']; {job.export_advice}"
        )


def configure(
    trt: Any, builder: Any, config: Any, network: Any, job: ChildJob, flags: Sequence[str]
) -> list[str]:
    """Apply the options of `job` to the builder's `config`, and return texts that describe them in the manifest.

    `trt` is the library, and `network` the parsed one. `flags` are trtexec's precision flags, such as --fp16. Raises ConfigError for
    an option that the library refuses.
    """
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace_mib << 20)
    config.builder_optimization_level = job.level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    settings = [f"workspace_mib={job.workspace_mib}", f"builder_optimization_level={job.level}"]
    for name in builder_flags(flags, version_compatible=job.version_compatible):
        config.set_flag(getattr(trt.BuilderFlag, name))
        settings.append(name)
    if job.timing_cache is not None:
        _read_timing_cache(config, job.timing_cache)
    names = capability_names(trt, job.compute_capabilities, job.flavour)
    if names:
        config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    return settings + names + _add_profiles(builder, config, network, job)


def builder_flags(flags: Sequence[str], *, version_compatible: bool) -> list[str]:
    """Return the names in `trt.BuilderFlag` for trtexec's precision flags (`--fp16` -> FP16) and for a version-compatible build."""
    names = [flag.removeprefix("--").upper() for flag in flags if flag in ("--fp16", "--int8")]
    return names + (["VERSION_COMPATIBLE"] if version_compatible else [])


def capability_names(trt: Any, capabilities: Sequence[str], flavour: str) -> list[str]:
    """Return the names that the library `trt` has for compute capabilities (`8.6` -> `SM86`). `flavour` is the library's name.

    Raises ConfigError for one that the library does not support; the message lists the supported ones.
    """
    if not capabilities:
        return []
    known = {
        f"{name[2:-1]}.{name[-1]}": name
        for name in trt.ComputeCapability.__members__
        if re.fullmatch(r"SM\d{2,3}", name)
    }
    if unknown := [capability for capability in capabilities if capability not in known]:
        raise ConfigError(
            f"--compute-capability {','.join(unknown)}: {flavour} {trt.__version__} builds for {', '.join(known)}; "
            "for other GPUs build on the device with --builder trtexec"
        )
    return [known[capability] for capability in capabilities]


def _read_timing_cache(config: Any, path: Path) -> None:
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        raise ConfigError(
            f"--timing-cache {path}: the file is damaged or belongs to another TensorRT or GPU; remove it or name another file"
        )


def _add_profiles(builder: Any, config: Any, network: Any, job: ChildJob) -> list[str]:
    """Add one optimisation profile for each of the job's profiles, none for a fixed batch; return texts that describe them."""
    spec = job.spec
    if spec.batch is not None:
        return [f"batch={spec.batch}"]
    settings = []
    for sizes in job.profiles:
        profile = builder.create_optimization_profile()
        by_size = [input_shapes(spec, size) for size in sizes]
        for index in range(network.num_inputs):
            name = network.get_input(index).name
            profile.set_shape(name, *(tuple(shapes[name]) for shapes in by_size))
        if config.add_optimization_profile(profile) < 0:
            raise ConfigError(
                f"--batch {','.join(map(str, sizes))}: TensorRT refuses this profile; give other batch sizes"
            )
        settings.append(f"profile={','.join(map(str, sizes))}")
    return settings
