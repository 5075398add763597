"""The picture of identities: valid XML, a bar for each track, one colour for one identity, and labels that fit and can be read."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from runtime.identities.events import Event, identities_now
from runtime.identities.lanes import STYLE, lanes_page, lanes_svg

SVG = "{http://www.w3.org/2000/svg}"


def track(identity, camera=0, first=0.0, last=10.0, name="1", **more):
    return Event("track", identity, camera, name, first, last, **more)


def merge(kept, other):
    return Event("merge", kept, merged=other)


def bars(events):
    """Of each bar: its tooltip, (x, y, width, height), its colour, and its label or None."""
    found = []
    for group in ElementTree.fromstring(lanes_svg(events)).iter(f"{SVG}g"):
        title, rect, label = (group.find(f"{SVG}{name}") for name in ("title", "rect", "text"))
        place = tuple(float(rect.get(side)) for side in ("x", "y", "width", "height"))
        found.append((title.text, place, rect.get("fill"), None if label is None else label.text))
    return found


def marks(events):
    texts = ElementTree.fromstring(lanes_svg(events)).findall(f"{SVG}text")
    return [text.text for text in texts if text.get("y") == "15"]


def test_every_track_has_one_bar_in_the_lane_of_its_camera():
    events = [track(f"identity-{number}", camera=number % 3, name=str(number)) for number in range(9)]
    drawn = bars(events)
    assert len(drawn) == 9
    lanes = {}
    for title, (_, y, _, _), _, _ in drawn:
        lanes.setdefault(re.search(r"camera (\d)", title)[1], []).append(y)
    assert max(lanes["0"]) < min(lanes["1"]) and max(lanes["1"]) < min(lanes["2"])


def test_no_two_bars_cover_each_other():
    events = [track(f"identity-{n}", n % 2, n * 1.7, n * 1.7 + n % 5, str(n)) for n in range(60)]
    events += [track("identity-99", 1, 30, 30, name=f"point {n}") for n in range(4)]
    places = [place for _, place, _, _ in bars(events)]
    for number, (x, y, width, height) in enumerate(places):
        for left, top, wide, high in places[:number]:
            apart = x >= left + wide or left >= x + width or y >= top + high or top >= y + height
            assert apart, ((x, y), (left, top))


def test_a_bar_goes_from_the_first_to_the_last_time_of_its_track():
    (_, whole, *_), (_, half, *_) = bars([track("a", 0, 100, 120), track("b", 1, 105, 115)])
    assert half[2] == pytest.approx(whole[2] / 2, abs=0.2)
    assert half[0] - whole[0] == pytest.approx(whole[2] / 4, abs=0.2)


def test_an_identity_with_several_tracks_has_a_colour_of_its_own_also_after_a_merge():
    events = [track("identity-1"), track("identity-1", 1), track("identity-2", 2), track("identity-3", 3)]
    events += [track("identity-4", 4), track("identity-4", 5), merge("identity-2", "identity-3")]
    colours = {}
    for title, _, colour, _ in bars(events):
        colours.setdefault(title.split(",")[0], set()).add(colour)
    assert all(len(of_one) == 1 for of_one in colours.values())
    assert len({next(iter(of_one)) for of_one in colours.values()}) == len(colours) == 3
    grey = [colour for _, _, colour, _ in bars([track("identity-1"), track("identity-2", 1)])]
    assert grey == ["var(--alone)"] * 2


def test_forty_identities_have_forty_colours():
    events = [track(f"identity-{number}", camera) for number in range(40) for camera in (0, 1)]
    assert len({colour for _, _, colour, _ in bars(events)}) == 40


def luminance(lightness, chroma, hue):
    """The relative luminance (WCAG 2) of a colour in Oklch, whose definition is https://bottosson.github.io/posts/oklab."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short
    red, green, blue = (min(max(value, 0), 1) for value in (red, green, blue))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def luminance_of_hex(text):
    parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_labels_stand_out_from_every_bar(scheme):
    ink, alone, light = (
        re.findall(rf"--{name}:([^;}}]+)", STYLE)[scheme] for name in ("ink", "alone", "light")
    )
    events = [track(f"identity-{number}", camera) for number in range(60) for camera in (0, 1)]
    backgrounds = [luminance_of_hex(alone)]
    for colour in {colour for _, _, colour, _ in bars(events)}:
        chroma, hue = re.fullmatch(r"oklch\(var\(--light\) (\S+) (\S+)\)", colour).groups()
        backgrounds.append(luminance(float(light.removesuffix("%")) / 100, float(chroma), float(hue)))
    for background in backgrounds:
        low, high = sorted((luminance_of_hex(ink), background))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_a_label_is_the_number_of_the_identity_or_as_much_of_a_name_as_fits():
    events = [track("identity-7"), track("Alexandra Hohenstaufen", 1, 0, 1), track("identity-123", 2, 0, 0.1)]
    events += [track("identity-8", 3, 0, 10)] * 3
    labels = [label for _, _, _, label in bars(events)]
    assert labels[0] == "7" and labels[2] is None
    assert labels[1].endswith("…") and "Alexandra Hohenstaufen".startswith(labels[1][:-1])
    for _, (_, _, width, _), _, label in bars(events):
        assert label is None or len(label) * 7 <= width


def test_short_tracks_of_a_long_time_make_the_picture_wider_and_never_without_bound():
    def width(events):
        return float(ElementTree.fromstring(lanes_svg(events)).get("viewBox").split()[2])

    short = [track(f"identity-{n}", 0, n * 10, n * 10 + 5) for n in range(60)]
    assert width(short[:12]) == 1200 < width(short)
    assert sum(label is not None for *_, label in bars(short)) == 60
    assert width([*short, track("identity-99", 0, 1e7, 1e7 + 5)]) <= 24_000


def test_names_are_escaped_in_the_picture_and_on_the_page():
    name = "<script>&\"'"
    drawn = bars([track(name, name="<b>"), track(name, 1)])
    assert drawn[0][0].startswith(f"{name}, camera 0, track <b>:") and drawn[0][3] == name
    assert "<script" not in lanes_page([track(name), track(name, 1)])


def test_times_of_day_are_marked_at_round_ones_and_others_from_the_first_track():
    assert marks([track("a", 0, 3.5, 28.5)]) == ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s"]
    assert marks([track("a", 0, 0, 400)])[:4] == ["0 s", "1:00", "2:00", "3:00"]
    # 2026-11-27 10:15:07 UTC
    began = 1_795_774_507
    events = [track("a", 0, began, began + 21)]
    assert marks(events)[:2] == ["10:15:08", "10:15:10"]
    assert "2026-11-27 10:15:07 UTC" in bars(events)[0][0]
    assert "UTC" in lanes_page(events) and "UTC" not in lanes_page([track("a")])
    year = [track("a", 0, 0, 60), track("a", 0, 3e7, 3e7 + 60)]
    assert 2 < len(marks(year)) < 300


def test_without_tracks_the_picture_says_so():
    for events in ([], [merge("a", "b")]):
        (text,) = ElementTree.fromstring(lanes_svg(events)).findall(f"{SVG}text")
        assert text.text == "no tracks"
        assert "0 tracks" in lanes_page(events)


def test_the_page_counts_the_identities_after_all_merges_and_allows_no_script():
    events = [track("a"), track("b", 1), track("c", 2), merge("b", "c"), merge("a", "b")]
    assert {name for _, name in identities_now(events)} == {"a"}
    page = lanes_page([*events, track("d", 1)])
    assert "4 tracks, 2 identities, 1 of them in several cameras" in page
    assert "default-src 'none'" in page and "<script" not in page
