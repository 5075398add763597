"""What the documents say holds: command lines parse, Python blocks run, links and paths exist."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.fakes.checked_model import write_checked_model
from tests.fakes.documents import (
    INLINE,
    PACKAGES,
    ROOT,
    SCRIPTS,
    blocks,
    broken_links,
    command_lines,
    options,
    parse_error,
    parser_of,
    program,
    prose,
)
from tests.fakes.tiny_model import SPEC, write_model

GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
DATA = [ROOT / "configs/README.md", *sorted(ROOT.glob("data/*_reid/*.md"))]
DATA += [ROOT / "data/demo/README.md", ROOT / "data/sequence/README.md"]
PAGES = [*GUIDES, *DATA, ROOT / "docker/README.md", *sorted(ROOT.glob("tests/data/*/README.md"))]
SHELL = {"cd", "cp", "mkdir", "curl"}
# options of programs that are not ours, which the prose names
FOREIGN_OPTIONS = {"--config_file", "--cpu", "--versionCompatible", "--config"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def complaint(words: list[str]) -> str:
    """What is wrong with a command line, or nothing."""
    name, arguments = program(words)
    if name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "" if set(arguments) <= set(targets) else "no such target"
    if name == "pip":
        extras = {extra for word in arguments for extra in re.findall(r"\w+", word) if "[" in word}
        return "" if extras <= known_extras() else f"no such extra: {sorted(extras - known_extras())}"
    if name in SHELL:
        return ""
    if name in ("ruff", "module:pytest", "pytest"):
        files = [word for word in arguments if word.endswith(".py")]
        missing = [word for word in files if not (ROOT / word).is_file()]
        return f"no such file: {missing}" if missing else ""
    if not is_ours(name):
        return "no command of this project"
    parser = parser_of(name)
    return "no such module or script" if parser is None else parse_error(parser, arguments)


def is_ours(name: str) -> bool:
    kind, _, target = name.partition(":")
    return target in SCRIPTS if kind == "script" else target.split(".")[0] in PACKAGES


def known_extras() -> set[str]:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return set(setup["options.extras_require"])


@pytest.mark.parametrize("page", [*GUIDES, *DATA], ids=name_of)
def test_every_command_line_parses(page):
    lines = list(command_lines(page.read_text()))
    complaints = {" ".join(words): complaint(words) for words in lines}
    assert not {line: words for line, words in complaints.items() if words}


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_commands_and_options_that_the_prose_names_exist(page):
    known, complaints = set(FOREIGN_OPTIONS), []
    for other in GUIDES:
        for words in command_lines(other.read_text()):
            if is_ours(program(words)[0]) and (parser := parser_of(program(words)[0])):
                known |= options(parser)
    for code in INLINE.findall(prose(page.read_text())):
        match = re.match(r"python (-m (?P<module>[\w.]+)|(?P<script>\w+\.py))", code)
        name = match and (f"module:{match['module']}" if match["module"] else f"script:{match['script']}")
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code))
        if name and is_ours(name):
            parser = parser_of(name)
            complaints += [code] if parser is None or not named <= options(parser) else []
        elif not name and not named <= known and "docker" not in code and "pip" not in code:
            complaints.append(code)
    assert not complaints


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("python -m runtime evaluate M.onnx --dta ROOT", "--dta"),
        ("python -m runtime evaluat M.onnx", "evaluat"),
        ("python bench.py M.onnx --device tpu", "tpu"),
        ("python -m benchmarks.table M.onnx --out t.json", "no such module"),
        ("python -m prune.flops --config", "--config"),
        ("python train.py", "no command"),
        ("make demos", "no such target"),
        ("pip install '.[cpus]'", "no such extra"),
        ("accelerate launch --multi_gpu -m prune.train --config C --out DIR --dta D", "--dta"),
    ],
)
def test_a_wrong_command_line_is_found(line, word):
    (words,) = command_lines(f"```sh\n{line}\n```\n")
    assert word in complaint(words)


def test_every_command_is_in_the_list():
    listed = (ROOT / "docs/cli.md").read_text()
    commands = {f"python {script}" for script in SCRIPTS}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            source = path.read_text()
            if path.name == "__main__.py":
                commands.add(f"python -m {module.removesuffix('.__main__')}")
            commands |= set(re.findall(r'prog="(python -m [\w.]+)"', source))
    # python bench.py is its documented name
    missing = {
        command for command in commands - {"python -m benchmarks.bench"} if f"`{command}" not in listed
    }
    assert len(commands) > 20 and not missing


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_every_python_block_runs_or_says_what_it_needs(page, tmp_path, monkeypatch):
    write_checked_model(tmp_path / "pruned.onnx", SPEC)
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "document"}
    for block in blocks(page.read_text(), "python"):
        code = compile(block, name_of(page), "exec")
        if not block.startswith("# needs "):
            exec(code, namespace)


def test_the_first_snippets_give_features(tmp_path, monkeypatch):
    write_model(tmp_path / "pruned.onnx")
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    seen = []
    for name in ("README.md", "docs/python-api.md"):
        namespace = {}
        exec(blocks((ROOT / name).read_text(), "python")[0], namespace)
        seen.append(namespace["features"])
    assert seen[0].shape == (1, 6) and (seen[0] == seen[1]).all()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_resolve(page):
    assert not broken_links(page, page.read_text())


@pytest.mark.parametrize("link", ["docs/no.md", "docs/cli.md#no-such-heading", "#nowhere"])
def test_a_broken_link_is_found(link):
    assert broken_links(ROOT / "README.md", f"[text]({link})") == [link]


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_paths_and_names_in_the_prose_exist(page):
    text = prose(page.read_text())
    top = "|".join((*PACKAGES, "configs", "docs"))
    missing = [
        path
        for path in re.findall(rf"`((?:{top})/[\w/.]+\.\w+)`", text)
        if not (ROOT / path).exists() and not re.search(r"NAME", path)
    ]
    for name, path in re.findall(r"`(\w+)`:?\s+(?:in|of)\s+`([\w/]+\.py)`", text):
        missing += [] if name in (ROOT / path).read_text() else [f"{name} in {path}"]
    assert not missing


def test_every_page_of_docs_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert not [page.name for page in ROOT.glob("docs/*.md") if f"(docs/{page.name})" not in readme]


def test_the_readme_fits_on_a_few_screens():
    assert 150 <= len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_tree_in_the_readme_names_every_folder_of_the_packages():
    (tree,) = blocks((ROOT / "README.md").read_text(), "")
    folders = {
        path.parent.name
        for package in PACKAGES[:-1]
        for path in (ROOT / package).glob("*/*.py")
        if path.parent.name != "__pycache__"
    }
    assert folders and not {folder for folder in folders if f"{folder}/" not in tree}
