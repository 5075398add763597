"""Export a model: build the graph, convert its precision, check it, and write it only if the gate passes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import onnx

from export.check import Check, check_crops, make_check
from export.folding.pixels import rescaled
from export.forms import Folded, Reference, camera_row
from export.gate import verdict_on
from export.graph import fusible_gelu, named_batch, prove_static, simplified, to_onnx, with_batch
from export.integrations.table import integration_input
from export.options import ExportOptions, InputOptions
from export.precision import ExportedGraph, apply_precision
from export.projection.choose import (
    ChosenProjection,
    choose_projection,
    gate_entry,
    output_entry,
    projected_check,
    projection_crops,
)
from export.projection.graph import with_projection
from export.writing import nothing_after_refusal, precision_request, refuse_contradictions, write_gated
from prune.model.flops import flops_report
from prune.model.transreid import TransReID
from prune.session import open_torch_model
from runtime.artifact import Artifact
from runtime.console import note
from runtime.errors import ConfigError, UserError
from runtime.files.manifest import tools
from runtime.spec import InputSpec

FORMS = {"folded": Folded, "reference": Reference}


def deployed_spec(spec: InputSpec, options: InputOptions) -> InputSpec:
    """Return the input specification of the exported file, made from that of the torch model, `spec`, and from the `options`.

    Raises ConfigError when the options name a camera but the model has no camera embedding, or when they contradict the input that
    the program `options.integration` (triton or deepstream) sends to the model.
    """
    default = "mean" if options.integration else "input"
    policy = options.camera if options.camera is not None else (default if spec.cameras else "none")
    if not spec.cameras and policy != "none":
        raise ConfigError(f"--camera {policy}: this model has no camera embedding; leave --camera out")
    chosen = dataclasses.replace(spec, layout=options.layout, camera=policy, batch=options.batch)
    return integration_input(chosen, options.integration) if options.integration else chosen


def build_graph(model: TransReID, spec: InputSpec, form: str) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return `model` as a simplified ONNX model, and the node counts of this ONNX model.

    `form` is "folded" or "reference" (see `export.forms`). `spec` is the input of the exported file. The counts are {exported,
    simplified, operators}: the number of nodes before and after the simplification, and {operator: number of nodes}. A fixed batch
    is set last, so that the nodes are the same as with a dynamic batch. Raises ArtifactError if a shape other than the batch is not
    static.
    """
    raw = to_onnx(FORMS[form](model, spec), spec)
    graph = named_batch(fusible_gelu(simplified(raw)))
    if spec.batch is not None:
        graph = with_batch(graph, spec.batch)
    operators = prove_static(graph)
    return graph, {
        "exported": len(raw.graph.node),
        "simplified": len(graph.graph.node),
        "operators": dict(operators),
    }


def parent_check(parent: Artifact, model: TransReID, spec: InputSpec, options: ExportOptions) -> Check:
    """Return the check of an export: crops of the data set or folder `options.check`, with the features of the torch model.

    `model` is the torch model, and `parent` runs it. `spec` is the input of the exported file; if it fixes a camera, all crops use
    this camera.
    """
    row = None if spec.camera == "input" or not spec.cameras else camera_row(model.architecture, spec.camera)
    return make_check(
        check_crops(options.check, parent.spec, options.check_count), parent.run, parent.spec, row
    )


def export(weights: Path | str, out: Path | str, options: ExportOptions | None = None) -> dict[str, Any]:
    """Export the model.safetensors `weights` to the ONNX file `out`, and return the manifest of this file.

    Raises GateError when the features of the file differ too much from the torch model's; then `out` does not exist afterwards, not
    even if it held an older export. If `options.gate` is False, nothing is compared. The manifest then records null as the verdict,
    and the runtime refuses the file by default. Raises ConfigError, and changes no file, when the options contradict each other.
    """
    options, out = options or ExportOptions(), Path(out)
    refuse_contradictions(weights, out, options)
    parent, model = open_torch_model(weights)
    spec = deployed_spec(parent.spec, options.input)
    if spec.cameras:
        # A camera that the model does not have is refused before anything else happens.
        camera_row(model.architecture, "mean" if spec.camera == "input" else spec.camera)
    crops = projection_crops(spec, parent.dim, options)
    request = precision_request(spec, options)
    check = _check(parent, model, spec, options)
    # `rescaled` returns the model itself unless --for sends pixels with another mean and std.
    graph, nodes = build_graph(rescaled(model, parent.spec, spec), spec, options.form)
    macs = int(flops_report(model.architecture)[f"macs_{options.form}"])
    chosen: ChosenProjection | None = None
    if crops is not None:
        with nothing_after_refusal(out):
            chosen = choose_projection(graph, parent, spec, crops, options, out)
        graph = with_projection(graph, chosen.projection.matrix)
        check = check and projected_check(check, chosen.projection)
        nodes |= {"simplified": len(graph.graph.node), "operators": dict(prove_static(graph))}

    def judge(path: Path, exported: ExportedGraph) -> dict[str, Any]:
        return _verdict(check, parent, path, spec, options, exported) | gate_entry(chosen)

    def contents(exported: ExportedGraph) -> dict[str, Any]:
        if exported.precision != "fp32" or options.target != "onnxruntime":
            nodes["operators"] = dict(prove_static(exported.graph))
        return manifest_of(parent, model, exported, nodes, spec, options, chosen=chosen)

    def convert() -> ExportedGraph:
        return apply_precision(graph, spec, request, macs=macs, notify=note)

    return write_gated(out, convert, judge, contents, check=check)


def manifest_of(
    parent: Artifact,
    model: TransReID,
    exported: ExportedGraph,
    nodes: dict[str, Any],
    spec: InputSpec,
    options: ExportOptions,
    *,
    chosen: ChosenProjection | None = None,
) -> dict[str, Any]:
    """Return the manifest of the exported file, a dict of JSON values, without the entries `gate` and `check`.

    `model` is the torch model, and `parent` its artifact. `exported` is the converted graph, `nodes` are the counts of `build_graph`,
    `spec` is the input of the file, and `chosen` is its projection.
    """
    numbers, graph = flops_report(model.architecture), exported.graph
    return {
        "kind": "onnx",
        "parent": parent.sha256,
        "precision": exported.precision,
        "form": options.form,
        "target": options.target,
        "opset": max(opset.version for opset in graph.opset_import if opset.domain == ""),
        "ir_version": graph.ir_version,
        "input": spec.to_json(),
        "output": output_entry(parent.dim, chosen),
        "shape": model.architecture.to_json(),
        "macs": {key: value for key, value in numbers.items() if key.startswith("macs")},
        "params": numbers["params"],
        "stored_values": sum(math.prod(tensor.dims) for tensor in graph.graph.initializer),
        "nodes": nodes,
        **exported.report,
        "tools": tools("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy", "Pillow"),
    }


def _check(parent: Artifact, model: TransReID, spec: InputSpec, options: ExportOptions) -> Check | None:
    try:
        return parent_check(parent, model, spec, options)
    except UserError as error:
        if options.gate:
            raise
        note(
            f"WARNING no check crops are saved with the file, so an engine built from it cannot be verified: {error}"
        )
        return None


def _verdict(
    check: Check | None,
    parent: Artifact,
    path: Path,
    spec: InputSpec,
    options: ExportOptions,
    exported: ExportedGraph,
) -> dict[str, Any]:
    if check is None or not options.gate:
        return {"passed": None, "off": True}
    return verdict_on(
        check, parent, path, spec, exported, root=options.check, max_map_drop=options.max_map_drop
    )
