"""Entry point of the images for GPUs: build and verify the engine of $REID_MODEL on the machine that runs it, then run Python.

`$REID_MODEL` is an exported .onnx file in the /models volume, with its manifest and check crops beside it. The engine is stored
beside it too, so that later starts find it. `$REID_BUILD` holds more arguments for `python -m engines build`, such as
`--batch 1,8,32`. Without `$REID_MODEL`, nothing is built.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.checks.check_crops import load_check
from runtime.console import note
from runtime.entry import guarded
from runtime.errors import ArtifactError
from runtime.files.manifest import read_manifest
from runtime.stopping import run_apart

Run = Callable[[Sequence[str]], int]


def prepare(onnx: Path, extra: Sequence[str], run: Run, fits: Callable[[Path], bool]) -> int:
    """Make the engine of `onnx` usable on this machine with as little work as possible. Returns an exit status, 0 on success.

    `run` runs `python -m engines` with the given arguments, and `fits` says whether an engine may be loaded as it is. An engine
    that fits this machine and its model is kept. One that only lacks its gate is verified. One for another machine, TensorRT or
    model is built again. A failed gate or a missing GPU never leads to another build.
    """
    engine = onnx.with_suffix(".engine")
    verify = ["verify", str(engine), "--onnx", str(onnx)]
    if engine.exists():
        if _built_from(engine, onnx) and fits(engine):
            return 0
        code = run(verify)
        if code != ArtifactError.code:
            return code
        note(f"{engine}: the engine does not fit this machine or model; building it again")
    note(f"{engine}: the build takes minutes; later starts use the same engine")
    return run(["build", str(onnx), "--out", str(engine), *extra]) or run(verify)


def _built_from(engine: Path, onnx: Path) -> bool:
    try:
        parent = json.loads(Path(f"{engine}.json").read_text()).get("parent")
        return bool(parent == read_manifest(onnx)["sha256"])
    except (OSError, ValueError):
        return False


def engines(words: Sequence[str]) -> int:
    """Run `python -m engines WORDS` and return its exit status. Its output goes to stderr: stdout belongs to the command."""
    return run_apart([sys.executable, "-m", "engines", *words], stdout=sys.stderr.fileno())[0]


def loadable(engine: Path) -> bool:
    """Return whether the engine was built for this machine and passed its gate, without loading it."""
    from engines.doctor import doctor

    return not doctor.reasons_against_loading(engine, doctor.diagnose())


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Prepare the engine, then become `python ARGUMENTS`. Returns only when the engine cannot be built or verified."""
    words = list(sys.argv[1:] if argv is None else argv)
    if model := environment.get("REID_MODEL"):
        # verification needs the check crops: without them, the build would be in vain
        load_check(Path(model), read_manifest(model))
        extra = shlex.split(environment.get("REID_BUILD", ""))
        if code := prepare(Path(model), extra, engines, loadable):
            return code
    os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    sys.exit(guarded(main))
