"""A session on a fake TensorRT gives everything back whatever happens to the device, the library or the program."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import DeviceError, OutOfMemory
from tests.fakes.cuda import ILLEGAL
from tests.fakes.engine_bench import CAMERAS, SEEDS, Bench, crops
from tests.fakes.tensorrt import model, plan


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    return lambda seed=0, version="10.3.0": Bench.make(tmp_path, monkeypatch, seed=seed, version=version)


CALLS = [
    "cudaMemcpyAsync",
    "cudaEventRecord",
    "cudaStreamWaitEvent",
    "cudaEventSynchronize",
    "cudaGraphLaunch",
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("call", CALLS)
def test_a_lost_fake_device_in_the_middle_frees_everything_and_closes(
    bench: Callable[..., Bench], call: str, number: int, seed: int
) -> None:
    made = bench(seed)
    session = made.open(plan([(1, 2, 4)], camera="INT32"), spec=CAMERAS)
    made.gpu.failures[call, number] = ILLEGAL
    with pytest.raises(DeviceError, match="IllegalAddress") as raised:
        for _ in range(6):
            session(crops(11), np.zeros(11, int))
    assert raised.value.code == 5
    # the driver forgets a lost device's work
    for stream in made.gpu.streams.values():
        stream.queue.clear()
    del raised
    assert made.gpu.leaks() == []
    with pytest.raises(DeviceError, match="closed"):
        session(crops(1), np.zeros(1, int))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("call", ["execute_async_v3", "set_input_shape", "create_execution_context"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_refusing_fake_engine_closes_the_session_with_the_librarys_reason(
    bench: Callable[..., Bench], call: str, after: int, seed: int
) -> None:
    made = bench(seed)
    session = made.open(plan([(1, 2, 4)]))
    for _ in range(after):
        session(crops(9))
    made.trt.refusals[call] = "Error Code 6: the reason\n(why)"
    with pytest.raises(DeviceError, match=r"the reason \(why\)"):
        session(crops(7))
    assert made.gpu.leaks() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_out_of_memory_of_a_fake_leaves_a_session_for_smaller_batches(
    bench: Callable[..., Bench], seed: int
) -> None:
    made = bench(seed)
    session = made.open(plan([(1, 2, 4)]))
    session(crops(4))
    made.trt.refusals["create_execution_context"] = "Error Code 2: OutOfMemory (Requested size was 77 bytes.)"
    with pytest.raises(OutOfMemory) as raised:
        # the first four are under way when the next four need a context of their own
        session(crops(8))
    assert raised.value.code == 5
    # its traceback holds the engine
    del raised
    np.testing.assert_array_equal(session(crops(4, seed=2)), model(crops(4, seed=2)))
    session.close()
    assert made.gpu.leaks() == []


def test_an_interrupt_of_a_fake_frees_everything(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench()
    session = made.open(plan(2))

    def interrupt(event: Any) -> None:
        raise KeyboardInterrupt

    made.gpu.cudaEventSynchronize = interrupt
    with pytest.raises(KeyboardInterrupt):
        session(crops(6))
    assert made.gpu.leaks() == []


@pytest.mark.parametrize("number", range(1, 12))
@pytest.mark.parametrize(
    "call", ["cudaMalloc", "cudaHostAlloc", "cudaStreamCreateWithFlags", "cudaEventCreateWithFlags"]
)
def test_no_memory_at_opening_a_fake_frees_what_there_was(
    bench: Callable[..., Bench], call: str, number: int
) -> None:
    made = bench()
    made.gpu.failures[call, number] = 2
    session = None
    try:
        session = made.open(plan(2, camera="INT64"), spec=CAMERAS)
    except OutOfMemory as error:
        assert error.code == 5
    # a call that opening does not make fails nothing
    assert (session is None) == (made.gpu.calls[call] >= number)
    if session is not None:
        session.close()
    assert made.gpu.leaks() == []


def test_a_forgotten_session_on_a_fake_gives_everything_back(bench: Callable[..., Bench]) -> None:
    made = bench()
    session = made.open(plan(2))
    session(crops(5))
    session(crops(5))
    del session
    gc.collect()
    assert made.gpu.leaks() == []


def test_closing_twice_and_using_after_closing_a_fake(bench: Callable[..., Bench]) -> None:
    session = bench().open(plan(2))
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session(crops(1))
