"""Make text from outside this project safe and short for a terminal: file names, keys and the messages of libraries."""

from __future__ import annotations

import re

# Escape sequences: colours (CSI), titles (OSC), and the short forms of both.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]", re.DOTALL)
# The first part of a long message says what failed, the last part why.
_HEAD = 0.35
_GAP = " [...] "
LENGTH = 700


def printable(text: str) -> str:
    """Return the text on one line; characters that a terminal cannot or must not receive become backslash escapes."""
    whole = text.encode(errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in whole)


def reason_of(error: BaseException | str, length: int = LENGTH) -> str:
    """Return the message of a library on one printable line of at most `length` characters; the middle of a longer one is left out.

    Colours are dropped, line breaks become spaces. An exception without a message gives the name of its class.
    """
    text = _ESCAPES.sub("", str(error))
    text = printable(" ".join(text.split())) or ("" if isinstance(error, str) else type(error).__name__)
    return shortened(text, length)


def shortened(text: str, length: int) -> str:
    """Return the text in at most `length` characters; the middle of a longer one is left out."""
    if len(text) <= length:
        return text
    head = int((length - len(_GAP)) * _HEAD)
    tail = length - len(_GAP) - head
    return text[:head].rstrip() + _GAP + text[len(text) - tail :].lstrip()
