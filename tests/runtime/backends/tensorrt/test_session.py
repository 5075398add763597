"""An engine is loaded only where it belongs, and each failure is one line."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.backends.tensorrt.execution import EngineSession
from runtime.backends.tensorrt.session import open_tensorrt
from runtime.errors import ArtifactError, ConfigError, DeviceError, OutOfMemory
from runtime.files.manifest import sha256, write_manifest
from runtime.opening import open_artifact
from runtime.spec import InputSpec
from tests.fakes.cuda import FakeGpu
from tests.fakes.tensorrt import DIM, HEIGHT, WIDTH, FakeTensorRt, model, plan

SPEC = InputSpec(height=HEIGHT, width=WIDTH)
HERE = {
    "tensorrt": "10.3.0.26",
    "compute_capability": "8.6",
    "gpu": "Fake GPU",
    "system": platform.system(),
    "processor": platform.machine(),
}
IMAGES = np.random.default_rng(0).integers(0, 250, (5, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    return FakeTensorRt(FakeGpu().install(monkeypatch)).install(monkeypatch)


def write(path: Path, content: bytes = plan(4), **fields: Any) -> Path:
    path.write_bytes(content)
    manifest = {"kind": "engine", "input": SPEC.to_json(), "output": {"dim": DIM}, "machine": HERE}
    write_manifest(path, manifest | {"gate": {"passed": True}, "builder": {"name": "trtexec"}} | fields)
    return path


# opening an artifact


def test_an_engine_artifact_opens_through_a_fake_and_runs(trt: FakeTensorRt, tmp_path: Path) -> None:
    artifact = open_artifact(write(tmp_path / "m.engine"), device="cuda")
    np.testing.assert_array_equal(artifact.run(IMAGES), model(IMAGES))
    assert artifact.dim == DIM and trt.host_code == [False]


def test_an_engine_of_the_rtx_builder_opens_through_a_fake_of_that_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    FakeTensorRt(FakeGpu().install(monkeypatch), "1.7.1.116").install(monkeypatch, "tensorrt_rtx")
    # built ahead of time, on another machine without a GPU
    machine = HERE | {"tensorrt": "1.7.1.116", "compute_capability": None, "gpu": None}
    path = write(tmp_path / "m.engine", builder={"name": "rtx"}, machine=machine)
    np.testing.assert_array_equal(open_artifact(path, device="cuda").run(IMAGES), model(IMAGES))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, "device='cuda'"), ({"device": "cuda", "threads": 2}, "threads=2 has no effect")],
)
def test_an_engine_never_runs_elsewhere_than_it_was_asked_to(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        open_artifact(write(tmp_path / "m.engine"), **options)


def test_an_unverified_engine_names_the_command_that_verifies_it(tmp_path: Path) -> None:
    path = write(tmp_path / "m.engine", gate={"passed": None})
    with pytest.raises(ArtifactError, match="python -m engines verify .*m.engine"):
        open_artifact(path, device="cuda")


def test_an_engine_of_another_width_is_refused_and_freed_by_a_fake(trt: FakeTensorRt, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="features have 6 values, but its manifest says 7"):
        open_artifact(write(tmp_path / "m.engine", output={"dim": 7}), device="cuda")
    assert trt.gpu.leaks() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tensorrt": "10.4.0"}, "built for TensorRT 10.4.0, here 10.3.0"),
        ({"tensorrt": "8.6.1"}, "built for TensorRT 8.6.1"),
        ({"compute_capability": "8.7"}, "compute capability 8.7, here 8.6"),
        ({"gpu": "Orin"}, "built for GPU Orin, here Fake GPU"),
        ({"system": "Windows"}, "operating system Windows"),
        ({"processor": "riscv"}, "processor riscv"),
    ],
)
def test_an_engine_of_another_machine_is_refused_before_a_fake_loads_it(
    trt: FakeTensorRt, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    path = write(tmp_path / "m.engine", machine=HERE | change)
    with pytest.raises(ArtifactError, match=f"{reason}.*python -m engines build"):
        open_artifact(path, device="cuda")
    assert trt.host_code == [] and trt.gpu.leaks() == []


def test_a_version_compatible_engine_may_run_its_own_runtime_on_a_fake(
    trt: FakeTensorRt, tmp_path: Path
) -> None:
    builder = {"name": "trtexec", "version_compatible": True}
    path = write(tmp_path / "m.engine", builder=builder, machine=HERE | {"tensorrt": "10.1.0"})
    open_artifact(path, device="cuda")
    assert trt.host_code == [True]


def test_an_engine_of_another_jetpack_is_refused_before_a_fake_loads_it(
    trt: FakeTensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = HERE | {"l4t": "36.4.3", "jetpack": "6.2"}
    builder = {"name": "trtexec", "onnx": "m.onnx", "engine": "m.engine", "profiles": [[1, 4, 8]]}
    path = write(tmp_path / "m.engine", machine=machine, builder=builder)
    monkeypatch.setenv("L4T_VERSION", "39.2.0")
    with pytest.raises(ArtifactError, match="L4T 36.4.3 .JetPack 6.2., here 39.2.0") as raised:
        open_artifact(path, device="cuda")
    command = f"python -m engines build {tmp_path / 'm.onnx'} --out {path} --builder trtexec --batch 1,4,8"
    assert str(raised.value).endswith(f"; rebuild it here: {command}")
    assert trt.host_code == []
    monkeypatch.setenv("L4T_VERSION", "36.4.7")
    open_artifact(path, device="cuda")


def others_of(folder: Path, *sizes: int) -> list[dict[str, Any]]:
    """Engines of one fixed batch each, as a manifest names them."""
    entries = []
    for size in sizes:
        path = folder / f"m.b{size}.engine"
        path.write_bytes(plan(size))
        entries.append({"file": path.name, "sha256": sha256(path), "batch": [size] * 3})
    return entries


def test_an_engine_opens_those_of_other_batches_that_its_manifest_names_on_a_fake(
    trt: FakeTensorRt, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.engine", plan(32), others=others_of(tmp_path, 1, 4, 8, 16))
    run = open_artifact(path, device="cuda").run
    assert isinstance(run, EngineSession)
    assert run.batches == run.ends == (1, 4, 8, 16, 32)
    np.testing.assert_array_equal(run(IMAGES), model(IMAGES))
    run.close()
    assert trt.gpu.leaks() == []


def test_a_changed_engine_of_another_batch_is_never_loaded_by_a_fake(
    trt: FakeTensorRt, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.engine", plan(32), others=others_of(tmp_path, 1, 8))
    (tmp_path / "m.b8.engine").write_bytes(plan(16))
    with pytest.raises(ArtifactError, match="m.b8.engine, is not the file .*python -m engines build"):
        open_artifact(path, device="cuda")
    assert trt.host_code == [] and trt.gpu.leaks() == []


# loading


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no plan", "magicTag.*python -m engines build"),
        (plan(4, floats=True), "images float32"),
        (plan(4, camera="INT32"), "camera_ids int32"),
        (plan(4, tensors={"features": ["HALF", [DIM], "OUTPUT"]}), "features is HALF"),
        (plan(4, tensors={"features": ["INT32", [DIM], "OUTPUT"]}), "features int32"),
        (plan(4, tensors={"features": ["FLOAT", [2, 3], "OUTPUT"]}), "features float32"),
        (plan(4, tensors={"images": ["UINT8", [HEIGHT, -1, 3], "INPUT"]}), "images is UINT8"),
        (plan(4, tensors={"extra": ["FLOAT", [2], "OUTPUT"]}), "extra float32"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_and_freed_by_a_fake(
    trt: FakeTensorRt, tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "m.engine"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=reason) as raised:
        open_tensorrt(path, SPEC)
    assert raised.value.code == 4 and "\n" not in str(raised.value)
    del raised
    assert trt.gpu.leaks() == []


def test_engines_of_different_models_never_make_one_session_on_a_fake(
    trt: FakeTensorRt, tmp_path: Path
) -> None:
    engine, other = tmp_path / "1.engine", tmp_path / "2.engine"
    engine.write_bytes(plan(1))
    other.write_bytes(plan(4, dim=DIM + 1))
    with pytest.raises(ArtifactError, match="not the same model"):
        open_tensorrt(engine, SPEC, others=[other])
    assert trt.gpu.leaks() == []


@pytest.mark.parametrize(
    ("logged", "kind", "code"),
    [
        ("Error Code 1: Serialization (version tag does not match)", ArtifactError, 4),
        ("Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is insufficient)", DeviceError, 5),
        ("CUDA initialization failure with error: 35", DeviceError, 5),
        ("Error Code 1: Cuda Runtime (out of memory)", OutOfMemory, 5),
    ],
)
def test_nothing_deserialised_by_a_fake_is_one_line_of_the_right_kind(
    trt: FakeTensorRt, tmp_path: Path, logged: str, kind: type[DeviceError], code: int
) -> None:
    trt.refusals["deserialize_cuda_engine"] = logged
    path = tmp_path / "m.engine"
    path.write_bytes(plan(4))
    with pytest.raises(kind) as raised:
        open_tensorrt(path, SPEC)
    assert type(raised.value) is kind and raised.value.code == code and logged[:40] in str(raised.value)


def test_a_missing_file_and_library_and_an_unknown_flavour_on_a_fake(
    trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        open_tensorrt(tmp_path / "m.engine", SPEC)
    with pytest.raises(ConfigError, match="tensorrt, tensorrt_rtx"):
        open_tensorrt(tmp_path / "m.engine", SPEC, flavour="tensorrt_lean")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeviceError, match="python3-libnvinfer"):
        open_tensorrt(tmp_path / "m.engine", SPEC)


def test_a_fake_cuda_is_asked_before_the_library_is_even_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeGpu(devices=0).install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeviceError, match="no CUDA device"):
        open_tensorrt(tmp_path / "m.engine", SPEC)


# the real library, without a GPU


def test_the_real_rtx_library_on_a_fake_cuda_refuses_what_is_no_plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the TensorRT-RTX wheel")
    gpu = FakeGpu().install(monkeypatch)
    path = tmp_path / "m.engine"
    path.write_bytes(b"no plan" * 100)
    with pytest.raises(ArtifactError, match="serialization version") as raised:
        open_tensorrt(path, SPEC, flavour="tensorrt_rtx")
    assert raised.value.code == 4 and gpu.leaks() == []


def test_the_real_rtx_library_on_a_fake_cuda_still_needs_a_driver_for_a_real_plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = pytest.importorskip("tensorrt_rtx", reason="needs the TensorRT-RTX wheel")
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")
    if int(runtime.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("here is a GPU: the plan would load")
    builder = real.Builder(real.Logger(real.Logger.ERROR))
    network = builder.create_network()
    images = network.add_input("images", real.DataType.FLOAT, (1, 4))
    network.add_activation(images, real.ActivationType.RELU).get_output(0).name = "features"
    network.mark_output(network.get_layer(0).get_output(0))
    path = tmp_path / "m.engine"
    path.write_bytes(bytes(builder.build_serialized_network(network, builder.create_builder_config())))
    FakeGpu().install(monkeypatch)
    with pytest.raises(DeviceError, match="cudaError 35.*engines doctor") as raised:
        open_tensorrt(path, SPEC, flavour="tensorrt_rtx")
    assert raised.value.code == 5
