"""The documents' measured numbers come from the committed results, and from nowhere else."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.experiments.search.picture import picture as search
from benchmarks.study.beyond.chart import chart as beyond
from benchmarks.study.chart import chart as study
from runtime.entry import guarded
from runtime.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
# Published by others, and computed by `python -m prune.flops`: no result file holds them.
PUBLISHED = ("docs/pruning-study.md", "## Published results")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def pages() -> list[str]:
    return ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/*.md")))]


@pytest.mark.parametrize("name", tables.DOCUMENTS)
def test_a_document_says_what_the_results_say(name):
    assert tables.written(name, text_of(name), tables.RESULTS) == text_of(name), f"run: {tables.COMMAND}"


@pytest.mark.parametrize("name", pages())
def test_no_table_outside_the_written_ones_holds_measured_numbers(name):
    rest = tables.BLOCK.sub("", text_of(name))
    assert "<!--" not in rest, "a marker without its pair, or in a document that has no tables"
    if name == PUBLISHED[0]:
        before, published = rest.split(PUBLISHED[1])
        rest = before + published.split("\n## ", 1)[1]
    rows = [line for line in rest.splitlines() if line.startswith("|")]
    assert not [line for line in rows if re.search(r"\| *\d+\.\d+( %|x)? *\|", line)]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("README.md", r"(\| unpruned \(folded exactly\) \| )[\d.]+"),
        ("docs/performance.md", r"(\| folded, unpruned \| ONNX Runtime \| )[\d.]+"),
    ],
)
def test_a_changed_number_is_found_and_mended(name, number, tmp_path, monkeypatch, capsys):
    for document in tables.DOCUMENTS:
        (tmp_path / document).parent.mkdir(exist_ok=True)
        (tmp_path / document).write_text(text_of(document))
    wrong = re.sub(number, r"\g<1>9.999", text_of(name))
    assert wrong != text_of(name)
    (tmp_path / name).write_text(wrong)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    assert guarded(tables.main, ["--check"]) == 7
    assert name in capsys.readouterr().err and (tmp_path / name).read_text() == wrong
    assert guarded(tables.main, []) == 0
    assert all((tmp_path / document).read_text() == text_of(document) for document in tables.DOCUMENTS)


@pytest.mark.parametrize("change", [("<!-- demo: end -->\n", ""), ("demo: ", "dem: ")])
def test_a_lost_marker_is_one_line(change):
    with pytest.raises(ConfigError, match=r"README\.md.*markers"):
        tables.written("README.md", text_of("README.md").replace(*change), tables.RESULTS)


def test_results_hold_no_folder_of_a_machine():
    tables_of = {}
    for path in sorted(tables.RESULTS.rglob("*.json")):
        text = path.read_text()
        tables_of[path.relative_to(tables.RESULTS)] = re.findall(r'"/[a-z][^"]*/[^"]*"', text)
        json.loads(text)
    assert len(tables_of) >= len({file for _, file, _ in tables.TABLES.values()}) and not any(
        tables_of.values()
    ), tables_of


def test_every_result_file_is_used():
    used = {Path(file) for _, file, _ in tables.TABLES.values()}
    there = {path.relative_to(tables.RESULTS) for path in tables.RESULTS.rglob("*.json")}
    assert used <= there


def result(name):
    return json.loads((tables.RESULTS / name).read_text())


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("study.svg", lambda: study(result("study.json"))),
        (
            "xeon_2_cores/beyond.svg",
            lambda: beyond(result("xeon_2_cores/beyond.json"), result("xeon_2_cores/search.json")),
        ),
        ("xeon_2_cores/search.svg", lambda: search(result("xeon_2_cores/search.json"))),
        ("epyc_2_cores/search.svg", lambda: search(result("epyc_2_cores/search.json"))),
    ],
)
def test_a_committed_picture_is_what_its_results_draw(name, draw):
    assert (tables.RESULTS / name).read_text() == draw()


def test_every_committed_picture_is_held_to_its_results():
    (mark,) = test_a_committed_picture_is_what_its_results_draw.pytestmark
    there = {path.relative_to(tables.RESULTS).as_posix() for path in tables.RESULTS.rglob("*.svg")}
    assert there == {name for name, _ in mark.args[1]}
