"""Take one model through the commands that users call: prune.train, prune.py, export_onnx.py, bench.py and engines build."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.json_files import OBJECT, listed, members, read_document
from benchmarks.steps import StepFailed
from benchmarks.steps import run as run_step
from runtime.files.manifest import read_manifest, replacing

DATA = "data/anny_reid"
PRECISIONS = ("fp32", "fp16", "int8")
FORMS = ("unpruned", "pruned")
# The exit code of a file that its gate refuses.
REFUSED = 7


@dataclass(frozen=True)
class Case:
    """A model: its `name`, its `title` in tables, and the keys of the configuration section `model` that describe it."""

    name: str
    title: str
    model: dict[str, Any]


CASES = (
    Case("vit", "ViT-S (TransReID-SSL, PersonViT)", {"variant": "deit_small", "jpm": False}),
    Case("gem", "PersonViT with `gem` pooling", {"variant": "deit_small", "jpm": False, "pooling": "gem"}),
    Case("ics", "TransReID-SSL, ICS stem", {"variant": "deit_small", "jpm": False, "family": "ics"}),
    Case("pass", "PASS ViT-S", {"variant": "deit_small", "jpm": False, "family": "pass"}),
    Case("clip", "CLIP-ReID ViT-B/16", {"variant": "clip_base", "jpm": False, "family": "clip"}),
)


def configuration(case: Case) -> dict[str, Any]:
    """Return the configuration of a case: one epoch of training, and 25 % of the heads and 25 % of the tokens to remove."""
    return {
        "model": {**case.model, "drop_path": 0.0},
        "input": {"interpolation": "bilinear"},
        "data": {"layout": "anny"},
        "train": {
            "optimizer": "adamw",
            "lr": 1e-4,
            "epochs": 1,
            "warmup_epochs": 0,
            "identities": 8,
            "images": 4,
            "precision": "bf16",
            "fine_epochs": 0,
            "final_epochs": 0,
        },
        "prune": {
            "heads": {"fraction": 0.25},
            "tokens": {"fraction": 0.25},
            "batches": 2,
            "identities": 4,
            "images": 4,
        },
    }


def counted(case: Case) -> dict[str, Any]:
    """Return {name, title, macs} of a case: its multiply-adds before and after pruning every block equally. Nothing is run."""
    from prune.config.load import build_config
    from prune.model.flops import flops_report
    from prune.scoring.spread import spread

    config = build_config(configuration(case))
    reports = {"unpruned": flops_report(config.architecture()), "pruned": flops_report(spread(config))}
    keys = ("macs_paper", "macs_reference", "macs_folded", "params")
    macs = {form: {key: report[key] for key in keys} for form, report in reports.items()}
    return {"name": case.name, "title": case.title, "macs": macs}


def measure(case: Case, work: Path, *, seconds: float, engines: bool) -> dict[str, Any]:
    """Return all results of a case: {name, title, training, macs, gates, latency, engines}; files that `work` holds are used again.

    The exported models have random weights, because one epoch from such weights makes the features of all images nearly equal, and
    then a gate has little to compare.
    Each exported model is timed for `seconds` seconds, alternately with the others. With `engines`, the FP16 files become
    TensorRT-RTX engines. Raises StepFailed if a command fails for another reason than a gate.
    """
    folder = work / case.name
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    with replacing(config) as temporary:
        # JSON is YAML
        temporary.write_text(json.dumps(configuration(case), indent=1) + "\n")
    weights = _weights(folder, config)
    gates = {
        f"{form}.{precision}": _exported(folder, weights[form], form, precision)
        for precision in PRECISIONS
        for form in FORMS
    }
    macs = {form: _counts(path) for form, path in weights.items()}
    return {
        "name": case.name,
        "title": case.title,
        "training": _losses(_trained(folder, config)),
        "macs": macs,
        "gates": gates,
        "latency": _latency(folder, gates, seconds),
        "engines": {form: _engine(folder, form, gates) for form in FORMS} if engines else {},
    }


def _trained(folder: Path, config: Path) -> Path:
    """Return the folder of a model that was trained for one epoch."""
    out = folder / "trained"
    if not (out / "model.safetensors").exists():
        run_step(["-m", "prune.train", *_common(config), "--out", str(out)])
    return out


def _common(config: Path) -> list[str]:
    return ["--config", str(config), "--data", DATA, "--layout", "anny", "--device", "cpu"]


def _weights(folder: Path, config: Path) -> dict[str, Path]:
    paths = {form: folder / form / "model.safetensors" for form in FORMS}
    if not paths["unpruned"].exists():
        command = ["-m", "prune.train", *_common(config), "--set", "train.epochs=0"]
        run_step([*command, "--out", str(folder / "unpruned")])
    if not paths["pruned"].exists():
        command = ["prune.py", *_common(config), "--weights", str(paths["unpruned"]), "--evaluate", "none"]
        run_step([*command, "--out", str(folder / "pruned")])
    return paths


def _counts(weights: Path) -> dict[str, int]:
    manifest = read_manifest(weights)
    return {**manifest["macs"], "params": manifest["params"]}


def _losses(run: Path) -> dict[str, Any]:
    """Return {steps, first, last}: the number of training steps, and the mean losses of the first and the last quarter of them."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [loss for row in rows for loss in row["step_losses"]]
    quarter = max(len(losses) // 4, 1)
    mean = {"first": sum(losses[:quarter]) / quarter, "last": sum(losses[-quarter:]) / quarter}
    return {"steps": len(losses), **mean}


def _exported(folder: Path, weights: Path, form: str, precision: str) -> dict[str, Any]:
    """Return the gate's numbers of an exported file: {passed, cosine_min, difference_max, top1}, or {passed: False} if it refused."""
    out = folder / f"{form}.{precision}.onnx"
    if not out.exists():
        command = ["export_onnx.py", str(weights), "--out", str(out), "--precision", precision]
        command += ["--check", DATA, "--check-count", "64", "--calibration-count", "64"]
        try:
            run_step([*command, "--target", "tensorrt" if precision == "fp16" else "onnxruntime"])
        except StepFailed as error:
            if error.code != REFUSED:
                raise
            return {"passed": False}
    gate = read_manifest(out)["gate"]
    numbers = {key: gate["numbers"][key] for key in ("cosine_min", "difference_max", "top1")}
    return {"passed": gate["passed"], **numbers}


def _latency(folder: Path, gates: dict[str, dict[str, Any]], seconds: float) -> dict[str, float]:
    """Return {form.precision: median milliseconds of one image}, measured alternately in one process."""
    names = [f"{form}.{precision}" for precision in ("fp32", "int8") for form in FORMS]
    files = [f"{name}.onnx" for name in names if gates[name]["passed"]]
    command = ["bench.py", *(str(folder / file) for file in files), "--seconds", str(seconds), "--json"]
    document = json.loads(run_step(command))
    models = document["models"]
    return {
        file.removesuffix(".onnx"): row["latency_ms"]["p50"] for file, row in zip(files, models, strict=True)
    }


def _engine(folder: Path, form: str, gates: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return {seconds, peak_mib, bytes} of the TensorRT-RTX engine of the FP16 file of a form, None if its gate refused the file."""
    if not gates[f"{form}.fp16"]["passed"]:
        return None
    onnx, out = folder / f"{form}.fp16.onnx", folder / f"{form}.fp16.engine"
    if not out.exists():
        command = ["-m", "engines", "build", str(onnx), "--out", str(out), "--builder", "rtx"]
        run_step([*command, "--compute-capability", "8.6", "--batch", "1,8,32"])
    built = read_manifest(out)["built"]
    return {key: built[key] for key in ("seconds", "peak_mib", "bytes")}


def earlier(path: Path) -> list[dict[str, Any]]:
    """Return the results in the result file at `path`, an empty list if there is none. Raises ConfigError for another kind of file."""
    if not path.exists():
        return []
    document = read_document(
        path,
        members({"models": listed(OBJECT)}),
        expected="a result of this command",
        advice="give --out a new file",
    )
    return list(document["models"])
