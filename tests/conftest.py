"""What every test process needs: signals that work for the programs that tests start and interrupt, and shared exports."""

import os
import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores it, and so would everything that is started from here
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # so does everything below nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Files of a few long tests. They start first: at the end of a run, one worker would wait for the other to finish them.
LONG_FILES = (
    "tests/prune/test_golden.py",
    "tests/prune/budget_search/test_run.py",
    "tests/prune/cli/test_prune_resume.py",
    "tests/export/int8/test_quantize.py",
    "tests/prune/training/test_loop.py",
    "tests/export/test_equal_sizes.py",
)


def pytest_collection_modifyitems(items):
    """Put the tests of LONG_FILES first; with --no-loadscope-reorder, pytest-xdist keeps this order of files."""
    place = {name: index for index, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.fixture(scope="module")
def shared_traces(tmp_path_factory):
    """Exports of one form share one trace, which all workers of a run find in one folder."""
    from tests.fakes import traces

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "traces").mkdir(exist_ok=True)
    with traces.shared(folder / "traces"):
        yield
