"""Read the demo's numbers of each model from the output of its commands and from the manifests. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.files.manifest import read_manifest

COLUMNS = ("model", "GMAC", "MB", "mAP", "R1", "p50 ms", "images/s", "speed")


@dataclass(frozen=True)
class Model:
    """One exported model: multiply-adds, size in bytes, scores in 0..1, times of one image, and the manifest's shape.

    `speed` is the speed relative to the first model; `shape` is the architecture in JSON form.
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
    """Return the models of the step `bench`, in its order. `folder` holds their files.

    `speed` is the ratio that bench.py reports: a median over rounds that ran both models, which other load on the machine
    disturbs least.
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
    """Return the difference of two scores in 0..1 as a phrase: "falls by 6.9 points"."""
    difference = 100 * (after - before)
    if abs(difference) < 0.05:
        return "stays the same"
    return f"{'rises' if difference > 0 else 'falls'} by {abs(difference):.1f} points"


def kept_heads(shape: dict[str, Any]) -> list[int]:
    """Return the number of kept heads of each block."""
    return [len(block["heads"]) for block in shape["blocks"]]


def kept_tokens(shape: dict[str, Any], total: int) -> list[int]:
    """Return the number of kept tokens of each block, class token included; `total` is the number before pruning."""
    return [total if block["tokens"] is None else len(block["tokens"]) for block in shape["blocks"]]


def token_total(shape: dict[str, Any], patch: int = 16) -> int:
    """Return the number of tokens of the model before pruning: its patches and the class token."""
    rows, columns = ((shape[side] - patch) // shape["stride"] + 1 for side in ("height", "width"))
    return int(rows * columns + 1)
