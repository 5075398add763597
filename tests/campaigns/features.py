"""Damaged feature files (.npz), in their bytes, arrays and headers, which are scored as `evaluate` does."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from runtime.__main__ import main
from runtime.features import Features, save_features
from runtime.files.manifest import manifest_path, sha256
from tests.campaigns.mutate import EXTREMES, damaged, json_text, tree_damaged


@dataclasses.dataclass(frozen=True)
class Material:
    """The undamaged inputs: the bytes of a feature file, its arrays and its manifest."""

    data: bytes
    arrays: dict[str, Any]
    manifest: dict[str, Any]


def prepare(folder: Path) -> Material:
    """Make a feature file of twelve images of four people, which serves as query and as gallery."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(12, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names, digests = (
        tuple(f"{index}.jpg" for index in range(12)),
        tuple(f"{index:064x}" for index in range(12)),
    )
    features = Features(rows, names, np.arange(12) % 4, np.arange(12) % 3, "0" * 64, "anny", images=digests)
    for name in ("good.npz", "bad.npz"):
        save_features(folder / name, features)
    with np.load(folder / "good.npz") as file:
        arrays = {key: file[key] for key in file.files}
    path = folder / "good.npz"
    return Material(path.read_bytes(), arrays, json.loads(manifest_path(path).read_text()))


def make(material: Material, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Write one damaged file. Return the command that scores it against an undamaged one, and whether it must refuse it."""
    path, change, manifest = folder / "bad.npz", random.randrange(5), material.manifest
    renewed = random.random() < 0.6
    if change == 0:
        data = damaged(material.data, random)
    elif change == 1:
        data = _members(material.data, random)
    elif change < 4:
        data = _arrays(material.arrays, random)
    else:
        data = material.data
    path.write_bytes(data)
    if change == 4:
        manifest = tree_damaged(manifest, random)
    if renewed and isinstance(manifest, dict):
        manifest = manifest | {"sha256": sha256(path), "schema": 1}
    manifest_path(path).write_text(json_text(manifest, random) if change == 4 else json.dumps(manifest))
    pair = [str(path), str(folder / "good.npz")]
    random.shuffle(pair)
    words = ["evaluate", "--query", pair[0], "--gallery", random.choice(pair)]
    if random.random() < 0.2:
        words = ["evaluate", "--query", str(path), "--gallery", str(path)]
    words += random.choice(([], ["--json"], ["--rerank"], ["--rerank", "--json"]))
    return lambda: main(words), data != material.data and not renewed and str(path) in words


def _members(data: bytes, random: Random) -> bytes:
    """Return the archive with the bytes of one member damaged and its checksum corrected.

    The member is sometimes compressed, and it is rarely a thousand times as large.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = random.randrange(len(members))
    name, content = members[place]
    change = random.randrange(8)
    if change == 0:
        members[place] = (random.choice((name[:-4], "x.npy", "../x.npy", "\x1b.npy", "model.npy")), content)
    elif change == 1:
        members.append((name, damaged(content, random)))
    elif change == 2:
        members[place] = (name, _header(content, random) + bytes(300_000_000 if random.random() < 0.2 else 8))
    elif change < 6:
        members[place] = (name, _header(content, random))
    else:
        members[place] = (name, damaged(content, random))
    file = io.BytesIO()
    how = random.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    )
    if sum(len(content) for _, content in members) > 1_000_000:
        how = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", how, compresslevel=1 if how == zipfile.ZIP_DEFLATED else None) as archive:
        for name, content in members:
            archive.writestr(name, content)
    changed = bytearray(file.getvalue())
    if random.random() < 0.3:
        # Change one field of the central directory: method, flags, sizes or offsets.
        at = changed.rfind(b"PK\1\2") + random.randrange(46)
        size = random.choice((1, 2, 4))
        changed[at : at + size] = (random.choice(EXTREMES) % 256**size).to_bytes(size, "little")
    return bytes(changed)


def _header(content: bytes, random: Random) -> bytes:
    """Return a member of the archive whose .npy header names another type, order or shape."""
    size = int.from_bytes(content[8:10], "little")
    header, rest = content[10 : 10 + size].decode("latin-1").rstrip(), content[10 + size :]
    fields = {"descr": "'<f4'", "fortran_order": "False", "shape": "(12,)"}
    odd = {
        "descr": (
            "'|O'",
            "'<f4'",
            "'>f4'",
            "'<f8'",
            "'<U9999999'",
            "'<U0'",
            "'|V0'",
            "'<M8[s]'",
            "[('a', '<f4')]",
            "'|S4'",
            "'<c16'",
            "'|b1'",
            "'<u8'",
            "None",
            "('<f4', (3,))",
            "[" * 300,
        ),
        "fortran_order": ("True", "1", "None", "'x'"),
        "shape": (
            "()",
            "(12, 6)",
            "(0,)",
            "(-1,)",
            "(99999999999,)",
            "(99999999999, 0)",
            "(2**80,)",
            "(12.0,)",
            "12",
            "(True,)",
            "(4611686018427387904, 4)",
            "(12,) * 9",
            "(1,)" * 40,
        ),
    }
    key = random.choice(list(fields))
    fields[key] = random.choice(odd[key])
    text = "{" + ", ".join(f"'{name}': {value}" for name, value in fields.items()) + "}"
    if random.random() < 0.3:
        text = random.choice(
            (
                header[:-3],
                header.replace("'", ""),
                "(" * 9000,
                "9" * 5000,
                "{'a': 1}",
                "",
                "\0",
                "import os",
                "{**{}}",
                "-" * 9000 + "1",
            )
        )
    raw = text.encode("latin-1")
    return content[:8] + len(raw).to_bytes(2, "little") + raw + rest


def _arrays(arrays: dict[str, Any], random: Random) -> bytes:
    """Return an archive in which one to three arrays are replaced by arrays of another type, shape or range."""
    changed = dict(arrays)
    for _ in range(random.choice((1, 1, 2, 3))):
        key = random.choice(list(changed))
        value = changed[key]
        odd: list[Any] = [
            value[:0] if value.ndim else value,
            value[:5] if value.ndim else value,
            value.reshape(-1),
            value[None],
            np.zeros(()),
            np.zeros((0, 6), np.float32),
            np.zeros((12, 0), np.float32),
            np.full((12, 6), np.nan, np.float32),
            np.full((12, 6), np.inf, np.float32),
            np.zeros((12, 6), np.float64),
            np.full(12, -1),
            np.full(12, 2**62),
            np.full(12, 2**64 - 1, np.uint64),
            np.arange(12, dtype=np.int8),
            np.zeros(12),
            np.array(["x"] * 12),
            np.array([b"\xff\xfe"] * 12),
            np.array(["\x1b[31m"] * 12),
            np.array("\x1b[31m"),
            np.array("exact"),
            np.array("fast"),
            np.array(3),
            np.array(None),
            np.array([{}] * 12),
            np.array("\ud800"),
            np.array(["\ud800"] * 12),
            np.zeros(12, "M8[s]"),
            np.zeros(12, [("a", "<i4")]),
            np.array([True] * 12),
            np.array("x" * 5000),
            np.array(b"\xff"),
        ]
        changed[key] = random.choice(odd)
        if random.random() < 0.15:
            del changed[random.choice(list(changed))]
        if random.random() < 0.1:
            changed["more"] = np.zeros(3)
    file = io.BytesIO()
    (np.savez_compressed if random.random() < 0.2 else np.savez)(file, **changed)
    return file.getvalue()
