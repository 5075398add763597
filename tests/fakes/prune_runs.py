"""A small run of prune.py, and functions that kill it in a new process while it writes a file, and resume it."""

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
# The run has three rounds, two of heads and one of tokens. Drop-path and a running average must survive a stop too.
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
    """Write a data set of four people, with two training images in each of two cameras, to `root`.

    A person is shown by two colours, and a camera by a brightness.
    """
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
    """Write `model` as weights and the configuration to the folder `root`, and return the folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(CONFIG)
    save_model(model, root / "model.safetensors", SPEC)
    return root


def prune_into(out: Path, root: Path, data: Path, *more: str) -> int:
    """Run prune.py in this process, with the files in `root` and the data set `data`, and return its exit code."""
    weights = ["--config", str(root / "config.yaml"), "--weights", str(root / "model.safetensors")]
    argv = [*weights, "--data", str(data), "--out", str(out), "--device", "cpu", "--evaluate", "none", *more]
    return guarded(command.main, argv)


def die_at_write(number: int, *, torn: bool) -> None:
    """Kill this process at write `number` (from 0) of a model or checkpoint.

    The process is killed after this write. With `torn`, it is killed before, so that the manifest or the checkpoint's name is missing.
    """
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
    """Run `action` in a child process, and return the wait status of the process."""
    child = os.fork()
    if not child:
        os._exit(action() or 0)
    return os.waitpid(child, 0)[1]


def killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def after_every_write(out: Path, root: Path, data: Path) -> tuple[int, int]:
    """Kill one run after each of its writes, and resume it each time. Return (number of kills, last wait status)."""

    def mortal() -> int:
        die_at_write(0, torn=False)
        return prune_into(out, root, data, "--resume")

    times = 0
    while not (out / "model.safetensors").exists():
        if not killed(status := in_process(mortal)):
            return times, status
        times += 1
    # The model exists now, but its result.json does not.
    return times, in_process(lambda: prune_into(out, root, data, "--resume"))


def within_writes(out: Path, root: Path, data: Path, *numbers: str) -> tuple[int, int]:
    """For each of the write `numbers`, kill a new run within this write, and resume it. Return (number of runs, last status)."""
    status = 0
    for index, number in enumerate(numbers):

        def mortal(number: str = number) -> int:
            die_at_write(int(number), torn=True)
            return prune_into(out / number, root, data)

        if not killed(status := in_process(mortal)):
            return index, status
        # A kill within the first write leaves nothing to resume, and --resume then starts from the beginning.
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
