"""Proving an engine where it stands, with a fake session in TensorRT's place."""

import dataclasses
import json
import platform

import numpy as np
import pytest

from engines.machine import Machine
from engines.manifest import engine_manifest
from engines.trtexec.command import BuildRequest
from engines.verify import ENGINE_LIMITS, AssumedBuild, verify
from export.check import Check, save_check
from runtime.errors import ArtifactError, DeviceError, GateError, NonFiniteFeatures
from runtime.files.manifest import manifest_path, read_manifest, write_manifest
from runtime.gate import LIMITS
from runtime.opening import open_artifact
from tests.fakes import tensorrt
from tests.fakes.cuda import FakeGpu
from tests.fakes.engine_files import onnx_file, unit_features
from tests.fakes.tensorrt import FakeTensorRt

HERE = Machine("10.3.0", "8.7", "Orin", platform.system(), platform.machine(), None, None)


class FakeOpener:
    """Stands in for runtime.backends.tensorrt.session.open_tensorrt; records what it was asked to load."""

    def __init__(self, answer=None):
        self.answer = answer or (lambda images: unit_features()[images[:, 0, 0, 0]])
        self.opened, self.closed, self.batches, self.ends, self.counts = [], 0, (1, 8), (), []

    def __call__(self, path, spec, *, flavour, manifest):
        self.opened.append((path, flavour, dict(manifest)))
        return FakeSession(self)


class FakeSession:
    def __init__(self, opener):
        self.opener, self.batches, self.ends = opener, opener.batches, opener.ends

    def __call__(self, images, camera_ids=None):
        self.opener.counts.append(len(images))
        return self.opener.answer(images)

    def close(self):
        self.opener.closed += 1


@pytest.fixture
def onnx(tmp_path):
    onnx_file(tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "m.engine").write_bytes(b"plan")
    return tmp_path / "m.engine"


def run(engine, onnx, opener=None, adopted=None, host=HERE):
    return verify(
        engine, onnx, adopted or AssumedBuild(), opener=opener or FakeOpener(), host=lambda flavour: host
    )


def built(engine, onnx, builder="trtexec", **changes):
    """A manifest beside the engine as `engines build` leaves it."""
    content = engine_manifest(read_manifest(onnx), HERE, BuildRequest(onnx, engine), [], builder=builder)
    return write_manifest(engine, content | changes)


def test_a_bare_engine_is_adopted_and_its_manifest_holds_the_passed_gate(engine, onnx):
    opener = FakeOpener()
    manifest = run(engine, onnx, opener)
    assert manifest == read_manifest(engine)
    assert manifest["gate"]["passed"] is True and manifest["gate"]["numbers"]["images"] == 12
    assert manifest["kind"] == "engine" and manifest["parent"] == read_manifest(onnx)["sha256"]
    assert manifest["machine"] == dataclasses.asdict(HERE) and manifest["builder"]["adopted"] is True
    assert manifest["shapes"] == [{"min": {"images": [1, 4, 2, 3]}, "max": {"images": [8, 4, 2, 3]}}]
    assert [(path, flavour) for path, flavour, _ in opener.opened] == [
        (engine, "tensorrt")
    ] and opener.closed == 1


def test_the_runtime_opens_what_was_verified_and_only_that(engine, onnx, monkeypatch):
    monkeypatch.setattr("runtime.opening.OPENERS", {"engine": lambda *arguments: "opened"})
    with pytest.raises(ArtifactError, match="manifest m.engine.json is missing"):
        open_artifact(engine, device="cuda")
    run(engine, onnx)
    assert open_artifact(engine, device="cuda").run == "opened"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda images: unit_features()[(images[:, 0, 0, 0] + 1) % 12], "lowest cosine"),
        (lambda images: np.full((len(images), 16), 0.25, np.float32), "features collapse"),
        (lambda images: 2 * unit_features()[images[:, 0, 0, 0]], "not of length 1"),
    ],
)
def test_a_failed_gate_keeps_the_engine_records_why_and_the_runtime_refuses_it(engine, onnx, answer, reason):
    opener = FakeOpener(answer)
    with pytest.raises(GateError, match=reason) as failed:
        run(engine, onnx, opener)
    assert failed.value.code == 7 and opener.closed == 1
    assert engine.read_bytes() == b"plan"
    gate = read_manifest(engine)["gate"]
    assert gate["passed"] is False and any(reason in text for text in gate["failures"])
    with pytest.raises(ArtifactError, match="FAILED its quality gate"):
        open_artifact(engine, device="cuda")


def test_every_engine_and_profile_is_proved_at_its_own_batches(engine, onnx):
    opener = FakeOpener()
    opener.ends = (1, 4)
    assert run(engine, onnx, opener)["gate"]["batches"] == [1, 4, 32]
    assert opener.counts == [1] * 12 + [4] * 3 + [12]
    good = opener.answer
    opener.answer = lambda images: good(images) if len(images) != 4 else good(images)[::-1]
    with pytest.raises(GateError, match="at batch 4: lowest cosine"):
        run(engine, onnx, opener)


def test_features_that_are_not_finite_fail_the_gate(engine, onnx):
    def broken(images):
        raise NonFiniteFeatures("NaN or infinite features in rows [3]", (3,))

    with pytest.raises(GateError, match=r"infinite features in rows \[3\]"):
        run(engine, onnx, FakeOpener(broken))
    assert read_manifest(engine)["gate"]["passed"] is False


def test_a_passed_gate_is_taken_back_when_it_fails_later(engine, onnx):
    run(engine, onnx)
    with pytest.raises(GateError):
        run(engine, onnx, FakeOpener(lambda images: np.full((len(images), 16), 0.25, np.float32)))
    assert read_manifest(engine)["gate"]["passed"] is False


def test_a_device_that_breaks_off_proves_nothing_either_way(engine, onnx):
    def lost(images):
        raise DeviceError("the GPU is gone")

    opener = FakeOpener(lost)
    with pytest.raises(DeviceError):
        run(engine, onnx, opener)
    assert not manifest_path(engine).exists() and opener.closed == 1


def test_the_manifest_of_a_build_keeps_its_facts(engine, onnx):
    before = built(engine, onnx, builder="rtx")
    opener = FakeOpener()
    manifest = run(engine, onnx, opener)
    assert opener.opened[0][1] == "tensorrt_rtx"
    for key in ("machine", "builder", "shapes", "sha256", "parent"):
        assert manifest[key] == before[key]
    assert manifest["gate"]["passed"] is True


@pytest.mark.parametrize(
    ("field", "value"),
    [("tensorrt", "10.13.0"), ("compute_capability", "9.0"), ("gpu", "Thor"), ("l4t", "36.4.3")],
)
def test_an_engine_of_another_machine_is_never_loaded(engine, onnx, field, value):
    built(engine, onnx, machine=dataclasses.asdict(HERE) | {field: value})
    opener, before = FakeOpener(), manifest_path(engine).read_text()
    with pytest.raises(
        ArtifactError, match=f"{value}.*, here .*; rebuild: python -m engines build {onnx} --out {engine} "
    ):
        run(engine, onnx, opener)
    assert not opener.opened and manifest_path(engine).read_text() == before


def test_an_engine_of_another_onnx_file_is_never_loaded(engine, onnx):
    built(engine, onnx, parent="f" * 64)
    opener = FakeOpener()
    with pytest.raises(ArtifactError, match="built from another ONNX file .ffffffffffff,"):
        run(engine, onnx, opener)
    assert not opener.opened


def test_no_damaged_engine_is_ever_loaded(engine, onnx):
    whole = bytes(range(256)) * 4
    engine.write_bytes(whole)
    built(engine, onnx)
    opener = FakeOpener()
    broken = [whole[:length] for length in range(0, 1024, 16)]
    broken += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, 1024, 16)]
    for data in broken:
        engine.write_bytes(data)
        with pytest.raises(ArtifactError, match="sha256 differs"):
            run(engine, onnx, opener)
    assert not opener.opened


@pytest.mark.parametrize("change", ["onnx", "check", "manifest", "engine"])
def test_nothing_is_loaded_when_a_file_of_the_road_is_changed_or_missing(engine, onnx, change):
    if change == "engine":
        engine.unlink()
    elif change == "manifest":
        manifest_path(onnx).unlink()
    else:
        path = onnx if change == "onnx" else onnx.with_name("m.onnx.check.npz")
        path.write_bytes(path.read_bytes() + b" ")
    opener = FakeOpener()
    with pytest.raises(ArtifactError):
        run(engine, onnx, opener)
    assert not opener.opened and not manifest_path(engine).exists()


def test_an_onnx_file_without_check_crops_proves_nothing(engine, tmp_path):
    onnx_file(tmp_path / "m.onnx", check=False)
    with pytest.raises(ArtifactError, match="no check crops"):
        run(engine, tmp_path / "m.onnx")


def test_an_engine_exchanged_during_the_run_does_not_match_its_manifest(engine, onnx):
    def exchange(images):
        engine.write_bytes(b"another")
        return unit_features()[images[:, 0, 0, 0]]

    run(engine, onnx, FakeOpener(exchange))
    with pytest.raises(ArtifactError, match="sha256 differs"):
        read_manifest(engine)


def test_what_nobody_wrote_down_can_be_said(engine, onnx):
    opener = FakeOpener()
    manifest = run(engine, onnx, opener, AssumedBuild("rtx", "int8", version_compatible=True))
    assert manifest["precision"] == "int8" and manifest["gate"]["limits"] == dataclasses.asdict(
        LIMITS["int8"]
    )
    assert manifest["builder"]["name"] == "rtx" and opener.opened[0][1] == "tensorrt_rtx"
    assert opener.opened[0][2]["builder"]["version_compatible"] is True


def test_fp32_engines_are_held_to_the_limits_of_the_tf32_they_compute_in():
    assert ENGINE_LIMITS["fp32"] == LIMITS["fp16"] and ENGINE_LIMITS["int8"] == LIMITS["int8"]


def test_a_precision_that_no_gate_knows_is_refused(engine, tmp_path):
    onnx_file(tmp_path / "m.onnx", precision="fp8")
    opener = FakeOpener()
    with pytest.raises(ArtifactError, match="'fp8'"):
        run(engine, tmp_path / "m.onnx", opener)
    assert not opener.opened


def test_the_real_session_on_a_fake_tensorrt_is_opened_run_and_closed(tmp_path, monkeypatch):
    trt = FakeTensorRt(FakeGpu().install(monkeypatch)).install(monkeypatch)
    size = {"height": tensorrt.HEIGHT, "width": tensorrt.WIDTH}
    images = np.random.default_rng(0).integers(0, 250, (12, *size.values(), 3), dtype=np.uint8)
    features = tensorrt.model(images)
    parent = onnx_file(tmp_path / "m.onnx", **size)
    check = Check(images, np.arange(12), features / np.linalg.norm(features, axis=1, keepdims=True))
    saved = save_check(tmp_path / "m.onnx.check.npz", check)
    output = {"dim": tensorrt.DIM, "normalised": True}
    write_manifest(tmp_path / "m.onnx", parent | {"check": saved, "output": output})
    engine = tmp_path / "m.engine"
    engine.write_bytes(tensorrt.plan([(1, 2, 5)]))
    host = dataclasses.replace(HERE, gpu="Fake GPU", compute_capability="8.6")
    # the fake's only fault is that its features are not of length 1
    with pytest.raises(GateError, match="not of length 1"):
        verify(engine, tmp_path / "m.onnx", AssumedBuild(), host=lambda flavour: host)
    manifest = read_manifest(engine)
    assert len(manifest["gate"]["failures"]) == 1 and manifest["gate"]["numbers"]["difference_max"] < 1e-6
    assert {bound: shape["images"][0] for bound, shape in manifest["shapes"][0].items()} == {
        "min": 1,
        "max": 5,
    }
    assert trt.gpu.leaks() == []


def test_the_manifest_is_plain_json(engine, onnx):
    run(engine, onnx)
    text = manifest_path(engine).read_text()
    assert json.loads(text)["schema"] == 1 and "NaN" not in text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"builder": None}, "rebuild: python -m engines build"),
        ({"builder": "trtexec"}, "builder"),
        ({"precision": ["fp16"]}, "precision"),
        ({"precision": "fp12"}, "'fp12'"),
        ({"machine": None}, "incomplete"),
    ],
)
def test_an_engine_with_a_damaged_manifest_is_refused_before_it_is_loaded(engine, onnx, change, named):
    write_manifest(engine, built(engine, onnx) | change)
    opener = FakeOpener()
    with pytest.raises(ArtifactError, match=named):
        run(engine, onnx, opener)
    assert not opener.opened
