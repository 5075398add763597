"""Training batches: which crops go together, and how they are augmented. Knows no model.

What a batch holds depends only on (seed, epoch, step): any step can be made again, alone, on any thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.config.settings import TrainConfig
from prune.scoring.run import Batch
from prune.training import photography
from prune.training.augment import erase, flip, normalise, shift
from prune.training.silhouettes import Silhouettes, read_silhouettes
from runtime.datasets import Item
from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError
from runtime.images.decode import load_image
from runtime.images.preprocess import resize, to_input
from runtime.spec import InputSpec


def label_map(items: Sequence[Item]) -> dict[int, int]:
    """Person id -> label 0..K-1, in ascending order of person ids: the same on every machine."""
    return {pid: label for label, pid in enumerate(sorted({item.pid for item in items}))}


def pk_batches(
    labels: Sequence[int], *, identities: int, images: int, seed: int, epoch: int
) -> list[list[int]]:
    """One epoch of batches: lists of `identities` x `images` indices into `labels`, grouped by identity.

    Every identity's images are shuffled and cut into groups of `images`; a tail is dropped, and an identity
    with fewer is drawn with replacement. Batches of distinct identities are drawn until fewer than
    `identities` have a group left. ConfigError when there are fewer from the start.
    """
    random = np.random.default_rng([seed, epoch])
    every = np.asarray(labels)
    groups = {}
    for label in np.unique(every).tolist():
        mine = np.flatnonzero(every == label)
        order = random.permutation(mine) if len(mine) >= images else random.choice(mine, images)
        groups[label] = [
            order[start : start + images].tolist() for start in range(0, len(order) - images + 1, images)
        ]
    if len(groups) < identities:
        raise ConfigError(
            f"a batch needs {identities} identities, the training set has {len(groups)}; set train.identities and "
            "prune.identities to no more than it has, and to 2 at least"
        )
    batches = []
    while len(left := [label for label, mine in groups.items() if mine]) >= identities:
        chosen = random.choice(left, identities, replace=False).tolist()
        batches.append([index for label in chosen for index in groups[label].pop()])
    return batches


@dataclass
class Crops:
    """Resized crops by index: kept while they fit into `cache_mib` MiB, the rest read again each time."""

    items: Sequence[Item]
    spec: InputSpec
    cache_mib: int = 1024
    _kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def __call__(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """(B, height, width, 3) uint8 RGB; DataError names an image that cannot be read."""
        return np.stack([self._crop(index) for index in indices])

    def _crop(self, index: int) -> NDArray[np.uint8]:
        crop = self._kept.get(index)
        if crop is None:
            crop = resize(load_image(self.items[index].path), self.spec)
            if (len(self._kept) + 1) * crop.nbytes <= self.cache_mib << 20:
                self._kept[index] = crop
        return crop


def camera_augment(pixels: Tensor, cameras: Tensor, config: TrainConfig, random: torch.Generator) -> Tensor:
    """(B, 3, H, W) pixels 0..1 as other cameras, (B,) numbers, would show them; unchanged where nothing is set."""
    if config.warp:
        pixels = photography.warp(pixels, config.warp, random)
    if config.colour:
        pixels = photography.colour(pixels, config.colour, random)
    if config.tone:
        pixels = photography.tone(pixels, cameras, config.tone, random)
    if config.sharpness:
        pixels = photography.sharpness(pixels, config.sharpness, random)
    if config.jpeg:
        pixels = photography.jpeg(pixels.clamp(0, 1), config.jpeg, random)
    return pixels.clamp(0, 1)


@dataclass(frozen=True)
class Epoch:
    """A sequence of augmented batches, each made on demand.

    A batch is (images (B, 3, H, W) float32 normalised, labels (B,), camera rows (B,) or None). `rank` of
    `ranks` processes gets its share of every batch's identities.
    """

    crops: Crops
    labels: Sequence[int]
    batches: Sequence[Sequence[int]]
    config: TrainConfig
    number: int
    rank: int = 0
    ranks: int = 1
    silhouettes: Silhouettes | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Batch:
        share = len(self.batches[step]) // self.ranks
        indices = self.batches[step][self.rank * share : (self.rank + 1) * share]
        crops = torch.from_numpy(self.crops(indices)).permute(0, 3, 1, 2)
        random = generator(self.config.seed, self.number, step, self.rank)
        pixels, items = crops.float() / 255, [self.crops.items[index] for index in indices]
        if self.silhouettes is not None:
            person = self.silhouettes(items, *pixels.shape[2:])
            pixels = photography.background(pixels, person, self.config.background, random)
        pixels = shift(flip(pixels, self.config.flip, random), self.config.pad, random)
        cameras = torch.tensor([item.camid for item in items])
        pixels = camera_augment(pixels, cameras, self.config, random)
        images = erase(normalise(pixels, self.crops.spec), self.config.erasing, random)
        return images, *targets(self.crops, self.labels, indices)


@dataclass(frozen=True)
class TrainingBatches:
    """Epoch number -> its batches, from the training items and a configuration."""

    crops: Crops
    config: TrainConfig
    rank: int = 0
    ranks: int = 1
    silhouettes: Silhouettes | None = None

    def __call__(self, epoch: int) -> Epoch:
        """The batches of one epoch; ConfigError when a batch's identities cannot be shared evenly."""
        config = self.config
        # One identity alone has no negatives for the triplet loss.
        if config.identities % self.ranks or config.identities < 2 * self.ranks:
            raise ConfigError(
                f"train.identities {config.identities} cannot be shared by {self.ranks} processes; "
                "set a multiple of them, at least twice their number"
            )
        names = label_map(self.crops.items)
        labels = [names[item.pid] for item in self.crops.items]
        batches = pk_batches(
            labels, identities=config.identities, images=config.images, seed=config.seed, epoch=epoch
        )
        return Epoch(self.crops, labels, batches, config, epoch, self.rank, self.ranks, self.silhouettes)


def training_batches(
    items: Sequence[Item], spec: InputSpec, config: TrainConfig, *, rank: int = 0, ranks: int = 1
) -> TrainingBatches:
    """The batches that prune.training.loop.fit takes; `spec` is the torch model's input (float-nchw).

    DataError when backgrounds are to be replaced in pictures without masks.
    """
    silhouettes = read_silhouettes(items) if config.background else None
    return TrainingBatches(Crops(items, spec, config.cache_mib), config, rank, ranks, silhouettes)


def prefetched(batches: Sequence[Batch], first: int, *, workers: int) -> Iterator[Batch]:
    """batches[first:], in order, fetched ahead by `workers` threads."""
    pool = ThreadPoolExecutor(workers)
    try:
        pending: deque[Future[Batch]] = deque()
        for step in range(first, len(batches)):
            pending.append(pool.submit(batches.__getitem__, step))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def scoring_batches(
    items: Sequence[Item],
    spec: InputSpec,
    *,
    identities: int = 16,
    images: int = 4,
    batches: int = 0,
    seed: int = 1234,
) -> Iterator[Batch]:
    """`batches` training batches (0: one epoch) without augmentation, drawn by `seed`, read one at a time.

    Each is (images (B, 3, H, W) float32 normalised, labels (B,), camera rows (B,) or None).
    """
    names = label_map(items)
    labels = [names[item.pid] for item in items]
    crops = Crops(items, spec, cache_mib=0)
    done, epoch = 0, 0
    while epoch == 0 or done < batches:
        for indices in pk_batches(labels, identities=identities, images=images, seed=seed, epoch=epoch):
            if batches and done == batches:
                return
            yield torch.from_numpy(to_input(crops(indices), spec)), *targets(crops, labels, indices)
            done += 1
        epoch += 1


def generator(*key: int) -> torch.Generator:
    """A random stream that depends on the numbers of `key` alone."""
    state = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def targets(crops: Crops, labels: Sequence[int], indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """(labels (B,), camera rows (B,) or None) of some crops."""
    # Training ids index the table by definition: the table is made for them.
    rows, _ = camera_ids(
        [crops.items[index].camid for index in indices], crops.spec, policy=_policy(crops.spec)
    )
    targets = torch.tensor([labels[index] for index in indices])
    return targets, None if rows is None else torch.from_numpy(rows)


def _policy(spec: InputSpec) -> str | None:
    return "input" if spec.camera == "input" else None
