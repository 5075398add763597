"""Make one model of the comparison beyond AMG: cut at AMG's cost, fine-tune, measure mAP, keep the model. Times nothing."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.study.context import Lab, open_lab
from benchmarks.study.plan import METHODS, TEACHER, Cell, matched, within
from benchmarks.study.scores import each
from benchmarks.study.trials import Job, budget_of, cell_settings, tuned, untuned_scores
from benchmarks.study.trials import cut as study_cut
from runtime.files.manifest import replacing

# level -> fractions of heads and tokens that AMG removes; the study's two, and one between them
LEVELS = {"h25_t25": (0.25, 0.25), "h33_t33": (0.33, 0.33), "h40_t40": (0.40, 0.40)}


@dataclass(frozen=True)
class Recipe:
    """What goes, in this order: `blocks` whole blocks by level; `heads` and `tokens`, shares of the level's fractions; then, of
    `match`, as much as meets AMG's cost: neurons (the lowest `within` the model, or as many in every block), tokens, or nothing.
    """

    words: str
    blocks: tuple[int, int, int] = (0, 0, 0)
    heads: float = 0.0
    tokens: float = 0.0
    match: str = "neurons"
    within: str = "model"


RECIPES = {
    "mlp_even": Recipe("MLP neurons, as many in every block", within="block"),
    "mlp": Recipe("MLP neurons, the lowest of all blocks"),
    "tokens_mlp": Recipe("AMG's tokens, then MLP neurons", tokens=1.0),
    "mix": Recipe("60 % of AMG's tokens, then MLP neurons", tokens=0.6),
    "heads_mlp": Recipe("AMG's heads, then MLP neurons", heads=1.0),
    "blocks_tokens": Recipe("whole blocks, then AMG's tokens", blocks=(1, 1, 2), match="tokens"),
    "blocks": Recipe("whole blocks", blocks=(2, 2, 3), match="nothing"),
}
# cells that the study makes too, in the same way: their models are timed here
STUDIED = ("amg", "random")


def settings_of(config: Any, cell: Cell) -> Any:
    """The configuration of a cell: its level's fractions, its seed, and the study's criteria, AMG's where it has no such method."""
    method = cell.method if cell.method in STUDIED else "amg"
    config = cell_settings(config, replace(cell, method=method, level="h25_t25" if cell.level else ""))
    if not cell.level:
        return config
    heads, tokens = LEVELS[cell.level]
    prune = replace(
        config.prune,
        heads=replace(config.prune.heads, fraction=heads),
        tokens=replace(config.prune.tokens, fraction=tokens),
    )
    return replace(config, prune=prune)


def words(method: str) -> str:
    """The method in words."""
    if method == TEACHER:
        return "teacher"
    return RECIPES[method].words if method in RECIPES else METHODS[method].words


def model_path(job: Job) -> Path:
    """Where a cell's model is kept."""
    return Path(job.setting.out) / "models" / f"{job.cell.name}.safetensors"


def cut(
    model: Any, recipe: Recipe, job: Job, settings: Any, batches: Any, loss: Any, *, target: int
) -> tuple[Any, dict[str, Any]]:
    """(the pruned model, {target, macs_folded, reached}); `model` is unchanged. `settings` is a PruneConfig."""
    from prune.config.settings import BlocksConfig, MlpConfig
    from prune.model.flops import macs_folded
    from prune.model.surgery import keep_heads, keep_neurons, keep_tokens, remove_blocks
    from prune.scoring.amg import (
        choose_heads,
        choose_tokens,
        head_count,
        measure_heads,
        measure_tokens,
        token_count,
    )
    from prune.scoring.thinning import choose_blocks, choose_neurons, measure_neurons

    heads, tokens = LEVELS[job.cell.level]
    blocks = recipe.blocks[list(LEVELS).index(job.cell.level)]
    if blocks:
        model = remove_blocks(model, choose_blocks(model, BlocksConfig(blocks), batches)[0])
    if recipe.heads:
        count = head_count(model, replace(settings.heads, fraction=recipe.heads * heads))
        values = measure_heads(model, settings, batches)
        model = keep_heads(model, choose_heads(values, count, settings.heads)[0])
    if recipe.tokens:
        count = token_count(model, replace(settings.tokens, fraction=recipe.tokens * tokens))
        values = measure_tokens(model, settings, batches, loss)
        model = keep_tokens(model, choose_tokens(values, model, count, settings.tokens)[0])
    if recipe.match == "neurons":
        mlp = MlpConfig(within=recipe.within)
        scores = measure_neurons(model, mlp, batches, loss)
        most = sum(max(len(score) - mlp.floor, 0) for score in scores)
        model = _nearest(
            lambda count: keep_neurons(model, choose_neurons(scores, count, mlp)[0]), target, most, step=8
        )
    elif recipe.match == "tokens":
        scores = measure_tokens(model, settings, batches, loss)
        most = sum(max(len(score) + 1 - settings.tokens.floor, 0) for score in scores)
        model = _nearest(
            lambda count: keep_tokens(model, choose_tokens(scores, model, count, settings.tokens)[0]),
            target,
            most,
            step=1,
        )
    macs = macs_folded(model.shape)
    return model, {"target": target, "macs_folded": macs, "reached": within(macs, target)}


def _nearest(pruned: Callable[[int], Any], target: int, most: int, *, step: int) -> Any:
    """`pruned(count)` whose macs_folded is nearest to `target`, of every `step`-th count up to `most`."""
    from prune.model.flops import macs_folded

    count = matched(lambda steps: macs_folded(pruned(steps * step).shape), target, most // step)
    return pruned(count * step)


def precisions(model: Any, lab: Lab, device: str) -> tuple[list[float], list[float]]:
    """(average precision, whether the first match is right) of every occluded query."""
    from prune.session import torch_session

    run = torch_session(model, device)
    found = each(*(lab.own[side].seen_by(run, lab.spec) for side in ("query", "gallery")))
    return found[0].tolist(), found[1].tolist()


def make_cell(job: Job) -> dict[str, Any]:
    """What a cell's line holds; its model is written beside."""
    from prune.config.load import load_config
    from prune.model.file import save_model
    from prune.model.flops import report
    from prune.scoring.inputs import scoring
    from prune.session import open_weights
    from prune.training.loop import make_accelerator

    started = time.monotonic()
    setting, cell, lab = job.setting, job.cell, open_lab(job.setting)
    known = cell.method in STUDIED
    config = settings_of(lab.config, cell)
    device = make_accelerator(config.train.precision, setting.device).device.type
    line: dict[str, Any] = {"method": cell.method, "level": cell.level, "seed": cell.seed, "asked": job.asked}
    model = copy.deepcopy(lab.student)
    if cell.method != TEACHER:
        batches = list(scoring(lab.items, lab.spec, config.prune, device)())
        target = budget_of(setting, cell)
        if known:
            model, line["budget"] = study_cut(model, config.prune, lambda: batches, lab.loss, target=target)
        else:
            assert target is not None
            recipe = RECIPES[cell.method]
            model, line["budget"] = cut(
                model, recipe, job, config.prune, lambda: batches, lab.loss, target=target
            )
        line["untuned"] = untuned_scores(model, lab, device)
        model = tuned(model, lab, config, setting)
    numbers = report(model.shape)
    line["macs"] = {key: value for key, value in numbers.items() if key.startswith("macs")}
    line |= {key: numbers[key] for key in ("params", "heads", "tokens", "hidden")}
    line["precisions"], line["firsts"] = precisions(model, lab, device)
    source, _ = open_weights(setting.weights, load_config(setting.config, setting.overrides), device="cpu")
    save_model(model, model_path(job), source.spec, parent=source.sha256, notes={"source": "beyond"})
    return line | {"seconds": round(time.monotonic() - started, 1)}


def run_cell(job: Job) -> str:
    """Make a cell and write its line, whole or not at all; returns its name."""
    line = make_cell(job)
    with replacing(job.path) as temporary:
        temporary.write_text(json.dumps(line, allow_nan=False) + "\n")
    return job.cell.name
