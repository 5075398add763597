"""`python -m engines build`: build an engine for this machine, or print the exact trtexec command line."""

from __future__ import annotations

import dataclasses
import re
import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.manifest import FLAVOURS
from engines.trtexec.command import DEFAULT_PROFILE, BuildRequest, Profile
from runtime.backends.tensorrt.compat import LEVEL, WORKSPACE_MIB
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from engines.trtexec.output import Report

HELP = "build an engine for this machine"


@dataclass(frozen=True)
class BuildOptions:
    """The engine to build (`request`) and how to build it.

    `builder` is "trtexec", "python" or "rtx"; None means trtexec if it is installed, else python. With `separate`, each profile of
    `request` gets its own engine. `compute_capability` names the GPUs for which the builder rtx builds ahead of time, such as "8.6";
    None lets it choose. `log` is a file for everything that trtexec prints; None keeps nothing. With `dry_run`, trtexec's command
    lines are printed and nothing is built; they are for the TensorRT version `tensorrt`, such as "10.3", or if that is None, for the
    installed trtexec.
    """

    request: BuildRequest
    separate: bool
    builder: str | None
    compute_capability: str | None
    log: Path | None
    dry_run: bool
    tensorrt: str | None


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `engines build` to `parser`, in place."""
    parser.add_argument(
        "onnx",
        type=Path,
        metavar="MODEL.onnx",
        help="the file from export_onnx.py, with its manifest beside it",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the engine to write (default: MODEL.engine)"
    )
    parser.add_argument(
        "--builder",
        choices=tuple(FLAVOURS),
        help="the builder (default: trtexec where it is installed, else python)",
    )
    parser.add_argument(
        "--compute-capability",
        metavar="X.Y",
        help="with --builder rtx: build ahead of time for GPUs of this compute capability",
    )
    parser.add_argument(
        "--batch",
        action="append",
        metavar="N|MIN,OPT,MAX",
        help="the batch sizes, for a file with a dynamic batch: only N, or all from MIN to MAX with the engine optimised for OPT; "
        "repeat the option for more such profiles in the same engine "
        f"(default: {','.join(map(str, DEFAULT_PROFILE))})",
    )
    parser.add_argument(
        "--separate",
        action="store_true",
        help="build one engine for each --batch (MODEL.b8.engine) instead of one for all. To use them, open MODEL.engine, which "
        "is for the largest batch: the others are opened with it, and each batch runs on the smallest engine that fits",
    )
    parser.add_argument(
        "--workspace",
        type=int,
        default=WORKSPACE_MIB,
        metavar="MIB",
        help="the limit of the builder's scratch memory in MiB (default: %(default)s)",
    )
    parser.add_argument(
        "--timing-cache",
        type=Path,
        metavar="FILE",
        help="a file of kernel timings (tactics), which the build reads and extends, so that the next build is faster",
    )
    parser.add_argument(
        "--optimization-level",
        type=int,
        default=LEVEL,
        metavar="0..5",
        help="the optimisation level of TensorRT, from 0 (fast build) to 5 (fast engine) (default: %(default)s)",
    )
    parser.add_argument(
        "--version-compatible",
        action="store_true",
        help="build an engine that later TensorRT versions of the same major version can load; it is larger and may be slower",
    )
    parser.add_argument("--time", action="store_true", help="let trtexec time the engine after the build")
    parser.add_argument(
        "--transfers", action="store_true", help="with --time: include the copies to and from the GPU"
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="write everything that trtexec prints to FILE"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the trtexec command line instead of building; with --tensorrt this needs no GPU and no TensorRT",
    )
    parser.add_argument(
        "--tensorrt", metavar="X.Y", help="with --dry-run: print the line for this TensorRT version"
    )


def command(args: Namespace) -> None:
    """Run `engines build` with the parsed arguments `args`. Raises a UserError for a mistake that the user can correct."""
    run(build_options(args))


def build_options(args: Namespace) -> BuildOptions:
    """Return the BuildOptions of the parsed arguments. Raises ConfigError for wrong values and options that contradict each other."""
    if args.tensorrt is not None and not args.dry_run:
        raise ConfigError(
            "--tensorrt is only allowed with --dry-run, because a build uses the TensorRT of the installed trtexec; leave it out, or "
            "add --dry-run"
        )
    if args.compute_capability is not None and not (
        args.builder == "rtx" and re.fullmatch(r"\d+\.\d", args.compute_capability)
    ):
        raise ConfigError(
            f"--compute-capability {args.compute_capability}: give a number such as 8.6, and only with --builder rtx; the other "
            "builders build for this machine's GPU"
        )
    if args.builder in ("python", "rtx"):
        given = {"--dry-run": args.dry_run, "--time": args.time, "--log": args.log is not None}
        if wrong := [option for option, is_given in given.items() if is_given]:
            raise ConfigError(
                f"{wrong[0]} is only allowed with --builder trtexec, not with {args.builder}; leave {wrong[0]} out"
            )
    if args.log is not None and args.separate:
        raise ConfigError(
            "--log is not allowed with --separate, because each build would overwrite the log; leave one of the two options out"
        )
    if args.transfers and not args.time:
        raise ConfigError(
            "--transfers is only allowed with --time, because it only changes the times; add --time"
        )
    request = BuildRequest(
        onnx=args.onnx,
        engine=args.out or args.onnx.with_suffix(".engine"),
        profiles=tuple(profile(text) for text in args.batch or ()),
        workspace_mib=args.workspace,
        level=args.optimization_level,
        timing_cache=args.timing_cache,
        version_compatible=args.version_compatible,
        timed=args.time,
        transfers=args.transfers,
    )
    return BuildOptions(
        request=request,
        separate=args.separate,
        builder=args.builder,
        compute_capability=args.compute_capability,
        log=args.log,
        dry_run=args.dry_run,
        tensorrt=args.tensorrt,
    )


def profile(text: str) -> Profile:
    """Parse a `--batch` value, `8` or `1,8,32` (min, opt, max), as a Profile. Raises ConfigError for anything else."""
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--batch {text}: give one batch size, or min,opt,max, such as 1,8,32")
    sizes = [int(part) for part in parts]
    return Profile(*(sizes if len(sizes) == 3 else sizes * 3))


def run(options: BuildOptions) -> None:
    """Build the engines and print a summary of each, or with `dry_run` only print the exact trtexec command lines on stdout."""
    from engines.build import choose_builder, separate
    from engines.trtexec.command import parse_version, trtexec_line
    from engines.trtexec.run import find_trtexec, trtexec_version
    from runtime.backends.onnx_scan import refuse_external_data
    from runtime.console import note
    from runtime.files.manifest import read_manifest

    request = options.request
    requests = separate(request) if options.separate else [request]
    parent = read_manifest(request.onnx)
    gate = parent.get("gate")
    if not isinstance(gate, dict) or gate.get("passed") is not True:
        note(
            f"WARNING {request.onnx}: the file has not passed a quality gate, so its engine may give wrong features; export the model "
            "again with the gate"
        )
    if options.dry_run:
        version = parse_version(options.tensorrt) if options.tensorrt else trtexec_version(find_trtexec())
        for engine_request in requests:
            print(shlex.join(trtexec_line(parent, version, engine_request)))
        return
    refuse_external_data(request.onnx)
    # only trtexec can time the engine and write a log
    builder = choose_builder(options.builder or ("trtexec" if request.timed or options.log else None))
    *smaller, largest = requests
    for engine_request in smaller:
        _build(engine_request, parent, builder, options)
    # the engine of the largest batch opens the others, which its manifest names
    others = tuple(
        (engine_request.engine, sizes) for engine_request in smaller for sizes in engine_request.profiles
    )
    _build(dataclasses.replace(largest, others=others), parent, builder, options)
    note(f"verify the engine before use: {shlex.join(_verify_words(request))}")


def _build(request: BuildRequest, parent: dict[str, Any], builder: str, options: BuildOptions) -> None:
    from engines.build import build_in_python, build_with_trtexec
    from engines.memory_advice import memory_advice
    from runtime.console import note

    if builder != "trtexec":
        capability = options.compute_capability
        manifest = build_in_python(request, parent, builder=builder, compute_capability=capability)
        _print_engine(request, manifest, [])
        return
    manifest, report = build_with_trtexec(request, parent, log=options.log)
    if report.memory:
        # the engine is correct, but the build may have skipped the fastest tactics
        advice = memory_advice(report.memory, report.workspace_mib)
        note(
            f"WARNING {report.memory[0]}: the build had too little memory, so the engine may be slower than possible; {advice}"
        )
    _print_engine(request, manifest, _timing_rows(manifest, report) if request.timed else [])


def _verify_words(request: BuildRequest) -> list[str]:
    return ["python", "-m", "engines", "verify", str(request.engine), "--onnx", str(request.onnx)]


def _print_engine(request: BuildRequest, manifest: dict[str, Any], timing: list[list[object]]) -> None:
    from runtime.console import print_table

    machine = manifest["machine"]
    size_mb = request.engine.stat().st_size / 1e6
    gpu = f"{machine['gpu'] or 'any GPU'}, compute capability {machine['compute_capability'] or 'not fixed'}"
    rows: list[list[object]] = [
        ["file", f"{request.engine}  {size_mb:.1f} MB  sha256 {manifest['sha256'][:12]}"],
        ["for", f"{gpu}, {FLAVOURS[manifest['builder']['name']]} {machine['tensorrt']}"],
        ["precision", manifest["precision"]],
        ["gate", "not run"],
    ]
    print_table("built", ["", ""], rows + timing)


def _timing_rows(manifest: dict[str, Any], report: Report) -> list[list[object]]:
    batch = manifest["timing"]["batch"]
    rows: list[list[object]] = []
    images = report.images_per_s(batch)
    if images is not None:
        rows.append(["throughput", f"{images:.1f} images/s at batch {batch}"])
    if report.latency is not None:
        tail = ", ".join(f"p{percent:g} {ms:.3f}" for percent, ms in report.latency.percentiles.items())
        rows.append(["latency", f"median {report.latency.median:.3f} ms, {tail} ms"])
    if report.enqueue_bound:
        rows.append(
            ["warning", "the CPU's launches of the kernels (enqueue time), not the GPU, limit the throughput"]
        )
    if report.unstable_percent is not None:
        rows.append(["warning", f"the GPU time varies by {report.unstable_percent:.1f} %; lock the clocks"])
    return rows
