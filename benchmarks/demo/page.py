"""The demo's page: one self-contained HTML file without scripts. Computes nothing; every number arrives ready."""

from __future__ import annotations

import base64
import html
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.demo import figures
from benchmarks.demo.evidence import Hit, Strip
from benchmarks.demo.results import COLUMNS, Model, all_tokens, kept_heads, kept_tokens, points
from benchmarks.demo.style import STYLE
from benchmarks.stats.precisions import Group

escape = html.escape


@dataclass(frozen=True)
class Contents:
    """What the page shows. `models` are plain, unpruned and pruned, in this order, then the pruned one in other precisions.

    `picture` gives the JPEG bytes of a name such as `query/7001_c2s1_001000_00.jpg`; `person` is the name of the one under the
    token maps. `series` and `twins` map a model's name to its mAP by visible share and on the unoccluded twins. `host` is
    `benchmarks.host.describe_host`'s answer, `warnings` what makes the times doubtful.
    """

    label: str
    models: Sequence[Model]
    strips: Sequence[Strip]
    gallery: tuple[int, int]
    series: Mapping[str, Sequence[Group]]
    twins: Mapping[str, Group]
    person: str
    picture: Callable[[str], bytes]
    commands: Mapping[str, Sequence[str]]
    seconds: Mapping[str, float]
    host: Mapping[str, Any]
    warnings: Sequence[str]


def page(contents: Contents) -> str:
    """The whole document."""
    body = "".join(part(contents) for part in (_head, _table, _charts, _strips, _maps, _commands, _machine))
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>reid-edge demo: pruned person re-identification</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def data_uri(jpeg: bytes) -> str:
    """JPEG bytes as a URI that an image element shows."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _head(contents: Contents) -> str:
    plain, whole, pruned, *_ = contents.models
    every = all_tokens(whole.shape)
    heads = _share_gone(kept_heads(pruned.shape), kept_heads(whole.shape))
    tokens = _share_gone(kept_tokens(pruned.shape, every), kept_tokens(whole.shape, every))
    tiles = [
        (f"{pruned.speed:.2f}×", "as fast as the published form, on this CPU"),
        (
            f"{1 - pruned.macs / plain.macs:.0%}",
            f"fewer multiply-adds: {_gmac(plain)} to {_gmac(pruned)} GMAC",
        ),
        (f"{pruned.precision:.1%}", f"mAP after pruning, {plain.precision:.1%} before"),
        (f"{pruned.rank1:.1%}", f"R1 after pruning, {plain.rank1:.1%} before"),
    ]
    cards = "".join(
        f'<div class="card tile"><b>{value}</b><span>{text}</span></div>' for value, text in tiles
    )
    return (
        "<p class=kicker>reid-edge · make demo</p>"
        f"<h1>Person re‑identification, pruned: {pruned.speed:.2f} times as fast</h1>"
        "<p class=lead>A TransReID transformer that recognises partly hidden people across cameras, pruned by its attention "
        f"maps: <b>{heads:.0%} of the attention heads</b> and <b>{tokens:.0%} of the tokens</b> removed, fine-tuned "
        "briefly, folded, exported to ONNX and measured, all on this machine.</p>"
        f"<p class=label>{escape(contents.label)}</p><div class=tiles>{cards}</div>"
    )


def _share_gone(pruned: Sequence[int], whole: Sequence[int]) -> float:
    return 1 - sum(pruned) / sum(whole)


def _gmac(model: Model) -> str:
    return f"{model.macs / 1e9:.3f}"


def _table(contents: Contents) -> str:
    plain, folded, pruned, *_ = contents.models
    header = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = "".join(
        f"<tr><td>{_swatch(model.name)}{escape(model.row[0])}</td>"
        + "".join(f"<td>{escape(cell.replace('x', '×'))}</td>" for cell in model.row[1:])
        + "</tr>"
        for model in contents.models
    )
    return (
        "<h2>What pruning gave and what it cost</h2>"
        f"<p>Against the published form, the pruned model runs {pruned.speed:.2f} times as fast and does "
        f"{pruned.macs / plain.macs:.0%} of the multiply-adds; mAP {points(pruned.precision, plain.precision)} and R1 "
        f"{points(pruned.rank1, plain.rank1)} ({plain.queries} queries: one of them is {100 / plain.queries:.1f} points of "
        "R1).</p>"
        f'<div class="card wide"><table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>'
        "<p class=soft><b>unpruned-plain</b> is the published form as an exporter writes it. <b>unpruned</b> is the same model "
        f"with its last block folded exactly: {1 - folded.macs / plain.macs:.0%} fewer multiply-adds, mAP "
        f"{points(folded.precision, plain.precision)}. <b>pruned</b> is that and pruned. GMAC: billions of multiply-adds a "
        "picture. <b>pruned-fp16</b> is typed FP16 for TensorRT, all of it checked for overflows; a CPU computes it in FP32, so "
        "its time says nothing of a GPU. <b>pruned-int8</b> has its Linear layers in INT8, where the measured sensitivity "
        "allows it. Times: batch 1, one thread, all models interleaved, ONNX Runtime on the CPU; speed is the median over "
        "rounds, relative to the first row.</p>"
    )


def _swatch(name: str) -> str:
    return f'<i class="swatch {escape(name)}"></i>'


def _charts(contents: Contents) -> str:
    spots = [
        figures.Spot(
            model.name, model.p50_ms, model.precision, f"{model.p50_ms:.2f} ms, R1 {model.rank1:.1%}"
        )
        for model in contents.models
        if model.name != "pruned-fp16"
    ]
    legend = "".join(f"<li>{_swatch(name)}{escape(name)}</li>" for name in contents.series)
    return (
        "<div class=two><section class=card><h2>What occlusion costs</h2>"
        "<p class=soft>Every query stands behind something. Its twin is the same picture with nothing in front. Bars: one "
        f"standard error.</p><ul class=legend>{legend}</ul>"
        f"{figures.accuracy_by_visibility(contents.series, contents.twins)}</section>"
        "<section class=card><h2>Accuracy against latency</h2>"
        "<p class=soft>Up and to the left is better. Folding moves the model left at the same accuracy; pruning "
        f"moves it further.</p>{figures.accuracy_by_latency(spots)}</section></div>"
    )


def _strips(contents: Contents) -> str:
    pictures, people = contents.gallery
    cards = "".join(_strip(strip, contents.picture) for strip in contents.strips)
    return (
        "<h2>What the pruned model finds</h2>"
        f"<p>On the left a query, on the right its nearest of {pictures} gallery pictures of {people} people. Pictures of the "
        "query's person by the query's own camera are left out, as the protocol asks. "
        "<span class=right><b>✓</b></span> the same person, <span class=wrong><b>✗</b></span> somebody else; below: camera and "
        "cosine distance.</p>"
        "<p class=soft>How they were chosen: the queries in four groups by how much of the person is visible; of each group the "
        "query at the upper and the one at the lower quartile of average precision, whatever their outcome. The last is the "
        "worst of all others: its first right picture comes latest.</p>"
        f"<div class=strips>{cards}</div>"
    )


def _strip(strip: Strip, picture: Callable[[str], bytes]) -> str:
    hits = "".join(_hit(hit, rank, picture) for rank, hit in enumerate(strip.hits, 1))
    return (
        f'<div class="card strip"><figure class=query><img src="{data_uri(picture(strip.name))}" '
        f'alt="query, {strip.visible:.0%} visible"><figcaption><b>{strip.visible:.0%} visible</b>{strip.role}<br>'
        f"camera {strip.camid + 1}<br>first hit: rank {strip.first_right}</figcaption></figure><div class=hits>{hits}</div></div>"
    )


def _hit(hit: Hit, rank: int, picture: Callable[[str], bytes]) -> str:
    kind, sign, words = ("right", "✓", "the same person") if hit.right else ("wrong", "✗", "somebody else")
    return (
        f'<figure class="hit {kind}"><img src="{data_uri(picture(hit.name))}" alt="rank {rank}: {words}">'
        f"<figcaption><b>{sign}</b> cam {hit.camid + 1}<br>{hit.distance:.3f}</figcaption></figure>"
    )


def _maps(contents: Contents) -> str:
    _, whole, pruned, *_ = contents.models
    shape, every = pruned.shape, all_tokens(pruned.shape)
    heads, all_heads, tokens = kept_heads(shape), kept_heads(whole.shape), kept_tokens(shape, every)
    uri = data_uri(contents.picture(contents.person))
    size = (int(shape["height"]), int(shape["width"]))
    drawn = []
    for number, block in enumerate(shape["blocks"]):
        title = f"block {number + 1}: {tokens[number]} of {every} tokens, {heads[number]} of {all_heads[number]} heads"
        picture = figures.token_map(
            uri, size=size, stride=int(shape["stride"]), tokens=block["tokens"], title=title
        )
        drawn.append(
            f"<figure>{picture}<b>Block {number + 1}</b>{tokens[number]} of {every} tokens"
            f"{figures.head_dots(heads[number], all_heads[number])}{heads[number]} of {all_heads[number]} heads</figure>"
        )
    goes = (
        "skips the block and comes back after it"
        if shape["mode"] == "bypass"
        else "gives no key and no value in the block"
    )
    branches = " The JPM's two branches stand for the last block; they are never pruned and not shown."
    last = branches if shape["jpm"] else ""
    return (
        "<h2>Where the pruned model looks</h2>"
        f"<p>The tokens that each block keeps, over one person; a veiled token {goes}. The choice was made once, from attention "
        "over the training pictures, and is the same for every picture: that keeps every shape in the exported file static."
        f"{last}</p><p class=soft>Each token sees 16 × 16 pixels of {size[1]} × {size[0]}, one every {shape['stride']}; it is "
        "drawn as the pixels nearest to its centre. The class token always stays and is counted.</p>"
        f'<div class="card maps">{"".join(drawn)}</div>'
    )


def _commands(contents: Contents) -> str:
    lines = "".join(
        f"<li><b>{escape(name)}</b><span>{contents.seconds[name]:.1f} s</span><code>python {escape(shlex.join(command))}</code></li>"
        for name, command in contents.commands.items()
    )
    total = sum(contents.seconds.values())
    return (
        f"<h2>Every command, {total:.0f} seconds in all</h2><p>This page is made by commands that you can type, in this order, "
        f"in the project's folder.</p><ol class='card commands'>{lines}</ol>"
    )


def _machine(contents: Contents) -> str:
    host = contents.host
    load = host.get("load_average")
    facts = {
        "processor": host["processor"],
        "cores": f"{host['usable_cores']} usable of {host['cores']}; timed on {host['threads'] or 'all'}",
        "system": f"{host['system']} {host['machine']}",
        "load before timing": f"{load[0]:.2f}" if load else "not known",
    }
    versions = {**contents.models[-1].tools, **host["tools"]}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in sorted(versions.items(), key=str))
    facts |= {f"{model.name}.onnx": f"sha256 {model.sha256}" for model in contents.models}
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    doubts = "".join(f"<p class=label>{escape(text)}</p>" for text in contents.warnings)
    return f"<h2>The machine</h2>{doubts}<div class=card><dl>{lines}</dl></div>"
