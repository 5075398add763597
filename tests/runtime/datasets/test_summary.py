"""`inspect_dataset` counts what a data set holds and reports what it does not use."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from PIL import Image

from runtime import ConfigError, DataError, SplitCounts, inspect_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, name in [
        ("bounding_box_train", "0001_c1s1_000001_00.jpg"),
        ("query", "0002_c1s1_000001_00.jpg"),
        ("bounding_box_test", "0002_c2s1_000001_00.jpg"),
        ("bounding_box_test", "0000_c3s1_000001_00.jpg"),
    ]:
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("RGB", (8, 16)).save(tmp_path / folder / name)
    return tmp_path


def test_the_splits_are_counted(root: Path) -> None:
    summary = inspect_dataset(root, layout="market_like")
    assert summary.layout == "market_like" and summary.warnings == ()
    assert summary.splits == {
        "train": SplitCounts(1, 1, 1),
        "query": SplitCounts(1, 1, 1),
        "gallery": SplitCounts(images=2, identities=2, cameras=2),
    }
    with pytest.raises(FrozenInstanceError):
        summary.layout = "list"  # type: ignore[misc]


def test_published_numbers_bad_names_and_other_files_are_reported(root: Path) -> None:
    (root / "query" / "nobody.jpg").write_bytes(b"")
    (root / "query" / "notes.txt").write_bytes(b"")
    with pytest.raises(DataError, match="nobody"):
        inspect_dataset(root, layout="market1501")
    summary = inspect_dataset(root, layout="market1501", max_bad=0.5)
    assert len(summary.warnings) == 3 and "published" in summary.warnings[0]
    ((path, _),) = summary.skipped
    assert path == str(root / "query" / "nobody.jpg") and any("query" in text for text in summary.left_out)


def test_an_unknown_layout_and_a_missing_folder_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="mars"):
        inspect_dataset(root, layout="mars")
    with pytest.raises(DataError, match="none"):
        inspect_dataset(root / "none")
