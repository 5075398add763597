"""Read the code blocks, command lines, links and headings of the Markdown pages. Runs only the code that builds parsers."""

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
    """Return the contents of the fenced code blocks of `language` in a Markdown text, in their order."""
    return [block for block_language, block in FENCE.findall(text) if block_language == language]


def prose(text: str) -> str:
    """Return a Markdown text without its fenced code blocks."""
    return FENCE.sub("", text)


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in the fenced `sh` blocks and in the indented blocks, without its redirection."""
    for block in [*blocks(text, "sh"), *INDENTED.findall(prose(text))]:
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
    """Return (program, arguments) of a command: the program is "module:runtime", "script:bench.py" or another name."""
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
    """Raised with the argument parser of a command when the command begins to parse, so that it does nothing else."""


@functools.cache
def parser_of(name: str) -> argparse.ArgumentParser | None:
    """Return the argument parser of a command of this project, "module:..." or "script:...", or None if it does not exist."""
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
    """Return the names of all options of a parser and of its subcommands."""
    found = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= options(inner)
    return found


def parse_error(parser: argparse.ArgumentParser, arguments: list[str]) -> str:
    """Return the parser's error message for `arguments`, or an empty text if it accepts them."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            parser.parse_args(arguments)
        except SystemExit as end:
            return said.getvalue().strip().splitlines()[-1] if end.code else ""
    return ""


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(page: Path, text: str) -> list[str]:
    """Return the relative links in the `text` of `page` whose file or heading does not exist."""
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
