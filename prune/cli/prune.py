"""`python prune.py`: score, prune, fine-tune, evaluate. Puts data, model and pruning together, decides nothing."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prune.budget_search.run import Search, find
from prune.budget_search.search import AXES, read_goal
from prune.cli.progress import begin, finish, keeper, newest, round_folder
from prune.config.load import TrainConfig, load_config
from prune.model.file import save_model
from prune.model.flops import report
from prune.model.transreid import TransReID
from prune.scoring.amg import Recover, plan_rounds, prune_model
from prune.scoring.inputs import fitting, scoring, training_items, triplet_only
from prune.scoring.run import Batch
from prune.session import artifact_of, open_weights
from prune.training.classifiers import with_new_classifiers
from prune.training.data import label_map, training_batches
from prune.training.loop import fit, make_accelerator
from runtime.console import note, print_json, print_table
from runtime.datasets import count_warnings, read_dataset, training_images
from runtime.errors import ConfigError
from runtime.extraction.accuracy import accuracy
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer
from runtime.stopping import keeping

SHOWN = ("mAP", "R1", "R5", "R10", "mINP")


def recovery(
    teacher: TransReID,
    batches: Callable[[int], Sequence[Batch]],
    config: TrainConfig,
    *,
    folders: Iterator[Path],
    device: str,
    resume: bool,
) -> Recover:
    """Fine-tuning between rounds (`fine_epochs`, constant rate) and after the last (`final_epochs`, whole schedule).

    `folders` are the rounds' own; `resume` goes on from the snapshots in them.
    """

    def recover(model: TransReID, last: bool) -> TransReID:
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

    return recover


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Prune the model that `args` names; returns what result.json holds."""
    config, out = load_config(args.config, args.overrides), Path(args.out)
    root = args.data or config.data.root
    if not root:
        raise ConfigError("say where the data set is: --data ROOT")
    if out.is_file():
        raise ConfigError(f"--out {out}: a file stands there; give a folder")
    if Path(args.weights).resolve() == (out / "model.safetensors").resolve():
        raise ConfigError(f"--out {out}: the result would overwrite --weights; give another folder")
    device = make_accelerator(config.train.precision, args.device).device.type
    source, model = open_weights(args.weights, config, device=device)
    dataset = training_images(read_dataset(root, args.layout or config.data.layout))
    for text in (*count_warnings(dataset), *dataset.left_out):
        note(text)
    spec = dataclasses.replace(source.spec, layout="float-nchw")
    settings, before = config.prune, model.shape
    items = training_items(dataset, spec.dataset)
    identities = len(label_map(items))
    data = {"layout": dataset.layout, "images": len(items), "identities": identities}
    search = _search_of(args)
    asked = {"weights": source.sha256, "config": dataclasses.asdict(config), "data": data}
    asked |= {"search": search.asked()} if search else {}
    resumed = begin(out, asked, resume=args.resume)
    batches = scoring(items, spec, settings, device)
    model, loss, why = fitting(model, items, spec, batches, device)
    note(f"token scores from {why}")
    if search:
        settings = find(
            model,
            search,
            settings,
            items,
            [item.camid for item in dataset.train],
            spec,
            scoring=lambda some: scoring(some, spec, settings, device),
            loss=loss,
            out=out,
            device=device,
        )
        config = dataclasses.replace(config, prune=settings)
    plan = plan_rounds(model, settings)
    tunes = plan and (config.train.final_epochs > 0 or (config.train.fine_epochs > 0 and len(plan) > 1))
    teacher = copy.deepcopy(model).eval()
    if tunes and loss is triplet_only:
        # its classifiers would teach that people are somebody else
        config = dataclasses.replace(config, train=config.train.for_unknown_identities())
        how = "without distillation" if config.train.distill.type == "none" else "distilling features"
        note(f"fine-tuning with new classifiers for {identities} identities, {how}")
        model = with_new_classifiers(model, identities, seed=config.train.seed)
    model, stage = newest(out, model)
    if resumed:
        note(f"going on after {stage.rounds} finished rounds" + (" and a cut" if stage.cut else ""))
    recover = recovery(
        teacher,
        training_batches(items, spec, config.train),
        config.train,
        folders=(round_folder(out, number) for number in itertools.count(stage.rounds + 1)),
        device=args.device,
        resume=resumed,
    )
    keep = keeper(out, source.spec, parent=source.sha256)
    pruned, records = prune_model(model, settings, batches, loss, recover, stage=stage, keep=keep, plan=plan)
    for record in records:
        note(f"{record['what']}: {record['removed']} removed of {record['asked']} asked")
    path = out / "model.safetensors"
    notes = {"source": "prune", "config": dataclasses.asdict(config), "scoring_loss": why, "cuts": records}
    manifest = save_model(pruned, path, source.spec, parent=source.sha256, notes=notes)
    result: dict[str, Any] = {
        "model": str(path),
        "sha256": manifest["sha256"],
        "parent": source.sha256,
        "scoring_loss": why,
        "cuts": [{key: record[key] for key in ("what", "asked", "removed")} for record in records],
        "before": {"flops": report(before)},
        "after": {"flops": report(pruned.shape)},
    }
    if args.evaluate == "both":
        result["before"]["scores"] = accuracy(source, dataset, batch=args.batch)
    if args.evaluate != "none":
        artifact = artifact_of(pruned, source.spec, path, manifest, device=device)
        result["after"]["scores"] = accuracy(artifact, dataset, batch=args.batch)
    with replacing(out / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    finish(out)
    return result


def _search_of(args: argparse.Namespace) -> Search | None:
    if not args.search:
        if args.goal or args.latency_table or args.over:
            raise ConfigError("--goal, --over and --latency-table: belong to --search; add it")
        return None
    if not args.goal:
        raise ConfigError("--search: say what for: --goal latency_ms=MS, macs=COUNT or map=0..1")
    over = tuple(args.over.split(",")) if args.over else AXES
    return Search(read_goal(args.goal), args.latency_table, over)


def table(result: dict[str, Any]) -> list[list[str]]:
    """Rows (name, before, after) for people."""
    sides = (result["before"], result["after"])
    rows = [
        [name, *(f"{side['flops'][name] / 1e9:.2f} G" for side in sides)]
        for name in ("macs_paper", "macs_reference", "macs_folded")
    ]
    rows.append(["params", *(f"{side['flops']['params'] / 1e6:.2f} M" for side in sides)])
    for name in ("heads", "tokens", "hidden"):
        rows.append([name, *(" ".join(map(str, side["flops"][name])) for side in sides)])
    if "scores" in result["after"]:
        rows += [
            [name, *(f"{side['scores'][name]:.2%}" if "scores" in side else "" for side in sides)]
            for name in SHOWN
        ]
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Prune a TransReID model: score, cut, fine-tune, evaluate; writes DIR/model.safetensors and result.json."""
    parser = argparse.ArgumentParser(prog="prune.py", description=main.__doc__)
    parser.add_argument("--config", required=True, help="our YAML or the authors'")
    parser.add_argument("--weights", required=True, help="model.safetensors, or a published .pth")
    parser.add_argument("--data", help="the data set's own folder (default: data.root of the configuration)")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the stopped run in DIR, asked the same"
    )
    parser.add_argument(
        "--layout", help="how the data set is laid out, where it differs from the configuration's"
    )
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", dest="overrides")
    parser.add_argument(
        "--evaluate", choices=["both", "after", "none"], default="both", help="on query and gallery (both)"
    )
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto: CUDA where there is one"
    )
    parser.add_argument(
        "--batch", type=positive_integer, default=16, metavar="N", help="images per run in evaluation (16)"
    )
    parser.add_argument("--search", action="store_true", help="find what each block keeps, for --goal")
    parser.add_argument("--goal", metavar="latency_ms=MS|macs=COUNT|map=0..1", help="what the search is for")
    parser.add_argument(
        "--over",
        metavar="LIST",
        help=f"what the search chooses of ({','.join(AXES)}); heads,tokens are AMG's",
    )
    parser.add_argument(
        "--latency-table",
        type=Path,
        metavar="JSON",
        help="from python -m benchmarks.latency_table, on the target",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    with keeping(
        lambda: (
            f"finished rounds and snapshots in {args.out} are kept; go on with the same command and --resume"
        )
    ):
        result = run(args)
    if args.json:
        print_json(result)
    else:
        print_table(result["model"], ["", "before", "after"], table(result))
    return 0
