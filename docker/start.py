"""Entry point of the images for GPUs: builds and verifies the engine of $REID_MODEL where it will run, then runs Python.

`$REID_MODEL` is an exported .onnx file in the /models volume with its manifest and check crops beside it; the engine lies there
too, so that later starts find it. `$REID_BUILD` are more words for `python -m engines build`, such as `--batch 1,8,32`. Without
`$REID_MODEL` nothing is built.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.check import load_check
from runtime.console import note
from runtime.errors import ArtifactError, guarded
from runtime.files.manifest import read_manifest
from runtime.stopping import run_apart

Run = Callable[[Sequence[str]], int]


def prepare(onnx: Path, extra: Sequence[str], run: Run, fits: Callable[[Path], bool]) -> int:
    """Make the engine of `onnx` usable here, with as little work as that takes; an exit status, 0 when it is.

    `run` runs `python -m engines` with the words given, `fits` says whether an engine may be loaded as it is. One that fits this
    machine and its model is left alone; one that only lacks its gate is verified; one of another machine, TensorRT or model
    is built anew. A failed gate or a missing GPU is no reason to build again.
    """
    engine = onnx.with_suffix(".engine")
    verify = ["verify", str(engine), "--onnx", str(onnx)]
    if engine.exists():
        if _made_from(engine, onnx) and fits(engine):
            return 0
        code = run(verify)
        if code != ArtifactError.code:
            return code
        note(f"{engine}: does not fit; it is built again")
    note(f"{engine}: building it takes minutes; later starts find it")
    return run(["build", str(onnx), "--out", str(engine), *extra]) or run(verify)


def _made_from(engine: Path, onnx: Path) -> bool:
    try:
        parent = json.loads(Path(f"{engine}.json").read_text()).get("parent")
        return bool(parent == read_manifest(onnx)["sha256"])
    except (OSError, ValueError):
        return False


def engines(words: Sequence[str]) -> int:
    """Run `python -m engines WORDS`; its exit status. Its output goes to stderr: stdout is the command's own."""
    return run_apart([sys.executable, "-m", "engines", *words], stdout=sys.stderr.fileno())[0]


def loadable(engine: Path) -> bool:
    """Whether the engine was built for this machine and passed its gate, judged without loading it."""
    from engines.doctor import doctor

    return not doctor.reasons_against_loading(engine, doctor.diagnose())


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Prepare the engine, then become `python ARGUMENTS`; returns only when the engine cannot be made."""
    words = list(sys.argv[1:] if argv is None else argv)
    if model := environment.get("REID_MODEL"):
        # what an engine is verified with; without it the minutes of the build are spent in vain
        load_check(Path(model), read_manifest(model))
        extra = shlex.split(environment.get("REID_BUILD", ""))
        if code := prepare(Path(model), extra, engines, loadable):
            return code
    os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    sys.exit(guarded(main))
