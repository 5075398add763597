"""A pruning run small enough to be killed at every file it writes, and the driver that does it in processes of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import prune.model.file
import prune.training.loop
from prune.cli import prune as command
from prune.model.file import save_model
from prune.model.transreid import TransReID
from runtime.entry import guarded
from runtime.spec import InputSpec
from tests.fakes import lite

SPEC = InputSpec(height=64, width=32, layout="float-nchw", camera="input", cameras=2, dataset="anny")
# three rounds: two of heads, one of tokens; drop-path and a running average must come through a stop as well
CONFIG = """
model: {variant: vit_lite, size: [64, 32], stride: 16, cameras: 2, drop_path: 0.1}
data: {layout: anny}
prune:
  heads: {fraction: 0.25, rounds: 2}
  tokens: {fraction: 0.25, floor: 3}
  batches: 1
  identities: 2
  images: 2
train:
  optimizer: adamw
  lr: 1e-4
  average: 0.9
  identities: 2
  images: 2
  workers: 1
  warmup_epochs: 0
  fine_epochs: 1
  final_epochs: 2
  distill: {type: soft}
"""


def people(root: Path) -> Path:
    """Four people, two cameras, two shots each to train on: a person is two colours, a camera a brightness."""
    random = np.random.default_rng(0)
    for folder, pids, shots in (
        ("bounding_box_train", (3, 5, 8, 9), 2),
        ("query", (20, 21), 1),
        ("bounding_box_test", (20, 21), 1),
    ):
        (root / folder).mkdir(parents=True)
        for pid in pids:
            colours = np.random.default_rng(pid).integers(30, 200, (2, 1, 3))
            for camera in (1, 2):
                for shot in range(shots):
                    pixels = np.repeat(colours, 32, axis=0).repeat(32, axis=1) + 10 * camera
                    pixels = pixels + random.integers(0, 10, pixels.shape)
                    name = f"{pid:04d}_c{camera}s1_{shot:06d}_00.png"
                    Image.fromarray(pixels.astype(np.uint8)).save(root / folder / name)
    return root


def network(identities: int) -> TransReID:
    return lite.model(stride=16, cameras=2, identities=identities)


def teacher(root: Path, model: TransReID) -> Path:
    """The folder with the model as weights, and the configuration."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(CONFIG)
    save_model(model, root / "model.safetensors", SPEC)
    return root


def prune_into(out: Path, root: Path, data: Path, *more: str) -> int:
    """prune.py's exit code."""
    weights = ["--config", str(root / "config.yaml"), "--weights", str(root / "model.safetensors")]
    argv = [*weights, "--data", str(data), "--out", str(out), "--device", "cpu", "--evaluate", "none", *more]
    return guarded(command.main, argv)


def die_at_write(number: int, *, torn: bool) -> None:
    """From here on, write `number` (from 0) of a model or checkpoint ends with SIGKILL; torn: before its manifest or name is there."""
    seen = 0

    def dying(write: Callable[..., object]) -> Callable[..., object]:
        def written(*arguments: object, **keys: object) -> object:
            nonlocal seen
            seen += 1
            if torn and seen > number:
                os.kill(os.getpid(), signal.SIGKILL)
            value = write(*arguments, **keys)
            if seen > number:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return written

    prune.model.file.write_manifest = dying(prune.model.file.write_manifest)
    prune.training.loop.save_checkpoint = dying(prune.training.loop.save_checkpoint)


def in_process(action: Callable[[], int | None]) -> int:
    """The wait status of a process that does it."""
    child = os.fork()
    if not child:
        os._exit(action() or 0)
    return os.waitpid(child, 0)[1]


def killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def after_every_write(out: Path, root: Path, data: Path) -> tuple[int, int]:
    """One run, killed after each of its writes and gone on with each time: (how often, the last status)."""

    def mortal() -> int:
        die_at_write(0, torn=False)
        return prune_into(out, root, data, "--resume")

    times = 0
    while not (out / "model.safetensors").exists():
        if not killed(status := in_process(mortal)):
            return times, status
        times += 1
    # the result was there, its record was not
    return times, in_process(lambda: prune_into(out, root, data, "--resume"))


def within_writes(out: Path, root: Path, data: Path, *numbers: str) -> tuple[int, int]:
    """For each write a run of its own, killed in the middle of it, then gone on with: (how many, the last status)."""
    status = 0
    for index, number in enumerate(numbers):

        def mortal(number: str = number) -> int:
            die_at_write(int(number), torn=True)
            return prune_into(out / number, root, data)

        if not killed(status := in_process(mortal)):
            return index, status
        # a kill within the very first write leaves nothing to go on from, and --resume begins anew
        if status := in_process(lambda number=number: prune_into(out / number, root, data, "--resume")):
            return index, status
    return len(numbers), status


def main() -> None:
    torch.set_num_threads(1)
    kind, out, root, data, *numbers = sys.argv[1:]
    action = {"after": after_every_write, "within": within_writes}[kind]
    print(*action(Path(out), Path(root), Path(data), *numbers))


if __name__ == "__main__":
    main()
