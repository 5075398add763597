"""All tests of the export share the exporter's traces."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def share_traces(shared_traces):
    """Before any other fixture of a module."""
