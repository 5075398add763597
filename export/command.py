"""`python export_onnx.py`: model.safetensors in, one gated ONNX file out, or nothing and exit code 7."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.check import COUNT, SHIPPED, Check, check_crops, make_check, run_check, save_check
from export.forms import Folded, Reference, camera_row
from export.graph import IR_VERSION, OPSET, named_batch, prove_static, simplified, to_onnx
from prune.flops import report
from prune.model import TransReID
from prune.session import open_model
from runtime.accuracy import accuracy
from runtime.cameras import parse_policy
from runtime.console import print_table
from runtime.datasets import guess_layout, read_dataset
from runtime.errors import ConfigError, GateError, Refusal
from runtime.gate import LIMITS, compare, failures
from runtime.manifest import manifest_path, replacing, tools, write_manifest
from runtime.onnxruntime_session import open_onnxruntime
from runtime.session import Artifact, NonFiniteFeatures
from runtime.spec import LAYOUTS, InputSpec

FORMS = {"folded": Folded, "reference": Reference}


@dataclass(frozen=True)
class Options:
    """What to export: `form` folded or reference, `precision` fp32, `gate` on or off, `check` folder and number of crops.

    `max_map_drop` (points of mAP, 0..100) makes the gate evaluate parent and artifact on the whole check folder, a data set then.
    """

    form: str = "folded"
    precision: str = "fp32"
    target: str = "onnxruntime"
    gate: bool = True
    check: Path = SHIPPED
    check_count: int = COUNT
    max_map_drop: float | None = None


def deployed_spec(spec: InputSpec, *, layout: str, camera: str | None, batch: int | None) -> InputSpec:
    """The artifact's input specification from the model's and the command line; ConfigError for a camera it lacks."""
    policy = parse_policy(camera) if camera is not None else ("input" if spec.cameras else "none")
    if not spec.cameras and policy != "none":
        raise ConfigError(f"--camera {policy}: this model has no camera embedding; leave --camera out")
    return dataclasses.replace(spec, layout=layout, camera=policy, batch=batch)


def build_graph(model: TransReID, spec: InputSpec, form: str) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """(simplified ONNX model, proven static; {exported, simplified, operators}: its node counts)."""
    raw = to_onnx(FORMS[form](model, spec), spec)
    graph = named_batch(simplified(raw))
    operators = prove_static(graph)
    return graph, {
        "exported": len(raw.graph.node),
        "simplified": len(graph.graph.node),
        "operators": dict(operators),
    }


def judge(check: Check, path: Path, spec: InputSpec, precision: str) -> dict[str, Any]:
    """The gate: run the ONNX file on the check's crops. {passed, failures, limits, numbers}."""
    limits = LIMITS[precision]
    verdict: dict[str, Any] = {"limits": dataclasses.asdict(limits)}
    try:
        numbers = compare(check.features, run_check(check, open_onnxruntime(path, spec), spec))
    except NonFiniteFeatures as error:
        return verdict | {"passed": False, "failures": [str(error)]}
    found = failures(numbers, limits)
    return verdict | {"passed": not found, "failures": found, "numbers": numbers}


def judge_map(parent: Artifact, path: Path, spec: InputSpec, root: Path, limit: float) -> dict[str, Any]:
    """The gate on the task itself: {passed, failures, map: {parent, artifact, drop, limit}} on the data set at `root`."""
    dataset = read_dataset(str(root), guess_layout(str(root)))
    session = open_onnxruntime(path, spec)
    artifact = Artifact(path, {}, spec, parent.dim, parent.sha256, session)
    before, after = (accuracy(one, dataset)["mAP"] for one in (parent, artifact))
    drop = 100 * (before - after)
    found = [f"mAP drops by {drop:.2f} points, more than {limit}"] if drop > limit else []
    return {
        "passed": not found,
        "failures": found,
        "map": {"parent": before, "artifact": after, "drop": drop, "limit": limit},
    }


def parent_check(parent: Artifact, model: TransReID, spec: InputSpec, options: Options) -> Check:
    """The check crops with the parent's features, seen through the camera that the artifact bakes in, if any."""
    row = None if spec.camera == "input" or not spec.cameras else camera_row(model.shape, spec.camera)
    return make_check(
        check_crops(options.check, parent.spec, options.check_count), parent.run, parent.spec, row
    )


def export(
    weights: Path | str,
    out: Path | str,
    spec_of: dict[str, Any] | None = None,
    options: Options | None = None,
) -> dict[str, Any]:
    """Export `weights` to `out` and return the manifest; `spec_of` are `deployed_spec`'s keywords.

    GateError when the gate fails: then neither the new file nor an older one is left at `out`. With the gate off the verdict is
    recorded as null, and the runtime refuses the file unless told otherwise.
    """
    options, out = options or Options(), Path(out)
    _refuse_contradictions(weights, out, options)
    parent, model = open_model(weights)
    chosen = {"layout": "uint8-nhwc", "camera": None, "batch": None} | (spec_of or {})
    spec = deployed_spec(parent.spec, **chosen)
    if spec.cameras:
        # refuses a camera that the model lacks before anything else happens
        camera_row(model.shape, "mean" if spec.camera == "input" else spec.camera)
    check = _check(parent, model, spec, options)
    graph, nodes = build_graph(model, spec, options.form)
    files = (out, manifest_path(out), check_path(out))
    try:
        with replacing(out) as temporary:
            onnx.save(graph, temporary)
            verdict = _verdict_on(check, parent, temporary, spec, options)
            if verdict["passed"] is False:
                raise GateError(
                    f"{out}: not written, {'; '.join(verdict['failures'])}; --gate off writes it ungated"
                )
            # an older export's crops must not be taken for this one's
            check_path(out).unlink(missing_ok=True)
            saved = save_check(check_path(out), check) if check is not None else None
        return write_manifest(
            out, manifest_of(parent, model, graph, nodes, spec, options) | {"gate": verdict, "check": saved}
        )
    except BaseException:
        # neither half a result nor an older file that could be taken for this one
        for file in files:
            file.unlink(missing_ok=True)
        raise


def check_path(out: Path) -> Path:
    """Where the check crops of an artifact lie."""
    return Path(f"{out}.check.npz")


def manifest_of(
    parent: Artifact,
    model: TransReID,
    graph: onnx.ModelProto,
    nodes: dict[str, Any],
    spec: InputSpec,
    options: Options,
) -> dict[str, Any]:
    """What the manifest says of the file, but for gate and check."""
    numbers = report(model.shape)
    return {
        "kind": "onnx",
        "parent": parent.sha256,
        "precision": options.precision,
        "form": options.form,
        "target": options.target,
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "input": spec.to_json(),
        "output": {"dim": parent.dim, "normalised": True},
        "shape": model.shape.to_json(),
        "macs": {key: value for key, value in numbers.items() if key.startswith("macs")},
        "params": numbers["params"],
        "stored_values": sum(math.prod(tensor.dims) for tensor in graph.graph.initializer),
        "nodes": nodes,
        "tools": tools("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy", "Pillow"),
    }


def _refuse_contradictions(weights: Path | str, out: Path, options: Options) -> None:
    if out.resolve() == Path(weights).resolve() or out.suffix == ".safetensors":
        raise ConfigError(f"--out {out}: give an .onnx file, not the model itself")
    if options.check_count < 3:
        raise ConfigError(f"--check-count {options.check_count}: the gate needs at least 3 images")
    if options.max_map_drop is not None:
        if not options.gate or not math.isfinite(options.max_map_drop):
            raise ConfigError(f"--max-map-drop {options.max_map_drop}: needs a number, and the gate on")
        guess_layout(str(options.check))


def _check(parent: Artifact, model: TransReID, spec: InputSpec, options: Options) -> Check | None:
    try:
        return parent_check(parent, model, spec, options)
    except Refusal as error:
        if options.gate:
            raise
        print(f"WARNING no check crops travel with the file: {error}", file=sys.stderr)
        return None


def _verdict_on(
    check: Check | None, parent: Artifact, path: Path, spec: InputSpec, options: Options
) -> dict[str, Any]:
    if check is None or not options.gate:
        return {"passed": None, "off": True}
    verdict = judge(check, path, spec, options.precision)
    if verdict["passed"] and options.max_map_drop is not None:
        verdict |= judge_map(parent, path, spec, options.check, options.max_map_drop)
    return verdict


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"--batch {text}: give a number from 1, or dynamic")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line of export_onnx.py."""
    command = argparse.ArgumentParser(prog="export_onnx.py", description=main.__doc__)
    command.add_argument(
        "weights", type=Path, help="model.safetensors from prune.py, prune.convert or prune.train"
    )
    command.add_argument("--out", type=Path, required=True, help="model.onnx to write")
    command.add_argument("--precision", choices=["fp32"], default="fp32")
    command.add_argument(
        "--target", choices=["onnxruntime", "tensorrt"], default="onnxruntime", help="fp32: the same file"
    )
    command.add_argument("--input", choices=LAYOUTS, default="uint8-nhwc", dest="layout", help="image layout")
    command.add_argument(
        "--camera", help="input, mean, none or a camera id (default: input where the model has a table)"
    )
    command.add_argument("--batch", default="dynamic", help="a fixed batch, or dynamic")
    command.add_argument(
        "--form",
        choices=list(FORMS),
        default="folded",
        help="folded: exact and fast; reference: as published",
    )
    command.add_argument(
        "--check",
        type=Path,
        default=SHIPPED,
        metavar="ROOT",
        help="images for the gate (default: shipped crops)",
    )
    command.add_argument(
        "--check-count", type=int, default=COUNT, metavar="N", help=f"at most so many of them ({COUNT})"
    )
    command.add_argument(
        "--max-map-drop", type=float, metavar="X", help="also fail when mAP on ROOT drops by more points"
    )
    command.add_argument("--gate", choices=["on", "off"], default="on")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Export a model to one self-contained, static ONNX file, checked against the torch model before it is kept."""
    args = parser().parse_args(argv)
    options = Options(
        args.form,
        args.precision,
        args.target,
        args.gate == "on",
        args.check,
        args.check_count,
        args.max_map_drop,
    )
    if not options.gate:
        print(
            f"WARNING --gate off: {args.out} will be ungated, and refused by the runtime by default",
            file=sys.stderr,
        )
    spec_of = {"layout": args.layout, "camera": args.camera, "batch": _batch(args.batch)}
    manifest = export(args.weights, args.out, spec_of, options)
    size = args.out.stat().st_size / 1e6
    rows = [
        ["file", f"{args.out}  {size:.1f} MB  sha256 {manifest['sha256'][:12]}"],
        [
            "form",
            f"{options.form} {options.precision}, opset {OPSET}, {manifest['nodes']['simplified']} nodes",
        ],
        ["macs", f"{manifest['macs'][f'macs_{options.form}'] / 1e9:.2f} G"],
        ["gate", _verdict(manifest["gate"])],
    ]
    print_table("exported", ["", ""], rows)
    return 0


def _verdict(gate: dict[str, Any]) -> str:
    if gate["passed"] is None:
        return "OFF"
    numbers = gate["numbers"]
    return (
        f"passed on {numbers['images']} images: lowest cosine {numbers['cosine_min']:.7f}, largest difference "
        f"{numbers['difference_max']:.1e}, top-1 {numbers['top1']:.3f}, top-10 {numbers['top10']:.3f}"
    )
