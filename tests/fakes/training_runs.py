"""A training run that is small enough to be killed many times, and functions that kill and resume it in new processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

from prune.config.settings import DistillConfig, TrainConfig
from prune.model.architecture import unpruned
from prune.model.transreid import TransReID
from prune.training.loop import fit, make_accelerator

STEPS = 4
CONFIG = TrainConfig(
    optimizer="adamw",
    lr=1e-3,
    epochs=3,
    warmup_epochs=1,
    distill=DistillConfig("soft", 1.0, 4.0),
    workers=1,
    average=0.8,
)


def model(seed: int = 0) -> TransReID:
    torch.manual_seed(seed)
    return TransReID(unpruned("vit_lite", height=64, width=32, cameras=2, identities=4), drop_path=0.3)


class Batches:
    """A function of the epoch that yields STEPS batches of noise with a mean for each identity.

    If `die` is (epoch, step), the process is killed at this step.
    """

    def __init__(self, die: tuple[int, int] | None = None, seed: int = 0) -> None:
        self.die, self.seed = die, seed

    def __call__(self, epoch: int) -> Batches:
        self.epoch = epoch
        return self

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if (self.epoch, step) == self.die:
            os.kill(os.getpid(), signal.SIGKILL)
        random = torch.Generator().manual_seed(1000 * self.seed + 100 * self.epoch + step)
        labels = torch.arange(4).repeat_interleave(2)
        images = torch.randn(8, 3, 64, 32, generator=random) * 0.5 + labels[:, None, None, None] / 2
        return images, labels, torch.arange(8) % 2


def run(out: Path, *, die: tuple[int, int] | None = None, resume: bool = False, often: int = 0) -> TransReID:
    config = TrainConfig(**{**vars(CONFIG), "checkpoint_steps": often})
    return fit(model(), Batches(die), config=config, out=out, teacher=model(1), resume=resume)


def losses(out: Path) -> list[float]:
    """Return the loss of each step, from the metrics file in `out`."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    return [loss for row in rows for loss in row["step_losses"]]


def kill_and_resume(out: Path, often: int, places: list[tuple[int, int]]) -> None:
    """Kill a run at each (epoch, step) in `places`, resume it each time, and finish it. Fails if it was not killed at a place."""
    for index, die in enumerate([*places, None]):
        child = os.fork()
        if not child:
            run(out, die=die, resume=index > 0, often=often)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if killed != (die is not None) or (not killed and status):
            raise SystemExit(f"process {index} ended with status {status}")


def two_processes(out: Path) -> None:
    """Train as one process of a launcher, on batches of its own, and write the sum of the weights."""
    accelerator = make_accelerator("fp32", "cpu")
    rank = accelerator.process_index
    config = TrainConfig(**{**vars(CONFIG), "epochs": 2, "distill": DistillConfig()})
    # Each process has another seed, so that the weights would differ without shared gradients.
    trained = fit(model(), Batches(seed=rank), config=config, out=out, accelerator=accelerator)
    total = sum(float(value.detach().double().sum()) for value in trained.parameters())
    text = {"processes": accelerator.num_processes, "weights": total}
    (out / f"rank{rank}.json").write_text(json.dumps(text))


def main() -> None:
    torch.set_num_threads(1)
    command, out = sys.argv[1], Path(sys.argv[2])
    if command == "kill":
        kill_and_resume(out, int(sys.argv[3]), [tuple(place) for place in json.loads(sys.argv[4])])
    else:
        two_processes(out)


if __name__ == "__main__":
    main()
