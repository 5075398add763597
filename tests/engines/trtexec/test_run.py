"""Finding trtexec and letting a stand-in for it build: a whole engine, or nothing and the lines that matter."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines.trtexec.output import parse
from engines.trtexec.run import LOCATIONS, build, failure, find_trtexec, locked, trtexec_version
from runtime.errors import ArtifactError, ConfigError, DeviceError, StorageError
from tests.fakes.engine_files import fake_trtexec, lines
from tests.fakes.waiting import ended, read_fifo

ROOT = Path(__file__).resolve().parents[3]


def run(trtexec, out, **options):
    with locked(out) as lock:
        return build(
            trtexec,
            lambda path: ["trtexec", "--onnx=m.onnx", f"--saveEngine={path}"],
            out,
            lock=lock,
            **options,
        )


def test_the_variable_comes_before_path_and_path_before_the_known_places(tmp_path):
    named, on_path, known = (fake_trtexec(tmp_path / name) for name in ("said", "path", "known"))
    environment = {"TRTEXEC": str(named), "PATH": str(on_path.parent)}
    assert find_trtexec(environment, [known]) == named
    assert find_trtexec({"PATH": str(on_path.parent)}, [known]) == on_path
    assert find_trtexec({"PATH": str(tmp_path)}, [tmp_path / "none", known]) == known


def test_jetpack_and_container_places_are_searched_in_this_order():
    assert [str(path) for path in LOCATIONS] == ["/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec"]


def test_a_variable_that_names_nothing_is_refused_although_another_one_is_there(tmp_path):
    other = fake_trtexec(tmp_path / "path")
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="TRTEXEC="):
            find_trtexec({"TRTEXEC": str(wrong), "PATH": str(other.parent)}, [other])


def test_a_file_that_cannot_be_executed_is_no_trtexec(tmp_path):
    plain = fake_trtexec(tmp_path)
    plain.chmod(0o644)
    with pytest.raises(DeviceError, match=f"PATH.*{plain}.*TRTEXEC="):
        find_trtexec({"PATH": str(tmp_path)}, [plain])


@pytest.mark.parametrize(
    ("number", "version"), [(8602, (8, 6, 2)), (100300, (10, 3, 0)), (110401, (11, 4, 1))]
)
def test_its_version_is_what_its_first_line_says(tmp_path, number, version):
    assert trtexec_version(fake_trtexec(tmp_path, version=number)) == version


def test_a_trtexec_that_cannot_start_says_why(tmp_path):
    broken = tmp_path / "trtexec"
    broken.write_text(
        "#!/bin/sh\necho 'trtexec: error while loading shared libraries: libnvinfer.so.10' >&2\nexit 127\n"
    )
    broken.chmod(0o755)
    with pytest.raises(DeviceError, match="libnvinfer.so.10"):
        trtexec_version(broken)
    broken.write_bytes(b"\x7fELF of another processor")
    with pytest.raises(DeviceError, match="cannot be run"):
        trtexec_version(broken)


def test_a_build_leaves_the_engine_and_nothing_else(tmp_path):
    out, log = tmp_path / "out" / "m.engine", tmp_path / "log.txt"
    report = run(fake_trtexec(tmp_path / "bin"), out, log=log)
    assert out.read_bytes() == b"plan of m.onnx" and os.listdir(out.parent) == ["m.engine"]
    assert (report.gpu, report.compute_capability, report.version) == ("Orin", "8.7", (10, 3, 0))
    assert "&&&& PASSED" in log.read_text()


def test_the_engine_is_written_beside_and_renamed(tmp_path):
    trtexec, out = fake_trtexec(tmp_path / "bin"), tmp_path / "m.engine"
    run(trtexec, out)
    (line,) = lines(trtexec)
    written = Path(line.split("--saveEngine=")[1])
    assert written != out and written.parent == out.parent and written.suffix == ".engine"


@pytest.mark.parametrize(
    ("mode", "error", "text"),
    [
        ("fails", ArtifactError, "Error.4.: node /Tile: cannot be built.*--log"),
        ("memory", DeviceError, "OutOfMemory.*--workspace"),
        ("killed", DeviceError, "SIGKILL.*--workspace"),
        ("writes nothing", ArtifactError, "no engine"),
        ("disk", StorageError, "m.engine: .*Saving engine to file failed.*--out"),
    ],
)
def test_a_build_that_fails_keeps_the_older_engine_and_says_why(tmp_path, mode, error, text):
    out = tmp_path / "out" / "m.engine"
    out.parent.mkdir()
    out.write_bytes(b"older")
    with pytest.raises(error, match=text):
        run(fake_trtexec(tmp_path / "bin", mode=mode), out)
    assert out.read_bytes() == b"older" and os.listdir(out.parent) == ["m.engine"]


def test_a_missing_device_is_no_fault_of_the_model():
    report = parse(
        "[E] CUDA initialization failure with error: 35\n&&&& FAILED TensorRT.trtexec [TensorRT v100300]\n"
    )
    assert isinstance(failure(report, 1, Path("m.engine")), DeviceError)


RUNNING = (
    "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --onnx=m.onnx --memPoolSize=workspace:{}\n"
)
FAILED = (
    "[E] Error[10]: IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for node "
    "{ForeignNode[/blocks.0/MatMul]}.)\n[E] Engine could not be created from network\n"
    "&&&& FAILED TensorRT.trtexec [TensorRT v100300]\n"
)


@pytest.mark.parametrize(
    ("lines", "workspace", "cause", "advice"),
    [
        # the device has no more: a larger workspace would not help
        (
            "[W] Tactic Device request: 104MB Available: 90MB. Device memory is insufficient to use tactic.\n"
            "[W] Tactic Device request: 414MB Available: 216MB. Device memory is insufficient to use tactic.\n"
            "[W] UNSUPPORTED_STATE: Skipping tactic 0 due to insufficient memory on requested size of 434110464 detected.\n",
            2048,
            "request: 414MB Available: 216MB",
            "free memory",
        ),
        # the workspace itself is what is available
        (
            "[W] Tactic Device request: 384MB Available: 256MB. Device memory is insufficient to use tactic.\n",
            256,
            "request: 384MB",
            "--workspace 384 or more",
        ),
        (
            "[W] Some tactics do not have sufficient workspace memory to run. Increasing workspace size will enable more tactics\n",
            16,
            "sufficient workspace memory",
            "larger --workspace",
        ),
        (
            "NvMapMemAllocInternalTagged: 1075072515 error 12\n",
            2048,
            "NvMapMemAllocInternalTagged",
            "free memory on the device",
        ),
        (
            "[W] Requested amount of GPU memory (57662592 bytes) could not be allocated.\n",
            2048,
            "57662592 bytes",
            "free memory on the device",
        ),
    ],
)
def test_a_layer_without_a_tactic_for_lack_of_memory_is_no_fault_of_the_model(
    lines, workspace, cause, advice
):
    report = parse(RUNNING.format(workspace) + lines + FAILED)
    error = failure(report, 1, Path("m.engine"))
    assert isinstance(error, DeviceError)
    assert "Could not find any implementation" in str(error) and cause in str(error) and advice in str(error)


def test_a_killed_build_that_lacked_memory_before_says_so():
    lines = (
        "[W] Tactic Device request: 414MB Available: 216MB. Device memory is insufficient to use tactic.\n"
    )
    error = failure(parse(RUNNING.format(2048) + lines), -9, Path("m.engine"))
    assert isinstance(error, DeviceError) and "Available: 216MB" in str(error) and "--workspace" in str(error)


def test_the_same_failure_without_a_word_of_memory_is_the_model_s():
    assert isinstance(failure(parse(RUNNING.format(2048) + FAILED), 1, Path("m.engine")), ArtifactError)


CHILD = """
import sys
from pathlib import Path
from engines.trtexec.run import build, locked
trtexec, out = Path(sys.argv[1]), Path(sys.argv[2])
with locked(out) as lock:
    print("locked", flush=True)
    build(trtexec, lambda path: ["trtexec", "--onnx=m.onnx", f"--saveEngine={path}"], out, lock=lock)
"""


def child(trtexec, out):
    command = [sys.executable, "-c", CHILD, str(trtexec), str(out)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def started(trtexec):
    """The pid of a trtexec that hangs, once it runs."""
    return int(read_fifo(trtexec.parent / "trtexec.log.started"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_stopped_build_leaves_nothing_and_no_trtexec_behind(tmp_path, number, status):
    trtexec, out = fake_trtexec(tmp_path / "bin", mode="hangs"), tmp_path / "out" / "m.engine"
    process = child(trtexec, out)
    worker = started(trtexec)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == status
    assert os.listdir(out.parent) == [] and ended(worker)


def test_the_next_build_waits_for_the_orphan_of_a_killed_one_and_removes_its_half(tmp_path):
    trtexec, out = fake_trtexec(tmp_path / "bin", mode="hangs"), tmp_path / "out" / "m.engine"
    first = child(trtexec, out)
    worker = started(trtexec)
    first.kill()
    first.communicate(timeout=60)
    assert len(os.listdir(out.parent)) == 1
    second = child(fake_trtexec(tmp_path / "bin2"), out)
    # its trtexec still holds the lock
    assert second.stderr.readline().startswith("waiting for another build") and not out.exists()
    os.kill(worker, signal.SIGKILL)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert os.listdir(out.parent) == ["m.engine"]


def test_only_half_built_files_of_the_same_engine_are_removed(tmp_path):
    out = tmp_path / "m.engine"
    stale = tmp_path / ".m.engine.abcd1234.engine"
    others = [
        tmp_path / name for name in (".n.engine.abcd1234.engine", ".m.engine.notes.engine", "m.engine.json")
    ]
    for path in (stale, *others):
        path.write_text("")
    with locked(out):
        assert not stale.exists() and all(path.exists() for path in others)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--out"), locked(tmp_path / "file" / "m.engine"):
        pass
