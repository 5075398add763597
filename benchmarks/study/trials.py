"""Run one trial of the study: prune a model, fine-tune it, score it, and write the trial's record."""

from __future__ import annotations

import copy
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.json_files import members
from benchmarks.study.context import Context, open_context
from benchmarks.study.files import ASKED, COMMON_MEMBERS, read_record, trial_path
from benchmarks.study.options import StudyOptions
from benchmarks.study.plan import (
    BUDGET,
    LEVELS,
    METHODS,
    TEACHER,
    UNPRUNED,
    Trial,
    meets_budget,
    nearest_count,
)
from benchmarks.study.scores import other_scores, own_scores, summary
from benchmarks.study.tokens import shares
from runtime.errors import ConfigError
from runtime.files.manifest import replacing


@dataclass(frozen=True)
class Job:
    """A trial to run, with the options of its study and the study's fingerprint (see `study_fingerprint`)."""

    options: StudyOptions
    trial: Trial
    fingerprint: dict[str, Any]

    @property
    def path(self) -> Path:
        """Return the path of the JSON file that the trial writes when it is finished."""
        return trial_path(Path(self.options.out), self.trial)


def finished(job: Job) -> bool:
    """Return whether the trial of `job` is finished, that is, whether its file exists.

    Raises ConfigError if the file is damaged, or if it comes from a study with another fingerprint.
    """
    if not job.path.exists():
        return False
    if read_record(job.path, ASKED)["asked"] != job.fingerprint:
        raise ConfigError(
            f"{job.path}: this trial was made with other weights, settings or data; choose another --out or remove the file"
        )
    return True


def trial_settings(config: Any, trial: Trial) -> Any:
    """Return the configuration with which a trial prunes and fine-tunes: a copy of `config` with the settings of the trial.

    These are the criteria by which its method scores heads and tokens, the fractions to remove at its level, and its seed.
    """
    prune, train = config.prune, replace(config.train, seed=trial.seed or config.train.seed)
    if trial.level:
        method, (heads, tokens) = METHODS[trial.method], LEVELS[trial.level]
        prune = replace(
            prune,
            order="heads_first",
            mode=method.mode,
            seed=trial.seed,
            heads=replace(prune.heads, by=method.heads, fraction=heads, count=None, rounds=1),
            tokens=replace(prune.tokens, by=method.tokens, fraction=tokens, count=None, rounds=1),
        )
    return replace(config, prune=prune, train=train)


def prune_to_budget(
    model: Any, settings: Any, batches: Any, loss: Any, *, target: int | None
) -> tuple[Any, dict[str, Any]]:
    """Prune a copy of `model` to a cost of `target` multiply-adds. Return (model, {heads, tokens, target, macs_folded, reached}).

    `heads` and `tokens` are the numbers removed, `macs_folded` is the cost of the pruned model, and `reached` says whether it meets
    `target` (True if `target` is None). First, heads are removed, by the fraction that `settings` (a PruneConfig) gives. Then so many
    tokens are removed that the cost comes nearest to `target`. If `target` is None or cannot be met, tokens are removed by the
    fraction that `settings` gives.
    `batches()` returns batches (images, labels, camera_ids) of training images, on which heads and tokens are scored. Where the
    criterion is "importance", the scores come from the gradient of the scalar that `loss(model, images, labels, camera_ids)` returns.
    """
    from prune.model.flops import macs_folded
    from prune.model.surgery import keep_tokens
    from prune.scoring.amg import choose_tokens, head_count, measure_tokens, prune_model, token_count

    heads_only = replace(settings, tokens=replace(settings.tokens, fraction=0.0, count=0))
    model, _ = prune_model(model, heads_only, batches, loss, lambda pruned, last: pruned)
    scores = measure_tokens(model, settings, batches, loss)

    def cost(count: int) -> int:
        ids, _ = choose_tokens(scores, model, count, settings.tokens)
        blocks = [
            replace(block, tokens=(0, *ids[index])) if index < len(ids) else block
            for index, block in enumerate(model.architecture.blocks)
        ]
        return macs_folded(model.architecture.with_blocks(tuple(blocks)))

    count = token_count(model, settings.tokens)
    if target is not None:
        removable = [
            len(block.tokens) - settings.tokens.floor for block in model.architecture.blocks[: len(scores)]
        ]
        nearest = nearest_count(cost, target, sum(max(number, 0) for number in removable))
        count = nearest if meets_budget(cost(nearest), target) else count
    ids, removed = choose_tokens(scores, model, count, settings.tokens)
    macs = cost(count)
    budget = {
        "heads": head_count(model, settings.heads),
        "tokens": removed,
        "target": target,
        "macs_folded": macs,
        "reached": target is None or meets_budget(macs, target),
    }
    return keep_tokens(model, ids), budget


def fine_tuned(model: Any, context: Context, config: Any, options: StudyOptions) -> Any:
    """Fine-tune `model` in place, in the same way for all trials, and return it.

    It learns from the training images of `context` and from the unpruned model, its teacher. `config` has the training settings.
    """
    from prune.training.data import training_batches
    from prune.training.loop import fit, make_accelerator

    train = config.train.for_final()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    batches: Any = training_batches(context.items, context.spec, train)
    with tempfile.TemporaryDirectory(prefix=".tuning-", dir=out) as folder:
        return fit(
            model,
            batches,
            config=train,
            out=Path(folder),
            teacher=context.student,
            accelerator=make_accelerator(train.precision, options.device),
        )


def score_model(model: Any, context: Context, device: str) -> dict[str, Any]:
    """Run `model` on `device`, such as "cpu", and return its scores {query, twins, others, person}, all in 0..1.

    `query` and `twins` come from `own_scores`. `others` maps the name of a further data set to its `other_scores`. `person` has the
    `shares` of kept tokens on the person for the queries, their unoccluded pairs and the gallery.
    """
    from prune.session import torch_session

    session = torch_session(model, device)
    own = {side: images.features(session, context.spec) for side, images in context.own_images.items()}
    scores: dict[str, Any] = own_scores(own["query"], own["twins"], own["gallery"], context.visible)
    scores["others"] = {
        name: other_scores(other.images.features(session, context.spec), other.query, other.gallery)
        for name, other in context.other_datasets.items()
    }
    blocks = [block.tokens for block in model.architecture.blocks[: model.architecture.prunable]]
    scores["person"] = {side: shares(tokens, blocks) for side, tokens in context.person_tokens.items()}
    return scores


def untuned_scores(model: Any, context: Context, device: str) -> dict[str, Any]:
    """Return the scores {mAP, R1, queries} of a pruned model before its fine-tuning, on the occluded queries of Anny-ReID."""
    from prune.session import torch_session

    session = torch_session(model, device)
    query, gallery = (
        context.own_images[side].features(session, context.spec) for side in ("query", "gallery")
    )
    return summary(query, gallery)


def budget_of(options: StudyOptions, trial: Trial) -> int | None:
    """Return the budget of a trial: the multiply-adds of the model that AMG pruned at the same level with the same seed.

    The trial must prune, so it is not the teacher or the fine-tuned teacher. Returns None if its method is AMG, which sets the budget.
    Raises ConfigError if the trial of AMG with this level and seed is not finished.
    """
    if trial.method == BUDGET:
        return None
    path = trial_path(Path(options.out), replace(trial, method=BUDGET))
    if not path.exists():
        raise ConfigError(
            f"{path}: this file of an AMG trial is missing, so the trial {trial.name} has no budget; run the study again"
        )
    return int(read_record(path, members(COMMON_MEMBERS))["macs"]["macs_folded"])


def measure_trial(job: Job) -> dict[str, Any]:
    """Prune, fine-tune and score the model of a trial, and return the trial's record.

    The record is a dictionary for JSON with the trial's method, level and seed, and the costs and scores of its model. The teacher is
    neither pruned nor fine-tuned.
    """
    from prune.model.flops import flops_report
    from prune.scoring.inputs import batch_source
    from prune.training.classifiers import with_new_classifiers
    from prune.training.data import label_map
    from prune.training.loop import make_accelerator
    from prune.training.losses import training_loss

    started = time.monotonic()
    options, trial, context = job.options, job.trial, open_context(job.options)
    config = trial_settings(context.config, trial)
    device = make_accelerator(config.train.precision, options.device).device.type
    record: dict[str, Any] = {"method": trial.method, "level": trial.level, "seed": trial.seed}
    record["asked"] = job.fingerprint
    model = copy.deepcopy(context.student)
    if trial.method != TEACHER and context.loss is not training_loss:
        model = with_new_classifiers(model, len(label_map(context.items)), seed=trial.seed)
    if trial.method not in UNPRUNED:
        batches = list(batch_source(context.items, context.spec, config.prune, device)())
        target = budget_of(options, trial)
        model, record["budget"] = prune_to_budget(
            model, config.prune, lambda: batches, context.loss, target=target
        )
        record["untuned"] = untuned_scores(model, context, device)
    if trial.method != TEACHER:
        model = fine_tuned(model, context, config, options)
    numbers = flops_report(model.architecture)
    record["macs"] = {key: value for key, value in numbers.items() if key.startswith("macs")}
    record |= {"heads": numbers["heads"], "tokens": numbers["tokens"], "scoring_loss": context.loss_name}
    record["visible"] = [float(share) for share in context.visible]
    record["scores"] = score_model(model, context, device)
    return record | {"seconds": round(time.monotonic() - started, 1)}


def run_trial(job: Job) -> str:
    """Run a trial, write its record to `job.path`, and return the trial's name."""
    record = measure_trial(job)
    with replacing(job.path) as temporary:
        temporary.write_text(json.dumps(record, allow_nan=False) + "\n")
    return job.trial.name
