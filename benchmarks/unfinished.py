"""Keep the results of a stopped measurement in a JSON document that is marked as incomplete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.console import print_json
from runtime.files.manifest import replacing
from runtime.stopping import Stopped, stopped

ROWS = Callable[[], dict[str, Any] | None]
NOTHING = "no result was complete yet; run the command again"


@contextmanager
def written(out: Path, rows: ROWS, *, go_on: str = "") -> Iterator[None]:
    """A context manager. If a signal stops its `with` block, the results so far are written beside `out`: to OUT.partial.json.

    The signal is SIGINT, SIGTERM or SIGHUP. `rows()` returns the results that are finished as a JSON object, or None if there are
    none. In the latter case, no file is written. In both cases, Stopped is raised, and its message ends with the text `go_on`,
    which says what a new run need not repeat. If the block ends normally, the partial file of an earlier run is removed.
    """
    path = out.with_suffix(f".partial{out.suffix}")
    try:
        yield
    except KeyboardInterrupt as error:
        stop, content = stopped(error), rows()
        kept = [go_on] if go_on else []
        if content is not None:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(content | _mark(stop), indent=1) + "\n")
            kept.insert(0, f"the complete results are in {path}")
        raise Stopped(stop.number, "; ".join(kept) or NOTHING) from None
    path.unlink(missing_ok=True)


@contextmanager
def printed(rows: ROWS) -> Iterator[None]:
    """A context manager. If a signal stops its `with` block, the results so far are printed as one JSON document.

    The signal is SIGINT, SIGTERM or SIGHUP. `rows()` returns the results that are finished as a JSON object, or None if there are
    none. In the latter case, nothing is printed. In both cases, Stopped is raised.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        stop, content = stopped(error), rows()
        if content is None:
            raise Stopped(stop.number, NOTHING) from None
        print_json(content | _mark(stop))
        raise Stopped(
            stop.number, "the complete results are printed in a document that is marked as incomplete"
        ) from None


def incomplete_line(made: Mapping[str, Any]) -> str | None:
    """Return a line that names the parts of a run that are missing in its JSON document `made`; None if nothing is missing."""
    if made.get("complete", True):
        return None
    return f"INCOMPLETE, stopped by {made['stopped']}; these parts were not measured: {', '.join(made['missing']) or 'none'}"


def _mark(stop: Stopped) -> dict[str, Any]:
    return {"complete": False, "stopped": stop.name}
