"""The page's files: no build step, no foreign host, nothing that a strict content security policy refuses."""

import re
from html.parser import HTMLParser

import pytest

from tests.fakes.page_service import PAGE

SCRIPTS = sorted(PAGE.glob("*.js"))
STYLES = sorted(PAGE.glob("*.css"))


class Tags(HTMLParser):
    """All tags of a document with their attributes, and the text inside scripts and styles."""

    def __init__(self):
        super().__init__()
        self.tags, self.inline = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.inline += data.strip()


def test_the_document_has_no_inline_script_or_style_and_names_only_files_beside_it():
    document = Tags()
    document.feed((PAGE / "index.html").read_text())
    assert document.inline == ""
    attributes = [(name, value) for _, attrs in document.tags for name, value in attrs.items()]
    assert not [name for name, _ in attributes if name == "style" or name.startswith("on")]
    named = [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]
    assert named and all((PAGE / value.removeprefix("/page/")).is_file() for value in named)
    assert {value.removeprefix("/page/") for value in named if value.endswith(".css")} == {
        path.name for path in STYLES
    }


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_module_builds_text_nodes_only_and_imports_only_modules_beside_it(path):
    text = path.read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|https?://(?!www\.w3\.org/2000/svg)",
        text,
    )
    assert not re.search(r"setAttribute\(\s*[\"']style", text)
    imported = re.findall(r"from \"([^\"]+)\"", text)
    assert all(name.startswith("./") and (PAGE / name).is_file() for name in imported)
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_a_style_sheet_loads_nothing(path):
    assert not re.search(r"url\(|@import|https?:", path.read_text())
