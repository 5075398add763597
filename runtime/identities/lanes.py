"""Draw the events of identities as a picture (SVG) and a page (HTML): a lane for each camera, a bar for each track. Reads no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from runtime.identities.options import Event

WIDTH, LEFT, ROW, GAP, TOP = 1200, 96, 22, 14, 34
# Marks on the axis of time, in seconds.
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
STYLE = """
:root{color-scheme:light dark;--page:#f6f6f3;--ink:#1b1f24;--soft:#5d6670;--line:#dcddd7;--alone:#b9bdc2;--light:78%}
@media(prefers-color-scheme:dark){:root{--page:#121518;--ink:#e7e9ea;--soft:#9aa4ad;--line:#2f363c;--alone:#4b535b;--light:38%}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 ui-sans-serif,system-ui,"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1260px;margin:0 auto;padding:2rem 1.2rem 3rem}
h1{font-size:1.7rem;margin:0 0 .6rem}p{max-width:110ch;color:var(--soft);margin:.3rem 0 1rem}
.lanes{overflow-x:auto}svg{min-width:760px;width:100%;height:auto}
"""


def identities_now(events: Sequence[Event]) -> list[tuple[Event, str]]:
    """Return the events of tracks, each with the identity that it has after all merges."""
    merged: dict[str, str] = {}
    for event in events:
        if event.kind == "merge" and event.merged is not None:
            merged[event.merged] = event.identity

    def final(name: str) -> str:
        while name in merged:
            name = merged[name]
        return name

    return [(event, final(event.identity)) for event in events if event.kind == "track"]


def lanes_svg(events: Sequence[Event]) -> str:
    """Return an SVG with a lane for each camera, in which each track is a bar from its first to its last time.

    The bars of an identity with several tracks have its number and a colour of its own; those of the others are grey. The SVG uses the
    custom properties of STYLE for its colours.
    """
    tracks = [(event, name) for event, name in identities_now(events) if event.last_s is not None]
    if not tracks:
        return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 40"><text x="8" y="26">no tracks</text></svg>'
    begin = min(event.first_s or 0.0 for event, _ in tracks)
    end = max(event.last_s or 0.0 for event, _ in tracks)
    scale = (WIDTH - LEFT - 16) / max(end - begin, 1e-3)
    counts = Counter(name for _, name in tracks)
    shared = sorted((name for name, count in counts.items() if count > 1), key=_number)
    hues = {name: (place * 137.5) % 360 for place, name in enumerate(shared)}
    parts, y = [], TOP
    for camera in sorted(
        {event.camera for event, _ in tracks}, key=lambda camera: -1 if camera is None else camera
    ):
        rows: list[float] = []
        bars = sorted(
            ((event, name) for event, name in tracks if event.camera == camera),
            key=lambda pair: pair[0].first_s or 0.0,
        )
        lane = []
        for event, name in bars:
            first, last = event.first_s or 0.0, event.last_s or 0.0
            row = next((place for place, free in enumerate(rows) if free <= first), len(rows))
            rows[row : row + 1] = [last]
            lane.append(
                _bar(
                    event,
                    name,
                    hues.get(name),
                    (LEFT + (first - begin) * scale, y + row * ROW, (last - first) * scale),
                )
            )
        height = len(rows) * ROW
        parts.append(
            f'<text x="8" y="{y + height / 2 + 5:.0f}" font-weight="600">camera {camera}</text>{"".join(lane)}'
        )
        y += height + GAP
        parts.append(
            f'<line x1="0" x2="{WIDTH}" y1="{y - GAP / 2:.0f}" y2="{y - GAP / 2:.0f}" stroke="var(--line)"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" font-size="13" fill="var(--ink)" '
        f'aria-label="the tracks of each camera over time">{_axis(begin, end, scale, y)}{"".join(parts)}</svg>'
    )


def lanes_page(events: Sequence[Event]) -> str:
    """Return a page (HTML without scripts) with the lanes, and what they show in words."""
    tracks = identities_now(events)
    cameras: dict[str, set[int | None]] = {}
    for event, name in tracks:
        cameras.setdefault(name, set()).add(event.camera)
    several = sum(len(seen) > 1 for seen in cameras.values())
    text = (
        f"{len(tracks)} tracks, {len(cameras)} identities, {several} of them in several cameras. A bar is a track, from its first to "
        "its last time. The bars of one identity have the same number and colour; grey bars are people with a single track. Point at "
        "a bar for its details."
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>Identities</title><style>{STYLE}</style></head>'
        f"<body><main><h1>Identities across cameras</h1><p>{text}</p>"
        f'<div class="lanes">{lanes_svg(events)}</div></main></body></html>\n'
    )


def _bar(event: Event, name: str, hue: float | None, place: tuple[float, float, float]) -> str:
    x, y, width = place
    colour = "var(--alone)" if hue is None else f"hsl({hue:.0f} 65% var(--light))"
    details = (
        f"{name}, camera {event.camera}, track {event.track}: {event.first_s:.1f} s to {event.last_s:.1f} s"
    )
    details += "" if event.similarity is None else f", similarity {event.similarity:.2f}"
    details += ", late" if event.late else ""
    label = (
        ""
        if hue is None
        else f'<text x="{x + 4:.1f}" y="{y + ROW - 8:.1f}" font-size="12">{escape(_short(name))}</text>'
    )
    return (
        f'<g><title>{escape(details)}</title><rect x="{x:.1f}" y="{y + 2:.1f}" width="{max(width, 3):.1f}" height="{ROW - 4}" rx="4" '
        f'fill="{colour}"/>{label}</g>'
    )


def _axis(begin: float, end: float, scale: float, height: float) -> str:
    step = next((step for step in STEPS if (end - begin) / step <= 12), STEPS[-1])
    marks = []
    for number in range(int((end - begin) // step) + 1):
        x = LEFT + number * step * scale
        marks.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{height}" stroke="var(--line)"/>'
            f'<text x="{x + 3:.1f}" y="15" fill="var(--soft)" font-size="12">{number * step} s</text>'
        )
    return "".join(marks)


def _number(name: str) -> tuple[int, str]:
    digits = name.rpartition("-")[2]
    return (int(digits) if digits.isdecimal() else -1, name)


def _short(name: str) -> str:
    return name.removeprefix("identity-")
