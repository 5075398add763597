"""What the Markdown pages hold: code blocks, command lines, links, headings. Runs nothing but the building of parsers."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("prune.py", "export_onnx.py", "bench.py")
PACKAGES = ("runtime", "prune", "export", "engines", "benchmarks", "tests")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^|\n)\n((?: {4}.*\n)+)")
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of `language`, in their order."""
    return [block for found, block in FENCE.findall(text) if found == language]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return FENCE.sub("", text)


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of every command in the fenced `sh` blocks and in the indented blocks, without what is redirected."""
    found = [*blocks(text, "sh"), *(block for block in INDENTED.findall(prose(text)))]
    for block in found:
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in lexer:
                if set(word) <= set(";&|"):
                    yield words
                    words = []
                else:
                    words.append(word)
            if words:
                yield words[: words.index(">")] if ">" in words else words


def program(words: list[str]) -> tuple[str, list[str]]:
    """(what runs, its arguments): "module:runtime", "script:bench.py", or the name of another program."""
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    name = Path(words[0]).name
    if name in ("accelerate", "torchrun") and "-m" in words:
        words = [name, *words[words.index("-m") :]]
    elif name not in ("python", "python3"):
        return name, words[1:]
    if words[1:2] == ["-m"]:
        return f"module:{words[2]}", words[3:]
    return f"script:{Path(words[1]).name}", words[2:]


class Built(BaseException):
    """Carries the parser of a command out of it, before the command does anything."""


@functools.cache
def parser_of(name: str) -> argparse.ArgumentParser | None:
    """The parser of "module:..." or "script:..." of this project; None where there is no such command."""
    kind, _, target = name.partition(":")

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Built(parser)

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        mock.patch.object(sys, "argv", [target]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            if kind == "script":
                runpy.run_path(str(ROOT / target), run_name="__main__")
            else:
                runpy.run_module(target, run_name="__main__")
        except Built as built:
            (parser,) = built.args
            assert isinstance(parser, argparse.ArgumentParser)
            return parser
        except (ImportError, OSError):
            return None
    return None


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of a parser and of its subcommands."""
    found = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= options(inner)
    return found


def parse_error(parser: argparse.ArgumentParser, arguments: list[str]) -> str:
    """What the parser says against `arguments`, or nothing."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            parser.parse_args(arguments)
        except SystemExit as end:
            return said.getvalue().strip().splitlines()[-1] if end.code else ""
    return ""


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of `page` whose file or heading does not exist."""
    broken = []
    for target in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            broken.append(target)
        elif anchor and anchor not in [slug(heading) for heading in HEADING.findall(prose(file.read_text()))]:
            broken.append(target)
    return broken
