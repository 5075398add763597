"""Libraries that are missing, half there or broken end in one line with the cause, in every command and in doctor."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from engines import probe
from runtime.backends import library, onnxruntime
from runtime.backends.library import BrokenLibrary, Library, failure, held_back, importing
from runtime.entry import guarded
from runtime.errors import ArtifactError, DeviceError
from runtime.opening import open_artifact
from tests.fakes.tiny_model import write_model

ROOT = Path(__file__).resolve().parents[3]
ORT = Library("onnxruntime", "pip install '.[cpu]'", "pip install --force-reinstall -U onnxruntime")
# What numpy writes to stderr where a module was built for its first major version, shortened.
NUMPY_1 = (
    "\nA module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.4.6 as it may crash.\n"
    "Traceback (most recent call last):\n  File 'x', line 1\nAttributeError: _ARRAY_API not found\n"
)
BROKEN = {
    "a shared library is missing": (
        "raise ImportError('libcudart.so.12: cannot open shared object file: No such file or directory')",
        "libcudart.so.12",
    ),
    "the loader itself": ("raise OSError('libonnxruntime.so.1: undefined symbol: x')", "undefined symbol"),
    "nothing in it": ("", "partly installed"),
    "a part of it is gone": ("from NAME.capi import _pybind_state", "NAME.capi"),
    "built for NumPy 1": (
        f"import sys\nprint({NUMPY_1!r}, file=sys.stderr)\nraise ImportError",
        "another NumPy",
    ),
    "an odd exception": ("raise SystemError('initialization failed')", "initialization failed"),
    "a dependency is missing": ("import nobody_has_this", "nobody_has_this"),
    "words before it": (
        "import os\nos.write(2, b'2026 [E:onnxruntime:Default] noise\\n')\nos.write(1, b'noise\\n')\nprint('noise')\n"
        "raise RuntimeError('the cause')",
        "the cause",
    ),
}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def package(folder: Path, name: str, text: str | None) -> Path:
    """A folder for PYTHONPATH that holds a package of this name; without `text` only its folder, as uninstalling leaves it."""
    (folder / name).mkdir(parents=True)
    if text is not None:
        (folder / name / "__init__.py").write_text(text.replace("NAME", name))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    for index in range(2):
        pixels = random.integers(0, 256, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
    return write_model(folder / "m.onnx")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_library_is_one_line_with_its_cause(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = f"half_there_{sorted(BROKEN).index(fault)}"
    text, cause = BROKEN[fault]
    monkeypatch.syspath_prepend(package(tmp_path, name, text))
    with (
        pytest.raises(BrokenLibrary) as caught,
        importing(Library(name, "pip install it", "pip install it again"), needs=("Session",)),
    ):
        __import__(name)
    message = str(caught.value)
    assert cause.replace("NAME", name) in message and "pip install" in message and "\n" not in message
    assert capfd.readouterr() == ("", ""), "nothing else is printed"


def test_a_folder_without_a_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(package(tmp_path, "left_over", None))
    with (
        pytest.raises(BrokenLibrary, match="left_over") as caught,
        importing(Library("left_over", "install", "install again"), needs=("Session",)),
    ):
        import left_over  # noqa: F401
    assert str(tmp_path / "left_over") in str(caught.value)


def test_what_is_not_there_is_no_broken_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(DeviceError, match="not installed; get it") as caught,
        importing(Library("nobody_has_this", "get it", "again")),
    ):
        import nobody_has_this  # noqa: F401
    assert not isinstance(caught.value, BrokenLibrary)


def test_the_advice_about_numpy_fits_the_numpy_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ImportError("numpy.core.multiarray failed to import")
    for numpy, words in (("2.4.6", "'numpy<2'"), ("1.26.4", "pip install -U numpy")):
        versions = {"numpy": numpy}
        monkeypatch.setattr(library, "_version", versions.get)
        assert numpy in failure(ORT, error) and words in failure(ORT, error)


def test_builds_installed_over_one_another_are_named_and_a_single_one_is_reinstalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.20.2"}
    monkeypatch.setattr(library, "_version", versions.get)
    message = failure(ORT, ImportError("undefined symbol: x"))
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.20.2" in message and "uninstall all of them" in message
    del versions["onnxruntime"]
    assert failure(ORT, ImportError("undefined symbol: x")).endswith("-U onnxruntime-gpu")


def test_what_a_good_block_prints_follows_on_stderr_and_both_outputs_are_as_before(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with held_back() as outer:
        print("python")
        with held_back():
            os.write(2, b"native\n")
        assert "python" in outer() and "native" in outer()
    print("after")
    out, err = capfd.readouterr()
    assert out == "after\n" and "python\n" in err and "native\n" in err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("onnxruntime", BROKEN["a shared library is missing"][0], "runtime extract MODEL IMAGES --out OUT"),
        ("onnxruntime", BROKEN["a part of it is gone"][0], "runtime extract MODEL IMAGES --out OUT"),
        ("openvino", BROKEN["nothing in it"][0], "runtime extract MODEL IMAGES --out OUT --backend openvino"),
        ("onnxruntime", BROKEN["built for NumPy 1"][0], "runtime choose MODEL --seconds 0.2"),
        ("onnxruntime", BROKEN["words before it"][0], "bench.py MODEL --device cpu --batch 1 --rounds 2"),
        ("onnxruntime", BROKEN["nothing in it"][0], "export_onnx.py MODEL --out OUT"),
    ],
)
def test_every_command_ends_in_one_line(
    name: str, text: str, words: str, model: Path, tmp_path: Path
) -> None:
    places = {"MODEL": str(model), "IMAGES": str(model.parent / "images"), "OUT": str(tmp_path / "f.npz")}
    command = [places.get(word, word) for word in words.split()]
    done = run(
        package(tmp_path / "site", name, text), *(command if command[0].endswith(".py") else ["-m", *command])
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 5 and lines[-1].startswith("error[5]") and name in lines[-1], done.stderr
    assert not any("Traceback" in line or "noise" in line or "NumPy 1.x" in line for line in lines)
    assert not (tmp_path / "f.npz").exists()


def test_a_broken_decoder_that_nothing_depends_on_leaves_decoding_to_pillow(
    model: Path, tmp_path: Path
) -> None:
    site = package(tmp_path / "site", "simplejpeg", BROKEN["words before it"][0])
    done = run(site, "-c", "from runtime.images.jpeg import _simplejpeg; print(_simplejpeg())")
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")


@pytest.mark.parametrize(
    ("name", "probed"),
    [
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("tensorrt", "tensorrt"),
        ("tensorrt_rtx", "tensorrt_rtx"),
        ("simplejpeg", "simplejpeg"),
    ],
)
def test_doctor_says_why_a_library_that_is_there_cannot_be_used(
    name: str, probed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = BROKEN["a shared library is missing"][0]
    monkeypatch.setenv("PYTHONPATH", str(package(tmp_path, name, text)))
    message = probe.run_probe(probed)["error"]
    assert "is installed, but does not load" in message and "libcudart.so.12" in message and name in message


def test_doctor_says_of_a_leftover_folder_that_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(package(tmp_path, "tensorrt", "")))
    assert "partly installed" in probe.run_probe("tensorrt")["error"]


def test_a_graph_newer_than_the_runtime_names_both_versions(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advice other than exporting the same again: that would give the same file."""

    def refuse(*args: object, **options: object) -> None:
        raise RuntimeError(
            f"Load model from {'x' * 400} failed: model.cc:256 Unsupported model IR version: 99, max supported IR version: 9"
        )

    monkeypatch.setattr(onnxruntime.onnxruntime, "InferenceSession", refuse)
    with pytest.raises(ArtifactError, match="IR version 99.* up to IR version 9.*pip install -U"):
        open_artifact(model)


def test_the_cuda_library_that_is_missing_is_named_and_its_log_is_not_shown(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As onnxruntime-gpu does it without CUDA's libraries: it logs the cause, and gives a session on the CPU."""
    real = onnxruntime.onnxruntime

    class Fallen:
        def __init__(self, *args: object, **options: object) -> None:
            os.write(
                2,
                b"[E:onnxruntime:Default, provider_bridge_ort.cc:1862] Failed to load library "
                b"libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open shared object file\n",
            )
            print("EP Error: falling back")

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    fake = ModuleType("onnxruntime")
    fake.__dict__.update(
        __version__="1.20.2",
        SessionOptions=real.SessionOptions,
        InferenceSession=Fallen,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(onnxruntime, "onnxruntime", fake)
    with pytest.raises(DeviceError, match="did not start: libcublasLt.so.12"):
        open_artifact(model, device="cuda")
    assert capfd.readouterr() == ("", "")
    assert onnxruntime.starts("CUDAExecutionProvider", b"") == (False, "libcublasLt.so.12")


def test_a_module_that_is_missing_at_a_command_s_start_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(argv: object) -> int:
        import nobody_has_this  # noqa: F401

        return 0

    assert guarded(main, []) == 5
    assert capsys.readouterr().err.startswith("error[5]") and "Traceback" not in capsys.readouterr().err
