"""`python -m benchmarks.experiments.builds`: build every model as a TensorRT-RTX engine on a machine without a GPU.

The result shows the time, memory, size and fused attention of each build. The full-size models have random weights from a fixed seed.
This does not change these results, but the accuracy of such models means nothing. Their INT8 files are therefore exported without a
quality gate.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.builds"))

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.host import describe_host
from benchmarks.steps import ROOT
from benchmarks.steps import run as run_step
from runtime.console import print_table
from runtime.files.manifest import read_manifest, replacing
from runtime.stopping import keeping

DATA = "data/anny_reid"
CAPABILITIES = ("8.6", "8.9")
PRECISIONS = ("fp16", "int8")
# Options of prune.py for a quick pruning without fine-tuning, because accuracy does not affect a build.
QUICK = ("model.identities=20", "prune.heads.rounds=1", "prune.batches=2", "prune.identities=4") + (
    "train.fine_epochs=0",
    "train.final_epochs=0",
)


@dataclass(frozen=True)
class Candidate:
    """A model of which engines are built: its `name`, and the paths of the configurations that train it and that prune it.

    `train` is None for the shipped model, whose weights are part of this project. The other models have random weights in the
    architecture of the configuration `train`.
    """

    name: str
    train: str | None
    prune: str


CANDIDATES = (
    Candidate("base_s12", "configs/train/market_base_s12.yaml", "configs/prune/market_base_h25_t25.yaml"),
    Candidate("base_s11", "configs/train/occ_duke_base_s11.yaml", "configs/prune/occ_duke_base_h25_t25.yaml"),
    Candidate(
        "small_s11", "configs/train/occ_duke_small_s11.yaml", "configs/prune/occ_duke_small_h40_t40.yaml"
    ),
    Candidate("hybrid_lite", None, "configs/prune/hybrid.yaml"),
)


def commands(candidate: Candidate, work: Path, weights: Path) -> dict[Path, list[str]]:
    """Return {path: command}: the files that must be made below `work`, and for each file the command that makes it.

    The entries are in the order in which the commands must run. The files are the pruned model, and the ONNX files and engines of the
    unpruned and the pruned model. A command is a list of arguments for `python`. `weights` is the path of the unpruned model.
    """
    pruned = work / candidate.name / "pruned"
    random = candidate.train is not None
    prune = ["prune.py", "--config", candidate.prune, "--weights", str(weights), "--data", DATA]
    prune += ["--layout", "anny", "--out", str(pruned), "--evaluate", "none", "--device", "cpu"]
    prune += [word for key in (QUICK if random else ()) for word in ("--set", key)]
    made = {pruned / "model.safetensors": prune}
    for form, source in (("unpruned", weights), ("pruned", pruned / "model.safetensors")):
        for precision in PRECISIONS:
            onnx = work / candidate.name / f"{form}.{precision}.onnx"
            export = ["export_onnx.py", str(source), "--out", str(onnx), "--precision", precision]
            export += ["--target", "tensorrt"]
            if random:
                export += ["--calibration-count", "64", "--check-count", "32"]
            made[onnx] = export + (["--gate", "off"] if random and precision == "int8" else [])
            for capability in CAPABILITIES:
                engine = onnx.with_suffix(f".sm{capability.replace('.', '')}.engine")
                made[engine] = ["-m", "engines", "build", str(onnx), "--out", str(engine), "--builder", "rtx"]
                made[engine] += ["--compute-capability", capability, "--batch", "1,8,32"]
    return made


def random_model(config: str, out: Path) -> None:
    """Write a model with random weights and 20 identities to `out`, in the architecture of the training configuration `config`.

    The weights are the same in every run.
    """
    import torch

    from prune.config.load import load_config
    from prune.model.file import save_model
    from prune.model.transreid import TransReID

    settings = load_config(ROOT / config, ["model.identities=20"])
    torch.manual_seed(0)
    out.parent.mkdir(parents=True, exist_ok=True)
    model = TransReID(settings.architecture()).eval()
    save_model(model, out, settings.spec(), notes={"source": "random weights"})


def row(candidate: str, engine: Path) -> dict[str, Any]:
    """Return the result of one build as a dictionary, which is one row of the result file.

    Its keys are model, form, precision, compute_capability, seconds (the time of the build), peak_mib (its peak memory),
    engine_bytes, onnx_bytes, fused_attention_strings and tensorrt (a version). `fused_attention_strings` is the number of strings
    "fmha" in the engine, which shows whether TensorRT uses fused attention kernels. The values come from the manifest of `engine` and
    from its file name, `FORM.PRECISION.smNN.engine`, where FORM is "unpruned" or "pruned". `candidate` is the model's name.
    """
    form, precision, capability = engine.name.split(".")[:3]
    manifest = read_manifest(engine)
    return {
        "model": candidate,
        "form": form,
        "precision": precision,
        "compute_capability": f"{capability[2]}.{capability[3]}",
        "seconds": manifest["built"]["seconds"],
        "peak_mib": manifest["built"]["peak_mib"],
        "engine_bytes": manifest["built"]["bytes"],
        "onnx_bytes": engine.with_name(f"{form}.{precision}.onnx").stat().st_size,
        "fused_attention_strings": manifest["built"]["fused_attention_strings"],
        "tensorrt": manifest["machine"]["tensorrt"],
    }


def build_all(candidate: Candidate, work: Path) -> list[dict[str, Any]]:
    """Make the files of `candidate` that do not exist below `work`, and return the results of its engines (see `row`).

    Raises StepFailed if a command fails.
    """
    weights = work / candidate.name / "unpruned.safetensors"
    if candidate.train is None:
        weights = Path("data/hybrid_lite/model.safetensors")
    elif not weights.exists():
        random_model(candidate.train, weights)
    made = commands(candidate, work, weights)
    for path, command in made.items():
        if not path.exists():
            run_step(command)
    return [row(candidate.name, path) for path in made if path.suffix == ".engine"]


@dataclass(frozen=True)
class BuildsOptions:
    """The command line: the models to build (`candidates`), the folder `work` for all files, and the result file `out`."""

    work: Path
    out: Path
    candidates: tuple[Candidate, ...]


def parse(argv: Sequence[str] | None) -> BuildsOptions:
    """Parse a command line into options. Without --model, all CANDIDATES are built."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.builds", description=main.__doc__)
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="folder for models and engines; files that it already has are used again",
    )
    parser.add_argument("--out", type=Path, required=True, help="the file to write the result to (.json)")
    parser.add_argument(
        "--model",
        action="append",
        choices=[candidate.name for candidate in CANDIDATES],
        help="a model to build; the option may be repeated (default: all models)",
    )
    args = parser.parse_args(argv)
    chosen = tuple(candidate for candidate in CANDIDATES if not args.model or candidate.name in args.model)
    return BuildsOptions(args.work, args.out, chosen)


def main(argv: Sequence[str] | None = None) -> int:
    """Export each model in FP16 and INT8, unpruned and pruned, and build TensorRT-RTX engines for two compute capabilities."""
    return run(parse(argv))


def run(options: BuildsOptions) -> int:
    """Make the files that `options.work` lacks, write the results of all builds to `options.out`, and print them as a table."""
    rows: list[dict[str, Any]] = []
    with keeping(
        lambda: f"the files made so far are kept in {options.work}; the same command makes the others"
    ):
        for candidate in options.candidates:
            rows += build_all(candidate, options.work.resolve())
    document = {"host": describe_host(device="cpu", threads=None), "rows": rows}
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    print_table("engines", list(rows[0]), [list(engine.values()) for engine in rows])
    return 0
