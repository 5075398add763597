"""The work of `prune.py`: read the data and the model, score, prune, fine-tune and evaluate."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prune.budget_search.run import run_search
from prune.cli.progress import begin, finish, newest_model, round_folder, stage_saver
from prune.cli.prune_options import BOTH, NONE, PruneOptions
from prune.config.load import TrainConfig, load_config
from prune.model.file import save_model
from prune.model.flops import flops_report
from prune.model.transreid import TransReID
from prune.scoring.amg import FineTune, plan_rounds, prune_model
from prune.scoring.inputs import batch_source, fit_classifier, training_items, triplet_only
from prune.scoring.model_scores import Batch
from prune.session import artifact_of, open_weights
from prune.training.classifiers import with_new_classifiers
from prune.training.data import label_map, training_batches
from prune.training.loop import fit, make_accelerator
from runtime.console import note
from runtime.datasets import count_warnings, read_dataset, training_images
from runtime.errors import ConfigError
from runtime.extraction.accuracy import accuracy
from runtime.files.manifest import replacing


def fine_tuning(
    teacher: TransReID,
    batches: Callable[[int], Sequence[Batch]],
    config: TrainConfig,
    *,
    folders: Iterator[Path],
    device: str,
    resume: bool,
) -> FineTune:
    """Return a function `fine_tune(model, last)` that returns the model fine-tuned after a round, for `prune_model`.

    If `last` is False, it trains for `config.fine_epochs` epochs at a constant learning rate. After the last round it trains for
    `config.final_epochs` epochs with warm-up and a cosine schedule. `teacher` is the unpruned model, for distillation.
    `batches(epoch)` returns the training batches of an epoch, counted from 0. `folders` yields a folder for the checkpoints and
    metrics of each round; with `resume`, training continues from the checkpoints there.
    """

    def fine_tune(model: TransReID, last: bool) -> TransReID:
        train = config.for_final() if last else config.for_rounds()
        accelerator = make_accelerator(train.precision, device)
        return fit(
            model,
            batches,
            config=train,
            out=next(folders),
            teacher=teacher,
            resume=resume,
            accelerator=accelerator,
        )

    return fine_tune


def prune(options: PruneOptions) -> dict[str, Any]:
    """Prune, fine-tune and evaluate a model, write the results to the folder `options.out`, and return the content of result.json.

    Raises ConfigError when the options contradict the configuration, the model or the stopped run in the folder.
    """
    config, out = load_config(options.config.path, options.config.overrides), options.out
    root = options.data or config.data.root
    if not root:
        raise ConfigError(f"{options.config.path}: the configuration has no data.root; add --data ROOT")
    device = make_accelerator(config.train.precision, options.device).device.type
    source, model = open_weights(options.weights, config, device=device)
    dataset = training_images(read_dataset(root, options.layout or config.data.layout))
    for text in (*count_warnings(dataset), *dataset.left_out):
        note(text)
    spec = dataclasses.replace(source.spec, layout="float-nchw")
    settings, before = config.prune, model.architecture
    items = training_items(dataset, spec.dataset)
    identities = len(label_map(items))
    data = {"layout": dataset.layout, "images": len(items), "identities": identities}
    search = options.search
    request = {"weights": source.sha256, "config": dataclasses.asdict(config), "data": data}
    request |= {"search": search.to_json()} if search else {}
    resumed = begin(out, request, resume=options.resume)
    batches = batch_source(items, spec, settings, device)
    model, loss, loss_reason = fit_classifier(model, items, spec, batches, device)
    note(f"loss whose gradients score the tokens and neurons: {loss_reason}")
    if search:
        settings = run_search(
            model,
            search,
            settings,
            items,
            [item.camid for item in dataset.train],
            spec,
            batch_source=lambda subset: batch_source(subset, spec, settings, device),
            loss=loss,
            out=out,
            device=device,
        )
        config = dataclasses.replace(config, prune=settings)
    plan = plan_rounds(model, settings)
    fine_tunes = plan and (config.train.final_epochs > 0 or (config.train.fine_epochs > 0 and len(plan) > 1))
    teacher = copy.deepcopy(model).eval()
    if fine_tunes and loss is triplet_only:
        # The classifiers were trained on other people, so their logits are wrong targets for the people of this data set.
        config = dataclasses.replace(config, train=config.train.for_unknown_identities())
        distillation = (
            "without distillation" if config.train.distill.type == "none" else "distilling features"
        )
        note(
            "the model's classifiers do not know the people of this data set: "
            f"fine-tuning with new classifiers for {identities} identities, {distillation}"
        )
        model = with_new_classifiers(model, identities, seed=config.train.seed)
    model, stage = newest_model(out, model)
    if resumed:
        note(
            f"{out}: resuming after {stage.rounds} finished rounds"
            + (" and a cut of the next round" if stage.cut else "")
        )
    fine_tune = fine_tuning(
        teacher,
        training_batches(items, spec, config.train),
        config.train,
        folders=(round_folder(out, number) for number in itertools.count(stage.rounds + 1)),
        device=options.device,
        resume=resumed,
    )
    save_stage = stage_saver(out, source.spec, parent=source.sha256)
    pruned, records = prune_model(
        model, settings, batches, loss, fine_tune, stage=stage, save_stage=save_stage, plan=plan
    )
    for record in records:
        note(f"{record['what']}: removed {record['removed']} of the {record['asked']} requested")
    path = out / "model.safetensors"
    notes = {
        "source": "prune",
        "config": dataclasses.asdict(config),
        "scoring_loss": loss_reason,
        "cuts": records,
    }
    manifest = save_model(pruned, path, source.spec, parent=source.sha256, notes=notes)
    result: dict[str, Any] = {
        "model": str(path),
        "sha256": manifest["sha256"],
        "parent": source.sha256,
        "scoring_loss": loss_reason,
        "cuts": [{key: record[key] for key in ("what", "asked", "removed")} for record in records],
        "before": {"flops": flops_report(before)},
        "after": {"flops": flops_report(pruned.architecture)},
    }
    if options.evaluate == BOTH:
        result["before"]["scores"] = accuracy(source, dataset, batch=options.batch)
    if options.evaluate != NONE:
        artifact = artifact_of(pruned, source.spec, path, manifest, device=device)
        result["after"]["scores"] = accuracy(artifact, dataset, batch=options.batch)
    with replacing(out / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    finish(out)
    return result
