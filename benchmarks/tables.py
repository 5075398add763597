"""Write the measured tables of README.md and docs/ from the files in benchmarks/results: `python -m benchmarks.tables [--check]`.

In a document, each table stands between `<!-- NAME: begin ... -->` and `<!-- NAME: end -->`. All its numbers come from one result
file. TABLES lists the document and the result file of each table.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.tables"))

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiments.adoption.report import files_table, inputs_table
from benchmarks.experiments.families.report import costs_table, counts_table, gates_table
from benchmarks.experiments.ray_extraction import report as ray_extraction
from benchmarks.gallery import report as gallery
from benchmarks.gallery.postgres import report as server
from benchmarks.identities import report as identities
from benchmarks.json_files import OBJECT, read_document
from benchmarks.labels import interval_text
from benchmarks.study.beyond.report import markdown as beyond
from benchmarks.study.report import markdown
from benchmarks.table_rows import (
    Document,
    base,
    demo,
    dimensions,
    frames,
    peak,
    pipeline,
    precision,
    predict,
    ranking,
    rtx,
    speed,
    table,
)
from benchmarks.tracker_tables import (
    tracker_crops,
    tracker_gates,
    tracker_speed,
    tracker_thresholds,
    trackers,
)
from runtime.errors import ConfigError, GateError
from runtime.files.manifest import replacing
from runtime.wording import reason_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
COMMAND = "python -m benchmarks.tables"
BLOCK = re.compile(r"<!-- (?P<name>\w+): begin .*?-->\n(?P<text>.*?)<!-- (?P=name): end -->\n", re.DOTALL)


def search(document: Document) -> str:
    """Return the table that compares a budget search with pruning the same fraction of every block.

    Each value is the mean over several runs of training with different random seeds, ± the standard deviation. With one run for
    each method, it is the value of this run.
    """
    rows = []
    for group in document["groups"]:
        scores = [_with_deviation(group[key], 100, 1) for key in ("mAP", "R1")]
        times = [_with_deviation(group[key], 1, 2) for key in ("predicted_ms", "measured_ms")]
        cells = [group["name"], f"{group['macs_folded']['mean'] / 1e9:.4f}", *scores, *times]
        rows.append([*cells, interval_text(group["against_first"])])
    names = ["method", "GMAC", "mAP", "R1", "predicted ms", "measured ms", "mAP against the first (95 %)"]
    return table(names, rows)


def _with_deviation(value: Document, scale: float, digits: int) -> str:
    """Return the mean of `value`, times `scale`, and its standard deviation if there is one."""
    mean = f"{scale * value['mean']:.{digits}f}"
    return mean if value["sd"] is None else f"{mean} ± {scale * value['sd']:.{digits}f}"


def study(document: Document) -> str:
    """Return the table of the pruning study, which compares the accuracy of pruning methods."""
    return markdown(document) + "\n"


def adopted_inputs(document: Document) -> str:
    """Return the table of what `export adopt` answers to right and wrong statements about the input of a foreign model."""
    return table(*inputs_table(document))


def adopted_files(document: Document) -> str:
    """Return the table of the accuracy, size and speed of foreign models and of the files that were adopted from them."""
    return table(*files_table(document))


def families(document: Document) -> str:
    """Return the table of the multiply-adds of every family of checkpoints, before and after pruning."""
    return table(*counts_table(document))


def families_costs(document: Document) -> str:
    """Return the table of the times and engines of one model of every family, before and after pruning."""
    return table(*costs_table(document))


def families_gates(document: Document) -> str:
    """Return the table of the losses of an epoch and of what the gates measured for one model of every family."""
    return table(*gates_table(document))


# Name of a table -> (document, result file below benchmarks/results, function that formats the table).
TABLES: dict[str, tuple[str, str, Callable[[Document], str]]] = {
    "demo": ("README.md", "epyc_2_cores/demo.json", demo),
    "speed": ("README.md", "xeon_2_cores/vit_base.json", speed),
    "base": ("docs/performance.md", "xeon_2_cores/vit_base.json", base),
    "peak": ("docs/performance.md", "xeon_2_cores/peak.json", peak),
    "pipeline": ("docs/performance.md", "xeon_2_cores/pipeline.json", pipeline),
    "frames": ("docs/performance.md", "epyc_2_cores/frames.json", frames),
    "ranking": ("docs/performance.md", "xeon_2_cores/ranking.json", ranking),
    "predict": ("docs/pruning-study.md", "xeon_2_cores/predict.json", predict),
    "search": ("docs/pruning-study.md", "epyc_2_cores/search.json", search),
    "search_small": ("docs/pruning-study.md", "xeon_2_cores/search.json", search),
    "beyond": ("docs/pruning-study.md", "xeon_2_cores/beyond.json", beyond),
    "ray_speed": ("docs/scale.md", "xeon_2_cores/ray_extraction.json", ray_extraction.speed),
    "ray_killed": ("docs/scale.md", "xeon_2_cores/ray_extraction.json", ray_extraction.deaths),
    "precision": ("docs/export.md", "epyc_2_cores/precision.json", precision),
    "dimensions": ("docs/export.md", "epyc_2_cores/dimensions.json", dimensions),
    "adopted_inputs": ("docs/adopt.md", "epyc_2_cores/adoption.json", adopted_inputs),
    "adopted_files": ("docs/adopt.md", "epyc_2_cores/adoption.json", adopted_files),
    "trackers": ("docs/trackers.md", "epyc_2_cores/trackers.json", trackers),
    "tracker_speed": ("docs/trackers.md", "epyc_2_cores/trackers.json", tracker_speed),
    "tracker_crops": ("docs/trackers.md", "epyc_2_cores/trackers.json", tracker_crops),
    "tracker_gates": ("docs/trackers.md", "epyc_2_cores/tracker_gates.json", tracker_gates),
    "tracker_thresholds": ("docs/trackers.md", "epyc_2_cores/tracker_thresholds.json", tracker_thresholds),
    "rtx": ("docs/tensorrt.md", "rtx_builds.json", rtx),
    "rtx_hybrid": ("docs/tensorrt.md", "epyc_2_cores/rtx_builds.json", rtx),
    "gallery_ingest": ("docs/gallery.md", "epyc_2_cores/gallery_ingest.json", gallery.ingest),
    "gallery_search": ("docs/gallery.md", "epyc_2_cores/gallery_search_100k.json", gallery.search),
    "gallery_search_1m": ("docs/gallery.md", "epyc_2_cores/gallery_search_1m.json", gallery.search),
    "gallery_search_3840": ("docs/gallery.md", "epyc_2_cores/gallery_search_3840.json", gallery.search),
    "gallery_kills": ("docs/gallery.md", "epyc_2_cores/gallery_kills.json", gallery.survival),
    "gallery_faults": ("docs/gallery.md", "epyc_2_cores/gallery_faults.json", gallery.faults),
    "gallery_thresholds": ("docs/gallery.md", "epyc_2_cores/gallery_thresholds.json", gallery.thresholds),
    "gallery_real": ("docs/gallery.md", "epyc_2_cores/gallery_thresholds_real.json", gallery.thresholds),
    "gallery_real_site": (
        "docs/gallery.md",
        "epyc_2_cores/gallery_thresholds_real_site.json",
        gallery.thresholds,
    ),
    "gallery_site": ("docs/gallery.md", "epyc_2_cores/gallery_site.json", gallery.site_gain),
    "gallery_refused": ("docs/gallery.md", "epyc_2_cores/gallery_site.json", gallery.site_refusals),
    "server_ingest": ("docs/scale.md", "xeon_2_cores/gallery_server_ingest.json", server.ingest),
    "server_ingest_folder": ("docs/scale.md", "xeon_2_cores/gallery_ingest.json", gallery.ingest),
    "server_kills": ("docs/scale.md", "xeon_2_cores/gallery_server_kills.json", server.survival),
    "server_erased": ("docs/scale.md", "xeon_2_cores/gallery_server_erased.json", server.erased),
    "server_search": ("docs/scale.md", "xeon_2_cores/gallery_server_search.json", server.search),
    "server_size": ("docs/scale.md", "xeon_2_cores/gallery_server_search.json", server.size),
    "server_growth": ("docs/scale.md", "xeon_2_cores/gallery_server_search.json", server.growth),
    "families": ("docs/checkpoints.md", "families.json", families),
    "families_costs": ("docs/checkpoints.md", "xeon_2_cores/families.json", families_costs),
    "families_gates": ("docs/checkpoints.md", "xeon_2_cores/families.json", families_gates),
    **{
        f"identity_{name}": ("docs/identities.md", "xeon_2_cores/identities.json", write)
        for name, write in identities.TABLES.items()
    },
    "study": ("docs/pruning-study.md", "study.json", study),
}
DOCUMENTS = tuple(dict.fromkeys(document for document, _, _ in TABLES.values()))


def written(name: str, text: str, results: Path) -> str:
    """Return the `text` of the document `name`, with all its tables rewritten from the result files in the folder `results`.

    Raises ConfigError if the markers in the text do not match the tables that TABLES lists for this document.
    """
    expected = sorted(table for table, (document, _, _) in TABLES.items() if document == name)
    marked = sorted(block["name"] for block in BLOCK.finditer(text))
    if marked != expected:
        raise ConfigError(
            f"{name}: the markers <!-- NAME: begin --> name the tables {marked}, but TABLES in benchmarks/tables.py lists {expected}; "
            "correct the markers"
        )

    def block(match: re.Match[str]) -> str:
        table = match["name"]
        _, file, write = TABLES[table]
        begin = f"<!-- {table}: begin ({COMMAND}, from benchmarks/results/{file}) -->"
        return f"{begin}\n{filled(results / file, write)}<!-- {table}: end -->\n"

    return BLOCK.sub(block, text)


def filled(path: Path, write: Callable[[Document], str]) -> str:
    """Return the table that `write` makes from the result file at `path`.

    Raises ConfigError if the file is damaged, or lacks a value that the table shows.
    """
    advice = "measure it again, or restore the committed file"
    document = read_document(path, OBJECT, expected="a result", advice=advice)
    try:
        return write(document)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise ConfigError(
            f"{path}: the file lacks a value that its table shows ({reason}); {advice}"
        ) from None


@dataclass(frozen=True)
class TablesOptions:
    """The command line. With `check`, the command compares the tables with the result files and changes no document."""

    check: bool


def parse(argv: Sequence[str] | None) -> TablesOptions:
    """Parse the arguments of the command line, `argv`, into options. None stands for those of this process."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change no document; exit with code 7 if a table is out of date"
    )
    return TablesOptions(parser.parse_args(argv).check)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the measured tables of README.md and docs/ from the result files in benchmarks/results.

    With --check, no document changes, and the exit code is 7 if a table is out of date.
    """
    options = parse(argv)
    for name in DOCUMENTS:
        before = (ROOT / name).read_text()
        after = written(name, before, RESULTS)
        if after == before:
            continue
        if options.check:
            raise GateError(
                f"{name}: a table differs from its result file in benchmarks/results; update it with {COMMAND}"
            )
        with replacing(ROOT / name) as temporary:
            temporary.write_text(after)
    return 0
