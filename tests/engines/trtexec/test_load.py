"""The line that times a finished engine: the same measurement on every version of TensorRT."""

from pathlib import Path

import pytest

from engines.trtexec.load import EngineProfile, find_profile, load_line
from runtime.errors import ConfigError
from runtime.spec import InputSpec

SPEC = InputSpec(height=256, width=128)
ENGINE = Path("m.engine")
ALONE = EngineProfile(ENGINE, 0, 1)


def shapes(*profiles):
    names = ("min", "opt", "max")
    return [
        {name: {"images": [size, 256, 128, 3]} for name, size in zip(names, profile)} for profile in profiles
    ]


def words(version, *, profile=ALONE, batch=8, transfers=False, spec=SPEC):
    return load_line(spec, profile, batch, version, transfers=transfers, seconds=10)


@pytest.mark.parametrize(
    ("version", "transfers", "pinned"),
    [
        ((8, 6), False, ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]),
        ((10, 3), False, ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]),
        ((10, 3), True, ["--useCudaGraph", "--useSpinWait"]),
        ((11, 1), False, []),
        ((11, 1), True, ["--includeDataTransfers"]),
    ],
)
def test_graph_spin_and_copies_are_the_same_whatever_a_version_does_by_itself(version, transfers, pinned):
    start = [
        "trtexec",
        "--loadEngine=m.engine",
        "--duration=10",
        "--shapes=images:8x256x128x3",
        "--infStreams=1",
    ]
    assert words(version, transfers=transfers) == [*start, *pinned]


def test_a_fixed_batch_has_no_shapes_and_cameras_are_in_them_else():
    fixed = InputSpec(height=256, width=128, batch=8)
    assert not any(word.startswith("--shapes") for word in words((10, 3), spec=fixed))
    cameras = InputSpec(height=256, width=128, camera="input", cameras=6, dataset="market1501")
    assert "--shapes=images:8x256x128x3,camera_ids:8" in words((10, 3), spec=cameras)


def test_the_profile_is_named_where_there_are_several():
    assert "--useProfile=1" in words((10, 3), profile=EngineProfile(ENGINE, 1, 2))
    with pytest.raises(ConfigError, match="first profile only"):
        words((8, 6), profile=EngineProfile(ENGINE, 1, 2))
    with pytest.raises(ConfigError, match="not supported"):
        words((8, 5))


def test_a_batch_runs_where_the_range_is_smallest():
    manifest = {
        "shapes": shapes((1, 8, 32), (8, 8, 8)),
        "others": [{"file": "m.b1.engine", "sha256": "0" * 64, "batch": [1, 1, 1]}],
    }
    folder = Path("models")
    assert find_profile(folder / "m.engine", manifest, 8) == EngineProfile(folder / "m.engine", 1, 2)
    assert find_profile(folder / "m.engine", manifest, 1) == EngineProfile(folder / "m.b1.engine", 0, 1)
    assert find_profile(folder / "m.engine", manifest, 16) == EngineProfile(folder / "m.engine", 0, 2)
    with pytest.raises(ConfigError, match="batch of 64"):
        find_profile(folder / "m.engine", manifest, 64)
