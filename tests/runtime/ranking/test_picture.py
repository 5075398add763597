"""The picture of a ranking: the evaluation's own order and distances, on one page that needs nothing else."""
# ruff: noqa: F811 - the fixtures of another file

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.features import Features, load_features, save_features
from runtime.files.manifest import sha256
from runtime.images.thumbnails import BOX, Thumbnail, thumbnail
from runtime.ranking import metrics
from runtime.ranking.picture import Contents, Shot, page
from runtime.ranking.rerank import rerank
from runtime.ranking.strips import Hit, Ranking, WorstRankings, searched_ranking
from tests.runtime.cli.test_main import Run, data, model, refused, run  # noqa: F401

ROOT = Path(__file__).resolve().parents[3]
VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """The tags, attributes and text of a page; fails where an element is left open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def figures(text: str) -> list[list[tuple[str, int, float]]]:
    """For each query of a page its hits: (right, wrong or open; rank; distance)."""
    sections = text.split("<section>")[1:]
    pattern = re.compile(r'<figure class="(right|wrong|open)(?: later)?">.*?<b>(\d+) .</b> ([\d.]+)<')
    return [[(a, int(b), float(c)) for a, b, c in pattern.findall(section)] for section in sections]


def random_pair(seed: int, queries: int = 9, gallery: int = 40) -> tuple[np.ndarray, ...]:
    """query, pids, camids, gallery, pids, camids: some junk, some distractors, some queries without a match, equal features."""
    random = np.random.default_rng(seed)

    def unit(count: int) -> np.ndarray:
        rows = random.normal(size=(count, 4)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    many = unit(gallery)
    many[: gallery // 4] = many[gallery // 4 : 2 * (gallery // 4)]
    return (
        unit(queries),
        random.integers(1, 7, queries),
        random.integers(-1, 2, queries),
        many,
        random.integers(-1, 6, gallery),
        random.integers(-1, 2, gallery),
    )


@pytest.mark.parametrize("reranked", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_rankings_are_those_of_a_plain_sort_worst_query_first(seed: int, reranked: bool) -> None:
    query, pids, camids, gallery, gallery_pids, gallery_camids = random_pair(seed)
    make = (
        (lambda: rerank(query, gallery, k1=5, k2=2))
        if reranked
        else (lambda: metrics.cosine_rows(query, gallery))
    )
    worst = WorstRankings(4, 6, offset=0 if reranked else 1)
    metrics.evaluate_distances(make(), pids, camids, gallery_pids, gallery_camids, watch=worst.see)

    expected = []
    for number, row in enumerate(np.concatenate(list(make()))):
        own = gallery_pids == pids[number]
        hidden = own & (gallery_camids == camids[number]) & (camids[number] != -1) | (gallery_pids == -1)
        order = [int(index) for index in np.argsort(row, kind="stable") if not hidden[index]]
        ranks = [rank for rank, index in enumerate(order, 1) if own[index]]
        if ranks:
            precision = np.mean([(place + 1) / rank for place, rank in enumerate(ranks)])
            shown = [(order[rank - 1], rank) for rank in range(1, 7)]
            shown += [(order[ranks[0] - 1], ranks[0])] if ranks[0] > 6 else []
            hits = [
                (index, rank, pytest.approx(float(row[index]) + (not reranked)), own[index])
                for index, rank in shown
            ]
            expected.append((precision, -ranks[0], number, hits))
    expected.sort(key=lambda ranking: ranking[:3])
    worst_rankings = worst.rankings()
    assert [ranking.query for ranking in worst_rankings] == [number for *_, number, _ in expected[:4]]
    for ranking, (precision, first, _, hits) in zip(worst_rankings, expected):
        assert ranking.precision == pytest.approx(precision) and ranking.first_right == -first
        assert [(hit.index, hit.rank, hit.distance, hit.right) for hit in ranking.hits] == hits


def test_a_search_knows_right_and_wrong_only_from_known_people() -> None:
    indices, distances = np.array([2, 0, 1, 3]), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    gallery = np.array([0, -1, 7, 8])
    verdicts = {
        pid: [hit.right for hit in searched_ranking(0, indices, distances, pids=(pid, gallery)).hits]
        for pid in (7, 0, -1)
    }
    assert verdicts == {7: [True, False, None, False], 0: [None] * 4, -1: [None] * 4}


def test_evaluate_draws_what_it_scored(run: Run, data: Path, model: Path) -> None:
    out = data.parent / "deep" / "page.html"
    code, scores, err = run("evaluate", model, "--data", data, "--json", "--picture", out, "--picture-top", 3)
    assert code == 0 and json.loads(scores)["queries"] == 6 and "6 of 6 queries" in err
    text, parsed = out.read_text(encoding="utf-8"), read(out)
    precisions = [float(number) for number in re.findall(r"average precision ([\d.]+) %", text)]
    assert len(precisions) == 6 and precisions == sorted(precisions)
    assert np.mean(precisions) == pytest.approx(100 * json.loads(scores)["mAP"], abs=0.05)
    firsts = [int(number) for number in re.findall(r"first right image at rank (\d+)", text)]
    shown = figures(text)
    for first, hits in zip(firsts, shown, strict=True):
        assert [rank for _, rank, _ in hits] == [1, 2, 3] + [first] * (first > 3)
        assert next(rank for kind, rank, _ in hits if kind == "right") == first
        assert [distance for *_, distance in hits] == sorted(distance for *_, distance in hits)
    assert "-1_c2s1" not in text and "junk" in parsed.words and "6 of 6 queries" in parsed.words
    assert "missing" not in err


def test_the_page_needs_nothing_else(run: Run, data: Path, model: Path) -> None:
    out = data.parent / "page.html"
    run("evaluate", model, "--data", data, "--picture", out)
    parsed = read(out)
    assert {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object", "form", "a"} == set()
    assert "url(" not in out.read_text() and "@import" not in out.read_text()
    images = parsed.all("img")
    assert len(images) >= 6 * 2 and all(
        image["src"].startswith("data:image/jpeg;base64,") for image in images
    )
    with Image.open(io.BytesIO(base64.b64decode(images[0]["src"].split(",")[1]))) as first:
        assert first.size == (24, 48)
    assert "prefers-color-scheme:dark" in out.read_text()


@pytest.mark.parametrize("reranked", [False, True])
def test_saved_features_draw_the_page_that_the_data_draws(
    run: Run,
    data: Path,
    model: Path,
    reranked: bool,
) -> None:
    q, g = data.parent / "q.npz", data.parent / "g.npz"
    # the junk image is no part of the data set's gallery, and re-ranking would see it
    for junk in (data / "bounding_box_test").glob("-1_*"):
        junk.unlink()
    run("extract", model, data / "query", "--out", q)
    run("extract", model, data / "bounding_box_test", "--out", g)
    option = ["--rerank"] * reranked
    fresh, saved = data.parent / "fresh.html", data.parent / "saved.html"
    assert run("evaluate", model, "--data", data, "--picture", fresh, *option)[0] == 0
    assert run("evaluate", "--query", q, "--gallery", g, "--picture", saved, *option)[0] == 0
    assert figures(fresh.read_text()) == figures(saved.read_text())
    assert ("re-ranked" in saved.read_text()) == reranked


def test_fewer_queries_are_the_worst_ones_and_the_page_says_so(run: Run, data: Path, model: Path) -> None:
    few, every = data.parent / "few.html", data.parent / "every.html"
    run("evaluate", model, "--data", data, "--picture", every)
    code, _, err = run("evaluate", model, "--data", data, "--picture", few, "--picture-queries", 2)
    assert code == 0 and "2 of 6 queries" in err and "2 of 6 queries" in read(few).words
    assert figures(few.read_text()) == figures(every.read_text())[:2]


def test_queries_without_a_match_are_counted_on_the_page(run: Run, data: Path, model: Path) -> None:
    for image in (data / "bounding_box_test").glob("0003_*"):
        image.unlink()
    out = data.parent / "page.html"
    run("evaluate", model, "--data", data, "--picture", out)
    assert len(figures(out.read_text())) == 5 and "1 more quer" in read(out).words


def test_missing_and_changed_images_get_a_placeholder_and_are_counted(
    run: Run, data: Path, model: Path
) -> None:
    q, g, out = (data.parent / name for name in ("q.npz", "g.npz", "page.html"))
    run("extract", model, data / "query", "--out", q)
    run("extract", model, data / "bounding_box_test", "--out", g)
    (data / "query" / "0001_c1s1_000001_00.png").unlink()
    (data / "query" / "0002_c1s1_000001_00.png").write_bytes(
        (data / "query" / "0003_c1s1_000001_00.png").read_bytes()
    )
    code, _, err = run("evaluate", "--query", q, "--gallery", g, "--picture", out)
    assert code == 0 and "2 of " in err and "0001_c1s1_000001_00.png" in err + out.read_text()
    holes = [division for division in read(out).all("div") if division.get("class") == "hole"]
    assert len(holes) == 2 and "changed" in read(out).words


def test_features_whose_relative_paths_lead_nowhere_say_where_to_run(
    run: Run,
    data: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(data)
    for split, folder in (("q", "query"), ("g", "bounding_box_test")):
        run("extract", model, folder, "--out", data.parent / f"{split}.npz")
    pair = ("--query", data.parent / "q.npz", "--gallery", data.parent / "g.npz")
    monkeypatch.chdir(data.parent)
    code, _, err = run("evaluate", *pair, "--picture", "page.html")
    assert code == 0 and "placeholder" in err and "extract ran" in err
    # the advice, followed
    monkeypatch.chdir(data)
    code, _, err = run("evaluate", *pair, "--picture", data.parent / "again.html")
    assert code == 0 and "placeholder" not in err and not list(data.glob("*.html"))


def test_search_draws_its_matches_in_their_order(run: Run, data: Path, model: Path) -> None:
    g, out = data.parent / "g.npz", data.parent / "page.html"
    run("extract", model, data / "bounding_box_test", "--out", g)
    ask = ("search", model, data / "query", "--gallery", g, "--top", 5, "--json", "--picture", out)
    code, stdout, err = run(*ask, "--picture-queries", 4, "--picture-top", 3)
    assert code == 0 and "4 of 6" in err and "4 of 6 queries" in read(out).words
    for query, hits in zip(json.loads(stdout)["queries"], figures(out.read_text())):
        pid = int(Path(query["path"]).name[:4])
        for match, (kind, rank, distance) in zip(query["matches"], hits, strict=False):
            assert rank == match["rank"] and distance == pytest.approx(match["distance"], abs=6e-5)
            known = {True: "right", False: "wrong"}[match["pid"] == pid]
            assert kind == ("open" if match["pid"] < 0 else known)
        assert len(hits) == 3


def test_nobody_is_right_or_wrong_where_names_say_nothing(run: Run, data: Path, model: Path) -> None:
    people = data.parent / "unknown"
    people.mkdir()
    for number, path in enumerate(sorted((data / "query").iterdir())):
        path.rename(people / f"picture {number}.png")
    g, out = data.parent / "g.npz", data.parent / "page.html"
    run("extract", model, people, "--out", g)
    assert run("search", model, people, "--gallery", g, "--picture", out)[0] == 0
    assert {kind for hits in figures(out.read_text()) for kind, *_ in hits} == {"open"}
    assert "somebody else" not in read(out).words


NAMES = (
    '<img src=x onerror="alert(1)">.png',
    "a\"b'c&d.png",
    "two\nlines.png",
    "bell\x07.png",
    "‮gnp.exe.png",
    os.fsdecode(b"\xff\xfe.png"),
    "نص.png",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_whatever_it_holds(name: str) -> None:
    shot = Shot(f"folder/{name}", -1, Thumbnail(None, name))
    plain = Shot("folder/a.png", 0, Thumbnail("data:image/jpeg;base64,AA=="))
    rankings = [Ranking(0, (Hit(0, 1, 0.5, None), Hit(1, 2, 0.6, True)))]

    def tags(odd: Shot) -> list[str]:
        text = page(Contents(name, [(name, name)], [name], "d"), rankings, lambda row: odd, lambda row: odd)
        text.encode()
        assert all(letter.isprintable() for line in text.split("\n") for letter in line)
        return [tag for tag, _ in Page(text).tags if tag not in ("wbr", "img", "div")]

    assert tags(shot) == tags(plain)


def test_a_thumbnail_is_never_enlarged_and_never_large(tmp_path: Path) -> None:
    for size in ((16, 32), (3000, 40), (500, 2000)):
        Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "a.png")
        uri = thumbnail(str(tmp_path / "a.png"), sha256(tmp_path / "a.png")).uri
        with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as small:
            assert small.width <= min(BOX[0], size[0]) and small.height <= min(BOX[1], size[1])
            assert small.getpixel((0, 0)) == pytest.approx((10, 200, 30), abs=4)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "text.png").write_text("no picture")
    for bad in ("pipe.png", "text.png", "nowhere.png"):
        assert thumbnail(str(tmp_path / bad)).uri is None and thumbnail(str(tmp_path / bad)).missing


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--picture", "page.png"], 2, "page.html"),
        (["--picture", "folder.html"], 2, "folder"),
        (["--picture", "file.txt/page.html"], 6, "--picture"),
        (["--picture-queries", "3"], 2, "--picture"),
        (["--picture-top", "3"], 2, "--picture"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_anything_runs(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file.txt").touch()
    # neither the model nor the features exist
    refused(run("evaluate", "m.onnx", "--data", "nowhere", *options), code, word)
    refused(run("search", "m.onnx", "a.png", "--gallery", "nowhere.npz", *options), code, word)


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_is_1_or_more(run: Run, count: str) -> None:
    code, out, _ = run("evaluate", "m.onnx", "--data", "d", "--picture", "p.html", "--picture-queries", count)
    assert (code, out) == (2, "")


def test_a_failed_write_leaves_the_old_page_and_the_scores(
    run: Run,
    data: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = data.parent / "page.html"
    out.write_text("old")

    def full(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    code, scores, err = run("evaluate", model, "--data", data, "--json", "--picture", out)
    monkeypatch.undo()
    assert code == 6 and json.loads(scores)["queries"] == 6 and "space" in err
    assert out.read_text() == "old" and not list(data.parent.glob(".page*"))


def test_the_page_is_written_although_nobody_reads_the_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for name, pids, camid in (("q", np.arange(1, 41), 0), ("g", np.arange(1, 41), 1)):
        features = Features(
            rows, tuple(f"{i}.png" for i in range(40)), pids.astype(np.int64), np.full(40, camid), "m"
        )
        save_features(tmp_path / f"{name}.npz", features)
    assert load_features(tmp_path / "q.npz").images == ()
    out = tmp_path / "page.html"
    command = [sys.executable, "-m", "runtime", "evaluate", "--query", tmp_path / "q.npz", "--gallery"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*command, tmp_path / "g.npz", "--picture", out],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert "Traceback" not in done.stderr and len(figures(out.read_text())) == 40
