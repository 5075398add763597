"""The measurements of the gallery: what they count is right, on small synthetic galleries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gallery import cli
from benchmarks.gallery.accuracy.thresholds import measure_thresholds
from benchmarks.gallery.erased import measure_erased
from benchmarks.gallery.full_disk import measure_full_disk
from benchmarks.gallery.speed.distractors import draw, measure_spread
from benchmarks.gallery.speed.ingest import measure_ingest
from benchmarks.gallery.speed.search import measure_search
from runtime import Features, save_features
from runtime.errors import ConfigError, DataError


def people(count: int, noise: float = 0.4, dim: int = 16) -> Features:
    """Four images of each of `count` people, in four cameras."""
    random = np.random.default_rng(0)
    table = np.repeat(random.normal(size=(count, dim)), 4, axis=0) + noise * random.normal(
        size=(4 * count, dim)
    )
    table = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)
    paths = tuple(f"/p/{n}.png" for n in range(4 * count))
    images = tuple(f"{n:064x}" for n in range(4 * count))
    return Features(
        table, paths, np.repeat(np.arange(count) + 1, 4), np.arange(4 * count) % 4, "a" * 64, images=images
    )


def test_distractors_vary_like_the_measured_features() -> None:
    measured = people(400)
    drawn = [part for part in draw(measure_spread(measured.features, measured.pids), 2000, 4, seed=1)]
    table, pids = (np.concatenate(parts) for parts in zip(*drawn))
    assert len(table) == 8000 and np.linalg.norm(table, axis=1) == pytest.approx(1, abs=1e-5)

    def distances(features: np.ndarray, numbers: np.ndarray) -> tuple[float, float]:
        far = 1 - features[:800] @ features[:800].T
        same = numbers[:800, None] == numbers[None, :800]
        return float(far[same & (far > 1e-6)].mean()), float(far[~same].mean())

    assert distances(table, pids) == pytest.approx(distances(measured.features, measured.pids), rel=0.15)


def test_a_search_measures_recall_of_true_rows_and_sizes(tmp_path: Path) -> None:
    result = measure_search(
        tmp_path / "g", [("made", people(60))], rows=700, dim=16, searches=3, queries=50, index=False
    )
    assert (result.rows, result.distractors, len(result.open_s)) == (700, 460, 5)
    (recall,) = result.recalls
    # three other images of each of 50 queries' people, which are far from everybody else
    assert (recall.queries, recall.people, recall.rows) == (50, 60, 240) and 120 <= recall.exact_hits <= 150
    assert recall.recall is None and 100 < result.metadata_bytes_per_row < 1000
    with pytest.raises(DataError, match="more rows"):
        measure_search(
            tmp_path / "h", [("made", people(60))], rows=9, dim=16, searches=1, queries=1, index=False
        )


def test_ingest_counts_bytes(tmp_path: Path) -> None:
    result = measure_ingest(tmp_path, rows=200, dim=32, batch=50, rounds=1)
    assert result.feature_bytes_per_row == 128
    assert result.against_raw == pytest.approx((128 + result.metadata_bytes_per_row) / 128)


def test_held_out_people_of_separate_clusters_are_rejected_and_too_few_are_refused() -> None:
    result = measure_thresholds("made", people(120, 0.1), fpir=0.1, enrolled=20, held_out=60, splits=2)
    assert (result.people, result.calibration, len(result.each)) == (120, 40, 2)
    for split in result.each:
        assert split.inside == (split.held_out_fpir <= split.bound)
        assert split.held_out_fpir == split.held_out_false_positives / 60
        assert split.tpir_rank1 > 0.9
    with pytest.raises(DataError, match="hold out fewer"):
        measure_thresholds("made", people(30), fpir=0.1, enrolled=10, held_out=29, splits=1)


def test_bytes_are_there_before_and_gone_after(tmp_path: Path) -> None:
    results = measure_erased(tmp_path)
    assert [result.how for result in results] == ["person", "image", "camera", "before", "all"]
    for result in results:
        assert result.before == result.sought > 4 * result.rows and result.found == 0


def test_a_large_disk_is_not_filled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tmpfs"):
        measure_full_disk(tmp_path)


def test_a_result_names_its_command_and_the_processor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_features(tmp_path / "f.npz", people(120, 0.1))
    words = ["thresholds", "--people", f"made={tmp_path / 'f.npz'}", "--fpir", "0.1", "--enrolled", "20"]
    words += ["--held-out", "60", "--splits", "2"]
    assert cli.main([*words, "--at", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == " ".join(["python -m benchmarks.gallery", *words])
    assert document["host"]["processor"] and document["results"][0]["splits"] == 2
    assert cli.main(words) == 0 and "held_out_fpir" in capsys.readouterr().out
