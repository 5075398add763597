"""The training loop with its schedule, distillation, checkpoints and metrics. Imports no data set.

The random numbers of a step are seeded by (seed, epoch, step, process). A resumed run therefore needs no saved generator
states, and its remaining losses equal those of a run that was never stopped.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from prune.config.settings import TrainConfig
from prune.model.transreid import TransReID
from prune.scoring.model_scores import Batch
from prune.session import torch_device
from prune.training import losses
from prune.training.checkpoints import checkpoint_files, load_checkpoint, remove_checkpoints, save_checkpoint
from prune.training.data import generator, prefetched
from prune.training.objective import TERMS, Objective, teacher_targets
from prune.training.optimiser import build_optimiser, lr_scale, set_lr
from runtime.console import note, progress_bar
from runtime.errors import ConfigError, GateError, StorageError
from runtime.files.json_text import parse_json
from runtime.files.manifest import replacing


def make_accelerator(precision: str = "fp32", device: str = "auto") -> Accelerator:
    """Return an Accelerator, which sets up the device, the processes and mixed precision.

    `precision` is fp32, fp16 or bf16, and `device` is auto (CUDA if there is a CUDA device, otherwise the CPU), cpu or cuda. Raises
    DeviceError when `device` is cuda and there is no CUDA device, and ConfigError for fp16 on the CPU.
    """
    if device != "auto":
        torch_device(device)
    cuda = device != "cpu" and torch.cuda.is_available()
    if precision == "fp16" and not cuda:
        raise ConfigError("train.precision fp16 needs a CUDA device; set train.precision to fp32 or bf16")
    return Accelerator(cpu=not cuda, mixed_precision={"fp32": "no"}.get(precision, precision))


@dataclass
class State:
    """The progress of a run: the next step is `step` of `epoch`, and `done` is the number of finished steps of all epochs.

    The other fields cover the steps of the current epoch that are finished. `images` is the number of images in them, `seconds` their
    duration, and `data_seconds` the part of it that was spent waiting for batches. `terms` holds, for each of these steps, the values
    that prune.training.objective.TERMS names: the loss, its terms, the accuracy.
    """

    epoch: int = 0
    step: int = 0
    done: int = 0
    images: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0
    terms: list[list[float]] = field(default_factory=list)


def fit(
    model: TransReID,
    batches_of_epoch: Callable[[int], Sequence[Batch]],
    *,
    config: TrainConfig,
    out: Path,
    teacher: TransReID | None = None,
    resume: bool = False,
    accelerator: Accelerator | None = None,
) -> TransReID:
    """Train `model` in place for config.epochs epochs and return it, in eval mode, on the training device.

    `batches_of_epoch(n)` returns the batches of epoch n; config.workers threads fetch them in advance. The folder `out` gets
    metrics.jsonl, with one line per epoch, and the newest two checkpoints. `resume` continues from the newest checkpoint and
    may change the number of epochs; without `resume`, earlier checkpoints are removed. `teacher` is the model for distillation by
    config.distill, or None without distillation; it runs in eval mode. With zero epochs nothing is trained or written.

    Raises GateError at the first loss or weight that is not finite; the last good checkpoint stays. Raises ConfigError when the run to
    resume had other settings, when config.distill needs a teacher and `teacher` is None, and when it needs logits and the teacher's
    classifier has another number of identities.
    """
    if not config.epochs:
        return model.eval()
    accelerator = accelerator or make_accelerator(config.precision)
    if config.distill.type != "none" and teacher is None:
        raise ConfigError(
            f"train.distill.type {config.distill.type} needs a teacher, which prune.py has and prune.train does not; set it to none"
        )
    if config.distill.type == "none":
        teacher = None
    if teacher is not None:
        if (
            config.distill.type != "features"
            and teacher.architecture.identities != model.architecture.identities
        ):
            raise ConfigError(
                f"the teacher's classifier has {teacher.architecture.identities} identities and the student's "
                f"{model.architecture.identities}; set train.distill.type to none, or to features, which needs no logits"
            )
        teacher = teacher.to(accelerator.device).eval()
    model.train()
    objective, optimiser = accelerator.prepare(Objective(model, config), build_optimiser(model, config))
    run = _Run(model, objective, optimiser, accelerator, config, out)
    state = run.start(resume)
    with torch.random.fork_rng():
        while state.epoch < config.epochs:
            run.epoch(state, batches_of_epoch(state.epoch), teacher)
    accelerator.wait_for_everyone()
    if run.averaged:
        model.load_state_dict(run.averaged)
    return model.eval()


@dataclass
class _Run:
    model: TransReID
    objective: nn.Module
    optimiser: AcceleratedOptimizer
    accelerator: Accelerator
    config: TrainConfig
    out: Path
    averaged: dict[str, Tensor] = field(default_factory=dict)

    def start(self, resume: bool) -> State:
        """Return a new state, or restore model, optimiser and state from the newest checkpoint."""
        metrics = self.out / "metrics.jsonl"
        content = load_checkpoint(self.out) if resume else None
        state = State() if content is None else State(**content["state"])
        if content is not None:
            self._check_same(content["config"], state)
            self.model.load_state_dict(content["model"])
            self.optimiser.load_state_dict(content["optimiser"])
            if content["scaler"]:
                self.accelerator.scaler.load_state_dict(content["scaler"])
        if self.config.average:
            initial = self.model.state_dict() if content is None else content["averaged"]
            device = self.accelerator.device
            self.averaged = {key: value.detach().clone().to(device) for key, value in initial.items()}
        if self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            kept_rows = _metrics_rows(metrics, state.epoch) if content else []
            if content is None:
                remove_checkpoints(self.out)
            with replacing(metrics) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in kept_rows))
        self.accelerator.wait_for_everyone()
        return state

    def _check_same(self, stored: dict[str, Any], state: State) -> None:
        # A run of an older version had the default of every setting that it lacks.
        current, stored = dataclasses.asdict(self.config), dataclasses.asdict(TrainConfig()) | stored
        # These settings change how batches are fetched and how often the run saves, not what the model learns.
        may_differ = {"workers", "cache_mib", "checkpoint_steps"}
        if current["epochs"] != stored["epochs"] and current["epochs"] > state.epoch:
            # A resumed run may end earlier or later. From here on, the learning rate follows the new schedule.
            may_differ.add("epochs")
            if self.accelerator.is_main_process:
                note(
                    f"{self.out}: the run was planned for {stored['epochs']} epochs and now ends after {current['epochs']}"
                )
        changed = [key for key in current if key not in may_differ and current[key] != stored[key]]
        if changed:
            raise ConfigError(
                f"{self.out}: the stopped run used another value of {', '.join(f'train.{key}' for key in changed)}; "
                "resume it with the same settings, or choose another --out"
            )

    def epoch(self, state: State, batches: Sequence[Batch], teacher: TransReID | None) -> None:
        """Train the rest of one epoch and leave `state` at the start of the next."""
        config = self.config
        title = f"epoch {state.epoch + 1}/{config.epochs}"
        with progress_bar(shown=self.accelerator.is_main_process) as bar:
            task = bar.add_task(title, total=len(batches), completed=state.step)
            clock = time.perf_counter()
            for batch in prefetched(batches, state.step, workers=config.workers):
                state.data_seconds += time.perf_counter() - clock
                set_lr(self.optimiser, lr_scale(state.epoch + state.step / len(batches), config))
                state.terms.append(self._step(state, batch, teacher))
                state.step, state.done = state.step + 1, state.done + 1
                state.images += len(batch[0]) * self.accelerator.num_processes
                state.seconds += time.perf_counter() - clock
                clock = time.perf_counter()
                bar.update(task, advance=1, description=f"{title} loss {state.terms[-1][0]:.3f}")
                if config.checkpoint_steps and state.done % config.checkpoint_steps == 0:
                    self._save(state)
        self._finish(state, len(batches))

    def _step(self, state: State, batch: Batch, teacher: TransReID | None) -> list[float]:
        device = self.accelerator.device
        key = (self.config.seed, state.epoch, state.step, self.accelerator.process_index)
        torch.manual_seed(generator(*key).initial_seed())
        losses.check_labels(self.model, batch[1])
        images, labels, camera_rows = (
            None if part is None else part.to(device, non_blocking=True) for part in batch
        )
        targets = None
        if teacher is not None:
            with torch.no_grad(), self.accelerator.autocast():
                targets = teacher_targets(teacher, images, camera_rows, self.config)
        loss, terms = self.objective(images, labels, camera_rows, targets)
        # This is the mean over all processes, so that all stop when one of them has a loss that is not finite.
        values = self.accelerator.reduce(terms.float(), reduction="mean").tolist()
        if not torch.isfinite(torch.tensor(values)).all():
            raise self._gate(state, f"the loss is {values[0]}")
        self.optimiser.zero_grad()
        self.accelerator.backward(loss)
        self.optimiser.step()
        self._average(state.done)
        return values

    @torch.no_grad()
    def _average(self, done: int) -> None:
        # The average decays faster early in the run, because otherwise the initial weights would count for thousands of steps.
        decay = min(self.config.average, (1 + done) / (10 + done))
        current = self.model.state_dict()
        for key, value in self.averaged.items():
            if value.is_floating_point():
                value.lerp_(current[key].to(value.dtype), 1 - decay)
            else:
                value.copy_(current[key])

    def _finish(self, state: State, steps: int) -> None:
        means = torch.tensor(state.terms, dtype=torch.float64).mean(dim=0).tolist()
        row: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "done": state.done,
            "steps": steps,
            "images": state.images,
        }
        row |= dict(zip(TERMS, means)) | {
            "lr": self.optimiser.param_groups[0]["lr"],
            "seconds": state.seconds,
        }
        row |= {"data_seconds": state.data_seconds, "step_seconds": state.seconds - state.data_seconds}
        row["step_losses"] = [terms[0] for terms in state.terms]
        if self.accelerator.is_main_process:
            try:
                with open(self.out / "metrics.jsonl", "a") as file:
                    file.write(json.dumps(row) + "\n")
            except OSError as error:
                raise StorageError(
                    f"{self.out}/metrics.jsonl: cannot be written ({error.strerror}); free some disk space"
                ) from None
            note(
                f"epoch {row['epoch']}/{self.config.epochs}: loss {row['loss']:.4f}, accuracy "
                f"{row['accuracy']:.3f}, lr {row['lr']:.2e}, {row['seconds']:.1f} s (waiting for data "
                f"{row['data_seconds']:.1f} s)"
            )
        next_epoch = State(epoch=state.epoch + 1, done=state.done)
        for item in dataclasses.fields(State):
            setattr(state, item.name, getattr(next_epoch, item.name))
        self._save(state)

    def _save(self, state: State) -> None:
        tensors = self.model.state_dict()
        if any(value.is_floating_point() and not bool(value.isfinite().all()) for value in tensors.values()):
            raise self._gate(state, "a weight is no longer finite")
        if self.accelerator.is_main_process:
            content = {
                "model": tensors,
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
                "averaged": self.averaged,
                "config": dataclasses.asdict(self.config),
                "state": dataclasses.asdict(state),
            }
            save_checkpoint(self.out, state.done, content)

    def _gate(self, state: State, reason: str) -> GateError:
        paths = checkpoint_files(self.out)
        last = f"the last good checkpoint is {paths[-1]}" if paths else "no checkpoint has been written yet"
        return GateError(
            f"epoch {state.epoch + 1} step {state.step}: {reason}; "
            f"lower train.lr (now {self.config.lr:g}); {last}"
        )


def _metrics_rows(path: Path, epochs: int) -> list[dict[str, Any]]:
    """Return the rows of the first `epochs` epochs in a metrics file, without later rows and an incomplete last line."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = parse_json(line)
        # The run stopped while it wrote this line; the resumed run computes that epoch again.
        except ValueError:
            continue
        if row["epoch"] <= epochs:
            rows.append(row)
    return rows
