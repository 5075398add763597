"""Whose row of a classifier is whose: people matched to rows by vote, and models with other rows. Knows no command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prune.model.surgery import rebuild
from prune.model.transreid import TransReID
from prune.scoring.run import Batch, evaluating
from prune.training.data import Crops, label_map
from runtime.datasets import Item
from runtime.datasets.cameras import camera_ids
from runtime.images.preprocess import to_input
from runtime.spec import InputSpec

# Measured on a vit_lite trained on 400 rendered people (benchmarks/people, 8 images each): its own people agree on 98 % of
# their images, each with a row of its own; strangers on 57 to 61 %, with the rows of whoever looks like them, and 3 to 12 % of
# the rows are wanted twice. Half would let strangers in.
MIN_AGREEMENT = 0.75
MAX_DISPUTED = 0.05


@dataclass(frozen=True)
class RowVotes:
    """Which classifier row each label got: `rows[label]`, all distinct, of `available` ones.

    `agree` (0..1) is the share of `images` whose best row is their label's; a row that only one image of a
    person chose counts for none. `disputed` people had another row as their images' first choice.
    """

    rows: tuple[int, ...]
    available: int
    images: int
    agree: float
    disputed: int

    @property
    def accepted(self) -> bool:
        """Whether the classifier knows these people: most images agree and hardly anybody is disputed."""
        return self.agree >= MIN_AGREEMENT and self.disputed <= MAX_DISPUTED * len(self.rows)

    def __str__(self) -> str:
        text = f"{len(self.rows)} of {self.available} rows, {self.agree:.0%} of {self.images} images agree"
        return text + (f", {self.disputed} people disputed" if self.disputed else "")


def assign_rows(votes: Tensor, scores: Tensor) -> list[int]:
    """A row of its own for every label: most votes first, the higher score where votes are equal.

    votes (K, R) counts and scores (K, R), R >= K. Greedy: who loses a row gets the best one that is free.
    """
    count, available = votes.shape
    order = np.lexsort((-scores.numpy().ravel(), -votes.numpy().ravel()))
    rows, taken = [-1] * count, set()
    for label, row in zip(*np.divmod(order, available)):
        if rows[label] < 0 and row not in taken:
            rows[label] = int(row)
            taken.add(row)
            if len(taken) == count:
                break
    return rows


def row_votes(model: TransReID, batches: Iterable[Batch], identities: int) -> RowVotes:
    """What the images of labels 0..identities-1 say about the rows of `model`'s classifiers, in eval mode.

    An image's vote is the best row of its heads' mean log-probability. The classifiers need as many rows.
    """
    available = model.shape.identities
    votes = torch.zeros(identities, available, dtype=torch.float64)
    scores = torch.zeros_like(votes)
    with evaluating(model), torch.no_grad():
        for images, labels, rows in batches:
            heads = model.logits(model.parts(images, rows))
            said = torch.stack([head.double().log_softmax(dim=1) for head in heads]).mean(dim=0).cpu()
            labels = labels.cpu()
            votes.index_put_((labels, said.argmax(dim=1)), torch.ones(()).double(), accumulate=True)
            scores.index_add_(0, labels, said)
    voters = votes.sum(dim=1)
    chosen = assign_rows(votes, scores / voters.clamp_min(1)[:, None])
    mine = votes[torch.arange(identities), chosen]
    # one image always agrees with itself
    agreed = mine[mine > 1].sum() / voters.sum().clamp_min(1)
    disputed = int((mine < votes.amax(dim=1)).sum())
    return RowVotes(tuple(chosen), available, int(voters.sum()), float(agreed), disputed)


def voting_items(items: Sequence[Item], each: int = 8) -> list[Item]:
    """Up to `each` images of every person, taken from its cameras in turn; no randomness."""
    people: dict[int, dict[int, list[Item]]] = {}
    for item in items:
        people.setdefault(item.pid, {}).setdefault(item.camid, []).append(item)
    chosen = []
    for _, cameras in sorted(people.items()):
        share = -(-each // len(cameras))
        turns = [
            (turn, camera, item)
            for camera, mine in cameras.items()
            for turn, item in enumerate(_spread(mine, share))
        ]
        chosen += [item for *_, item in sorted(turns, key=lambda entry: entry[:2])[:each]]
    return chosen


def voting_batches(items: Sequence[Item], spec: InputSpec, device: str, *, size: int = 64) -> Iterator[Batch]:
    """The images of `voters` in batches of `size` on `device`, labelled as in training; `spec` is float-nchw."""
    names, chosen = label_map(items), voting_items(items)
    crops = Crops(chosen, spec, cache_mib=0)
    policy = "input" if spec.camera == "input" else None
    for start in range(0, len(chosen), size):
        indices = range(start, min(start + size, len(chosen)))
        rows, _ = camera_ids([chosen[index].camid for index in indices], spec, policy=policy)
        yield (
            torch.from_numpy(to_input(crops(indices), spec)).to(device),
            torch.tensor([names[chosen[index].pid] for index in indices]),
            None if rows is None else torch.from_numpy(rows).to(device),
        )


def with_classifier_rows(model: TransReID, rows: Sequence[int]) -> TransReID:
    """The same model whose classifiers have only these rows, in this order: label n is row `rows[n]`."""
    index = torch.tensor(list(rows), device=model.base.cls_token.device)
    state = {
        key: value.index_select(0, index) if key.startswith("classifier") else value
        for key, value in model.state_dict().items()
    }
    return rebuild(model, dataclasses.replace(model.shape, identities=len(rows)), state)


def with_new_classifiers(model: TransReID, identities: int, *, seed: int) -> TransReID:
    """The same model with fresh classifiers for `identities` people, drawn by `seed`."""
    shape = dataclasses.replace(model.shape, identities=identities)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = TransReID(shape).state_dict()
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    return rebuild(model, shape, fresh | state)


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, at equal distances."""
    if len(items) <= count:
        return list(items)
    return [items[len(items) * index // count] for index in range(count)]
