"""Write an exported graph with its check crops and its manifest, only if its gate passes. Does not know where the graph is from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import onnx

from export.check import Check, save_check
from export.int8.calibration import calibration_set
from export.options import SHIPPED, ExportOptions
from export.precision import ExportedGraph, PrecisionRequest, read_latencies
from runtime.console import note
from runtime.datasets import guess_layout
from runtime.errors import ConfigError, GateError
from runtime.files.manifest import manifest_path, replacing, write_manifest
from runtime.spec import InputSpec
from runtime.stopping import deferred


def write_gated(
    out: Path,
    convert: Callable[[], ExportedGraph],
    judge: Callable[[Path, ExportedGraph], dict[str, Any]],
    contents: Callable[[ExportedGraph], dict[str, Any]],
    *,
    check: Check | None,
) -> dict[str, Any]:
    """Write the graph that `convert` returns to `out`, with check crops and manifest, and return the manifest.

    `judge` returns the verdict of the gate on a written graph, {passed, failures, ...}. If the gate fails, the graph's `fallback`
    is tried until it has none. `contents` returns the manifest without the entries `gate` and `check`. `check` are the check
    crops to save (None: none).

    Raises GateError when the gate fails; then neither `out` nor an older file in its place exists afterwards. After an
    interruption, an older file is kept.
    """
    with nothing_after_refusal(out):
        exported = convert()
    try:
        with ExitStack() as committing:
            with replacing(out) as temporary:
                onnx.save(exported.graph, temporary)
                verdict = judge(temporary, exported)
                while verdict["passed"] is False and exported.fallback is not None:
                    # The gate may refuse an accepted choice of INT8 groups: it uses other images, and FP16 in the rest of the graph.
                    exported = exported.fallback(verdict["failures"])
                    onnx.save(exported.graph, temporary)
                    verdict = judge(temporary, exported)
                if verdict["passed"] is False:
                    raise GateError(
                        f"{out}: not written, because its features differ too much from the original model's: "
                        f"{'; '.join(verdict['failures'])}; --gate off writes the file all the same"
                    )
                manifest = contents(exported)
                # From here until all files are written, files of an older export may lie beside new ones, so a stop is deferred.
                committing.enter_context(deferred())
                # The check crops of an older export must not be taken for those of this one.
                check_path(out).unlink(missing_ok=True)
                saved = save_check(check_path(out), check) if check is not None else None
            return write_manifest(out, manifest | {"gate": verdict, "check": saved})
    except Exception:
        # Neither a partial result nor an older file may be taken for this export. A stopped export keeps the older file.
        _remove(out)
        raise


@contextmanager
def nothing_after_refusal(out: Path) -> Iterator[None]:
    """Remove the file `out`, its manifest and its check crops when the block raises GateError: no older file may be taken for it."""
    try:
        yield
    except GateError:
        _remove(out)
        raise


def _remove(out: Path) -> None:
    for file in (out, manifest_path(out), check_path(out)):
        file.unlink(missing_ok=True)


def check_path(out: Path) -> Path:
    """Return the path of the .npz file with the check crops of the exported file `out`."""
    return Path(f"{out}.check.npz")


def refuse_contradictions(source: Path | str, out: Path, options: ExportOptions) -> None:
    """Raise ConfigError if `out` cannot be the result of an export of the file `source`, or if options contradict each other."""
    if out.resolve() == Path(source).resolve() or out.suffix == ".safetensors":
        raise ConfigError(f"--out {out}: give an .onnx file, not the model itself")
    if out.is_dir():
        raise ConfigError(f"--out {out}: this is a folder; give an .onnx file")
    if options.check_count < 3:
        raise ConfigError(
            f"--check-count {options.check_count}: the gate needs at least 3 images; give 3 or more"
        )
    if options.max_map_drop is not None:
        if not options.gate or not math.isfinite(options.max_map_drop):
            raise ConfigError(
                f"--max-map-drop {options.max_map_drop}: give a finite number, and not --gate off, which skips the mAP check"
            )
        _refuse_unknown_layout(options.check, "--max-map-drop")
    if (options.dim is None) != (options.projection_data is None):
        given, missing = (
            ("--projection-data", "--dim K") if options.dim is None else ("--dim", "--projection-data DIR")
        )
        raise ConfigError(f"{given}: a projection needs both options; add {missing}, or leave {given} out")
    if options.dim is not None and options.dim < 1:
        raise ConfigError(f"--dim {options.dim}: give 1 or more, such as 128")
    if options.dim is not None and options.gate:
        _refuse_unknown_layout(options.check, "--dim")
    if options.latency_table is not None and options.precision != "int8":
        raise ConfigError("--latency-table: the table only applies to INT8; add --precision int8")
    if options.latency_table is not None and not options.gate:
        raise ConfigError(
            "--latency-table: with --gate off every group becomes INT8; leave one of the two options out"
        )
    if options.calibration is not None and options.precision == "fp32":
        raise ConfigError(
            "--calibration: fp32 needs no calibration; leave --calibration out, or add --precision fp16 or int8"
        )


def _refuse_unknown_layout(root: Path, option: str) -> None:
    try:
        guess_layout(str(root))
    except ConfigError as error:
        reason = str(error).partition(";")[0]
        raise ConfigError(
            f"{option}: {reason}; give --check a data set with one of the known layouts"
        ) from None


def precision_request(spec: InputSpec, options: ExportOptions) -> PrecisionRequest:
    """Return the precision that `options` request, with the calibration images read; `spec` is the input of the exported file."""
    saved_ms = read_latencies(options.latency_table) if options.latency_table else None
    images = None
    if options.precision != "fp32":
        root = options.calibration or options.check
        images = calibration_set(root, spec, count=options.calibration_count)
    if options.precision != "fp32" and options.calibration is None and options.check == SHIPPED:
        note(
            "WARNING value ranges are measured on the rendered people that ship with the project; give --calibration DIR with crops "
            "from your own cameras"
        )
    return PrecisionRequest(
        precision=options.precision,
        target=options.target,
        calibration=images,
        check=options.check,
        max_map_drop=options.max_map_drop,
        saved_ms=saved_ms,
        gated=options.gate,
    )
