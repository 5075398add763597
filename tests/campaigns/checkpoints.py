"""Damaged checkpoints, converted or opened as the commands do: .pth files of the authors, and our model.safetensors."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from prune.cli import convert, flops
from prune.model.architecture import unpruned
from prune.model.file import save_model
from prune.model.transreid import TransReID
from prune.model.variants import VARIANTS
from prune.session import open_torch_model
from runtime.files.manifest import sha256, write_manifest
from runtime.spec import InputSpec
from tests.campaigns.mutate import EXTREMES, damaged, json_text, tree_damaged
from tests.campaigns.pickles import archive_damaged, pickle_damaged

CONFIG = "model: {variant: vit_lite, size: [32, 32], stride: 16, cameras: 2}\ndata: {layout: anny}\n"
SPEC = InputSpec(height=32, width=32, layout="float-nchw", camera="input", cameras=2, dataset="anny")


def tiny() -> TransReID:
    """Return a model of a few kilobytes with the name of the small variant, so that thousands can be read in a minute."""
    changes = {"width": 16, "depth": 3, "heads": 2, "head_dim": 8, "hidden": 16}
    VARIANTS["vit_lite"] = dataclasses.replace(VARIANTS["vit_lite"], **changes)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return TransReID(unpruned("vit_lite", height=32, width=32, cameras=2, identities=3)).eval()


@dataclasses.dataclass(frozen=True)
class Material:
    """The undamaged inputs: `trees` are the contents of .pth files, and `model` is a model.safetensors with its manifest."""

    trees: list[Any]
    model: bytes
    manifest: dict[str, Any]


def prepare(folder: Path) -> Material:
    """Make checkpoints of one model, in all the forms in which checkpoints are published."""
    model = tiny()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    amg = {"state_dict": {f"module.{key}": value for key, value in state.items()}}
    amg |= {"channels": [torch.tensor(5), torch.tensor(5)], "heads": [np.int64(2), np.int64(2)]}
    training = {
        "model": state,
        "optimizer": {"lr": 0.1, "steps": [1, 2]},
        "epoch": 3,
        "best": np.float64(0.5),
    }
    (folder / "config.yaml").write_text(CONFIG)
    manifest = save_model(model, folder / "model.safetensors", SPEC)
    return Material([state, amg, training], (folder / "model.safetensors").read_bytes(), manifest)


def make(material: Material, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Write one damaged checkpoint. Return the command that reads it, and whether the command must refuse it."""
    return (_ours if random.random() < 0.3 else _theirs)(material, random, folder)


def _theirs(material: Material, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    tree, path, out = random.choice(material.trees), folder / "checkpoint.pth", folder / "out.safetensors"
    change = random.randrange(4)
    if change == 0:
        tree = _tree_damaged(tree, random)
    try:
        data = _saved(tree, random.random() < 0.7)
    except Exception:  # torch itself refuses to write some of these
        data = _saved(material.trees[0], True)
    if change == 1:
        data = damaged(data, random)
    elif change > 1:
        data = archive_damaged(data, random) if data.startswith(b"PK") else pickle_damaged(data, random)
    path.write_bytes(data)
    words = [str(path), "--config", str(folder / "config.yaml"), "--out", str(out)]
    return lambda: convert.main(words), False


def _saved(tree: Any, new: bool) -> bytes:
    file = io.BytesIO()
    torch.save(tree, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


def _tree_damaged(tree: Any, random: Random) -> Any:
    """Return the dictionary with one tensor or value replaced by another object that a pickle can hold."""
    tree = dict(tree)
    holder = next((tree for _ in range(1) if random.random() < 0.3), None) or next(
        (value for value in tree.values() if isinstance(value, dict) and len(value) > 5), tree
    )
    if holder is not tree:
        name = next(key for key, value in tree.items() if value is holder)
        holder = tree[name] = dict(holder)
    key = random.choice(list(holder))
    value = holder[key]
    like = value if isinstance(value, torch.Tensor) and value.dim() else torch.zeros(2, 3)
    odd: list[Any] = [
        None,
        1,
        -1.5,
        "x",
        "\x1b[31m",
        [],
        {},
        [value],
        {"a": value},
        True,
        2**80,
        object,
        float("nan"),
        like[:0],
        like.unsqueeze(0),
        like.flatten(),
        like.double(),
        like.half(),
        like.to(torch.int64),
        like.bool(),
        torch.full_like(like, float("nan")) if like.is_floating_point() else like,
        like.to(torch.complex64),
        torch.zeros(1).expand(200_000_000_000),
        torch.zeros(1).expand(*[1] * 60, 3),
        torch.empty(0, 2**40),
        like.to_sparse(),
        torch.quantize_per_tensor(like.float(), 0.1, 0, torch.quint8),
        like.to("meta"),
        like.to(torch.float8_e4m3fn),
        torch.tensor(3),
        torch.nn.Parameter(like.float()),
        like.t() if like.dim() == 2 else like,
        like.requires_grad_(False),
        torch.Size([1]),
        np.float32(1),
        torch.float16,
    ]
    holder[key] = random.choice(odd)
    if random.random() < 0.3:
        extra = (
            "x",
            1,
            None,
            "\x1b[31mhead",
            ("a",),
            "module.module.base.cls_token",
            "base.blocks.99.attn.qkv.weight",
            "",
        )
        holder[random.choice(extra)] = random.choice(odd)
    if random.random() < 0.2:
        del holder[random.choice(list(holder))]
    return tree


def _ours(material: Material, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    path, renewed, manifest = folder / "model.safetensors", random.random() < 0.7, material.manifest
    data, change = material.model, random.randrange(4)
    if change == 0:
        data = damaged(data, random)
    elif change == 1:
        data = _header_damaged(data, random)
    path.write_bytes(data)
    if change > 1:
        manifest = tree_damaged(manifest, random)
    if renewed and isinstance(manifest, dict):
        manifest = manifest | {"sha256": sha256(path), "schema": 1}
        write_manifest(path, {})
    Path(f"{path}.json").write_text(json_text(manifest, random) if change > 1 else json.dumps(manifest))
    if change > 1 and random.random() < 0.3:
        return lambda: flops.main([str(path), "--json"]), False

    def read() -> int:
        artifact, _ = open_torch_model(path)
        artifact.run(
            np.zeros((1, 3, artifact.spec.height, artifact.spec.width), np.float32), np.zeros(1, np.int64)
        )
        return 0

    return read, data != material.model and not renewed


def _header_damaged(data: bytes, random: Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + size]), data[8 + size :]
    if random.random() < 0.5:
        entry = header[random.choice([name for name in header if name != "__metadata__"])]
        change = random.randrange(3)
        if change == 0:
            names = (
                "F64",
                "F32",
                "F16",
                "BF16",
                "I64",
                "U8",
                "BOOL",
                "F8_E4M3",
                "F4",
                "F8_E8M0",
                "U64",
                "C64",
                "X",
                "",
            )
            entry["dtype"] = random.choice(names)
        elif change == 1:
            entry["shape"] = random.choice(
                ([], [0], [*entry["shape"], 1], entry["shape"][::-1], [2**40, 0], [-1], [2**63])
            )
        else:
            entry["data_offsets"] = random.choice(
                ([0, 0], [0, 4], entry["data_offsets"][::-1], [0, 2**63], [random.choice(EXTREMES)] * 2)
            )
        text = json.dumps(header)
    else:
        text = json_text(tree_damaged(header, random), random)
    raw = text.encode(errors="surrogatepass")
    return len(raw).to_bytes(8, "little") + raw + tensors
