"""A backend is chosen by its gate and its speed, the choice is written down, and used only where it holds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime import BackendResult, BackendTiming, choose_backend
from runtime import opening as session_module
from runtime.__main__ import main
from runtime.backend_timing import fastest
from runtime.backends import choice
from runtime.backends.choice import choice_path, chosen_backend
from runtime.entry import guarded
from runtime.errors import ArtifactError, ConfigError, DeviceError, GateError
from runtime.files.manifest import sha256
from runtime.gate import LIMITS, backend_limits
from runtime.host.stopwatch import MIN_ROUNDS
from runtime.opening import open_artifact
from runtime.options.choices import BACKENDS
from runtime.spec import InputSpec
from tests.fakes.checked_model import write_checked_model
from tests.fakes.tiny_model import DIM, SPEC, write_model

pytest.importorskip("runtime.backends.onnxruntime", reason="needs onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_checked_model(tmp_path / "m.onnx")


def test_every_engine_is_judged_timed_and_written_down(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("runtime.backends.openvino", reason="needs openvino")
    assert main(["choose", str(model), "--threads", "1", "--seconds", "0.05", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    written = json.loads(choice_path(model).read_text())
    assert written == document | {"schema": choice.SCHEMA}
    assert [row["engine"] for row in document["rows"]] == list(BACKENDS)
    assert document["model"] == sha256(model) and document["threads"] == 1 and document["batch"] == 1
    assert document["versions"].keys() >= {"openvino"} and document["processor"]
    for row in document["rows"][:2]:
        assert row["passed"] and row["limits"] == dataclasses.asdict(LIMITS["fp32"])
        assert row["rounds"] >= MIN_ROUNDS and 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"]
    times = {row["engine"]: row["latency_ms"]["p50"] for row in document["rows"] if row.get("passed")}
    assert times[document["chosen"]] <= 1.03 * min(times.values())
    assert chosen_backend(model, sha256(model)) == document["chosen"]


def test_auto_runs_what_was_chosen_and_says_so(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("runtime.backends.openvino", reason="needs openvino")
    document = {"model": sha256(model), "chosen": "openvino"} | choice.this_machine()
    choice.write_choice(model, document)
    artifact = open_artifact(model, threads=1, backend="auto")
    assert artifact.backend == "openvino" and type(artifact.run).__name__ == "OpenVinoSession"
    assert "backend='auto' is openvino" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "0" * 64}, "another file"),
        ({"processor": "Z80"}, "processor Z80, here"),
        ({"cores": 4096}, "cores 4096, here"),
        ({"versions": {"openvino": "2023.1"}}, "versions openvino 2023.1, here"),
        ({"versions": {}}, "versions none, here"),
        ({"chosen": None}, "no backend passed"),
        ({"schema": 99}, "another version"),
        (None, "m.onnx.choice.json is missing"),
    ],
)
def test_a_choice_that_does_not_hold_here_is_refused_in_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], change: dict | None, reason: str
) -> None:
    if change is not None:
        document = {"model": sha256(model), "chosen": "onnxruntime"} | choice.this_machine() | change
        choice_path(model).write_text(json.dumps({"schema": choice.SCHEMA} | document))
    out = str(model.with_name("f.npz"))
    code = guarded(main, ["extract", str(model), str(model.parent), "--out", out, "--backend", "auto"])
    line = capsys.readouterr().err.strip()
    assert code == ArtifactError.code and "\n" not in line
    assert reason in line and line.endswith(f"run: python -m runtime choose {model}")


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]"])
def test_an_unreadable_choice_is_refused(model: Path, damage: bytes) -> None:
    choice_path(model).write_bytes(damage)
    with pytest.raises(ArtifactError, match="python -m runtime choose"):
        open_artifact(model, backend="auto")


Fake = Callable[[str, str], None]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Replace what one backend's session gives: other features, an error, or no session at all."""
    real = session_module.BACKEND_OPENERS["onnxruntime"]

    def spoil(backend: str, failure: str) -> None:
        def session(path: Path, spec: InputSpec, target: session_module.Target) -> object:
            if target.backend != backend and backend != "all":
                # one backend is enough to test the others' rows, also where OpenVINO is not installed
                return real(path, spec, target)
            if failure == "missing":
                raise DeviceError(f"--backend {backend}: not installed")
            run = real(path, spec, target)

            def wrong(images: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
                if failure == "fails":
                    raise DeviceError("the backend failed")
                return run(images, ids)[:, ::-1]

            wrong.dim = DIM  # type: ignore[attr-defined]
            return wrong

        for name in BACKENDS:
            monkeypatch.setitem(session_module.BACKEND_OPENERS, name, session)

    return spoil


@pytest.mark.parametrize("failure", ["other people", "fails", "missing"])
def test_an_engine_that_fails_its_gate_is_never_chosen_nor_timed(
    model: Path, spoil: Fake, failure: str
) -> None:
    spoil("onnxruntime", failure)
    measured = choose_backend(model, threads=1, seconds=0.01)
    first = measured.results[0]
    assert first.backend == BACKENDS[0] and not first.passed and first.timing is None
    assert bool(first.missing) == (failure == "missing")
    assert measured.chosen in BACKENDS[1:]


def test_where_no_engine_passes_the_file_says_so_and_auto_refuses(
    model: Path, spoil: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil("all", "other people")
    assert guarded(main, ["choose", str(model), "--seconds", "0.01"]) == GateError.code
    assert json.loads(choice_path(model).read_text())["chosen"] is None
    assert "cosine" in capsys.readouterr().out
    with pytest.raises(ArtifactError, match="no backend passed"):
        open_artifact(model, backend="auto")


def test_where_no_engine_is_installed_the_refusal_says_what_to_install(model: Path, spoil: Fake) -> None:
    spoil("all", "missing")
    with pytest.raises(DeviceError, match="pip install"):
        choose_backend(model)
    assert not choice_path(model).exists()


def result(backend: str, p50_ms: float | None) -> BackendResult:
    if p50_ms is None:
        return BackendResult(backend, gate={"passed": False})
    return BackendResult(backend, gate={"passed": True}, timing=BackendTiming(p50_ms, p50_ms, p50_ms, 10))


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ((10, 5, 4), "openvino-bf16"),
        ((10, 5, 4.9), "openvino"),
        ((10, 9.8, 9.6), "openvino-bf16"),
        ((10, 9.8, 9.75), "onnxruntime"),
        ((5, 10, 10), "onnxruntime"),
        ((None, 5, None), "openvino"),
        ((None, None, None), None),
    ],
)
def test_the_fastest_that_passes_is_chosen_and_the_exacter_one_of_equals(
    times: tuple[float | None, ...], chosen: str | None
) -> None:
    assert fastest([result(backend, time) for backend, time in zip(BACKENDS, times)]) == chosen


@pytest.mark.parametrize(
    ("precision", "engine", "limits"),
    [
        ("fp32", "onnxruntime", "fp32"),
        ("fp32", "openvino", "fp32"),
        ("fp32", "openvino-bf16", "fp16"),
        ("fp16", "openvino-bf16", "fp16"),
        ("int8", "openvino", "int8"),
        ("int8", "openvino-bf16", "int8"),
    ],
)
def test_an_engine_is_held_to_the_limits_of_the_file(precision: str, engine: str, limits: str) -> None:
    assert backend_limits(precision, engine) == LIMITS[limits]


def test_a_fixed_batch_is_the_one_that_is_measured(tmp_path: Path, spoil: Fake) -> None:
    spoil("none", "")
    fixed = write_checked_model(tmp_path / "m.onnx", dataclasses.replace(SPEC, batch=4))
    assert choose_backend(fixed, seconds=0.01).batch == 4
    with pytest.raises(ConfigError, match="fixed batch"):
        choose_backend(fixed, batch=2, seconds=0.01)


def test_a_model_without_check_crops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="check crops"):
        choose_backend(write_model(tmp_path / "m.onnx"))


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"batch": 0}, {"seconds": 0}, {"seconds": float("nan")}])
def test_wrong_arguments_are_named(model: Path, wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        choose_backend(model, **wrong)


def test_an_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="onnx"):
        choose_backend(tmp_path / "m.engine")


def test_a_result_is_frozen_and_its_steps_are_reported(model: Path, spoil: Fake) -> None:
    spoil("none", "")
    steps: list[str] = []
    measured = choose_backend(model, seconds=0.01, progress=steps.append)
    assert [step.split(":")[0] for step in steps] == list(BACKENDS)
    assert measured.path == choice_path(model) and measured.path.is_file()
    with pytest.raises(dataclasses.FrozenInstanceError):
        measured.chosen = "openvino"  # type: ignore[misc]
