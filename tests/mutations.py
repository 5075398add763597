"""Mutation check: `python -m tests.mutations` plants one fault at a time into a copy of the sources; the tests must fail.

The test that stands beside a fault runs on the unchanged sources first, and must pass there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "*.egg-info")


@dataclass(frozen=True)
class Fault:
    """`text` occurs exactly once in `file`. With `instead` in its place, `test` fails."""

    name: str
    file: str
    text: str
    instead: str
    test: str


FAULTS = (
    Fault(
        "sign of the entropy",
        "prune/scoring/scores.py",
        "torch.special.entr(attention)",
        "-torch.special.entr(attention)",
        "tests/prune/model/test_surgery.py::test_entropy_of_uniform_and_one_hot_maps",
    ),
    Fault(
        "off by one in the kept heads",
        "prune/model/surgery.py",
        "view[:, list(keep)]",
        "view[:, [head - 1 for head in keep]]",
        "tests/prune/model/test_surgery.py::test_removed_heads_are_those_whose_output_vanishes",
    ),
    Fault(
        "index of the bypass",
        "prune/model/block.py",
        "place.get(token, len(tokens) + token)",
        "place.get(token, len(tokens) + token - 1)",
        "tests/export/test_forms.py::test_folded_equals_plain",
    ),
    Fault(
        "axis of the weight scales",
        "export/int8/quantize.py",
        'axis = 0 if transposed or node.op_type == "Conv" else 1',
        'axis = 1 if transposed or node.op_type == "Conv" else 0',
        "tests/export/int8/test_quantize.py::test_features_stay_close_to_the_parent",
    ),
    Fault(
        "weight of the distance in re-ranking",
        "runtime/ranking/rerank.py",
        "row *= weight",
        "row *= 1 - weight",
        "tests/runtime/ranking/test_rerank.py::test_equals_the_dense_form",
    ),
    Fault(
        "images of the query's camera stay",
        "runtime/ranking/metrics.py",
        "return same[~same_camera], np.concatenate([junk, same[same_camera]])",
        "return same, junk",
        "tests/runtime/ranking/test_metrics.py::test_same_person_same_camera_is_removed",
    ),
    Fault(
        "order of the standard deviations",
        "runtime/images/preprocess.py",
        "np.asarray(spec.std, np.float32)",
        "np.asarray(spec.std[::-1], np.float32)",
        "tests/runtime/images/test_preprocess.py::test_equal_to_torchvision_resize_totensor_normalize",
    ),
    Fault(
        "neurons in the FLOPs",
        "prune/model/flops.py",
        "2 * mlp * (hidden or vit.hidden) * vit.width",
        "2 * mlp * vit.hidden * vit.width",
        "tests/prune/test_flops.py::test_narrower_mlps_and_removed_blocks_save_their_products_by_hand",
    ),
    Fault(
        "fold of the pixel mean",
        "export/folding/pixels.py",
        "_absorb(first, gain, -mean / std)",
        "_absorb(first, gain, -mean * std)",
        "tests/export/test_forms.py::test_folded_equals_plain",
    ),
    Fault(
        "learning rate multiplied at every step",
        "prune/training/optimiser.py",
        'group["base_lr"] * scale',
        'group["lr"] * scale',
        "tests/prune/training/test_loop.py::test_the_loss_goes_down_on_a_tiny_set_and_the_rate_in_use_is_the_schedules",
    ),
)


def refusal(root: Path, fault: Fault) -> str | None:
    """Return why `fault` cannot be planted in the sources below `root`, or None."""
    file, _, test = fault.test.partition("::")
    if not (root / file).is_file() or f"def {test}(" not in (root / file).read_text():
        return f"{fault.name}: there is no test {fault.test}; correct FAULTS in tests/mutations.py"
    count = (root / fault.file).read_text().count(fault.text) if (root / fault.file).is_file() else 0
    if count != 1:
        return f"{fault.name}: {fault.text!r} is {count} times in {fault.file}, not once; correct FAULTS in tests/mutations.py"
    return None


def run_tests(root: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Return pytest's exit status for `tests` below `root`, stopped at the first failure, and the name of the test that failed."""
    options = ["-x", "-q", "-rfE", "-p", "no:cacheprovider", "-m", "not full"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return done.returncode, failed[1] if failed else done.stdout.strip().rpartition("\n")[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Plant the faults; exit code 1 if one was not caught, 2 if one cannot be planted or the tests fail without it."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.split("\n")[0])
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only the faults with this word in their names"
    )
    words = parser.parse_args(argv).words
    faults = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    if refusals := [line for fault in faults if (line := refusal(ROOT, fault))]:
        print("\n".join(refusals), file=sys.stderr)
        return 2
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        status, failed = run_tests(copy, sorted({fault.test for fault in faults}))
        if status:
            print(f"without a fault, {failed} fails; mend it first", file=sys.stderr)
            return 2
        for fault in faults:
            source = (copy / fault.file).read_text()
            (copy / fault.file).write_text(source.replace(fault.text, fault.instead))
            status, failed = run_tests(copy, [fault.test])
            (copy / fault.file).write_text(source)
            survivors += status != 1
            verdict = f"caught by {failed}" if status == 1 else "NOT CAUGHT"
            print(f"{fault.name}, {fault.file}: {verdict}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
