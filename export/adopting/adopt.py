"""Adopt a foreign ONNX file: read it, test what is stated about its input, and write it as an artifact of this project."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from export.adopting.comparison import Comparison, compare_pixels, labelled
from export.adopting.foreign import INPUT_TYPES, Foreign, read_foreign
from export.adopting.graph import adopted_graph, multiply_adds
from export.adopting.options import AdoptOptions
from export.adopting.original import Original, in_float32, refuse_collapse, with_true_batch
from export.adopting.pixels import CONVENTIONS, RAW
from export.check import Check, check_crops
from export.gate import verdict_on
from export.int8.eval_set import read_eval_set
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
from runtime.artifact import Artifact
from runtime.console import note
from runtime.datasets.published import PUBLISHED
from runtime.errors import ConfigError, GateError
from runtime.files.manifest import tools
from runtime.gate import LIMITS, compare, failures
from runtime.spec import InputSpec

# About how many labelled crops the plausible inputs are compared on. Each of them is run eight times.
LABELLED_COUNT = 300


def adopt(
    path: Path | str,
    out: Path | str,
    options: AdoptOptions,
    *,
    show: Callable[[Comparison], None] = lambda comparison: None,
) -> dict[str, Any]:
    """Adopt the foreign ONNX file `path` as the file `out`, and return the manifest of `out`.

    `show` is called with the comparison of the plausible inputs, if the crops of `options.export.check` have labels.

    Raises GateError, and leaves no file at `out`, if the features of different crops are nearly equal, if another input than the
    stated one is significantly better on crops that the user named, or if the adopted file's features differ too much from the
    original's. With `options.export.gate` False, these are not tested. Raises ConfigError for options that contradict the file or
    each other, and ArtifactError for a file that cannot be adopted.
    """
    path, out, export = Path(path), Path(out), options.export
    refuse_contradictions(path, out, export)
    given = read_foreign(path, output=options.output, layout=options.layout)
    _refuse_pixels(given, options)
    height, width = _size(given, options)
    spec = InputSpec(
        height,
        width,
        mean=options.pixels.mean,
        std=options.pixels.std,
        interpolation=options.interpolation,
        batch=export.input.batch,
    )
    crops = check_crops(export.check, spec, export.check_count)
    stated, given = given.batch, with_true_batch(given, crops, options.pixels)
    if given.batch != stated:
        note(
            f"{path}: says that it takes any batch, but fails with two crops; it is adopted as a file of batch 1"
        )
    foreign = _in_float32(given)
    original = Original(foreign, options.pixels)
    with nothing_after_refusal(out):
        features = original(crops)
        spread = refuse_collapse(features, options.pixels, str(path)) if export.gate else {}
        half = _half_numbers(given, options, crops, features)
        comparison = _comparison(original, spec, options, show) if export.gate else None
    graph, batch = adopted_graph(foreign, options.pixels, spec, dim=features.shape[1])
    if batch != spec.batch:
        note(
            f"{path}: its operators hold the batch {batch}, so the adopted file keeps it; for other batches, export it again "
            "from its own project with a dynamic batch"
        )
        spec = replace(spec, batch=batch)
    _warn_of_classes(given, features.shape[1])
    parent = Artifact(path, {}, spec, features.shape[1], foreign.sha256, original)
    check = Check(crops, np.zeros(len(crops), np.int64), features)
    chosen: ChosenProjection | None = None
    if (data := projection_crops(spec, parent.dim, export)) is not None:
        with nothing_after_refusal(out):
            chosen = choose_projection(graph, parent, spec, data, export, out)
        graph = with_projection(graph, chosen.projection.matrix)
        check = projected_check(check, chosen.projection)
    macs = multiply_adds(graph)
    request = precision_request(spec, export)
    adopted = _provenance(given, options, spread) | {
        "comparison": comparison.to_json() if comparison else None,
        "float16": half,
    }

    def judge(file: Path, exported: ExportedGraph) -> dict[str, Any]:
        if not export.gate:
            return {"passed": None, "off": True}
        verdict = verdict_on(
            check, parent, file, spec, exported, root=export.check, max_map_drop=export.max_map_drop
        )
        return verdict | gate_entry(chosen)

    def contents(exported: ExportedGraph) -> dict[str, Any]:
        manifest = _manifest(parent, exported, spec, macs, options)
        return manifest | {"output": output_entry(parent.dim, chosen), "adopted": adopted}

    def convert() -> ExportedGraph:
        return apply_precision(graph, spec, request, macs=macs, notify=note)

    return write_gated(out, convert, judge, contents, check=check)


def _refuse_pixels(foreign: Foreign, options: AdoptOptions) -> None:
    if foreign.type == TensorProto.UINT8 and (options.pixels.mean, options.pixels.std) != RAW:
        raise ConfigError(
            f"{foreign.path}: its input is uint8, so the model normalises the pixels itself; give --range 255 --mean 0 --std 1"
        )


def _size(foreign: Foreign, options: AdoptOptions) -> tuple[int, int]:
    """Return (height, width): that of the file where it is fixed, else that of the options or of the convention."""
    convention = CONVENTIONS[options.like].size if options.like is not None else None
    stated = options.size or (None if foreign.height and foreign.width else convention)
    sizes = []
    for name, fixed, wanted in zip(
        ("height", "width"), (foreign.height, foreign.width), stated or (None, None)
    ):
        if fixed and wanted and fixed != wanted:
            raise ConfigError(
                f"--size: {foreign.path} takes images of the {name} {fixed}, not {wanted}; leave --size out"
            )
        if not (fixed or wanted):
            raise ConfigError(
                f"{foreign.path}: takes images of any {name}; give --size HEIGHTxWIDTH, such as 256x128"
            )
        sizes.append(fixed or wanted or 0)
    return sizes[0], sizes[1]


def _in_float32(foreign: Foreign) -> Foreign:
    """Return the model with FP32 tensors only. A model without FP16 tensors is returned unchanged."""
    if not foreign.half:
        return foreign
    kind = TensorProto.FLOAT if foreign.type == TensorProto.FLOAT16 else foreign.type
    return replace(foreign, model=in_float32(foreign.model), type=kind)


def _half_numbers(given: Foreign, options: AdoptOptions, crops: Any, features: Any) -> dict[str, Any] | None:
    """Compare the features of a model in FP16 with those in FP32, in which it is adopted; None for a model without FP16."""
    if not given.half:
        return None
    numbers = compare(Original(given, options.pixels)(crops), features, gap=LIMITS["fp16"].gap)
    if options.export.gate and (reasons := failures(numbers, LIMITS["fp16"])):
        raise GateError(
            f"{given.path}: holds FP16 tensors, and gives other features with the same numbers in FP32: {'; '.join(reasons)}; "
            "export it in float32 from its own project"
        )
    note(f"{given.path}: holds FP16 tensors; it is adopted in FP32. For an FP16 file, add --precision fp16")
    return numbers


def _comparison(
    original: Original, spec: InputSpec, options: AdoptOptions, show: Callable[[Comparison], None]
) -> Comparison | None:
    """Compare the plausible inputs on labelled crops and show the result; None without labels.

    Raises GateError if one is significantly better than the stated one and the user named the crops.
    """
    root = options.export.check
    eval_set = read_eval_set(root, spec, count=LABELLED_COUNT)
    if not labelled(eval_set):
        note(
            f"WARNING {root}: has no labels of enough people, so nothing tests that the model takes {original.pixels}; "
            "give --check ROOT with a data set of people in two or more cameras"
        )
        return None
    comparison = compare_pixels(original, eval_set)
    show(comparison)
    better = comparison.better
    if better is None:
        return comparison
    text = (
        f"{original.foreign.path}: with {better.pixels}, its mAP on {root} is {100 * better.map:.1f} %, {better.gain:.1f} points "
        f"more than with the stated {original.pixels} (95 % interval {better.low:.1f} to {better.high:.1f})"
    )
    if not options.stated_check:
        note(
            f"WARNING {text}. These people are rendered: give --check ROOT with labelled crops of your own cameras to be sure"
        )
        return comparison
    raise GateError(
        f"{text}; if the model was trained so, give {better.pixels.options()}, else --gate off writes the file all the same"
    )


def _warn_of_classes(foreign: Foreign, dim: int) -> None:
    for layout, editions in PUBLISHED.items():
        if any(edition["train"][1] == dim for edition in editions):
            note(
                f"WARNING {foreign.path}: its output {foreign.output} has {dim} values, as many as {layout} has training identities; "
                "if these are class scores, name the embedding with --output-name, or export the model without its classifier"
            )


def _provenance(foreign: Foreign, options: AdoptOptions, spread: dict[str, float]) -> dict[str, Any]:
    return {
        "file": foreign.path.name,
        "external": foreign.external,
        "like": options.like,
        "source": CONVENTIONS[options.like].source if options.like is not None else None,
        "pixels": asdict(options.pixels),
        "input": {"name": foreign.input, "type": INPUT_TYPES[foreign.type], "layout": foreign.layout},
        "output": foreign.output,
        "batch": foreign.batch,
        "opset": foreign.opset,
        **spread,
    }


def _manifest(
    parent: Artifact, exported: ExportedGraph, spec: InputSpec, macs: int, options: AdoptOptions
) -> dict[str, Any]:
    graph = exported.graph
    stored = sum(math.prod(tensor.dims) for tensor in graph.graph.initializer)
    return {
        "kind": "onnx",
        "parent": parent.sha256,
        "precision": exported.precision,
        "form": "adopted",
        "target": options.export.target,
        "opset": max(opset.version for opset in graph.opset_import if opset.domain == ""),
        "ir_version": graph.ir_version,
        "input": spec.to_json(),
        "macs": {"macs_reference": macs},
        "params": stored,
        "stored_values": stored,
        "nodes": {
            "simplified": len(graph.graph.node),
            "operators": dict(Counter(node.op_type for node in graph.graph.node)),
        },
        **exported.report,
        "tools": tools("onnx", "onnxslim", "onnxruntime", "numpy", "Pillow"),
    }
