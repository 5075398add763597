"""`python -m engines build`: build an engine for this machine, or print the exact trtexec line."""

from __future__ import annotations

import dataclasses
import re
import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.manifest import FLAVOURS
from engines.trtexec.command import DEFAULT_PROFILE, Build, Profile
from runtime.backends.tensorrt.compat import LEVEL, WORKSPACE_MIB
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from engines.trtexec.output import Report

HELP = "build an engine for this machine"


@dataclass(frozen=True)
class BuildOptions:
    """The engine that is built, and by what: `builder` None is trtexec where it is found, else Python.

    `separate` builds an engine for each profile of `build`. `dry_run` only prints trtexec's lines, for the version `tensorrt`
    (None: that of the trtexec found here). `compute_capability` is that of the GPUs which an rtx build ahead of time is for.
    """

    build: Build
    separate: bool
    builder: str | None
    compute_capability: str | None
    log: Path | None
    dry_run: bool
    tensorrt: str | None


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `build`."""
    parser.add_argument(
        "onnx", type=Path, metavar="MODEL.onnx", help="from export_onnx.py, its manifest beside it"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the engine (MODEL.engine)")
    parser.add_argument(
        "--builder", choices=tuple(FLAVOURS), help="what builds it (trtexec where it is found, else python)"
    )
    parser.add_argument(
        "--compute-capability", metavar="X.Y", help="with --builder rtx: build ahead of time for such GPUs"
    )
    parser.add_argument(
        "--batch",
        action="append",
        metavar="N|MIN,OPT,MAX",
        help="batch sizes, for a file with a dynamic batch; again for more profiles in the same engine "
        f"({','.join(map(str, DEFAULT_PROFILE))})",
    )
    parser.add_argument(
        "--separate",
        action="store_true",
        help="an engine for each --batch (MODEL.b8.engine) instead of one with all; the one of the largest batch, MODEL.engine, "
        "opens the others, and a batch is run by the smallest that fits",
    )
    parser.add_argument(
        "--workspace",
        type=int,
        default=WORKSPACE_MIB,
        metavar="MIB",
        help="scratch memory for the builder (%(default)s)",
    )
    parser.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="measured tactics, read and extended"
    )
    parser.add_argument(
        "--optimization-level",
        type=int,
        default=LEVEL,
        metavar="0..5",
        help="fast build .. fast engine (%(default)s)",
    )
    parser.add_argument(
        "--version-compatible",
        action="store_true",
        help="an engine that later TensorRT versions of the same major can load; larger and maybe slower",
    )
    parser.add_argument("--time", action="store_true", help="let trtexec time the engine after the build")
    parser.add_argument(
        "--transfers", action="store_true", help="with --time: include the copies to and from the GPU"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep all that trtexec prints")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the trtexec line instead; needs no GPU and no TensorRT"
    )
    parser.add_argument("--tensorrt", metavar="X.Y", help="with --dry-run: for this TensorRT version")


def command(args: Namespace) -> None:
    """Run `build` with parsed arguments."""
    run(build_options(args))


def build_options(args: Namespace) -> BuildOptions:
    """What `add_arguments` parsed; ConfigError for options that contradict each other."""
    if args.tensorrt is not None and not args.dry_run:
        raise ConfigError(
            "--tensorrt: only with --dry-run; a build is made by the TensorRT of the trtexec found here"
        )
    if args.compute_capability is not None and not (
        args.builder == "rtx" and re.fullmatch(r"\d+\.\d", args.compute_capability)
    ):
        raise ConfigError(
            f"--compute-capability {args.compute_capability}: a number such as 8.6, and only with --builder rtx; other "
            "builders build for the GPU found here"
        )
    if args.builder in ("python", "rtx"):
        given = {"--dry-run": args.dry_run, "--time": args.time, "--log": args.log is not None}
        if wrong := [option for option, is_given in given.items() if is_given]:
            raise ConfigError(f"{wrong[0]}: only with --builder trtexec, not {args.builder}")
    if args.log is not None and args.separate:
        raise ConfigError("--log: not with --separate, whose builds would overwrite each other's")
    if args.transfers and not args.time:
        raise ConfigError("--transfers: only with --time, whose runs include the copies then")
    build = Build(
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
        build=build,
        separate=args.separate,
        builder=args.builder,
        compute_capability=args.compute_capability,
        log=args.log,
        dry_run=args.dry_run,
        tensorrt=args.tensorrt,
    )


def profile(text: str) -> Profile:
    """`8` or `1,8,32` (min, opt, max) as a profile; ConfigError for anything else."""
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--batch {text}: give one batch, or min,opt,max, such as 1,8,32")
    sizes = [int(part) for part in parts]
    return Profile(*(sizes if len(sizes) == 3 else sizes * 3))


def run(options: BuildOptions) -> None:
    """Build what is asked for, or with `dry_run` print the exact trtexec lines, and nothing else, on stdout."""
    from engines.build import choose_builder, separate
    from engines.trtexec.command import parse_version, trtexec_line
    from engines.trtexec.run import find_trtexec, trtexec_version
    from runtime.backends.onnx_scan import refuse_external_data
    from runtime.console import note
    from runtime.files.manifest import read_manifest

    asked = options.build
    builds = separate(asked) if options.separate else [asked]
    parent = read_manifest(asked.onnx)
    gate = parent.get("gate")
    if not isinstance(gate, dict) or gate.get("passed") is not True:
        note(f"WARNING {asked.onnx}: never passed a quality gate; an engine of it is no better")
    if options.dry_run:
        version = parse_version(options.tensorrt) if options.tensorrt else trtexec_version(find_trtexec())
        for build in builds:
            print(shlex.join(trtexec_line(parent, version, build)))
        return
    refuse_external_data(asked.onnx)
    # only trtexec times and keeps a log
    builder = choose_builder(options.builder or ("trtexec" if asked.timed or options.log else None))
    *smaller, largest = builds
    for build in smaller:
        _build(build, parent, builder, options)
    # the engine of the largest batch opens the others: its manifest names them
    others = tuple((build.engine, sizes) for build in smaller for sizes in build.profiles)
    _build(dataclasses.replace(largest, others=others), parent, builder, options)
    note(f"prove it before use: {shlex.join(_verify_words(asked))}")


def _build(build: Build, parent: dict[str, Any], builder: str, options: BuildOptions) -> None:
    from engines.build import build_in_python, build_with_trtexec
    from engines.memory_advice import memory_advice
    from runtime.console import note

    if builder != "trtexec":
        capability = options.compute_capability
        manifest = build_in_python(build, parent, builder=builder, compute_capability=capability)
        _show(build, manifest, [])
        return
    manifest, report = build_with_trtexec(build, parent, log=options.log)
    if report.memory:
        # the engine is right, but the fastest ways to compute a layer may have been left out
        advice = memory_advice(report.memory, report.workspace_mib)
        note(f"WARNING {report.memory[0]}: the engine may be slower than it could be; {advice}")
    _show(build, manifest, _timing_rows(manifest, report) if build.timed else [])


def _verify_words(build: Build) -> list[str]:
    return ["python", "-m", "engines", "verify", str(build.engine), "--onnx", str(build.onnx)]


def _show(build: Build, manifest: dict[str, Any], timing: list[list[object]]) -> None:
    from runtime.console import print_table

    machine = manifest["machine"]
    size = build.engine.stat().st_size / 1e6
    place = (
        f"{machine['gpu'] or 'any GPU'}, compute capability {machine['compute_capability'] or 'not fixed'}"
    )
    rows: list[list[object]] = [
        ["file", f"{build.engine}  {size:.1f} MB  sha256 {manifest['sha256'][:12]}"],
        ["for", f"{place}, {FLAVOURS[manifest['builder']['name']]} {machine['tensorrt']}"],
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
        rows.append(["doubt", "bound by enqueue time, not by the GPU"])
    if report.unstable_percent is not None:
        rows.append(
            ["doubt", f"unstable: GPU time varies by {report.unstable_percent:.1f} %; lock the clocks"]
        )
    return rows
