"""Save and load training checkpoints, so that a stopped run can be resumed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from runtime.console import note
from runtime.errors import ArtifactError, StorageError
from runtime.files.manifest import replacing
from runtime.wording import reason_of

KEEP = 2


def save_checkpoint(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Write `content`, tensors and plain data, to `snapshot-STEP.pt` in `folder`, and return the path of this checkpoint.

    The file is written whole or not at all. Of the older checkpoints, only the newest one is kept. Raises StorageError when the
    file cannot be written.
    """
    path = folder / f"snapshot-{step:09d}.pt"
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            # torch reports a full disk as a RuntimeError.
            raise StorageError(
                f"{path}: cannot be written ({reason_of(error, 160)}); free some disk space"
            ) from None
    # The rename is durable only after the folder itself is synchronised.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    for outdated in checkpoint_files(folder)[:-KEEP]:
        outdated.unlink()
    return path


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the paths of the checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("snapshot-*.pt"))


def remove_checkpoints(folder: Path) -> None:
    """Remove every checkpoint in `folder`, after a run that is finished and will not be resumed."""
    for path in checkpoint_files(folder):
        path.unlink()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the content of the newest readable checkpoint in `folder`, or None if there is no checkpoint.

    A warning is printed for every damaged checkpoint. Raises ArtifactError when all checkpoints are damaged.
    """
    paths = checkpoint_files(folder)
    for path in reversed(paths):
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return content
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            note(f"{path}: the checkpoint is damaged ({reason_of(error, 160)}); trying the previous one")
    if paths:
        raise ArtifactError(
            f"{folder}: no checkpoint can be read; remove the snapshot-*.pt files and train again"
        )
    return None
