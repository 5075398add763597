"""Text of others on its way to a terminal: file names, keys, the messages of libraries. Knows no errors of ours."""

from __future__ import annotations

import re

# What a library colours its messages with (CSI), sets a title with (OSC), and the short forms of both.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]", re.DOTALL)
# The first part of a long message says what failed, the last part why.
_HEAD = 0.35
_GAP = " [...] "
LENGTH = 700


def printable(text: str) -> str:
    """The text on one line, with what a terminal cannot or must not be sent as backslash escapes."""
    whole = text.encode(errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in whole)


def reason_of(error: BaseException | str, length: int = LENGTH) -> str:
    """The message of a library on one printable line of at most `length` characters; of a longer one the middle is left out.

    Colours are dropped, line breaks become spaces. An exception without a message gives the name of its class.
    """
    text = _ESCAPES.sub("", str(error))
    text = printable(" ".join(text.split())) or ("" if isinstance(error, str) else type(error).__name__)
    return shortened(text, length)


def shortened(text: str, length: int) -> str:
    """The text in at most `length` characters; of a longer one the middle is left out."""
    if len(text) <= length:
        return text
    head = int((length - len(_GAP)) * _HEAD)
    tail = length - len(_GAP) - head
    return text[:head].rstrip() + _GAP + text[len(text) - tail :].lstrip()
