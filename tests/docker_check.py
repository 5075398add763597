"""`make docker-check`: build each Dockerfile on a substitute base image, and run in the images what needs no GPU.

The real base images need a registry, and those of a Jetson also its processor. Here, a minimal Debian has their names, with
substitutes for trtexec and TensorRT's Python package. This checks the build steps, the user, the files and the start of the
programs. It does not check CUDA, TensorRT or a Jetson. It needs Linux, root, the Debian packages buildah and mmdebstrap, and a
network.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from runtime.backends.tensorrt.compat import LEVEL, WORKSPACE_MIB
from tests.docker_service import Run, check_service, output

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "runs" / "docker"
# The driver vfs works with any kernel. overlay is faster where it works.
DRIVER = os.environ.get("STORAGE_DRIVER", "vfs")
SUITE = "bookworm"
# The name of an image -> its Dockerfile and its build arguments, which docker/README.md gives too.
BUILDS = {
    "cpu": ("cpu.Dockerfile", {}),
    "jetpack6": ("device.Dockerfile", {}),
    "jetpack7": (
        "device.Dockerfile",
        {"BASE_IMAGE": "nvcr.io/nvidia/tensorrt:25.08-py3", "CUDA_BINDINGS": "13.0.3"},
    ),
    "cuda": ("cuda.Dockerfile", {}),
}
TOOLS = ("buildah", "mmdebstrap")
# Files of this machine that the builds use, so that they reach the package registries in the same way.
HOST_FILES = ("/etc/pip.conf", "/etc/ssl/certs")
TRTEXEC = """#!/bin/sh
# stand-in: says the version, builds nothing
echo '&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec'
case "$1" in --help) exit 0;; esac
echo '[11/02/2026-10:00:01] [E] CUDA initialization failure with error: 35'
echo '&&&& FAILED TensorRT.trtexec [TensorRT v100300] # trtexec'
exit 1
"""
TENSORRT = '"""Stand-in."""\n\n__version__ = "10.3.0"\nRuntime = Builder = ILogger = object\n'
# The expected trtexec line for a typed file, TensorRT 10.3 and the default profile, with the paths inside the image.
EXPECTED_LINE = (
    "trtexec --onnx=/models/model.onnx --saveEngine=/models/model.engine --stronglyTyped "
    "--memPoolSize=workspace:{workspace} --builderOptimizationLevel={level} --profilingVerbosity=detailed "
    "--minShapes=images:1x128x64x3,camera_ids:1 --optShapes=images:8x128x64x3,camera_ids:8 "
    "--maxShapes=images:32x128x64x3,camera_ids:32 --skipInference"
)
CROPS = 3
# Python programs that run inside an image. Each prints one JSON document.
LOOK = """
import errno, grp, importlib.util, json, os
def refused(folder):
    try:
        open(f"{folder}/probe", "w").close()
        os.remove(f"{folder}/probe")
    except OSError as error:
        return error.errno == errno.EROFS
folders = ["/app", "/opt", "/var/tmp", "/tmp", "/models"]
print(json.dumps({
    "uid": os.getuid(), "groups": [grp.getgrgid(group).gr_name for group in os.getgroups()],
    "torch": importlib.util.find_spec("torch") is not None,
    "app": sorted(name for name in os.listdir("/app") if name != "__pycache__"),
    "read_only": [folder for folder in folders if refused(folder)],
}))
"""
START = """
import json, os, subprocess
words = ["python", "/app/start.py", "-c", "print('the command ran')"]
environment = os.environ | {"REID_MODEL": "/models/model.onnx"}
done = subprocess.run(words, env=environment, capture_output=True, text=True)
print(json.dumps({"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr, "files": sorted(os.listdir("/models"))}))
"""
# A shell script that runs a container like `docker run --read-only --tmpfs /tmp -v MODELS:/models -v NEW:/store`.
READ_ONLY = """
root=$1 models=$2 user=$3 groups=$4; shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o "uid=$user,mode=700" tmpfs "$root/store"
mount --bind "$models" "$root/models"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot --userspec="$user:$user" --groups="$groups" "$root" /usr/bin/env -i "$@"
"""


def main() -> int:
    """Build and check each image, and print one line for it. Returns 0, or 2 if a tool or root permissions are missing."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        print(
            f"docker-check: {', '.join(missing)} is not installed; run: apt-get install {' '.join(missing)}"
        )
        return 2
    if os.geteuid() != 0:
        print("docker-check: buildah's chroot isolation needs root; run the command as root")
        return 2
    WORK.mkdir(parents=True, exist_ok=True)
    stand_in()
    models = exported()
    for name, (dockerfile, arguments) in BUILDS.items():
        seconds, megabytes = built(name, dockerfile, arguments)
        with container(name, models) as run:
            smoke = check_cpu(name, models, run) if name == "cpu" else check_gpu(name, models, run)
        print(f"{name}: built in {seconds:.0f} s, {megabytes:.0f} MB with its base; {smoke}", flush=True)
    print(
        f"docker-check: {len(BUILDS)} images built and checked on a substitute base, without a GPU, a Jetson or the real TensorRT"
    )
    return 0


def buildah(*words: str) -> str:
    """Run buildah with these arguments, and return its stdout. Raises CalledProcessError if it fails (see `output`)."""
    store = [
        "--root",
        str(WORK / f"store-{DRIVER}"),
        "--runroot",
        str(WORK / "run"),
        "--storage-driver",
        DRIVER,
    ]
    return output(["buildah", *store, *words], f"buildah {shlex.join(words)}")


def stand_in() -> None:
    """Build a minimal Debian, and give it the names of all base images. Those for GPUs also get a fake trtexec and tensorrt."""
    context = WORK / "base"
    context.mkdir(exist_ok=True)
    tar = context / "rootfs.tar"
    if not tar.exists():
        half = context / "half.tar"
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                "--include=ca-certificates,python3-minimal",
                SUITE,
                str(half),
            ],
            check=True,
        )
        half.rename(tar)
    (context / "trtexec").write_text(TRTEXEC)
    (context / "tensorrt.py").write_text(TENSORRT)
    (context / "plain").write_text("FROM scratch\nADD rootfs.tar /\n")
    (context / "gpu").write_text(
        "FROM localhost/plain\n"
        "COPY --chmod=755 trtexec /usr/src/tensorrt/bin/trtexec\n"
        "COPY tensorrt.py /usr/lib/python3/dist-packages/tensorrt.py\n"
    )
    (context / ".dockerignore").write_text("half.tar\n")
    for name in ("plain", "gpu"):
        _build(f"localhost/{name}", context / name, context)
    for name, (dockerfile, arguments) in BUILDS.items():
        base = arguments.get("BASE_IMAGE") or default_base(ROOT / "docker" / dockerfile)
        buildah("tag", "localhost/plain" if name == "cpu" else "localhost/gpu", base)


def default_base(dockerfile: Path) -> str:
    """Return the name of the base image that a Dockerfile uses by default."""
    match = re.search(r"^ARG BASE_IMAGE=(\S+)$", dockerfile.read_text(), re.M)
    assert match, f"{dockerfile}: no default BASE_IMAGE"
    return match[1]


def _build(tag: str, dockerfile: Path, context: Path, *more: str) -> None:
    words = ["--isolation", "chroot", "--format", "docker", "--pull-never", "-t", tag, "-f", str(dockerfile)]
    buildah("bud", *words, *more, str(context))


def built(name: str, dockerfile: str, arguments: dict[str, str]) -> tuple[float, float]:
    """Build one image, and return (seconds of the build, size in megabytes)."""
    more = [f"--volume={file}:{file}:ro" for file in HOST_FILES if Path(file).exists()]
    more += [f"--build-arg={key}={value}" for key, value in arguments.items()]
    started = time.monotonic()
    _build(f"localhost/reid-{name}", ROOT / "docker" / dockerfile, ROOT, *more)
    seconds = time.monotonic() - started
    image = json.loads(buildah("inspect", "--type", "image", f"localhost/reid-{name}"))
    labels = image["Docker"]["config"]["Labels"]
    base = arguments.get("BASE_IMAGE") or default_base(ROOT / "docker" / dockerfile)
    assert labels["org.opencontainers.image.base.name"] == base, labels
    assert image["Docker"]["config"]["User"] == "10001", image["Docker"]["config"]["User"]
    listed = json.loads(buildah("images", "--json", f"localhost/reid-{name}"))
    return seconds, _megabytes(listed[0]["size"])


def _megabytes(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"KB": 1e-3, "MB": 1.0, "GB": 1e3}[unit]


def exported() -> Path:
    """Export the demo's model to a folder with three crops of the shipped data set, and return the folder."""
    folder = WORK / "models"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "crops").mkdir(parents=True)
    words = ["export_onnx.py", "data/demo/model.safetensors", "--out", str(folder / "model.onnx")]
    subprocess.run(
        [sys.executable, *words, "--target", "tensorrt"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    for crop in sorted((ROOT / "data/anny_reid/query").iterdir())[:CROPS]:
        shutil.copy(crop, folder / "crops")
    folder.chmod(0o777)
    return folder


@contextmanager
def container(name: str, models: Path) -> Iterator[Run]:
    """Yield what runs the entry point of an image.

    It runs as with `docker run`: with the image's user, groups, environment and folder, a read-only root, /models, and
    /tmp and /store in memory.
    """
    made = buildah("from", "--pull-never", f"localhost/reid-{name}").strip()
    config = json.loads(buildah("inspect", made))["Docker"]["config"]
    try:
        root = Path(buildah("mount", made).strip())
        words = [str(root), str(models), config["User"], groups(root, config["User"])]
        words += ["-C", config["WorkingDir"], *config["Env"], *config["Entrypoint"]]
        yield Run(["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", *words])
    finally:
        buildah("rm", made)


def groups(root: Path, user: str) -> str:
    """Return the ids of the supplementary groups of the user with the id `user` in the image, separated by commas."""
    people = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    (name,) = [fields[0] for fields in people if fields[2] == user]
    rows = [line.split(":") for line in (root / "etc/group").read_text().splitlines()]
    return ",".join(fields[2] for fields in rows if name in fields[3].split(","))


def check_common(name: str, run: Run) -> None:
    """Check the user of an image, the folders in it, and that torch is not installed."""
    facts = json.loads(run("-c", LOOK))
    app = {"runtime", "engines", "benchmarks", "bench.py"} | ({"start.py"} if name != "cpu" else set())
    assert facts["uid"] == 10001 and facts["groups"] == ["video"], facts
    assert not facts["torch"] and facts["app"] == sorted(app), facts
    assert facts["read_only"] == ["/app", "/opt", "/var/tmp"], facts
    assert "--device" in run("bench.py", "--help")


def check_cpu(name: str, models: Path, run: Run) -> str:
    """Check that three crops have the same features inside the image and on this machine. Return the difference in words."""
    check_common(name, run)
    words = ["-m", "runtime", "extract", "{}/model.onnx", "{}/crops", "--out", "{}/NAME.npz"]
    run(*[word.format("/models").replace("NAME", "inside") for word in words])
    here = [word.format(models).replace("NAME", "here") for word in words]
    subprocess.run([sys.executable, *here], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    with np.load(models / "inside.npz") as inside, np.load(models / "here.npz") as outside:
        assert [Path(path).name for path in inside["paths"]] == [Path(path).name for path in outside["paths"]]
        assert inside["features"].shape[0] == CROPS
        difference = float(np.abs(inside["features"] - outside["features"]).max())
    assert difference <= 1e-5, difference
    # The telemetry of ONNX Runtime would write to this folder.
    assert not (models / ".cache").exists(), list((models / ".cache").rglob("*"))
    similarity = check_service(models, run)
    return (
        f"extract of {CROPS} crops differs from the host's by at most {difference:.1e}; the service finds a crop that was added, "
        f"with similarity {similarity:.6f}"
    )


def check_gpu(name: str, models: Path, run: Run) -> str:
    """Check doctor's report, the trtexec line of a dry run, and that the entry point fails to build an engine without a GPU."""
    check_common(name, run)
    report = json.loads(run("-m", "engines", "doctor", "--json"))
    assert report["tensorrt"] == {"version": "10.3.0"}, report["tensorrt"]
    assert report["trtexec"]["version"] == "10.3.0" and report["agree"] is True, report["trtexec"]
    assert "libcuda" in report["binding"]["error"], report["binding"]
    line = run("-m", "engines", "build", "/models/model.onnx", "--dry-run").strip()
    expected = EXPECTED_LINE.format(workspace=WORKSPACE_MIB, level=LEVEL)
    assert line == expected, f"\n{line}\n{expected}"
    first = json.loads(run("-c", START))
    assert first["code"] == 5 and "CUDA initialization failure" in first["stderr"], first
    left = [file for file in first["files"] if file.startswith(("model.engine", ".model"))]
    assert not first["stdout"] and not left, first
    return f"doctor: trtexec {report['trtexec']['version']}, {report['binding']['error']!r}; {line}"


if __name__ == "__main__":
    sys.exit(main())
