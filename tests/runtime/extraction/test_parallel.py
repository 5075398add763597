"""Extraction by several processes is extraction by one: the same features, refusals and exit codes, and nobody left behind."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.datasets import Item
from runtime.entry import guarded
from runtime.errors import ArtifactError, ConfigError, DataError, DeviceError, GateError, NonFiniteFeatures
from runtime.extraction import preset
from runtime.extraction.extract import Flow, collect, extract
from runtime.extraction.parallel import Setup, Workers, open_workers
from runtime.extraction.parts import Part
from runtime.extraction.preset import BATCH, extractor, plan
from runtime.extraction.processes import Child, Failure
from runtime.features import Features, load_features
from runtime.opening import open_artifact, verify_artifact
from tests.fakes.tiny_model import SPEC, write_model
from tests.fakes.waiting import ended

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., tuple[int, str, str]]
CORES = set(sorted(os.sched_getaffinity(0))[:2])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """41 crops; three are unusable, one is turned by its EXIF orientation."""
    folder = tmp_path / "crops"
    folder.mkdir()
    random = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    for number in range(41):
        crop = Image.fromarray(random.integers(0, 256, (40, 20, 3), dtype=np.uint8))
        crop.save(folder / f"{number:02}.jpg", exif=turned if number == 7 else Image.Exif())
    for number in (3, 4, 30):
        (folder / f"{number:02}.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.onnx")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, which starts two workers: exit code, stdout, stderr."""
    monkeypatch.setattr(preset, "usable_cores", lambda: 2)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = guarded(main, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert not multiprocessing.active_children()
        return code, captured.out, captured.err

    return run


def items(folder: Path) -> list[Item]:
    return [Item(str(path), 1, -1) for path in sorted(folder.iterdir())]


def setup(model: Path, batch: int = 4) -> Setup:
    return Setup(partial(open_artifact, model, threads=1), verify_artifact(model).sha256, Flow(batch))


def test_features_skipped_images_notes_and_words_are_those_of_one_process(
    run: Run, images: Path, model: Path, tmp_path: Path
) -> None:
    common = ("--batch", 4, "--max-bad", 0.1, "--json")
    alone, together = tmp_path / "alone" / "f.npz", tmp_path / "together" / "f.npz"
    code, out, err = run("extract", model, images, "--out", alone, "--threads", 1, *common)
    assert code == 0
    code, out_parallel, err_parallel = run(
        "extract", model, images, "--out", together, "--preset", "throughput", *common
    )
    assert code == 0
    alone_features, parallel_features = load_features(alone), load_features(together)
    # to the bit: every chunk is the same batch, whoever runs it
    np.testing.assert_array_equal(parallel_features.features, alone_features.features)
    assert (
        parallel_features.paths,
        parallel_features.images,
        parallel_features.model,
        parallel_features.backend,
    ) == (
        alone_features.paths,
        alone_features.images,
        alone_features.model,
        alone_features.backend,
    )
    listed = [(path.parent / "skipped.jsonl").read_text() for path in (alone, together)]
    assert listed[0] == listed[1] and len(listed[0].splitlines()) == 3
    assert err_parallel.replace("together", "alone") == err and "41 of 41" in err and "EXIF" in err
    summary, summary_parallel = json.loads(out), json.loads(out_parallel)
    assert summary_parallel == summary | {"out": str(together), "preset": "throughput"}


def test_too_many_bad_images_end_alike_and_keep_the_rest(
    run: Run, images: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "f.npz"
    alone = run("extract", model, images, "--out", out, "--batch", 4)
    os.unlink(out)
    assert run("extract", model, images, "--out", out, "--batch", 4, "--preset", "throughput") == alone
    assert alone[0] == 3 and len(load_features(out).features) == 38


def test_a_workers_refusal_is_one_line_with_its_exit_code(run: Run, images: Path, tmp_path: Path) -> None:
    poisoned = write_model(tmp_path / "nan.onnx", nan=True)
    common = ("extract", poisoned, images, "--out", tmp_path / "f.npz", "--batch", 4, "--max-bad", 1)
    alone = run(*common)
    assert run(*common, "--preset", "throughput") == alone
    assert alone[0] == 7 and "00.jpg" in alone[2] and "Traceback" not in alone[2]


def test_a_refusal_of_non_finite_features_crosses_the_process_whole() -> None:
    error = pickle.loads(pickle.dumps(NonFiniteFeatures("bad", (1, 2))))
    assert (str(error), error.rows, error.code) == ("bad", (1, 2), GateError.code)


def test_a_model_that_does_not_open_in_the_workers_is_refused(model: Path) -> None:
    with pytest.raises(ArtifactError, match="changed while"):
        with open_workers(Setup(partial(open_artifact, model, threads=1), "0" * 64, Flow()), 2):
            pass
    missing = Setup(partial(open_artifact, model.with_name("no.onnx")), "0" * 64, Flow())
    with pytest.raises(ArtifactError, match="no such file"), open_workers(missing, 2):
        pass
    assert not multiprocessing.active_children()


def gathered(
    pool: Workers,
    model: Path,
    some: list[Item],
    camera_ids: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Features:
    return collect(verify_artifact(model), some, pool.parts(some, camera_ids), max_bad=1, progress=progress)


def test_workers_extract_again_and_again(images: Path, model: Path) -> None:
    opened = open_artifact(model, threads=1)
    whole = items(images)
    with open_workers(setup(model), 3) as pool:
        for some in (whole, whole[5:6], whole[8:29]):
            expected = extract(opened, some, batch=4, max_bad=1)
            got = gathered(pool, model, some)
            np.testing.assert_array_equal(got.features, expected.features)
            assert got.paths == expected.paths and got.skipped == expected.skipped
        with pytest.raises(DataError, match="no images"):
            gathered(pool, model, [])


def test_camera_ids_stay_with_their_images(images: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "c.onnx", dataclasses.replace(SPEC, camera="input", cameras=3))
    ids = np.arange(41) % 3
    expected = extract(open_artifact(model, threads=1), items(images), batch=4, camera_ids=ids, max_bad=1)
    with open_workers(setup(model), 2) as pool:
        got = gathered(pool, model, items(images), camera_ids=ids)
    np.testing.assert_array_equal(got.features, expected.features)


def test_a_killed_worker_ends_the_run_in_one_line(images: Path, model: Path) -> None:
    many = [item for item in items(images) for _ in range(20)]
    with pytest.raises(DeviceError, match=r"SIGKILL.*out of memory") as caught:
        with open_workers(setup(model), 2) as pool:
            victim = pool.children[0].process
            gathered(pool, model, many, progress=lambda done: victim.kill())
    assert caught.value.code == 5 and "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


def test_of_several_failures_the_first_in_the_order_of_the_items_is_raised() -> None:
    def part(*places: int) -> Part:
        blank = ("",) * len(places)
        return Part(places, np.ones((len(places), 2), np.float32), blank, ((),) * len(places), ())

    pipes = [multiprocessing.Pipe() for _ in range(2)]
    children = [Child(None, ours) for ours, _ in pipes]  # type: ignore[arg-type]
    (_, first), (_, second) = pipes
    for message in (part(0), part(2), Failure(ConfigError("of image 4"))):
        first.send(message)
    second.send(part(1))
    late = threading.Timer(0.3, second.send, [Failure(ConfigError("of image 3"))])
    late.start()
    parts = Workers(children, 1).parts([Item(str(n), 1, 0) for n in range(20)], None)
    with pytest.raises(ConfigError, match="of image 3"):
        list(parts)
    late.join()


# The same small file many times over: work for long enough to be stopped in the middle of it.
@pytest.fixture
def long_run(images: Path, model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{images / '00.jpg'}\n" * 100_000)
    command = [sys.executable, "-m", "runtime", "extract", model, listed, "--out", tmp_path / "f.npz"]
    process = subprocess.Popen(
        [*map(str, command), "--preset", "throughput"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # however many cores there are, the work lasts
        preexec_fn=lambda: os.sched_setaffinity(0, CORES),
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def children_of(pid: int, at_least: int) -> list[int]:
    """The processes that `pid` has started, once there are enough of them."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if len(pids := [int(word) for word in listed.read_text().split()]) >= at_least:
            return pids
        time.sleep(0.01)
    raise AssertionError("the workers did not start")


proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="the child processes are found in Linux's /proc"
)


@proc
@pytest.mark.parametrize("wait_s", [0, 2.5], ids=["while they start", "while they work"])
def test_ctrl_c_ends_all_of_them_with_one_line(long_run: subprocess.Popen[str], wait_s: float) -> None:
    # multiprocessing's tracker, and one worker for each core
    workers = children_of(long_run.pid, len(CORES) + 1)
    time.sleep(wait_s)
    assert long_run.poll() is None, "it was done too early"
    os.killpg(long_run.pid, signal.SIGINT)
    out, err = long_run.communicate(timeout=60)
    assert (long_run.returncode, out) == (130, "")
    assert err.strip().splitlines()[-1] == "error[130] stopped" and "Traceback" not in err
    assert ended(*workers)


@proc
def test_workers_end_when_their_parent_is_killed(long_run: subprocess.Popen[str]) -> None:
    workers = children_of(long_run.pid, len(CORES) + 1)
    time.sleep(2)
    os.kill(long_run.pid, signal.SIGKILL)
    assert ended(*workers)
    _, err = long_run.communicate(timeout=60)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("throughput", "--device", "cuda"), "give a batch"),
        (("latency", "--device", "cuda"), "give a batch"),
        (("throughput", "--threads", 4), "leave threads out"),
        (("latency", "--threads", 4), "leave batch and threads out"),
        (("latency", "--batch", 8), "leave batch and threads out"),
    ],
)
def test_what_contradicts_a_preset_is_refused(
    run: Run, images: Path, model: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    code, out, err = run("extract", model, images, "--out", tmp_path / "f.npz", "--preset", *options)
    assert (code, out) == (2, "") and words in err.splitlines()[-1] and len(err.splitlines()) == 1


def test_a_preset_stands_for_processes_threads_and_batch(model: Path, tmp_path: Path) -> None:
    artifact = verify_artifact(model)
    assert plan("latency", artifact) == preset.Plan(1, None, 1)
    assert plan("throughput", artifact) == preset.Plan(len(os.sched_getaffinity(0)), 1, BATCH)
    assert plan("throughput", artifact, 3).batch == 3
    fixed = verify_artifact(write_model(tmp_path / "fixed.onnx", dataclasses.replace(SPEC, batch=2)))
    assert plan("throughput", fixed).batch == 2
    with pytest.raises(ConfigError, match="fixed batch of 2"):
        plan("latency", fixed)
    with pytest.raises(ConfigError, match="batch"):
        plan("throughput", dataclasses.replace(artifact, backend="tensorrt"))


def test_latency_is_one_process_and_batch_1(images: Path, model: Path) -> None:
    artifact = open_artifact(model)
    with extractor(artifact, "latency") as run:
        assert not multiprocessing.active_children()
        assert len(run(items(images)[8:12]).features) == 4


def test_what_is_only_verified_does_not_run(model: Path) -> None:
    with pytest.raises(RuntimeError, match="not loaded"):
        verify_artifact(model).run(np.zeros((1, 32, 16, 3), np.uint8))
