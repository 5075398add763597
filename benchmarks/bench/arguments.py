"""The command line of bench.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import timing
from benchmarks.arguments import BATCHES, batches
from runtime.datasets import READERS
from runtime.extraction.preset import refuse_contradictions
from runtime.options.argument_types import camera_policy, positive_integer, seconds
from runtime.options.choices import AUTO, BACKENDS, LATENCY, PRESETS, THROUGHPUT

THROUGHPUT_BATCHES = (1, 8)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of bench.py."""
    parser = argparse.ArgumentParser(prog="bench.py", description=description)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[@BACKEND]",
        help="exported .onnx files, or model.safetensors for torch eager mode; ratios are to the first. M.onnx@openvino runs "
        "on that backend, M.safetensors@compile through torch.compile",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda", "jetson"], default="cpu", help="where (%(default)s)"
    )
    parser.add_argument(
        "--backend",
        "--engine",
        dest="backend",
        choices=(*BACKENDS, AUTO),
        default=BACKENDS[0],
        help="of .onnx files on the CPU (%(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=batches,
        default=BATCHES,
        metavar="N[,N]",
        help="images per call (1; with --device cuda 1, 8, 16 and 32, and with jetson these besides)",
    )
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="threads of each model (all cores)"
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="of a CPU: latency (batch 1, all cores), or throughput: one thread, and besides the images a second of as many "
        "processes as cores (batches 1 and 8)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--rounds", type=positive_integer, metavar="N", help="calls of each model and batch size"
    )
    length.add_argument(
        "--seconds",
        type=seconds,
        default=timing.SECONDS,
        metavar="S",
        help="measure about so long for each model and batch size, in at least 10 rounds (%(default)s)",
    )
    parser.add_argument("--data", metavar="ROOT", help="a data set: time on its crops, and report mAP")
    parser.add_argument(
        "--no-accuracy", action="store_false", dest="accuracy", help="with --data: only time on its crops"
    )
    parser.add_argument("--layout", choices=sorted(READERS), help="its layout, guessed where that is sure")
    parser.add_argument("--camera", type=camera_policy, metavar="P", help="input, mean, none or a 0-based id")
    parser.add_argument(
        "--torch",
        type=Path,
        action="append",
        default=[],
        metavar="model.safetensors",
        help="a last model, in torch eager mode and its plain published form; may be repeated",
    )
    parser.add_argument(
        "--compare", type=Path, metavar="OLD.json", help="against a run saved with --json: with intervals"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="DIR", help="with --device jetson: a recorded run instead of a board"
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="with --device jetson: keep what --replay needs in a new folder",
    )
    parser.add_argument("--allow-ungated", action="store_true", help="run models that passed no quality gate")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    return parser


def apply_preset(args: argparse.Namespace) -> None:
    """Fill in the batches and threads that `--preset` stands for. ConfigError for options that contradict it."""
    other = next((size for size in args.batch if size != 1), 1)
    refuse_contradictions(
        args.preset, device=args.device, batch=other if args.preset == LATENCY else None, threads=args.threads
    )
    if args.preset == THROUGHPUT:
        args.threads = 1
        # the default itself, not a --batch 1 that says the same
        args.batch = THROUGHPUT_BATCHES if args.batch is BATCHES else args.batch
