"""What a library says reaches a terminal on one printable line, and its end stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.entry import guarded
from runtime.errors import ConfigError
from runtime.wording import printable, reason_of

ANY = st.text(st.characters() | st.sampled_from("\x1b[]mM;0189\x07\\\n\t\u202e"))


@given(ANY, st.integers(40, 200))
def test_reasons_are_short_and_printable(text: str, length: int) -> None:
    reason = reason_of(text, length)
    assert reason.isprintable()
    assert len(reason) <= length


@given(ANY)
def test_printable_text_is_left_alone_and_other_text_is_escaped(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


def test_colours_are_dropped_and_lines_joined() -> None:
    assert (
        reason_of(RuntimeError("\x1b[1;31mfailed\x1b[0m:\n\t no \x1b]0;title\x07file")) == "failed: no file"
    )


def test_start_and_end_of_a_long_message_stay() -> None:
    reason = reason_of("FAIL : Load model from " + "a/long/path/" * 100 + " max supported IR version: 10")
    assert reason.startswith("FAIL : Load model")
    assert reason.endswith("max supported IR version: 10")


def test_an_exception_without_a_message_gives_its_name() -> None:
    assert reason_of(AssertionError()) == "AssertionError"
    assert reason_of("") == ""


def test_names_of_files_are_told_apart() -> None:
    names = ["a\nb", "a b", "a\x1b[31mb", "a\\nb", "\udcff"]
    assert len({printable(name) for name in names[:3]}) == 3


def test_a_refusal_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: object = None) -> int:
        raise ConfigError("a\x1b[31m\nb\udcff.jpg\x9b: \u202egone; say so")

    assert guarded(main) == 2
    error = capsys.readouterr().err
    assert error.endswith("\n") and error[:-1].isprintable()
    assert error.startswith("error[2] a")
