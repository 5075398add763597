"""The faults of `python -m tests.mutations` can be planted; whether the tests catch them is seen by running it."""

from tests.mutations import FAULTS, ROOT, refusal


def test_every_text_to_replace_occurs_exactly_once_and_every_test_exists():
    assert len(FAULTS) == 10 and [line for fault in FAULTS if (line := refusal(ROOT, fault))] == []
