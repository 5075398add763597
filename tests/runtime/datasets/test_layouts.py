"""Data sets as people have them: every layout from tiny folders made here, and the same answer for a folder as for its set."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runtime.datasets import (
    PUBLISHED,
    READERS,
    Item,
    count_warnings,
    counts,
    guess_layout,
    read_dataset,
    training_images,
)
from runtime.datasets.cameras import dataset_name
from runtime.datasets.guess import LAYOUTS
from runtime.errors import ConfigError, DataError
from runtime.images.sources import labelled_images, list_images

THREE = ("bounding_box_train", "query", "bounding_box_test")


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def seen(items: tuple[Item, ...]) -> list[tuple[int, int]]:
    return [(item.pid, item.camid) for item in items]


def same_from_its_folder(root: Path, split: str, folder: str) -> None:
    """Persons and cameras of `extract`'s items are those of the data set, item by item."""
    expected = {item.path: item for item in getattr(read_dataset(root), split)}
    images = labelled_images(root / folder)
    assert (
        images.dataset is not None and {item.path: item for item in images.items if item.pid >= 0} == expected
    )


def test_every_layout_can_be_asked_for() -> None:
    assert set(LAYOUTS) == set(READERS) and set(PUBLISHED) < set(READERS)


@pytest.mark.parametrize("kind", ["labeled", "detected"])
def test_cuhk03_np(tmp_path: Path, kind: str) -> None:
    root = made(
        tmp_path / "cuhk03-np" / kind,
        *(
            f"{folder}/{pid:04}_c{camera}_{camera + 4}.png"
            for folder in THREE
            for pid in (3, 7)
            for camera in (1, 2)
        ),
    )
    dataset = read_dataset(root)
    assert dataset.layout == "cuhk03_np" and seen(dataset.gallery) == [(3, 0), (3, 1), (7, 0), (7, 1)]
    assert counts(dataset)["train"] == {"images": 4, "identities": 2, "cameras": 2}
    same_from_its_folder(root, "query", "query")
    with pytest.raises(ConfigError, match=rf"one of them: .*cuhk03-np/{kind}"):
        read_dataset(root.parent)


def test_both_editions_of_cuhk03_np_are_the_published_one() -> None:
    def edition(train: int, gallery: int) -> list[str]:
        files = {
            folder: [f"{1 + place % people:04}_c1_{place}.png" for place in range(size)]
            for folder, size, people in zip(THREE, (train, 1400, gallery), (767, 700, 700))
        }
        return count_warnings(read_dataset("ROOT", "cuhk03_np", listing=files.__getitem__))

    assert edition(7368, 5328) == edition(7365, 5332) == []
    assert len(edition(7368, 5332)) == 1


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
@pytest.mark.parametrize("nested", [True, False])
def test_occluded_reid_has_no_cameras(tmp_path: Path, suffix: str, nested: bool) -> None:
    root = made(
        tmp_path / "Occluded_REID",
        *(
            f"{kind}_body_images/{f'{pid:03}/' * nested}{pid:03}_{number:02}.{suffix}"
            for kind in ("occluded", "whole")
            for pid in (1, 2)
            for number in (1, 2)
        ),
    )
    dataset = read_dataset(root)
    assert dataset.layout == "occluded_reid" and dataset.train == ()
    assert seen(dataset.query) == seen(dataset.gallery) == [(1, -1), (1, -1), (2, -1), (2, -1)]
    assert counts(dataset)["query"] == {"images": 4, "identities": 2, "cameras": 0}
    same_from_its_folder(root, "query", "occluded_body_images")
    same_from_its_folder(root, "gallery", "whole_body_images")
    with pytest.raises(DataError, match="no training images"):
        training_images(dataset)


def test_partial_reid_has_two_sets_of_queries(tmp_path: Path) -> None:
    kinds = {"partial": 1, "occluded": 2, "whole": 1}
    root = made(
        tmp_path / "Partial-REID_Dataset",
        *(
            f"{kind}_body_images/{pid:03}_{number:03}.jpg"
            for kind, most in kinds.items()
            for pid in (4, 5)
            for number in range(most)
        ),
    )
    dataset = read_dataset(root)
    assert (dataset.layout, seen(dataset.query)) == ("partial_reid", [(4, -1), (5, -1)])
    assert any("occluded_body_images" in line for line in dataset.left_out)
    other = read_dataset(root, "partial_reid_occluded")
    assert len(other.query) == 4 and other.gallery == dataset.gallery
    same_from_its_folder(root, "gallery", "whole_body_images")
    for image in (root / "partial_body_images").iterdir():
        image.unlink()
    (root / "partial_body_images").rmdir()
    assert guess_layout(root) == "partial_reid_occluded"


def test_p_dukemtmc_keeps_dukes_cameras(tmp_path: Path) -> None:
    root = made(
        tmp_path / "P-DukeMTMC-reID",
        *(
            f"{split}/{kind}_body_images/{pid:04}/{pid:04}_c{camera}_f{pid:07}.jpg"
            for split, pid in (("train", 1), ("train", 2), ("test", 3), ("test", 4))
            for kind, camera in (("occluded", 2), ("whole", 8))
        ),
    )
    dataset = read_dataset(root)
    assert dataset.layout == "p_dukemtmc"
    assert seen(dataset.query) == [(3, 1), (4, 1)] and seen(dataset.gallery) == [(3, 7), (4, 7)]
    assert sorted(seen(training_images(dataset).train)) == [(1, 1), (1, 7), (2, 1), (2, 7)]
    same_from_its_folder(root, "query", "test/occluded_body_images")


@pytest.mark.parametrize("form", ["{0:04}_c{1}_0015.jpg", "{0:04}_c{1}s1_000015_01.jpg"])
def test_msmt17_with_market_names_counts_people_from_zero(tmp_path: Path, form: str) -> None:
    root = made(
        tmp_path / "MSMT17_V1",
        *(f"{folder}/{form.format(pid, camera)}" for folder in THREE for pid in (0, 1) for camera in (1, 15)),
    )
    dataset = read_dataset(root)
    assert dataset.layout == "msmt17" and sorted(seen(dataset.query)) == [(1, 0), (1, 14), (2, 0), (2, 14)]
    same_from_its_folder(root, "query", "query")


@pytest.mark.parametrize("first, moved", [(0, 1), (1, 0)])
def test_anybodys_set_with_names_like_markets(tmp_path: Path, first: int, moved: int) -> None:
    root = made(
        tmp_path / "site",
        *(
            f"{folder}/{pid}_c{camera}_door_9.jpg"
            for folder in THREE
            for pid in (first, 5)
            for camera in (1, 2)
        ),
        "bounding_box_test/-1_c1_junk.jpg",
    )
    dataset = read_dataset(root)
    assert dataset.layout == "market_like" and dataset.junk == 1
    assert seen(dataset.gallery) == [(first + moved, 0), (first + moved, 1), (5 + moved, 0), (5 + moved, 1)]
    same_from_its_folder(root, "gallery", "bounding_box_test")
    # Nothing says that a set in a layout which anybody uses is the one that a model was trained on.
    assert dataset_name(dataset.layout, count_warnings(dataset)) is None


def test_layumis_folders_are_market1501(tmp_path: Path) -> None:
    def names(split: str, pids: tuple[int, ...]) -> list[str]:
        return [f"{split}/{pid:04}/{pid:04}_c{camera}s1_000001_00.jpg" for pid in pids for camera in (1, 2)]

    gallery = [f"gallery/{pid}/{pid}_c1s1_000001_00.jpg" for pid in ("-1", "0000")]
    root = made(
        tmp_path / "pytorch",
        *names("train_all", (1, 2)),
        *names("train", (1, 2)),
        *names("val", (1,)),
        *gallery,
    )
    made(root, *names("query", (3,)), *names("gallery", (3,)), *names("multi-query", (3,)))
    dataset = read_dataset(root)
    assert dataset.layout == "market1501" and len(dataset.train) == 4 and dataset.junk == 1
    assert seen(dataset.gallery) == [(0, 0), (3, 0), (3, 1)]
    (unread,) = (line for line in dataset.left_out if "multi-query" in line)
    assert "val" in unread
    same_from_its_folder(root, "gallery", "gallery")
    os.rename(root / "train_all", root / ".train_all")
    assert len(read_dataset(root).train) == 6


def test_a_folder_and_a_name_that_disagree_are_refused(tmp_path: Path) -> None:
    names = [f"{folder}/0002/0003_c{camera}s1_000001_00.jpg" for folder in THREE for camera in (1, 2)]
    root = made(tmp_path / "set", *names)
    with pytest.raises(DataError, match="person_folders"):
        read_dataset(root)
    assert seen(read_dataset(root, "person_folders").query) == [(2, 0), (2, 1)]


@pytest.mark.parametrize(
    "people, pids", [(("7", "12"), [7, 12]), (("ann", "bob"), [1, 2]), (("0", "3"), [1, 4])]
)
def test_a_folder_for_each_person(tmp_path: Path, people: tuple[str, ...], pids: list[int]) -> None:
    root = made(
        tmp_path / "set",
        *(
            f"{split}/{person}/shot {camera}_c{camera}.png"
            for split in ("query", "gallery")
            for person in people
            for camera in (1, 2)
        ),
        *(f"gallery/{person}/no camera.png" for person in people),
    )
    dataset = read_dataset(root)
    assert dataset.layout == "person_folders" and dataset.train == ()
    assert sorted(seen(dataset.gallery)) == [(pid, camera) for pid in pids for camera in (-1, 0, 1)]
    same_from_its_folder(root, "gallery", "gallery")


LISTS = {
    "csv": 'path,pid,camid\nq 1.jpg,1,0\n"b,c.jpg",2,-1\n',
    "bare csv": 'q 1.jpg,1,0\n"b,c.jpg",2,-1\n',
    "semicolons": "camera;id;file\n0;1;q 1.jpg\n-1;2;b,c.jpg\n",
    "tabs": "q 1.jpg\t1\t0\nb,c.jpg\t2\n",
    "text": "q 1.jpg 1 0\nb,c.jpg 2 -1\n",
    "floats": 'img_path,pid,cam\r\nq 1.jpg,1.0,0.0\r\n"b,c.jpg",2.0,\r\n',
}


@pytest.mark.parametrize("form", LISTS)
@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_a_list_of_path_pid_camid(tmp_path: Path, form: str, suffix: str) -> None:
    for split in ("query", "gallery"):
        (tmp_path / f"{split}.{suffix}").write_text(LISTS[form], newline="")
    dataset = read_dataset(tmp_path)
    expected = (Item(f"{tmp_path}/q 1.jpg", 1, 0), Item(f"{tmp_path}/b,c.jpg", 2, -1))
    assert dataset.layout == "list" and dataset.query == dataset.gallery == expected and dataset.train == ()
    assert list_images(tmp_path / f"query.{suffix}").items == expected


def test_one_list_with_a_column_for_the_split(tmp_path: Path) -> None:
    rows = [("train", 9), ("query", 1), ("gallery", 1), ("gallery", 0), ("gallery", -1)]
    text = "path,pid,camid,split\n" + "".join(
        f"{n}.jpg,{pid},{n},{split}\n" for n, (split, pid) in enumerate(rows)
    )
    (tmp_path / "all.csv").write_text(text)
    dataset = read_dataset(tmp_path / "all.csv")
    assert [seen(getattr(dataset, split)) for split in ("train", "query", "gallery")] == [
        [(9, 0)],
        [(1, 1)],
        [(1, 2), (0, 3)],
    ]
    assert dataset.junk == 1
    (tmp_path / "all.csv").write_text(text.replace("split", "x"))
    with pytest.raises(DataError, match="split"):
        read_dataset(tmp_path / "all.csv")


def test_lists_with_mistakes(tmp_path: Path) -> None:
    good = "a.jpg 1 0\n" * 150
    for bad in ("b.jpg one 0", "b.jpg", "b.jpg 1 0 query 7"):
        (tmp_path / "query.txt").write_text(good + bad + "\n")
        (tmp_path / "gallery.txt").write_text(good)
        assert [reason for _, reason in read_dataset(tmp_path).skipped if "path pid camid" in reason]
    (tmp_path / "query.txt").write_text("a.jpg 0 0\n")
    with pytest.raises(DataError, match="count people from 1"):
        read_dataset(tmp_path)


def test_a_list_of_paths_alone_stays_one(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0002_c1s1_000451_03.jpg\na, b.png\nname 3 1\n")
    paths = ["0002_c1s1_000451_03.jpg", "a, b.png", "name 3 1"]
    assert list_images(tmp_path / "list.txt").items == tuple(
        Item(f"{tmp_path}/{path}", *((2, 0) if number == 0 else (-1, -1)))
        for number, path in enumerate(paths)
    )


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    name = "0002_c1s1_000451_03"
    root = made(tmp_path / "set", *(f"{folder}/{name}.jpg" for folder in THREE), "gt_bbox/x.jpg", "loose.jpg")
    made(
        root,
        f"query/{name}.heic",
        "query/Thumbs.db",
        "query/._x.jpg",
        "bounding_box_test/-1_c1s1_000451_03.jpg",
    )
    os.symlink(tmp_path, root / "query" / "loop")
    text = "\n".join(read_dataset(root).left_out)
    for word in (
        "1 .heic",
        "1 .db",
        "1 hidden",
        "1 linked folders",
        "gt_bbox",
        "loose.jpg",
        "1 images left out as junk",
    ):
        assert word in text
    assert json.dumps(text)


def test_an_image_of_no_split_is_nobody(tmp_path: Path) -> None:
    """A name of another data set is badly named here: its number is nobody's, also where a folder is read on its own."""
    market = [
        f"{folder}/{pid:04}_c{c}s1_000001_00.jpg" for folder in THREE for pid in range(1, 60) for c in (1, 2)
    ]
    root = made(tmp_path / "set", *market, "query/0001_c1_f0000001.jpg")
    assert len(read_dataset(root).skipped) == 1
    odd = next(item for item in labelled_images(root / "query").items if "_f00" in item.path)
    assert odd.pid == -1
    same_from_its_folder(root, "query", "query")


def test_a_folder_beside_a_data_set_belongs_to_none(tmp_path: Path) -> None:
    root = made(tmp_path / "set", *(f"{folder}/0002_c1s1_000451_03.jpg" for folder in (*THREE, "extra")))
    assert labelled_images(root / "extra").dataset is None
    with pytest.raises(ConfigError, match="leave layout out"):
        labelled_images(root / "extra", "market1501")
