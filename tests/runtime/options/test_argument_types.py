"""Numbers of command lines: what is accepted, what it becomes, and that the rest is refused."""

from argparse import ArgumentTypeError

import pytest

from runtime.options.argument_types import (
    batch_sizes,
    fraction,
    names,
    positive_integer,
    positive_integers,
    seconds,
    width_and_height,
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (positive_integer, "1", 1),
        (positive_integer, "32", 32),
        (positive_integers, "1", (1,)),
        (positive_integers, "8,1,8", (8, 1, 8)),
        (batch_sizes, "8,1,8", (8, 1)),
        (names, "a,b", ("a", "b")),
        (width_and_height, "960x540", (960, 540)),
        (seconds, "0.25", 0.25),
        (fraction, "0", 0.0),
        (fraction, "1", 1.0),
        (fraction, "0.01", 0.01),
    ],
)
def test_a_number_in_range_is_its_value(kind, text, value):
    assert kind(text) == value and type(kind(text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (positive_integer, ["0", "-1", "1.5", "two", "", "inf"]),
        (positive_integers, ["", "1,", "1,0", "1, x"]),
        (width_and_height, ["960", "x", "9x", "9x9x9", "-9x9", "9.5x9", "٣x9", "123456x9", ""]),
        (seconds, ["0", "-1", "nan", "inf", "long", ""]),
        (fraction, ["-0.1", "1.1", "nan", "inf", "half", ""]),
    ],
)
def test_anything_else_is_refused_and_the_advice_says_what_to_give(kind, texts):
    for text in texts:
        with pytest.raises(ArgumentTypeError, match="give"):
            kind(text)
