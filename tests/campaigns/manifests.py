"""Damaged manifests of ONNX files and engines, which are read as `extract`, bench.py and `engines doctor` do."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.candidate import facts
from engines.doctor.doctor import diagnose
from engines.doctor.model import examine_model
from engines.machine import Machine
from engines.manifest import engine_manifest, preflight
from engines.trtexec.command import BuildRequest, Profile
from runtime.__main__ import main
from runtime.console import print_json
from runtime.errors import ArtifactError
from runtime.files.manifest import manifest_path, write_manifest
from runtime.opening import open_artifact, verify_artifact
from tests.campaigns.mutate import damaged, json_text, tree_damaged
from tests.fakes.engine_files import onnx_file
from tests.fakes.tiny_model import SPEC, write_model

HOST = Machine("10.3.0", "8.7", "Orin", platform.system(), platform.machine(), "36.4.3", "6.2")


@dataclass(frozen=True)
class Material:
    """The undamaged inputs: model files with their manifests, an image, and the report of `doctor` for a machine with nothing."""

    models: list[tuple[Path, dict[str, Any]]]
    engine: Path
    built: dict[str, Any]
    image: Path
    report: dict[str, Any]


def prepare(folder: Path) -> Material:
    """Make two small models, an engine that cannot be loaded, and one image."""
    about = {
        "macs": {"macs_paper": 3, "macs_folded": 2, "macs_reference": 4},
        "form": "folded",
        "params": 9,
        "notes": ["x"],
    }
    cameras = replace(SPEC, camera="input", cameras=3, dataset="anny")
    paths = [
        write_model(folder / "plain.onnx", manifest=about),
        write_model(folder / "cameras.onnx", cameras, manifest=about),
    ]
    models = [(path, json.loads(manifest_path(path).read_text())) for path in paths]
    parent = onnx_file(folder / "e.onnx")
    engine = folder / "e.engine"
    engine.write_bytes(b"plan")
    words = ["--onnx=e.onnx", "--stronglyTyped"]
    built = write_manifest(
        engine,
        engine_manifest(
            parent, HOST, BuildRequest(folder / "e.onnx", engine, profiles=(Profile(1, 4, 8),)), words
        ),
    )
    image = folder / "0001_c1s1_000001_00.png"
    Image.fromarray(np.arange(32 * 16 * 3, dtype=np.uint8).reshape(32, 16, 3)).save(image)
    (root := folder / "root").mkdir()
    return Material(models, engine, built, image, diagnose(root=root, environment={}))


def make(material: Material, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Write one damaged manifest beside its file. Return a command that reads it, and whether it must refuse it."""
    if random.random() < 0.3:
        path, manifest, runs = material.engine, material.built, (_preflight, _verify, _examine)
    else:
        path, manifest = random.choice(material.models)
        runs = (_extract, _extract, _open, _examine)
    kept = random.random() < 0.7
    if random.random() < 0.2:
        data = damaged(json.dumps(manifest, indent=1).encode(), random)
    else:
        tree = tree_damaged(manifest, random)
        if kept and isinstance(tree, dict):
            # The entries that are checked first are correct, so that the others are read too.
            tree = tree | {key: manifest[key] for key in ("sha256", "schema", "kind")}
        data = json_text(tree, random).encode(errors="surrogatepass")
    manifest_path(path).write_bytes(data)
    run = random.choice(runs)
    return lambda: run(material, path, folder), False


def _extract(material: Material, path: Path, folder: Path) -> int:
    return main(
        [
            "extract",
            str(path),
            str(material.image),
            "--out",
            str(folder / "out.npz"),
            "--threads",
            "1",
            "--json",
        ]
    )


def _open(material: Material, path: Path, folder: Path) -> int:
    print_json(facts(open_artifact(path, threads=1, allow_ungated=True)))
    return 0


def _examine(material: Material, path: Path, folder: Path) -> int:
    print_json(examine_model(path, material.report))
    return 0


def _preflight(material: Material, path: Path, folder: Path) -> int:
    if found := preflight(path, HOST):
        raise ArtifactError(found[0])
    return 0


def _verify(material: Material, path: Path, folder: Path) -> int:
    verify_artifact(path, device="cuda", allow_ungated=True)
    return 0
