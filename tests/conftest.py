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
