"""On another kind of processor than a file was exported on, its gate runs once more, and what it said is kept and used."""

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.__main__ import main
from runtime.checks import this_machine
from runtime.checks.this_machine import record_path, recorded
from runtime.entry import guarded
from runtime.errors import GateError
from runtime.files.manifest import sha256, write_manifest
from runtime.host.processor import this_kind
from runtime.opening import open_artifact, verify_artifact
from tests.fakes.checked_model import write_checked_model

pytest.importorskip("runtime.backends.onnxruntime", reason="needs onnxruntime")


def changed(path, **fields):
    manifest = json.loads(Path(f"{path}.json").read_text())
    write_manifest(path, manifest | fields)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    """A file whose gate passed on a Z80."""
    path = write_checked_model(tmp_path / "m.onnx")
    changed(path, host={"processor_kind": "z80"})
    return path


@pytest.fixture
def judged(monkeypatch):
    """The files whose gate was run, in order."""
    seen, real = [], this_machine.judge
    monkeypatch.setattr(
        this_machine, "judge", lambda check, *rest: seen.append(len(check.images)) or real(check, *rest)
    )
    return seen


def spoil(path):
    """Crops whose features belong to others: the gate fails here."""
    crops = path.with_name(f"{path.name}.check.npz")
    with np.load(crops) as stored:
        np.savez(crops, **{**stored, "features": np.roll(stored["features"], 1, axis=0)})
    changed(path, check={"file": crops.name, "sha256": sha256(crops)})


def test_on_the_kind_of_the_manifest_nothing_is_run_or_written(tmp_path, judged):
    path = write_checked_model(tmp_path / "m.onnx")
    assert json.loads(Path(f"{path}.json").read_text())["host"]["processor_kind"] == this_kind()
    open_artifact(path)
    assert judged == [] and not record_path(path).exists()


@pytest.mark.parametrize("host", [{"processor_kind": "z80"}, {"processor": "Z80"}, {}, None])
def test_on_another_or_an_unknown_kind_it_runs_once_and_is_recorded(model, judged, capsys, host):
    changed(model, host=host)
    open_artifact(model)
    assert judged == [40] and "once" in capsys.readouterr().err
    document = json.loads(record_path(model).read_text())
    (verdict,) = document["gates"]
    assert document["model"] == sha256(model)
    assert (verdict["processor_kind"], verdict["engine"], verdict["passed"]) == (
        this_kind(),
        "onnxruntime",
        True,
    )
    assert verdict["numbers"]["cosine_min"] > 0.9999 and verdict["versions"]
    open_artifact(model)
    verify_artifact(model)
    assert judged == [40] and capsys.readouterr().err == ""


def test_a_file_that_is_only_verified_for_worker_processes_is_judged_too(model, judged):
    artifact = verify_artifact(model)
    assert judged == [40] and recorded(model, artifact.sha256, artifact.backend)["passed"]
    with pytest.raises(RuntimeError):
        artifact.run(np.zeros((1, 32, 16, 3), np.uint8))


def test_a_failure_is_refused_each_time_but_run_once_and_may_be_overridden(model, judged, capsys):
    spoil(model)
    words = ["extract", str(model), str(model.parent), "--out", str(model.with_name("f.npz"))]
    for _ in range(2):
        assert guarded(main, words) == GateError.code
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert "cosine" in line and "python -m runtime choose" in line
    assert judged == [40] and recorded(model, sha256(model), "onnxruntime")["passed"] is False
    assert open_artifact(model, allow_ungated=True).dim
    assert "WARNING" in capsys.readouterr().err


def test_another_engine_has_a_verdict_of_its_own(model, judged, capsys):
    pytest.importorskip("runtime.backends.openvino", reason="needs openvino")
    for engine in ("onnxruntime", "openvino", "openvino"):
        assert this_machine.doubt(open_artifact(model, backend=engine)) is None
    assert judged == [40, 40]
    assert {verdict["engine"] for verdict in json.loads(record_path(model).read_text())["gates"]} == {
        "onnxruntime",
        "openvino",
    }


def test_in_a_folder_that_cannot_be_written_the_users_cache_keeps_it(model, judged, cache, capsys):
    record_path(model).mkdir()
    open_artifact(model)
    open_artifact(model)
    assert (
        judged == [40] and list((cache / "reid-edge").iterdir()) and "WARNING" not in capsys.readouterr().err
    )


def test_where_nothing_can_be_written_it_says_so_and_goes_on(model, judged, cache, capsys):
    record_path(model).mkdir()
    cache.write_bytes(b"no folder")
    for _ in range(2):
        assert open_artifact(model).dim
        assert "WARNING" in capsys.readouterr().err
    assert judged == [40, 40]


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"\xff", b"[]", b"[" * 9000, b'{"schema": 1}', b'{"schema": 1, "model": "SHA", "gates": 3}'],
    ids=["empty", "cut", "binary", "list", "deep", "bare", "number"],
)
def test_a_damaged_record_is_none(model, judged, record):
    record_path(model).write_bytes(record.replace(b"SHA", sha256(model).encode()))
    open_artifact(model)
    assert judged == [40] and recorded(model, sha256(model), "onnxruntime")["passed"]


@pytest.mark.parametrize(
    "change",
    [
        {"processor_kind": "z80"},
        {"versions": {"onnxruntime": "1.0"}},
        {"passed": "yes"},
        {"engine": "openvino"},
    ],
)
def test_a_verdict_of_other_conditions_does_not_count_and_stays(model, judged, change):
    open_artifact(model)
    document = json.loads(record_path(model).read_text())
    document["gates"] = [document["gates"][0] | change]
    record_path(model).write_text(json.dumps(document))
    open_artifact(model)
    assert judged == [40, 40]
    kept = json.loads(record_path(model).read_text())["gates"]
    assert len(kept) == (1 if "passed" in change else 2) and kept[-1]["passed"] is True


def test_a_record_of_another_file_does_not_count(model, judged):
    open_artifact(model)
    record_path(model).write_text(record_path(model).read_text().replace(sha256(model), "0" * 64))
    open_artifact(model)
    assert judged == [40, 40]


def test_without_check_crops_the_file_runs_and_a_warning_says_what_is_missing(model, judged, capsys):
    model.with_name("m.onnx.check.npz").unlink()
    assert open_artifact(model).dim
    assert "WARNING" in (said := capsys.readouterr().err) and "m.onnx.check.npz" in said
    assert judged == [] and not record_path(model).exists()


def test_a_file_that_never_passed_is_not_judged(model, judged, capsys):
    changed(model, gate={"passed": None})
    open_artifact(model, allow_ungated=True)
    assert judged == []
