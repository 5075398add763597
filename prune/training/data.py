"""Select the crops of each training batch, and augment them. Imports no model.

The content of a batch depends only on (seed, epoch, step), so any thread can compute any batch, in any order.
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
from prune.scoring.model_scores import Batch
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
    """Return {person id: label}, with labels 0..K-1 in ascending order of the person ids, which is the same on every machine."""
    return {pid: label for label, pid in enumerate(sorted({item.pid for item in items}))}


def pk_batches(
    labels: Sequence[int], *, identities: int, images: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return the batches of one epoch, each a list of `identities` x `images` indices into `labels`, grouped by identity.

    The images of each identity are shuffled and cut into groups of `images`. An incomplete last group is dropped. If
    an identity has fewer images, `images` are drawn from them with replacement. Each batch takes one group of each of `identities`
    different identities, until fewer than `identities` have a group left. `labels` has the label of every image; `seed` and `epoch`
    determine the random order. Raises ConfigError when the data has fewer identities than a batch needs.
    """
    random = np.random.default_rng([seed, epoch])
    all_labels = np.asarray(labels)
    groups = {}
    for label in np.unique(all_labels).tolist():
        label_indices = np.flatnonzero(all_labels == label)
        if len(label_indices) >= images:
            order = random.permutation(label_indices)
        else:
            order = random.choice(label_indices, images)
        groups[label] = [
            order[start : start + images].tolist() for start in range(0, len(order) - images + 1, images)
        ]
    if len(groups) < identities:
        raise ConfigError(
            f"a batch needs {identities} identities, but the training set has only {len(groups)}; set train.identities "
            f"and prune.identities to a number from 2 to {len(groups)}"
        )
    batches = []
    while len(remaining := [label for label, group in groups.items() if group]) >= identities:
        batch_labels = random.choice(remaining, identities, replace=False).tolist()
        batches.append([index for label in batch_labels for index in groups[label].pop()])
    return batches


@dataclass
class Crops:
    """A callable: `crops(indices)` returns the images `items[index]`, resized, as one array (B, height, width, 3) uint8 RGB.

    `spec` gives the height and width of the crops. Up to `cache_mib` MiB of crops stay in memory; the others are read again each
    time.
    """

    items: Sequence[Item]
    spec: InputSpec
    cache_mib: int = 1024
    _cache: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def __call__(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the crops as (B, height, width, 3) uint8 RGB. Raises DataError for an image that cannot be read."""
        return np.stack([self._crop(index) for index in indices])

    def _crop(self, index: int) -> NDArray[np.uint8]:
        crop = self._cache.get(index)
        if crop is None:
            crop = resize(load_image(self.items[index].path), self.spec)
            if (len(self._cache) + 1) * crop.nbytes <= self.cache_mib << 20:
                self._cache[index] = crop
        return crop


def camera_augment(pixels: Tensor, cameras: Tensor, config: TrainConfig, random: torch.Generator) -> Tensor:
    """Return `pixels` (B, 3, H, W) in 0..1, changed as if other cameras had taken them; `cameras` (B,) are the crops' camera numbers.

    The settings warp, colour, tone, sharpness and jpeg of `config` are the strengths or probabilities of the augmentations of
    `photography`. An augmentation whose setting is 0 is not applied.
    """
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
    """The augmented batches of one epoch, as a sequence; each batch is computed when it is indexed.

    A batch is (images (B, 3, H, W) float32 normalised, labels (B,), indices (B,) of the camera embeddings or None). `labels` has the
    label of every crop, `batches` the indices of the crops of each batch, and `number` is the number of the epoch. Process `rank` of
    `ranks` processes gets its share of every batch's identities. `silhouettes` are the masks for replacing backgrounds, or None.
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
    """A callable: `batches(n)` returns the `Epoch` number n, counted from 0. The fields are those of `Epoch`."""

    crops: Crops
    config: TrainConfig
    rank: int = 0
    ranks: int = 1
    silhouettes: Silhouettes | None = None

    def __call__(self, epoch: int) -> Epoch:
        """Return the batches of epoch `epoch`. Raises ConfigError when processes cannot share the identities of a batch evenly."""
        config = self.config
        # The triplet loss needs negatives, so each process needs two identities.
        if config.identities % self.ranks or config.identities < 2 * self.ranks:
            raise ConfigError(
                f"train.identities {config.identities} cannot be shared evenly by {self.ranks} processes; "
                f"set it to a multiple of {self.ranks}, and to at least {2 * self.ranks}"
            )
        label_of_pid = label_map(self.crops.items)
        labels = [label_of_pid[item.pid] for item in self.crops.items]
        batches = pk_batches(
            labels, identities=config.identities, images=config.images, seed=config.seed, epoch=epoch
        )
        return Epoch(self.crops, labels, batches, config, epoch, self.rank, self.ranks, self.silhouettes)


def training_batches(
    items: Sequence[Item], spec: InputSpec, config: TrainConfig, *, rank: int = 0, ranks: int = 1
) -> TrainingBatches:
    """Return the argument `batches_of_epoch` of prune.training.loop.fit: a callable from the number of an epoch to its batches.

    `items` are the training images, and `spec` is the input of the torch model (float-nchw). `rank` is the number of this process
    among `ranks` processes. Raises DataError when `config.background` is not 0 and the data set has no person masks.
    """
    silhouettes = read_silhouettes(items) if config.background else None
    return TrainingBatches(Crops(items, spec, config.cache_mib), config, rank, ranks, silhouettes)


def prefetched(batches: Sequence[Batch], first: int, *, workers: int) -> Iterator[Batch]:
    """Yield the batches from index `first` on, in order; `workers` threads compute them in advance."""
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
    """Yield training batches without augmentation, each of `identities` x `images` crops.

    `batches` is the number of batches; if it is 0, the batches of one epoch are yielded. `spec` is the input of the torch model
    (float-nchw), and `seed` determines which crops the batches hold. Each batch is (images (B, 3, H, W) float32 normalised, labels
    (B,), indices (B,) of the camera embeddings or None).
    """
    label_of_pid = label_map(items)
    labels = [label_of_pid[item.pid] for item in items]
    crops = Crops(items, spec, cache_mib=0)
    yielded, epoch = 0, 0
    while epoch == 0 or yielded < batches:
        for indices in pk_batches(labels, identities=identities, images=images, seed=seed, epoch=epoch):
            if batches and yielded == batches:
                return
            yield torch.from_numpy(to_input(crops(indices), spec)), *targets(crops, labels, indices)
            yielded += 1
        epoch += 1


def generator(*key: int) -> torch.Generator:
    """Return a random generator whose seed depends only on the numbers of `key`."""
    state = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def targets(crops: Crops, labels: Sequence[int], indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """Return (labels (B,), indices (B,) of the camera embeddings) for the crops at `indices`.

    The second is None for a model without camera embeddings.
    """
    # The camera table has a row for every camera of the training set, so the ids are always valid.
    policy = "input" if crops.spec.camera == "input" else None
    camera_rows, _ = camera_ids([crops.items[index].camid for index in indices], crops.spec, policy=policy)
    batch_labels = torch.tensor([labels[index] for index in indices])
    return batch_labels, None if camera_rows is None else torch.from_numpy(camera_rows)
