"""Which Jetson release a machine runs, read from made-up system files."""

import pytest

from runtime.host.jetson import JETPACKS, jetpack_version, l4t_version, read_text, this_l4t

ORIN = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025\n"
)


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack"),
    [
        (ORIN, "36.4.3", "6.2"),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "35.4.1", "5.1.2"),
        ("# R36 (release), REVISION: 3.0, GCID: 36106755", "36.3.0", "6.0"),
        ("# R36 (release), REVISION: 4.0, GCID: 1", "36.4.0", "6.1"),
        ("# R36 (release), REVISION: 4.7, GCID: 1", "36.4.7", "6.2.1"),
        ("# R38 (release), REVISION: 2.1, GCID: 1", "38.2.1", "7.0"),
        ("# R39 (release), REVISION: 2.0, GCID: 1", "39.2.0", "7.2"),
        ("# R35 (release), REVISION: 1.0, GCID: 1", "35.1.0", "5.0.2"),
        ("# R36 (release), REVISION: 2.0, GCID: 1", "36.2.0", "6.0 DP"),
        ("# R36 (release), REVISION: 4.2, GCID: 1", "36.4.2", "6.1"),
        ("# R36 (release), REVISION: 5.0, GCID: 1", "36.5.0", "6.2.2"),
        ("# R32 (release), REVISION: 7.1, GCID: 1", "32.7.1", "4.6.1"),
        ("# R36 (release), REVISION: 4.9, GCID: 1", "36.4.9", None),
        ("# R35 (release), REVISION: 9.0, GCID: 1", "35.9.0", None),
        ("# R77 (release), REVISION: 1.0, GCID: 1", "77.1.0", None),
        ("", None, None),
        ("something else", None, None),
    ],
)
def test_the_release_file_gives_l4t_and_what_is_known_of_its_jetpack(release, l4t, jetpack):
    assert l4t_version(release, {}) == l4t
    assert jetpack_version(l4t) == jetpack


def test_a_release_between_two_known_ones_is_unknown_and_never_its_neighbour():
    """Whatever stands beside a release of the table, or is a shorter name of it, has no JetPack here unless it is listed itself."""
    for l4t in JETPACKS:
        major, minor, patch = map(int, l4t.split("."))
        for other in (f"{major}.{minor}.{patch + 1}", f"{major}.{minor}", f"{major}", f"{l4t}.0"):
            assert jetpack_version(other) == JETPACKS.get(other)


@pytest.mark.parametrize("version", ["36.4.3", "r36.4.3", "R36.4.3"])
def test_a_container_without_the_file_is_told_by_the_environment(version):
    assert l4t_version("", {"L4T_VERSION": version}) == "36.4.3"
    assert l4t_version(ORIN, {"L4T_VERSION": "36.5.0"}) == "36.5.0"


def test_the_release_is_read_under_the_root_that_is_given(tmp_path):
    assert this_l4t(tmp_path, {}) is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(ORIN)
    assert this_l4t(tmp_path, {}) == "36.4.3"


def test_device_tree_texts_lose_the_nul_that_ends_them_and_missing_files_are_empty(tmp_path):
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson Orin\0")
    assert read_text(tmp_path / "model") == "NVIDIA Jetson Orin"
    assert read_text(tmp_path / "none") == "" == read_text(tmp_path)
