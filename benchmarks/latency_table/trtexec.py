"""Time transformer blocks with trtexec for a latency table of TensorRT on a desktop GPU or a Jetson.

The time of a block is trtexec's median GPU compute time, without copies, because no data leaves the GPU between two blocks of a
model. This module has not been run on a GPU so far.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.trtexec.command import (
    SUPPORTED,
    BuildRequest,
    Profile,
    input_spec,
    is_supported,
    latency_flags,
    precision_flags,
    trtexec_line,
    version_text,
)
from engines.trtexec.load import EngineProfile, load_line
from engines.trtexec.output import Report, parse
from engines.trtexec.run import failure, find_trtexec, run, trtexec_version
from runtime.backends.tensorrt.compat import LEVEL, WORKSPACE_MIB
from runtime.console import note
from runtime.errors import ArtifactError, ConfigError, UserError
from runtime.files.manifest import read_manifest, replacing
from runtime.spec import InputSpec
from runtime.wording import reason_of

Version = tuple[int, ...]
ENGINE = "tensorrt"
# The seconds that trtexec measures, and those that it may take to build the engine first.
SECONDS, BUILDING_S = 3, 3600


@dataclass(frozen=True)
class Target:
    """The path of `trtexec` with its `version` of TensorRT, the `batch` size to measure, and the file of its timing cache, `cache`."""

    trtexec: Path
    version: Version
    batch: int
    cache: Path

    def about(self) -> dict[str, Any]:
        """Return {engine, tensorrt}, which the latency table records: the backend's name and the TensorRT version, such as `10.3`."""
        return {"engine": ENGINE, "tensorrt": version_text(self.version)}

    @property
    def log(self) -> Path:
        """The path of the file, beside the latency table, that receives the output of a trtexec run that fails."""
        return self.cache.with_suffix(".trtexec.log")


def engine_path(out: Path, same: Mapping[str, Any]) -> Path:
    """Return the path, beside the table `out`, for the engine of the whole model. The engine is deleted when the table is finished.

    `same` has the properties of the model, the GPU and TensorRT that must not change during the measurement. The name contains a hash
    of them, so that the engine of another model, GPU or TensorRT version is never used.
    """
    name = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:12]
    return out.with_suffix(f".{name}.engine")


def open_target(out: Path, batch: int) -> Target:
    """Find the trtexec of this machine, and return it with `batch` and a timing cache beside the latency table `out`.

    Raises DeviceError or ConfigError if this machine has no trtexec, or one with an unsupported TensorRT version.
    """
    trtexec = find_trtexec()
    version = trtexec_version(trtexec)
    if not is_supported(version):
        raise ConfigError(
            f"{trtexec}: TensorRT {version_text(version)} is not supported; set TRTEXEC to the trtexec of TensorRT {SUPPORTED}"
        )
    return Target(trtexec, version, batch, out.with_suffix(".timing-cache"))


def block_line(
    block: Path, manifest: Mapping[str, Any], index: Mapping[str, Any], target: Target
) -> list[str]:
    """Return the trtexec command line that builds and times the exported block at `block`.

    `manifest` is that of the whole model, and gives the precision. `index` is the index of the model's blocks, and gives the size of
    the block's input.
    """
    dims = f"x:{target.batch}x{index['tokens']}x{index['width']}"
    return [
        "trtexec",
        f"--onnx={block}",
        *precision_flags(manifest, target.version, str(block)),
        f"--memPoolSize=workspace:{WORKSPACE_MIB}",
        f"--builderOptimizationLevel={LEVEL}",
        f"--timingCacheFile={target.cache}",
        *(f"--{bound}Shapes={dims}" for bound in Profile._fields),
        f"--shapes={dims}",
        *latency_flags(target.version, transfers=False),
        f"--duration={SECONDS}",
    ]


def model_line(model: Path, manifest: Mapping[str, Any], engine: Path, target: Target) -> list[str]:
    """Return the trtexec command line that builds the ONNX file `model` into the file `engine`, as `engines build` does.

    The engine runs only the batch size of `target`. Raises ConfigError if the model has another fixed batch size.
    """
    spec = input_spec(manifest, str(model))
    profile = Profile(target.batch, target.batch, target.batch)
    if spec.batch not in (None, target.batch):
        raise ConfigError(
            f"--batch {target.batch}: {model} has a fixed batch size of {spec.batch}; give --batch {spec.batch}"
        )
    profiles = () if spec.batch else (profile,)
    return trtexec_line(
        manifest, target.version, BuildRequest(model, engine, profiles, timing_cache=target.cache)
    )


@dataclass(frozen=True)
class Sampler:
    """A callable that times the whole model and some of its blocks with the trtexec of `target`.

    A call takes a list of entries of `index`, the index of the model's blocks (see `benchmarks.latency_table.blocks.read_index`). It
    returns a list of median times in ms: of the whole model, of the unpruned block, and of the block of each entry. The whole model is
    the ONNX file `model`. Its engine is built once and kept in the file `engine`.
    """

    model: Path
    index: Mapping[str, Any]
    target: Target
    engine: Path

    def __call__(self, group: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return the median GPU times in ms of the whole model, of the unpruned block, and of each block in `group`.

        `group` has entries of the index. Raises a UserError if trtexec fails.
        """
        manifest = read_manifest(self.model)
        spec = InputSpec.from_json(manifest["input"], f"{self.model}.json")
        if not self.engine.exists():
            with replacing(self.engine) as temporary:
                self._run(model_line(self.model, manifest, temporary, self.target))
        whole = load_line(
            spec,
            EngineProfile(self.engine, 0, 1),
            self.target.batch,
            self.target.version,
            transfers=False,
            seconds=SECONDS,
        )
        folder = Path(f"{self.model}.blocks")
        points = [self.index["grid"][0], *group]
        blocks = [block_line(folder / point["file"], manifest, self.index, self.target) for point in points]
        try:
            model_ms = self._median(whole)
        except UserError:
            # An engine that cannot be loaded is deleted, so that the next run builds it again.
            self.engine.unlink(missing_ok=True)
            raise
        return [model_ms, *map(self._median, blocks)]

    def _median(self, line: Sequence[str]) -> float:
        compute = self._run(line).gpu_compute
        if compute is None:
            command = shlex.join([str(self.target.trtexec), *line[1:]])
            raise ArtifactError(f"{line[1]}: trtexec printed no GPU compute time; to see why, run {command}")
        return compute.median

    def _run(self, line: Sequence[str]) -> Report:
        code, text = run(self.target.trtexec, line, timeout_s=BUILDING_S)
        report, file = parse(text), Path(line[1].partition("=")[2])
        if code != 0 or report.passed is not True:
            self.target.log.write_text(f"{shlex.join(line)}\n{text}")
            raise refusal(report, code, file, self.target.log)
        if report.graph_refused:
            note(f"WARNING {file.name}: trtexec used no CUDA graph, so the times include kernel launches")
        if report.unstable_percent is not None:
            note(
                f"WARNING {file.name}: the times vary by {report.unstable_percent:.1f} %; lock the GPU's clocks with "
                "jetson_clocks or nvidia-smi -lgc, then measure again"
            )
        return report


def refusal(report: Report, code: int, file: Path, log: Path) -> UserError:
    """Return the error to raise if trtexec failed on `file`.

    The command `python -m engines build` runs trtexec too. The error has the type and exit code that this command gives for the same
    failure. `report` and `code` are trtexec's parsed output and exit status, and its whole output is in the file `log`.
    """
    if code < 0:
        reason = f"killed by {signal.Signals(-code).name}"
    else:
        reason = reason_of(report.failure_reason()) or f"exit status {code} without a reason"
    kind = type(failure(report, code, file))
    return kind(f"{file}: trtexec failed ({reason}); read {log}, then run the same command to continue")
