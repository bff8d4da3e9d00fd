"""How fast `see` trains and predicts, as ratios measured in one run.

python benchmarks/see.py                         made-up images, five repeats
python benchmarks/see.py --quick                 fewer images and repeats: a look, not a result
python benchmarks/see.py --kmnist DIR --scenes DIR --json   real ones: IDX files, and a folder per class
python benchmarks/see.py --processor-time        counts processor time, where others use the machine too

Speed hardly depends on what is in the images; the made-up ones have the sizes and formats of the real ones.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from epoch_timer import EpochTimer
from PIL import Image
from plain_see import Images, ImageSet, build, train_epoch
from timing import Result, Task, interleaved, show, speedup, spread
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from triptych.config import Precision, SeeRecipe, load_recipe
from triptych.errors import TriptychError
from triptych.images.classifier import Classifier
from triptych.images.form import InputForm
from triptych.images.sources import Collection
from triptych.see.adapter import NetworkScorer
from triptych.see.batches import ImageBatch
from triptych.see.collection import load_collection
from triptych.see.images import Images as Split, scaled
from triptych.see.objective import SeeObjective
from triptych.see.panel import PANEL
from triptych.training.fit import fit
from triptych.training.hardware import precision_here
from triptych.training.objective import Prepared
from triptych.training.optimizers import build_optimizer
from triptych.training.output import Output

RECIPES = {"V1": "kmnist-cnn", "V2": "scenes-cnn", "V3": "scenes-cnn-norm"}
BATCH_SIZES = (8, 64)
LOADER_TARGETS = {8: 1.0, 64: 1.5}
FLOOR_TARGET = 0.85
PREDICTION_TARGET = 1.5
WARM_UP_BATCHES = 3

Clock = Callable[[], float]
Seconds = Mapping[str, Sequence[float]]
Details = dict[str, float | int | str]


@dataclass(frozen=True)
class Size:
    """How much to measure: training images of V1, of V2 and V3, images to predict, repeats."""

    grey: int = 3_200
    colour: int = 640
    predicted: int = 512
    repeats: int = 5


QUICK = Size(grey=640, colour=128, predicted=96, repeats=2)


@dataclass(frozen=True)
class Subject:
    """A system with its data, ready to train.

    Attributes:
        name: `V1`, `V2` or `V3`.
        files: of the training images, where they are files.
    """

    name: str
    recipe: SeeRecipe
    collection: Collection[Split]
    prepared: Prepared
    files: Sequence[Path]

    @property
    def images(self) -> int:
        """Training images in an epoch."""
        return len(self.collection.splits["train"].labels)

    @property
    def objective(self) -> SeeObjective:
        """What is trained."""
        assert isinstance(self.prepared.objective, SeeObjective)
        return self.prepared.objective


class JpegSet(Dataset[tuple[Tensor, int]]):
    """Decodes a file at a time, as an image folder of the usual libraries does."""

    def __init__(self, files: Sequence[Path], labels: Sequence[int], form: InputForm) -> None:
        self.files = files
        self.labels = labels
        self.form = form

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return plain_tensor(self.files[index], self.form), self.labels[index]


def plain_tensor(path: Path, form: InputForm) -> Tensor:
    """An image in [0, 1], channels first, read as tutorials do."""
    with Image.open(path) as image:
        array = np.array(image.convert("RGB").resize((form.width, form.height), Image.Resampling.BILINEAR))
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().float() / 255


def draw_images(folder: Path, size: Size) -> tuple[Path, Path]:
    """An .npz of 28 x 28 grey images of ten classes, and a folder of 150 x 150 JPEGs of six."""
    drawn = np.random.default_rng(0)
    count = size.grey + 200
    np.savez(folder / "grey.npz", x=drawn.integers(0, 256, (count, 28, 28), dtype=np.uint8), y=np.arange(count) % 10)
    scenes = folder / "scenes"
    for row in range(size.colour + 60):
        coarse = Image.fromarray(drawn.integers(0, 256, (15, 15, 3), dtype=np.uint8))
        place = scenes / f"class{row % 6}"
        place.mkdir(parents=True, exist_ok=True)
        coarse.resize((150, 150), Image.Resampling.BICUBIC).save(place / f"{row:05d}.jpg", quality=90)
    return folder / "grey.npz", scenes


def prepare(name: str, batch_size: int, data: Path, size: Size) -> Subject:
    """Read the data and build the network."""
    images = size.grey if name == "V1" else size.colour
    limits = [f"data.max_train_images={images}", "data.max_eval_images=64", "data.set=''"]
    recipe = load_recipe(RECIPES[name], [*limits, f"training.batch_size={batch_size}", "training.epochs=2"])
    assert isinstance(recipe, SeeRecipe)
    collection = load_collection(recipe.data, data)
    paths = [data / name for name in collection.splits["train"].names]
    files = paths if all(path.is_file() for path in paths) else []
    return Subject(name, recipe, collection, PANEL.build(recipe, collection), files)


def counted(work: Callable[[], object], clock: Clock) -> Task:
    """A task that all of its work's time counts for."""

    def task() -> float:
        began = clock()
        work()
        return clock() - began

    return task


def fit_task(subject: Subject, clock: Clock, precision: Precision = "32-true") -> Task:
    """Training through the real path; the second epoch counts, without its validation."""
    training = subject.recipe.training.model_copy(update={"precision": precision})

    def task() -> float:
        timer = EpochTimer(clock)
        fit(
            subject.prepared.objective,
            subject.prepared.loaders,
            optimizer=subject.recipe.optimizer,
            training=training,
            run=None,
            output=Output(callbacks=(timer,)),
        )
        return timer.seconds[1]

    return task


def floor_task(subject: Subject, clock: Clock, *, channels_last: bool = True, bfloat16: bool = False) -> Task:
    """The same modules and optimizer on batches in memory: no loader, no trainer."""
    network = subject.objective.network
    layout = torch.channels_last if channels_last else torch.contiguous_format
    batches: list[ImageBatch] = list(subject.prepared.loaders.train(0, 1))
    values = [scaled(subject.objective.form, batch.pixels).contiguous(memory_format=layout) for batch in batches]
    optimizer = build_optimizer(network.parameters(), subject.recipe.optimizer)

    def work(some: int) -> None:
        network.to(memory_format=layout)  # type: ignore[call-overload]
        network.train()
        for batch, images in zip(batches[:some], values, strict=False):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = nn.functional.cross_entropy(network(images).float(), batch.labels)
            torch.autograd.backward(loss)
            optimizer.step()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    work(WARM_UP_BATCHES)
    return counted(lambda: work(len(batches)), clock)


def plain_task(subject: Subject, clock: Clock, *, from_files: bool = False) -> Task:
    """An epoch of the plain loop over the same images, with PyTorch's DataLoader and the protocol's optimizer."""
    train, form = subject.collection.splits["train"], subject.objective.form
    labels = train.labels.tolist()
    arrays = [pixels.permute(1, 2, 0).contiguous().numpy() for pixels in train.pixels]
    images: Any = JpegSet(subject.files, labels, form) if from_files else ImageSet(Images(arrays, labels))
    model = build(subject.name.lower())
    kind = torch.optim.Adam if subject.name == "V1" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=subject.recipe.optimizer.learning_rate)
    batch_size = subject.recipe.training.batch_size
    few = torch.utils.data.Subset(images, range(min(len(labels), WARM_UP_BATCHES * batch_size)))
    train_epoch(model, optimizer, DataLoader(few, batch_size=batch_size))
    loader = DataLoader(images, batch_size=batch_size, shuffle=True)
    return counted(lambda: train_epoch(model, optimizer, loader), clock)


def training_results(subject: Subject, repeats: int, clock: Clock) -> list[Result]:
    """Images per second of one system at one batch size, against everything else."""
    batch_size = subject.recipe.training.batch_size
    tasks = {
        "fit": fit_task(subject, clock),
        "loader": plain_task(subject, clock),
        "floor": floor_task(subject, clock),
        "channels first": floor_task(subject, clock, channels_last=False),
    }
    targets: dict[str, float | None] = {"loader": LOADER_TARGETS[batch_size], "floor": FLOOR_TARGET}
    if subject.files:
        tasks["loader of files"] = plain_task(subject, clock, from_files=True)
        targets["loader of files"] = None
    if batch_size == BATCH_SIZES[-1]:
        tasks["bfloat16"] = floor_task(subject, clock, bfloat16=True)
        tasks["fit auto"] = fit_task(subject, clock, "auto")
    seconds = interleaved({f"{subject.name} batch {batch_size} {name}": task for name, task in tasks.items()}, repeats)
    label = f"{subject.name} batch {batch_size}"
    results = [
        _result(f"{label} training", "fit", name, seconds, label, subject.images, target)
        for name, target in targets.items()
    ]
    results.append(_result(f"{label} channels last", "floor", "channels first", seconds, label, subject.images, None))
    if "bfloat16" in tasks:
        chosen = precision_here("auto", "cpu")
        name = f"{label} training in precision auto ({chosen})"
        results.append(_result(name, "fit auto", "loader", seconds, label, subject.images, targets["loader"]))
        results.append(_result(f"{label} bfloat16", "bfloat16", "floor", seconds, label, subject.images, None))
    return results


def _result(
    what: str, ours: str, other: str, seconds: Seconds, label: str, images: int, target: float | None
) -> Result:
    mine, theirs = seconds[f"{label} {ours}"], seconds[f"{label} {other}"]
    details: Details = {
        "images_per_second": round(images / statistics.median(mine)),
        "other_images_per_second": round(images / statistics.median(theirs)),
        "spread": spread(theirs, mine),
        "threads": torch.get_num_threads(),
    }
    return Result(f"{what} over {other}", speedup(theirs, mine), target, details)


@torch.inference_mode()
def plain_prediction(network: nn.Module, files: Sequence[Path], form: InputForm, batch_size: int) -> list[int]:
    """Classes of files, decoded and named one batch after the other."""
    named: list[int] = []
    for first in range(0, len(files), batch_size):
        images = torch.stack([plain_tensor(path, form) for path in files[first : first + batch_size]])
        named += torch.softmax(network(images), dim=1).argmax(dim=1).tolist()
    return named


def prediction_results(subject: Subject, count: int, repeats: int, clock: Clock) -> list[Result]:
    """Images per second from a folder of JPEGs, by the network of the protocol as it begins."""
    files, form = subject.files[:count], subject.objective.form
    plain = build(subject.name.lower()).eval()
    network = subject.objective.network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoding = subject.recipe.decoding
    scorer, classes = NetworkScorer(network), subject.collection.classes
    classifier = Classifier(scorer, form=form, classes=classes, decoding=decoding)
    tasks = {
        "stream": counted(lambda: list(classifier.stream(files)), clock),
        "plain loop, image by image": counted(lambda: plain_prediction(plain, files, form, 1), clock),
        "plain loop, batch by batch": counted(lambda: plain_prediction(plain, files, form, decoding.batch_size), clock),
    }
    label = f"{subject.name} prediction"
    named = {f"{label} {name}": task for name, task in tasks.items()}
    for task in named.values():
        task()
    seconds = interleaved(named, repeats)
    return [_result(label, "stream", other, seconds, label, len(files), PREDICTION_TARGET) for other in list(tasks)[1:]]


def measure(kmnist: Path | None, scenes: Path | None, size: Size, systems: Sequence[str], clock: Clock) -> list[Result]:
    """All ratios."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        grey, colour = draw_images(Path(folder), size)
        grey, colour = kmnist or grey, scenes or colour
        for name in systems:
            for batch_size in BATCH_SIZES:
                subject = prepare(name, batch_size, grey if name == "V1" else colour, size)
                results += training_results(subject, size.repeats, clock)
            if subject.files:
                results += prediction_results(subject, size.predicted, size.repeats, clock)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 whatever the ratios are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kmnist", type=Path, help="folder with IDX files for V1; made-up images without it")
    parser.add_argument("--scenes", type=Path, help="folder of six classes for V2 and V3; made-up images without it")
    parser.add_argument("--systems", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--repeats", type=int, help=f"times that everything is run (default {Size.repeats})")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: as many as it takes)")
    parser.add_argument("--processor-time", action="store_true", help="count processor time of all threads")
    parser.add_argument("--quick", action="store_true", help="fewer images and repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    given: Any = parser.parse_args(arguments)
    for option, value in (("--repeats", given.repeats), ("--threads", given.threads)):
        if value is not None and value < 1:
            parser.error(f"{option} is {value}; expected an integer >= 1.")
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    size = QUICK if given.quick else Size()
    if given.repeats is not None:
        size = Size(size.grey, size.colour, size.predicted, given.repeats)
    clock = time.process_time if given.processor_time else time.perf_counter
    try:
        show(measure(given.kmnist, given.scenes, size, given.systems, clock), as_json=given.json)
    except TriptychError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
