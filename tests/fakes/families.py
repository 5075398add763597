"""Golden cases of other authors' models (CLIP-ReID, PASS, PersonViT, TransReID-SSL): weights, images and recorded outputs."""

import functools
import json
from dataclasses import dataclass

import numpy as np
import torch

from tests.fakes import golden_weights as weights
from tests.fakes.golden import HERE


@dataclass(frozen=True)
class FamilyCase:
    """The json of a case, its arrays, and its images."""

    name: str
    meta: dict
    arrays: dict
    images: torch.Tensor

    def state(self):
        """Return the state_dict of the authors' model; the counters of batch norms are 0."""

        def drawn_name(key):
            for old, new in self.meta["draw_as"]:
                key = key.replace(old, new)
            return key

        shapes = {drawn_name(key): shape for key, shape in self.meta["keys"].items()}
        drawn = weights.fill(shapes, self.meta["seed"], 12)
        counter = torch.zeros((), dtype=torch.long)
        return {
            key: counter.clone() if "num_batches_tracked" in key else torch.from_numpy(drawn[drawn_name(key)])
            for key in self.meta["keys"]
        }

    def text_state(self):
        """Return the tensors of the text encoder that a checkpoint of CLIP-ReID also holds, filled with ones."""
        return {key: torch.ones(shape) for key, shape in self.meta["keys_text"].items()}

    def tolerance(self, array):
        """Return the largest allowed difference of `array`: four times the authors' own difference of float32 and float64."""
        return 4 * self.meta["float32_minus_float64"][array]


@functools.cache
def family_case(name):
    folder = HERE / "data" / "golden"
    meta = json.loads((folder / f"{name}.json").read_text())
    images = torch.from_numpy(weights.images(meta["seed"]))
    return FamilyCase(name, meta, dict(np.load(folder / f"{name}.npz")), images)
