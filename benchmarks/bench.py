"""`python bench.py MODEL [MODEL ...]`: latency, throughput, size, memory and accuracy, several models interleaved."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine, memory
from benchmarks.models import facts, open_runnable
from benchmarks.timing import UNSTABLE, Series, interleave, latency_ms, ratio, variation
from runtime.cameras import camera_ids, dataset_name, parse_policy
from runtime.console import note, print_json, print_table, progress
from runtime.datasets import READERS, Dataset, count_warnings, read_dataset
from runtime.errors import ConfigError, DataError, guarded
from runtime.extract import extract
from runtime.features import Features
from runtime.images import load_image
from runtime.metrics import evaluate
from runtime.preprocess import resize, to_input
from runtime.session import Artifact

# Distinct images that timing cycles through, per unit of batch: one image over and over would flatter a cache.
DISTINCT = 8


@dataclass
class Candidate:
    """One model at one batch size: `batches` are its ready inputs, `seen` the features of each from the timed runs."""

    artifact: Artifact
    batch: int
    batches: list[tuple[NDArray[Any], NDArray[np.int64] | None]]
    seen: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def __call__(self, number: int) -> None:
        """Run the input of round `number`."""
        index = number % len(self.batches)
        features = self.artifact.run(*self.batches[index])
        if number >= 0:
            self.seen[index] = features

    def equal(self) -> bool:
        """Whether what was timed is what a fresh run gives (1e-4): no cached, skipped or overwritten work."""
        fresh = {index: self.artifact.run(*self.batches[index]) for index in self.seen}
        return all(bool(np.allclose(self.seen[index], value, atol=1e-4)) for index, value in fresh.items())


def crops_for(artifact: Artifact, dataset: Dataset | None, count: int) -> NDArray[np.uint8]:
    """(count, height, width, 3) uint8: gallery images of the data set, or seeded noise without one."""
    spec = artifact.spec
    if dataset is None:
        shape = (count, spec.height, spec.width, 3)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    crops: list[NDArray[np.uint8]] = []
    for item in dataset.gallery:
        if len(crops) == count:
            break
        try:
            crops.append(resize(load_image(item.path), spec))
        except DataError:
            # the accuracy run counts and names the bad ones
            continue
    if not crops:
        raise DataError(f"{dataset.root}: no readable gallery image; check --data")
    return np.stack([crops[index % len(crops)] for index in range(count)])


def candidate(artifact: Artifact, batch: int, dataset: Dataset | None) -> Candidate:
    """The model with DISTINCT ready batches; a camera input cycles through the cameras."""
    crops = crops_for(artifact, dataset, DISTINCT * batch)
    spec = artifact.spec
    ids = np.arange(len(crops), dtype=np.int64) % max(spec.cameras, 1)
    batches = [
        (to_input(crops[at : at + batch], spec), ids[at : at + batch] if spec.camera == "input" else None)
        for at in range(0, len(crops), batch)
    ]
    return Candidate(artifact, batch, batches)


def accuracy(artifact: Artifact, dataset: Dataset, policy: str | int | None) -> dict[str, float]:
    """{mAP, R1} on the data set's queries and gallery."""
    name = dataset_name(dataset.layout, count_warnings(dataset))

    def features(items: Sequence[Any], title: str) -> Features:
        ids, _ = camera_ids([item.camid for item in items], artifact.spec, policy=policy, dataset=name)
        with progress(title, len(items)) as advance:
            return extract(artifact, items, batch=artifact.spec.batch or 16, camera_ids=ids, progress=advance)

    query, gallery = features(dataset.query, "query"), features(dataset.gallery, "gallery")
    scores = evaluate(
        query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids
    ).to_json()
    return {"mAP": scores["mAP"], "R1": scores["R1"]}


def result(one: Candidate, series: Series, threads: int | None, device: str) -> dict[str, Any]:
    """One model's entry: facts, times, memory and the check that the timed features are right."""
    latency = latency_ms(series)
    cv = variation(series)
    if cv > UNSTABLE:
        note(
            f"unstable: {one.artifact.path} batch {one.batch} varies by {cv:.0%} between rounds; quote ratios, not times"
        )
    return facts(one.artifact) | {
        "batch": one.batch,
        "threads": threads,
        "latency_ms": latency,
        "cpu_ms": float(np.median(series.cpu)) * 1e3,
        "images_per_s": one.batch / latency["p50"] * 1e3,
        "rounds": len(series.wall),
        "cv": cv,
        "features_equal": one.equal(),
        "peak_memory_mib": memory.measure(one.artifact.path, device=device, threads=threads, batch=one.batch),
    }


def bench(
    artifacts: Sequence[Artifact],
    batches: Sequence[int],
    dataset: Dataset | None,
    *,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """{host, models, ratios}: per batch size all models interleaved; ratios are against the first model."""
    before = machine.state()
    scores = [
        accuracy(one, dataset, options.camera) if dataset and options.accuracy else {} for one in artifacts
    ]
    models: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    for batch in batches:
        candidates = [candidate(one, batch, dataset) for one in artifacts]
        calls: list[Callable[[int], None]] = list(candidates)
        timed = interleave(calls, rounds=options.rounds, warmup=options.warmup, seconds=options.seconds)
        for one, series, score in zip(candidates, timed, scores):
            models.append(result(one, series, options.threads, options.device) | score)
            if one is not candidates[0]:
                pair = {"base": str(artifacts[0].path), "model": str(one.artifact.path), "batch": batch}
                ratios.append(pair | ratio(timed[0], series))
    images = "gallery images" if dataset else "seeded random images"
    return {"host": before, "device": options.device, "images": images, "models": models, "ratios": ratios}


def show(document: dict[str, Any]) -> None:
    """The tables for people."""
    rows = []
    for model in document["models"]:
        macs = model[f"macs_{model['form']}"] if model["form"] else None
        row = [
            Path(model["path"]).name,
            model["engine"],
            model["batch"],
            "-" if macs is None else f"{macs / 1e9:.2f}",
        ]
        row += [
            "-" if model["params"] is None else f"{model['params'] / 1e6:.1f}",
            f"{model['file_bytes'] / 1e6:.1f}",
        ]
        peak = model["peak_memory_mib"]
        row += ["-" if peak is None else f"{peak:.0f}"]
        row += [f"{model['latency_ms'][name]:.2f}" for name in ("p50", "p90", "p99")]
        row += [f"{model['images_per_s']:.1f}", f"{model['mAP']:.1%}" if "mAP" in model else "-"]
        rows.append(row)
    columns = [
        "model",
        "engine",
        "batch",
        "GMAC",
        "M par.",
        "MB",
        "MiB peak",
        "p50 ms",
        "p90",
        "p99",
        "images/s",
        "mAP",
    ]
    cores = document["host"]["usable_cores"]
    title = f"{document['device']}: {document['host']['processor']}, {cores} cores, load {document['host']['load'][0]:.1f}"
    print_table(title, columns, rows)
    if document["ratios"]:
        spread = []
        for pair in document["ratios"]:
            range_ = f"{pair['p5']:.2f} .. {pair['p95']:.2f}"
            row = [
                Path(pair["model"]).name,
                pair["batch"],
                f"{pair['median']:.2f}",
                range_,
                f"{pair['cpu']:.2f}",
            ]
            spread.append(row)
        base = Path(document["ratios"][0]["base"]).name
        print_table(
            f"times faster than {base}", ["model", "batch", "median", "5 .. 95 %", "CPU time"], spread
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Time models side by side on this machine: .onnx files, or model.safetensors for torch eager."""
    parser = argparse.ArgumentParser(prog="bench.py", description=main.__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--device", choices=["cpu", "cuda", "jetson"], required=True)
    parser.add_argument("--batch", default="1", help="batch sizes, such as 1,8 (1)")
    parser.add_argument("--threads", type=_positive, help="threads of the model (all cores)")
    parser.add_argument("--rounds", type=_positive, default=50, help="at most so many timed rounds (50)")
    parser.add_argument("--warmup", type=_positive, default=3, help="untimed rounds (3)")
    parser.add_argument("--seconds", type=float, default=60, help="stop then, after 10 rounds at least (60)")
    parser.add_argument("--data", metavar="ROOT", help="time on its gallery images, and measure mAP")
    parser.add_argument(
        "--layout", choices=sorted(READERS), help="guessed from the folder where that is sure"
    )
    parser.add_argument("--no-accuracy", action="store_false", dest="accuracy", help="with --data: time only")
    parser.add_argument("--camera", type=parse_policy, metavar="P", help="camera policy of the accuracy run")
    parser.add_argument("--allow-ungated", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    if args.device == "jetson":
        raise ConfigError(
            "--device jetson: needs TensorRT engines, which this version does not build yet; use cpu or cuda"
        )
    try:
        batches = [_positive(text) for text in args.batch.split(",")]
    except (ValueError, argparse.ArgumentTypeError):
        raise ConfigError(f"--batch {args.batch}: give sizes from 1, such as 1,8") from None
    dataset = read_dataset(args.data, args.layout) if args.data else None
    artifacts = [
        open_runnable(path, device=args.device, threads=args.threads, allow_ungated=args.allow_ungated)
        for path in args.models
    ]
    document = bench(artifacts, batches, dataset, options=args)
    if args.json:
        print_json(document)
    else:
        show(document)
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return value


if __name__ == "__main__":
    raise SystemExit(guarded(main))
