"""Write rankings as the text of one self-contained HTML page without scripts. Reads no file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from runtime.images.thumbnails import Thumbnail
from runtime.ranking.strips import Hit, Ranking
from runtime.wording import printable

# The page may load and run nothing, so that a file name in it can do no harm.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root{color-scheme:light dark;--page:#f6f6f3;--card:#fff;--ink:#1b1f24;--soft:#5d6670;--line:#dcddd7;--hole:#ecece7;
--right:#1a7f4b;--wrong:#c2410c;--open:#6b7280}
@media(prefers-color-scheme:dark){:root{--page:#121518;--card:#1a1e22;--ink:#e7e9ea;--soft:#9aa4ad;--line:#2f363c;--hole:#262b30;
--right:#4ade80;--wrong:#fb8b4b;--open:#8b949e}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 ui-sans-serif,system-ui,-apple-system,
"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1360px;margin:0 auto;padding:2rem 1.2rem 3rem}
h1{font-size:1.7rem;letter-spacing:-.02em;line-height:1.2;margin:0 0 .8rem}
h2{font-size:1rem;line-height:1.35;margin:0 0 .8rem;overflow-wrap:anywhere}
h2 span{font-weight:400;color:var(--soft);white-space:nowrap}
p{margin:.3rem 0;max-width:110ch;color:var(--soft)}
dl{display:flex;flex-wrap:wrap;gap:.5rem 1.8rem;margin:0 0 1rem}
dt{color:var(--soft);font-size:.8rem}
dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.4rem 1.4rem;list-style:none;margin:1rem 0 1.2rem;padding:0;font-size:.9rem}
.legend b{margin-right:.4em}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem;margin:0 0 1rem}
.row{display:grid;grid-template-columns:112px minmax(0,1fr);gap:1rem}
.hits{display:grid;grid-template-columns:repeat(auto-fill,minmax(86px,1fr));gap:.8rem .6rem;
border-left:1px solid var(--line);padding-left:1rem}
figure{margin:0;font-size:.8rem;line-height:1.4;font-variant-numeric:tabular-nums;min-width:0}
img,.hole{display:block;box-sizing:content-box;width:calc(100% - 8px);aspect-ratio:1/2;object-fit:contain;background:var(--hole);
border:4px solid transparent;border-radius:8px}
.hole{display:flex;align-items:center;text-align:center;color:var(--soft);font-size:.72rem;line-height:1.3;overflow:hidden;
overflow-wrap:anywhere}
figcaption{padding-top:.3rem}
figcaption span{display:block;color:var(--soft)}
.name{font:.68rem/1.35 ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere;max-height:4.1em;overflow:hidden}
.query img,.query .hole{border-color:var(--ink)}
.right img,.right .hole{border-color:var(--right)}.right b{color:var(--right)}
.wrong img,.wrong .hole{border-color:var(--wrong)}.wrong b{color:var(--wrong)}
.open img,.open .hole{border-color:var(--open)}.open b{color:var(--open)}
.later{position:relative}.later::before{content:"";position:absolute;left:-.5rem;top:0;bottom:0;border-left:3px dotted var(--soft)}
@media(max-width:640px){main{padding:1.2rem .7rem}.row{grid-template-columns:76px minmax(0,1fr);gap:.6rem}
.hits{grid-template-columns:repeat(auto-fill,minmax(72px,1fr));padding-left:.6rem}}
@media print{section{break-inside:avoid}}
"""
MARKS = {True: ("right", "✓"), False: ("wrong", "✗"), None: ("open", "?")}
LEGEND = {True: "the query's person", False: "somebody else", None: "person not known"}


@dataclass(frozen=True)
class Shot:
    """An image on the page: its path in the feature file, its 0-based camera (-1: unknown) and its thumbnail."""

    path: str
    camid: int
    thumbnail: Thumbnail


@dataclass(frozen=True)
class Contents:
    """The text around the rankings: a title, `facts` as (name, value), and `notes`, which are sentences about the page.

    `distance` is the name of the distance that is printed below each image, such as "cosine distance".
    """

    title: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    distance: str


def page(
    contents: Contents,
    rankings: Sequence[Ranking],
    query: Callable[[int], Shot],
    gallery: Callable[[int], Shot],
) -> str:
    """Return an HTML document with the text `contents` and the `rankings`, in their order.

    `query` and `gallery` are functions that take a row number of the query or gallery features and return the image of this row.
    """
    rows = "".join(_section(ranking, query(ranking.query), gallery) for ranking in rankings)
    facts = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in contents.facts
    )
    notes = "".join(f"<p>{_text(note)}</p>" for note in contents.notes)
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{POLICY}">'
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{_text(contents.title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{_text(contents.title)}</h1><dl>{facts}</dl>{notes}"
        f"{_legend(rankings, contents.distance)}{rows}</main></body></html>\n"
    )


def _legend(rankings: Sequence[Ranking], distance: str) -> str:
    verdicts = {hit.right for ranking in rankings for hit in ranking.hits}
    entries = "".join(
        f"<li class={MARKS[verdict][0]}><b>{MARKS[verdict][1]}</b>{text}</li>"
        for verdict, text in LEGEND.items()
        if verdict in verdicts
    )
    numbers = f"below each image: rank, {distance}, camera (camid, from 0), file"
    return f"<ul class=legend>{entries}<li>{_text(numbers)}</li></ul>"


def _section(ranking: Ranking, query: Shot, gallery: Callable[[int], Shot]) -> str:
    hits = []
    previous = 0
    for hit in ranking.hits:
        hits.append(_hit(hit, gallery(hit.index), later=hit.rank > previous + 1))
        previous = hit.rank
    return (
        f"<section><h2>{_text(os.path.basename(query.path))} {_score(ranking)}</h2><div class=row>"
        f"<figure class=query>{_image(query)}<figcaption><b>query</b><span>{_camera(query)}</span></figcaption></figure>"
        f"<div class=hits>{''.join(hits)}</div></div></section>"
    )


def _score(ranking: Ranking) -> str:
    if ranking.precision is None:
        return ""
    images = "image" if ranking.matches == 1 else "images"
    return (
        f"<span>· average precision {100 * ranking.precision:.1f} %</span> "
        f"<span>· first right image at rank {ranking.first_right}</span> "
        f"<span>· {ranking.matches} right {images} in the gallery</span>"
    )


def _hit(hit: Hit, shot: Shot, *, later: bool) -> str:
    kind, mark = MARKS[hit.right]
    # Rounding may put a distance just under 0.
    distance = max(hit.distance, 0.0)
    return (
        f'<figure class="{kind}{" later" * later}">{_image(shot)}<figcaption><b>{hit.rank} {mark}</b> {distance:.4f}'
        f"<span>{_camera(shot)}</span><span class=name>{_name(shot.path)}</span></figcaption></figure>"
    )


def _image(shot: Shot) -> str:
    name = _text(shot.path)
    if shot.thumbnail.uri is None:
        return f'<div class=hole title="{name}">no picture: {_text(shot.thumbnail.missing or "")}</div>'
    return f'<img src="{shot.thumbnail.uri}" alt="{name}" title="{name}">'


def _name(path: str) -> str:
    # Long names break at the ends of their parts.
    return _text(os.path.basename(path)).replace("_", "_<wbr>")


def _camera(shot: Shot) -> str:
    return "camera unknown" if shot.camid < 0 else f"camera {shot.camid}"


def _text(text: str) -> str:
    """Escape text for an element or a quoted attribute; bytes that are not UTF-8 and control characters become printable."""
    return escape(printable(text))
