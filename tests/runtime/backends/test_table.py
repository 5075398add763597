"""Every backend of the table has its own opener, file and probe: none is run by another in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

import runtime.backends
from benchmarks.latency_table.calls import GRAPH_OPENERS
from engines.probe import PROBES
from runtime.backends.library import BrokenLibrary
from runtime.errors import DeviceError
from runtime.gate import LIMITS
from runtime.opening import BACKEND_OPENERS, open_artifact
from runtime.options.backends import ONNX_BACKENDS, PACKAGES
from runtime.options.choices import BACKENDS
from tests.fakes.tiny_model import write_model

FOLDER = Path(runtime.backends.__file__).parent


def test_the_names_of_the_option_and_of_the_openers_are_those_of_the_table() -> None:
    assert BACKENDS == tuple(ONNX_BACKENDS) == tuple(BACKEND_OPENERS)
    assert set(GRAPH_OPENERS) == {backend.library for backend in ONNX_BACKENDS.values()}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_has_a_file_a_probe_packages_and_limits(name: str) -> None:
    backend = ONNX_BACKENDS[name]
    assert (FOLDER / f"{backend.library}.py").is_file()
    assert backend.library in PROBES and backend.fp32_limits in LIMITS
    # the plain form has the library's name
    assert backend.library in ONNX_BACKENDS
    assert backend.packages and set(backend.packages) <= set(PACKAGES)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_runs_the_session_of_its_own_file(tmp_path: Path, name: str) -> None:
    pytest.importorskip(f"runtime.backends.{ONNX_BACKENDS[name].library}", reason="needs the library")
    try:
        artifact = open_artifact(write_model(tmp_path / "m.onnx"), threads=1, backend=name)
    except BrokenLibrary:
        raise
    except DeviceError as error:
        pytest.skip(f"this machine cannot run it: {error}")
    assert artifact.backend == name
    assert type(artifact.run).__module__ == f"runtime.backends.{ONNX_BACKENDS[name].library}"


def test_a_name_without_an_opener_is_refused_and_not_run_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "m.onnx")
    monkeypatch.setattr("runtime.opening.BACKENDS", (*BACKENDS, "other"))
    with pytest.raises(KeyError, match="other"):
        open_artifact(model, threads=1, backend="other")
