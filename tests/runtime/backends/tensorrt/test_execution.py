"""A session on a fake TensorRT gives the model's features for any batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import ConfigError, NonFiniteFeatures
from tests.fakes.engine_bench import CAMERAS, FLOATS, SEEDS, Bench, crops
from tests.fakes.tensorrt import DIM, HEIGHT, WIDTH, model, plan


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    return lambda seed=0, version="10.3.0": Bench.make(tmp_path, monkeypatch, seed=seed, version=version)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0"])
@pytest.mark.parametrize(
    "plans",
    [
        [plan(4)],
        [plan([(1, 4, 6)])],
        [plan([(2, 3, 5)])],
        [plan(1), plan(2), plan(5)],
        [plan([(1, 1, 2), (3, 4, 6)])],
        [plan(1), plan([(2, 4, 6)])],
    ],
    ids=["fixed", "profile", "profile-from-2", "fixed-1-2-5", "two-profiles", "fixed-and-profile"],
)
def test_any_number_of_images_gives_the_models_features_on_a_fake(
    bench: Callable[..., Bench], seed: int, version: str, plans: list[bytes]
) -> None:
    made = bench(seed, version)
    with made.open(*plans) as session:
        top = session.batches[-1]
        for count in [*range(3 * top + 1), *range(3 * top, 0, -1), top, top, 2 * top, 2 * top]:
            images = crops(count, seed=count)
            np.testing.assert_array_equal(session(images), model(images))
        assert session.dim == DIM
    assert made.gpu.leaks() == []
    # TensorRT 8 gives one context to a profile, and a graph needs a context that never changes
    assert (made.gpu.calls["cudaGraphLaunch"] > 0) == (
        version != "8.6.1" or plans[0] == plan(4) or len(plans) > 1
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("integer", ["INT32", "INT64"])
@pytest.mark.parametrize("given", [np.int32, np.int64])
@pytest.mark.parametrize("batch", [4, [(1, 2, 4)]], ids=["padded", "exact"])
def test_camera_ids_reach_a_fake_engine_in_its_own_integer_type(
    bench: Callable[..., Bench], seed: int, integer: str, given: type, batch: Any
) -> None:
    made = bench(seed)
    with made.open(plan(batch, camera=integer), spec=CAMERAS) as session:
        for count in (1, 3, 4, 9, 9, 9):
            images, ids = crops(count), np.arange(count, dtype=given) % 5
            np.testing.assert_array_equal(session(images, ids), model(images, ids))
            assert np.abs(session(images, ids) - session(images, ids + 1)).min() > 0.001
    assert made.gpu.leaks() == []


def test_a_fake_engine_of_normalised_floats_gets_floats(bench: Callable[..., Bench]) -> None:
    images = np.random.default_rng(0).normal(size=(7, 3, HEIGHT, WIDTH)).astype(np.float32)
    with bench().open(plan(3, floats=True), spec=FLOATS) as session:
        np.testing.assert_array_equal(session(images), model(images))


def test_the_answer_of_a_fake_is_the_callers_own(bench: Callable[..., Bench]) -> None:
    with bench().open(plan(4)) as session:
        first = session(crops(4))
        kept = first.copy()
        session(crops(4, seed=9))
        np.testing.assert_array_equal(first, kept)


def test_threads_share_a_fake_engine(bench: Callable[..., Bench]) -> None:
    made = bench(seed=5)
    session = made.open(plan([(1, 2, 4)]))
    jitter = made.gpu.jitter
    # every call of the library gives way to the other threads
    made.gpu.jitter = lambda: time.sleep(1e-4) or jitter()

    sets = [crops(count, seed) for seed, count in enumerate([1, 5, 9, 4] * 6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(session, sets))
    session.close()
    for images, features in zip(sets, results):
        np.testing.assert_array_equal(features, model(images))
    assert made.gpu.leaks() == []


def test_memory_of_a_fake_is_allocated_once_and_contexts_once_per_batch_and_slot(
    bench: Callable[..., Bench],
) -> None:
    made = bench()
    session = made.open(plan([(1, 4, 8)]))
    before = made.gpu.calls["cudaMalloc"], made.gpu.calls["cudaHostAlloc"]
    for count in (*range(1, 25), *range(1, 25)):
        session(crops(count))
    contexts = list(made.gpu.objects.values()).count("Context")
    assert (made.gpu.calls["cudaMalloc"], made.gpu.calls["cudaHostAlloc"]) == before
    assert session.batches == (1, 2, 3, 4, 6, 8) and contexts <= 2 * len(session.batches)


def test_copies_of_one_slot_may_run_beside_the_other_on_a_fake(bench: Callable[..., Bench]) -> None:
    made = bench()
    session = made.open(plan(2))
    waits = []
    synchronize = made.gpu.cudaEventSynchronize
    made.gpu.cudaEventSynchronize = lambda event: waits.append(len(made.gpu.pending())) or synchronize(event)
    session(crops(8))
    # a batch is waited for while the next one is enqueued behind it: more work than a batch of its own makes
    assert len(waits) == 4 and min(waits[:3]) > waits[3] >= 6


def test_a_fake_that_cannot_capture_runs_on_without_graphs_and_says_so_once(
    bench: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    made = bench(seed=2)
    made.gpu.failures["cudaStreamEndCapture", 0] = 900
    session = made.open(plan([(1, 2, 4)]))
    for count in (1, 1, 1, 4, 4, 4, 9, 9):
        np.testing.assert_array_equal(session(crops(count)), model(crops(count)))
    session.close()
    assert capsys.readouterr().err.count("CUDA graphs") == 1
    assert made.gpu.calls["cudaGraphLaunch"] == 0 and made.gpu.leaks() == []


@pytest.mark.parametrize("failing", ["cudaStreamBeginCapture", "cudaGraphInstantiateWithFlags"])
def test_a_capture_that_fails_elsewhere_on_a_fake_leaves_nothing_behind(
    bench: Callable[..., Bench], failing: str
) -> None:
    made = bench()
    made.gpu.failures[failing, 1] = 900
    with made.open(plan(2)) as session:
        for _ in range(4):
            np.testing.assert_array_equal(session(crops(2)), model(crops(2)))
    assert made.gpu.calls["cudaGraphLaunch"] == 0 and made.gpu.leaks() == []


def test_an_rtx_fake_that_says_it_cannot_be_captured_is_not(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench()
    monkeypatch.setattr("tests.fakes.tensorrt.Context.is_stream_capturable", lambda *_: False, raising=False)
    with made.open(plan(2)) as session:
        for _ in range(3):
            session(crops(2))
    assert made.gpu.calls["cudaStreamBeginCapture"] == 0


def test_not_finite_features_of_a_fake_name_their_rows_and_the_session_goes_on(
    bench: Callable[..., Bench],
) -> None:
    images = crops(7)
    images[[2, 6]] = 251
    with bench().open(plan(3)) as session:
        with pytest.raises(NonFiniteFeatures) as raised:
            session(images)
        assert raised.value.rows == (2, 6) and raised.value.code == 7
        np.testing.assert_array_equal(session(images[:2]), model(images[:2]))


@pytest.mark.parametrize(
    ("images", "ids", "reason"),
    [
        (crops(2), None, "one camera id per image"),
        (crops(2), np.zeros(3, int), r"camera ids \(2,\)"),
        (crops(2), np.zeros(2), "integer camera ids"),
        (crops(2).astype(np.float32), np.zeros(2, int), "uint8"),
        (crops(2)[:, :4], np.zeros(2, int), r"not uint8 \(2, 4, 4, 3\)"),
        (crops(2)[0], np.zeros(2, int), "not uint8"),
    ],
)
def test_wrong_input_never_reaches_a_fake(
    bench: Callable[..., Bench], images: np.ndarray, ids: np.ndarray | None, reason: str
) -> None:
    made = bench()
    with made.open(plan(2, camera="INT32"), spec=CAMERAS) as session:
        with pytest.raises(ConfigError, match=reason):
            session(images, ids)
        assert made.gpu.calls["cudaMemcpyAsync"] == 0
        session(crops(2), np.zeros(2, int))
    with bench().open(plan(2)) as session, pytest.raises(ConfigError, match="no camera ids"):
        session(crops(2), np.zeros(2, int))
