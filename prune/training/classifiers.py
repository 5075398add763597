"""Match identities to classifier rows by voting, and change the rows of a model's classifiers. Imports no command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prune.model.surgery import rebuild
from prune.model.transreid import TransReID
from prune.scoring.model_scores import Batch, eval_mode
from prune.training.data import Crops, label_map
from runtime.datasets import Item
from runtime.datasets.cameras import camera_ids
from runtime.images.preprocess import to_input
from runtime.spec import InputSpec

# Measured on a vit_lite trained on 400 rendered people (benchmarks/people, 8 images each). For the people it was trained on,
# 98 % of the images agree and each person has a row of its own. For other people, 57 to 61 % agree on the row of a similar
# person, and 3 to 12 % of the rows are the first choice of two people. A threshold of one half would accept these people.
MIN_AGREEMENT = 0.75
MAX_DISPUTED = 0.05


@dataclass(frozen=True)
class RowVotes:
    """The classifier row that each label won by the votes of its images: label n gets `rows[n]`, each row at most once.

    A label is the number of an identity (a person), and each of its images votes for one row (see `row_votes`). `available` is the
    number of rows of the classifier, and `images` the number of images that voted. `agree` (0..1) is the share of all these images
    that voted for the row that their label won. If only one image of a label voted for that row, it is not counted as agreeing.
    `disputed` is the number of labels whose images gave more votes to another row than to the row that the label won.
    """

    rows: tuple[int, ...]
    available: int
    images: int
    agree: float
    disputed: int

    @property
    def accepted(self) -> bool:
        """Whether the classifier was probably trained on the people who are in the voting images.

        This holds if at least 75 % of the images voted for the row that their label won, and at most 5 % of the labels are disputed.
        """
        return self.agree >= MIN_AGREEMENT and self.disputed <= MAX_DISPUTED * len(self.rows)

    def __str__(self) -> str:
        text = f"{len(self.rows)} of {self.available} rows, {self.agree:.0%} of {self.images} images agree"
        return text + (f", {self.disputed} people disputed" if self.disputed else "")


def assign_rows(votes: Tensor, scores: Tensor) -> list[int]:
    """Return a distinct classifier row for every label, a list of K row numbers.

    `votes` (K, R) holds the number of votes of each label for each row, with R >= K. The assignment is greedy: the pairs of label
    and row with the most votes come first, and a label whose best row is taken gets the best free row. `scores` (K, R), such as mean
    log-probabilities, decides between pairs with equal votes: the pair with the higher score comes first.
    """
    count, available = votes.shape
    order = np.lexsort((-scores.numpy().ravel(), -votes.numpy().ravel()))
    rows, taken_rows = [-1] * count, set()
    for label, row in zip(*np.divmod(order, available)):
        if rows[label] < 0 and row not in taken_rows:
            rows[label] = int(row)
            taken_rows.add(row)
            if len(taken_rows) == count:
                break
    return rows


def row_votes(model: TransReID, batches: Iterable[Batch], identities: int) -> RowVotes:
    """Match the labels 0..identities-1 to rows of the model's classifiers by the votes of the images in `batches`, in eval mode.

    An image votes for the row with the highest log-probability, averaged over the classifiers of the global and local features. The
    classifiers must have at least `identities` rows.
    """
    available = model.architecture.identities
    votes = torch.zeros(identities, available, dtype=torch.float64)
    scores = torch.zeros_like(votes)
    with eval_mode(model), torch.no_grad():
        for images, labels, camera_rows in batches:
            logits = model.logits(model.parts(images, camera_rows))
            log_probabilities = (
                torch.stack([head.double().log_softmax(dim=1) for head in logits]).mean(dim=0).cpu()
            )
            labels = labels.cpu()
            best_rows = log_probabilities.argmax(dim=1)
            votes.index_put_((labels, best_rows), torch.ones(()).double(), accumulate=True)
            scores.index_add_(0, labels, log_probabilities)
    images_per_label = votes.sum(dim=1)
    rows = assign_rows(votes, scores / images_per_label.clamp_min(1)[:, None])
    votes_for_row = votes[torch.arange(identities), rows]
    # A single vote does not count, because one image always agrees with itself.
    agreement = votes_for_row[votes_for_row > 1].sum() / images_per_label.sum().clamp_min(1)
    disputed = int((votes_for_row < votes.amax(dim=1)).sum())
    return RowVotes(tuple(rows), available, int(images_per_label.sum()), float(agreement), disputed)


def voting_items(items: Sequence[Item], each: int = 8) -> list[Item]:
    """Return up to `each` images of every person, taken from the person's cameras in turn, without randomness."""
    people: dict[int, dict[int, list[Item]]] = {}
    for item in items:
        people.setdefault(item.pid, {}).setdefault(item.camid, []).append(item)
    selected = []
    for _, cameras in sorted(people.items()):
        per_camera = -(-each // len(cameras))
        turns = [
            (turn, camera, item)
            for camera, camera_items in cameras.items()
            for turn, item in enumerate(_evenly_spaced(camera_items, per_camera))
        ]
        selected += [item for *_, item in sorted(turns, key=lambda entry: entry[:2])[:each]]
    return selected


def voting_batches(items: Sequence[Item], spec: InputSpec, device: str, *, size: int = 64) -> Iterator[Batch]:
    """Yield the images of `voting_items(items)` in batches of up to `size`, for `row_votes`.

    A batch is (images (B, 3, H, W) float32 normalised, labels (B,), indices (B,) of the camera embeddings or None). The labels are
    those of `label_map(items)`, as in training, and stay on the CPU; the rest is on `device`. `spec` is the input of the torch model
    (float-nchw).
    """
    labels, selected = label_map(items), voting_items(items)
    crops = Crops(selected, spec, cache_mib=0)
    policy = "input" if spec.camera == "input" else None
    for start in range(0, len(selected), size):
        indices = range(start, min(start + size, len(selected)))
        camera_rows, _ = camera_ids([selected[index].camid for index in indices], spec, policy=policy)
        yield (
            torch.from_numpy(to_input(crops(indices), spec)).to(device),
            torch.tensor([labels[selected[index].pid] for index in indices]),
            None if camera_rows is None else torch.from_numpy(camera_rows).to(device),
        )


def with_classifier_rows(model: TransReID, rows: Sequence[int]) -> TransReID:
    """Return a new model whose classifiers have only the given rows; row n of the new classifiers is the former row `rows[n]`."""
    index = torch.tensor(list(rows), device=model.base.cls_token.device)
    state = {
        key: value.index_select(0, index) if key.startswith("classifier") else value
        for key, value in model.state_dict().items()
    }
    return rebuild(model, dataclasses.replace(model.architecture, identities=len(rows)), state)


def with_new_classifiers(model: TransReID, identities: int, *, seed: int) -> TransReID:
    """Return a copy of the model with newly initialised classifiers for `identities` people; `seed` determines their weights."""
    architecture = dataclasses.replace(model.architecture, identities=identities)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        initial_state = TransReID(architecture).state_dict()
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    return rebuild(model, architecture, initial_state | state)


def _evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` of the items, evenly spaced over the sequence."""
    if len(items) <= count:
        return list(items)
    return [items[len(items) * index // count] for index in range(count)]
