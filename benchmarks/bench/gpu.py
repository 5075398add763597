"""`python -m benchmarks.bench.gpu --torch M.safetensors M.onnx ... --out R.json`: parity and latency on one GPU, in one run.

The same crops go through the torch model (eager and compiled, FP32 and FP16) and through every file, ONNX or engine.
A candidate that does not run here is reported with its reason; the others go on. Times include the copies to and from
the GPU: a Session takes and gives host arrays. `--device cpu` runs the same code where there is no GPU.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("benchmarks.bench.gpu"))

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import batches
from benchmarks.bench.times import ratio, result, time_models
from benchmarks.candidate import facts
from benchmarks.host import describe_host
from benchmarks.inputs import Crops, feeds, read_crops
from benchmarks.unfinished import written
from runtime.artifact import Artifact
from runtime.console import note, print_table
from runtime.datasets import read_dataset
from runtime.errors import DeviceError
from runtime.files.manifest import replacing
from runtime.gate import compare
from runtime.opening import open_artifact
from runtime.options.argument_types import positive_integer, seconds
from runtime.wording import reason_of

DATA = "data/anny_reid"
CROPS = 64
# torch's forms of one model: name -> (half precision, compiled)
TORCH = {
    "torch eager fp32": (False, False),
    "torch eager fp16": (True, False),
    "torch.compile fp32": (False, True),
    "torch.compile fp16": (True, True),
}
SHOWN = ("candidate", "batch", "p50 ms", "images/s", "speed", "lowest cosine", "top-1")


def torch_artifact(path: Path, device: str, *, half: bool, compiled: bool) -> Artifact:
    """model.safetensors as the published network in torch, behind the Session seam."""
    import torch

    from prune.session import open_model, torch_session

    artifact, model = open_model(path)
    model = model.to(torch.float16) if half else model
    return replace(artifact, run=torch_session(model, device, compiled=compiled))


def openers(args: argparse.Namespace) -> dict[str, Callable[[], Artifact]]:
    """Candidate -> what opens it; the first one is what the others are compared with."""

    def torch_opener(half: bool, compiled: bool) -> Callable[[], Artifact]:
        return lambda: torch_artifact(args.torch, args.device, half=half, compiled=compiled)

    def file_opener(path: Path) -> Callable[[], Artifact]:
        return lambda: open_artifact(path, device=args.device, allow_ungated=True)

    chosen = {name: torch_opener(*form) for name, form in TORCH.items() if args.compile or not form[1]}
    return chosen | {str(path): file_opener(path) for path in args.models}


def opened(
    candidates: dict[str, Callable[[], Artifact]], crops: Crops
) -> tuple[dict[str, Artifact], dict[str, dict[str, Any]], dict[str, str]]:
    """What runs here, its parity with the first that does (`runtime.gate.compare`), and why the rest does not."""
    good: dict[str, Artifact] = {}
    parity: dict[str, dict[str, Any]] = {}
    bad: dict[str, str] = {}
    reference = None
    for name, opener in candidates.items():
        note(f"opening {name}")
        try:
            artifact = opener()
            features = _features(artifact, crops)
            reference = features if reference is None else reference
            parity[name] = compare(reference, features)
            good[name] = artifact
        # a compiler or a provider that is not there: any error of theirs is a finding of this run
        except Exception as error:
            bad[name] = f"{type(error).__name__}: {reason_of(error)}"
            note(f"WARNING {name} does not run here: {bad[name]}")
    return good, parity, bad


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """{host, gpu, crops, parity: {name: numbers}, models[], ratios[], failed: {name: reason}}."""
    dataset = read_dataset(args.data, None)
    crops = read_crops([*dataset.query, *dataset.gallery], max(CROPS, *args.batch), str(args.data))
    good, parity, failed = opened(openers(args), crops)
    if not good:
        raise DeviceError(f"nothing runs with --device {args.device}; the reasons stand above")
    artifacts = list(good.values())
    document: dict[str, Any] = {
        "host": describe_host(device=args.device, threads=None),
        "gpu": _gpu() if args.device == "cuda" else None,
        "crops": {"source": crops.source, "count": len(crops.pixels)},
        "reference": next(iter(good)),
        "parity": parity,
        "models": [],
        "ratios": [],
        "failed": failed,
    }
    with written(args.out, lambda: document if document["models"] else None):
        for batch in args.batch:
            ids = [_ids(artifact, len(crops.pixels)) for artifact in artifacts]
            note(f"timing {len(artifacts)} candidates at batch {batch}")
            timed = time_models(artifacts, crops, ids, batch, rounds=args.rounds, seconds=args.seconds)
            both = list(zip(good, artifacts, timed))
            document["models"] += [
                {"name": name} | facts(artifact) | result(one, batch) for name, artifact, one in both
            ]
            document["ratios"] += [
                {"name": name} | ratio(timed[0], one, artifacts[0], artifact) for name, artifact, one in both
            ]
    return document


def rows(document: dict[str, Any]) -> list[list[object]]:
    """The table's rows: every candidate at every batch size, then what did not run."""
    table: list[list[object]] = []
    for model, relative in zip(document["models"], document["ratios"]):
        parity, speed = document["parity"][model["name"]], relative["speed"]
        table.append(
            [
                model["name"],
                model["batch"],
                f"{model['latency_ms']['p50']:.2f}",
                f"{model['images_per_s']:.0f}",
                f"{speed['median']:.2f}x" if speed else "-",
                f"{parity['cosine_min']:.6f}",
                f"{parity['top1']:.3f}",
            ]
        )
    return table + [[name, "-", "does not run here", *[""] * 4] for name in document["failed"]]


def _features(artifact: Artifact, crops: Crops) -> NDArray[np.float32]:
    ids = _ids(artifact, len(crops.pixels))
    batches = feeds(crops, ids, artifact.spec, 1)
    return np.concatenate([artifact.run(*one) for one in batches])


def _ids(artifact: Artifact, count: int) -> NDArray[np.int64] | None:
    """The mean camera for every crop, or None for a model without camera input."""
    if artifact.spec.camera != "input":
        return None
    return np.full(count, artifact.spec.mean_camera, np.int64)


def _gpu() -> dict[str, Any] | None:
    import torch

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "compute_capability": f"{found.major}.{found.minor}",
        "memory_bytes": found.total_memory,
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and time the torch model and files made of it on one device; writes one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench.gpu", description=main.__doc__)
    parser.add_argument(
        "models", nargs="*", type=Path, metavar="FILE", help="ONNX files and engines of the same model"
    )
    parser.add_argument("--torch", required=True, type=Path, metavar="M.safetensors")
    parser.add_argument("--out", required=True, type=Path, metavar="R.json")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--batch", type=batches, default=(1, 8, 32), metavar="N[,N]")
    parser.add_argument("--data", default=DATA, metavar="ROOT", help="crops (the shipped ones)")
    parser.add_argument("--rounds", type=positive_integer, metavar="N")
    parser.add_argument("--seconds", type=seconds, default=3.0)
    parser.add_argument("--no-compile", action="store_false", dest="compile", help="without torch.compile")
    args = parser.parse_args(argv)
    document = measure(args)
    with replacing(args.out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    print_table(f"parity with {document['reference']}, and latency", list(SHOWN), rows(document))
    return 0
