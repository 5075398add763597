"""Numbers in words, and the geometry of frames and lanes, in the browser's own JavaScript."""

import pytest


@pytest.fixture
def call(page):
    """Calls a function of one of the page's modules."""

    def run(module, name, *arguments):
        code = "async ([module, name, args]) => (await import(`/page/${module}.js`))[name](...args)"
        return page.evaluate(code, [module, name, list(arguments)])

    return run


def test_rates_in_words(call):
    words = {
        (0.01, 0.014): "about 1 wrong person in 100 searches",
        (0.0081, 0.01): "about 1 wrong person in 120 searches",
        (0.1, 0.12): "about 1 wrong person in 10 searches",
        (0.4, 0.45): "about 4 wrong people in 10 searches",
        (0.97, 1.0): "a wrong person in nearly every search",
        (0.0, 0.003): "at most 1 wrong person in 330 searches",
        # 1 in 340 would be less than the bound
        (0.0, 1 / 337): "at most 1 wrong person in 330 searches",
        (0.0, 0.31): "at most 4 wrong people in 10 searches",
        (0.14, 0.2): "about 1 wrong person in 7 searches",
        (0.0, None): "no wrong person in the calibration's searches",
    }
    assert {key: call("words", "rateWords", *key) for key in words} == words
    assert call("words", "rateShort", 0.01, 0.014) == "about 1 wrong in 100"
    assert [call("words", "probabilityWords", p) for p in (0.934, 0.999, 0.001)] == [
        "about 93 in 100",
        "more than 99 in 100",
        "less than 1 in 100",
    ]


def test_times_are_those_of_the_reader(call):
    assert call("words", "timeWords", "2026-11-28T06:08:00Z") == "28 Nov 2026, 07:08"
    assert call("words", "toUtc", "2026-07-01T09:00") == "2026-07-01T07:00:00Z"
    assert call("words", "toLocal", "2026-07-01T07:00:00Z") == "2026-07-01T09:00"
    assert call("words", "toUtc", "") is None


def test_a_frame_stays_inside_the_picture_and_keeps_its_least_size(call):
    assert call("crop", "moved", [10, 10, 30, 60], 500, -500, 100, 80) == [80, 0, 100, 50]
    assert call("crop", "resized", [10, 10, 30, 60], "nw", 500, 500, 100, 80) == [22, 52, 30, 60]
    assert call("crop", "mended", [50, 60, -5, 20], 100, 80) == [0, 20, 50, 60]
    left, top, right, bottom = call("crop", "mended", [99, 79, 99, 79], 100, 80)
    assert right - left == 8 and bottom - top == 8 and right <= 100 and bottom <= 80


def test_no_two_pictures_of_a_lane_overlap(call):
    hits = [{"row": {"time": f"2026-11-27T08:{minute:02d}:00Z"}} for minute in (0, 1, 2, 30, 31, 59)]
    start, end = 1795766400000, 1795769940000
    placed = call("lanes", "place", hits, start, end, 600)
    assert [round(one["x"]) for one in placed] == [0, 9, 19, 283, 292, 556]
    assert [one["level"] for one in placed] == [0, 1, 2, 0, 1, 0]


def test_a_cell_of_a_table_runs_no_formula(call):
    assert call("export", "cell", "=1+1") == "'=1+1"
    assert call("export", "cell", 'a"b,c') == '"a""b,c"'
    assert call("export", "cell", -0.5) == "-0.5"
    assert call("export", "cell", None) == ""
