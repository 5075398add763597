"""Run one trial of `benchmarks.study.beyond`: prune a model to AMG's cost, fine-tune, score and save it. Measures no time."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.study.beyond.recipes import LEVELS, RECIPES, STUDIED, Recipe
from benchmarks.study.context import Context, open_context
from benchmarks.study.plan import TEACHER, Trial, meets_budget, nearest_count
from benchmarks.study.scores import per_query_scores
from benchmarks.study.trials import (
    Job,
    budget_of,
    fine_tuned,
    prune_to_budget,
    trial_settings,
    untuned_scores,
)
from runtime.files.manifest import replacing


def beyond_settings(config: Any, trial: Trial) -> Any:
    """Return the configuration with which a trial prunes and fine-tunes: a copy of `config` with the settings of the trial.

    These are the trial's seed, the fractions of heads and tokens to remove at its level, and the criteria by which its method scores
    heads and tokens. A method that `benchmarks.study` does not have uses the criteria of AMG.
    """
    method = trial.method if trial.method in STUDIED else "amg"
    config = trial_settings(config, replace(trial, method=method, level="h25_t25" if trial.level else ""))
    if not trial.level:
        return config
    heads, tokens = LEVELS[trial.level]
    prune = replace(
        config.prune,
        heads=replace(config.prune.heads, fraction=heads),
        tokens=replace(config.prune.tokens, fraction=tokens),
    )
    return replace(config, prune=prune)


def model_path(job: Job) -> Path:
    """Return the path of the file to which a trial saves its model, a model.safetensors."""
    return Path(job.options.out) / "models" / f"{job.trial.name}.safetensors"


def prune_by_recipe(
    model: Any, recipe: Recipe, job: Job, settings: Any, batches: Any, loss: Any, *, target: int
) -> tuple[Any, dict[str, Any]]:
    """Prune a copy of `model` by `recipe` to a cost of `target` multiply-adds, and return (model, {target, macs_folded, reached}).

    `macs_folded` is the cost of the pruned model, and `reached` says whether it meets the target (see `meets_budget`). The level is
    that of `job`, and `settings` is a PruneConfig. `batches()` returns batches (images, labels, camera_ids) of training images, on
    which blocks, heads, tokens and neurons are scored. `loss(model, images, labels, camera_ids)` returns the scalar whose gradient
    scores tokens and neurons.
    """
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

    heads, tokens = LEVELS[job.trial.level]
    blocks = recipe.blocks[list(LEVELS).index(job.trial.level)]
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
    macs = macs_folded(model.architecture)
    return model, {"target": target, "macs_folded": macs, "reached": meets_budget(macs, target)}


def _nearest(pruned: Callable[[int], Any], target: int, most: int, *, step: int) -> Any:
    """Return the model `pruned(count)` whose macs_folded are nearest to `target`. The count is a multiple of `step` up to `most`."""
    from prune.model.flops import macs_folded

    count = nearest_count(lambda steps: macs_folded(pruned(steps * step).architecture), target, most // step)
    return pruned(count * step)


def query_scores(model: Any, context: Context, device: str) -> tuple[list[float], list[float]]:
    """Score `model` on Anny-ReID, and return two lists with one number for each occluded query.

    The first list has the average precision of each query (0..1). The second list has 1 for each query whose nearest gallery image
    shows the same person, and 0 for the others. The model runs on `device`, such as "cpu".
    """
    from prune.session import torch_session

    session = torch_session(model, device)
    query, gallery = (
        context.own_images[side].features(session, context.spec) for side in ("query", "gallery")
    )
    precisions, first_right = per_query_scores(query, gallery)
    return precisions.tolist(), first_right.tolist()


def measure_trial(job: Job) -> dict[str, Any]:
    """Prune, fine-tune and score the model of a trial, save it to `model_path(job)`, and return the trial's record.

    The record is a dictionary for JSON with the trial's method, level and seed, and the costs and scores of its model. The teacher is
    neither pruned nor fine-tuned.
    """
    from prune.config.load import load_config
    from prune.model.file import save_model
    from prune.model.flops import flops_report
    from prune.scoring.inputs import batch_source
    from prune.session import open_weights
    from prune.training.loop import make_accelerator

    started = time.monotonic()
    options, trial, context = job.options, job.trial, open_context(job.options)
    config = beyond_settings(context.config, trial)
    device = make_accelerator(config.train.precision, options.device).device.type
    record: dict[str, Any] = {
        "method": trial.method,
        "level": trial.level,
        "seed": trial.seed,
        "asked": job.fingerprint,
    }
    model = copy.deepcopy(context.student)
    if trial.method != TEACHER:
        batches = list(batch_source(context.items, context.spec, config.prune, device)())
        target = budget_of(options, trial)
        if trial.method in STUDIED:
            model, record["budget"] = prune_to_budget(
                model, config.prune, lambda: batches, context.loss, target=target
            )
        else:
            assert target is not None
            recipe = RECIPES[trial.method]
            model, record["budget"] = prune_by_recipe(
                model, recipe, job, config.prune, lambda: batches, context.loss, target=target
            )
        record["untuned"] = untuned_scores(model, context, device)
        model = fine_tuned(model, context, config, options)
    numbers = flops_report(model.architecture)
    record["macs"] = {key: value for key, value in numbers.items() if key.startswith("macs")}
    record |= {key: numbers[key] for key in ("params", "heads", "tokens", "hidden")}
    record["precisions"], record["firsts"] = query_scores(model, context, device)
    source, _ = open_weights(options.weights, load_config(options.config, options.overrides), device="cpu")
    save_model(model, model_path(job), source.spec, parent=source.sha256, notes={"source": "beyond"})
    return record | {"seconds": round(time.monotonic() - started, 1)}


def run_trial(job: Job) -> str:
    """Run a trial, write its record to `job.path`, and return the trial's name."""
    record = measure_trial(job)
    with replacing(job.path) as temporary:
        temporary.write_text(json.dumps(record, allow_nan=False) + "\n")
    return job.trial.name
