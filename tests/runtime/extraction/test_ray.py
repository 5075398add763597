"""What this project adds to Ray: tasks, answers in any order, and refusals. No test here needs Ray; see test_ray_cluster.py."""

from __future__ import annotations

import os
import pickle
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.datasets import Item
from runtime.entry import guarded
from runtime.errors import ConfigError, DeviceError, NonFiniteFeatures
from runtime.extraction import ray, ray_cluster
from runtime.extraction.extract import Flow, collect, extract
from runtime.extraction.parallel import Setup
from runtime.extraction.parts import Part
from runtime.extraction.preset import streamer
from runtime.features import Features
from runtime.opening import open_artifact, verify_artifact
from runtime.options.cluster import Cluster
from tests.fakes.tiny_model import SPEC, write_model

Answers = Generator[tuple[int, "list[Part] | ray.Failed"], None, None]
BATCH = 2
# The beginning of what a server of HTTP/2 says first.
SETTINGS = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0])
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def three_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make three tasks of the 75 images: two of 18 batches of two images, and one of the other three images."""
    monkeypatch.setattr(ray, "TASKS", 1)


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """75 images; one image of the first task and the last image are unusable."""
    generator = np.random.default_rng(0)
    made = []
    for number in range(75):
        path = tmp_path / f"{number:02}.png"
        Image.fromarray(generator.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(path)
        made.append(Item(str(path), number + 1, number % 3))
    for bad in (5, 74):
        Path(made[bad].path).write_bytes(b"no image")
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.onnx", replace(SPEC, cameras=3, camera="input"))


def setup_of(model: Path) -> Setup:
    opens = partial(open_artifact, model, threads=1)
    return Setup(opens, verify_artifact(model).sha256, Flow(BATCH, 1, pad=True))


def answered(setup: Setup, tasks: Mapping[int, bytes]) -> list[tuple[int, list[Part] | ray.Failed]]:
    worker = ray.Worker(setup, ".")
    return [pickle.loads(worker({"task": task})["answer"]) for task in tasks.values()]


def collected(model: Path, items: list[Item], ids: np.ndarray) -> Features:
    results = ray._parts(setup_of(model), 2, items, ids)
    return collect(verify_artifact(model), items, results, max_bad=0.1, progress=lambda images: None)


def test_answers_in_any_order_and_twice_are_the_extraction(
    model: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(setup: Setup, actors: int, tasks: Mapping[int, bytes]) -> Answers:
        assert actors == 2 and len(tasks) == 3
        every = answered(setup, tasks) * 2
        random.Random(0).shuffle(every)
        yield from every

    monkeypatch.setattr(ray, "_answers", answers)
    ids = np.array([item.camid for item in items])
    got = collected(model, items, ids)
    plain = extract(open_artifact(model, threads=1), items, batch=BATCH, camera_ids=ids, max_bad=0.1)
    np.testing.assert_array_equal(got.features, plain.features)
    assert (got.paths, got.images, got.skipped) == (plain.paths, plain.images, plain.skipped)
    assert len(got.skipped) == 2


def test_an_answer_that_never_comes_is_an_error(
    model: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(setup: Setup, actors: int, tasks: Mapping[int, bytes]) -> Answers:
        yield from answered(setup, tasks)[::2]

    monkeypatch.setattr(ray, "_answers", answers)
    with pytest.raises(DeviceError, match="36.png"):
        collected(model, items, np.zeros(75, np.int64))


def test_of_several_failures_that_of_the_earliest_images_is_raised(
    model: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(setup: Setup, actors: int, tasks: Mapping[int, bytes]) -> Answers:
        first, second, third = answered(setup, tasks)
        yield third[0], ray.Failed(NonFiniteFeatures("third", (0,)))
        yield second[0], ray.Failed(NonFiniteFeatures("second", (0,)))
        yield first
        raise AssertionError("nothing more is needed")

    monkeypatch.setattr(ray, "_answers", answers)
    with pytest.raises(NonFiniteFeatures, match="second"):
        collected(model, items, np.zeros(75, np.int64))


def test_a_model_that_an_actor_cannot_open_is_the_answer_to_each_task(model: Path, items: list[Item]) -> None:
    task = pickle.dumps((0, items[:2], np.zeros(2, np.int64)))
    (_, other), (_, missing) = (
        answered(setup, {0: task})[0]
        for setup in (
            replace(setup_of(model), sha256="0" * 64),
            replace(setup_of(model), opens=partial(open_artifact, model.with_name("no.onnx"))),
        )
    )
    assert isinstance(other, ray.Failed) and other.error.code == 4 and "another file" in str(other.error)
    assert isinstance(missing, ray.Failed) and missing.error.code == 4


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--address", "10.0.0.1:6379"), "--on"),
        (("--on", "ray", "--address", "6379"), "--address"),
        (("--on", "ray", "--address", "ray://10.0.0.1:10001"), "--address"),
        (("--on", "ray", "--preset", "latency"), "--preset"),
        (("--on", "ray", "--device", "cuda"), "--device"),
        (("--on", "ray", "--threads", "2"), "--threads"),
        (("--on", "ray", "--address", "ray://10.0.0.1"), "--address"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], word: str
) -> None:
    for command in (("extract", "--out", tmp_path / "f.npz"), ("gallery", "add", "--store", tmp_path / "g")):
        assert guarded(main, [*map(str, (*command, model, tmp_path)), *options]) == 2
        printed = capsys.readouterr()
        assert word in printed.err and len(printed.err.splitlines()) == 1 and not printed.out


@pytest.mark.parametrize("preset", [None, "latency"])
def test_a_cluster_is_never_ignored(model: Path, preset: str | None) -> None:
    with pytest.raises(ConfigError, match="throughput"):
        with streamer(open_artifact(model, threads=1), preset, cluster=Cluster()):
            pass


def test_without_ray_one_line_says_what_to_install(
    model: Path,
    tmp_path: Path,
    items: list[Item],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    out = tmp_path / "out" / "f.npz"
    words = ["extract", model, tmp_path, "--out", out, "--on", "ray", "--camera", "mean"]
    assert guarded(main, [str(word) for word in words]) == 5
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error[")]
    assert line.startswith("error[5]") and "'.[ray]'" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("images", "batch", "actors", "batches"),
    [(5000, 8, 2, 32), (5000, 8, 64, 1), (200_000, 8, 64, 32), (1000, 8, 2, 7), (3, 8, 2, 1)],
)
def test_tasks_are_large_but_enough_for_all_actors(
    monkeypatch: pytest.MonkeyPatch, images: int, batch: int, actors: int, batches: int
) -> None:
    monkeypatch.setattr(ray, "TASKS", 8)
    assert ray.task_batches(images, batch, actors) == batches


def test_an_address_where_nobody_answers_is_refused_at_once() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(DeviceError, match=f"127.0.0.1:{port}"):
            ray_cluster.check_address(f"127.0.0.1:{port}")
    for address in ("127.0.0.1:99999", "127.0.0.1:" + "9" * 5000, "a..b:6379", f"{'a' * 64}.de:6379"):
        with pytest.raises(DeviceError):
            ray_cluster.check_address(address)


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        pytest.param(None, False, id="accepts and says nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", False, id="a web server"),
        pytest.param(b"", False, id="closes"),
        pytest.param(SETTINGS, True, id="HTTP/2"),
    ],
)
def test_an_address_of_another_program_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, accepted: bool
) -> None:
    if answer is None:
        monkeypatch.setattr(ray_cluster, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                # a network may deliver an answer in pieces
                for piece in ((answer or b"")[:2], (answer or b"")[2:]):
                    connection.sendall(piece)
                    time.sleep(0.05)

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if accepted:
            ray_cluster.check_address(address)
        else:
            with pytest.raises(DeviceError, match="6379"):
                ray_cluster.check_address(address)


def test_messages_of_ray_become_a_count_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    messages = ray_cluster.Messages()
    print("(raylet) A worker died or was killed while executing a task", file=messages)
    print("(raylet) Task failed. There are 9 retries remaining", file=messages)
    print("\x1b[33m(raylet)\x1b[0m the disk is full", file=messages)
    printed = capsys.readouterr()
    assert messages.deaths == 1 and printed.out == "" and printed.err == "(raylet) the disk is full\n"


def test_a_device_imports_nothing_of_ray() -> None:
    code = (
        "import sys\nsys.modules['ray'] = None\n"
        "import runtime.extraction.ray, runtime.extraction.preset, runtime.cli.extract, runtime.gallery.ingest\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
