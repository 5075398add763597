"""The rules of the images that no linter knows, read off the files; and the entry point, with a fake in place of TensorRT."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from engines.__main__ import parser
from runtime.__main__ import COMMANDS
from runtime.errors import ArtifactError
from runtime.files.manifest import write_manifest
from runtime.options.store_place import ServerAddress
from runtime.options.subcommands import subcommand_parser
from tests.docker_check import BUILDS, default_base
from tests.fakes import engine_files

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
LABELS = {"title", "description", "licenses", "version", "revision", "base.name"}


def instructions(file):
    """(KEYWORD, the rest) of each instruction, continued lines joined, comments dropped."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.M)
    joined = re.sub(r"\\\n\s*", " ", text)
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def of(file, keyword):
    return [rest for word, rest in instructions(file) if word == keyword]


def requirements(name):
    """Every line of a requirements file and of those that it includes."""
    for line in (DOCKER / "requirements" / name).read_text().splitlines():
        if line.startswith("-r "):
            yield from requirements(line[3:])
        elif line and not line.startswith("#"):
            yield line


def test_there_is_a_dockerfile_for_every_build_that_is_checked():
    assert {file.name for file in FILES} == {dockerfile for dockerfile, _ in BUILDS.values()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_base_is_an_argument_with_a_pinned_tag(file):
    assert of(file, "FROM") == ["${BASE_IMAGE}"]
    tag = default_base(file).partition(":")[2]
    assert re.search(r"\d", tag), f"{tag} pins nothing"
    # an argument given before FROM is empty after it until it is declared again: the label would be
    assert [word for word, _ in instructions(file)].index("FROM") < [
        index
        for index, (word, rest) in enumerate(instructions(file))
        if (word, rest) == ("ARG", "BASE_IMAGE")
    ][0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_oci_labels_are_complete(file):
    (labels,) = of(file, "LABEL")
    label_values = dict(word.split("=", 1) for word in shlex.split(labels))
    assert {f"org.opencontainers.image.{name}" for name in LABELS} <= set(label_values)
    assert all(label_values.values())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_ends_as_a_user_without_root_rights_in_the_video_group(file):
    assert of(file, "USER")[-1] == "10001"
    added = [command for command in of(file, "RUN") if "useradd" in command]
    assert len(added) == 1
    assert "--uid 10001" in added[0] and "--groups video" in added[0]
    assert "groupadd --force --system video" in added[0]
    # nothing is made as root after that but what the user may not change
    last = [word for word, _ in instructions(file)].index("VOLUME")
    assert not {"RUN", "COPY", "ADD"} & {word for word, _ in instructions(file)[last:]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_only_what_a_device_runs_is_copied(file):
    sources = [source for copied in of(file, "COPY") for source in shlex.split(copied)[:-1]]
    allowed = {"runtime", "engines", "benchmarks", "bench.py", "docker/requirements"}
    gpu = set() if file.stem == "cpu" else {"docker/start.py"}
    assert set(sources) == allowed | gpu
    assert not of(file, "ADD")
    assert of(file, "VOLUME") == ["/models"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_caches_lie_in_the_volume_so_that_the_root_may_be_read_only(file):
    environment = dict(word.split("=", 1) for line in of(file, "ENV") for word in shlex.split(line))
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    caches = {name: value for name, value in environment.items() if "CACHE" in name}
    assert "XDG_CACHE_HOME" in caches
    assert all(value.startswith("/models/") for value in caches.values())
    assert "--home-dir /tmp" in " ".join(of(file, "RUN"))
    # the official builds of ONNX Runtime for Linux report to their maker from 1.29 on
    assert environment.get("ORT_DISABLE_TELEMETRY") == (None if file.stem == "device" else "1")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_torch_and_every_python_package_is_exact(file):
    installs = [command for command in of(file, "RUN") if "pip install" in command]
    assert len(installs) == 1
    assert "--no-cache-dir" in installs[0]
    names = re.findall(r"-r /opt/requirements/(\S+)", installs[0])
    lines = [line for name in names for line in requirements(name)]
    assert lines and all(re.fullmatch(r"[A-Za-z][A-Za-z\d-]*==[\w.]+", line) for line in lines)
    assert not [line for line in lines if re.match(r"(?i)torch|timm|tensorrt", line)]
    # others on the line are exact too
    assert re.findall(r'"([\w-]+)([=<>~]+)', installs[0]) in ([], [("cuda-bindings", "==")])


def test_the_images_have_what_the_project_needs_to_run():
    wanted = (ROOT / "setup.cfg").read_text().split("install_requires =")[1].split("\n\n")[0]
    names = set(re.findall(r"^    (\w+)", wanted, re.M))
    have = {line.split("==")[0] for line in requirements("base.txt")}
    assert names and names <= have
    service = (ROOT / "setup.cfg").read_text().split("\nservice =\n")[1].split("\n#")[0]
    wanted_versions = dict(re.findall(r"^    ([\w-]+)>=([\d.]+)", service, re.M))
    exact = dict(line.split("==") for line in requirements("service.txt"))
    for name, least in wanted_versions.items():
        assert Version(exact[name]) >= Version(least), name


def test_the_builder_is_sent_code_only():
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for file in FILES for text in of(file, "COPY") for source in shlex.split(text)[:-1]}
    assert sent == copied
    assert {"**/*.onnx", "**/*.engine", "**/*.safetensors"} <= set(lines)


def test_compose_runs_the_dockerfiles_read_only_on_nvidia_s_runtime():
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"device", "cuda", "cpu", "serve", "serve-cuda", "serve-device"}
    for name, service in services.items():
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() in FILES
        assert service["read_only"] is True and "/tmp" in service["tmpfs"]
        assert service.get("runtime") == (None if name in ("cpu", "serve") else "nvidia")
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "${USER_ID:-10001}"
        assert "privileged" not in service
        assert any(re.search(":/models(:ro)?$", volume) for volume in service["volumes"])
    assert services["device"]["group_add"] == ["video"]


def test_compose_serves_by_default_with_one_port_a_token_and_a_volume():
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services = compose["services"]
    assert [name for name, service in services.items() if not service.get("profiles")] == ["serve"]
    for name in ("serve", "serve-cuda", "serve-device"):
        service = services[name]
        assert service["networks"] == ["service"] and "network_mode" not in service
        (port,) = service["ports"]
        # published on this machine only, unless ADDRESS says otherwise
        assert port == "${ADDRESS:-127.0.0.1}:${PORT:-8000}:8000"
        assert "store:/store" in service["volumes"] and service["secrets"] == ["token"]
        assert "/health/ready" in " ".join(service["healthcheck"]["test"])
        words = service["command"]
        options = subcommand_parser("python -m runtime", None, COMMANDS).parse_args(words[2:])
        assert words[:2] == ["-m", "runtime"] and options.host == "0.0.0.0"
        assert str(options.token_file) == "/run/secrets/token" and str(options.store) == "/store"
    assert set(compose["networks"]) == {"service"} and set(compose["secrets"]) == {"token"}
    assert all(services[name]["network_mode"] == "none" for name in ("device", "cuda", "cpu"))


def test_compose_of_several_machines_has_a_database_and_two_workers_with_their_shards():
    compose = yaml.safe_load((DOCKER / "compose.scale.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"database", "worker-1", "worker-2"}
    database = services["database"]
    assert re.fullmatch(r"pgvector/pgvector:\d[\d.]*-pg18", database["image"])
    # what the deletion in docs/scale.md relies on, and no password in the file or in the environment
    assert "wal_recycle=off" in database["command"] and "fsync=off" not in database["command"]
    assert database["environment"]["POSTGRES_PASSWORD_FILE"].startswith("/run/secrets/")
    assert compose["networks"] == {"scale": {"internal": True}} and not any(
        "ports" in one for one in services.values()
    )
    shards = []
    for name in ("worker-1", "worker-2"):
        service = services[name]
        words = service["command"]
        options = subcommand_parser("python -m runtime", None, COMMANDS).parse_args(words[2:])
        assert words[:4] == ["-m", "runtime", "gallery", "add"] and isinstance(options.store, ServerAddress)
        assert options.store.url == str(options.store) == "postgresql://reid@database/gallery"
        shards.append(options.shard)
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() in FILES
        assert service["read_only"] is True and service["working_dir"] in service["tmpfs"]
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "${USER_ID:-10001}" and service["networks"] == ["scale"]
        assert service["depends_on"]["database"]["condition"] == "service_healthy"
        assert service["environment"]["PGPASSFILE"] == "/run/secrets/pgpass" and service["secrets"] == [
            "pgpass"
        ]
    assert shards == ["1/2", "2/2"] and set(compose["secrets"]) == {"database_password", "pgpass"}


def test_the_image_for_cpus_can_reach_a_gallery_on_a_server():
    lines = list(requirements("cpu.txt"))
    assert any(line.startswith("psycopg==") for line in lines)
    assert any(line.startswith("psycopg-binary==") for line in lines)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_new_volume_of_the_store_belongs_to_the_user(file):
    assert any("install -d -o reid -g reid /models /store" in command for command in of(file, "RUN"))


def test_the_readme_gives_the_arguments_that_are_checked_and_says_what_was_not_run():
    text = (DOCKER / "README.md").read_text()
    assert "not been run on a Jetson" in text
    assert "--runtime nvidia --gpus all" in text
    for dockerfile, arguments in BUILDS.values():
        words = [f"docker build -f docker/{dockerfile}"]
        words += [f"--build-arg {key}={value}" for key, value in arguments.items()]
        assert any(all(word in line for word in words) for line in text.splitlines()), words
        assert default_base(DOCKER / dockerfile) in text


def test_the_lines_that_look_at_a_board_let_the_container_see_it():
    """Without them module, JetPack, power mode and power are null: Docker masks the device tree, and no base has the rest."""
    text = (DOCKER / "README.md").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip().startswith("docker run")]
    looking = [line for line in lines if "--device jetson" in line or line.endswith("engines doctor")]
    assert len(looking) == 2
    for line in looking:
        assert "--security-opt systempaths=unconfined" in line
        for place in ("/etc/nv_tegra_release", "/etc/nvpmodel.conf", "/var/lib/nvpmodel"):
            assert f"-v {place}:{place}:ro" in line
    (measuring,) = [line for line in looking if "--device jetson" in line]
    assert "/usr/bin/tegrastats:/usr/bin/tegrastats:ro" in measuring and "--data /data/" in measuring


@pytest.fixture
def start():
    spec = importlib.util.spec_from_file_location("start", DOCKER / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def onnx(tmp_path):
    path = tmp_path / "model.onnx"
    engine_files.onnx_file(path)
    return path


class Engines:
    """Stands for `python -m engines`: remembers what it was asked, builds an engine's files, answers as told."""

    def __init__(self, onnx, verify=0, build=0):
        self.onnx, self.answers, self.asked = onnx, {"verify": verify, "build": build}, []

    def __call__(self, words):
        # the real command line must take them
        parser().parse_args(words)
        self.asked.append(words[0])
        code = self.answers[words[0]]
        if words[0] == "build" and code == 0:
            engine(self.onnx)
            self.answers["verify"] = 0
        return code


def engine(onnx, parent=None):
    path = onnx.with_suffix(".engine")
    path.write_bytes(b"plan")
    parent = parent or json.loads(Path(f"{onnx}.json").read_text())["sha256"]
    write_manifest(path, {"kind": "engine", "parent": parent})


def test_the_first_start_builds_and_verifies(start, onnx):
    fake = Engines(onnx)
    assert start.prepare(onnx, ["--batch", "1,8,32"], fake, lambda _: False) == 0
    assert fake.asked == ["build", "verify"]


def test_later_starts_do_nothing(start, onnx):
    engine(onnx)
    fake = Engines(onnx)
    assert start.prepare(onnx, [], fake, lambda _: True) == 0
    assert fake.asked == []


def test_an_engine_of_another_model_or_machine_is_built_again(start, onnx):
    engine(onnx, parent="0" * 64)
    fake = Engines(onnx, verify=ArtifactError.code)
    # it fits the machine, but not the model
    assert start.prepare(onnx, [], fake, lambda _: True) == 0
    assert fake.asked == ["verify", "build", "verify"]


def test_an_interrupted_first_start_is_completed(start, onnx):
    engine(onnx)
    fake = Engines(onnx)
    assert start.prepare(onnx, [], fake, lambda _: False) == 0
    assert fake.asked == ["verify"]


@pytest.mark.parametrize("code", [5, 7])
def test_no_gpu_and_a_failed_gate_stop_the_container_without_a_build(code, start, onnx):
    engine(onnx)
    fake = Engines(onnx, verify=code)
    assert start.prepare(onnx, [], fake, lambda _: False) == code
    assert fake.asked == ["verify"]


def test_a_failed_build_is_not_verified(start, onnx):
    fake = Engines(onnx, build=5)
    assert start.prepare(onnx, [], fake, lambda _: False) == 5
    assert fake.asked == ["build"]


def test_python_runs_the_arguments_only_after_the_engine_is_there(start, onnx, monkeypatch):
    ran = []
    monkeypatch.setattr(start.os, "execv", lambda program, words: ran.append(words[1:]))
    monkeypatch.setattr(start, "loadable", lambda _: False)
    monkeypatch.setattr(start, "engines", Engines(onnx, build=5))
    assert start.main(["-m", "runtime"], {"REID_MODEL": str(onnx)}) == 5
    assert ran == []
    monkeypatch.setattr(start, "engines", Engines(onnx))
    start.main(["-m", "runtime"], {"REID_MODEL": str(onnx), "REID_BUILD": "--batch 1,8,32"})
    start.main(["bench.py"], {})
    assert ran == [["-m", "runtime"], ["bench.py"]]


@pytest.mark.parametrize(
    ("lost", "words"), [(".json", "its manifest model.onnx.json is missing"), (".check.npz", "no such file")]
)
def test_a_model_that_could_not_be_verified_is_refused_before_the_build(
    lost, words, start, onnx, monkeypatch
):
    fake = Engines(onnx)
    monkeypatch.setattr(start, "engines", fake)
    Path(f"{onnx}{lost}").unlink()
    with pytest.raises(ArtifactError, match=words):
        start.main([], {"REID_MODEL": str(onnx)})
    assert fake.asked == []
