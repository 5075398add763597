"""README's measured numbers come from the committed results, and from nowhere else."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import readme
from runtime.errors import ConfigError, guarded

TEXT = readme.README.read_text()


def outside(text: str) -> str:
    """The README without its written blocks."""
    return readme.BLOCK.sub("", text)


def test_the_readme_says_what_the_results_say():
    assert readme.written(TEXT, readme.RESULTS) == TEXT, f"run: {readme.COMMAND}"


def test_no_table_outside_the_written_ones_holds_measured_numbers():
    published = outside(TEXT).split("## Published results")[1].split("\n## ")[0]
    rest = outside(TEXT).replace(published, "")
    rows = [line for line in rest.splitlines() if line.startswith("|")]
    assert rows and not [line for line in rows if re.search(r"\| *\d+\.\d+( %|x)? *\|", line)]


def test_a_changed_number_is_found_and_mended(tmp_path, monkeypatch, capsys):
    copy = tmp_path / "README.md"
    wrong = re.sub(r"(\| unpruned \(folded exactly\) \| )[\d.]+", r"\g<1>9.999", TEXT)
    assert wrong != TEXT
    copy.write_text(wrong)
    monkeypatch.setattr(readme, "README", copy)
    assert guarded(readme.main, ["--check"]) == 7
    assert "python -m benchmarks.readme" in capsys.readouterr().err and copy.read_text() == wrong
    assert guarded(readme.main, []) == 0 and copy.read_text() == TEXT


@pytest.mark.parametrize("change", [("<!-- demo: end -->\n", ""), ("demo: ", "dem: ")])
def test_a_lost_marker_is_one_line(change):
    with pytest.raises(ConfigError, match="mend its markers"):
        readme.written(TEXT.replace(*change), readme.RESULTS)


def test_results_hold_no_folder_of_a_machine():
    found = {}
    for path in sorted(readme.RESULTS.rglob("*.json")):
        text = path.read_text()
        found[path.name] = re.findall(r'"/[a-z][^"]*/[^"]*"', text)
        json.loads(text)
    assert len(found) >= len(readme.TABLES) and not any(found.values()), found


def test_every_result_file_is_used():
    used = {Path(file) for file, _ in readme.TABLES.values()}
    there = {path.relative_to(readme.RESULTS) for path in readme.RESULTS.rglob("*.json")}
    assert used <= there
