"""The check crops beside an ONNX file: taken only as its manifest describes them, and the verdict on a session."""

import json

import numpy as np
import pytest

from runtime.checks.check_crops import judge, load_check, run_check
from runtime.errors import ArtifactError, NonFiniteFeatures
from runtime.files.manifest import sha256
from runtime.gate import LIMITS
from runtime.spec import InputSpec
from tests.fakes.engine_files import crops, onnx_file, unit_features

SPEC = InputSpec(height=4, width=2)


@pytest.fixture
def onnx(tmp_path):
    onnx_file(tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def manifest_of(onnx):
    return json.loads(onnx.with_name("m.onnx.json").read_text())


def rewritten(onnx, **arrays):
    """The manifest after the crops were exchanged and their hash with them."""
    path = onnx.with_name("m.onnx.check.npz")
    with np.load(path) as stored:
        arrays = {**stored, **arrays}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    manifest = manifest_of(onnx)
    manifest["check"]["sha256"] = sha256(path)
    return manifest


def by_number(images, camera_ids=None):
    """A session whose features are those of the crop's number in its first pixel."""
    return unit_features()[images[:, 0, 0, 0]]


def test_what_an_export_saved_is_read_back(onnx):
    check = load_check(onnx, manifest_of(onnx))
    assert np.array_equal(check.images, crops(SPEC)) and np.array_equal(check.features, unit_features())
    assert np.array_equal(check.camera_ids, np.arange(12))


@pytest.mark.parametrize(
    "entry", [None, {}, {"file": 3}, {"file": "../m.onnx.check.npz"}, {"file": "/etc/passwd"}]
)
def test_a_manifest_without_crops_of_its_own_folder_is_refused(onnx, entry):
    with pytest.raises(ArtifactError, match="no check crops; .*--check"):
        load_check(onnx, manifest_of(onnx) | {"check": entry})


def test_missing_and_exchanged_crops_are_refused(onnx):
    path = onnx.with_name("m.onnx.check.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match="sha256 differs"):
        load_check(onnx, manifest_of(onnx))
    path.unlink()
    with pytest.raises(ArtifactError, match="no such file; copy it"):
        load_check(onnx, manifest_of(onnx))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"features": None}, "unreadable"),
        ({"features": np.array([{}], dtype=object)}, "unreadable"),
        ({"features": unit_features(11)}, "not what the manifest describes"),
        ({"features": unit_features(dim=8)}, "not what the manifest describes"),
        ({"features": unit_features().astype(np.float64)}, "not what the manifest describes"),
        ({"camera_ids": np.zeros(12, np.int32)}, "not what the manifest describes"),
        ({"images": crops(InputSpec(height=8, width=2))}, "not what the manifest describes"),
        ({"images": np.uint8(3)}, "not what the manifest describes"),
    ],
)
def test_crops_of_another_form_are_refused(onnx, arrays, reason):
    with pytest.raises(ArtifactError, match=reason):
        load_check(onnx, rewritten(onnx, **arrays))


def test_no_file_that_is_no_archive_is_read(onnx):
    path = onnx.with_name("m.onnx.check.npz")
    path.write_bytes(b"no archive")
    manifest = manifest_of(onnx)
    manifest["check"]["sha256"] = sha256(path)
    with pytest.raises(ArtifactError, match="unreadable"):
        load_check(onnx, manifest)


@pytest.mark.parametrize("batch", [1, 5, 12, 100])
def test_every_batch_size_gives_every_crop_its_own_features(onnx, batch):
    check = load_check(onnx, manifest_of(onnx))
    assert np.array_equal(run_check(check, by_number, SPEC, batch=batch), unit_features())


def test_cameras_reach_only_a_session_that_takes_them(onnx):
    check, seen = load_check(onnx, manifest_of(onnx)), []

    def session(images, camera_ids=None):
        seen.append(camera_ids)
        return by_number(images)

    run_check(check, session, SPEC, batch=12)
    run_check(check, session, InputSpec(height=4, width=2, camera="input", cameras=10), batch=12)
    assert seen[0] is None and np.array_equal(seen[1], np.arange(12))


def test_the_verdict_holds_limits_numbers_and_reasons(onnx):
    check = load_check(onnx, manifest_of(onnx))
    good = judge(check, by_number, SPEC, LIMITS["fp16"])
    assert good["passed"] is True and good["failures"] == [] and good["numbers"]["images"] == 12
    assert good["limits"]["cosine_min"] == LIMITS["fp16"].cosine_min
    bad = judge(check, lambda images, ids: by_number(images)[::-1], SPEC, LIMITS["fp16"])
    assert bad["passed"] is False and any("lowest cosine" in text for text in bad["failures"])


def test_near_ties_are_judged_by_the_precision(onnx):
    """Only crops whose best neighbour leads by more than the precision can blur are asked for it."""
    check = load_check(onnx, manifest_of(onnx))
    clear = {name: judge(check, by_number, SPEC, LIMITS[name])["numbers"]["clear"] for name in LIMITS}
    similar = check.features @ check.features.T - 2 * np.eye(12)
    lead = np.diff(np.sort(similar, axis=1)[:, -2:], axis=1)[:, 0]
    assert clear == {name: int((lead > LIMITS[name].gap).sum()) for name in LIMITS}
    assert clear["int8"] < clear["fp32"]


def test_features_that_are_not_finite_fail_without_numbers(onnx):
    def broken(images, camera_ids=None):
        raise NonFiniteFeatures("NaN in rows [0]", (0,))

    verdict = judge(load_check(onnx, manifest_of(onnx)), broken, SPEC, LIMITS["fp16"])
    assert (
        verdict["passed"] is False and verdict["failures"] == ["NaN in rows [0]"] and "numbers" not in verdict
    )
