"""runtime.files.npz and runtime.files.json_text: whatever is wrong with a file is a ValueError in words."""

import zipfile

import numpy as np
import pytest

from runtime.errors import ArtifactError
from runtime.files.json_text import parse_json
from runtime.files.manifest import read_manifest, write_manifest
from runtime.files.npz import read_npz


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy(header, values=b""):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values


def test_whole_arrays_come_back(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(5), y=np.array("word"))
    arrays = read_npz(tmp_path / "a.npz", most_bytes=1000)
    assert arrays["x"].tolist() == [0, 1, 2, 3, 4] and str(arrays["y"]) == "word"


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "(((",
        "9" * 5000,
        "-" * 9000 + "1",
    ],
)
def test_a_header_that_lies_is_a_value_error_of_one_short_line(header, tmp_path):
    path = archive(tmp_path / "a.npz", {"x.npy": npy(header)})
    with pytest.raises(ValueError) as caught:
        read_npz(path, most_bytes=1 << 20)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_an_archive_that_unpacks_to_more_than_allowed_is_refused_before_it_is_unpacked(tmp_path):
    path = archive(tmp_path / "a.npz", {"x.npy": bytes(2_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="unpack"):
        read_npz(path, most_bytes=1_000_000)


def test_no_archive_no_array_and_no_file_are_told_apart(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError):
        read_npz(tmp_path / "a.npy", most_bytes=1000)
    with pytest.raises(ValueError, match="no array"):
        read_npz(archive(tmp_path / "b.npz", {"x.txt": b"text"}), most_bytes=1000)
    with pytest.raises(OSError):
        read_npz(tmp_path / "none.npz", most_bytes=1000)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "", "tru", '"\x00"'])
def test_text_that_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_numbers_that_json_does_not_know_are_refused_where_asked():
    assert parse_json("[1e400]") == [float("inf")] and parse_json("[1.5, 2]", finite=True) == [1.5, 2]
    for text in ("[1e400]", "NaN", "-Infinity"):
        with pytest.raises(ValueError, match="no number"):
            parse_json(text, finite=True)


@pytest.mark.parametrize(("key", "value"), [("macs", 3), ("input", "x"), ("params", "many"), ("host", [])])
def test_a_manifest_entry_of_another_kind_is_named(key, value, tmp_path):
    file = tmp_path / "m.bin"
    file.write_bytes(b"x")
    write_manifest(file, {"kind": "onnx", key: value})
    with pytest.raises(ArtifactError, match=key):
        read_manifest(file)
