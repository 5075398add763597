"""Crops of concurrent requests run together, and each gets its own features."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.testclient import TestClient

from runtime.errors import DataError
from runtime.model import Model
from runtime.service.batching import Batcher
from tests.runtime.service.conftest import pictures, pixels


class Held:
    """A function that embeds crops by their mean, when it is let go, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.started, self.free = threading.Event(), threading.Event()

    def __call__(self, crops, cameras):
        self.batches.append(len(crops))
        self.started.set()
        assert self.free.wait(30)
        if any(crop.max() == 0 for crop in crops):
            raise DataError("a black crop")
        return np.array([[crop.mean(), camera] for crop, camera in zip(crops, cameras)], np.float32)


def test_requests_that_wait_run_together_up_to_the_batch_and_keep_their_order() -> None:
    held = Held()
    batcher = Batcher(held, most=4)
    crops = [pixels(seed) for seed in range(8)]
    results = [batcher.submit(crops[:1], [0])]
    assert held.started.wait(30)
    results += [batcher.submit(crops[at : at + 2], [at, at + 1]) for at in (1, 3, 5)]
    held.free.set()
    got = np.concatenate([result.result(30) for result in results])
    batcher.close()
    assert held.batches == [1, 4, 2]
    assert got[:, 0] == pytest.approx([crop.mean() for crop in crops[:7]])
    assert got[:, 1].tolist() == list(range(7))


def test_the_first_request_waits_for_others_that_are_on_their_way() -> None:
    held = Held()
    held.free.set()
    batcher = Batcher(held, most=2, window_s=30, expected=lambda: True)
    first = batcher.submit([pixels(0)], [-1])
    second = batcher.submit([pixels(1)], [-1])
    assert len(first.result(20)) == len(second.result(20)) == 1
    batcher.close()
    assert held.batches == [2]


def test_a_crop_that_fails_fails_alone() -> None:
    held = Held()
    batcher = Batcher(held, most=8)
    first = batcher.submit([pixels(0)], [-1])
    assert held.started.wait(30)
    black = batcher.submit([np.zeros((8, 8, 3), np.uint8)], [-1])
    good = batcher.submit([pixels(1)], [-1])
    held.free.set()
    assert len(first.result(30)) == len(good.result(30)) == 1
    with pytest.raises(DataError, match="black"):
        black.result(30)
    batcher.close()


def test_a_request_that_was_given_up_does_not_stop_the_others() -> None:
    held = Held()
    batcher = Batcher(held, most=8)
    first = batcher.submit([pixels(0)], [-1])
    assert held.started.wait(30)
    given_up = batcher.submit([pixels(1)], [-1])
    assert given_up.cancel()
    held.free.set()
    assert len(first.result(30)) == len(batcher.submit([pixels(2)], [-1]).result(30)) == 1
    batcher.close()
    assert held.batches == [1, 1]


def test_closing_finishes_what_was_submitted() -> None:
    held = Held()
    batcher = Batcher(held, most=1)
    results = [batcher.submit([pixels(seed)], [-1]) for seed in range(3)]
    held.free.set()
    batcher.close()
    assert all(result.done() for result in results)


def test_concurrent_requests_get_the_features_of_their_own_pictures(client: TestClient, model: Model) -> None:
    def ask(seed: int) -> list[float]:
        return client.post("/v1/embed", files=pictures(seed)).json()["features"][0]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(24)))
    for seed, feature in enumerate(got):
        alone = model.embed([pixels(seed)], color="rgb")[0]
        assert np.abs(np.array(feature) - alone).max() <= 1e-6
