"""Training state on disk, so that a killed run goes on where it stood. Knows nothing of what is trained."""

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
    """Write tensors and plain data as `snapshot-STEP.pt`, whole or not at all; keep the newest two."""
    path = folder / f"snapshot-{step:09d}.pt"
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            # torch reports a full disk this way.
            raise StorageError(
                f"{path}: cannot be written ({reason_of(error, 160)}); make room there"
            ) from None
    # The rename itself is on disk only once its folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    for old in checkpoint_files(folder)[:-KEEP]:
        old.unlink()
    return path


def checkpoint_files(folder: Path) -> list[Path]:
    """The snapshots in `folder`, oldest first."""
    return sorted(folder.glob("snapshot-*.pt"))


def remove_checkpoints(folder: Path) -> None:
    """Remove every snapshot in `folder`: for a run that is over and will not be gone on with."""
    for path in checkpoint_files(folder):
        path.unlink()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest snapshot that can be read, None where there is none; ArtifactError when all are damaged."""
    found = checkpoint_files(folder)
    for path in reversed(found):
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return content
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            note(f"{path}: damaged, trying the one before ({reason_of(error, 160)})")
    if found:
        raise ArtifactError(f"{folder}: no snapshot can be read; remove them and train again")
    return None
