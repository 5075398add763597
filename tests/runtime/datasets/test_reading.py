"""runtime.datasets on the published name lists, on folders made here, and on names that break the rules."""

import gzip
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.datasets import (
    FOLDERS,
    FORMS,
    Item,
    count_warnings,
    counts,
    guess_layout,
    parse_name,
    read_dataset,
)
from runtime.errors import ConfigError, DataError
from runtime.images.sources import list_images, read_images

COPIED = Path(__file__).resolve().parents[2] / "data" / "lists"
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
MARKET_NAME, DUKE_NAME = "0002_c1s1_000451_03.jpg", "0019_c1_f0051230.jpg"
MSMT17_NAME = "0000_000_01_0303morning_0015_0.jpg"


def published(folder, layout):
    """A listing of the published names, as if their images lay in the three published folders."""
    files = {"train": "train", "query": "query", "gallery": "test" if layout == "market1501" else "gallery"}
    texts = {
        FOLDERS[split]: gzip.decompress((folder / f"{layout}_{name}.txt.gz").read_bytes()).decode()
        for split, name in files.items()
    }
    return listing({name: [line.rsplit("/")[-1] for line in text.split()] for name, text in texts.items()})


def listing(files):
    def names(name):
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    return names


def folders(train=(), query=(), gallery=()):
    return listing(dict(zip(FOLDERS.values(), (list(train), list(query), list(gallery)))))


def market_names(people, camera=1):
    return [f"{pid:04d}_c{camera}s1_000001_00.jpg" for pid in people]


def fill(root, **splits):
    for split, folder in FOLDERS.items():
        (root / folder).mkdir(parents=True)
        for name in splits.get(split, ()):
            (root / folder / name).touch()
    return root


@pytest.fixture(params=["copied", "shared"])
def lists(request):
    folder = COPIED if request.param == "copied" else SHARED / "lists"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine; tests/data/lists is a copy")
    return folder


@pytest.mark.parametrize(
    "layout, expected",
    [
        ("market1501", {"train": (12936, 751, 6), "query": (3368, 750, 6), "gallery": (15913, 751, 6)}),
        ("occluded_duke", {"train": (15618, 702, 8), "query": (2210, 519, 8), "gallery": (17661, 1110, 8)}),
    ],
)
def test_the_published_counts(lists, layout, expected):
    dataset = read_dataset("ROOT", layout, listing=published(lists, layout))
    numbers_of_splits = {split: tuple(numbers.values()) for split, numbers in counts(dataset).items()}
    assert numbers_of_splits == expected
    assert count_warnings(dataset) == [] and dataset.skipped == ()


def test_market_junk_is_read_and_left_out_and_distractors_stay(lists):
    names = published(lists, "market1501")
    everyone = Counter(parse_name(name, "market1501")[0] for name in names("bounding_box_test"))
    assert (everyone[-1], everyone[0], everyone.total()) == (3819, 2798, 19732)
    kept = Counter(item.pid for item in read_dataset("ROOT", "market1501", listing=names).gallery)
    assert (kept[-1], kept[0], kept.total()) == (0, 2798, 15913)


def test_published_splits_are_sorted_and_keep_train_and_query_apart(lists):
    for layout in ("market1501", "occluded_duke"):
        dataset = read_dataset("ROOT", layout, listing=published(lists, layout))
        for split in (dataset.train, dataset.query, dataset.gallery):
            assert [item.path for item in split] == sorted(item.path for item in split)
        train, query, gallery = ({item.pid for item in getattr(dataset, split)} for split in FOLDERS)
        assert not train & query and query <= gallery
        assert guess_layout(layout, published(lists, layout)) == layout


@pytest.mark.parametrize(
    "name, layout, expected",
    [
        (MARKET_NAME, "market1501", (2, 0)),
        ("-1_c6s2_000401_03.png", "market1501", (-1, 5)),
        ("-1_c4s6_022316_11.jpg.jpg", "market1501", (-1, 3)),
        ("0000_c3s1_000151_01.JPG", "anny", (0, 2)),
        ("0031_c12s1_000151_01.jpg", "anny", (31, 11)),
        (DUKE_NAME, "occluded_duke", (19, 0)),
        ("7139_c8_f0160695.png", "dukemtmc", (7139, 7)),
        (MSMT17_NAME, "msmt17", (1, 0)),
        ("0012/0012_003_15_0113afternoon_1_2_ex.jpg", "msmt17", (13, 14)),
        (f"/data/x_12_c3/9999_c9s9_1_1/{MARKET_NAME}", "market1501", (2, 0)),
    ],
)
def test_a_name_carries_person_and_camera(name, layout, expected):
    assert parse_name(name, layout) == expected


@pytest.mark.parametrize("layout", FORMS)
@given(name=st.text())
def test_any_other_name_is_a_data_error_that_shows_the_pattern(layout, name):
    with pytest.raises(DataError, match=re.escape(f"expected {FORMS[layout][0].text}")):
        parse_name(name + "_", layout)


@pytest.mark.parametrize(
    "name",
    ["0002_c0s1_000451_03.jpg", "0002_c1s1_000451_03.gif", f"x{MARKET_NAME}", "٣_c1s1_1_1.jpg", DUKE_NAME],
)
def test_nearly_right_market_names_are_refused(name):
    with pytest.raises(DataError, match="expected PPPP_cCsS_FFFFFF_NN.jpg"):
        parse_name(name, "market1501")


@pytest.mark.parametrize(
    "root, name, layout",
    [
        ("anything", MARKET_NAME, "market1501"),
        ("Occluded_Duke", DUKE_NAME, "occluded_duke"),
        ("data/occduke", DUKE_NAME, "occluded_duke"),
        ("DukeMTMC-reID", DUKE_NAME, "dukemtmc"),
        ("duke/", DUKE_NAME, "dukemtmc"),
    ],
)
def test_layout_is_guessed_from_names_and_the_folder_name(root, name, layout):
    assert guess_layout(root, folders(train=[name, "odd.jpg"], query=[name])) == layout
    assert guess_layout(root, folders(gallery=[name])) == layout


def test_layout_is_guessed_from_marker_files():
    assert guess_layout("x", listing({"anny.json": ["{}"], "query": [MARKET_NAME]})) == "anny"
    assert guess_layout("x", listing({"list_query.txt": [], "list_gallery.txt": []})) == "msmt17"


@pytest.mark.parametrize(
    "root, names",
    [("reid", [DUKE_NAME]), ("duke", ["1.jpg"]), ("duke", []), ("duke", [DUKE_NAME, MARKET_NAME])],
)
def test_a_doubtful_layout_is_asked_for(root, names):
    with pytest.raises(ConfigError, match="layout.*market1501.*msmt17"):
        guess_layout(root, folders(query=names))


def test_a_folder_without_any_data_set_names_what_it_looked_for(tmp_path):
    with pytest.raises(ConfigError, match="none of bounding_box_train, query, bounding_box_test"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(tmp_path / "absent")
    with pytest.raises(ConfigError, match="unknown layout mars.*market1501"):
        read_dataset(tmp_path, "mars")


def test_a_folder_on_disk(tmp_path):
    png = "0003_c2s1_000001_00.png"
    root = fill(
        tmp_path / "set", train=market_names([1]), query=market_names([2]), gallery=[png, "Thumbs.db"]
    )
    (root / "bounding_box_test" / f"._{MARKET_NAME}").touch()
    (root / "bounding_box_test" / "0009_c1s1_000001_00.jpg").mkdir()
    os.symlink(root / "query" / market_names([2])[0], root / "bounding_box_test" / "0002_c3s1_000001_00.jpg")
    dataset = read_dataset(root)
    place = str(root / "bounding_box_test")
    assert dataset.layout == "market1501" and dataset.skipped == ()
    assert dataset.gallery == (
        Item(f"{place}/0002_c3s1_000001_00.jpg", 2, 2),
        Item(f"{place}/{png}", 3, 1),
    )
    assert counts(dataset)["train"] == {"images": 1, "identities": 1, "cameras": 1}
    assert [warning.split()[1] for warning in count_warnings(dataset)] == ["train", "query", "gallery"]


def test_a_missing_folder_is_named_with_the_layout(tmp_path):
    root = fill(tmp_path / "set", query=[MARKET_NAME])
    (root / "bounding_box_test").rmdir()
    with pytest.raises(DataError, match="bounding_box_test.*market1501"):
        read_dataset(root)
    with pytest.raises(DataError, match="list_train.txt.*msmt17"):
        read_dataset(root, "msmt17")


@pytest.mark.parametrize("junk", [[], ["-1_c1s1_000401_03.jpg"], ["notes.txt"]])
def test_an_empty_gallery_is_named_with_its_folder(junk):
    with pytest.raises(DataError, match="gallery set .*: ROOT/bounding_box_test"):
        read_dataset("ROOT", "market1501", listing=folders(query=[MARKET_NAME], gallery=junk))
    with pytest.raises(DataError, match="query set .*: ROOT/query"):
        read_dataset("ROOT", "market1501", listing=folders(gallery=[MARKET_NAME]))
    lists = {f"list_{name}.txt": [] for name in ("train", "val", "query", "gallery")}
    lists["list_query.txt"] = [f"0000/{MSMT17_NAME} 0"]
    with pytest.raises(DataError, match="gallery set .*: ROOT/list_gallery.txt"):
        read_dataset("ROOT", "msmt17", listing=listing(lists))


def test_a_few_bad_names_are_skipped_with_a_reason_and_more_are_an_error():
    def read(bad, **options):
        names = folders(
            market_names(range(1, 197 + 2 - bad)),
            [MARKET_NAME],
            [MARKET_NAME, *map("{}.jpg".format, range(bad))],
        )
        return read_dataset("ROOT", "market1501", listing=names, **options)

    dataset = read(2)
    assert [path for path, _ in dataset.skipped] == [
        "ROOT/bounding_box_test/0.jpg",
        "ROOT/bounding_box_test/1.jpg",
    ]
    assert all("expected PPPP_cCsS_FFFFFF_NN.jpg" in reason for _, reason in dataset.skipped)
    assert len(dataset.train + dataset.query + dataset.gallery) == 198
    with pytest.raises(DataError, match=r"ROOT/bounding_box_test/0.jpg: .*expected PPPP_cCsS.*3 of 200"):
        read(3)
    assert len(read(3, max_bad=0.02).skipped) == 3


def test_queries_with_the_distractors_pid_are_warned_about():
    dataset = read_dataset("ROOT", "anny", listing=folders(query=market_names([0, 1]), gallery=[MARKET_NAME]))
    assert count_warnings(dataset) == ["ROOT: 1 queries have pid 0 (distractor), which never matches"]


@pytest.mark.parametrize("prefix", ["", "test/"])
@pytest.mark.parametrize("release", [1, 2])
def test_msmt17_lists_in_both_forms(prefix, release):
    train, test = ("train", "test") if release == 1 else ("mask_train_v2", "mask_test_v2")
    start = {"": ("", ""), "test/": (f"{train}/", f"{test}/")}[prefix]
    lines = {
        "list_train.txt": [f"{start[0]}0001/0001_000_03_0303noon_0015_0.jpg 1", ""],
        "list_val.txt": [f"{start[0]}0000/{MSMT17_NAME} 0"],
        "list_query.txt": [f"{start[1]}0000/{MSMT17_NAME} 0"],
        "list_gallery.txt": [f"{start[1]}0002/0002_000_15_0303noon_0015_0.jpg 2"],
    }
    dataset = read_dataset("ROOT", listing=listing(lines | {train: [], test: []}))
    # Person 0 is a person in MSMT17: pids move up by one, away from the distractors' 0.
    assert dataset.train == (
        Item(f"ROOT/{train}/0000/{MSMT17_NAME}", 1, 0),
        Item(f"ROOT/{train}/0001/0001_000_03_0303noon_0015_0.jpg", 2, 2),
    )
    assert dataset.query == (Item(f"ROOT/{test}/0000/{MSMT17_NAME}", 1, 0),)
    assert dataset.gallery == (Item(f"ROOT/{test}/0002/0002_000_15_0303noon_0015_0.jpg", 3, 14),)


@pytest.mark.parametrize(
    "line", [f"0000/{MSMT17_NAME}", f"../{MSMT17_NAME} 1", f"/etc/{MSMT17_NAME} 1", "x 1"]
)
def test_msmt17_lines_that_are_not_image_and_pid_are_refused(line):
    lines = {f"list_{name}.txt": [line] for name in ("train", "val", "query", "gallery")}
    with pytest.raises(DataError, match="expected PPPP"):
        read_dataset("ROOT", listing=listing(lines))


def test_pku_crops_are_read_as_market():
    root = SHARED / "pku_reid_74"
    if not root.is_dir():
        pytest.skip("../shared/data/pku_reid_74 (not ours to copy) is not on this machine")
    dataset = read_dataset(root)
    assert dataset.layout == "market1501"
    assert {split: tuple(numbers.values()) for split, numbers in counts(dataset).items()} == {
        "train": (704, 44, 2),
        "query": (240, 30, 1),
        "gallery": (240, 30, 1),
    }


def test_a_plain_folder_is_read_recursively_and_what_is_no_image_is_counted(tmp_path):
    for name in (
        "b.PNG",
        f"deep/er/{MARKET_NAME}",
        DUKE_NAME,
        "a.webp",
        "notes.txt",
        ".hidden.jpg",
        MSMT17_NAME,
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "fifo.jpg")
    os.symlink(tmp_path, tmp_path / "deep" / "loop")
    os.symlink(tmp_path / "b.PNG", tmp_path / "link.jpg")
    os.symlink(tmp_path / "gone.jpg", tmp_path / "dangling.jpg")
    images = list_images(tmp_path)
    assert list(images.items) == [
        Item(f"{tmp_path}/{MSMT17_NAME}", 1, 0),
        Item(f"{tmp_path}/{DUKE_NAME}", 19, 0),
        Item(f"{tmp_path}/a.webp", -1, -1),
        Item(f"{tmp_path}/b.PNG", -1, -1),
        Item(f"{tmp_path}/deep/er/{MARKET_NAME}", 2, 0),
        Item(f"{tmp_path}/link.jpg", -1, -1),
    ]
    (note,) = images.notes
    assert note.startswith(f"{tmp_path}: 5 ")
    for kind in ("1 .txt", "1 hidden", "1 linked folders", "1 special", "1 broken links"):
        assert kind in note


def test_a_list_file_keeps_its_order_and_is_relative_to_its_folder(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"z/y.jpg\r\n\n/abs/0007_c2s1_000001_00.jpg\na b.png")
    assert read_images(tmp_path / "list.txt") == [
        Item(f"{tmp_path}/z/y.jpg", -1, -1),
        Item("/abs/0007_c2s1_000001_00.jpg", 7, 1),
        Item(f"{tmp_path}/a b.png", -1, -1),
    ]


def test_one_image_file_is_its_own_list(tmp_path):
    (tmp_path / MARKET_NAME).touch()
    assert read_images(str(tmp_path / MARKET_NAME)) == [Item(f"{tmp_path}/{MARKET_NAME}", 2, 0)]


def test_sources_without_images_are_data_errors(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "model.onnx").write_bytes(b"\x08\0\x12\n\0")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, reason in {
        "empty.txt": "no image",
        "folder": "no image",
        "model.onnx": "binary",
        "absent": "no such folder or file",
        "absent.jpg": "no such folder or file",
        "fifo": "no such folder or file",
    }.items():
        with pytest.raises(DataError, match=reason):
            read_images(tmp_path / name)


def test_names_that_are_not_utf8_come_through(tmp_path):
    odd = os.fsdecode(b"\xff\n.jpg")
    root = fill(tmp_path / "set", train=market_names(range(150)), query=[MARKET_NAME], gallery=[MARKET_NAME])
    try:
        (root / "query" / odd).touch()
    except OSError as error:
        pytest.skip(f"this file system refuses names that are not UTF-8: {error}")
    assert [path for path, _ in read_dataset(root).skipped] == [f"{root}/query/{odd}"]
    assert Item(f"{root}/query/{odd}", -1, -1) in read_images(root)
    (root / "list").write_bytes(b"query/\xff.jpg\n")
    assert read_images(root / "list") == [Item(os.fsdecode(bytes(root) + b"/query/\xff.jpg"), -1, -1)]
