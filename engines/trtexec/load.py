"""The trtexec command line that times an existing engine, in the same way with TensorRT 8.6, 10 and 11. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines.onnx_compat import Version
from engines.trtexec.command import SUPPORTED, Profile, is_supported, timing_flags, version_text
from runtime.backends.tensorrt.compat import others_of
from runtime.errors import ConfigError
from runtime.spec import InputSpec


class EngineProfile(NamedTuple):
    """One profile of an engine: the file of the engine, the 0-based index of the profile, and the number of profiles in the engine."""

    engine: Path
    profile: int
    profiles: int


def find_profile(engine: Path, manifest: Mapping[str, Any], batch: int) -> EngineProfile:
    """Return the profile with the smallest range of batch sizes that contains `batch`.

    The profiles are those of `engine` and of the engines for other batch sizes that its `manifest` lists. Raises ConfigError if no
    range contains the batch: a session could split the batch, but trtexec cannot.
    """
    own = [Profile(*(shape[bound]["images"][0] for bound in Profile._fields)) for shape in manifest["shapes"]]
    candidates = [(EngineProfile(engine, number, len(own)), sizes) for number, sizes in enumerate(own)]
    for other in others_of(manifest, engine):
        file = engine.parent / Path(other["file"]).name
        candidates.append((EngineProfile(file, 0, 1), Profile(*other["batch"])))
    fitting = [
        (sizes.max - sizes.min, profile) for profile, sizes in candidates if sizes.min <= batch <= sizes.max
    ]
    if not fitting:
        raise ConfigError(
            f"{engine}: none of its profiles allows a batch of {batch}; build the engine with --batch "
            f"1,{min(batch, 8)},{batch}"
        )
    return min(fitting)[1]


def load_line(
    spec: InputSpec, profile: EngineProfile, batch: int, version: Version, *, transfers: bool, seconds: int
) -> list[str]:
    """Return the trtexec command line that times the engine of `profile`, as a list of words; the first word is `trtexec`.

    trtexec runs the engine again and again for `seconds` seconds, with `batch` images in each run. The engine runs with one stream,
    a CUDA graph and spin wait. With `transfers`, the times include the copies to and from the GPU. `spec` is the input of the
    model, and `version` that of TensorRT. Raises ConfigError if this version is not supported, or if its trtexec cannot choose the
    profile: trtexec of TensorRT 8 always runs the first one.
    """
    if not is_supported(version):
        raise ConfigError(
            f"TensorRT {version_text(version)} is not supported; use a supported version: {SUPPORTED}"
        )
    if profile.profile and version[0] == 8:
        raise ConfigError(
            f"trtexec of TensorRT {version_text(version)} runs the first profile only; "
            "build one engine per batch size with --separate"
        )
    line = [f"--loadEngine={profile.engine}", f"--duration={seconds}"]
    if profile.profiles > 1 and version[0] != 8:
        line.append(f"--useProfile={profile.profile}")
    return [
        "trtexec",
        *line,
        *timing_flags(spec, [Profile(batch, batch, batch)], version, transfers=transfers),
    ]
