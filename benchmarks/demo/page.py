"""Write the demo's report as one self-contained HTML page without scripts. Computes no scores and reads no result file."""

from __future__ import annotations

import base64
import html
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.demo import figures
from benchmarks.demo.cameras import CAMERAS, Identified
from benchmarks.demo.rankings import Hit, RankedQuery
from benchmarks.demo.results import COLUMNS, Model, kept_heads, kept_tokens, score_change, token_total
from benchmarks.demo.style import STYLE
from benchmarks.stats.precisions import Group
from runtime.identities.lanes import lanes_svg

escape = html.escape


@dataclass(frozen=True)
class Contents:
    """What the page shows.

    `label` is a warning about the synthetic data, which stands at the top. `models` has this order: 1. the unpruned model in the
    plain form (as a standard exporter writes it); 2. the unpruned model in the folded form (with a cheaper, equivalent last block);
    3. the pruned model; then the pruned model in other precisions. `gallery_size` is (images, identities). `read_image` returns the
    JPEG bytes of an image by its name, such as `query/7001_c2s1_001000_00.jpg`. `token_map_image` is the name of the image on which
    the kept tokens are shown. `ranked_queries` are the queries whose nearest gallery images are shown. `occluded` maps the name of
    a model to its mAP on each group of queries; in the queries of one group, a similar share of the person is visible. `unoccluded`
    maps the name of a model to its mAP on all queries, rendered again with nothing in front of the person. `identified` is
    what `identify` said about the shipped sequence, or the reason why this step was left out. `commands` and `seconds` map the name of
    a step to its command line and its duration in seconds. `host` comes from `benchmarks.host.describe_host`, and `warnings` say
    what makes the times unreliable.
    """

    label: str
    models: Sequence[Model]
    ranked_queries: Sequence[RankedQuery]
    gallery_size: tuple[int, int]
    occluded: Mapping[str, Sequence[Group]]
    unoccluded: Mapping[str, Group]
    token_map_image: str
    read_image: Callable[[str], bytes]
    identified: Identified | str
    commands: Mapping[str, Sequence[str]]
    seconds: Mapping[str, float]
    host: Mapping[str, Any]
    warnings: Sequence[str]


def page(contents: Contents) -> str:
    """Return the whole page as the text of an HTML file."""
    sections = (_head, _table, _charts, _rankings, _cameras, _token_maps, _commands, _machine)
    body = "".join(section(contents) for section in sections)
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>reid-edge demo: pruned person re-identification</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def data_uri(jpeg: bytes) -> str:
    """Return the bytes of a JPEG file as a data URI, with which an HTML or SVG image element can show it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _head(contents: Contents) -> str:
    plain, unpruned, pruned, *_ = contents.models
    total = token_total(unpruned.shape)
    heads = _removed_share(kept_heads(pruned.shape), kept_heads(unpruned.shape))
    tokens = _removed_share(kept_tokens(pruned.shape, total), kept_tokens(unpruned.shape, total))
    tiles = [
        (f"{pruned.speed:.2f}×", "speed relative to the published form, on this CPU"),
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
        "<p class=lead>TransReID is a transformer that recognises partly hidden people across cameras. Here its attention maps "
        f"decide what is pruned: <b>{heads:.0%} of the attention heads</b> and <b>{tokens:.0%} of the tokens</b> are removed. "
        "The pruned model is then briefly fine-tuned, folded, exported to ONNX and measured, all on this machine.</p>"
        f"<p class=label>{escape(contents.label)}</p><div class=tiles>{cards}</div>"
    )


def _removed_share(pruned: Sequence[int], unpruned: Sequence[int]) -> float:
    return 1 - sum(pruned) / sum(unpruned)


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
        "<h2>What pruning gains and what it costs</h2>"
        f"<p>Compared with the published form, the pruned model runs {pruned.speed:.2f} times as fast and needs "
        f"{pruned.macs / plain.macs:.0%} of the multiply-adds. Its mAP {score_change(pruned.precision, plain.precision)} and its "
        f"R1 {score_change(pruned.rank1, plain.rank1)}. There are {plain.queries} queries; a single query "
        f"counts {100 / plain.queries:.1f} points of R1.</p>"
        f'<div class="card wide"><table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>'
        "<p class=soft><b>unpruned-plain</b> is the published form as a standard exporter writes it. <b>unpruned</b> is the same "
        f"model with an exactly folded last block: it needs {1 - folded.macs / plain.macs:.0%} fewer multiply-adds, and its mAP "
        f"{score_change(folded.precision, plain.precision)}. <b>pruned</b> is the pruned model, folded in the same way. "
        "<b>pruned-fp16</b> is a typed FP16 file for TensorRT that was checked for overflows. A CPU computes it in FP32, so its "
        "time does not predict the time on a GPU. <b>pruned-int8</b> has Linear layers in INT8 where the measured sensitivity "
        "allows it.</p>"
        "<p class=soft>GMAC are billions of multiply-adds per image. Times are measured with ONNX Runtime on the CPU at batch 1 "
        "with one thread, all models interleaved. Speed is the median ratio over the rounds, relative to the first row.</p>"
    )


def _swatch(name: str) -> str:
    return f'<i class="swatch {escape(name)}"></i>'


def _charts(contents: Contents) -> str:
    points = [
        figures.LatencyPoint(
            model.name, model.p50_ms, model.precision, f"{model.p50_ms:.2f} ms, R1 {model.rank1:.1%}"
        )
        for model in contents.models
        if model.name != "pruned-fp16"
    ]
    legend = "".join(f"<li>{_swatch(name)}{escape(name)}</li>" for name in contents.occluded)
    return (
        "<div class=two><section class=card><h2>What occlusion costs</h2>"
        "<p class=soft>Every query shows a person who is partly hidden. At the right, the same queries are rendered with nothing "
        f"in front. Bars are one standard error; n is the number of queries.</p><ul class=legend>{legend}</ul>"
        f"{figures.accuracy_by_visibility(contents.occluded, contents.unoccluded)}</section>"
        "<section class=card><h2>Accuracy against latency</h2>"
        "<p class=soft>Up and to the left is better. Folding makes the model faster at the same accuracy; pruning makes it "
        f"faster still.</p>{figures.accuracy_by_latency(points)}</section></div>"
    )


def _rankings(contents: Contents) -> str:
    images, people = contents.gallery_size
    cards = "".join(_ranking(query, contents.read_image) for query in contents.ranked_queries)
    return (
        "<h2>What the pruned model finds</h2>"
        f"<p>Each row shows a query at the left and the nearest of {images} gallery images of {people} people at the right. "
        "Gallery images of the query's person from the query's own camera are left out, as in the standard evaluation. "
        "<span class=right><b>✓</b></span> marks the same person and <span class=wrong><b>✗</b></span> another person. The camera "
        "and the cosine distance stand below each image.</p>"
        "<p class=soft>The queries were chosen by a fixed rule. All queries form four groups by the visible share of the person. "
        "From each group come the queries at the upper and at the lower quartile of average precision. The last row is the worst of "
        "all other queries: its first match has the highest rank number.</p>"
        f"<div class=rankings>{cards}</div>"
    )


def _ranking(query: RankedQuery, read_image: Callable[[str], bytes]) -> str:
    hits = "".join(_hit(hit, rank, read_image) for rank, hit in enumerate(query.hits, 1))
    return (
        f'<div class="card ranking"><figure class=query><img src="{data_uri(read_image(query.name))}" '
        f'alt="query, {query.visible:.0%} visible"><figcaption><b>{query.visible:.0%} visible</b>{query.role}<br>'
        f"camera {query.camid + 1}<br>first match: rank {query.first_match}</figcaption></figure>"
        f"<div class=hits>{hits}</div></div>"
    )


def _hit(hit: Hit, rank: int, read_image: Callable[[str], bytes]) -> str:
    kind, sign, meaning = ("right", "✓", "the same person") if hit.match else ("wrong", "✗", "another person")
    return (
        f'<figure class="hit {kind}"><img src="{data_uri(read_image(hit.name))}" alt="rank {rank}: {meaning}">'
        f"<figcaption><b>{sign}</b> cam {hit.camid + 1}<br>{hit.distance:.3f}</figcaption></figure>"
    )


def _cameras(contents: Contents) -> str:
    title = "<h2>Who is who across cameras</h2>"
    identified = contents.identified
    if isinstance(identified, str):
        return f"{title}<p>This step was left out: {escape(identified)}.</p>"
    return (
        f"{title}<p>{identified.tracks} tracks of {identified.people} synthetic people, in the {len(CAMERAS)} rendered videos of "
        f"data/sequence, became {identified.identities} identities with the features of pruned-int8. <b>{identified.right} of "
        f"{identified.tracks} tracks ({identified.right / identified.tracks:.0%}) have the right identity.</b> "
        f"{identified.people_around} people and {identified.identities_around} identities are in two cameras or more. The rate of "
        f"false matches that was asked for is {identified.rate:.0%}: so often may somebody new be taken for somebody known. The "
        f"threshold for it comes from {identified.pairs} pairs of tracks that are two people for certain, because both were seen at "
        "the same time.</p>"
        f'<div class="card lanes">{lanes_svg(identified.events)}</div>'
        "<p class=soft>A bar is a track, from its first to its last time. Bars with the same number and colour have one identity; "
        "grey bars are identities with a single track. The people are rendered, so it is known who they are. A track counts as right "
        "if most tracks of its person have its identity, and most tracks with this identity show its person. The tracks are the "
        "exact ones of the renderer; those of a tracker have gaps and switches.</p>"
    )


def _token_maps(contents: Contents) -> str:
    _, unpruned, pruned, *_ = contents.models
    shape, total = pruned.shape, token_total(pruned.shape)
    heads, all_heads, tokens = kept_heads(shape), kept_heads(unpruned.shape), kept_tokens(shape, total)
    uri = data_uri(contents.read_image(contents.token_map_image))
    size = (int(shape["height"]), int(shape["width"]))
    maps = []
    for number, block in enumerate(shape["blocks"]):
        title = f"block {number + 1}: {tokens[number]} of {total} tokens, {heads[number]} of {all_heads[number]} heads"
        token_map = figures.token_map(
            uri, size=size, stride=int(shape["stride"]), tokens=block["tokens"], title=title
        )
        maps.append(
            f"<figure>{token_map}<b>Block {number + 1}</b>{tokens[number]} of {total} tokens"
            f"{figures.head_dots(heads[number], all_heads[number])}{heads[number]} of {all_heads[number]} heads</figure>"
        )
    effect = (
        "skips the block and returns after it"
        if shape["mode"] == "bypass"
        else "provides no key and no value in the block"
    )
    branches = (
        " The two branches of the JPM replace the last block. They are never pruned, and are not shown."
    )
    last = branches if shape["jpm"] else ""
    return (
        "<h2>Where the pruned model looks</h2>"
        "<p>The maps show the tokens that each block keeps, drawn over one person. A covered patch is a pruned token, which "
        f"{effect}. The tokens were chosen once, from the attention over the training images, and are the same for every image. "
        f"This keeps every shape in the exported file static.{last}</p>"
        f"<p class=soft>Each token covers 16 × 16 pixels of the {size[1]} × {size[0]} crop, at a stride of {shape['stride']} "
        "pixels. It is drawn as the pixels that are nearest to its centre. The counts include the class token, which is always "
        "kept.</p>"
        f'<div class="card maps">{"".join(maps)}</div>'
    )


def _commands(contents: Contents) -> str:
    lines = "".join(
        f"<li><b>{escape(name)}</b><span>{contents.seconds[name]:.1f} s</span><code>python {escape(shlex.join(command))}</code></li>"
        for name, command in contents.commands.items()
    )
    total = sum(contents.seconds.values())
    return (
        f"<h2>The commands, {total:.0f} seconds in all</h2><p>The demo ran these commands. You can type them yourself, in this "
        f"order, in the folder of the project.</p><ol class='card commands'>{lines}</ol>"
    )


def _machine(contents: Contents) -> str:
    host = contents.host
    load = host.get("load_average")
    facts = {
        "processor": host["processor"],
        "cores": f"{host['usable_cores']} usable of {host['cores']}; threads for the times: {host['threads'] or 'all'}",
        "system": f"{host['system']} {host['machine']}",
        "load before timing": f"{load[0]:.2f}" if load else "unknown",
    }
    versions = {**contents.models[-1].tools, **host["tools"]}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in sorted(versions.items(), key=str))
    facts |= {f"{model.name}.onnx": f"sha256 {model.sha256}" for model in contents.models}
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    warnings = "".join(f"<p class=label>{escape(text)}</p>" for text in contents.warnings)
    return f"<h2>The machine</h2>{warnings}<div class=card><dl>{lines}</dl></div>"
