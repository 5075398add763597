"""What a TensorRT library is told for one build, by what the library has: one path from 8.6 to 11 and TensorRT-RTX.

Every function takes the library (`trt`) or its objects; none imports one.
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

# TensorRT-RTX takes what TensorRT 11 takes: typed files, nothing else.
RTX_RULES: Version = (11,)
PARSER_ERRORS = 3


@dataclass(frozen=True)
class Asked:
    """The job of one build: `manifest` is the ONNX file's, `profiles` are not used where that file has a fixed batch."""

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
        """The inputs that the manifest promises."""
        return input_spec(self.manifest, str(self.onnx))

    @property
    def ahead_of_time(self) -> bool:
        """Whether the library builds without a GPU."""
        return self.flavour == "tensorrt_rtx"

    @property
    def again(self) -> str:
        """What to run where the library does not take this file."""
        old = self.manifest.get("target") == "tensorrt8" and not self.ahead_of_time
        return (
            f"export it again: {export_command(self.manifest, (8, 6) if old else RTX_RULES, str(self.onnx))}"
        )

    def precision_flags(self, version: str) -> list[str]:
        """`--fp16`, `--int8` where flags make the precision, by trtexec's rules; UserError where this library cannot build it."""
        if self.ahead_of_time:
            try:
                return precision_flags(self.manifest, RTX_RULES, str(self.onnx))
            except ArtifactError as error:
                raise ArtifactError(f"{error} (TensorRT-RTX takes what TensorRT 11 takes)") from None
        # 10.3.0.26.post1 -> 10.3.0.26
        number = parse_version(".".join(version.split(".")[:4]))
        if not is_supported(number):
            raise ConfigError(f"TensorRT {version} is not supported; supported: {SUPPORTED}")
        return precision_flags(self.manifest, number, str(self.onnx))


def read_asked(job: dict[str, Any]) -> Asked:
    """The job as `engines.python.builders` writes it."""
    cache = job["timing_cache"]
    return Asked(
        **job
        | {
            "onnx": Path(job["onnx"]),
            "engine": Path(job["engine"]),
            "profiles": [Profile(*profile) for profile in job["profiles"]],
            "timing_cache": Path(cache) if cache else None,
        }
    )


def create_network(trt: Any, builder: Any, *, typed: bool) -> tuple[Any, list[str]]:
    """(an empty network, the names of its flags): explicit batch where that is a choice, strong typing for a typed file."""
    wanted = ["EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if typed else [])]
    kinds = trt.NetworkDefinitionCreationFlag
    names = [name for name in wanted if hasattr(kinds, name)]
    return builder.create_network(sum(1 << int(getattr(kinds, name)) for name in names)), names


def parser_errors(parser: Any) -> list[str]:
    """The parser's first complaints, each with its node where the library knows that."""
    found = []
    for index in range(min(parser.num_errors, PARSER_ERRORS)):
        error = parser.get_error(index)
        # 8.6 counts nodes only
        name, kind = (getattr(error, key, str)() for key in ("node_name", "node_operator"))
        place = f"node {name or error.node()}" if name or error.node() >= 0 else "the file"
        found.append(f"{place}{f' [{kind}]' if kind else ''}: {error.desc()}")
    return found


def refuse_other_network(network: Any, asked: Asked) -> None:
    """ArtifactError unless the parsed network takes what the manifest says and gives `features`."""
    spec = asked.spec
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    found = {tensor.name: list(tensor.shape) for tensor in inputs}
    expected = input_shapes(spec, -1 if spec.batch is None else spec.batch)
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
    if found != expected or outputs != ["features"]:
        raise ArtifactError(
            f"{asked.onnx}: takes {found} and gives {outputs}, its manifest says {expected} and ['features']; {asked.again}"
        )


def configure(
    trt: Any, builder: Any, config: Any, network: Any, asked: Asked, flags: Sequence[str]
) -> list[str]:
    """Tell `config` all that was asked for; the words that describe it. ConfigError for what the library refuses."""
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, asked.workspace_mib << 20)
    config.builder_optimization_level = asked.level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    words = [f"workspace_mib={asked.workspace_mib}", f"builder_optimization_level={asked.level}"]
    for name in builder_flags(flags, version_compatible=asked.version_compatible):
        config.set_flag(getattr(trt.BuilderFlag, name))
        words.append(name)
    if asked.timing_cache is not None:
        _read_timing_cache(config, asked.timing_cache)
    names = capability_names(trt, asked.compute_capabilities, asked.flavour)
    if names:
        config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    return words + names + _add_profiles(builder, config, network, asked)


def builder_flags(flags: Sequence[str], *, version_compatible: bool) -> list[str]:
    """Names of the builder's flags for trtexec's precision flags (`--fp16` -> FP16)."""
    names = [flag.removeprefix("--").upper() for flag in flags if flag in ("--fp16", "--int8")]
    return names + (["VERSION_COMPATIBLE"] if version_compatible else [])


def capability_names(trt: Any, capabilities: Sequence[str], flavour: str) -> list[str]:
    """`8.6` -> `SM86`; ConfigError for one that the library cannot build for, with those it can."""
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
            "for other GPUs build on the device: --builder trtexec"
        )
    return [known[capability] for capability in capabilities]


def _read_timing_cache(config: Any, path: Path) -> None:
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        raise ConfigError(
            f"--timing-cache {path}: of another TensorRT or GPU, or damaged; remove it or name another"
        )


def _add_profiles(builder: Any, config: Any, network: Any, asked: Asked) -> list[str]:
    """One optimisation profile per asked range of batches; none for a file of a fixed batch."""
    spec = asked.spec
    if spec.batch is not None:
        return [f"batch={spec.batch}"]
    words = []
    for sizes in asked.profiles:
        profile = builder.create_optimization_profile()
        by_size = [input_shapes(spec, size) for size in sizes]
        for index in range(network.num_inputs):
            name = network.get_input(index).name
            profile.set_shape(name, *(tuple(shapes[name]) for shapes in by_size))
        if config.add_optimization_profile(profile) < 0:
            raise ConfigError(f"--batch {','.join(map(str, sizes))}: TensorRT refuses this profile")
        words.append(f"profile={','.join(map(str, sizes))}")
    return words
