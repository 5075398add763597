"""Read the numbers of each model from the output of the demo's commands and from the models' manifests. Runs no command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.files.manifest import read_manifest

COLUMNS = ("model", "GMAC", "MB", "mAP", "R1", "p50 ms", "images/s", "speed")


@dataclass(frozen=True)
class Model:
    """One exported model and its numbers.

    `macs` are multiply-adds per image, and `size` is in bytes. `precision` (the mAP) and `rank1` are in 0..1, on `queries` queries.
    `p50_ms` is the median time of one image, `images_per_s` the throughput, and `speed` the speed relative to the first model.
    `sha256` is the hash of the model's file, `tools` has the versions of the programs that made it, and `shape` is its architecture
    in JSON form.
    """

    name: str
    macs: int
    size: int
    precision: float
    rank1: float
    queries: int
    p50_ms: float
    images_per_s: float
    speed: float
    sha256: str
    tools: dict[str, str]
    shape: dict[str, Any]

    @property
    def row(self) -> list[str]:
        """Return the cells of the model's table row, in the order of COLUMNS."""
        scores = [f"{self.precision:.1%}", f"{self.rank1:.1%}"]
        times = [f"{self.p50_ms:.2f}", f"{self.images_per_s:.0f}", f"{self.speed:.2f}x"]
        return [self.name, f"{self.macs / 1e9:.3f}", f"{self.size / 1e6:.1f}", *scores, *times]


def read_models(results: dict[str, Any], folder: Path) -> list[Model]:
    """Return the numbers of each model that bench.py timed, in the order of its report.

    `results` maps the name of a step to its JSON output, and `folder` has the models' files. `speed` is the time of the first model
    divided by that of the model. It is the median ratio that bench.py reports: the two times of a ratio come from the same round, so
    that other load on the machine affects both.
    """
    bench = results["bench"]
    ratios = {ratio["path"]: ratio["speed"] for ratio in bench["ratios"]}
    first = bench["models"][0]["latency_ms"]["p50"]
    models = []
    for timing in bench["models"]:
        path = folder / Path(timing["path"]).name
        manifest = read_manifest(path)
        scores, ratio = results[f"evaluate {path.stem}"], ratios.get(timing["path"])
        p50 = timing["latency_ms"]["p50"]
        models.append(
            Model(
                name=path.stem,
                macs=manifest["macs"][f"macs_{manifest['form']}"],
                size=path.stat().st_size,
                precision=scores["mAP"],
                rank1=scores["R1"],
                queries=scores["queries"],
                p50_ms=p50,
                images_per_s=timing["images_per_s"],
                speed=ratio["median"] if ratio else first / p50,
                sha256=timing["sha256"],
                tools=manifest["tools"],
                shape=manifest["shape"],
            )
        )
    return models


def score_change(after: float, before: float) -> str:
    """Describe how a score (0..1) changes from `before` to `after`, such as "falls by 6.9 points"."""
    difference = 100 * (after - before)
    if abs(difference) < 0.05:
        return "stays the same"
    return f"{'rises' if difference > 0 else 'falls'} by {abs(difference):.1f} points"


def kept_heads(shape: dict[str, Any]) -> list[int]:
    """Return the number of heads that each block of a model keeps. `shape` is the model's architecture in JSON form."""
    return [len(block["heads"]) for block in shape["blocks"]]


def kept_tokens(shape: dict[str, Any], total: int) -> list[int]:
    """Return the number of tokens that each block of a model keeps, including the class token.

    `shape` is the model's architecture in JSON form, and `total` the number of tokens of the unpruned model.
    """
    return [total if block["tokens"] is None else len(block["tokens"]) for block in shape["blocks"]]


def token_total(shape: dict[str, Any], patch: int = 16) -> int:
    """Return the number of tokens of the unpruned model: one for each patch of `patch` x `patch` pixels, and the class token.

    `shape` is the model's architecture in JSON form.
    """
    rows, columns = ((shape[side] - patch) // shape["stride"] + 1 for side in ("height", "width"))
    return int(rows * columns + 1)
