"""Draw the events of identities as a picture (SVG) and a page (HTML): a lane for each camera, a bar for each track. Reads no file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape
from typing import NamedTuple

from runtime.identities.events import Event, cameras_of, identities_now

LEFT, RIGHT, ROW, GAP, TOP = 96, 16, 22, 14, 34
# The width of the picture, in its own pixels. It grows until the median bar has room for a number.
NARROWEST, WIDEST, MEDIAN_BAR = 1200, 24_000, 26
# The width of a character of a label, and what a label needs beside its characters.
CHARACTER, MARGIN = 7, 7
# Marks on the axis of time: this many pixels apart at least, and this many seconds.
APART = 90
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
# Times from this one on (in 1973) are seconds since 1970, and not since the start of the videos.
EPOCH = 1e8
# Colours of equal lightness (the custom property --light), so that labels are legible on all of them. Hues return after some
# identities; then the next strength of colour tells them apart.
HUE_STEP, STRENGTHS = 137.5, (0.11, 0.05, 0.15)
STYLE = """
:root{color-scheme:light dark;--page:#f6f6f3;--ink:#1b1f24;--soft:#5d6670;--line:#dcddd7;--alone:#c9ccd0;--light:84%}
@media(prefers-color-scheme:dark){:root{--page:#121518;--ink:#e7e9ea;--soft:#9aa4ad;--line:#2f363c;--alone:#454c53;--light:43%}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 ui-sans-serif,system-ui,"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1260px;margin:0 auto;padding:2rem 1.2rem 3rem}
h1{font-size:1.7rem;margin:0 0 .6rem}p{max-width:110ch;color:var(--soft);margin:.3rem 0 1rem}
.lanes{overflow-x:auto}svg{display:block;width:100%;height:auto}
"""


class Scale(NamedTuple):
    """The axis of time: the first and the last second, and how many pixels a second has."""

    begin: float
    end: float
    pixels: float

    def at(self, time_s: float) -> float:
        """Return the pixel column of a time in seconds."""
        return LEFT + (time_s - self.begin) * self.pixels


def lanes_svg(events: Sequence[Event]) -> str:
    """Return an SVG with a lane for each camera, in which each track is a bar from its first to its last time.

    Each bar has the number of its identity, or the beginning of its name, where there is room. The bars of an identity with several
    tracks have a colour of its own; those of the others are grey. The SVG uses the custom properties of STYLE for its colours. The
    shorter the tracks are, the wider it is. It does not shrink below 85 % of its width, so the element around it must scroll.
    """
    tracks = [(event, name) for event, name in identities_now(events) if event.last_s is not None]
    if not tracks:
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 40" role="img" aria-label="no tracks" fill="var(--ink)">'
            '<text x="8" y="26" font-size="13">no tracks</text></svg>'
        )
    scale, width = _scale([_span(event) for event, _ in tracks])
    colours = _colours(name for _, name in tracks)
    parts, y = [], TOP
    for camera in sorted(
        {event.camera for event, _ in tracks}, key=lambda camera: -1 if camera is None else camera
    ):
        bars = [(event, name) for event, name in tracks if event.camera == camera]
        rows: list[float] = []
        lane = []
        for event, name in sorted(bars, key=lambda pair: _span(pair[0])):
            first, last = _span(event)
            left, right = scale.at(first), max(scale.at(last), scale.at(first) + 3)
            row = next((place for place, free in enumerate(rows) if free <= left), len(rows))
            # a gap of a pixel, so that two bars in a row look like two
            rows[row : row + 1] = [right + 1]
            lane.append(_bar(event, name, colours.get(name), (left, y + row * ROW, right - left)))
        height = len(rows) * ROW
        parts.append(
            f'<text x="8" y="{y + height / 2 + 5:.0f}" font-weight="600">camera {camera}</text>{"".join(lane)}'
        )
        y += height + GAP
        parts.append(
            f'<line x1="0" x2="{width}" y1="{y - GAP / 2:.0f}" y2="{y - GAP / 2:.0f}" stroke="var(--line)"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" role="img" font-size="13" fill="var(--ink)" '
        f'style="min-width:{0.85 * width:.0f}px" aria-label="the tracks of each camera over time">'
        f"{_axis(scale, y)}{''.join(parts)}</svg>"
    )


def lanes_page(events: Sequence[Event]) -> str:
    """Return a page (HTML without scripts) with the lanes, and what they show in words."""
    tracks = identities_now(events)
    cameras = cameras_of(events)
    several = sum(len(seen) > 1 for seen in cameras.values())
    text = (
        f"{len(tracks)} tracks, {len(cameras)} identities, {several} of them in several cameras. A bar is a track, from its first to "
        "its last time. The bars of one identity have the same number and colour; grey bars are identities with a single track. Point "
        "at a bar for its details."
    )
    if any(event.first_s is not None and event.first_s >= EPOCH for event, _ in tracks):
        text += " The times of day are UTC."
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>Identities</title><style>{STYLE}</style></head>'
        f"<body><main><h1>Identities across cameras</h1><p>{text}</p>"
        f'<div class="lanes">{lanes_svg(events)}</div></main></body></html>\n'
    )


def _span(event: Event) -> tuple[float, float]:
    return event.first_s or 0.0, event.last_s or 0.0


def _scale(spans: Sequence[tuple[float, float]]) -> tuple[Scale, int]:
    """Return the axis of time for tracks with these first and last times, and the width of the picture."""
    begin, end = min(first for first, _ in spans), max(last for _, last in spans)
    length = max(end - begin, 1e-3)
    median = sorted(last - first for first, last in spans)[len(spans) // 2]
    wanted = MEDIAN_BAR / max(median, 1e-3) * length + LEFT + RIGHT
    width = round(min(max(wanted, NARROWEST), WIDEST))
    return Scale(begin, end, (width - LEFT - RIGHT) / length), width


def _colours(names: Iterable[str]) -> dict[str, str]:
    """Return the colours of the identities that have several tracks, in the order of their numbers."""
    counts = Counter(names)
    several = sorted((name for name, count in counts.items() if count > 1), key=_number)
    return {
        name: f"oklch(var(--light) {STRENGTHS[place // 8 % len(STRENGTHS)]} {place * HUE_STEP % 360:.0f})"
        for place, name in enumerate(several)
    }


def _bar(event: Event, name: str, colour: str | None, place: tuple[float, float, float]) -> str:
    x, y, width = place
    first, last = _span(event)
    details = f"{name}, camera {event.camera}, track {event.track}: {_exact(first)} to {_exact(last)}"
    details += "" if event.similarity is None else f", similarity {event.similarity:.2f}"
    details += ", late" if event.late else ""
    words = _fitting(_short(name), int((width - MARGIN) / CHARACTER))
    label = (
        f'<text x="{x + 4:.1f}" y="{y + ROW - 7:.1f}" font-size="12">{escape(words)}</text>' if words else ""
    )
    return (
        f'<g><title>{escape(details)}</title><rect x="{x:.1f}" y="{y + 2:.1f}" width="{width:.1f}" height="{ROW - 4}" rx="3" '
        f'fill="{colour or "var(--alone)"}"/>{label}</g>'
    )


def _fitting(words: str, room: int) -> str:
    """Return `words`, or their beginning, in at most `room` characters; nothing if a part would say nothing, as that of a number."""
    if len(words) <= room:
        return words
    return "" if room < 4 or words.isdecimal() else f"{words[: room - 1]}…"


def _axis(scale: Scale, height: float) -> str:
    step = next((step for step in STEPS if step * scale.pixels >= APART), 0)
    # beyond a day, whole days
    step = step or STEPS[-1] * math.ceil(APART / (STEPS[-1] * scale.pixels))
    # times of day are marked at round ones
    origin = 0.0 if scale.begin >= EPOCH else scale.begin
    marks = []
    for number in range(math.ceil((scale.begin - origin) / step), int((scale.end - origin) // step) + 1):
        x = scale.at(origin + number * step)
        words = _time(number * step, scale.begin >= EPOCH)
        marks.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{height}" stroke="var(--line)"/>'
            f'<text x="{x + 3:.1f}" y="15" fill="var(--soft)" font-size="12">{words}</text>'
        )
    return "".join(marks)


def _time(seconds: int, of_day: bool) -> str:
    """Return a mark of the axis: a time of day (UTC), or the time since the first track, such as 15 s, 2:30 or 1:00:00."""
    if of_day:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%H:%M:%S")
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _exact(time_s: float) -> str:
    if time_s < EPOCH:
        return f"{time_s:.1f} s"
    return f"{datetime.fromtimestamp(time_s, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _number(name: str) -> tuple[int, str]:
    digits = name.rpartition("-")[2]
    return (int(digits) if digits.isdecimal() else -1, name)


def _short(name: str) -> str:
    return name.removeprefix("identity-")
