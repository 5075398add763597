"""The demo's page: well-formed, self-contained, and its figures draw what they are given."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from benchmarks.demo import figures
from benchmarks.demo.cameras import Identified
from benchmarks.demo.page import Contents, data_uri, page
from benchmarks.demo.rankings import Hit, RankedQuery
from benchmarks.demo.results import Model
from benchmarks.stats.precisions import Group
from runtime.identities.events import Event
from runtime.identities.lanes import STYLE, lanes_svg

VOID = {"meta", "img", "br"}
SHAPE = {
    "height": 128,
    "width": 64,
    "stride": 12,
    "jpm": True,
    "mode": "bypass",
    "blocks": [{"heads": [0, 1, 2], "tokens": None}, {"heads": [0], "tokens": [0, 1, 7, 50]}],
}
WHOLE = SHAPE | {"blocks": [{"heads": [0, 1, 2], "tokens": None}] * 2}


def model(name, p50, shape):
    return Model(
        name=name,
        macs=200_000_000,
        size=1_000_000,
        precision=0.6,
        rank1=0.7,
        queries=120,
        p50_ms=p50,
        images_per_s=1000 / p50,
        speed=4 / p50,
        sha256="0" * 64,
        tools={"onnx": "1.2"},
        shape=shape,
    )


def identified():
    events = [Event("track", "identity-1", camera, "7", 0.0, 2.5) for camera in (1, 2)]
    return Identified(
        events,
        tracks=67,
        people=32,
        people_around=20,
        identities=35,
        identities_around=19,
        right=64,
        rate=0.2,
        pairs=965,
    )


def contents(**changes):
    hits = (Hit("bounding_box_test/a.jpg", 0, 0.05, False), Hit("bounding_box_test/b.jpg", 3, 0.061, True))
    groups = [Group(0.4, 0.5, 5, 0.3, 0.1), Group(0.5, 0.6, 1, 0.5, float("nan"))]
    unoccluded = Group(1, 1, 6, 0.9, 0.02)
    given = {
        "label": "Synthetic people <and> a label",
        "models": [
            model("unpruned-plain", 4.0, WHOLE),
            model("unpruned", 3.0, WHOLE),
            model("pruned", 2.0, SHAPE),
        ],
        "ranked_queries": [RankedQuery("query/q.jpg", 1, 0.55, 2, hits, "upper quartile")],
        "gallery_size": (720, 60),
        "occluded": {"unpruned": groups, "pruned": groups},
        "unoccluded": {"unpruned": unoccluded, "pruned": unoccluded},
        "token_map_image": "twins/p.jpg",
        "read_image": lambda name: name.encode(),
        "identified": identified(),
        "commands": {"prune": ["prune.py", "--out", "a folder"]},
        "seconds": {"prune": 12.34},
        "host": {
            "processor": "A <CPU>",
            "usable_cores": 2,
            "cores": 2,
            "threads": 1,
            "system": "Linux",
            "machine": "x86_64",
            "load_average": [0.5, 0.4, 0.3],
            "tools": {"numpy": "2.0"},
        },
        "warnings": ["something else runs here"],
    }
    return Contents(**(given | changes))


class Tags(HTMLParser):
    """Collects addresses and counts unbalanced tags."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text):
    tags = Tags()
    tags.feed(text)
    tags.close()
    return tags


def test_the_page_is_balanced_and_fetches_nothing():
    tags = parsed(text := page(contents()))
    assert tags.open == []
    assert tags.addresses and all(address.startswith("data:image/jpeg;base64,") for address in tags.addresses)
    assert not {"script", "link", "iframe"} & set(tags.tags)
    assert "url(" not in text and "@import" not in text


def test_what_comes_from_outside_is_escaped():
    text = page(contents())
    assert "Synthetic people &lt;and&gt; a label" in text
    assert "A &lt;CPU&gt;" in text
    assert "python prune.py --out &#x27;a folder&#x27;" in text


def test_the_page_reads_the_queries_their_hits_and_the_image_of_the_token_maps():
    read = []
    page(contents(read_image=lambda name: read.append(name) or b"jpeg"))
    assert sorted(read) == [
        "bounding_box_test/a.jpg",
        "bounding_box_test/b.jpg",
        "query/q.jpg",
        "twins/p.jpg",
    ]


def test_right_and_wrong_differ_by_symbol_and_class_and_cameras_count_from_one():
    text = page(contents())
    wrong, right = re.findall(r'<figure class="hit (\w+)">.*?<b>(.)</b> cam (\d+)<br>([\d.]+)<', text)
    assert wrong == ("wrong", "✗", "1", "0.050")
    assert right == ("right", "✓", "4", "0.061")
    assert "55% visible" in text and "rank 2<" in text


@pytest.mark.parametrize(("mode", "word"), [("bypass", "skips"), ("kv", "no key")])
def test_the_token_maps_say_what_the_mode_does(mode, word):
    models = contents().models
    changed = model("pruned", 2.0, SHAPE | {"mode": mode})
    text = page(contents(models=[*models[:2], changed]))
    assert word in text
    assert "4 of 51 tokens" in text and "1 of 3 heads" in text


def test_warnings_about_the_times_are_on_the_page():
    assert "something else runs here" in page(contents())
    assert "something else runs here" not in page(contents(warnings=[]))


def test_the_cameras_have_their_lanes_and_the_measured_numbers():
    text = page(contents())
    assert "64 of 67 tracks (96%)" in text and "32 synthetic people" in text and "is 20%" in text
    assert text.count("<rect x=") == 2
    # the picture has no colours of its own: the page defines each, for light and for dark mode, as the page of `identify` does
    schemes = [sheet.split("@media(prefers-color-scheme:dark)")[:2] for sheet in (text, STYLE)]
    for name in set(re.findall(r"var\((--[\w-]+)\)", lanes_svg(identified().events))):
        ours, original = ([re.search(rf"{name}:([^;}}]+)", part)[1] for part in both] for both in schemes)
        assert ours == original or name == "--line"


def test_without_videos_the_page_says_why_in_one_line():
    text = page(contents(identified="av is not <installed>"))
    assert "left out: av is not &lt;installed&gt;." in text and "<rect x=" not in text


def test_a_data_uri_gives_the_bytes_back():
    assert base64.b64decode(data_uri(b"\xff\xd8x").split(",")[1]) == b"\xff\xd8x"


def boxes(svg, kind):
    path = re.search(rf'<path class="{kind}" d="([^"]*)"', svg)[1]
    return [tuple(map(float, box)) for box in re.findall(r"M(\S+) (\S+)H(\S+)V(\S+)H\S+z", path)]


def area(found):
    return sum((right - left) * (bottom - top) for left, top, right, bottom in found)


@pytest.mark.parametrize("stride", [11, 12, 16])
def test_kept_and_veiled_cells_tile_the_picture(stride):
    svg = figures.token_map("x", size=(128, 64), stride=stride, tokens=[0, 1, 4], title="t")
    assert len(boxes(svg, "cell")) == 2
    assert area(boxes(svg, "cell")) + area(boxes(svg, "veil")) == pytest.approx(128 * 64)


def test_token_ids_run_along_the_rows_after_the_class_token():
    # stride 12 on 128 x 64: 10 rows of 5; token 7 is the second patch of the second row
    svg = figures.token_map("x", size=(128, 64), stride=12, tokens=[0, 1, 7, 50], title="t")
    assert boxes(svg, "cell") == [(0, 0, 14, 14), (14, 14, 26, 26), (50, 110, 64, 128)]


def test_a_cell_contains_its_patches_centre_and_no_other():
    for count, stride in ((10, 12), (5, 12), (8, 16), (23, 11)):
        cells = figures.patch_cells(count, stride, (count - 1) * stride + 16)
        centres = [number * stride + 8 for number in range(count)]
        owners = [[number for number, (low, high) in enumerate(cells) if low < c < high] for c in centres]
        assert owners == [[number] for number in range(count)]


def test_all_tokens_kept_leaves_no_veil():
    svg = figures.token_map("x", size=(128, 64), stride=12, tokens=None, title="t")
    assert len(boxes(svg, "cell")) == 50 and boxes(svg, "veil") == []


@pytest.mark.parametrize(
    "values", [[0.617, 0.617, 0.547], [0.999, 1.0], [0.6, 0.6], [0.001, 0.9], [2.9, 4.3], [80, 900]]
)
def test_an_axis_covers_its_values_with_a_few_round_ticks(values):
    top = 1 if max(values) <= 1 else float("inf")
    axis = figures.nice_axis(values, 0, 100, margin=0.3, top=top)
    assert 0 <= axis.low <= min(values) and max(values) <= axis.high <= top
    assert 3 <= len(axis.ticks) <= 9
    assert axis.at(axis.low) == 0 and axis.at(axis.high) == pytest.approx(100)


def dots(svg):
    root = ElementTree.fromstring(re.sub(r"(\s[\w-]+)=([\w-]+)(?=[\s>/])", r'\1="\2"', svg))
    return {
        dot.get("class").split()[1]: (float(dot.get("cx")), float(dot.get("cy")))
        for dot in root.iter("circle")
    }


def test_a_faster_model_stands_further_left_and_a_better_one_higher():
    points = [
        figures.LatencyPoint("unpruned", 4.0, 0.6, "d"),
        figures.LatencyPoint("pruned", 2.0, 0.5, "d"),
    ]
    drawn_dots = dots(figures.accuracy_by_latency(points))
    assert drawn_dots["pruned"][0] < drawn_dots["unpruned"][0]
    assert drawn_dots["pruned"][1] > drawn_dots["unpruned"][1]


def test_the_visibility_chart_names_every_group_its_queries_and_the_unoccluded_pairs():
    given = contents()
    svg = figures.accuracy_by_visibility(given.occluded, given.unoccluded)
    for words in ("40–50 %", "n = 5", "50–60 %", "n = 1", "100 %", "n = 6", "unoccluded"):
        assert words in svg
    assert "nan" not in svg
    assert svg.count('class="dot pruned"') == 3
