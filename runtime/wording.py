"""Make text from outside this project, such as file names and messages of libraries, safe and short enough for a terminal."""

from __future__ import annotations

import re

# Escape sequences: colours (CSI), titles (OSC), and the short forms of both.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]", re.DOTALL)
# The share of a shortened message that its beginning gets. The beginning of a message says what failed, and the end says why.
_HEAD = 0.35
_GAP = " [...] "
LENGTH = 700


def printable(text: str) -> str:
    """Return the text with every unprintable character, such as a line break or a control character, as a backslash escape."""
    whole = text.encode(errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in whole)


def reason_of(error: BaseException | str, length: int = LENGTH) -> str:
    """Return a library's message as one printable line of at most `length` characters; the middle of a longer one is left out.

    Terminal colours are removed and line breaks become spaces. For an exception without a message, the line is its class name.
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
