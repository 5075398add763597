"""Checkpoints of a run: written whole or not at all, the newest readable one is loaded, a finished run keeps none."""

from pathlib import Path

import pytest
import torch

from prune.training.checkpoints import checkpoint_files, load_checkpoint, remove_checkpoints, save_checkpoint
from runtime.errors import ArtifactError, StorageError


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"value": torch.tensor(step)})
    assert [path.name for path in checkpoint_files(tmp_path)] == [
        "snapshot-000000002.pt",
        "snapshot-000000003.pt",
    ]

    def full_disk(content, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/1")

    monkeypatch.setattr("prune.training.checkpoints.torch.save", full_disk)
    with pytest.raises(StorageError, match="snapshot-000000004.pt"):
        save_checkpoint(tmp_path, 4, {})
    assert len(list(tmp_path.iterdir())) == 2 and load_checkpoint(tmp_path)["value"] == 3


def test_a_damaged_checkpoint_falls_back_to_the_previous_one_with_a_note(tmp_path, capsys):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"value": torch.tensor(step)})
    newest = checkpoint_files(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    assert load_checkpoint(tmp_path)["value"] == 1
    assert "snapshot-000000002.pt" in capsys.readouterr().err
    checkpoint_files(tmp_path)[0].write_bytes(b"")
    with pytest.raises(ArtifactError, match="checkpoint"):
        load_checkpoint(tmp_path)


def test_a_finished_run_leaves_no_checkpoints(tmp_path):
    save_checkpoint(tmp_path, 1, {})
    (tmp_path / "metrics.jsonl").touch()
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert load_checkpoint(tmp_path) is None
