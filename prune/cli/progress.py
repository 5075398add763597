"""A pruning run on disk, so that a stopped one can go on: what it was asked to do, and its newest model. Decides nothing.

While a run lasts, DIR/run.json says what it was asked, and DIR/round_NN holds the model after that round (model.safetensors)
or after its cut (cut.safetensors), the newest alone. A finished run leaves neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prune.model.file import load_model, save_model
from prune.model.surgery import rebuild
from prune.model.transreid import TransReID
from prune.scoring.amg import SaveStage, Stage
from prune.training.checkpoints import remove_checkpoints
from runtime.console import note
from runtime.errors import ArtifactError, ConfigError
from runtime.files.json_text import parse_json
from runtime.files.manifest import manifest_path, replacing
from runtime.spec import InputSpec

RUN = "run.json"
# What may differ between a run and the one that goes on with it: it changes nothing of what is learnt.
FREE = ("config.train.workers", "config.train.cache_mib", "config.train.checkpoint_steps", "config.data.root")


def round_folder(out: Path, number: int) -> Path:
    """Where round `number`, from 1, keeps its metrics, its snapshots and its model."""
    return out / f"round_{number:02d}"


def unfinished(out: Path) -> bool:
    """Whether `out` holds a pruning run that was stopped after its first cut: before, nothing is lost."""
    return (out / RUN).is_file() and bool(_kept(out))


def begin(out: Path, asked: dict[str, Any], *, resume: bool) -> bool:
    """Whether a stopped run is gone on with; else a fresh one begins, and `out` says so from here on.

    `asked` is plain data: what was pruned, on what, by which settings. ConfigError when `out` holds a stopped run and `resume`
    is not given, when that run was asked something else, and when there is only a finished one to resume.
    """
    if unfinished(out):
        if not resume:
            raise ConfigError(
                f"{out}: holds an unfinished run; add --resume to go on with it, or choose another --out"
            )
        _check_same(out, asked)
        return True
    if resume and (out / "result.json").is_file():
        raise ConfigError(f"{out}: its run is finished; leave --resume out to prune again")
    _sweep(out)
    with replacing(out / RUN) as temporary:
        temporary.write_text(json.dumps(asked, indent=1, sort_keys=True) + "\n")
    return False


def keeper(out: Path, spec: InputSpec, *, parent: str) -> SaveStage:
    """What prune_model calls after every cut and round: the model and the records go to disk, what came before goes away."""

    def keep(model: TransReID, stage: Stage) -> None:
        name = "cut.safetensors" if stage.cut else "model.safetensors"
        path = round_folder(out, stage.rounds + stage.cut) / name
        notes = {"source": "prune", "rounds": stage.rounds, "cut": stage.cut, "cuts": list(stage.records)}
        save_model(model, path, spec, parent=parent, notes=notes)
        _sweep(out, path)

    return keep


def newest(out: Path, model: TransReID) -> tuple[TransReID, Stage]:
    """(the model of the stopped run in `out`, how far it came); `model` itself where no round had got anywhere.

    `model` is the one the run began with: device, training mode and drop-path are taken from it.
    """
    for path in sorted(_kept(out), key=_order, reverse=True):
        try:
            found, manifest = load_model(path)
        except ArtifactError as error:
            # killed before its manifest was there: the one before it still is
            note(f"{error}; trying the one before")
            continue
        stage = Stage(manifest["rounds"], manifest["cut"], tuple(manifest["cuts"]))
        return rebuild(model, found.architecture, found.state_dict()), stage
    return model, Stage()


def finish(out: Path) -> None:
    """The run in `out` is over: only its results and metrics stay."""
    (out / RUN).unlink()
    _sweep(out)
    for folder in _rounds(out):
        if not any(folder.iterdir()):
            folder.rmdir()


def _check_same(out: Path, asked: dict[str, Any]) -> None:
    try:
        stored = dict(_flat(parse_json((out / RUN).read_text())))
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{out / RUN}: cannot be read ({error}); choose another --out") from None
    mine = dict(_flat(json.loads(json.dumps(asked))))
    keys = sorted(mine.keys() | stored.keys())
    changed = [key for key in keys if key not in FREE and mine.get(key) != stored.get(key)]
    if changed:
        names = ", ".join(key.removeprefix("config.") for key in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise ConfigError(
            f"{out}: the stopped run had another {names}{more}; go on with the same, or choose another --out"
        )


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _kept(out: Path) -> list[Path]:
    paths = [folder / f"{name}.safetensors" for folder in _rounds(out) for name in ("cut", "model")]
    return [path for path in paths if path.is_file()]


def _rounds(out: Path) -> list[Path]:
    folders = out.glob("round_*")
    return [path for path in folders if path.name.removeprefix("round_").isdecimal() and path.is_dir()]


def _order(path: Path) -> tuple[int, bool]:
    return int(path.parent.name.removeprefix("round_")), path.name == "model.safetensors"


def _sweep(out: Path, but: Path | None = None) -> None:
    """Remove what a run keeps to go on from, except the model `but`, and what a killed write left."""
    for path in _kept(out):
        if path != but:
            # without its manifest a model counts as half written: that goes first
            manifest_path(path).unlink(missing_ok=True)
            path.unlink()
    for folder in _rounds(out):
        remove_checkpoints(folder)
    for folder in (out, *_rounds(out)):
        for name in (
            RUN,
            "result.json",
            "cut.safetensors",
            "model.safetensors",
            "metrics.jsonl",
            "snapshot-",
        ):
            for path in folder.glob(f".{name}*"):
                path.unlink()
