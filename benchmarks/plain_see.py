"""The image protocols V1, V2 and V3 as a plain PyTorch script: second truth of the reproduction, reference of speed.

Nothing of Triptych is used but the split, so that both train on the same images. Datasets decode and convert one image
at a time and PyTorch's DataLoader gathers them, as tutorials do.

    python benchmarks/plain_see.py v1 --data KMNIST_FOLDER --rates 0.00001 0.0005 0.01 --seeds 0 1 2
    python benchmarks/plain_see.py v2 --data SCENES_FOLDER --seeds 0

Prints a line per epoch on standard error and one JSON line per training on standard output.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from triptych.data.splits import split_by_fraction

SPLIT_SEED = 0
EPOCHS = {"v1": 20, "v2": 40, "v3": 40}
RATES = {"v1": 0.0005, "v2": 0.01, "v3": 0.01}


@dataclass(frozen=True)
class Images:
    """One split: pictures as arrays of bytes, height x width (x 3), and a class number for each."""

    pictures: Sequence[np.ndarray]
    labels: Sequence[int]


class ImageSet(Dataset[tuple[Tensor, int]]):
    """Converts a picture at a time to a float tensor in [0, 1], channels first."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = self.images.pictures[index]
        pixels = torch.from_numpy(picture if picture.ndim == 3 else picture[:, :, None])
        return pixels.permute(2, 0, 1).contiguous().float() / 255, self.images.labels[index]


def build_v1() -> nn.Sequential:
    """Kuzushiji-MNIST: two convolutions, three linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 6 * 6, 600), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(600, 120), nn.ReLU(),
        nn.Linear(120, 10), nn.LogSoftmax(dim=1),
    )  # fmt: skip


def build_scenes(*, normalised: bool) -> nn.Sequential:
    """Intel scenes at 48x48: V2, or V3 where `normalised`."""
    layers: list[nn.Module] = []
    for inward, outward in ((3, 32), (32, 64), (64, 128)):
        layers.append(nn.Conv2d(inward, outward, 3, padding=1))
        layers += [nn.BatchNorm2d(outward)] if normalised else []
        layers += [nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)]
    layers += [nn.AdaptiveAvgPool2d(1)] if normalised else []
    layers += [nn.Flatten(), nn.Linear(128 if normalised else 128 * 6 * 6, 1024), nn.ReLU()]
    layers += [nn.BatchNorm1d(1024)] if normalised else []
    layers += [nn.Dropout(0.1), nn.Linear(1024, 512), nn.ReLU()]
    layers += [nn.BatchNorm1d(512)] if normalised else []
    layers += [nn.Linear(512, 6), nn.LogSoftmax(dim=1)]
    return nn.Sequential(*layers)


def build(name: str) -> nn.Sequential:
    """`v1`, `v2` or `v3`."""
    return build_v1() if name == "v1" else build_scenes(normalised=name == "v3")


def read_kmnist(folder: Path) -> dict[str, Images]:
    """The 10,000 images split 8,000 / 1,000 / 1,000, the same share of each class."""
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as stream:
        pictures = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28).copy()
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(), np.uint8, offset=8).astype(int).tolist()
    keys = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures]
    parts = split_by_fraction(
        keys, fractions={"train": 0.8, "valid": 0.1, "test": 0.1}, seed=SPLIT_SEED, stratify=labels
    )
    return {name: Images(list(pictures[rows]), [labels[row] for row in rows]) for name, rows in parts.items()}


def read_scenes(folder: Path, size: int = 48) -> dict[str, Images]:
    """The `train` folder split 90 / 10, the same share of each class, and the `test` folder."""
    pictures, labels, keys = _read_folder(folder / "train", size)
    parts = split_by_fraction(keys, fractions={"train": 0.9, "valid": 0.1}, seed=SPLIT_SEED, stratify=labels)
    splits = {
        name: Images([pictures[row] for row in rows], [labels[row] for row in rows]) for name, rows in parts.items()
    }
    pictures, labels, _ = _read_folder(folder / "test", size)
    return {**splits, "test": Images(pictures, labels)}


def _read_folder(folder: Path, size: int) -> tuple[list[np.ndarray], list[int], list[str]]:
    pictures, labels, keys = [], [], []
    for label, directory in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(directory.iterdir()):
            content = path.read_bytes()
            image = Image.open(io.BytesIO(content)).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            pictures.append(np.array(image))
            labels.append(label)
            keys.append(hashlib.sha256(content).hexdigest())
    return pictures, labels, keys


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader[tuple[Tensor, int]]) -> float:
    """One pass over the training images; the mean loss."""
    model.train()
    total, count = 0.0, 0
    for pixels, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.nll_loss(model(pixels), labels)
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item() * len(labels)
        count += len(labels)
    return total / count


def accuracy(model: nn.Module, images: Images) -> float:
    """Share of a split's images that are classified rightly."""
    model.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in DataLoader(ImageSet(images), batch_size=256):
            right += int((model(pixels).argmax(dim=1) == labels).sum())
    return right / len(images.labels)


def train(name: str, splits: dict[str, Images], *, rate: float, seed: int, epochs: int) -> dict[str, object]:
    """One training under the protocol: what the last and the best epoch by validation reach on test."""
    torch.manual_seed(seed)
    model = build(name)
    kind = torch.optim.Adam if name == "v1" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=rate)
    loader = DataLoader(ImageSet(splits["train"]), batch_size=8, shuffle=True)
    history, losses, best, best_test = [], [], -1.0, 0.0
    began = time.perf_counter()
    for epoch in range(1, epochs + 1):
        losses.append(train_epoch(model, optimizer, loader))
        history.append(accuracy(model, splits["valid"]))
        if history[-1] > best:
            best, best_test = history[-1], accuracy(model, splits["test"])
        print(f"{name} {rate} {seed} {epoch} {losses[-1]:.4f} {history[-1]:.4f}", file=sys.stderr, flush=True)
    return {
        "system": name,
        "rate": rate,
        "seed": seed,
        "epochs": epochs,
        "valid_best": best,
        "test_best": best_test,
        "valid_last": history[-1],
        "test_last": accuracy(model, splits["test"]),
        "train_loss_last": losses[-1],
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Train one system at some rates and seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=list(EPOCHS))
    parser.add_argument("--data", type=Path, required=True, help="kmnist-10k for v1, intel for v2 and v3")
    parser.add_argument("--rates", type=float, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    splits = read_kmnist(given.data) if given.system == "v1" else read_scenes(given.data)
    for seed in given.seeds:
        for rate in given.rates or [RATES[given.system]]:
            told = train(given.system, splits, rate=rate, seed=seed, epochs=given.epochs or EPOCHS[given.system])
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
