"""Make one cell of the comparison: cut, fine-tune, measure, write its line. Knows no other cell but the one that sets its budget."""

from __future__ import annotations

import copy
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.study.context import Lab, Setting, open_lab
from benchmarks.study.plan import (
    BUDGET,
    LEVELS,
    METHODS,
    TEACHER,
    UNPRUNED,
    Cell,
    matched,
    within,
)
from benchmarks.study.scores import other_scores, own_scores, summary
from benchmarks.study.tokens import shares
from runtime.errors import ConfigError
from runtime.files.manifest import replacing


@dataclass(frozen=True)
class Job:
    """A cell, the setting it belongs to, and what the whole comparison was asked (see `study_lab.asked`)."""

    setting: Setting
    cell: Cell
    asked: dict[str, Any]

    @property
    def path(self) -> Path:
        """Where its line is written."""
        return cell_path(Path(self.setting.out), self.cell)


def cell_path(out: Path, cell: Cell) -> Path:
    """The file of a finished cell."""
    return out / "cells" / f"{cell.name}.json"


def finished(job: Job) -> bool:
    """Whether the job's line is written; ConfigError when it belongs to a comparison that was asked something else."""
    if not job.path.exists():
        return False
    if json.loads(job.path.read_text())["asked"] != job.asked:
        raise ConfigError(
            f"{job.path}: made with other weights, settings or data; choose another --out, or remove it"
        )
    return True


def cell_settings(config: Any, cell: Cell) -> Any:
    """The configuration of a cell: its method's criteria, its level's fractions and its seed for everything that is drawn."""
    prune, train = config.prune, replace(config.train, seed=cell.seed or config.train.seed)
    if cell.level:
        method, (heads, tokens) = METHODS[cell.method], LEVELS[cell.level]
        prune = replace(
            prune,
            order="heads_first",
            mode=method.mode,
            seed=cell.seed,
            heads=replace(prune.heads, by=method.heads, fraction=heads, count=None, rounds=1),
            tokens=replace(prune.tokens, by=method.tokens, fraction=tokens, count=None, rounds=1),
        )
    return replace(config, prune=prune, train=train)


def cut(
    model: Any, settings: Any, batches: Any, loss: Any, *, target: int | None
) -> tuple[Any, dict[str, Any]]:
    """(the pruned model, {heads, tokens: how many went, target, macs_folded, reached}); `model` is unchanged.

    `settings` is a PruneConfig. Heads go first, then as many tokens as bring macs_folded nearest to `target`; where that cannot be
    reached, or there is no target, the fraction that `settings` names.
    """
    from prune.model.flops import macs_folded
    from prune.model.surgery import keep_tokens
    from prune.scoring.amg import choose_tokens, head_count, measure_tokens, prune_model, token_count

    heads_only = replace(settings, tokens=replace(settings.tokens, fraction=0.0, count=0))
    model, _ = prune_model(model, heads_only, batches, loss, lambda cut_model, last: cut_model)
    scores = measure_tokens(model, settings, batches, loss)

    def cost(count: int) -> int:
        ids, _ = choose_tokens(scores, model, count, settings.tokens)
        blocks = [
            replace(block, tokens=(0, *ids[index])) if index < len(ids) else block
            for index, block in enumerate(model.shape.blocks)
        ]
        return macs_folded(model.shape.with_blocks(tuple(blocks)))

    count = token_count(model, settings.tokens)
    if target is not None:
        room = [len(block.tokens) - settings.tokens.floor for block in model.shape.blocks[: len(scores)]]
        nearest = matched(cost, target, sum(max(space, 0) for space in room))
        count = nearest if within(cost(nearest), target) else count
    ids, removed = choose_tokens(scores, model, count, settings.tokens)
    macs = cost(count)
    budget = {
        "heads": head_count(model, settings.heads),
        "tokens": removed,
        "target": target,
        "macs_folded": macs,
        "reached": target is None or within(macs, target),
    }
    return keep_tokens(model, ids), budget


def tuned(model: Any, lab: Lab, config: Any, setting: Setting) -> Any:
    """`model` after the fine-tuning that all cells get; it is changed in place."""
    from prune.training.data import training_batches
    from prune.training.loop import fit, make_accelerator

    train = config.train.for_final()
    out = Path(setting.out)
    out.mkdir(parents=True, exist_ok=True)
    batches: Any = training_batches(lab.items, lab.spec, train)
    with tempfile.TemporaryDirectory(prefix=".tuning-", dir=out) as folder:
        return fit(
            model,
            batches,
            config=train,
            out=Path(folder),
            teacher=lab.student,
            accelerator=make_accelerator(train.precision, setting.device),
        )


def measure(model: Any, lab: Lab, device: str) -> dict[str, Any]:
    """{query, twins, others, person} of a model, scores 0..1."""
    from prune.session import torch_session

    run = torch_session(model, device)
    own = {name: mine.seen_by(run, lab.spec) for name, mine in lab.own.items()}
    scores: dict[str, Any] = own_scores(own["query"], own["twins"], own["gallery"], lab.visible)
    scores["others"] = {
        name: other_scores(mine.seen_by(run, lab.spec), query, gallery)
        for name, (mine, query, gallery) in lab.others.items()
    }
    blocks = [block.tokens for block in model.shape.blocks[: model.shape.prunable]]
    scores["person"] = {name: shares(person, blocks) for name, person in lab.person.items()}
    return scores


def untuned_scores(model: Any, lab: Lab, device: str) -> dict[str, Any]:
    """{mAP, R1, queries} of the occluded queries alone."""
    from prune.session import torch_session

    run = torch_session(model, device)
    return summary(lab.own["query"].seen_by(run, lab.spec), lab.own["gallery"].seen_by(run, lab.spec))


def budget_of(setting: Setting, cell: Cell) -> int | None:
    """The macs_folded that a cell must meet: those of AMG's cell with its level and seed; None for AMG itself.

    ConfigError when that cell is not there yet.
    """
    if cell.method == BUDGET:
        return None
    path = cell_path(Path(setting.out), replace(cell, method=BUDGET))
    if not path.exists():
        raise ConfigError(f"{path}: missing; it sets the budget of {cell.name}: run the study again")
    return int(json.loads(path.read_text())["macs"]["macs_folded"])


def make_cell(job: Job) -> dict[str, Any]:
    """What a cell's line holds."""
    from prune.model.flops import report
    from prune.scoring.inputs import scoring
    from prune.training.classifiers import with_new_classifiers
    from prune.training.data import label_map
    from prune.training.loop import make_accelerator
    from prune.training.losses import training_loss

    started = time.monotonic()
    setting, cell, lab = job.setting, job.cell, open_lab(job.setting)
    config = cell_settings(lab.config, cell)
    device = make_accelerator(config.train.precision, setting.device).device.type
    line: dict[str, Any] = {"method": cell.method, "level": cell.level, "seed": cell.seed, "asked": job.asked}
    model = copy.deepcopy(lab.student)
    if cell.method != TEACHER and lab.loss is not training_loss:
        model = with_new_classifiers(model, len(label_map(lab.items)), seed=cell.seed)
    if cell.method not in UNPRUNED:
        batches = list(scoring(lab.items, lab.spec, config.prune, device)())
        target = budget_of(setting, cell)
        model, line["budget"] = cut(model, config.prune, lambda: batches, lab.loss, target=target)
        line["untuned"] = untuned_scores(model, lab, device)
    if cell.method != TEACHER:
        model = tuned(model, lab, config, setting)
    numbers = report(model.shape)
    line["macs"] = {key: value for key, value in numbers.items() if key.startswith("macs")}
    line |= {"heads": numbers["heads"], "tokens": numbers["tokens"], "scoring_loss": lab.why}
    line["visible"] = [float(share) for share in lab.visible]
    line["scores"] = measure(model, lab, device)
    return line | {"seconds": round(time.monotonic() - started, 1)}


def run_job(job: Job) -> str:
    """Make a cell and write its line, whole or not at all; returns its name."""
    line = make_cell(job)
    with replacing(job.path) as temporary:
        temporary.write_text(json.dumps(line, allow_nan=False) + "\n")
    return job.cell.name
