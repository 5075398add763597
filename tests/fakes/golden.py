"""Golden cases: outputs of the paper authors' own model, and the same models built here from the same weights."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from prune.importing.convert import derive_architecture, model_tensors
from prune.model.architecture import unpruned
from prune.model.file import load_strictly
from prune.model.transreid import TransReID
from tests.fakes import golden_weights as weights
from tests.fakes.undrawn import undrawn

HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Case:
    name: str
    meta: dict
    arrays: dict
    images: torch.Tensor
    cameras: torch.Tensor | None

    @property
    def variant(self):
        return self.meta["type"].split("_patch16")[0]

    @property
    def architecture(self):
        return unpruned(
            self.variant,
            stride=self.meta["stride"],
            jpm=self.meta["jpm"],
            cameras=self.meta["cameras"],
            identities=self.meta["num_classes"],
        )

    def state(self, *, token_index=True):
        """Return the state_dict of the authors' unpruned model."""
        depth = 8 if self.variant == "vit_small" else 12
        drawn = weights.fill(self.meta["keys"], self.meta["seed"], depth)
        state = {key: torch.from_numpy(value) for key, value in drawn.items()}
        for key, size in self.meta["keys"].items():
            if "num_batches_tracked" in key:
                state[key] = torch.zeros((), dtype=torch.long)
            elif token_index and "token_index" in key:
                state[key] = torch.ones(size, dtype=torch.bool)
        return state

    def model(self):
        state = self.state()
        architecture = derive_architecture(
            state, {"heads": None, "channels": None}, self.architecture, self.name
        )
        with undrawn():
            model = TransReID(architecture)
        load_strictly(model, model_tensors(state, architecture), self.name)
        return model.eval()

    def run(self, model):
        with torch.no_grad():
            return model(self.images, self.cameras).numpy()


@functools.cache
def case(name):
    meta = json.loads((HERE / "data" / "golden" / f"{name}.json").read_text())
    arrays = dict(np.load(HERE / "data" / "golden" / f"{name}.npz"))
    cameras = weights.cameras(meta["cameras"])
    images = torch.from_numpy(weights.images(meta["seed"]))
    return Case(name, meta, arrays, images, None if cameras is None else torch.from_numpy(cameras))


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)
