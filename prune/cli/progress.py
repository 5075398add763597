"""Save the progress of a pruning run on disk, so that a stopped run can be resumed.

During a run with --out DIR, DIR/run.json holds its weights, settings and data. The newest folder DIR/round_NN holds the newest
model: cut.safetensors after the cut of that round, or model.safetensors after its fine-tuning. A finished run removes these files.
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
# A resumed run may change these settings, because they do not affect what the model learns.
MAY_DIFFER = (
    "config.train.workers",
    "config.train.cache_mib",
    "config.train.checkpoint_steps",
    "config.data.root",
)


def round_folder(out: Path, number: int) -> Path:
    """Return the folder for the metrics, the training checkpoints and the model of round `number`, counted from 1."""
    return out / f"round_{number:02d}"


def unfinished(out: Path) -> bool:
    """Return whether `out` holds a run that was stopped after its first cut; a run stopped earlier has nothing to resume."""
    return (out / RUN).is_file() and bool(_saved_models(out))


def begin(out: Path, request: dict[str, Any], *, resume: bool) -> bool:
    """Begin a run in `out`, or prepare to resume the stopped run there. Return whether a run is resumed.

    `request` is plain data: the weights, the configuration and the data of the run. A new run writes it to run.json. If `out` holds
    no run, a new one begins, with `resume` too. Raises ConfigError in three cases: `out` holds a stopped run, but `resume` is False;
    `resume` is True, but the stopped run had another request (other than in MAY_DIFFER); `resume` is True, but the run is finished.
    """
    if unfinished(out):
        if not resume:
            raise ConfigError(
                f"{out}: holds an unfinished run; add --resume to continue it, or choose another --out"
            )
        _check_same(out, request)
        return True
    if resume and (out / "result.json").is_file():
        raise ConfigError(f"{out}: the run is finished; to prune again, repeat the command without --resume")
    _sweep(out)
    with replacing(out / RUN) as temporary:
        temporary.write_text(json.dumps(request, indent=1, sort_keys=True) + "\n")
    return False


def stage_saver(out: Path, spec: InputSpec, *, parent: str) -> SaveStage:
    """Return a function `save(model, stage)` for prune_model to call after every cut and every round.

    It saves the model and the records of the cuts below `out`, and removes the model that was saved before. `spec` is the input of
    the model, and `parent` is the sha256 of the unpruned model.
    """

    def save(model: TransReID, stage: Stage) -> None:
        name = "cut.safetensors" if stage.cut else "model.safetensors"
        path = round_folder(out, stage.rounds + stage.cut) / name
        notes = {"source": "prune", "rounds": stage.rounds, "cut": stage.cut, "cuts": list(stage.records)}
        save_model(model, path, spec, parent=parent, notes=notes)
        _sweep(out, path)

    return save


def newest_model(out: Path, model: TransReID) -> tuple[TransReID, Stage]:
    """Return (the newest model that a stopped run saved in `out`, its stage), or (`model`, Stage()) when none was saved.

    `model` is the model that the run began with. A saved model gets the device, training mode and drop-path rates of `model`.
    """
    for path in sorted(_saved_models(out), key=_order, reverse=True):
        try:
            saved, manifest = load_model(path)
        except ArtifactError as error:
            # The run was killed before it wrote the manifest of this model. The previous model still exists.
            note(f"{error}; trying the model that was saved before it")
            continue
        stage = Stage(manifest["rounds"], manifest["cut"], tuple(manifest["cuts"]))
        return rebuild(model, saved.architecture, saved.state_dict()), stage
    return model, Stage()


def finish(out: Path) -> None:
    """Remove from `out` what a finished run no longer needs: run.json, saved models of rounds and checkpoints. The metrics stay."""
    (out / RUN).unlink()
    _sweep(out)
    for folder in _rounds(out):
        if not any(folder.iterdir()):
            folder.rmdir()


def _check_same(out: Path, request: dict[str, Any]) -> None:
    try:
        stored = dict(_flat(parse_json((out / RUN).read_text())))
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{out / RUN}: cannot be read ({error}); choose another --out") from None
    current = dict(_flat(json.loads(json.dumps(request))))
    keys = sorted(current.keys() | stored.keys())
    changed = [key for key in keys if key not in MAY_DIFFER and current.get(key) != stored.get(key)]
    if changed:
        names = ", ".join(key.removeprefix("config.") for key in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise ConfigError(
            f"{out}: the stopped run used another {names}{more}; resume it with the same settings, or choose another --out"
        )


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _saved_models(out: Path) -> list[Path]:
    paths = [folder / f"{name}.safetensors" for folder in _rounds(out) for name in ("cut", "model")]
    return [path for path in paths if path.is_file()]


def _rounds(out: Path) -> list[Path]:
    folders = out.glob("round_*")
    return [path for path in folders if path.name.removeprefix("round_").isdecimal() and path.is_dir()]


def _order(path: Path) -> tuple[int, bool]:
    return int(path.parent.name.removeprefix("round_")), path.name == "model.safetensors"


def _sweep(out: Path, kept_model: Path | None = None) -> None:
    """Remove the saved models except `kept_model`, the training checkpoints, and the temporary files of writes that were killed."""
    for path in _saved_models(out):
        if path != kept_model:
            # A model without a manifest counts as half written, so the manifest is removed first.
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
