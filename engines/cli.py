"""`python -m engines`: build an engine for this machine, verify it, say what this machine is."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines import verify
from engines.build import build_in_python, build_with_trtexec, choose_builder, separate
from engines.doctor import doctor, tables
from engines.doctor import model as doctor_model
from engines.manifest import FLAVOURS
from engines.memory_advice import memory_advice
from engines.trtexec.command import (
    DEFAULT_PROFILE,
    Build,
    Profile,
    parse_version,
    trtexec_line,
)
from engines.trtexec.output import Report
from engines.trtexec.run import find_trtexec, trtexec_version
from runtime.backends.onnx_scan import refuse_external_data
from runtime.backends.tensorrt.compat import LEVEL, WORKSPACE_MIB
from runtime.console import note, print_json, print_table
from runtime.errors import ConfigError
from runtime.files.manifest import read_manifest

BUILDERS = tuple(FLAVOURS)


def profile(text: str) -> Profile:
    """`8` or `1,8,32` (min, opt, max) as a profile; ConfigError for anything else."""
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--batch {text}: give one batch, or min,opt,max, such as 1,8,32")
    sizes = [int(part) for part in parts]
    return Profile(*(sizes if len(sizes) == 3 else sizes * 3))


def options(args: argparse.Namespace) -> Build:
    """The build that a command line asks for."""
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
    return Build(
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


def build(args: argparse.Namespace) -> None:
    """Build what is asked for, or with --dry-run print the exact trtexec lines, and nothing else, on stdout."""
    asked = options(args)
    builds = separate(asked) if args.separate else [asked]
    parent = read_manifest(asked.onnx)
    gate = parent.get("gate")
    if not isinstance(gate, dict) or gate.get("passed") is not True:
        note(f"WARNING {asked.onnx}: never passed a quality gate; an engine of it is no better")
    if args.dry_run:
        version = parse_version(args.tensorrt) if args.tensorrt else trtexec_version(find_trtexec())
        for one in builds:
            print(shlex.join(trtexec_line(parent, version, one)))
        return
    refuse_external_data(asked.onnx)
    # only trtexec times and keeps a log
    wanted = args.builder or ("trtexec" if args.time or args.log else None)
    builder = choose_builder(wanted)
    others: tuple[tuple[Path, Profile], ...] = ()
    for one in builds:
        if one is builds[-1]:
            one = dataclasses.replace(one, others=others)
        _build_one(one, parent, builder, args)
        others += tuple((one.engine, sizes) for sizes in one.profiles)
    note(f"prove it before use: {shlex.join(_verify_words(asked))}")


def _build_one(asked: Build, parent: dict[str, Any], builder: str, args: argparse.Namespace) -> None:
    if builder == "trtexec":
        manifest, report = build_with_trtexec(asked, parent, log=args.log)
        if report.memory:
            # the engine is right, but the fastest ways to compute a layer may have been left out
            advice = memory_advice(report.memory, report.workspace_mib)
            note(f"WARNING {report.memory[0]}: the engine may be slower than it could be; {advice}")
        _show(asked, manifest, _timing_rows(manifest, report) if asked.timed else [])
        return
    manifest = build_in_python(asked, parent, builder=builder, compute_capability=args.compute_capability)
    _show(asked, manifest, [])


def _verify_words(asked: Build) -> list[str]:
    return ["python", "-m", "engines", "verify", str(asked.engine), "--onnx", str(asked.onnx)]


def check(args: argparse.Namespace) -> None:
    """Run the gate on one engine and write its manifest; GateError (exit code 7) when it fails."""
    known = verify.Adopted(args.builder, args.precision, args.version_compatible)
    manifest = verify.verify(args.engine, args.onnx, known)
    numbers = manifest["gate"]["numbers"]
    rows: list[list[object]] = [
        ["file", f"{args.engine}  sha256 {manifest['sha256'][:12]}"],
        ["precision", manifest["precision"]],
        [
            "gate",
            f"passed on {numbers['images']} images: lowest cosine {numbers['cosine_min']:.6f}, largest difference "
            f"{numbers['difference_max']:.1e}, top-1 {numbers['top1']:.3f}, top-10 {numbers['top10']:.3f}",
        ],
    ]
    print_table("verified", ["", ""], rows)


def examine(args: argparse.Namespace) -> None:
    """Say what this machine is and can run, and what it lacks for the models given."""
    if not args.root.is_dir():
        raise ConfigError(f"--root {args.root}: no such folder; leave it out to examine this machine")
    report = doctor.diagnose(root=args.root, environment=os.environ if args.root == Path("/") else {})
    if args.models:
        report["models"] = [doctor_model.examine_model(model, report) for model in args.models]
    if args.json:
        print_json(report)
    else:
        tables.show(report)


def _show(asked: Build, manifest: dict[str, Any], timing: list[list[object]]) -> None:
    machine = manifest["machine"]
    size = asked.engine.stat().st_size / 1e6
    place = (
        f"{machine['gpu'] or 'any GPU'}, compute capability {machine['compute_capability'] or 'not fixed'}"
    )
    rows: list[list[object]] = [
        ["file", f"{asked.engine}  {size:.1f} MB  sha256 {manifest['sha256'][:12]}"],
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


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m engines`."""
    command = argparse.ArgumentParser(prog="python -m engines", description=__doc__)
    subcommands = command.add_subparsers(required=True, metavar="COMMAND")
    _add_build(subcommands.add_parser("build", help="build an engine for this machine"))
    _add_verify(subcommands.add_parser("verify", help="prove an engine here, also one of bare trtexec"))
    three = subcommands.add_parser("doctor", help="what this machine is and can run")
    three.add_argument(
        "models",
        nargs="*",
        type=Path,
        metavar="MODEL",
        help="an .onnx file or engine: what it lacks here, and the fix",
    )
    three.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="examine the files of another machine"
    )
    three.add_argument("--json", action="store_true", help="one JSON document")
    three.set_defaults(command=examine)
    return command


def _add_build(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "onnx", type=Path, metavar="MODEL.onnx", help="from export_onnx.py, its manifest beside it"
    )
    one.add_argument("--out", type=Path, metavar="FILE", help="the engine (MODEL.engine)")
    one.add_argument(
        "--builder", choices=BUILDERS, help="what builds it (trtexec where it is found, else python)"
    )
    one.add_argument(
        "--compute-capability", metavar="X.Y", help="with --builder rtx: build ahead of time for such GPUs"
    )
    one.add_argument(
        "--batch",
        action="append",
        metavar="N|MIN,OPT,MAX",
        help="batch sizes, for a file with a dynamic batch; again for more profiles in the same engine "
        f"({','.join(map(str, DEFAULT_PROFILE))})",
    )
    one.add_argument(
        "--separate",
        action="store_true",
        help="an engine for each --batch (MODEL.b8.engine) instead of one with all; the one of the largest batch, MODEL.engine, "
        "opens the others, and a batch is run by the smallest that fits",
    )
    one.add_argument(
        "--workspace",
        type=int,
        default=WORKSPACE_MIB,
        metavar="MIB",
        help="scratch memory for the builder (%(default)s)",
    )
    one.add_argument("--timing-cache", type=Path, metavar="FILE", help="measured tactics, read and extended")
    one.add_argument(
        "--optimization-level",
        type=int,
        default=LEVEL,
        metavar="0..5",
        help="fast build .. fast engine (%(default)s)",
    )
    one.add_argument(
        "--version-compatible",
        action="store_true",
        help="an engine that later TensorRT versions of the same major can load; larger and maybe slower",
    )
    one.add_argument("--time", action="store_true", help="let trtexec time the engine after the build")
    one.add_argument(
        "--transfers", action="store_true", help="with --time: include the copies to and from the GPU"
    )
    one.add_argument("--log", type=Path, metavar="FILE", help="keep all that trtexec prints")
    one.add_argument(
        "--dry-run", action="store_true", help="print the trtexec line instead; needs no GPU and no TensorRT"
    )
    one.add_argument("--tensorrt", metavar="X.Y", help="with --dry-run: for this TensorRT version")
    one.set_defaults(command=build)


def _add_verify(two: argparse.ArgumentParser) -> None:
    two.add_argument("engine", type=Path, metavar="MODEL.engine")
    two.add_argument(
        "--onnx",
        type=Path,
        required=True,
        metavar="MODEL.onnx",
        help="what it was built from, its manifest and check crops beside it",
    )
    facts = two.add_argument_group("of an engine without a manifest")
    facts.add_argument("--builder", choices=BUILDERS, default="trtexec", help="what built it (%(default)s)")
    facts.add_argument(
        "--precision", choices=list(verify.ENGINE_LIMITS), help="what it computes in (as the ONNX file says)"
    )
    facts.add_argument(
        "--version-compatible", action="store_true", help="trtexec was given --versionCompatible"
    )
    two.set_defaults(command=check)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns 0; raises a UserError for what a person can mend (argparse exits 2)."""
    args = parser().parse_args(argv)
    args.command(args)
    return 0
