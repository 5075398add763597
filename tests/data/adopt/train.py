"""Train the two networks of `networks.py` on rendered people, and export each to an ONNX file as another project would.

    python -m tests.data.adopt.train PEOPLE --network osnet_like --out osnet_like.onnx

PEOPLE is a data set in the layout of Anny-ReID that has no person of data/anny_reid, such as benchmarks.people makes it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.graph import quiet
from prune.config.settings import TrainConfig
from prune.training import losses
from prune.training.data import training_batches
from runtime.datasets import guess_layout, read_dataset
from runtime.datasets.item import Item
from runtime.images.decode import load_image
from runtime.images.preprocess import resize, to_input
from runtime.ranking.metrics import evaluate
from runtime.spec import InputSpec
from tests.data.adopt.networks import DIM, osnet_like, resnet_like

HEIGHT, WIDTH = 128, 64
# The project's own test people, which no training set contains.
TEST = Path(__file__).resolve().parents[3] / "data" / "anny_reid"
AUGMENTATION = {
    "pad": 4,
    "erasing": 0.4,
    "warp": 0.3,
    "colour": 0.5,
    "tone": 0.6,
    "sharpness": 1.0,
    "jpeg": 0.3,
}


@dataclass(frozen=True)
class Kind:
    """A network, the input that it is trained on, and the names of the input and the output in its ONNX file.

    The network gets pixels 0..255 in the order B, G, R if `bgr255`, and otherwise RGB with the mean and std of ImageNet.
    """

    make: type[nn.Module] | object
    bgr255: bool
    names: tuple[str, str]


KINDS = {
    "osnet_like": Kind(osnet_like, False, ("input.1", "embeddings")),
    "resnet_like": Kind(resnet_like, True, ("data", "reid_embedding")),
}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def spec_of(kind: Kind) -> InputSpec:
    """Return the input of the training batches; `own_input` makes that of the network from it."""
    values = PLAIN if kind.bgr255 else IMAGENET
    return InputSpec(HEIGHT, WIDTH, "float-nchw", interpolation="bilinear", **values)


def own_input(images: Tensor, kind: Kind) -> Tensor:
    """Return the images (B, 3, H, W) as the network expects them."""
    return images.flip(1) * 255 if kind.bgr255 else images


def score(network: nn.Module, kind: Kind) -> float:
    """Return the mAP (0..1) on the test people of Anny-ReID."""
    dataset, spec = read_dataset(str(TEST), guess_layout(str(TEST))), spec_of(kind)

    def features(items: tuple[Item, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        crops = np.stack([resize(load_image(item.path), spec) for item in items])
        with torch.inference_mode():
            parts = [
                network(own_input(torch.from_numpy(to_input(part, spec)), kind))
                for part in np.array_split(crops, 12)
            ]
        found = nn.functional.normalize(torch.cat(parts)).numpy()
        return found, np.array([item.pid for item in items]), np.array([item.camid for item in items])

    network.eval()
    return float(evaluate(*features(dataset.query), *features(dataset.gallery)).to_json()["mAP"])


def train(people: Path, kind: Kind, *, epochs: int, lr: float, seed: int) -> nn.Module:
    """Train the network of `kind` on the training images of the data set `people`, and return it in eval mode."""
    torch.manual_seed(seed)
    items = read_dataset(str(people), "anny").train
    network = kind.make().to(memory_format=torch.channels_last)
    identities = len({item.pid for item in items})
    neck, classifier = nn.BatchNorm1d(DIM), nn.Linear(DIM, identities, bias=False)
    config = TrainConfig(identities=32, images=4, seed=seed, metric="contrastive", **AUGMENTATION)
    batches = training_batches(items, spec_of(kind), config)
    modules = nn.ModuleList([network, neck, classifier])
    optimiser = torch.optim.AdamW(modules.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, epochs * len(batches(0)), pct_start=0.15)
    for epoch in range(epochs):
        modules.train()
        began, total = time.monotonic(), 0.0
        for images, labels, _ in iter_epoch(batches(epoch)):
            features = network(own_input(images, kind))
            identity = losses.identity_loss([classifier(neck(features))], labels, smoothing=0.1)
            loss = losses.contrastive_loss([features], labels, temperature=0.1) + 0.5 * identity
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        seconds = time.monotonic() - began
        text = f"epoch {epoch + 1}: loss {total / len(batches(epoch)):.3f}, {seconds:.0f} s"
        if epoch % 3 == 2 or epoch + 1 == epochs:
            text += f", mAP {100 * score(network, kind):.1f} %"
        print(text, flush=True)
    return network.eval()


def iter_epoch(batches):  # noqa: D103
    return (batches[step] for step in range(len(batches)))


def write(network: nn.Module, kind: Kind, out: Path) -> None:
    """Export the network to `out` with torch's older exporter: float NCHW, names of its own, any batch, features not normalised."""
    images, (given, taken) = torch.zeros(1, 3, HEIGHT, WIDTH), kind.names
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            str(out),
            dynamo=False,
            opset_version=13,
            input_names=[given],
            output_names=[taken],
            dynamic_axes={given: {0: "N"}, taken: {0: "N"}},
        )


def main() -> None:
    """Train one network and write its ONNX file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("people", type=Path, help="the data set of rendered people")
    parser.add_argument("--network", choices=sorted(KINDS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lr", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    kind = KINDS[args.network]
    network = train(args.people, kind, epochs=args.epochs, lr=args.lr, seed=args.seed)
    write(network, kind, args.out)
    print(
        f"{args.out}: {args.out.stat().st_size} bytes, {sum(p.numel() for p in network.parameters())} parameters"
    )


if __name__ == "__main__":
    main()
