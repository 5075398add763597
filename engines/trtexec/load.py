"""trtexec's command line that times an engine which is there, the same way on TensorRT 8.6, 10 and 11. Pure: runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines.onnx_compat import Version
from engines.trtexec.command import Profile, is_supported, timing_flags, version_text
from runtime.backends.tensorrt.compat import others_of
from runtime.errors import ConfigError
from runtime.spec import InputSpec


class Place(NamedTuple):
    """Where a batch runs: the engine's file, the number of its profile there, and how many profiles it has."""

    engine: Path
    profile: int
    profiles: int


def place_of(engine: Path, manifest: Mapping[str, Any], batch: int) -> Place:
    """The engine and profile of the smallest range that holds `batch`, among `engine` and the others of its manifest.

    ConfigError when none holds it: a session splits such a batch, trtexec cannot.
    """
    own = [Profile(*(shape[bound]["images"][0] for bound in Profile._fields)) for shape in manifest["shapes"]]
    places = [(Place(engine, number, len(own)), profile) for number, profile in enumerate(own)]
    for other in others_of(manifest, engine):
        places.append((Place(engine.parent / Path(other["file"]).name, 0, 1), Profile(*other["batch"])))
    fitting = [(one.max - one.min, place) for place, one in places if one.min <= batch <= one.max]
    if not fitting:
        raise ConfigError(
            f"{engine}: no profile of it holds a batch of {batch}; build it with --batch 1,{min(batch, 8)},{batch}"
        )
    return min(fitting)[1]


def load_line(
    spec: InputSpec, place: Place, batch: int, version: Version, *, transfers: bool, seconds: int
) -> list[str]:
    """The words of the line that times `batch` images a query for `seconds`, `trtexec` first.

    One stream, CUDA graph and spin wait, copies to and from the GPU only with `transfers`: pinned by flags where a version's
    default is another. ConfigError for a version that is not supported, or that cannot choose the profile.
    """
    if not is_supported(version):
        raise ConfigError(f"TensorRT {version_text(version)} is not supported")
    if place.profile and version[0] == 8:
        raise ConfigError(f"trtexec of TensorRT {version_text(version)} runs the first profile only")
    line = [f"--loadEngine={place.engine}", f"--duration={seconds}"]
    if place.profiles > 1 and version[0] != 8:
        line.append(f"--useProfile={place.profile}")
    return [
        "trtexec",
        *line,
        *timing_flags(spec, [Profile(batch, batch, batch)], version, transfers=transfers),
    ]
